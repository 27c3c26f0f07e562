//! Whether a store can be written, asked before work begins whose result it shall take.

use std::fs::{self, File};

use super::objects::Store;
use crate::error::Result;

impl Store {
    /// Puts an empty file there and takes it away again: permissions alone do not tell of a mount that is read-only, or
    /// of a disk without room for a name.
    pub fn try_write(&self) -> Result<()> {
        self.begin()?;
        let temp = self.temp()?;
        File::create_new(&temp).map_err(|e| self.refused("write", &temp, e))?;
        fs::remove_file(&temp).map_err(|e| self.refused("write", &temp, e))
    }
}
