//! Remotes on a network service, through opendal: builds an operator from scheme and options, and a blocking interface
//! over it. The async runtime is private to this file.
//!
//! Object stores write atomically. SFTP and WebDAV do not promise to, so there an object is written under `tmp/` and
//! renamed. Requests are repeated with growing pauses if the service asks for it (429, 5xx) or does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use tokio::time::timeout;

use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::{Buffer, HttpTransporter, OperationContext, Operator};

use crate::event::StopSignal;
use crate::remote::backend::cap;
use crate::remote::backend::fault::{Fault, FaultKind, StreamFault};
use crate::remote::settings::address::{Address, Scheme};
use crate::remote::settings::complete;
use crate::remote::settings::options::Options;
use crate::remote::settings::secrets;

use crate::remote::backend::transport::{BoundedTransport, MOST};
use crate::remote::backend::upload::Upload;
use crate::store::random_name;

/// Large objects travel in parts of this size, or of a larger one where there would be too many parts.
const PART: u64 = 8 << 20;
/// Where an object travels in one request, objects up to this size are sent from memory.
const SMALL: u64 = 2 << 20;
/// S3 allows 10,000 parts.
const MOST_PARTS: u64 = 9_000;
/// The number of parts in memory at once, for all objects together.
const PARTS_AT_ONCE: usize = 12;

/// How often a waiting thread checks whether the user interrupted the command.
const GLANCE: Duration = Duration::from_millis(50);
/// The time limit for removing temporary objects from the remote after an interruption.
const MOMENT: Duration = Duration::from_millis(400);

/// A remote on a network service.
pub struct Service {
    runtime: Option<tokio::runtime::Runtime>,
    operator: Operator,
    scheme: Scheme,
    /// How many objects travel at once: they share the memory for parts.
    jobs: AtomicUsize,
    /// Folders that exist for certain, on services that need folders.
    made: Mutex<BTreeSet<String>>,
    pub requests: AtomicU64,
    /// The uploader for large objects where the library would need all of one in memory.
    upload: Option<Upload>,
    stop: StopSignal,
}

impl Service {
    /// Builds the operator. Sends no request.
    pub fn open(
        address: &Address,
        options: &Options,
        env: &BTreeMap<String, String>,
        stop: StopSignal,
    ) -> Result<Service, Fault> {
        opendal::init_default_registry();
        let (name, feature, is_there) = match address.scheme {
            Scheme::S3 => ("s3", "s3", cfg!(feature = "s3")),
            Scheme::Gcs => ("gcs", "gcs", cfg!(feature = "gcs")),
            Scheme::Azure => ("azblob", "azure", cfg!(feature = "azure")),
            Scheme::Sftp => ("sftp", "sftp", cfg!(feature = "sftp")),
            Scheme::Webdav => ("webdav", "webdav", cfg!(feature = "webdav")),
            Scheme::Http | Scheme::Folder => ("http", "", true),
        };
        if !is_there {
            let text = format!("this lockstep was built without it; build it with `--features {feature}`");
            return Err(Fault::new(FaultKind::Settings, text));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut settings = options.for_library(address.scheme);
        complete(address, options, env, &mut settings);
        let wrong = |text: String| Fault::new(FaultKind::Settings, text);
        secrets::refuse_foreign_environment(address, options, env, &mut settings).map_err(wrong)?;
        secrets::refuse_in_clear(address, &settings, env).map_err(wrong)?;
        let seconds = options.number("timeout").unwrap_or(120);
        let is_webdav = address.scheme == Scheme::Webdav;
        let patience = Duration::from_secs(seconds);
        let upload = is_webdav.then(|| Upload::new(&settings, patience, stop)).transpose()?;
        let timeout = TimeoutLayer::new()
            .with_timeout(Duration::from_secs(seconds.min(60)))
            .with_io_timeout(Duration::from_secs(seconds));
        let retry = RetryLayer::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(300))
            .with_max_delay(Duration::from_secs(20))
            .with_max_times(options.number("retries").unwrap_or(5) as usize);
        let _inside = runtime.enter();
        let patient = HttpTransporter::new(
            BoundedTransport::new(address.scheme).map_err(|e| Fault::new(FaultKind::Settings, e.to_string()))?,
        );
        let operator = Operator::via_iter(name, settings)?
            .with_context(OperationContext::new().with_http_transport(patient))
            .layer(timeout)
            .layer(retry);
        drop(_inside);
        let made = Mutex::default();
        Ok(Service {
            runtime: Some(runtime),
            operator,
            scheme: address.scheme,
            jobs: AtomicUsize::new(1),
            made,
            requests: AtomicU64::new(0),
            upload,
            stop,
        })
    }

