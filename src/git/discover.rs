//! Finding the pipeline files of a project.
//!
//! Every command does this, so it costs one listing a folder and nothing a file: what a folder holds is told by the
//! names in its listing (kinds come with them, no stat), rule files are read only where the listing shows one, and a
//! folder that is ignored, foreign, or named by the caller is not opened at all. walkdir would ask for more: it does
//! not show a folder's `.git` or `.gitignore` before its other entries. The walk goes level by level, since what it
//! waits for is the kernel: the listings of a wide level are made by several threads, all else by one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::ignore::{self, Rules};
use super::patterns::Patterns;
use super::repo::{PROJECT_FILE, Repo};
use crate::error::{Error, Result};
use crate::path::RepoPath;

const PIPELINE_FILE: &str = "pipeline.yaml";
const DVC_FILE: &str = "dvc.yaml";
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
        found: Found { pipelines: Vec::new(), dvc: Vec::new(), rules: Rules::load(&repo.top)?, unreadable: Vec::new() },
    };
    let mut rules = None;
    if let Some(common) = &repo.common_dir {
        // From the weakest to the strongest.
        if let Some(file) = &repo.settings().excludes_file {
            rules = GitRules::add(rules, file, 0);
        }
        rules = GitRules::add(rules, &common.join("info/exclude"), 0);
    }
    // The folders above the project root are not walked, but their rules count.
    let mut path = String::new();
    for name in repo.project_root.parts() {
        if repo.is_git() {
            rules = GitRules::add(rules, &repo.top.join(&path).join(GIT_RULES), prefix(&path));
        }
        if !path.is_empty() {
            walk.found.rules.add(&repo.top, &path)?;
        }
        path = child(&path, name);
    }
    let mut level = vec![Folder { path, rules }];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (folder, listing) in level.iter().zip(lists(&repo.top, &level)) {
            walk.folder(folder, listing, &mut next)?;
        }
        level = next;
    }
    for found in [&mut walk.found.pipelines, &mut walk.found.dvc] {
        // Of one folder there is one file: comparing folders name by name puts each before those below it.
        found.sort_by_cached_key(|file| file.parent().map(|folder| parts(&folder)));
    }
    Ok(walk.found)
}

struct Walk<'a> {
    repo: &'a Repo,
    skip: HashSet<&'a str>,
    found: Found,
}

/// A folder that is to be walked.
struct Folder {
    /// From the root of the repository, empty for the root.
    path: String,
    /// Git's rules that count in its parent.
    rules: Option<Rc<GitRules>>,
}

/// One file of Git's rules, and the weaker ones behind it.
struct GitRules {
    /// The length of its folder's path (with the `/`): what is cut off a path before it is matched.
    cut: usize,
    patterns: Patterns,
    weaker: Option<Rc<GitRules>>,
}

impl GitRules {
    /// Rules that cannot be read do not count, as for Git, which warns of them itself.
    fn add(weaker: Option<Rc<GitRules>>, file: &Path, cut: usize) -> Option<Rc<GitRules>> {
        let text = ignore::read(file).ok().flatten().unwrap_or_default();
        let patterns = Patterns::parse(&text);
        if patterns.is_empty() { weaker } else { Some(Rc::new(GitRules { cut, patterns, weaker })) }
    }
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
    /// Takes in what a folder holds, and adds its own folders to `next`.
    fn folder(&mut self, folder: &Folder, listing: Result<Listing, Errno>, next: &mut Vec<Folder>) -> Result<()> {
        let (path, on_disk) = (folder.path.as_str(), self.repo.top.join(&folder.path));
        let mut listing = match listing {
            Ok(listing) => listing,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()), // gone since its parent was listed
            Err(e) => {
                let shown = if path.is_empty() { "." } else { path };
                self.found.unreadable.push(Error::io("read the folder", shown, e));
                return Ok(());
            }
        };
        let is_start = path == self.repo.project_root.as_str();
        if !is_start && (listing.repository || listing.project) {
            return Ok(());
        }
        let mut rules = folder.rules.clone();
        if listing.git_rules && self.repo.is_git() {
            rules = GitRules::add(rules, &on_disk.join(GIT_RULES), prefix(path));
        }
        if listing.own_rules && !path.is_empty() {
            self.found.rules.add(&self.repo.top, path)?;
        }
        for (is_there, name) in [(listing.pipeline, PIPELINE_FILE), (listing.dvc, DVC_FILE)] {
            let file = child(path, name);
            if is_there && !self.passed_over(&file, false, &rules) && on_disk.join(name).is_file() {
                let found = if name == DVC_FILE { &mut self.found.dvc } else { &mut self.found.pipelines };
                found.extend(RepoPath::root().join(&file));
            }
        }
        listing.folders.sort_unstable();
        for name in listing.folders {
            let path = child(path, &name);
            if !self.passed_over(&path, true, &rules) {
                next.push(Folder { path, rules: rules.clone() });
            }
        }
        Ok(())
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

/// The listings of folders, in their order.
fn lists(top: &Path, folders: &[Folder]) -> Vec<Result<Listing, Errno>> {
    let paths: Vec<PathBuf> = folders.iter().map(|folder| top.join(&folder.path)).collect();
    let all = |paths: &[PathBuf]| paths.iter().map(|path| list(path)).collect::<Vec<_>>();
    // A thread is worth its start if it has some dozens of folders.
    let threads = match paths.len() / 64 {
        0 | 1 => 1,
        wanted => wanted.min(std::thread::available_parallelism().map_or(1, |n| n.get())).min(8),
    };
    if threads == 1 {
        return all(&paths);
    }
    std::thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(threads));
        let workers: Vec<_> = parts.map(|part| (part, scope.spawn(move || all(part)))).collect();
        // A thread that died is no reason to miss folders: they are listed here then.
        workers.into_iter().flat_map(|(part, worker)| worker.join().unwrap_or_else(|_| all(part))).collect()
    })
}

/// Reads a folder's names and kinds. Names that are not UTF-8 cannot be written in a pipeline and are passed over.
fn list(folder: &Path) -> Result<Listing, Errno> {
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
            DVC_FILE if !is_dir => listing.dvc = true,
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
