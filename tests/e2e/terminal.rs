//! Stages in a terminal: the real program under a pseudo-terminal that the test holds.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

/// The program, and the terminal that it believes in.
pub struct Terminal {
    child: Child,
    master: File,
    /// So that the terminal stays when the program is gone.
    _slave: File,
    seen: String,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Terminal {
    #[allow(unsafe_code)]
    pub fn start(sandbox: &Sandbox, args: &[&str]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 31, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = sandbox.lockstep("");
        command.args(args).env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        // SAFETY: `setsid` and `ioctl` are async-signal-safe, and nothing is captured.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
            });
        }
        Terminal { child: command.spawn().unwrap(), master: File::from(master), _slave: slave, seen: String::new() }
    }

    pub fn key(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown a text.
    pub fn until(&mut self, text: &str) {
        let started = Instant::now();
        while !self.seen.contains(text) {
            assert!(started.elapsed() < PATIENCE, "no `{text}` in:\n{}", self.seen);
            self.read();
        }
    }

    fn read(&mut self) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&wait)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        let n = self.master.read(&mut buffer).unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        true
    }

    /// The exit code, and all that was to be seen.
    pub fn end(mut self) -> (i32, String) {
        let started = Instant::now();
        let status = loop {
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.seen);
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
        };
        while self.read() {}
        let modes = tcgetattr(&self.master).unwrap();
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(status.signal() == Some(9) || modes.local_modes.contains(cooked), "the terminal is still raw");
        assert!(status.signal() == Some(9) || modes.output_modes.contains(OutputModes::OPOST));
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap()), self.seen)
    }
}

/// With one stage.
fn sandbox(cmd: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let script = cmd.replace('\n', "\n      ").replace("${", "\\${");
    sandbox.write("pipeline.yaml", format!("stages:\n  ask:\n    cmd: |\n      {script}\n    outs: [out.txt]\n"));
    sandbox
}

fn log(sandbox: &Sandbox) -> String {
    sandbox.read(".git/lockstep/worktree/logs/ask/1/output")
}

#[test]
fn one_job_in_a_terminal_has_one_of_its_own() {
    let sandbox = sandbox("test -t 0\ntest -t 1\ntest -t 2\nstty size\nread x\necho \"hello $x\" | tee out.txt");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("31 97");
    terminal.key("Anna\r");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("hello Anna\r\n"), "{seen}");
    assert_eq!(log(&sandbox), "31 97\nAnna\nhello Anna\n");
    assert_eq!(sandbox.read("out.txt"), "hello Anna\n");
}

#[test]
fn several_jobs_json_and_quiet_have_none() {
    let sandbox = sandbox("test ! -t 0\ntest ! -t 1\nread x || echo nothing | tee out.txt");
    for args in [&["repro", "-f", "-j2"][..], &["repro", "-f", "--json"], &["repro", "-f", "-q"]] {
        let (code, seen) = Terminal::start(&sandbox, args).end();
        assert_eq!((code, seen.contains("nothing")), (0, !args.contains(&"-q")), "{args:?}: {seen}");
    }
}

#[test]
fn a_typed_interrupt_ends_the_stage_and_the_run() {
    let sandbox = sandbox("trap 'echo asked; exit 1' INT\necho new > out.txt\necho ready\nwhile sleep 0.1; do :; done");
    sandbox.write("out.txt", "good");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("\nready\r\n");
    terminal.key("\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, 130, "{seen}");
    // Once: the kernel signals the stage, and lockstep does not do so again.
    assert_eq!(seen.matches("asked\r\n").count(), 1, "{seen}");
    assert!(seen.contains("stopped ask: the last good out.txt is back"), "{seen}");
    assert_eq!(sandbox.read("out.txt"), "good");
}

#[test]
fn a_signal_to_the_run_reaches_the_stage() {
    let sandbox = sandbox("trap 'echo asked; exit 1' TERM\necho ready\nwhile :; do sleep 0.1; done");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("\nready\r\n");
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (code, seen) = terminal.end();
    assert_eq!((code, seen.matches("asked\r\n").count()), (143, 1), "{seen}");
}

#[test]
fn a_second_interrupt_kills() {
    let sandbox = sandbox("trap 'echo no' INT TERM HUP\necho ready\nwhile :; do sleep 0.1 || :; done");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("\nready\r\n");
    terminal.key("\x03");
    // What lockstep says of the key may come in between.
    terminal.until("no\r\n");
    let started = Instant::now();
    terminal.key("\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, 130, "{seen}");
    assert!(started.elapsed() < Duration::from_secs(8), "{seen}");
    assert!(seen.contains("interrupted: 1 stopped"), "{seen}");
}

#[test]
fn an_interrupt_key_is_a_key_for_whoever_wants_it() {
    let sandbox = sandbox("stty -isig -icanon -echo\necho ready\ndd bs=1 count=1 2>/dev/null | od -c | tee out.txt");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("\nready\r\n");
    terminal.key("\x03");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(sandbox.read("out.txt").contains("003"), "{seen}");
}

#[test]
fn a_stage_does_not_outlive_a_killed_run() {
    let sandbox = sandbox("trap '' HUP\necho ready\nwhile :; do echo x >> alive; sleep 0.1; done");
    let mut terminal = Terminal::start(&sandbox, &["repro"]);
    terminal.until("\nready\r\n");
    terminal.child.kill().unwrap();
    terminal.end();
    let started = Instant::now();
    let beats = || sandbox.path("alive").metadata().map_or(0, |m| m.len());
    loop {
        let before = beats();
        std::thread::sleep(Duration::from_millis(1000));
        if beats() == before {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the stage lives");
    }
}
