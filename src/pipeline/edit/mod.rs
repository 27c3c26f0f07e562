//! Edits the user's `pipeline.yaml`: splices its text at the parser's marks, so that comments, order and spelling of
//! everything else are kept. Pure: text in, text out.

mod emit;
mod spans;
mod splice;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::pipeline::stage::Import;
use crate::value::Value;
use crate::value::node::Node;
use splice::{Doc, KeyPosition};

/// A stage to write.
#[derive(Clone, Debug, Default)]
pub struct NewStage {
    /// The name of the stage.
    pub name: String,
    /// One line, or a script of several.
    pub cmd: String,
    /// From the folder of the file; `None` for that folder.
    pub wdir: Option<String>,
    /// Paths from `wdir`.
    pub deps: Vec<String>,
    /// Files with their keys, each file once. A missing file means `params.yaml`, no keys mean all.
    pub params: Vec<(Option<String>, Vec<String>)>,
    /// Names of environment variables that are inputs.
    pub env: Vec<String>,
    /// Outs, metrics and plots.
    pub outs: Vec<NewOut>,
    /// Paths of folders from `wdir`.
    pub scratch: Vec<String>,
    /// Whether the stage is run each time.
    pub always_changed: bool,
    /// For people.
    pub desc: Option<String>,
}

/// An output to write.
#[derive(Clone, Debug)]
pub struct NewOut {
    /// From `wdir`.
    pub path: String,
    /// The key under which it is listed.
    pub role: Role,
    /// Whether the store keeps it.
    pub cache: bool,
    /// Whether it stays in place while the stage runs.
    pub persist: bool,
}

/// The kind of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `outs`
    Out,
    /// `metrics`
    Metric,
    /// `plots`
    Plot,
}

impl NewStage {
    /// The keys of the stage, in the order in which DVC writes them.
    fn entries(&self) -> Vec<(String, Value)> {
        let strings = |items: &[String]| list(items.iter().map(|s| Value::Str(s.clone())).collect());
        let params = self.params.iter().flat_map(|(file, keys)| match file {
            None => keys.iter().map(|k| Value::Str(k.clone())).collect(),
            Some(file) => vec![map([(file.as_str(), strings(keys))])],
        });
        let outs = |role: Role| list(self.outs.iter().filter(|o| o.role == role).map(NewOut::value).collect());
        let text = |text: &Option<String>| text.clone().map(Value::Str);
        let entries = [
            ("desc", text(&self.desc)),
            ("cmd", Some(Value::Str(self.cmd.clone()))),
            ("wdir", text(&self.wdir)),
            ("deps", Some(strings(&self.deps))),
            ("params", Some(list(params.collect()))),
            ("env", Some(strings(&self.env))),
            ("outs", Some(outs(Role::Out))),
            ("metrics", Some(outs(Role::Metric))),
            ("plots", Some(outs(Role::Plot))),
            ("scratch", Some(strings(&self.scratch))),
            ("always_changed", self.always_changed.then_some(Value::Bool(true))),
        ];
        entries.into_iter().filter_map(|(k, v)| Some((k.to_string(), v.filter(|v| *v != Value::Null)?))).collect()
    }
}

impl NewOut {
    fn value(&self) -> Value {
        let flags: Vec<_> = [("cache", !self.cache, false), ("persist", self.persist, true)]
            .into_iter()
            .filter_map(|(flag, is_set, value)| is_set.then_some((flag, Value::Bool(value))))
            .collect();
        if flags.is_empty() { Value::Str(self.path.clone()) } else { map([(self.path.as_str(), map(flags))]) }
    }
}

fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(k, v)| (k.to_string(), v)).collect())
}

/// `None` for an empty list, so that the key is left out.
fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::List(items) }
}

