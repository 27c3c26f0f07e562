//! Decides where lockstep may write in a worktree.
//!
//! Paths come from pipeline files, locks, trees and the command line of a user who may work in an untrusted clone. One
//! function, [`WritableArea::path`], turns them into a [`WritablePath`], and all code that writes, moves, restores,
//! links, empties or deletes takes one. It refuses
//!
//! - a name that belongs to Git, lockstep or DVC in any spelling ([`owner_of`]);
//! - a path through a symlink, wherever it leads: a folder that is real today could become `.git/hooks` tomorrow;
//! - Git's folders, the store and the like, paths in them, and paths that contain them.
//!
//! The answer is valid at the time of the call: code that writes after a stage ran, or after a long copy, checks again
//! right before ([`WritablePath::check_again`]) or works in the folder that it opened ([`WritablePath::open_parent`]).
//! A path costs one stat for each parent folder; the content of an output costs nothing.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::open_folder::OpenFolder;
use crate::config::grade::is_bare_repository;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::path::names::{Owner, owner_of};

/// The flags with which a folder is opened on the way down from the top.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The kind of a protected folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectedKind {
    /// `.git`, or the folder that it names.
    Git,
    /// The store of objects.
    Store,
    /// Lockstep's own state of the worktree: logs, journal, index.
    State,
}

impl ProtectedKind {
    fn name(self) -> &'static str {
        match self {
            ProtectedKind::Git => "Git's folder",
            ProtectedKind::Store => "the store",
            ProtectedKind::State => "lockstep's own folder",
        }
    }
}

/// A worktree without the folders in it that do not belong to the user.
#[derive(Clone, Debug)]
pub struct WritableArea {
    /// Absolute, without symlinks.
    top: Arc<Path>,
    protected: Arc<[Protected]>,
}

/// A folder that must be neither written to nor removed.
#[derive(Debug)]
struct Protected {
    /// Without symlinks, as far as it exists.
    real: PathBuf,
    /// Device and inode of the folder and of its parents up to the top: a file system that ignores case has many
    /// spellings.
    ids: Vec<(u64, u64)>,
    kind: ProtectedKind,
}

/// A path below the top of a worktree that lockstep may write to. Dereferences to its path on the disk.
#[derive(Clone, Debug)]
pub struct WritablePath {
    area: WritableArea,
    path: RepoPath,
    on_disk: PathBuf,
}

impl WritableArea {
    /// `top` is absolute and has no symlinks. `protected` folders may be missing, and may be outside `top`.
    pub fn new(top: &Path, protected: &[(PathBuf, ProtectedKind)]) -> WritableArea {
        let protect = |(folder, kind): &(PathBuf, ProtectedKind)| {
            let real = real_path(folder);
            let up_to_top = real.ancestors().take_while(|above| above.starts_with(top) && *above != top);
            let ids = up_to_top.filter_map(|folder| fs::metadata(folder).ok().map(|meta| id_of(&meta))).collect();
            Protected { real, ids, kind: *kind }
        };
        WritableArea { top: top.into(), protected: protected.iter().map(protect).collect() }
    }

    /// The top of the worktree.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Checks a path. Its parent folders may be missing, and a symlink at the path itself is not followed.
    ///
    /// Errors: the path may not be written; the message names the path and the reason.
    pub fn path(&self, path: &RepoPath) -> Result<WritablePath> {
        if path.is_root() {
            return Err(Error::usage("the top of the repository itself cannot be written as an output"));
        }
        if let Some((name, owner)) = path.parts().find_map(|name| Some((name, owner_of(name.as_bytes())?))) {
            return Err(Error::usage(format!("{path} cannot be used: `{name}` belongs to {}", owner.name())));
        }
        let on_disk = path.on_disk(&self.top);
        self.check(path, &on_disk)?;
        Ok(WritablePath { area: self.clone(), path: path.clone(), on_disk })
    }

    /// Checks a folder that is written into, such as the working folder of a stage; refuses a symlink. The top is
    /// allowed.
    pub fn folder(&self, path: &RepoPath) -> Result<PathBuf> {
        if path.is_root() {
            return Ok(self.top.to_path_buf());
        }
        let place = self.path(path)?;
        match fs::symlink_metadata(&*place) {
            Ok(meta) if meta.is_symlink() => Err(is_link(path, path, &place)),
            _ => Ok(place.on_disk),
        }
    }

