//! Checks that `packed-refs` is intact. gix finds a ref by binary search and ignores lines that it does not visit, so a
//! damaged line can hide other refs, where Git refuses the repository.
//!
//! ```text
//! # pack-refs with: peeled fully-peeled sorted
//! <id> refs/heads/main
//! <id> refs/tags/v1
//! ^<id of the commit that the tag names>
//! ```
//!
//! Source: `refs/packed-backend.c` of Git.

use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::git::history::History;
use crate::git::repo::format::RefStorage;

impl History {
    /// Refuses refs in files that cannot be read completely. Refs in tables are checked wherever they are read.
    pub(in crate::git) fn check_refs(&self) -> Result<()> {
        if self.0.ref_storage == RefStorage::Reftable {
            return Ok(());
        }
        let file = self.0.repo.common_dir().join("packed-refs");
        let Some(bytes) = document::read(&file, document::MOST)? else { return Ok(()) };
        check(&bytes).map_err(|why| {
            Error::new(Kind::Io, format!("the refs of the Git repository cannot be read: {} {why}", file.display()))
                .hint("git fsck, and git refs verify — say what is wrong with them")
        })
    }
}

/// Refuses a truncated file `HEAD`: gix takes it for an unborn branch.
pub(in crate::git) fn check_head(git_dir: &Path) -> Result<()> {
    let file = git_dir.join("HEAD");
    // As old versions of Git wrote it; it may lead to an unborn branch.
    if file.is_symlink() {
        return Ok(());
    }
    let bytes = document::read(&file, document::MOST)?.unwrap_or_default();
    let text = bytes.trim();
    let is_ref = text.strip_prefix(b"ref:").is_some_and(|name| name.trim().starts_with(b"refs/"));
    if is_ref || ObjectId::from_hex(text).is_ok() {
        return Ok(());
    }
    Err(Error::new(Kind::Io, format!("{} names neither a branch nor a commit", file.display()))
        .hint("git symbolic-ref HEAD refs/heads/BRANCH — names a branch"))
}

/// Errors: why it is not intact.
fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("is empty".to_string());
    }
    if !bytes.ends_with(b"\n") {
        return Err("ends in the middle of a line".to_string());
    }
    let is_sorted = bytes.lines().next().is_some_and(|head| head.starts_with(b"# ") && head.contains_str(" sorted"));
    let mut last: Option<&[u8]> = None;
    for (n, line) in bytes.lines().enumerate() {
        let damaged = |what: &str| Err(format!("{what} in line {}", n + 1));
        if line.starts_with(b"#") {
            continue;
        }
        if let Some(peeled) = line.strip_prefix(b"^") {
            if last.is_none() || ObjectId::from_hex(peeled).is_err() {
                return damaged("has no id");
            }
            continue;
        }
        let Some((id, name)) = line.split_once_str(b" ") else { return damaged("has no ref") };
        if ObjectId::from_hex(id).is_err() || !name.starts_with(b"refs/") || name.contains(&0) {
            return damaged("has no ref");
        }
        if is_sorted && last.is_some_and(|last| last >= name) {
            return damaged("says that it is sorted, and is not");
        }
        last = Some(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Repo;
    use crate::git::testing::{commit_all, git, repository};

    #[test]
    fn lines_that_are_damaged_are_found() {
        let id = "1".repeat(40);
        let head = "# pack-refs with: peeled fully-peeled sorted \n";
        for (text, want) in [
            (format!("{head}{id} refs/heads/a\n{id} refs/tags/b\n^{id}\n"), ""),
            (head.to_string(), ""),
            (format!("{id} refs/tags/b\n{id} refs/heads/a\n"), ""),
            (format!("{head}{id} refs/tags/b\n{id} refs/heads/a\n"), "sorted, and is not in line 3"),
            (String::new(), "is empty"),
            (format!("{head}{id} refs/heads/a\nzzz\n{id} refs/tags/b\n"), "no ref in line 3"),
            (format!("{head}{id} refs/heads/a\n\n"), "no ref in line 3"),
            (format!("{head}{id} refs/he"), "middle of a line"),
            (format!("{head}{} refs/heads/a\n", &id[1..]), "no ref in line 2"),
            (format!("{head}{id} refs/heads/a\0\n"), "no ref in line 2"),
            (format!("{head}^{id}\n"), "no id in line 2"),
        ] {
            let found = check(text.as_bytes()).err().unwrap_or_default();
            assert!(found.ends_with(want) && found.is_empty() == want.is_empty(), "{text}: {found}");
        }
    }

    #[test]
    fn what_git_writes_is_whole() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        repo.history().unwrap().check_refs().unwrap();
        commit_all(&top, "1");
        git(&top, &["tag", "-am", "x", "v1"]);
        git(&top, &["pack-refs", "--all"]);
        repo.history().unwrap().check_refs().unwrap();
        git(&top, &["checkout", "-q", "--detach"]);
        repo.history().unwrap().check_refs().unwrap();
        let head = top.join(".git/HEAD");
        check_head(&top.join(".git")).unwrap();
        for text in ["", "ref: ", "ref: refs", "0123", "\0\0\0"] {
            std::fs::write(&head, text).unwrap();
            assert!(check_head(&top.join(".git")).is_err(), "{text:?}");
        }
    }
}
