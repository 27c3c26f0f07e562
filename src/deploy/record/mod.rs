//! The record of a target: its events in Git, a commit each, at `refs/lockstep/deployments/TARGET`.
//!
//! The target's own journal is written first and is what counts on the host. The record is the copy that every clone can
//! fetch. An event of the journal that the record lacks, since the host could not push or was killed, is added by the
//! next deployment or by `deploy log --push`. Hosts that share a target share the chain.

mod publish;
mod verify;

pub use publish::PushResult;
pub use verify::{Finding, Journal, find_differences};

use super::event::{EVENT_VERSION, Event};
use crate::error::{Error, Kind, Result};
use crate::git::{GitId, Link, NewLink, Repo};

/// The one file of a record's commits.
const FILE: &str = "deployment.json";
/// The refs of records, by target.
const PREFIX: &str = "refs/lockstep/deployments/";
/// What was last seen of them at the remote.
const SEEN_PREFIX: &str = "refs/lockstep/deployments-seen/";
/// How often a write is tried again after another process was faster.
const TRIES: usize = 5;
/// The number of commits that are read first to find the last event of a journal.
const RECENT: usize = 64;
/// The most commits of a record that are read.
const MOST_READ: usize = 100_000;

/// The record of one target in this clone.
pub struct Record<'r> {
    repo: &'r Repo,
    target: &'r str,
    reference: String,
    seen: String,
}

/// One commit of a record.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// The commit.
    pub id: GitId,
    /// The number of commits before it: more than one only in a record that lockstep did not write.
    pub parents: usize,
    /// `Name <mail>` of the author, which anyone can claim who does not sign.
    pub author: String,
    /// `None` if the commit is no event that this lockstep can read.
    pub event: Option<Event>,
}

impl<'r> Record<'r> {
    /// The record of the target with this name. Nothing is read yet.
    pub fn of(repo: &'r Repo, target: &'r str) -> Record<'r> {
        Record { repo, target, reference: format!("{PREFIX}{target}"), seen: format!("{SEEN_PREFIX}{target}") }
    }

    /// The targets that have a record in this clone, sorted.
    pub fn targets(repo: &Repo) -> Result<Vec<String>> {
        if !repo.is_git() {
            return Ok(Vec::new());
        }
        let names = repo.plain_history()?.names(PREFIX)?;
        Ok(names.into_iter().map(|(name, _)| name).collect())
    }

    /// The name of the target.
    pub fn target(&self) -> &str {
        self.target
    }

    /// The newest events first, at most `most`. Empty if there is no record.
    pub fn read(&self, most: usize) -> Result<Vec<RecordedEvent>> {
        let Some(tip) = self.repo.chain_tip(&self.reference)? else { return Ok(Vec::new()) };
        Ok(self.repo.read_chain(tip, FILE, most)?.iter().map(RecordedEvent::of).collect())
    }

    /// Adds the events of a journal that the record lacks; `journal` has the oldest first. Returns how many.
    ///
    /// Errors: Git cannot write, or another process was faster several times.
    pub fn add(&self, journal: &[Event]) -> Result<usize> {
        for _ in 0..TRIES {
            let tip = self.repo.chain_tip(&self.reference)?;
            let lacking = match unrecorded(journal, &self.events(RECENT)?) {
                // None of its events is recent.
                all if all.len() == journal.len() => unrecorded(journal, &self.events(MOST_READ)?),
                lacking => lacking,
            };
            let mut new = tip;
            for event in lacking {
                new = Some(self.make(new, event)?);
            }
            match new {
                Some(new) if Some(new) != tip && !self.repo.move_chain(&self.reference, tip, new)? => {}
                _ => return Ok(lacking.len()),
            }
        }
        let busy = Error::new(Kind::Io, format!("the record of {} changes all the time", self.target));
        Err(busy.hint(format!("later: lockstep deploy log {} --push", self.target)))
    }

    fn events(&self, most: usize) -> Result<Vec<Event>> {
        Ok(self.read(most)?.into_iter().filter_map(|recorded| recorded.event).collect())
    }

    /// Makes a commit of an event; the record does not have it yet.
    fn make(&self, parent: Option<GitId>, event: &Event) -> Result<GitId> {
        let mut text = serde_json::to_string_pretty(event).map_err(|e| Error::new(Kind::Bug, e.to_string()))?;
        text.push('\n');
        let version = event.version.as_deref().unwrap_or("a path");
        let subject = format!("{} {}: {} {version}", event.event.word(), self.target, event.name);
        let sign = self.repo.signs_commits();
        let author = match event.actor.contains('<') {
            true => event.actor.clone(),
            false => format!("{} <{0}@{}>", event.actor, event.host),
        };
        let new = NewLink { file: FILE, content: text.as_bytes(), subject: &subject, author: &author, sign };
        self.repo.make_link(parent, &new)
    }
}

impl RecordedEvent {
    fn of(link: &Link) -> RecordedEvent {
        RecordedEvent { id: link.id, parents: link.parents.len(), author: link.author.clone(), event: parse(link) }
    }
}

fn parse(link: &Link) -> Option<Event> {
    let event: Event = serde_json::from_slice(link.content.as_deref()?).ok()?;
    (event.lockstep == EVENT_VERSION).then_some(event)
}

/// The last events of a journal, after the last one that the record has. An earlier one that it lacks was left out by
/// the user's wish.
fn unrecorded<'e>(journal: &'e [Event], known: &[Event]) -> &'e [Event] {
    let recorded = journal.iter().rposition(|event| known.contains(event));
    &journal[recorded.map_or(0, |at| at + 1)..]
}

#[cfg(test)]
mod tests;
