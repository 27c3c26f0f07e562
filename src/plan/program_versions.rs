//! Queries the versions of programs that are known to print it for `--version` without any other effect.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::project::Project;
use crate::secret::{is_secret, is_withheld};

/// A program that prints no version within this time has none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the program is known to print its version and do nothing else when called with `--version`.
fn tells_version(name: &str) -> bool {
    const KNOWN: [&str; 25] = [
        "R",
        "Rscript",
        "bash",
        "cargo",
        "clang",
        "cmake",
        "conda",
        "deno",
        "dvc",
        "g++",
        "gcc",
        "git",
        "java",
        "julia",
        "make",
        "micromamba",
        "node",
        "nvcc",
        "perl",
        "pixi",
        "poetry",
        "ruby",
        "rustc",
        "sh",
        "uv",
    ];
    let name = name.rsplit('/').next().unwrap_or(name);
    let interpreter = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    KNOWN.contains(&name) || interpreter == "python" || interpreter == "pypy"
}

/// The first line that a program prints for `--version`, if it is a known program.
pub fn ask_version(name: &str, path: &Path, project: &Project) -> Option<String> {
    if !tells_version(name) {
        return None;
    }
    let is_shown = |name: &str| !is_secret(name) && !is_withheld(name);
    let (mut reader, writer) = std::io::pipe().ok()?;
    let mut command = Command::new(path);
    command.arg("--version").current_dir("/").env_clear().stdin(Stdio::null());
    command.envs(project.around.env.iter().filter(|(name, _)| is_shown(name)));
    let mut child = command.stdout(writer.try_clone().ok()?).stderr(writer).spawn().ok()?;
    drop(command);
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    if !status?.success() {
        return None;
    }
    // A pipe holds more than a version. A process that the program left running may hold it open without writing.
    let is_ready = poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let mut bytes = [0; 4096];
    let read = if is_ready.ok()? > 0 { reader.read(&mut bytes).ok()? } else { 0 };
    let text = String::from_utf8_lossy(&bytes[..read]);
    let line: String = text.lines().find(|line| !line.trim().is_empty())?.trim().chars().take(100).collect();
    Some(line.strip_prefix("Python ").map_or(line.clone(), str::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_tell_their_version() {
        for name in ["python", "python3", "python3.12", "/opt/py/bin/python2.7", "pypy3", "Rscript", "julia"] {
            assert!(tells_version(name), "{name}");
        }
        for name in ["train.py", "python3-config", "torchrun", "./x", "3", ""] {
            assert!(!tells_version(name), "{name}");
        }
    }
}
