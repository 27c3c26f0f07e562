//! Settings, merged from several files and the caller, each value with its origin.
//!
//! From the weakest to the strongest: built-in defaults, the user's `~/.config/lockstep/config.toml`, `lockstep.toml`
//! at the project root, the clone's local `config.toml`, and what the caller passes (environment, flags). An unknown
//! key is an error with its position, so that a typing mistake is never silently ignored.
//!
//! `lockstep.toml` comes with a clone and may have an untrusted author: `grade` defines what it may set.

mod file;
pub mod grade;
mod keys;
pub mod modes;
mod private;
pub mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use file::{change, set, unset};
pub use grade::{Grade, GradedValue, Rule, SettingNote, WorktreeArea};
pub use keys::{help, is_deploy_folder, is_remote_name, is_secret, is_shown, is_shown_option, secret_of_place};

use crate::error::{Error, Kind, Result};
use crate::path::home::expand;
use crate::shell::word;
use crate::url::Url;
use crate::url::form::AddressForm;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A text.
    Str(String),
    /// A list of texts.
    List(Vec<String>),
}

/// As typed: `4`, `bash`, `reflink,copy`.
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

/// The source of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A settings file.
    File(PathBuf),
    /// Passed by the caller, with the caller's name for it: `--jobs`, `LOCKSTEP_JOBS`.
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

/// The sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// From the weakest to the strongest; missing files are skipped.
    pub files: Vec<(PathBuf, Grade)>,
    /// From the weakest to the strongest.
    pub given: Vec<GivenSetting>,
    /// The area in which folders of the repository may be; without it the repository can name no folder.
    pub checkout: Option<WorktreeArea>,
}

impl Sources {
    /// One file alone, as seen by its user.
    pub fn file(path: PathBuf) -> Sources {
        Sources { files: vec![(path, Grade::User)], ..Sources::default() }
    }
}

/// A setting that the caller passes.
#[derive(Clone, Debug)]
pub struct GivenSetting {
    /// With the names of its tables: `cache.dir`.
    pub key: String,
    /// As typed.
    pub value: String,
    /// The caller's name for it: `--jobs`, `LOCKSTEP_JOBS`.
    pub name: String,
}

/// A remote, merged from its `[remote.NAME]` tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// From the strongest source.
    pub url: Url,
    /// Its other keys, by name, each from the strongest source.
    pub options: Vec<(String, Setting)>,
    /// The values of all sources, the weakest first.
    pub said: Vec<(String, GradedValue)>,
}

/// All settings, merged.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The effective value of each key.
    values: Vec<(String, Setting, Origin)>,
    /// All values, by key; from the weakest source to the strongest.
    said: BTreeMap<String, Vec<GradedValue>>,
    notes: BTreeMap<String, Vec<SettingNote>>,
    checkout: Option<WorktreeArea>,
    /// Files with secrets that other users may read.
    exposed: Vec<PathBuf>,
}

/// Errors (usage): the path of a folder in the settings is a URL, or would be interpreted differently by a shell or on
/// another system.
pub fn check_folder(path: &str) -> Result<()> {
    let wrong = |why: &str| Error::usage(format!("`{}` cannot be a folder: {why}", Url::from(path)));
    match Url::from(path).form() {
        Ok(AddressForm::Folder(folder)) if folder == path => Ok(()),
        Ok(AddressForm::Folder(folder)) => Err(wrong("it is a URL").hint(folder)),
        Ok(_) => Err(wrong("it is an address").hint("a folder of that name: ./…")),
        Err(slip) => Err(slip.hint.into_iter().fold(wrong(&slip.why), Error::hint)),
    }
}

impl Config {
    /// Reads and merges all sources. Errors ([`Kind::Usage`]): a file that is not TOML, an unknown key, a value of the
    /// wrong type, each with file, line and column.
    pub fn load(sources: &Sources) -> Result<Config> {
        let mut config = Config { checkout: sources.checkout.clone(), ..Config::default() };
        for (key, value) in keys::defaults() {
            config.put(key, value, Origin::Default, Grade::User);
        }
        for (path, grade) in &sources.files {
            let entries = file::read(path)?;
            if entries.iter().any(|(key, value)| private::holds_secret(key, value)) && private::is_exposed(path) {
                config.exposed.push(path.clone());
            }
            for (key, value) in entries {
                config.put(&key, value, Origin::File(path.clone()), *grade);
            }
        }
        sources.given.iter().try_for_each(|given| config.give(given))?;
        Ok(config)
    }

