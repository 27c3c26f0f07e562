//! `get`: writes a file or folder of any commit, of this or another repository, as the user's own.
//!
//! All pinned objects must be in the store before anything is written; then the whole is built beside its place and
//! renamed. Repositories come from untrusted sources: nothing is written outside of the place.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::import::lfs::{LfsFiles, WantedFile};
use crate::lfs::{self, Pointer};
use crate::path::RepoPath;
use crate::project::listing::{Browser, BrowserItem, ItemKind};
use crate::project::{Snapshot, check_target};
use crate::remote::fetch::losses::join_losses;
use crate::remote::{Remote, Wanted};
use crate::shell::words;
use crate::store::{
    self, ObjectKind, OpenFolder, Pin, check_link, check_names, export, temp_sibling, to_path, write_into,
};
use crate::url::Url;

/// One item to write.
struct WriteItem {
    /// The path below the place; empty for the place itself.
    to: String,
    item: BrowserItem,
}

/// The result of `get`.
#[derive(Debug, PartialEq)]
pub struct GetOutcome {
    /// Where the content was written.
    pub to: PathBuf,
    /// The number of files, links included.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// Called with the path to which the replaced content was moved.
pub type DiscardOld<'a> = dyn Fn(&Path) -> Result<()> + 'a;

/// What to do with content that is already at the place.
#[derive(Clone, Copy)]
pub enum WriteMode<'a> {
    /// It is replaced.
    Replace(&'a DiscardOld<'a>),
    /// A folder is written into an existing folder, as `cp -r` does. Other content is replaced.
    Into(&'a DiscardOld<'a>),
}

/// Writes the content at `path` of the snapshot to `out`, relative to the folder `cwd`: see `place_for`. Existing
/// content is replaced only with `force`.
pub fn get(
    snapshot: &Snapshot<'_>,
    path: &RepoPath,
    cwd: &Path,
    out: Option<&Path>,
    force: bool,
    sink: &dyn Sink,
) -> Result<GetOutcome> {
    let browser = Browser::new(snapshot)?;
    let found = find(snapshot, &browser, path, sink)?;
    let to = place_for(cwd, out, path, found.what.is_folder())?;
    check_target(&to)?;
    if !force && to.symlink_metadata().is_ok() {
        if !found.what.is_folder() && is_real_folder(&to) {
            return Err(folder_in_the_way(&to));
        }
        let way = if found.what.is_folder() && is_real_folder(&to) { "write into it" } else { "replace it" };
        return Err(Error::new(Kind::Check, format!("{} exists already; it was not touched", to.display()))
            .hint(format!("{way}: add --force"))
            .hint("or write elsewhere: -o PATH"));
    }
    let remove = |old: &Path| store::remove(old).map_err(|e| Error::io("remove", old, e));
    let open = &|| open_target(&to);
    let destination = Destination { to: &to, earlier: &to, open, mode: WriteMode::Into(&remove) };
    write_found(snapshot, &browser, &found, &destination, sink)
}

/// The error for a file that would replace a folder, whatever its content.
pub(crate) fn folder_in_the_way(to: &Path) -> Error {
    let message = format!("{} is a folder, where a file has to be written; nothing was touched", to.display());
    Error::new(Kind::Check, message).hint("move it away, or write elsewhere: -o PATH")
}

/// Whether it is a folder, and not a link to one.
pub(crate) fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// Where and how content is written.
pub(crate) struct Destination<'a> {
    /// The exact place.
    pub to: &'a Path,
    /// The place of an earlier state of the content: files of Git LFS that are there already are not downloaded.
    pub earlier: &'a Path,
    /// Makes the folder of the place, and opens it.
    pub open: &'a dyn Fn() -> Result<OpenFolder>,
    /// What to do with existing content.
    pub mode: WriteMode<'a>,
}

