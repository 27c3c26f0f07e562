mod hold;
mod log;
mod recording;
mod status;
mod watching;

use clap::Subcommand;
use recording::Recording;
use serde_json::{Value as Json, json};
use watching::LoopOptions;

use crate::cli::ask;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::signals;
use crate::config;
use crate::deploy::target::{self, setting_of};
use crate::deploy::{DeployAction, Outcome, Request, engine, folder};
use crate::error::{Error, Result};
use crate::pipeline::deploy::{ReleaseLink, Requirement, parse_duration};
use crate::project::{Project, Rev};
use crate::shell::word;

/// Put a version of a model where it is used
///
/// A target stands under `deploy` in pipeline.yaml: a folder, the label whose version belongs there, and the commands
/// around the switch. A release is complete and verified before it has a name; `current` changes in one step; if `after`
/// or `healthy` fails, the version before is current again. A deployment that was killed is finished by the next call.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  lockstep deploy prod                        the version that belongs to the target prod
  lockstep deploy prod --dry                  what that would do
  lockstep deploy digits@v1.2.0 --to /srv/digits
  lockstep deploy prod --rollback             the release before; later promotions lift the hold
  lockstep deploy prod --rollback v1.0.0
  lockstep deploy prod --watch --push         follow the label, and push the record of each deployment
  lockstep deploy status                      what runs where, and what should
  lockstep deploy log prod                    the deployments to it: what, when, and who

The commands `check`, `after` and `healthy` get LOCKSTEP_TARGET, LOCKSTEP_NAME, LOCKSTEP_VERSION, LOCKSTEP_RELEASE (the
folder), LOCKSTEP_PREVIOUS and LOCKSTEP_BLAKE3 as environment variables.

Exit codes: 0 deployed, up to date or held; 1 refused; 3 no such version, or its bytes are nowhere; 4 a remote failed;
5 another deployment holds the lock (--wait waits); 6 check, after or healthy failed; 7 the file system."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Sub>,
    /// A target, NAME, NAME@VERSION or NAME#LABEL; with --to also the path of pinned data
    #[arg(required = true)]
    what: Option<String>,
    /// Deploy to this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<String>,
    /// Go back to the release before, or to a version
    #[arg(long, value_name = "VERSION", num_args = 0..=1)]
    rollback: Option<Option<String>>,
    /// The command that must succeed before the switch
    #[arg(long, value_name = "CMD", help_heading = "In place of pipeline.yaml")]
    check: Option<String>,
    /// The command after the switch, and after a way back
    #[arg(long, value_name = "CMD", help_heading = "In place of pipeline.yaml")]
    after: Option<String>,
    /// What is asked after the switch, until it holds
    #[arg(long, value_name = "URL|CMD", help_heading = "In place of pipeline.yaml")]
    healthy: Option<String>,
    /// The limit of each of the three [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "In place of pipeline.yaml")]
    timeout: Option<std::time::Duration>,
    /// How many releases stay besides the current one and the one before [default: 5]
    #[arg(long, value_name = "N", help_heading = "In place of pipeline.yaml")]
    keep: Option<u64>,
    /// What the version needs: signed, stored
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = requirement, help_heading = "In place of pipeline.yaml")]
    require: Vec<Requirement>,
    /// How files get into the release: reflink, copy or hardlink [default: reflink, else copy]
    #[arg(long, value_name = "HOW", value_parser = link, help_heading = "In place of pipeline.yaml")]
    link: Option<ReleaseLink>,
    /// Print what would be done
    #[arg(long)]
    dry: bool,
    /// Deploy although the version is current, the target is held, or the version was withdrawn
    #[arg(short, long)]
    force: bool,
    /// First fetch the tags of the model
    #[arg(long, conflicts_with = "rollback")]
    fetch: bool,
    /// Fetch and deploy what is promoted from now on, until a signal
    #[arg(long, conflicts_with_all = ["rollback", "dry", "force", "fetch"], help_heading = "Follow the label")]
    watch: bool,
    /// The time between two rounds of --watch
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s", requires = "watch", help_heading = "Follow the label")]
    interval: std::time::Duration,
    /// One round of --watch
    #[arg(long, requires = "watch", help_heading = "Follow the label")]
    once: bool,
    /// Push the record of the deployment to the Git remote
    #[arg(long, conflicts_with = "no_record")]
    push: bool,
    /// Record the deployment only in the journal of the target
    #[arg(long)]
    no_record: bool,
    /// Words for the record
    #[arg(short, long, value_name = "WORDS")]
    message: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Status(status::Args),
    Log(log::Args),
    Hold(hold::Args),
    Resume(hold::ResumeArgs),
}

fn requirement(word: &str) -> Result<Requirement, String> {
    word.parse()
}

