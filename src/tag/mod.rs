//! The grammar of registry tags: what the name of a tag says about a model.
//!
//! It is GTO's (Git Tag Ops, the grammar behind DVC's model registry), so that existing registries keep working:
//!
//! ```text
//! NAME@v1.2.0            registers a version           NAME@v1.2.0!          withdraws it
//! NAME#prod#3            gives it the label `prod`     NAME#prod!#4          removes the label
//! NAME@deprecated        deprecates the model          NAME@created          announces it
//! ```
//!
//! Each may end in a counter `#N`; GTO's plain style leaves the counter of labels out. NAME is the artifact's, preceded
//! by the folder of its pipeline file and `=` if that is not the root: `models/a=digits@v1.2.0`. On the command line,
//! where people read it, the separator is `:`. Names are a little wider than GTO's (capitals, `_` and `.` inside),
//! since artifacts with such names exist; names that Git forbids in a tag are forbidden here.
//!
//! This module is separate from the registry because revisions use the grammar: `digits#prod` names a commit. [`fold`]
//! computes the state of a model from all of its tags.

pub mod block;
pub mod fold;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result as Checked};
use crate::path::RepoPath;

/// An artifact in the registry: the folder of its pipeline file, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    /// Empty for the root.
    folder: String,
    name: String,
}

/// A semantic version. Written with a `v`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// Which part of a version is incremented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// The first number; the others become 0.
    Major,
    /// The second number; the third becomes 0.
    Minor,
    /// The third number.
    Patch,
}

/// The name of a stage in a model's life: `prod`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// What a tag does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `NAME@v1.2.0`: registers a version.
    Register(Version),
    /// `NAME@v1.2.0!`: withdraws a version.
    Deregister(Version),
    /// `NAME#prod#3`: assigns a label to the version on the commit.
    Promote(Label),
    /// `NAME#prod!#4`: removes a label from the version on the commit.
    Demote(Label),
    /// `NAME@deprecated`: deprecates the whole model.
    Deprecate,
    /// `NAME@created`: announces the model.
    Create,
}

/// A parsed tag name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTag {
    /// The model.
    pub name: ModelName,
    /// What the tag does.
    pub action: Action,
    /// The number after the last `#`; `None` if the name has none.
    pub counter: Option<u64>,
}

/// A request for a model, one of its versions, or the version with a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// The model, as the user named it: the folder may be left out if the name is unique.
    pub name: ModelName,
    /// Which version.
    pub which: Which,
}

/// The requested version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// No selector, or `@latest`.
    Latest,
    /// `NAME@v1.2.0`
    Version(Version),
    /// `NAME#prod`: the version that has the label now.
    Label(Label),
}

impl ModelName {
    /// `folder` is the path of the pipeline file's folder, empty for the root. The error is the end of a sentence.
    pub fn new(folder: &str, name: &str) -> Result<ModelName, String> {
        if name.is_empty() {
            return Err("is empty".into());
        }
        // A `/` is fine in both; the folder may begin with a dot or an underline, the name not.
        allowed(name)?;
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if !edge(name.chars().next()) || !edge(name.chars().last()) {
            return Err("must begin and end with a letter or a digit".into());
        }
        allowed(folder).map_err(|why| format!("is in the folder {folder}, which {why}"))?;
        if folder.starts_with(['/', '-']) || folder.ends_with(['/', '.']) {
            return Err(format!("is in the folder {folder}, which is not allowed in the name of a tag"));
        }
        Ok(ModelName { folder: folder.into(), name: name.into() })
    }

    /// The path of the pipeline file's folder; empty for the root.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The name without its folder.
    pub fn short(&self) -> &str {
        &self.name
    }

    fn in_tag(&self) -> String {
        if self.folder.is_empty() { self.name.clone() } else { format!("{}={}", self.folder, self.name) }
    }

    fn parse(text: &str, between: char) -> Result<ModelName, String> {
        let (folder, name) = text.rsplit_once(between).unwrap_or(("", text));
        if text.starts_with(between) {
            return Err("has no folder before it".into());
        }
        ModelName::new(folder, name)
    }
}

/// Resolves a name typed in the folder `cwd`: with a folder it is complete; a bare one is looked up in `cwd`, then in
/// the root, then anywhere.
///
/// Errors: several folders have one.
pub fn resolve_name(typed: &ModelName, known: &BTreeSet<ModelName>, cwd: &RepoPath) -> Checked<ModelName> {
    if !typed.folder().is_empty() {
        return Ok(typed.clone());
    }
    if let Ok(here) = ModelName::new(cwd.as_str(), typed.short())
        && known.contains(&here)
    {
        return Ok(here);
    }
    let found: Vec<&ModelName> = known.iter().filter(|name| name.short() == typed.short()).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        _ if known.contains(typed) || found.is_empty() => Ok(typed.clone()),
        _ => {
            let names: Vec<String> = found.iter().map(|name| name.to_string()).collect();
            Err(Error::usage(format!("several folders have a {typed}")).hint(format!("write {}", names.join(" or "))))
        }
    }
}

