//! Publishing tags. A command that makes tags and pushes them does both or neither.
//!
//! The journal, `<git common dir>/lockstep/tag-pushes/journal.json`, names the tags before they are made and is removed
//! when the result of the push is known. If the push fails, the remote is asked: tags that it has were published,
//! others are deleted locally, if they are exactly those of the command. If the remote cannot be asked, or after a
//! kill, the journal stays: the next command that pushes resolves it, all other registry commands report it
//! ([`pending_tags`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::file_lock::{self, FileLock, LockResult, Mode, Wait};
use crate::git::{GitId, Repo};
use crate::model::registry::Model;
use crate::project::Project;
use crate::replace::{FileWriter, replace_file};
use crate::shell::{word, words};
use crate::store::hash;
use crate::tag::{ModelName, ModelTag};
use crate::url::Url;

/// The version of the journal.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    version: u32,
    /// The Git remote, or its URL without secrets.
    remote: String,
    /// BLAKE3 of the URL, if it has secrets. The URL itself is in the settings of Git only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    tags: Vec<PendingTag>,
}

impl Journal {
    fn new(remote: &Url, tags: Vec<PendingTag>) -> Journal {
        let hash = remote.has_secret().then(|| hash_of(remote));
        Journal { version: VERSION, remote: remote.to_string(), hash, tags }
    }

    /// The URL that the tags were pushed to, if it is `remote` or in the journal.
    fn address(&self, remote: &Url) -> Option<Url> {
        match &self.hash {
            None => Some(Url::from(self.remote.as_str())),
            Some(hash) => (*hash == hash_of(remote)).then(|| remote.clone()),
        }
    }
}

fn hash_of(url: &Url) -> String {
    hash::hash_bytes(url.raw().as_bytes()).hex()
}

/// A tag that is made and pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingTag {
    /// The full name of the tag, without `refs/tags/`.
    pub name: String,
    /// BLAKE3 of the content of its object without a signature, to recognise the tag.
    pub content: String,
}

impl PendingTag {
    /// `content` is the tag object without a signature.
    pub(super) fn new(name: &str, content: &str) -> PendingTag {
        PendingTag { name: name.into(), content: hash::hash_bytes(content.as_bytes()).hex() }
    }

    /// Deletes the tag locally, if this clone has exactly this tag.
    pub fn delete(&self, repo: &Repo) -> Result<()> {
        self.object(repo)?.map_or(Ok(()), |object| repo.delete_tag(&self.name, object))
    }

    /// Its object, if this clone has exactly this tag.
    fn object(&self, repo: &Repo) -> Result<Option<GitId>> {
        let found = repo.tag_content(&self.name)?;
        Ok(found.filter(|(_, content)| hash::hash_bytes(content).hex() == self.content).map(|(object, _)| object))
    }
}

/// A remote that tags are pushed to. Locked by one command of the clone at a time.
pub struct Publisher<'p> {
    repo: &'p Repo,
    /// The name of a Git remote, or its URL.
    pub remote: Url,
    /// The results for tags of an interrupted command.
    pub settled: Vec<String>,
    _lock: FileLock,
}

