//! Preserves ignored files inside an output: they belong to the user.
//!
//! An ignored file is in no tree and in no store, so the file on the disk is the only copy. Before an old version of an
//! output is removed, its ignored files move to the same names in the new version ([`carry_over`]). If such a name is
//! taken, or its folder is a file now, the caller keeps them elsewhere, without the rest of the old version
//! ([`strip`]).

use crate::document;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::store::fs::paths::{join, to_path};
use crate::store::fs::rename::remove;
use crate::store::index::Rules;

/// The result of moving ignored files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PreserveResult {
    /// Folders into which files moved, relative to the output.
    pub moved: Vec<Vec<u8>>,
    /// Some files could not move and are still in the old folder.
    pub left: bool,
}

/// Moves ignored files of the folder `old` to the same names below `new`. `key` is the path of the output from the top
/// of the repository. A file that exists at the new path with the same bytes stays, and does not count as left.
pub fn carry_over(old: &Path, new: &Path, key: &[u8], rules: &dyn Rules) -> PreserveResult {
    let mut carried = PreserveResult::default();
    if is_dir(old) {
        Carrier { old, new, key, rules, carried: &mut carried }.folder(&[], false);
    }
    carried
}

/// Removes all files that are not ignored in the folder `old`, and the folders that are empty then. Returns whether
/// files are left.
pub fn strip(old: &Path, key: &[u8], rules: &dyn Rules) -> io::Result<bool> {
    if !is_dir(old) {
        return remove(old).map(|()| false);
    }
    let left = strip_folder(old, key, rules)?;
    if !left {
        remove(old)?;
    }
    Ok(left)
}

fn strip_folder(folder: &Path, key: &[u8], rules: &dyn Rules) -> io::Result<bool> {
    let mut left = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (key, is_dir) = (join(key, entry.file_name().as_bytes()), entry.file_type()?.is_dir());
        if rules.ignored(&key, is_dir) || (is_dir && strip_folder(&entry.path(), &key, rules)?) {
            left = true;
        } else {
            remove(&entry.path())?;
        }
    }
    Ok(left)
}

struct Carrier<'a> {
    old: &'a Path,
    new: &'a Path,
    key: &'a [u8],
    rules: &'a dyn Rules,
    carried: &'a mut PreserveResult,
}

impl Carrier<'_> {
    /// Below an ignored folder everything is `ignored`.
    fn folder(&mut self, path: &[u8], ignored: bool) {
        let Ok(entries) = fs::read_dir(self.old.join(to_path(path))) else {
            // The content of the folder cannot be listed.
            self.carried.left = true;
            return;
        };
        for entry in entries {
            let Ok((entry, is_dir)) = entry.and_then(|e| e.file_type().map(|t| (e, t.is_dir()))) else {
                self.carried.left = true;
                continue;
            };
            let below = join(path, entry.file_name().as_bytes());
            if ignored || self.rules.ignored(&join(self.key, &below), is_dir) {
                self.entry(&entry.path(), path, &below, is_dir);
            } else if is_dir {
                self.folder(&below, false);
            }
        }
    }

    fn entry(&mut self, from: &Path, folder: &[u8], below: &[u8], is_dir: bool) {
        let to = self.new.join(to_path(below));
        // A folder may be a symlink now, which leads to another path.
        let mut folders = to.ancestors().skip(1).take_while(|folder| *folder != self.new);
        if folders.any(|folder| folder.is_symlink()) {
            self.carried.left = true;
            return;
        }
        match fs::symlink_metadata(&to) {
            Ok(there) if is_dir && there.is_dir() => self.folder(below, true),
            Ok(_) => self.carried.left |= !is_same(from, &to),
            Err(_) => {
                // The new version may lack the folder, but the file still belongs to the user.
                let made = to.parent().map_or(Ok(()), fs::create_dir_all);
                match made.and_then(|()| fs::rename(from, &to)) {
                    Ok(()) => self.carried.moved.push(folder.to_vec()),
                    Err(_) => self.carried.left = true,
                }
            }
        }
    }
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Do two files have the same bytes? Unreadable files and other file types are equal to none.
fn is_same(a: &Path, b: &Path) -> bool {
    let is_file = |path| fs::symlink_metadata(path).ok().filter(|m| m.is_file());
    let (Some(meta), Some(other)) = (is_file(a), is_file(b)) else { return false };
    let compare = || -> io::Result<bool> {
        let (mut a, mut b) = (document::open(a)?, document::open(b)?);
        let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            let n = a.read(&mut left)?;
            if n == 0 {
                return Ok(b.read(&mut right)? == 0);
            }
            b.read_exact(&mut right[..n])?;
            if left[..n] != right[..n] {
                return Ok(false);
            }
        }
    };
    meta.len() == other.len() && compare().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Notes;

    impl Rules for Notes {
        fn ignored(&self, path: &[u8], _: bool) -> bool {
            path.ends_with(b".note")
        }

        fn id(&self) -> u64 {
            1
        }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_is_ignored_moves_or_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for name in ["a.note", "sub/b.note", "gone/c.note", "same.note", "deep.note/x", "deep.note/y", "content"] {
            write(&old.join(name), name);
        }
        write(&new.join("same.note"), "same.note");
        write(&new.join("deep.note/x"), "another");
        write(&new.join("sub/content"), "");
        let carried = carry_over(&old, &new, b"out", &Notes);
        assert!(carried.left);
        assert!(carried.moved.contains(&b"sub".to_vec()) && carried.moved.contains(&b"".to_vec()));
        for name in ["a.note", "sub/b.note", "gone/c.note", "deep.note/y"] {
            assert_eq!(fs::read_to_string(new.join(name)).unwrap(), name);
        }
        assert_eq!(fs::read_to_string(new.join("deep.note/x")).unwrap(), "another");
        assert!(strip(&old, b"out", &Notes).unwrap());
        assert_eq!(fs::read_to_string(old.join("deep.note/x")).unwrap(), "deep.note/x");
        assert!(!old.join("content").exists() && !old.join("sub").exists());
    }

    #[test]
    fn a_folder_that_becomes_a_file_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        write(&old.join("a.note"), "mine");
        write(&new, "a file");
        assert!(carry_over(&old, &new, b"out", &Notes).left);
        assert_eq!(fs::read_to_string(old.join("a.note")).unwrap(), "mine");
        write(&dir.path().join("plain/x"), "");
        assert_eq!(carry_over(&dir.path().join("plain"), &new, b"out", &Notes), PreserveResult::default());
        assert!(!strip(&dir.path().join("plain"), b"out", &Notes).unwrap());
        assert!(!dir.path().join("plain").exists());
    }
}
