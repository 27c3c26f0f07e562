//! What is about to go from a remote: notes beside its segments.
//!
//! ```text
//! index/<name>.marked     what nobody needed when it was looked at; it goes when the mark is old enough
//! index/<name>.kept       what somebody needs after all, and by which marks it does not go
//! index/<name>.removing   somebody removes things now: nobody may begin to count on what is marked
//!
//! note = `lockstep-marks 1\n` line*
//! line = `of <name of a mark>` | `root file|tree <hex>` | `run <hex>` | `pack <hex>` | `object <hex>`
//! ```
//! Names are those of segments (the second and a hash of the bytes), with an ending, so one listing shows both, and who
//! does not know of notes passes them over. A note never changes.
//!
//! Whoever pushes and counts on something that is marked writes `kept`, and then looks for `removing`; whoever removes
//! writes `removing`, and then looks for `kept`. So one of the two sees the other, whatever their clocks say. A
//! `removing` that is an hour old was left by somebody who died; who removes stops after half of that.

use std::collections::BTreeSet;

use crate::remote::catalog::segment::{Name, Segment};
use crate::store::ObjectId;
use crate::store::pack::format::PackId;

const START: &[u8] = b"lockstep-marks ";
const VERSION: u32 = 1;
const HEAD: &str = "lockstep-marks 1";
/// Seconds after which a `removing` counts for nobody.
pub const LEASE: u64 = 3600;

/// Things at a remote: what its rows tell of, and the files that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Things {
    /// As the key of [`Segment::roots`].
    pub roots: BTreeSet<(ObjectId, bool)>,
    pub runs: BTreeSet<ObjectId>,
    pub packs: BTreeSet<PackId>,
    /// Large ones.
    pub objects: BTreeSet<ObjectId>,
}

impl Things {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.roots.len() + self.runs.len() + self.packs.len() + self.objects.len()
    }

    pub fn extend(&mut self, other: &Things) {
        self.roots.extend(&other.roots);
        self.runs.extend(&other.runs);
        self.packs.extend(&other.packs);
        self.objects.extend(&other.objects);
    }

    pub fn minus(&self, other: &Things) -> Things {
        Things {
            roots: &self.roots - &other.roots,
            runs: &self.runs - &other.runs,
            packs: &self.packs - &other.packs,
            objects: &self.objects - &other.objects,
        }
    }

    pub fn both(&self, other: &Things) -> Things {
        Things {
            roots: &self.roots & &other.roots,
            runs: &self.runs & &other.runs,
            packs: &self.packs & &other.packs,
            objects: &self.objects & &other.objects,
        }
    }

    /// Bytes of the files that are among them.
    pub fn bytes(&self, of: &Segment) -> u64 {
        let packs = self.packs.iter().filter_map(|id| of.packs.get(id)).map(|pack| pack.length);
        packs.chain(self.objects.iter().filter_map(|id| of.loose.get(id).copied())).sum()
    }
}

/// What a note says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The marks that it is about; of a mark itself none.
    pub of: BTreeSet<Name>,
    pub things: Things,
}

impl Note {
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEAD}\n");
        let mut line = |start: &str, name: &str| text.extend([start, " ", name, "\n"]);
        self.of.iter().for_each(|name| line("of", name.as_str()));
        let Things { roots, runs, packs, objects } = &self.things;
        roots.iter().for_each(|(id, tree)| line(if *tree { "root tree" } else { "root file" }, &id.hex()));
        runs.iter().for_each(|id| line("run", &id.hex()));
        packs.iter().for_each(|id| line("pack", &id.to_string()));
        objects.iter().for_each(|id| line("object", &id.hex()));
        text.into_bytes()
    }

    /// Was it written by a later version?
    pub fn is_newer(bytes: &[u8]) -> bool {
        let version = bytes.strip_prefix(START).and_then(|rest| rest.split(|b| *b == b'\n').next());
        let version = version.and_then(|number| std::str::from_utf8(number).ok()?.parse::<u32>().ok());
        version.is_some_and(|version| version > VERSION)
    }

    /// `None` for what no note says, or one of a newer version.
    pub fn parse(bytes: &[u8]) -> Option<Note> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut note = Note::default();
        for line in lines {
            let (start, name) = line.rsplit_once(' ')?;
            let things = &mut note.things;
            match start {
                "of" => drop(note.of.insert(Name::parse(name)?)),
                "root file" => drop(things.roots.insert((name.parse().ok()?, false))),
                "root tree" => drop(things.roots.insert((name.parse().ok()?, true))),
                "run" => drop(things.runs.insert(name.parse().ok()?)),
                "pack" => drop(things.packs.insert(name.parse().ok()?)),
                "object" => drop(things.objects.insert(name.parse().ok()?)),
                _ => return None,
            }
        }
        Some(note)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Marked,
    Kept,
    Removing,
}

