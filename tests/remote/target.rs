//! A remote to run the suite on: a folder, or a real server that `.ci/servers up DIR` started.
//!
//! `LOCKSTEP_TEST_REMOTES=DIR/remotes.json` says which servers are there; the head of `.ci/servers` describes the file.
//! Without it the suite runs on a folder, and says once a server what it left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde::Deserialize;

use crate::proxy::Proxy;
use crate::sandbox::{Sandbox, output};
use crate::weather::Weather;

/// A remote: what to type to have it, and what can be done to it behind its back.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    pub url: String,
    pub options: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    /// To lay over them, so that it refuses us.
    pub wrong: Option<Wrong>,
    /// A URL in a bucket that does not exist.
    pub missing: Option<String>,
    /// The folder where its files lie under their own names.
    pub data: Option<PathBuf>,
    /// Of a server that takes nothing: the one that was given what it serves.
    pub written_by: Option<String>,
    /// Seconds after which a kill of the server takes back nothing that it has confirmed.
    settles: u64,
    /// 0: it does not listen.
    pub port: u16,
    pub http: bool,
    /// Goes with the target.
    #[serde(skip)]
    scratch: Option<Arc<Scratch>>,
}

#[derive(Clone, Deserialize)]
pub struct Wrong {
    pub options: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
}

/// A folder, and the servers that live in it.
struct Scratch {
    dir: tempfile::TempDir,
    servers: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.servers {
            servers(&["down", self.dir.path().to_str().unwrap()]);
        }
    }
}

impl Target {
    /// A place of its own at the remote of that name, empty; `None`, with a printed reason, if it is not there.
    pub fn named(name: &str) -> Option<Target> {
        let target = if name == "folder" { Some(folder()) } else { server(name) };
        target.map(|target| target.within(&fresh()))
    }

    /// A server that only this test knows, and may kill.
    pub fn alone(name: &str) -> Option<Target> {
        server(name)?;
        let scratch = Scratch { dir: tempfile::Builder::new().prefix("lockstep-").tempdir().unwrap(), servers: true };
        servers(&["up", scratch.dir.path().to_str().unwrap(), name]);
        let mut target = read(&scratch.dir.path().join("remotes.json")).remove(name).unwrap();
        target.scratch = Some(Arc::new(scratch));
        target.settle();
        Some(target)
    }

    /// From now on a kill of the server takes back nothing that it has confirmed.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_secs(self.settles));
    }

    /// `kill -9` for a server that is [`Target::alone`].
    pub fn kill_server(&self) {
        servers(&["down", self.scratch.as_ref().unwrap().dir.path().to_str().unwrap(), &self.name]);
    }

    /// The same store at the same port again.
    pub fn restart_server(&self) {
        servers(&["up", self.scratch.as_ref().unwrap().dir.path().to_str().unwrap(), &self.name]);
    }

    /// A folder in it.
    pub fn within(mut self, folder: &str) -> Target {
        self.url = format!("{}/{folder}", self.url);
        self.data = self.data.map(|data| data.join(folder));
        self
    }

    /// The same by way of a proxy.
    pub fn behind(&self, proxy: &Proxy) -> Target {
        let (direct, bent) = (format!(":{}", self.port), format!(":{}", proxy.port()));
        let bend = |text: &String| text.replacen(&direct, &bent, 1);
        let mut target = self.clone();
        target.url = bend(&target.url);
        target.options.values_mut().for_each(|value| *value = bend(value));
        if target.name == "sftp" {
            target.options.insert("known_hosts_strategy".into(), "accept".into());
        }
        target
    }

    /// A proxy in front of it, and the remote as seen through it; `None`, with a printed reason, where there is none.
    pub fn proxied(&self, weather: Weather) -> Option<(Proxy, Target)> {
        if !self.http {
            skipped(&self.name, "its requests cannot be read along");
            return None;
        }
        let proxy = Proxy::http(self.port, weather);
        let target = self.behind(&proxy);
        Some((proxy, target))
    }

    /// As with wrong credentials; `None`, with a printed reason, where everybody is let in.
    pub fn refusing(&self) -> Option<Target> {
        let Some(wrong) = &self.wrong else {
            skipped(&self.name, "it lets everybody in");
            return None;
        };
        let mut target = self.clone();
        target.options.extend(wrong.options.clone());
        target.env.extend(wrong.env.clone());
        Some(target)
    }

    /// Makes it the default remote of a repository, in its local settings.
    pub fn add_to(&self, sandbox: &Sandbox) {
        let out = sandbox.run(&["remote", "add", "--local", "--force", "-d", "store", &self.url]);
        assert_eq!(out.code, 0, "{out}");
        for (option, value) in &self.options {
            let out = sandbox.run(&["remote", "modify", "--local", "store", option, value]);
            assert_eq!(out.code, 0, "{option}: {out}");
        }
    }

    /// Its files, sorted by name, where they can be reached behind its back.
    pub fn files(&self) -> Option<Vec<PathBuf>> {
        let Some(data) = &self.data else {
            skipped(&self.name, "its files are not kept under their names");
            return None;
        };
        let walk = walkdir::WalkDir::new(data).sort_by_file_name().into_iter();
        Some(walk.map(|e| e.unwrap()).filter(|e| e.file_type().is_file()).map(|e| e.into_path()).collect())
    }
}

/// Says so once a run of the tests, past the capture of what tests print.
pub fn skipped(name: &str, reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("skipped: {name}: {reason}");
    if SAID.lock().unwrap().insert(line.clone()) {
        let _ = writeln!(std::io::stderr(), "\n{line}"); // the name of a test may stand on this line
    }
}

fn folder() -> Target {
    let dir = tempfile::Builder::new().prefix("lockstep-").tempdir().unwrap();
    let path = dir.path().join("remote");
    Target {
        name: "folder".into(),
        url: path.to_str().unwrap().into(),
        options: BTreeMap::new(),
        env: BTreeMap::new(),
        wrong: None,
        missing: None,
        data: Some(path),
        written_by: None,
        settles: 0,
        port: 0,
        http: false,
        scratch: Some(Arc::new(Scratch { dir, servers: false })),
    }
}

fn server(name: &str) -> Option<Target> {
    static THERE: LazyLock<Option<BTreeMap<String, Target>>> =
        LazyLock::new(|| std::env::var_os("LOCKSTEP_TEST_REMOTES").map(|path| read(Path::new(&path))));
    match THERE.as_ref() {
        None => skipped(name, "no server (LOCKSTEP_TEST_REMOTES names none; `.ci/servers` has them)"),
        Some(there) if !there.contains_key(name) => skipped(name, "no server (LOCKSTEP_TEST_REMOTES does not list it)"),
        Some(there) => return there.get(name).cloned(),
    }
    None
}

fn read(list: &Path) -> BTreeMap<String, Target> {
    let text = std::fs::read_to_string(list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let targets: Vec<Target> = serde_json::from_str(&text).unwrap();
    targets.into_iter().map(|target| (target.name.clone(), target)).collect()
}

fn servers(args: &[&str]) {
    let out = output(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/servers")).args(args));
    assert_eq!(out.code, 0, "{args:?}: {out}");
}

/// A name that no other test has used, also not in an earlier run against the same server.
fn fresh() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("t{:x}-{}", since.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}
