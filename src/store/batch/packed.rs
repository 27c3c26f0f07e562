//! Small objects: many go into one pack, without files of their own in between.
//!
//! All cores read and verify files, one window at a time. In parallel, the previous window is appended to the pack, and
//! a thread syncs the written part. Objects keep the order of the plan, so equal batches make equal packs, and files of
//! one folder are adjacent in the pack.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use rayon::prelude::*;
use rustix::fs::OFlags;

use super::{Batch, Item, Source, TempFile, changed};
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Sink};
use crate::store::copy::create_private;
use crate::store::hash;
use crate::store::objects::Store;
use crate::store::pack::format::{MOST_OBJECTS, PackId, PackWriter, TARGET};

/// The size of a window in bytes and in objects: enough for all cores, with little memory.
const WINDOW_BYTES: u64 = 8 << 20;
const WINDOW_OBJECTS: usize = 4096;
/// The number of files that one core reads at a time.
const PIECE: usize = 64;
/// The disk is asked to sync after this number of bytes.
const WRITE_OUT: u64 = 16 << 20;

/// A pack that is being written.
struct OpenPack {
    temp: TempFile,
    file: Arc<File>,
    writer: PackWriter<BufWriter<SharedFile>>,
    /// The number of bytes that the disk was asked to sync.
    asked: u64,
}

struct SharedFile(Arc<File>);

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum WriteRequest {
    /// More of a pack was written.
    Some(Arc<File>),
    /// The pack is complete: make it durable and rename it.
    All(TempFile, Arc<File>, PackId),
}

impl Batch<'_> {
    /// Stores these objects in this order: an object that a tree refers to must come before the tree, or be durable
    /// already.
    pub(super) fn store_packed(&self, items: Vec<Item>, sink: &dyn Sink) -> Result<()> {
        let windows = windows(&items);
        std::thread::scope(|scope| {
            let (to_disk, written) = mpsc::channel();
            let disk = scope.spawn(move || sync_packs(self.store, written));
            let written = self.write_packs(&windows, &to_disk, sink);
            drop(to_disk);
            let taken = disk.join().unwrap_or_else(|_| Err(Error::io("write", self.store.dir(), lost())));
            // The error of the disk is the reason why the writer stopped.
            taken.and(written)
        })
    }

    fn write_packs(&self, windows: &[&[Item]], to_disk: &Sender<WriteRequest>, sink: &dyn Sink) -> Result<()> {
        let mut open = None;
        let mut read = windows.first().map_or(Ok(Vec::new()), |first| self.read(first, sink))?;
        for (at, window) in windows.iter().enumerate() {
            let next = windows.get(at + 1);
            let (written, ahead) = rayon::join(
                || self.append(&mut open, window, &read, to_disk),
                || next.map_or(Ok(Vec::new()), |next| self.read(next, sink)),
            );
            written?;
            read = ahead?;
        }
        open.map_or(Ok(()), |open| self.close(open, to_disk))
    }

    /// The bytes of the files of a window, in order, verified.
    fn read(&self, window: &[Item], sink: &dyn Sink) -> Result<Vec<Vec<u8>>> {
        let piece = |items: &[Item]| {
            let total: u64 = items.iter().map(|item| item.size).sum();
            let mut bytes = Vec::with_capacity(total as usize + 1);
            let mut folder = OpenedFolder::default();
            for item in items {
                if let Source::File(path) = &item.source {
                    let start = bytes.len();
                    let appended = folder.open(path).and_then(|file| append(file, item.size, &mut bytes));
                    appended.map_err(|e| Error::io("read", path, e))?;
                    let content = &bytes[start..];
                    if content.len() as u64 != item.size || item.kind.id_of(content) != item.id {
                        return Err(changed(path));
                    }
                }
            }
            sink.event(Event::WorkDone { doing: Activity::Storing, bytes: total });
            Ok(bytes)
        };
        window.par_chunks(PIECE).map(piece).collect()
    }

    fn append(
        &self,
        open: &mut Option<OpenPack>,
        window: &[Item],
        read: &[Vec<u8>],
        to_disk: &Sender<WriteRequest>,
    ) -> Result<()> {
        for (items, read) in window.chunks(PIECE).zip(read) {
            let mut rest = &read[..];
            for item in items {
                let bytes = match &item.source {
                    Source::Bytes(bytes) => &bytes[..],
                    Source::File(_) => {
                        let (bytes, after) = rest.split_at(item.size as usize);
                        rest = after;
                        bytes
                    }
                };
                let is_full =
                    |open: &OpenPack| open.writer.written() + item.size > TARGET || open.writer.len() >= MOST_OBJECTS;
                if open.as_ref().is_some_and(is_full)
                    && let Some(full) = open.take()
                {
                    self.close(full, to_disk)?;
                }
                let pack = match open {
                    Some(pack) => pack,
                    None => open.insert(self.open()?),
                };
                let added = pack.writer.add(item.id, item.kind, bytes);
                added.map_err(|e| self.store.refused("write", &pack.temp.0, e))?;
            }
        }
        if let Some(pack) = open
            && pack.writer.written() - pack.asked >= WRITE_OUT
        {
            pack.asked = pack.writer.written();
            let _ = to_disk.send(WriteRequest::Some(Arc::clone(&pack.file)));
        }
        Ok(())
    }

    fn open(&self) -> Result<OpenPack> {
        let temp = TempFile(self.store.temp()?);
        let fail = |e| self.store.refused("write", &temp.0, e);
        let file = create_private(&temp.0).map_err(fail)?;
        let file = Arc::new(file);
        let buffered = BufWriter::with_capacity(256 << 10, SharedFile(Arc::clone(&file)));
        let writer = PackWriter::new(buffered).map_err(fail)?;
        Ok(OpenPack { temp, file, writer, asked: 0 })
    }

    fn close(&self, open: OpenPack, to_disk: &Sender<WriteRequest>) -> Result<()> {
        let OpenPack { temp, file, writer, .. } = open;
        let (_, id) = writer.finish().map_err(|e| self.store.refused("write", &temp.0, e))?;
        // The receiver ends after a failure and returns its error.
        let _ = to_disk.send(WriteRequest::All(temp, file, id));
        Ok(())
    }
}

