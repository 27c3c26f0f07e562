//! Writing what is pinned somewhere else: files of the user's own that no index knows and no link ties to the store.

use std::fs;
use std::path::Path;

use super::id::{ObjectId, Pin};
use super::link::LinkTypes;
use super::materialise::Maker;
use super::objects::{ObjectKind, Store};
use super::place::to_path;
use super::tree::EntryKind;
use crate::error::{Error, Result};
use crate::event::Sink;

/// Makes `to`, which must not exist, of what is pinned; every byte is verified on the way. On failure the caller has to
/// remove what was made.
pub fn export(store: &Store, pin: &Pin, to: &Path, sink: &dyn Sink) -> Result<()> {
    let store = Store::open(store.dir(), LinkTypes::default());
    let maker = Maker::new(&store, sink);
    if pin.is_dir() {
        return folder(&store, &maker, &pin.id, to);
    }
    maker.file(&pin.id, pin.size, pin.executable, to).map(drop)
}

fn folder(store: &Store, maker: &Maker<'_>, id: &ObjectId, to: &Path) -> Result<()> {
    fs::create_dir(to).map_err(|e| Error::io("create", to, e))?;
    for entry in store.read_tree(id)?.entries {
        let path = to.join(to_path(&entry.name));
        match entry.kind {
            EntryKind::Tree => folder(store, maker, &entry.id, &path)?,
            EntryKind::Symlink => {
                let text = store.read(&entry.id, ObjectKind::Content)?;
                std::os::unix::fs::symlink(to_path(&text), &path)
                    .map_err(|e| Error::io("create the symlink", &path, e))?;
            }
            kind => drop(maker.file(&entry.id, entry.size, kind == EntryKind::Executable, &path)?),
        }
    }
    Ok(())
}
