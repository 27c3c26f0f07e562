//! The stage key: BLAKE3 over the manifest of everything that a run's result depends on.
//!
//! Included: format version, commands, working folder, shell, the environment (what it resolves to), deps (path, id, executable bit), params (file, key,
//! value), env (name, value), outs (path, `cache`, `persist`). Not included: times, absolute paths, the stage's name,
//! `desc`, `meta`, the project's location. Paths are spelled as in the lock, relative to the working folder, which
//! itself is relative to the pipeline file, so that a pipeline can be moved with its files.
//!
//! One writer, [`manifest`], feeds two sinks: the hash, and the text that `status -v` compares. The explanation of a
//! rerun therefore cannot disagree with the decision (the idea of evmar/n2's `hash.rs`).

use std::fmt::Write as _;

use super::format::{EnvironmentLock, StageLock};
use crate::store::{Digest, ObjectId};
use crate::value::Value;

/// Receives the manifest, one fact at a time.
pub trait Manifest {
    /// `what` is one of a few words; the fields are free text or bytes of any length.
    fn fact(&mut self, what: &str, fields: &[&str]);
}

/// The key of an entry, computed from its other fields.
pub fn key(stage: &StageLock) -> ObjectId {
    let mut sink = ManifestHash(Digest::new("lockstep stage key 1"));
    feed(stage, &mut sink);
    sink.0.id()
}

/// The same facts as text, one per line, to compare when two keys differ.
pub fn manifest(stage: &StageLock) -> String {
    let mut sink = ManifestText(String::new());
    feed(stage, &mut sink);
    sink.0
}

fn feed(stage: &StageLock, sink: &mut impl Manifest) {
    for item in stage.cmd.items() {
        sink.fact("cmd", &[item]);
    }
    if let Some(wdir) = &stage.wdir {
        sink.fact("wdir", &[wdir]);
    }
    if let Some(shell) = &stage.shell {
        sink.fact("shell", &[shell]);
    }
    if let Some(EnvironmentLock { kind, platform, python, hash }) = &stage.environment {
        sink.fact("environment", &[kind, platform, python.as_deref().unwrap_or_default(), &hash.hex()]);
    }
    for (name, value) in &stage.env {
        match value {
            Some(value) => sink.fact("env", &[name, value]),
            None => sink.fact("unset", &[name]),
        }
    }
    for (path, pin) in &stage.deps {
        let mode = if pin.executable { "executable" } else { "" };
        sink.fact("dep", &[path, &pin.id.hex(), mode]);
    }
    for (file, values) in &stage.params {
        for (name, value) in values {
            let mut text = String::new();
            canonical(&mut text, value);
            sink.fact("param", &[file, name, &text]);
        }
        if values.is_empty() {
            sink.fact("params", &[file]);
        }
    }
    for (path, out) in &stage.outs {
        let cache = if out.cache { "" } else { "cache: false" };
        let persist = if out.persist { "persist: true" } else { "" };
        sink.fact("out", &[path, cache, persist]);
    }
}

/// Numbers by value: 1 and 1.0 are the same text, 2^53 + 1 is not 2^53. Every other type is marked, so that `"1"` and 1
/// differ.
fn canonical(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => {
            let _ = write!(out, "{b}");
        }
        Value::Int(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Float(f) if f.is_nan() => out.push_str("nan"),
        // Every float below 2^127 without a fraction is an integer that an i128 holds exactly.
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1.7e38 => {
            let _ = write!(out, "{}", *f as i128);
        }
        Value::Float(f) => {
            let _ = write!(out, "{f:?}");
        }
        Value::Str(s) => {
            let _ = write!(out, "{s:?}");
        }
        Value::List(items) => {
            out.push('[');
            for item in items {
                canonical(out, item);
                out.push(',');
            }
            out.push(']');
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (name, value) in entries {
                let _ = write!(out, "{name:?}:");
                canonical(out, value);
                out.push(',');
            }
            out.push('}');
        }
    }
}

struct ManifestHash(Digest);

