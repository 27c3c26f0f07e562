//! A model that consists of several files in a folder: on disk, in a commit, or pinned.
//!
//! Listed are the regular files of the folder and of the folders in it, not deeper, and nothing hidden. A symlink is
//! read only if it leads to a file of the folder itself, or to an object of the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::document;
use crate::error::{Error, Kind, Result};

/// The maximum number of files and folders of a model.
pub const FILES: usize = 10_000;

/// What a name in the folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderFile {
    /// A file with this many bytes.
    Regular(u64),
    /// A symlink out of the folder.
    Outside,
}

/// Opens a file by its path in the folder.
type OpenFile<'a> = Box<dyn Fn(&str) -> Result<Source> + 'a>;

/// The files of a model.
pub struct ModelFolder<'a> {
    /// The name given by the user, for messages.
    name: String,
    /// By their paths in the folder.
    files: BTreeMap<String, FolderFile>,
    open: OpenFile<'a>,
}

impl<'a> ModelFolder<'a> {
    /// `open` opens a file by its path in the folder.
    pub fn new(
        name: &str,
        files: BTreeMap<String, FolderFile>,
        open: impl Fn(&str) -> Result<Source> + 'a,
    ) -> ModelFolder<'a> {
        ModelFolder { name: name.to_string(), files, open: Box::new(open) }
    }

    /// A folder on disk; `store` gives the folder of the store's objects, to which a checkout may have symlinks.
    ///
    /// Errors: it cannot be listed, or has too many files.
    pub fn on_disk(path: &Path, name: &str, store: &dyn Fn() -> Option<PathBuf>) -> Result<ModelFolder<'static>> {
        let real = std::fs::canonicalize(path).map_err(|e| Error::io("open", name, e))?;
        let mut roots = None;
        let mut listing = Listing { root: real.clone(), name: name.to_string(), files: BTreeMap::new(), count: 0 };
        let is_inside = &mut |target: &Path| {
            target.starts_with(&real)
                || roots.get_or_insert_with(store).as_ref().is_some_and(|objects: &PathBuf| target.starts_with(objects))
        };
        for below in listing.read("", is_inside)? {
            listing.read(&below, is_inside)?;
        }
        let (root, name) = (real, name.to_string());
        let files = listing.files;
        let open = move |file: &str| {
            let shown = format!("{}/{file}", name.trim_end_matches('/'));
            // Resolved once more: what it leads to must be a regular file, and is not followed again.
            let opened = std::fs::canonicalize(root.join(file)).and_then(|path| document::open_unlinked(&path));
            Source::of_file(opened.map_err(|e| Error::io("open", &shown, e))?, &shown)
        };
        let name = listing.name;
        Ok(ModelFolder { name, files, open: Box::new(open) })
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of all files that are listed.
    pub fn size(&self) -> u64 {
        let size = |file: &FolderFile| if let FolderFile::Regular(size) = file { *size } else { 0 };
        self.files.values().map(size).fold(0, u64::saturating_add)
    }

    /// Returns true if it has a file with this path.
    pub fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    /// The paths of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Opens a file.
    ///
    /// Errors: it is missing, is a symlink that leads out, or cannot be opened.
    pub fn open(&self, file: &str) -> Result<Source> {
        match self.files.get(file) {
            Some(FolderFile::Regular(_)) => (self.open)(file),
            Some(FolderFile::Outside) => Err(self
                .refuse(format!("{file} is a symlink that leads out of the folder"))
                .hint("put a copy of the file in its place")),
            None => Err(self.refuse(format!("{file} is missing"))),
        }
    }

    /// The content of a small file; `None` if there is none.
    ///
    /// Errors: it has more than `most` bytes, or cannot be read.
    pub fn read(&self, file: &str, most: u64) -> Result<Option<Vec<u8>>> {
        if !self.has(file) {
            return Ok(None);
        }
        self.open(file)?.all(most, "it").map(Some)
    }

    /// The error for an invalid folder.
    pub fn refuse(&self, why: impl Into<String>) -> Error {
        Error::new(Kind::Usage, format!("{} cannot be read", self.name)).because(why.into())
    }
}

/// The error for more than [`FILES`] files.
pub fn too_many(name: &str) -> Error {
    Error::usage(format!("{name} has more than {FILES} files"))
        .hint("name a file in it, or a folder with the model alone")
}

/// Reads a folder on disk.
struct Listing {
    root: PathBuf,
    name: String,
    files: BTreeMap<String, FolderFile>,
    count: usize,
}

impl Listing {
    /// Lists a folder below the root; returns the folders in it.
    fn read(&mut self, below: &str, is_inside: &mut dyn FnMut(&Path) -> bool) -> Result<Vec<String>> {
        let folder = self.root.join(below);
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("list", &folder, e))? {
            let entry = entry.map_err(|e| Error::io("list", &folder, e))?;
            self.count += 1;
            if self.count > FILES {
                return Err(too_many(&self.name));
            }
            let Ok(file) = entry.file_name().into_string() else { continue };
            if file.starts_with('.') {
                continue;
            }
            let path = if below.is_empty() { file } else { format!("{below}/{file}") };
            let kind = entry.file_type().map_err(|e| Error::io("look at", entry.path(), e))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let about = entry.metadata().map_err(|e| Error::io("look at", entry.path(), e))?;
                self.files.insert(path, FolderFile::Regular(about.len()));
            } else if kind.is_symlink() {
                self.link(path, &entry.path(), is_inside);
            }
        }
        folders.sort();
        Ok(folders)
    }

    fn link(&mut self, path: String, link: &Path, is_inside: &mut dyn FnMut(&Path) -> bool) {
        let target = std::fs::canonicalize(link);
        let file = match &target {
            Ok(target) if is_inside(target) => match std::fs::symlink_metadata(target) {
                Ok(about) if about.is_file() => FolderFile::Regular(about.len()),
                _ => return,
            },
            _ => FolderFile::Outside,
        };
        self.files.insert(path, file);
    }
}
