//! Reads `uv.lock`, and finds the packages that a project needs on a platform. Pure, and without recursion: the file may
//! be hostile, and dependencies may form circles.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::markers::Markers;
use super::package::Package;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::value::Value;

/// The version of the format that is read. uv raises it for changes that older readers would misunderstand.
const VERSION: i128 = 1;
/// The most packages and dependencies of one file.
const MOST: usize = 500_000;

/// The content of a `uv.lock`.
#[derive(Debug, Default)]
pub struct UvLock {
    /// `requires-python`.
    pub requires_python: Option<String>,
    /// The members of the workspace, whose own code is not installed.
    members: BTreeSet<String>,
    packages: Vec<LockedPackage>,
    by_name: HashMap<String, Vec<usize>>,
}

/// One `[[package]]`.
#[derive(Debug, Default)]
struct LockedPackage {
    name: String,
    version: String,
    /// As in the file, with sorted keys.
    source: Vec<(String, String)>,
    hashes: Vec<String>,
    dependencies: Vec<Dependency>,
    extras: BTreeMap<String, Vec<Dependency>>,
    groups: BTreeMap<String, Vec<Dependency>>,
    /// One of these holds where this version is used.
    markers: Vec<String>,
    /// The names and version ranges that the project asked for when the file was made.
    required: Option<Vec<(String, Option<String>)>>,
}

/// One entry of a list of dependencies.
#[derive(Debug, Default)]
struct Dependency {
    name: String,
    version: Option<String>,
    source: Option<Vec<(String, String)>>,
    extras: Vec<String>,
    marker: Option<String>,
}

/// What a project asks for.
#[derive(Debug)]
pub struct Wanted<'w> {
    /// The normalised name of the project.
    pub project: &'w str,
    /// The groups, with the default ones.
    pub groups: &'w [String],
    /// The extras.
    pub extras: &'w [String],
    /// The folder of `uv.lock`, to which its paths are relative.
    pub folder: &'w RepoPath,
}

/// Reads the parsed file. Errors: a sentence without its subject, the file.
pub fn read(root: &Value) -> Result<UvLock, String> {
    match root.get("version") {
        Some(Value::Int(VERSION)) => {}
        Some(Value::Int(other)) => {
            return Err(format!("has version {other} of uv's format; this lockstep knows version {VERSION}"));
        }
        _ => return Err("does not say `version = 1`: it is not a lock file of uv".into()),
    }
    let mut lock = UvLock { requires_python: text(root, "requires-python")?, ..UvLock::default() };
    if let Some(manifest) = root.get("manifest") {
        lock.members = texts(manifest, "members")?.into_iter().collect();
    }
    let mut budget = MOST;
    for package in list(root, "package")? {
        let package = read_package(package, &mut budget)?;
        lock.by_name.entry(package.name.clone()).or_default().push(lock.packages.len());
        lock.packages.push(package);
    }
    Ok(lock)
}

fn read_package(value: &Value, budget: &mut usize) -> Result<LockedPackage, String> {
    let name = text(value, "name")?.ok_or("has a package without a name")?;
    take(budget, 1)?;
    let named = |why: String| format!("{why}, in package `{name}`");
    let mut package = LockedPackage {
        version: text(value, "version").map_err(named)?.unwrap_or_default(),
        source: value.get("source").map_or(Ok(Vec::new()), read_source).map_err(named)?,
        markers: texts(value, "resolution-markers").map_err(named)?,
        ..LockedPackage::default()
    };
    let mut lists = |of: &Value, key: &str| -> Result<BTreeMap<String, Vec<Dependency>>, String> {
        let Some(Value::Map(entries)) = of.get(key) else {
            return of.get(key).map_or(Ok(BTreeMap::new()), |_| Err(format!("has a `{key}` that is not a table")));
        };
        entries.iter().map(|(name, items)| Ok((name.clone(), read_dependencies(items, budget)?))).collect()
    };
    package.extras = lists(value, "optional-dependencies").map_err(named)?;
    package.groups = lists(value, "dev-dependencies").map_err(named)?;
    if let Some(items) = value.get("dependencies") {
        package.dependencies = read_dependencies(items, budget).map_err(named)?;
    }
    if let Some(sdist) = value.get("sdist") {
        package.hashes.push(file_of(sdist).map_err(named)?);
    }
    for wheel in list(value, "wheels").map_err(named)? {
        take(budget, 1)?;
        package.hashes.push(file_of(wheel).map_err(named)?);
    }
    package.hashes.sort();
    if let Some(metadata) = value.get("metadata") {
        read_metadata(metadata, &mut package).map_err(named)?;
    }
    Ok(LockedPackage { name, ..package })
}

