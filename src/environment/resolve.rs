//! What a declared environment resolves to on a platform: its packages and the version of Python, as a canonical text
//! and its hash.
//!
//! In the hash: kind, platform, version of Python (as declared, else without the patch), for each package its name,
//! version, source, the hashes of its files, and the content of one that is taken from the repository; options of pip
//! that choose files; for the generic kind the content of its files, `setup`, `run` and their folder. Not in it: the name of the
//! environment, the bytes of the documents, packages of other groups and platforms, the tools that install them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pep508_rs::pep440_rs::{Version, VersionSpecifiers};

use super::interpreter::Pythons;
use super::markers::Markers;
use super::package::Package;
use super::platform::Platform;
use super::python_version::{PythonVersion, pinned_beside};
use super::record::Record;
use super::requirements::{self, Requirements};
use super::uv_lock::Wanted;
use super::uv_project::{self, UvProject};
use crate::error::{Error, Result};
use crate::lock::EnvironmentLock;
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{EnvironmentSource, EnvironmentSpec};
use crate::store::{Digest, ObjectId, Pin};

/// Where documents, content and interpreters are read.
pub struct Sources<'a> {
    /// The documents: of the worktree or of a commit.
    pub files: &'a dyn Files,
    /// The content of a path of the repository; `None` if it does not exist.
    pub pin: &'a mut dyn FnMut(&RepoPath) -> Result<Option<Pin>>,
    /// The interpreters of this machine.
    pub pythons: &'a Pythons,
    /// The folder of the environments of this clone.
    pub environments: PathBuf,
    /// The version of Python if none is declared, instead of that of an interpreter of this machine.
    pub undeclared: Option<PythonVersion>,
}

/// An environment as it is now.
#[derive(Debug)]
pub struct ResolvedEnvironment {
    /// As it is declared.
    pub spec: EnvironmentSpec,
    /// On this platform.
    pub lock: EnvironmentLock,
    /// The version that counts.
    pub python: Option<PythonVersion>,
    /// On this platform; none for the generic kind.
    pub packages: Vec<Package>,
    /// The canonical text of which the lock has the hash.
    pub text: String,
    document: Document,
    pins: BTreeMap<RepoPath, Pin>,
    environments: PathBuf,
    /// Hashes on other platforms: many stages ask for the same.
    elsewhere: Mutex<BTreeMap<String, Option<ObjectId>>>,
}

/// What is read of the documents, for any platform.
#[derive(Debug)]
enum Document {
    Uv(UvProject),
    Pip(Requirements),
    Files,
}

/// Reads the documents of an environment and resolves it for this platform.
///
/// Errors: a document is missing, invalid or leaves a version open; Python is declared nowhere and not found.
pub fn resolve(spec: &EnvironmentSpec, sources: &mut Sources<'_>) -> Result<ResolvedEnvironment> {
    resolve_on(spec, sources, Platform::current()).map_err(|mut error| {
        error.message = format!("environment {}: {}", spec.name, error.message);
        error
    })
}

fn resolve_on(spec: &EnvironmentSpec, sources: &mut Sources<'_>, platform: &Platform) -> Result<ResolvedEnvironment> {
    let (document, python) = match &spec.source {
        EnvironmentSource::Uv { project, groups, extras, python } => {
            let document = uv_project::read(sources.files, project, groups, extras)?;
            let python = python_of(sources, project, python, document.lock.requires_python.as_deref())?;
            (Document::Uv(document), Some(python))
        }
        EnvironmentSource::Pip { requirements, python } => {
            let document = requirements::read(sources.files, requirements)?;
            (Document::Pip(document), Some(python_of(sources, requirements, python, None)?))
        }
        EnvironmentSource::Files { .. } => (Document::Files, None),
    };
    let mut found = ResolvedEnvironment {
        spec: spec.clone(),
        lock: EnvironmentLock {
            kind: spec.source.kind().into(),
            platform: platform.to_string(),
            python: python.map(|version| version.to_string()),
            hash: ObjectId::default(),
        },
        python,
        packages: Vec::new(),
        text: String::new(),
        document,
        pins: BTreeMap::new(),
        environments: sources.environments.clone(),
        elsewhere: Mutex::default(),
    };
    found.packages = found.packages_on(platform)?;
    let inputs: Vec<RepoPath> = match &spec.source {
        EnvironmentSource::Files { files, .. } => files.clone(),
        _ => found.packages.iter().filter_map(|package| package.local.clone()).collect(),
    };
    for path in inputs {
        let pin = (sources.pin)(&path)?.ok_or_else(|| Error::missing(format!("{path} does not exist")))?;
        found.pins.insert(path, pin);
    }
    found.text = found.canonical(platform, &found.packages);
    found.lock.hash = hash_of(&found.text);
    Ok(found)
}

