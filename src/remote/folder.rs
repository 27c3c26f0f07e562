//! Remotes that are a folder of this machine: a disk, a share. Written as carefully as the store itself: temp, fsync,
//! rename, fsync of the folder.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use crate::document;
use crate::remote::cap;
use crate::remote::fault::{Fault, Why};
use crate::remote::service::Broken;
use crate::store::random_name;

/// After so many bytes the disk is asked to take them, so that the last sync is short.
const WRITE_OUT: u64 = 32 << 20;

pub struct Folder {
    dir: PathBuf,
    /// Folders that were made and whose names must be made durable with the first object in them.
    made: Mutex<BTreeSet<PathBuf>>,
}

impl Folder {
    pub fn new(dir: PathBuf) -> Folder {
        Folder { dir, made: Mutex::default() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Is nothing there yet? A push or a check that was killed at once leaves temporary files; the root of a file system has
    /// `lost+found`.
    pub fn is_new(&self) -> bool {
        let is_temporary = |name: &OsStr| {
            let name = name.as_bytes();
            let number = name.strip_prefix(b"check-").unwrap_or(name);
            number.len() == 32 && number.iter().all(u8::is_ascii_hexdigit)
        };
        let holds_only = |folder: &Path, is_known: &dyn Fn(&OsStr) -> bool| match fs::read_dir(folder) {
            Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| is_known(&entry.file_name()))),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        holds_only(&self.dir, &|name| name == "lost+found" || name == "tmp")
            && holds_only(&self.dir.join("tmp"), &is_temporary)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Is the folder there at all? What an empty remote and an unmounted disk differ in.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// A regular file of at most `most` bytes.
    pub fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let file = match document::open(&self.path(path)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if file.metadata()?.len() > most {
            return Err(cap::too_large(path, most));
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        // It grew meanwhile.
        if bytes.len() as u64 > most { Err(cap::too_large(path, most)) } else { Ok(Some(bytes)) }
    }

    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        let mut file = match document::open(&self.path(path)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = (range.end - range.start) as usize;
        let there = file.metadata()?.len().saturating_sub(range.start);
        if there < wanted as u64 {
            let text = format!("{path} is cut short: {there} bytes where {wanted} were expected");
            return Err(Fault::new(Why::Other, text));
        }
        let mut bytes = vec![0; wanted];
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.write(path, |file| file.write_all(bytes).map_err(|e| Broken::Remote(e.into()))).map_err(|e| match e {
            Broken::Source(e) => e.into(),
            Broken::Remote(fault) | Broken::Again(fault) => fault,
        })
    }

    pub fn put_stream(&self, path: &str, source: &mut dyn Read, size: u64, done: &dyn Fn(u64)) -> Result<(), Broken> {
        self.write(path, |file| {
            let mut buffer = vec![0; size.clamp(512, 1 << 20) as usize];
            let (mut total, mut unsynced) = (0, 0);
            loop {
                let n = source.read(&mut buffer).map_err(Broken::Source)?;
                if n == 0 {
                    break;
                }
                file.write_all(&buffer[..n]).map_err(|e| Broken::Remote(e.into()))?;
                total += n as u64;
                unsynced += n as u64;
                if unsynced >= WRITE_OUT {
                    unsynced = 0;
                    file.sync_data().map_err(|e| Broken::Remote(e.into()))?;
                }
                done(n as u64);
            }
            if total == size {
                Ok(())
            } else {
                Err(Broken::Source(io::Error::other("its size is not what was expected")))
            }
        })
    }

    fn write(&self, path: &str, fill: impl FnOnce(&mut File) -> Result<(), Broken>) -> Result<(), Broken> {
        let remote = |e: io::Error| Broken::Remote(e.into());
        self.make_folder(&self.path("tmp")).map_err(remote)?;
        let temp = self.path("tmp").join(random_name());
        let mut file = File::options().write(true).create_new(true).open(&temp).map_err(remote)?;
        let to = self.path(path);
        let written = fill(&mut file).and_then(|()| {
            file.sync_all().map_err(remote)?;
            let folder = to.parent().unwrap_or(&self.dir);
            self.make_folder(folder).map_err(remote)?;
            fs::rename(&temp, &to).map_err(remote)?;
            sync(folder).map_err(remote)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temp);
        }
        written
    }

    /// Makes a folder and what is above it, durably.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if self.made.lock().unwrap_or_else(|e| e.into_inner()).contains(folder) {
            return Ok(());
        }
        let is_new = !folder.is_dir();
        fs::create_dir_all(folder)?;
        if is_new {
            for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.dir)) {
                sync(above)?;
            }
        }
        self.made.lock().unwrap_or_else(|e| e.into_inner()).insert(folder.to_path_buf());
        Ok(())
    }

    pub fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        match fs::read_dir(self.path(folder)) {
            Ok(entries) => {
                let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
                let names: Vec<String> = names.take(cap::ENTRIES + 1).collect();
                if names.len() > cap::ENTRIES { Err(cap::too_many(folder)) } else { Ok(names) }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }

    /// Files in a folder that were last written before `time`, in seconds since 1970.
    pub fn leftovers(&self, folder: &str, time: u64) -> Result<Vec<String>, Fault> {
        let limit = UNIX_EPOCH + Duration::from_secs(time);
        let is_old = |name: &String| {
            let seen = fs::symlink_metadata(self.path(folder).join(name));
            seen.is_ok_and(|seen| seen.is_file() && seen.modified().is_ok_and(|when| when < limit))
        };
        Ok(self.list(folder)?.into_iter().filter(is_old).collect())
    }

    pub fn remove(&self, path: &str) -> Result<(), Fault> {
        match fs::remove_file(self.path(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Every file below a folder, with its size.
    pub fn list_all(&self, folder: &str) -> Result<Vec<(String, u64)>, Fault> {
        let mut all = Vec::new();
        let mut folders = vec![folder.to_string()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.path(&folder)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{folder}/{name}");
                if all.len() + folders.len() >= cap::ENTRIES {
                    return Err(cap::too_many(&folder));
                }
                match fs::metadata(entry.path()) {
                    Ok(meta) if meta.is_dir() => folders.push(path),
                    Ok(meta) => all.push((path, meta.len())),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(all)
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