    /// Adds the settings of a file whose text is not on this disk, as the strongest source.
    pub fn put_text(&mut self, file: &Path, text: &str, grade: Grade) -> Result<()> {
        for (key, value) in file::entries(file, text)? {
            self.put(&key, value, Origin::File(file.to_path_buf()), grade);
        }
        Ok(())
    }

    /// Adds a setting of the caller, as the strongest source.
    pub fn give(&mut self, given: &GivenSetting) -> Result<()> {
        let value = keys::parse(&given.key, &given.value);
        let value = value.map_err(|e| Error::usage(format!("{}: {e}", given.name)))?;
        self.put(&given.key, value, Origin::Given(given.name.clone()), Grade::User);
        Ok(())
    }

    fn put(&mut self, key: &str, value: Setting, origin: Origin, grade: Grade) {
        let order = self.said.values().map(Vec::len).sum();
        let said = self.said.entry(key.to_string()).or_default();
        said.push(GradedValue { value, origin, grade, order });
        let (counts, notes) = grade::combine(key, keys::rule(key), said, self.checkout.as_ref());
        self.notes.insert(key.to_string(), notes);
        let Some(GradedValue { value, origin, .. }) = counts.cloned() else { return };
        match self.values.binary_search_by(|(k, ..)| k.as_str().cmp(key)) {
            Ok(at) => (self.values[at].1, self.values[at].2) = (value, origin),
            Err(at) => self.values.insert(at, (key.to_string(), value, origin)),
        }
    }

    /// The value of a key, with its origin; `None` if it has none. Errors: the key is unknown.
    pub fn get(&self, key: &str) -> Result<Option<(&Setting, &Origin)>> {
        keys::takes(key).map_err(Error::usage)?;
        Ok(self.look_up(key))
    }

    /// All values that are set or have a default, by key.
    pub fn list(&self) -> &[(String, Setting, Origin)] {
        &self.values
    }

    /// `jobs`: how many stages may run at once; 0 is one per core.
    pub fn jobs(&self) -> usize {
        match self.look_up("jobs") {
            Some((Setting::Int(n), _)) => usize::try_from(*n).unwrap_or(usize::MAX),
            _ => 1,
        }
    }

    /// Notes on values of the repository for this key that are not applied as written.
    pub fn notes(&self, key: &str) -> &[SettingNote] {
        self.notes.get(key).map_or(&[], Vec::as_slice)
    }

    /// The keys with such notes.
    pub fn noted(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter(|(_, notes)| !notes.is_empty()).map(|(key, _)| key.as_str())
    }

    /// The shell for which commands are written. A caller that runs it uses [`Config::shell_to_run`].
    pub fn shell(&self) -> &str {
        self.text("shell").unwrap_or("sh")
    }

    /// The shell to run commands with. Errors: the repository names a program, and the user has not confirmed it.
    pub fn shell_to_run(&self) -> Result<&str> {
        let shell = self.shell();
        let Rule::RunsOnly(known) = keys::rule("shell") else { return Ok(shell) };
        if known.contains(&shell) || self.grade("shell") == Some(Grade::User) {
            return Ok(shell);
        }
        Err(Error::usage(format!("lockstep.toml wants commands to be run by the program `{shell}`"))
            .because(format!("without your consent a repository can only choose {}", known.join(" or ")))
            .hint(format!("if you trust it: lockstep config --local shell {}", word(shell))))
    }

    /// `cache.dir`: the store's folder, if it is not the default. A relative path is relative to the project root,
    /// whichever file sets it; `~/` is the folder `home`. Errors: `home` is `None`.
    pub fn cache_dir(&self, project_root: &Path, home: Option<&Path>) -> Result<Option<PathBuf>> {
        let folder = |dir| check_folder(dir).and_then(|()| expand(dir, project_root, home));
        self.text("cache.dir")
            .map(folder)
            .transpose()
            .map_err(|e| e.because("it is the value of the setting cache.dir"))
    }

