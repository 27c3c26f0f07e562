//! Pushes a release: what the registry lacks, then the manifest, then the tags.

use std::collections::BTreeSet;
use std::io::Cursor;

use super::artifact::{self, build};
use super::client::Registry;
use super::upload::Source;
use crate::deploy::{Manifest, ReleasedFile};
use crate::error::Result;
use crate::event::{Activity, Event, Sink};

/// What a push wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct PushedArtifact {
    /// The digest of the manifest.
    pub digest: String,
    /// The blobs that the registry lacked.
    pub uploaded: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Pushes a release without a tag: its manifest is found by its digest. `open` opens a file of the release, `notes` are
/// small files beside them.
pub fn push(
    registry: &Registry,
    release: &Manifest,
    notes: &[(&str, &[u8])],
    open: &dyn Fn(&ReleasedFile) -> Result<Box<dyn Source>>,
    sink: &dyn Sink,
) -> Result<PushedArtifact> {
    let artifact = build(release, notes);
    let digest = artifact::digest(&artifact.manifest);
    if registry.resolve(&digest)?.is_some() {
        return Ok(PushedArtifact { digest, uploaded: 0, bytes: 0 });
    }
    let mut upload = Upload { registry, sink, seen: BTreeSet::new(), uploaded: 0, bytes: 0 };
    let lacking = release.files.iter().map(|file| upload.lacks(&format!("sha256:{}", file.sha256)));
    let lacking: Vec<bool> = lacking.collect::<Result<_>>()?;
    let files = || release.files.iter().zip(&lacking).filter(|(_, lacking)| **lacking).map(|(file, _)| file);
    sink.event(Event::WorkPlanned { doing: Activity::Pushing, bytes: files().map(|file| file.size).sum() });
    for file in files() {
        upload.send(&format!("sha256:{}", file.sha256), file.size, &mut *open(file)?)?;
    }
    for bytes in notes.iter().map(|(_, bytes)| *bytes).chain([artifact.config.as_slice()]) {
        let digest = artifact::digest(bytes);
        if upload.lacks(&digest)? {
            upload.send(&digest, bytes.len() as u64, &mut Cursor::new(bytes.to_vec()))?;
        }
    }
    let (uploaded, bytes) = (upload.uploaded, upload.bytes);
    registry.put_manifest(&digest, &artifact.manifest)?;
    Ok(PushedArtifact { digest, uploaded, bytes })
}

struct Upload<'r> {
    registry: &'r Registry,
    sink: &'r dyn Sink,
    /// Blobs that are there, or will be: files may be equal.
    seen: BTreeSet<String>,
    uploaded: usize,
    bytes: u64,
}

impl Upload<'_> {
    fn lacks(&mut self, digest: &str) -> Result<bool> {
        Ok(self.seen.insert(digest.into()) && !self.registry.has_blob(digest)?)
    }

    fn send(&mut self, digest: &str, size: u64, source: &mut dyn Source) -> Result<()> {
        let done = |bytes| self.sink.event(Event::WorkDone { doing: Activity::Pushing, bytes });
        self.registry.upload(digest, size, source, &done)?;
        self.uploaded += 1;
        self.bytes += size;
        Ok(())
    }
}
