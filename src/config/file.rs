//! One settings file: reads it with positions for errors, and edits it so that comments and the rest are kept.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml_edit::{Document, DocumentMut, Item, Key, Table, TableLike, TomlError, Value};

use super::{Setting, keys, private};
use crate::document;
use crate::error::{Error, Result};
use crate::replace::FileWriter;
use crate::url::redact_text;
use crate::value::excerpt_of;

/// No settings file that a person writes is larger; the parsed form needs hundreds of times that.
const LARGEST: u64 = 1 << 20;

/// The values of a file, each under its full key; none if the file does not exist.
pub(super) fn read(file: &Path) -> Result<Vec<(String, Setting)>> {
    match text(file)? {
        Some(text) => entries(file, &text),
        None => Ok(Vec::new()),
    }
}

/// Writes `key = value` into the settings file `file`, which need not exist. `value` is as typed: `4`, `bash`,
/// `reflink,copy`.
pub fn set(file: &Path, key: &str, value: &str) -> Result<()> {
    change(file, &[(key, Some(value))])
}

/// Several changes in one step: values to write, and keys to remove (`None`). A file that holds a secret is written
/// with mode 0600, from its first byte on.
pub fn change(file: &Path, changes: &[(&str, Option<&str>)]) -> Result<()> {
    let adds_secret = changes
        .iter()
        .any(|(key, value)| value.is_some_and(|value| private::holds_secret(key, &Setting::Str(value.to_string()))));
    if let Some(folder) = file.parent() {
        match adds_secret {
            true => private::make_folder(folder)?,
            false => fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?,
        }
    }
    let (turn, mut document) = take(file, adds_secret)?;
    for (key, value) in changes {
        match value {
            Some(value) => insert(file, &mut document, key, value)?,
            None => drop(remove(document.as_table_mut(), &keys::split(key))),
        }
    }
    turn.write(document.to_string().as_bytes())
}

/// Waits for other writers, and reads the file. The new file is readable only by the owner if it will hold a secret.
fn take(file: &Path, adds_secret: bool) -> Result<(FileWriter, DocumentMut)> {
    let is_private = |text: &str| -> Result<bool> {
        let held = entries(file, text)?.iter().any(|(key, value)| private::holds_secret(key, value));
        Ok((adds_secret || held) && !file.ends_with("lockstep.toml"))
    };
    let mut private = is_private(&text(file)?.unwrap_or_default())?;
    loop {
        let turn = if private { FileWriter::lock_private(file)? } else { FileWriter::lock(file)? };
        // Another process may have added a secret before this one had its turn.
        let text = text(file)?.unwrap_or_default();
        if private || !is_private(&text)? {
            return Ok((turn, open(file, &text)?));
        }
        private = true;
    }
}

fn insert(file: &Path, document: &mut DocumentMut, key: &str, value: &str) -> Result<()> {
    let mut new: Value = match keys::parse(key, value).map_err(Error::usage)? {
        Setting::Int(n) => n.into(),
        Setting::Bool(b) => b.into(),
        Setting::Str(s) => s.into(),
        Setting::List(items) => items.into_iter().collect(),
    };
    let parts = keys::split(key);
    let (last, tables) = parts.split_last().ok_or_else(|| Error::usage("a setting has a name"))?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in tables {
        let inner = table.entry(part).or_insert_with(|| {
            let mut new = Table::new();
            new.set_implicit(true); // `[remote]` alone is not written
            Item::Table(new)
        });
        let not_a_table = || Error::usage(format!("{}: `{part}` is not a table", file.display()));
        table = inner.as_table_like_mut().ok_or_else(not_a_table)?;
    }
    match table.get_mut(last).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone(); // the comment behind the old value is kept
            *old = new;
        }
        None => {
            table.insert(last, Item::Value(new));
        }
    }
    Ok(())
}

/// Removes a key from the settings file `file`, and returns whether it existed; `remote.NAME` is the whole remote.
pub fn unset(file: &Path, key: &str) -> Result<bool> {
    if !keys::is_table(key) {
        keys::takes(key).map_err(Error::usage)?;
    }
    if text(file)?.is_none() {
        return Ok(false);
    }
    let (turn, mut document) = take(file, false)?;
    let parts = keys::split(key);
    let removed = remove(document.as_table_mut(), &parts);
    if removed {
        turn.write(document.to_string().as_bytes())?;
    }
    Ok(removed)
}