impl<'p> Publisher<'p> {
    /// Resolves the journal of an interrupted command.
    ///
    /// Errors: [`Kind::Usage`] if Git has no remote; [`Kind::Remote`] if the remote does not answer, so that the state
    /// of its tags is unknown.
    pub fn open(project: &'p Project, sink: &dyn Sink) -> Result<Publisher<'p>> {
        let repo = &project.repo;
        let remote = repo.tag_remote()?;
        let folder = repo.tag_pushes();
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        let path = folder.join("lock");
        let fail = |e: std::io::Error| Error::io("lock", &path, e);
        let wait = Wait { busy: "is pushing tags of this repository", usual: None, signal: &|| None, sink };
        let lock = match file_lock::lock(file_lock::open(&path).map_err(fail)?, Mode::Exclusive, &wait)? {
            LockResult::Locked(lock) => lock,
            LockResult::NoLocks(_, e) => return Err(fail(e)),
        };
        let mut publisher = Publisher { repo, remote, settled: Vec::new(), _lock: lock };
        if let Some(journal) = read(repo)? {
            publisher.settled = publisher.resolve_journal(&journal)?;
            publisher.remove_journal()?;
        }
        Ok(publisher)
    }

    /// Compares the local tags of a model with those at the remote; returns those that the remote lacks.
    ///
    /// Errors ([`Kind::Remote`]): the remote has tags that this clone lacks, so the next tag cannot be determined.
    pub fn compare(&self, name: &ModelName, model: Option<&Model>) -> Result<Vec<String>> {
        let there = self.repo.tags_at(&self.remote, &ModelTag::patterns(name))?;
        let here: BTreeMap<&str, GitId> = model
            .into_iter()
            .flat_map(|model| &model.events)
            .map(|event| (event.tag.as_str(), event.object.unwrap_or(event.commit)))
            .collect();
        let is_of_model = |tag: &str| tag.parse::<ModelTag>().is_ok_and(|tag| tag.name == *name);
        let remote = &self.remote;
        for (tag, object) in there.iter().filter(|(tag, _)| is_of_model(tag)) {
            match here.get(tag.as_str()) {
                Some(own) if own == object => {}
                Some(_) => return Err(self.other_tag(tag)),
                None => {
                    let error =
                        Error::new(Kind::Remote, format!("{remote} has tags of {name} that this clone lacks: {tag}"));
                    return Err(error.hint(format!("git fetch {} --tags — then run the command again", typed(remote))));
                }
            }
        }
        Ok(here.keys().filter(|tag| !there.contains_key(**tag)).map(|tag| tag.to_string()).collect())
    }

    /// Writes the names of the tags to the journal, before they are made.
    pub fn announce(&self, tags: Vec<PendingTag>) -> Result<()> {
        let journal = Journal::new(&self.remote, tags);
        replace_file(&path(self.repo), &serde_json::to_vec_pretty(&journal).unwrap_or_default())
    }

    /// Pushes the announced tags. If they do not arrive, they are deleted locally.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn push_new(&self, tags: &[PendingTag]) -> Result<()> {
        let names: Vec<String> = tags.iter().map(|tag| tag.name.clone()).collect();
        let Err(failed) = self.repo.push_tags(&self.remote, &names) else { return self.remove_journal() };
        let quoted = names.join(", ");
        let remote = &self.remote;
        let Ok(there) = self.repo.tags_at(remote, &names) else {
            let error = Error::new(Kind::Remote, format!("whether {quoted} arrived at {remote} is not known"));
            let error = failed.causes.into_iter().fold(error, Error::because);
            return Err(error.hint("run the same command again when the remote can be reached: it resolves this"));
        };
        let mut kept = Vec::new();
        for tag in tags {
            let Some(object) = tag.object(self.repo)? else { continue };
            match there.get(&tag.name) == Some(&object) {
                true => kept.push(&tag.name),
                false => self.repo.delete_tag(&tag.name, object)?,
            }
        }
        self.remove_journal()?;
        if kept.len() == tags.len() {
            return Ok(());
        }
        let taken = names.iter().find(|name| there.contains_key(*name) && !kept.contains(name));
        let error = Error::new(Kind::Remote, format!("{quoted} could not be pushed to {remote}"));
        let error = match taken {
            Some(tag) => error
                .because(format!("another clone pushed {tag} first"))
                .hint(format!("git fetch {} --tags — then run the command again", typed(remote))),
            None => failed.causes.into_iter().fold(error, Error::because),
        };
        Err(match kept[..] {
            [] if tags.len() > 1 => error.because("the tags were deleted from this clone again"),
            [] => error.because("the tag was deleted from this clone again"),
            _ => {
                error.because(format!("{} arrived", kept.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(", ")))
            }
        })
    }

    /// Pushes a tag of this clone that was made earlier.
    pub fn push_old(&self, tag: &str) -> Result<()> {
        let remote = &self.remote;
        self.repo.push_tags(remote, &[tag.to_string()]).map_err(|failed| {
            let error = Error::new(Kind::Remote, format!("the tag {tag} is here, and could not be pushed to {remote}"));
            let error = failed.causes.into_iter().fold(error, Error::because);
            error.hint(format!("to try again: {}", push_command(remote, &[tag])))
        })
    }

    /// Removes the journal.
    pub fn remove_journal(&self) -> Result<()> {
        FileWriter::lock(&path(self.repo))?.remove()
    }

