//! Settings: merged from several files and the caller's own, each value with its origin.
//!
//! From the weakest to the strongest: built-in defaults, the user's `~/.config/lockstep/config.toml`, `lockstep.toml`
//! at the project root, the clone's local `config.toml`, and what the caller passes (environment, flags). A key that
//! does not exist is refused with its place, so that a typing mistake is never silently without effect.

mod file;
mod keys;

use std::fmt;
use std::path::{Path, PathBuf};

pub use file::{set, unset};
pub use keys::{help, is_secret};

use crate::error::{Error, Kind, Result};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Int(i64),
    Bool(bool),
    Str(String),
    List(Vec<String>),
}

/// As one types it: `4`, `bash`, `reflink,copy`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Int(n) => write!(f, "{n}"),
            Setting::Bool(b) => write!(f, "{b}"),
            Setting::Str(s) => f.write_str(s),
            Setting::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// What the caller passed, as it calls it: `--jobs`, `LOCKSTEP_JOBS`.
    Given(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Given(name) => f.write_str(name),
        }
    }
}

/// Where settings are looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// From the weakest to the strongest; those that do not exist are passed over.
    pub files: Vec<PathBuf>,
    /// From the weakest to the strongest.
    pub given: Vec<Given>,
}

/// A setting that the caller passes.
#[derive(Clone, Debug)]
pub struct Given {
    pub key: String,
    /// As one types it.
    pub value: String,
    /// How the caller calls it: `--jobs`, `LOCKSTEP_JOBS`.
    pub name: String,
}

/// A remote, merged from its `[remote.NAME]` tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    pub url: String,
    /// Its other keys, by name.
    pub options: Vec<(String, Setting)>,
}

#[derive(Clone, Debug, Default)]
pub struct Config {
    /// By key; each key once.
    values: Vec<(String, Setting, Origin)>,
}

impl Config {
    /// Errors ([`Kind::Usage`]): a file that is not TOML, an unknown key, a value of the wrong kind, each with file,
    /// line and column.
    pub fn load(sources: &Sources) -> Result<Config> {
        let mut config = Config::default();
        for (key, value) in keys::defaults() {
            config.put(key, value, Origin::Default);
        }
        for path in &sources.files {
            for (key, value) in file::read(path)? {
                config.put(&key, value, Origin::File(path.clone()));
            }
        }
        sources.given.iter().try_for_each(|given| config.give(given))?;
        Ok(config)
    }

    /// Puts the settings of a file over what is there whose text does not lie on this disk.
    pub fn put_text(&mut self, file: &Path, text: &str) -> Result<()> {
        for (key, value) in file::entries(file, text)? {
            self.put(&key, value, Origin::File(file.to_path_buf()));
        }
        Ok(())
    }

    /// Puts what the caller passes over what is there.
    pub fn give(&mut self, given: &Given) -> Result<()> {
        let value = keys::parse(&given.key, &given.value);
        let value = value.map_err(|e| Error::usage(format!("{}: {e}", given.name)))?;
        self.put(&given.key, value, Origin::Given(given.name.clone()));
        Ok(())
    }

    fn put(&mut self, key: &str, value: Setting, origin: Origin) {
        match self.values.binary_search_by(|(k, ..)| k.as_str().cmp(key)) {
            Ok(at) => (self.values[at].1, self.values[at].2) = (value, origin),
            Err(at) => self.values.insert(at, (key.to_string(), value, origin)),
        }
    }

    /// The value of a key, with its origin; `None` if it has none. Errors: there is no such key.
    pub fn get(&self, key: &str) -> Result<Option<(&Setting, &Origin)>> {
        keys::takes(key).map_err(Error::usage)?;
        Ok(self.look_up(key))
    }

    /// All values that are set or have a default, by key.
    pub fn list(&self) -> &[(String, Setting, Origin)] {
        &self.values
    }

    /// `jobs`: how many stages may run at once; 0 is one a core.
    pub fn jobs(&self) -> usize {
        match self.look_up("jobs") {
            Some((Setting::Int(n), _)) => usize::try_from(*n).unwrap_or(usize::MAX),
            _ => 1,
        }
    }

    pub fn shell(&self) -> &str {
        self.text("shell").unwrap_or("sh")
    }

    /// `cache.dir`: the store's folder, if it is not the usual one. A relative path counts from the project root,
    /// whichever file says it; `~/` is the folder `home`.
    pub fn cache_dir(&self, project_root: &Path, home: Option<&Path>) -> Option<PathBuf> {
        let dir = self.text("cache.dir")?;
        match (dir.strip_prefix("~/"), home) {
            (Some(below), Some(home)) => Some(home.join(below)),
            _ => Some(project_root.join(dir)),
        }
    }

