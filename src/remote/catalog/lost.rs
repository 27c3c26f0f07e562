//! A remote that this clone has used and that has disappeared: an unmounted disk, an emptied folder, the wrong bucket.
//!
//! It looks like a new remote, and a push would start a second one on the wrong disk. So a clone that remembers
//! segments of a remote (see [`crate::remote::catalog::Memory`]) refuses it when its file `lockstep-remote` is missing,
//! until the user sets the address again with `remote add`.
//!
//! A clone that never used a remote cannot tell a new one from a wrong URL. It may push there; reading is an error.

use crate::config::Grade;
use crate::error::{Error, Kind, Result};
use crate::project::Project;
use crate::remote::catalog::Memory;
use crate::remote::{MARKER, Remote, memory_dir};
use crate::shell::word;
use crate::url::Url;

impl Remote {
    /// Returns an error if this clone has used the remote and its marker is missing.
    pub(in crate::remote) fn refuse_lost(&self) -> Result<()> {
        if self.memory.segments().is_empty() {
            return Ok(());
        }
        let (name, url) = (&self.name, self.url());
        self.refuse_index_without_marker()?;
        let error = Error::new(Kind::Remote, format!("the remote {name} ({url}) is not there"))
            .because(match self.backend.folder() {
                Some(folder) if !folder.is_dir() => format!("there is no folder {}", folder.display()),
                Some(folder) => format!("{} has no file {MARKER}", folder.display()),
                None => format!("it has no file {MARKER}"),
            })
            .because("this clone has used it before: its data is out of reach, or deleted");
        let error = match self.backend.folder() {
            Some(_) => error.hint("is the disk mounted?"),
            None => error.hint("does the URL still lead to the same place? lockstep remote list"),
        };
        Err(error.hint(format!("to start an empty remote there: {}", self.start_over)))
    }

    /// The same for a remote in a folder, where the check costs next to nothing.
    pub(in crate::remote) fn refuse_lost_folder(&self) -> Result<()> {
        if self.backend.folder().is_none() || self.backend.has(MARKER) { Ok(()) } else { self.refuse_lost() }
    }

    /// The error for reading from a location without a marker that this clone has not used.
    pub(in crate::remote) fn missing_marker_error(&self) -> Result<Error> {
        self.refuse_index_without_marker()?;
        let is_absent = self.backend.folder().is_some_and(|folder| !folder.is_dir());
        let (what, why) = match is_absent {
            true => ("is not there", "the folder does not exist".to_string()),
            false => ("is not a lockstep remote", format!("it has no file {MARKER}")),
        };
        Ok(Error::new(Kind::Remote, format!("the remote {} ({}) {what}", self.name, self.url()))
            .because(format!("{why}: nothing was pushed there yet, or the URL is wrong"))
            .hint("does the URL lead to the right place?")
            .hint(format!("if it does, push from where the data is: lockstep push -r {}", word(&self.name))))
    }

    /// A location with an index and without the marker is a damaged remote.
    fn refuse_index_without_marker(&self) -> Result<()> {
        if !self.backend.can_list() || self.backend.list("index")?.is_empty() {
            return Ok(());
        }
        let message = format!("the remote {} ({}) lost its file {MARKER}", self.name, self.url());
        Err(Error::new(Kind::Remote, message)
            .hint(format!("if it is the right one: lockstep store verify --remote {} --repair", word(&self.name))))
    }

    /// Returns an error if the remote is a folder that does not exist. A service is not asked.
    pub(in crate::remote) fn refuse_absent(&self) -> Result<()> {
        match self.backend.folder() {
            Some(folder) if !folder.is_dir() => self.refuse_lost().and_then(|()| self.backend.must_exist()),
            _ => Ok(()),
        }
    }

    /// Checks that the folder is still the remote that it was when the command began: its disk may have been unmounted.
    pub(in crate::remote) fn must_have_marker(&self) -> Result<()> {
        if self.backend.folder().is_none() || self.backend.has(MARKER) {
            return Ok(());
        }
        Err(Error::new(Kind::Remote, format!("the remote {} ({}) is not there any more", self.name, self.url()))
            .because(format!("its file {MARKER} is gone since the command began"))
            .hint("is the disk still mounted?"))
    }
}

/// Deletes what this clone remembers of a remote. Called when the user sets its address, which may be that of an empty
/// one.
pub fn forget(project: &Project, name: &str) -> Result<()> {
    // The settings were just written: they are read again.
    let project = Project::open(project.around.clone())?;
    // An address relative to HOME, without a HOME, was never used.
    let Ok(dir) = memory_dir(&project, name) else { return Ok(()) };
    Memory::new(dir).forget()
}

/// The command that sets the address of a remote again, as typed in the current directory.
pub(in crate::remote) fn start_over(project: &Project, name: &str, url: &Url) -> String {
    let root = project.repo.project_root.relative_to(&project.cwd);
    let at = if project.cwd == project.repo.project_root { String::new() } else { format!("-C {} ", word(&root)) };
    let is_committed = project.config.grade(&format!("remote.{name}.url")) == Some(Grade::Repository);
    let local = if is_committed { "" } else { "--local " };
    let url = if url.has_secret() { "URL".into() } else { word(url.raw()) };
    format!("lockstep {at}remote add --force {local}{} {url}", word(name))
}