    /// Checks a folder from the settings that lockstep fills itself, a store or a remote: it must neither be inside
    /// another protected folder nor contain the worktree.
    pub fn check_folder(&self, folder: &Path, what: &str) -> Result<()> {
        let real = real_path(folder);
        let fault = if self.top.starts_with(&real) {
            "holds the repository".to_string()
        } else {
            let above = self.protected.iter().find(|p| real.starts_with(&p.real) && p.real != real);
            let owner = real
                .strip_prefix(&self.top)
                .ok()
                .and_then(|below| below.components().find_map(|part| owner_of(part.as_os_str().as_encoded_bytes())));
            match (above, owner) {
                (Some(protected), _) => format!("lies in {}, {}", protected.kind.name(), protected.real.display()),
                (None, Some(owner)) => format!("lies in a folder of {}", owner.name()),
                (None, None) => return Ok(()),
            }
        };
        Err(Error::usage(format!("{what} cannot be {}: it {fault}", folder.display()))
            .hint("name a new or empty folder of its own"))
    }

    /// Checks that a remote folder is not inside the `.git` of any repository. A store may be: several clones can share
    /// the store of one.
    pub fn check_outside_git(&self, folder: &Path, what: &str) -> Result<()> {
        let is_git = |part: std::path::Component| owner_of(part.as_os_str().as_encoded_bytes()) == Some(Owner::Git);
        if !real_path(folder).components().any(is_git) {
            return Ok(());
        }
        Err(Error::usage(format!("{what} cannot be {}: it lies in a folder of Git", folder.display()))
            .hint("name a new or empty folder of its own"))
    }

    /// Checks a folder that the repository names for lockstep to fill: it must not be inside a bare repository, nor
    /// behind a symlink in the worktree, since a commit can add one.
    pub fn check_committed_folder(&self, folder: &Path, what: &str) -> Result<()> {
        if let Some(bare) = real_path(folder).ancestors().find(|above| is_bare_repository(above)) {
            let message =
                format!("{what} cannot be {}: it lies in the repository {}", folder.display(), bare.display());
            return Err(Error::usage(message).hint("name a new or empty folder of its own"));
        }
        let mut here = PathBuf::new();
        for part in folder.components() {
            let is_in_worktree = || fs::canonicalize(&here).is_ok_and(|real| real.starts_with(&self.top));
            let next = here.join(part);
            if fs::symlink_metadata(&next).is_ok_and(|meta| meta.is_symlink()) && is_in_worktree() {
                let message = format!("{what} cannot be {}: {} is a symlink", folder.display(), next.display());
                return Err(Error::usage(message).hint("replace the symlink by a folder"));
            }
            here = next;
        }
        Ok(())
    }

    /// Checks that the target of a symlink at or below a path, which would be stored in its place, does not belong to
    /// Git or lockstep: settings there hold tokens. Links to objects of the store are allowed.
    pub fn check_link_target(&self, path: &RepoPath, link: &Path) -> Result<()> {
        let Ok(real) = fs::canonicalize(link) else { return Ok(()) };
        let is_object = |p: &Protected| p.kind == ProtectedKind::Store && real.starts_with(&p.real) && real != p.real;
        if self.protected.iter().any(is_object) {
            return Ok(());
        }
        let is_met = |p: &&Protected| real.starts_with(&p.real) || (p.real.starts_with(&real) && link != real);
        let what = self.protected.iter().find(is_met).map(|p| format!("{}, {}", p.kind.name(), p.real.display()));
        let below = real.strip_prefix(&self.top).ok();
        let owner =
            below.and_then(|below| below.components().find_map(|part| owner_of(part.as_os_str().as_encoded_bytes())));
        let Some(what) = what.or_else(|| owner.map(|owner| format!("what belongs to {}", owner.name()))) else {
            return Ok(());
        };
        let link = link.strip_prefix(&self.top).unwrap_or(link).display();
        Err(Error::usage(format!("{path} cannot be stored: the symlink {link} leads to {what}"))
            .hint("remove the link, or list it in .lockstepignore"))
    }

    fn check(&self, path: &RepoPath, on_disk: &Path) -> Result<()> {
        for protected in self.protected.iter() {
            if on_disk.starts_with(&protected.real) || protected.real.starts_with(on_disk) {
                return Err(self.refuse(path, protected));
            }
        }
        let (mut here, mut spelled) = (self.top.to_path_buf(), RepoPath::root());
        for name in path.parts() {
            here.push(name);
            spelled = spelled.join(name).unwrap_or_default();
            let meta = match fs::symlink_metadata(&here) {
                Ok(meta) => meta,
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
                Err(e) => return Err(Error::io("look at", &here, e)),
            };
            let is_parent = spelled != *path;
            if meta.is_symlink() && is_parent {
                return Err(is_link(path, &spelled, &here));
            }
            // The first identity is of the folder itself, the others are of the folders that contain it.
            let id = id_of(&meta);
            let is_met = |p: &&Protected| {
                if is_parent { p.ids.first() == Some(&id) } else { p.ids.contains(&id) }
            };
            if meta.is_dir()
                && let Some(protected) = self.protected.iter().find(is_met)
            {
                return Err(self.refuse(path, protected));
            }
        }
        Ok(())
    }

