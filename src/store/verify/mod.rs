//! Looking at all that the store holds, whoever needs it.
//!
//! `survey` lists every file and reads the indexes of packs, `read` hashes objects, `aside` puts what is damaged into
//! quarantine, `again` stores it anew from the workspace. None of the first two takes a lock or moves anything, so another process may store, or take away, all the
//! while: what looks damaged is opened anew and looked at once more before it is called so, and what is gone by then was
//! taken away.
//!
//! Whether an object is needed, and by whom, is not known here.

mod inventory;
mod quarantine;
mod read;
mod restore_local;
mod salvage_index;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use inventory::survey;
pub use read::{Done, read};

use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::pack::Pack;
use crate::store::pack::format::Row;

/// One of the places where an object lies.
#[derive(Clone)]
pub struct Copy {
    pub id: ObjectId,
    pub size: u64,
    pub at: At,
    /// Is its file as it was when its bytes were verified last?
    pub sealed: bool,
}

#[derive(Clone)]
pub enum At {
    Loose,
    Packed(Arc<Pack>, Row),
}

/// Something in the store that is not as it should be.
#[derive(Clone)]
pub struct Damage {
    pub what: What,
    /// A sentence without its subject: `its bytes do not fit its id`.
    pub problem: String,
}

#[derive(Clone)]
pub enum What {
    Object(Copy),
    /// A pack whose index cannot be used; what its rows may say.
    Pack {
        path: PathBuf,
        rows: Vec<Row>,
    },
    /// Tombstones that cannot be read.
    Tombstones(Arc<Pack>),
    /// An entry of the run cache.
    Run {
        key: String,
        path: PathBuf,
    },
    /// The file `generation`.
    Generation,
    /// A list of who uses the store.
    Projects,
    /// A file under a name that nobody looks for.
    Stray(PathBuf),
    /// Found damaged earlier, and put there; nothing took its place since.
    Aside(ObjectId, PathBuf),
    /// The same of a pack whose index was broken, with the rows of what is missed.
    AsidePack(PathBuf, Vec<Row>),
    /// Needed, and not here.
    Missing(ObjectId),
}

impl What {
    /// The object, if it is about one.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            What::Object(copy) => Some(copy.id),
            What::Aside(id, _) | What::Missing(id) => Some(*id),
            _ => None,
        }
    }

    /// All objects that it is about, as far as they are known.
    pub fn ids(&self) -> Vec<ObjectId> {
        match self {
            What::Pack { rows, .. } | What::AsidePack(_, rows) => rows.iter().map(|row| row.id).collect(),
            _ => self.id().into_iter().collect(),
        }
    }

    /// Where it is, from the store's folder.
    pub fn place(&self, store: &Store) -> String {
        let below = |path: &Path| path.strip_prefix(store.dir()).unwrap_or(path).display().to_string();
        match self {
            What::Object(Copy { id, at: At::Loose, .. }) => below(&store.path(id)),
            What::Object(Copy { at: At::Packed(pack, row), .. }) => format!("{} at {}", below(&pack.path), row.offset),
            What::Pack { path, .. } | What::Run { path, .. } | What::Stray(path) | What::Aside(_, path) => below(path),
            What::AsidePack(path, _) => below(path),
            What::Tombstones(pack) => below(&pack.path.with_extension("dead")),
            What::Generation => "generation".into(),
            What::Projects => "projects".into(),
            What::Missing(_) => "nowhere".into(),
        }
    }
}

/// What was put into quarantine.
#[derive(Clone)]
pub struct Kept {
    pub path: PathBuf,
    /// Where in it, if it is a whole pack.
    pub row: Option<Row>,
}

/// A file of the run cache.
#[derive(Clone, Debug)]
pub struct RunFile {
    pub key: String,
    pub path: PathBuf,
}

/// All that the store holds.
#[derive(Default)]
pub struct Survey {
    /// Without those under a tombstone.
    pub copies: Vec<Copy>,
    pub packs: Vec<Arc<Pack>>,
    pub runs: Vec<RunFile>,
    /// What shows without reading objects.
    pub damaged: Vec<Damage>,
    /// Packs of a later format.
    pub newer: usize,
    /// Bytes of all these files.
    pub bytes: u64,
}

impl Store {
    /// The objects in quarantine, by their ids.
    pub fn set_aside_before(&self) -> HashMap<ObjectId, Kept> {
        inventory::quarantined(self)
    }
}
