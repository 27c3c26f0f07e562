//! Lists a folder of a snapshot: Git's files together with the outs and data that its locks pin.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::git::{EntryKind as GitKind, GitId};
use crate::lfs;
use crate::path::RepoPath;
use crate::project::{PinnedPath, Snapshot};
use crate::store::Pin;
use crate::store::trees::EntryKind;

/// Limits that no real repository exceeds; they stop trees that were made to exhaust the reader.
const DEEPEST: usize = 250;
const MOST: usize = 2_000_000;

/// An entry at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct BrowserItem {
    /// Relative to the root of the repository.
    pub path: RepoPath,
    /// The kind, with what is needed to read it.
    pub what: ItemKind,
}

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// A folder of Git, or one that only contains pinned paths.
    Folder,
    /// A file of Git; without an id in the worktree.
    File {
        /// The executable bit.
        executable: bool,
        /// The blob; `None` in the worktree.
        id: Option<GitId>,
    },
    /// A symlink of Git.
    Link {
        /// The blob with the text of the link; `None` in the worktree.
        id: Option<GitId>,
    },
    /// Pinned, or inside of a pinned folder.
    Pinned(Pin),
    /// A symlink inside of a pinned folder.
    PinnedLink(Pin),
}

impl ItemKind {
    /// Returns true for folders of Git and pinned folders.
    pub fn is_folder(&self) -> bool {
        matches!(self, ItemKind::Folder) || matches!(self, ItemKind::Pinned(pin) if pin.is_dir())
    }

    /// Returns true if its bytes are in the store, not in Git.
    pub fn is_pinned(&self) -> bool {
        matches!(self, ItemKind::Pinned(_) | ItemKind::PinnedLink(_))
    }

    /// Returns true for a file with the executable bit.
    pub fn is_executable(&self) -> bool {
        matches!(self, ItemKind::File { executable: true, .. } | ItemKind::Pinned(Pin { executable: true, .. }))
    }
}

/// Reads the folders of one snapshot.
pub struct Browser<'s, 'p> {
    snapshot: &'s Snapshot<'p>,
    pinned: Vec<PinnedPath>,
    /// For the worktree: the files that Git tracks.
    index: BTreeMap<RepoPath, GitKind>,
    /// How many more entries of Git's trees may be read.
    entries_left: Cell<usize>,
}

impl<'s, 'p> Browser<'s, 'p> {
    /// Errors: the locks or Git's index cannot be read.
    pub fn new(snapshot: &'s Snapshot<'p>) -> Result<Browser<'s, 'p>> {
        let pinned = snapshot.pinned()?.into_iter().filter(|p| p.cache).collect();
        let index = match snapshot.commit {
            Some(_) => BTreeMap::new(),
            None => snapshot.project.repo.index_entries()?.into_iter().collect(),
        };
        Ok(Browser { snapshot, pinned, index, entries_left: Cell::new(MOST) })
    }

    /// The entry at a path; `None` if there is none.
    pub fn find(&self, path: &RepoPath) -> Result<Option<BrowserItem>> {
        let item = |what| Ok(Some(BrowserItem { path: path.clone(), what }));
        if let Some(pin) = self.pin(path)? {
            return item(ItemKind::Pinned(pin));
        }
        let git = match self.snapshot.git() {
            Some(commit) => commit.find(path)?.and_then(|(kind, id)| of_git(kind, Some(id))),
            None => self.index.get(path).and_then(|kind| of_git(*kind, None)),
        };
        if let Some(what) = git {
            return item(what);
        }
        let holds = |below: &RepoPath| below.is_in(path);
        if path.is_root() || self.pinned.iter().any(|p| holds(&p.path)) || self.index.keys().any(holds) {
            return item(ItemKind::Folder);
        }
        Ok(None)
    }

    fn pin(&self, path: &RepoPath) -> Result<Option<Pin>> {
        if self.pinned.iter().any(|p| path.is_in(&p.path)) { self.snapshot.pin(path) } else { Ok(None) }
    }

