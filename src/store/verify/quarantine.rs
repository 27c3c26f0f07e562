//! Moves damaged files to `quarantine/`, so that they can be stored again, and saves good objects of a broken pack.
//! Deletes nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CopyLocation, Damage, DamageKind, ObjectCopy};
use crate::document;
use crate::error::{Error, Result};
use crate::store::copy::create_private;
use crate::store::fs::paths;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::pack::Pack;
use crate::store::pack::file::{fits, id_at, read_index};
use crate::store::pack::format::LARGEST_READ;
use crate::store::pack::format::{PackId, PackWriter, Row, TARGET};
use crate::store::verify::salvage_index::{SalvagedIndex, gaps, salvage_rows};

impl Store {
    /// Moves files that are still damaged to quarantine. Returns the new paths of broken packs.
    pub fn quarantine_damaged(&self, damaged: &[Damage]) -> Result<Vec<PathBuf>> {
        self.begin()?;
        let mut buried: BTreeMap<PackId, (Arc<Pack>, Vec<Row>)> = BTreeMap::new();
        let mut broken = Vec::new();
        for damage in damaged {
            match &damage.what {
                DamageKind::Object(copy) => {
                    // Another process may have found it, too, or stored a good copy.
                    if self.still_damaged(copy)?.is_none() {
                        continue;
                    }
                    match &copy.at {
                        CopyLocation::Loose => drop(self.quarantine(&copy.id)?),
                        CopyLocation::Packed(pack, row) => {
                            buried.entry(pack.id).or_insert_with(|| of(pack)).1.push(*row)
                        }
                    }
                }
                DamageKind::Tombstones(pack) => drop(buried.entry(pack.id).or_insert_with(|| of(pack))),
                DamageKind::Pack { path, .. } => {
                    let id = PackId::of_file_name(&name(path));
                    let is_good = document::open(path).is_ok_and(|f| read_index(&f).is_ok_and(|i| Some(i.id()) == id));
                    if is_good || !path.exists() {
                        continue;
                    }
                    let to = self.move_aside(path, &name(path))?;
                    id.iter().for_each(|id| self.packs().forget(id));
                    broken.push(to);
                }
                DamageKind::Run { key, path } => drop(self.move_aside(path, &format!("run-{key}"))?),
                DamageKind::Stray(path) => self.move_stray(path)?,
                DamageKind::Generation => drop(self.renew_generation()?),
                DamageKind::QuarantinedPack(path, _) => broken.push(path.clone()),
                DamageKind::Projects | DamageKind::Quarantined(..) | DamageKind::Missing(_) => {}
            }
        }
        for (pack, rows) in buried.values() {
            self.tombstone(pack, rows)?;
        }
        Ok(broken)
    }

    /// Not through `tmp/`, which may be the stray itself; no lookup uses this file.
    fn move_stray(&self, path: &Path) -> Result<()> {
        let random = paths::random() as u32;
        let to = self.folder("quarantine")?.join(format!("stray-{}.{random:08x}", name(path)));
        match self.rename(path, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.refused("move into quarantine", path, e)),
            _ => self.renew_generation().map(drop),
        }
    }

    fn move_aside(&self, path: &Path, name: &str) -> Result<PathBuf> {
        let to = self.folder("quarantine")?.join(format!("{name}.{:08x}", paths::random() as u32));
        self.renew_generation()?;
        match self.rename(path, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.refused("move into quarantine", path, e)),
            _ => {
                self.memo().clear();
                Ok(to)
            }
        }
    }

    /// Stores the good objects of broken packs that the store lacks. Each object is verified; one with a damaged row is
    /// identified by its hash, if it is `missed`.
    pub fn salvage(&self, broken: &[PathBuf], missed: &HashSet<ObjectId>) -> Result<HashSet<ObjectId>> {
        let mut saved = HashSet::new();
        self.refresh_packs();
        for path in broken {
            let cannot = |e: io::Error| Error::io("read", path, e);
            let file = match document::open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(cannot)?,
            };
            let SalvagedIndex { rows, start } = salvage_rows(&file).map_err(cannot)?;
            let is_good = |row: &Row| row.length <= LARGEST_READ && fits(&file, row).unwrap_or(false);
            let mut good: Vec<Row> = rows.into_iter().filter(is_good).collect();
            for gap in gaps(&good, start) {
                let (offset, length) = (gap.start, gap.end - gap.start);
                for kind in [ObjectKind::Content, ObjectKind::Tree] {
                    let row = Row { id: ObjectId::default(), kind, offset, length };
                    let id = id_at(&file, &row).map_err(cannot)?;
                    if missed.contains(&id) {
                        good.push(Row { id, ..row });
                    }
                }
            }
            good.retain(|row| self.size(&row.id).is_none() && saved.insert(row.id));
            good.sort_by_key(|row| row.offset);
            let mut rest = &good[..];
            while !rest.is_empty() {
                let mut size = 0;
                let count = rest.iter().take_while(|row| {
                    size += row.length;
                    size <= TARGET || size == row.length
                });
                let (now, later) = rest.split_at(count.count());
                self.repack_rows(&file, now)?;
                rest = later;
            }
        }
        Ok(saved)
    }

    /// Writes these objects of a file into a new pack.
    fn repack_rows(&self, from: &File, rows: &[Row]) -> Result<()> {
        let temp = self.temp()?;
        let write = || -> io::Result<(File, PackId)> {
            let file = create_private(&temp)?;
            let mut writer = PackWriter::new(BufWriter::new(&file))?;
            for row in rows {
                let mut bytes = vec![0; row.length as usize];
                from.read_exact_at(&mut bytes, row.offset)?;
                if row.kind.id_of(&bytes) != row.id {
                    return Err(io::Error::other("an object changed while it was read"));
                }
                writer.add(row.id, row.kind, &bytes)?;
            }
            let (_, id) = writer.finish()?;
            Ok((file, id))
        };
        let named = write()
            .map_err(|e| self.refused("write", &temp, e))
            .and_then(|(file, id)| self.name_pack(&temp, &file, &id));
        if named.is_err() {
            let _ = fs::remove_file(&temp);
        }
        named
    }

    /// Reads an object. Returns whether it is present and good.
    pub fn is_whole(&self, id: &ObjectId) -> Result<bool> {
        self.refresh_packs();
        let copies = self.copies(id);
        for copy in &copies {
            if self.still_damaged(copy)?.is_some() {
                return Ok(false);
            }
        }
        Ok(!copies.is_empty())
    }

    /// The copies of an object: in the first pack that has it, and loose.
    pub fn copies(&self, id: &ObjectId) -> Vec<ObjectCopy> {
        let packed = self.packed(id).map(|(pack, row)| ObjectCopy {
            id: *id,
            size: row.length,
            at: CopyLocation::Packed(pack, row),
            sealed: false,
        });
        let seen = crate::store::fs::stat::Seen::lstat(&self.path(id)).ok();
        let loose =
            seen.map(|seen| ObjectCopy { id: *id, size: seen.stat.size, at: CopyLocation::Loose, sealed: false });
        packed.into_iter().chain(loose).collect()
    }
}

fn of(pack: &Arc<Pack>) -> (Arc<Pack>, Vec<Row>) {
    (Arc::clone(pack), Vec::new())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
