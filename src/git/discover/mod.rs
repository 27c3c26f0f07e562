//! Discovers the pipeline files of a project.
//!
//! Every command does this, so it costs one listing per folder and nothing per file: walkdir takes the types of entries
//! from the listing, without a stat. A folder that is ignored, foreign, or skipped by the caller is not listed at all.

pub(super) mod commit;

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use walkdir::WalkDir;

use super::ignore::Rules;
use super::repo::{PROJECT_FILE, Repo};
use crate::document::{self, Bounds};
use crate::error::{Error, Result};
use crate::git::ignore::patterns::{LARGEST, Patterns};
use crate::path::RepoPath;
use commit::DEEPEST;

pub(super) const PIPELINE_FILE: &str = "pipeline.yaml";
const LOCK_FILE: &str = "pipeline.lock";
pub(super) const DVC_FILE: &str = "dvc.yaml";
const GIT_RULES: &str = ".gitignore";

/// The result of [`discover`].
#[derive(Debug)]
pub struct DiscoveredFiles {
    /// The `pipeline.yaml` files: those of a folder before those below it, folders by name.
    pub pipelines: Vec<RepoPath>,
    /// The `pipeline.lock` files, with or without a `pipeline.yaml` beside them.
    pub locks: Vec<RepoPath>,
    /// `dvc.yaml` files, and what `dvc add` writes (`data.dvc`), in the same order, for hints.
    pub dvc: Vec<RepoPath>,
    /// The `.lockstepignore` rules of the root and of all folders walked. This walk obeys them, too.
    pub rules: Rules,
    /// Folders that could not be read, each with the reason.
    pub unreadable: Vec<Error>,
    /// The symlinks in the folders walked, ignored by Git or not.
    pub links: Vec<RepoPath>,
}

/// Discovers the pipeline files of the project of `repo`, in its root and below. Skips files that Git ignores
/// (`.gitignore` files, `info/exclude`, the user's global rules) or `.lockstepignore` names, `.git`, nested
/// repositories, nested projects, symlinked folders, and the paths in `skip` (outs and data).
pub fn discover(repo: &Repo, skip: &[RepoPath]) -> Result<DiscoveredFiles> {
    let bounds = repo.bounds();
    let rules = Rules::load(&repo.top, &bounds)?;
    let mut walk = DiscoveryWalk {
        repo,
        skip: skip.iter().map(RepoPath::as_str).collect(),
        found: DiscoveredFiles {
            pipelines: Vec::new(),
            locks: Vec::new(),
            dvc: Vec::new(),
            rules,
            unreadable: Vec::new(),
            links: Vec::new(),
        },
        bounds,
    };
    let mut rules = None;
    if let Some(common) = &repo.common_dir {
        // From the lowest to the highest precedence.
        if let Some(file) = &repo.settings().excludes_file {
            rules = GitRules::add(rules, file, 0, &mut walk.found.unreadable);
        }
        rules = GitRules::add(rules, &common.join("info/exclude"), 0, &mut walk.found.unreadable);
    }
    // The folders above the project root are not walked, but their rules count.
    let mut path = String::new();
    for name in repo.project_root.parts() {
        if repo.is_git() {
            let file = repo.top.join(&path).join(GIT_RULES);
            rules = GitRules::add(rules, &file, prefix(&path), &mut walk.found.unreadable);
        }
        if !path.is_empty() {
            walk.found.rules.add(&repo.top, &walk.bounds, &path)?;
        }
        path = child(&path, name);
    }
    walk.all(WalkedFolder { path, rules })?;
    for found in [&mut walk.found.pipelines, &mut walk.found.dvc] {
        // A folder has one file of each name: comparing folders name by name sorts it before those below it.
        found.sort_by_cached_key(|file| file.parent().map(|folder| parts(&folder)));
    }
    Ok(walk.found)
}

struct DiscoveryWalk<'a> {
    repo: &'a Repo,
    bounds: Bounds,
    skip: HashSet<&'a str>,
    found: DiscoveredFiles,
}

