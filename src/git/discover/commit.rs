//! Discovers the pipeline files of a commit, by the rules of [`discover`](crate::git::discover()) except Git's own
//! ignore rules: files in a commit are tracked.
//!
//! The relevant files below a folder depend on its tree id alone, so they are computed once for each distinct tree: in
//! a history of 10,000 commits these are the root and the edited folders, not everything.

use std::collections::HashSet;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::git::discover::{DVC_FILE, DiscoveredFiles, PIPELINE_FILE};
use crate::git::history::History;
use crate::git::history::commit::{Commit, EntryKind};
use crate::git::history::special::{DiscoveryFile, DiscoveryFileKind};
use crate::git::id::GitId;
use crate::git::ignore::{self, Rules};
use crate::git::repo::PROJECT_FILE;
use crate::path::RepoPath;

/// The largest depth of folders and the largest number of pipelines: no real repository exceeds it, and a malicious one
/// is stopped here.
pub(in crate::git) const DEEPEST: usize = 250;
const MOST: usize = 100_000;

/// The files beside a pipeline that most commands read.
const BESIDE_PIPELINES: [&str; 3] = ["pipeline.lock", "params.yaml", "metrics.json"];

/// Folders with lockstep's own data, in case a commit contains them.
const OWN: &[u8] = b".lockstep";

impl Commit {
    /// The pipeline files of the project in `root`, at this commit; `skip` are the paths of outs and data.
    pub fn discover(&self, root: &RepoPath, skip: &[RepoPath]) -> Result<DiscoveredFiles> {
        let special = self.history.special(self.tree, 0)?;
        self.fetch_read(&special)?;
        let text_of = |path: &RepoPath| -> Result<Vec<u8>> { Ok(self.read(path)?.unwrap_or_default()) };
        let at = |path: &str| RepoPath::root().join(path).unwrap_or_default();
        let mut found = DiscoveredFiles {
            pipelines: Vec::new(),
            locks: Vec::new(),
            dvc: Vec::new(),
            rules: Rules::from_text(&text_of(&at(ignore::FILE))?)?,
            unreadable: Vec::new(),
            links: Vec::new(),
        };
        // Folders by name, the files of a folder before those below it: a rule is read before the files that it
        // affects.
        let mut files: Vec<(RepoPath, &DiscoveryFile)> = special.iter().map(|s| (at(&s.path), s)).collect();
        let folder = |path: &RepoPath| path.parent().unwrap_or_default();
        files.sort_by_cached_key(|(path, s)| {
            (folder(path).parts().map(str::to_string).collect::<Vec<_>>(), s.what != DiscoveryFileKind::Rules)
        });
        let projects: HashSet<RepoPath> = files
            .iter()
            .filter(|(path, s)| {
                s.what == DiscoveryFileKind::Project && folder(path).is_in(root) && folder(path) != *root
            })
            .map(|(path, _)| folder(path))
            .collect();
        let skip: HashSet<&RepoPath> = skip.iter().collect();
        for (path, special) in files {
            let folder = folder(&path);
            if special.what == DiscoveryFileKind::Rules && (folder.is_root() || root.is_in(&folder)) {
                // Above the project and in its root all rules count.
                if !folder.is_root() {
                    found.rules.add_text(folder.as_str(), &text_of(&path)?)?;
                }
                continue;
            }
            if !folder.is_in(root) {
                continue;
            }
            let is_out = |path: &RepoPath, is_dir: bool| {
                skip.contains(path) || found.rules.ignored(path.as_str().as_bytes(), is_dir)
            };
            let mut above = Some(folder.clone());
            let mut passed_over = false;
            while let Some(here) = above.filter(|here| here != root && here.is_in(root)) {
                passed_over |= projects.contains(&here) || is_out(&here, true);
                above = here.parent();
            }
            if passed_over {
                continue;
            }
            match special.what {
                DiscoveryFileKind::Rules => found.rules.add_text(folder.as_str(), &text_of(&path)?)?,
                DiscoveryFileKind::Project => {}
                DiscoveryFileKind::Pipeline | DiscoveryFileKind::Dvc => {
                    if is_out(&path, false) || !self.is_file(special, &path)? {
                        continue;
                    }
                    if special.what == DiscoveryFileKind::Dvc { &mut found.dvc } else { &mut found.pipelines }
                        .push(path);
                }
            }
        }
        Ok(found)
    }

