//! Finds interpreters of Python, and their versions, without starting one: by the names of files and folders.
//!
//! Where it looks: the folders of PATH, the versions of pyenv, and those that uv installed. A version is taken from the
//! name behind symlinks (`python3.11`), from `pyvenv.cfg`, from a folder with a version in its name, and from the header
//! `include/python3.11/patchlevel.h`. A shim of pyenv is followed by pyenv's rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::python_version::PythonVersion;
use crate::document;
use crate::error::{Error, Result};

/// The size limit of the small files that are read here.
const MOST: u64 = 1 << 20;

/// An interpreter on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its real path, or its path on PATH.
    pub path: PathBuf,
    /// Its patch may be unknown.
    pub version: PythonVersion,
}

/// Where interpreters are looked for.
#[derive(Clone, Debug, Default)]
pub struct Pythons {
    path: Vec<PathBuf>,
    pyenv: Option<PathBuf>,
    pyenv_version: Option<String>,
    uv: Option<PathBuf>,
}

impl Pythons {
    /// From the environment variables and the user's home folder.
    pub fn new(variables: &BTreeMap<String, String>, home: Option<&Path>) -> Pythons {
        let folder = |name: &str| variables.get(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
        let path = variables.get("PATH").map(String::as_str).unwrap_or_default();
        let data = folder("XDG_DATA_HOME").or_else(|| home.map(|home| home.join(".local/share")));
        Pythons {
            path: path.split(':').filter(|folder| folder.starts_with('/')).map(PathBuf::from).collect(),
            pyenv: folder("PYENV_ROOT").or_else(|| home.map(|home| home.join(".pyenv"))),
            pyenv_version: variables.get("PYENV_VERSION").cloned().filter(|version| !version.is_empty()),
            uv: folder("UV_PYTHON_INSTALL_DIR").or_else(|| data.map(|data| data.join("uv/python"))),
        }
    }

    /// The interpreter that `python3` or `python` means in this folder, the first that is accepted.
    ///
    /// Errors: there is none, or its version cannot be told from files.
    pub fn usual(&self, folder: &Path, accepts: &dyn Fn(PythonVersion) -> bool) -> Result<Interpreter> {
        let mut unknown = None;
        for found in self.on_path(&["python3", "python"]) {
            match self.look_at(&found, folder) {
                Some(interpreter) if accepts(interpreter.version) => return Ok(interpreter),
                Some(_) => {}
                None => unknown = unknown.or(Some(found)),
            }
        }
        let error = match unknown {
            Some(path) => Error::missing(format!("the version of {} cannot be told from its files", path.display())),
            None => Error::missing("no Python that fits is installed").because(self.searched()),
        };
        Err(error.hint("declare the version in pipeline.yaml: python: \"3.11\""))
    }

    /// Interpreters that may have this version, best first. One whose patch is unknown has to be asked.
    pub fn candidates(&self, wanted: PythonVersion, folder: &Path) -> Vec<Interpreter> {
        let name = format!("python3.{}", wanted.minor);
        let on_path = self.on_path(&[&name, "python3", "python"]).into_iter();
        let installed = self.installed(&name);
        let mut found: Vec<Interpreter> = Vec::new();
        for path in on_path.chain(installed) {
            if let Some(interpreter) = self.look_at(&path, folder)
                && wanted.may_be(interpreter.version)
                && !found.iter().any(|other| other.path == interpreter.path)
            {
                found.push(interpreter);
            }
        }
        // One that is known to fit is better than one that may fit.
        found.sort_by_key(|interpreter| wanted.patch.is_some() && interpreter.version.patch.is_none());
        found
    }

    /// Where interpreters were looked for, for messages.
    pub fn searched(&self) -> String {
        let others = [("pyenv", &self.pyenv), ("uv", &self.uv)].into_iter();
        let others = others.filter_map(|(name, folder)| Some(format!("{name} ({})", folder.as_ref()?.display())));
        let mut places = vec!["PATH".to_string()];
        places.extend(others);
        format!("looked in {}", places.join(", "))
    }

    fn on_path(&self, names: &[&str]) -> Vec<PathBuf> {
        let files = self.path.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        files.filter(|file| file.is_file()).collect()
    }

    /// Interpreters of pyenv and uv with this name, the highest patch first.
    fn installed(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let of_shims = self.path.iter().filter(|folder| folder.ends_with("shims")).filter_map(|folder| folder.parent());
        let pyenv = of_shims.map(Path::to_path_buf).chain(self.pyenv.clone()).map(|root| root.join("versions"));
        for folder in pyenv.chain(self.uv.clone()) {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin").join(name)).collect();
            files.retain(|file| file.is_file());
            files.sort_by_key(|file| std::cmp::Reverse(version_in(file).and_then(|version| version.patch)));
            found.extend(files);
        }
        found
    }

    /// The interpreter at a path, behind a shim of pyenv.
    fn look_at(&self, path: &Path, folder: &Path) -> Option<Interpreter> {
        let target = match pyenv_of(path) {
            Some(root) => self.behind_shim(root, path, folder)?,
            None => path.to_path_buf(),
        };
        let version = version_of(&target)?;
        // A virtual environment of the user may go; the interpreter behind it stays.
        let path = match in_virtual_environment(&target) {
            Some(_) => fs::canonicalize(&target).ok()?,
            None => target,
        };
        Some(Interpreter { path, version })
    }

    fn behind_shim(&self, root: &Path, path: &Path, folder: &Path) -> Option<PathBuf> {
        let name = path.file_name()?;
        for version in self.pyenv_versions(root, folder) {
            // `3.11` means the highest patch of it that is installed.
            let prefix = format!("{version}.");
            let entries = fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut fitting: Vec<String> = names.filter(|name| *name == version || name.starts_with(&prefix)).collect();
            fitting.sort_by_key(|name| PythonVersion::parse(name));
            let files = fitting.iter().rev().map(|version| root.join("versions").join(version).join("bin").join(name));
            if let Some(file) = files.into_iter().find(|file| file.is_file()) {
                return Some(file);
            }
        }
        None
    }

    /// The versions that pyenv uses in a folder, by its rules.
    fn pyenv_versions(&self, root: &Path, folder: &Path) -> Vec<String> {
        if let Some(versions) = &self.pyenv_version {
            return versions.split(':').map(str::to_string).collect();
        }
        let files = folder.ancestors().map(|folder| folder.join(".python-version")).chain([root.join("version")]);
        let text = files.into_iter().find_map(|file| document::read_text(&file, MOST).ok().flatten());
        let lines = text.unwrap_or_default();
        lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_string)
            .collect()
    }
}