/// A folder that is being walked.
struct WalkedFolder {
    /// From the root of the repository, empty for the root.
    path: String,
    /// Git's rules that apply in it.
    rules: Option<Rc<GitRules>>,
}

/// One file of Git's rules, linked to those of lower precedence.
struct GitRules {
    /// The length of its folder's path (with the `/`): this prefix is cut off a path before it is matched.
    cut: usize,
    patterns: Patterns,
    weaker: Option<Rc<GitRules>>,
}

impl GitRules {
    /// Unreadable rules are skipped, as in Git, which warns about them itself.
    fn add(weaker: Option<Rc<GitRules>>, file: &Path, cut: usize, faults: &mut Vec<Error>) -> Option<Rc<GitRules>> {
        let text = document::read(file, LARGEST).ok().flatten().unwrap_or_default();
        let patterns = Patterns::parse(&text).unwrap_or_else(|why| {
            faults.push(Error::usage(format!("{} does not count here: {why}", file.display())));
            Patterns::default()
        });
        if patterns.is_empty() { weaker } else { Some(Rc::new(GitRules { cut, patterns, weaker })) }
    }
}

/// Is it a DVC pipeline, or a DVC pointer to data?
pub(super) fn is_of_dvc(name: &str) -> bool {
    name == DVC_FILE || name.strip_suffix(".dvc").is_some_and(|data| !data.is_empty())
}

