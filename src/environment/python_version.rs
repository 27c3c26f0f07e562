//! Versions of Python: as they are declared (`3.11`, `3.11.7`), and as `.python-version` spells them.

use std::fmt;

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::environments::is_python_version;
use crate::pipeline::stage::InputLocation;

/// A version of Python 3; without `patch`, all versions of that minor one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    /// 11 of `3.11.7`.
    pub minor: u32,
    /// 7 of `3.11.7`.
    pub patch: Option<u32>,
}

impl PythonVersion {
    /// Parses `3.11` or `3.11.7`.
    pub fn parse(text: &str) -> Option<PythonVersion> {
        if !is_python_version(text) {
            return None;
        }
        let mut numbers = text.split('.').skip(1).map(|part| part.parse().ok());
        Some(PythonVersion { minor: numbers.next()??, patch: numbers.next().flatten() })
    }

    /// Whether an interpreter of the version `other` may be this one; its patch may be unknown.
    pub fn may_be(&self, other: PythonVersion) -> bool {
        self.minor == other.minor && (self.patch.is_none() || other.patch.is_none() || self.patch == other.patch)
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// The version in the nearest `.python-version`, in this folder or above it inside the repository, as uv reads it.
///
/// Errors (usage): the file names something else than a version of CPython.
pub fn pinned_beside(files: &dyn Files, folder: &RepoPath) -> Result<Option<PythonVersion>> {
    let mut at = Some(folder.clone());
    while let Some(folder) = at {
        let path = folder.join(".python-version").unwrap_or_default();
        if let Some(bytes) = files.read(&InputLocation::Repo(path.clone()))? {
            let text = String::from_utf8_lossy(&bytes);
            let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            let Some(line) = line else { return Ok(None) };
            return of_request(line).map(Some).ok_or_else(|| {
                Error::usage(format!("{path} names `{line}`, which is not a version of Python that lockstep knows"))
                    .hint("declare the version in pipeline.yaml: python: \"3.11\"")
            });
        }
        at = folder.parent();
    }
    Ok(None)
}

/// `3.11`, `cpython-3.11.7`, `cpython@3.11`, `python3.11`.
fn of_request(text: &str) -> Option<PythonVersion> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("cpython").or_else(|| lower.strip_prefix("python")).unwrap_or(&lower);
    PythonVersion::parse(rest.trim_start_matches(['-', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_version() {
        for (text, want) in [
            ("3.11", Some("3.11")),
            ("3.011", Some("3.11")),
            ("3.11.7", Some("3.11.7")),
            ("cpython-3.12", Some("3.12")),
            ("cpython@3.12.1", Some("3.12.1")),
            ("python3.10", Some("3.10")),
            ("3", None),
            ("2.7", None),
            (">=3.11", None),
            ("pypy3.10", None),
            ("3.13t", None),
            ("myenv", None),
            ("3.99999999999", None),
        ] {
            assert_eq!(of_request(text).map(|v| v.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn an_unknown_patch_may_be_any() {
        let v = |text: &str| PythonVersion::parse(text).unwrap();
        for (wanted, found, want) in [
            ("3.11", "3.11.7", true),
            ("3.11.7", "3.11", true),
            ("3.11.7", "3.11.7", true),
            ("3.11.7", "3.11.8", false),
            ("3.11", "3.12", false),
        ] {
            assert_eq!(v(wanted).may_be(v(found)), want, "{wanted} {found}");
        }
    }
}
