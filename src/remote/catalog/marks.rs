//! Notes beside the segments of a remote: what is marked for removal.
//!
//! ```text
//! index/<name>.marked     objects that nothing needed at that time; removed when the mark is old enough
//! index/<name>.kept       objects that are needed after all, and the marks that they are exempt from
//! index/<name>.removing   a removal is running: pushes must not rely on marked objects
//!
//! note = `lockstep-marks 1\n` line*
//! line = `of <name of a mark>` | `root file|tree <hex>` | `run <hex>` | `pack <hex>` | `object <hex>`
//! ```
//!
//! Names are those of segments (the second and a hash of the bytes) with an extension, so one listing shows both, and
//! readers that do not know notes skip them. A note never changes.
//!
//! A push that relies on a marked object writes `kept` and then looks for `removing`; a removal writes `removing` and
//! then looks for `kept`. So one of the two sees the other, whatever their clocks say. A `removing` note that is an
//! hour old belongs to a process that died; a removal stops after half of that time.

use std::collections::BTreeSet;

use crate::remote::catalog::segment::{Segment, SegmentName};
use crate::store::ObjectId;
use crate::store::pack::format::PackId;

const START: &[u8] = b"lockstep-marks ";
const VERSION: u32 = 1;
const HEAD: &str = "lockstep-marks 1";
/// Seconds after which a `removing` note is ignored.
pub const LEASE: u64 = 3600;

/// A set of objects at a remote: the roots and runs of its rows, and the files that hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectSet {
    /// Outputs and data: the id, and whether it is a folder.
    pub roots: BTreeSet<(ObjectId, bool)>,
    /// Results of the run cache, by BLAKE3 of their bytes.
    pub runs: BTreeSet<ObjectId>,
    /// Whole packs.
    pub packs: BTreeSet<PackId>,
    /// Large objects.
    pub objects: BTreeSet<ObjectId>,
}

impl ObjectSet {
    /// Returns true if the set has no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of roots, results, packs and large objects together.
    pub fn len(&self) -> usize {
        self.roots.len() + self.runs.len() + self.packs.len() + self.objects.len()
    }

    /// Adds all objects of `other`.
    pub fn extend(&mut self, other: &ObjectSet) {
        self.roots.extend(&other.roots);
        self.runs.extend(&other.runs);
        self.packs.extend(&other.packs);
        self.objects.extend(&other.objects);
    }

    /// The objects that `other` lacks.
    pub fn minus(&self, other: &ObjectSet) -> ObjectSet {
        ObjectSet {
            roots: &self.roots - &other.roots,
            runs: &self.runs - &other.runs,
            packs: &self.packs - &other.packs,
            objects: &self.objects - &other.objects,
        }
    }

    /// The objects in both sets.
    pub fn intersection(&self, other: &ObjectSet) -> ObjectSet {
        ObjectSet {
            roots: &self.roots & &other.roots,
            runs: &self.runs & &other.runs,
            packs: &self.packs & &other.packs,
            objects: &self.objects & &other.objects,
        }
    }

    /// The size in bytes of the files in the set.
    pub fn bytes(&self, of: &Segment) -> u64 {
        let packs = self.packs.iter().filter_map(|id| of.packs.get(id)).map(|pack| pack.length);
        packs.chain(self.objects.iter().filter_map(|id| of.loose.get(id).copied())).sum()
    }
}

/// The content of a note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The marks that the note refers to; empty for a mark itself.
    pub of: BTreeSet<SegmentName>,
    /// The objects that the note marks or keeps.
    pub things: ObjectSet,
}

impl Note {
    /// The bytes of the file; the same note always has the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEAD}\n");
        let mut line = |start: &str, name: &str| text.extend([start, " ", name, "\n"]);
        self.of.iter().for_each(|name| line("of", name.as_str()));
        let ObjectSet { roots, runs, packs, objects } = &self.things;
        roots.iter().for_each(|(id, tree)| line(if *tree { "root tree" } else { "root file" }, &id.hex()));
        runs.iter().for_each(|id| line("run", &id.hex()));
        packs.iter().for_each(|id| line("pack", &id.to_string()));
        objects.iter().for_each(|id| line("object", &id.hex()));
        text.into_bytes()
    }

    /// Returns true if a later version wrote the note.
    pub fn is_newer(bytes: &[u8]) -> bool {
        let version = bytes.strip_prefix(START).and_then(|rest| rest.split(|b| *b == b'\n').next());
        let version = version.and_then(|number| std::str::from_utf8(number).ok()?.parse::<u32>().ok());
        version.is_some_and(|version| version > VERSION)
    }

    /// `None` for a malformed note, or one of a newer version.
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
                "of" => drop(note.of.insert(SegmentName::parse(name)?)),
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

/// The kind of a note, by its file extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// Nothing needed its objects at that time.
    Marked,
    /// Its objects are needed after all, in spite of the marks of `of`.
    Kept,
    /// A removal is running.
    Removing,
}