/// Removes the entry, and tables that become empty.
fn remove(table: &mut dyn TableLike, parts: &[&str]) -> bool {
    let [name, rest @ ..] = parts else { return false };
    if rest.is_empty() {
        return table.remove(name).is_some();
    }
    let Some(inner) = table.get_mut(name).and_then(Item::as_table_like_mut) else { return false };
    let removed = remove(inner, rest);
    if removed && inner.is_empty() {
        table.remove(name);
    }
    removed
}

fn open(file: &Path, text: &str) -> Result<DocumentMut> {
    entries(file, text)?;
    text.parse().map_err(|e: TomlError| broken(file, text, e))
}

fn text(file: &Path) -> Result<Option<String>> {
    document::read_text(file, LARGEST)
}

/// The settings of a text. Errors: a setting is invalid, with its position; the file is too large.
pub(super) fn entries(file: &Path, text: &str) -> Result<Vec<(String, Setting)>> {
    if text.len() as u64 > LARGEST {
        let why = format!("{} is larger than {} MiB, too large for settings", file.display(), LARGEST >> 20);
        return Err(Error::usage(why));
    }
    let document = Document::parse(text).map_err(|e| broken(file, text, e))?;
    let mut found = Vec::new();
    collect(document.as_table(), "", &mut found).map_err(|wrong| {
        let place = wrong.place.unwrap_or(0..0);
        at(file, text, place, &wrong.message)
    })?;
    Ok(found)
}

/// An invalid entry, with its position in the file.
struct InvalidEntry {
    message: String,
    place: Option<Range<usize>>,
}

fn collect(table: &dyn TableLike, prefix: &str, found: &mut Vec<(String, Setting)>) -> Result<(), InvalidEntry> {
    // A remote's table holds only values, whatever its name looks like.
    let is_remote = prefix.starts_with("remote.") && prefix != "remote.";
    for (name, item) in table.iter() {
        let key = format!("{prefix}{name}");
        let place = table.key(name).and_then(Key::span);
        match item.as_table_like() {
            Some(inner) if !is_remote && keys::is_table(&key) => collect(inner, &format!("{key}."), found)?,
            _ => {
                let known = if is_remote { Ok(()) } else { keys::takes(&key).map(|_| ()) };
                known.map_err(|message| InvalidEntry { message, place: place.clone() })?;
                let value = setting(item).and_then(|value| keys::check(&key, value));
                let value = value.map_err(|message| InvalidEntry { message, place: item.span().or(place) })?;
                found.push((key, value));
            }
        }
    }
    Ok(())
}

fn setting(item: &Item) -> Result<Setting, String> {
    match item.as_value() {
        Some(Value::String(text)) => Ok(Setting::Str(text.value().clone())),
        Some(Value::Integer(n)) => Ok(Setting::Int(*n.value())),
        Some(Value::Boolean(b)) => Ok(Setting::Bool(*b.value())),
        Some(Value::Array(array)) => {
            let texts = array.iter().map(|item| item.as_str().map(str::to_string));
            let texts = texts.collect::<Option<Vec<_>>>().ok_or("a list of settings holds texts only")?;
            Ok(Setting::List(texts))
        }
        _ => Err(format!("a setting is a text, a number, true, false or a list of texts, not a {}", item.type_name())),
    }
}

fn broken(file: &Path, text: &str, e: TomlError) -> Error {
    at(file, text, e.span().unwrap_or(0..0), &e.message().trim().replace('\n', ", "))
}

/// `FILE:LINE:COLUMN: message`, with the line and a mark under the position.
fn at(file: &Path, text: &str, place: Range<usize>, message: &str) -> Error {
    let start = place.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let content = text[line_start..].lines().next().unwrap_or("");
    let line = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let marked = text[start..place.end.clamp(start, text.len())].lines().next().unwrap_or("").chars().count();
    let error = Error::usage(format!("{}:{line}:{column}: {}", file.display(), redact_text(message)));
    // The line may be a secret, or a part of one that was meant to end above.
    if redact_text(text) != text || may_hold_secret(text) {
        return error;
    }
    error.with_lines(excerpt_of(content, line, column, marked).into_iter().skip(1).map(|line| format!("  {line}")))
}

