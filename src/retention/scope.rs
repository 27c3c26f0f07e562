//! Selects the states whose pins are in scope.
//!
//! Always in scope: the pins of the locks on disk and in Git's index of every worktree, and of the commit that is
//! checked out there; the stash, with the index that each entry holds; what Git needs to continue or to abort a merge,
//! a rebase or the like; and the records of runs that are running or were killed. By request: branches, tags, commits.
//! Of other projects that share the store: all reachable commits, and those in their reflogs. If Git shows another
//! object than the original (`git replace`), both are in scope.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::config::Grade;
use crate::error::{Error, Kind, Result};
use crate::git::{self, Commit, GitId, History, OperationObjects, Repo, SelectedCommit};
use crate::path::RepoPath;
use crate::project::Project;
use crate::retention::pins::{LOCK, LockPins, PinReader};
use crate::shell::word;
use crate::store::{Store, StoreUser, id_in};

/// Experiments are commits below this ref.
const EXPERIMENTS: &str = "refs/exps/";

/// Which commits are in scope, besides those that always are.
#[derive(Clone, Debug, Default)]
pub struct CommitScope {
    /// Revisions, as the user wrote them.
    pub revs: Vec<String>,
    /// With `revs`: the number of commits from each one backwards.
    pub number: Option<usize>,
    /// The tips of all local branches.
    pub all_branches: bool,
    /// The targets of all tags.
    pub all_tags: bool,
    /// All reachable commits, and those in the reflogs.
    pub all_commits: bool,
    /// Commits below `refs/exps/`.
    pub all_experiments: bool,
}

impl CommitScope {
    /// All commits, including experiments.
    pub fn everything() -> CommitScope {
        CommitScope { all_commits: true, all_experiments: true, ..CommitScope::default() }
    }
}

/// Which states are in scope, and which errors are skipped.
#[derive(Clone, Debug, Default)]
pub struct ScopeRequest {
    /// The commits in scope.
    pub which: CommitScope,
    /// Continue if a lock or a reference cannot be read.
    pub skip_unreadable: bool,
    /// Projects that are gone for good.
    pub forgotten: Vec<PathBuf>,
}

/// A state of a project, with its pins.
#[derive(Clone, Debug)]
pub struct PinSource {
    /// `workspace`, or the name of the commit.
    pub name: String,
    /// The commit, or the tree or file that a ref points to. `None` for uncommitted states: workspaces, the index,
    /// journals.
    pub commit: Option<GitId>,
    /// The other project that it belongs to.
    pub other: Option<PathBuf>,
    /// The pins of each lock of the state.
    pub pinned_paths: Vec<LockPins>,
}

/// All states in scope, with their pins.
#[derive(Debug, Default)]
pub struct PinSources {
    /// This project's states first.
    pub states: Vec<PinSource>,
    /// Errors that the request allows to skip.
    pub unreadable: Vec<Error>,
    /// How many of the states are of this project: the first ones.
    pub own: usize,
    /// Other projects that use the store.
    pub others: Vec<PathBuf>,
    /// Clones that lack older commits, whose pins are not known.
    pub shallow: Vec<ShallowClone>,
}

/// A clone without its older commits.
#[derive(Clone, Debug)]
pub struct ShallowClone {
    pub repository: PathBuf,
    /// Whether older commits are in scope.
    pub is_asked: bool,
}

/// Gathers all states in scope.
///
/// Errors: anything that cannot be read, since its pins are not known.
pub fn gather(project: &Project, request: &ScopeRequest) -> Result<PinSources> {
    let mut found = gather_own(project, request)?;
    let mut gatherer = Gatherer { found: &mut found, store: project.store(), skip: request.skip_unreadable };
    for user in other_projects(project)? {
        let home = user.home.clone();
        if request.forgotten.contains(&home) {
            continue;
        }
        let forget = format!("if it is gone for good: lockstep store gc --forget {} …", word(&home.to_string_lossy()));
        let reading = |e: Error| match e.kind {
            Kind::Missing if !home.exists() => Error::missing(format!(
                "the project at {}{}, which uses this store, is not there: what it needs is not known",
                home.display(),
                on_host(&user)
            ))
            .hint(&forget)
            .hint("if its disk is not mounted: mount it, and run the command again"),
            _ => e.because(format!("all projects that use this store are read, and this is about {}", home.display())),
        };
        let repo = Repo::open_home(&home).map_err(reading)?;
        if user.id.is_some() && id_in(&repo.id_file())? != user.id {
            let what = format!("at {} is another repository than the one{}", home.display(), on_host(&user));
            let error = Error::missing(format!("{what} that uses this store: what that one needs is not known"));
            return Err(error.hint(&forget).hint("else run gc where all repositories that use the store are at hand"));
        }
        gatherer.project(&repo, &CommitScope::everything(), Some(&home)).map_err(reading)?;
        gatherer.found.others.push(home);
    }
    Ok(found)
}

