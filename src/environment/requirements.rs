//! Reads requirements files of pip, in which the version of each package must be exact. Pure.
//!
//! Comments, order and the spelling of names do not count. Packages are installed with `--no-deps`, so that the listed
//! ones are all there are.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep508_rs::pep440_rs::Operator;
use pep508_rs::{MarkerTree, Requirement, VerbatimUrl, VersionOrUrl};

use super::markers::{Markers, check_size, first_line};
use super::package::Package;
use super::uv_project::normalise;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::InputLocation;
use crate::shell::word;
use crate::url::redact_text;

/// The most files that include each other, and the most lines of all of them.
const MOST_FILES: usize = 100;
const MOST_LINES: usize = 200_000;

/// Options that decide which files are installed, each with its short form, and whether it has a value.
const COUNTED: &[(&str, &str, bool)] = &[
    ("--index-url", "-i", true),
    ("--extra-index-url", "", true),
    ("--find-links", "-f", true),
    ("--no-index", "", false),
    ("--no-binary", "", true),
    ("--only-binary", "", true),
];

/// The content of a requirements file and of those that it includes.
#[derive(Debug, Default)]
pub struct Requirements {
    /// The requirements file that was asked for.
    path: String,
    lines: Vec<RequirementLine>,
    /// Exact versions of constraints files.
    constraints: Vec<Constraint>,
    /// Options that count, without passwords, in their order.
    pub options: Vec<String>,
}

/// A version that a constraints file gives a package, where its marker holds.
#[derive(Debug)]
struct Constraint {
    name: String,
    version: String,
    marker: MarkerTree,
    by_patch: bool,
}

/// One package.
#[derive(Debug)]
struct RequirementLine {
    /// `requirements.txt:3`.
    at: String,
    /// As it is written.
    text: String,
    /// Without a version, that of a constraint counts.
    package: Package,
    has_version: bool,
    marker: MarkerTree,
    by_patch: bool,
    /// Whether it needs the network.
    is_url: bool,
}

/// What a line is worth before constraints are known.
struct Draft {
    at: String,
    text: String,
    name: String,
    version: Option<String>,
    source: String,
    local: Option<RepoPath>,
    hashes: Vec<String>,
    marker: MarkerTree,
    is_url: bool,
}

/// Reads a requirements file. Errors (usage): a line is not understood, or leaves the version open.
pub fn read(files: &dyn Files, path: &RepoPath) -> Result<Requirements> {
    let mut reader = RequirementsReader::default();
    let mut waiting = vec![(path.clone(), false)];
    let mut seen = BTreeSet::new();
    while let Some((path, is_constraint)) = waiting.pop() {
        if !seen.insert((path.to_string(), is_constraint)) {
            continue;
        }
        if seen.len() > MOST_FILES {
            return Err(Error::usage(format!("{path}: more than {MOST_FILES} files include each other")));
        }
        let bytes = files.read(&InputLocation::Repo(path.clone()))?.ok_or_else(|| {
            Error::missing(format!("{path} does not exist")).hint(format!(
                "make it, with exact versions: uv pip compile requirements.in -o {}",
                word(path.as_str())
            ))
        })?;
        let text = crate::value::decode(&bytes).map_err(|fault| fault.error(path.as_str(), ""))?;
        reader.file(&path, text, is_constraint, &mut waiting)?;
    }
    reader.finish(path)
}

#[derive(Default)]
struct RequirementsReader {
    drafts: Vec<Draft>,
    constraints: Vec<Constraint>,
    options: Vec<String>,
    lines: usize,
}

impl RequirementsReader {
    fn file(
        &mut self,
        path: &RepoPath,
        text: &str,
        is_constraint: bool,
        waiting: &mut Vec<(RepoPath, bool)>,
    ) -> Result<()> {
        for (number, line) in logical_lines(text) {
            self.lines += 1;
            let at = format!("{path}:{number}");
            if self.lines > MOST_LINES {
                return Err(Error::usage(format!("{at}: there are more than {MOST_LINES} requirements")));
            }
            if line.starts_with('-') {
                self.option(path, &at, &line, is_constraint, waiting)?;
                continue;
            }
            let draft = draft(path, &at, &line)?;
            if !is_constraint {
                self.drafts.push(draft);
            } else if let Some(version) = draft.version.clone() {
                let (by_patch, marker) = (draft.is_by_patch(), draft.marker);
                self.constraints.push(Constraint { name: draft.name, version, marker, by_patch });
            }
        }
        Ok(())
    }