    fn wait<T>(&self, requests: u64, future: impl Future<Output = opendal::Result<T>>) -> Result<T, Fault> {
        self.requests.fetch_add(requests, Ordering::Relaxed);
        self.run(async {
            match self.unless_stopped(future).await {
                Some(done) => done.map_err(Fault::from),
                None => Err(self.stopped()),
            }
        })
    }

    /// Returns `None` if the user interrupts the command first.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            match timeout(GLANCE, &mut future).await {
                Ok(done) => return Some(done),
                Err(_) if self.stop.signal().is_some() => return None,
                Err(_) => {}
            }
        }
    }

    fn run<T>(&self, future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => Err(closed()),
        }
    }

    fn stopped(&self) -> Fault {
        Fault::new(FaultKind::Stopped(self.stop.signal().unwrap_or_default()), "interrupted")
    }

    /// Removes what a broken upload left, also after an interruption. An object that cannot be removed within a moment
    /// stays.
    pub fn remove_leftover(&self, path: &str) {
        let delete = async { Ok(timeout(MOMENT, self.operator.delete(path)).await.is_ok()) };
        let _ = self.run(delete);
    }

    /// Sets how many objects travel at once.
    pub fn set_jobs(&self, objects: usize) {
        self.jobs.store(objects.max(1), Ordering::Relaxed);
    }

    /// The number of parts of one object that travel at once.
    fn at_once(&self) -> usize {
        (PARTS_AT_ONCE / self.jobs.load(Ordering::Relaxed)).clamp(1, 6)
    }

    /// An object of at most `most` bytes.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let reading = async {
            let mut stream = self.operator.reader(path).await?.into_stream(..).await?;
            let mut bytes = Vec::new();
            while let Some(piece) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
                piece?.for_each(|piece| bytes.extend_from_slice(&piece));
                if bytes.len() as u64 > most {
                    return Ok(None);
                }
            }
            Ok(Some(bytes))
        };
        match absent(self.wait(1, MOST.scope(most, reading)))? {
            Some(None) => Err(cap::too_large(path, most)),
            found => Ok(found.flatten()),
        }
    }

    /// A part of an object; fewer bytes are an error.
    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        let wanted = range.end - range.start;
        let parts = wanted.div_ceil(PART).max(1);
        let read = self.operator.read_with(path).range(range);
        let buffer = if parts == 1 {
            self.wait(1, async { read.await })
        } else {
            self.wait(parts, async { read.chunk(PART as usize).concurrent(self.at_once()).await })
        };
        match absent(buffer)? {
            Some(buffer) if buffer.len() as u64 == wanted => Ok(Some(buffer.to_vec())),
            Some(buffer) => Err(Fault::new(
                FaultKind::Other,
                format!("{path} is cut short: {} bytes where {wanted} were expected", buffer.len()),
            )),
            None => Ok(None),
        }
    }

    /// Writes an object from memory.
    pub fn put(&self, path: &str, bytes: Vec<u8>, may_replace: bool) -> Result<(), Fault> {
        let size = bytes.len() as u64;
        if !self.renames() {
            let parts = size.div_ceil(self.part(size)).max(1);
            let write = self.operator.write_with(path, bytes);
            return if parts == 1 || !self.writes_in_parts() {
                self.wait(1, async { write.await }).map(drop)
            } else {
                let part = self.part(size) as usize;
                self.wait(parts + 2, async { write.chunk(part).concurrent(self.at_once()).await }).map(drop)
            };
        }
        let temp = self.temp()?;
        let written = self.wait(1, self.operator.write(&temp, bytes)).map(drop);
        self.move_into_place(&temp, path, size, may_replace, written)
    }

    /// Sends `size` bytes from `source`; the object does not become visible if the source fails.
    pub fn put_stream(
        &self,
        path: &str,
        source: &mut dyn Read,
        size: u64,
        may_replace: bool,
        done: &dyn Fn(u64),
    ) -> Result<(), StreamFault> {
        if !self.writes_in_parts() && size <= SMALL {
            // One request carries all of it, and the library repeats that request.
            let mut bytes = Vec::with_capacity(size as usize);
            source.read_to_end(&mut bytes).map_err(StreamFault::Source)?;
            self.put(path, bytes, may_replace).map_err(StreamFault::Remote)?;
            done(size);
            return Ok(());
        }
        let target = if self.renames() { self.temp().map_err(StreamFault::Remote)? } else { path.to_string() };
        let sent = match &self.upload {
            Some(upload) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                match &self.runtime {
                    Some(runtime) => runtime.block_on(upload.put(&target, source, size, done)),
                    None => Err(StreamFault::Remote(closed())),
                }
            }
            None => self.send(&target, source, size, done),
        };
        if !self.renames() {
            return sent;
        }
        match sent {
            Ok(()) => self.move_into_place(&target, path, size, may_replace, Ok(())).map_err(StreamFault::Remote),
            Err(e) => {
                self.remove_leftover(&target);
                Err(e)
            }
        }
    }

    fn send(&self, path: &str, source: &mut dyn Read, size: u64, done: &dyn Fn(u64)) -> Result<(), StreamFault> {
        let part = self.part(size);
        let in_parts = if size > part { size.div_ceil(part) + 2 } else { 1 };
        self.requests.fetch_add(in_parts, Ordering::Relaxed);
        let remote = |e: opendal::Error| StreamFault::Remote(e.into());
        let sending = async {
            let writer = self.operator.writer_with(path).chunk(part as usize).concurrent(self.at_once());
            let mut writer = writer.await.map_err(remote)?;
            let mut left = size;
            loop {
                let mut bytes = vec![0; left.min(part) as usize];
                let read = fill(source, &mut bytes).and_then(|n| {
                    let more = n < bytes.len() || left == bytes.len() as u64 && fill(source, &mut [0])? > 0;
                    if more { Err(io::Error::other("its size is not what was expected")) } else { Ok(n) }
                });
                match read {
                    Ok(_) if bytes.is_empty() => break,
                    Ok(n) => {
                        left -= n as u64;
                        match self.unless_stopped(writer.write(Buffer::from(bytes))).await {
                            Some(written) => written.map_err(remote)?,
                            None => {
                                let _ = timeout(MOMENT, writer.abort()).await;
                                return Err(StreamFault::Remote(self.stopped()));
                            }
                        }
                        done(n as u64);
                        if left == 0 {
                            break;
                        }
                    }
                    Err(e) => {
                        let _ = timeout(MOMENT, writer.abort()).await;
                        return Err(StreamFault::Source(e));
                    }
                }
            }
            match self.unless_stopped(writer.close()).await {
                Some(closed) => closed.map(drop).map_err(remote),
                None => Err(StreamFault::Remote(self.stopped())),
            }
        };
        match &self.runtime {
            Some(runtime) => runtime.block_on(sending),
            None => Err(StreamFault::Remote(closed())),
        }
    }

    /// Lists a folder, up to the allowed number of entries.
    fn entries(&self, folder: &str, is_recursive: bool) -> Result<Vec<opendal::Entry>, Fault> {
        let path = format!("{folder}/");
        let listing = async {
            let mut lister = self.operator.lister_with(&path).recursive(is_recursive).await?;
            let mut entries = Vec::new();
            while let Some(entry) = poll_fn(|context| Pin::new(&mut lister).poll_next(context)).await {
                entries.push(entry?);
                if entries.len() > cap::ENTRIES {
                    return Ok(None);
                }
            }
            Ok(Some(entries))
        };
        match absent(self.wait(1, listing))? {
            Some(None) => Err(cap::too_many(folder)),
            entries => Ok(entries.flatten().unwrap_or_default()),
        }
    }

    /// The names in a folder, without those of folders.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let entries = self.entries(folder, false)?;
        let names = entries.iter().filter(|entry| !entry.path().ends_with('/')).map(|entry| entry.name().to_string());
        Ok(names.collect())
    }

    /// Removes an object; a missing one is not an error.
    pub fn remove(&self, path: &str) -> Result<(), Fault> {
        absent(self.wait(1, self.operator.delete(path))).map(drop)
    }

    /// Every object below a folder, with its size.
    pub fn list_all(&self, folder: &str) -> Result<Vec<(String, u64)>, Fault> {
        let entries = self.entries(folder, true)?;
        let files = entries.into_iter().filter(|entry| entry.metadata().is_file());
        Ok(files.map(|entry| (entry.path().to_string(), entry.metadata().content_length())).collect())
    }

    fn is_there(&self, path: &str) -> Result<bool, Fault> {
        absent(self.wait(1, self.operator.stat(path))).map(|found| found.is_some())
    }

    /// Returns true if an object is written under a temporary name first.
    pub fn renames(&self) -> bool {
        matches!(self.scheme, Scheme::Sftp | Scheme::Webdav)
    }

    fn writes_in_parts(&self) -> bool {
        self.operator.info().capability().write_can_multi
    }

    fn part(&self, size: u64) -> u64 {
        PART.max((size / MOST_PARTS).next_multiple_of(1 << 20))
    }

    fn temp(&self) -> Result<String, Fault> {
        self.make_folder("tmp")?;
        Ok(format!("tmp/{}", random_name()))
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        if self.scheme != Scheme::Webdav || self.made.lock().unwrap_or_else(|e| e.into_inner()).contains(folder) {
            return Ok(());
        }
        self.wait(1, self.operator.create_dir(&format!("{folder}/")))?;
        self.made.lock().unwrap_or_else(|e| e.into_inner()).insert(folder.to_string());
        Ok(())
    }

    /// Replaces an object where a rename cannot: the old object is moved to another name, and moved back if the new one
    /// cannot be renamed. It is not deleted earlier.
    fn swap(&self, temp: &str, path: &str) -> Result<(), Fault> {
        let aside = self.temp()?;
        self.wait(1, self.operator.rename(path, &aside))?;
        match self.wait(1, self.operator.rename(temp, path)) {
            Ok(()) => {
                self.remove_leftover(&aside);
                Ok(())
            }
            Err(fault) => {
                let back = async { Ok(timeout(MOMENT, self.operator.rename(&aside, path)).await.is_ok()) };
                let _ = self.run(back);
                Err(fault)
            }
        }
    }

    /// Objects in a folder under temporary names that are older than `time`, in seconds since 1970.
    pub fn leftovers(&self, folder: &str, time: u64) -> Result<Vec<String>, Fault> {
        let entries = self.entries(folder, false)?;
        let is_old = |entry: &opendal::Entry| {
            let when = entry.metadata().last_modified().map(SystemTime::from);
            when.and_then(|when| when.duration_since(UNIX_EPOCH).ok()).is_some_and(|when| when.as_secs() < time)
        };
        Ok(entries.iter().filter(|entry| is_old(entry)).map(|entry| entry.name().to_string()).collect())
    }

    /// Renames `temp` to its final name.
    fn move_into_place(
        &self,
        temp: &str,
        path: &str,
        size: u64,
        may_replace: bool,
        written: Result<(), Fault>,
    ) -> Result<(), Fault> {
        let folder = path.rsplit_once('/').map(|(folder, _)| folder);
        let renamed = written.and_then(|()| {
            folder.map_or(Ok(()), |folder| self.make_folder(folder))?;
            self.wait(1, self.operator.rename(temp, path)).or_else(|fault| {
                // Some SFTP servers refuse to replace a file.
                let there = absent(self.wait(1, self.operator.stat(path)))?.map(|there| there.content_length());
                match rename_outcome(there, self.is_there(temp)?, size, may_replace) {
                    RenameOutcome::Done => Ok(()),
                    RenameOutcome::Keep => self.remove(temp),
                    RenameOutcome::Swap => self.swap(temp, path),
                    RenameOutcome::Failed => Err(fault),
                }
            })
        });
        if renamed.is_err() {
            self.remove_leftover(temp);
        }
        renamed
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After an interruption the runtime is dropped without waiting for a name server.
        if let Some(runtime) = self.runtime.take().filter(|_| self.stop.signal().is_some()) {
            runtime.shutdown_background();
        }
    }
}

