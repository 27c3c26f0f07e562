//! Ends the commands of a run when lockstep itself is killed.
//!
//! The watchdog is another process of this program, started before the first command of a run. It leads a process group
//! that commands join, unless others run at the same time ([`Group`]), and holds the reading end of a pipe whose
//! writing end only the run has. When the run dies without a farewell, the pipe closes, and the watchdog ends the
//! group. While the watchdog lives it holds a lock, so that the next command does not restore outputs while a dying
//! stage still writes them.
//!
//! A stage on a pseudo-terminal leads its own session, outside of that group. The protocol of the pipe, one word per
//! line:
//!
//! ```text
//! + 123    the session or process group 123 belongs to the run
//! - 123    it has ended; its background processes are left running
//! q        the run has ended
//! ```

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Result};

/// How long commands have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);

/// The name of the hidden command that [`serve`]s.
pub const COMMAND: &str = "__watchdog";

/// The run's side of the watchdog process.
pub struct Watchdog {
    child: Child,
    registry: Mutex<GroupRegistry>,
    /// Ctrl-C was typed into a stage's terminal: the kernel has already signalled that session.
    interrupted: AtomicBool,
}

struct GroupRegistry {
    line: Option<ChildStdin>,
    /// Leaders of the sessions and process groups that are active.
    sessions: BTreeSet<i32>,
    /// Leaders of process groups that are free for the next stage.
    free: Vec<Child>,
}

impl GroupRegistry {
    fn send(&mut self, words: &str) {
        if let Some(line) = &mut self.line {
            let _ = line.write_all(words.as_bytes());
        }
    }
}

