//! Facts about paths in the index besides their content: what the store has of them, so that a no-op looks up no
//! objects and a checkout knows what it may delete; and the version that they had when the lock last recorded it.

use super::format::{BaseVersion, StoredMark, TopMarks};
use super::{StatIndex, TopRows};
use crate::path::RepoPath;
use crate::store::fs::paths::TrackedPath;
use crate::store::id::Pin;

impl StatIndex {
    /// Records that the content of this path was complete in that generation of the store.
    pub fn mark_stored(&self, place: &TrackedPath, pin: &Pin, generation: [u8; 16]) {
        let known = self.known(place.key());
        let stored = StoredMark { id: pin.id, generation };
        if known.marks().stored != stored && !matches!(known, TopRows::Nothing) {
            self.learn(place.key(), known.to_top().rows, TopMarks { stored, ..known.marks() });
        }
    }

    /// Was this content of the path complete in this generation of the store?
    pub fn is_stored(&self, place: &TrackedPath, pin: &Pin, generation: [u8; 16]) -> bool {
        self.known(place.key()).marks().stored == StoredMark { id: pin.id, generation }
    }

    /// Was this very content stored at, or restored to, this path, in any generation of the store?
    pub fn was_stored(&self, place: &TrackedPath, pin: &Pin) -> bool {
        let stored = self.known(place.key()).marks().stored;
        stored.counts() && stored.id == pin.id
    }

    /// Records that no stage has this path as an output any more.
    pub fn release(&self, place: &TrackedPath) {
        let known = self.known(place.key());
        if known.marks().stored.counts() {
            let marks = TopMarks { stored: StoredMark::RELEASED, ..known.marks() };
            self.learn(place.key(), known.to_top().rows, marks);
        }
    }

    /// Records that the lock pins the content of this path. Later content is an edit of this version.
    pub fn set_base(&self, place: &TrackedPath, pin: &Pin) {
        let known = self.known(place.key());
        let base = BaseVersion::from(pin);
        if known.marks().base != base {
            self.learn(place.key(), known.to_top().rows, TopMarks { base, ..known.marks() });
        }
    }

    /// The pin in the lock when it last matched the content of this path.
    pub fn base(&self, place: &TrackedPath) -> Option<Pin> {
        self.known(place.key()).marks().base.pin()
    }

    /// Paths inside the repository whose content was stored from there, or restored.
    pub fn stored_places(&self) -> Vec<RepoPath> {
        self.places(StoredMark::counts)
    }

    /// Paths inside the repository that were [released](Self::release) since.
    pub fn released_places(&self) -> Vec<RepoPath> {
        self.places(|stored| *stored == StoredMark::RELEASED)
    }

    fn places(&self, is_meant: fn(&StoredMark) -> bool) -> Vec<RepoPath> {
        let learnt = self.read();
        let loaded = self.loaded.iter().filter(|(key, ..)| !learnt.contains_key(*key));
        let loaded = loaded.filter(|(.., marks)| is_meant(&marks.stored)).map(|(key, ..)| key);
        let new = learnt.iter().filter(|(_, top)| top.as_ref().is_some_and(|top| is_meant(&top.marks.stored)));
        let keys = loaded.chain(new.map(|(key, _)| key.as_slice()));
        // The key of an outside path is absolute.
        let inside = keys.filter_map(|key| RepoPath::root().join(std::str::from_utf8(key).ok()?));
        let mut places: Vec<RepoPath> = inside.filter(|path| !path.is_root()).collect();
        places.sort();
        places
    }
}

impl From<&Pin> for BaseVersion {
    fn from(pin: &Pin) -> BaseVersion {
        let files = pin.files.map_or(0, |files| files.saturating_add(1));
        BaseVersion { id: pin.id, size: pin.size, files, executable: u64::from(pin.executable) }
    }
}

impl BaseVersion {
    fn pin(self) -> Option<Pin> {
        let BaseVersion { id, size, files, executable } = self;
        (self != BaseVersion::default()).then(|| Pin {
            id,
            size,
            files: files.checked_sub(1),
            executable: executable == 1,
        })
    }
}
