//! `get`: writes a file or folder of any commit, of this or another repository, as the user's own.
//!
//! Everything that is pinned has to be here before anything is written; then the whole is built beside its place and
//! renamed there. Git's repositories come from anywhere: what is written lies below the place and nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::event::{Doing, Event, Sink};
use crate::lfs;
use crate::path::RepoPath;
use crate::project::listing::{Browser, Item, What};
use crate::project::{Snapshot, check_target};
use crate::remote::fetch::losses::join_losses;
use crate::remote::{Remote, Wanted};
use crate::shell::words;
use crate::store::{self, ObjectKind, OpenFolder, Pin, check_link, check_names, export, sibling, to_path, write_into};
use crate::url::Url;

/// One thing to be written.
struct Piece {
    /// Below the place; empty for the place itself.
    to: String,
    item: Item,
}

/// What `get` wrote.
#[derive(Debug, PartialEq)]
pub struct Got {
    pub to: PathBuf,
    pub files: u64,
    pub bytes: u64,
}

/// What becomes of what was replaced, and lies there now.
pub type GiveUp<'a> = dyn Fn(&Path) -> Result<()> + 'a;

/// What becomes of what is at the place already.
#[derive(Clone, Copy)]
pub enum WriteMode<'a> {
    /// It goes.
    Replace(&'a GiveUp<'a>),
    /// A folder is written into a folder, as `cp -r` does. Anything else goes.
    Into(&'a GiveUp<'a>),
}

/// Writes what the snapshot has at `path` to `out`, seen from the folder `cwd`: see [`place_for`]. What is there already
/// is replaced with `force` only.
pub fn get(
    snapshot: &Snapshot<'_>,
    path: &RepoPath,
    cwd: &Path,
    out: Option<&Path>,
    force: bool,
    sink: &dyn Sink,
) -> Result<Got> {
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
    write_found(snapshot, &browser, &found, &to, &|| open_target(&to), WriteMode::Into(&remove), sink)
}

/// A file is not written over a folder, whatever is in that.
pub(crate) fn folder_in_the_way(to: &Path) -> Error {
    let message = format!("{} is a folder, where a file has to be written; nothing was touched", to.display());
    Error::new(Kind::Check, message).hint("move it away, or write elsewhere: -o PATH")
}

/// Is it a folder, and no link to one?
pub(crate) fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The same to this very place. `open` makes the folder of the place, and opens it.
pub(crate) fn get_over(
    snapshot: &Snapshot<'_>,
    path: &RepoPath,
    to: &Path,
    open: &dyn Fn() -> Result<OpenFolder>,
    mode: WriteMode<'_>,
    sink: &dyn Sink,
) -> Result<Got> {
    let browser = Browser::new(snapshot)?;
    let found = find(snapshot, &browser, path, sink)?;
    write_found(snapshot, &browser, &found, to, open, mode, sink)
}

/// Makes and opens the folder of a place that the user named, which may lie behind links.
fn open_target(to: &Path) -> Result<OpenFolder> {
    check_target(to)?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    OpenFolder::open(folder)
}

/// Where something goes: into a folder `out` that is there, else to `out` itself, as `cp` has it. A file that goes to
/// `new/` goes into that folder, which is made. Without `out` it keeps its name; what has that name is not gone into.
pub(crate) fn place_for(cwd: &Path, out: Option<&Path>, from: &RepoPath, is_folder: bool) -> Result<PathBuf> {
    let named = |folder: &Path| match from.is_root() {
        false => Ok(folder.join(from.name()).components().collect()),
        true => Err(Error::usage("say where the whole repository goes: -o PATH, a folder that is not there yet")),
    };
    let Some(out) = out else { return named(cwd) };
    let to = cwd.join(out);
    let is_meant_as_folder = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if to.is_dir() || (is_meant_as_folder && !is_folder) {
        return named(&to);
    }
    // Without the slash, with which a file system wants a folder to be there.
    Ok(to.components().collect())
}

/// What the snapshot has at a path.
fn find(snapshot: &Snapshot<'_>, browser: &Browser<'_, '_>, path: &RepoPath, sink: &dyn Sink) -> Result<Item> {
    let found = match browser.find(path) {
        // What is asked for lies in a folder whose listing is not here.
        Err(e) if e.kind == Kind::Missing => match snapshot.pinned()?.into_iter().find(|p| path.is_in(&p.path)) {
            Some(owner) => {
                bring(snapshot, &[(&owner.path, owner.pin)], sink)?;
                browser.find(path)?
            }
            None => return Err(e),
        },
        found => found?,
    };
    found.ok_or_else(|| nothing(snapshot, path))
}

