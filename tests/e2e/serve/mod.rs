//! `lockstep serve`, asked over real sockets. What runs a model needs the library ONNX Runtime: `LOCKSTEP_ONNXRUNTIME` names it,
//! and `.ci/run` fetches it.

mod client;
mod drain;
mod limits;
mod mutated;
mod protocol;
mod refused;
mod switch;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sha2::Digest;

use crate::sandbox::Sandbox;
use client::Connection;

/// A small model of `fixtures/serve`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/serve").join(name)
}

/// The library.
fn onnxruntime() -> String {
    std::env::var("LOCKSTEP_ONNXRUNTIME").expect("LOCKSTEP_ONNXRUNTIME names the library, or its folder")
}

/// A server that was started; killed when it is dropped.
struct Server {
    child: Child,
    address: String,
    events: PathBuf,
}

impl Server {
    /// Starts a server on a free port and waits until it is ready.
    fn start(sandbox: &Sandbox, args: &[&str]) -> Server {
        let mut command = sandbox.lockstep("");
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        Server::spawn(sandbox, command)
    }

    fn spawn(sandbox: &Sandbox, mut command: Command) -> Server {
        let number = (0..).find(|n| !sandbox.beside(&format!("events-{n}")).exists()).unwrap();
        let events = sandbox.beside(&format!("events-{number}"));
        command.args(["--json", "--onnxruntime", &onnxruntime()]).stdout(fs::File::create(&events).unwrap());
        command.stderr(Stdio::inherit());
        let mut server = Server { child: command.spawn().unwrap(), address: String::new(), events };
        server.await_event("ready");
        let listening = server.await_event("listening");
        server.address = listening["addresses"][0].as_str().unwrap().to_string();
        server
    }

    /// The first event of a kind.
    fn await_event(&mut self, kind: &str) -> Json {
        let mut found = None;
        until(&format!("the event {kind}"), || {
            found = self.events().into_iter().find(|event| event["event"] == kind);
            if let Some(status) = self.child.try_wait().unwrap().filter(|_| found.is_none()) {
                panic!("the server ended with {status}");
            }
            found.is_some()
        });
        found.unwrap()
    }

    fn events(&self) -> Vec<Json> {
        let text = fs::read_to_string(&self.events).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.address)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Resident memory, in kilobytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a release of one model file into `releases/NAME` of a deployment folder, as `lockstep deploy` does.
fn release(folder: &Path, name: &str, version: &str, model: &[u8]) {
    let release = folder.join("releases").join(name);
    fs::create_dir_all(&release).unwrap();
    fs::write(release.join("model.onnx"), model).unwrap();
    let sha256: String = sha2::Sha256::digest(model).iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = blake3::hash(model).to_hex().to_string();
    let manifest = json!({
        "lockstep": 1, "name": "digits", "version": version, "commit": "8b".repeat(20), "repository": "git.example.org/digits",
        "path": "models/model.onnx", "blake3": hash, "size": model.len(), "format": "onnx",
        "files": [{"path": "model.onnx", "blake3": hash, "sha256": sha256, "size": model.len(), "mode": "0444"}],
        "metrics": {"metrics.json": {"accuracy": 0.97, "<b>": "<script>alert(1)</script>"}},
    });
    fs::write(release.join("lockstep.json"), manifest.to_string()).unwrap();
}

/// Makes a release the current one, with one rename.
fn switch_to(folder: &Path, name: &str) {
    let link = folder.join(".current.new");
    symlink(Path::new("releases").join(name), &link).unwrap();
    fs::rename(link, folder.join("current")).unwrap();
}

/// A deployment folder with two versions that multiply by 1 and by 0.01; the first is current.
fn twins(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.path("deployed");
    release(&folder, "one", "v1.0.0", &fs::read(fixture("times-1.onnx")).unwrap());
    release(&folder, "two", "v2.0.0", &fs::read(fixture("times-001.onnx")).unwrap());
    switch_to(&folder, "one");
    folder
}

/// A request for a twin.
const TIMES: &str = r#"{"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}"#;
