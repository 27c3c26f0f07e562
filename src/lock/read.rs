//! Reads the text of a lock file.
//!
//! A lock is read strictly: an unknown key or another schema is refused, because a program that ignores a fact would
//! rewrite the file without it.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Deserialize;

use super::format::{Command, EnvironmentLock, Lock, MOST_DATA, MOST_STAGES, OutLock, SCHEMA, StageLock};
use super::quick;
use crate::error::{Error, Kind, Result};
use crate::shell::word;
use crate::store::{ObjectId, Pin};
use crate::value::{Value, conflict_marker, yaml};

/// 40 lines for each stage.
const MOST_LINES: usize = 8_000_000;

/// Whether a text has the first key of lockstep's locks.
pub fn is_ours(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("schema: "))
}

/// Reads the text of a lock file. `path` is for messages only. Errors: the text is damaged, has conflict markers, or
/// another schema.
pub fn read(path: &str, text: &str) -> Result<Lock> {
    if text.bytes().filter(|byte| *byte == b'\n').count() > MOST_LINES {
        return Err(damaged(path, &format!("it has more than {MOST_LINES} lines")));
    }
    quick::read(text).map_or_else(|| parse(path, text), Ok)
}

/// Like [`read`], for a text in any YAML form.
pub(super) fn parse(path: &str, text: &str) -> Result<Lock> {
    if conflict_marker(text).is_some() {
        return Err(Error::usage(format!("{path} holds the markers of a merge conflict"))
            .hint("resolve it: lockstep merge")
            .hint("next time it resolves itself, once this clone knows how: lockstep hooks install"));
    }
    // A write that was cut short leaves an empty file, which does not mean that nothing was pinned.
    if text.trim().is_empty() {
        return Err(damaged(path, "it is empty"));
    }
    match schema(text) {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(Error::usage(format!(
                "{path} has schema {other}; this lockstep knows schema {SCHEMA} and leaves the file as it is"
            ))
            .hint("install a newer lockstep"));
        }
        None => {
            return Err(damaged(path, "it does not begin with `schema: 1`"));
        }
    }
    let file: FileForm = yaml::read_typed(text).map_err(|why| damaged(path, &why))?;
    Ok(Lock {
        data: file.data.into_iter().map(|(path, pin)| (path, pin.pin())).collect(),
        stages: file.stages.into_iter().map(|(name, stage)| (name, stage.into())).collect(),
    })
}

fn damaged(path: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{path} is not a lock file: {why}"))
        .hint(format!("bring back the last good one: git checkout {}", word(path)))
        .hint("or delete it: `lockstep repro` finds earlier results in the run cache")
}

/// The number behind the first `schema:` of the file, before the rest is parsed.
fn schema(text: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.starts_with("schema:"))?;
    line["schema:".len()..].trim().trim_matches(['\'', '"']).parse().ok()
}

// The YAML form of the types in `format`, separate because the compiled form of a lock has another encoding.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[allow(dead_code)]
    schema: serde::de::IgnoredAny,
    #[serde(default, deserialize_with = "at_most::<_, _, MOST_DATA>")]
    data: BTreeMap<String, PinForm>,
    #[serde(default, deserialize_with = "at_most::<_, _, MOST_STAGES>")]
    stages: BTreeMap<String, StageForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinForm {
    blake3: ObjectId,
    size: u64,
    files: Option<u64>,
    #[serde(default)]
    executable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageForm {
    key: ObjectId,
    cmd: CommandForm,
    wdir: Option<String>,
    shell: Option<String>,
    environment: Option<EnvironmentForm>,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    #[serde(default)]
    deps: BTreeMap<String, PinForm>,
    #[serde(default)]
    params: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    outs: BTreeMap<String, OutForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentForm {
    kind: String,
    platform: String,
    python: Option<String>,
    hash: ObjectId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutForm {
    blake3: ObjectId,
    size: u64,
    files: Option<u64>,
    #[serde(default)]
    executable: bool,
    #[serde(default = "yes")]
    cache: bool,
    #[serde(default)]
    persist: bool,
    #[serde(default)]
    metrics: BTreeMap<String, Value>,
}

fn yes() -> bool {
    true
}

/// A map with a limited number of entries, counted before the next one is read.
fn at_most<'de, D, T, const MOST: usize>(d: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Visitor<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> serde::de::Visitor<'de> for Visitor<T, MOST> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                if map.len() >= MOST {
                    return Err(serde::de::Error::custom(format!("one of its maps has more than {MOST} entries")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    d.deserialize_map(Visitor::<T, MOST>(PhantomData))
}

struct CommandForm(Command);

impl<'de> Deserialize<'de> for CommandForm {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<CommandForm, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = CommandForm;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a command or a list of commands")
            }

            fn visit_str<E>(self, text: &str) -> Result<CommandForm, E> {
                Ok(CommandForm(Command::One(text.into())))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<CommandForm, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(CommandForm(Command::List(list)))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl PinForm {
    fn pin(self) -> Pin {
        Pin { id: self.blake3, size: self.size, files: self.files, executable: self.executable }
    }
}

impl From<StageForm> for StageLock {
    fn from(s: StageForm) -> StageLock {
        StageLock {
            key: s.key,
            cmd: s.cmd.0,
            wdir: s.wdir,
            shell: s.shell,
            environment: s.environment.map(|e| EnvironmentLock {
                kind: e.kind,
                platform: e.platform,
                python: e.python,
                hash: e.hash,
            }),
            env: s.env.into_iter().collect(),
            deps: s.deps.into_iter().map(|(path, pin)| (path, pin.pin())).collect(),
            params: s.params.into_iter().map(|(file, keys)| (file, keys.into_iter().collect())).collect(),
            outs: s
                .outs
                .into_iter()
                .map(|(path, o)| {
                    let pin = Pin { id: o.blake3, size: o.size, files: o.files, executable: o.executable };
                    (
                        path,
                        OutLock { pin, cache: o.cache, persist: o.persist, metrics: o.metrics.into_iter().collect() },
                    )
                })
                .collect(),
        }
    }
}
