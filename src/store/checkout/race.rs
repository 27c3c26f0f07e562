//! Checks that the removed content is the content that was scanned, by stat alone.
//!
//! Between the scan that found a path saved and the swap that replaces it, hours may pass in which another process
//! changes files. So the swapped-out content is compared again before it is deleted: from then on no process finds it
//! by its name.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::fs::paths::{join, to_path};
use crate::store::fs::stat::Seen;
use crate::store::index::Rules;
use crate::store::index::format::{FOLLOWED, FileRow, View};
use crate::store::index::rows::{find_folder, single};
use crate::store::trees::EntryKind;

/// Returns the first path below `old` that differs from `view`, relative to it. `old` is the current path of the output
/// with this `key`. Compares sizes and mtimes, but not ctimes, since the renames and links of this program change them.
pub fn changed(old: &Path, view: View<'_>, key: &[u8], rules: &dyn Rules) -> Option<PathBuf> {
    // A dangling link counted as missing when it was scanned.
    let seen = Seen::stat(old).ok()?;
    let looked_at_a_folder = !view.folders.is_empty();
    if seen.is_dir() && looked_at_a_folder {
        return Compare { old, view, key, rules }.folder(&[]);
    }
    let is_same = single(view).is_some_and(|row| is_same_file(row, &seen));
    (seen.is_dir() || !is_same).then(PathBuf::new)
}

fn is_same_file(row: &FileRow, seen: &Seen) -> bool {
    seen.is_file() && (row.stat.size, row.stat.mtime) == (seen.stat.size, seen.stat.mtime)
}

struct Compare<'a> {
    old: &'a Path,
    view: View<'a>,
    key: &'a [u8],
    rules: &'a dyn Rules,
}

impl Compare<'_> {
    fn folder(&self, path: &[u8]) -> Option<PathBuf> {
        let on_disk = self.old.join(to_path(path));
        let here = || Some(to_path(path).to_path_buf());
        let Some(at) = find_folder(self.view, path) else { return here() };
        let files = self.view.files_of(&self.view.folders[at]);
        let Ok(entries) = fs::read_dir(&on_disk) else { return here() };
        let mut met = 0;
        for entry in entries {
            let Ok(entry) = entry else { return here() };
            let name = entry.file_name();
            let below = join(path, name.as_bytes());
            let Ok(seen) = Seen::lstat(&entry.path()) else { return Some(to_path(&below).to_path_buf()) };
            if self.rules.ignored(&join(self.key, &below), seen.is_dir()) {
                continue;
            }
            if seen.is_dir() {
                if let Some(changed) = self.folder(&below) {
                    return Some(changed);
                }
                continue;
            }
            let row = files.binary_search_by(|row| self.view.name(row).cmp(name.as_bytes())).ok().map(|n| &files[n]);
            match row {
                Some(row) if is_as_it_was(row, &seen) => met += 1,
                // A link to a folder outside is listed among the folders. Its target is not deleted.
                None if seen.is_link() && find_folder(self.view, &below).is_some() => {}
                _ => return Some(to_path(&below).to_path_buf()),
            }
        }
        // A file is missing: the user deleted it.
        (met != files.len()).then(here).flatten()
    }
}

fn is_as_it_was(row: &FileRow, seen: &Seen) -> bool {
    if row.kind == EntryKind::Symlink as u8 {
        return seen.is_link() && row.stat.mtime == seen.stat.mtime;
    }
    if row.flags & FOLLOWED != 0 {
        return seen.is_link();
    }
    is_same_file(row, seen)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::Silent;
    use crate::store::restore;
    use crate::store::tests::Sandbox;

    /// Adds a file to the output when the rules are asked for the `at`th time, which is after the swap.
    struct Adds {
        file: PathBuf,
        asked: AtomicUsize,
        at: usize,
    }

    impl Rules for Adds {
        fn ignored(&self, _: &[u8], _: bool) -> bool {
            if self.asked.fetch_add(1, Ordering::Relaxed) == self.at {
                fs::write(&self.file, "mine").unwrap();
            }
            false
        }

        fn id(&self) -> u64 {
            0
        }
    }

    #[test]
    fn what_is_added_while_the_old_one_goes_is_seen() {
        for at in 0..6 {
            let s = Sandbox::new();
            // Large enough that the restore waits until the times can be trusted.
            s.write("d/big", vec![0; 2 << 20]);
            s.write("d/1", "one");
            s.write("d/2", "one");
            let first = s.put("d");
            s.write("d/1", "two");
            s.put("d");
            let adds = Adds { file: s.top.join("d/new"), asked: AtomicUsize::new(0), at };
            assert_eq!(restore(&s.store, &s.index, &s.writable("d").unwrap(), &first, &adds, &Silent).unwrap(), None);
            assert!(adds.asked.load(Ordering::Relaxed) > at, "{at}");
            assert_eq!(s.pin("d").files, Some(4), "{at}");
        }
    }

    #[test]
    fn what_changed_since_the_look_returns() {
        let s = Sandbox::new();
        s.write("d/1", "one");
        s.write("d/sub/2", "one");
        std::os::unix::fs::symlink("sub/2", s.top.join("d/link")).unwrap();
        let first = s.put("d");
        s.write("d/1", "two");
        s.put("d");
        let edits: [(&str, &dyn Fn()); 6] = [
            ("an edit", &|| s.write("d/1", "three")),
            ("a new file", &|| s.write("d/sub/new", "")),
            ("a new folder", &|| s.write("d/other/new", "")),
            ("a link", &|| std::os::unix::fs::symlink("1", s.top.join("d/link2")).unwrap()),
            ("a file that went", &|| fs::remove_file(s.top.join("d/sub/2")).unwrap()),
            ("a file for a folder", &|| {
                fs::remove_dir_all(s.top.join("d")).unwrap();
                s.write("d", "");
            }),
        ];
        for (what, edit) in edits {
            s.pin("d");
            edit();
            let seen = |place: &Path| walkdir::WalkDir::new(place).into_iter().flatten().count();
            let before = seen(&s.top);
            let error = s.restore("d", &first).unwrap_err();
            assert!(error.message.contains("it was not touched"), "{what}: {error}");
            assert_eq!(seen(&s.top), before, "{what}");
        }
        s.pin("d");
        s.restore("d", &first).unwrap();
        assert_eq!(s.pin("d"), first);
    }
}
