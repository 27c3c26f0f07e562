//! Opens another repository read-only as a project: its files at a commit, and the bytes that it pins.
//!
//! A repository on this disk is opened in place, with its own store. A clone has no store: its objects are fetched into
//! the store of the current repository, since equal ids mean equal bytes.

use std::path::{Path, PathBuf};

use super::hub::{self, HubRepository};
use super::{Project, Surroundings};
use crate::config::{Config, GivenSetting, Grade, Sources};
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::git::program::clone::{self, GitAddress};
use crate::git::{Commit, GitId, Repo};
use crate::path::RepoPath;
use crate::store::{LinkTypes, Store, real_path};
use crate::url::Url;

/// Another repository, opened at a commit.
pub struct OpenedRepository {
    /// The repository, with its own settings.
    pub project: Project,
    /// The commit of the requested revision.
    pub commit: GitId,
    /// The revision as the user named it.
    pub rev: String,
}

/// Opens the repository at `address` (a path, a URL that `git clone` takes, `hf://ORG/NAME`) at a revision, by default its `HEAD`.
/// `path` selects the project if the repository has several.
pub fn open_repository(
    around: &Surroundings,
    address: &Url,
    rev: Option<&str>,
    path: &str,
    sink: &dyn Sink,
) -> Result<OpenedRepository> {
    let (address, rev) = &hub::split_revision(address, rev)?;
    let rev = rev.as_deref();
    let hub = HubRepository::of(address, around)?;
    let here = Repo::find_current(&around.cwd, &around.git).ok();
    let repos = match &here {
        Some(repo) => repo.repos_dir(),
        None => cache_dir(around)?.join("repos"),
    };
    let from = match &hub {
        Some(hub) => GitAddress { shown: address.clone(), url: hub.git_url.clone(), header: hub.header() },
        None => GitAddress::plain(address),
    };
    let opened = clone::open(&from, (&around.cwd, around.home.as_deref()), &repos, rev);
    let mut other = opened.map_err(|e| match &hub {
        Some(hub) if says(&e, &["error: 301", "error: 302", "error: 307", "error: 308"]) => {
            e.hint(format!("it may have another name now: see {}", hub.git_url))
        }
        Some(hub) if is_refusal(&e) => hub.access_hints().into_iter().fold(e, Error::hint),
        _ => e,
    })?;
    other.repo.require_signed = around.requires_signed();
    other.repo.is_other = !other.is_clone && here.as_ref().is_none_or(|here| !here.is_same(&other.repo));
    let is_other = other.repo.is_other;
    if let Some(error) = &other.stale {
        let why = error.causes.first().map_or(String::new(), |why| format!(" ({why})"));
        sink.event(Event::Warning { text: &format!("{}; the local clone of it is used{why}", error.message) });
    }
    let rev = rev.unwrap_or("HEAD");
    let commit = other.repo.resolve(rev).map_err(|e| Error { message: format!("{address}: {}", e.message), ..e })?;
    let id = commit.id;
    let path = RepoPath::root()
        .join(path)
        .ok_or_else(|| Error::usage(format!("`{path}` leads out of the repository {address}")))?;
    let root = commit.project_root(&path)?;
    let project = if other.bare {
        let store = match &here {
            Some(_) => Project::open(around.clone())?.store_dir(),
            None => cache_dir(around)?.join("store"),
        };
        bare(around, other.repo, &commit, root, store)?
    } else {
        let cwd = root.on_disk(&other.repo.top);
        let cwd = if cwd.is_dir() { cwd } else { other.repo.top };
        let mut repo = Repo::discover(&cwd)?;
        (repo.require_signed, repo.is_other, repo.fetches_missing) = (around.requires_signed(), is_other, false);
        let mut project = Project::open_repo(repo, Surroundings { cwd, ..around.clone() })?;
        (project.repo.project_root, project.cwd) = (root, RepoPath::root());
        if let Some(note) = project.config.notes("cache.dir").iter().find(|note| is_other && note.ignored) {
            let text = format!("cache.dir of {address} is {} and is not used: {}", note.value, note.reason);
            sink.event(Event::Warning { text: &text });
        }
        project
    };
    let project = Project { address: Some(address.clone()), ..project };
    Ok(OpenedRepository { project, commit: id, rev: rev.to_string() })
}

