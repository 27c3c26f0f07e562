//! Writes a merged lock with data conflicts, in Git's form: markers around whole blocks, so that [`super::markers`] can
//! separate the sides again.
//!
//! ```text
//! data:
//! <<<<<<< HEAD
//!   raw:
//!     blake3: …
//! ||||||| base
//! =======
//!   raw:
//!     blake3: …
//! >>>>>>> theirs
//! ```

use std::collections::BTreeMap;

use super::format::Lock;
use super::merge::{DataConflict, Merged};
use super::write::{write, write_data};
use crate::store::Pin;

/// Git's names for the two sides.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// The text behind `<<<<<<<`: `HEAD`, a branch.
    pub ours: &'a str,
    /// The text behind `>>>>>>>`.
    pub theirs: &'a str,
}

/// The text of a merged lock; with markers if it has conflicts.
pub fn write_merged(merged: &Merged, labels: Labels) -> String {
    if merged.conflicts.is_empty() {
        return write(&merged.lock);
    }
    let mut blocks: BTreeMap<&String, String> = BTreeMap::new();
    for (path, pin) in &merged.lock.data {
        blocks.insert(path, block(path, Some(pin)));
    }
    for conflict in &merged.conflicts {
        blocks.insert(&conflict.path, marked(conflict, labels));
    }
    let rest = write(&Lock { data: BTreeMap::new(), stages: merged.lock.stages.clone() });
    let (schema, stages) = rest.split_once('\n').unwrap_or((&rest, ""));
    format!("{schema}\ndata:\n{}{stages}", blocks.into_values().collect::<String>())
}

fn marked(conflict: &DataConflict, labels: Labels) -> String {
    let line = |label: &str| label.replace(['\n', '\r'], " ");
    let [base, ours, theirs] = [conflict.versions.base, conflict.versions.ours, conflict.versions.theirs]
        .map(|pin| block(&conflict.path, pin.as_ref()));
    format!(
        "<<<<<<< {}\n{ours}||||||| base\n{base}=======\n{theirs}>>>>>>> {}\n",
        line(labels.ours),
        line(labels.theirs)
    )
}

fn block(path: &str, pin: Option<&Pin>) -> String {
    let mut text = String::new();
    if let Some(pin) = pin {
        write_data(&mut text, path, pin);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::markers::split;
    use crate::lock::merge::{Remedy, Versions};
    use crate::store::ObjectId;

    #[test]
    fn sides_are_found_again() {
        let pin = |n: u8| Pin { id: ObjectId([n; 32]), size: 1, files: None, executable: n == 2 };
        let conflict = |path: &str, base, ours, theirs| DataConflict {
            path: path.into(),
            versions: Versions { base, ours, theirs },
            details: Vec::new(),
            remedy: Remedy::Choose,
        };
        let data = |all: &[(&str, u8)]| all.iter().map(|(path, n)| (path.to_string(), pin(*n))).collect();
        let merged = Merged {
            lock: Lock { data: data(&[("a", 9), ("m: n", 8)]), ..Lock::default() },
            choices: Vec::new(),
            conflicts: vec![
                conflict("b", Some(pin(1)), Some(pin(2)), Some(pin(3))),
                conflict("z", Some(pin(1)), None, Some(pin(4))),
                conflict("new\nline", None, Some(pin(2)), Some(pin(3))),
            ],
        };
        let found = split(&write_merged(&merged, Labels { ours: "HEAD", theirs: "a1b2 (Fix)" }), &|_| false);
        assert_eq!((found.ours.as_str(), found.theirs.as_str()), ("HEAD", "a1b2 (Fix)"));
        assert_eq!(found.sides.ours.data, data(&[("a", 9), ("b", 2), ("m: n", 8), ("new\nline", 2)]));
        assert_eq!(found.sides.theirs.data, data(&[("a", 9), ("b", 3), ("m: n", 8), ("new\nline", 3), ("z", 4)]));
        assert_eq!(found.sides.base.unwrap().data, data(&[("a", 9), ("b", 1), ("m: n", 8), ("z", 1)]));
        assert!(found.left_out.is_empty());
    }
}
