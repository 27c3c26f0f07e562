//! A chain: a ref of its own with commits in one line, each of which has one small file. Git gives it what a log needs:
//! a commit names the one before it, a ref moves only from the place that the writer saw, a remote refuses a push that
//! drops something, and commits can be signed.
//!
//! gix reads. The `git` program writes, without an index or a worktree.

mod exchange;

pub use exchange::RemoteChain;

use gix::ObjectId;

use crate::error::{Error, Kind, Result};
use crate::git::history::commit::EntryKind;
use crate::git::history::{History, unreadable};
use crate::git::id::GitId;
use crate::git::repo::Repo;

/// The largest file of a chain. What is fetched is untrusted.
const MOST: u64 = 64 << 10;

/// One commit of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: GitId,
    /// The commits before it; one, or none at the beginning of the chain.
    pub parents: Vec<GitId>,
    /// `Name <mail>` of its author.
    pub author: String,
    /// Seconds since 1970, as its committer states them.
    pub time: i64,
    /// The content of its file; `None` if there is no such file, other files beside it, or too much in it.
    pub content: Option<Vec<u8>>,
}

/// A commit to be added to a chain.
pub struct NewLink<'a> {
    /// The name of its file.
    pub file: &'a str,
    /// The content of the file.
    pub content: &'a [u8],
    /// The subject of the commit.
    pub subject: &'a str,
    /// `Name <mail>`, if Git does not know who the user is.
    pub author: &'a str,
    /// Signs the commit.
    pub sign: bool,
}

impl Repo {
    /// The last commit of a chain; `None` if there is no such ref.
    pub fn chain_tip(&self, reference: &str) -> Result<Option<GitId>> {
        let found = self.plain_history()?.find_ref(reference)?;
        Ok(found.map(|found| GitId(found.peeled)))
    }

    /// The commits of a chain from its last one, at most `most` of them, by their first parents.
    ///
    /// Errors: this clone lacks a commit, or it cannot be read.
    pub fn read_chain(&self, tip: GitId, file: &str, most: usize) -> Result<Vec<Link>> {
        let history = self.plain_history()?;
        let mut links: Vec<Link> = Vec::new();
        let mut next = Some(tip);
        while let Some(id) = next.filter(|_| links.len() < most) {
            let link = history.read_link(id, file)?;
            next = link.parents.first().copied();
            links.push(link);
        }
        Ok(links)
    }

    /// Is `old` this commit, or one of those before it?
    pub fn is_in_chain(&self, old: GitId, tip: GitId) -> Result<bool> {
        let history = self.plain_history()?;
        Ok(old == tip || history.between([old.0], [tip.0])?.is_empty())
    }

    /// The commits that `tip` has and `known` lacks, the oldest first.
    pub fn chain_since(&self, tip: GitId, known: Option<GitId>, file: &str) -> Result<Vec<Link>> {
        let history = self.plain_history()?;
        let mut ids = history.between([tip.0], known.map(|id| id.0))?;
        ids.reverse();
        ids.into_iter().map(|id| history.read_link(id, file)).collect()
    }

    /// Makes a commit after `parent`. No ref names it yet.
    ///
    /// Errors: [`Kind::Io`]; [`Kind::Usage`] if it cannot be signed.
    pub fn make_link(&self, parent: Option<GitId>, new: &NewLink<'_>) -> Result<GitId> {
        let content = String::from_utf8_lossy(new.content);
        let id = |text: String| {
            GitId::from_hex(text.trim()).ok_or_else(|| Error::new(Kind::Bug, format!("git names no object: {text}")))
        };
        let blob = id(self.git(&["hash-object", "-w", "--stdin"], Some(&content), None)?)?;
        let tree = id(self.git(&["mktree"], Some(&format!("100644 blob {blob}\t{}\n", new.file)), None)?)?;
        let (tree, parent) = (tree.hex(), parent.map(|id| id.hex()));
        let mut args = vec!["commit-tree", &tree, if new.sign { "-S" } else { "--no-gpg-sign" }];
        args.extend(parent.iter().flat_map(|parent| ["-p", parent]));
        // Without `-F -`, the message would be read from the standard input in the same way.
        args.extend(["-F", "-"]);
        let author = self.git(&["var", "GIT_AUTHOR_IDENT"], None, None).is_err().then_some(new.author);
        let made = self.git_as(&args, &format!("{}\n", new.subject), author);
        id(made.map_err(|e| match new.sign {
            true => {
                let error = Error::usage("the record cannot be signed");
                e.causes
                    .into_iter()
                    .fold(error, Error::because)
                    .hint("git config commit.gpgSign false — signs no commit")
            }
            false => e,
        })?)
    }