    /// `cache.links`: how files get from the store into the workspace, in the order to try: `reflink`, `hardlink`,
    /// `copy`.
    pub fn cache_links(&self) -> Vec<&str> {
        match self.look_up("cache.links") {
            Some((Setting::List(words), _)) => words.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `cache.mode`: which caches may be read and written, as `--cache` takes it.
    pub fn cache_mode(&self) -> Option<&str> {
        self.text("cache.mode")
    }

    /// `cache.sign`: how entries of the run cache are signed, and who sets it.
    pub fn cache_sign(&self) -> Option<(&str, Grade)> {
        Some((self.text("cache.sign")?, self.grade("cache.sign")?))
    }

    /// `cache.trust`: whose entries are accepted, as patterns over `user@host`. A writer must match each of these
    /// lists.
    pub fn cache_trust(&self) -> Vec<&[String]> {
        [Grade::User, Grade::Repository].into_iter().filter_map(|grade| self.texts_of("cache.trust", grade)).collect()
    }

    /// `cache.verify_keys`: public keys for verification, as the user or the repository names them.
    pub fn cache_verify_keys(&self, grade: Grade) -> Option<&[String]> {
        self.texts_of("cache.verify_keys", grade)
    }

    /// `pass_env`: credentials that stages see if they ask for them. Only the user grants them, never a file of the
    /// repository.
    pub fn pass_env(&self) -> &[String] {
        self.texts_of("pass_env", Grade::User).unwrap_or_default()
    }

    /// `core.remote`: the default remote.
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
            if !is_remote_name(name) {
                let url = Url::from(name);
                return Err(Error::usage(format!("`{url}` is not a valid name of a remote"))
                    .hint(format!("name that place: lockstep remote add NAME {}", word(&url.to_string()))));
            }
            return Err(Error::new(Kind::Missing, format!("there is no remote `{name}`"))
                .hint(format!("lockstep remote add {name} URL")));
        };
        let option = |key: &str| Some(key.strip_prefix(&prefix).filter(|option| *option != "url")?.to_string());
        let options = self.values.iter().filter_map(|(key, value, _)| Some((option(key)?, value.clone())));
        let said = self.said.iter().filter_map(|(key, said)| Some((option(key)?, said)));
        let mut said: Vec<(String, GradedValue)> =
            said.flat_map(|(option, said)| said.iter().map(move |one| (option.clone(), one.clone()))).collect();
        said.sort_by_key(|(_, said)| said.order);
        Ok(Remote { url: url.into(), options: options.collect(), said })
    }

    /// The values of one source for a remote: its URL, if it has one, and options.
    pub fn remote_by(&self, name: &str, origin: &Origin) -> (Option<Url>, Vec<(String, Setting)>) {
        let prefix = format!("remote.{name}.");
        let own = self.said.iter().filter_map(|(key, said)| {
            let option = key.strip_prefix(&prefix)?.to_string();
            Some((option, said.iter().rev().find(|said| said.origin == *origin)?.value.clone()))
        });
        let (url, options): (Vec<_>, Vec<_>) = own.partition(|(option, _)| option == "url");
        (url.last().map(|(_, url)| Url::from(url.to_string())), options)
    }

    /// Files with secrets that other users may read.
    pub fn exposed(&self) -> &[PathBuf] {
        &self.exposed
    }

    fn look_up(&self, key: &str) -> Option<(&Setting, &Origin)> {
        let at = self.values.binary_search_by(|(k, ..)| k.as_str().cmp(key)).ok()?;
        Some((&self.values[at].1, &self.values[at].2))
    }

