//! The location of a repository, and of lockstep's own files in it.
//!
//! The search is hand-written, with a handful of stats: every command begins here, and opening a repository with gix
//! reads four configuration files that most commands never need. Git's settings are read on demand (see `settings.rs`).
//!
//! ```text
//! top/                     the Git root, or the folder of `.lockstep/` outside Git
//!   .git                   a folder, or a file that names one (linked worktrees, submodules)
//!   sub/lockstep.toml      makes `sub` the project root; else the project root is `top`
//! ```

pub(super) mod foreign;
pub(super) mod format;
pub(super) mod owner;
pub(super) mod places;
pub(super) mod protected;
pub(super) mod server_header;
pub(super) mod settings;
pub(super) mod variables;
pub(super) mod worktrees;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use format::RepoFormat;
use settings::Settings;
use variables::project_in;

use crate::document::{self, Bounds};
use crate::error::{Error, Result};
use crate::git::repo::server_header::ServerHeader;
use crate::path::RepoPath;

/// The folder with lockstep's own files outside Git.
pub(super) const OWN_FOLDER: &str = ".lockstep";
/// The settings file whose folder is a project's root.
pub(super) const PROJECT_FILE: &str = "lockstep.toml";
/// The size limit of a file that names a folder.
const LONGEST_NAME: u64 = 64 << 10;

/// The paths of a repository and of the current worktree.
#[derive(Debug)]
pub struct Repo {
    /// The root of the repository: absolute, without symlinks. Every [`RepoPath`] is relative to it.
    pub top: PathBuf,
    /// Git's folder for this worktree; `None` outside Git.
    pub git_dir: Option<PathBuf>,
    /// Git's folder that all linked worktrees share; `None` outside Git.
    pub common_dir: Option<PathBuf>,
    /// The folder of the nearest `lockstep.toml`, else the root of the repository.
    pub project_root: RepoPath,
    /// Must the tag by which a version of a model is found have a good signature?
    pub require_signed: bool,
    /// Is it another repository on this disk than the current one? Then its settings neither decide about signatures
    /// nor start programs.
    pub is_other: bool,
    /// May Git fetch the missing objects of a partial clone? A fetch runs programs from the repository's settings, so
    /// it is allowed only for the current repository and for lockstep's own clones.
    pub fetches_missing: bool,
    /// The header with which missing objects are fetched.
    pub server_header: Option<ServerHeader>,
    pub(super) format: RepoFormat,
    /// The index, if a variable names another one than that of the worktree.
    pub(super) index_file: Option<PathBuf>,
    /// Does a variable or a setting connect the worktree and the Git folder? Then Git commands need both as arguments.
    pub(super) is_named: bool,
    /// Do variables of the environment name another repository than this one, which the user asked for?
    pub(super) is_elsewhere: bool,
    /// The variable that names an object folder other than the repository's own; that folder is not read.
    pub(super) objects_elsewhere: Option<&'static str>,
    pub(super) settings: OnceLock<Settings>,
}

impl Repo {
    /// The repository of the folder `start`: the nearest `.git`, or a bare one ([`Repo::bare`]), else the nearest
    /// `.lockstep/`, made by `init --no-scm`.
    ///
    /// Settings and state in these folders are trusted, so neither may come from a repository: inside Git `.lockstep`
    /// is ignored, a bare repository in a folder of a worktree is an error, and so is a `.lockstep` outside Git that
    /// another version control system tracks.
    ///
    /// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if there is neither, or if `start` does not exist;
    /// [`Kind::Usage`](crate::error::Kind::Usage) if it belongs to another user. The search does not continue past such
    /// a repository, as in Git.
    pub fn discover(start: &Path) -> Result<Repo> {
        Repo::discover_below(start, &[])
    }

