//! `deploy --watch` and `deploy --fetch`.

use std::time::Duration;

use super::recording::Recording;
use super::report;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::signals;
use crate::deploy::target::{self, Wanted};
use crate::deploy::watch::{Round, WatchOptions, watch};
use crate::deploy::{DeployAction, Outcome, Request};
use crate::error::{Error, Result};
use crate::pipeline::deploy::Requirement;
use crate::project::{Project, Rev};
use crate::tag::{ModelTag, Which};

/// The options of a loop.
pub struct LoopOptions {
    /// The time between two rounds.
    pub interval: Duration,
    /// One round.
    pub is_once: bool,
    /// Print JSON.
    pub json: bool,
}

/// The tags of the model that a target takes its versions from, and what the loop has to know of it.
pub struct Followed {
    /// Patterns for `git fetch`.
    pub patterns: Vec<String>,
    is_labelled: bool,
    is_signed: bool,
}

impl Followed {
    /// Errors: there is no such target.
    pub fn find(project: &Project, request: &Request) -> Result<Followed> {
        let now = project.at(&Rev::Worktree)?;
        let target = target::find(project, &now, request)?;
        let is_signed = target.require.contains(&Requirement::Signed) || project.around.requires_signed();
        Ok(match &target.what {
            Wanted::Version(asked) => Followed {
                patterns: ModelTag::patterns(&asked.name),
                is_labelled: target.is_declared && matches!(asked.which, Which::Label(_)),
                is_signed,
            },
            Wanted::Path(_) => Followed { patterns: Vec::new(), is_labelled: false, is_signed },
        })
    }
}

/// Fetches the tags of the model.
pub fn fetch(project: &Project, request: &Request) -> Result<()> {
    let followed = Followed::find(project, request)?;
    project.repo.fetch_tags(&project.repo.tag_remote()?, &followed.patterns)
}

/// Runs the loop until a signal ends it.
pub fn run(
    project: &Project,
    request: &Request,
    options: &LoopOptions,
    recording: &Recording,
    out: &Output,
) -> Result<u8> {
    let followed = Followed::find(project, request)?;
    if !followed.is_labelled {
        return Err(Error::usage(format!("{} has no label to follow", request.what))
            .hint("--watch follows a target of pipeline.yaml with `label: NAME`"));
    }
    let remote = project.repo.tag_remote()?;
    let request = Request { is_following: true, ..request.clone() };
    let watching =
        WatchOptions { interval: options.interval, is_once: options.is_once, patterns: followed.patterns.clone() };
    signals::watch();
    if !options.is_once {
        let every = humantime::format_duration(options.interval);
        out.status(format!("{} follows its label at {remote}, each {every}; Ctrl-C ends it", request.what));
    }
    let progress = Progress::new(out, true);
    let mut failure = None;
    let watched = watch(project, &request, &remote, &watching, &progress, &mut |round| {
        match round {
            Round::Failed(error) => out.warn_error("this round failed, and the next one tries again:", error),
            Round::Done(outcome) => {
                report(outcome, options.json, out);
                warn_unsigned(outcome, &followed, out);
                if let Err(error) = recording.record(project, &request.what, outcome, out) {
                    out.warn_error("the record lacks this deployment:", &error);
                }
                if let Some(error) = &outcome.failure {
                    failure = Some(error.clone());
                    if !options.is_once {
                        out.warn_error("the loop waits for a newer promotion:", error);
                    }
                }
            }
        }
        Ok(())
    });
    progress.finish();
    watched?;
    match failure.filter(|_| options.is_once) {
        Some(error) => Err(error),
        None => Ok(0),
    }
}

/// Who may push a tag decides what runs here, unless signatures are required.
fn warn_unsigned(outcome: &Outcome, followed: &Followed, out: &Output) {
    if outcome.action == DeployAction::Deployed && !followed.is_signed {
        let version = outcome.version.as_deref().unwrap_or("it");
        out.warn(format!(
            "UNSIGNED: no signature was asked of {version}; everyone who can push tags chooses what runs here"
        ));
        out.hint("`require: [signed]` in the target, with gpg.ssh.allowedSignersFile in Git's settings");
    }
}
