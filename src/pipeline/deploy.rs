//! Deployment targets: the entries of `deploy` in a pipeline file, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::value::{Mark, Value};

/// The subcommands of `lockstep deploy`, which no target may be named like.
pub const RESERVED_TARGETS: [&str; 4] = ["status", "log", "hold", "resume"];

/// An entry of `deploy`: a place, which version belongs there, and the commands around the switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeployTarget {
    /// The key below `deploy`; unique in the repository.
    pub name: String,
    /// The artifact as written; `None`: the only one of the repository.
    pub artifact: Option<String>,
    /// The label that the target follows; `None`: the latest version.
    pub label: Option<String>,
    /// The folder as written; `None`: the settings of the clone or the command line name it.
    pub to: Option<String>,
    /// How many releases stay besides the current one and the one before.
    pub keep: Option<u64>,
    /// The command that runs before the switch.
    pub check: Option<String>,
    /// The command that runs after the switch, and after a way back.
    pub after: Option<String>,
    /// A URL, or a command, that is asked until it holds.
    pub healthy: Option<String>,
    /// The limit of each of the three.
    pub timeout: Option<Duration>,
    /// What a version needs.
    pub require: Vec<Requirement>,
    /// How files get into a release.
    pub link: Option<ReleaseLink>,
    /// The place of the name in the pipeline file.
    pub mark: Mark,
}

/// What a version needs before it is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Requirement {
    /// The tags that it is found by have good signatures.
    Signed,
    /// A remote has its bytes.
    Stored,
}

/// How files get into a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseLink {
    /// A clone if the file system can, else a copy.
    #[default]
    Reflink,
    /// Always a copy.
    Copy,
    /// The file of the store itself: an application that writes to it damages the store.
    Hardlink,
}

impl Requirement {
    /// The words of pipeline files and of the command line.
    pub const WORDS: &[&str] = &["signed", "stored"];
}

impl std::str::FromStr for Requirement {
    type Err = String;

    fn from_str(word: &str) -> Result<Requirement, String> {
        match word {
            "signed" => Ok(Requirement::Signed),
            "stored" => Ok(Requirement::Stored),
            _ => Err(format!("`{word}` is not one of {}", Requirement::WORDS.join(", "))),
        }
    }
}

impl ReleaseLink {
    /// The words of pipeline files and of the command line.
    pub const WORDS: &[&str] = &["reflink", "copy", "hardlink"];
}

impl std::str::FromStr for ReleaseLink {
    type Err = String;

    fn from_str(word: &str) -> Result<ReleaseLink, String> {
        match word {
            "reflink" => Ok(ReleaseLink::Reflink),
            "copy" => Ok(ReleaseLink::Copy),
            "hardlink" => Ok(ReleaseLink::Hardlink),
            _ => Err(format!("`{word}` is not one of {}", ReleaseLink::WORDS.join(", "))),
        }
    }
}

/// A length of time as in `60s`, `2m`, `1h`, `500ms`; a bare number is seconds. At most a week.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const LONGEST: u64 = 7 * 24 * 60 * 60 * 1000;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let is_plain = !number.starts_with('0');
    let length = number.parse::<u64>().ok().filter(|_| is_plain).zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    match length.filter(|length| *length <= LONGEST) {
        Some(length) => Ok(Duration::from_millis(length)),
        None => Err(format!("`{text}` is not a time like 60s, 2m or 1h, of at most a week")),
    }
}

/// Why a target may not have this name; `None` if it may.
pub fn name_problem(name: &str) -> Option<String> {
    if RESERVED_TARGETS.contains(&name) {
        return Some("is a subcommand of `lockstep deploy`".into());
    }
    // The name is part of a ref and of a setting's key.
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(is_fine) || name.starts_with(['-', '_']) {
        return Some("must be letters, digits, `-` and `_`, and begin with a letter or a digit".into());
    }
    None
}

/// The target of a checked entry. The error is the end of a sentence about the key that it names.
pub fn target(name: &str, value: &Value, mark: Mark) -> Result<DeployTarget, (String, String)> {
    let text = |key: &str| value.get(key).map(Value::to_text).filter(|text| !text.trim().is_empty());
    let bad = |key: &'static str| move |why: String| (key.to_string(), why);
    let require = match value.get("require") {
        Some(Value::List(words)) => words.iter().map(|word| word.to_text().parse()).collect(),
        _ => Ok(Vec::new()),
    };
    let keep = text("keep").map(|keep| keep.parse::<u64>().map_err(|_| format!("`{keep}` is not a number from 0")));
    Ok(DeployTarget {
        name: name.into(),
        artifact: text("artifact"),
        label: text("label"),
        to: text("to"),
        keep: keep.transpose().map_err(bad("keep"))?,
        check: text("check"),
        after: text("after"),
        healthy: text("healthy"),
        timeout: text("timeout").map(|text| parse_duration(&text)).transpose().map_err(bad("timeout"))?,
        require: require.map_err(bad("require"))?,
        link: text("link").map(|word| word.parse()).transpose().map_err(bad("link"))?,
        mark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names() {
        for (text, want) in [("60s", 60_000), ("5", 5000), ("2m", 120_000), ("1h", 3_600_000), ("500ms", 500)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(want)), "{text}");
        }
        for text in ["", "0", "0s", "-1", "1.5s", "soon", "1d", "999999h", "18446744073709551615h", "1 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (name, is_fine) in
            [("prod", true), ("b-2_x", true), ("log", false), ("", false), ("-a", false), ("a/b", false), ("ü", false)]
        {
            assert_eq!(name_problem(name).is_none(), is_fine, "{name}");
        }
    }
}
