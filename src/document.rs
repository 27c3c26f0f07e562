//! Reads documents: files that are read whole and parsed (pipelines, locks, settings, ignore rules, params, metrics,
//! plots, templates).
//!
//! Two rules apply to all of them. Only a regular file is read, and only up to [`MOST`] bytes: a read of a FIFO would
//! block, and `/dev/zero` has no end. And a document of a repository is inside it: a path or a symlink that leads out,
//! or into Git's own folder, is an error ([`Bounds`]), since the content of a document is printed, recorded and
//! published.
//!
//! Data is hashed, not read: it has no size limit, and a dep may be anywhere.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::path::names::{Owner, owner_of};

/// The size limit of a document.
pub const MOST: u64 = 256 << 20;

/// Where the documents of a repository may be.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The root of the repository: absolute, without symlinks.
    top: PathBuf,
    /// Git's folders.
    git: Vec<PathBuf>,
    /// The target folder of links in a checkout: the objects of the store.
    objects: Option<PathBuf>,
}

impl Bounds {
    /// `git` are Git's folders of this repository, `objects` the folder of the store's objects.
    pub fn new<'a>(top: &Path, git: impl IntoIterator<Item = &'a PathBuf>, objects: Option<&Path>) -> Bounds {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Bounds {
            top: top.to_path_buf(),
            git: git.into_iter().map(|git| real(git)).collect(),
            objects: objects.map(Path::to_path_buf),
        }
    }

    /// The bytes of a file of the repository; `None` if it does not exist.
    ///
    /// Errors (usage): it leads out of the repository, it is not a regular file, it is too large.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match self.find(path)? {
            Some(real) => read_as(&real, path.strip_prefix(&self.top).unwrap_or(path), MOST),
            None => Ok(None),
        }
    }

    /// The real path of a path of the repository; `None` if it does not exist.
    ///
    /// Errors (usage): it leads out of the repository.
    pub fn find(&self, path: &Path) -> Result<Option<PathBuf>> {
        // Checked first: resolving a real path stats each folder on the way.
        if fs::symlink_metadata(path).is_err_and(|e| is_absent(&e)) {
            return Ok(None);
        }
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        match self.outside(&real) {
            None => Ok(Some(real)),
            Some(place) => {
                let shown = path.strip_prefix(&self.top).unwrap_or(path).display();
                Err(Error::usage(format!("{shown} is not read: it leads to {}, {place}", real.display()))
                    .hint("what lockstep reads may be printed and published: copy the file into the repository"))
            }
        }
    }

    /// The reason why a path without symlinks is outside the allowed folders.
    pub fn outside(&self, real: &Path) -> Option<&'static str> {
        let place = self.foreign(real)?;
        // Resolved last: the store may have been created since.
        let objects = self.objects.as_ref().and_then(|objects| fs::canonicalize(objects).ok());
        if objects.is_some_and(|objects| real.starts_with(objects)) { None } else { Some(place) }
    }

    fn foreign(&self, real: &Path) -> Option<&'static str> {
        let Ok(below) = real.strip_prefix(&self.top) else { return Some("outside of the repository") };
        let is_own = |name: &OsStr| matches!(owner_of(name.as_bytes()), Some(Owner::Git | Owner::Lockstep));
        // A worktree may be inside Git's folder.
        let mut git = self.git.iter().filter(|git| **git != self.top && git.starts_with(&self.top));
        let is_in_git = below.iter().any(is_own) || git.any(|git| real.starts_with(git));
        is_in_git.then_some("in a folder that belongs to Git or lockstep itself")
    }
}

/// The bytes of a file that the user named, in any folder, up to `most` of them; `None` if it does not exist.
///
/// Errors (usage): it is not a regular file, it is too large.
pub fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    read_as(path, path, most)
}

/// The text of a file that the user named; `None` if it does not exist.
pub fn read_text(path: &Path, most: u64) -> Result<Option<String>> {
    let Some(bytes) = read(path, most)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::usage(format!("{} is not UTF-8", path.display())))
}

/// The text of a file below `/proc`; `None` if the system has no such file.
pub fn read_system_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    open(path).ok()?.take(16 << 20).read_to_string(&mut text).ok()?;
    Some(text)
}

fn read_as(path: &Path, shown: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(e) if is_absent(&e) => return Ok(None),
        Err(e) if is_special(&e) => {
            return Err(Error::usage(format!("{} is not read: it is not a regular file", shown.display()))
                .hint("put a file there, or name another one"));
        }
        Err(e) => return Err(Error::io("read", shown, e)),
    };
    let large = || {
        Error::usage(format!("{} is larger than {}, too large to be read whole", shown.display(), size(most)))
            .hint("name a smaller file; data of any size goes into deps, outs and data")
    };
    let length = file.metadata().map_err(|e| Error::io("read", shown, e))?.len();
    if length > most {
        return Err(large());
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", shown, e))?;
    // It grew during the read, or the system does not report its size.
    if bytes.len() as u64 > most { Err(large()) } else { Ok(Some(bytes)) }
}

