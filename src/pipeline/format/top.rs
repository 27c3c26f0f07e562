//! The schema of the top-level keys besides stages: plots, artifacts and data.

use super::Checker;
use crate::value::Value;
use crate::value::node::{Entry, Node, Tree};

const TOP_PLOT_KEYS: &[&str] = &["template", "x", "y", "x_label", "y_label", "title"];
const DATA_KEYS: &[&str] = &["path", "remote", "push", "desc", "type", "labels", "meta", "import"];
const IMPORT_KEYS: &[&str] = &["url", "path", "rev", "commit"];
const ARTIFACT_KEYS: &[&str] = &["path", "desc", "type", "labels", "meta", "require"];

impl Checker<'_> {
    pub(super) fn top_plots<'n>(&mut self, node: &'n Node, at: &str) -> &'n [Node] {
        let items = self.list(node, at, "a list of paths and plots");
        for item in items {
            match &item.tree {
                Tree::Scalar(Value::Str(_)) => self.string(item, at),
                Tree::Map(entries) => {
                    for plot in entries {
                        let at = format!("plot `{}`", plot.key);
                        if let Tree::Scalar(Value::Null) = plot.value.tree {
                            continue;
                        }
                        let keys = self.map(&plot.value, &at);
                        self.keys(keys, TOP_PLOT_KEYS, &at);
                        for key in keys {
                            let at = format!("{at}, `{}`", key.key);
                            match (key.key.as_str(), &key.value.tree) {
                                ("x", Tree::Map(_)) | ("y", Tree::Map(_) | Tree::List(_)) => self.any(&key.value, &at),
                                _ => self.string(&key.value, &at),
                            }
                        }
                    }
                }
                _ => self.wrong(item, &format!("an entry of {at}"), "a path or a map"),
            }
        }
        items
    }

    pub(super) fn artifacts<'n>(&mut self, node: &'n Node, at: &str) -> &'n [Entry] {
        let entries = self.map(node, at);
        for entry in entries {
            let at = format!("artifact `{}`", entry.key);
            let keys = self.map(&entry.value, &at);
            self.keys(keys, ARTIFACT_KEYS, &at);
            for key in keys {
                if key.key == "require" { self.require(key, &at) } else { self.flag(key, &at) }
            }
            if entry.value.as_map().is_some() && entry.value.get("path").is_none() {
                self.report(entry.start, format!("{at} has no `path`"));
            }
        }
        entries
    }

    /// The requirements on the tags of an artifact.
    fn require(&mut self, entry: &Entry, at: &str) {
        let at = format!("{at}, `require`");
        for item in self.list(&entry.value, &at, "a list, `[signed]`") {
            if item.as_str() != Some("signed") {
                self.wrong(item, &at, "`signed`");
            }
        }
    }

    /// A list of conditions, or a map of artifacts with lists.
    pub(super) fn checks<'n>(&mut self, node: &'n Node, at: &str) -> Vec<(Option<&'n Entry>, &'n Node)> {
        match &node.tree {
            Tree::Map(entries) => {
                let mut found = Vec::new();
                for entry in entries {
                    let at = format!("{at}, `{}`", entry.key);
                    self.strings(&entry.value, &at);
                    let items = entry.value.as_list().unwrap_or_default();
                    found.extend(items.iter().map(|item| (Some(entry), item)));
                }
                found
            }
            Tree::List(items) => {
                self.strings(node, at);
                items.iter().map(|item| (None, item)).collect()
            }
            Tree::Scalar(_) => {
                self.wrong(node, at, "a list of conditions, or a map of artifacts with such lists");
                Vec::new()
            }
        }
    }

    /// The origin of imported data; templates are not resolved in it.
    fn import(&mut self, entry: &Entry, at: &str) {
        let at = format!("{at}, `import`");
        let keys = self.map(&entry.value, &at);
        self.keys(keys, IMPORT_KEYS, &at);
        for key in keys.iter().filter(|k| IMPORT_KEYS.contains(&k.key.as_str())) {
            let at = format!("{at}, `{}`", key.key);
            let is_commit = |text: &str| [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            match key.value.as_str() {
                None => self.wrong(&key.value, &at, "a string"),
                Some("") => self.report(key.value.start, format!("{at} is empty")),
                Some(text) if key.key == "commit" && !is_commit(text) => {
                    self.report(
                        key.value.start,
                        format!("{at} must be a whole commit id, 40 or 64 hexadecimal digits"),
                    );
                }
                Some(_) => {}
            }
        }
        for needed in ["url", "path", "commit"] {
            if entry.value.as_map().is_some() && entry.value.get(needed).is_none() {
                self.report(entry.start, format!("{at} has no `{needed}`"));
            }
        }
    }

    pub(super) fn data<'n>(&mut self, node: &'n Node, at: &str) -> &'n [Node] {
        let items = self.list(node, at, "a list of maps with a `path`");
        for item in items {
            let keys = self.map(item, &format!("an entry of {at}"));
            self.keys(keys, DATA_KEYS, at);
            for key in keys.iter().filter(|k| DATA_KEYS.contains(&k.key.as_str())) {
                if key.key == "import" { self.import(key, at) } else { self.flag(key, at) }
            }
            if item.as_map().is_some() && item.get("path").is_none() {
                self.report(item.start, format!("an entry of {at} has no `path`"));
            }
        }
        items
    }
}