/// The file name of a note in `index/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteName {
    /// The kind, which is the extension.
    pub kind: NoteKind,
    /// The second and the hash, as of a segment.
    pub name: SegmentName,
}

impl NoteName {
    /// `None` for a name that is not that of a note.
    pub fn parse(text: &str) -> Option<NoteName> {
        let (name, kind) = text.split_once('.')?;
        let kind = match kind {
            "marked" => NoteKind::Marked,
            "kept" => NoteKind::Kept,
            "removing" => NoteKind::Removing,
            _ => return None,
        };
        Some(NoteName { kind, name: SegmentName::parse(name)? })
    }

    /// The name with its extension, relative to `index/`.
    pub fn file_name(&self) -> String {
        let kind = match self.kind {
            NoteKind::Marked => "marked",
            NoteKind::Kept => "kept",
            NoteKind::Removing => "removing",
        };
        format!("{}.{kind}", self.name.as_str())
    }

    /// Of a `removing` note: returns true if the process that wrote it may still be at work. A time in the future
    /// counts as alive.
    pub fn is_alive(&self, now: u64) -> bool {
        self.kind == NoteKind::Removing && now < self.name.seconds().saturating_add(LEASE)
    }
}

/// All notes of a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// All notes, also those whose content is not needed.
    pub names: BTreeSet<NoteName>,
    /// The content of each `marked` note.
    pub marked: Vec<(SegmentName, ObjectSet)>,
    /// The content of each `kept` note.
    pub kept: Vec<Note>,
    /// At least one note cannot be read. It may keep something, so every mark is ignored.
    pub is_doubtful: bool,
}

impl Marks {
    /// Each mark with what it still covers: what was kept since is taken out.
    pub fn effective_marks(&self) -> Vec<(SegmentName, ObjectSet)> {
        let left = |(name, things): &(SegmentName, ObjectSet)| {
            let kept = self.kept.iter().filter(|note| note.of.contains(name));
            (name.clone(), kept.fold(things.clone(), |left, note| left.minus(&note.things)))
        };
        if self.is_doubtful { Vec::new() } else { self.marked.iter().map(left).collect() }
    }

    /// Everything that is marked for removal.
    pub fn all_marked(&self) -> ObjectSet {
        let mut all = ObjectSet::default();
        self.effective_marks().iter().for_each(|(_, things)| all.extend(things));
        all
    }

    /// The note of a process that is removing objects now.
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

    fn things(n: u8) -> ObjectSet {
        ObjectSet {
            roots: [(id(n), true), (id(n), false)].into(),
            runs: [id(n)].into(),
            packs: [PackId(id(n))].into(),
            objects: [id(n)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let name = SegmentName::for_bytes(b"x", 7);
        let note = Note { of: [name.clone()].into(), things: things(3) };
        assert_eq!(Note::parse(&note.encode()), Some(note.clone()));
        assert_eq!(Note::parse(&Note::default().encode()), Some(Note::default()));
        for wrong in ["", "lockstep-marks 2\n", "lockstep-marks 1\nroot 11\n", "lockstep-marks 1\npack ../x\n", "x"] {
            assert_eq!(Note::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let newer: [&[u8]; 3] = [b"lockstep-marks 2\nroot x", b"lockstep-marks 1\n", b"lockstep-marks two\n"];
        assert_eq!(newer.map(Note::is_newer), [true, false, false]);
        for kind in [NoteKind::Marked, NoteKind::Kept, NoteKind::Removing] {
            let note = NoteName { kind, name: name.clone() };
            assert_eq!(NoteName::parse(&note.file_name()), Some(note.clone()));
            assert_eq!(SegmentName::parse(&note.file_name()), None, "it is not a segment");
        }
        assert_eq!(NoteName::parse(name.as_str()), None);
    }

    #[test]
    fn what_is_kept_does_not_go_by_the_marks_of_before() {
        let (first, second) = (SegmentName::for_bytes(b"1", 1), SegmentName::for_bytes(b"2", 2));
        let marks = Marks {
            marked: vec![(first.clone(), things(1)), (second.clone(), things(1))],
            kept: vec![Note { of: [first].into(), things: things(1) }],
            ..Marks::default()
        };
        assert_eq!(marks.effective_marks()[0].1, ObjectSet::default());
        assert_eq!(marks.all_marked(), things(1));
        assert_eq!(Marks { is_doubtful: true, ..marks }.all_marked(), ObjectSet::default());
    }

    #[test]
    fn who_removes_is_believed_for_an_hour() {
        let name = SegmentName::for_bytes(b"x", 10_000);
        for (kind, now, want) in [
            (NoteKind::Removing, 10_000, true),
            (NoteKind::Removing, 13_599, true),
            (NoteKind::Removing, 13_600, false),
            (NoteKind::Removing, 9000, true),
            (NoteKind::Marked, 10_000, false),
        ] {
            assert_eq!(NoteName { kind, name: name.clone() }.is_alive(now), want, "{kind:?} {now}");
        }
    }
}