/// The same for this project alone.
pub fn gather_own(project: &Project, request: &ScopeRequest) -> Result<PinSources> {
    let mut found = PinSources::default();
    let mut gatherer = Gatherer { found: &mut found, store: project.store(), skip: request.skip_unreadable };
    gatherer.project(&project.repo, &request.which, None)?;
    found.own = found.states.len();
    Ok(found)
}

/// The last known host of a missing project, for the error message.
fn on_host(user: &StoreUser) -> String {
    if user.host.is_empty() { String::new() } else { format!(" (on {})", user.host) }
}

/// The other projects that registered themselves in the store, and the one whose repository contains it. In a store
/// that `lockstep.toml` names, the surrounding repository is ignored, and so are notes that came with a commit.
pub(super) fn other_projects(project: &Project) -> Result<Vec<StoreUser>> {
    let (store, here) = (project.store(), project.repo.home());
    let own = id_in(&project.repo.id_file())?;
    let mut users = registered_projects(project)?;
    users.retain(|user| user.home != here || (user.id.is_some() && user.id != own));
    let owner = store_owner(store.dir()).filter(|_| !is_of_commit(project));
    if let Some(home) = owner.filter(|home| *home != here && users.iter().all(|u| u.home != *home)) {
        users.push(StoreUser { home, id: None, host: String::new() });
    }
    Ok(users)
}

fn is_of_commit(project: &Project) -> bool {
    project.config.grade("cache.dir") == Some(Grade::Repository)
}

/// All projects that registered themselves in the store.
pub fn registered_projects(project: &Project) -> Result<Vec<StoreUser>> {
    project.store().projects(&notes(project)?.0)
}

/// Valid notes on projects in the store, and those that came with a commit: a commit may name the store and bring one
/// along, with notes that no project made.
pub(super) fn notes(project: &Project) -> Result<(Vec<PathBuf>, Vec<RepoPath>)> {
    let notes = project.store().project_notes()?;
    if !is_of_commit(project) {
        return Ok((notes, Vec::new()));
    }
    let path = |note: &PathBuf| RepoPath::from_absolute(project.top(), &std::fs::canonicalize(note).ok()?);
    let paths: Vec<RepoPath> = notes.iter().filter_map(path).collect();
    let tracked: BTreeSet<RepoPath> = project.repo.tracked(&paths)?.into_iter().collect();
    let counts = |note: &PathBuf| path(note).is_none_or(|path| !tracked.contains(&path));
    Ok((notes.into_iter().filter(counts).collect(), tracked.into_iter().collect()))
}

/// The project that owns the store: `<home>/lockstep/store` in Git, `<home>/store` outside of it.
fn store_owner(store: &Path) -> Option<PathBuf> {
    let store = std::fs::canonicalize(store).ok()?;
    let above = store.parent().filter(|_| store.ends_with("store"))?;
    if above.ends_with(".lockstep") {
        return Some(above.to_path_buf());
    }
    let home = above.parent().filter(|_| above.ends_with("lockstep"))?;
    home.join("HEAD").is_file().then(|| home.to_path_buf())
}

struct Gatherer<'f> {
    found: &'f mut PinSources,
    store: &'f Store,
    skip: bool,
}