/// Like [`get`], to an exact place.
pub(crate) fn get_over(
    snapshot: &Snapshot<'_>,
    path: &RepoPath,
    destination: &Destination<'_>,
    sink: &dyn Sink,
) -> Result<GetOutcome> {
    let browser = Browser::new(snapshot)?;
    let found = find(snapshot, &browser, path, sink)?;
    write_found(snapshot, &browser, &found, destination, sink)
}

/// Makes and opens the folder of a place that the user named, which may be behind links.
fn open_target(to: &Path) -> Result<OpenFolder> {
    check_target(to)?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    OpenFolder::open(folder)
}

/// The destination: inside a folder `out` that exists, else `out` itself, as with `cp`. A file copied to `new/` is put
/// into that folder, which is created. Without `out` it keeps its name, and an existing folder of that name is not
/// entered.
pub(crate) fn place_for(cwd: &Path, out: Option<&Path>, from: &RepoPath, is_folder: bool) -> Result<PathBuf> {
    let named = |folder: &Path| match from.is_root() {
        false => Ok(folder.join(from.name()).components().collect()),
        true => Err(Error::usage("name a new folder for the whole repository: -o PATH")),
    };
    let Some(out) = out else { return named(cwd) };
    let to = cwd.join(out);
    let is_meant_as_folder = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if to.is_dir() || (is_meant_as_folder && !is_folder) {
        return named(&to);
    }
    // Without the trailing slash, for which the file system requires an existing folder.
    Ok(to.components().collect())
}

/// The content of the snapshot at a path.
fn find(snapshot: &Snapshot<'_>, browser: &Browser<'_, '_>, path: &RepoPath, sink: &dyn Sink) -> Result<BrowserItem> {
    let found = match browser.find(path) {
        // The path may be in a folder whose listing is missing.
        Err(e) if e.kind == Kind::Missing => match snapshot.pinned()?.into_iter().find(|p| path.is_in(&p.path)) {
            Some(owner) => {
                fetch_missing(snapshot, &[(&owner.path, owner.pin)], sink)?;
                browser.find(path)?
            }
            None => return Err(e),
        },
        found => found?,
    };
    found.ok_or_else(|| not_found_error(snapshot, path))
}

fn write_found(
    snapshot: &Snapshot<'_>,
    browser: &Browser<'_, '_>,
    found: &BrowserItem,
    destination: &Destination<'_>,
    sink: &dyn Sink,
) -> Result<GetOutcome> {
    let Destination { to, open, mode, .. } = *destination;
    if matches!(mode, WriteMode::Into(_)) && !found.what.is_folder() && is_real_folder(to) {
        return Err(folder_in_the_way(to));
    }
    let pieces = pieces(browser, found)?;
    check_pieces(snapshot, found, &pieces)?;
    fetch_missing(snapshot, &pinned(&pieces), sink)?;
    let mut lfs = LfsPieces::fetch(snapshot, &pieces, destination.earlier, sink)?;
    let folder = open()?;
    let name = to.file_name().unwrap_or_default();
    let new = temp_sibling(Path::new(name));
    let new = folder.join(&new);
    let made = write(snapshot, &pieces, &mut lfs, &new, sink).map_err(|e| folder.with_user_paths(e)).and_then(|sum| {
        if !open()?.is(&folder) {
            let message =
                format!("the folder of {} was replaced at the same time; nothing was written there", to.display());
            return Err(
                Error::new(Kind::Check, message).hint("run the command again when no other program writes there")
            );
        }
        let place = folder.join(name);
        let discard_old = match mode {
            WriteMode::Into(_) if !found.what.is_folder() && is_real_folder(&place) => {
                return Err(folder_in_the_way(to));
            }
            WriteMode::Into(_) if found.what.is_folder() && is_real_folder(&place) => {
                return write_into(&new, &place).map(|()| sum).map_err(|e| folder.with_user_paths(e));
            }
            WriteMode::Into(discard_old) | WriteMode::Replace(discard_old) => discard_old,
        };
        let old = replace(&new, &place).map_err(|e| Error::io("write", to, e))?;
        old.map_or(Ok(()), |old| discard_old(&old).map_err(|e| folder.with_user_paths(e)))?;
        Ok(sum)
    });
    let (files, bytes) = made.inspect_err(|_| drop(store::remove(&new)))?;
    Ok(GetOutcome { to: to.to_path_buf(), files, bytes })
}

