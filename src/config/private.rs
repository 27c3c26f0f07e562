//! Settings files with secrets: which entries are secrets, and whether other users can read the file.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::{Setting, is_secret};
use crate::error::{Error, Result};
use crate::url::Url;

/// Whether this entry holds a secret: an option that is one, or a URL with a password.
pub(super) fn holds_secret(key: &str, value: &Setting) -> bool {
    let in_url = |text: &str| key.starts_with("remote.") && Url::from(text).has_secret();
    is_secret(key) || matches!(value, Setting::Str(text) if in_url(text))
}

/// Whether other users can read the file. `lockstep.toml` is committed, and so always readable.
pub(super) fn is_exposed(file: &Path) -> bool {
    !file.ends_with("lockstep.toml") && fs::metadata(file).is_ok_and(|meta| meta.mode() & 0o077 != 0)
}

/// Makes the folder of a settings file that will hold a secret: accessible only to the owner, unless the setgid bit of
/// the parent folder says that a group shares its content.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    let above = folder.ancestors().skip(1).find(|above| above.exists());
    let is_shared = above.and_then(|above| fs::metadata(above).ok()).is_some_and(|meta| meta.mode() & 0o2000 != 0);
    let mode = if is_shared { 0o777 } else { 0o700 };
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.map_err(|e| Error::io("create", folder, e))
}