    /// Keeps what the remote has and deletes the rest; returns the result for each.
    fn resolve_journal(&self, journal: &Journal) -> Result<Vec<String>> {
        let mut own = Vec::new();
        for tag in &journal.tags {
            own.extend(tag.object(self.repo)?.map(|object| (&tag.name, object)));
        }
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = own.iter().map(|(name, _)| name.to_string()).collect();
        let unsettled = |e: Error| {
            let (remote, tags) = (Url::from(journal.remote.as_str()), names.join(", "));
            e.because(format!("an earlier command was to push {tags} to {remote} and did not end"))
                .hint(format!("drop here what did not arrive there: git tag -d {}", words(&names)))
        };
        let remote = &journal.address(&self.remote).ok_or_else(|| {
            let now = &self.remote;
            unsettled(Error::new(Kind::Remote, format!("Git pushes to {now} now, with another URL than before")))
        })?;
        let there = self.repo.tags_at(remote, &names).map_err(unsettled)?;
        let mut settled = Vec::new();
        for (name, object) in own {
            if there.get(name) == Some(&object) {
                settled.push(format!("{name} is at {remote}: an earlier command did not end, and had pushed it"));
            } else {
                self.repo.delete_tag(name, object)?;
                settled.push(format!("{name} is deleted: an earlier command did not end, and it is not at {remote}"));
            }
        }
        Ok(settled)
    }

    fn other_tag(&self, tag: &str) -> Error {
        let remote = &self.remote;
        let take = format!("git tag -d {} && git fetch {} --tags", word(tag), typed(remote));
        Error::new(Kind::Remote, format!("the tag {tag} of this clone is not the one at {remote}"))
            .hint(format!("if the tag at {remote} is the right one: {take}"))
            .hint(format!("if the tag of this clone is the right one: {}", force_command(remote, tag)))
    }
}

/// Local tags of an interrupted command, with their remote: they may have been pushed or not.
pub fn pending_tags(repo: &Repo) -> Vec<(String, String)> {
    let Ok(Some(journal)) = read(repo) else { return Vec::new() };
    let is_here = |tag: &&PendingTag| matches!(tag.object(repo), Ok(Some(_)));
    let remote = Url::from(journal.remote.as_str());
    journal.tags.iter().filter(is_here).map(|tag| (tag.name.clone(), remote.to_string())).collect()
}

/// The command that pushes tags.
pub fn push_command(remote: &Url, tags: &[impl AsRef<str>]) -> String {
    let atomic = if tags.len() > 1 { "--atomic " } else { "" };
    let tags = words(tags.iter().map(|tag| format!("refs/tags/{}", tag.as_ref())));
    format!("git push {atomic}{} {tags}", typed(remote))
}

/// The command that replaces a tag of the remote.
pub fn force_command(remote: &Url, tag: &str) -> String {
    format!("git push --force {} {}", typed(remote), word(&format!("refs/tags/{tag}")))
}

/// A Git remote as a word of a displayed command. A URL with a secret is left for the user to type.
fn typed(remote: &Url) -> String {
    if remote.has_secret() { "URL".into() } else { word(remote.raw()).into_owned() }
}

fn path(repo: &Repo) -> PathBuf {
    repo.tag_pushes().join("journal.json")
}

/// The journal, if there is one.
///
/// Errors: it is of a newer lockstep, or damaged.
fn read(repo: &Repo) -> Result<Option<Journal>> {
    let path = path(repo);
    let Some(bytes) = document::read(&path, document::MOST)? else { return Ok(None) };
    let journal: Option<Journal> = serde_json::from_slice(&bytes).ok();
    match journal {
        Some(journal) if journal.version == VERSION => Ok(Some(journal)),
        _ => Err(Error::usage(format!("the journal of pushed tags cannot be read: {}", path.display()))
            .because("a newer lockstep wrote it, or it is damaged")
            .hint(format!(
                "compare the tags here with those at the remote, then remove it: rm {}",
                word(&path.to_string_lossy())
            ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_token_is_in_no_command_and_no_journal() {
        let url = Url::from("https://me:S3CRETTOKEN@host/x.git");
        let journal = Journal::new(&url, Vec::new());
        let text = serde_json::to_string(&journal).unwrap();
        assert!(!text.contains("S3CRET") && text.contains("host/x.git"), "{text}");
        let journal: Journal = serde_json::from_str(&text).unwrap();
        assert_eq!(journal.address(&url), Some(url.clone()));
        assert_eq!(journal.address(&"https://me:other@host/x.git".into()), None);
        assert_eq!(push_command(&url, &["a"]), "git push URL refs/tags/a");

        let named = Journal::new(&"up".into(), Vec::new());
        assert_eq!((named.hash.clone(), named.address(&url)), (None, Some("up".into())));
        assert_eq!(
            push_command(&"my remote".into(), &["a#x#1", "it's"]),
            "git push --atomic 'my remote' refs/tags/a#x#1 'refs/tags/it'\\''s'"
        );
    }
}