    /// The same, but the search does not enter these folders from below (`GIT_CEILING_DIRECTORIES`).
    pub(super) fn discover_below(start: &Path, ceilings: &[PathBuf]) -> Result<Repo> {
        let start = fs::canonicalize(start).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::missing(format!("there is no folder {}", start.display())),
            _ => Error::io("open", start, e),
        })?;
        let (mut project, mut own, mut bare) = (None, None, None);
        let is_in_reach = |folder: &&Path| *folder == start || !ceilings.iter().any(|ceiling| ceiling == folder);
        for folder in start.ancestors().take_while(is_in_reach) {
            if project.is_none() && own.is_none() && folder.join(PROJECT_FILE).is_file() {
                project = Some(folder);
            }
            if let Some(git_dir) = git_dir_of(folder)? {
                let found = match bare {
                    Some(bare) => Repo::open_git_folder(bare, &start)?,
                    None => Repo::with_files(folder, Some(git_dir), project, &start)?,
                };
                return Ok(Repo { fetches_missing: true, ..found });
            }
            if bare.is_none() && own.is_none() && is_bare(folder) {
                bare = Some(folder);
            }
            if own.is_none() && bare.is_none() && folder.join(OWN_FOLDER).is_dir() {
                own = Some(folder);
            }
        }
        if let Some(bare) = bare {
            return Ok(Repo { fetches_missing: true, ..Repo::open_git_folder(bare, &start)? });
        }
        if let Some(own) = own {
            foreign::refuse_tracked(&own.join(OWN_FOLDER))?;
            return Repo::with_files(own, None, project, &start);
        }
        let error = Error::missing(format!("neither {} nor a folder above it is a Git repository", start.display()));
        if let Some(ceiling) = start.ancestors().skip(1).find(|folder| !is_in_reach(folder)) {
            let why = format!("GIT_CEILING_DIRECTORIES ends the search below {}", ceiling.display());
            return Err(error.because(why).hint("unset GIT_CEILING_DIRECTORIES — lets the search go on upwards"));
        }
        Err(error
            .hint("git init — makes one; lockstep needs no further set-up in it")
            .hint("lockstep init --no-scm — works without Git, in this folder"))
    }

    fn with_files(top: &Path, git_dir: Option<PathBuf>, project: Option<&Path>, start: &Path) -> Result<Repo> {
        let common_dir = git_dir.as_deref().map(common_dir_of).transpose()?;
        match (&git_dir, &common_dir) {
            (Some(git_dir), Some(common)) => {
                owner::check_owner(top, &[top, &top.join(".git"), git_dir, common])?;
            }
            _ => owner::check_owner(top, &[top, &top.join(OWN_FOLDER)])?,
        }
        let project_root = path_in(top, project.unwrap_or(top))?;
        let found = Repo::of(top.to_path_buf(), git_dir, common_dir, project_root)?;
        // The path of a linked worktree is known, whatever the settings of the repository name for the main one.
        let Some(git_dir) = found.git_dir.clone().filter(|_| found.git_dir == found.common_dir) else {
            return Ok(found);
        };
        if found.format.is_bare == Some(true) {
            return Repo::bare(&git_dir);
        }
        found.at_named_tree(&git_dir, start)
    }

    /// A stand-alone Git folder; its worktree may be elsewhere.
    fn open_git_folder(git_dir: &Path, start: &Path) -> Result<Repo> {
        let found = Repo::open_bare(git_dir)?;
        if found.format.is_bare == Some(true) { Ok(found) } else { found.at_named_tree(git_dir, start) }
    }

    /// Sets the worktree to the folder in `core.worktree`.
    fn at_named_tree(self, git_dir: &Path, start: &Path) -> Result<Repo> {
        let found = self;
        let Some(named) = found.format.worktree.as_ref().map(|tree| git_dir.join(tree)) else { return Ok(found) };
        let tree = fs::canonicalize(&named).map_err(|_| {
            Error::missing(format!("the worktree {}, which core.worktree names, is not there", named.display()))
                .hint(format!("bring it back, or correct core.worktree in {}", git_dir.join("config").display()))
        })?;
        if tree == found.top {
            return Ok(found);
        }
        owner::check_owner(&tree, &[&tree])?;
        let project_root = path_in(&tree, &project_in(&tree, start))?;
        Ok(Repo { top: tree, project_root, is_named: true, ..found })
    }

    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) if lockstep does not support the storage format.
    pub(super) fn of(
        top: PathBuf,
        git_dir: Option<PathBuf>,
        common_dir: Option<PathBuf>,
        project_root: RepoPath,
    ) -> Result<Repo> {
        let format = match (&common_dir, &git_dir) {
            (Some(common), Some(git_dir)) => RepoFormat::read(common, git_dir)?,
            _ => RepoFormat::default(),
        };
        Ok(Repo {
            top,
            git_dir,
            common_dir,
            project_root,
            require_signed: false,
            is_other: false,
            fetches_missing: false,
            server_header: None,
            format,
            index_file: None,
            is_named: false,
            is_elsewhere: false,
            objects_elsewhere: None,
            settings: OnceLock::new(),
        })
    }

    /// The folder of the store if no setting names another.
    pub fn store_dir(&self) -> PathBuf {
        self.shared().join("store")
    }

    /// The folder of the environments that stages run in.
    pub fn environments_dir(&self) -> PathBuf {
        self.shared().join("environments")
    }

    /// The file with the id by which a shared store knows this repository.
    pub fn id_file(&self) -> PathBuf {
        self.shared().join("id")
    }

    /// The settings file of this clone.
    pub fn local_config(&self) -> PathBuf {
        self.shared().join("config.toml")
    }

    /// The file of the remotes of `lockstep.toml` that the user trusts, in this clone.
    pub fn grants_file(&self) -> PathBuf {
        self.shared().join("trusted-remotes.json")
    }

    /// The folder of the lock and the journal of tag pushes.
    pub fn tag_pushes(&self) -> PathBuf {
        self.shared().join("tag-pushes")
    }

    /// The folder of cached facts about remotes.
    pub fn remotes_dir(&self) -> PathBuf {
        self.shared().join("remotes")
    }

    /// The folder with the journals and last releases of deployment targets that are registries.
    pub fn targets_dir(&self) -> PathBuf {
        self.shared().join("targets")
    }

    /// The folder of copies that a server of models has open.
    pub fn serve_dir(&self) -> PathBuf {
        self.shared().join("serve")
    }

    /// The folder with the files of this worktree: stat index, state, logs.
    pub fn worktree_dir(&self) -> PathBuf {
        match &self.git_dir {
            Some(git_dir) => git_dir.join("lockstep/worktree"),
            None => self.top.join(OWN_FOLDER).join("worktree"),
        }
    }

    /// The project's own settings file, which may be missing.
    pub fn project_config(&self) -> PathBuf {
        self.project_root.on_disk(&self.top).join(PROJECT_FILE)
    }

    /// The folders in which documents of the repository may be, including its store.
    pub fn bounds(&self) -> Bounds {
        Bounds::new(&self.top, self.git_dir.iter().chain(&self.common_dir), None)
    }

    /// Is it a Git repository?
    pub fn is_git(&self) -> bool {
        self.git_dir.is_some()
    }

    /// The folder that all worktrees share, and that identifies the repository on this machine: Git's common folder,
    /// outside Git the folder `.lockstep`.
    pub fn home(&self) -> PathBuf {
        self.common_dir.clone().unwrap_or_else(|| self.top.join(OWN_FOLDER))
    }

    /// Are both worktrees of the same repository?
    pub fn is_same(&self, other: &Repo) -> bool {
        let homes = [self, other].map(|repo| fs::canonicalize(repo.home()).ok());
        let [Some(home), Some(other_home)] = homes else { return false };
        // Any folder can name a foreign `commondir`; Git's own folder for a worktree is inside the repository.
        let folder = other.git_dir.as_ref().and_then(|folder| fs::canonicalize(folder).ok()).unwrap_or_default();
        home == other_home && folder.starts_with(home)
    }

    /// The folder of files of Git LFS that are being downloaded.
    pub fn lfs_downloads(&self) -> PathBuf {
        self.shared().join("lfs")
    }

    pub(super) fn shared(&self) -> PathBuf {
        match &self.common_dir {
            Some(common) => common.join("lockstep"),
            None => self.top.join(OWN_FOLDER),
        }
    }
}

