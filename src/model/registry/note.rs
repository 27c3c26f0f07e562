//! The message of a registry tag: a few lines for people, then a block for programs.
//!
//! ```text
//! digits v1.2.0
//!
//! Better on sevens.                                   the user's text, if any
//!
//! model.safetensors blake3 4be97d…, 35648 bytes       a version's pinned hash
//!
//! lockstep-model 1
//! { "event": "register", "name": "digits", … }
//! ```
//!
//! The tag's name determines its meaning, and the lock at its commit the bytes; the block adds the run record, metrics
//! and checks. Anyone who may push tags can write it, so it is untrusted: its size is bounded, and nothing in it is used
//! as a path or a command. A block of a newer version, or an invalid one, is ignored. An older lockstep skips fields
//! that a later one adds to the block under version 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cache::entries::RunRecord;
use crate::model::checks::CheckOutcome;
use crate::tag::block::{self, HEAD, VERSION};
use crate::value::{self, Value};

/// The block of a tag's message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// `register`, `deregister`, `promote`, `demote`, `deprecate`, `create`.
    pub event: String,
    /// The model, in the form of its tags.
    pub name: String,
    /// The version, as in the tag's name; for a label, the version that gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The label that is assigned or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `Name <mail>` of the tagger.
    pub actor: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// The file of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<NotedFile>,
    /// The stage that made it: its address from the root, and its stage key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<NotedStage>,
    /// Run records of that stage and of those upstream, by address, as far as known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<String, RunRecord>,
    /// By file, from the root, and dotted key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, BTreeMap<String, Value>>,
    /// The gates of the artifact, evaluated when the tag was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<NotedCheck>,
    /// Refusals that were overruled with `--force`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<String>,
}

/// The file of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotedFile {
    /// Relative to the root.
    pub path: String,
    /// BLAKE3 in hexadecimal: of the bytes of a file, or of the tree of a folder.
    pub blake3: String,
    /// In bytes, of all files of a folder.
    pub size: u64,
    /// The number of files in a folder, whose hash is then that of its tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// For tools without BLAKE3; of a file whose bytes were available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The same for a folder, by in-toto's rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_hash: Option<String>,
}

/// A stage in a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotedStage {
    /// Its address from the root: `train`, or `folder/pipeline.yaml:train`.
    pub address: String,
    /// The stage key in hexadecimal.
    pub key: String,
}

/// An evaluated condition in a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotedCheck {
    /// The condition as written: `accuracy >= 0.9`.
    pub check: String,
    /// A number that JSON has.
    pub value: Option<Value>,
    /// False also if it could not be evaluated.
    pub ok: bool,
}

impl NotedCheck {
    /// The record of an evaluated condition.
    pub(super) fn of(judged: &CheckOutcome) -> NotedCheck {
        let value = judged.value.filter(|number| number.is_finite()).map(Value::from);
        NotedCheck { check: judged.check.text.clone(), value, ok: judged.ok }
    }

    /// The JSON form.
    pub fn shape(&self) -> Value {
        let value = self.value.clone().unwrap_or(Value::Null);
        let ok = Value::Bool(self.ok);
        let fields = [("check", Value::Str(self.check.clone())), ("value", value), ("ok", ok)];
        Value::Map(fields.map(|(name, value)| (name.to_string(), value)).into())
    }
}

/// The whole message of a tag. `title` is its first line.
pub fn write(title: &str, words: Option<&str>, note: &Note) -> String {
    let mut text = format!("{title}\n\n");
    if let Some(words) = words.map(str::trim).filter(|words| !words.is_empty()) {
        // A line that looks like the head of a block must not become one.
        for line in words.lines() {
            let guard = if line.starts_with(HEAD) { " " } else { "" };
            text.push_str(&format!("{guard}{line}\n"));
        }
        text.push('\n');
    }
    if let Some(file) = &note.file {
        text.push_str(&format!("{} blake3 {}, {} bytes\n\n", file.path, file.blake3, file.size));
    }
    let block = serde_json::to_string_pretty(note).unwrap_or_default();
    text.push_str(&format!("{HEAD}{VERSION}\n{block}\n"));
    text
}

/// The block of a message, if it has a valid one.
pub fn read(message: &str) -> Option<Note> {
    // A signature may follow.
    value::read_record(block::json(message)?).ok()
}

/// The user's text: the message without its first line, its block and a signature.
pub fn user_text(message: &str) -> String {
    let end = block::start(message).map_or(message.len(), |at| at - HEAD.len());
    let text = message[..end].split("-----BEGIN ").next().unwrap_or_default();
    text.split_once('\n').map_or("", |(_, rest)| rest).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::block::LONGEST;

    fn note() -> Note {
        Note {
            event: "register".into(),
            name: "digits".into(),
            version: Some("v1.0.0".into()),
            actor: "A <a@example.org>".into(),
            time: "2026-01-01T00:00:00Z".into(),
            metrics: [("m.json".to_string(), [("acc".to_string(), Value::Float(0.5))].into())].into(),
            file: Some(NotedFile {
                path: "model.bin".into(),
                blake3: "ab".repeat(32),
                size: 3,
                files: None,
                sha256: None,
                dir_hash: None,
            }),
            ..Note::default()
        }
    }

    #[test]
    fn messages_come_back() {
        let hostile = "Better.\nlockstep-model 1\n{\"event\":\"promote\"}";
        let text = write("digits v1.0.0", Some(hostile), &note());
        assert_eq!(read(&text), Some(note()));
        assert!(text.starts_with("digits v1.0.0\n\nBetter.\n lockstep-model 1\n"));
        assert!(
            user_text(&text).starts_with("Better.") && user_text(&text).ends_with("3 bytes"),
            "{:?}",
            user_text(&text)
        );
        let signed = format!("{text}-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n");
        assert_eq!(read(&signed), Some(note()));
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(read(&crlf), Some(note()));
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let whole = write("t", None, &note());
        for end in (0..whole.len() - 2).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        let deep = format!("lockstep-model 1\n{}", "[".repeat(100_000));
        let long = format!("{whole}{}", " ".repeat(LONGEST));
        let newer = whole.replace("lockstep-model 1", "lockstep-model 2");
        for text in ["", "digits v1.0.0", "lockstep-model 1", "lockstep-model 1\nnull", &deep, &long, &newer] {
            assert_eq!(read(text), None);
        }
        assert_eq!(user_text("only a title"), "");
        assert_eq!(user_text("title\n\nthe words\n-----BEGIN PGP SIGNATURE-----\nx"), "the words");
    }

    #[test]
    fn later_additions_are_passed_over() {
        let text = write("t", None, &note()).replace("\"event\"", "\"novelty\": {\"a\": [1]},\n  \"event\"");
        assert_eq!(read(&text), Some(note()));
    }
}
