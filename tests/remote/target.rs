//! A remote to run the suite on: a folder, or a real server that `.ci/servers up DIR` started.
//!
//! `LOCKSTEP_TEST_REMOTES=DIR/remotes.json` says which servers are there; the head of `.ci/servers` describes the file.
//! Tests of a server that is not listed fail: they are ignored unless somebody asks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// A place of its own at the remote of that name, empty.
    pub fn named(name: &str) -> Target {
        let target = if name == "folder" { folder() } else { server(name) };
        target.within(&fresh())
    }

    /// A server that only this test knows, and may kill.
    pub fn alone(name: &str) -> Target {
        let scratch = Scratch { dir: tempfile::Builder::new().prefix("lockstep-").tempdir().unwrap(), servers: true };
        servers(&["up", scratch.dir.path().to_str().unwrap(), name]);
        let mut target = read(&scratch.dir.path().join("remotes.json")).remove(name).unwrap();
        target.scratch = Some(Arc::new(scratch));
        target.settle();
        target
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

    /// A proxy in front of it, and the remote as seen through it.
    pub fn proxied(&self, weather: Weather) -> (Proxy, Target) {
        assert!(self.http, "no proxy can read the requests of {}", self.name);
        let proxy = Proxy::http(self.port, weather);
        let target = self.behind(&proxy);
        (proxy, target)
    }

    /// As with wrong credentials.
    pub fn refusing(&self) -> Target {
        let wrong = self.wrong.as_ref().unwrap_or_else(|| panic!("{} lets everybody in", self.name));
        let mut target = self.clone();
        target.options.extend(wrong.options.clone());
        target.env.extend(wrong.env.clone());
        target
    }

    /// Makes it the default remote of a repository, in its local settings.
    pub fn add_to(&self, sandbox: &Sandbox) {
        if self.name == "folder" {
            // A push makes the last folder alone.
            std::fs::create_dir_all(Path::new(&self.url).parent().unwrap()).unwrap();
        }
        let out = sandbox.run(&["remote", "add", "--local", "--force", "-d", "store", &self.url]);
        assert_eq!(out.code, 0, "{out}");
        for (option, value) in &self.options {
            let out = sandbox.run(&["remote", "modify", "--local", "store", option, value]);
            assert_eq!(out.code, 0, "{option}: {out}");
        }
    }

    /// Its files, sorted by name, reached behind its back.
    pub fn files(&self) -> Vec<PathBuf> {
        let data = self.data.as_ref().unwrap_or_else(|| panic!("the files of {} have other names", self.name));
        let walk = walkdir::WalkDir::new(data).sort_by_file_name().into_iter();
        walk.map(|e| e.unwrap()).filter(|e| e.file_type().is_file()).map(|e| e.into_path()).collect()
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

fn server(name: &str) -> Target {
    let list = std::env::var_os("LOCKSTEP_TEST_REMOTES");
    let list = list.expect("LOCKSTEP_TEST_REMOTES names the list of servers that `.ci/servers up DIR` wrote");
    read(Path::new(&list)).remove(name).unwrap_or_else(|| panic!("{list:?} has no server {name}"))
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
