//! Stores objects as single files: a group is written, then synced in parallel, then renamed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{Batch, Item, Source, TempFile, changed};
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Sink};
use crate::store::copy::{self, CopiedFile};
use crate::store::fs::seal::{is_sealed, seal};
use crate::store::fs::stat::Seen;

/// The largest number of files that are open at once between writing and syncing.
const GROUP: usize = 256;
/// One thread writes fewer files than this, of fewer bytes: waking the other threads takes longer.
const FEW: usize = 32;
const LITTLE: u64 = 256 << 10;
/// The number of threads that wait for the disk: it merges syncs that wait together.
const SYNCERS: usize = 24;

impl Batch<'_> {
    /// Stores these objects. Adds the folders that hold them to `shards`; the caller syncs those.
    pub(super) fn store_loose(&self, items: &[Item], shards: &Mutex<BTreeSet<PathBuf>>, sink: &dyn Sink) -> Result<()> {
        items.chunks(GROUP).try_for_each(|group| self.store_group(group, shards, sink))
    }

    fn store_group(&self, group: &[Item], shards: &Mutex<BTreeSet<PathBuf>>, sink: &dyn Sink) -> Result<()> {
        let bytes: u64 = group.iter().map(|item| item.size).sum();
        let written: Vec<_> = if group.len() < FEW && bytes < LITTLE {
            group.iter().map(|item| self.write(item, sink)).collect::<Result<_>>()?
        } else {
            group.par_iter().map(|item| self.write(item, sink)).collect::<Result<_>>()?
        };
        waiting(&written, |(temp, file)| file.sync_all().map_err(|e| self.store.refused("write", &temp.0, e)))?;
        for (item, (temp, file)) in group.iter().zip(written) {
            drop(file);
            let shard = self.place(item, temp, shards)?;
            shards.lock().unwrap_or_else(|e| e.into_inner()).insert(shard);
        }
        Ok(())
    }

    /// Writes an item to a temporary file: mode 0444 and sealed (see [`seal`]), not yet synced. A copied file must have the
    /// hash of the item.
    fn write(&self, item: &Item, sink: &dyn Sink) -> Result<(TempFile, File)> {
        let temp = TempFile(self.store.temp()?);
        let done = |bytes| sink.event(Event::WorkDone { doing: Activity::Storing, bytes });
        let fail = |e| self.store.refused("write", &temp.0, e);
        let file = match &item.source {
            Source::Bytes(bytes) => {
                let mut file = copy::create_private(&temp.0).map_err(fail)?;
                file.write_all(bytes).map_err(fail)?;
                done(item.size);
                file
            }
            Source::File(path) => {
                let copied = copy::to_new(path, &temp.0, item.size, self.no_reflink(), &done)?;
                let CopiedFile { file, id, size } = copied.map_err(fail)?;
                if id != item.id || size != item.size {
                    return Err(changed(path));
                }
                file
            }
        };
        rustix::fs::fchmod(&file, 0o444.into()).map_err(|e| fail(e.into()))?;
        seal(&file, &item.id);
        Ok((temp, file))
    }

    /// Renames a durable file to its id; returns the folder that must be synced.
    fn place(&self, item: &Item, temp: TempFile, shards: &Mutex<BTreeSet<PathBuf>>) -> Result<PathBuf> {
        let path = self.store.path(&item.id);
        let shard = path.parent().unwrap_or(self.store.dir()).to_path_buf();
        match Seen::lstat(&path) {
            // Another batch was faster, or a file of the same name is present that cannot be good.
            Ok(seen) if seen.stat.size == item.size && is_sealed(&seen, &item.id) => return Ok(shard),
            Ok(seen) if seen.stat.size != item.size => drop(self.store.quarantine(&item.id)?),
            _ => {}
        }
        let rename = || self.store.rename(&temp.0, &path);
        let renamed = rename().or_else(|e| {
            if e.kind() != io::ErrorKind::NotFound {
                return Err(e);
            }
            self.store.make_dir(&shard)?;
            // A new folder is durable when its parent folders are; they are synced with the shards.
            let mut shards = shards.lock().unwrap_or_else(|e| e.into_inner());
            shards.extend([self.store.dir().to_path_buf(), self.store.dir().join("objects")]);
            rename()
        });
        renamed.map_err(|e| self.store.refused("write", &path, e))?;
        temp.forget();
        Ok(shard)
    }

    pub(super) fn sync_shards(&self, shards: &Mutex<BTreeSet<PathBuf>>) -> Result<()> {
        let shards = std::mem::take(&mut *shards.lock().unwrap_or_else(|e| e.into_inner()));
        let shards: Vec<PathBuf> = shards.into_iter().collect();
        waiting(&shards, |shard| File::open(shard).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", shard, e)))
    }
}

/// Runs work that waits for the disk, on more threads than cores: one thread for two pieces of work.
fn waiting<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let take = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = work(one) {
                *failed.lock().unwrap_or_else(|e| e.into_inner()) = Some(e);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..SYNCERS.min(all.len() / 2) {
            scope.spawn(take);
        }
        take();
    });
    failed.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
}
