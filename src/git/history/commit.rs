//! One commit: its files, read from Git's objects.
//!
//! Repositories are untrusted: symlinks are followed only inside the commit and a limited number of times, and the size
//! of an object is checked before it is read into memory.

use std::fmt;
use std::rc::Rc;

use gix::bstr::ByteSlice;
use gix::object::tree::EntryKind as Mode;

use crate::error::{Error, Result};
use crate::git::history::{History, unreadable};
use crate::git::id::GitId;
use crate::path::RepoPath;

/// The size limit for a file from Git.
pub const LARGEST: u64 = 256 << 20;
/// The largest number of symlinks on one path, as in the kernel.
const MOST_LINKS: usize = 40;
/// The number of cached trees: those of one commit are read again and again, and most of the next commit are the same.
pub(in crate::git) const REMEMBERED: usize = 4096;

/// A commit whose files can be read.
#[derive(Clone)]
pub struct Commit {
    /// The full id.
    pub id: GitId,
    pub(in crate::git) tree: gix::ObjectId,
    pub(in crate::git) history: History,
}

/// The kind of an entry of a commit's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file without the executable bit.
    File,
    /// A file with the executable bit.
    Executable,
    /// A symlink; its content is the text of the link.
    Symlink,
    /// A folder.
    Folder,
    /// Another repository; its files are not part of this one.
    Submodule,
}

/// An entry of a folder of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// One component, in any encoding.
    pub name: Vec<u8>,
    /// The type of the entry.
    pub kind: EntryKind,
    /// The id of the blob or the tree; of a submodule, of its commit.
    pub id: GitId,
}

/// Author, date and subject of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// `Name <mail>`
    pub author: String,
    /// Seconds since 1970, of the committer.
    pub time: i64,
    /// The first line of its message.
    pub subject: String,
}

impl Commit {
    /// Author, date and subject.
    pub fn info(&self) -> Result<CommitInfo> {
        let commit = self.history.0.repo.find_commit(self.id.0).map_err(unreadable)?;
        let author = commit.author().map_err(unreadable)?.trim();
        let time = commit.time().map_err(unreadable)?.seconds;
        let subject = commit.message_raw_sloppy().lines().next().unwrap_or_default();
        Ok(CommitInfo {
            author: format!("{} <{}>", author.name.to_str_lossy(), author.email.to_str_lossy()),
            time,
            subject: subject.to_str_lossy().into_owned(),
        })
    }

    /// The history from which the commit was read.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The entry at a path, through symlinks that stay inside the commit. `None` if there is none.
    ///
    /// Errors: a tree or the text of a link cannot be read; too many links.
    pub fn find(&self, path: &RepoPath) -> Result<Option<(EntryKind, GitId)>> {
        let mut path = path.clone();
        for _ in 0..MOST_LINKS {
            match self.step(&path)? {
                Step::Found(found) => return Ok(found),
                Step::Linked(to) => path = to,
            }
        }
        Err(Error::usage(format!("{path} leads over too many symlinks in the commit {}", self.id.short())))
    }

    /// Descends to a path, or to the first symlink on the way.
    fn step(&self, path: &RepoPath) -> Result<Step> {
        let mut folder = self.tree;
        let mut at = RepoPath::root();
        let parts: Vec<&str> = path.parts().collect();
        for (n, name) in parts.iter().enumerate() {
            let entries = self.history.tree(folder)?;
            let Some(entry) = lookup(&entries, name) else { return Ok(Step::Found(None)) };
            let is_last = n + 1 == parts.len();
            match entry.kind {
                EntryKind::Symlink => {
                    let text = self.history.blob(entry.id)?;
                    let text = text.to_str_lossy();
                    let rest = parts[n + 1..].join("/");
                    // Absolute links and those that leave the repository lead to no file of a commit.
                    let to = at.join(&text).and_then(|to| to.join(&rest));
                    return Ok(to.map_or(Step::Found(None), Step::Linked));
                }
                EntryKind::Folder => folder = entry.id.0,
                _ if is_last => {}
                _ => return Ok(Step::Found(None)),
            }
            if is_last {
                return Ok(Step::Found(Some((entry.kind, entry.id))));
            }
            at = at.join(name).unwrap_or_default();
        }
        Ok(Step::Found(Some((EntryKind::Folder, GitId(folder)))))
    }

    /// The bytes of a file; `None` if there is none. A folder is an error.
    pub fn read(&self, path: &RepoPath) -> Result<Option<Vec<u8>>> {
        match self.find(path)? {
            None | Some((EntryKind::Submodule, _)) => Ok(None),
            Some((EntryKind::Folder, _)) => Err(Error::usage(format!("{path} is a folder"))),
            Some((_, id)) => self
                .history
                .blob(id)
                .map(Some)
                .map_err(|e| Error { message: format!("{path} at {}: {}", self.id.short(), e.message), ..e }),
        }
    }

    /// The entries of a folder, sorted by name; `None` if there is no such folder.
    pub fn list(&self, folder: &RepoPath) -> Result<Option<Rc<Vec<TreeEntry>>>> {
        match self.find(folder)? {
            Some((EntryKind::Folder, id)) => self.history.tree(id.0).map(Some),
            _ => Ok(None),
        }
    }
}

enum Step {
    Found(Option<(EntryKind, GitId)>),
    Linked(RepoPath),
}

pub(in crate::git) fn lookup<'e>(entries: &'e [TreeEntry], name: &str) -> Option<&'e TreeEntry> {
    let at = entries.binary_search_by(|e| e.name.as_slice().cmp(name.as_bytes())).ok()?;
    entries.get(at)
}

