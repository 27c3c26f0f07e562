//! Folders of a repository that are really elsewhere, since a folder on the way is a symlink.

use std::fs;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::RepoPath;

/// No path of the system is longer, in bytes: `PATH_MAX` of Linux.
const LONGEST: usize = 4096;

/// Looks each folder up once: one stat, however many paths lie in it.
pub struct FolderLinks {
    top: PathBuf,
    real: FxHashMap<String, Option<PathBuf>>,
}

impl FolderLinks {
    /// `top` is absolute and has no symlinks.
    pub fn below(top: &Path) -> FolderLinks {
        FolderLinks { top: top.to_path_buf(), real: FxHashMap::default() }
    }

    /// Where the folder of a path really is; `None` if no folder above the path is a symlink, or if one is not there.
    pub fn real_parent(&mut self, path: &RepoPath) -> Option<&Path> {
        let (folder, _) = path.as_str().rsplit_once('/')?;
        self.look(folder);
        self.real.get(folder)?.as_deref()
    }

    /// Looks at a folder and at all above it, the uppermost first.
    fn look(&mut self, folder: &str) {
        if self.real.contains_key(folder) || folder.len() >= LONGEST {
            return;
        }
        let mut is_linked = false;
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for folder in ends.map(|end| &folder[..end]) {
            if let Some(real) = self.real.get(folder) {
                is_linked = real.is_some();
                continue;
            }
            let on_disk = self.top.join(folder);
            is_linked = is_linked || fs::symlink_metadata(&on_disk).is_ok_and(|meta| meta.is_symlink());
            let real = is_linked.then(|| fs::canonicalize(&on_disk).ok()).flatten();
            self.real.insert(folder.to_string(), real);
        }
    }
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
}
