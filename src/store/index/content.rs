//! The content of a scanned folder, as a batch needs it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::StatIndex;
use super::build;
use super::format::FOLLOWED;
use super::links::{LinkBase, LinkContent};
use super::rows::folder_pin;
use crate::error::{Error, Result};
use crate::store::fs::paths::{TrackedPath, join, to_path};
use crate::store::id::{ObjectId, Pin};
use crate::store::trees::EntryKind;
use crate::store::trees::rules::check_names;

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
    /// The symlinks at or below a path whose targets were scanned in their place.
    pub fn followed(&self, place: &TrackedPath) -> Vec<PathBuf> {
        let top = place.on_disk(&self.top);
        let known = self.known(place.key());
        let view = known.view();
        let mut links: Vec<PathBuf> = Vec::from_iter(top.is_symlink().then(|| top.clone()));
        for folder in view.folders {
            let path = view.path(folder);
            if folder.flags as u8 & FOLLOWED != 0 {
                links.push(top.join(to_path(path)));
            }
            let files = view.files_of(folder).iter().filter(|row| row.flags & FOLLOWED != 0);
            links.extend(files.map(|row| top.join(to_path(&join(path, view.name(row))))));
        }
        links
    }

    /// Checks that the scanned folder can be restored later: see `tree_rules`.
    pub(in crate::store) fn check_storable(&self, place: &TrackedPath) -> Result<()> {
        let known = self.known(place.key());
        let view = known.view();
        for (at, folder) in view.folders.iter().enumerate().filter(|(at, f)| *at == 0 || f.count > 0) {
            let files = view.files_of(folder).iter();
            let files = files.map(|row| (view.name(row), row.kind == EntryKind::Symlink as u8));
            let name = |path| to_path(path).file_name().unwrap_or_default().as_bytes();
            let below = view.folders_of(at).map(|i| &view.folders[i]).filter(|folder| folder.count > 0);
            let names: Vec<(&[u8], bool)> = files.chain(below.map(|folder| (name(view.path(folder)), false))).collect();
            check_names(names.iter().copied()).map_err(|why| {
                let at = place.on_disk(&self.top).join(to_path(view.path(folder)));
                let at = at.strip_prefix(&self.top).unwrap_or(&at).components().collect::<PathBuf>();
                Error::usage(format!("{} cannot be stored: it holds a name that is refused", at.display()))
                    .because(why)
                    .hint("take it out of there, or list it in .lockstepignore")
            })?;
        }
        Ok(())
    }

    /// All that a batch needs to store a scanned folder.
    pub(in crate::store) fn content(&self, place: &TrackedPath) -> Option<Content> {
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
                let home = home.get_or_insert_with(|| LinkBase::new(&top)).as_ref();
                let text = home.map_err(Clone::clone).and_then(|home| match home.resolve(&path)? {
                    LinkContent::Kept(text) => Ok(text),
                    _ => Ok(Vec::new()),
                });
                content.links.push((on_disk, row.id, text));
            }
        }
        Some(content)
    }
}
