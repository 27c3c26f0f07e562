//! Runs the commands of a stage on this machine: one shell per item, in a process group that can be ended as a whole.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Error, Result};
use crate::run::mask::Mask;
use crate::run::pty::{self, PlainLines, TICK, Terminal, TerminalOwner, Tick};

/// The commands of one stage and their surroundings.
pub struct CommandJob<'a> {
    /// Program and arguments of each item.
    pub commands: Vec<Vec<String>>,
    /// The program file of all items, looked up once instead of by each new process; a bare name is searched in `PATH`.
    pub program: PathBuf,
    pub wdir: PathBuf,
    /// Added to the inherited environment.
    pub env: Vec<(String, String)>,
    /// Variables that are removed from the inherited environment.
    pub withheld: Vec<String>,
    /// The file that output is appended to.
    pub log: &'a CommandLog,
    /// Hides secrets in the log.
    pub mask: Mask,
    /// The process group to join.
    pub group: i32,
    /// A signal number once the user asked to stop: no further item starts.
    pub signal: &'a AtomicI32,
    /// Run on a pseudo-terminal instead of pipes, if the user has one.
    pub terminal: Option<TerminalOwner<'a>>,
    /// Pass output on as raw bytes instead of by lines.
    pub raw: bool,
}

/// The file with the output of a stage's commands, locked while it is open.
pub struct CommandLog {
    path: PathBuf,
    file: File,
}

impl CommandLog {
    /// Opens it for appending. The lock tells `logs -f` that more output may follow; the system releases it if this
    /// process dies.
    pub fn open(path: PathBuf) -> Result<CommandLog> {
        let opened = File::options().create(true).append(true).open(&path);
        let file = opened.map_err(|e| Error::io("write", &path, e))?;
        let _ = file.lock();
        Ok(CommandLog { path, file })
    }

    /// Appends a line of lockstep itself.
    pub fn write_line(&self, line: &str) -> Result<()> {
        (&self.file).write_all(format!("{line}\n").as_bytes()).map_err(|e| Error::io("write", &self.path, e))
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine,
    /// An item exited with this status.
    Code(i32),
    Signal(i32),
}

/// A pipe holds at most this many bytes by default.
const PIPE: usize = 1 << 20;

/// The command line of an item: several lines form one script that stops at the first failure.
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

/// Runs the items in order until one fails. `on_output` receives the output: line by line without line ends, or as raw bytes
/// if the job says so. `tick` is called from time to time.
pub fn run(job: &CommandJob, on_output: &mut dyn FnMut(&[u8]), tick: &mut dyn FnMut(Tick)) -> Result<Exit> {
    let mut log = &job.log.file;
    let terminal = job.terminal.as_ref().and_then(|owner| Some((owner, Terminal::take()?)));
    for words in &job.commands {
        // A command may have handled the signal and exited with success.
        let signal = job.signal.load(Ordering::SeqCst);
        if signal != 0 {
            return Ok(Exit::Signal(signal & 0x7f));
        }
        let status = match &terminal {
            Some((owner, terminal)) => on_terminal(job, words, owner, terminal, &mut log, on_output, tick),
            None => on_pipe(job, words, &mut log, on_output, tick),
        }?;
        match exit(status) {
            Exit::Fine => {}
            other => return Ok(other),
        }
    }
    Ok(Exit::Fine)
}

/// Starts an item by the path of its program. If that file is missing, or is a script whose interpreter is missing,
/// falls back to starting it by name, as the system would.
fn start<T>(job: &CommandJob, words: &[String], spawn: impl Fn(Command) -> std::io::Result<T>) -> Result<T> {
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.arg0(&words[0]).args(&words[1..]).current_dir(&job.wdir).envs(job.env.iter().map(|(k, v)| (k, v)));
        for name in &job.withheld {
            command.env_remove(name);
        }
        command
    };
    let name = Path::new(&words[0]);
    let started = match spawn(command(&job.program)) {
        Err(e) if e.kind() == ErrorKind::NotFound && job.program != name => spawn(command(name)),
        started => started,
    };
    started.map_err(|e| not_started(job, e))
}

