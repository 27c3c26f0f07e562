//! Lookups in the rows of one top.

use super::format::{FileRow, FolderRow, Rows, View};
use crate::store::fs::stat::FileStat;
use crate::store::id::Pin;
use crate::store::trees::EntryKind;

/// The pin of a file's row.
pub fn file_pin(row: &FileRow) -> Pin {
    let executable = row.kind == EntryKind::Executable as u8;
    Pin { id: row.id, size: row.stat.size, files: None, executable }
}

/// The pin of a folder's row.
pub fn folder_pin(row: &FolderRow) -> Pin {
    Pin { id: row.id, size: row.bytes, files: Some(row.count), executable: false }
}

/// The row of a top that is a file.
pub fn single<'a>(view: View<'a>) -> Option<&'a FileRow> {
    view.files.first().filter(|_| view.folders.is_empty())
}

/// The row of the folder at `path`, relative to the top. In preorder, `/` sorts before every byte of a name.
pub fn find_folder(view: View<'_>, path: &[u8]) -> Option<usize> {
    let order = |b: &u8| if *b == b'/' { 0 } else { *b };
    view.folders.binary_search_by(|row| view.path(row).iter().map(order).cmp(path.iter().map(order))).ok()
}

/// The row of the file at `path`, relative to the top.
pub fn find_file<'a>(view: View<'a>, path: &[u8]) -> Option<&'a FileRow> {
    let cut = path.iter().rposition(|b| *b == b'/');
    let (folder, name) = cut.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
    let files = view.files_of(&view.folders[find_folder(view, folder)?]);
    files.binary_search_by(|row| view.name(row).cmp(name)).ok().map(|i| &files[i])
}

/// Are both the same, apart from the ctime, which a rename changes?
pub fn same_but_renamed(old: &FileStat, new: &FileStat) -> bool {
    (old.inode, old.mtime) == (new.inode, new.mtime)
}

impl View<'_> {
    pub fn to_rows(self) -> Rows {
        Rows { folders: self.folders.to_vec(), files: self.files.to_vec(), names: self.names.to_vec() }
    }
}