    /// In a partial clone, fetches the pipeline files and the files beside them with one request.
    fn fetch_read(&self, special: &[DiscoveryFile]) -> Result<()> {
        if !self.history.0.is_partial {
            return Ok(());
        }
        let mut ids: Vec<gix::ObjectId> = special.iter().map(|special| special.id.0).collect();
        for special in special.iter().filter(|special| special.what == DiscoveryFileKind::Pipeline) {
            let folder = RepoPath::root().join(&special.path).and_then(|path| path.parent()).unwrap_or_default();
            for name in BESIDE_PIPELINES {
                let found = folder.join(name).map(|path| self.find(&path)).transpose()?.flatten();
                ids.extend(found.filter(|(kind, _)| *kind != EntryKind::Folder).map(|(_, id)| id.0));
            }
        }
        self.history.fetch_missing(ids);
        Ok(())
    }

    fn is_file(&self, special: &DiscoveryFile, path: &RepoPath) -> Result<bool> {
        if special.kind != EntryKind::Symlink {
            return Ok(true);
        }
        Ok(matches!(self.find(path)?, Some((EntryKind::File | EntryKind::Executable, _))))
    }

    /// The ids of all files that may affect the pipelines, except files that their templates read: two commits with
    /// equal lists have equal pipelines.
    pub fn fingerprint(&self) -> Result<Vec<(String, GitId)>> {
        let special = self.history.special(self.tree, 0)?;
        let one = |s: &DiscoveryFile| {
            let linked = match RepoPath::root().join(&s.path) {
                Some(path) if s.kind == EntryKind::Symlink => self.find(&path)?,
                _ => None,
            };
            Ok((s.path.clone(), linked.map_or(s.id, |(_, id)| id)))
        };
        special.iter().map(one).collect()
    }

    /// The folder of the nearest `lockstep.toml` from `folder` upwards, else the root.
    pub fn project_root(&self, folder: &RepoPath) -> Result<RepoPath> {
        let mut at = Some(folder.clone());
        while let Some(here) = at {
            if here.join(PROJECT_FILE).is_some_and(|file| matches!(self.find(&file), Ok(Some(_)))) {
                return Ok(here);
            }
            at = here.parent();
        }
        Ok(RepoPath::root())
    }
}

impl History {
    /// The relevant files below a folder; cached.
    fn special_below(&self, tree: gix::ObjectId, depth: usize) -> Result<Rc<Vec<DiscoveryFile>>> {
        if let Some(known) = self.0.special.borrow().get(&tree) {
            return Ok(known.clone());
        }
        let found = Rc::new(self.special(tree, depth)?);
        self.0.special.borrow_mut().insert(tree, found.clone());
        Ok(found)
    }

