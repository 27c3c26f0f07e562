//! Builds a release in `staging/`: the files, each copied and hashed in one pass, `provenance.json`, and the manifest
//! last. Verifies a release that is there already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::folder::{TargetFolder, open_folders};
use super::release::Release;
use super::{MANIFEST, Manifest, ReleasedFile};
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::import::get::{Destination, WriteMode, fetch_missing, get_over};
use crate::model::{formats, source::Source};
use crate::pipeline::deploy::ReleaseLink;
use crate::project::Project;
use crate::store::trees::EntryKind;
use crate::store::{
    self, FileHashes, LinkType, NoRules, ObjectId, ObjectKind, OpenFolder, Pin, RootFolder, Store, TrackedPath,
    TreeWalk, WalkStep, check_free_space, check_link, hash_open_file, is_unchanged, mode_of, sync_folders, to_path,
    write_out,
};

/// The statement beside the model.
pub const PROVENANCE: &str = "provenance.json";
/// The mode of a file in a manifest that is a symlink.
pub const LINK_MODE: &str = "120000";

/// A file, and how it gets its bytes.
struct Piece {
    /// Below the release folder.
    path: String,
    id: ObjectId,
    size: u64,
    kind: EntryKind,
}

/// Builds the release in the new folder `staged`; every byte is verified and durable afterwards. On failure `staged` is
/// deleted.
pub fn build(
    project: &Project,
    release: &Release<'_>,
    staged: &Path,
    link: ReleaseLink,
    sink: &dyn Sink,
) -> Result<Manifest> {
    if [MANIFEST, PROVENANCE].contains(&release.file_name()) {
        return Err(Error::usage(format!("{} has the name of a file that each release has itself", release.path)));
    }
    let built = OpenFolder::create(staged)?;
    let made = fill(project, release, built.path(), link, sink).map_err(|e| built.with_user_paths(e));
    made.inspect_err(|_| drop(store::remove(staged)))
}

fn fill(project: &Project, release: &Release<'_>, top: &Path, link: ReleaseLink, sink: &dyn Sink) -> Result<Manifest> {
    let mut files = match release.is_stored {
        true => from_store(project, release, top, link, sink)?,
        false => from_git(project, release, top, sink)?,
    };
    if let Some(statement) = &release.provenance {
        let hashes = write_out(statement.as_bytes(), &top.join(PROVENANCE), 0o444)?;
        files.push(released(PROVENANCE, hashes, "0444"));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = release.manifest(project, files, format_of(release, top));
    write_out(manifest.to_text().as_bytes(), &top.join(MANIFEST), 0o444)?;
    open_folders(top)?;
    sync_folders(top)?;
    Ok(manifest)
}

fn released(path: &str, hashes: FileHashes, mode: &str) -> ReleasedFile {
    let FileHashes { id, sha256, size } = hashes;
    ReleasedFile { path: path.into(), blake3: id, sha256, size, mode: mode.into() }
}

/// The word for the format of a file; `None` for a folder or another format.
fn format_of(release: &Release<'_>, top: &Path) -> Option<String> {
    if release.pin.is_dir() {
        return None;
    }
    let source = Source::open(&top.join(release.file_name()), release.file_name()).ok()?;
    formats::read(&source).ok().map(|contents| contents.format.word().to_string())
}

/// The files of the pin, by the trees of the store.
fn pieces(store: &Store, name: &str, pin: &Pin) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut walk = TreeWalk::new(store, pin);
    while let Some(step) = walk.next() {
        let below = walk.path().to_vec();
        match step {
            WalkStep::Tree(pin) => {
                let tree = walk.open(&pin)?;
                if tree.pin() != pin {
                    return Err(Error::missing(format!("the folder {} is not of the size that is pinned", pin.id)));
                }
                tree.check(&below)?;
            }
            WalkStep::File(file, kind) => {
                let below = String::from_utf8(below)
                    .map_err(|e| Error::usage(format!("a file in {name} has a name that is not UTF-8: {e}")))?;
                let path = if below.is_empty() { name.to_string() } else { format!("{name}/{below}") };
                let kind = if file.executable { EntryKind::Executable } else { kind };
                pieces.push(Piece { path, id: file.id, size: file.size, kind });
            }
            WalkStep::End(..) => {}
        }
    }
    Ok(pieces)
}

