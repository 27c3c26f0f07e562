//! The files of another repository that Git LFS keeps: a blob of it is only a pointer.
//!
//! They are taken, in this order, from an existing file with the same content at the place that is written, from the
//! LFS folder of a repository on this disk, or from its server. All of them are here and verified before anything is
//! written. Downloads lie in `lockstep/lfs/` of the clone until they are moved to their place.

mod download;
mod place;
mod server;
mod source;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::download::Download;
use self::server::{DownloadAction, LfsServer};
use self::source::LfsSource;
use crate::document;
use crate::error::{Error, Result};
use crate::event::{Activity, Event, Sink};
use crate::file_lock::{self, LockResult, Mode, Wait};
use crate::lfs::{self, Pointer};
use crate::project::Project;

/// Files that are located with one request.
const BATCH: usize = 100;
/// Downloads at the same time.
const THREADS: usize = 4;
/// Downloads that were broken off are deleted after this time.
const STALE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A file that is needed.
pub struct WantedFile {
    /// `PATH of COMMIT`, for messages.
    pub name: String,
    pub pointer: Pointer,
    /// A file that may have the content already.
    pub candidate: PathBuf,
}

/// Where the content of a pointer is now.
struct LocalContent {
    file: PathBuf,
    /// Is it a download, which is moved to its last place?
    is_download: bool,
    /// How many places still need it.
    uses: usize,
}

/// The content of all files that are needed.
#[derive(Default)]
pub struct LfsFiles {
    content: BTreeMap<String, LocalContent>,
    /// Held until the downloads are at their places.
    _lock: Option<LockResult>,
}

impl LfsFiles {
    /// Brings all files here. `project` is the repository that they are of.
    pub fn fetch(project: &Project, wanted: &[WantedFile], sink: &dyn Sink) -> Result<LfsFiles> {
        let mut files = LfsFiles::default();
        let mut missing: Vec<&WantedFile> = Vec::new();
        for one in wanted {
            match files.content.get_mut(&one.pointer.sha256) {
                Some(content) => content.uses += 1,
                None => {
                    let is_here = has_content(&one.candidate, &one.pointer, sink)?;
                    if !is_here {
                        missing.push(one);
                    }
                    let (file, uses) = (one.candidate.clone(), 1);
                    files.content.insert(one.pointer.sha256.clone(), LocalContent { file, is_download: false, uses });
                }
            }
        }
        if missing.is_empty() {
            return Ok(files);
        }
        match LfsSource::of(project)? {
            LfsSource::Folder(folder) => files.find_in(&folder, &missing, sink)?,
            LfsSource::Server(server) => files.download(project, &server, &missing, sink)?,
        }
        Ok(files)
    }

    /// Finds files in the LFS folder of a repository on this disk.
    fn find_in(&mut self, folder: &Path, missing: &[&WantedFile], sink: &dyn Sink) -> Result<()> {
        for one in missing {
            let sha256 = &one.pointer.sha256;
            let file = folder.join(&sha256[..2]).join(&sha256[2..4]).join(sha256);
            if !has_content(&file, &one.pointer, sink)? {
                return Err(lfs::refuse(&one.name)
                    .because(format!("nor is it in {}", folder.display()))
                    .hint("fetch it in that repository: git lfs pull"));
            }
            self.set(sha256, file, false);
        }
        Ok(())
    }

    fn set(&mut self, sha256: &str, file: PathBuf, is_download: bool) {
        if let Some(content) = self.content.get_mut(sha256) {
            (content.file, content.is_download) = (file, is_download);
        }
    }

