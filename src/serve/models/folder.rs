//! A model in a release folder, in a deployment folder (`current` names the release), or in a file of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::release::{Release, ReleaseFacts, choose_file};
use crate::deploy::{MANIFEST, Manifest};
use crate::error::{Error, Result};

/// The link of a deployment folder to its current release.
const CURRENT: &str = "current";

/// The folder that is looked at for the current release: the folder itself, or its link.
///
/// Errors: it is no release and no deployment.
pub fn link_of(folder: &Path, typed: &str) -> Result<PathBuf> {
    let current = folder.join(CURRENT);
    if has_manifest(folder) {
        return Ok(folder.to_path_buf());
    }
    if current.symlink_metadata().is_ok() {
        return Ok(current);
    }
    Err(Error::usage(format!("{typed} is a folder without {MANIFEST} and without a link `{CURRENT}`")).hint(
        "serve a release (lockstep deploy NAME --to FOLDER makes one), a version of the registry, or a model file",
    ))
}

fn has_manifest(folder: &Path) -> bool {
    folder.join(MANIFEST).symlink_metadata().is_ok()
}

/// The release that the folder or link is now. A release is never read through the link, which may change meanwhile.
///
/// Errors: it leads nowhere.
pub fn resolve(link: &Path) -> Result<PathBuf> {
    fs::canonicalize(link).map_err(|e| Error::io("find the release of", link, e))
}

/// The manifest of a release.
///
/// Errors: it has none, or it is not valid.
pub fn manifest_of(release: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(release)?;
    manifest.ok_or_else(|| Error::missing(format!("{} has no {MANIFEST}", release.display())))
}

/// The files of a release.
///
/// Errors: its manifest is not valid, or it does not say which file the model is.
pub fn release_in(folder: PathBuf) -> Result<Release> {
    let manifest = manifest_of(&folder)?;
    let file = file_of(&manifest)
        .map_err(|why| Error::usage(format!("the release {} cannot be served", folder.display())).because(why))?;
    let facts = ReleaseFacts {
        version: manifest.version.unwrap_or_default(),
        blake3: Some(manifest.blake3),
        commit: manifest.commit,
        repository: manifest.repository,
        path: Some(manifest.path),
        label: None,
        size: manifest.size,
        metrics: manifest.metrics,
    };
    Ok(Release { facts, folder, files: Some(manifest.files), file, copy: None })
}

fn file_of(manifest: &Manifest) -> Result<String, String> {
    let name = manifest.path.rsplit('/').next().unwrap_or_default();
    match manifest.files.iter().any(|file| file.path == name) {
        true => Ok(name.to_string()),
        false => choose_file(manifest.files.iter().map(|file| file.path.as_str())),
    }
}

/// A file without a manifest: its hash is its version.
pub fn release_of_file(path: &Path) -> Result<Release> {
    let refused = || Error::usage(format!("{} is not a file", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(refused)?;
    let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    Ok(Release { facts: ReleaseFacts::default(), folder, files: None, file: name.to_string(), copy: None })
}
