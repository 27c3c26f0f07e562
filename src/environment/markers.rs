//! Evaluates the conditions (environment markers) of packages for a platform and a version of Python, as PEP 508 says.

use std::collections::HashMap;
use std::str::FromStr;

use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree, VerbatimUrl};

use super::platform::Platform;
use super::python_version::PythonVersion;

/// The parser calls itself for parentheses, and compares all pairs of extras.
const LONGEST: usize = 16 << 10;
const DEEPEST: usize = 40;
const MOST_EXTRAS: usize = 24;

/// If only `3.11` is declared, a package counts that any patch of it would install: these are tried.
const PATCHES: std::ops::RangeInclusive<u32> = 0..=30;

/// Evaluates markers, each text once.
pub struct Markers {
    environments: Vec<MarkerEnvironment>,
    extras: Vec<ExtraName>,
    known: HashMap<String, bool>,
}

impl Markers {
    /// `None` for what has no markers, as a platform that no package knows.
    pub fn new(platform: &Platform, python: PythonVersion) -> Markers {
        let patches: Vec<u32> = python.patch.map_or_else(|| PATCHES.collect(), |patch| vec![patch]);
        let environments = patches.into_iter().filter_map(|patch| of(platform, python.minor, patch)).collect();
        Markers { environments, extras: Vec::new(), known: HashMap::new() }
    }

    /// Also evaluates `extra == NAME` for these names.
    pub fn with_extras<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Markers {
        self.extras.extend(names.into_iter().filter_map(|name| ExtraName::from_str(name).ok()));
        self
    }

    /// Whether a marker holds. Errors: it is not a marker, as a sentence without its subject.
    pub fn hold(&mut self, text: &str) -> Result<bool, String> {
        if let Some(known) = self.known.get(text) {
            return Ok(*known);
        }
        let tree = parse(text)?;
        let hold = self.holds_tree(&tree, text.contains("full_version") || text.contains("implementation_version"));
        self.known.insert(text.to_string(), hold);
        Ok(hold)
    }

    /// Whether a parsed marker holds; `by_patch` if it may depend on the patch version of Python.
    pub fn holds_tree(&self, tree: &MarkerTree, by_patch: bool) -> bool {
        let tried = if by_patch { self.environments.len() } else { 1 };
        self.environments.iter().take(tried).any(|environment| tree.evaluate(environment, &self.extras))
    }
}

/// Errors: it is not a marker, as a sentence without its subject.
fn parse(text: &str) -> Result<MarkerTree, String> {
    check_size(text)?;
    MarkerTree::parse_str::<VerbatimUrl>(text).map_err(|e| format!("is not a marker: {}", first_line(&e.to_string())))
}

/// Whether the parser can read it without using up stack and time.
pub fn check_size(text: &str) -> Result<(), String> {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let extras = text.matches("extra").count() + text.matches(" in ").count();
    if text.len() > LONGEST || deepest > DEEPEST || extras > MOST_EXTRAS {
        return Err("is a marker that is too large".into());
    }
    Ok(())
}

/// The first line of a message of a parser.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn of(platform: &Platform, minor: u32, patch: u32) -> Option<MarkerEnvironment> {
    let full = format!("3.{minor}.{patch}");
    let short = format!("3.{minor}");
    let system = match platform.system.as_str() {
        "linux" => "Linux",
        "darwin" => "Darwin",
        other => other,
    };
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &full,
        os_name: "posix",
        platform_machine: &platform.machine,
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: system,
        platform_version: "",
        python_full_version: &full,
        python_version: &short,
        sys_platform: &platform.system,
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_for_a_platform_and_a_version() {
        for (marker, linux_311, darwin_312) in [
            ("sys_platform == 'linux'", true, false),
            ("sys_platform == 'win32'", false, false),
            ("platform_system == 'Darwin' and platform_machine == 'arm64'", false, true),
            ("python_version < '3.12'", true, false),
            ("python_full_version < '3.12'", true, false),
            // As in uv, a pre-release counts as its release, which is one of the patches that are tried.
            ("python_full_version <= '3.11.0a6'", true, false),
            ("python_full_version < '3.11.3'", true, false),
            ("python_full_version >= '3.11.3' and sys_platform == 'linux'", true, false),
            ("os_name == 'posix' or implementation_name == 'pypy'", true, true),
            ("python_version in '3.10 3.11'", true, false),
            ("extra == 'gpu'", true, true),
            ("extra == 'cpu'", false, false),
            ("'linux' in sys_platform", true, false),
        ] {
            for (platform, python, want) in [("linux-x86_64", "3.11", linux_311), ("darwin-arm64", "3.12", darwin_312)]
            {
                let platform = Platform::parse(platform).unwrap();
                let python = PythonVersion::parse(python).unwrap();
                let mut markers = Markers::new(&platform, python).with_extras(["gpu"]);
                assert_eq!(markers.hold(marker), Ok(want), "{marker} on {platform}");
            }
        }
    }

    #[test]
    fn a_declared_patch_is_exact() {
        let platform = Platform::parse("linux-x86_64").unwrap();
        for (python, want) in [("3.11.2", true), ("3.11.3", false), ("3.11", true)] {
            let mut markers = Markers::new(&platform, PythonVersion::parse(python).unwrap());
            assert_eq!(markers.hold("python_full_version < '3.11.3'"), Ok(want), "{python}");
        }
    }

    #[test]
    fn hostile_markers_are_refused() {
        let platform = Platform::parse("linux-x86_64").unwrap();
        let mut markers = Markers::new(&platform, PythonVersion::parse("3.11").unwrap());
        let deep = format!("{}os_name == 'a'{}", "(".repeat(100_000), ")".repeat(100_000));
        let pairs: Vec<String> = (0..40).map(|n| format!("(extra == 'a{n}' and extra == 'b{n}')")).collect();
        for text in [&deep[..], &pairs.join(" or "), "os_name", "", "x == y", "os_name == 'a' and"] {
            assert!(markers.hold(text).is_err(), "{}", &text[..text.len().min(60)]);
        }
    }
}