    /// The same for a root, which hardly occurs in another commit.
    fn special(&self, tree: gix::ObjectId, depth: usize) -> Result<Vec<DiscoveryFile>> {
        let mut found = Vec::new();
        if depth > DEEPEST {
            return Ok(found);
        }
        for entry in self.tree(tree)?.iter() {
            // A name that is not UTF-8 cannot be written in a pipeline.
            let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
            if entry.kind == EntryKind::Folder {
                if entry.name != OWN {
                    let below = self.special_below(entry.id.0, depth + 1)?;
                    if found.len() + below.len() > MOST {
                        return Err(Error::usage(format!("the commit has more than {MOST} pipeline files")));
                    }
                    found.extend(
                        below.iter().map(|s| DiscoveryFile { path: format!("{name}/{}", s.path), ..s.clone() }),
                    );
                }
                continue;
            }
            let what = match name {
                PIPELINE_FILE => DiscoveryFileKind::Pipeline,
                DVC_FILE => DiscoveryFileKind::Dvc,
                ignore::FILE => DiscoveryFileKind::Rules,
                PROJECT_FILE => DiscoveryFileKind::Project,
                _ => continue,
            };
            if entry.kind != EntryKind::Submodule {
                found.push(DiscoveryFile { path: name.to_string(), what, kind: entry.kind, id: entry.id });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};
    use crate::git::{Repo, discover};

    /// In a commit of all files, discovery finds the same as in the worktree.
    #[test]
    fn as_in_the_worktree() {
        let (_dir, top) = repository();
        for folder in ["", "b/", "b/c/", "a-b/", "a/z/", ".hidden/", "out/", "proj/", "proj/y/", "e x/", "own/", "tmp/"]
        {
            write(&top, &[(&format!("{folder}pipeline.yaml"), "")]);
        }
        write(&top, &[("proj/lockstep.toml", ""), ("old/dvc.yaml", ""), (".lockstepignore", "/own/\n*.bak\n")]);
        write(&top, &[("b/.lockstepignore", "/c/\n"), ("own/.lockstepignore", "x\n"), ("e x/data", "")]);
        std::os::unix::fs::symlink("b", top.join("link")).unwrap();
        std::os::unix::fs::symlink("../b/pipeline.yaml", top.join("old/pipeline.yaml")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("e x/dvc.yaml")).unwrap();
        commit_all(&top, "all");
        for start in ["", "proj", "b"] {
            let repo = Repo::discover(&top.join(start)).unwrap();
            let skip: Vec<RepoPath> =
                ["out", "tmp/pipeline.yaml"].iter().filter_map(|p| RepoPath::root().join(p)).collect();
            let now = discover(&repo, &skip).unwrap();
            let then = repo.resolve("HEAD").unwrap().discover(&repo.project_root, &skip).unwrap();
            assert_eq!((then.pipelines, then.dvc), (now.pipelines, now.dvc), "{start}");
            assert_eq!(then.rules.id(), now.rules.id(), "{start}");
        }
        git(&top, &["rm", "-q", "--cached", "a/z/pipeline.yaml"]);
        commit_all(&top, "back");
    }

    /// A tree that contains itself many times over, or is endlessly deep, ends the search and not the program.
    #[test]
    fn bombs_do_not_go_off() {
        let (_dir, top) = repository();
        write(&top, &[("pipeline.yaml", "x")]);
        commit_all(&top, "x");
        let make = |entries: &str| {
            std::fs::write(top.join("list"), entries).unwrap();
            let script = "git mktree < list";
            let out = std::process::Command::new("sh").args(["-c", script]).current_dir(&top).output().unwrap();
            String::from_utf8(out.stdout).unwrap().trim().to_string()
        };
        let mut wide = git(&top, &["rev-parse", "HEAD^{tree}"]).trim().to_string();
        let mut deep = wide.clone();
        for _ in 0..8 {
            wide = make(&(0..10).map(|n| format!("040000 tree {wide}\td{n}\n")).collect::<String>());
        }
        for _ in 0..400 {
            deep = make(&format!("040000 tree {deep}\td\n"));
        }
        let at = |tree: &str| {
            let commit = git(&top, &["commit-tree", "-m", "x", tree]);
            Repo::discover(&top).unwrap().resolve(commit.trim()).unwrap().discover(&RepoPath::root(), &[])
        };
        assert!(at(&wide).unwrap_err().message.contains("more than"));
        assert_eq!(at(&deep).unwrap().pipelines, []);
    }

    #[test]
    fn the_fingerprint_is_that_of_pipelines_alone() {
        let (_dir, top) = repository();
        write(&top, &[("a/b/pipeline.yaml", "1"), ("a/x", "1")]);
        std::os::unix::fs::symlink("a/b/pipeline.yaml", top.join("pipeline.yaml")).unwrap();
        let ids: Vec<_> = ["1", "2", "3"]
            .iter()
            .map(|n| {
                write(&top, &[("a/x", n)]);
                if *n == "3" {
                    write(&top, &[("a/b/pipeline.yaml", n)]);
                }
                commit_all(&top, n);
                Repo::discover(&top).unwrap().resolve("HEAD").unwrap().fingerprint().unwrap()
            })
            .collect();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0].len(), 2);
        assert!(ids[1].iter().zip(&ids[2]).all(|(a, b)| a.0 == b.0 && a.1 != b.1));
    }
}