fn not_found_error(snapshot: &Snapshot<'_>, path: &RepoPath) -> Error {
    let name = &snapshot.name;
    let error = Error::missing(format!("{name} has neither a file {path} in Git nor one that is pinned"));
    match snapshot.definitions.broken.first() {
        Some((_, broken)) => error.because(broken.message.clone()),
        None => {
            let address = snapshot.project.address.iter().map(Url::to_string);
            let words = words(address.chain(["--rev", name, "-R"].map(String::from)));
            error.hint(format!("see what there is: lockstep list {words}"))
        }
    }
}

/// The items to write. A pinned folder is one item.
fn pieces(browser: &Browser<'_, '_>, found: &BrowserItem) -> Result<Vec<WriteItem>> {
    let below = |item: &BrowserItem| {
        let to = item.path.relative_to(&found.path);
        if to == "." { String::new() } else { to }
    };
    let mut pieces = Vec::new();
    let mut open = vec![found.clone()];
    while let Some(item) = open.pop() {
        if item.what == ItemKind::Folder {
            open.extend(browser.list(&item, false)?);
        }
        pieces.push(WriteItem { to: below(&item), item });
    }
    pieces.sort_by(|a, b| a.to.cmp(&b.to));
    Ok(pieces)
}

/// Git trees may come from anyone, with any names: see [`check_names`].
fn check_pieces(snapshot: &Snapshot<'_>, found: &BrowserItem, pieces: &[WriteItem]) -> Result<()> {
    let refused = |path: &RepoPath, why: String| {
        Error::usage(format!("{path} of {} is not written: {why}", snapshot.name))
            .hint("get the files beside it, each by its own path")
    };
    let mut folders: BTreeMap<RepoPath, Vec<(&[u8], bool)>> = BTreeMap::new();
    for item in pieces.iter().map(|piece| &piece.item) {
        let is_link = matches!(item.what, ItemKind::Link { .. } | ItemKind::PinnedLink(_));
        folders.entry(item.path.parent().unwrap_or_default()).or_default().push((item.path.name().as_bytes(), is_link));
    }
    if found.path.is_root() {
        // The place itself has no name.
        folders.entry(RepoPath::root()).or_default().retain(|(name, _)| !name.is_empty());
    }
    for (folder, names) in &folders {
        check_names(names.iter().copied()).map_err(|why| refused(folder, why))?;
    }
    Ok(())
}

fn pinned(pieces: &[WriteItem]) -> Vec<(&RepoPath, Pin)> {
    let pin = |piece: &WriteItem| match piece.item.what {
        ItemKind::Pinned(pin) | ItemKind::PinnedLink(pin) => Some(pin),
        _ => None,
    };
    pieces.iter().filter_map(|piece| Some((&piece.item.path, pin(piece)?))).collect()
}