    fn download(
        &mut self,
        project: &Project,
        server: &LfsServer,
        missing: &[&WantedFile],
        sink: &dyn Sink,
    ) -> Result<()> {
        let folder = project.repo.lfs_downloads();
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        self._lock = Some(lock(project, &folder, sink)?);
        let part = |pointer: &Pointer| folder.join(format!("{}.part", pointer.sha256));
        remove_stale(project, &folder, &missing.iter().map(|one| part(&one.pointer)).collect::<Vec<_>>());
        for chunk in missing.chunks(BATCH) {
            let pointers: Vec<&Pointer> = chunk.iter().map(|one| &one.pointer).collect();
            let mut located = server.locate(&pointers)?;
            let bytes = pointers.iter().map(|pointer| pointer.size).sum();
            sink.event(Event::WorkPlanned { doing: Activity::Fetching, bytes });
            let mut jobs = Vec::new();
            for pointer in pointers {
                jobs.extend(located.remove(&pointer.sha256).map(|action| (pointer, part(pointer), action)));
            }
            download_all(server, &jobs, sink)?;
            jobs.into_iter().for_each(|(pointer, part, _)| self.set(&pointer.sha256, part, true));
        }
        Ok(())
    }

    /// Writes a file to a place where there is none. Returns its size.
    pub fn place(&mut self, pointer: &Pointer, to: &Path, executable: bool) -> Result<u64> {
        let failed = |e| Error::io("write", to, e);
        let content = self.content.get_mut(&pointer.sha256).filter(|content| content.uses > 0);
        let content = content.ok_or_else(|| lfs::refuse(to.display()))?;
        content.uses -= 1;
        let is_moved = content.is_download && content.uses == 0 && fs::rename(&content.file, to).is_ok();
        if !is_moved {
            copy_new(&content.file, to).map_err(failed)?;
            // The file may have been changed since it was found.
            if !has_content(to, pointer, &crate::event::Silent)? {
                return Err(lfs::refuse(to.display()).because("its content changed at the same time"));
            }
            if content.is_download && content.uses == 0 {
                let _ = fs::remove_file(&content.file);
            }
        }
        if executable {
            let mode = to.metadata().map_err(failed)?.permissions().mode();
            fs::set_permissions(to, fs::Permissions::from_mode(mode | (mode & 0o444) >> 2)).map_err(failed)?;
        }
        Ok(pointer.size)
    }
}

/// Copies bytes to a new file with the usual mode.
fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (document::open(from)?, File::create_new(to)?);
    io::copy(&mut from, &mut to).map(drop)
}

/// Whether a regular file has the size and SHA-256 of a pointer.
fn has_content(file: &Path, pointer: &Pointer, sink: &dyn Sink) -> Result<bool> {
    let is_candidate = file.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == pointer.size);
    if !is_candidate {
        return Ok(false);
    }
    sink.event(Event::WorkPlanned { doing: Activity::Hashing, bytes: pointer.size });
    let mut hash = Sha256::new();
    let read = document::open(file).and_then(|file| io::copy(&mut io::Read::take(file, pointer.size + 1), &mut hash));
    sink.event(Event::WorkDone { doing: Activity::Hashing, bytes: pointer.size });
    // A file that cannot be read is not used.
    Ok(read.is_ok_and(|read| read == pointer.size) && format!("{:x}", hash.finalize()) == pointer.sha256)
}

/// Downloads files on a few threads. After an error no further one is begun.
fn download_all(server: &LfsServer, jobs: &[(&Pointer, PathBuf, DownloadAction)], sink: &dyn Sink) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        while let Some((pointer, part, action)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let download = Download { server, pointer, part, sink, reported: 0 };
            if let Err(error) = download.run(action.clone()) {
                next.store(jobs.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS.min(jobs.len())).for_each(|_| drop(scope.spawn(work))));
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn lock(project: &Project, folder: &Path, sink: &dyn Sink) -> Result<LockResult> {
    let path = folder.join("lock");
    let file = file_lock::open(&path).map_err(|e| Error::io("open", &path, e))?;
    let stop = project.around.stop;
    let busy = "downloads files of the same repository";
    file_lock::lock(file, Mode::Exclusive, &Wait { busy, usual: None, signal: &|| stop.signal(), sink })
}

/// Deletes downloads that were broken off long ago, except those that are continued now.
fn remove_stale(project: &Project, folder: &Path, wanted: &[PathBuf]) {
    let now = (project.around.now)();
    for file in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_part = file.extension().is_some_and(|extension| extension == "part");
        let modified = file.symlink_metadata().and_then(|meta| meta.modified());
        let is_old = modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STALE));
        if is_part && is_old && !wanted.contains(&file) {
            let _ = fs::remove_file(&file);
        }
    }
}
