//! Writes pinned content to a folder of the user: files that no index tracks and no link ties to the store.

use std::fs;
use std::path::Path;

use super::materialise::Materialiser;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::store::checkout::free_space::check_free_space;
use crate::store::fs::open_folder::OpenFolder;
use crate::store::fs::paths::{join, to_path};
use crate::store::id::ObjectKind;
use crate::store::id::Pin;
use crate::store::objects::Store;
use crate::store::trees::EntryKind;
use crate::store::trees::rules::{check_link, depth_of, levels_below, refused};

/// Creates `to`, which must not exist, with the pinned content; every byte is verified. On failure the caller has to
/// remove what was created.
pub fn export(store: &Store, pin: &Pin, to: &Path, sink: &dyn Sink) -> Result<()> {
    let store = store.with_copies();
    check_free_space(&store, pin, to, false)?;
    let maker = Materialiser::new(&store, sink);
    if pin.is_dir() {
        let built = OpenFolder::create(to)?;
        return folder(&store, &maker, pin, built.path(), &[]).map_err(|e| built.with_user_paths(e));
    }
    maker.file(&pin.id, pin.size, pin.executable, to).map(drop)
}

/// Fills the empty folder `to`; `below` is the path of the folder within the export.
fn folder(store: &Store, maker: &Materialiser<'_>, pin: &Pin, to: &Path, below: &[u8]) -> Result<()> {
    let tree = store.read_tree(&pin.id, levels_below(below))?;
    if tree.pin() != *pin {
        return Err(Error::missing(format!("the folder {} in the store is not of the size that is pinned", pin.id)));
    }
    tree.check(below)?;
    for entry in tree.entries {
        let place = join(below, &entry.name);
        let path = to.join(to_path(&entry.name));
        match entry.kind {
            EntryKind::Tree => {
                fs::create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
                folder(store, maker, &entry.pin(), &path, &place)?;
            }
            EntryKind::Symlink => {
                let text = store.read(&entry.id, ObjectKind::Content)?;
                check_link(depth_of(&place), &text).map_err(|why| refused(&place, &why))?;
                std::os::unix::fs::symlink(to_path(&text), &path)
                    .map_err(|e| Error::io("create the symlink", &path, e))?;
            }
            kind => drop(maker.file(&entry.id, entry.size, kind == EntryKind::Executable, &path)?),
        }
    }
    Ok(())
}
