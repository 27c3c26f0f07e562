//! Something large on its way from a remote: a file in the store's `tmp/` that a later attempt goes on with.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::remote::Remote;
use crate::store::Store;

/// What is asked for at once, and so what is in memory of one object.
const PIECE: u64 = 16 << 20;

/// `tmp/fetch-<name>`, locked by whoever fills it. It stays when that fails or is killed.
pub struct Partial {
    pub path: PathBuf,
    pub file: File,
    /// Some of it is of an earlier attempt.
    pub is_resumed: bool,
    have: u64,
}

impl Partial {
    /// Opens what an earlier attempt left of `name`. Where another process is at it right now, this is a file of its own.
    pub fn open(store: &Store, name: &str, size: u64) -> Result<Partial> {
        let own = store.temp()?;
        let path = own.with_file_name(format!("fetch-{name}"));
        if let Ok(file) = store.open_temp(&path)
            && !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
            // The one that had the lock may have given the file its name in the store.
            && fs::metadata(&path).is_ok_and(|there| is_same(&there, &file))
        {
            let mut have = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
            if have > size {
                file.set_len(0).map_err(|e| Error::io("write", &path, e))?;
                have = 0;
            }
            return Ok(Partial { path, file, is_resumed: have > 0, have });
        }
        let file = store.open_temp(&own)?;
        Ok(Partial { path: own, file, is_resumed: false, have: 0 })
    }

    /// Fetches the rest of an object of `size` bytes.
    pub fn fill(&mut self, remote: &Remote, object: &str, size: u64, done: &dyn Fn(u64)) -> Result<Result<()>> {
        done(self.have);
        while self.have < size {
            let end = size.min(self.have + PIECE);
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

    /// A file that was closed meanwhile; `None` if another process has taken it, or is at it.
    pub fn reopen(store: &Store, path: &Path, size: u64) -> Option<Partial> {
        fs::symlink_metadata(path).ok()?;
        let file = store.open_temp(path).ok()?;
        let is_whole = !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
            && fs::metadata(path).is_ok_and(|there| is_same(&there, &file) && there.len() == size);
        is_whole.then(|| Partial { path: path.to_path_buf(), file, is_resumed: false, have: size })
    }

    /// Throws away what arrived.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_same(there: &fs::Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|mine| (mine.dev(), mine.ino()) == (there.dev(), there.ino()))
}

/// Fetches an object into a partial file and has it taken in. One that turns out damaged is fetched anew if some of it
/// was of an earlier attempt. The inner error is about this object alone.
pub fn bring<T>(
    remote: &Remote,
    store: &Store,
    (object, name, size): (&str, &str, u64),
    done: &dyn Fn(u64),
    take: impl Fn(&Path, &File) -> Result<T>,
) -> Result<Result<(Partial, T)>> {
    let mut again = false;
    loop {
        let mut partial = Partial::open(store, name, size)?;
        let resumed = partial.is_resumed;
        if let Err(lost) = partial.fill(remote, object, size, if again { &|_| () } else { done })? {
            // What arrived stays: when the rest is there again, the whole is verified.
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
