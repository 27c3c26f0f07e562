//! The logs of each run of a stage: its output, its environment, a script that replays it.
//!
//! ```text
//! logs/<stage>/<n>/output      stdout and stderr, as written; values of secrets are masked (`mask.rs`)
//! logs/<stage>/<n>/env         names of the environment variables that the commands saw; stages of a run share the file
//! logs/<stage>/<n>/replay.sh   runs the commands again, by hand
//! logs/<stage>/<n>/kept/       outputs that a failed run left, or that a rerun replaced, for a week (symlinks to them, if
//!                              they are on another filesystem)
//! logs/<stage>/<n>/inputs      the lock entry of a run that was refused, for `commit --kept`
//! logs/%recovered/<n>/kept/    outputs of a run that was killed together with lockstep
//! ```
//!
//! The last ten runs of a stage are kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::shell::{word, words};
use crate::store::ObjectId;
use crate::workspace::backup::remove_kept;

const RUNS_KEPT: usize = 10;
const OUTPUTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The log folders of a project.
pub struct Logs {
    dir: PathBuf,
    /// The last file `env` of this process and its content: most stages see the same variables, and a hard link is
    /// cheaper than a file.
    env: Mutex<Option<(String, PathBuf)>>,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunLog {
    pub dir: Box<Path>,
}

/// One run, as its files describe it.
#[derive(Clone, Debug)]
pub struct LoggedRun {
    pub number: u64,
    pub started: SystemTime,
    /// When output was last written.
    pub written: SystemTime,
    /// The size of the output in bytes.
    pub bytes: u64,
    pub log: RunLog,
}

impl Logs {
    pub fn new(dir: PathBuf) -> Logs {
        Logs { dir, env: Mutex::default() }
    }

    /// The folder of a stage: its address, with characters that a file name cannot contain escaped.
    fn folder_of(&self, file: &RepoPath, stage: &str) -> PathBuf {
        let address = if file.as_str() == "pipeline.yaml" { stage.to_string() } else { format!("{file}:{stage}") };
        let mut name = String::new();
        for c in address.chars() {
            match c {
                '/' => name.push_str("%2F"),
                '%' => name.push_str("%25"),
                c if c.is_control() => name.push_str(&format!("%{:02X}", c as u32)),
                c => name.push(c),
            }
        }
        if name.len() > 200 {
            let hash = ObjectId::of(name.as_bytes()).hex();
            let cut = (0..=180).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
            name = format!("{}-{}", &name[..cut], &hash[..16]);
        }
        self.dir.join(name)
    }

    /// Creates a folder for a run that starts now; deletes the oldest beyond ten.
    pub fn start(&self, file: &RepoPath, stage: &str) -> Result<RunLog> {
        self.start_in(self.folder_of(file, stage))
    }

    /// Creates a folder for the outputs of a killed run. No stage's folder has this name.
    pub fn recovered(&self) -> Result<RunLog> {
        self.start_in(self.dir.join("%recovered"))
    }

    fn start_in(&self, of: PathBuf) -> Result<RunLog> {
        let mut runs = match fs::create_dir(&of) {
            Ok(()) => Vec::new(),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => numbered_folders(&of),
            Err(_) => fs::create_dir_all(&of).map(|()| Vec::new()).map_err(|e| Error::io("create", &of, e))?,
        };
        let mut n = runs.last().map_or(1, |n| n + 1);
        let dir = loop {
            let dir = of.join(n.to_string());
            match fs::create_dir(&dir) {
                Ok(()) => break dir,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(Error::io("create", &dir, e)),
            }
        };
        runs.truncate((runs.len() + 1).saturating_sub(RUNS_KEPT));
        for old in runs {
            let old = of.join(old.to_string());
            // The user was told that an output is kept there for a week, however many runs follow.
            let kept = fs::metadata(old.join("kept")).and_then(|m| m.modified());
            let is_old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > OUTPUTS_KEPT);
            if kept.map_or(true, is_old) {
                let _ = remove_kept(&old);
            }
        }
        Ok(RunLog { dir: dir.into() })
    }

    /// The newest run of a stage that was refused and whose outputs are kept.
    pub fn last_refused(&self, file: &RepoPath, stage: &str) -> Option<RunLog> {
        self.newest_where(file, stage, |run| run.inputs().exists())
    }

    fn newest_where(&self, file: &RepoPath, stage: &str, fits: impl Fn(&RunLog) -> bool) -> Option<RunLog> {
        let of = self.folder_of(file, stage);
        numbered_folders(&of)
            .into_iter()
            .rev()
            .map(|n| RunLog { dir: of.join(n.to_string()).into() })
            .find(|run| fits(run))
    }

