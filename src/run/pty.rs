//! Runs a stage on a pseudo-terminal, so that tqdm, colours and pdb work: keys go to the stage, and its output is shown
//! immediately and copied to its log.
//!
//! ```text
//! keys → the user's terminal, raw → master ⇄ slave = standard input, output and errors of the command
//! ```
//!
//! The command leads its own session, whose controlling terminal is the slave: otherwise Ctrl-C would not become a
//! signal to the stage. The session is outside of the watchdog's process group, so it is registered with the watchdog.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::run::watchdog::Watchdog;

/// The settings of the user's terminal before a stage got it. Not a field of [`Terminal`], because code that ends the
/// program immediately must restore them, too.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Restores the settings that the user's terminal had before a stage got it; does nothing if no stage has it.
pub fn restore_terminal() {
    let mut before = BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(before) = before.take() {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &before);
    }
}

/// What a stage needs to own the terminal.
#[derive(Clone)]
pub struct TerminalOwner<'a> {
    pub watchdog: Arc<Watchdog>,
    /// Set to the number of the signal when the user types Ctrl-C.
    pub signal: &'a AtomicI32,
}

/// The user's terminal, raw until this is dropped.
pub struct Terminal {
    before: Termios,
    /// Set when the size of the window changed.
    resized: Arc<AtomicBool>,
    listening: Option<signal_hook::SigId>,
}

impl Terminal {
    /// Sets the terminal to raw mode. `None` if standard input is not a terminal or this process is in the background,
    /// where changing the terminal would stop it.
    pub fn take() -> Option<Terminal> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin).ok()?;
        if tcgetpgrp(stdin).ok()? != getpgrp() {
            return None;
        }
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(before.clone());
        let resized = Arc::new(AtomicBool::new(false));
        let listening = signal_hook::flag::register(signal_hook::consts::SIGWINCH, resized.clone()).ok();
        let terminal = Terminal { before, resized, listening };
        tcsetattr(stdin, OptionalActions::Drain, &raw).ok()?;
        Some(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            signal_hook::low_level::unregister(listening);
        }
        restore_terminal();
    }
}

/// A command that runs on a pseudo-terminal, and the master side of that terminal.
pub struct PtyCommand {
    pub child: Child,
    master: File,
}

/// Starts a command on a pseudo-terminal with the settings of the user's terminal.
pub fn spawn(mut command: Command, terminal: &Terminal) -> std::io::Result<PtyCommand> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // openpt does not accept this flag on every system; a child that held the master would keep the slave open.
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    tcsetattr(&slave, OptionalActions::Now, &terminal.before)?;
    copy_size(master.as_fd());
    command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(Stdio::from(slave));
    lead_session(&mut command);
    let child = command.spawn()?;
    // `command` holds the slave: while it lives, the master never sees that all other holders closed it.
    drop(command);
    // A stage that does not read its input must not block its output.
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(PtyCommand { child, master: File::from(master) })
}

/// Makes the child lead a session whose controlling terminal is its standard input.
#[allow(unsafe_code)]
fn lead_session(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe functions may be called. `setsid` and `ioctl` are system
    // calls without memory or locks of their own, the closure captures nothing and allocates nothing, and file
    // descriptor 0 is open: it is the slave, put there before this hook runs.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
}

fn copy_size(master: BorrowedFd) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// How often the inputs are checked while a command runs.
pub const TICK: Duration = Duration::from_secs(3);

/// When a tick of a running job happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// An item was started.
    Started,
    /// Periodic, every [`TICK`] while the command runs.
    Periodic,
}

/// Passes keys and output through until the command has ended and all its output is read.
pub fn follow(
    running: &mut PtyCommand,
    terminal: &Terminal,
    owner: &TerminalOwner,
    heard: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    tick: &mut dyn FnMut(Tick),
) -> std::io::Result<()> {
    let stdin = rustix::stdio::stdin();
    let mut buffer = vec![0; 64 * 1024];
    let mut keys: Vec<u8> = Vec::new();
    let mut listening = true;
    let mut ticked = Instant::now();
    let mut over = false;
    loop {
        let wait = Timespec { tv_sec: 0, tv_nsec: if over { 0 } else { 100_000_000 } };
        let (output, typed) = {
            let wanted = if keys.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut fds = vec![PollFd::new(&running.master, wanted)];
            // Keys that the stage does not read stay in the user's terminal.
            if listening && keys.is_empty() {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            match poll(&mut fds, Some(&wait)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            let ready = |at: usize| fds.get(at).map_or(PollFlags::empty(), |fd: &PollFd| fd.revents());
            (ready(0), !ready(1).is_empty())
        };
        if terminal.resized.swap(false, Ordering::SeqCst) {
            copy_size(running.master.as_fd());
        }
        if typed {
            let mut some = [0; 1024];
            match rustix::io::read(stdin, &mut some) {
                Ok(0) => listening = false,
                Ok(n) => keys.extend_from_slice(&some[..n]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => listening = false,
            }
            if interrupts(&keys, running.master.as_fd()) {
                note_interrupt(owner);
            }
        }
        if !keys.is_empty() {
            match running.master.write(&keys) {
                Ok(n) => drop(keys.drain(..n)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                // The stage closed its terminal.
                Err(_) => keys.clear(),
            }
        }
        if output.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match running.master.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => heard(&buffer[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // Linux returns EIO when no process holds the slave.
                Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
                Err(e) => return Err(e),
            }
        } else if over {
            break;
        } else {
            over = running.child.try_wait()?.is_some();
        }
        if ticked.elapsed() >= TICK {
            tick(Tick::Periodic);
            ticked = Instant::now();
        }
    }
    Ok(())
}

/// Whether the stage's terminal turns one of these keys into SIGINT. An editor, for example, handles Ctrl-C itself.
fn interrupts(keys: &[u8], master: BorrowedFd) -> bool {
    let Ok(modes) = tcgetattr(master) else { return false };
    let interrupt = modes.special_codes[SpecialCodeIndex::VINTR];
    modes.local_modes.contains(LocalModes::ISIG) && interrupt != 0 && keys.contains(&interrupt)
}

/// The kernel signals the stage, but the run must end as well. A second Ctrl-C raises a real signal in this process, so
/// that it is handled like every second signal.
fn note_interrupt(owner: &TerminalOwner) {
    owner.watchdog.interrupted_by_key();
    let number = Signal::INT.as_raw();
    if owner.signal.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        let _ = kill_process(getpid(), Signal::INT);
    }
}

/// Turns the line ends of a terminal (`\r\n`) into those of a file, for the log.
#[derive(Default)]
pub struct PlainLines {
    /// The last byte was a `\r`, held back until the next byte is known.
    held: bool,
}

impl PlainLines {
    /// Converts the next bytes of the output.
    pub fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held) && *byte != b'\n' {
                plain.push(b'\r');
            }
            if *byte == b'\r' {
                self.held = true;
            } else {
                plain.push(*byte);
            }
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_a_terminal_become_those_of_a_file() {
        for (chunks, want) in [
            (vec!["a\r\nb\r\n"], "a\nb\n"),
            (vec!["a\r", "\nb"], "a\nb"),
            (vec!["10%\r20%\r", "30%\r\n"], "10%\r20%\r30%\n"),
            (vec!["a\r\r\nb"], "a\r\nb"),
            (vec!["a\nb"], "a\nb"),
        ] {
            let mut lines = PlainLines::default();
            let got: Vec<u8> = chunks.iter().flat_map(|c| lines.convert(c.as_bytes())).collect();
            assert_eq!(String::from_utf8(got).unwrap(), want, "{chunks:?}");
        }
    }
}