fn hash_of(text: &str) -> ObjectId {
    let mut digest = Digest::new("lockstep environment 1");
    digest.update(text.as_bytes());
    digest.id()
}

/// The version of Python that counts: the declared one, that of `.python-version`, else that of the interpreter that
/// would be used, without its patch. Errors: it is not one that the project allows.
fn python_of(
    sources: &Sources<'_>,
    document: &RepoPath,
    declared: &Option<String>,
    required: Option<&str>,
) -> Result<PythonVersion> {
    let range = required.map(|text| {
        text.parse::<VersionSpecifiers>()
            .map_err(|_| Error::usage(format!("`requires-python = {text:?}` of {document} is not a range of versions")))
    });
    let range = range.transpose()?;
    let allows = |version: PythonVersion| range.as_ref().is_none_or(|range| is_allowed(range, version));
    let folder = document.parent().unwrap_or_default();
    let declared = match declared.as_deref().and_then(PythonVersion::parse) {
        Some(version) => Some(version),
        None => pinned_beside(sources.files, &folder)?,
    };
    let version = match declared.or(sources.undeclared) {
        Some(version) => version,
        None => {
            let folder = folder.on_disk(sources.files.top());
            let found = sources.pythons.usual(&folder, &allows)?;
            PythonVersion { patch: None, ..found.version }
        }
    };
    if !allows(version) {
        let range = required.unwrap_or_default();
        return Err(Error::usage(format!("Python {version} is declared, and {document} requires {range}"))
            .hint("declare another one in pipeline.yaml (python: \"3.12\") or in .python-version"));
    }
    Ok(version)
}

fn is_allowed(range: &VersionSpecifiers, version: PythonVersion) -> bool {
    let patches = version.patch.map_or_else(|| (0..=30).collect::<Vec<u32>>(), |patch| vec![patch]);
    patches.into_iter().any(|patch| range.contains(&Version::new([3, u64::from(version.minor), u64::from(patch)])))
}

impl EnvironmentSource {
    /// The word of the lock.
    pub fn kind(&self) -> &'static str {
        match self {
            EnvironmentSource::Uv { .. } => "uv",
            EnvironmentSource::Pip { .. } => "pip",
            EnvironmentSource::Files { .. } => "files",
        }
    }
}

impl ResolvedEnvironment {
    /// Whether a run in `old` ran in this environment: the same hash, on the platform of that run.
    pub fn is_same(&self, old: &EnvironmentLock) -> bool {
        if old.platform == self.lock.platform {
            return old.hash == self.lock.hash;
        }
        self.hash_on(&old.platform) == Some(old.hash)
    }

    /// The hash on another platform; `None` if it cannot be resolved there.
    pub fn hash_on(&self, platform: &str) -> Option<ObjectId> {
        let mut known = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(platform.into()).or_insert_with(|| self.compute_hash_on(platform))
    }

    fn compute_hash_on(&self, platform: &str) -> Option<ObjectId> {
        let platform = Platform::parse(platform)?;
        let packages = self.packages_on(&platform).ok()?;
        let has_content = |package: &Package| package.local.as_ref().is_none_or(|path| self.pins.contains_key(path));
        packages.iter().all(has_content).then(|| hash_of(&self.canonical(&platform, &packages)))
    }

