//! Commands that go on while a test looks at them, and what they leave behind.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::{Output, Sandbox};

/// Nothing that a test waits for takes this long, however busy the machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A lockstep that was started and not waited for. Killed when it is dropped.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Sandbox {
    /// Starts lockstep in the root; what it prints goes to files, so that it never waits for a reader.
    pub fn start(&self, args: &[&str]) -> Running {
        let number = (0..).find(|n| !self.beside(&format!("stdout-{n}")).exists()).unwrap();
        let (stdout, stderr) = (self.beside(&format!("stdout-{number}")), self.beside(&format!("stderr-{number}")));
        let child = self
            .lockstep("")
            .args(args)
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running { child, stdout, stderr }
    }

    /// A place outside of the repository that stages reach as `$CONF_LOG.NAME`.
    pub fn beside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}.{name}", self.log().display()))
    }

    /// Waits until a stage did `touch $CONF_LOG.NAME`, and forgets it.
    pub fn await_sign(&self, name: &str) {
        until(&format!("a stage gives the sign {name}"), || fs::remove_file(self.beside(name)).is_ok());
    }

    /// Lets stages pass that wait for `$CONF_LOG.NAME` (see [`wait_for`]).
    pub fn give_sign(&self, name: &str) {
        fs::write(self.beside(name), "").unwrap();
    }

    /// Who is alive and was started, at whatever remove, from this sandbox: process id and command line. Always empty
    /// where the system has no `/proc`.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mark = format!("CONF_LOG={}\0", self.log().display()).into_bytes();
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            if environment.windows(mark.len()).any(|w| w == mark) {
                let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
            }
        }
        found
    }

    /// Nobody is left, at the latest after the time that the watchdog gives to commands.
    pub fn await_nobody(&self) {
        let mut left = Vec::new();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            left = self.processes();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still alive: {left:?}");
    }
}

impl Running {
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for words on standard error.
    pub fn await_words(&self, words: &str) {
        let started = Instant::now();
        while !self.stderr().contains(words) {
            assert!(started.elapsed() < LIMIT, "never said `{words}`:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end.
    pub fn end(mut self) -> Output {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < LIMIT, "it does not end:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        };
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap();
        Output { code, stdout: fs::read_to_string(&self.stdout).unwrap(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shell words that tell a test `NAME.here` and wait until it gives the sign `NAME`.
pub fn wait_for(name: &str) -> String {
    format!("touch $CONF_LOG.{name}.here; while [ ! -e $CONF_LOG.{name} ]; do sleep 0.02; done")
}

/// Looks again and again.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "waited for this in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
