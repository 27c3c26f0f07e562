//! A temporary repository with one object, so that Git reads the object with the user's settings only.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use gix::objs::Write;

use crate::error::{Error, Kind, Result};
use crate::git::program::exact_git;
use crate::git::repo::protected;
use crate::git::repo::settings::open_at;

/// The number of names that are tried for the folder.
const TRIES: u64 = 100;

/// The folder, which is deleted when the value is dropped.
pub(in crate::git) struct IsolatedRepo(PathBuf);

impl IsolatedRepo {
    /// A repository with a single tag object, named by this hash.
    pub(in crate::git) fn with_tag(object: &[u8], hash: gix::hash::Kind) -> Result<IsolatedRepo> {
        let apart = IsolatedRepo::create()?;
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(Kind::Io, format!("a tag cannot be copied to {}: {e}", apart.0.display()))
        };
        fs::create_dir(apart.0.join("objects")).map_err(|e| failed(&e))?;
        fs::create_dir(apart.0.join("refs")).map_err(|e| failed(&e))?;
        fs::write(apart.0.join("HEAD"), "ref: refs/heads/main\n").map_err(|e| failed(&e))?;
        let format = format!("[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = {hash}\n");
        fs::write(apart.0.join("config"), format).map_err(|e| failed(&e))?;
        let repo = open_at(&apart.0).map_err(|e| failed(&e))?;
        repo.objects.write_buf(gix::object::Kind::Tag, object).map_err(|e| failed(&e))?;
        Ok(apart)
    }

    /// A new folder that only this user can enter.
    fn create() -> Result<IsolatedRepo> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = protected::temporary();
        let parent = fs::canonicalize(&parent).map_err(|e| Error::io("open", parent, e))?;
        let mut last = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        for _ in 0..TRIES {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = parent.join(format!("lockstep-tag-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(IsolatedRepo(folder)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => last = e,
                Err(e) => return Err(Error::io("create", folder, e)),
            }
        }
        Err(Error::io("create a folder in", parent, last))
    }

    /// A `git` command in this repository.
    pub(in crate::git) fn git(&self) -> Command {
        let mut command = exact_git(&self.0);
        command.arg("--git-dir").arg(&self.0);
        command
    }
}

impl Drop for IsolatedRepo {
    fn drop(&mut self) {
        // A failed deletion leaves only a copy in a temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
