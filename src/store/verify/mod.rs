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

pub use inventory::take_inventory;
pub use read::{ReadResult, read};

use crate::store::id::ObjectId;
use crate::store::objects::Store;
use crate::store::pack::Pack;
use crate::store::pack::format::Row;

/// One copy of an object.
#[derive(Clone)]
pub struct ObjectCopy {
    /// The id by its path or its row.
    pub id: ObjectId,
    /// In bytes, by the file or the row.
    pub size: u64,
    /// The location of its bytes.
    pub at: CopyLocation,
    /// Is its file unchanged since its bytes were verified last?
    pub sealed: bool,
}

/// The location of a copy.
#[derive(Clone)]
pub enum CopyLocation {
    /// In a file of its own, below `objects/`.
    Loose,
    /// At this row of this pack.
    Packed(Arc<Pack>, Row),
}

/// A damaged, missing or unexpected file of the store.
#[derive(Clone)]
pub struct Damage {
    /// The damaged file or the missing object.
    pub what: DamageKind,
    /// A sentence without its subject: `its bytes do not match its id`.
    pub problem: String,
}

/// The damaged, missing or unexpected file.
#[derive(Clone)]
pub enum DamageKind {
    /// A copy of an object with wrong bytes.
    Object(ObjectCopy),
    /// A pack with an unusable index; the rows that it may have.
    Pack {
        /// The path of the pack.
        path: PathBuf,
        /// Empty if none can be read.
        rows: Vec<Row>,
    },
    /// Tombstones that cannot be read.
    Tombstones(Arc<Pack>),
    /// An entry of the run cache.
    Run {
        /// The stage key in hexadecimal.
        key: String,
        /// The path of its file.
        path: PathBuf,
    },
    /// The file `generation`.
    Generation,
    /// A registration of a project.
    Projects,
    /// A file with a name that no lookup finds.
    Stray(PathBuf),
    /// Moved to quarantine by an earlier command; not replaced since.
    Quarantined(ObjectId, PathBuf),
    /// The same for a pack whose index was broken, with the rows of the missing objects.
    QuarantinedPack(PathBuf, Vec<Row>),
    /// Needed and missing.
    Missing(ObjectId),
}

impl DamageKind {
    /// The id of the object, if the damage concerns exactly one.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            DamageKind::Object(copy) => Some(copy.id),
            DamageKind::Quarantined(id, _) | DamageKind::Missing(id) => Some(*id),
            _ => None,
        }
    }

    /// The ids of all objects concerned, as far as they are known.
    pub fn ids(&self) -> Vec<ObjectId> {
        match self {
            DamageKind::Pack { rows, .. } | DamageKind::QuarantinedPack(_, rows) => {
                rows.iter().map(|row| row.id).collect()
            }
            _ => self.id().into_iter().collect(),
        }
    }

    /// Its path relative to the folder of the store.
    pub fn place(&self, store: &Store) -> String {
        let below = |path: &Path| path.strip_prefix(store.dir()).unwrap_or(path).display().to_string();
        match self {
            DamageKind::Object(ObjectCopy { id, at: CopyLocation::Loose, .. }) => below(&store.path(id)),
            DamageKind::Object(ObjectCopy { at: CopyLocation::Packed(pack, row), .. }) => {
                format!("{} at {}", below(&pack.path), row.offset)
            }
            DamageKind::Pack { path, .. }
            | DamageKind::Run { path, .. }
            | DamageKind::Stray(path)
            | DamageKind::Quarantined(_, path) => below(path),
            DamageKind::QuarantinedPack(path, _) => below(path),
            DamageKind::Tombstones(pack) => below(&pack.path.with_extension("dead")),
            DamageKind::Generation => "generation".into(),
            DamageKind::Projects => "projects".into(),
            DamageKind::Missing(_) => "nowhere".into(),
        }
    }
}

/// An object in quarantine.
#[derive(Clone)]
pub struct QuarantinedObject {
    /// The path in `quarantine/`.
    pub path: PathBuf,
    /// The location in the file, if that is a whole pack.
    pub row: Option<Row>,
}

/// A file of the run cache.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// The stage key in hexadecimal.
    pub key: String,
    /// The path of its file.
    pub path: PathBuf,
}

/// All files of the store.
#[derive(Default)]
pub struct Inventory {
    /// Without those under a tombstone.
    pub copies: Vec<ObjectCopy>,
    /// All packs of a known format with a usable index.
    pub packs: Vec<Arc<Pack>>,
    /// All results of the run cache.
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
    pub fn quarantined_objects(&self) -> HashMap<ObjectId, QuarantinedObject> {
        inventory::quarantined(self)
    }
}