impl Gatherer<'_> {
    fn project(&mut self, repo: &Repo, which: &CommitScope, other: Option<&Path>) -> Result<()> {
        // A bare repository may have linked worktrees, too.
        let worktrees = if repo.is_git() { repo.worktrees()? } else { vec![repo_again(repo)?] };
        let histories = if repo.is_git() { repo.histories()? } else { Vec::new() };
        let mut readers: Vec<PinReader> = histories.iter().map(|_| PinReader::new(self.store)).collect();
        let mut unfinished: Vec<BTreeSet<GitId>> = vec![BTreeSet::new(); histories.len()];
        for (at, worktree) in worktrees.iter().enumerate() {
            if at > 0 && !worktree.is_here() {
                self.try_or((), Err(missing_worktree(worktree)))?;
            }
            let is_this = other.is_none() && (worktrees.len() == 1 || worktree.git_dir == repo.git_dir);
            let name = match (is_this, at) {
                (true, _) => "workspace".to_string(),
                _ => worktree.top.display().to_string(),
            };
            // In the order in which data moves: a record that leaves the journal is in the lock by then, and a step
            // that Git completes is in the index.
            let mut disk = PinReader::new(self.store);
            let mut pinned_paths = vec![self.try_or(LockPins::default(), disk.journals(worktree))?];
            for (n, history) in histories.iter().enumerate() {
                let found = self.try_or(OperationObjects::default(), worktree.operation_objects(history, LOCK))?;
                pinned_paths.push(self.try_or(LockPins::default(), readers[n].unfinished(history, &found))?);
                unfinished[n].extend(found.commits);
            }
            pinned_paths.extend(self.try_or(Vec::new(), disk.disk(worktree))?);
            for (history, reader) in histories.iter().zip(&mut readers) {
                pinned_paths.extend(self.try_or(Vec::new(), reader.index(history, worktree))?);
            }
            self.found.states.push(PinSource { name, commit: None, other: other.map(Path::to_path_buf), pinned_paths });
        }
        let Some(plain) = histories.first() else { return Ok(()) };
        if plain.is_shallow() {
            let is_asked = which.all_commits || which.number.is_some();
            self.found.shallow.push(ShallowClone { repository: repo.top.clone(), is_asked });
        }
        // If one of the two does not have the revision, the other one is used.
        let choice =
            git::CommitSelection { revs: which.revs.clone(), number: which.number, ..git::CommitSelection::default() };
        let mut chosen: Vec<Result<Vec<SelectedCommit>>> =
            histories.iter().map(|history| history.select_commits(&choice)).collect();
        // An unreadable revision does not count as missing.
        let is_broken = |chosen: &Result<Vec<SelectedCommit>>| chosen.as_ref().is_err_and(|e| e.kind != Kind::Missing);
        let wrong = chosen.iter().position(is_broken).or_else(|| chosen.iter().all(Result::is_err).then_some(0));
        if let Some(at) = wrong {
            let read = chosen.swap_remove(at).map(drop);
            return if read.as_ref().is_err_and(|e| e.kind == Kind::Missing) { read } else { self.try_or((), read) };
        }
        let mut known: HashMap<GitId, usize> = HashMap::new();
        let prefix = if which.all_commits { Some("refs/") } else { which.all_tags.then_some("refs/tags/") };
        for (n, (history, reader)) in histories.iter().zip(&mut readers).enumerate() {
            let refs = prefix.map_or(Ok(Vec::new()), |prefix| history.refs_without_commit(prefix));
            for (name, id, is_tree) in self.try_or(Vec::new(), refs)? {
                let pinned_paths = vec![self.try_or(LockPins::default(), reader.without_commit(history, id, is_tree))?];
                self.found.states.push(PinSource {
                    name,
                    commit: Some(id),
                    other: other.map(Path::to_path_buf),
                    pinned_paths,
                });
            }
            reader.allows_empty = which.all_commits;
            let chosen = chosen[n].as_deref().unwrap_or_default();
            let commits = self.commits(repo, &worktrees, history, which, chosen, &unfinished[n])?;
            let ahead: Vec<Commit> = commits.iter().filter_map(|(id, _)| history.commit(*id).ok()).collect();
            self.try_or((), reader.fetch_ahead(history, &ahead))?;
            for (id, name) in commits {
                let commit = history.commit(id);
                let pinned_paths = commit.and_then(|commit| reader.commit(history, &commit));
                let Some(pinned_paths) = self.try_or(None, pinned_paths.map(Some))? else { continue };
                if let Some(at) = known.get(&id) {
                    self.found.states[*at].pinned_paths.extend(pinned_paths);
                    continue;
                }
                known.insert(id, self.found.states.len());
                self.found.states.push(PinSource {
                    name,
                    commit: Some(id),
                    other: other.map(Path::to_path_buf),
                    pinned_paths,
                });
            }
        }
        Ok(())
    }

    /// Returns what was read, or records the error if the request allows to skip it.
    fn try_or<T>(&mut self, instead: T, read: Result<T>) -> Result<T> {
        match read {
            Ok(read) => Ok(read),
            Err(e) if self.skip => {
                self.found.unreadable.push(e);
                Ok(instead)
            }
            Err(e) => Err(e.hint("nothing was touched: what it needs is not known")),
        }
    }

    /// The commits in scope, each once, with its name.
    fn commits(
        &mut self,
        repo: &Repo,
        worktrees: &[Repo],
        history: &History,
        which: &CommitScope,
        chosen: &[SelectedCommit],
        unfinished: &BTreeSet<GitId>,
    ) -> Result<Vec<(GitId, String)>> {
        let mut named: BTreeMap<GitId, String> = BTreeMap::new();
        let mut order = Vec::new();
        let mut add = |id: GitId, name: Option<&str>| {
            named.entry(id).or_insert_with(|| {
                order.push(id);
                name.map_or_else(|| id.short(), str::to_string)
            });
        };
        for chosen in chosen {
            add(chosen.id, chosen.names.first().map(String::as_str));
        }
        let mut prefixes = vec!["refs/stash"];
        prefixes.extend(
            [(which.all_branches, "refs/heads/"), (which.all_tags, "refs/tags/")]
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, p)| *p),
        );
        if which.all_experiments {
            prefixes.push(EXPERIMENTS);
        }
        for prefix in prefixes {
            for (name, id) in self.try_or(Vec::new(), history.refs(prefix))? {
                add(id, Some(name.strip_prefix(prefix).filter(|short| !short.is_empty()).unwrap_or("stash")));
            }
        }
        for id in self.try_or(BTreeSet::new(), stashes(repo, history))? {
            add(id, Some("stash"));
        }
        if which.all_commits {
            let mut tips: BTreeSet<GitId> = BTreeSet::new();
            tips.extend(self.try_or(Vec::new(), history.refs("refs/"))?.into_iter().map(|(_, id)| id));
            for worktree in worktrees {
                tips.extend(self.try_or(BTreeSet::new(), worktree.private_commits())?);
                let logged = worktree.reflog_commits().and_then(|ids| existing_objects(history, ids));
                tips.extend(self.try_or(BTreeSet::new(), logged)?);
            }
            let names = names(history);
            for id in self.try_or(Vec::new(), history.reachable(tips))? {
                add(id, names.get(&id).map(String::as_str));
            }
        }
        for id in unfinished {
            add(*id, None);
        }
        for worktree in worktrees {
            if let Some(id) = self.try_or(None, worktree.head_commit())? {
                add(id, None);
            }
        }
        Ok(order.into_iter().map(|id| (id, named.remove(&id).unwrap_or_default())).collect())
    }
}