/// Opens a regular file for reading. Anything else is refused before it is opened; if a FIFO takes the place of the
/// file, the call does not block.
pub fn open(path: &Path) -> io::Result<File> {
    must_be_regular(&fs::metadata(path)?)?;
    let file = File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)?;
    must_be_regular(&file.metadata()?)?;
    Ok(file)
}

/// The same, but refuses a symlink at the path itself; folders above it may be symlinks.
pub fn open_unlinked(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|e| if path.is_symlink() { io::Error::other("it is a symlink") } else { e })?;
    must_be_regular(&file.metadata()?)?;
    Ok(file)
}

fn must_be_regular(meta: &Metadata) -> io::Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let kind = if meta.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::Unsupported };
    let text = if meta.is_dir() { "it is a folder" } else { "it is not a regular file" };
    Err(io::Error::new(kind, text))
}

fn is_special(e: &io::Error) -> bool {
    e.kind() == ErrorKind::Unsupported
}

fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn size(bytes: u64) -> String {
    match bytes {
        1..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn documents_lie_in_the_repository_and_are_regular_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let top = root.join("top");
        for folder in ["top/d", "top/.git/lockstep/store/objects", "top/sub/.git", "top/sub/.lockstep", "git"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "top/f",
            "top/.git/config",
            "top/.git/lockstep/store/objects/o",
            "top/sub/.git/config",
            "top/sub/.lockstep/x",
            "git/config",
            "secret",
        ] {
            fs::write(root.join(file), file).unwrap();
        }
        rustix::fs::mknodat(rustix::fs::CWD, top.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for (to, at) in [
            ("../f", "d/in"),
            ("../../secret", "d/out"),
            ("/dev/zero", "d/zero"),
            ("../.git/config", "d/git"),
            ("../.git/lockstep/store/objects/o", "d/object"),
            ("../sub/.git/config", "d/nested"),
            ("../../git/config", "d/common"),
            ("..", "d/up"),
            ("nowhere", "d/dangling"),
            ("d/out", "twice"),
        ] {
            symlink(to, top.join(at)).unwrap();
        }
        let git = [top.join(".git"), root.join("git")];
        let bounds = Bounds::new(&top, &git, Some(&top.join(".git/lockstep/store/objects")));
        let read = |path: &str| match bounds.read(&top.join(path)) {
            Ok(None) => "none".to_string(),
            Ok(Some(bytes)) => String::from_utf8(bytes).unwrap(),
            Err(e) => e.message.replace(root.to_str().unwrap(), "ROOT"),
        };
        let out = |path: &str, to: &str, place: &str| format!("{path} is not read: it leads to {to}, {place}");
        let (outside, own) = ("outside of the repository", "in a folder that belongs to Git or lockstep itself");
        for (path, want) in [
            ("f", "top/f".to_string()),
            ("d/in", "top/f".to_string()),
            ("d/up/f", "top/f".to_string()),
            ("gone", "none".to_string()),
            ("f/below", "none".to_string()),
            ("d/dangling", "none".to_string()),
            ("d", "cannot read d: it is a folder".to_string()),
            ("fifo", "fifo is not read: it is not a regular file".to_string()),
            ("d/out", out("d/out", "ROOT/secret", outside)),
            ("twice", out("twice", "ROOT/secret", outside)),
            ("../secret", out("../secret", "ROOT/secret", outside)),
            ("d/zero", out("d/zero", "/dev/zero", outside)),
            ("d/git", out("d/git", "ROOT/top/.git/config", own)),
            (".git/config", out(".git/config", "ROOT/top/.git/config", own)),
            ("d/object", "top/.git/lockstep/store/objects/o".to_string()),
            ("d/nested", out("d/nested", "ROOT/top/sub/.git/config", own)),
            ("sub/.lockstep/x", out("sub/.lockstep/x", "ROOT/top/sub/.lockstep/x", own)),
            ("d/common", out("d/common", "ROOT/git/config", outside)),
        ] {
            assert_eq!(read(path), want, "{path}");
        }
    }

    #[test]
    fn nothing_is_read_beyond_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "12345678").unwrap();
        assert_eq!(read(&path, 8).unwrap().unwrap(), b"12345678");
        assert!(read(&path, 7).unwrap_err().message.ends_with("f is larger than 7 bytes, too large to be read whole"));
        // A sparse file costs nothing to create.
        File::options().write(true).open(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(read(&path, MOST).unwrap_err().message.contains("256 MiB"));
        assert_eq!(read(&dir.path().join("gone"), 8).unwrap(), None);
        assert!(read(Path::new("/dev/zero"), 8).unwrap_err().message.contains("not a regular file"));
    }
}
