//! Folders of a repository that are really elsewhere, because a folder on the way is a symlink.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::RepoPath;

/// The longest path in bytes: `PATH_MAX` of Linux.
const LONGEST: usize = 4096;
/// The number of links that Linux follows.
const MOST_LINKS: usize = 40;

/// Caches the result for each folder: one stat, however many paths are in it.
pub struct FolderLinks {
    top: PathBuf,
    folders: FxHashMap<String, FolderKind>,
}

#[derive(Clone, Debug)]
enum FolderKind {
    /// No folder on the way is a link, itself included.
    Plain,
    /// Behind a link; its real path, if it exists.
    Linked(Option<PathBuf>),
}

impl FolderLinks {
    /// `top` is absolute and has no symlinks.
    pub fn below(top: &Path) -> FolderLinks {
        FolderLinks { top: top.to_path_buf(), folders: FxHashMap::default() }
    }

    /// The real folder of a path; `None` if no folder above the path is a symlink, or if one does not exist.
    pub fn real_parent(&mut self, path: &RepoPath) -> Option<&Path> {
        match self.parent(path)? {
            FolderKind::Linked(real) => real.as_deref(),
            FolderKind::Plain => None,
        }
    }

    /// Is a folder above the path a symlink?
    pub fn is_linked(&mut self, path: &RepoPath) -> bool {
        matches!(self.parent(path), Some(FolderKind::Linked(_)))
    }

    /// Is this folder, or one above it, a symlink?
    pub fn is_linked_folder(&mut self, folder: &RepoPath) -> bool {
        if folder.is_root() {
            return false;
        }
        self.look(folder.as_str());
        matches!(self.folders.get(folder.as_str()), Some(FolderKind::Linked(_)))
    }

    fn parent(&mut self, path: &RepoPath) -> Option<&FolderKind> {
        let (folder, _) = path.as_str().rsplit_once('/')?;
        self.look(folder);
        self.folders.get(folder)
    }

    /// Resolves a folder and all its parents, the uppermost first.
    fn look(&mut self, folder: &str) {
        if self.folders.contains_key(folder) || folder.len() >= LONGEST {
            return;
        }
        let mut is_linked = false;
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for folder in ends.map(|end| &folder[..end]) {
            if let Some(known) = self.folders.get(folder) {
                is_linked = matches!(known, FolderKind::Linked(_));
                continue;
            }
            let on_disk = self.top.join(folder);
            is_linked = is_linked || fs::symlink_metadata(&on_disk).is_ok_and(|meta| meta.is_symlink());
            let found = if is_linked { FolderKind::Linked(fs::canonicalize(&on_disk).ok()) } else { FolderKind::Plain };
            self.folders.insert(folder.to_string(), found);
        }
    }
}

/// A path of the repository without the symlinks on the way; with `last`, a symlink at the end is resolved, too.
/// Missing names stay as they are. `None` if it leads out of the repository or is a loop. `top` is absolute and has no
/// symlinks.
pub fn resolve(top: &Path, path: &RepoPath, last: bool) -> Option<RepoPath> {
    let mut left: Vec<OsString> = path.parts().map(OsString::from).collect();
    left.reverse();
    let mut real = top.to_path_buf();
    let mut followed = 0;
    while let Some(name) = left.pop() {
        // `join` of `/` starts at the root of the disk.
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        let follows = last || !left.is_empty();
        let Some(target) = follows.then(|| fs::read_link(&next).ok()).flatten() else {
            real = next;
            continue;
        };
        followed += 1;
        if followed > MOST_LINKS || left.len() > LONGEST {
            return None;
        }
        for part in target.components().rev() {
            left.push(part.as_os_str().to_os_string());
        }
    }
    RepoPath::from_absolute(top, &real)
}

/// Does a path contain a folder followed by `..`?
pub fn steps_back(spelling: &str) -> bool {
    let mut parts = spelling.split('/').filter(|part| !["", "."].contains(part)).skip_while(|part| *part == "..");
    parts.any(|part| part == "..")
}

