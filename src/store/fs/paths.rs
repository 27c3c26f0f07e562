//! Paths on the disk: tracked paths, and the names of temporary files and backups.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::path::RepoPath;
use crate::replace;

/// A path that the stat index tracks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackedPath {
    /// A path below the top.
    Inside(RepoPath),
    /// An absolute path: a dep outside the repository, or an output that was moved to a backup.
    Outside(PathBuf),
}

impl TrackedPath {
    /// The key of the path in the index: relative to the top, or absolute.
    pub fn key(&self) -> &[u8] {
        match self {
            TrackedPath::Inside(path) => path.as_str().as_bytes(),
            TrackedPath::Outside(path) => path.as_os_str().as_bytes(),
        }
    }

    /// The path on the disk, in the repository at `top`.
    pub fn on_disk(&self, top: &Path) -> PathBuf {
        match self {
            TrackedPath::Inside(path) => path.on_disk(top),
            TrackedPath::Outside(path) => path.clone(),
        }
    }
}

impl From<RepoPath> for TrackedPath {
    fn from(path: RepoPath) -> TrackedPath {
        TrackedPath::Inside(path)
    }
}

impl From<&RepoPath> for TrackedPath {
    fn from(path: &RepoPath) -> TrackedPath {
        TrackedPath::Inside(path.clone())
    }
}

/// The path of a name in a folder; an empty folder is the top.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// The bytes as a path, in any encoding.
pub fn to_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A number that no other process picks, from the hasher keys of the standard library, which are random.
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// A name that no other process picks.
pub fn random_name() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// The kinds of files that lockstep creates beside a path. The name tells the kind, and so which process may delete the
/// file: after a kill only the name is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiblingKind {
    /// A temporary file or folder that is being built, to be renamed to the path: worthless once its process is dead.
    Temporary,
    /// A backup of the last good output during a run, to be restored.
    Backup,
    /// Files of the user that could not move to the log folder, because it is on another file system.
    Preserved,
}

impl SiblingKind {
    const ALL: [SiblingKind; 3] = [SiblingKind::Temporary, SiblingKind::Backup, SiblingKind::Preserved];

    fn infix(self) -> &'static [u8] {
        match self {
            SiblingKind::Temporary => b".lockstep-",
            SiblingKind::Backup => b".lockstep-aside-",
            SiblingKind::Preserved => b".lockstep-kept-",
        }
    }

    /// A new name beside `path`.
    pub fn new_path(self, path: &Path) -> PathBuf {
        let number = format!("{:016x}", random());
        path.with_file_name(OsStr::from_bytes(&[&self.start(path)[..], number.as_bytes()].concat()))
    }

    /// Is `name` of this kind and for `path`?
    pub fn matches(self, name: &OsStr, path: &Path) -> bool {
        name.as_bytes().strip_prefix(&self.start(path)[..]).is_some_and(is_number)
    }

    fn start(self, path: &Path) -> Vec<u8> {
        let name = path.file_name().unwrap_or(OsStr::new("root")).as_bytes();
        // A long name is cut, since the new name must fit into 255 bytes as well.
        [b".", &name[..name.len().min(200)], self.infix()].concat()
    }
}

fn is_number(rest: &[u8]) -> bool {
    rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit)
}

/// Is this file name of one of these kinds, for any path? User content has no such names.
pub fn is_sibling_name(name: &[u8]) -> bool {
    let Some(at) = name.len().checked_sub(16).filter(|_| name.starts_with(b".")) else { return false };
    let (start, number) = name.split_at(at);
    let infixes = SiblingKind::ALL.iter().map(|beside| beside.infix()).chain([replace::INFIX.as_bytes()]);
    is_number(number) && infixes.into_iter().any(|infix| start.len() > infix.len() + 1 && start.ends_with(infix))
}

/// A new name beside `path` for content that is built and then renamed to `path`.
pub fn temp_sibling(path: &Path) -> PathBuf {
    SiblingKind::Temporary.new_path(path)
}

/// The temporary siblings of `path` that a killed process left.
pub fn abandoned_siblings(path: &Path) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    entries.filter(|entry| SiblingKind::Temporary.matches(&entry.file_name(), path)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_fit_into_a_name() {
        let long = PathBuf::from(format!("/d/{}", "n".repeat(255)));
        for kind in SiblingKind::ALL {
            let beside = kind.new_path(&long);
            assert!(beside.file_name().unwrap().len() <= 255 && beside.parent() == long.parent());
            assert!(kind.matches(beside.file_name().unwrap(), &long));
        }
    }

    #[test]
    fn leftovers_are_siblings_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f");
        let beside = temp_sibling(&place);
        for other in
            ["f", ".f.lockstep-", ".f.lockstep-0123456789abcdeg", ".f.lockstep-0123", ".g.lockstep-0123456789abcdef"]
        {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        std::fs::create_dir(&beside).unwrap();
        // These may be the only copy of a file.
        for kind in [SiblingKind::Backup, SiblingKind::Preserved] {
            std::fs::write(kind.new_path(&place), "").unwrap();
        }
        assert_eq!(abandoned_siblings(&place), [beside]);
    }

    #[test]
    fn names_of_ours_are_known_wherever_they_lie() {
        for (name, want) in [
            (".f.lockstep-0123456789abcdef", true),
            (".f.lockstep-aside-0123456789abcdef", true),
            (".f.lockstep-kept-0123456789abcdef", true),
            ("f.lockstep-0123456789abcdef", false),
            (".f.lockstep-0123456789abcdeg", false),
            (".lockstep-0123456789abcdef", false),
            (".f.lockstep-new", false),
            (".f.lockstep-new-0123456789abcdef", true),
            ("0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(is_sibling_name(name.as_bytes()), want, "{name}");
        }
    }
}