/// Whether a text, which may be invalid TOML, sets an option of a remote that is a secret, or whose name is unknown,
/// such as `pasword`.
fn may_hold_secret(text: &str) -> bool {
    if keys::SECRETS.iter().any(|option| text.contains(option)) {
        return true;
    }
    let is_harmless = |value: &str| {
        let word = value.split([',', '}', ' ', '\t', '\n', '\r']).next().unwrap_or_default();
        matches!(word, "true" | "false") || word.parse::<f64>().is_ok() || value.starts_with(['{', '['])
    };
    let sets_unknown = |(at, _): (usize, &str)| {
        let before = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let is_letter = |c: char| c.is_alphanumeric() || "-_".contains(c);
        let name = &before[before.trim_end_matches(is_letter).len()..];
        !keys::is_shown_option(name) && !is_harmless(text[at + 1..].trim_start_matches([' ', '\t']))
    };
    text.contains("remote") && text.match_indices('=').any(sets_unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_a_place() {
        for (text, want) in [
            (
                "jobs = 1\n  [cache]\n  dri = 3\n",
                "x:3:3: unknown setting `cache.dri` — did you mean `cache.dir`?\n  3 |   dri = 3\n    |   ^^^",
            ),
            ("jobs = \"é\"\n", "x:1:8: `jobs` takes a number from 0, not `é`\n  1 | jobs = \"é\"\n    |        ^^^"),
            ("[jobs]\na = 1", "x:1:1: a setting is a text, a number, true, false or a list of texts, not a table"),
            ("shell = 1.5", "x:1:9: a setting is a text, a number, true, false or a list of texts, not a float"),
            ("remote.lab = 1", "x:1:8: unknown setting `remote.lab`\n  1 | remote.lab = 1\n    |        ^^^"),
            ("[remote.lab]\nurl = true", "x:2:7: `remote.lab.url` takes a text, not `true`"),
            ("[remote.lab.x]\ny = 1", "x:1:1: a setting is a text"),
            ("a = \n", "x:1:5: "),
            ("a = 1\na = 2\n", "x:2:1: duplicate key"),
        ] {
            let e = entries(Path::new("x"), text).unwrap_err().full_message();
            assert!(e.starts_with(want), "{text:?} gives\n{e}");
        }
    }

    #[test]
    fn edits_keep_comments() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/config.toml");
        set(&file, "remote.lab.url", "s3://bucket/x").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "[remote.lab]\nurl = \"s3://bucket/x\"\n");

        let text = "# ours\njobs = 2 # two\n\n[cache] # c\n# links\nlinks = [\"copy\"]\n\n[remote.lab]\nurl = \"a\"\n";
        fs::write(&file, text).unwrap();
        set(&file, "jobs", "8").unwrap();
        set(&file, "shell", "bash").unwrap();
        set(&file, "cache.dir", "/mnt/store").unwrap();
        set(&file, "remote.a.b.url", "/x").unwrap();
        let want = "# ours\njobs = 8 # two\nshell = \"bash\"\n\n[cache] # c\n# links\nlinks = [\"copy\"]\n\
                    dir = \"/mnt/store\"\n\n[remote.lab]\nurl = \"a\"\n\n[remote.\"a.b\"]\nurl = \"/x\"\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), want);

        assert!(unset(&file, "remote.lab").unwrap() && unset(&file, "remote.a.b.url").unwrap());
        assert!(unset(&file, "shell").unwrap() && unset(&file, "cache.dir").unwrap());
        assert!(!unset(&file, "shell").unwrap());
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "# ours\njobs = 8 # two\n\n[cache] # c\n# links\nlinks = [\"copy\"]\n"
        );
        assert!(set(&file, "job", "1").is_err() && unset(&file, "job").is_err());
    }

    #[test]
    fn a_damaged_file_is_never_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, "jobs = \n").unwrap();
        assert!(set(&file, "jobs", "1").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "jobs = \n");
    }
}
