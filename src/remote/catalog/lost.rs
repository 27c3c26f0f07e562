//! A remote that this clone has used and that is not there: an unmounted disk, an emptied folder, the wrong bucket.
//!
//! It looks like a new one, and a push would begin it again on the wrong disk. So a clone that remembers segments of a
//! remote (see [`crate::remote::catalog::Memory`]) refuses it when its file `lockstep-remote` is gone, until the user names the
//! address again with `remote add`.
//!
//! A clone that never used a remote cannot tell a new one from a wrong URL. It may push there, and reading is an error.

use crate::config::Grade;
use crate::error::{Error, Kind, Result};
use crate::project::Project;
use crate::remote::catalog::Memory;
use crate::remote::{MARKER, Remote, memory_dir};
use crate::shell::word;
use crate::url::Url;

impl Remote {
    /// The error for a remote without its marker, if this clone has used it.
    pub(in crate::remote) fn refuse_lost(&self) -> Result<()> {
        if self.memory.segments().is_empty() {
            return Ok(());
        }
        let (name, url) = (&self.name, self.url());
        self.refuse_index_alone()?;
        let error = Error::new(Kind::Remote, format!("the remote {name} ({url}) is not there"))
            .because(match self.place.folder() {
                Some(folder) if !folder.is_dir() => format!("there is no folder {}", folder.display()),
                Some(folder) => format!("{} has no file {MARKER}", folder.display()),
                None => format!("it has no file {MARKER}"),
            })
            .because("this clone has used it: what it held is out of reach, or gone");
        let error = match self.place.folder() {
            Some(_) => error.hint("is the disk mounted?"),
            None => error.hint("does the URL still lead to the same place? lockstep remote list"),
        };
        Err(error.hint(format!("to begin with an empty remote there: {}", self.start_over)))
    }

    /// The same for a remote that is a folder, where a look at it costs next to nothing.
    pub(in crate::remote) fn refuse_lost_folder(&self) -> Result<()> {
        if self.place.folder().is_none() || self.place.has(MARKER) { Ok(()) } else { self.refuse_lost() }
    }

    /// The error for a place without its marker that this clone has not used, and is to read from.
    pub(in crate::remote) fn unmarked(&self) -> Result<Error> {
        self.refuse_index_alone()?;
        let is_absent = self.place.folder().is_some_and(|folder| !folder.is_dir());
        let (what, why) = match is_absent {
            true => ("is not there", "the folder does not exist".to_string()),
            false => ("is not a lockstep remote", format!("it has no file {MARKER}")),
        };
        Ok(Error::new(Kind::Remote, format!("the remote {} ({}) {what}", self.name, self.url()))
            .because(format!("{why}: nothing was pushed there yet, or the URL is wrong"))
            .hint("does the URL lead to the right place?")
            .hint(format!("if it does, push from where the data is: lockstep push -r {}", word(&self.name))))
    }

    /// Without the marker and with an index it is a remote that was damaged.
    fn refuse_index_alone(&self) -> Result<()> {
        if !self.place.lists() || self.place.list("index")?.is_empty() {
            return Ok(());
        }
        let message = format!("the remote {} ({}) lost its file {MARKER}", self.name, self.url());
        Err(Error::new(Kind::Remote, message)
            .hint(format!("if it is the right one: lockstep store verify --remote {} --repair", word(&self.name))))
    }

    /// Is it a folder that is not there? Of a service only an answer tells.
    pub(in crate::remote) fn refuse_absent(&self) -> Result<()> {
        match self.place.folder() {
            Some(folder) if !folder.is_dir() => self.refuse_lost().and_then(|()| self.place.must_exist()),
            _ => Ok(()),
        }
    }

    /// Is the folder still the remote that it was when the command began? Its disk may be unmounted meanwhile.
    pub(in crate::remote) fn must_have_marker(&self) -> Result<()> {
        if self.place.folder().is_none() || self.place.has(MARKER) {
            return Ok(());
        }
        Err(Error::new(Kind::Remote, format!("the remote {} ({}) is not there any more", self.name, self.url()))
            .because(format!("its file {MARKER} is gone since the command began"))
            .hint("is the disk still mounted?"))
    }
}

/// Forgets what this clone remembers of a remote: the user names its address, and it may be empty.
pub fn forget(project: &Project, name: &str) -> Result<()> {
    // The settings that count since they were written.
    let project = Project::open(project.around.clone())?;
    // An address in HOME, where there is none, was never used.
    let Ok(dir) = memory_dir(&project, name) else { return Ok(()) };
    Memory::new(dir).forget()
}

/// The command that names the address of a remote again, for somebody who types it here.
pub(in crate::remote) fn start_over(project: &Project, name: &str, url: &Url) -> String {
    let root = project.repo.project_root.relative_to(&project.cwd);
    let at = if project.cwd == project.repo.project_root { String::new() } else { format!("-C {} ", word(&root)) };
    let is_committed = project.config.grade(&format!("remote.{name}.url")) == Some(Grade::Repository);
    let local = if is_committed { "" } else { "--local " };
    let url = if url.has_secret() { "URL".into() } else { word(url.raw()) };
    format!("lockstep {at}remote add --force {local}{} {url}", word(name))
}