fn from_store(
    project: &Project,
    release: &Release<'_>,
    top: &Path,
    link: ReleaseLink,
    sink: &dyn Sink,
) -> Result<Vec<ReleasedFile>> {
    let store = project.store();
    if !store.contains(&release.pin) {
        fetch_missing(&release.snapshot, &[(&release.path, release.pin)], sink)?;
    }
    check_free_space(&store.with_copies(), &release.pin, &top.join(release.file_name()), false).map_err(|e| {
        Error::new(e.kind, format!("{} has no room in the folder of the target", release.facts))
            .because(format!("its files have {} bytes", release.pin.size))
            .hint("free some space on that disk; nothing was changed")
    })?;
    let link = match link {
        ReleaseLink::Reflink => LinkType::Reflink,
        ReleaseLink::Copy => LinkType::Copy,
        ReleaseLink::Hardlink => LinkType::Hardlink,
    };
    let all = pieces(store, release.file_name(), &release.pin)
        .map_err(|e| release.snapshot.missing_object(&release.path, e))?;
    sink.event(Event::WorkPlanned { doing: Activity::Restoring, bytes: release.pin.size });
    if release.pin.is_dir() {
        create_folder(&top.join(release.file_name()))?;
    }
    let mut files = Vec::with_capacity(all.len());
    for piece in all {
        project.around.stop.check()?;
        let to = top.join(&piece.path);
        if let Some(folder) = to.parent().filter(|folder| *folder != top) {
            create_folder(folder)?;
        }
        let done = |bytes| sink.event(Event::WorkDone { doing: Activity::Restoring, bytes });
        let (hashes, mode) = match piece.kind {
            EntryKind::Symlink => (write_link(store, &piece, &to)?, LINK_MODE),
            EntryKind::Executable => (store.copy_out(&piece.id, piece.size, &to, 0o555, copy_of(link), &done)?, "0555"),
            _ => (store.copy_out(&piece.id, piece.size, &to, 0o444, link, &done)?, "0444"),
        };
        if hashes.id != piece.id || hashes.size != piece.size {
            return Err(Error::missing(format!("the store has other bytes for {} than are pinned", piece.path)));
        }
        files.push(released(&piece.path, hashes, mode));
    }
    Ok(files)
}

/// An executable file needs a mode, and so an inode, of its own.
fn copy_of(link: LinkType) -> LinkType {
    if link == LinkType::Hardlink { LinkType::Copy } else { link }
}

fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))
}

fn write_link(store: &Store, piece: &Piece, to: &Path) -> Result<FileHashes> {
    let text = store.read(&piece.id, ObjectKind::Content)?;
    // A link may lead to other files of its model, and nowhere else.
    let depth = piece.path.matches('/').count().saturating_sub(1);
    check_link(depth, &text).map_err(|why| {
        Error::usage(format!("{} is not deployed: {why}", piece.path))
            .hint("store the file itself in place of the link")
    })?;
    std::os::unix::fs::symlink(to_path(&text), to).map_err(|e| Error::io("create the symlink", to, e))?;
    link_hashes(to)
}

/// The hashes of a symlink are those of its text.
pub fn link_hashes(path: &Path) -> Result<FileHashes> {
    use std::os::unix::ffi::OsStrExt;
    let text = fs::read_link(path).map_err(|e| Error::io("read", path, e))?;
    Ok(FileHashes::of(text.as_os_str().as_bytes()))
}

/// Bytes that Git has: written, and compared with the pin, which hashes what was written.
fn from_git(project: &Project, release: &Release<'_>, top: &Path, sink: &dyn Sink) -> Result<Vec<ReleasedFile>> {
    let to = top.join(release.file_name());
    match release.snapshot.git() {
        Some(_) => {
            let remove = |old: &Path| store::remove(old).map_err(|e| Error::io("remove", old, e));
            let mode = WriteMode::Replace(&remove);
            let open = || OpenFolder::open(top);
            let destination = Destination { to: &to, earlier: &to, open: &open, mode };
            get_over(&release.snapshot, &release.path, &destination, sink)?;
        }
        None => copy_worktree_file(project, release, &to)?,
    }
    check_against_pin(project, release, &to, sink)?;
    let mut files = Vec::new();
    let mut open = vec![(to, release.file_name().to_string())];
    while let Some((path, name)) = open.pop() {
        let meta = path.symlink_metadata().map_err(|e| Error::io("look at", &path, e))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path).map_err(|e| Error::io("list", &path, e))? {
                let entry = entry.map_err(|e| Error::io("list", &path, e))?;
                let below = entry.file_name().into_string();
                let below =
                    below.map_err(|_| Error::usage(format!("a file in {name} has a name that is not UTF-8")))?;
                open.push((entry.path(), format!("{name}/{below}")));
            }
        } else if meta.is_symlink() {
            files.push(released(&name, link_hashes(&path)?, LINK_MODE));
        } else {
            let is_executable = std::os::unix::fs::MetadataExt::mode(&meta) & 0o100 != 0;
            let (mode, text) = if is_executable { (0o555, "0555") } else { (0o444, "0444") };
            let hashes = store::seal_in_place(&path, mode)?;
            files.push(released(&name, hashes, text));
        }
    }
    Ok(files)
}