/// Handles a path that leaves a symlinked folder by `..`, so that the system finds another file than the spelling
/// suggests: returns the path by its spelling, and the real path. `None` for all other paths, and if a folder on the
/// way does not exist. `base` is absolute and has no symlinks.
pub fn step_back(base: &Path, spelling: &str) -> Option<(PathBuf, PathBuf)> {
    if !steps_back(spelling) {
        return None;
    }
    let raw = base.join(spelling);
    let spelled = PathBuf::from(super::normalise(raw.to_str()?));
    // The last name is not followed: it may be a link, or may not exist yet.
    let (folder, name) = match raw.file_name() {
        Some(name) => (raw.parent()?, Some(name)),
        None => (raw.as_path(), None),
    };
    let real = fs::canonicalize(folder).ok()?;
    let by_spelling = if name.is_some() { spelled.parent()? } else { &spelled };
    if fs::canonicalize(by_spelling).is_ok_and(|folder| folder == real) {
        return None;
    }
    let real = name.map_or_else(|| real.clone(), |name| real.join(name));
    Some((spelled, real))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folders_behind_symlinks_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let top = root.join("top");
        std::fs::create_dir_all(top.join("real/deep")).unwrap();
        std::fs::create_dir_all(root.join("out")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink("../../out", top.join("real/exit")).unwrap();
        symlink("gone", top.join("broken")).unwrap();
        for (path, want) in [
            ("f", None),
            ("real/f", None),
            ("real/deep/f", None),
            ("link", None),
            ("link/f", Some("top/real")),
            ("link/deep/f", Some("top/real/deep")),
            ("real/exit/f", Some("out")),
            ("link/exit/f", Some("out")),
            ("link/gone/f", None),
            ("broken/f", None),
            ("gone/f", None),
        ] {
            let path = RepoPath::root().join(path).unwrap();
            let mut links = FolderLinks::below(&top);
            let got = links.real_parent(&path).map(|real| real.strip_prefix(&root).unwrap().to_path_buf());
            assert_eq!(got.as_deref(), want.map(Path::new), "{path}");
        }
    }

    #[test]
    fn a_step_back_from_a_link_leads_to_another_folder() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        std::fs::create_dir_all(top.join("real/deep")).unwrap();
        std::fs::create_dir_all(top.join("sub")).unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        for (link, to) in [("lnk", "real/deep"), ("here", "sub"), ("out", "../"), ("a/b/up", "..")] {
            symlink(to, top.join(link)).unwrap();
        }
        for (base, spelling, want) in [
            ("", "x", None),
            ("", "lnk/x", None),
            ("sub", "../x", None),
            ("sub", "../lnk/x", None),
            ("", "sub/../x", None),
            ("", "gone/../x", None),
            // Both ways lead to the same folder.
            ("", "here/../x", None),
            ("", "lnk/../x", Some(("x", "real/x"))),
            ("sub", "../lnk/../x", Some(("x", "real/x"))),
            ("", "./lnk//.././deep/x", Some(("deep/x", "real/deep/x"))),
            ("", "lnk/..", Some(("", "real"))),
            ("", "lnk/../../x", Some(("../x", "x"))),
            ("", "a/b/up/../x", Some(("a/b/x", "x"))),
            ("", "out/../x", Some(("x", "../../x"))),
        ] {
            let at = |path: &str| PathBuf::from(crate::path::normalise(top.join(path).to_str().unwrap()));
            let want = want.map(|(spelled, real)| (at(spelled), at(real)));
            assert_eq!(step_back(&at(base), spelling), want, "{spelling}");
            assert_eq!(step_back(&at(base), top.join(base).join(spelling).to_str().unwrap()), want, "{spelling}");
        }
        for (spelling, want) in
            [("../../x", false), ("a/b", false), ("a/..", true), ("../a/../b", true), ("a..", false)]
        {
            assert_eq!(steps_back(spelling), want, "{spelling}");
        }
    }

    #[test]
    fn paths_are_resolved_also_where_nothing_is_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let top = root.join("top");
        std::fs::create_dir_all(top.join("real/deep")).unwrap();
        for (link, to) in [
            ("lnk", "real"),
            ("twice", "lnk/deep"),
            ("real/up", ".."),
            ("file", "real/o"),
            ("abs", top.join("real").to_str().unwrap()),
            ("ring", "ring2"),
            ("ring2", "ring"),
            ("out", "../elsewhere"),
            ("back", "../top/real"),
        ] {
            symlink(to, top.join(link)).unwrap();
        }
        for (path, last, want) in [
            ("real/o", true, Some("real/o")),
            ("lnk/o", true, Some("real/o")),
            ("lnk/new/o", true, Some("real/new/o")),
            ("twice/o", true, Some("real/deep/o")),
            ("lnk/up/lnk/o", true, Some("real/o")),
            ("file", true, Some("real/o")),
            ("file", false, Some("file")),
            ("lnk/o", false, Some("real/o")),
            ("abs/o", true, Some("real/o")),
            ("back/o", true, Some("real/o")),
            ("ring/o", true, None),
            ("out/o", true, None),
        ] {
            let path = RepoPath::root().join(path).unwrap();
            let got = resolve(&top, &path, last);
            assert_eq!(got.as_ref().map(RepoPath::as_str), want, "{path}");
        }
    }
}
