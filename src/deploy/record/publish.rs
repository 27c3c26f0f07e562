//! Sends a record to the remote and fetches it from there. Nothing is forced: events of this clone that the remote lacks
//! are put behind those that it has.

use super::{FILE, MOST_READ, PREFIX, Record, TRIES, parse};
use crate::error::{Error, Kind, Result};
use crate::git::{GitId, RemoteChain, Repo};
use crate::shell::word;
use crate::url::Url;

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// The remote had all events.
    UpToDate,
    /// The remote has as many new events.
    Pushed(usize),
}

/// How the record of this clone relates to that of the remote.
#[derive(Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Ahead,
    Behind,
    Diverged,
}

impl Record<'_> {
    /// Sends the events that the remote lacks.
    ///
    /// Errors ([`Kind::Remote`]): it does not answer or refuses; its record was rewritten.
    pub fn push(&self, remote: &Url) -> Result<PushResult> {
        for _ in 0..TRIES {
            let there = self.fetch_tip(remote)?;
            let Some(mut here) = self.repo.chain_tip(&self.reference)? else { return Ok(PushResult::UpToDate) };
            match self.relation(here, there)? {
                Relation::Equal | Relation::Behind => {
                    self.forward(here, there)?;
                    return Ok(PushResult::UpToDate);
                }
                Relation::Ahead => {}
                Relation::Diverged => match self.put_behind(here, there)? {
                    Some(moved) => here = moved,
                    None => continue,
                },
            }
            let new = self.repo.chain_since(here, there, FILE)?.len();
            if new == 0 {
                return Ok(PushResult::UpToDate);
            }
            if self.repo.push_chain(remote, here, &self.reference)? {
                // What was sent was seen there.
                self.repo.move_chain(&self.seen, there, here)?;
                return Ok(PushResult::Pushed(new));
            }
        }
        Err(Error::new(Kind::Remote, format!("other hosts add to the record of {} all the time", self.target)))
    }

    /// Takes over the events that the remote has. Returns false if the remote has no such record.
    ///
    /// Errors: as [`Record::push`].
    pub fn fetch(&self, remote: &Url) -> Result<bool> {
        let there = self.fetch_tip(remote)?;
        let Some(tip) = there else { return Ok(false) };
        match self.repo.chain_tip(&self.reference)? {
            None => {
                self.repo.move_chain(&self.reference, None, tip)?;
            }
            Some(here) if self.relation(here, there)? == Relation::Behind => self.forward(here, there)?,
            Some(_) => {}
        }
        Ok(true)
    }

    /// The names of targets that have a record at a remote.
    ///
    /// Errors: [`Kind::Remote`].
    pub fn targets_at(repo: &Repo, remote: &Url) -> Result<Vec<String>> {
        repo.chains_at(remote, PREFIX)
    }

    fn fetch_tip(&self, remote: &Url) -> Result<Option<GitId>> {
        match self.repo.fetch_chain(remote, &self.reference, &self.seen)? {
            RemoteChain::Absent => Ok(None),
            RemoteChain::At(tip) => Ok(Some(tip)),
            RemoteChain::Rewritten { seen, now } => Err(self.rewritten(remote, seen, now)),
        }
    }

    fn rewritten(&self, remote: &Url, seen: GitId, now: Option<GitId>) -> Error {
        let how = match now {
            Some(now) => format!("it was at {} and is at {} now, which lacks events", seen.short(), now.short()),
            None => format!("it was at {} and is gone now", seen.short()),
        };
        let restore = format!("git push --force REMOTE {}:{}", word(&self.seen), word(&self.reference));
        let accept = format!("git update-ref -d {} && git update-ref -d {}", word(&self.seen), word(&self.reference));
        Error::new(Kind::Remote, format!("the record of {} was rewritten at {remote}", self.target))
            .because(how)
            .hint(format!("to put back what this clone has seen: {restore}"))
            .hint(format!("to give up what this clone has seen: {accept}"))
    }

    fn relation(&self, here: GitId, there: Option<GitId>) -> Result<Relation> {
        let Some(there) = there else { return Ok(Relation::Ahead) };
        Ok(match (self.repo.is_in_chain(there, here)?, self.repo.is_in_chain(here, there)?) {
            (true, true) => Relation::Equal,
            (true, false) => Relation::Ahead,
            (false, true) => Relation::Behind,
            (false, false) => Relation::Diverged,
        })
    }

    fn forward(&self, here: GitId, there: Option<GitId>) -> Result<()> {
        match there {
            // If another process moved it meanwhile, the next command moves it on.
            Some(there) if there != here => self.repo.move_chain(&self.reference, Some(here), there).map(drop),
            _ => Ok(()),
        }
    }

    /// Makes the events of this clone again behind those of the remote. `None` if another process was faster.
    fn put_behind(&self, here: GitId, there: Option<GitId>) -> Result<Option<GitId>> {
        let mut tip = there;
        // A fresh clone of the same host has made commits of events that the remote has.
        let known = match there {
            Some(there) => self.repo.read_chain(there, FILE, MOST_READ)?.iter().filter_map(parse).collect(),
            None => Vec::new(),
        };
        for link in self.repo.chain_since(here, there, FILE)? {
            if let Some(event) = parse(&link).filter(|event| !known.contains(event)) {
                tip = Some(self.make(tip, &event)?);
            }
        }
        let Some(tip) = tip else { return Ok(None) };
        Ok(self.repo.move_chain(&self.reference, Some(here), tip)?.then_some(tip))
    }
}