fn closed() -> Fault {
    Fault::new(FaultKind::Other, "the connection is closed")
}

/// What to do about a rename that failed.
#[derive(Debug, PartialEq)]
enum RenameOutcome {
    /// The rename succeeded but the answer was lost, and the next attempt found nothing to rename.
    Done,
    /// An object of that name and size is the same one, from another push: it stays.
    Keep,
    /// Another object has the name.
    Swap,
    Failed,
}

/// `there` is the size of the object that has the name now. Pure.
fn rename_outcome(there: Option<u64>, temp_is_there: bool, size: u64, may_replace: bool) -> RenameOutcome {
    match there {
        Some(there) if there == size && !temp_is_there => RenameOutcome::Done,
        _ if !temp_is_there => RenameOutcome::Failed,
        Some(there) if there == size && !may_replace => RenameOutcome::Keep,
        Some(_) => RenameOutcome::Swap,
        None => RenameOutcome::Failed,
    }
}

fn absent<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(found) => Ok(Some(found)),
        // A missing bucket is an error, a missing object is not.
        Err(fault) if fault.kind == FaultKind::NotFound && !is_container(&fault.text) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Returns true if the bucket or container is what does not exist.
fn is_container(text: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"].iter().any(|word| text.contains(word))
}

fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match source.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_there_is_never_taken_away_for_the_same() {
        for (there, temp_is_there, may_replace, want) in [
            (Some(5), true, false, RenameOutcome::Keep),
            (Some(5), true, true, RenameOutcome::Swap),
            (Some(4), true, false, RenameOutcome::Swap),
            (Some(5), false, false, RenameOutcome::Done),
            (Some(5), false, true, RenameOutcome::Done),
            (Some(4), false, true, RenameOutcome::Failed),
            (None, true, true, RenameOutcome::Failed),
            (None, false, false, RenameOutcome::Failed),
        ] {
            assert_eq!(
                rename_outcome(there, temp_is_there, 5, may_replace),
                want,
                "{there:?} {temp_is_there} {may_replace}"
            );
        }
    }
}