/// Extras and groups without members are named only here.
fn read_metadata(metadata: &Value, package: &mut LockedPackage) -> Result<(), String> {
    for extra in texts(metadata, "provides-extras")? {
        package.extras.entry(extra).or_default();
    }
    if let Some(Value::Map(groups)) = metadata.get("requires-dev") {
        for (group, _) in groups {
            package.groups.entry(group.clone()).or_default();
        }
    }
    if let Some(Value::List(items)) = metadata.get("requires-dist") {
        let mut required = Vec::new();
        for item in items {
            let is_optional = text(item, "marker")?.is_some_and(|marker| marker.contains("extra"));
            if let (Some(name), false) = (text(item, "name")?, is_optional) {
                required.push((name, text(item, "specifier")?));
            }
        }
        package.required = Some(required);
    } else {
        package.required = Some(Vec::new());
    }
    Ok(())
}

/// What identifies a file: its hash, or else its address or name.
fn file_of(value: &Value) -> Result<String, String> {
    for key in ["hash", "url", "path", "filename"] {
        if let Some(text) = text(value, key)? {
            return Ok(text);
        }
    }
    Err("has a file without `hash`, `url` and `path`".into())
}

fn read_source(value: &Value) -> Result<Vec<(String, String)>, String> {
    let Value::Map(entries) = value else { return Err("has a `source` that is not a table".into()) };
    let mut source: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), value.to_text())).collect();
    source.sort();
    Ok(source)
}

fn read_dependencies(value: &Value, budget: &mut usize) -> Result<Vec<Dependency>, String> {
    let Value::List(items) = value else { return Err("has dependencies that are not a list".into()) };
    take(budget, items.len())?;
    let read = |item: &Value| {
        Ok(Dependency {
            name: text(item, "name")?.ok_or("has a dependency without a name")?,
            version: text(item, "version")?,
            source: item.get("source").map(read_source).transpose()?,
            extras: texts(item, "extra")?,
            marker: text(item, "marker")?,
        })
    };
    items.iter().map(read).collect()
}

fn take(budget: &mut usize, count: usize) -> Result<(), String> {
    *budget = budget.checked_sub(count).ok_or_else(|| format!("has more than {MOST} packages and dependencies"))?;
    Ok(())
}

fn text(value: &Value, key: &str) -> Result<Option<String>, String> {
    match value.get(key) {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("has a `{key}` that is {} instead of a string", other.kind())),
    }
}

fn list<'v>(value: &'v Value, key: &str) -> Result<&'v [Value], String> {
    match value.get(key) {
        None => Ok(&[]),
        Some(Value::List(items)) => Ok(items),
        Some(other) => Err(format!("has a `{key}` that is {} instead of a list", other.kind())),
    }
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let one = |item: &Value| item.as_str().map(str::to_string).ok_or_else(|| format!("has a `{key}` with non-strings"));
    list(value, key)?.iter().map(one).collect()
}

