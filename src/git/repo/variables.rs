//! Finds the current repository with the variables of the environment that name it (`GIT_DIR`, `GIT_WORK_TREE`,
//! `GIT_COMMON_DIR`, `GIT_INDEX_FILE`) or limit the search for it (`GIT_CEILING_DIRECTORIES`). Users set them, and Git
//! sets them for its hooks. As in Git, they are trusted: the owner of the folders that they name is not checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::format::RepoFormat;
use crate::error::{Error, Result};
use crate::git::repo::{PROJECT_FILE, Repo, common_dir_of, read_link};
use crate::path::RepoPath;

/// Variables by which Git's hooks name their repository, and which would direct `git -C FOLDER` to another one: those
/// of `git rev-parse --local-env-vars`. `GIT_CONFIG_COUNT` and `GIT_CONFIG_PARAMETERS` stay: they hold settings that
/// the user (or a CI system: credentials, `url.….insteadOf`) gives to every repository.
pub(in crate::git) const OF_A_REPOSITORY: [&str; 13] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// The environment variables that name the current repository.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    git_dir: Option<PathBuf>,
    work_tree: Option<PathBuf>,
    common_dir: Option<PathBuf>,
    index_file: Option<PathBuf>,
    /// `GIT_OBJECT_DIRECTORY`
    objects: Option<PathBuf>,
    /// Is `GIT_ALTERNATE_OBJECT_DIRECTORIES` set?
    has_alternates: bool,
    /// The search for a repository does not enter these folders from below.
    ceilings: Vec<PathBuf>,
    /// Relative paths start here: the folder in which the process was started.
    base: PathBuf,
    /// Did the user ask for another folder (`-C`)? Then the repository there is used, whatever the variables name.
    is_elsewhere: bool,
}

impl Variables {
    /// Reads the variables of an environment; `base` is the folder in which the process started.
    pub fn read(env: &BTreeMap<String, String>, base: &Path, is_elsewhere: bool) -> Variables {
        let path = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Variables {
            git_dir: path("GIT_DIR"),
            work_tree: path("GIT_WORK_TREE"),
            common_dir: path("GIT_COMMON_DIR"),
            index_file: path("GIT_INDEX_FILE"),
            objects: path("GIT_OBJECT_DIRECTORY"),
            has_alternates: path("GIT_ALTERNATE_OBJECT_DIRECTORIES").is_some(),
            ceilings: env.get("GIT_CEILING_DIRECTORIES").map_or_else(Vec::new, |list| ceilings(list)),
            base: base.to_path_buf(),
            is_elsewhere,
        }
    }

    /// The variable by which Git reads objects outside the repository's folder.
    fn other_objects(&self, repo: &Repo) -> Option<&'static str> {
        let own = repo.common_dir.as_ref()?.join("objects");
        let objects = self.objects.as_ref().map(|objects| self.base.join(objects));
        match objects {
            Some(objects) if !is_same(Some(&objects), &own) => Some("GIT_OBJECT_DIRECTORY"),
            _ => self.has_alternates.then_some("GIT_ALTERNATE_OBJECT_DIRECTORIES"),
        }
    }

    fn is_empty(&self) -> bool {
        [&self.git_dir, &self.work_tree, &self.index_file].iter().all(|value| value.is_none())
    }
}