impl Manifest for ManifestHash {
    /// Lengths precede contents: different lists of facts never give the same bytes.
    fn fact(&mut self, what: &str, fields: &[&str]) {
        self.0.update(&[what.len() as u8, fields.len() as u8]);
        self.0.update(what.as_bytes());
        for field in fields {
            self.0.update(&(field.len() as u64).to_le_bytes());
            self.0.update(field.as_bytes());
        }
    }
}

struct ManifestText(String);

impl Manifest for ManifestText {
    fn fact(&mut self, what: &str, fields: &[&str]) {
        self.0.push_str(what);
        for field in fields.iter().filter(|f| !f.is_empty()) {
            let _ = write!(self.0, " {}", field.replace('\\', "\\\\").replace('\n', "\\n"));
        }
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::ByName;
    use crate::lock::format::{Command, OutLock};
    use crate::store::Pin;

    fn base() -> StageLock {
        StageLock {
            key: ObjectId::default(),
            cmd: Command::One("run".into()),
            wdir: None,
            shell: None,
            environment: None,
            env: ByName::new(),
            deps: ByName::new(),
            params: ByName::new(),
            outs: ByName::new(),
        }
    }

    fn param(value: Value) -> StageLock {
        let mut s = base();
        s.params.insert("p".into(), [("k".to_string(), value)].into());
        s
    }

    #[test]
    fn numbers_count_by_value() {
        let same = [
            (Value::Int(1), Value::Float(1.0)),
            (Value::Float(0.0), Value::Float(-0.0)),
            (Value::Float(f64::NAN), Value::Float(-f64::NAN)),
            (Value::Int(1 << 60), Value::Float((1u64 << 60) as f64)),
        ];
        for (a, b) in same {
            assert_eq!(key(&param(a.clone())), key(&param(b.clone())), "{a:?} {b:?}");
        }
        let differ = [
            (Value::Int(1), Value::Bool(true)),
            (Value::Int(1), Value::Str("1".into())),
            (Value::Int((1 << 53) + 1), Value::Float((1u64 << 53) as f64)),
            (Value::Null, Value::Str("null".into())),
            (Value::List(vec![]), Value::Map(vec![])),
        ];
        for (a, b) in differ {
            assert_ne!(key(&param(a.clone())), key(&param(b.clone())), "{a:?} {b:?}");
        }
    }

    #[test]
    fn every_fact_counts() {
        let pin = Pin { id: ObjectId([1; 32]), size: 1, files: None, executable: false };
        let changes: Vec<fn(&mut StageLock, Pin)> = vec![
            |s, _| s.cmd = Command::One("run\n".into()),
            |s, _| s.cmd = Command::List(vec!["ru".into(), "n".into()]),
            |s, _| s.wdir = Some("run".into()),
            |s, _| s.shell = Some("run".into()),
            |s, _| drop(s.env.insert("run".into(), None)),
            |s, _| drop(s.env.insert("run".into(), Some(String::new()))),
            |s, p| {
                s.deps.insert("run".into(), p);
            },
            |s, p| {
                s.deps.insert("run".into(), Pin { executable: true, ..p });
            },
            |s, p| drop(s.outs.insert("run".into(), out(p, true, false))),
            |s, p| drop(s.outs.insert("run".into(), out(p, false, false))),
            |s, p| drop(s.outs.insert("run".into(), out(p, true, true))),
            |s, _| drop(s.params.insert("run".into(), ByName::new())),
        ];
        let mut seen = vec![(key(&base()), manifest(&base()))];
        for change in changes {
            let mut s = base();
            change(&mut s, pin);
            let it = (key(&s), manifest(&s));
            assert!(seen.iter().all(|(k, m)| *k != it.0 && *m != it.1), "{}", it.1);
            seen.push(it);
        }
    }

    #[test]
    fn a_list_of_one_is_the_same_command_and_sizes_do_not_count() {
        let mut list = base();
        list.cmd = Command::List(vec!["run".into()]);
        assert_eq!(key(&base()), key(&list));
    }

    fn out(pin: Pin, cache: bool, persist: bool) -> OutLock {
        OutLock { pin, cache, persist, metrics: ByName::new() }
    }
}