    fn option(
        &mut self,
        path: &RepoPath,
        at: &str,
        line: &str,
        is_constraint: bool,
        waiting: &mut Vec<(RepoPath, bool)>,
    ) -> Result<()> {
        for (long, short, is_file_of_constraints) in
            [("--requirement", "-r", is_constraint), ("--constraint", "-c", true)]
        {
            let Some(name) = value_of(line, long, short) else { continue };
            if name.contains("://") {
                return Err(Error::usage(format!("{at}: {} is not a file of the repository", redact_text(&name))));
            }
            let folder = path.parent().unwrap_or_default();
            let included = folder.join(&name);
            let included =
                included.ok_or_else(|| Error::usage(format!("{at}: {name} is outside of the repository")))?;
            waiting.push((included, is_file_of_constraints));
            return Ok(());
        }
        if value_of(line, "--editable", "-e").is_some() {
            return Err(Error::usage(format!("{at}: an editable package has no version"))
                .hint("name its folder or wheel without -e: its content counts then")
                .hint("or put the code into `deps` of the stage, and its folder into PYTHONPATH"));
        }
        for (long, short, has_value) in COUNTED {
            if *has_value && let Some(value) = value_of(line, long, short) {
                self.options.push(format!("{long} {}", redact_text(&value)));
            } else if !has_value && line == *long {
                self.options.push(long.to_string());
            }
        }
        Ok(())
    }

    fn finish(self, path: &RepoPath) -> Result<Requirements> {
        let mut lines = Vec::new();
        for draft in self.drafts {
            let is_constrained = self.constraints.iter().any(|constraint| constraint.name == draft.name);
            if draft.version.is_none() && !is_constrained {
                return Err(unpinned(path.as_str(), &draft.at, &draft.text));
            }
            lines.push(RequirementLine {
                by_patch: draft.is_by_patch(),
                at: draft.at,
                text: draft.text,
                marker: draft.marker,
                has_version: draft.version.is_some(),
                is_url: draft.is_url,
                package: Package {
                    name: draft.name,
                    version: draft.version.unwrap_or_default(),
                    source: draft.source,
                    hashes: draft.hashes,
                    local: draft.local,
                },
            });
        }
        Ok(Requirements { path: path.to_string(), lines, constraints: self.constraints, options: self.options })
    }
}

impl Requirements {
    /// The packages that are installed where these markers hold, sorted.
    ///
    /// Errors (usage): a package is listed with two versions, or no constraint that holds there gives it one.
    pub fn resolve(&self, markers: &Markers) -> Result<Vec<Package>> {
        let mut found: BTreeMap<String, (&str, Package)> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| markers.holds_tree(&line.marker, line.by_patch)) {
            let version =
                if line.has_version { line.package.version.clone() } else { self.constrained(line, markers)? };
            let package = Package { version, ..line.package.clone() };
            if let Some((at, other)) = found.get(&package.name)
                && (&other.version, &other.source) != (&package.version, &package.source)
            {
                let (name, first, second) = (&package.name, &other.version, &package.version);
                return Err(Error::usage(format!("{}: {name} is {second} here and {first} in {at}", line.at)));
            }
            found.insert(package.name.clone(), (&line.at, package));
        }
        Ok(found.into_values().map(|(_, package)| package).collect())
    }

    /// The version that the constraints give a package where these markers hold.
    fn constrained(&self, line: &RequirementLine, markers: &Markers) -> Result<String> {
        let of_line = self.constraints.iter().filter(|constraint| constraint.name == line.package.name);
        let versions: BTreeSet<&String> = of_line
            .filter(|constraint| markers.holds_tree(&constraint.marker, constraint.by_patch))
            .map(|constraint| &constraint.version)
            .collect();
        match versions.iter().collect::<Vec<_>>()[..] {
            [version] => Ok(version.to_string()),
            _ => Err(unpinned(&self.path, &line.at, &line.text)),
        }
    }

    /// The place of a requirement that has to be fetched from an address.
    pub fn first_url(&self) -> Option<&str> {
        self.lines.iter().find(|line| line.is_url).map(|line| line.at.as_str())
    }
}

