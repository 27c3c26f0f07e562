//! Reads the two sides of a lock with Git's conflict markers. Pure.
//!
//! Git merges line by line: lines outside of the markers may come from either side. A record that mixes both sides (the
//! key of one run, an output of another) would describe a run that never happened. So a block is attributed to a side
//! only if none or all of its lines are between that side's markers, or if the run cache, which remembers whole
//! records, has it. Other blocks are left out and reported.

use std::collections::BTreeSet;

use super::format::{Lock, StageLock};
use super::key::key;
use super::merge::{Block, Sides};
use super::read::read;
use crate::error::Result;
use crate::value::conflict_marker;

/// The result of reading the text alone.
#[derive(Debug)]
pub struct SplitSides {
    /// The locks of both sides, each block whole.
    pub sides: Sides,
    /// The labels behind the markers: `HEAD`, a branch, a commit and its subject.
    pub ours: String,
    /// The same of the merged side.
    pub theirs: String,
    /// Blocks for which neither side's record could be determined.
    pub left_out: BTreeSet<Block>,
}

/// Whether a text has conflict markers.
pub fn has_markers(text: &str) -> bool {
    conflict_marker(text).is_some()
}

/// Reads a common ancestor; `None` if Git merged it from two that had a conflict (criss-cross merges), so that it has
/// no meaning. It is empty if both sides added the file.
///
/// Errors: the text is not a valid lock.
pub fn read_base(path: &str, text: &str) -> Result<Option<Lock>> {
    if text.is_empty() {
        return Ok(Some(Lock::default()));
    }
    if has_markers(text) { Ok(None) } else { read(path, text).map(Some) }
}

/// Separates the sides. `vouched` returns whether a record is known to be whole.
pub fn split(text: &str, vouched: &dyn Fn(&StageLock) -> bool) -> SplitSides {
    let mut texts = Texts::default();
    let mut at = MarkerSection::Common;
    for line in text.lines() {
        if let Some(label) = line.strip_prefix("<<<<<<< ") {
            texts.labels.0 = label.to_string();
            at = MarkerSection::Ours;
        } else if line.starts_with("|||||||") && at == MarkerSection::Ours {
            texts.has_base = true;
            at = MarkerSection::Base;
        } else if line == "=======" && matches!(at, MarkerSection::Ours | MarkerSection::Base) {
            at = MarkerSection::Theirs;
        } else if let Some(label) = line.strip_prefix(">>>>>>> ") {
            texts.labels.1 = label.to_string();
            at = MarkerSection::Common;
        } else {
            texts.add(line, at);
        }
    }
    let (ours, mut torn) = blocks(&texts.ours, vouched);
    let (theirs, torn_theirs) = blocks(&texts.theirs, vouched);
    torn.extend(torn_theirs);
    let has = |lock: &Lock, block: &Block| match block {
        Block::Data(path) => lock.data.contains_key(path),
        Block::Stage(name) => lock.stages.contains_key(name),
    };
    torn.retain(|block| !has(&ours, block) && !has(&theirs, block));
    let base = texts.has_base.then(|| blocks(&texts.base, &|_| true).0);
    let (ours_label, theirs_label) = texts.labels;
    SplitSides { sides: Sides { base, ours, theirs }, ours: ours_label, theirs: theirs_label, left_out: torn }
}

#[derive(Clone, Copy, PartialEq)]
enum MarkerSection {
    Common,
    Ours,
    Base,
    Theirs,
}

/// Lines, each with whether both sides have it.
type SideLines<'a> = Vec<(&'a str, bool)>;

#[derive(Default)]
struct Texts<'a> {
    ours: SideLines<'a>,
    base: SideLines<'a>,
    theirs: SideLines<'a>,
    labels: (String, String),
    has_base: bool,
}

impl<'a> Texts<'a> {
    fn add(&mut self, line: &'a str, at: MarkerSection) {
        match at {
            MarkerSection::Common => {
                for side in [&mut self.ours, &mut self.base, &mut self.theirs] {
                    side.push((line, true));
                }
            }
            MarkerSection::Ours => self.ours.push((line, false)),
            MarkerSection::Base => self.base.push((line, false)),
            MarkerSection::Theirs => self.theirs.push((line, false)),
        }
    }
}