/// Brings missing pinned objects into the store from their remote.
pub(crate) fn fetch_missing(snapshot: &Snapshot<'_>, pins: &[(&RepoPath, Pin)], sink: &dyn Sink) -> Result<()> {
    let store = snapshot.project.store();
    let mut by_remote: BTreeMap<Option<String>, Vec<(&RepoPath, Wanted)>> = BTreeMap::new();
    for (path, pin) in pins.iter().filter(|(_, pin)| !store.contains(pin)) {
        let wanted = Wanted { name: path.to_string(), pin: *pin };
        by_remote.entry(remote_of(snapshot, path)).or_default().push((path, wanted));
    }
    for (name, wanted) in by_remote {
        let absent = |path: &RepoPath| snapshot.missing_object(path, Error::missing("it is not in the store"));
        let remote = match Remote::open(snapshot.project, name.as_deref(), None) {
            // There is no remote: report the missing object instead.
            Err(e) if name.is_none() && snapshot.project.config.remotes().is_empty() => {
                return Err(wanted.first().map_or(e, |(path, _)| absent(path)));
            }
            remote => remote?,
        };
        let (paths, wanted): (Vec<&RepoPath>, Vec<Wanted>) = wanted.into_iter().unzip();
        let fetched = remote.fetch(store, &wanted, sink)?;
        if let Some(error) = join_losses(&fetched.lost) {
            return Err(error);
        }
        if let Some(gone) = fetched.absent.first() {
            let at = wanted.iter().position(|w| w.name == gone.name).unwrap_or(0);
            let mut error = absent(paths[at]).because(format!("the remote {} does not have it either", remote.name));
            error.hints = vec!["push it from where it is: lockstep push".into()];
            return Err(error);
        }
    }
    Ok(())
}

/// The remote that an out or data names.
fn remote_of(snapshot: &Snapshot<'_>, path: &RepoPath) -> Option<String> {
    let pipelines = &snapshot.definitions.pipelines;
    let outs = pipelines.stages.iter().flat_map(|s| &s.outs).map(|o| (&o.path, &o.remote));
    let data = pipelines.files.iter().flat_map(|f| &f.data).map(|d| (&d.path, &d.remote));
    outs.chain(data).find(|(owner, _)| path.is_in(owner)).and_then(|(_, remote)| remote.clone())
}

/// The items that are pointers of Git LFS in another repository, with the files that they stand for.
struct LfsPieces {
    pointers: BTreeMap<RepoPath, Pointer>,
    files: LfsFiles,
}

impl LfsPieces {
    /// Brings the files here. In the current repository none is a pointer for this purpose: its files are fetched by
    /// `git lfs pull`.
    fn fetch(snapshot: &Snapshot<'_>, pieces: &[WriteItem], earlier: &Path, sink: &dyn Sink) -> Result<LfsPieces> {
        let mut found = LfsPieces { pointers: BTreeMap::new(), files: LfsFiles::default() };
        let (Some(commit), Some(_)) = (snapshot.git(), &snapshot.project.address) else { return Ok(found) };
        let git_files = pieces.iter().filter_map(|piece| match piece.item.what {
            ItemKind::File { id: Some(id), .. } => Some((piece, id)),
            _ => None,
        });
        let git_files: Vec<_> = git_files.collect();
        let history = commit.history();
        // One request fetches the blobs that a clone lacks.
        history.prefetch_blobs(git_files.iter().map(|(_, id)| *id), &|_, _| ());
        let mut wanted = Vec::new();
        for (piece, id) in git_files {
            if history.blob_size(id)? >= lfs::LARGEST {
                continue;
            }
            let bytes = history.blob(id)?;
            if !lfs::is_pointer(&bytes) {
                continue;
            }
            let name = format!("{} of {}", piece.item.path, snapshot.name);
            let pointer = lfs::parse(&bytes).map_err(|why| lfs::refuse(&name).because(why))?;
            found.pointers.insert(piece.item.path.clone(), pointer.clone());
            let candidate = if piece.to.is_empty() { earlier.to_path_buf() } else { earlier.join(&piece.to) };
            wanted.push(WantedFile { name, pointer, candidate });
        }
        found.files = LfsFiles::fetch(snapshot.project, &wanted, sink)?;
        Ok(found)
    }
}