/// Letters, digits, and `-`, `_`, `.`, `/` where Git allows them in a tag.
fn allowed(text: &str) -> Result<(), String> {
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_./".contains(*c)) {
        return Err(format!("has {c:?} in it, which is not allowed in the name of a tag"));
    }
    let part = |p: &str| p.is_empty() || p.starts_with('.') || p.ends_with(".lock");
    if text.contains("..") || (!text.is_empty() && text.split('/').any(part)) {
        return Err("is not allowed in the name of a tag: Git forbids `..`, `//`, `/.` and `.lock` there".into());
    }
    Ok(())
}

impl Version {
    /// The lowest version: the base of the first `--bump`.
    pub fn zero() -> Version {
        Version(semver::Version::new(0, 0, 0))
    }

    /// The next version. A pre-release is bumped to its release, as in `npm version`.
    pub fn bumped(&self, by: Bump) -> Version {
        let v = &self.0;
        let pre = !v.pre.is_empty();
        let (major, minor, patch) = match by {
            Bump::Major if pre && v.minor == 0 && v.patch == 0 => (v.major, 0, 0),
            Bump::Major => (v.major.saturating_add(1), 0, 0),
            Bump::Minor if pre && v.patch == 0 => (v.major, v.minor, 0),
            Bump::Minor => (v.major, v.minor.saturating_add(1), 0),
            Bump::Patch if pre => (v.major, v.minor, v.patch),
            Bump::Patch => (v.major, v.minor, v.patch.saturating_add(1)),
        };
        Version(semver::Version::new(major, minor, patch))
    }

    /// Returns true for `v1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl Action {
    /// The label that the tag refers to.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Action::Promote(label) | Action::Demote(label) => Some(label),
            _ => None,
        }
    }
}

/// With or without its `v`.
impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        let version =
            semver::Version::parse(digits).map_err(|e| format!("`{text}` is not a version like v1.2.0: {e}"))?;
        Ok(Version(version))
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Label, String> {
        ModelName::new("", text).map_err(|why| format!("the label `{text}` {why}"))?;
        // `release#1` is not a tag of a registry, and `digits#1#2` would have two counters.
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("the label `{text}` is a number, as counters are"));
        }
        Ok(Label(text.into()))
    }
}

/// In the form that people type: `digits`, `models/a:digits`.
impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<ModelName, String> {
        ModelName::parse(text, ':').map_err(|why| format!("the name `{text}` {why}"))
    }
}

impl FromStr for ModelRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<ModelRequest, String> {
        let (name, which) = match (text.split_once('#'), text.split_once('@')) {
            (Some((name, label)), _) => (name, Which::Label(label.parse()?)),
            (None, Some((name, "latest"))) => (name, Which::Latest),
            (None, Some((name, version))) => (name, Which::Version(version.parse()?)),
            (None, None) => (text, Which::Latest),
        };
        Ok(ModelRequest { name: name.parse()?, which })
    }
}

impl ModelTag {
    /// Git patterns that match the names of all tags of a model, and of some others.
    pub fn patterns(name: &ModelName) -> Vec<String> {
        ["@*", "#*"].map(|rest| name.in_tag() + rest).into()
    }
}

/// The name of a tag, without `refs/tags/`. The error has no details: it is a tag of another program.
impl FromStr for ModelTag {
    type Err = ();

    fn from_str(text: &str) -> Result<ModelTag, ()> {
        let at = text.find(['@', '#']).ok_or(())?;
        let name = ModelName::parse(&text[..at], '=').map_err(drop)?;
        let (rest, counter) = match text[at + 1..].split_once('#') {
            Some((rest, number)) => (rest, Some(counter(number).ok_or(())?)),
            None => (&text[at + 1..], None),
        };
        let (word, cancels) = rest.strip_suffix('!').map_or((rest, false), |word| (word, true));
        let action = match (&text[at..=at], word, cancels) {
            ("@", "deprecated", false) => Action::Deprecate,
            ("@", "created", false) => Action::Create,
            ("@", version, cancels) if version.starts_with('v') => {
                let version: Version = version.parse().map_err(drop)?;
                if cancels { Action::Deregister(version) } else { Action::Register(version) }
            }
            ("#", label, cancels) => {
                let label: Label = label.parse().map_err(drop)?;
                if cancels { Action::Demote(label) } else { Action::Promote(label) }
            }
            _ => return Err(()),
        };
        Ok(ModelTag { name, action, counter })
    }
}

fn counter(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder)?;
        f.write_str(if self.folder.is_empty() { "" } else { ":" })?;
        f.write_str(&self.name)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the tag.
