//! Checks that reftables are intact. If a table is missing, or a list of tables, the `git` program finds no refs and
//! reports success, so this check runs before and after it.
//!
//! ```text
//! reftable/tables.list          the names of the tables, the oldest first
//! reftable/0x…-0x…-….ref        "REFT", version, …, blocks, then a footer: the header again, positions, CRC-32
//! ```
//!
//! Source: `Documentation/technical/reftable.adoc` of Git.

use std::path::Path;

use gix::bstr::ByteSlice;

use crate::document;
use crate::error::{Error, Kind, Result};

const MAGIC: &[u8] = b"REFT";
/// Bytes of the header, by version.
const HEADER: [usize; 2] = [24, 28];
/// Positions of sections in the footer, and its checksum.
const AFTER_HEADER: usize = 5 * 8 + 4;
/// The number of times the list is read again if a table is missing: Git may have merged some tables.
const PATIENCE: usize = 5;

/// Refuses the tables of a worktree and of its repository if one is missing or truncated.
pub(in crate::git) fn check(git_dir: &Path, common_dir: &Path) -> Result<()> {
    check_stack(&common_dir.join("reftable"))?;
    if git_dir != common_dir {
        check_stack(&git_dir.join("reftable"))?;
    }
    Ok(())
}

fn check_stack(folder: &Path) -> Result<()> {
    let mut checked = check_now(folder);
    for _ in 1..PATIENCE {
        if checked.is_ok() {
            break;
        }
        checked = check_now(folder);
    }
    checked
}

fn check_now(folder: &Path) -> Result<()> {
    let broken = |file: &Path, what: &str| {
        Error::new(Kind::Io, format!("the refs of the Git repository cannot be read: {} {what}", file.display()))
            .hint("git refs verify — says what is wrong with them")
    };
    let list = folder.join("tables.list");
    let Some(names) = document::read(&list, document::MOST)? else { return Err(broken(&list, "is not there")) };
    // `HEAD` is in a table, for each worktree.
    if names.trim().is_empty() {
        return Err(broken(&list, "is empty"));
    }
    for name in names.lines().filter(|name| !name.is_empty()) {
        let Ok(name) = name.to_str() else { return Err(broken(&list, "names a table that is not UTF-8")) };
        let file = folder.join(name);
        match document::read(&file, document::MOST)? {
            None => return Err(broken(&file, "is not there")),
            Some(table) if !is_whole(&table) => return Err(broken(&file, "is damaged")),
            Some(_) => {}
        }
    }
    Ok(())
}

fn is_whole(table: &[u8]) -> bool {
    let Some(version @ 1..=2) = table.get(4).copied() else { return false };
    let header = HEADER[usize::from(version) - 1];
    let Some(at) = table.len().checked_sub(header + AFTER_HEADER).filter(|at| *at >= header) else { return false };
    let (footer, sum) = table[at..].split_at(header + AFTER_HEADER - 4);
    table.starts_with(MAGIC) && table[..header] == footer[..header] && sum == crc32(footer).to_be_bytes()
}

/// The CRC-32 of zlib, for a few bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1));
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git};

    #[test]
    fn tables_that_are_cut_or_gone_are_found() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for hash in ["sha1", "sha256"] {
            let dir = tempfile::tempdir().unwrap();
            let top = dir.path();
            git(top, &["init", "-q", "--ref-format=reftable", "--object-format", hash]);
            let git_dir = top.join(".git");
            check(&git_dir, &git_dir).unwrap();
            commit_all(top, "1");
            git(top, &["worktree", "add", "-q", "linked"]);
            let linked = git_dir.join("worktrees/linked");
            check(&linked, &git_dir).unwrap();
            for stack in [&git_dir, &linked].map(|folder| folder.join("reftable")) {
                let list = stack.join("tables.list");
                let names = std::fs::read_to_string(&list).unwrap();
                let table = stack.join(names.lines().next().unwrap());
                let whole = std::fs::read(&table).unwrap();
                let mut flipped = whole.clone();
                flipped[whole.len() - 20] ^= 1;
                for bytes in [&whole[..whole.len() - 1], &whole[..40], &[], &flipped] {
                    std::fs::write(&table, bytes).unwrap();
                    assert!(check(&linked, &git_dir).unwrap_err().message.contains("damaged"));
                }
                std::fs::remove_file(&table).unwrap();
                assert!(check(&linked, &git_dir).unwrap_err().message.contains("not there"));
                std::fs::write(&table, &whole).unwrap();
                std::fs::remove_file(&list).unwrap();
                assert!(check(&linked, &git_dir).unwrap_err().message.contains("tables.list"));
                std::fs::write(&list, "").unwrap();
                assert!(check(&linked, &git_dir).unwrap_err().message.contains("is empty"));
                std::fs::write(&list, names).unwrap();
                check(&linked, &git_dir).unwrap();
            }
        }
    }
}