/// Git's folder for the worktree `folder`, if `folder` is the root of one.
pub(super) fn git_dir_of(folder: &Path) -> Result<Option<PathBuf>> {
    let dot_git = folder.join(".git");
    let Ok(meta) = fs::metadata(&dot_git) else { return Ok(None) };
    if meta.is_dir() {
        // As in Git, a folder with only the name does not count (an empty one may be a mount point).
        return Ok(dot_git.join("HEAD").symlink_metadata().is_ok().then_some(dot_git));
    }
    read_link(&dot_git).map(Some)
}

/// The Git folder that a file `.git` names.
pub(super) fn read_link(dot_git: &Path) -> Result<PathBuf> {
    let text = document::read_text(dot_git, LONGEST_NAME)?.unwrap_or_default();
    let Some(named) = text.strip_prefix("gitdir:") else {
        return Err(Error::usage(format!("{} is not a Git link: it has no line `gitdir: …`", dot_git.display())));
    };
    let git_dir = dot_git.parent().unwrap_or(dot_git).join(named.trim());
    fs::canonicalize(&git_dir).map_err(|_| {
        Error::missing(format!("{} names {}, which is not there", dot_git.display(), git_dir.display()))
            .hint("git worktree repair — run in the main worktree, if one of the two was moved")
    })
}

