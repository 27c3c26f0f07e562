//! Removes environments.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::environment::lock::{path_of as lock_file_of, try_exclusive};
use crate::environment::record::{folder_of, path_of};
use crate::error::{Error, Result};
use crate::file_lock::Wait;
use crate::replace::FileWriter;
use crate::store::ObjectId;

/// What became of an environment that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// A stage runs in it, or it is being made.
    InUse,
}

/// Removes an environment unless it is in use.
pub fn remove(environments: &Path, hash: &ObjectId, wait: &Wait) -> Result<Removal> {
    let Some(held) = try_exclusive(environments, hash, wait)? else { return Ok(Removal::InUse) };
    clear(environments, hash)?;
    // Removed while it is locked: another process that waits for it sees that its file has no name any more.
    for path in [environments.join(format!("{}.log", hash.hex())), lock_file_of(environments, hash)] {
        let _ = fs::remove_file(path);
    }
    drop(held);
    Ok(Removal::Removed)
}

/// Removes the record, then the folder: at no time is half a folder taken for a finished one.
pub(super) fn clear(environments: &Path, hash: &ObjectId) -> Result<()> {
    let record = path_of(environments, hash);
    if fs::symlink_metadata(&record).is_ok() {
        FileWriter::lock(&record)?.remove()?;
    }
    let folder = folder_of(environments, hash);
    let removed = fs::remove_dir_all(&folder).or_else(|e| match e.kind() {
        ErrorKind::PermissionDenied => {
            make_writable(&folder);
            fs::remove_dir_all(&folder)
        }
        _ => Err(e),
    });
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", &folder, e)),
        _ => Ok(()),
    }
}

/// Some tools make folders read-only, which then cannot be emptied.
fn make_writable(folder: &Path) {
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(at) = waiting.pop() {
        let _ = fs::set_permissions(&at, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
}

/// The hashes of all environments that have a record or a folder, sorted.
pub fn all(environments: &Path) -> Vec<ObjectId> {
    let entries = fs::read_dir(environments).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut hashes: Vec<ObjectId> =
        names.filter_map(|name| name.strip_suffix(".json").unwrap_or(&name).parse().ok()).collect();
    hashes.sort();
    hashes.dedup();
    hashes
}
