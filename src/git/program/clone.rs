//! Other repositories: opened at their path, or cloned by the `git` program, which has the user's keys, proxies and
//! credential helpers. Clones are bare, without file contents if the server supports that, and kept.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Kind, Result};
use crate::git::id::GitId;
use crate::git::program::{check_protocol, exact_git, foreign_git, run};
use crate::git::repo::Repo;
use crate::git::repo::owner;
use crate::git::repo::server_header::ServerHeader;
use crate::path::RepoPath;
use crate::path::home::expand;
use crate::shell::word;
use crate::url::Url;
use crate::url::form::AddressForm;

/// An opened repository other than the current one.
pub struct OpenedRepo {
    /// The repository.
    pub repo: Repo,
    /// Is it bare?
    pub bare: bool,
    /// Is it a clone that lockstep made? Then lockstep wrote its settings, too.
    pub is_clone: bool,
    /// Why the clone could not be updated, so that an old state is used.
    pub stale: Option<Error>,
}

/// Is this the address of a repository on another machine: `https://…`, `ssh://…`, `git@host:path`?
pub fn is_url(text: &str) -> bool {
    matches!(Url::from(text).form(), Ok(AddressForm::Service { .. } | AddressForm::Host(..)))
}

/// The folder of an address, relative to `base`; `None` for an address of another machine.
///
/// Errors (usage): the address is ambiguous, or is below HOME, which is unset.
pub fn folder(address: &Url, base: &Path, home: Option<&Path>) -> Result<Option<PathBuf>> {
    match address.form() {
        Ok(AddressForm::Folder(path)) => expand(&path, base, home).map(Some),
        Ok(_) => Ok(None),
        Err(slip) => {
            let error = Error::usage(format!("`{address}` names no repository: {}", slip.why));
            Err(slip.hint.into_iter().fold(error, Error::hint))
        }
    }
}

/// Is this folder the root of a repository, bare or not?
pub fn is_repository(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok() || is_bare(folder)
}

fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

/// How Git reaches a repository.
pub struct GitAddress {
    /// As the user named it, for messages.
    pub shown: Url,
    /// As Git takes it.
    pub url: Url,
    /// Sent to its server.
    pub header: Option<ServerHeader>,
}

/// Opens the repository at a path, relative to the current folder, or at a URL. Clones are kept in `repos`. If `rev` is
/// a commit that the clone has already, nothing is fetched.
pub fn open(
    from: &GitAddress,
    (cwd, home): (&Path, Option<&Path>),
    repos: &Path,
    rev: Option<&str>,
) -> Result<OpenedRepo> {
    let address = &from.url;
    if let Some(folder) = folder(address, cwd, home)? {
        if !folder.exists() {
            return Err(Error::missing(format!("there is no repository {address}"))
                .hint("name a folder with a Git repository, or a URL that `git clone` takes"));
        }
        if is_bare(&folder) {
            let folder = fs::canonicalize(&folder).map_err(|e| Error::io("open", &folder, e))?;
            return Ok(OpenedRepo { repo: Repo::open_bare(&folder)?, bare: true, is_clone: false, stale: None });
        }
        let repo = Repo { fetches_missing: false, ..Repo::discover(&folder)? };
        if fs::canonicalize(&folder).is_ok_and(|folder| folder != repo.top) {
            return Err(Error::usage(format!("{address} is a folder inside of the repository {}", repo.top.display()))
                .hint("name the root of the repository, and then the path in it"));
        }
        return Ok(OpenedRepo { repo, bare: false, is_clone: false, stale: None });
    }
    if let Some(word) = address.option() {
        return Err(Error::usage(format!("`{address}` cannot be used: a host, user or path begins with `-`"))
            .because(format!("Git and ssh would take `{word}` for an option")));
    }
    if let Some(letter) = address.invalid_name_character() {
        return Err(Error::usage(format!(
            "`{address}` cannot be used: its user or host has `{}`",
            letter.escape_debug()
        ))
        .because("ssh, or a command that its settings name, may read it as more than a name"));
    }
    check_protocol(address)?;
    let name: String = address
        .name()
        .unwrap_or("repo")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
        .take(40)
        .collect();
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::object::Kind::Blob, address.raw().as_bytes());
    let id = id.map_err(|e| Error::new(Kind::Bug, "a URL has no hash").because(e))?;
    let clone = repos.join(format!("{name}-{id}"));
    let commit = rev.and_then(GitId::from_hex);
    let mut stale = None;
    if !clone.join("HEAD").exists() {
        clone_to(from, &clone)?;
    } else if !is_of(&clone, address) {
        return Err(Error::usage(format!("the clone {} is not one of {address}", clone.display()))
            .hint(format!("remove it, and it is made again: rm -r -- {}", word(&clone.display().to_string()))));
    } else if !commit.is_some_and(|id| has(&clone, id)) {
        let fetch = ["fetch", "--quiet", "--prune", "--force", "--tags", "--", "origin", "+refs/heads/*:refs/heads/*"];
        stale = run(from.git(&clone).args(fetch)).err().map(|e| said(from, e));
    }
    if stale.is_none() {
        fetch_unnamed(from, &clone, rev);
    }
    let repo = Repo { fetches_missing: true, server_header: from.header.clone(), ..Repo::bare(&clone)? };
    Ok(OpenedRepo { repo, bare: true, is_clone: true, stale })
}

