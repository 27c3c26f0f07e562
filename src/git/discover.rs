//! Finding the pipeline files of a project.
//!
//! Every command does this, so it costs one listing a folder and nothing a file: what a folder holds is told by the
//! names in its listing (kinds come with them, no stat), rule files are read only where the listing shows one, and a
//! folder that is ignored, foreign, or named by the caller is not opened at all. walkdir would ask for more: it does
//! not show a folder's `.git` or `.gitignore` before its other entries.

use std::collections::HashSet;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ignore::{self, Rules};
use super::patterns::Patterns;
use super::repo::{PROJECT_FILE, Repo};
use crate::error::{Error, Result};
use crate::path::RepoPath;

const PIPELINE_FILE: &str = "pipeline.yaml";
const GIT_RULES: &str = ".gitignore";

/// What [`discover`] found.
#[derive(Debug)]
pub struct Found {
    /// The `pipeline.yaml` files: a folder's own before those below it, folders by name.
    pub pipelines: Vec<RepoPath>,
    /// `dvc.yaml` files, in the same order, for a hint where there is no pipeline at all.
    pub dvc: Vec<RepoPath>,
    /// The `.lockstepignore` rules of the root and of all folders walked. They count for this walk, too.
    pub rules: Rules,
    /// Folders that could not be read, each with the reason.
    pub unreadable: Vec<Error>,
}

/// Finds the pipeline files of the project of `repo`, in its root and below. Passed over: what Git ignores
/// (`.gitignore` files, `info/exclude`, the user's global rules), what `.lockstepignore` names, `.git`, nested
/// repositories, nested projects, symlinked folders, and the paths in `skip` (outs and data).
pub fn discover(repo: &Repo, skip: &[RepoPath]) -> Result<Found> {
    let mut walk = Walk {
        repo,
        skip: skip.iter().map(RepoPath::as_str).collect(),
        git_rules: Vec::new(),
        found: Found { pipelines: Vec::new(), dvc: Vec::new(), rules: Rules::load(&repo.top)?, unreadable: Vec::new() },
    };
    if let Some(common) = &repo.common_dir {
        // From the weakest to the strongest.
        if let Some(file) = &repo.settings().excludes_file {
            walk.git_rules(file.clone(), 0);
        }
        walk.git_rules(common.join("info/exclude"), 0);
    }
    // The folders above the project root are not walked, but their rules count.
    let mut above = String::new();
    for name in repo.project_root.parts() {
        walk.enter_rules(&above, above.is_empty())?;
        above = child(&above, name);
    }
    walk.folder(&above)?;
    Ok(walk.found)
}

struct Walk<'a> {
    repo: &'a Repo,
    skip: HashSet<&'a str>,
    /// Git's rules that count where the walk is, the strongest last, each with the length of its folder's path (with
    /// the `/`), which is to be cut off a path before it is matched.
    git_rules: Vec<(usize, Patterns)>,
    found: Found,
}

/// What the listing of a folder says.
#[derive(Default)]
struct Listing {
    folders: Vec<String>,
    pipeline: bool,
    dvc: bool,
    git_rules: bool,
    own_rules: bool,
    /// It is the root of another repository.
    repository: bool,
    /// It is the root of another project.
    project: bool,
}

impl Walk<'_> {
    /// Walks `folder`, a path from the root of the repository, empty for the root.
    fn folder(&mut self, folder: &str) -> Result<()> {
        let mut listing = match list(&self.repo.top.join(folder)) {
            Ok(listing) => listing,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()), // gone since its parent was listed
            Err(e) => {
                let shown = if folder.is_empty() { "." } else { folder };
                self.found.unreadable.push(Error::io("read the folder", shown, e));
                return Ok(());
            }
        };
        let is_start = folder == self.repo.project_root.as_str();
        if !is_start && (listing.repository || listing.project) {
            return Ok(());
        }
        let depth = self.git_rules.len();
        if listing.git_rules && self.repo.is_git() {
            self.git_rules(self.repo.top.join(folder).join(GIT_RULES), prefix(folder));
        }
        if listing.own_rules && !folder.is_empty() {
            self.found.rules.add(&self.repo.top, folder)?;
        }
        for (is_there, name, is_dvc) in [(listing.pipeline, PIPELINE_FILE, false), (listing.dvc, "dvc.yaml", true)] {
            let path = child(folder, name);
            if is_there && !self.passed_over(&path, false) && self.repo.top.join(&path).is_file() {
                let list = if is_dvc { &mut self.found.dvc } else { &mut self.found.pipelines };
                list.extend(RepoPath::root().join(&path));
            }
        }
        listing.folders.sort_unstable();
        for name in listing.folders {
            let path = child(folder, &name);
            if !self.passed_over(&path, true) {
                self.folder(&path)?;
            }
        }
        self.git_rules.truncate(depth);
        Ok(())
    }

    fn passed_over(&self, path: &str, is_dir: bool) -> bool {
        let case = self.repo.settings().case;
        let by_git = || {
            let verdicts = self.git_rules.iter().rev();
            verdicts.filter_map(|(cut, rules)| rules.verdict(&path.as_bytes()[*cut..], is_dir, case)).next()
        };
        self.skip.contains(path) || by_git().unwrap_or(false) || self.found.rules.ignored(path.as_bytes(), is_dir)
    }

    /// The rule files of a folder that is not walked.
    fn enter_rules(&mut self, folder: &str, is_top: bool) -> Result<()> {
        if self.repo.is_git() {
            self.git_rules(self.repo.top.join(folder).join(GIT_RULES), prefix(folder));
        }
        if is_top { Ok(()) } else { self.found.rules.add(&self.repo.top, folder) }
    }

    /// Rules that cannot be read do not count, as for Git, which warns of them itself.
    fn git_rules(&mut self, file: PathBuf, cut: usize) {
        let patterns = ignore::read(&file).ok().flatten().map(|text| Patterns::parse(&text)).unwrap_or_default();
        if !patterns.is_empty() {
            self.git_rules.push((cut, patterns));
        }
    }
}

/// Reads a folder's names and kinds. Names that are not UTF-8 cannot be written in a pipeline and are passed over.
fn list(folder: &std::path::Path) -> Result<Listing, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut listing = Listing::default();
    for entry in Dir::new(fd)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::lstat(folder.join(name)) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        let is_dir = kind == FileType::Directory;
        match name {
            "." | ".." => {}
            ".git" => listing.repository = true,
            ".lockstep" => listing.repository |= is_dir,
            PIPELINE_FILE if !is_dir => listing.pipeline = true,
            "dvc.yaml" if !is_dir => listing.dvc = true,
            // Git does not follow a `.gitignore` that is a symlink.
            GIT_RULES => listing.git_rules = kind == FileType::RegularFile,
            ignore::FILE => listing.own_rules = !is_dir,
            PROJECT_FILE => listing.project = !is_dir,
            name if is_dir => listing.folders.push(name.to_string()),
            _ => {}
        }
    }
    Ok(listing)
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
    use std::path::Path;

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

    /// What `git check-ignore` says of each file is what the walk does.
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
