//! Executes a plan. The caller holds the exclusive lock of the store.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::census::{Census, FoundRun};
use super::plan::Plan;
use crate::document;
use crate::error::{Error, Result};
use crate::store::copy::create_private;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::pack::Pack;
use crate::store::pack::format::{PackId, PackWriter, TARGET};
use crate::store::pack::tombstones;

/// The result of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcResult {
    /// The number of deleted results of the run cache.
    pub runs: usize,
    /// The number of deleted files.
    pub files: usize,
    /// Their bytes, less those of new packs.
    pub bytes: u64,
    /// The number of packs written.
    pub packs: usize,
}

/// `needed` is the set with which the plan was made; `runs` are the results to delete.
pub fn apply(
    store: &Store,
    census: &Census,
    needed: &HashSet<ObjectId>,
    plan: &Plan,
    runs: &[FoundRun],
) -> Result<GcResult> {
    let mut freed = GcResult::default();
    if plan.is_empty() && runs.is_empty() {
        return Ok(freed);
    }
    store.renew_generation()?;
    for run in runs {
        freed.runs += usize::from(remove(store, &run.path, run.size, &mut freed)?);
        // The folder of the key, if this was its last result.
        let folder = run.path.parent().and_then(|folder| store.root().below(folder).ok());
        let _ = folder.map(|folder| store.root().remove_folder(folder));
    }
    let mut fresh = PackBuilder { store, open: None, named: Vec::new(), has: HashSet::new(), written: 0 };
    let rewrite: HashSet<PackId> = plan.rewrite.iter().copied().collect();
    let old: Vec<_> = census.packs.iter().filter(|found| rewrite.contains(&found.pack.id)).collect();
    for found in &old {
        fresh.take_pack(&found.pack, needed)?;
    }
    for loose in &plan.fold {
        fresh.take_loose(&loose.id)?;
    }
    let PackBuilder { named, has, written, .. } = fresh.close()?;
    freed.packs = named.len();
    let gone: HashSet<PackId> = plan.packs.iter().copied().collect();
    for found in &census.packs {
        let id = found.pack.id;
        // A new pack may equal an old one.
        if !(gone.contains(&id) || rewrite.contains(&id)) || named.contains(&id) {
            continue;
        }
        store.packs().forget(&id);
        remove(store, &found.pack.path, found.size, &mut freed)?;
        let tombstones = tombstones::path_of(&found.pack.path);
        if tombstones.exists() {
            remove(store, &tombstones, 0, &mut freed)?;
        }
    }
    for loose in plan.loose.iter().chain(plan.fold.iter().filter(|loose| has.contains(&loose.id))) {
        remove(store, &store.path(&loose.id), loose.size, &mut freed)?;
    }
    for at in &plan.temporary {
        let file = &census.temporary[*at];
        remove(store, &file.path, file.size, &mut freed)?;
    }
    freed.bytes = freed.bytes.saturating_sub(written);
    store.memo().clear();
    Ok(freed)
}

fn remove(store: &Store, path: &Path, size: u64, freed: &mut GcResult) -> Result<bool> {
    match store.remove_file(path) {
        Ok(()) => {
            freed.files += 1;
            freed.bytes += size;
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(store.refused("remove", path, e)),
    }
}

/// Writes packs of the needed objects.
struct PackBuilder<'s> {
    store: &'s Store,
    open: Option<OpenPack>,
    named: Vec<PackId>,
    /// Objects in these packs.
    has: HashSet<ObjectId>,
    /// Bytes of finished packs.
    written: u64,
}

struct OpenPack {
    path: TempFile,
    file: Arc<File>,
    writer: PackWriter<BufWriter<SharedFile>>,
}

struct TempFile(PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct SharedFile(Arc<File>);

impl io::Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &*self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PackBuilder<'_> {
    /// Copies the needed objects. An object that fails verification moves to quarantine, as on any read.
    fn take_pack(&mut self, pack: &Pack, needed: &HashSet<ObjectId>) -> Result<()> {
        let mut rows: Vec<_> =
            pack.index.iter().filter(|row| needed.contains(&row.id) && !pack.tombstoned.contains(&row.id)).collect();
        rows.sort_by_key(|row| row.offset);
        let mut bad = Vec::new();
        for row in rows {
            if self.has.contains(&row.id) {
                continue;
            }
            let bytes = pack.read(&row).map_err(|e| Error::io("read", &pack.path, e))?;
            if row.kind.id_of(&bytes) == row.id {
                self.add(row.id, row.kind, &bytes)?;
            } else {
                bad.push(row);
            }
        }
        if bad.is_empty() { Ok(()) } else { self.store.tombstone(pack, &bad).map(drop) }
    }

    /// Copies a loose object; one that fails verification stays where it is.
    fn take_loose(&mut self, id: &ObjectId) -> Result<()> {
        let path = self.store.path(id);
        let Some(bytes) = document::read(&path, crate::store::LARGEST_READ)? else { return Ok(()) };
        let kinds = [ObjectKind::Content, ObjectKind::Tree];
        match kinds.into_iter().find(|kind| kind.id_of(&bytes) == *id) {
            Some(kind) if !self.has.contains(id) => self.add(*id, kind, &bytes),
            _ => Ok(()),
        }
    }

    fn add(&mut self, id: ObjectId, kind: ObjectKind, bytes: &[u8]) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.writer.written() + bytes.len() as u64 > TARGET) {
            self.finish()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let path = TempFile(self.store.temp()?);
                let fail = |e| self.store.refused("write", &path.0, e);
                let file = create_private(&path.0).map_err(fail)?;
                let file = Arc::new(file);
                let writer =
                    PackWriter::new(BufWriter::with_capacity(1 << 20, SharedFile(file.clone()))).map_err(fail)?;
                self.open.insert(OpenPack { path, file, writer })
            }
        };
        open.writer.add(id, kind, bytes).map_err(|e| self.store.refused("write", &open.path.0, e))?;
        self.has.insert(id);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(OpenPack { path, file, writer }) = self.open.take() else { return Ok(()) };
        let (index, id) = writer.finish().map_err(|e| self.store.refused("write", &path.0, e))?;
        self.written += index.file_length();
        self.store.name_pack(&path.0, &file, &id)?;
        self.named.push(id);
        Ok(())
    }

    fn close(mut self) -> Result<Self> {
        self.finish()?;
        Ok(self)
    }
}