    /// The runs of a stage whose output file exists, from the oldest to the newest.
    pub fn runs(&self, file: &RepoPath, stage: &str) -> Vec<LoggedRun> {
        let of = self.folder_of(file, stage);
        let run = |number: u64| {
            let log = RunLog { dir: of.join(number.to_string()).into() };
            let output = fs::metadata(log.output()).ok()?;
            let written = output.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let started = fs::metadata(log.dir.join("replay.sh")).and_then(|m| m.modified()).unwrap_or(written);
            Some(LoggedRun { number, started, written, bytes: output.len(), log })
        };
        numbered_folders(&of).into_iter().filter_map(run).collect()
    }

    /// Writes `env`, one name per line.
    pub fn write_env(&self, run: &RunLog, names: &[String]) -> Result<()> {
        let (file, text) = (run.dir.join("env"), names.join("\n") + "\n");
        let mut last = self.env.lock().unwrap_or_else(|e| e.into_inner());
        if last.as_ref().is_some_and(|(known, path)| *known == text && fs::hard_link(path, &file).is_ok()) {
            return Ok(());
        }
        fs::write(&file, &text).map_err(|e| Error::io("write", &file, e))?;
        *last = Some((text, file));
        Ok(())
    }

    /// Removes kept outputs older than a week; with `all`, every log. Returns the number of removed folders.
    pub fn prune(&self, now: SystemTime, all: bool) -> usize {
        let mut removed = 0;
        for stage in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            for n in numbered_folders(&stage.path()) {
                let run = stage.path().join(n.to_string());
                let old = |p: &Path| {
                    let changed = fs::metadata(p).and_then(|m| m.modified()).ok();
                    changed.and_then(|t| now.duration_since(t).ok()).is_some_and(|age| age > OUTPUTS_KEPT)
                };
                if all {
                    removed += usize::from(remove_kept(&run).is_ok());
                } else if old(&run.join("kept")) {
                    removed += usize::from(remove_kept(&run.join("kept")).is_ok());
                    let _ = fs::remove_file(run.join("inputs"));
                }
            }
        }
        removed
    }
}

impl RunLog {
    /// The file with the output of the commands.
    pub fn output(&self) -> PathBuf {
        self.dir.join("output")
    }

    /// Whether the run is active: the process that runs the commands holds a lock on their output.
    pub fn is_running(&self) -> bool {
        fs::File::open(self.output())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Whether outputs of this run are kept.
    pub fn has_kept(&self) -> bool {
        self.dir.join("kept").exists()
    }

    /// The file with the lock entry of a refused run.
    pub fn inputs(&self) -> PathBuf {
        self.dir.join("inputs")
    }

    /// The path at which an out with this path is kept.
    pub fn kept(&self, out: &RepoPath) -> PathBuf {
        out.on_disk(&self.dir.join("kept"))
    }

    /// The last `n` lines of the run's output.
    pub fn tail(&self, n: usize) -> Vec<String> {
        use std::io::{Read, Seek, SeekFrom};
        let mut bytes = Vec::new();
        if let Ok(mut file) = fs::File::open(self.output()) {
            let len = file.metadata().map_or(0, |m| m.len());
            let _ = file.seek(SeekFrom::Start(len.saturating_sub(64 * 1024)));
            let _ = file.read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        // Of an overwritten line only the last text is kept.
        let last = |l: &&str| l.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_string();
        lines[lines.len().saturating_sub(n)..].iter().map(last).collect()
    }

    /// Writes `replay.sh`.
    pub fn write_replay(&self, wdir: &Path, commands: &[Vec<String>], env: &[(String, String)]) -> Result<()> {
        let mut script =
            String::from("#!/bin/sh\n# Runs the commands of this stage again, without lockstep.\nset -e\n");
        script.push_str(&format!("cd {}\n", word(&wdir.to_string_lossy())));
        for (name, value) in env {
            script.push_str(&format!("export {name}={}\n", word(value)));
        }
        for command in commands {
            script.push_str(&(words(command) + "\n"));
        }
        let file = self.dir.join("replay.sh");
        fs::write(&file, script).map_err(|e| Error::io("write", &file, e))
    }
}

/// The numbered folders inside a folder, in order.
fn numbered_folders(dir: &Path) -> Vec<u64> {
    let mut found: Vec<u64> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_environments_share_a_file() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().join("logs"));
        let names = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let mut seen = Vec::new();
        for (stage, text, removed) in [("a", "A B", false), ("b", "A B", true), ("c", "A B", false), ("d", "A", false)]
        {
            let run = logs.start(&RepoPath::root().join("pipeline.yaml").unwrap(), stage).unwrap();
            logs.write_env(&run, &names(text)).unwrap();
            let file = run.dir.join("env");
            assert_eq!(fs::read_to_string(&file).unwrap(), text.replace(' ', "\n") + "\n");
            seen.push(fs::metadata(&file).unwrap().ino());
            if removed {
                // Another process removes the logs at the same time.
                fs::remove_dir_all(dir.path().join("logs")).unwrap();
            }
        }
        assert!(seen[0] == seen[1] && seen[2] != seen[3]);
        assert_eq!(
            logs.start(&RepoPath::root().join("pipeline.yaml").unwrap(), "d").unwrap().dir.file_name().unwrap(),
            "2"
        );
    }
}