/// The folder of pyenv that a shim belongs to.
fn pyenv_of(path: &Path) -> Option<&Path> {
    let folder = path.parent().filter(|folder| folder.ends_with("shims"))?;
    folder.parent().filter(|root| root.join("versions").is_dir())
}

/// The version of an interpreter, from files.
fn version_of(path: &Path) -> Option<PythonVersion> {
    let real = fs::canonicalize(path).ok()?;
    let prefix = real.parent()?.parent()?;
    let name = real.file_name()?.to_str()?;
    let in_path = version_in(&real);
    let minor = name.strip_prefix("python").and_then(leading_version).map(|version| version.minor);
    let minor = minor.or_else(|| in_virtual_environment(path).map(|version| version.minor));
    let minor = minor.or(in_path.map(|version| version.minor)).or_else(|| only_library(prefix))?;
    let header = prefix.join(format!("include/python3.{minor}/patchlevel.h"));
    let patch = in_path.filter(|version| version.minor == minor).and_then(|version| version.patch);
    let patch = patch.or_else(|| in_header(&header).filter(|version| version.minor == minor)?.patch);
    let of_environment = || in_virtual_environment(path).filter(|version| version.minor == minor)?.patch;
    Some(PythonVersion { minor, patch: patch.or_else(of_environment) })
}

/// The version at the beginning of a text: `3.11`, `3.11.7-x`.
fn leading_version(text: &str) -> Option<PythonVersion> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut parts = text[..end].split('.').filter(|part| !part.is_empty());
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next());
    PythonVersion::parse(&match patch {
        Some(patch) => format!("{major}.{minor}.{patch}"),
        None => format!("{major}.{minor}"),
    })
}

/// A version with its patch in the name of a folder: `versions/3.11.7`, `cpython-3.11.9-linux-x86_64-gnu`.
fn version_in(path: &Path) -> Option<PythonVersion> {
    let names = path.components().rev().skip(1).filter_map(|part| part.as_os_str().to_str());
    let of_name = |name: &str| {
        let at = name.find("3.")?;
        let is_start = at == 0 || name[..at].ends_with(['-', '@']) || name[..at].ends_with("python");
        leading_version(&name[at..]).filter(|version| is_start && version.patch.is_some())
    };
    names.into_iter().find_map(of_name)
}