impl Repo {
    /// Variables that name another repository than this one: they are removed for commands that run here.
    pub fn foreign_variables(&self) -> &'static [&'static str] {
        if self.is_elsewhere { &OF_A_REPOSITORY } else { &[] }
    }

    /// The repository for a command in the folder `start`: the one that variables name, else the one around it
    /// ([`Repo::discover`]).
    pub fn find_current(start: &Path, variables: &Variables) -> Result<Repo> {
        let found = Repo::named_or_around(start, variables)?;
        let objects_elsewhere = if variables.is_elsewhere { None } else { variables.other_objects(&found) };
        Ok(Repo { objects_elsewhere, ..found })
    }

    fn named_or_around(start: &Path, variables: &Variables) -> Result<Repo> {
        let around = Repo::discover_below(start, &variables.ceilings);
        if variables.is_empty() {
            return around;
        }
        let named = match &variables.git_dir {
            None => None,
            Some(git_dir) => Some(resolve(git_dir, &variables.base, around.as_ref().ok())?),
        };
        let is_around = |git_dir: &PathBuf| around.as_ref().is_ok_and(|repo| is_same(repo.git_dir.as_ref(), git_dir));
        let tree = variables.work_tree.as_ref().map(|tree| variables.base.join(tree));
        let found = match (named, tree) {
            (Some(git_dir), _) if variables.is_elsewhere && around.is_ok() && !is_around(&git_dir) => {
                return around.map(|repo| Repo { is_elsewhere: true, ..repo });
            }
            // Git's hooks name the repository that they run in; the search finds its worktree more reliably than the
            // folder does.
            (Some(git_dir), None) if is_around(&git_dir) => around?,
            (Some(git_dir), tree) => open_named(&git_dir, tree, start, variables)?,
            (None, Some(tree)) => {
                let around = around?;
                let is_meant = !variables.is_elsewhere || is_in(start, &tree);
                match around.git_dir.clone() {
                    Some(git_dir) if is_meant => open_named(&git_dir, Some(tree), start, variables)?,
                    _ => return Ok(Repo { is_elsewhere: true, ..around }),
                }
            }
            (None, None) => around?,
        };
        let index = variables.index_file.as_ref().map(|file| variables.base.join(file));
        let is_own = |file: &PathBuf| found.git_dir.as_ref().is_some_and(|git_dir| is_in(file, git_dir));
        let is_elsewhere = index.as_ref().is_some_and(|file| variables.is_elsewhere && !is_own(file));
        let index_file = index.filter(|_| !is_elsewhere);
        Ok(Repo { index_file, is_elsewhere, fetches_missing: true, ..found })
    }
}

/// Absolute folders; symlinks are not resolved in those behind an empty one.
fn ceilings(list: &str) -> Vec<PathBuf> {
    let mut resolves = true;
    let mut found = Vec::new();
    for one in list.split(':') {
        resolves &= !one.is_empty();
        let path = PathBuf::from(one);
        if path.is_absolute() {
            let real = fs::canonicalize(&path).ok().filter(|_| resolves);
            found.push(real.unwrap_or_else(|| path.components().collect()));
        }
    }
    found
}

/// The Git folder that `GIT_DIR` names. Hooks of Git may have the relative `.git`, and may have left the folder to
/// which it is relative.
fn resolve(named: &Path, base: &Path, around: Option<&Repo>) -> Result<PathBuf> {
    let path = base.join(named);
    if path.is_file() {
        return read_link(&path);
    }
    if path.join("HEAD").symlink_metadata().is_ok() && path.is_dir() {
        return fs::canonicalize(&path).map_err(|e| Error::io("open", path, e));
    }
    match around {
        Some(repo) if is_same(repo.git_dir.as_ref(), &repo.top.join(named)) => Ok(repo.top.join(named)),
        _ => Err(Error::missing(format!("GIT_DIR names {}, which is not a Git repository", path.display()))
            .hint("unset GIT_DIR — lets lockstep look for the repository, as Git does")),
    }
}

fn open_named(git_dir: &Path, tree: Option<PathBuf>, start: &Path, variables: &Variables) -> Result<Repo> {
    let common_dir = common_dir_of(git_dir)?;
    let other = variables.common_dir.as_ref().map(|dir| variables.base.join(dir));
    if let Some(other) = other.filter(|other| !is_same(Some(other), &common_dir)) {
        let (other, git_dir, common_dir) = (other.display(), git_dir.display(), common_dir.display());
        return Err(Error::usage(format!(
            "GIT_COMMON_DIR names {other}, and the repository {git_dir} has {common_dir}"
        ))
        .hint("unset GIT_COMMON_DIR"));
    }
    let format = RepoFormat::read(&common_dir, git_dir)?;
    let start = fs::canonicalize(start).map_err(|e| Error::io("open", start, e))?;
    let top = match (tree, &format.worktree) {
        (Some(tree), _) => tree,
        (None, _) if format.is_bare == Some(true) => return Repo::bare(git_dir),
        (None, Some(tree)) => git_dir.join(tree),
        (None, None) => start.clone(),
    };
    let top = fs::canonicalize(&top).map_err(|_| {
        Error::missing(format!("the worktree {} of {} is not there", top.display(), git_dir.display()))
            .hint("set GIT_WORK_TREE to the folder of its files")
    })?;
    let project = project_in(&top, &start);
    let root = RepoPath::from_absolute(&top, &project).unwrap_or_default();
    let found = Repo::of(top, Some(git_dir.to_path_buf()), Some(common_dir), root)?;
    Ok(Repo { is_named: true, ..found })
}

