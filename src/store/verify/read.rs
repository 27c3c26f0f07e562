//! Hashes objects on all cores.

use std::io;

use rayon::prelude::*;

use super::{CopyLocation, Damage, DamageKind, ObjectCopy};
use crate::document;
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Sink};
use crate::store::fs::seal::seal;
use crate::store::fs::stat::Seen;
use crate::store::hash;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::objects::lookup::is_lost;
use crate::store::pack::file::fits;
use crate::store::pack::format::LARGEST_READ;

/// The result of reading.
#[derive(Default)]
pub struct ReadResult {
    /// The number of copies that were read.
    pub objects: usize,
    /// The bytes of these copies.
    pub bytes: u64,
    /// Damaged copies, each read twice.
    pub damaged: Vec<Damage>,
}

enum Verdict {
    Good,
    /// Another process deleted it.
    Gone,
    Bad(String),
}

/// Reads these copies. Seals good ones that had no seal, as on any read.
pub fn read(store: &Store, copies: &[&ObjectCopy], sink: &dyn Sink) -> Result<ReadResult> {
    let mut copies = copies.to_vec();
    // In the order on the disk.
    copies.sort_by(|a, b| order(a).cmp(&order(b)));
    let bytes = copies.iter().map(|copy| copy.size).sum();
    sink.event(Event::WorkPlanned { doing: Activity::Verifying, bytes });
    let done = |bytes| sink.event(Event::WorkDone { doing: Activity::Verifying, bytes });
    let one = |copy: &&ObjectCopy| -> Result<Option<Damage>> {
        Ok(match look(store, copy, &done)? {
            Verdict::Bad(_) => store.still_damaged(copy)?,
            Verdict::Good | Verdict::Gone => None,
        })
    };
    let found = copies.par_iter().with_max_len(64).map(one).collect::<Result<Vec<_>>>()?;
    let done = ReadResult { objects: copies.len(), bytes, damaged: found.into_iter().flatten().collect() };
    seal_packs(&copies, &done.damaged);
    Ok(done)
}

fn order(copy: &ObjectCopy) -> (Option<&std::path::Path>, u64, crate::store::ObjectId) {
    match &copy.at {
        CopyLocation::Loose => (None, 0, copy.id),
        CopyLocation::Packed(pack, row) => (Some(&pack.path), row.offset, copy.id),
    }
}

impl Store {
    /// Opens a copy again and returns its damage; `None` if it is good or deleted.
    pub fn still_damaged(&self, copy: &ObjectCopy) -> Result<Option<Damage>> {
        let again = match &copy.at {
            CopyLocation::Loose => look_loose(self, copy, &|_| ())?,
            CopyLocation::Packed(pack, row) => match document::open(&pack.path) {
                Ok(file) => verdict(fits(&file, row)).map_err(|e| Error::io("read", &pack.path, e))?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => Verdict::Gone,
                Err(e) => return Err(Error::io("open", &pack.path, e)),
            },
        };
        Ok(match again {
            Verdict::Bad(problem) => Some(Damage { what: DamageKind::Object(copy.clone()), problem }),
            Verdict::Good | Verdict::Gone => None,
        })
    }
}

fn look(store: &Store, copy: &ObjectCopy, done: &dyn Fn(u64)) -> Result<Verdict> {
    match &copy.at {
        CopyLocation::Loose => look_loose(store, copy, done),
        CopyLocation::Packed(pack, row) => {
            let verdict = match pack.file() {
                Ok(file) => verdict(fits(&file, row)).map_err(|e| Error::io("read", &pack.path, e)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Verdict::Gone),
                Err(e) => Err(Error::io("open", &pack.path, e)),
            };
            done(copy.size);
            verdict
        }
    }
}

/// Calls `done` with bytes while it reads: a large object takes time.
fn look_loose(store: &Store, copy: &ObjectCopy, done: &dyn Fn(u64)) -> Result<Verdict> {
    let path = store.path(&copy.id);
    let Ok(seen) = Seen::lstat(&path) else { return Ok(Verdict::Gone) };
    if !seen.is_file() {
        return Ok(Verdict::Bad("it is not a file".into()));
    }
    let hashed = |kind: ObjectKind| -> io::Result<bool> {
        let mut file = document::open(&path)?;
        let size = file.metadata()?.len();
        let id = match kind {
            ObjectKind::Content => hash::content(&mut file, size, done)?.0,
            ObjectKind::Tree => hash::hash_object(&file, kind, size)?,
        };
        if id == copy.id && !copy.sealed {
            seal(&file, &id);
        }
        Ok(id == copy.id)
    };
    // The name does not give the kind; folders are small, and begin with their version.
    let is_good = hashed(ObjectKind::Content)
        .and_then(|is| if is || copy.size > LARGEST_READ { Ok(is) } else { hashed(ObjectKind::Tree) });
    match is_good {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Verdict::Gone),
        read => verdict(read).map_err(|e| Error::io("read", &path, e)),
    }
}

fn verdict(is_good: io::Result<bool>) -> io::Result<Verdict> {
    match is_good {
        Ok(true) => Ok(Verdict::Good),
        Ok(false) => Ok(Verdict::Bad("its bytes do not match its id".into())),
        Err(e) if is_lost(&e) => Ok(Verdict::Bad("the disk cannot read it".into())),
        Err(e) => Err(e),
    }
}

/// Seals a pack if all of its objects were read and are good.
fn seal_packs(read: &[&ObjectCopy], damaged: &[Damage]) {
    let mut counts: std::collections::HashMap<_, (usize, &std::sync::Arc<crate::store::pack::Pack>)> =
        std::collections::HashMap::new();
    for copy in read.iter().filter(|copy| !copy.sealed) {
        if let CopyLocation::Packed(pack, _) = &copy.at {
            counts.entry(pack.id).or_insert((0, pack)).0 += 1;
        }
    }
    for damage in damaged {
        if let DamageKind::Object(ObjectCopy { at: CopyLocation::Packed(pack, _), .. }) = &damage.what {
            counts.remove(&pack.id);
        }
    }
    for (count, pack) in counts.into_values() {
        let is_all = count == pack.index.iter().filter(|row| !pack.tombstoned.contains(&row.id)).count();
        if let (true, false, Ok(file)) = (is_all, pack.is_doubted(), pack.file()) {
            seal(&file, &pack.id.0);
        }
    }
}
