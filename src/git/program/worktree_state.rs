//! How files of the worktree differ from Git's index, at a few paths.

use std::str;

use super::{Repo, run};
use crate::error::Result;
use crate::path::RepoPath;

/// How many paths one `git` command gets.
const PATHS: usize = 500;

/// The state of a file or folder that is not as in Git's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorktreeState {
    /// Tracked, and changed or deleted.
    Modified,
    Untracked,
    Ignored,
}

impl Repo {
    /// The files and folders at or below these paths that differ from Git's index. A folder without tracked files is
    /// one line, and so is an ignored folder, also if it is above a path. Git compares these paths only, and writes
    /// nothing.
    ///
    /// Errors: `git` fails.
    pub fn worktree_states(&self, paths: &[RepoPath]) -> Result<Vec<(RepoPath, WorktreeState)>> {
        let mut found = Vec::new();
        for paths in paths.chunks(PATHS) {
            let mut command = self.worktree_question();
            command.env("GIT_LITERAL_PATHSPECS", "1").env("GIT_OPTIONAL_LOCKS", "0");
            command.args(["status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=dirty"]);
            command.args(["--untracked-files=normal", "--ignored=matching", "--"]);
            command.args(paths.iter().map(RepoPath::as_str));
            found.extend(run(&mut command)?.split(|byte| *byte == 0).filter_map(state));
        }
        Ok(found)
    }
}

/// One line: the state in the index, the state in the worktree, a blank, and the path.
fn state(line: &[u8]) -> Option<(RepoPath, WorktreeState)> {
    let line = str::from_utf8(line).ok()?;
    let (state, path) = (line.get(..2)?, line.get(3..)?);
    let state = match state {
        "??" => WorktreeState::Untracked,
        "!!" => WorktreeState::Ignored,
        staged if staged.ends_with(' ') => return None,
        _ => WorktreeState::Modified,
    };
    Some((RepoPath::root().join(path.trim_end_matches('/'))?, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn only_differences_from_the_index_are_listed() {
        let (_dir, top) = repository();
        write(&top, &[("same", "1"), ("changed", "1"), ("staged", "1"), ("gone", "1"), ("src/a", "1"), ("*", "1")]);
        write(&top, &[(".gitignore", "*.log\n/ignored/\n")]);
        commit_all(&top, "1");
        write(&top, &[("changed", "2"), ("staged", "2"), ("src/b", "1"), ("src/c.log", "1"), ("new/deep/x", "1")]);
        write(&top, &[("ignored/x", "1"), ("other", "1")]);
        git(&top, &["add", "staged"]);
        std::fs::remove_file(top.join("gone")).unwrap();
        let names = ["same", "changed", "staged", "gone", "src", "*", "new", "ignored/x", "absent"];
        let paths: Vec<RepoPath> = names.iter().map(|name| RepoPath::root().join(name).unwrap()).collect();
        let found = Repo::discover(&top).unwrap().worktree_states(&paths).unwrap();
        let mut found: Vec<String> = found.iter().map(|(path, state)| format!("{state:?} {path}")).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "Ignored ignored",
                "Ignored src/c.log",
                "Modified changed",
                "Modified gone",
                "Untracked new",
                "Untracked src/b"
            ]
        );
    }
}