fn copy_worktree_file(project: &Project, release: &Release<'_>, to: &Path) -> Result<()> {
    if release.pin.is_dir() {
        return Err(Error::usage(format!("{} is a folder that is not stored (cache: false)", release.path))
            .hint("commit it, and deploy a version of it"));
    }
    let from = release.path.on_disk(project.top());
    let bytes = release.snapshot.read_file(&release.path)?;
    let bytes = bytes.ok_or_else(|| Error::missing(format!("{} does not exist", from.display())))?;
    write_out(&bytes, to, if release.pin.executable { 0o555 } else { 0o444 }).map(drop)
}

fn check_against_pin(project: &Project, release: &Release<'_>, place: &Path, sink: &dyn Sink) -> Result<()> {
    let place = TrackedPath::Outside(place.to_path_buf());
    let index = project.index();
    let seen = index.scan(std::slice::from_ref(&place), &NoRules, sink).pop().unwrap_or(Ok(None));
    index.forget_place(&place);
    if seen?.is_some_and(|seen| seen.same_content(&release.pin)) {
        return Ok(());
    }
    let message = format!("{} has other bytes in Git than its lock pins; nothing was deployed", release.path);
    Err(Error::new(Kind::Check, message).hint("run the stage, and commit the file with its lock"))
}

/// How a release is compared with its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// By the stat of each file: an edit changes it.
    Stat,
    /// By reading each file.
    Bytes,
}

/// What differs between a release folder and its manifest, a sentence each; empty if nothing does.
pub fn differences(folder: &Path, manifest: &Manifest, depth: Depth) -> Vec<String> {
    let root = RootFolder::new(folder.to_path_buf());
    let mut found: Vec<String> = manifest.files.iter().filter_map(|file| difference(&root, file, depth)).collect();
    if depth == Depth::Bytes {
        found.extend(extra_files(folder, manifest));
    }
    found
}

fn difference(root: &RootFolder, file: &ReleasedFile, depth: Depth) -> Option<String> {
    let path = &file.path;
    if file.mode == LINK_MODE {
        let is_same = root.is_link(path) && link_hashes(&root.path().join(path)).is_ok_and(|got| got.id == file.blake3);
        return (!is_same).then(|| format!("{path} is not the symlink that was deployed"));
    }
    let mut open = match root.open_file(path) {
        Ok(open) => open,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(format!("{path} is missing")),
        Err(e) => return Some(format!("{path} cannot be read: {e}")),
    };
    match open.metadata() {
        Ok(meta) if meta.len() != file.size => {
            return Some(format!("{path} has {} bytes instead of {}", meta.len(), file.size));
        }
        Ok(_) => {}
        Err(e) => return Some(format!("{path} cannot be read: {e}")),
    }
    let mode = mode_of(&open).map(|mode| format!("{mode:04o}"));
    if mode.as_ref().is_ok_and(|mode| *mode != file.mode) {
        return Some(format!("{path} has mode {} instead of {}", mode.unwrap_or_default(), file.mode));
    }
    if depth == Depth::Stat && is_unchanged(&open, &file.blake3) {
        return None;
    }
    match hash_open_file(&mut open, &|_| ()) {
        Ok(got) if got.id != file.blake3 || got.sha256 != file.sha256 => Some(format!("{path} has other bytes")),
        Ok(_) => None,
        Err(e) => Some(format!("{path} cannot be read: {e}")),
    }
}

/// Files that the manifest does not have.
fn extra_files(folder: &Path, manifest: &Manifest) -> Vec<String> {
    let known: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).chain([MANIFEST]).collect();
    let mut found = Vec::new();
    let mut open: Vec<(PathBuf, String)> = vec![(folder.to_path_buf(), String::new())];
    while let Some((path, prefix)) = open.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push((entry.path(), format!("{name}/")));
            } else if !known.contains(name.as_str()) {
                found.push(format!("{name} was not deployed"));
            }
        }
    }
    found.sort();
    found
}

/// Whether a release that is there has exactly these bytes: each is read.
pub fn is_same_release(target: &TargetFolder, name: &str, project: &Project, release: &Release<'_>) -> bool {
    let folder = target.release(name);
    let Ok(Some(found)) = Manifest::read(&folder) else { return false };
    let same = release.manifest(project, found.files.clone(), found.format.clone());
    if found != same || !differences(&folder, &found, Depth::Bytes).is_empty() {
        return false;
    }
    if !release.is_stored {
        return true;
    }
    // The manifest lies in the folder, so it does not say alone what the pin has.
    let Ok(wanted) = pieces(project.store(), release.file_name(), &release.pin) else { return false };
    let has = |piece: &Piece| found.files.iter().any(|file| file.path == piece.path && file.blake3 == piece.id);
    let own = usize::from(release.provenance.is_some());
    wanted.len() + own == found.files.len() && wanted.iter().all(has)
}