fn write_found(
    snapshot: &Snapshot<'_>,
    browser: &Browser<'_, '_>,
    found: &Item,
    to: &Path,
    open: &dyn Fn() -> Result<OpenFolder>,
    mode: WriteMode<'_>,
    sink: &dyn Sink,
) -> Result<Got> {
    if matches!(mode, WriteMode::Into(_)) && !found.what.is_folder() && is_real_folder(to) {
        return Err(folder_in_the_way(to));
    }
    let pieces = pieces(browser, found)?;
    check_pieces(snapshot, found, &pieces)?;
    bring(snapshot, &pinned(&pieces), sink)?;
    let folder = open()?;
    let name = to.file_name().unwrap_or_default();
    let new = sibling(Path::new(name));
    let new = folder.join(&new);
    let made = write(snapshot, &pieces, &new, sink).map_err(|e| folder.named(e)).and_then(|sum| {
        if !open()?.is(&folder) {
            let message = format!("the folder of {} was replaced meanwhile; nothing was written there", to.display());
            return Err(Error::new(Kind::Check, message).hint("run the command again when nothing else works there"));
        }
        let place = folder.join(name);
        let give_up = match mode {
            WriteMode::Into(_) if !found.what.is_folder() && is_real_folder(&place) => {
                return Err(folder_in_the_way(to));
            }
            WriteMode::Into(_) if found.what.is_folder() && is_real_folder(&place) => {
                return write_into(&new, &place).map(|()| sum).map_err(|e| folder.named(e));
            }
            WriteMode::Into(give_up) | WriteMode::Replace(give_up) => give_up,
        };
        let old = replace(&new, &place).map_err(|e| Error::io("write", to, e))?;
        old.map_or(Ok(()), |old| give_up(&old).map_err(|e| folder.named(e)))?;
        Ok(sum)
    });
    let (files, bytes) = made.inspect_err(|_| drop(store::remove(&new)))?;
    Ok(Got { to: to.to_path_buf(), files, bytes })
}