/// Whether Git reports that a server refuses access, or does not admit that the repository exists.
fn is_refusal(error: &Error) -> bool {
    says(error, &["error: 401", "error: 403", "not found", "Authentication failed", "could not read Username"])
}

fn says(error: &Error, words: &[&str]) -> bool {
    error.kind == Kind::Remote && error.causes.iter().any(|cause| words.iter().any(|word| cause.contains(word)))
}

/// The folder for clones when there is no current repository.
fn cache_dir(around: &Surroundings) -> Result<PathBuf> {
    let set = around.env.get("XDG_CACHE_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
    let cache = set.or_else(|| around.home.as_ref().map(|home| home.join(".cache")));
    let cache =
        cache.ok_or_else(|| Error::usage("there is no home folder to keep a clone in").hint("set XDG_CACHE_HOME"));
    Ok(cache?.join("lockstep"))
}

/// A project without files whose objects are kept in `store`.
fn bare(around: &Surroundings, mut repo: Repo, commit: &Commit, root: RepoPath, store: PathBuf) -> Result<Project> {
    repo.project_root = root;
    let mut config = settings_of_bare(around, &repo, Some(commit))?;
    config.give(&GivenSetting {
        key: "cache.dir".into(),
        value: store.display().to_string(),
        name: "the store of this repository".into(),
    })?;
    Ok(Project::of(repo, config, RepoPath::root(), around.clone()))
}

/// The settings of a repository without files: its local ones and those of its `HEAD` (else of the commit), because the
/// current location of remotes does not follow from an old commit.
pub(super) fn settings_of_bare(around: &Surroundings, repo: &Repo, commit: Option<&Commit>) -> Result<Config> {
    let settings = repo.project_root.join("lockstep.toml").unwrap_or_default();
    // The repository may have no commit yet. Settings that cannot be read may restrict which results are accepted.
    let today = match repo.resolve("HEAD") {
        Ok(head) => head.read(&settings)?,
        Err(_) => None,
    };
    let text = match (today, commit) {
        (Some(text), _) => text,
        (None, Some(commit)) => commit.read(&settings)?.unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    let files = around.user_config.iter().map(|file| (file.clone(), Grade::User)).collect();
    let mut config = Config::load(&Sources { files, ..Sources::default() })?;
    config.put_text(Path::new(settings.as_str()), &String::from_utf8_lossy(&text), Grade::Repository)?;
    let local = repo.local_config();
    if let Some(text) = document::read_text(&local, document::MOST)? {
        config.put_text(&local, &text, grade_of_clone(repo))?;
    }
    around.settings.iter().try_for_each(|given| config.give(given))?;
    Ok(config)
}

/// The grade of a clone's local settings. Those of another repository may have been unpacked with its folder, like
/// `lockstep.toml`.
pub(super) fn grade_of_clone(repo: &Repo) -> Grade {
    if repo.is_other { Grade::Repository } else { Grade::User }
}

/// Accepts a store outside of another repository if the user has worked with that repository there, which a note in the
/// store shows.
pub(super) fn use_known_store(repo: &Repo, around: &Surroundings, config: &mut Config) -> Result<()> {
    let local = Config::load(&Sources::file(repo.local_config()))?;
    let root = repo.project_root.on_disk(&repo.top);
    let Some(dir) = local.cache_dir(&root, around.home.as_deref())? else { return Ok(()) };
    let is_given = around.settings.iter().any(|given| given.key == "cache.dir");
    let store = Store::open(&dir, LinkTypes::default()).for_project(repo.home(), repo.id_file());
    if is_given || real_path(&dir).starts_with(&repo.top) || !store.has_note_of_user() {
        return Ok(());
    }
    let (key, value) = ("cache.dir".into(), dir.display().to_string());
    config.give(&GivenSetting { key, value, name: repo.local_config().display().to_string() })
}