/// The complete blocks of one side, and the names of the others.
fn blocks(lines: &SideLines, vouched: &dyn Fn(&StageLock) -> bool) -> (Lock, BTreeSet<Block>) {
    let (mut lock, mut torn) = (Lock::default(), BTreeSet::new());
    let mut section = "";
    let mut block: SideLines = Vec::new();
    let mut take = |section: &str, block: &mut SideLines| {
        let lines = std::mem::take(block);
        let body: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        let Ok(read) = read("pipeline.lock", &format!("schema: 1\n{section}:\n{body}")) else { return };
        let is_whole = lines.iter().all(|(_, common)| *common) || lines.iter().all(|(_, common)| !*common);
        for (name, entry) in read.stages {
            if key(&entry) == entry.key && (is_whole || vouched(&entry)) {
                lock.stages.insert(name, entry);
            } else {
                torn.insert(Block::Stage(name));
            }
        }
        for (path, pin) in read.data {
            if is_whole {
                lock.data.insert(path, pin);
            } else {
                torn.insert(Block::Data(path));
            }
        }
    };
    for (line, common) in lines {
        match *line {
            "data:" | "stages:" => {
                take(section, &mut block);
                section = line.trim_end_matches(':');
            }
            _ if line.starts_with("schema:") => {}
            _ => {
                let begins = line.starts_with("  ") && !line.starts_with("   ") && !line.starts_with("  :");
                if begins {
                    take(section, &mut block);
                }
                block.push((line, *common));
            }
        }
    }
    take(section, &mut block);
    (lock, torn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{ByName, Command, OutLock, write};
    use crate::store::{ObjectId, Pin};

    fn entry(cmd: &str, out: u8) -> StageLock {
        let pin = Pin { id: ObjectId([out; 32]), size: 1, files: None, executable: false };
        let mut entry = StageLock {
            key: ObjectId::default(),
            cmd: Command::One(cmd.into()),
            wdir: None,
            shell: None,
            environment: None,
            env: ByName::new(),
            deps: ByName::new(),
            params: ByName::new(),
            outs: [("out".to_string(), OutLock { pin, cache: true, persist: false, metrics: ByName::new() })].into(),
        };
        entry.key = key(&entry);
        entry
    }

    fn block(name: &str, entry: &StageLock) -> String {
        let lock = Lock { stages: [(name.to_string(), entry.clone())].into(), ..Lock::default() };
        write(&lock).split_once("stages:\n").unwrap().1.to_string()
    }

    #[test]
    fn both_added_a_stage() {
        let (same, x, y) = (entry("same", 1), entry("x", 2), entry("y", 3));
        let text = format!(
            "schema: 1\nstages:\n{}<<<<<<< HEAD\n{}=======\n{}>>>>>>> a1b2c3d (Try y)\n",
            block("a", &same),
            block("x", &x),
            block("y", &y)
        );
        assert!(has_markers(&text));
        let found = split(&text, &|_| false);
        assert_eq!((found.ours.as_str(), found.theirs.as_str()), ("HEAD", "a1b2c3d (Try y)"));
        assert_eq!(found.sides.ours.stages, [("a".to_string(), same.clone()), ("x".to_string(), x)].into());
        assert_eq!(found.sides.theirs.stages, [("a".to_string(), same), ("y".to_string(), y)].into());
        assert!(found.sides.base.is_none() && found.left_out.is_empty());
    }

    #[test]
    fn a_torn_record_counts_only_if_it_is_vouched_for() {
        let (old, ours, theirs) = (entry("one", 1), entry("two", 2), entry("three", 3));
        let name = "  a:\n";
        let tail = |e: &StageLock| block("a", e).strip_prefix(name).unwrap().to_string();
        let text = format!(
            "schema: 1\nstages:\n{name}<<<<<<< HEAD\n{}||||||| 12345\n{}=======\n{}>>>>>>> side\n",
            tail(&ours),
            tail(&old),
            tail(&theirs)
        );
        let found = split(&text, &|_| true);
        assert_eq!(found.sides.ours.stages["a"], ours);
        assert_eq!(found.sides.theirs.stages["a"], theirs);
        assert_eq!(found.sides.base.unwrap().stages["a"], old);

        let found = split(&text, &|e| *e == theirs);
        assert!(found.sides.ours.stages.is_empty() && found.left_out.is_empty());
        let found = split(&text, &|_| false);
        assert_eq!(found.left_out, [Block::Stage("a".into())].into());

        // A key of ours above inputs of theirs is not a record of any run, even if the cache vouches for it.
        let mixed = text.replacen("cmd: two", "cmd: four", 1);
        assert_eq!(split(&mixed, &|_| true).sides.ours.stages.len(), 0);
    }
}
