//! Repacking: packs at a remote, written again without their dead objects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::{Error, Kind, Result};
use crate::remote::catalog::segment::{Location, PackRow, Segment, Slice};
use crate::remote::fetch::ranges::{coalesce, entry};
use crate::remote::{Remote, pack_path};
use crate::store::pack::format::{PackId, PackWriter, Row, TARGET};
use crate::store::{ObjectId, Store};

/// Packs that are being made from the needed objects of others.
pub struct Repack<'a> {
    remote: &'a Remote,
    /// Objects of the next pack, and their bytes.
    open: Vec<(Row, Vec<u8>)>,
    size: u64,
    has: HashSet<ObjectId>,
    packs: BTreeMap<PackId, PackRow>,
    /// The new locations of objects.
    moved: HashMap<ObjectId, Slice>,
    /// The needed objects of each old pack.
    held: BTreeMap<PackId, Vec<ObjectId>>,
}

impl<'a> Repack<'a> {
    pub fn new(remote: &'a Remote) -> Repack<'a> {
        let (open, size, has, packs, moved, held) = Default::default();
        Repack { remote, open, size, has, packs, moved, held }
    }

    /// Copies objects of a pack, from the store if it has them, otherwise from the remote; verified either way.
    pub fn take(&mut self, store: &Store, pack: &PackId, rows: &[Row]) -> Result<()> {
        self.held.insert(*pack, rows.iter().map(|row| row.id).collect());
        let mut new: Vec<&Row> = rows.iter().filter(|row| !self.has.contains(&row.id)).collect();
        new.sort_by_key(|row| row.offset);
        let mut far = Vec::new();
        for row in new {
            match store.read(&row.id, row.kind) {
                Ok(bytes) => self.add(*row, bytes)?,
                Err(e) if e.kind == Kind::Missing => far.push(entry(*pack, row)),
                Err(e) => return Err(e),
            }
        }
        for range in coalesce(far) {
            for (entry, bytes) in self.remote.read_whole(&range)? {
                let Slice { offset, length, .. } = entry.slice;
                self.add(Row { id: entry.id, kind: entry.kind, offset, length }, bytes)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, row: Row, bytes: Vec<u8>) -> Result<()> {
        if self.size + row.length > TARGET {
            self.close()?;
        }
        self.has.insert(row.id);
        self.size += row.length;
        self.open.push((row, bytes));
        Ok(())
    }

    /// Sends the current pack.
    fn close(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.size as usize + (4 << 10));
        let mut writer = PackWriter::new(&mut bytes).map_err(cannot)?;
        for (row, content) in self.open.drain(..) {
            writer.add(row.id, row.kind, &content).map_err(cannot)?;
        }
        self.size = 0;
        let (index, _) = writer.finish().map_err(cannot)?;
        let (pack, length) = (index.id(), index.file_length());
        self.remote.backend.put(&pack_path(&pack), bytes, false)?;
        self.remote.memory.cache_index(&index);
        self.packs
            .insert(pack, PackRow { length, index: length - index.tail().len() as u64, count: index.len() as u64 });
        self.moved.extend(index.iter().map(|row| (row.id, Slice { pack, offset: row.offset, length: row.length })));
        Ok(())
    }

    /// Returns the same rows with the new packs in place of the old ones.
    pub fn finish(mut self, mut all: Segment) -> Result<Segment> {
        self.close()?;
        let Repack { packs, moved, held, .. } = self;
        let instead = |old: &PackId| -> BTreeSet<PackId> {
            held[old].iter().filter_map(|id| moved.get(id)).map(|slice| slice.pack).collect()
        };
        let is_old = |pack: &PackId| held.contains_key(pack);
        for ((id, _), root) in &mut all.roots {
            match &mut root.location {
                Location::Packed(slice) if is_old(&slice.pack) => *slice = moved.get(id).copied().unwrap_or(*slice),
                Location::Tree(packs) if packs.iter().any(is_old) => {
                    let (old, kept): (Vec<_>, Vec<_>) = packs.iter().copied().partition(is_old);
                    let new: BTreeSet<PackId> = old.iter().flat_map(instead).chain(kept).collect();
                    *packs = new.into_iter().collect();
                }
                _ => {}
            }
        }
        for run in all.runs.values_mut().filter(|run| is_old(&run.slice.pack)) {
            run.slice = moved.get(&run.entry).copied().unwrap_or(run.slice);
        }
        all.packs.retain(|id, _| !is_old(id) || packs.contains_key(id));
        all.packs.extend(packs);
        Ok(all)
    }
}

fn cannot(e: std::io::Error) -> Error {
    Error::new(Kind::Bug, "a pack cannot be made").because(e)
}