impl History {
    /// The bytes of a blob.
    ///
    /// Errors: the blob is missing, damaged or larger than `LARGEST`.
    pub fn blob(&self, id: GitId) -> Result<Vec<u8>> {
        let size = match self.0.repo.try_find_header(id.0) {
            Ok(Some(header)) => header.size(),
            _ => {
                self.require("blob", id.0)?;
                self.blob_size(id)?
            }
        };
        if size > LARGEST {
            return Err(Error::usage(format!("the file is larger than {} MiB, too large for Git", LARGEST >> 20))
                .hint(format!("git cat-file blob {id}")));
        }
        let mut object = self.0.repo.find_object(id.0).map_err(absent)?;
        self.check_content(id.0, object.kind, &object.data)?;
        Ok(std::mem::take(&mut object.data))
    }

    /// The size of a blob in bytes, without reading it. A partial clone fetches it.
    pub fn blob_size(&self, id: GitId) -> Result<u64> {
        if self.0.is_partial {
            self.require("blob", id.0)?;
        }
        Ok(self.0.repo.find_header(id.0).map_err(absent)?.size())
    }

    /// The entries of a tree; see [`entries`].
    pub(in crate::git) fn tree(&self, id: gix::ObjectId) -> Result<Rc<Vec<TreeEntry>>> {
        if let Some(known) = self.0.trees.borrow().get(&id) {
            return Ok(known.clone());
        }
        if self.0.is_partial {
            self.require("tree", id)?;
        }
        let object = self.0.repo.find_tree(id).map_err(absent)?;
        self.check_content(id, gix::object::Kind::Tree, &object.data)?;
        Ok(self.remember(id, entries(&object.data, id.kind())?))
    }

    pub(in crate::git) fn remember(&self, id: gix::ObjectId, entries: Vec<TreeEntry>) -> Rc<Vec<TreeEntry>> {
        let entries = Rc::new(entries);
        let mut trees = self.0.trees.borrow_mut();
        if trees.len() >= REMEMBERED {
            trees.clear();
        }
        trees.insert(id, entries.clone());
        entries
    }
}

/// The entries of a tree, sorted by the bytes of their names (Git itself sorts folders as if they ended in `/`).
pub(in crate::git) fn entries(tree: &[u8], hash: gix::hash::Kind) -> Result<Vec<TreeEntry>> {
    let tree = gix::objs::TreeRef::from_bytes(tree, hash).map_err(unreadable)?;
    let one = |e: &gix::objs::tree::EntryRef<'_>| TreeEntry {
        name: e.filename.to_vec(),
        kind: match e.mode.kind() {
            Mode::Tree => EntryKind::Folder,
            Mode::Blob => EntryKind::File,
            Mode::BlobExecutable => EntryKind::Executable,
            Mode::Link => EntryKind::Symlink,
            Mode::Commit => EntryKind::Submodule,
        },
        id: GitId(e.oid.to_owned()),
    };
    let mut entries: Vec<TreeEntry> = tree.entries.iter().map(one).collect();
    if !entries.is_sorted_by(|a, b| a.name <= b.name) {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(entries)
}

/// The error for an object that a partial or a damaged clone lacks.
pub(in crate::git) fn absent(cause: impl fmt::Display) -> Error {
    Error::missing("an object of Git is not in this clone")
        .because(cause)
        .hint("git fsck — says whether it is damaged; a partial clone has to reach its origin")
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Repo;
    use crate::git::testing::{commit_all, repository, write};
    use std::os::unix::fs::symlink;

    fn p(path: &str) -> RepoPath {
        RepoPath::root().join(path).unwrap()
    }

    #[test]
    fn files_folders_and_links() {
        let (dir, top) = repository();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        write(&top, &[("a/b/c.txt", "c"), ("a.b", "1"), ("a-", "2"), ("a0", "3"), ("z", "")]);
        for (to, name) in [
            ("b", "a/to-folder"),
            ("a/to-folder/c.txt", "over-folder"),
            ("../../secret", "out"),
            ("/etc/passwd", "absolute"),
            ("loop2", "loop1"),
            ("loop1", "loop2"),
            ("gone", "dangling"),
        ] {
            symlink(to, top.join(name)).unwrap();
        }
        commit_all(&top, "x");
        let commit = Repo::discover(&top).unwrap().resolve("HEAD").unwrap();
        let read = |path: &str| commit.read(&p(path)).map(|b| b.map(|b| String::from_utf8(b).unwrap()));
        for (path, want) in [
            ("a/b/c.txt", Some("c")),
            ("a/to-folder/c.txt", Some("c")),
            ("over-folder", Some("c")),
            ("a.b", Some("1")),
            ("a-", Some("2")),
            ("a0", Some("3")),
            ("z", Some("")),
            ("z/below", None),
            ("a/x", None),
            ("out", None),
            ("absolute", None),
            ("dangling", None),
        ] {
            assert_eq!(read(path).unwrap().as_deref(), want, "{path}");
        }
        assert!(read("a/b").unwrap_err().message.contains("is a folder"));
        assert!(read("loop1").unwrap_err().message.contains("too many symlinks"));
        let names: Vec<_> = commit.list(&p("a")).unwrap().unwrap().iter().map(|e| (e.name.clone(), e.kind)).collect();
        assert_eq!(names, [(b"b".to_vec(), EntryKind::Folder), (b"to-folder".to_vec(), EntryKind::Symlink)]);
        let about = commit.info().unwrap();
        assert_eq!((about.author.as_str(), about.subject.as_str()), ("t <t@example.org>", "x"));
    }
}
