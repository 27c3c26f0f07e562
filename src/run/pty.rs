//! A stage on a pseudo-terminal, so that tqdm, colours and pdb work: what the user types goes to it, what it writes is
//! shown as it comes and teed to its log.
//!
//! ```text
//! keys → the user's terminal, raw → master ⇄ slave = standard input, output and errors of the command
//! ```
//!
//! The command leads a session of its own whose controlling terminal is the slave: only so does Ctrl-C become a signal
//! to the stage. It is therefore outside of the watchdog's process group, and the watchdog is told of it.

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

/// How the user's terminal was before a stage got it. Not a field of [`Terminal`], since whoever ends the program at once
/// has to put it back too.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Puts the user's terminal back to what it was before a stage got it; nothing to do if none has it.
pub fn restore_terminal() {
    let mut before = BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(before) = before.take() {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &before);
    }
}

/// What a stage needs to own the terminal.
#[derive(Clone)]
pub struct Owner<'a> {
    pub watchdog: Arc<Watchdog>,
    /// Where a typed Ctrl-C is noted, as any other signal is.
    pub signal: &'a AtomicI32,
}

/// The user's terminal, raw until this is dropped.
pub struct Terminal {
    before: Termios,
    /// The window has another size now.
    resized: Arc<AtomicBool>,
    listening: Option<signal_hook::SigId>,
}

impl Terminal {
    /// `None` where standard input is no terminal or we are in the background, where touching it would stop us.
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

/// A command that runs on a pseudo-terminal, and our end of it.
pub struct Running {
    pub child: Child,
    master: File,
}

/// Starts a command on a pseudo-terminal that is like the user's.
pub fn spawn(mut command: Command, terminal: &Terminal) -> std::io::Result<Running> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // Not among the flags of openpt everywhere; a child that held the master would keep the slave from ending.
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
    // `command` holds the slave: as long as it lives the master would never be told that all others closed it.
    drop(command);
    // A stage that does not read must not keep us from showing what it writes.
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(Running { child, master: File::from(master) })
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

/// When there is time for something else than the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An item was started.
    Started,
    /// It has run for a while: every [`TICK`].
    Later,
}

/// Passes keys and output on until the command is over and all it wrote is read.
pub fn follow(
    running: &mut Running,
    terminal: &Terminal,
    owner: &Owner,
    heard: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    tick: &mut dyn FnMut(Moment),
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
            // Keys that the stage does not read stay in the terminal.
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
                // Linux says EIO when nobody holds the slave any more.
                Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
                Err(e) => return Err(e),
            }
        } else if over {
            break;
        } else {
            over = running.child.try_wait()?.is_some();
        }
        if ticked.elapsed() >= TICK {
            tick(Moment::Later);
            ticked = Instant::now();
        }
    }
    Ok(())
}

/// Does the stage's terminal turn one of these keys into SIGINT? An editor, say, has Ctrl-C for itself.
fn interrupts(keys: &[u8], master: BorrowedFd) -> bool {
    let Ok(modes) = tcgetattr(master) else { return false };
    let interrupt = modes.special_codes[SpecialCodeIndex::VINTR];
    modes.local_modes.contains(LocalModes::ISIG) && interrupt != 0 && keys.contains(&interrupt)
}

/// The kernel signals the stage; the run has to end as well. A second time the user means it, and a real signal to
/// ourselves goes the way of all second signals.
fn note_interrupt(owner: &Owner) {
    owner.watchdog.interrupted_by_key();
    let number = Signal::INT.as_raw();
    if owner.signal.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        let _ = kill_process(getpid(), Signal::INT);
    }
}

/// Turns the line ends of a terminal (`\r\n`) into those of a file, for the log.
#[derive(Default)]
pub struct PlainLines {
    /// The last byte was a `\r`, which is kept back until it is known what follows.
    held: bool,
}

impl PlainLines {
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
