//! Remotes in a folder of this machine: a disk, a share. Writes are as careful as the store's own: temporary file,
//! fsync, rename, fsync of the folder. Symlinks in the folder are not followed: see [`RootFolder`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::remote::backend::cap;
use crate::remote::backend::fault::{Fault, FaultKind, StreamFault};
use crate::store::{RootFolder, random_name};

/// After this many bytes the kernel is asked to start writing, so that the final sync is short.
const WRITE_OUT: u64 = 32 << 20;

/// A remote in a folder.
pub struct FolderBackend {
    root: RootFolder,
    /// New folders, whose names have to be made durable with the first object in them.
    made: Mutex<BTreeSet<String>>,
}

impl FolderBackend {
    pub fn new(dir: PathBuf) -> FolderBackend {
        FolderBackend { root: RootFolder::new(dir), made: Mutex::default() }
    }

    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Returns true if the folder holds nothing yet, apart from the temporary files of a push or a check that was
    /// killed at once, and the `lost+found` of a file system's root.
    pub fn is_new(&self) -> bool {
        let is_temporary = |name: &str| {
            let number = name.strip_prefix("check-").unwrap_or(name);
            number.len() == 32 && number.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let holds_only = |folder: &str, is_known: &dyn Fn(&str) -> bool| {
            self.root.entries(folder).is_ok_and(|entries| entries.iter().all(|entry| is_known(entry.text())))
        };
        holds_only("", &|name| name == "lost+found" || name == "tmp") && holds_only("tmp", &is_temporary)
    }

    /// Returns true if there is a regular file of this name.
    pub fn has(&self, path: &str) -> bool {
        self.root.stat(path).is_ok_and(|seen| seen.is_file())
    }

    /// Returns true if the folder exists. This tells an empty remote from an unmounted disk.
    pub fn exists(&self) -> bool {
        self.dir().is_dir()
    }

    /// A regular file of at most `most` bytes.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let file = match self.root.open_file(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if file.metadata()?.len() > most {
            return Err(cap::too_large(path, most));
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        // The file grew after its size was read.
        if bytes.len() as u64 > most { Err(cap::too_large(path, most)) } else { Ok(Some(bytes)) }
    }

    /// A part of a file; fewer bytes are an error.
    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        let mut file = match self.root.open_file(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = (range.end - range.start) as usize;
        let there = file.metadata()?.len().saturating_sub(range.start);
        if there < wanted as u64 {
            let text = format!("{path} is cut short: {there} bytes where {wanted} were expected");
            return Err(Fault::new(FaultKind::Other, text));
        }
        let mut bytes = vec![0; wanted];
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a file durably.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.write(path, |file| file.write_all(bytes).map_err(|e| StreamFault::Remote(e.into()))).map_err(|e| match e {
            StreamFault::Source(e) => e.into(),
            StreamFault::Remote(fault) | StreamFault::Again(fault) => fault,
        })
    }

    /// Writes `size` bytes from `source` durably.
    pub fn put_stream(
        &self,
        path: &str,
        source: &mut dyn Read,
        size: u64,
        done: &dyn Fn(u64),
    ) -> Result<(), StreamFault> {
        self.write(path, |file| {
            let mut buffer = vec![0; size.clamp(512, 1 << 20) as usize];
            let (mut total, mut unsynced) = (0, 0);
            loop {
                let n = source.read(&mut buffer).map_err(StreamFault::Source)?;
                if n == 0 {
                    break;
                }
                file.write_all(&buffer[..n]).map_err(|e| StreamFault::Remote(e.into()))?;
                total += n as u64;
                unsynced += n as u64;
                if unsynced >= WRITE_OUT {
                    unsynced = 0;
                    file.sync_data().map_err(|e| StreamFault::Remote(e.into()))?;
                }
                done(n as u64);
            }
            if total == size {
                Ok(())
            } else {
                Err(StreamFault::Source(io::Error::other(format!("it does not have the expected {size} bytes"))))
            }
        })
    }

    fn write(&self, path: &str, fill: impl FnOnce(&mut File) -> Result<(), StreamFault>) -> Result<(), StreamFault> {
        let remote = |e: io::Error| StreamFault::Remote(e.into());
        self.make_folder("tmp").map_err(remote)?;
        let temp = format!("tmp/{}", random_name());
        let mut file = self.root.create_new(&temp).map_err(remote)?;
        let written = fill(&mut file).and_then(|()| {
            file.sync_all().map_err(remote)?;
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.make_folder(folder).map_err(remote)?;
            self.root.rename(&temp, path).map_err(remote)?;
            self.root.sync(folder).map_err(remote)
        });
        if written.is_err() {
            let _ = self.root.remove_file(&temp);
        }
        written
    }

    /// Makes the folder of the remote itself durably. Its parent has to exist.
    pub fn make(&self) -> Result<(), Fault> {
        match fs::create_dir(self.dir()) {
            Ok(()) => Ok(File::open(self.dir().parent().unwrap_or(self.dir())).and_then(|above| above.sync_all())?),
            Err(_) if self.exists() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a folder of the remote and its parents inside the remote durably.
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        if self.made.lock().unwrap_or_else(|e| e.into_inner()).contains(folder) {
            return Ok(());
        }
        if self.root.open_folder(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            self.root.create_folder(folder, |_| Ok(()))?;
            Path::new(folder).ancestors().skip(1).try_for_each(|above| self.root.sync(above))?;
        }
        self.made.lock().unwrap_or_else(|e| e.into_inner()).insert(folder.to_string());
        Ok(())
    }

    /// The names of the regular files in a folder.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let names = self.root.entries_up_to(folder, cap::ENTRIES)?.ok_or_else(|| cap::too_many(folder))?;
        Ok(names.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
    }

    /// Files in a folder that were last written before `time`, in seconds since 1970.
    pub fn leftovers(&self, folder: &str, time: u64) -> Result<Vec<String>, Fault> {
        let limit = i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let is_old = |name: &String| {
            let seen = self.root.stat(Path::new(folder).join(name));
            seen.is_ok_and(|seen| seen.is_file() && seen.stat.mtime < limit)
        };
        Ok(self.list(folder)?.into_iter().filter(is_old).collect())
    }

    /// Removes a file; a missing one is not an error.
    pub fn remove(&self, path: &str) -> Result<(), Fault> {
        match self.root.remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Every file below a folder, with its size.
    pub fn list_all(&self, folder: &str) -> Result<Vec<(String, u64)>, Fault> {
        let mut all = Vec::new();
        let mut folders = vec![folder.to_string()];
        while let Some(folder) = folders.pop() {
            let entries = self.root.entries_up_to(&folder, cap::ENTRIES)?.ok_or_else(|| cap::too_many(&folder))?;
            for entry in entries {
                let Ok(name) = entry.name.into_string() else { continue };
                let path = format!("{folder}/{name}");
                if all.len() + folders.len() >= cap::ENTRIES {
                    return Err(cap::too_many(&folder));
                }
                match self.root.stat(&path) {
                    Ok(seen) if seen.is_dir() => folders.push(path),
                    Ok(seen) if seen.is_file() => all.push((path, seen.stat.size)),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(all)
    }
}
