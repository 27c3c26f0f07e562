//! The registry of a target: a release that is complete in the target's folder is written there before the switch, and
//! the label's tag is put on it with the switch.
//!
//! The folder is then a private one of this clone, with the journal and the last releases. A registry has no
//! compare-and-swap on tags; the lock of the folder and the record in Git keep the order.

use std::fs::File;
use std::path::Path;

use super::oci::{Credentials, OciReference, Registry, Source, push, tag_name};
use super::{MANIFEST, Manifest, ReleasedFile};
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::project::Project;

/// The small files of a release that are written beside those of its manifest.
const NOTES: [&str; 2] = [MANIFEST, "provenance.json"];

/// The repository of a registry that a target writes to.
pub struct TargetRegistry {
    registry: Registry,
    /// The tag that follows the label; `None` for a target without a label.
    label: Option<String>,
}

impl TargetRegistry {
    /// Finds the credentials, and sends nothing yet.
    pub fn open(project: &Project, reference: &OciReference, label: Option<&str>) -> Result<TargetRegistry> {
        let around = &project.around;
        let credentials = Credentials::find(&reference.host, &around.env, around.home.as_deref())?;
        let registry = Registry::open(reference.clone(), credentials, around.stop)?;
        Ok(TargetRegistry { registry, label: label.map(tag_name).transpose()? })
    }

    /// Writes a release and the tag of its version. Returns the digest.
    ///
    /// Errors ([`Kind::Remote`]): the registry fails, or has another artifact under the tag of the version.
    pub fn publish(&self, folder: &Path, sink: &dyn Sink) -> Result<String> {
        let release =
            Manifest::read(folder)?.ok_or_else(|| Error::missing(format!("{} is no release", folder.display())))?;
        let notes = notes(folder)?;
        let notes: Vec<(&str, &[u8])> = notes.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let open = |file: &ReleasedFile| open(folder, file);
        let digest = push(&self.registry, &release, &notes, &open, sink)?.digest;
        if let Some(version) = &release.version {
            let tag = tag_name(version)?;
            match self.registry.resolve(&tag)? {
                Some(there) if there == digest => {}
                Some(there) => return Err(self.taken(&tag, &there, &digest)),
                None => self.put(&tag, &digest)?,
            }
        }
        Ok(digest)
    }

    /// Puts the tag of the label on an artifact that is there. Again is no change.
    pub fn switch(&self, digest: &str) -> Result<()> {
        match &self.label {
            Some(label) => self.put(label, digest),
            None => Ok(()),
        }
    }

    /// The digest that the label's tag names now; `None` if there is no such tag.
    pub fn current(&self) -> Result<Option<String>> {
        match &self.label {
            Some(label) => self.registry.resolve(label),
            None => Ok(None),
        }
    }

    /// `HOST/REPOSITORY@DIGEST`, as other programs take it.
    pub fn name_of(&self, digest: &str) -> String {
        let OciReference { host, repository } = &self.registry.reference;
        format!("{host}/{repository}@{digest}")
    }

    fn put(&self, tag: &str, digest: &str) -> Result<()> {
        let gone = || Error::new(Kind::Remote, format!("{} has no {digest} any more", self.registry.reference));
        let manifest = self.registry.manifest(digest)?.ok_or_else(gone)?;
        self.registry.put_manifest(tag, &manifest)
    }

    fn taken(&self, tag: &str, there: &str, digest: &str) -> Error {
        let name = &self.registry.reference;
        Error::new(Kind::Remote, format!("{name} has another artifact under {tag}"))
            .because(format!("{there} is there, and this version is {digest}"))
            .hint("a version does not change: find out who wrote it, and delete the tag there if it is wrong")
    }
}

fn notes(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut notes = Vec::new();
    for name in NOTES {
        if let Some(bytes) = document::read(&folder.join(name), document::MOST)? {
            notes.push((name, bytes));
        }
    }
    Ok(notes)
}

fn open(folder: &Path, file: &ReleasedFile) -> Result<Box<dyn Source>> {
    let path = folder.join(&file.path);
    let cannot = |e| Error::io("read", &path, e);
    if path.symlink_metadata().map_err(cannot)?.is_symlink() {
        return Err(Error::usage(format!("{} is a symlink, which a registry cannot hold", file.path))
            .hint("deploy to a folder, or track the file itself"));
    }
    let opened: File = document::open(&path).map_err(cannot)?;
    Ok(Box::new(opened))
}
