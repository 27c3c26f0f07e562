//! The registry in the steps of a deployment: which one it is, where its label points, and the digests of releases.

use std::path::Path;

use super::registry::TargetRegistry;
use super::steps::Deployment;
use super::target::Wanted;
use super::{Event, Manifest};
use crate::error::Result;
use crate::event::Event as Progress;
use crate::tag::{ModelRequest, Which};

impl Deployment<'_> {
    /// The registry of the target, if it has one.
    pub(super) fn registry(&self) -> Result<Option<TargetRegistry>> {
        let label = match &self.target.what {
            Wanted::Version(ModelRequest { which: Which::Label(label), .. }) => Some(label.to_string()),
            _ => None,
        };
        let open = |reference| TargetRegistry::open(self.project, reference, label.as_deref());
        self.target.to.registry.as_ref().map(open).transpose()
    }

    pub(super) fn switch_registry(&self, digest: Option<&str>) -> Result<()> {
        match (self.registry()?, digest) {
            (Some(registry), Some(digest)) => registry.switch(digest),
            (Some(_), None) => {
                let text = "the tag of the label stays on the version that failed: there is no version before it";
                self.sink.event(Progress::Warning { text });
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// The digest under which a release was written, by the journal.
    pub(super) fn digest_of(&self, release: &str) -> Option<String> {
        let found = Manifest::read(&self.folder.release(release)).ok().flatten()?;
        let is_of = |event: &&Event| event.blake3 == found.blake3 && event.version == found.version;
        let steps = self.journal.unfinished().map(|step| &step.event);
        self.journal
            .events()
            .rfind(|event| is_of(event) && event.digest.is_some())
            .or(steps.filter(is_of))?
            .digest
            .clone()
    }

    /// `HOST/REPOSITORY@DIGEST` of a release folder; empty before it is in a registry.
    pub(super) fn oci_name(&self, release: &Path) -> Result<String> {
        let name = release.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let digest = self.digest_of(&name);
        let registry = self.registry()?;
        Ok(registry.zip(digest).map(|(registry, digest)| registry.name_of(&digest)).unwrap_or_default())
    }
}
