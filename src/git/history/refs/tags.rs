//! Tags: the versions and labels of models are annotated ones.

use gix::bstr::ByteSlice;

use crate::error::Result;
use crate::git::history::History;
use crate::git::history::commit::Commit;
use crate::git::history::refs::store::Ref;
use crate::git::history::signature;
use crate::git::id::GitId;
use crate::git::repo::Repo;

/// A tag that leads to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Without `refs/tags/`.
    pub name: String,
    /// The commit that it leads to.
    pub commit: GitId,
    /// `None` for a lightweight tag.
    pub annotated: Option<Annotation>,
}

/// The content of an annotated tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The tag object itself.
    pub id: GitId,
    /// `Name <mail>`; empty if the tag has no tagger.
    pub tagger: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Without the signature that may follow it.
    pub message: String,
    /// Is there a signature, good or bad? [`Repo::verify_tag`] checks it.
    pub has_signature: bool,
}

impl Repo {
    /// All tags that lead to commits, by name; see [`History::tags`].
    pub fn tags(&self) -> Result<Vec<Tag>> {
        if self.is_git() { self.plain_history()?.tags() } else { Ok(Vec::new()) }
    }
}

impl History {
    /// All tags that lead to commits, by name. Omits unreadable tags, as Git does.
    pub fn tags(&self) -> Result<Vec<Tag>> {
        let refs = self.readable_refs("refs/tags/")?;
        let mut tags: Vec<Tag> = refs.iter().filter_map(|reference| self.read_tag(reference)).collect();
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tags)
    }

    /// Reads a tag that leads to a commit.
    pub(in crate::git) fn read_tag(&self, reference: &Ref) -> Option<Tag> {
        // A symbolic ref is not a tag of its own.
        if reference.is_symbolic {
            return None;
        }
        let object = self.0.repo.find_object(reference.target).ok()?;
        let annotated = match object.kind {
            gix::object::Kind::Commit => None,
            gix::object::Kind::Tag => Some(annotation(reference.target, &object.data)),
            _ => return None,
        };
        if annotated.is_some() && !self.is_commit(reference.peeled).unwrap_or(false) {
            return None;
        }
        let name = reference.name.strip_prefix("refs/tags/").unwrap_or(&reference.name).to_string();
        Some(Tag { name, commit: GitId(reference.peeled), annotated })
    }

    /// The commit of a tag.
    pub fn tag_commit(&self, tag: &Tag) -> Result<Commit> {
        self.commit(tag.commit)
    }
}

/// Reads the headers and the message of a tag object; malformed fields are empty.
fn annotation(id: gix::ObjectId, data: &[u8]) -> Annotation {
    let (covered, signature) = signature::split(data);
    let has_signature = signature.is_some();
    let mut found = Annotation { id: GitId(id), tagger: String::new(), time: 0, message: String::new(), has_signature };
    let Ok(tag) = gix::objs::TagRef::from_bytes(covered, id.kind()) else { return found };
    if let Ok(Some(tagger)) = tag.tagger() {
        found.tagger = format!("{} <{}>", tagger.name.trim().to_str_lossy(), tagger.email.trim().to_str_lossy());
        found.time = tagger.time().map(|t| t.seconds).unwrap_or(0);
    }
    found.message = tag.message.to_str_lossy().trim_end_matches('\n').to_string();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn tags_of_every_kind() {
        let (_dir, top) = repository();
        write(&top, &[("f", "1")]);
        let id = commit_all(&top, "x");
        git(&top, &["tag", "light"]);
        git(&top, &["tag", "blob", "HEAD:f"]);
        git(&top, &["-c", "user.name=Ann", "tag", "-a", "m@v1", "-m", "first\n\nmore"]);
        git(&top, &["tag", "-a", "nested", "-m", "n", "m@v1"]);
        for round in 0..2 {
            let tags = Repo::discover(&top).unwrap().tags().unwrap();
            let names: Vec<&str> = tags.iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names, ["light", "m@v1", "nested"], "{round}");
            assert!(tags.iter().all(|t| t.commit.hex() == id));
            assert_eq!(tags[0].annotated, None);
            let annotation = tags[1].annotated.clone().unwrap();
            assert_eq!(annotation.message, "first\n\nmore");
            assert!(annotation.tagger.ends_with(" <t@example.org>") && annotation.time > 1_000_000_000);
            assert_eq!(annotation.id.hex(), git(&top, &["rev-parse", "m@v1"]).trim());
            git(&top, &["pack-refs", "--all"]);
        }
    }
}
