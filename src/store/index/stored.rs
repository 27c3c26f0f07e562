//! What the store has of the places that the index knows: so that a no-op asks no object, and a checkout knows what it
//! may take away.

use super::format::Stored;
use super::{Known, StatIndex};
use crate::path::RepoPath;
use crate::store::id::Pin;
use crate::store::place::Place;

impl StatIndex {
    /// Remembers that what this place held was complete in that generation of the store.
    pub fn mark_stored(&self, place: &Place, pin: &Pin, generation: [u8; 16]) {
        let known = self.known(place.key());
        let stored = Stored { id: pin.id, generation };
        if known.stored() != stored && !matches!(known, Known::Nothing) {
            self.learn(place.key(), known.to_top().rows, stored);
        }
    }

    pub fn is_stored(&self, place: &Place, pin: &Pin, generation: [u8; 16]) -> bool {
        self.known(place.key()).stored() == Stored { id: pin.id, generation }
    }

    /// Was this very content stored, or restored, at this place, in whatever generation of the store?
    pub fn was_stored(&self, place: &Place, pin: &Pin) -> bool {
        let stored = self.known(place.key()).stored();
        stored != Stored::default() && stored.id == pin.id
    }

    /// What lies there is nobody's output any more.
    pub fn release(&self, place: &Place) {
        let known = self.known(place.key());
        if known.stored() != Stored::default() {
            self.learn(place.key(), known.to_top().rows, Stored::default());
        }
    }

    /// Places inside the repository whose content was stored, or restored, there.
    pub fn stored_places(&self) -> Vec<RepoPath> {
        let learnt = self.read();
        let loaded = self.loaded.iter().filter(|(key, ..)| !learnt.contains_key(*key));
        let loaded = loaded.filter(|(.., stored)| *stored != Stored::default()).map(|(key, ..)| key);
        let new = learnt.iter().filter(|(_, top)| top.as_ref().is_some_and(|top| top.stored != Stored::default()));
        let keys = loaded.chain(new.map(|(key, _)| key.as_slice()));
        // A key of what lies outside is absolute.
        let inside = keys.filter_map(|key| RepoPath::root().join(std::str::from_utf8(key).ok()?));
        let mut places: Vec<RepoPath> = inside.filter(|path| !path.is_root()).collect();
        places.sort();
        places
    }
}
