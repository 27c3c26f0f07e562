//! Fetches the bytes of an import from the repository that it was imported from, at its pinned commit, if neither the
//! store nor a remote has them.
//!
//! They are written beside the index, hashed under the ignore rules of their final place, and stored only if they match
//! the lock's pin, because the user may have changed the import since.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::get::{Destination, WriteMode, fetch_missing, get_over};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git;
use crate::git::program::clone;
use crate::path::{RepoPath, normalise};
use crate::pipeline::stage::Import;
use crate::project::listing::{Browser, ItemKind};
use crate::project::origin::Origin;
use crate::project::{Project, Rev, open_repository};
use crate::remote::settings::grant;
use crate::store::{self, OpenFolder, Pin, TrackedPath};
use crate::url::Url;
use crate::url::form::AddressForm;

/// The files of a killed fetch are deleted after this time.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

impl Origin {
    /// Whether the other repository pins these bytes at the commit of the import. False if Git has them, or if it pins
    /// other bytes.
    pub fn has(&self, project: &Project, pin: &Pin, sink: &dyn Sink) -> Result<bool> {
        let import = &self.import;
        let address = address(project, &import.url, &self.file)?;
        let opened = open_repository(&project.around, &address, Some(&import.commit), &import.path, sink)?;
        let snapshot = opened.project.at(&Rev::Commit(opened.commit))?;
        let from = RepoPath::root().join(&import.path).unwrap_or_default();
        let found = Browser::new(&snapshot)?.find(&from)?.map(|item| item.what);
        Ok(matches!(found, Some(ItemKind::Pinned(theirs)) if theirs.same_content(pin)))
    }

    /// Brings the pinned bytes into the store.
    ///
    /// Errors: [`Kind::Missing`] if the other repository now has other bytes there, or none.
    pub fn fetch(&self, project: &Project, rules: &git::Rules, pin: &Pin, sink: &dyn Sink) -> Result<()> {
        let import = &self.import;
        let address = address(project, &import.url, &self.file)?;
        let opened = open_repository(&project.around, &address, Some(&import.commit), &import.path, sink)?;
        let snapshot = opened.project.at(&Rev::Commit(opened.commit))?;
        let from = RepoPath::root().join(&import.path).unwrap_or_default();
        // A clone has no store: its objects are fetched into the current store.
        if opened.project.store_dir() == project.store_dir()
            && let Some(ItemKind::Pinned(theirs)) = Browser::new(&snapshot)?.find(&from)?.map(|item| item.what)
            && theirs.id == pin.id
        {
            return fetch_missing(&snapshot, &[(&from, theirs)], sink);
        }
        let staged = StagingFolder::new(project)?;
        let place = staged.0.join(self.path.name());
        let remove = |old: &Path| store::remove(old).map_err(|e| Error::io("remove", old, e));
        let destination = Destination {
            to: &place,
            earlier: &self.path.on_disk(project.top()),
            open: &|| OpenFolder::open(&staged.0),
            mode: WriteMode::Replace(&remove),
        };
        get_over(&snapshot, &from, &destination, sink)?;
        let spot = TrackedPath::Outside(place.clone());
        let rules =
            RelocatedRules { rules, staged: place.as_os_str().as_encoded_bytes(), path: self.path.as_str().as_bytes() };
        let index = project.index();
        let seen = index.scan(std::slice::from_ref(&spot), &rules, sink).pop().unwrap_or(Ok(None))?;
        let seen = seen.filter(|seen| seen.same_content(pin));
        let stored = seen.ok_or_else(|| self.differs()).and_then(|seen| {
            let _hold = project.store().lock_shared(sink)?;
            let mut batch = project.store().batch();
            batch.add(index, &spot, &seen)?;
            batch.commit(sink).map(drop)
        });
        index.forget_place(&spot);
        stored
    }

    fn differs(&self) -> Error {
        let Import { url, path, commit, .. } = &self.import;
        let commit = &commit[..commit.len().min(7)];
        let message = format!("{} is pinned to other bytes than {path} of {url} has at {commit}", self.path);
        Error::new(Kind::Missing, message)
            .because("it was changed after it was imported")
            .hint("push it from where it was changed: lockstep push")
    }
}

/// A temporary folder for the fetched files, deleted on drop.
struct StagingFolder(std::path::PathBuf);

impl StagingFolder {
    fn new(project: &Project) -> Result<StagingFolder> {
        let all = project.state_dir().join("imports");
        let now = (project.around.now)();
        let is_stale = |path: &Path| {
            let modified = path.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STALE))
        };
        for left in fs::read_dir(&all).into_iter().flatten().flatten().filter(|left| is_stale(&left.path())) {
            let _ = store::remove(&left.path());
        }
        let folder = all.join(store::random_name());
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        Ok(StagingFolder(folder))
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        let _ = store::remove(&self.0);
    }
}

/// The ignore rules of the repository, applied to files as if they were at another path.
struct RelocatedRules<'a> {
    rules: &'a git::Rules,
    staged: &'a [u8],
    path: &'a [u8],
}

impl store::Rules for RelocatedRules<'_> {
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        match path.strip_prefix(self.staged) {
            Some(below) => self.rules.ignored(&[self.path, below].concat(), is_dir),
            None => self.rules.ignored(path, is_dir),
        }
    }

    fn id(&self) -> u64 {
        self.rules.id()
    }
}

/// Resolves the address of a repository that a pipeline file names.
///
/// Errors: it is a folder outside of this repository that only the pipeline file names. A pipeline file of another
/// author could name a private repository, whose files `push` would then publish.
pub(crate) fn address(project: &Project, url: &Url, file: &RepoPath) -> Result<Url> {
    let base = file.parent().unwrap_or_default().on_disk(project.top());
    let Some(folder) = clone::folder(url, &base, project.around.home.as_deref())? else { return Ok(url.clone()) };
    let is_absolute = matches!(url.form(), Ok(AddressForm::Folder(path)) if path.starts_with('/'));
    let (folder, address) = if is_absolute {
        (folder, url.clone())
    } else {
        let folder = normalise(&folder.to_string_lossy());
        (folder.clone().into(), folder.into())
    };
    grant::check_folder(project, &folder, &format!("{file} imports from"))?;
    Ok(address)
}
