//! Decides what a symlink below a top counts as.
//!
//! A link that stays inside its top is content: it is stored as a relative link. A link that leads out counts as its
//! target. A dangling link is kept as it is. A loop is an error. The answer depends on other paths of the disk, so it
//! is computed at every scan; links are rare.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::store::fs::paths::to_path;
use crate::store::trees::rules::check_link;

/// The content that a symlink counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkContent {
    /// Kept as a link with this text.
    Kept(Vec<u8>),
    /// Leads out of the top, to a file or a folder.
    File,
    Folder,
}

/// The paths of a top, for resolving the links below it.
pub struct LinkBase {
    /// As it is spelled.
    path: PathBuf,
    /// Without symlinks.
    real: PathBuf,
}

impl LinkBase {
    pub fn new(path: &Path) -> Result<LinkBase> {
        let real = std::fs::canonicalize(path).map_err(|e| Error::io("open", path, e))?;
        Ok(LinkBase { path: path.to_path_buf(), real })
    }

    /// `link` is relative to the top.
    pub fn resolve(&self, link: &[u8]) -> Result<LinkContent> {
        let path = self.path.join(to_path(link));
        let text = std::fs::read_link(&path).map_err(|e| Error::io("read the symlink", &path, e))?;
        let real = match std::fs::canonicalize(&path) {
            Ok(real) => real,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(LinkContent::Kept(text.as_os_str().as_bytes().to_vec()));
            }
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(Error::new(Kind::Io, format!("{} is a symlink that leads to itself", path.display()))
                    .hint("remove the link, or let it point to a file or a folder"));
            }
            Err(e) => return Err(Error::io("follow the symlink", &path, e)),
        };
        let folder = to_path(link).parent().unwrap_or(Path::new(""));
        if self.is_real(folder) && stays_inside(folder, &text) {
            // The link names a path in the top. If that is a link that leads out, it is handled on its own.
            let named = self.real.join(folder).join(&text);
            if real.starts_with(&self.real) || named.parent().is_some_and(|p| self.holds(p)) {
                return Ok(LinkContent::Kept(text.as_os_str().as_bytes().to_vec()));
            }
        }
        let Ok(target) = real.strip_prefix(&self.real) else {
            let kind = std::fs::metadata(&real).map_err(|e| Error::io("look at", &path, e))?;
            return match (kind.is_file(), kind.is_dir()) {
                (true, _) => Ok(LinkContent::File),
                (_, true) => Ok(LinkContent::Folder),
                _ => Err(special(&path)),
            };
        };
        Ok(LinkContent::Kept(relative(folder, target).as_os_str().as_bytes().to_vec()))
    }
}

impl LinkBase {
    /// Is this folder of the top free of symlinks, itself included?
    fn is_real(&self, folder: &Path) -> bool {
        std::fs::canonicalize(self.path.join(folder)).is_ok_and(|f| f == self.real.join(folder))
    }

    fn holds(&self, path: &Path) -> bool {
        std::fs::canonicalize(path).is_ok_and(|p| p.starts_with(&self.real))
    }
}

/// Does `text`, relative to `folder`, stay in the top by its spelling?
fn stays_inside(folder: &Path, text: &Path) -> bool {
    check_link(folder.components().count(), text.as_os_str().as_bytes()).is_ok()
}

fn relative(folder: &Path, target: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (folder.components().collect(), target.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    let path: PathBuf = up.chain(to[common..].iter().copied()).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// The error for a FIFO, a socket or a device.
pub fn special(path: &Path) -> Error {
    Error::usage(format!("{} is neither a file nor a folder, so its content cannot be pinned", path.display()))
        .hint("remove it, or list it in .lockstepignore")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_count_as_what_they_mean() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir_all(dir.path().join("other")).unwrap();
        std::fs::write(top.join("file"), "x").unwrap();
        std::fs::write(dir.path().join("other/file"), "x").unwrap();
        let home = LinkBase::new(&top).unwrap();
        let kept = |text: &str| Some(LinkContent::Kept(text.as_bytes().to_vec()));
        let absolute = top.join("file").to_str().unwrap().to_string();
        for (at, text, want) in [
            ("l", "file", kept("file")),
            ("a/b/l", "../../file", kept("../../file")),
            ("a/b/m", "../../../top/file", kept("../../file")),
            ("a/n", absolute.as_str(), kept("../file")),
            ("a/up", "..", kept("..")),
            ("self", ".", kept(".")),
            ("out", "../other/file", Some(LinkContent::File)),
            ("outs", "../other", Some(LinkContent::Folder)),
            ("through", "outs/file", Some(LinkContent::File)),
            ("twice", "out", kept("out")),
            ("gone", "../nowhere", kept("../nowhere")),
            ("loop", "loop", None),
            ("dev", "/dev/null", None),
        ] {
            symlink(text, top.join(at)).unwrap();
            let got = home.resolve(at.as_bytes());
            assert_eq!(got.as_ref().ok(), want.as_ref(), "{at} -> {text}: {got:?}");
            if let Err(e) = got {
                assert!(e.message.contains(at), "{e}");
            }
        }
    }
}
