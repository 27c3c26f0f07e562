//! Stores objects again from files of the workspace.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::document;
use crate::error::Result;
use crate::event::Sink;
use crate::store::copy::create_private;
use crate::store::fs::paths::TrackedPath;
use crate::store::id::ObjectKind;
use crate::store::id::{ObjectId, Pin};
use crate::store::index::StatIndex;
use crate::store::objects::Store;

impl Store {
    /// The objects of `ids` that the store lacks.
    pub fn filter_missing<'i>(&self, ids: impl IntoIterator<Item = &'i ObjectId>) -> HashSet<ObjectId> {
        self.refresh_packs();
        ids.into_iter().filter(|id| self.size(id).is_none()).copied().collect()
    }

    /// Stores the wanted and missing objects from a path, which the index scanned with the result `pin`. The index may
    /// be outdated: every object is verified on the way, and a changed one is skipped.
    pub fn store_from_workspace(
        &self,
        index: &StatIndex,
        place: &TrackedPath,
        pin: &Pin,
        wanted: &dyn Fn(&ObjectId) -> bool,
        sink: &dyn Sink,
    ) -> Result<HashSet<ObjectId>> {
        self.refresh_packs();
        let mut taken = HashSet::new();
        let is_wanted = |id: &ObjectId| wanted(id) && self.size(id).is_none();
        let content = index.content(place).filter(|content| content.pin == *pin);
        let files: Vec<(PathBuf, ObjectId)> = match &content {
            Some(content) => content.files.iter().map(|(path, id, _)| (path.clone(), *id)).collect(),
            None if pin.is_dir() => return Ok(taken),
            None => vec![(place.on_disk(index.top()), pin.id)],
        };
        for (path, id) in files.iter().filter(|(_, id)| is_wanted(id)) {
            let temp = self.temp()?;
            let copy = || io::copy(&mut document::open(path)?, &mut create_private(&temp)?);
            let copied = copy().is_ok() && self.adopt_object(id, ObjectKind::Content, &temp, sink).is_ok();
            if copied {
                taken.insert(*id);
            } else {
                let _ = fs::remove_file(&temp);
            }
        }
        let Some(content) = content else { return Ok(taken) };
        let mut batch = self.batch();
        let links = content.links.into_iter().filter_map(|(_, id, text)| Some((ObjectKind::Content, id, text.ok()?)));
        let trees = content.trees.into_iter().map(|tree| (ObjectKind::Tree, ObjectKind::Tree.id_of(&tree), tree));
        for (kind, id, bytes) in links.chain(trees) {
            if is_wanted(&id) && kind.id_of(&bytes) == id {
                batch.add_bytes(kind, bytes);
                taken.insert(id);
            }
        }
        batch.commit(sink)?;
        Ok(taken)
    }
}