    /// How it differs from the environment of an earlier run, for a reason: `python 3.11 → 3.12`.
    pub fn difference(&self, old: &EnvironmentLock) -> String {
        let mut parts = Vec::new();
        if old.kind != self.lock.kind {
            parts.push(format!("{} → {}", old.kind, self.lock.kind));
        }
        if old.python != self.lock.python {
            let text = |python: &Option<String>| python.clone().unwrap_or_else(|| "none".into());
            parts.push(format!("python {} → {}", text(&old.python), text(&self.lock.python)));
        }
        if let EnvironmentSource::Files { .. } = self.spec.source {
            parts.extend(parts.is_empty().then(|| "its files or commands changed".to_string()));
            return parts.join(", ");
        }
        match Record::load(&self.environments, &old.hash) {
            Some(record) => parts.extend(changed_packages(&record.packages, &self.packages)),
            None if parts.is_empty() => parts.push("its packages changed".into()),
            None => {}
        }
        if parts.is_empty() { "the sources of its packages changed".into() } else { parts.join(", ") }
    }

    /// Whether everything can be installed without the network; else the place of what cannot.
    pub fn needs_network(&self) -> Option<&str> {
        match &self.document {
            Document::Pip(requirements) => requirements.first_url(),
            _ => None,
        }
    }

    /// The folder of `uv.lock`, and the groups and extras with the default ones.
    pub fn uv(&self) -> Option<(&RepoPath, &[String], &[String])> {
        match &self.document {
            Document::Uv(project) => Some((&project.lock_folder, &project.groups, &project.extras)),
            _ => None,
        }
    }

    fn packages_on(&self, platform: &Platform) -> Result<Vec<Package>> {
        let Some(python) = self.python else { return Ok(Vec::new()) };
        let markers = Markers::new(platform, python);
        match &self.document {
            Document::Files => Ok(Vec::new()),
            Document::Pip(requirements) => requirements.resolve(&markers),
            Document::Uv(project) => {
                let (name, folder) = (project.name.as_str(), &project.lock_folder);
                let (groups, extras) = (&project.groups, &project.extras);
                // Names that uv gives to conflicting extras and groups in its markers.
                let named = |what: &str, names: &[String]| -> Vec<String> {
                    names.iter().map(|other| format!("{what}-{}-{name}-{other}", name.len())).collect()
                };
                let active = [named("extra", extras), named("group", groups)].concat();
                let mut markers = markers.with_extras(active.iter().map(String::as_str));
                let wanted = Wanted { project: name, groups, extras, folder };
                let path = folder.join("uv.lock").unwrap_or_default();
                project.lock.closure(&wanted, &mut markers).map_err(|why| Error::usage(format!("{path} {why}")))
            }
        }
    }

    /// One line for each fact, each field quoted, so that different facts never give the same text.
    fn canonical(&self, platform: &Platform, packages: &[Package]) -> String {
        let mut text = String::new();
        let mut line = |what: &str, fields: &[&str]| {
            text.push_str(what);
            for field in fields {
                let _ = write!(text, " {}", serde_json::Value::from(*field));
            }
            text.push('\n');
        };
        line("kind", &[self.spec.source.kind()]);
        line("platform", &[&platform.to_string()]);
        if let Some(python) = self.python {
            line("python", &[&python.to_string()]);
        }
        if let Document::Pip(requirements) = &self.document {
            requirements.options.iter().for_each(|option| line("option", &[option]));
        }
        for package in packages {
            let hashes = package.hashes.join(" ");
            line("package", &[&package.name, &package.version, &package.source, &hashes]);
        }
        let is_counted = |path: &RepoPath| match &self.document {
            Document::Files => true,
            _ => packages.iter().any(|package| package.local.as_ref() == Some(path)),
        };
        for (path, pin) in self.pins.iter().filter(|(path, _)| is_counted(path)) {
            let mode = if pin.executable { "executable" } else { "" };
            line("content", &[path.as_str(), &pin.id.hex(), mode]);
        }
        if let EnvironmentSource::Files { setup, run, .. } = &self.spec.source {
            // The same commands in another folder are others.
            line("folder", &[self.spec.folder.as_str()]);
            line("setup", &[setup.as_deref().unwrap_or_default()]);
            line("run", &[run.as_deref().unwrap_or_default()]);
        }
        text
    }
}

