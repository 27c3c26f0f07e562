//! Runs the commands of a stage on this machine: one shell an item, in a process group that can be ended as a whole.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Error, Result};

/// What is to be run.
#[derive(Debug)]
pub struct Job<'a> {
    /// Program and arguments of each item.
    pub commands: Vec<Vec<String>>,
    pub wdir: PathBuf,
    /// In addition to the inherited environment.
    pub env: Vec<(String, String)>,
    /// Where output is written as it comes.
    pub log: PathBuf,
    /// The process group to join (the watchdog's).
    pub group: i32,
    /// Nothing new starts once this is the number of a signal.
    pub signal: &'a AtomicI32,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine,
    /// An item ended with this status.
    Code(i32),
    Signal(i32),
}

/// How often inputs are looked at while a command runs.
const TICK: Duration = Duration::from_secs(3);

/// A line without an end is cut here, so that it cannot fill the memory.
const LONGEST_LINE: usize = 1 << 20;

/// More than this no pipe holds by default.
const PIPE: usize = 1 << 20;

/// The command line of an item: several lines are one script that stops at the first failure.
pub fn command_line(shell: &str, item: &str) -> Vec<String> {
    let script = item.trim_end_matches('\n').contains('\n');
    let is_bash = shell.rsplit('/').next().is_some_and(|name| name == "bash");
    let mut words = vec![shell.to_string()];
    if script {
        words.push("-e".into());
        if is_bash {
            words.extend(["-u".into(), "-o".into(), "pipefail".into()]);
        }
    }
    words.extend(["-c".into(), item.into()]);
    words
}

/// Runs the items one after the other until one fails. `lines` gets the output line by line; `tick` is called every few
/// seconds meanwhile.
pub fn run(job: &Job, lines: &mut dyn FnMut(&[u8]), tick: &mut dyn FnMut()) -> Result<Exit> {
    let mut log = File::create(&job.log).map_err(|e| Error::io("write", &job.log, e))?;
    for words in &job.commands {
        // A command may have taken the signal well and ended with success.
        let signal = job.signal.load(Ordering::SeqCst);
        if signal != 0 {
            return Ok(Exit::Signal(signal & 0x7f));
        }
        let (reader, writer) = std::io::pipe().map_err(|e| Error::io("open a pipe for", &job.log, e))?;
        let spawn = || -> std::io::Result<Child> {
            Command::new(&words[0])
                .args(&words[1..])
                .current_dir(&job.wdir)
                .envs(job.env.iter().map(|(k, v)| (k, v)))
                .stdin(Stdio::null())
                .stdout(writer.try_clone()?)
                .stderr(writer)
                .process_group(job.group)
                .spawn()
        };
        let mut child = spawn().map_err(|e| {
            let what = if job.wdir.is_dir() { &words[0] } else { &*job.wdir.to_string_lossy() };
            Error::io("start the command with", what, e)
        })?;
        follow(&mut child, reader, &mut log, lines, tick)
            .map_err(|e| Error::io("read the output into", &job.log, e))?;
        let status = child.wait().map_err(|e| Error::io("wait for", &words[0], e))?;
        match exit(status) {
            Exit::Fine => {}
            other => return Ok(other),
        }
    }
    Ok(Exit::Fine)
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(0), _) => Exit::Fine,
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Copies output until the command is over: it may have closed its streams long before, and what it left in the
/// background may hold them open, and write, for ever.
fn follow(
    child: &mut Child,
    mut reader: impl Read + AsFd,
    log: &mut File,
    lines: &mut dyn FnMut(&[u8]),
    tick: &mut dyn FnMut(),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    let mut ticked = Instant::now();
    let mut unlogged = None;
    let mut looked = Instant::now();
    // Once the command is over, what may still be in the pipe.
    let mut left: Option<usize> = None;
    let mut closed = None;
    loop {
        if let Some(pause) = closed {
            if child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(pause);
            closed = Some((pause * 2).min(Duration::from_millis(100)));
        } else {
            let wait = Timespec { tv_sec: 0, tv_nsec: if left.is_some() { 0 } else { 100_000_000 } };
            let ready = {
                let mut fds = [PollFd::new(&reader, PollFlags::IN)];
                match poll(&mut fds, Some(&wait)) {
                    Ok(n) => n > 0,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(e) => return Err(e.into()),
                }
            };
            if ready && left != Some(0) {
                let n = reader.read(&mut buffer)?;
                left = left.map(|left| left.saturating_sub(n));
                if n == 0 {
                    closed = Some(Duration::from_micros(50));
                }
                if unlogged.is_none() {
                    unlogged = log.write_all(&buffer[..n]).err();
                }
                for part in buffer[..n].split_inclusive(|b| *b == b'\n') {
                    line.extend_from_slice(part);
                    if line.ends_with(b"\n") || line.len() > LONGEST_LINE {
                        lines(line.strip_suffix(b"\n").unwrap_or(&line));
                        line.clear();
                    }
                }
            } else if left.is_some() {
                break;
            }
            if left.is_none() && (!ready || looked.elapsed() > Duration::from_millis(100)) {
                looked = Instant::now();
                left = child.try_wait()?.is_some().then_some(PIPE);
            }
        }
        if ticked.elapsed() >= TICK {
            tick();
            ticked = Instant::now();
        }
    }
    if !line.is_empty() {
        lines(&line);
    }
    if let Some(e) = unlogged {
        // A full disk takes the log; the command goes on, since it cannot be stopped halfway for that.
        lines(format!("lockstep: this output is not in the log: {e}").as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_stop_at_the_first_failure() {
        for (shell, item, want) in [
            ("sh", "echo", "sh -c echo"),
            ("sh", "echo\n", "sh -c echo\n"),
            ("sh", "a\nb", "sh -e -c a\nb"),
            ("bash", "a", "bash -c a"),
            ("/bin/bash", "a\nb", "/bin/bash -e -u -o pipefail -c a\nb"),
        ] {
            assert_eq!(command_line(shell, item).join(" "), want);
        }
    }

    #[test]
    fn output_comes_by_line_and_a_daemon_does_not_hold_us() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job {
            commands: vec![
                command_line("sh", "printf 'a\\nb'; echo c >&2"),
                command_line("sh", "sleep 30 & exit 3"),
                command_line("sh", "echo never"),
            ],
            wdir: dir.path().into(),
            env: vec![],
            log: dir.path().join("log"),
            group: 0,
            signal: &AtomicI32::new(0),
        };
        let started = Instant::now();
        let mut got = Vec::new();
        let end = run(&job, &mut |l| got.push(String::from_utf8_lossy(l).into_owned()), &mut || {}).unwrap();
        assert_eq!((end, got), (Exit::Code(3), vec!["a".to_string(), "bc".to_string()]));
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "a\nbc\n");
    }
}