fn path_in(top: &Path, project: &Path) -> Result<RepoPath> {
    let path = RepoPath::from_absolute(top, project);
    path.ok_or_else(|| Error::usage(format!("the path {} is not UTF-8", project.display())))
}

/// Is this folder a bare repository, or a Git folder whose worktree is in its settings? `core.bare` decides: a `.git`
/// has the same content, and its worktree is its parent.
fn is_bare(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).exists();
    let is_around = folder.ends_with(".git");
    let says = |line: &str| {
        let (key, value) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())).unwrap_or_default();
        (key == "bare" && value == "true") || (key.eq_ignore_ascii_case("worktree") && !is_around)
    };
    has("HEAD")
        && has("objects")
        && has("refs")
        && document::read_text(&folder.join("config"), document::MOST)
            .is_ok_and(|text| text.is_some_and(|text| text.lines().any(says)))
}

/// The folder that linked worktrees share: the one in `commondir`, else the worktree's own.
pub(super) fn common_dir_of(git_dir: &Path) -> Result<PathBuf> {
    let file = git_dir.join("commondir");
    match document::read_text(&file, LONGEST_NAME)? {
        Some(named) => {
            let common = git_dir.join(named.trim_end_matches(['\n', '\r']));
            fs::canonicalize(&common).map_err(|e| Error::io("open", common, e))
        }
        None => Ok(git_dir.to_path_buf()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{git, repository};
    use super::*;
    use crate::error::Kind;
    use crate::path::names::{Owner, owner_of};

    fn mkdir(path: PathBuf) -> PathBuf {
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn the_root_is_gits_and_the_project_may_lie_deeper() {
        let (_dir, top) = repository();
        let deep = mkdir(top.join("sub/deep/er"));
        let repo = Repo::discover(&deep).unwrap();
        assert_eq!((repo.top.as_path(), repo.project_root.to_string().as_str()), (top.as_path(), "."));
        assert_eq!(repo.store_dir(), top.join(".git/lockstep/store"));
        assert_eq!(repo.local_config(), top.join(".git/lockstep/config.toml"));
        assert_eq!(repo.worktree_dir(), top.join(".git/lockstep/worktree"));

        fs::write(top.join("sub/lockstep.toml"), "").unwrap();
        fs::write(top.join("lockstep.toml"), "").unwrap();
        let repo = Repo::discover(&deep).unwrap();
        assert_eq!((repo.top.as_path(), repo.project_root.to_string().as_str()), (top.as_path(), "sub"));
        assert_eq!(repo.project_config(), top.join("sub/lockstep.toml"));
    }

    #[test]
    fn the_search_for_a_project_stops_at_the_git_root() {
        let (dir, top) = repository();
        fs::write(dir.path().join("lockstep.toml"), "").unwrap();
        assert!(Repo::discover(&top).unwrap().project_root.is_root());
    }

    #[test]
    fn linked_worktrees_share_the_store_and_not_the_index() {
        let (dir, top) = repository();
        git(&top, &["commit", "-q", "--allow-empty", "-m", "x"]);
        let linked = dir.path().join("linked");
        git(&top, &["worktree", "add", "-q", linked.to_str().unwrap()]);
        let repo = Repo::discover(&linked).unwrap();
        assert_eq!(repo.top, fs::canonicalize(&linked).unwrap());
        assert_eq!(repo.store_dir(), top.join(".git/lockstep/store"));
        assert_eq!(repo.worktree_dir(), top.join(".git/worktrees/linked/lockstep/worktree"));
    }

    #[test]
    fn outside_git() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let deep = mkdir(top.join("a/b"));
        let e = Repo::discover(&deep).unwrap_err();
        assert_eq!((e.kind, e.hints.len()), (Kind::Missing, 2));
        assert_eq!(Repo::discover(&top.join("gone")).unwrap_err().kind, Kind::Missing);

        mkdir(top.join(".git")); // no HEAD: not a repository
        mkdir(top.join(".lockstep"));
        let repo = Repo::discover(&deep).unwrap();
        assert_eq!((repo.top.as_path(), repo.is_git()), (top.as_path(), false));
        assert_eq!(repo.store_dir(), top.join(".lockstep/store"));
        assert_eq!(repo.worktree_dir(), top.join(".lockstep/worktree"));
        assert_eq!(repo.head().unwrap(), None);
    }

    #[test]
    fn a_bare_repository_is_one_and_a_git_folder_is_none() {
        let (dir, top) = repository();
        git(dir.path(), &["clone", "-q", "--bare", "repo", "bare.git"]);
        let bare = fs::canonicalize(dir.path().join("bare.git")).unwrap();
        let repo = Repo::discover(&mkdir(bare.join("refs/deep"))).unwrap();
        assert_eq!((repo.top.as_path(), repo.is_bare()), (bare.as_path(), true));
        let repo = Repo::discover(&top.join(".git/refs")).unwrap();
        assert_eq!((repo.top.as_path(), repo.is_bare()), (top.as_path(), false));
    }

    /// Every spelling that Git refuses in a tree belongs to it, tested by mutation.
    #[test]
    fn names_that_git_refuses_belong_to_git() {
        let rules =
            gix::validate::path::component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
        let letters: Vec<char> = ".gitGIT~12 :\\x\u{200c}\u{feff}$".chars().collect();
        let mut seed = 1u64;
        let mut refused = 0;
        for round in 0..200_000 {
            let mut name: Vec<char> = [".git", "git~1", ".GIT", ".git::$I"][round % 4].chars().collect();
            for _ in 0..round % 3 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (at, letter) =
                    ((seed >> 33) as usize % (name.len() + 1), letters[(seed >> 50) as usize % letters.len()]);
                if seed >> 63 == 0 { name.insert(at, letter) } else { name[at.min(4) % 4] = letter }
            }
            let name: String = name.into_iter().collect();
            if gix::validate::path::component(name.as_str().into(), None, rules).is_err() {
                refused += 1;
                assert_eq!(owner_of(name.as_bytes()), Some(Owner::Git), "{name:?}");
            }
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn inside_git_nothing_nearer_is_believed() {
        let (dir, top) = repository();
        mkdir(top.join("a/.lockstep"));
        let repo = Repo::discover(&mkdir(top.join("a/b"))).unwrap();
        assert_eq!((repo.top.as_path(), repo.is_git()), (top.as_path(), true));
        git(&top, &["init", "-q", "--bare", "bare"]);
        let e = Repo::discover(&top.join("bare/refs")).unwrap_err();
        assert!(e.message.contains("a bare repository in a folder of"), "{e}");
        // A clone that Git keeps in its own folder was not committed.
        git(&top, &["init", "-q", "--bare", ".git/modules/x"]);
        assert!(Repo::discover(&top.join(".git/modules/x")).unwrap().is_bare());
        // Outside Git the nearest one is used.
        mkdir(dir.path().join("plain/.lockstep"));
        let plain = fs::canonicalize(dir.path().join("plain")).unwrap();
        assert_eq!(Repo::discover(&mkdir(plain.join("c"))).unwrap().top, plain);
    }

    #[test]
    fn a_link_to_nowhere_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".git"), "gitdir: /nowhere/at/all\n").unwrap();
        assert!(Repo::discover(dir.path()).unwrap_err().message.contains("/nowhere/at/all"));
        fs::write(dir.path().join(".git"), "what\n").unwrap();
        assert!(Repo::discover(dir.path()).unwrap_err().message.contains("gitdir"));
    }
}