    /// The entries of a folder, by name; with `recursive`, everything below it except folders.
    pub fn list(&self, folder: &BrowserItem, recursive: bool) -> Result<Vec<BrowserItem>> {
        let mut found = Vec::new();
        let mut pending = vec![folder.clone()];
        while let Some(folder) = pending.pop() {
            for item in self.children(&folder)? {
                if recursive && item.what.is_folder() && !is_empty(&item.what) {
                    pending.push(item);
                } else {
                    found.push(item);
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn children(&self, folder: &BrowserItem) -> Result<Vec<BrowserItem>> {
        let child = |name: &[u8]| folder.path.join(std::str::from_utf8(name).ok()?);
        if let ItemKind::Pinned(pin) = &folder.what {
            let level = folder.path.parts().count().saturating_sub(DEEPEST);
            let tree = self.snapshot.project.store().read_tree(&pin.id, level);
            let tree = tree.map_err(|e| self.snapshot.missing_object(&folder.path, e))?;
            let item = |entry: &crate::store::trees::Entry| {
                let path = child(&entry.name).ok_or_else(|| {
                    let name = String::from_utf8_lossy(&entry.name);
                    Error::usage(format!("{}/{name} has a name that is not UTF-8", folder.path))
                })?;
                let link = entry.kind == EntryKind::Symlink;
                Ok(BrowserItem {
                    path,
                    what: if link { ItemKind::PinnedLink(entry.pin()) } else { ItemKind::Pinned(entry.pin()) },
                })
            };
            return tree.entries.iter().map(item).collect();
        }
        let mut found: BTreeMap<RepoPath, ItemKind> = BTreeMap::new();
        let below = |path: &RepoPath| -> Option<(RepoPath, bool)> {
            let rest = path.is_in(&folder.path).then(|| path.relative_to(&folder.path))?;
            let first = rest.split('/').next().filter(|n| *n != ".")?;
            Some((folder.path.join(first)?, first == rest))
        };
        match self.snapshot.git() {
            Some(commit) => {
                let entries = commit.list(&folder.path)?;
                self.take(folder, entries.as_ref().map_or(0, |entries| entries.len()))?;
                for entry in entries.iter().flat_map(|e| e.iter()) {
                    if let (Some(path), Some(what)) = (child(&entry.name), of_git(entry.kind, Some(entry.id))) {
                        found.insert(path, what);
                    }
                }
            }
            None => {
                for (path, kind) in &self.index {
                    let Some((child, is_it)) = below(path) else { continue };
                    let what = if is_it { of_git(*kind, None) } else { Some(ItemKind::Folder) };
                    what.and_then(|what| found.insert(child, what));
                }
            }
        }
        let mut folders = BTreeSet::new();
        for pinned in &self.pinned {
            let Some((child, is_it)) = below(&pinned.path) else { continue };
            if is_it {
                found.insert(child, ItemKind::Pinned(pinned.pin));
            } else {
                folders.insert(child);
            }
        }
        for path in folders {
            found.entry(path).or_insert(ItemKind::Folder);
        }
        Ok(found.into_iter().map(|(path, what)| BrowserItem { path, what }).collect())
    }

    /// Counts the entries of a Git folder before they are read: a few trees that contain each other can have more
    /// entries than fit into memory.
    fn take(&self, folder: &BrowserItem, entries: usize) -> Result<()> {
        let name = &self.snapshot.name;
        if folder.path.parts().count() > DEEPEST {
            return Err(Error::usage(format!("{name} has a folder more than {DEEPEST} levels deep"))
                .hint("name a file or folder further up that holds none"));
        }
        let entries_left = self.entries_left.get().checked_sub(entries);
        self.entries_left.set(entries_left.ok_or_else(|| {
            Error::usage(format!("{name} has more than {MOST} files and folders in Git: too many to go through"))
                .hint("name a folder that holds fewer")
        })?);
        Ok(())
    }

    /// Fetches the blobs that a partial clone lacks with one request, before their sizes are needed.
    pub fn prefetch(&self, items: &[BrowserItem]) {
        let blob = |item: &BrowserItem| match item.what {
            ItemKind::File { id, .. } | ItemKind::Link { id } => id,
            _ => None,
        };
        if let Some(commit) = self.snapshot.git() {
            commit.history().prefetch_blobs(items.iter().filter_map(blob), &|_, _| ());
        }
    }

    /// The size of an item in bytes; `None` for a folder of Git. For a pointer of Git LFS in another repository it is
    /// the size of the file that `get` would write.
    pub fn size(&self, item: &BrowserItem) -> Result<Option<u64>> {
        match &item.what {
            ItemKind::Pinned(pin) | ItemKind::PinnedLink(pin) => Ok(Some(pin.size)),
            ItemKind::Folder => Ok(None),
            ItemKind::File { id, .. } | ItemKind::Link { id } => match (id, self.snapshot.git()) {
                (Some(id), Some(commit)) => {
                    let size = commit.history().blob_size(*id)?;
                    let may_be_pointer = size < lfs::LARGEST && self.snapshot.project.address.is_some();
                    let pointer = may_be_pointer.then(|| commit.history().blob(*id)).transpose()?;
                    let pointer = pointer.filter(|bytes| lfs::is_pointer(bytes)).and_then(|b| lfs::parse(&b).ok());
                    Ok(Some(pointer.map_or(size, |pointer| pointer.size)))
                }
                _ => Ok(item.path.on_disk(self.snapshot.project.top()).symlink_metadata().ok().map(|m| m.len())),
            },
        }
    }
}

fn is_empty(what: &ItemKind) -> bool {
    matches!(what, ItemKind::Pinned(Pin { files: Some(0), .. }))
}

fn of_git(kind: GitKind, id: Option<GitId>) -> Option<ItemKind> {
    match kind {
        GitKind::Folder => Some(ItemKind::Folder),
        GitKind::File => Some(ItemKind::File { executable: false, id }),
        GitKind::Executable => Some(ItemKind::File { executable: true, id }),
        GitKind::Symlink => Some(ItemKind::Link { id }),
        GitKind::Submodule => None,
    }
}