fn on_pipe(
    job: &CommandJob,
    words: &[String],
    log: &mut &File,
    on_output: &mut dyn FnMut(&[u8]),
    tick: &mut dyn FnMut(Tick),
) -> Result<ExitStatus> {
    let (reader, writer) = std::io::pipe().map_err(|e| Error::io("open a pipe for", &job.log.path, e))?;
    let mut child = start(job, words, |mut command| {
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer.try_clone()?);
        command.process_group(job.group).spawn()
    })?;
    // Our own copy of the writing end would keep the pipe open.
    drop(writer);
    tick(Tick::Started);
    let mut lines = LineSplitter::default();
    let mut unlogged = None;
    let mut mask = job.mask.clone();
    let mut heard = |bytes: &[u8]| {
        unlogged = unlogged.take().or(log.write_all(&mask.push(bytes)).err());
        if job.raw {
            on_output(bytes)
        } else {
            lines.split(bytes, on_output)
        }
        Ok(())
    };
    let followed = follow(&mut child, reader, &mut heard, tick);
    unlogged = unlogged.or(log.write_all(&mask.finish()).err());
    followed.map_err(|e| Error::io("read the output into", &job.log.path, e))?;
    lines.rest(on_output);
    report_log_failure(unlogged, on_output);
    child.wait().map_err(|e| Error::io("wait for", "the command", e))
}

fn on_terminal(
    job: &CommandJob,
    words: &[String],
    owner: &TerminalOwner,
    terminal: &Terminal,
    log: &mut &File,
    on_output: &mut dyn FnMut(&[u8]),
    tick: &mut dyn FnMut(Tick),
) -> Result<ExitStatus> {
    let mut running = start(job, words, |command| pty::spawn(command, terminal))?;
    let session = running.child.id() as i32;
    owner.watchdog.register_session(session);
    tick(Tick::Started);
    let mut plain = PlainLines::default();
    let mut unlogged = None;
    let mut mask = job.mask.clone();
    let mut heard = |bytes: &[u8]| {
        unlogged = unlogged.take().or(log.write_all(&mask.push(&plain.convert(bytes))).err());
        on_output(bytes);
        Ok(())
    };
    let followed = pty::follow(&mut running, terminal, owner, &mut heard, tick)
        .map_err(|e| Error::io("read the output into", &job.log.path, e));
    unlogged = unlogged.or(log.write_all(&mask.finish()).err());
    let status = followed.and_then(|()| running.child.wait().map_err(|e| Error::io("wait for", "the command", e)));
    owner.watchdog.unregister_session(session);
    report_log_failure(unlogged, on_output);
    status
}

/// A full disk ends the log but not the command, which cannot be paused for it.
fn report_log_failure(unlogged: Option<std::io::Error>, on_output: &mut dyn FnMut(&[u8])) {
    if let Some(e) = unlogged {
        on_output(format!("lockstep: this output is not in the log: {e}\n").as_bytes());
    }
}

fn not_started(job: &CommandJob, cause: std::io::Error) -> Error {
    let shell = job.commands.first().and_then(|words| words.first()).map(String::as_str).unwrap_or_default();
    let what = if job.wdir.is_dir() { shell } else { &*job.wdir.to_string_lossy() };
    Error::io("start the command with", what, cause)
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(0), _) => Exit::Fine,
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Passes output on until the command has ended. The command may close its streams long before, and background
/// processes that it started may hold them open, and write, forever.
fn follow(
    child: &mut Child,
    mut reader: impl Read + AsFd,
    heard: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    tick: &mut dyn FnMut(Tick),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut ticked = Instant::now();
    let mut looked = Instant::now();
    // How many bytes may still be read from the pipe after the command ended.
    let mut remaining: Option<usize> = None;
    let mut closed = None;
    loop {
        if let Some(pause) = closed {
            if child.try_wait()?.is_some() {
                break;
            }
            wait_for_end(child, pause);
            closed = Some((pause * 2).min(Duration::from_millis(100)));
        } else {
            let wait = Timespec { tv_sec: 0, tv_nsec: if remaining.is_some() { 0 } else { 100_000_000 } };
            let ready = {
                let mut fds = [PollFd::new(&reader, PollFlags::IN)];
                match poll(&mut fds, Some(&wait)) {
                    Ok(n) => n > 0,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(e) => return Err(e.into()),
                }
            };
            if ready && remaining != Some(0) {
                let n = reader.read(&mut buffer)?;
                remaining = remaining.map(|remaining| remaining.saturating_sub(n));
                if n == 0 {
                    closed = Some(Duration::from_micros(50));
                }
                heard(&buffer[..n])?;
            } else if remaining.is_some() {
                break;
            }
            if remaining.is_none() && (!ready || looked.elapsed() > Duration::from_millis(100)) {
                looked = Instant::now();
                remaining = child.try_wait()?.is_some().then_some(PIPE);
            }
        }
        if ticked.elapsed() >= TICK {
            tick(Tick::Periodic);
            ticked = Instant::now();
        }
    }
    Ok(())
}