fn link(word: &str) -> Result<ReleaseLink, String> {
    word.parse()
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Some(Sub::Status(args)) => status::run(args, project, out),
        Some(Sub::Log(args)) => log::run(args, project, out),
        Some(Sub::Hold(args)) => hold::run(args, project, out),
        Some(Sub::Resume(args)) => hold::resume(args, project, out),
        None => deploy(args, project, out),
    }
}

fn deploy(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let request = request(args);
    let recording = Recording::new(project, args.push, args.no_record || args.dry)?;
    if args.fetch {
        watching::fetch(project, &request)?;
    }
    let confirmed = confirm_folder(project, &request, out)?;
    let project = confirmed.as_ref().unwrap_or(project);
    if args.watch {
        let options = LoopOptions { interval: args.interval, is_once: args.once, json: args.json };
        return watching::run(project, &request, &options, &recording, out);
    }
    signals::watch();
    let progress = Progress::new(out, true);
    let deployed = engine::deploy(project, &request, &progress);
    progress.finish();
    let outcome = deployed?;
    report(&outcome, args.json, out);
    let recorded = recording.record(project, &request.what, &outcome, out);
    match (outcome.failure, recorded) {
        (None, recorded) => recorded.map(|()| 0),
        (Some(failure), Ok(())) => Err(failure),
        (Some(failure), Err(error)) => {
            out.warn_error("the record lacks this deployment:", &error);
            Err(failure)
        }
    }
}

fn request(args: &Args) -> Request {
    Request {
        what: args.what.clone().unwrap_or_default(),
        to: args.to.clone(),
        rollback: args.rollback.clone(),
        force: args.force,
        dry: args.dry,
        check: args.check.clone(),
        after: args.after.clone(),
        healthy: args.healthy.clone(),
        timeout: args.timeout,
        keep: args.keep,
        require: args.require.clone(),
        link: args.link,
        why: args.message.clone(),
        is_following: false,
    }
}

/// Asks once whether a folder outside of the repository that pipeline.yaml names is wanted; keeps the answer in the
/// settings of this clone. Returns the project with the new setting.
fn confirm_folder(project: &Project, request: &Request, out: &Output) -> Result<Option<Project>> {
    if !ask::can_ask() {
        return Ok(None);
    }
    let target = {
        let now = project.at(&Rev::Worktree)?;
        target::find(project, &now, request)?
    };
    if !folder::needs_confirmation(project, &target) {
        return Ok(None);
    }
    let (folder, key) = (target.to.place(), setting_of(&target.name));
    let command = format!("lockstep config --local {} {}", word(&key), word(&folder));
    out.notice(format!("pipeline.yaml deploys {} to {folder}, outside of this repository", target.name));
    ask::confirm("write there, from now on?", &command, "nothing was deployed", out)?;
    config::set(&project.repo.local_config(), &key, &folder)?;
    Project::open(project.around.clone()).map(Some)
}

fn report(outcome: &Outcome, as_json: bool, out: &Output) {
    if as_json {
        out.json(&shape(outcome));
        return;
    }
    let Outcome { target, .. } = outcome;
    let version = outcome.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let name = format!("{}{version}", outcome.name);
    match &outcome.action {
        DeployAction::Deployed => out.status(format!("{target}: {name} is current in {}", outcome.place)),
        DeployAction::UpToDate => out.status(format!("{target}: {name} is current already in {}", outcome.place)),
        DeployAction::Held(why) => {
            out.status(format!("{target} {why}; {name} was not deployed"));
            out.hint(format!("follow the label again: lockstep deploy resume {}", word(target)));
        }
        DeployAction::Skipped(why) => out.status(format!("{target}: {why}")),
        DeployAction::Planned(what) => out.status(format!("{target}: {what}")),
        // The error says it.
        DeployAction::Refused | DeployAction::Returned => {}
    }
}

/// The JSON of an outcome.
pub fn shape(outcome: &Outcome) -> Json {
    let (action, why) = match &outcome.action {
        DeployAction::Deployed => ("deployed", None),
        DeployAction::UpToDate => ("up_to_date", None),
        DeployAction::Held(why) => ("held", Some(why)),
        DeployAction::Skipped(why) => ("skipped", Some(why)),
        DeployAction::Refused => ("refused", None),
        DeployAction::Returned => ("returned", None),
        DeployAction::Planned(what) => ("planned", Some(what)),
    };
    json!({
        "action": action,
        "why": why,
        "target": outcome.target,
        "name": outcome.name,
        "version": outcome.version,
        "to": outcome.place,
        "release": outcome.release,
        "events": outcome.events,
        "error": outcome.failure.as_ref().map(Error::to_string),
    })
}
