//! Places on the disk: what an ask names, and where lockstep may write.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

/// What the stat index is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Inside(RepoPath),
    /// An absolute path: a dep outside the repository, or an output that was set aside.
    Outside(PathBuf),
}

impl Place {
    /// The name under which the index keeps it: relative to the top, or absolute.
    pub fn key(&self) -> &[u8] {
        match self {
            Place::Inside(path) => path.as_str().as_bytes(),
            Place::Outside(path) => path.as_os_str().as_bytes(),
        }
    }

    pub fn on_disk(&self, top: &Path) -> PathBuf {
        match self {
            Place::Inside(path) => path.on_disk(top),
            Place::Outside(path) => path.clone(),
        }
    }
}

impl From<RepoPath> for Place {
    fn from(path: RepoPath) -> Place {
        Place::Inside(path)
    }
}

impl From<&RepoPath> for Place {
    fn from(path: &RepoPath) -> Place {
        Place::Inside(path.clone())
    }
}

pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

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

/// The name of a sibling that is built and then renamed to `path`.
pub fn sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or(OsStr::new("root")).as_bytes();
    // A long name is cut, since the sibling must fit into 255 bytes as well.
    let short = &name[..name.len().min(200)];
    path.with_file_name(OsStr::from_bytes(&[b".", short, format!(".lockstep-{:016x}", random()).as_bytes()].concat()))
}

/// What [`sibling`]s of `path` a killed process left.
pub fn leftovers(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or(OsStr::new("root")).as_bytes();
    let start = [b".", &name[..name.len().min(200)], b".lockstep-"].concat();
    let is_left = |name: &[u8]| {
        name.strip_prefix(&start[..]).is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
    };
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    entries.filter(|entry| is_left(entry.file_name().as_bytes())).map(|entry| entry.path()).collect()
}

/// Where `path` lies on the disk, its parents made real: refused if a symlink among them leads out of the repository,
/// so that nothing is ever written outside of it. The last name is not followed; the parents need not exist.
pub fn inside(top: &Path, path: &RepoPath) -> Result<PathBuf> {
    let real_top = std::fs::canonicalize(top).map_err(|e| Error::io("open", top, e))?;
    let Some(parent) = path.parent() else {
        return Err(Error::usage("the top of the repository itself cannot be written as an output"));
    };
    let (mut here, mut rest) = (parent, Vec::new());
    loop {
        let on_disk = here.on_disk(top);
        match std::fs::canonicalize(&on_disk) {
            Ok(real) if real.starts_with(&real_top) => {
                return Ok(rest.iter().rev().fold(real, |at, name: &String| at.join(name)).join(path.name()));
            }
            Ok(real) => return Err(leads_out(path, &here, &real)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if std::fs::symlink_metadata(&on_disk).is_ok() {
                    return Err(Error::new(Kind::Usage, format!("{path}: its folder {here} is a dangling symlink")));
                }
                rest.push(here.name().to_string());
                let Some(up) = here.parent() else { return Err(Error::io("open", top, e)) };
                here = up;
            }
            Err(e) => return Err(Error::io("open", on_disk, e)),
        }
    }
}

fn leads_out(path: &RepoPath, folder: &RepoPath, real: &Path) -> Error {
    Error::usage(format!("{path} leads out of the repository: its folder {folder} is really {}", real.display()))
        .hint("outputs and data must lie inside the repository; make the folder a real one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn parents_that_lead_out_are_refused() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("in")).unwrap();
        symlink(other.path(), top.join("out")).unwrap();
        symlink("nowhere", top.join("dangling")).unwrap();
        for (path, want) in [
            ("a", Some("a")),
            ("real/x/y/z", Some("real/x/y/z")),
            ("in/x/y", Some("real/x/y")),
            ("out", Some("out")),
            ("out/x", None),
            ("out/deep/x", None),
            ("dangling/x", None),
        ] {
            let got = inside(&top, &RepoPath::root().join(path).unwrap());
            assert_eq!(got.as_ref().ok(), want.map(|w| top.join(w)).as_ref(), "{path}: {got:?}");
            if let Err(e) = got {
                assert!(e.message.contains(path), "{e}");
            }
        }
        assert!(inside(&top, &RepoPath::root()).is_err());
    }

    #[test]
    fn siblings_fit_into_a_name() {
        let long = PathBuf::from(format!("/d/{}", "n".repeat(255)));
        let beside = sibling(&long);
        assert!(beside.file_name().unwrap().len() <= 255 && beside.parent() == long.parent());
    }

    #[test]
    fn leftovers_are_siblings_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f");
        let beside = sibling(&place);
        for other in
            ["f", ".f.lockstep-", ".f.lockstep-0123456789abcdeg", ".f.lockstep-0123", ".g.lockstep-0123456789abcdef"]
        {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        std::fs::create_dir(&beside).unwrap();
        assert_eq!(leftovers(&place), [beside]);
    }
}
