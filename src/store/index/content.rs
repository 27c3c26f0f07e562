//! What a batch needs to store a folder that was looked at.

use std::path::PathBuf;

use super::StatIndex;
use super::build;
use super::links::{Home, Link};
use super::rows::folder_pin;
use crate::error::Result;
use crate::store::id::{ObjectId, Pin};
use crate::store::place::{Place, join, to_path};
use crate::store::tree::EntryKind;

/// A folder as a batch stores it.
pub struct Content {
    pub pin: Pin,
    pub files: Vec<(PathBuf, ObjectId, u64)>,
    /// With the text of each.
    pub links: Vec<(PathBuf, ObjectId, Result<Vec<u8>>)>,
    /// Encoded, deepest first.
    pub trees: Vec<Vec<u8>>,
}

impl StatIndex {
    /// All that a batch needs to store a folder that was looked at.
    pub(in crate::store) fn content(&self, place: &Place) -> Option<Content> {
        let known = self.known(place.key());
        let view = known.view();
        let top = place.on_disk(&self.top);
        let pin = folder_pin(view.folders.first()?);
        let mut content = Content { pin, files: Vec::new(), links: Vec::new(), trees: Vec::new() };
        let mut home = None;
        for (at, folder) in view.folders.iter().enumerate().rev().filter(|(at, f)| *at == 0 || f.count > 0) {
            let path = view.path(folder);
            let files = view.files_of(folder);
            let below = view.folders_of(at).map(|i| (view.path(&view.folders[i]), &view.folders[i]));
            content.trees.push(build::encode(view, files, below).0);
            for row in files {
                let path = join(path, view.name(row));
                let on_disk = top.join(to_path(&path));
                if row.kind != EntryKind::Symlink as u8 {
                    content.files.push((on_disk, row.id, row.stat.size));
                    continue;
                }
                let home = home.get_or_insert_with(|| Home::new(&top)).as_ref();
                let text = home.map_err(Clone::clone).and_then(|home| match home.resolve(&path)? {
                    Link::Kept(text) => Ok(text),
                    _ => Ok(Vec::new()),
                });
                content.links.push((on_disk, row.id, text));
            }
        }
        Some(content)
    }
}