    /// The source of the effective value.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.look_up(key).map(|(_, origin)| origin)
    }

    /// The grade of the effective value.
    pub fn grade(&self, key: &str) -> Option<Grade> {
        let (value, origin) = self.look_up(key)?;
        let is_it = |said: &&GradedValue| said.value == *value && said.origin == *origin;
        Some(self.said.get(key)?.iter().rev().find(is_it)?.grade)
    }

    /// The strongest list of this grade.
    fn texts_of(&self, key: &str, grade: Grade) -> Option<&[String]> {
        match &self.said.get(key)?.iter().rev().find(|said| said.grade == grade)?.value {
            Setting::List(items) => Some(items),
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
        let given = |key: &str, value: &str, name: &str| GivenSetting {
            key: key.into(),
            value: value.into(),
            name: name.into(),
        };
        let sources = Sources {
            files: [(user.clone(), Grade::User), (project.clone(), Grade::Repository)]
                .into_iter()
                .chain([(dir.path().join("none.toml"), Grade::User), (local, Grade::User)])
                .collect(),
            given: vec![given("jobs", "4", "LOCKSTEP_JOBS"), given("jobs", "0", "--jobs")],
            checkout: None,
        };
        let config = Config::load(&sources).unwrap();
        assert_eq!((config.jobs(), config.shell(), config.cache_links()), (0, "bash", vec!["hardlink", "copy"]));
        assert_eq!(config.get("jobs").unwrap().unwrap().1.to_string(), "--jobs");
        assert_eq!(config.get("shell").unwrap().unwrap().1, &Origin::File(user));
        assert_eq!(config.cache_dir(Path::new("/p"), None).unwrap().unwrap(), Path::new("/p/../store"));
        assert_eq!(config.remotes(), ["a.b", "lab"]);
        let lab = config.remote("lab").unwrap();
        assert_eq!(lab.url.raw(), "s3://b/x");
        let options: Vec<String> = lab.said.iter().map(|(name, said)| format!("{name}={}", said.value)).collect();
        assert_eq!((options.join(" ").as_str(), lab.options.len()), ("token=t retries=3", 2));
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
        assert_eq!(config.cache_dir(Path::new("/p"), None).unwrap(), None);
    }

    #[test]
    fn what_the_repository_may_not_say_never_counts_alone() {
        let user = "[cache]\nsign = 'ed25519'\ntrust = ['mine']\nverify_keys = ['mine']\n";
        // `cache.sign` has a single value.
        for key in keys::limited().filter(|key| *key != "cache.sign") {
            let value = match key {
                "cache.dir" => "'/home/me'",
                "cache.links" => "['hardlink']",
                "cache.mode" => "'local:rw,remote:rw'",
                "cache.trust" | "cache.verify_keys" => "['theirs']",
                "pass_env" => "['GITHUB_TOKEN']",
                "shell" => "'./evil'",
                other => panic!("which value of {other} could do harm?"),
            };
            let mut config = Config::load(&Sources::default()).unwrap();
            config.put_text(Path::new("user"), user, Grade::User).unwrap();
            config.put_text(Path::new("lockstep.toml"), &format!("{key} = {value}"), Grade::Repository).unwrap();
            assert_eq!(config.notes(key).len(), 1, "{key}");
            let is_theirs =
                config.look_up(key).is_some_and(|(_, origin)| origin == &Origin::File("lockstep.toml".into()));
            // The commands of a stage are written for a shell; it is not run.
            assert_eq!(is_theirs, key == "shell", "{key}");
            assert!(key != "shell" || config.shell_to_run().is_err());
        }
    }

    #[test]
    fn a_program_of_the_repository_is_not_run() {
        for (project, local, want) in [
            ("shell = \"bash\"", "", "bash"),
            ("shell = \"./evil\"", "", "refused"),
            ("shell = \"/bin/sh\"", "", "refused"),
            ("shell = \"bash -c x\"", "", "refused"),
            ("shell = \"zsh\"", "shell = \"zsh\"", "zsh"),
            ("shell = \"./evil\"", "shell = \"sh\"", "sh"),
        ] {
            let mut config = Config::load(&Sources::default()).unwrap();
            config.put_text(Path::new("lockstep.toml"), project, Grade::Repository).unwrap();
            config.put_text(Path::new("local"), local, Grade::User).unwrap();
            let got = config.shell_to_run().unwrap_or("refused");
            assert_eq!(got, want, "{project} {local}");
        }
    }

    #[test]
    fn what_the_caller_passes_is_checked_under_its_name() {
        let given = GivenSetting { key: "jobs".into(), value: "many".into(), name: "LOCKSTEP_JOBS".into() };
        let e = Config::load(&Sources { given: vec![given], ..Sources::default() }).unwrap_err();
        assert_eq!(e.message, "LOCKSTEP_JOBS: `jobs` takes a number from 0, not `many`");
    }

    #[test]
    fn home_is_the_callers() {
        let given = GivenSetting { key: "cache.dir".into(), value: "~/store".into(), name: "--cache-dir".into() };
        let config = Config::load(&Sources { given: vec![given], ..Sources::default() }).unwrap();
        let home = Path::new("/home/u");
        assert_eq!(config.cache_dir(Path::new("/p"), Some(home)).unwrap().unwrap(), home.join("store"));
        assert!(config.cache_dir(Path::new("/p"), None).unwrap_err().message.contains("HOME, which is not set"));
    }
}