impl UvLock {
    /// The names of the groups of a project.
    pub fn groups_of(&self, project: &str) -> Vec<&str> {
        self.project(project).map(|package| package.groups.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The names of the extras of a project.
    pub fn extras_of(&self, project: &str) -> Vec<&str> {
        self.project(project).map(|package| package.extras.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The requirements of a project when the file was made: names, and version ranges that it recorded. `None`: unknown.
    pub fn required_by(&self, project: &str) -> Option<&[(String, Option<String>)]> {
        self.project(project)?.required.as_deref()
    }

    /// Whether the file is about this project.
    pub fn has_project(&self, project: &str) -> bool {
        self.project(project).is_some()
    }

    fn project(&self, name: &str) -> Option<&LockedPackage> {
        let is_local = |package: &&LockedPackage| {
            package.source.iter().any(|(key, _)| ["virtual", "editable", "directory"].contains(&key.as_str()))
        };
        self.by_name.get(name)?.iter().map(|at| &self.packages[*at]).find(is_local)
    }

    /// All packages that `uv sync` installs, sorted. Errors: a sentence without its subject, the file.
    pub fn closure(&self, wanted: &Wanted, markers: &mut Markers) -> Result<Vec<Package>, String> {
        let Some(root) = self.project(wanted.project) else {
            return Err(format!("has no package `{}`", wanted.project));
        };
        let chosen = wanted.groups.iter().filter_map(|group| root.groups.get(group));
        let extras = wanted.extras.iter().filter_map(|extra| root.extras.get(extra));
        let mut waiting: Vec<&Dependency> =
            root.dependencies.iter().chain(chosen.flatten()).chain(extras.flatten()).collect();
        let mut seen: HashSet<(usize, Option<&str>)> = HashSet::new();
        let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        while let Some(dependency) = waiting.pop() {
            if let Some(marker) = &dependency.marker
                && !markers.hold(marker).map_err(|why| format!("has, for `{}`, what {why}", dependency.name))?
            {
                continue;
            }
            for at in self.find(dependency, markers)? {
                let package = &self.packages[at];
                if seen.insert((at, None)) {
                    found.insert((&package.name, &package.version), at);
                    waiting.extend(&package.dependencies);
                }
                for extra in &dependency.extras {
                    if seen.insert((at, Some(extra))) {
                        waiting.extend(package.extras.get(extra).into_iter().flatten());
                    }
                }
            }
        }
        let is_installed = |package: &&LockedPackage| {
            let is_member = self.members.contains(&package.name) || package.name == root.name;
            !(package.source.iter().any(|(key, _)| key == "virtual") || is_member && is_folder(package))
        };
        let packages = found.values().map(|at| &self.packages[*at]).filter(is_installed);
        packages.map(|package| install(package, wanted.folder)).collect()
    }

    /// The packages that an entry means on this platform: one, unless the file leaves it open.
    fn find(&self, dependency: &Dependency, markers: &mut Markers) -> Result<Vec<usize>, String> {
        let is_meant = |at: &&usize| {
            let package = &self.packages[**at];
            dependency.version.as_ref().is_none_or(|version| *version == package.version)
                && dependency.source.as_ref().is_none_or(|source| *source == package.source)
        };
        let all = self.by_name.get(&dependency.name).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<usize> = all.iter().filter(is_meant).copied().collect();
        if found.len() > 1 {
            let mut holding = Vec::new();
            for at in &found {
                let conditions = &self.packages[*at].markers;
                let mut holds = conditions.is_empty();
                for condition in conditions {
                    holds |=
                        markers.hold(condition).map_err(|why| format!("has, for `{}`, what {why}", dependency.name))?;
                }
                holding.extend(holds.then_some(*at));
            }
            found = holding;
        }
        if found.is_empty() {
            return Err(format!("names `{}`, and has no package for it", dependency.name));
        }
        Ok(found)
    }
}

fn is_folder(package: &LockedPackage) -> bool {
    package.source.iter().any(|(key, _)| key == "editable" || key == "directory")
}

fn install(package: &LockedPackage, folder: &RepoPath) -> Result<Package, String> {
    let path = package.source.iter().find(|(key, _)| ["path", "directory", "editable"].contains(&key.as_str()));
    let local = match path {
        None => None,
        Some((_, path)) => Some(folder.join(path).ok_or_else(|| {
            format!(
                "takes `{}` from {path}, which is outside of the repository: its content cannot count",
                package.name
            )
        })?),
    };
    let source = package.source.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(" ");
    Ok(Package {
        name: package.name.clone(),
        version: package.version.clone(),
        source,
        hashes: package.hashes.clone(),
        local,
    })
}

/// Reads the text of a `uv.lock`; `path` is for messages.
pub fn read_text(path: &RepoPath, bytes: &[u8]) -> Result<UvLock> {
    let text = crate::value::decode(bytes).map_err(|fault| fault.error(path.as_str(), ""))?;
    let root = crate::value::parse("uv.toml", text).map_err(|fault| fault.error(path.as_str(), text))?;
    read(&root).map_err(|why| Error::usage(format!("{path} {why}")))
}

#[cfg(test)]
mod tests {
    use super::super::platform::Platform;
    use super::super::python_version::PythonVersion;
    use super::*;

    const LOCK: &str = r#"
version = 1
revision = 3
requires-python = ">=3.10"

[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "a" },
    { name = "b", extra = ["x"], marker = "sys_platform == 'linux'" },
    { name = "mac", marker = "sys_platform == 'darwin'" },
]
[package.optional-dependencies]
gpu = [{ name = "cuda" }]
[package.dev-dependencies]
dev = [{ name = "pytest" }]
train = [{ name = "torch", version = "2.0", source = { registry = "r" }, marker = "python_full_version < '3.12'" },
         { name = "torch", version = "2.1", source = { registry = "r" }, marker = "python_full_version >= '3.12'" }]
[package.metadata]
requires-dist = [{ name = "a", specifier = ">=1" }, { name = "cuda", marker = "extra == 'gpu'" }]
provides-extras = ["gpu", "none"]
[package.metadata.requires-dev]
empty = []

[[package]]
name = "a"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "c" }]
sdist = { url = "u", hash = "sha256:1", size = 1 }
wheels = [{ url = "w", hash = "sha256:0" }]

[[package]]
name = "b"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
[package.optional-dependencies]
x = [{ name = "bx" }]
y = [{ name = "by" }]

[[package]]
name = "bx"
version = "1"
source = { directory = "libs/bx" }

[[package]]
name = "by"
version = "1"

[[package]]
name = "c"
version = "1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "a" }]

[[package]]
name = "cuda"
version = "12"

[[package]]
name = "mac"
version = "1"

[[package]]
name = "pytest"
version = "8"

[[package]]
name = "torch"
version = "2.0"
source = { registry = "r" }

[[package]]
name = "torch"
version = "2.1"
source = { registry = "r" }
"#;

    fn closure(text: &str, groups: &[&str], extras: &[&str], platform: &str, python: &str) -> Result<String, String> {
        let root = crate::value::parse("uv.toml", text).map_err(|fault| fault.message)?;
        let lock = read(&root)?;
        let own = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let (groups, extras) = (own(groups), own(extras));
        let folder = RepoPath::root().join("sub").unwrap();
        let wanted = Wanted { project: "app", groups: &groups, extras: &extras, folder: &folder };
        let python = PythonVersion::parse(python).unwrap();
        let mut markers = Markers::new(&Platform::parse(platform).unwrap(), python);
        let found = lock.closure(&wanted, &mut markers)?;
        Ok(found.iter().map(|p| format!("{} {}", p.name, p.version)).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn what_is_installed_where() {
        for (groups, extras, platform, python, want) in [
            (&[][..], &[][..], "linux-x86_64", "3.11", "a 1.0, b 1.0, bx 1, c 1"),
            (&[], &[], "darwin-arm64", "3.11", "a 1.0, c 1, mac 1"),
            (&["dev"], &[], "darwin-arm64", "3.11", "a 1.0, c 1, mac 1, pytest 8"),
            (&["train"], &[], "darwin-arm64", "3.11", "a 1.0, c 1, mac 1, torch 2.0"),
            (&["train"], &[], "darwin-arm64", "3.12", "a 1.0, c 1, mac 1, torch 2.1"),
            (&["empty"], &["gpu"], "darwin-arm64", "3.12", "a 1.0, c 1, cuda 12, mac 1"),
        ] {
            assert_eq!(closure(LOCK, groups, extras, platform, python).as_deref(), Ok(want), "{groups:?} {platform}");
        }
        let root = crate::value::parse("uv.toml", LOCK).unwrap();
        let lock = read(&root).unwrap();
        assert_eq!(lock.groups_of("app"), ["dev", "empty", "train"]);
        assert_eq!(lock.extras_of("app"), ["gpu", "none"]);
        assert_eq!(lock.required_by("app"), Some(&[("a".to_string(), Some(">=1".to_string()))][..]));
    }

    #[test]
    fn the_parts_of_a_package() {
        let lock = read(&crate::value::parse("uv.toml", LOCK).unwrap()).unwrap();
        let folder = RepoPath::root().join("sub").unwrap();
        let wanted = Wanted { project: "app", groups: &[], extras: &[], folder: &folder };
        let platform = Platform::parse("linux-x86_64").unwrap();
        let mut markers = Markers::new(&platform, PythonVersion::parse("3.11").unwrap());
        let found = lock.closure(&wanted, &mut markers).unwrap();
        assert_eq!(found[0].source, "registry https://pypi.org/simple");
        assert_eq!(found[0].hashes, ["sha256:0", "sha256:1"]);
        assert_eq!(found[2].local.as_ref().map(RepoPath::as_str), Some("sub/libs/bx"));
    }

    #[test]
    fn hostile_files_are_refused_or_read_without_harm() {
        let package =
            |rest: &str| format!("version = 1\n[[package]]\nname = \"app\"\nsource = {{ virtual = \".\" }}\n{rest}");
        let chain: String = (0..20_000)
            .map(|n| format!("[[package]]\nname = \"p{n}\"\ndependencies = [{{ name = \"p{}\" }}]\n", (n + 1) % 20_000))
            .collect();
        for (text, want) in [
            ("x = 1".to_string(), "does not say `version = 1`"),
            ("version = 2".into(), "has version 2 of uv's format"),
            ("version = \"1\"".into(), "does not say"),
            ("version = 1\npackage = 3".into(), "has a `package` that is"),
            ("version = 1\n[[package]]\nversion = \"1\"".into(), "has a package without a name"),
            ("version = 1".into(), "has no package `app`"),
            (package("dependencies = [{ name = \"b\" }]"), "names `b`, and has no package for it"),
            (package("dependencies = [1]"), "has a dependency without a name"),
            (package("dependencies = { a = 1 }"), "has dependencies that are not a list"),
            (package("dependencies = [{ name = \"b\", marker = \"x\" }]"), "is not a marker"),
            (package("dev-dependencies = 3"), "has a `dev-dependencies` that is not a table"),
            (
                package(
                    "dependencies = [{ name = \"b\" }]\n[[package]]\nname = \"b\"\nsource = { path = \"../../x.whl\" }",
                ),
                "outside of the repository",
            ),
            (package(&format!("dependencies = [{{ name = \"p0\" }}]\n{chain}")), ""),
        ] {
            let found = closure(&text, &[], &[], "linux-x86_64", "3.11");
            match want {
                "" => assert!(found.is_ok(), "{found:?}"),
                _ => assert!(found.as_ref().is_err_and(|why| why.contains(want)), "{want}: {found:?}"),
            }
        }
    }
}