/// The name of a note, as it stands in `index/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteName {
    pub sort: Sort,
    pub name: Name,
}

impl NoteName {
    pub fn parse(text: &str) -> Option<NoteName> {
        let (name, sort) = text.split_once('.')?;
        let sort = match sort {
            "marked" => Sort::Marked,
            "kept" => Sort::Kept,
            "removing" => Sort::Removing,
            _ => return None,
        };
        Some(NoteName { sort, name: Name::parse(name)? })
    }

    pub fn file_name(&self) -> String {
        let sort = match self.sort {
            Sort::Marked => "marked",
            Sort::Kept => "kept",
            Sort::Removing => "removing",
        };
        format!("{}.{sort}", self.name.as_str())
    }

    /// Of a `removing`: is somebody at it? One from a clock that runs ahead is, too.
    pub fn is_alive(&self, now: u64) -> bool {
        self.sort == Sort::Removing && now < self.name.seconds().saturating_add(LEASE)
    }
}

/// All notes of a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub names: BTreeSet<NoteName>,
    pub marked: Vec<(Name, Things)>,
    pub kept: Vec<Note>,
    /// A note that cannot be read: it may be that something is kept, so no mark counts.
    pub is_doubtful: bool,
}

impl Marks {
    /// Each mark with what it still stands for: what was kept since is taken out.
    pub fn standing(&self) -> Vec<(Name, Things)> {
        let left = |(name, things): &(Name, Things)| {
            let kept = self.kept.iter().filter(|note| note.of.contains(name));
            (name.clone(), kept.fold(things.clone(), |left, note| left.minus(&note.things)))
        };
        if self.is_doubtful { Vec::new() } else { self.marked.iter().map(left).collect() }
    }

    /// All that is about to go.
    pub fn doomed(&self) -> Things {
        let mut all = Things::default();
        self.standing().iter().for_each(|(_, things)| all.extend(things));
        all
    }

    /// Does somebody remove things now?
    pub fn removing(&self, now: u64) -> Option<&NoteName> {
        self.names.iter().find(|note| note.is_alive(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId([n; 32])
    }

    fn things(n: u8) -> Things {
        Things {
            roots: [(id(n), true), (id(n), false)].into(),
            runs: [id(n)].into(),
            packs: [PackId(id(n))].into(),
            objects: [id(n)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let name = Name::of(b"x", 7);
        let note = Note { of: [name.clone()].into(), things: things(3) };
        assert_eq!(Note::parse(&note.encode()), Some(note.clone()));
        assert_eq!(Note::parse(&Note::default().encode()), Some(Note::default()));
        for wrong in ["", "lockstep-marks 2\n", "lockstep-marks 1\nroot 11\n", "lockstep-marks 1\npack ../x\n", "x"] {
            assert_eq!(Note::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let newer: [&[u8]; 3] = [b"lockstep-marks 2\nroot x", b"lockstep-marks 1\n", b"lockstep-marks two\n"];
        assert_eq!(newer.map(Note::is_newer), [true, false, false]);
        for sort in [Sort::Marked, Sort::Kept, Sort::Removing] {
            let note = NoteName { sort, name: name.clone() };
            assert_eq!(NoteName::parse(&note.file_name()), Some(note.clone()));
            assert_eq!(Name::parse(&note.file_name()), None, "it is no segment");
        }
        assert_eq!(NoteName::parse(name.as_str()), None);
    }

    #[test]
    fn what_is_kept_does_not_go_by_the_marks_of_before() {
        let (first, second) = (Name::of(b"1", 1), Name::of(b"2", 2));
        let marks = Marks {
            marked: vec![(first.clone(), things(1)), (second.clone(), things(1))],
            kept: vec![Note { of: [first].into(), things: things(1) }],
            ..Marks::default()
        };
        assert_eq!(marks.standing()[0].1, Things::default());
        assert_eq!(marks.doomed(), things(1));
        assert_eq!(Marks { is_doubtful: true, ..marks }.doomed(), Things::default());
    }

    #[test]
    fn who_removes_is_believed_for_an_hour() {
        let name = Name::of(b"x", 10_000);
        for (sort, now, want) in [
            (Sort::Removing, 10_000, true),
            (Sort::Removing, 13_599, true),
            (Sort::Removing, 13_600, false),
            (Sort::Removing, 9000, true),
            (Sort::Marked, 10_000, false),
        ] {
            assert_eq!(NoteName { sort, name: name.clone() }.is_alive(now), want, "{sort:?} {now}");
        }
    }
}