    fn refuse(&self, path: &RepoPath, protected: &Protected) -> Error {
        let (real, what) = (&protected.real, protected.kind.name());
        let on_disk = path.on_disk(&self.top);
        let how = if real.starts_with(&on_disk) && *real != on_disk { "holds" } else { "lies in" };
        Error::usage(format!("{path} cannot be written: it {how} {what}, {}", real.display()))
            .hint("choose another path for it")
    }
}

impl WritablePath {
    /// The path in the repository.
    pub fn path(&self) -> &RepoPath {
        &self.path
    }

    /// The absolute path on the disk.
    pub fn on_disk(&self) -> &Path {
        &self.on_disk
    }

    /// Checks that no folder above the path was replaced by a symlink.
    pub fn check_again(&self) -> Result<()> {
        self.area.check(&self.path, &self.on_disk)
    }

    /// The parent folder, opened from the top without following symlinks: operations below the descriptor stay in it,
    /// even if the folders above are replaced.
    pub fn open_parent(&self) -> Result<OwnedFd> {
        self.check_again()?;
        self.open(&self.path.parent().unwrap_or_default(), false)
    }

    /// The same for calls that take paths.
    pub fn open_folder(&self) -> Result<OpenFolder> {
        Ok(OpenFolder::of(self.open_parent()?, self.on_disk.parent().unwrap_or(&self.area.top)))
    }

    /// Opens a folder from the top without following symlinks; with `make`, creates missing folders.
    fn open(&self, path: &RepoPath, make: bool) -> Result<OwnedFd> {
        let failed = |e: Errno| Error::io(if make { "create" } else { "open" }, path.on_disk(&self.area.top), e);
        let mut folder = OwnedFd::from(File::open(&*self.area.top).map_err(|e| Error::io("open", &*self.area.top, e))?);
        for name in path.parts() {
            let inner = match openat(&folder, name, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) if make => match mkdirat(&folder, name, 0o777.into()) {
                    Ok(()) | Err(Errno::EXIST) => openat(&folder, name, FOLDER, Mode::empty()),
                    Err(e) => Err(e),
                },
                inner => inner,
            };
            folder = inner.map_err(failed)?;
        }
        Ok(folder)
    }

    /// Creates a folder at this path, with its parents.
    pub fn create_folder(&self) -> Result<()> {
        self.check_again()?;
        self.open(&self.path, true).map(drop)
    }

    /// Removes the folder at this path with its content.
    pub fn remove_folder(&self) -> Result<()> {
        let parent = self.open_parent()?;
        remove_in(&parent, self.on_disk.file_name().unwrap_or_default())
            .map_err(|e| Error::io("remove", &self.on_disk, e))
    }

    /// Renames `from` to this path, which must be free.
    pub fn rename_from(&self, from: &Path) -> io::Result<()> {
        let folder = self.open_parent().map_err(io::Error::other)?;
        let name = self.on_disk.file_name().unwrap_or_default();
        match rustix::fs::renameat_with(CWD, from, &folder, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(_) => Ok(rustix::fs::renameat(CWD, from, &folder, name)?),
                    Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                }
            }
            done => Ok(done?),
        }
    }

    /// Renames the file or folder at this path to `to`.
    pub fn rename_to(&self, to: &Path) -> io::Result<()> {
        let folder = self.open_parent().map_err(io::Error::other)?;
        Ok(rustix::fs::renameat(&folder, self.on_disk.file_name().unwrap_or_default(), CWD, to)?)
    }

    /// Creates the parent folders.
    pub fn create_parents(&self) -> Result<()> {
        self.check_again()?;
        self.open(&self.path.parent().unwrap_or_default(), true).map(drop)
    }
}

impl Deref for WritablePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.on_disk
    }
}

impl AsRef<Path> for WritablePath {
    fn as_ref(&self) -> &Path {
        &self.on_disk
    }
}