/// The folder of the nearest `lockstep.toml` between a folder and the top, else the top.
pub(in crate::git) fn project_in(top: &Path, start: &Path) -> PathBuf {
    let inside = start.ancestors().take_while(|folder| folder.starts_with(top));
    inside.into_iter().find(|folder| folder.join(PROJECT_FILE).is_file()).unwrap_or(top).to_path_buf()
}

fn is_same(one: Option<&PathBuf>, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one.and_then(|path| real(path)).is_some_and(|path| Some(path) == real(other))
}

fn is_in(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let parent = path.parent().map(real).unwrap_or_default();
    real(path).starts_with(real(folder)) || parent.starts_with(real(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::git::testing::{commit_all, git, repository, write};

    fn at(start: &Path, base: &Path, is_elsewhere: bool, set: &[(&str, &Path)]) -> Result<(PathBuf, PathBuf)> {
        let env = set.iter().map(|(name, path)| (name.to_string(), path.display().to_string())).collect();
        let repo = Repo::find_current(start, &Variables::read(&env, base, is_elsewhere))?;
        Ok((repo.git_dir.unwrap_or_default(), repo.top))
    }

    #[test]
    fn variables_name_the_repository() {
        let (dir, top) = repository();
        let box_ = fs::canonicalize(dir.path()).unwrap();
        git(&box_, &["init", "-q", "--bare", "bare"]);
        git(&box_, &["init", "-q", "other"]);
        write(&box_, &[("tree/sub/x", ""), ("tree/sub/lockstep.toml", "")]);
        let (bare, tree, other) = (box_.join("bare"), box_.join("tree"), box_.join("other"));
        let (git_dir, sub) = (top.join(".git"), tree.join("sub"));
        let dot_git = PathBuf::from(".git");
        write(&top, &[("sub/x", "")]);
        for (start, base, elsewhere, set, want) in [
            (&tree, &tree, false, vec![("GIT_DIR", &bare), ("GIT_WORK_TREE", &tree)], (&bare, &tree)),
            (&sub, &sub, false, vec![("GIT_DIR", &bare), ("GIT_WORK_TREE", &tree)], (&bare, &tree)),
            (&other, &other, false, vec![("GIT_DIR", &bare)], (&bare, &bare)),
            (&other, &other, false, vec![("GIT_DIR", &git_dir)], (&git_dir, &other)),
            // In a hook, and in a folder below it.
            (&top, &top, false, vec![("GIT_DIR", &dot_git)], (&git_dir, &top)),
            (&top.join("sub"), &top.join("sub"), false, vec![("GIT_DIR", &dot_git)], (&git_dir, &top)),
            (&top.join("sub"), &top.join("sub"), false, vec![("GIT_DIR", &git_dir)], (&git_dir, &top)),
            // The user asks for another repository.
            (&other, &top, true, vec![("GIT_DIR", &git_dir)], (&other.join(".git"), &other)),
            (&other, &top, true, vec![("GIT_WORK_TREE", &top)], (&other.join(".git"), &other)),
            (&tree, &top, false, vec![("GIT_DIR", &git_dir), ("GIT_WORK_TREE", &tree)], (&git_dir, &tree)),
            (&top, &top, false, vec![("GIT_WORK_TREE", &tree)], (&git_dir, &tree)),
        ] {
            let set: Vec<(&str, &Path)> = set.iter().map(|(name, path)| (*name, path.as_path())).collect();
            let found = at(start, base, elsewhere, &set).unwrap_or_else(|e| panic!("{set:?}: {e}"));
            assert_eq!(found, (want.0.clone(), want.1.clone()), "{} {set:?}", start.display());
        }
        let gone = at(&top, &top, false, &[("GIT_DIR", Path::new("/nowhere/x"))]).unwrap_err();
        assert_eq!(gone.kind, Kind::Missing);
        let common = at(&tree, &tree, false, &[("GIT_DIR", &bare), ("GIT_COMMON_DIR", &git_dir)]).unwrap_err();
        assert_eq!(common.kind, Kind::Usage);
    }

    #[test]
    fn settings_name_the_worktree() {
        let (dir, top) = repository();
        let tree = fs::canonicalize(dir.path()).unwrap().join("tree");
        fs::create_dir(&tree).unwrap();
        git(&top, &["config", "core.worktree", "../../tree"]);
        let repo = Repo::discover(&top).unwrap();
        assert_eq!((repo.top.as_path(), repo.git_dir), (tree.as_path(), Some(top.join(".git"))));
        fs::remove_dir(&tree).unwrap();
        assert_eq!(Repo::discover(&top).unwrap_err().kind, Kind::Missing);
        git(dir.path(), &["config", "--file", "repo/.git/config", "--unset", "core.worktree"]);
        git(&top, &["config", "core.bare", "true"]);
        assert!(Repo::discover(&top).unwrap().is_bare());
    }

    #[test]
    fn the_search_ends_at_ceilings() {
        let (dir, top) = repository();
        write(&top, &[("a/b/x", "")]);
        let (deep, up) = (top.join("a/b"), fs::canonicalize(dir.path()).unwrap());
        let linked = up.join("linked");
        std::os::unix::fs::symlink(&top, &linked).unwrap();
        let found = |start: &Path, list: &str| {
            let env = [("GIT_CEILING_DIRECTORIES".to_string(), list.to_string())].into();
            Repo::find_current(start, &Variables::read(&env, start, false)).map(|repo| repo.top)
        };
        let [top_, up_, a_, linked_] = [&top, &up, &top.join("a"), &linked].map(|path| path.display().to_string());
        for (start, list, is_found) in [
            (&deep, top_.clone(), false),
            (&deep, format!("/nowhere:{a_}/"), false),
            (&deep, linked_.clone(), false),
            (&deep, format!(":{linked_}"), true),
            (&deep, up_.clone(), true),
            (&deep, "repo/a".to_string(), true),
            (&deep, deep.display().to_string(), true),
            // The folder itself is checked.
            (&top, top_.clone(), true),
        ] {
            let repo = found(start, &list);
            assert_eq!(repo.is_ok(), is_found, "{list}");
            let why = repo.err().map(|error| error.causes.concat()).unwrap_or_default();
            assert_eq!(why.contains("GIT_CEILING_DIRECTORIES"), !is_found, "{list}");
        }
    }

    #[test]
    fn a_git_folder_leads_to_its_files() {
        let (dir, top) = repository();
        let up = fs::canonicalize(dir.path()).unwrap();
        git(&up, &["init", "-q", "--separate-git-dir", "store.git", "files"]);
        let (store, files) = (up.join("store.git"), up.join("files"));
        assert!(Repo::discover(&store).is_err());
        git(&files, &["config", "core.worktree", "../files"]);
        for start in [&store, &store.join("refs")] {
            let repo = Repo::discover(start).unwrap();
            assert_eq!((&repo.top, repo.git_dir.as_ref()), (&files, Some(&store)));
        }
        git(&top, &["config", "core.worktree", "../../files"]);
        assert_eq!(Repo::discover(&top.join(".git/refs")).unwrap().top, files);
    }

    #[test]
    fn another_index_counts_besides() {
        let (_dir, top) = repository();
        write(&top, &[("a.lock", "1")]);
        commit_all(&top, "1");
        fs::copy(top.join(".git/index"), top.join(".git/next")).unwrap();
        write(&top, &[("a.lock", "2"), ("b", "2")]);
        git(&top, &["add", "-A"]);
        let env = [("GIT_INDEX_FILE".to_string(), ".git/next".to_string())].into();
        let repo = Repo::find_current(&top, &Variables::read(&env, &top, false)).unwrap();
        let b = RepoPath::root().join("b").unwrap();
        assert_eq!(repo.tracked(&[b]).unwrap(), []);
        assert_eq!(repo.index_named(&repo.history().unwrap(), "a.lock").unwrap().len(), 2);
    }
}