    /// `cache.links`: how files get from the store into the workspace, in the order to try: `reflink`, `hardlink`,
    /// `copy`.
    pub fn cache_links(&self) -> Vec<&str> {
        match self.look_up("cache.links") {
            Some((Setting::List(words), _)) => words.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `cache.mode`: who may read and write what, as `--cache` takes it.
    pub fn cache_mode(&self) -> Option<&str> {
        self.text("cache.mode")
    }

    /// `cache.sign`: how entries of the run cache are signed.
    pub fn cache_sign(&self) -> Option<&str> {
        self.text("cache.sign")
    }

    /// `cache.trust`: whose entries count, as patterns over `user@host`; `None` for everybody's.
    pub fn cache_trust(&self) -> Option<&[String]> {
        self.texts("cache.trust")
    }

    /// `cache.verify_keys`: public keys of those who sign.
    pub fn cache_verify_keys(&self) -> &[String] {
        self.texts("cache.verify_keys").unwrap_or_default()
    }

    /// `pass_env`: credentials that stages see if they ask for them. The user grants them, never a file of the repository.
    pub fn pass_env(&self) -> &[String] {
        let of_repository = |origin: &Origin| matches!(origin, Origin::File(path) if path.ends_with("lockstep.toml"));
        match self.look_up("pass_env") {
            Some((Setting::List(names), origin)) if !of_repository(origin) => names,
            _ => &[],
        }
    }

    /// `core.remote`: the remote that counts where none is named.
    pub fn default_remote(&self) -> Option<&str> {
        self.text("core.remote")
    }

    /// The names of all remotes, sorted.
    pub fn remotes(&self) -> Vec<&str> {
        let urls = self.values.iter().filter_map(|(key, ..)| key.strip_prefix("remote.")?.strip_suffix(".url"));
        urls.collect()
    }

    /// The remote `name`. Errors ([`Kind::Missing`]): no file gives it a `url`.
    pub fn remote(&self, name: &str) -> Result<Remote> {
        let prefix = format!("remote.{name}.");
        let Some(url) = self.text(&format!("{prefix}url")) else {
            return Err(Error::new(Kind::Missing, format!("there is no remote `{name}`"))
                .hint(format!("lockstep remote add {name} URL")));
        };
        let options = self.values.iter().filter_map(|(key, value, _)| {
            let option = key.strip_prefix(&prefix).filter(|option| *option != "url")?;
            Some((option.to_string(), value.clone()))
        });
        Ok(Remote { url: url.to_string(), options: options.collect() })
    }

    fn look_up(&self, key: &str) -> Option<(&Setting, &Origin)> {
        let at = self.values.binary_search_by(|(k, ..)| k.as_str().cmp(key)).ok()?;
        Some((&self.values[at].1, &self.values[at].2))
    }

    fn texts(&self, key: &str) -> Option<&[String]> {
        match self.look_up(key) {
            Some((Setting::List(items), _)) => Some(items),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.look_up(key) {
            Some((Setting::Str(text), _)) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_strongest_source_wins_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [user, project, local] = ["user.toml", "lockstep.toml", "local.toml"].map(|n| dir.path().join(n));
        fs::write(&user, "jobs = 2\nshell = \"bash\"\n[cache]\nlinks = [\"hardlink\", \"copy\"]\n").unwrap();
        fs::write(&project, "jobs = 3\n[remote.lab]\nurl = \"s3://b/x\"\n[remote.\"a.b\"]\nurl = \"/mnt\"\n").unwrap();
        fs::write(&local, "[remote.lab]\ntoken = \"t\"\nretries = 3\n[cache]\ndir = \"../store\"\n").unwrap();
        let given =
            |key: &str, value: &str, name: &str| Given { key: key.into(), value: value.into(), name: name.into() };
        let sources = Sources {
            files: vec![user.clone(), project.clone(), dir.path().join("none.toml"), local],
            given: vec![given("jobs", "4", "LOCKSTEP_JOBS"), given("jobs", "0", "--jobs")],
        };
        let config = Config::load(&sources).unwrap();
        assert_eq!((config.jobs(), config.shell(), config.cache_links()), (0, "bash", vec!["hardlink", "copy"]));
        assert_eq!(config.get("jobs").unwrap().unwrap().1.to_string(), "--jobs");
        assert_eq!(config.get("shell").unwrap().unwrap().1, &Origin::File(user));
        assert_eq!(config.cache_dir(Path::new("/p"), None).unwrap(), Path::new("/p/../store"));
        assert_eq!(config.remotes(), ["a.b", "lab"]);
        let lab = config.remote("lab").unwrap();
        assert_eq!(lab.url, "s3://b/x");
        let token = ("token".into(), Setting::Str("t".into()));
        assert_eq!(lab.options, [("retries".into(), Setting::Int(3)), token]);
        assert_eq!(config.remote("gone").unwrap_err().kind, Kind::Missing);
        assert_eq!(config.get("job").unwrap_err().message, "unknown setting `job` — did you mean `jobs`?");
        assert!(config.get("core.remote").unwrap().is_none());
    }

    #[test]
    fn defaults() {
        let config = Config::load(&Sources::default()).unwrap();
        let list: Vec<_> = config.list().iter().map(|(key, value, origin)| format!("{key}={value} {origin}")).collect();
        assert_eq!(list, ["cache.links=reflink,copy default", "jobs=1 default", "shell=sh default"]);
        assert_eq!((config.jobs(), config.shell(), config.cache_links()), (1, "sh", vec!["reflink", "copy"]));
        assert_eq!(config.cache_dir(Path::new("/p"), None), None);
    }

    #[test]
    fn what_the_caller_passes_is_checked_under_its_name() {
        let given = Given { key: "jobs".into(), value: "many".into(), name: "LOCKSTEP_JOBS".into() };
        let e = Config::load(&Sources { files: Vec::new(), given: vec![given] }).unwrap_err();
        assert_eq!(e.message, "LOCKSTEP_JOBS: `jobs` takes a number from 0, not `many`");
    }

    #[test]
    fn home_is_the_callers() {
        let given = Given { key: "cache.dir".into(), value: "~/store".into(), name: "--cache-dir".into() };
        let config = Config::load(&Sources { files: Vec::new(), given: vec![given] }).unwrap();
        assert_eq!(config.cache_dir(Path::new("/p"), Some(Path::new("/home/u"))).unwrap(), Path::new("/home/u/store"));
    }
}