/// The entries of the stash with their parents, which hold the index, the untracked files, and the base of an entry.
fn stashes(repo: &Repo, history: &History) -> Result<BTreeSet<GitId>> {
    let mut entries = repo.stash_commits().and_then(|ids| existing_objects(history, ids))?;
    entries.extend(history.refs("refs/stash")?.into_iter().map(|(_, id)| id));
    history.with_parents(entries)
}

/// The objects that still exist: a reflog may name missing ones.
fn existing_objects(history: &History, mut ids: BTreeSet<GitId>) -> Result<BTreeSet<GitId>> {
    let mut unreadable = None;
    ids.retain(|id| history.has_commit(*id).unwrap_or_else(|e| unreadable.replace(e).is_some()));
    unreadable.map_or(Ok(ids), Err)
}

/// A linked worktree that Git lists and that is missing: its locks, which may be the only copies, cannot be read.
fn missing_worktree(worktree: &Repo) -> Error {
    let what = format!("the worktree {} is not there: what its locks need is not known", worktree.top.display());
    let note = worktree.worktree_record();
    if note.exists() {
        let gone = format!("if it is gone for good: rm {}", word(&note.display().to_string()));
        return Error::missing(what).hint(gone).hint("if its disk is not mounted: mount it, and run the command again");
    }
    Error::missing(what)
        .hint("if it is gone for good: git worktree prune")
        .hint("if it was moved: git worktree repair, in its new place")
        .hint("if its disk is not mounted: mount it, and run the command again")
}

/// Names of commits: a tag, otherwise a branch.
fn names(history: &History) -> HashMap<GitId, String> {
    let mut names = HashMap::new();
    for prefix in ["refs/tags/", "refs/heads/"] {
        for (name, id) in history.refs(prefix).unwrap_or_default() {
            names.entry(id).or_insert_with(|| name.trim_start_matches(prefix).to_string());
        }
    }
    names
}

fn repo_again(repo: &Repo) -> Result<Repo> {
    Repo::open_home(&repo.home())
}
