//! Runs the commands of a target: `check`, `after`, and `healthy` if it is a command.
//!
//! They come from the clone that deploys. The facts of the deployment, which are text of other people, are environment
//! variables and never part of a command line. Each command has a process group of its own, which is ended at the
//! timeout. Output goes to a file, not to a pipe, so that a daemon that a command starts can go on writing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink, StopSignal};
use crate::run::local::command_line;
use crate::secret::SIGN_KEY;
use crate::store::random_name;

/// Between two looks at a command.
const TICK: Duration = Duration::from_millis(20);
/// How long a command has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// At most so much of the output is kept and shown.
const MOST_OUTPUT: u64 = 1 << 20;

/// What all commands of a deployment share.
pub struct HookRunner<'a> {
    /// The shell of the settings.
    pub shell: String,
    /// The folder in which commands run.
    pub wdir: &'a Path,
    /// A folder for the output while a command runs; what a kill leaves there is removed by the next deployment.
    pub scratch: PathBuf,
    /// `LOCKSTEP_…`.
    pub facts: Vec<(String, String)>,
    /// The user's interruption.
    pub stop: StopSignal,
    /// Gets the lines of the output.
    pub sink: &'a dyn Sink,
}

/// How a command ended.
#[derive(Debug, PartialEq)]
pub struct HookResult {
    /// `None` if it succeeded; else the end of a sentence: `ended with exit code 3`.
    pub failure: Option<String>,
    /// What it wrote.
    pub output: String,
}

impl HookRunner<'_> {
    /// Runs the command `what` (`check`), for at most `limit`. With `is_shown` its output is shown as it comes.
    ///
    /// Errors: it cannot be started, or the user interrupts: then it is ended.
    pub fn run(&self, what: &str, command: &str, limit: Duration, is_shown: bool) -> Result<HookResult> {
        let path = self.scratch.join(random_name());
        let cannot = |e: std::io::Error| Error::io("write the output of the command to", &path, e);
        let log = File::options().write(true).create_new(true).open(&path).map_err(cannot)?;
        let mut output = crate::document::open(&path).map_err(cannot)?;
        let _ = std::fs::remove_file(&path);
        let mut child = self.start(what, command, log)?;
        let ended = self.follow(what, &mut child, &mut output, limit, is_shown);
        let mut text = Vec::new();
        let _ = output.seek(SeekFrom::Start(0)).and_then(|_| output.take(MOST_OUTPUT).read_to_end(&mut text));
        let failure = match ended? {
            None => Some(format!("took longer than {}", humantime::format_duration(limit))),
            Some(status) => failure(status),
        };
        Ok(HookResult { failure, output: String::from_utf8_lossy(&text).into_owned() })
    }

    fn start(&self, what: &str, command: &str, log: File) -> Result<Child> {
        let words = command_line(&self.shell, command);
        let mut start = Command::new(&words[0]);
        let second = log.try_clone().map_err(|e| Error::io("start", command, e))?;
        start.args(&words[1..]).current_dir(self.wdir).stdin(Stdio::null()).stdout(log).stderr(second);
        start.env_remove(SIGN_KEY).envs(self.facts.iter().map(|(name, value)| (name, value))).process_group(0);
        start.spawn().map_err(|e| Error::new(Kind::Stage, format!("the command `{what}` cannot be started")).because(e))
    }

    /// Waits for the end; `None` at the timeout.
    fn follow(
        &self,
        what: &str,
        child: &mut Child,
        output: &mut File,
        limit: Duration,
        is_shown: bool,
    ) -> Result<Option<ExitStatus>> {
        let began = Instant::now();
        let mut lines = LineReader::default();
        loop {
            let status = child.try_wait().map_err(|e| Error::io("wait for", what, e))?;
            if is_shown {
                lines.show(output, what, self.sink);
            }
            if let Some(status) = status {
                lines.finish(what, self.sink);
                return Ok(Some(status));
            }
            if let Err(stopped) = self.stop.check() {
                end_group(child);
                return Err(
                    Error { hints: Vec::new(), ..stopped }.because(format!("`{what}` was running and was ended"))
                );
            }
            if began.elapsed() >= limit {
                end_group(child);
                lines.show(output, what, self.sink);
                return Ok(None);
            }
            std::thread::sleep(TICK.min(limit.saturating_sub(began.elapsed())));
        }
    }
}

fn failure(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(127), _) => Some("ended with exit code 127: the command was not found".into()),
        (Some(code), _) => Some(format!("ended with exit code {code}")),
        (None, signal) => Some(format!("was ended by signal {}", signal.unwrap_or_default())),
    }
}

/// Ends a command and all that it started in its group.
fn end_group(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let began = Instant::now();
    while began.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(TICK);
    }
    // Also when the command itself has ended: others of its group may be left.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// Passes whole lines on.
#[derive(Default)]
struct LineReader {
    line: Vec<u8>,
    shown: u64,
}

impl LineReader {
    fn show(&mut self, output: &mut File, what: &str, sink: &dyn Sink) {
        let mut buffer = [0; 8192];
        while self.shown < MOST_OUTPUT {
            let Ok(n) = output.read(&mut buffer) else { return };
            if n == 0 {
                return;
            }
            self.shown += n as u64;
            for part in buffer[..n].split_inclusive(|b| *b == b'\n') {
                self.line.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    self.finish(what, sink);
                }
            }
        }
    }

    fn finish(&mut self, what: &str, sink: &dyn Sink) {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        if !self.line.is_empty() {
            sink.event(Event::StageOutput { stage: what, line });
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[test]
    fn commands_succeed_fail_and_time_out() {
        let dir = tempfile::tempdir().unwrap();
        let facts = vec![("LOCKSTEP_NAME".to_string(), "a; echo spliced".to_string())];
        let (wdir, scratch) = (dir.path(), dir.path().to_path_buf());
        let hooks = HookRunner { shell: "sh".into(), wdir, scratch, facts, stop: StopSignal::never(), sink: &Silent };
        for (command, failure, output) in [
            ("echo $LOCKSTEP_NAME", None, "a; echo spliced\n"),
            ("echo x >&2; exit 3", Some("ended with exit code 3"), "x\n"),
            ("kill -9 $$", Some("was ended by signal 9"), ""),
            ("sleep 100", Some("took longer than 300ms"), ""),
            ("trap '' TERM; sleep 100 & sleep 100", Some("took longer than 300ms"), ""),
            // A daemon neither holds the deployment nor is ended.
            ("(sleep 2; touch alive) & echo started", None, "started\n"),
        ] {
            let began = Instant::now();
            let got = hooks.run("check", command, Duration::from_millis(300), true).unwrap();
            assert_eq!((got.failure.as_deref(), got.output.as_str()), (failure, output), "{command}");
            assert!(began.elapsed() < Duration::from_secs(10));
        }
        let began = Instant::now();
        while !dir.path().join("alive").exists() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(TICK);
        }
    }
}
