//! The journal of a target: `.deploy/journal.jsonl`, one line of JSON a step or event, the newest last.
//!
//! It is the only memory of a deployment that was killed, of holds, and of the order of releases. Steps say that a
//! switch has begun: after a kill the next call finishes it. Each line is durable before the next step. The last line
//! may be torn, and does not count then; any other line that is not readable is an error, since what it held back
//! might be deployed again.

use std::io::{Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use super::{EVENT_VERSION, Event, EventKind, EventResult};
use crate::error::{Error, Kind, Result};
use crate::store::RootFolder;
use crate::tag::ModelTag;

/// Its place below the folder of the target.
pub const JOURNAL: &str = ".deploy/journal.jsonl";

/// A journal of a hundred thousand events.
const MOST: u64 = 64 << 20;

/// The journal as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// The oldest first.
    pub lines: Vec<JournalLine>,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalLine {
    /// A switch is under way.
    Step(Box<Step>),
    /// Something is finished.
    Event(Box<Event>),
}

/// A step of a switch, written before (`switching`, `returning`) or after (`switched`) the link changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The version of the format.
    pub lockstep: u64,
    /// Which step.
    pub step: StepKind,
    /// The name of the new release below `releases/`.
    pub release: String,
    /// The name of the release that was current before.
    pub from: Option<String>,
    /// The event as it will be written if all goes well.
    pub event: Event,
    /// Which of `after` and `healthy` the call had.
    #[serde(default)]
    pub confirms: Vec<String>,
}

/// Which step of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// `current` is about to be changed.
    Switching,
    /// It was changed; `after` and `healthy` are next.
    Switched,
    /// It is about to be changed back.
    Returning,
    /// A kill came before the link was changed, and the next call found it so.
    Abandoned,
}

/// Why a target does not follow its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `lockstep deploy hold`: no promotion counts until `resume`.
    All,
    /// A rollback: promotions up to this one, as `digits#prod#7`, do not count.
    UpTo(String),
}

impl Hold {
    /// Whether a promotion is held back.
    pub fn covers(&self, promotion: Option<&str>) -> bool {
        match self {
            Hold::All => true,
            Hold::UpTo(held) => promotion.is_none_or(|promotion| !is_newer(promotion, held)),
        }
    }
}

/// Whether a promotion is newer than another one: of the same label of the same model the higher counter decides, and any
/// other one is new.
pub fn is_newer(promotion: &str, than: &str) -> bool {
    match same_label(promotion, than) {
        Some((counter, other)) => counter > other,
        None => promotion != than,
    }
}

/// The counters of two promotions; `None` if they are of different models or labels. A tag without a counter has 0.
fn same_label(promotion: &str, other: &str) -> Option<(u64, u64)> {
    let (tag, other) = (promotion.parse::<ModelTag>().ok()?, other.parse::<ModelTag>().ok()?);
    let is_same = tag.name == other.name && tag.action == other.action;
    is_same.then(|| (tag.counter.unwrap_or(0), other.counter.unwrap_or(0)))
}

