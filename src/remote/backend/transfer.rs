//! Transfers of many objects at once, and packs as streams that verify themselves.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::store::hash::Hasher;
use crate::store::pack::Pack;
use crate::store::pack::format::Row;

/// Runs `work` on all items, `jobs` at once. After a failure no further item is started; returns the error of the
/// earliest item.
pub fn run_parallel<T: Sync>(jobs: usize, items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    if jobs <= 1 || items.len() <= 1 {
        return items.iter().try_for_each(work);
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<(usize, Error)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    if let Err(e) = work(item) {
                        stop.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(|e| e.into_inner());
                        if failed.as_ref().is_none_or(|(before, _)| at < *before) {
                            *failed = Some((at, e));
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), |(_, e)| Err(e))
}

/// Limits how many threads hold a large buffer at once.
pub struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Permits {
    pub fn new(n: usize) -> Permits {
        Permits { free: Mutex::new(n), freed: Condvar::new() }
    }

    /// Runs `work` once a permit is free.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(|e| e.into_inner());
        }
        *free -= 1;
        drop(free);
        let done = work();
        *self.free.lock().unwrap_or_else(|e| e.into_inner()) += 1;
        self.freed.notify_one();
        done
    }
}

/// A local pack as a stream. The read of the last byte of an object fails with `InvalidData` if the object does not
/// match its id, so a damaged pack never arrives complete.
pub struct PackReader {
    file: File,
    /// Sorted by offset.
    rows: Vec<Row>,
    next: usize,
    at: u64,
    hasher: Option<Hasher>,
    /// The first damaged object.
    pub damaged: Option<Row>,
}

impl PackReader {
    pub fn open(pack: &Pack) -> io::Result<PackReader> {
        let mut rows: Vec<Row> = pack.index.iter().collect();
        rows.sort_unstable_by_key(|row| (row.offset, row.length));
        Ok(PackReader { file: File::open(&pack.path)?, rows, next: 0, at: 0, hasher: None, damaged: None })
    }

    fn check(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(row) = self.rows.get(self.next).copied() {
            if self.at < row.offset {
                let skipped = (row.offset - self.at).min(bytes.len() as u64);
                bytes = &bytes[skipped as usize..];
                self.at += skipped;
            }
            if self.at < row.offset || (bytes.is_empty() && row.length > 0) {
                return Ok(());
            }
            let hasher = self.hasher.get_or_insert_with(|| Hasher::new(row.kind));
            let mine = (row.offset + row.length - self.at).min(bytes.len() as u64);
            hasher.update(&bytes[..mine as usize]);
            bytes = &bytes[mine as usize..];
            self.at += mine;
            if self.at < row.offset + row.length {
                return Ok(());
            }
            if hasher.id() != row.id {
                self.damaged = Some(row);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an object of a pack does not match its id"));
            }
            self.hasher = None;
            self.next += 1;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Read for PackReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.check(&buffer[..n])?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_failure_is_told_and_nothing_new_begins() {
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..1000).collect();
        let e = run_parallel(4, &items, |n| {
            done.fetch_add(1, Ordering::Relaxed);
            if *n >= 3 { Err(Error::missing(format!("item {n}"))) } else { Ok(()) }
        });
        assert!(e.unwrap_err().message.starts_with("item"));
        assert!(done.into_inner() < 20);
        assert!(run_parallel(4, &items, |_| Ok(())).is_ok());
    }

    #[test]
    fn permits_bound_what_goes_on_at_once() {
        let (permits, now, most) = (Permits::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let items = [(); 50];
        run_parallel(8, &items, |()| {
            permits.with(|| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            });
            Ok(())
        })
        .unwrap();
        assert!((1..=2).contains(&most.into_inner()));
    }
}