impl fmt::Display for ModelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.in_tag())?;
        match &self.action {
            Action::Register(version) => write!(f, "@{version}"),
            Action::Deregister(version) => write!(f, "@{version}!"),
            Action::Promote(label) => write!(f, "#{label}"),
            Action::Demote(label) => write!(f, "#{label}!"),
            Action::Deprecate => f.write_str("@deprecated"),
            Action::Create => f.write_str("@created"),
        }?;
        self.counter.map_or(Ok(()), |n| write!(f, "#{n}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_written_the_same() {
        for tag in [
            "digits@v1.2.0",
            "digits@v1.2.0!",
            "digits@v1.2.0-rc.1+build.5",
            "digits@v1.2.0#2",
            "digits@v1.2.0!#3",
            "digits#prod#3",
            "digits#prod!#4",
            "digits#prod",
            "digits#prod!",
            "digits#eu/prod#12",
            "digits@deprecated",
            "digits@deprecated#2",
            "digits@created",
            "models/a=digits@v0.0.1",
            "some/folder=some/model#dev#1",
            "Big_Model.v2@v1.0.0",
            "1@v1.0.0",
        ] {
            let parsed: ModelTag = tag.parse().unwrap_or_else(|()| panic!("{tag}"));
            assert_eq!(parsed.to_string(), tag);
        }
        let tag: ModelTag = "models/a=digits#prod!#4".parse().unwrap();
        assert_eq!((tag.name.to_string().as_str(), tag.counter), ("models/a:digits", Some(4)));
        assert_eq!(tag.action, Action::Demote(Label("prod".into())));
    }

    #[test]
    fn other_peoples_tags_are_none_of_ours() {
        for tag in [
            "",
            "v1.2.0",
            "digits",
            "digits@1.2.0",
            "digits@v1.2",
            "digits@v1",
            "digits@latest",
            "digits@v1.2.0.0",
            "digits@v01.2.0",
            "digits@v1.2.0!!",
            "digits@created!",
            "@v1.2.0",
            "#prod#1",
            "=a@v1.0.0",
            "a=@v1.0.0",
            "@scope/pkg@v1.0.0",
            "digits##1",
            "digits#prod#",
            "digits#prod#x",
            "digits#prod#-1",
            "digits#prod#+1",
            "digits#prod#99999999999999999999",
            "digits#-prod#1",
            "digits@v1.2.0@v1",
            "a b@v1.0.0",
            "a\u{1b}[2J@v1.0.0",
            "../a@v1.0.0",
            "a/../b@v1.0.0",
            "-a@v1.0.0",
            "a-@v1.0.0",
            "a=b=c d@v1.0.0",
            "é@v1.0.0",
            "digits#prod!!#1",
            "release#1",
            "digits#1#2",
        ] {
            assert!(tag.parse::<ModelTag>().is_err(), "{tag}");
        }
    }

    #[test]
    fn what_is_asked_for() {
        for (text, name, which) in [
            ("digits", "digits", Which::Latest),
            ("digits@latest", "digits", Which::Latest),
            ("digits@1.2.0", "digits", Which::Version("v1.2.0".parse().unwrap())),
            ("models/a:digits@v1.2.0", "models/a:digits", Which::Version("v1.2.0".parse().unwrap())),
            ("digits#prod", "digits", Which::Label("prod".parse().unwrap())),
        ] {
            let asked: ModelRequest = text.parse().unwrap();
            assert_eq!((asked.name.to_string().as_str(), asked.which), (name, which), "{text}");
        }
        for (text, why) in [
            ("digits@one", "not a version like v1.2.0"),
            ("my model", "' '"),
            (":digits", "no folder"),
            ("digits#", "is empty"),
            ("a..b", "Git forbids"),
            ("a_", "begin and end"),
        ] {
            let error = text.parse::<ModelRequest>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn versions_go_up() {
        for (from, by, to) in [
            ("0.0.0", Bump::Patch, "v0.0.1"),
            ("0.0.0", Bump::Major, "v1.0.0"),
            ("v1.2.3", Bump::Minor, "v1.3.0"),
            ("v1.2.3+x", Bump::Patch, "v1.2.4"),
            ("v1.3.0-rc.1", Bump::Minor, "v1.3.0"),
            ("v1.3.0-rc.1", Bump::Patch, "v1.3.0"),
            ("v1.3.0-rc.1", Bump::Major, "v2.0.0"),
            ("v2.0.0-rc.1", Bump::Major, "v2.0.0"),
        ] {
            assert_eq!(from.parse::<Version>().unwrap().bumped(by).to_string(), to, "{from} {by:?}");
        }
        let order: Vec<Version> =
            ["1.9.0", "1.10.0", "2.0.0-a", "2.0.0"].into_iter().map(|v| v.parse().unwrap()).collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn bare_names() {
        let known: BTreeSet<ModelName> =
            ["digits", "a:digits", "a:words", "b:words", "c/d:one"].iter().map(|n| n.parse().unwrap()).collect();
        let cwd = |text: &str| RepoPath::root().join(text).unwrap();
        for (typed, from, want) in [
            ("digits", ".", "digits"),
            ("digits", "a", "a:digits"),
            ("digits", "b", "digits"),
            ("one", ".", "c/d:one"),
            ("words", "b", "b:words"),
            ("words", ".", "several folders have a words"),
            ("new", "a", "new"),
            ("x:new", ".", "x:new"),
        ] {
            let found = resolve_name(&typed.parse().unwrap(), &known, &cwd(from));
            let shown = found.map_or_else(|e| e.message, |name| name.to_string());
            assert_eq!(shown, want, "{typed} from {from}");
        }
    }
}