/// Waits, for a limited time, until the child has probably exited. A child closes its streams shortly before it exits.
#[cfg(target_os = "linux")]
fn wait_for_end(child: &Child, pause: Duration) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    // The child was not reaped, so its process id is still valid.
    let process = Pid::from_raw(child.id() as i32).map(|id| pidfd_open(id, PidfdFlags::empty()));
    let Some(Ok(process)) = process else { return std::thread::sleep(pause) };
    let most = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&most));
}

#[cfg(not(target_os = "linux"))]
fn wait_for_end(_child: &Child, pause: Duration) {
    std::thread::sleep(pause);
}

/// Cuts output into lines. Of a line that was overwritten (`\r`, as progress bars do) only the last text is kept.
#[derive(Default)]
struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// A line without an end is cut at this length, so that it cannot exhaust the memory.
    const LONGEST: usize = 1 << 20;

    fn split(&mut self, bytes: &[u8], on_output: &mut dyn FnMut(&[u8])) {
        for part in bytes.split_inclusive(|b| *b == b'\n' || *b == b'\r') {
            if self.line.ends_with(b"\r") && part != b"\n" {
                self.line.clear();
            }
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") || self.line.len() > Self::LONGEST {
                self.rest(on_output);
            }
        }
    }

    fn rest(&mut self, on_output: &mut dyn FnMut(&[u8])) {
        if !self.line.is_empty() {
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            on_output(line.strip_suffix(b"\r").unwrap_or(line));
            self.line.clear();
        }
    }
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
    fn of_a_line_written_over_and_over_the_last_text_counts() {
        for (chunks, want) in [
            (vec!["a\nb\n"], vec!["a", "b"]),
            (vec!["a", "b\n\nc"], vec!["ab", "", "c"]),
            (vec!["a\r\nb\r", "\nc\r"], vec!["a", "b", "c"]),
            (vec!["10%\r", "20%\r30%", "\r100%\n", "x"], vec!["100%", "x"]),
        ] {
            let mut got = Vec::new();
            let mut on_output = |l: &[u8]| got.push(String::from_utf8_lossy(l).into_owned());
            let mut lines = LineSplitter::default();
            chunks.iter().for_each(|c| lines.split(c.as_bytes(), &mut on_output));
            lines.rest(&mut on_output);
            assert_eq!(got, want, "{chunks:?}");
        }
    }

    #[test]
    fn output_comes_by_line_and_a_daemon_does_not_hold_us() {
        let dir = tempfile::tempdir().unwrap();
        let log = CommandLog::open(dir.path().join("log")).unwrap();
        let job = CommandJob {
            commands: vec![
                command_line("sh", "printf 'a\\nb'; echo c >&2"),
                command_line("sh", "sleep 30 & exit 3"),
                command_line("sh", "echo never"),
            ],
            program: "sh".into(),
            wdir: dir.path().into(),
            env: vec![],
            withheld: vec![],
            log: &log,
            mask: Mask::default(),
            group: 0,
            signal: &AtomicI32::new(0),
            terminal: None,
            raw: false,
        };
        let started = Instant::now();
        let mut got = Vec::new();
        let end = run(&job, &mut |l| got.push(String::from_utf8_lossy(l).into_owned()), &mut |_| {}).unwrap();
        assert_eq!((end, got), (Exit::Code(3), vec!["a".to_string(), "bc".to_string()]));
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "a\nbc\n");
    }
}
