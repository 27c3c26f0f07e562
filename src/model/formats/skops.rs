//! skops: scikit-learn's models without pickles. An archive with `schema.json`, a tree of objects that each name their
//! class and loader, and arrays in `.npy` and `.npz` files. Format: `skops.io` 0.6 and later.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::zip::Archive;
use super::zip::array::{INFLATED, array};
use super::{Contents, Format, OtherContent, OtherContentHash, pickled};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

const JSON: u64 = 64 << 20;
/// A shared part of the tree is listed once; this bounds the length of names.
const PATHS: usize = 64 << 20;

pub fn read(source: &Source, archive: &Archive) -> Result<Contents> {
    let Some(schema) = archive.find("schema.json") else { return Err(source.refuse("it has no schema.json")) };
    let text = archive.content(schema, JSON)?.all(JSON, "schema.json")?;
    let json: Json = serde_json::from_slice(&text)
        .map_err(|e| source.refuse(format!("schema.json in it is not valid JSON: {e}")))?;
    let mut tree = SkopsTree::new(source, archive);
    for (key, name) in [("protocol", "protocol"), ("_skops_version", "skops version")] {
        match json.get(key) {
            Some(Json::String(value)) => tree.contents.add_metadata(name, shown(value)),
            Some(Json::Number(value)) => tree.contents.add_metadata(name, value),
            _ => {}
        }
    }
    if let Some(class) = class(&json) {
        tree.contents.add_metadata("object", shown(&class));
    }
    tree.node(&json, "")?;
    let mut contents = tree.contents;
    contents.calls.extend(tree.classes.iter().filter(|name| !is_usual(name)).map(|name| shown(name)));
    let unread = archive.entries.iter().filter(|e| e.name != "schema.json" && !tree.files.contains(&e.name)).count();
    if unread > 0 {
        contents.note(format!("{unread} files in the archive are not read"));
    }
    let rest = if unread > 0 { OtherContent::Unread } else { tree.rest.rest() };
    contents.rest = contents.rest.with(rest);
    Ok(contents)
}

/// Types that every model names, including those of plain values.
fn is_usual(name: &str) -> bool {
    let plain = ["str", "int", "float", "bool", "bytes", "NoneType"];
    name.strip_prefix("builtins.").is_some_and(|name| plain.contains(&name)) || pickled::is_usual(name)
}

struct SkopsTree<'a> {
    source: &'a Source,
    archive: &'a Archive,
    contents: Contents,
    /// Every class and function that is named.
    classes: BTreeSet<String>,
    /// Files that were read.
    files: BTreeSet<String>,
    paths: usize,
    /// The remaining number of bytes that may be inflated into memory.
    left: u64,
    /// Covers everything except the arrays and the names of files and objects, which change each time.
    rest: OtherContentHash,
}

impl<'a> SkopsTree<'a> {
    fn new(source: &'a Source, archive: &'a Archive) -> SkopsTree<'a> {
        let (classes, files) = (BTreeSet::new(), BTreeSet::new());
        let contents = Contents::new(Format::Skops);
        SkopsTree {
            source,
            archive,
            contents,
            classes,
            files,
            paths: PATHS,
            left: INFLATED,
            rest: OtherContentHash::default(),
        }
    }

    /// The depth of the document is bounded by its parser.
    fn node(&mut self, json: &Json, path: &str) -> Result<()> {
        let Some(left) = self.paths.checked_sub(path.len() + 32) else {
            return Err(self.source.refuse("its objects are too many, or nested too deep, to be named"));
        };
        self.paths = left;
        match json {
            Json::Array(items) => {
                self.rest.update(b"[").update(&items.len().to_le_bytes());
                items.iter().enumerate().try_for_each(|(at, item)| self.node(item, &join(path, &at.to_string())))
            }
            Json::Object(object) => {
                self.rest.update(b"{").update(&object.len().to_le_bytes());
                self.classes.extend(class(json));
                if let Some(file) = object.get("file").and_then(Json::as_str) {
                    self.file(file, path)?;
                }
                for (key, value) in object.iter().filter(|(key, _)| !matches!(key.as_str(), "file" | "__id__")) {
                    self.rest.field(b'k', key.as_bytes());
                    // Keys of containers are not part of names.
                    let inner = match key.as_str() {
                        "content" | "attrs" | "key_types" => path.to_string(),
                        key => join(path, &shown(key)),
                    };
                    self.node(value, &inner)?;
                }
                Ok(())
            }
            plain => {
                let text = plain.to_string();
                self.rest.field(b'v', text.as_bytes());
                Ok(())
            }
        }
    }

    fn file(&mut self, file: &str, path: &str) -> Result<()> {
        let Some(entry) = self.archive.find(file) else {
            self.contents.note(format!("the file {} of `{path}` is missing in the archive", shown(file)));
            self.contents.rest = OtherContent::Unread;
            return Ok(());
        };
        if file.ends_with(".npy") {
            // A shared object has one name.
            if !self.files.insert(file.to_string()) {
                return Ok(());
            }
            return array(self.source, (self.archive, entry), path, &mut self.left, &mut self.contents);
        }
        let stored = if file.ends_with(".npz") { self.archive.stored(entry)? } else { None };
        let Some(stored) = stored.filter(|_| self.files.insert(file.to_string())) else { return Ok(()) };
        let inner = Archive::read(&stored)?;
        for entry in &inner.entries {
            let name = join(path, &shown(entry.name.trim_end_matches(".npy")));
            array(&stored, (&inner, entry), &name, &mut self.left, &mut self.contents)?;
        }
        Ok(())
    }
}

/// `sklearn.linear_model._logistic.LogisticRegression`
fn class(json: &Json) -> Option<String> {
    let text = |key: &str| json.get(key).and_then(Json::as_str);
    Some(format!("{}.{}", text("__module__")?, text("__class__")?))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}