    /// Moves a ref from `old` to `new`; `None` for a ref that does not exist. Returns false if it is somewhere else by
    /// now.
    pub fn move_chain(&self, reference: &str, old: Option<GitId>, new: GitId) -> Result<bool> {
        let (id, was) = (new.hex(), old.map(|id| id.hex()).unwrap_or_default());
        match self.git(&["update-ref", "--no-deref", "-m", "lockstep", reference, &id, &was], None, None) {
            Ok(_) => Ok(true),
            Err(_) if self.chain_tip(reference)? != old => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether the user signs commits: Git's `commit.gpgSign`.
    pub fn signs_commits(&self) -> bool {
        let said = self.git(&["config", "--type=bool", "--get", "commit.gpgSign"], None, None);
        said.is_ok_and(|said| said.trim() == "true")
    }
}

impl History {
    fn read_link(&self, id: GitId, file: &str) -> Result<Link> {
        let lacking = || Error::missing(format!("this clone lacks the commit {} of a record", id.short()));
        let commit = self.0.repo.find_commit(id.0).map_err(|e| lacking().because(e))?;
        let author = commit.author().map_err(unreadable)?.trim();
        let author = format!("{} <{}>", author.name, author.email);
        let time = commit.time().map_err(unreadable)?.seconds;
        let parents = commit.parent_ids().map(|id| GitId(id.detach())).collect();
        let tree = commit.tree_id().map_err(unreadable)?.detach();
        Ok(Link { id, parents, author, time, content: self.only_file(tree, file)? })
    }

    /// The content of the one file of a tree.
    fn only_file(&self, tree: ObjectId, file: &str) -> Result<Option<Vec<u8>>> {
        let entries = self.tree(tree)?;
        match entries.as_slice() {
            [entry]
                if entry.name == file.as_bytes()
                    && entry.kind == EntryKind::File
                    && self.blob_size(entry.id)? <= MOST =>
            {
                self.blob(entry.id).map(Some)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

    const REF: &str = "refs/lockstep/test/a";

    fn new(content: &str) -> NewLink<'_> {
        NewLink { file: "x.json", content: content.as_bytes(), subject: "s", author: "H <u@h>", sign: false }
    }

    #[test]
    fn a_chain_grows_only_from_the_commit_that_was_seen() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(repo.chain_tip(REF).unwrap(), None);
        let first = repo.make_link(None, &new("1")).unwrap();
        assert!(repo.move_chain(REF, None, first).unwrap());
        let second = repo.make_link(Some(first), &new("2")).unwrap();
        assert!(!repo.move_chain(REF, None, second).unwrap(), "the ref exists");
        assert!(repo.move_chain(REF, Some(first), second).unwrap());
        assert!(!repo.move_chain(REF, Some(first), first).unwrap(), "the ref is not there any more");
        let read = repo.read_chain(second, "x.json", 10).unwrap();
        let contents: Vec<_> = read.iter().map(|link| link.content.as_deref().unwrap()).collect();
        assert_eq!(contents, [b"2", b"1"]);
        assert_eq!(read[0].parents, [first]);
        assert_eq!(repo.read_chain(second, "x.json", 1).unwrap().len(), 1);
        assert_eq!(repo.read_chain(second, "y.json", 1).unwrap()[0].content, None);
        let since = repo.chain_since(second, Some(first), "x.json").unwrap();
        assert_eq!(since.iter().map(|link| link.id).collect::<Vec<_>>(), [second]);
        assert_eq!(repo.chain_since(second, None, "x.json").unwrap()[0].id, first);
        assert!(repo.is_in_chain(first, second).unwrap() && !repo.is_in_chain(second, first).unwrap());
    }

    #[test]
    fn commits_with_more_than_the_file_have_no_content() {
        let (_dir, top) = repository();
        crate::git::testing::write(&top, &[("x.json", "1"), ("y", "2")]);
        crate::git::testing::commit_all(&top, "two files");
        let repo = Repo::discover(&top).unwrap();
        let tip = repo.head_commit().unwrap().unwrap();
        assert_eq!(repo.read_chain(tip, "x.json", 1).unwrap()[0].content, None);
        git(&top, &["update-ref", REF, &tip.hex()]);
        assert_eq!(repo.chain_tip(REF).unwrap(), Some(tip));
    }
}