impl Draft {
    /// Whether its marker asks for the patch of Python's version.
    fn is_by_patch(&self) -> bool {
        self.text.contains("full_version") || self.text.contains("implementation_version")
    }
}

fn unpinned(path: &str, at: &str, text: &str) -> Error {
    let file = word(path);
    Error::usage(format!("{at}: `{}` leaves the version open", redact_text(text)))
        .because("an environment is an input of a stage, so each package needs one exact version: NAME==VERSION")
        .hint(format!("pin all of them: uv pip compile requirements.in -o {file}"))
        .hint(format!("or pin what is installed where it works: pip freeze > {file}"))
}

/// Lines joined at a backslash, without comments and empty ones, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        let (number, mut joined) = open.take().unwrap_or((at + 1, String::new()));
        match line.strip_suffix('\\') {
            Some(part) if !is_comment => {
                joined.push_str(part);
                open = Some((number, joined));
                continue;
            }
            _ => joined.push_str(if is_comment { "" } else { line }),
        }
        lines.push((number, joined));
    }
    lines.extend(open);
    let without_comment = |line: &str| {
        let end = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(char::is_whitespace) || *at == 0);
        line[..end.map_or(line.len(), |(at, _)| at)].trim().to_string()
    };
    let lines = lines.into_iter().map(|(number, line)| (number, without_comment(&line)));
    lines.filter(|(_, line)| !line.is_empty()).collect()
}

/// The value of an option that is the whole line: `--index-url URL`, `--index-url=URL`, `-i URL`, `-iURL`.
fn value_of(line: &str, long: &str, short: &str) -> Option<String> {
    let rest = line.strip_prefix(long).filter(|rest| rest.starts_with(['=', ' ', '\t']));
    let rest = rest.or_else(|| line.strip_prefix(short).filter(|_| !short.is_empty() && !line.starts_with("--")))?;
    let value = rest.trim_start_matches(['=', ' ', '\t']).trim();
    Some(value.trim_matches(['"', '\'']).to_string())
}

/// Parses one requirement with its options.
fn draft(path: &RepoPath, at: &str, line: &str) -> Result<Draft> {
    let (text, options) = match line.find(" --") {
        Some(end) => (line[..end].trim(), &line[end..]),
        None => (line, ""),
    };
    let mut hashes = hashes_of(options);
    let wrong = |why: &str| Error::usage(format!("{at}: `{}` {why}", redact_text(text)));
    check_size(text).map_err(|why| wrong(&why))?;
    let (target, marker_text) = match text.split_once(" @ ") {
        Some((_, rest)) => split_marker(rest),
        None => split_marker(text),
    };
    let is_named = text.contains(" @ ");
    if !is_named && !is_path(target) && !target.contains("://") {
        let requirement = Requirement::<VerbatimUrl>::from_str(text)
            .map_err(|e| wrong(&format!("is not a requirement: {}", first_line(&e.to_string()))))?;
        return Ok(Draft {
            at: at.into(),
            text: text.into(),
            name: requirement.name.to_string(),
            version: exact(&requirement),
            source: String::new(),
            local: None,
            hashes,
            marker: requirement.marker,
            is_url: false,
        });
    }
    let marker = match marker_text {
        Some(marker) => MarkerTree::parse_str::<VerbatimUrl>(marker)
            .map_err(|e| wrong(&format!("has a marker that is not one: {}", first_line(&e.to_string()))))?,
        None => MarkerTree::TRUE,
    };
    let name = match text.split_once(" @ ") {
        Some((name, _)) => name.split('[').next().unwrap_or_default().trim(),
        None => fragment_of(target, "egg=").unwrap_or_else(|| file_name(target).split('-').next().unwrap_or_default()),
    };
    let name = normalise(name).ok_or_else(|| wrong("does not name a package"))?;
    let local = target.strip_prefix("file:").unwrap_or(target);
    let mut draft = Draft {
        at: at.into(),
        text: text.into(),
        name,
        version: None,
        source: source_of(target),
        local: None,
        hashes: Vec::new(),
        marker,
        is_url: false,
    };
    if is_path(local) {
        let inside = if local.starts_with('/') { None } else { path.parent().unwrap_or_default().join(local) };
        draft.local =
            Some(inside.ok_or_else(|| wrong("is not a path inside of the repository, from the folder of this file"))?);
        (draft.source, draft.version) = ("file".into(), Some(version_in(local)));
    } else {
        hashes.extend(target.split_once('#').into_iter().flat_map(|(_, fragment)| hashes_in(fragment)));
        draft.is_url = true;
        draft.version = (!hashes.is_empty() || is_commit(target)).then(|| version_in(target));
    }
    hashes.sort();
    draft.hashes = hashes;
    Ok(draft)
}

