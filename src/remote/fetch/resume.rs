//! A large download: a file in the store's `tmp/` that a later attempt resumes.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::remote::Remote;
use crate::store::Store;

/// The size of one request, and so the memory for one object.
const CHUNK: u64 = 16 << 20;

/// `tmp/fetch-<name>`, locked by the process that fills it. It stays when the process fails or is killed.
pub struct PartialDownload {
    pub path: PathBuf,
    pub file: File,
    /// Whether some bytes are from an earlier attempt.
    pub is_resumed: bool,
    have: u64,
}

impl PartialDownload {
    /// Opens the partial file `name` of an earlier attempt. If another process has it locked, opens a separate file.
    pub fn open(store: &Store, name: &str, size: u64) -> Result<PartialDownload> {
        let own = store.temp()?;
        let path = own.with_file_name(format!("fetch-{name}"));
        if let Ok(file) = store.open_temp(&path)
            && !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
            // The earlier owner of the lock may have moved the file into the store.
            && fs::metadata(&path).is_ok_and(|there| is_same(&there, &file))
        {
            let mut have = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
            if have > size {
                file.set_len(0).map_err(|e| Error::io("write", &path, e))?;
                have = 0;
            }
            return Ok(PartialDownload { path, file, is_resumed: have > 0, have });
        }
        let file = store.open_temp(&own)?;
        Ok(PartialDownload { path: own, file, is_resumed: false, have: 0 })
    }

    /// Fetches the remaining bytes of an object of `size` bytes.
    pub fn fill(&mut self, remote: &Remote, object: &str, size: u64, done: &dyn Fn(u64)) -> Result<Result<()>> {
        done(self.have);
        while self.have < size {
            let end = size.min(self.have + CHUNK);
            let bytes = match remote.try_get(object, self.have..end)? {
                Ok(bytes) => bytes,
                Err(lost) => return Ok(Err(lost)),
            };
            self.file.write_all(&bytes).map_err(|e| Error::io("write", &self.path, e))?;
            self.have = end;
            done(bytes.len() as u64);
        }
        Ok(Ok(()))
    }

    /// Opens a closed partial file again; `None` if another process has moved or locked it.
    pub fn reopen(store: &Store, path: &Path, size: u64) -> Option<PartialDownload> {
        fs::symlink_metadata(path).ok()?;
        let file = store.open_temp(path).ok()?;
        let is_whole = !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
            && fs::metadata(path).is_ok_and(|there| is_same(&there, &file) && there.len() == size);
        is_whole.then(|| PartialDownload { path: path.to_path_buf(), file, is_resumed: false, have: size })
    }

    /// Deletes the partial file.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_same(there: &fs::Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|mine| (mine.dev(), mine.ino()) == (there.dev(), there.ino()))
}

/// Fetches an object into a partial file and calls `adopt` on it. A damaged file is fetched again if some of it is from
/// an earlier attempt. The inner error concerns this object alone.
pub fn download<T>(
    remote: &Remote,
    store: &Store,
    (object, name, size): (&str, &str, u64),
    done: &dyn Fn(u64),
    take: impl Fn(&Path, &File) -> Result<T>,
) -> Result<Result<(PartialDownload, T)>> {
    let mut again = false;
    loop {
        let mut partial = PartialDownload::open(store, name, size)?;
        let resumed = partial.is_resumed;
        if let Err(lost) = partial.fill(remote, object, size, if again { &|_| () } else { done })? {
            // The partial file stays: when the remote has the rest again, the whole is verified.
            return Ok(Err(lost));
        }
        match take(&partial.path, &partial.file) {
            Ok(taken) => return Ok(Ok((partial, taken))),
            Err(e) if e.kind != Kind::Missing => return Err(e),
            Err(_) if resumed && !again => partial.discard(),
            Err(e) => {
                partial.discard();
                return Ok(Err(remote.damaged(object, e)));
            }
        }
        again = true;
    }
}
