//! New and unchanged folders of a scan, and their conversion to rows.

use super::format::{FileRow, FolderRow, Rows, View};
use crate::store::trees::{self, EntryKind};

/// A folder of a scan, with its subfolders.
pub enum FolderNode {
    /// The old rows from this index to the end of the subtree are unchanged.
    Unchanged(usize),
    New(Box<Folder>),
}

/// A folder with new rows.
pub struct Folder {
    /// Relative to the top.
    pub path: Vec<u8>,
    pub row: FolderRow,
    /// With names in `names`.
    pub files: Vec<FileRow>,
    pub names: Vec<u8>,
    pub folders: Vec<FolderNode>,
}

impl FolderNode {
    pub fn row<'a>(&'a self, old: View<'a>) -> (&'a [u8], &'a FolderRow) {
        match self {
            FolderNode::Unchanged(at) => (old.path(&old.folders[*at]), &old.folders[*at]),
            FolderNode::New(folder) => (&folder.path, &folder.row),
        }
    }
}

/// Lays the rows out in preorder; `None` if there are too many.
pub fn flatten(found: FolderNode, old: View<'_>, rows: &mut Rows) -> Option<()> {
    let folder = match found {
        FolderNode::Unchanged(at) => {
            let base = rows.folders.len();
            for row in &old.folders[at..old.end(at)] {
                let end = u32::try_from((row.end as usize).saturating_sub(at) + base).ok()?;
                let new = FolderRow { path_at: rows.add_name(old.path(row))?, end, ..*row };
                push(rows, new, old.files_of(row), |file| old.name(file))?;
            }
            return Some(());
        }
        FolderNode::New(folder) => folder,
    };
    let at = rows.folders.len();
    let own = View { folders: &[], files: &folder.files, names: &folder.names };
    let path_len = folder.path.len() as u32;
    let row = FolderRow { path_at: rows.add_name(&folder.path)?, path_len, ..folder.row };
    push(rows, row, &folder.files, |file| own.name(file))?;
    for below in folder.folders {
        flatten(below, old, rows)?;
    }
    rows.folders[at].end = u32::try_from(rows.folders.len()).ok()?;
    Some(())
}

fn push<'n>(rows: &mut Rows, mut row: FolderRow, files: &[FileRow], name: impl Fn(&FileRow) -> &'n [u8]) -> Option<()> {
    (row.first, row.files) = (u32::try_from(rows.files.len()).ok()?, u32::try_from(files.len()).ok()?);
    rows.folders.push(row);
    for file in files {
        let name_at = rows.add_name(name(file))?;
        rows.files.push(FileRow { name_at, ..*file });
    }
    Some(())
}

/// The tree of a folder with these files and these subfolders (by path): its encoding, bytes and number of files.
pub fn encode<'f>(
    view: View<'_>,
    files: &[FileRow],
    folders: impl Iterator<Item = (&'f [u8], &'f FolderRow)>,
) -> (Vec<u8>, u64, u64) {
    let mut entries: Vec<(&[u8], EntryKind, _, u64, u64)> = files
        .iter()
        .map(|f| (view.name(f), EntryKind::from_byte(f.kind).unwrap_or(EntryKind::File), &f.id, f.stat.size, 1))
        .collect();
    for (path, row) in folders.filter(|(_, row)| row.count > 0) {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        entries.push((name, EntryKind::Tree, &row.id, row.bytes, row.count));
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let mut writer = trees::Writer::default();
    let (mut bytes, mut count) = (0, 0);
    for (name, kind, id, size, files) in entries {
        writer.entry(name, kind, id, size, files);
        bytes += size;
        count += files;
    }
    (writer.finish(), bytes, count)
}