fn nothing(snapshot: &Snapshot<'_>, path: &RepoPath) -> Error {
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

/// What there is to write. Pinned folders are one piece.
fn pieces(browser: &Browser<'_, '_>, found: &Item) -> Result<Vec<Piece>> {
    let below = |item: &Item| {
        let to = item.path.relative_to(&found.path);
        if to == "." { String::new() } else { to }
    };
    let mut pieces = Vec::new();
    let mut open = vec![found.clone()];
    while let Some(item) = open.pop() {
        if item.what == What::Folder {
            open.extend(browser.list(&item, false)?);
        }
        pieces.push(Piece { to: below(&item), item });
    }
    pieces.sort_by(|a, b| a.to.cmp(&b.to));
    Ok(pieces)
}

/// Git's trees are made by anybody, by hand if need be: see [`check_names`].
fn check_pieces(snapshot: &Snapshot<'_>, found: &Item, pieces: &[Piece]) -> Result<()> {
    let refused = |path: &RepoPath, why: String| {
        Error::usage(format!("{path} of {} is not written: {why}", snapshot.name))
            .hint("get what it lies beside, each by its own path")
    };
    let mut folders: BTreeMap<RepoPath, Vec<(&[u8], bool)>> = BTreeMap::new();
    for item in pieces.iter().map(|piece| &piece.item) {
        let is_link = matches!(item.what, What::Link { .. } | What::PinnedLink(_));
        folders.entry(item.path.parent().unwrap_or_default()).or_default().push((item.path.name().as_bytes(), is_link));
    }
    if found.path.is_root() {
        // It has no name of its own.
        folders.entry(RepoPath::root()).or_default().retain(|(name, _)| !name.is_empty());
    }
    for (folder, names) in &folders {
        check_names(names.iter().copied()).map_err(|why| refused(folder, why))?;
    }
    Ok(())
}

fn pinned(pieces: &[Piece]) -> Vec<(&RepoPath, Pin)> {
    let pin = |piece: &Piece| match piece.item.what {
        What::Pinned(pin) | What::PinnedLink(pin) => Some(pin),
        _ => None,
    };
    pieces.iter().filter_map(|piece| Some((&piece.item.path, pin(piece)?))).collect()
}

/// Makes sure that what is pinned is in the store: what is not is fetched from the remote that it goes to.
pub(crate) fn bring(snapshot: &Snapshot<'_>, pins: &[(&RepoPath, Pin)], sink: &dyn Sink) -> Result<()> {
    let store = snapshot.project.store();
    let mut by_remote: BTreeMap<Option<String>, Vec<(&RepoPath, Wanted)>> = BTreeMap::new();
    for (path, pin) in pins.iter().filter(|(_, pin)| !store.contains(pin)) {
        let wanted = Wanted { name: path.to_string(), pin: *pin };
        by_remote.entry(remote_of(snapshot, path)).or_default().push((path, wanted));
    }
    for (name, wanted) in by_remote {
        let absent = |path: &RepoPath| snapshot.absent(path, Error::missing("it is not in the store"));
        let remote = match Remote::open(snapshot.project, name.as_deref(), None) {
            // There is none: that is not what was asked about.
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

/// The remote that an out or data names for itself.
fn remote_of(snapshot: &Snapshot<'_>, path: &RepoPath) -> Option<String> {
    let pipelines = &snapshot.definitions.pipelines;
    let outs = pipelines.stages.iter().flat_map(|s| &s.outs).map(|o| (&o.path, &o.remote));
    let data = pipelines.files.iter().flat_map(|f| &f.data).map(|d| (&d.path, &d.remote));
    outs.chain(data).find(|(owner, _)| path.is_in(owner)).and_then(|(_, remote)| remote.clone())
}

/// Writes all pieces to `new`; how many files and bytes that were.
fn write(snapshot: &Snapshot<'_>, pieces: &[Piece], new: &Path, sink: &dyn Sink) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    // A folder is filled through its descriptor: see [`OpenFolder`].
    let is_folder = pieces.first().is_some_and(|top| top.to.is_empty() && matches!(top.item.what, What::Folder));
    let built = if is_folder { Some(OpenFolder::create(new)?) } else { None };
    let new = built.as_ref().map_or(new, OpenFolder::path);
    for piece in pieces {
        let to = place(new, &piece.to)?;
        let blob = |id: Option<crate::git::GitId>| match (snapshot.git(), id) {
            (Some(commit), Some(id)) => commit.history().blob(id),
            _ => Err(Error::new(Kind::Bug, "files of the worktree are not got")),
        };
        let (files, bytes) = match &piece.item.what {
            What::Folder => {
                fs::create_dir(&to)
                    .or_else(|e| if to.is_dir() { Ok(()) } else { Err(e) })
                    .map_err(|e| Error::io("create", &to, e))?;
                (0, 0)
            }
            What::File { executable, id } => {
                let bytes = blob(*id)?;
                if lfs::is_pointer(&bytes) {
                    let what = format!("{} of {}", piece.item.path, snapshot.name);
                    let hint =
                        "clone the repository, fetch its files there (git lfs pull), and take them from the clone";
                    return Err(lfs::refuse(what).hint(hint));
                }
                let mode = if *executable { 0o777 } else { 0o666 };
                let file = fs::File::options().write(true).create_new(true).mode(mode).open(&to);
                file.and_then(|mut f| f.write_all(&bytes)).map_err(|e| Error::io("write", &to, e))?;
                (1, bytes.len() as u64)
            }
            What::Link { id } => (link(piece, &blob(*id)?, &to)?, 0),
            What::PinnedLink(pin) => {
                (link(piece, &snapshot.project.store().read(&pin.id, ObjectKind::Content)?, &to)?, 0)
            }
            What::Pinned(pin) => {
                sink.event(Event::WorkPlanned { doing: Doing::Restoring, bytes: pin.size });
                export(snapshot.project.store(), pin, &to, sink)?;
                (pin.files.unwrap_or(1), pin.size)
            }
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    Ok(sum)
}

fn link(piece: &Piece, text: &[u8], to: &Path) -> Result<u64> {
    let depth = piece.to.matches('/').count();
    check_link(depth, text).map_err(|why| {
        Error::usage(format!("{} is not written: {why}", piece.item.path))
            .hint("get the file or folder that it leads to, or the whole folder that holds both")
    })?;
    std::os::unix::fs::symlink(to_path(text), to).map_err(|e| Error::io("create the symlink", to, e))?;
    Ok(1)
}

/// Where a piece goes, its folders made. A symlink among them is none: what is written through it would lie elsewhere.
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

/// Puts the new one in the place of what is there; back comes where that lies now.
fn replace(new: &Path, to: &Path) -> std::io::Result<Option<PathBuf>> {
    if to.symlink_metadata().is_err() {
        return fs::rename(new, to).map(|()| None);
    }
    let aside = sibling(to);
    fs::rename(to, &aside)?;
    if let Err(e) = fs::rename(new, to) {
        let _ = fs::rename(&aside, to);
        return Err(e);
    }
    Ok(Some(aside))
}