impl Journal {
    /// Reads the journal of a target's folder; empty if there is none.
    ///
    /// Errors: it is a symlink, is too large, or has a line that is not readable or has a newer format.
    pub fn read(root: &RootFolder) -> Result<Journal> {
        let path = root.path().join(JOURNAL);
        let cannot = |e| Error::io("read", &path, e);
        let file = match root.open_file(JOURNAL) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Journal::default()),
            Err(e) => return Err(cannot(e)),
        };
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > MOST {
            return Err(Error::usage(format!("{} has more than {} MB", path.display(), MOST >> 20)));
        }
        Journal::parse(&bytes).map_err(|why| {
            Error::usage(format!("the journal {} cannot be used: {why}", path.display()))
                .because("it says which promotions were rolled back, and whether a switch is unfinished")
                .hint("look at the line; if it is not needed, delete that line alone")
        })
    }

    /// Appends a line, durably. The caller holds the lock of the target.
    pub fn append(&mut self, root: &RootFolder, line: JournalLine) -> Result<()> {
        let path = root.path().join(JOURNAL);
        let text = match &line {
            JournalLine::Step(step) => serde_json::to_string(step),
            JournalLine::Event(event) => serde_json::to_string(event),
        };
        let text = text.map_err(|e| Error::new(Kind::Bug, "a line of the journal is no JSON").because(e))? + "\n";
        write(root, &text).map_err(|e| Error::io("write", &path, e))?;
        self.lines.push(line);
        Ok(())
    }

    /// Reserves room for the lines of a switch, so that a full disk shows before it.
    pub fn reserve(&self, root: &RootFolder) -> Result<()> {
        const ROOM: u64 = 32 << 10;
        let path = root.path().join(JOURNAL);
        let cannot = |e: std::io::Error| Error::io("write", &path, e);
        let file = root.open_or_create(JOURNAL, 0o644).map_err(cannot)?;
        let end = file.metadata().map_err(cannot)?.len();
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, end, ROOM) {
            Err(e @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => Err(cannot(e.into())),
            // Not all file systems can.
            _ => Ok(()),
        }
    }

    /// The events, the oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.lines.iter().filter_map(|line| match line {
            JournalLine::Event(event) => Some(&**event),
            JournalLine::Step(_) => None,
        })
    }

    /// The last step, if no event finished it.
    pub fn unfinished(&self) -> Option<&Step> {
        match self.lines.last()? {
            JournalLine::Step(step) => Some(&**step).filter(|step| step.step != StepKind::Abandoned),
            JournalLine::Event(_) => None,
        }
    }

    /// The event by which the current release became current.
    pub fn current(&self) -> Option<&Event> {
        self.events().rfind(|event| event.makes_current())
    }

    /// The versions that were current, the current one last. A rollback removes those after its version.
    pub fn stack(&self) -> Vec<&Event> {
        let mut stack: Vec<&Event> = Vec::new();
        for event in self.events().filter(|event| event.makes_current()) {
            match stack.iter().rposition(|earlier| earlier.is_same_release(event)) {
                Some(at) if event.event == EventKind::Rollback => stack.truncate(at + 1),
                Some(at) if at + 1 == stack.len() => {}
                _ => stack.push(event),
            }
        }
        stack
    }

    /// What holds the target.
    pub fn hold(&self) -> Option<Hold> {
        let mut hold: Option<Hold> = None;
        for event in self.events() {
            match (event.event, event.result) {
                (EventKind::Hold, _) => hold = Some(Hold::All),
                (EventKind::Resume, _) => hold = None,
                (EventKind::Rollback, EventResult::Ok) if hold != Some(Hold::All) => {
                    // Without a promotion nothing tells which later version is newer.
                    hold = Some(event.promotion.clone().map_or(Hold::All, Hold::UpTo));
                }
                // A newer promotion was deployed, or the user insisted.
                (EventKind::Deploy, EventResult::Ok) if hold != Some(Hold::All) => hold = None,
                _ => {}
            }
        }
        hold
    }

    /// The last promotion of the same label of the same model that was ever tried here, successfully or not.
    pub fn last_promotion_like(&self, promotion: &str) -> Option<&str> {
        let tried = self.events().filter_map(|event| event.promotion.as_deref());
        tried.filter_map(|tried| Some((same_label(tried, promotion)?.0, tried))).max().map(|(_, tried)| tried)
    }

    /// The last failure of a promotion or version; `None` if it became current since.
    pub fn failure(&self, promotion: &str) -> Option<&Event> {
        let of_promotion = |event: &&Event| event.promotion.as_deref() == Some(promotion);
        self.events().rfind(of_promotion).filter(|event| event.result == EventResult::Failed)
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Journal, String> {
        let whole = complete(bytes);
        let text = std::str::from_utf8(&bytes[..whole]).map_err(|_| "it is not UTF-8".to_string())?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(n, line)| parse_line(line).map_err(|why| format!("line {}: {why}", n + 1)));
        Ok(Journal { lines: lines.collect::<std::result::Result<_, _>>()? })
    }
}

impl Event {
    /// Whether its version is current afterwards.
    pub fn makes_current(&self) -> bool {
        matches!(self.event, EventKind::Deploy | EventKind::Rollback) && self.result == EventResult::Ok
    }

    /// Whether both are about the same bytes under the same version.
    pub fn is_same_release(&self, other: &Event) -> bool {
        self.blake3 == other.blake3 && self.version == other.version && self.name == other.name
    }
}

/// The length up to the end of the last line. A last line without an end was torn by a kill, unless it is whole.
fn complete(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let is_whole = std::str::from_utf8(&bytes[end..]).is_ok_and(|line| parse_line(line).is_ok());
    if is_whole { bytes.len() } else { end }
}

fn parse_line(line: &str) -> std::result::Result<JournalLine, String> {
    let json: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    match json.get("lockstep").and_then(serde_json::Value::as_u64) {
        Some(EVENT_VERSION) => {}
        Some(other) => return Err(format!("it has format {other}, and this lockstep reads {EVENT_VERSION}")),
        None => return Err("it has no `lockstep`, the number of its format".into()),
    }
    if json.get("step").is_some() {
        return serde_json::from_str(line).map(|step| JournalLine::Step(Box::new(step))).map_err(|e| e.to_string());
    }
    serde_json::from_str(line).map(|event| JournalLine::Event(Box::new(event))).map_err(|e| e.to_string())
}

