//! Checks that a store is writable, before a stage starts whose result it will store.

use std::fs::{self, File};

use crate::error::Result;
use crate::store::objects::Store;

impl Store {
    /// Creates and deletes an empty file: permissions alone do not show a read-only mount or a full disk. Done once per
    /// process: creating a name waits for pending writes of the disk, and for every stage that takes as long as a small
    /// stage itself.
    pub fn try_write(&self) -> Result<()> {
        if self.tried.get().is_some() {
            return Ok(());
        }
        self.begin()?;
        let temp = self.temp()?;
        File::create_new(&temp).map_err(|e| self.refused("write", &temp, e))?;
        fs::remove_file(&temp).map_err(|e| self.refused("write", &temp, e))?;
        let _ = self.tried.set(());
        Ok(())
    }
}