/// A target and its marker, which follows a `;` with a space before it.
fn split_marker(text: &str) -> (&str, Option<&str>) {
    match text.split_once(" ;") {
        Some((target, marker)) => (target.trim(), Some(marker.trim())),
        None => (text.trim(), None),
    }
}

fn hashes_of(options: &str) -> Vec<String> {
    let mut hashes: Vec<String> =
        options.split_whitespace().filter_map(|option| option.strip_prefix("--hash=").map(str::to_string)).collect();
    let mut words = options.split_whitespace();
    while let Some(option) = words.next() {
        if option == "--hash" {
            hashes.extend(words.next().map(str::to_string));
        }
    }
    hashes.sort();
    hashes.dedup();
    hashes
}

/// An address without password and hash, with the folder in it that is installed.
fn source_of(target: &str) -> String {
    let address = redact_text(target.split('#').next().unwrap_or_default()).to_string();
    match fragment_of(target, "subdirectory=") {
        Some(folder) => format!("{address} {folder}"),
        None => address,
    }
}

/// A value in the fragment of an address.
fn fragment_of<'t>(target: &'t str, key: &str) -> Option<&'t str> {
    target.split_once('#')?.1.split('&').find_map(|part| part.strip_prefix(key))
}

/// `sha256=…` in the fragment of an address.
fn hashes_in(fragment: &str) -> Vec<String> {
    let strong = ["sha256=", "sha384=", "sha512="];
    let parts = fragment.split('&').filter(|part| strong.iter().any(|algorithm| part.starts_with(algorithm)));
    parts.map(|part| part.replacen('=', ":", 1)).collect()
}

