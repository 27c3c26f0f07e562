//! Scratch folders: a stage finds there what its last run with the same key left, and nothing else.

use std::fs;

use super::{Context, Task};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::plan::reasons;
use crate::store::ObjectId;
use crate::workspace::backup::move_to;
use crate::workspace::logs::RunLog;

impl Context<'_> {
    /// The file that notes the key of the scratch folders: they are emptied when another key runs. Its name comes from
    /// the pipeline file and the stage's name, because the stage's address depends on the current folder.
    fn scratch_note(&self, task: &Task) -> std::path::PathBuf {
        let file = &self.definitions.pipelines.file(task.stage.file).path;
        let name = ObjectId::of(format!("{file}\0{}", task.stage.name).as_bytes()).hex();
        self.project.state_dir().join("scratch").join(&name[..32])
    }

    pub(super) fn prepare_scratch(&self, task: &Task, log: &RunLog) -> Result<()> {
        if task.stage.scratch.is_empty() {
            return Ok(());
        }
        let key = reasons::entry(task.stage, &self.project.shell(), &task.facts, &[]).key.hex();
        let note = self.scratch_note(task);
        let noted = fs::read_to_string(&note).ok();
        if noted.as_deref() != Some(&key) {
            match noted {
                Some(_) => self.empty_scratch(task),
                None => self.keep_foreign_scratch(task, log)?,
            }
            if let Some(dir) = note.parent() {
                fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
            }
            fs::write(&note, key).map_err(|e| Error::io("write", &note, e))?;
        }
        for scratch in &task.stage.scratch {
            self.project.writable(&scratch.path)?.create_folder()?;
        }
        Ok(())
    }

    /// Moves the content of a scratch folder that no run of this stage made to the log folder instead of deleting it.
    fn keep_foreign_scratch(&self, task: &Task, log: &RunLog) -> Result<()> {
        for scratch in &task.stage.scratch {
            let dir = self.project.writable(&scratch.path)?;
            let holds_something = match fs::symlink_metadata(&dir) {
                Ok(m) if m.is_dir() => fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()),
                Ok(_) => true,
                Err(_) => false,
            };
            if holds_something {
                let kept = move_to(&dir, &log.kept(&scratch.path))?;
                let text = format!(
                    "{} was there before stage {} first used it as scratch; what it held is kept in {}",
                    scratch.path,
                    task.address,
                    kept.display()
                );
                self.sink.event(Event::Warning { text: &text });
            }
        }
        Ok(())
    }

    /// Empties only folders that a note marks as the stage's own.
    pub(super) fn empty_scratch(&self, task: &Task) {
        if task.stage.scratch.is_empty() || !self.scratch_note(task).exists() {
            return;
        }
        for scratch in &task.stage.scratch {
            let Ok(dir) = self.project.writable(&scratch.path) else { continue };
            if fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir()) {
                let _ = dir.remove_folder().and_then(|()| dir.create_folder());
            }
        }
        let _ = fs::remove_file(self.scratch_note(task));
    }
}
