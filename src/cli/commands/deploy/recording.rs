//! Records in Git what a deployment did, after it is done: a failure here never undoes a deployment.

use crate::cli::output::Output;
use crate::deploy::journal::Journal;
use crate::deploy::record::{PushResult, Record};
use crate::deploy::{Event, Outcome, target};
use crate::error::{Error, Result};
use crate::project::{Project, Rev};
use crate::shell::word;
use crate::store::RootFolder;
use crate::url::Url;

/// How the events of a target get into Git.
pub struct Recording {
    /// The remote that records are pushed to.
    pub remote: Option<Url>,
    /// Nothing is recorded.
    pub is_off: bool,
}

impl Recording {
    /// Errors: a push is wanted, and Git has no remote.
    pub fn new(project: &Project, push: bool, is_off: bool) -> Result<Recording> {
        let remote = if push { Some(project.repo.tag_remote()?) } else { None };
        Ok(Recording { remote, is_off: is_off || !project.repo.is_git() })
    }

    /// Adds the events of the target's journal that the record lacks, and pushes them if that is wanted. What was
    /// deployed by `--to` without a target has no record.
    pub fn record(&self, project: &Project, typed: &str, outcome: &Outcome, out: &Output) -> Result<()> {
        if self.is_off || typed != outcome.target || !is_declared(project, typed)? {
            return Ok(());
        }
        let kept = |error: Error| {
            let again = format!("lockstep deploy log {} --push", word(typed));
            error.because("the deployment itself is done, and in the journal of the target").hint(again)
        };
        let journal = Journal::read(&RootFolder::new(outcome.to.clone()))?;
        let events: Vec<Event> = journal.events().cloned().collect();
        let record = Record::of(&project.repo, typed);
        record.add(&events).map_err(kept)?;
        if let Some(remote) = &self.remote
            && let PushResult::Pushed(events) = record.push(remote).map_err(kept)?
        {
            let one = if events == 1 { "event" } else { "events" };
            out.status(format!("{events} {one} of {typed} pushed to {remote}"));
        }
        Ok(())
    }
}

/// Is it a target of a pipeline file?
fn is_declared(project: &Project, name: &str) -> Result<bool> {
    let now = project.at(&Rev::Worktree)?;
    Ok(target::declared(&now)?.iter().any(|(_, entry)| entry.name == name))
}
