//! Repositories of the Hugging Face Hub and files in Git LFS, against a hub on this machine: `tests/hub/hub.py`.

mod hostile;
mod imports;
mod lfs;
mod tokens;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use sha2::{Digest, Sha256};

use crate::sandbox::{Output, Sandbox};

const TOKEN: &str = "hf_Secret4567secret4567";

/// A running hub. It ends with this value.
struct Hub {
    sandbox: Sandbox,
    process: Child,
    ports: (u16, u16),
}

impl Hub {
    /// Starts a hub without repositories. `None`, said in the test's output, where its programs are missing.
    fn start() -> Option<Hub> {
        let sandbox = Sandbox::without_git();
        let is_here = |program: &str, args: &[&str]| {
            let out = sandbox.command(Path::new(program), "").args(args).output();
            out.is_ok_and(|out| out.status.success())
        };
        let backend = "test -x \"$(git --exec-path)/git-http-backend\"";
        if !is_here("python3", &["-c", ""]) || !is_here("sh", &["-c", backend]) {
            println!("left out: the tests of the hub need python3 and git http-backend");
            return None;
        }
        fs::create_dir_all(sandbox.path("objects")).unwrap();
        sandbox.write("token", TOKEN);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub/hub.py");
        let mut command = sandbox.command(Path::new("python3"), "");
        let mut process = command.arg(script).arg(".").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (hub, cdn) = line.trim().split_once(' ').unwrap();
        let ports = (hub.parse().unwrap(), cdn.parse().unwrap());
        Some(Hub { sandbox, process, ports })
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    /// Commits files to a repository, and pushes them. Files of LFS are `(path, content)`.
    fn commit(&self, name: &str, files: &[(&str, &str)], lfs: &[(&str, &[u8])]) -> String {
        let (bare, work) = (format!("repos/{name}.git"), format!("work/{name}"));
        let git = |folder: &str, args: &[&str]| {
            let out = crate::sandbox::output(self.sandbox.command(Path::new("git"), folder).args(args));
            assert_eq!(out.code, 0, "{args:?} {out}");
            out.stdout.trim().to_string()
        };
        if !self.sandbox.exists(&bare) {
            git("", &["init", "-q", "--bare", "-b", "main", &bare]);
            git(&bare, &["config", "uploadpack.allowFilter", "true"]);
            git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
            git("", &["init", "-q", "-b", "main", &work]);
            git(&work, &["remote", "add", "origin", self.sandbox.path(&bare).to_str().unwrap()]);
        }
        for (path, text) in files {
            self.sandbox.write(&format!("{work}/{path}"), text);
        }
        for (path, content) in lfs {
            self.sandbox.write(&format!("objects/{}", sha256(content)), content);
            self.sandbox.write(&format!("{work}/{path}"), pointer(content));
        }
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-qm", "x"]);
        git(&work, &["push", "-q", "origin", "main"]);
        git(&work, &["rev-parse", "HEAD"])
    }

    /// What the hub does wrong from now on; empty: nothing.
    fn set_fault(&self, fault: &str) {
        self.sandbox.write("fault", fault);
    }

    /// The requests since the last call, one a line: `hub GET /path AUTHORIZATION RANGE`.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.sandbox.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.sandbox.path("log"));
        log.lines().map(str::to_string).collect()
    }

    /// A repository whose user has this hub.
    fn user(&self) -> Sandbox {
        Sandbox::new().with([(&"HF_ENDPOINT".to_string(), &self.endpoint())])
    }

    /// The same, logged in with a token.
    fn user_with(&self, token: &str) -> Sandbox {
        self.user().with([(&"HF_TOKEN".to_string(), &token.to_string())])
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sha256(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

fn pointer(content: &[u8]) -> String {
    let oid = sha256(content);
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", content.len())
}

/// Bytes that do not compress, different for each seed.
fn weights(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn bytes(sandbox: &Sandbox, path: &str) -> Vec<u8> {
    fs::read(sandbox.path(path)).unwrap()
}

fn ok(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// The files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}