impl DiscoveryWalk<'_> {
    /// Walks the folder `start`, whose own rules are not loaded yet.
    fn all(&mut self, start: WalkedFolder) -> Result<()> {
        let deepest = DEEPEST + 1 - self.repo.project_root.parts().count().min(DEEPEST);
        let mut entries = WalkDir::new(self.repo.top.join(&start.path)).max_depth(deepest).into_iter();
        // The folders from the start down to the folder of the entry.
        let mut open = vec![self.enter(start.path, start.rules)?];
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    self.unreadable(e);
                    continue;
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            open.truncate(entry.depth());
            let Some(folder) = open.last() else { continue };
            // Names that are not UTF-8 cannot be written in a pipeline.
            let path = entry.file_name().to_str().map(|name| (name, child(&folder.path, name)));
            let is_dir = entry.file_type().is_dir();
            if let Some((_, path)) = path.as_ref().filter(|_| entry.file_type().is_symlink()) {
                self.found.links.extend(RepoPath::root().join(path));
            }
            match path {
                Some((_, path))
                    if is_dir
                        && !self.passed_over(&path, true, &folder.rules)
                        && !is_foreign(entry.path(), self.repo.is_git())
                        && !self.repo.is_git_folder(entry.path()) =>
                {
                    let rules = folder.rules.clone();
                    open.push(self.enter(path, rules)?);
                }
                _ if is_dir => entries.skip_current_dir(),
                Some((name, path))
                    if name == LOCK_FILE
                        && entry.file_type().is_file()
                        && !self.passed_over(&path, false, &folder.rules) =>
                {
                    self.found.locks.extend(RepoPath::root().join(&path));
                }
                Some((name, path))
                    if (name == PIPELINE_FILE || is_of_dvc(name))
                        && !self.passed_over(&path, false, &folder.rules)
                        && entry.path().is_file() =>
                {
                    let found = if is_of_dvc(name) { &mut self.found.dvc } else { &mut self.found.pipelines };
                    found.extend(RepoPath::root().join(&path));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the rule files of a folder.
    fn enter(&mut self, path: String, mut rules: Option<Rc<GitRules>>) -> Result<WalkedFolder> {
        let file = self.repo.top.join(&path).join(GIT_RULES);
        // Git does not follow a `.gitignore` that is a symlink.
        if self.repo.is_git() && file.symlink_metadata().is_ok_and(|m| m.is_file()) {
            rules = GitRules::add(rules, &file, prefix(&path), &mut self.found.unreadable);
        }
        if !path.is_empty() {
            self.found.rules.add(&self.repo.top, &self.bounds, &path)?;
        }
        Ok(WalkedFolder { path, rules })
    }

    fn unreadable(&mut self, e: walkdir::Error) {
        let path = e.path().and_then(|p| p.strip_prefix(&self.repo.top).ok()).unwrap_or(Path::new(".")).to_path_buf();
        let cause: std::io::Error = e.into();
        // Deleted since its parent was listed.
        if !matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) {
            self.found.unreadable.push(Error::io("read the folder", path, cause));
        }
    }

    fn passed_over(&self, path: &str, is_dir: bool, rules: &Option<Rc<GitRules>>) -> bool {
        let case = self.repo.settings().case;
        let by_git = || {
            let mut files = std::iter::successors(rules.as_deref(), |rules| rules.weaker.as_deref());
            files.find_map(|rules| rules.patterns.verdict(&path.as_bytes()[rules.cut..], is_dir, case))
        };
        self.skip.contains(path) || by_git().unwrap_or(false) || self.found.rules.ignored(path.as_bytes(), is_dir)
    }
}

/// Is it Git's or lockstep's own folder, the root of another repository, or the root of another project? A `.lockstep`
/// makes a repository only outside Git.
pub fn is_foreign(folder: &Path, in_git: bool) -> bool {
    folder.ends_with(".git")
        || folder.ends_with(".lockstep")
        || folder.join(".git").symlink_metadata().is_ok()
        || (!in_git && folder.join(".lockstep").symlink_metadata().is_ok_and(|m| m.is_dir()))
        || folder.join(PROJECT_FILE).symlink_metadata().is_ok_and(|m| !m.is_dir())
}

fn parts(path: &RepoPath) -> Vec<String> {
    path.parts().map(str::to_string).collect()
}

fn child(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

fn prefix(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { folder.len() + 1 }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{git, repository};
    use super::*;
    use std::fs;

    fn write(top: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let file = top.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    fn found(start: &Path, skip: &[&str]) -> String {
        let skip: Vec<_> = skip.iter().map(|s| RepoPath::root().join(s).unwrap()).collect();
        let found = discover(&Repo::discover(start).unwrap(), &skip).unwrap();
        assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
        found.pipelines.iter().map(|p| p.to_string().replace("pipeline.yaml", "")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parents_first_and_only_what_counts() {
        let (_dir, top) = repository();
        for folder in ["", "b/", "b/c/", "a-b/", "a/z/", ".hidden/", "out/", "nested/", "nested/x/", "proj/", "proj/y/"]
        {
            write(&top, &[(&format!("{folder}pipeline.yaml"), "")]);
        }
        write(&top, &[("proj/lockstep.toml", ""), ("nested/.git", "gitdir: x"), ("old/dvc.yaml", "")]);
        std::os::unix::fs::symlink("b", top.join("link")).unwrap();
        std::os::unix::fs::symlink("../b/pipeline.yaml", top.join("old/pipeline.yaml")).unwrap();
        fs::create_dir_all(top.join("folder/pipeline.yaml")).unwrap();
        assert_eq!(found(&top, &["out"]), " .hidden/ a/z/ a-b/ b/ b/c/ old/");
        let repo = Repo::discover(&top.join("proj/y")).unwrap();
        let inner = discover(&repo, &[]).unwrap();
        assert_eq!(format!("{:?} {:?}", inner.pipelines, inner.dvc), "[proj/pipeline.yaml, proj/y/pipeline.yaml] []");
        assert_eq!(discover(&Repo::discover(&top).unwrap(), &[]).unwrap().dvc.len(), 1);
    }

    /// The walk agrees with `git check-ignore` for each file.
    #[test]
    fn as_git_ignores() {
        let (_dir, top) = repository();
        let folders = [
            "build",
            "src/build",
            "src/x",
            "src/x/y",
            "data/raw",
            "data/keep",
            "logs",
            "a/b/c",
            "e x",
            "z*",
            "zz",
            "Q",
            "w",
        ];
        for folder in folders {
            write(&top, &[(&format!("{folder}/pipeline.yaml"), "")]);
        }
        write(
            &top,
            &[
                (".gitignore", "/build/\nlogs\ndata/*\n!data/keep\n**/c/\nz\\*\nw/*\n!w/pipeline.yaml\n"),
                ("src/.gitignore", "/x/*\n!/x/y\n"),
                ("src/x/.gitignore", "pipeline.yaml\n"),
                ("src/x/y/.gitignore", "!pipeline.yaml\n"),
                (".git/info/exclude", "Q\n"),
            ],
        );
        let mut want: Vec<&str> = folders.into_iter().filter(|f| !is_ignored(&top, f)).collect();
        want.sort_by_key(|f| f.split('/').collect::<Vec<_>>());
        let want = want.iter().map(|f| format!("{f}/")).collect::<Vec<_>>().join(" ");
        assert_eq!(found(&top, &[]), want);
        assert_eq!(want, "data/keep/ e x/ src/build/ src/x/y/ w/ zz/");
    }

    fn is_ignored(top: &Path, folder: &str) -> bool {
        let mut check = std::process::Command::new("git");
        check.args(["check-ignore", "-q", "--no-index", "--", &format!("{folder}/pipeline.yaml")]);
        check.current_dir(top).env("GIT_CONFIG_GLOBAL", "/dev/null").status().unwrap().success()
    }

    #[test]
    fn the_users_own_rules_count() {
        let (dir, top) = repository();
        write(&top, &[("a/pipeline.yaml", ""), ("b/pipeline.yaml", ""), ("b/c/pipeline.yaml", "")]);
        fs::write(dir.path().join("global"), "a\nc\n").unwrap();
        git(&top, &["config", "core.excludesFile", dir.path().join("global").to_str().unwrap()]);
        write(&top, &[("b/.gitignore", "!c\n")]);
        assert_eq!(found(&top, &[]), "b/ b/c/");
    }

    #[test]
    fn rules_above_the_project_root_count() {
        let (_dir, top) = repository();
        for folder in ["p/q", "p/q/tmp", "p/q/out", "p/q/own", "p/q/in"] {
            write(&top, &[(&format!("{folder}/pipeline.yaml"), "")]);
        }
        write(&top, &[("p/q/lockstep.toml", ""), (".gitignore", "tmp\n"), ("p/.gitignore", "/q/out\n")]);
        write(&top, &[("p/.lockstepignore", "own/\n"), ("p/q/in/.lockstepignore", "*.x\n")]);
        assert_eq!(found(&top.join("p/q"), &[]), "p/q/ p/q/in/");
        let rules = discover(&Repo::discover(&top.join("p/q")).unwrap(), &[]).unwrap().rules;
        assert!(rules.ignored(b"p/q/in/a.x", false) && !rules.ignored(b"p/q/a.x", false));
    }

    #[test]
    fn wide_levels_are_walked_by_threads() {
        let (_dir, top) = repository();
        let names: Vec<String> = (0..300).map(|n| format!("f{n:03}")).collect();
        for name in &names {
            write(&top, &[(&format!("{name}/pipeline.yaml"), ""), (&format!("{name}/in/pipeline.yaml"), "")]);
        }
        write(&top, &[("f007/.gitignore", "in\n"), ("f008/.lockstepignore", "/in/\n")]);
        let quiet = ["f007/in", "f008/in"].map(String::from);
        let both = names.iter().flat_map(|name| [name.clone(), format!("{name}/in")]).filter(|f| !quiet.contains(f));
        assert_eq!(found(&top, &[]), both.map(|folder| folder + "/").collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn outside_git_only_own_rules_count() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[(".lockstep/x", ""), ("a/pipeline.yaml", ""), ("b/pipeline.yaml", ""), (".gitignore", "a")],
        );
        write(dir.path(), &[(".lockstepignore", "b\n")]);
        assert_eq!(found(dir.path(), &[]), "a/");
    }
}
