//! Writes pinned content to a folder of the user: files that no index tracks and no link ties to the store.

use std::fs;
use std::path::Path;

use super::materialise::Materialiser;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::store::checkout::free_space::check_free_space;
use crate::store::fs::open_folder::OpenFolder;
use crate::store::fs::paths::to_path;
use crate::store::id::ObjectKind;
use crate::store::id::Pin;
use crate::store::objects::Store;
use crate::store::objects::walk::{TreeWalk, WalkStep};
use crate::store::trees::EntryKind;
use crate::store::trees::rules::{check_link, depth_of, refused};

/// Creates `to`, which must not exist, with the pinned content; every byte is verified. On failure the caller has to
/// remove what was created.
pub fn export(store: &Store, pin: &Pin, to: &Path, sink: &dyn Sink) -> Result<()> {
    let store = store.with_copies();
    check_free_space(&store, pin, to, false)?;
    let maker = Materialiser::new(&store, sink);
    if pin.is_dir() {
        let built = OpenFolder::create(to)?;
        return folder(&store, &maker, pin, built.path()).map_err(|e| built.with_user_paths(e));
    }
    maker.file(&pin.id, pin.size, pin.executable, to).map(drop)
}

/// Fills the empty folder `top`.
fn folder(store: &Store, maker: &Materialiser<'_>, pin: &Pin, top: &Path) -> Result<()> {
    let mut walk = TreeWalk::new(store, pin);
    while let Some(step) = walk.next() {
        let (below, path) = (walk.path().to_vec(), top.join(to_path(walk.path())));
        match step {
            WalkStep::Tree(pin) => {
                if !below.is_empty() {
                    fs::create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
                }
                let tree = walk.open(&pin)?;
                if tree.pin() != pin {
                    let message = format!("the folder {} in the store is not of the size that is pinned", pin.id);
                    return Err(Error::missing(message));
                }
                tree.check(&below)?;
            }
            WalkStep::File(pin, EntryKind::Symlink) => {
                let text = store.read(&pin.id, ObjectKind::Content)?;
                check_link(depth_of(&below), &text).map_err(|why| refused(&below, &why))?;
                std::os::unix::fs::symlink(to_path(&text), &path)
                    .map_err(|e| Error::io("create the symlink", &path, e))?;
            }
            WalkStep::File(pin, kind) => drop(maker.file(&pin.id, pin.size, kind == EntryKind::Executable, &path)?),
            WalkStep::End(..) => {}
        }
    }
    Ok(())
}
