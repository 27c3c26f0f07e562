//! Follows the label of a target: fetches its tags, and deploys what was promoted. Files of the clone do not change.

use std::thread::sleep;
use std::time::Duration;

use super::{DeployAction, Outcome, Request, engine};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::project::Project;
use crate::url::Url;

/// How often a sleeping loop looks for a signal.
const GLANCE: Duration = Duration::from_millis(100);

/// How a loop follows.
pub struct WatchOptions {
    /// The time from the end of a round to the next one.
    pub interval: Duration,
    /// One round, whose failure is the result.
    pub is_once: bool,
    /// The tags of the model, as Git patterns.
    pub patterns: Vec<String>,
}

/// The end of a round.
pub enum Round<'o> {
    /// The engine ran.
    Done(&'o Outcome),
    /// The round failed, and the next one tries again.
    Failed(&'o Error),
}

/// Follows until a signal ends it between two steps. `report` is told each deployment, and everything else only when it
/// differs from the round before.
///
/// Errors: a tag was moved at the remote; a mistake that no later round can mend; with `is_once`, everything.
pub fn watch(
    project: &Project,
    request: &Request,
    remote: &Url,
    options: &WatchOptions,
    sink: &dyn Sink,
    report: &mut dyn FnMut(Round<'_>) -> Result<()>,
) -> Result<()> {
    let mut last = None;
    loop {
        let round = match project.repo.fetch_tags(remote, &options.patterns) {
            // A tag was moved: that is for a person.
            Err(error) if error.kind == Kind::Check => return Err(error),
            Err(error) => Err(error),
            Ok(()) => engine::deploy(project, request, sink),
        };
        match round {
            Err(error) if matches!(error.kind, Kind::Signal(_)) => return Ok(()),
            Err(error) if options.is_once || is_final(&error) => return Err(error),
            round => {
                let state = state(&round);
                if state.is_none() || state != last {
                    match &round {
                        Ok(outcome) => report(Round::Done(outcome))?,
                        Err(error) => report(Round::Failed(error))?,
                    }
                }
                // That a version is current was told when it was deployed.
                last = state.or_else(|| round.as_ref().ok().map(current));
            }
        }
        if options.is_once || is_stopped(project, options.interval) {
            return Ok(());
        }
    }
}

/// Does no later round succeed? A remote, a disk or a lock may come back, and a version may be promoted after one that
/// cannot be deployed.
fn is_final(error: &Error) -> bool {
    matches!(error.kind, Kind::Bug)
}

/// The state that a round found, to tell it once; `None` for a round that changed something.
fn state(round: &Result<Outcome>) -> Option<String> {
    match round {
        Err(error) => Some(error.full_message()),
        Ok(outcome) => match &outcome.action {
            DeployAction::UpToDate => Some(current(outcome)),
            DeployAction::Held(why) | DeployAction::Skipped(why) => Some(why.clone()),
            _ => None,
        },
    }
}

fn current(outcome: &Outcome) -> String {
    format!("{:?} is current", outcome.version)
}

fn is_stopped(project: &Project, interval: Duration) -> bool {
    let stop = &project.around.stop;
    let mut left = interval;
    while stop.signal().is_none() && !left.is_zero() {
        let part = left.min(GLANCE);
        sleep(part);
        left -= part;
    }
    stop.signal().is_some()
}