/// Fetches a commit that is on no branch any more, or a ref that is neither branch nor tag. Servers may refuse it; the
/// revision is unknown then.
fn fetch_unnamed(from: &GitAddress, clone: &Path, rev: Option<&str>) {
    let is_kept = |rev: &str| rev.starts_with("refs/heads/") || rev.starts_with("refs/tags/");
    let wanted = match rev {
        Some(rev) if GitId::from_hex(rev).is_some_and(|id| !has(clone, id)) => rev.to_string(),
        Some(rev) if rev.starts_with("refs/") && !is_kept(rev) => format!("+{rev}:{rev}"),
        _ => return,
    };
    let _ = run(from.git(clone).args(["fetch", "--quiet", "--no-tags", "--", "origin", &wanted]));
}

impl GitAddress {
    /// An address that Git takes as it is.
    pub fn plain(url: &Url) -> GitAddress {
        GitAddress { shown: url.clone(), url: url.clone(), header: None }
    }

    fn git(&self, folder: &Path) -> Command {
        let mut command = foreign_git(folder);
        if let Some(header) = &self.header {
            header.give_to(&mut command);
        }
        command
    }
}

/// Was it cloned from this exact address?
fn is_of(clone: &Path, address: &Url) -> bool {
    let mut command = exact_git(clone);
    command.args(["--git-dir", ".", "config", "--local", "--no-includes", "--get-all", "remote.origin.url"]);
    run(&mut command).is_ok_and(|url| url.strip_suffix(b"\n") == Some(address.raw().as_bytes()))
}

fn has(clone: &Path, id: GitId) -> bool {
    Repo::bare(clone).and_then(|repo| repo.history()).is_ok_and(|h| h.commit(id).is_ok())
}

/// Clones to a temporary sibling and renames it, so that an interrupted clone is never used.
fn clone_to(from: &GitAddress, clone: &Path) -> Result<()> {
    let address = &from.url;
    let repos = clone.parent().unwrap_or(clone);
    fs::create_dir_all(repos).map_err(|e| Error::io("create", repos, e))?;
    let fresh = clone.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_dir_all(&fresh);
    // Git writes the URL into the clone's own settings.
    let mode = if address.has_secret() { 0o700 } else { 0o777 };
    fs::DirBuilder::new().mode(mode).create(&fresh).map_err(|e| Error::io("create", &fresh, e))?;
    let to = fresh.display().to_string();
    // Without the user's template: its hooks are for repositories with worktrees.
    let clone_args = ["clone", "--quiet", "--bare", "--template=", "--filter=blob:none", "--", address.raw(), &to];
    let made = run(from.git(repos).args(clone_args));
    if let Err(e) = made {
        let _ = fs::remove_dir_all(&fresh);
        return Err(said(from, e));
    }
    match fs::rename(&fresh, clone) {
        // Another process was faster.
        Err(_) if clone.join("HEAD").exists() => drop(fs::remove_dir_all(&fresh)),
        Err(e) => return Err(Error::io("create", clone, e)),
        Ok(()) => {}
    }
    Ok(())
}

