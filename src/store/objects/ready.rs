//! Whether a store can be written, asked before work begins whose result it shall take.

use std::fs::{self, File};

use crate::error::Result;
use crate::store::objects::Store;

impl Store {
    /// Puts an empty file there and takes it away again: permissions alone do not tell of a mount that is read-only, or
    /// of a disk without room for a name. Once is enough: a new name waits for what the disk is just writing out, and that
    /// for every stage takes as long as a small stage itself.
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
