//! Ends the commands of a run when lockstep itself is killed.
//!
//! The watchdog is this program once more, started before the first command of a run. It leads a process group that all
//! commands join, and holds the reading end of a pipe whose writing end only the run has: when the run is gone without
//! saying so, the pipe closes, and the watchdog ends the group. As long as it lives it holds a lock, so that the next
//! command does not put outputs back while a dying stage still writes them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

/// How long commands have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);

/// The name of the hidden command that [`serve`]s.
pub const COMMAND: &str = "__watchdog";

pub struct Watchdog {
    child: Child,
    line: Option<ChildStdin>,
}

impl Watchdog {
    /// `program` is this very binary; `lock` the file that is locked while the watchdog lives.
    pub fn start(program: &Path, lock: &Path) -> Result<Watchdog> {
        use std::os::unix::process::CommandExt;
        let mut child = Command::new(program)
            .arg(COMMAND)
            .arg(lock)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| Error::io("start the watchdog", program, e))?;
        let line = child.stdin.take();
        // It answers when its signal handlers and its lock are in place.
        let mut ready = [0];
        if let Some(mut out) = child.stdout.take() {
            let _ = out.read(&mut ready);
        }
        if ready != *b"r" {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(crate::error::Kind::Bug, "the watchdog did not start"));
        }
        Ok(Watchdog { child, line })
    }

    /// The process group that commands join.
    pub fn group(&self) -> i32 {
        self.child.id() as i32
    }

    /// Ends every command of the run at once, and the watchdog with them.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Passes a signal on to every command of the run.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.group()) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Watchdog {
    /// The run was interrupted: what its commands left in the background goes with them (a shell lets background
    /// commands ignore SIGINT). The watchdog does that as if the run had been killed.
    pub fn hang_up(&mut self) {
        self.line = None;
    }
}

impl Drop for Watchdog {
    /// The run is over: the watchdog may go, and leaves alone what commands left in the background.
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            let _ = line.write_all(b"q");
        }
        let _ = self.child.wait();
    }
}

/// The watchdog's own main: returns when the run said good-bye, or when the group is gone.
pub fn serve(lock: &Path) -> std::io::Result<()> {
    // Signals to the group are not meant for us.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal, seen)?;
    }
    let held = File::options().create(true).write(true).truncate(false).open(lock)?;
    held.lock()?;
    std::io::stdout().write_all(b"r")?;
    std::io::stdout().flush()?;
    let mut word = [0];
    loop {
        match std::io::stdin().read(&mut word) {
            Ok(1) if word == *b"q" => return Ok(()),
            Ok(0) => break,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let group = rustix::process::getpgrp();
    let _ = kill_process_group(group, Signal::TERM);
    let started = Instant::now();
    while others_in(group) && started.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(10));
    }
    if others_in(group) {
        // The lock goes with us; nobody of the group outlives this call.
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(())
}

/// Is somebody else alive in our process group? Where the system does not tell, we assume so.
fn others_in(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let me = std::process::id();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if pid == me {
            continue;
        }
        // `pid (name) state ppid pgrp …`; the name may hold anything, so read from its last parenthesis.
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_whitespace();
        let (state, pgrp) = (fields.next(), fields.nth(1).and_then(|p| p.parse::<i32>().ok()));
        if pgrp == Some(group.as_raw_nonzero().get()) && state != Some("Z") {
            return true;
        }
    }
    false
}