/// `version = 3.11.7` of the `pyvenv.cfg` that the interpreter belongs to.
fn in_virtual_environment(path: &Path) -> Option<PythonVersion> {
    let text = document::read_text(&path.parent()?.parent()?.join("pyvenv.cfg"), MOST).ok()??;
    let values = text.lines().filter_map(|line| line.split_once('='));
    let mut values = values.filter(|(key, _)| ["version", "version_info"].contains(&key.trim()));
    leading_version(values.next()?.1.trim())
}

/// The one version of `lib/python3.X` of a prefix.
fn only_library(prefix: &Path) -> Option<u32> {
    let names =
        fs::read_dir(prefix.join("lib")).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut minors: Vec<u32> =
        names.filter_map(|name| Some(PythonVersion::parse(name.strip_prefix("python")?)?.minor)).collect();
    minors.dedup();
    if minors.len() == 1 { minors.pop() } else { None }
}

/// `#define PY_VERSION "3.11.7"`.
fn in_header(path: &Path) -> Option<PythonVersion> {
    let text = document::read_text(path, MOST).ok()??;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("#define PY_VERSION"))?;
    leading_version(line.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn pythons(path: &Path, home: &Path, version: Option<&str>) -> Pythons {
        let mut variables = BTreeMap::from([("PATH".to_string(), path.display().to_string())]);
        variables.extend(version.map(|version| ("PYENV_VERSION".to_string(), version.to_string())));
        Pythons::new(&variables, Some(home))
    }

    #[test]
    fn versions_are_told_by_files() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| top.join(name);
        write(at("usr/bin/python3.11"), "");
        symlink("python3.11", at("usr/bin/python3")).unwrap();
        write(at("head/bin/python3.12"), "");
        write(at("head/include/python3.12/patchlevel.h"), "/* x */\n#define PY_VERSION              \"3.12.3\"\n");
        write(at("opt/3.10.9/bin/python"), "");
        write(at("uv/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13"), "");
        write(at("venv/bin/python"), "");
        write(at("venv/pyvenv.cfg"), "home = /usr/bin\nversion_info = 3.9.2.final.0\n");
        write(at("lib/bin/python3"), "");
        write(at("lib/lib/python3.8/os.py"), "");
        write(at("odd/bin/python3"), "");
        for (path, want) in [
            ("usr/bin/python3", Some("3.11")),
            ("head/bin/python3.12", Some("3.12.3")),
            ("opt/3.10.9/bin/python", Some("3.10.9")),
            ("uv/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13", Some("3.13.1")),
            ("venv/bin/python", Some("3.9.2")),
            ("lib/bin/python3", Some("3.8")),
            ("odd/bin/python3", None),
            ("gone/bin/python3", None),
        ] {
            assert_eq!(version_of(&at(path)).map(|v| v.to_string()).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn a_shim_means_what_pyenv_says() {
        let dir = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(dir.path()).unwrap();
        let root = home.join(".pyenv");
        for name in ["python3", "python3.11", "python3.12"] {
            write(root.join("shims").join(name), "#!/bin/sh\n");
        }
        for (version, minor) in [("3.11.7", 11), ("3.11.10", 11), ("3.12.1", 12)] {
            write(root.join(format!("versions/{version}/bin/python3.{minor}")), "");
            symlink(format!("python3.{minor}"), root.join(format!("versions/{version}/bin/python3"))).unwrap();
        }
        write(root.join("version"), "3.12.1\n");
        write(home.join("p/.python-version"), "3.11\n");
        fs::create_dir_all(home.join("q")).unwrap();
        for (folder, version, want) in [
            ("p", None, "3.11.10"),
            ("q", None, "3.12.1"),
            ("q", Some("3.11.7:3.12.1"), "3.11.7"),
            ("p", Some("system"), ""),
        ] {
            let found = pythons(&root.join("shims"), &home, version).usual(&home.join(folder), &|_| true);
            assert_eq!(found.map(|i| i.version.to_string()).unwrap_or_default(), want, "{folder} {version:?}");
        }
        // A declared version is found among those that pyenv has, the highest patch first.
        let all = pythons(&home.join("nowhere"), &home, None);
        let wanted = |text: &str| {
            let found = all.candidates(PythonVersion::parse(text).unwrap(), &home.join("q"));
            found.iter().map(|i| i.version.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(wanted("3.11"), "3.11.10 3.11.7");
        assert_eq!(wanted("3.11.7"), "3.11.7");
        assert_eq!(wanted("3.13"), "");
        let error = all.usual(&home, &|_| true).unwrap_err();
        assert!(error.to_string().contains("no Python that fits") && error.causes[0].contains("looked in PATH, pyenv"));
    }
}