fn said(from: &GitAddress, e: Error) -> Error {
    let address = &from.url;
    let error = Error::new(Kind::Remote, format!("the repository {} cannot be had", from.shown));
    e.causes
        .into_iter()
        .fold(error.because(address.scrub(&e.message)), |error, cause| error.because(address.scrub(&cause)))
        .hint(format!("see whether Git can reach it: git ls-remote {}", word(&address.to_string())))
}

impl Repo {
    /// Opens a bare repository on the user's disk.
    ///
    /// Errors: [`Kind::Usage`] if it belongs to another user, or is inside the worktree of another repository.
    pub(in crate::git) fn open_bare(git_dir: &Path) -> Result<Repo> {
        owner::check_owner(git_dir, &[git_dir])?;
        owner::check_embedded(git_dir)?;
        Repo::bare(git_dir)
    }

    /// A repository without a worktree, of which only the commits are used.
    pub fn bare(git_dir: &Path) -> Result<Repo> {
        let folder = || git_dir.to_path_buf();
        Repo::of(folder(), Some(folder()), Some(folder()), RepoPath::root())
    }

    /// Returns true if there is no worktree.
    pub fn is_bare(&self) -> bool {
        self.git_dir.as_deref() == Some(&*self.top)
    }

    /// Where clones of other repositories are kept.
    pub fn repos_dir(&self) -> PathBuf {
        self.shared().join("repos")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn addresses() {
        for (text, want) in [
            ("https://host/x.git", true),
            ("git@host:x/y", true),
            ("host:x", true),
            ("./a:b", false),
            ("a/b:c", false),
            ("../repo", false),
            ("/abs/repo", false),
            ("c:/x", false),
        ] {
            assert_eq!(is_url(text), want, "{text}");
        }
    }

    #[test]
    fn clones_are_kept_and_renewed() {
        let (dir, top) = repository();
        git(&top, &["config", "uploadpack.allowFilter", "true"]);
        write(&top, &[("f", "1")]);
        let first = commit_all(&top, "1");
        // As from a server; a `file://` address would be opened at its path.
        let repos = dir.path().join("repos");
        let clone = repos.join("clone");
        clone_to(&GitAddress::plain(&format!("file://{}", top.display()).into()), &clone).unwrap();
        let at = |path: &Path, rev: &str| Repo::bare(path).unwrap().resolve(rev).map(|c| c.id.hex());
        assert_eq!(at(&clone, "HEAD").unwrap(), first);
        let path = RepoPath::root().join("f").unwrap();
        let e = Repo::bare(&clone).unwrap().resolve("HEAD").unwrap().read(&path).unwrap_err();
        assert!(e.kind == Kind::Missing && e.hints.iter().any(|hint| hint.contains("--refetch")), "{e}");
        let commit = Repo { fetches_missing: true, ..Repo::bare(&clone).unwrap() }.resolve("HEAD").unwrap();
        // The contents were left out, and are fetched on demand.
        assert_eq!(commit.read(&path).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(std::fs::read_dir(&repos).unwrap().count(), 1);
        let none = format!("file://{}", dir.path().join("none").display());
        let e = clone_to(&GitAddress::plain(&none.into()), &repos.join("x")).unwrap_err();
        assert_eq!((e.kind, std::fs::read_dir(&repos).unwrap().count()), (Kind::Remote, 1));
    }
}
