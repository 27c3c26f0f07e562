//! Verifies all objects of the store, whether they are needed or not.
//!
//! `inventory` lists every file and reads the indexes of packs, `read` hashes objects, `quarantine` moves damaged files
//! away, `restore_local` stores them again from the workspace. The first two take no lock and move nothing, so another
//! process may store or delete objects at the same time: a file that looks damaged is opened and checked once more
//! before it is reported, and a file that is missing by then was deleted.
//!
//! Which objects are needed, and by which commits, is unknown here.

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

/// One copy of an object.
#[derive(Clone)]
pub struct Copy {
    pub id: ObjectId,
    pub size: u64,
    pub at: At,
    /// Is its file unchanged since its bytes were verified last?
    pub sealed: bool,
}

#[derive(Clone)]
pub enum At {
    Loose,
    Packed(Arc<Pack>, Row),
}

/// A damaged, missing or unexpected file of the store.
#[derive(Clone)]
pub struct Damage {
    pub what: What,
    /// A sentence without its subject: `its bytes do not fit its id`.
    pub problem: String,
}

#[derive(Clone)]
pub enum What {
    Object(Copy),
    /// A pack with an unusable index; the rows that it may have.
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
    /// A registration of a project.
    Projects,
    /// A file with a name that no lookup finds.
    Stray(PathBuf),
    /// Moved to quarantine by an earlier command; not replaced since.
    Aside(ObjectId, PathBuf),
    /// The same for a pack whose index was broken, with the rows of the missing objects.
    AsidePack(PathBuf, Vec<Row>),
    /// Needed and missing.
    Missing(ObjectId),
}

impl What {
    /// The id of the object, if the damage concerns exactly one.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            What::Object(copy) => Some(copy.id),
            What::Aside(id, _) | What::Missing(id) => Some(*id),
            _ => None,
        }
    }

    /// The ids of all objects concerned, as far as they are known.
    pub fn ids(&self) -> Vec<ObjectId> {
        match self {
            What::Pack { rows, .. } | What::AsidePack(_, rows) => rows.iter().map(|row| row.id).collect(),
            _ => self.id().into_iter().collect(),
        }
    }

    /// Its path relative to the folder of the store.
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

/// An object in quarantine.
#[derive(Clone)]
pub struct Kept {
    pub path: PathBuf,
    /// The location in the file, if that is a whole pack.
    pub row: Option<Row>,
}

/// A file of the run cache.
#[derive(Clone, Debug)]
pub struct RunFile {
    pub key: String,
    pub path: PathBuf,
}

/// All files of the store.
#[derive(Default)]
pub struct Survey {
    /// Without those under a tombstone.
    pub copies: Vec<Copy>,
    pub packs: Vec<Arc<Pack>>,
    pub runs: Vec<RunFile>,
    /// Damage that shows without reading objects.
    pub damaged: Vec<Damage>,
    /// Packs of a later format.
    pub newer: usize,
    /// Bytes of all these files.
    pub bytes: u64,
}

impl Store {
    /// The objects in quarantine, by id.
    pub fn set_aside_before(&self) -> HashMap<ObjectId, Kept> {
        inventory::quarantined(self)
    }
}
