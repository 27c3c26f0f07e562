//! A store is a folder with a marker file.
//!
//! The setting `cache.dir` may come from an untrusted source, and lockstep renames and deletes below that folder. So
//! lockstep creates a store only in a new or empty folder, and writes the file `lockstep-store` there first; without
//! that file it writes and deletes nothing. Only at lockstep's own path, below Git's folder or `.lockstep`, an older
//! store gets the file.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;

use crate::error::{Error, Result};
use crate::shell::word;
use crate::store::objects::{Store, sync_folder};

const MARKER: &str = "lockstep-store";
const TEXT: &str =
    "lockstep-store 1\nA store of lockstep. Without this file lockstep writes and deletes nothing here.\n";

impl Store {
    /// Does the folder have the marker of a store?
    pub fn is_store(&self) -> bool {
        if self.claimed.get().is_some() {
            return true;
        }
        // Its text is for people: a flipped bit in it must not make the store unusable.
        let is_store = fs::symlink_metadata(self.dir().join(MARKER)).is_ok_and(|meta| meta.is_file());
        if is_store {
            let _ = self.claimed.set(());
        }
        is_store
    }

    /// Makes the folder a store, if it is new or empty. Called before a write.
    pub(in crate::store) fn claim(&self) -> Result<()> {
        if self.is_store() {
            return Ok(());
        }
        let failed = |e| self.refused("write", &self.dir().join(MARKER), e);
        match fs::read_dir(self.dir()) {
            Err(e) if e.kind() == ErrorKind::NotFound => self.make_dir(self.dir()).map_err(failed)?,
            Err(e) => return Err(self.refused("open", self.dir(), e)),
            // The root of an empty file system has `lost+found`; another process may have just begun this store.
            Ok(mut entries) => {
                let is_other = |name: &std::ffi::OsStr| name != "lost+found" && name != MARKER;
                if !self.is_own_place && entries.any(|entry| entry.is_ok_and(|entry| is_other(&entry.file_name()))) {
                    return Err(self.no_store());
                }
            }
        }
        let made = File::create_new(self.dir().join(MARKER)).and_then(|mut file| {
            file.write_all(TEXT.as_bytes())?;
            if self.is_for_a_group() {
                file.set_permissions(fs::Permissions::from_mode(0o664))?;
            }
            // Durable before the first object: without the marker the store would not be recognised.
            file.sync_all().and_then(|()| sync_folder(self.dir()))
        });
        match made {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(failed(e)),
            _ => {
                let _ = self.claimed.set(());
                Ok(())
            }
        }
    }

    /// Fails unless the folder is a store or missing. Called before a deletion.
    pub fn check_is_store(&self) -> Result<()> {
        let is_missing = || fs::symlink_metadata(self.dir()).is_err_and(|e| e.kind() == ErrorKind::NotFound);
        if self.is_own_place {
            return if is_missing() { Ok(()) } else { self.claim() };
        }
        let is_empty = || fs::read_dir(self.dir()).is_ok_and(|mut entries| entries.next().is_none());
        if self.is_store() || is_missing() || is_empty() { Ok(()) } else { Err(self.no_store()) }
    }

    fn no_store(&self) -> Error {
        let dir = self.dir().display();
        Error::usage(format!("{dir} is not a store of lockstep: it is not empty and has no file {MARKER}"))
            .hint("set cache.dir to a new or empty folder: lockstep store dir PATH")
            .hint(format!(
                "or, if it is a store of an earlier lockstep: echo 'lockstep-store 1' > {}",
                word(&format!("{dir}/{MARKER}"))
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LinkTypes;

    #[test]
    fn a_store_is_made_in_a_new_or_empty_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = |name: &str| Store::open(&dir.path().join(name), LinkTypes::default());
        for folder in ["empty", "disk/lost+found", "home/tmp"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("home/tmp/old"), "").unwrap();
        for name in ["new/deep", "empty", "disk"] {
            assert!(!store(name).is_store());
            store(name).begin().unwrap();
            assert!(store(name).is_store(), "{name}");
        }
        assert!(store("home").begin().unwrap_err().message.contains("not a store"));
        assert!(store("home").check_is_store().is_err());
        assert!(store("home").temp().is_err());
        assert_eq!(fs::read_dir(dir.path().join("home")).unwrap().count(), 1);
        // The store at lockstep's own path.
        assert!(store("home").at_own_place().begin().is_ok());
        assert!(store("home").is_store());
    }
}
