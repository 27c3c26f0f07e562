//! Checks of the types that only the top-level keys have: plots, artifacts, conditions and data.

use super::Checker;
use super::keys::KeyTables;
use super::name_problem;
use crate::pipeline::deploy;
use crate::value::node::{Entry, Node, Tree};
use crate::value::{Mark, Value};

impl Checker<'_> {
    pub(super) fn charts(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for item in self.list(node, at, "a list of paths and plots") {
            match &item.tree {
                Tree::Scalar(Value::Str(_)) => self.string(item, at),
                Tree::Map(entries) => {
                    for plot in entries.iter().filter(|plot| !matches!(plot.value.tree, Tree::Scalar(Value::Null))) {
                        let at = format!("plot `{}`", plot.key);
                        let keys = self.map(&plot.value, &at);
                        self.entries(keys, tables, &at);
                    }
                }
                _ => self.wrong(item, &format!("an entry of {at}"), "a path or a map"),
            }
        }
    }

    /// The columns of an axis; `may_list` if it can have several of one file.
    pub(super) fn columns(&mut self, node: &Node, at: &str, may_list: bool) {
        match &node.tree {
            Tree::Map(_) => self.any(node, at),
            Tree::List(_) if may_list => self.any(node, at),
            _ => self.string(node, at),
        }
    }

    pub(super) fn artifacts(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for entry in self.map(node, at) {
            self.map_of(&entry.value, &format!("artifact `{}`", entry.key), entry.start, tables);
        }
    }

    pub(super) fn targets(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for entry in self.map(node, at) {
            if let Some(why) = deploy::name_problem(&entry.key) {
                self.report(entry.start, format!("the name of the deployment target `{}` {why}", entry.key));
            }
            self.map_of(&entry.value, &format!("deployment target `{}`", entry.key), entry.start, tables);
        }
    }

    /// A number from 0, or a template.
    pub(super) fn count(&mut self, node: &Node, at: &str) {
        match &node.tree {
            Tree::Scalar(Value::Int(n)) if *n >= 0 => {}
            Tree::Scalar(Value::Str(text)) if text.contains("${") => self.string(node, at),
            _ => self.wrong(node, at, "a number from 0"),
        }
    }

    /// A time, or a template.
    pub(super) fn time(&mut self, node: &Node, at: &str) {
        let text = match &node.tree {
            Tree::Scalar(Value::Str(text)) if text.contains("${") => return self.string(node, at),
            Tree::Scalar(Value::Str(text)) => text.clone(),
            Tree::Scalar(Value::Int(n)) => n.to_string(),
            _ => return self.wrong(node, at, "a time, as `60s`"),
        };
        if let Err(why) = deploy::parse_duration(&text) {
            self.report(node.start, format!("{at}: {why}"));
        }
    }

    /// One of the words `known`, or a template.
    pub(super) fn word(&mut self, node: &Node, at: &str, known: &[&str]) {
        match node.as_str() {
            Some(text) if text.contains("${") => self.string(node, at),
            Some(text) if known.contains(&text) => {}
            _ => self.wrong(node, at, &format!("`{}`", known.join("` or `"))),
        }
    }

    pub(super) fn environments(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for entry in self.map(node, at) {
            let at = format!("environment `{}`", entry.key);
            if !entry.is_string {
                self.report(entry.start, format!("environments: the name `{}` is not a string; quote it", entry.key));
            } else if let Some(why) = name_problem(&entry.key) {
                self.report(entry.start, format!("the environment name `{}` {why}", entry.key));
            }
            self.map_of(&entry.value, &at, entry.start, tables);
        }
    }

    /// A map with these keys; `mark` is the place of the message that a required key is missing.
    pub(super) fn map_of(&mut self, node: &Node, at: &str, mark: Mark, tables: KeyTables) {
        let entries = self.map(node, at);
        self.entries(entries, tables, at);
        if node.as_map().is_some() {
            self.required_keys(entries, tables, at, mark);
        }
    }

    pub(super) fn list_of_maps(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for item in self.list(node, at, "a list of maps with a `path`") {
            let item_at = format!("an entry of {at}");
            let entries = self.map(item, &item_at);
            self.entries(entries, tables, at);
            if item.as_map().is_some() {
                self.required_keys(entries, tables, &item_at, item.start);
            }
        }
    }

    /// A list of some of the words `known`.
    pub(super) fn words(&mut self, node: &Node, at: &str, known: &[&str]) {
        for item in self.list(node, at, &format!("a list, `[{}]`", known.join(", "))) {
            if !item.as_str().is_some_and(|word| known.contains(&word)) {
                self.wrong(item, at, &format!("`{}`", known.join("` or `")));
            }
        }
    }

    /// A list of conditions, or a map of artifacts with lists.
    pub(super) fn checks(&mut self, node: &Node, at: &str) {
        match &node.tree {
            Tree::Map(entries) => {
                entries.iter().for_each(|entry| self.strings(&entry.value, &format!("{at}, `{}`", entry.key)));
            }
            Tree::List(_) => self.strings(node, at),
            Tree::Scalar(_) => self.wrong(node, at, "a list of conditions, or a map of artifacts with such lists"),
        }
    }

    /// A string in which templates are not resolved.
    pub(super) fn literal(&mut self, node: &Node, at: &str) {
        match node.as_str() {
            None => self.wrong(node, at, "a string"),
            Some("") => self.report(node.start, format!("{at} is empty")),
            Some(_) => {}
        }
    }

    pub(super) fn commit(&mut self, node: &Node, at: &str) {
        let is_commit = |text: &str| [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        match node.as_str() {
            Some(text) if !text.is_empty() && !is_commit(text) => {
                self.report(node.start, format!("{at} must be a whole commit id, 40 or 64 hexadecimal digits"));
            }
            _ => self.literal(node, at),
        }
    }
}

/// The conditions below `checks`, each with its artifact if it has one.
pub(super) fn conditions(node: &Node) -> Vec<(Option<&Entry>, &Node)> {
    match &node.tree {
        Tree::Map(entries) => {
            let of_artifact = |entry| move |item| (Some(entry), item);
            entries.iter().flat_map(|e| e.value.as_list().unwrap_or_default().iter().map(of_artifact(e))).collect()
        }
        Tree::List(items) => items.iter().map(|item| (None, item)).collect(),
        Tree::Scalar(_) => Vec::new(),
    }
}