impl Watchdog {
    /// Starts the watchdog. `program` is the path of this binary; `lock` is the file that stays locked while the
    /// watchdog lives. The watchdog does not get the `withheld` variables, because stages can read the environment of
    /// any process of their user.
    pub fn start<'a>(program: &Path, lock: &Path, withheld: impl Iterator<Item = &'a String>) -> Result<Watchdog> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        for name in withheld {
            command.env_remove(name);
        }
        let mut child = command
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
        // The watchdog answers when its signal handlers and its lock are in place.
        let mut ready = [0];
        if let Some(mut out) = child.stdout.take() {
            let _ = out.read(&mut ready);
        }
        if ready != *b"r" {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(crate::error::Kind::Bug, "the watchdog did not start"));
        }
        let registry = Mutex::new(GroupRegistry { line, sessions: BTreeSet::new(), free: Vec::new() });
        Ok(Watchdog { child, registry, interrupted: AtomicBool::new(false) })
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, GroupRegistry> {
        self.registry.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Registers the session that a command leads, so that it is ended with the others.
    pub fn register_session(&self, session: i32) {
        let mut registry = self.registry();
        registry.sessions.insert(session);
        registry.send(&format!("+ {session}\n"));
    }

    /// Unregisters the session of a command that has ended.
    pub fn unregister_session(&self, session: i32) {
        let mut registry = self.registry();
        registry.sessions.remove(&session);
        registry.send(&format!("- {session}\n"));
    }

    /// Notes that Ctrl-C was typed into a stage's terminal: that session must not receive SIGINT twice.
    pub fn interrupted_by_key(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }

    /// The process group that commands join.
    pub fn group(&self) -> i32 {
        self.child.id() as i32
    }

    /// Kills every command of the run, and the watchdog with them.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends a signal to every command of the run.
    pub fn signal(&self, signal: Signal) {
        if signal != Signal::INT || !self.interrupted.load(Ordering::SeqCst) {
            self.registry().sessions.iter().for_each(|session| signal_session(*session, signal));
        }
        if let Some(group) = Pid::from_raw(self.group()) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Watchdog {
    /// After an interrupted run: background processes of its commands are ended as well, because a shell lets
    /// background commands ignore SIGINT. The watchdog ends them as if the run had been killed.
    pub fn hang_up(&self) {
        self.registry().line = None;
    }
}

impl Drop for Watchdog {
    /// The run has ended: the watchdog exits and leaves background processes running.
    fn drop(&mut self) {
        let mut registry = self.registry();
        registry.send("q\n");
        registry.line = None;
        registry.free.drain(..).for_each(|mut leader| drop(leader.wait()));
        drop(registry);
        let _ = self.child.wait();
    }
}

/// The process group of a stage. Stages that run side by side have one group each, so that `kill 0` in one does not end
/// the others.
///
/// The group must exist, and the watchdog must know it, before a command joins it: a command that starts just when
/// lockstep is killed must not escape. The group's leader is therefore a process that exits immediately and is not
/// reaped: as a zombie it keeps the system from reusing the number of the group. A free group is reused by the next
/// stage.
pub struct Group {
    watchdog: Arc<Watchdog>,
    /// `None` for the watchdog's own group.
    leader: Option<Child>,
}

impl Group {
    /// Returns a group for one stage: the watchdog's own if the stage runs alone.
    pub fn acquire(watchdog: &Arc<Watchdog>, alone: bool) -> Group {
        let free = || watchdog.registry().free.pop();
        let leader = if alone { None } else { free().or_else(|| Group::lead(watchdog)) };
        Group { watchdog: watchdog.clone(), leader }
    }

    fn lead(watchdog: &Watchdog) -> Option<Child> {
        use std::os::unix::process::CommandExt;
        let mut shell = Command::new("sh");
        shell.args(["-c", ":"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let leader = shell.current_dir("/").spawn().ok()?;
        watchdog.register_session(leader.id() as i32);
        Some(leader)
    }

    /// The number of the process group.
    pub fn id(&self) -> i32 {
        self.leader.as_ref().map_or(self.watchdog.group(), |leader| leader.id() as i32)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.watchdog.registry().free.extend(self.leader.take());
    }
}

/// The main function of the watchdog process: returns when the run says good-bye, or when the group has ended.
pub fn serve(lock: &Path) -> std::io::Result<()> {
    // Signals to the group are not meant for the watchdog.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal, seen)?;
    }
    let held = File::options().create(true).write(true).truncate(false).open(lock)?;
    held.lock()?;
    // The answer that `start` waits for; it is not shown to the user.
    rustix::io::write(rustix::stdio::stdout(), b"r")?;
    let mut sessions = BTreeSet::new();
    for word in std::io::stdin().lock().lines() {
        let Ok(word) = word else { break };
        let session = || word.get(2..).and_then(|n| n.parse::<i32>().ok()).filter(|n| *n > 1);
        match word.chars().next() {
            Some('q') => return Ok(()),
            Some('+') => sessions.extend(session()),
            Some('-') => drop(session().map(|n| sessions.remove(&n))),
            _ => {}
        }
    }
    let group = rustix::process::getpgrp();
    let signal_all = |signal| {
        sessions.iter().for_each(|session| signal_session(*session, signal));
        // SIGKILL ends the watchdog too, and that releases the lock; no process of the group survives it.
        let _ = kill_process_group(group, signal);
    };
    signal_all(Signal::TERM);
    let is_told = |p: &Process| sessions.contains(&p.session) || sessions.contains(&p.group);
    let ours = |p: &Process| p.group == group.as_raw_nonzero().get() || is_told(p);
    let has_members = || processes().is_none_or(|all| all.iter().any(ours));
    let started = Instant::now();
    while has_members() && started.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(10));
    }
    if has_members() {
        signal_all(Signal::KILL);
    }
    Ok(())
}

/// Signals every process group of a session, or only the leader's group if the system does not list processes.
fn signal_session(session: i32, signal: Signal) {
    let all = processes().unwrap_or_default();
    let mut groups: BTreeSet<i32> = all.iter().filter(|p| p.session == session).map(|p| p.group).collect();
    groups.insert(session);
    for group in groups {
        if let Some(group) = Pid::from_raw(group) {
            let _ = kill_process_group(group, signal);
        }
    }
}

struct Process {
    group: i32,
    session: i32,
}

/// All other live processes, if the system lists them.
fn processes() -> Option<Vec<Process>> {
    let mut found = Vec::new();
    let me = std::process::id();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if pid == me {
            continue;
        }
        if let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) {
            found.extend(read_stat(&stat));
        }
    }
    Some(found)
}

/// Parses `pid (name) state ppid pgrp session …`. The name may contain any character, so fields are read after the last
/// parenthesis. `None` for a dead process.
fn read_stat(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().take(4).collect();
    let [state, _, group, session] = fields[..] else { return None };
    (state != "Z").then_some(Process { group: group.parse().ok()?, session: session.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        for (stat, want) in [
            ("12 (sh) S 1 12 11 0", Some((12, 11))),
            ("12 (a) S 1) R 2 3 4 5", Some((3, 4))),
            ("12 (sh) Z 1 12 11 0", None),
            ("12 (sh) S 1", None),
            ("", None),
        ] {
            assert_eq!(read_stat(stat).map(|p| (p.group, p.session)), want, "{stat}");
        }
    }
}
