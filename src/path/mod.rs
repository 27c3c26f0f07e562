//! Paths of a repository: normalised, relative to the Git root, with `/` between names.

pub mod home;
pub mod links;
pub mod names;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path below the root of the repository, normalised: no `.`, no `..`, no empty part, no leading or trailing `/`. The
/// root itself is the empty path and is shown as `.`. The spelling never leads out of the repository; symlinks are
/// checked on the disk.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct RepoPath(String);

impl RepoPath {
    /// The root of the repository.
    pub fn root() -> RepoPath {
        RepoPath(String::new())
    }

    /// Reads `spelling` relative to `self`; `None` if it leads out of the repository or is absolute.
    pub fn join(&self, spelling: &str) -> Option<RepoPath> {
        if spelling.starts_with('/') {
            return None;
        }
        let mut parts: Vec<&str> = self.parts().collect();
        for part in spelling.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                name => parts.push(name),
            }
        }
        Some(RepoPath(parts.join("/")))
    }

    /// An absolute path below the absolute, normalised `top`.
    pub fn from_absolute(top: &Path, path: &Path) -> Option<RepoPath> {
        let rest = path.strip_prefix(top).ok()?;
        RepoPath::root().join(rest.to_str()?)
    }

    /// Reads `word` relative to `self`, or absolute: by its spelling, else by the real path of its folder, since the
    /// shell may know a folder by a symlink to it. A `..` behind a symlink is relative to the target, as in the system.
    /// `top` is absolute and has no symlinks.
    pub fn join_typed(&self, top: &Path, word: &str) -> Option<RepoPath> {
        if let Some((_, real)) = links::step_back(&self.on_disk(top), word) {
            return RepoPath::from_absolute(top, &real);
        }
        if !word.starts_with('/') {
            return self.join(word);
        }
        let path = PathBuf::from(normalise(word));
        RepoPath::from_absolute(top, &path).or_else(|| {
            // The last name is not followed: the link itself is meant, not its target.
            let above = path.ancestors().skip(1).find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
            let (folder, real) = above?;
            RepoPath::from_absolute(top, &real.join(path.strip_prefix(folder).ok()?))
        })
    }

    /// The path without a leading `/`; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true for the empty path.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the path, from the root.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|p| !p.is_empty())
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The folder of the path; `None` for the root.
    pub fn parent(&self) -> Option<RepoPath> {
        if self.is_root() {
            return None;
        }
        Some(RepoPath(self.0.rsplit_once('/').map(|(dir, _)| dir.to_string()).unwrap_or_default()))
    }

    /// Is `self` the folder `dir`, or below it?
    pub fn is_in(&self, dir: &RepoPath) -> bool {
        dir.is_root() || self.0 == dir.0 || (self.0.starts_with(&dir.0) && self.0.as_bytes()[dir.0.len()] == b'/')
    }

    /// The path on the disk, in the repository at `top`.
    pub fn on_disk(&self, top: &Path) -> PathBuf {
        if self.is_root() { top.to_path_buf() } else { top.join(&self.0) }
    }

    /// `self` relative to the folder `dir`: `../b.txt`, `.` for `dir` itself.
    pub fn relative_to(&self, dir: &RepoPath) -> String {
        let (mine, from): (Vec<_>, Vec<_>) = (self.parts().collect(), dir.parts().collect());
        let common = mine.iter().zip(&from).take_while(|(a, b)| a == b).count();
        let mut out: Vec<&str> = vec![".."; from.len() - common];
        out.extend(&mine[common..]);
        if out.is_empty() { ".".into() } else { out.join("/") }
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `a/./b//../c/` → `a/c`; leading `..` stay; an absolute path stays absolute. The lock stores this spelling.
pub fn normalise(spelling: &str) -> String {
    let absolute = spelling.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in spelling.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            name => parts.push(name),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_stay_inside() {
        let sub = RepoPath::root().join("a/b").unwrap();
        for (spelling, want) in [
            ("x", Some("a/b/x")),
            ("../x/", Some("a/x")),
            ("./../../x", Some("x")),
            ("..//..", Some(".")),
            ("../../../x", None),
            ("/etc", None),
        ] {
            assert_eq!(sub.join(spelling).map(|p| p.to_string()).as_deref(), want, "{spelling}");
        }
    }

    #[test]
    fn absolute_paths_are_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        std::fs::create_dir_all(top.join("a")).unwrap();
        std::os::unix::fs::symlink(&top, top.with_file_name("link")).unwrap();
        let at = top.parent().unwrap().to_str().unwrap();
        let sub = RepoPath::root().join("a").unwrap();
        for (word, want) in [
            ("x", Some("a/x")),
            ("../../x", None),
            ("/top/a/../x/", Some("x")),
            ("/top", Some(".")),
            ("/link/a/none/x", Some("a/none/x")),
            ("/link/new", Some("new")),
            ("/top2/x", None),
            ("/", None),
        ] {
            let word = if word.starts_with('/') { format!("{at}{word}") } else { word.to_string() };
            assert_eq!(sub.join_typed(&top, &word).map(|p| p.to_string()).as_deref(), want, "{word}");
        }
    }

    #[test]
    fn seen_from_a_folder() {
        let p = |s: &str| RepoPath::root().join(s).unwrap();
        for (path, from, want) in
            [("a/b", "a", "b"), ("a/b", "a/c", "../b"), ("a", "a", "."), ("x", ".", "x"), (".", "a/b", "../..")]
        {
            assert_eq!(p(path).relative_to(&p(from)), want);
        }
        assert!(p("dir/x").is_in(&p("dir")) && !p("dir2").is_in(&p("dir")) && p("x").is_in(&RepoPath::root()));
    }

    #[test]
    fn spellings_are_normalised() {
        for (a, b) in
            [("./a//b/", "a/b"), ("a/../..", ".."), ("../../x/.", "../../x"), ("/a/../../b", "/b"), ("a/..", ".")]
        {
            assert_eq!(normalise(a), b);
        }
    }
}