/// Writes all items to `new`. Returns the number of files and bytes.
fn write(
    snapshot: &Snapshot<'_>,
    pieces: &[WriteItem],
    lfs: &mut LfsPieces,
    new: &Path,
    sink: &dyn Sink,
) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    // A folder is filled through its descriptor: see [`OpenFolder`].
    let is_folder = pieces.first().is_some_and(|top| top.to.is_empty() && matches!(top.item.what, ItemKind::Folder));
    let built = if is_folder { Some(OpenFolder::create(new)?) } else { None };
    let new = built.as_ref().map_or(new, OpenFolder::path);
    for piece in pieces {
        let to = place(new, &piece.to)?;
        let blob = |id: Option<crate::git::GitId>| match (snapshot.git(), id) {
            (Some(commit), Some(id)) => commit.history().blob(id),
            _ => Err(Error::new(Kind::Bug, "files of the worktree are not got")),
        };
        let (files, bytes) = match &piece.item.what {
            ItemKind::Folder => {
                fs::create_dir(&to)
                    .or_else(|e| if to.is_dir() { Ok(()) } else { Err(e) })
                    .map_err(|e| Error::io("create", &to, e))?;
                (0, 0)
            }
            ItemKind::File { executable, .. } if lfs.pointers.contains_key(&piece.item.path) => {
                (1, lfs.files.place(&lfs.pointers[&piece.item.path], &to, *executable)?)
            }
            ItemKind::File { executable, id } => {
                let bytes = blob(*id)?;
                if lfs::is_pointer(&bytes) {
                    return Err(lfs::refuse(format!("{} of {}", piece.item.path, snapshot.name)).hint(lfs::HINT));
                }
                let mode = if *executable { 0o777 } else { 0o666 };
                let file = fs::File::options().write(true).create_new(true).mode(mode).open(&to);
                file.and_then(|mut f| f.write_all(&bytes)).map_err(|e| Error::io("write", &to, e))?;
                (1, bytes.len() as u64)
            }
            ItemKind::Link { id } => (link(piece, &blob(*id)?, &to)?, 0),
            ItemKind::PinnedLink(pin) => {
                (link(piece, &snapshot.project.store().read(&pin.id, ObjectKind::Content)?, &to)?, 0)
            }
            ItemKind::Pinned(pin) => {
                sink.event(Event::WorkPlanned { doing: Activity::Restoring, bytes: pin.size });
                export(snapshot.project.store(), pin, &to, sink)?;
                (pin.files.unwrap_or(1), pin.size)
            }
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    Ok(sum)
}

fn link(piece: &WriteItem, text: &[u8], to: &Path) -> Result<u64> {
    let depth = piece.to.matches('/').count();
    check_link(depth, text).map_err(|why| {
        Error::usage(format!("{} is not written: {why}", piece.item.path))
            .hint("get the file or folder that it leads to, or the whole folder that holds both")
    })?;
    std::os::unix::fs::symlink(to_path(text), to).map_err(|e| Error::io("create the symlink", to, e))?;
    Ok(1)
}

/// The destination of an item, with its folders created. Errors: a symlink is among them; the item would be written
/// elsewhere.
fn place(new: &Path, to: &str) -> Result<PathBuf> {
    let mut at = new.to_path_buf();
    for part in to.split('/').filter(|p| !p.is_empty()) {
        match at.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(Error::usage(format!("{to} lies below a file or a symlink and cannot be written"))),
            Err(_) => fs::create_dir(&at).map_err(|e| Error::io("create", &at, e))?,
        }
        at.push(part);
    }
    Ok(at)
}

/// Replaces the existing content by the new. Returns the new path of the old content.
fn replace(new: &Path, to: &Path) -> std::io::Result<Option<PathBuf>> {
    if to.symlink_metadata().is_err() {
        return fs::rename(new, to).map(|()| None);
    }
    let backup = temp_sibling(to);
    fs::rename(to, &backup)?;
    if let Err(e) = fs::rename(new, to) {
        let _ = fs::rename(&backup, to);
        return Err(e);
    }
    Ok(Some(backup))
}