/// The text with an additional stage. An existing stage is replaced with `force`, key by key, so that unchanged keys
/// keep their comments; `desc` (if no other is given) and `meta`, for which there is no option, are kept.
pub fn put_stage(file: &str, text: &str, stage: &NewStage, force: bool) -> Result<String> {
    let mut doc = Doc::parse(file, text)?;
    let name = stage.name.as_str();
    let entries = stage.entries();
    let here = ["stages", name];
    let Some(old) = doc.at(&here).cloned() else {
        doc.set(&here[..1], name, &Value::Map(entries), KeyPosition::Last)?;
        return Ok(doc.into_text());
    };
    if !force {
        let line = doc.at(&here[..1]).and_then(|stages| stages.get(name)).map_or(1, |entry| entry.start.line);
        return Err(Error::usage(format!("{file}:{line}: there is a stage {name} already"))
            .hint("replace it: add --force")
            .hint("or give the new stage another name: --name NAME"));
    }
    let is_stage = old.get("cmd").is_some();
    if !is_stage {
        doc.set(&here[..1], name, &Value::Map(entries), KeyPosition::Last)?;
        return Ok(doc.into_text());
    }
    for (key, value) in &entries {
        if !old.get(key).is_some_and(|e| e.value.to_value().same(value)) {
            doc.set(&here, key, value, KeyPosition::Last)?;
        }
    }
    for key in old.as_map().unwrap_or_default().iter().map(|e| e.key.as_str()) {
        if !entries.iter().any(|(k, _)| k == key) && !["meta", "desc"].contains(&key) {
            doc.remove(&here, key)?;
        }
    }
    Ok(doc.into_text())
}

/// The text without a stage or group.
pub fn remove_stage(file: &str, text: &str, name: &str) -> Result<String> {
    let mut doc = Doc::parse(file, text)?;
    if doc.at(&["stages", name]).is_none() {
        return Err(Error::missing(format!("{file} has no stage {name}")));
    }
    doc.remove(&["stages"], name)?;
    Ok(doc.into_text())
}

/// The text with an additional entry of `data`.
pub fn add_data(file: &str, text: &str, path: &str, desc: Option<&str>, import: Option<&Import>) -> Result<String> {
    let mut doc = Doc::parse(file, text)?;
    let desc = desc.map(|d| ("desc", Value::Str(d.into())));
    let import = import.map(|i| {
        let texts = [("url", i.url.raw()), ("path", &i.path), ("rev", &i.rev), ("commit", &i.commit)];
        ("import", map(texts.map(|(key, text)| (key, Value::Str(text.to_string())))))
    });
    doc.push("data", &map([("path", Value::Str(path.into()))].into_iter().chain(desc).chain(import)))?;
    Ok(doc.into_text())
}

/// The text with another revision and commit of the import at this index of `data`.
pub fn set_import(file: &str, text: &str, n: usize, import: &Import) -> Result<String> {
    let mut doc = Doc::parse(file, text)?;
    let item = doc.at(&["data"]).and_then(Node::as_list).and_then(|items| items.get(n));
    let old = item.and_then(|item| item.get("import")).map(|e| e.value.to_value());
    for (key, value) in [("rev", &import.rev), ("commit", &import.commit)] {
        let value = Value::Str(value.clone());
        let before = old.as_ref().and_then(|old| old.get(key)).cloned();
        // An entry without `rev` follows HEAD.
        if before.as_ref() != Some(&value) && !(before.is_none() && value == Value::Str("HEAD".into())) {
            doc.replace_in_item("data", n, &["import", key], &value)?;
        }
    }
    Ok(doc.into_text())
}

/// The text without the entry of `data` at this index.
pub fn remove_data(file: &str, text: &str, n: usize) -> Result<String> {
    let mut doc = Doc::parse(file, text)?;
    doc.remove_item("data", n)?;
    Ok(doc.into_text())
}

/// The text with or without `frozen: true` in a stage or group; `None` if it is that way already.
pub fn set_frozen(file: &str, text: &str, stage: &str, frozen: bool) -> Result<Option<String>> {
    let mut doc = Doc::parse(file, text)?;
    let mut path = vec!["stages", stage];
    let Some(body) = doc.at(&path) else {
        return Err(Error::missing(format!("{file} has no stage {stage}")));
    };
    // The keys of a `foreach` stage are under its `do`.
    let inner = body.get("do").filter(|_| body.get("foreach").is_some()).map(|e| &e.value);
    if inner.is_some() {
        path.push("do");
    }
    let now = inner.unwrap_or(body).get("frozen").map(|e| &e.value);
    match (now.map(Node::to_value), frozen) {
        (Some(Value::Bool(true)), true) | (None | Some(Value::Bool(false)), false) => return Ok(None),
        (_, true) => doc.set(&path, "frozen", &Value::Bool(true), KeyPosition::First)?,
        (Some(_), false) => doc.remove(&path, "frozen")?,
    }
    Ok(Some(doc.into_text()))
}