/// `numpy 1.26.4 → 2.0.0, scipy 1.1 added`, the first few of them.
fn changed_packages(old: &[(String, String)], new: &[Package]) -> Vec<String> {
    const MOST: usize = 4;
    let old: BTreeMap<&str, &str> = old.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
    let new: BTreeMap<&str, &str> = new.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
    let mut changes: Vec<String> = Vec::new();
    for (name, version) in &new {
        match old.get(name) {
            Some(before) if before == version => {}
            Some(before) => changes.push(format!("{name} {before} → {version}")),
            None => changes.push(format!("{name} {version} added")),
        }
    }
    changes.extend(old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(name, _)| format!("{name} removed")));
    let more = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    changes.extend((more > 0).then(|| format!("{more} more")));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::load::memory::Memory;

    const LOCK: &str = "version = 1\nrequires-python = '>=3.9'\n\
        [[package]]\nname = 'app'\nsource = { virtual = '.' }\ndependencies = [{ name = 'a' }]\n\
        [package.dev-dependencies]\ntrain = [{ name = 'b' }]\nother = [{ name = 'c' }]\n\
        [package.metadata]\nrequires-dist = [{ name = 'a', specifier = '>=1' }]\n\
        [[package]]\nname = 'a'\nversion = '1.0'\n[[package]]\nname = 'b'\nversion = '1.0'\n\
        [[package]]\nname = 'c'\nversion = '1.0'\n";
    const PROJECT: &str = "[project]\nname = 'App'\ndependencies = ['a>=1']\n";

    fn found(files: &[(&str, &str)], environment: &str, platform: &str) -> Result<ResolvedEnvironment> {
        let pipeline = format!("environments: {{e: {{{environment}}}}}\n");
        let files: Vec<(&str, &str)> = files.iter().copied().chain([("pipeline.yaml", pipeline.as_str())]).collect();
        let memory = Memory::new(&files);
        let loaded = memory.load();
        assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
        let mut pin = |path: &RepoPath| {
            let bytes = memory.read(&crate::pipeline::stage::InputLocation::Repo(path.clone()))?;
            Ok(bytes.map(|bytes| Pin { id: ObjectId::of(&bytes), size: 1, files: None, executable: false }))
        };
        let environments = PathBuf::from("/nonexistent");
        let mut sources =
            Sources { files: &memory, pin: &mut pin, pythons: &Pythons::default(), environments, undeclared: None };
        let spec = &loaded.pipelines.files[0].environments[0];
        resolve_on(spec, &mut sources, &Platform::parse(platform).unwrap())
    }

    fn hash(files: &[(&str, &str)], environment: &str) -> ObjectId {
        found(files, environment, "linux-x86_64").unwrap().lock.hash
    }

    #[test]
    fn what_changes_the_hash_of_uv() {
        let uv = "uv: pyproject.toml, groups: [train], python: '3.11'";
        let with = |lock: &str, project: &str, environment: &str| {
            hash(&[("pyproject.toml", project), ("uv.lock", lock)], environment)
        };
        let base = with(LOCK, PROJECT, uv);
        let in_group = LOCK.replace("other = [{ name = 'c' }]", "other = [{ name = 'c' }, { name = 'd' }]");
        let in_group = in_group + "[[package]]\nname = 'd'\nversion = '9'\n";
        for (what, same) in [
            ("a comment", with(&format!("# x\n{LOCK}"), &format!("# y\n{PROJECT}"), uv)),
            ("another group", with(&in_group, PROJECT, uv)),
            ("revision", with(&LOCK.replace("version = 1\n", "version = 1\nrevision = 3\n"), PROJECT, uv)),
            ("description", with(LOCK, &format!("{PROJECT}description = 'x'\n"), uv)),
            ("the spelling of a group", with(LOCK, PROJECT, "uv: pyproject.toml, groups: [Train], python: '3.011'")),
        ] {
            assert_eq!(base, same, "{what}");
        }
        for (what, other) in [
            (
                "a version",
                with(&LOCK.replace("name = 'b'\nversion = '1.0'", "name = 'b'\nversion = '1.1'"), PROJECT, uv),
            ),
            ("a group", with(LOCK, PROJECT, "uv: pyproject.toml, groups: [other], python: '3.11'")),
            ("python", with(LOCK, PROJECT, "uv: pyproject.toml, groups: [train], python: '3.12'")),
            ("patch", with(LOCK, PROJECT, "uv: pyproject.toml, groups: [train], python: '3.11.4'")),
            ("a default group", with(LOCK, &format!("{PROJECT}[tool.uv]\ndefault-groups = ['other']\n"), uv)),
        ] {
            assert_ne!(base, other, "{what}");
        }
        let pinned = [("pyproject.toml", PROJECT), ("uv.lock", LOCK), (".python-version", "3.11\n")];
        assert_eq!(base, hash(&pinned, "uv: pyproject.toml, groups: [train]"));
    }

    #[test]
    fn errors_say_what_to_type() {
        let uv = "uv: pyproject.toml, python: '3.11'";
        for (files, environment, want, hint) in [
            (vec![], uv, "pyproject.toml does not exist", "uv init"),
            (vec![("pyproject.toml", PROJECT)], uv, "uv.lock does not exist", "uv lock"),
            (vec![("pyproject.toml", "x = 1"), ("uv.lock", LOCK)], uv, "has no [project] with a name", ""),
            (
                vec![("pyproject.toml", PROJECT), ("uv.lock", LOCK)],
                "uv: pyproject.toml, groups: [trian], python: '3.11'",
                "has no group `trian`",
                "did you mean `train`?",
            ),
            (
                vec![("pyproject.toml", PROJECT), ("uv.lock", LOCK)],
                "uv: pyproject.toml, extras: [gpu], python: '3.11'",
                "has no extra `gpu`",
                "uv lock",
            ),
            (
                vec![("pyproject.toml", "[project]\nname = 'app'\ndependencies = ['a', 'z']\n"), ("uv.lock", LOCK)],
                uv,
                "was made for other requirements",
                "uv lock",
            ),
            (
                vec![("pyproject.toml", "[project]\nname = 'app'\ndependencies = ['a>=2']\n"), ("uv.lock", LOCK)],
                uv,
                "`a>=2` was `a>=1`",
                "uv lock",
            ),
            (
                vec![("pyproject.toml", PROJECT), ("uv.lock", LOCK)],
                "uv: pyproject.toml, python: '3.8'",
                "Python 3.8 is declared, and pyproject.toml requires >=3.9",
                "python:",
            ),
            (vec![("r.txt", "")], "pip: r.txt", "no Python that fits is installed", "python:"),
            (vec![("r.txt", ""), (".python-version", "pypy")], "pip: r.txt", "`pypy`", "python:"),
            (vec![], "files: [gone], setup: x", "gone does not exist", ""),
        ] {
            let error = found(&files, environment, "linux-x86_64").unwrap_err();
            assert!(error.message.contains(want), "{want}: {}", error.message);
            assert!(hint.is_empty() || error.hints.iter().any(|h| h.contains(hint)), "{want}: {:?}", error.hints);
        }
    }

    #[test]
    fn a_run_on_another_platform_is_compared_there() {
        let text = "a==1\nb==1; sys_platform == 'darwin'\n";
        let pip = "pip: r.txt, python: '3.11'";
        let mac = found(&[("r.txt", text)], pip, "darwin-arm64").unwrap();
        let linux = found(&[("r.txt", text)], pip, "linux-x86_64").unwrap();
        assert_ne!(mac.lock.hash, linux.lock.hash);
        assert!(linux.is_same(&mac.lock) && mac.is_same(&linux.lock) && linux.is_same(&linux.lock));
        let changed = found(&[("r.txt", "a==1\nb==2; sys_platform == 'darwin'\n")], pip, "linux-x86_64").unwrap();
        assert!(changed.is_same(&linux.lock) && !changed.is_same(&mac.lock));
        assert_eq!(changed.difference(&mac.lock), "its packages changed");
        let odd = EnvironmentLock { platform: "?".into(), ..mac.lock.clone() };
        assert!(!linux.is_same(&odd));
    }

    #[test]
    fn changes_of_packages_are_named() {
        let package = |name: &str, version: &str| Package {
            name: name.into(),
            version: version.into(),
            source: String::new(),
            hashes: vec![],
            local: None,
        };
        let old =
            |names: &[(&str, &str)]| names.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>();
        let new = [package("numpy", "2.0"), package("scipy", "1")];
        assert_eq!(
            changed_packages(&old(&[("numpy", "1.26"), ("six", "1")]), &new),
            ["numpy 1.26 → 2.0", "scipy 1 added", "six removed"]
        );
        let many: Vec<Package> = (0..9).map(|n| package(&format!("p{n}"), "1")).collect();
        assert_eq!(changed_packages(&[], &many).last().map(String::as_str), Some("5 more"));
    }
}