/// Adds a line at the end, and removes a torn one before it.
fn write(root: &RootFolder, text: &str) -> std::io::Result<()> {
    let mut file = root.open_or_create(JOURNAL, 0o644)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let end = complete(&bytes);
    if end < bytes.len() {
        file.set_len(end as u64)?;
    }
    file.seek(SeekFrom::End(0))?;
    let is_open = end > 0 && bytes[end - 1] != b'\n';
    let line = if is_open { format!("\n{text}") } else { text.to_string() };
    if let Err(e) = file.write_all(line.as_bytes()).and_then(|()| file.sync_all()) {
        // A full disk: half a line must not stay.
        let _ = file.set_len(end as u64);
        return Err(e);
    }
    if bytes.is_empty() {
        root.sync(".deploy")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, version: &str, promotion: Option<&str>, result: EventResult) -> Event {
        let promotion = promotion.map(|n| format!("digits#prod#{n}"));
        Event { event: kind, promotion, result, ..Event::example(version) }
    }

    /// `deploy v1 7`, `rollback v1 7`, `return v2 8`, `hold`, a word each.
    fn journal(lines: &str) -> Journal {
        let lines = lines.split(',').map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, result) = match words[0] {
                "deploy" => (EventKind::Deploy, EventResult::Ok),
                "rollback" => (EventKind::Rollback, EventResult::Ok),
                "return" => (EventKind::Return, EventResult::Failed),
                "refuse" => (EventKind::Refuse, EventResult::Failed),
                "hold" => (EventKind::Hold, EventResult::Ok),
                _ => (EventKind::Resume, EventResult::Ok),
            };
            let version = words.get(1).copied().unwrap_or("v1");
            JournalLine::Event(Box::new(event(kind, version, words.get(2).copied(), result)))
        });
        Journal { lines: lines.collect() }
    }

    #[test]
    fn holds_and_the_order_of_releases() {
        let up_to = |n: u64| Some(Hold::UpTo(format!("digits#prod#{n}")));
        for (lines, hold, stack) in [
            ("deploy v1 1", None, "v1"),
            ("deploy v1 1, deploy v2 2", None, "v1 v2"),
            ("deploy v1 1, deploy v2 2, rollback v1 2", up_to(2), "v1"),
            ("deploy v1 1, deploy v2 2, deploy v3 3, rollback v2 3, rollback v1 3", up_to(3), "v1"),
            ("deploy v1 1, deploy v2 2, rollback v1 2, deploy v3 3", None, "v1 v3"),
            ("deploy v1 1, deploy v2 2, return v3 3", None, "v1 v2"),
            ("deploy v1 1, refuse v2 2, deploy v1 1", None, "v1"),
            ("deploy v1 1, hold, deploy v2 2", Some(Hold::All), "v1 v2"),
            ("deploy v1 1, hold, deploy v2 2, rollback v1 2", Some(Hold::All), "v1"),
            ("deploy v1 1, deploy v2 2, rollback v1 2, resume", None, "v1"),
            ("deploy v1 1, deploy v2 2, deploy v1 3", None, "v1 v2 v1"),
            ("deploy v1 1, deploy v2 2, deploy v3 3, rollback v1 3", up_to(3), "v1"),
            ("deploy v2, rollback v1", Some(Hold::All), "v2 v1"),
        ] {
            let journal = journal(lines);
            let versions: Vec<&str> = journal.stack().iter().filter_map(|event| event.version.as_deref()).collect();
            assert_eq!((journal.hold(), versions.join(" ").as_str()), (hold, stack), "{lines}");
        }
        assert!(up_to(7).is_some_and(|hold| hold.covers(Some("digits#prod#7")) && !hold.covers(Some("digits#prod#8"))));
        assert!(Hold::All.covers(Some("digits#prod#8")));
        let tried = journal("deploy v1 1, return v2 2");
        assert_eq!(tried.last_promotion_like("digits#prod#1"), Some("digits#prod#2"));
        assert_eq!(tried.last_promotion_like("faces#prod#1"), None);
        assert!(up_to(7).is_some_and(|hold| !hold.covers(Some("faces#prod#1")) && !hold.covers(Some("digits#dev#1"))));
        assert!(tried.failure("digits#prod#2").is_some() && tried.failure("digits#prod#1").is_none());
    }

    #[test]
    fn lines_are_read_as_they_were_written_and_a_torn_one_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".deploy")).unwrap();
        let root = RootFolder::new(dir.path().to_path_buf());
        let mut journal = Journal::read(&root).unwrap();
        assert_eq!(journal, Journal::default());
        let about = event(EventKind::Deploy, "v1", Some("1"), EventResult::Ok);
        let step = Step {
            lockstep: EVENT_VERSION,
            step: StepKind::Switching,
            release: "v1-0".into(),
            from: None,
            event: about.clone(),
            confirms: vec!["after".into()],
        };
        journal.append(&root, JournalLine::Step(Box::new(step.clone()))).unwrap();
        assert_eq!(journal.unfinished(), Some(&step));
        let path = dir.path().join(JOURNAL);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend(b"{\"lockstep\": 1, \"ev");
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), journal);
        journal.append(&root, JournalLine::Event(Box::new(about))).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), journal);
        assert_eq!(journal.unfinished(), None);
        // A whole line without its end counts.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end()).unwrap();
        assert_eq!(Journal::read(&root).unwrap(), journal);
        for (bad, why) in [
            ("x\n", "line 1: "),
            ("{}\n", "it has no `lockstep`"),
            ("{\"lockstep\": 2}\n", "it has format 2"),
            ("{\"lockstep\": 1}\n", "missing field"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = Journal::read(&root).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