/// Removes a folder below an open one. Follows no symlink.
fn remove_in(parent: &OwnedFd, name: &OsStr) -> std::result::Result<(), Errno> {
    let folder = openat(parent, name, FOLDER, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // The first is Linux's error, the second that of other systems.
            Err(Errno::ISDIR | Errno::PERM) => remove_in(&folder, name)?,
            Err(e) => return Err(e),
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn is_link(path: &RepoPath, link: &RepoPath, on_disk: &Path) -> Error {
    let leads = fs::read_link(on_disk).map(|to| format!(" to {}", to.display())).unwrap_or_default();
    let message = if path == link {
        format!("{path} cannot be written to: it is a symlink{leads}")
    } else {
        format!("{path} cannot be written: its folder {link} is a symlink{leads}")
    };
    Error::usage(message).hint("name the path by its real folders, or replace the symlink by a folder")
}

fn id_of(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Resolves a path: the existing part without symlinks, then the missing names.
pub fn real_path(path: &Path) -> PathBuf {
    let mut at = path.to_path_buf();
    // The number of links that the kernel follows.
    for _ in 0..40 {
        if let Ok(real) = fs::canonicalize(&at) {
            return real;
        }
        match fs::read_link(&at) {
            Ok(text) => at = at.parent().unwrap_or(Path::new("/")).join(text),
            Err(_) => break,
        }
    }
    let there = at.ancestors().skip(1).find_map(|above| Some((fs::canonicalize(above).ok()?, above)));
    let Some((mut real, above)) = there else { return at };
    for component in at.strip_prefix(above).unwrap_or(Path::new("")).components() {
        match component {
            std::path::Component::Normal(name) => real.push(name),
            std::path::Component::ParentDir => drop(real.pop()),
            _ => {}
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RepoPath {
        RepoPath::root().join(text).unwrap()
    }

    #[test]
    fn only_the_users_own_places_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        for folder in ["real/x", "meta/git/hooks", ".git/hooks", "big/store"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        for (link, to) in [("in", "real"), ("out", ".."), ("hooks", ".git/hooks"), ("nowhere", "gone")] {
            symlink(to, top.join(link)).unwrap();
        }
        symlink("meta/git", top.join("shortcut")).unwrap();
        let protected = [
            (top.join(".git"), ProtectedKind::Git),
            (top.join("shortcut"), ProtectedKind::Git),
            (top.join("big/store"), ProtectedKind::Store),
            (top.join("later/../new/store"), ProtectedKind::Store),
        ];
        let area = WritableArea::new(&top, &protected);
        for (written, want) in [
            ("a", ""),
            ("real/x/y/z", ""),
            ("in", ""),
            ("meta/other", ""),
            ("big/other", ""),
            ("new/other", ""),
            ("in/x", "its folder in is a symlink to real"),
            ("out/x", "its folder out is a symlink"),
            ("hooks/post-checkout", "its folder hooks is a symlink to .git/hooks"),
            ("real/../hooks/x", "its folder hooks is a symlink"),
            ("nowhere/x", "its folder nowhere is a symlink to gone"),
            (".git/hooks/x", "`.git` belongs to Git"),
            ("a/.GIT/x", "`.GIT` belongs to Git"),
            ("a/.lockstep", "`.lockstep` belongs to lockstep"),
            (".dvc/config", "`.dvc` belongs to DVC"),
            ("meta/git/hooks/x", "lies in Git's folder"),
            ("meta/git", "lies in Git's folder"),
            ("meta", "holds Git's folder"),
            ("big", "holds the store"),
            ("big/store/objects/x", "lies in the store"),
            ("new", "holds the store"),
            ("new/store/x", "lies in the store"),
        ] {
            let got = area.path(&path(written));
            match want {
                "" => assert_eq!(got.unwrap().on_disk(), top.join(written)),
                want => {
                    let message = got.unwrap_err().message;
                    assert!(message.contains(want) && message.contains(&path(written).to_string()), "{message}");
                }
            }
        }
        assert!(area.path(&RepoPath::root()).is_err());
        assert_eq!(area.folder(&RepoPath::root()).unwrap(), top);
        assert!(area.folder(&path("in")).unwrap_err().message.contains("it is a symlink to real"));
    }

    #[test]
    fn a_folder_that_became_a_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        let place = WritableArea::new(&top, &[]).path(&path("a/b/x")).unwrap();
        place.open_parent().unwrap();
        fs::rename(top.join("a"), top.join("c")).unwrap();
        symlink("c", top.join("a")).unwrap();
        assert!(place.check_again().unwrap_err().message.contains("a is a symlink to c"));
        assert!(place.open_parent().is_err() && place.create_parents().is_err());
    }
}