/// The disk thread: syncs packs and renames them in the order in which they were written.
fn sync_packs(store: &Store, written: Receiver<WriteRequest>) -> Result<()> {
    while let Ok(one) = written.recv() {
        match one {
            // The system reports a failed write-out only once, so the error must be kept here.
            WriteRequest::Some(file) => {
                file.sync_data().map_err(|e| store.refused("write", store.packs().dir(), e))?;
            }
            WriteRequest::All(temp, file, id) => store.name_pack(&temp.0, &file, &id)?,
        }
    }
    Ok(())
}

fn windows(items: &[Item]) -> Vec<&[Item]> {
    let (mut windows, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += item.size;
            bytes <= WINDOW_BYTES
        };
        let n = rest.iter().take(WINDOW_OBJECTS).take_while(fits).count().max(1);
        let (window, after) = rest.split_at(n);
        windows.push(window);
        rest = after;
    }
    windows
}

/// The folder of the last file, held open: files beside it are opened without a walk from the root.
#[derive(Default)]
struct OpenedFolder<'a>(Option<(&'a Path, OwnedFd)>);

impl<'a> OpenedFolder<'a> {
    fn open(&mut self, path: &'a Path) -> io::Result<File> {
        let (flags, mode) = hash::read_flags();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(File::from(rustix::fs::open(path, flags, mode)?));
        };
        let folder = match self.0.take().filter(|(last, _)| *last == parent) {
            Some(same) => same,
            None => (parent, rustix::fs::open(parent, flags | OFlags::DIRECTORY, mode)?),
        };
        let file = rustix::fs::openat(&folder.1, name, flags, mode);
        self.0 = Some(folder);
        Ok(File::from(file?))
    }
}

/// Appends the content of a file if that is `size` bytes; otherwise fewer bytes or one more, which match no id.
fn append(mut file: File, size: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let start = bytes.len();
    bytes.resize(start + size as usize + 1, 0);
    let mut read = 0;
    // One read is enough: it asks for one byte more than expected, so it has seen the end.
    while read < size as usize || size == 0 {
        match io::Read::read(&mut file, &mut bytes[start + read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(start + read);
    Ok(())
}

fn lost() -> io::Error {
    io::Error::other("the thread that writes to the disk failed")
}