/// Whether an address names a commit of a Git repository by its whole id: `git+https://host/x@ID`.
fn is_commit(target: &str) -> bool {
    let address = target.split('#').next().unwrap_or_default();
    let id = address.rsplit_once('@').map_or("", |(_, id)| id);
    target.starts_with("git+") && [40, 64].contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_path(target: &str) -> bool {
    let archive = [".whl", ".tar.gz", ".zip"].iter().any(|end| target.ends_with(end));
    !target.contains("://") && (target.starts_with(['.', '/']) || archive)
}

fn file_name(target: &str) -> &str {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The version in the name of a wheel or an archive, for messages.
fn version_in(target: &str) -> String {
    let name = file_name(target);
    let stem = [".whl", ".tar.gz", ".zip"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or_default();
    stem.split('-').nth(1).unwrap_or_default().to_string()
}

/// The version of `==` or `===`, normalised.
fn exact(requirement: &Requirement<VerbatimUrl>) -> Option<String> {
    let Some(VersionOrUrl::VersionSpecifier(range)) = &requirement.version_or_url else { return None };
    let is_exact = |operator: &Operator| matches!(operator, Operator::Equal | Operator::ExactEqual);
    range.iter().find(|part| is_exact(part.operator())).map(|part| part.version().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::platform::Platform;
    use super::super::python_version::PythonVersion;
    use super::*;
    use crate::pipeline::load::memory::Memory;

    fn read_files(files: &[(&str, &str)]) -> Result<Requirements> {
        read(&Memory::new(files), &RepoPath::root().join("r.txt").unwrap())
    }

    fn resolved(files: &[(&str, &str)], platform: &str, python: &str) -> Result<String> {
        let python = PythonVersion::parse(python).unwrap();
        let markers = Markers::new(&Platform::parse(platform).unwrap(), python);
        let found = read_files(files)?.resolve(&markers)?;
        let line =
            |p: &Package| format!("{} {} {} {}", p.name, p.version, p.source, p.hashes.join(" ")).trim().to_string();
        Ok(found.iter().map(line).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn what_is_installed() {
        for (text, want) in [
            ("", ""),
            ("# nothing\n\n  # at all\n", ""),
            ("b==1\na==2 # c\n", "a 2, b 1"),
            ("My.Pkg_x==1.0\n", "my-pkg-x 1.0"),
            ("a[x,y]==1.00\n", "a 1.0"),
            ("a == 1 ; python_version < '3.12'\nb===2; sys_platform == 'win32'", "a 1"),
            ("a==1 \\\n    --hash=sha256:bb \\\n    --hash sha256:aa\n", "a 1  sha256:aa sha256:bb"),
            ("a==1 \\\n  # via b\n", "a 1"),
            ("a @ https://h/a-1.whl#sha256=ff", "a 1 https://h/a-1.whl sha256:ff"),
            ("https://h/a-1-py3.whl --hash=sha256:ff", "a 1 https://h/a-1-py3.whl sha256:ff"),
            ("./w/a-1.0-py3-none-any.whl", "a 1.0 file"),
            ("a @ file:w/a-1.0.tar.gz ; os_name == 'posix'", "a 1.0 file"),
            ("a==1\nA==1\n", "a 1"),
            ("-r more.txt\na==1", "a 1, m 3"),
            ("-c pins.txt\nn\nm>2\n", "m 3, n 4"),
            ("--requirement=more.txt\n--constraint pins.txt\n", "m 3"),
            ("-c marks.txt\nq\n", "q 1.24"),
            ("--index-url https://u:p@h/s\n--no-index\n--pre\na==1", "a 1"),
        ] {
            let files = [
                ("r.txt", text),
                ("more.txt", "m==3\n-r r.txt\n"),
                ("pins.txt", "n==4\nm==3\nother>1\n"),
                ("marks.txt", "q==1.24 ; python_version >= '3.9'\nq==1.21 ; python_version < '3.9'\n"),
            ];
            assert_eq!(resolved(&files, "linux-x86_64", "3.11").map_err(|e| e.message).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, want) in [
            ("numpy", "r.txt:1: `numpy` leaves the version open"),
            ("\nnumpy>=1", "r.txt:2: `numpy>=1` leaves the version open"),
            ("numpy==1.*", "leaves the version open"),
            ("a @ https://h/a-1.whl", "leaves the version open"),
            ("git+https://h/a@main#egg=a", "leaves the version open"),
            ("a @ git+https://u:secret@h/a@main", "leaves the version open"),
            ("-e .", "an editable package has no version"),
            ("./../x.whl", "is not a path inside of the repository"),
            ("/x.whl", "is not a path inside of the repository"),
            ("-r ../x.txt", "is outside of the repository"),
            ("-r https://h/x.txt", "is not a file of the repository"),
            ("-r gone.txt", "gone.txt does not exist"),
            ("a==1\na==2", "a is 2 here and 1 in r.txt:1"),
            ("a b c", "is not a requirement"),
            ("a==1; x", "is not a requirement"),
        ] {
            let error = resolved(&[("r.txt", text)], "linux-x86_64", "3.11").unwrap_err();
            assert!(error.message.contains(want), "{text}: {}", error.message);
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    #[test]
    fn options_that_choose_files_count() {
        let text = "-i https://u:secret@h/simple\n--find-links=wheels\n--no-index\n--trusted-host h\n";
        let found = read_files(&[("r.txt", text)]).unwrap();
        assert_eq!(found.options[1..], ["--find-links wheels", "--no-index"]);
        assert!(found.options[0].starts_with("--index-url https://") && !found.options[0].contains("secret"));
        assert!(read_files(&[("r.txt", "a @ https://h/a-1.whl#sha256=ff")]).unwrap().first_url().is_some());
    }
}
