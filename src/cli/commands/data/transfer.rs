//! The arguments of `push`, `fetch`, `pull` and `status -c`, and the output that they share.

use serde_json::{Value as Json, json};

use crate::cli::advice;
use crate::cli::args::Targets;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git::CommitSelection;
use crate::plan::facts::FactsReader;
use crate::plan::select::{Scope as StageScope, Selection};
use crate::project::{Definitions, Project, Rev};
use crate::remote::scope::{Options, RemoteComparison, RemoteResult, Scope};
use crate::remote::{TransferCost, Wanted};
use crate::workspace::checkout::wanted;
use crate::workspace::recover::overlay;

/// The outputs and data to transfer, and the remote.
#[derive(clap::Args, Debug, Default)]
pub struct TransferArgs {
    #[command(flatten)]
    pub targets: Targets,
    /// The remote [default: core.remote]
    #[arg(short, long, value_name = "NAME")]
    pub remote: Option<String>,
    /// Transfer N objects at once [default: 16, or one for each core if the remote is a folder]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Include what the tips of all branches pin
    #[arg(short, long)]
    pub all_branches: bool,
    /// Include what all tags pin
    #[arg(short = 'T', long)]
    pub all_tags: bool,
    /// Select what this revision pins: a branch, tag, `HEAD~3`, model version; may be repeated
    #[arg(long, value_name = "REV")]
    pub rev: Vec<String>,
    /// Include all entries of the run cache, not only those of the selected stages
    #[arg(long)]
    pub run_cache: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl TransferArgs {
    /// Selects the targets in the workspace.
    pub fn select(&self, project: &Project, definitions: &Definitions, out: &Output) -> Result<Selection> {
        let selected = StageScope::of(project, definitions).select(&self.targets.names, &self.targets.reach(), true)?;
        advice::refuse_dvc_only(definitions)?;
        advice::warn_broken_pipelines(definitions, project, out);
        advice::warn_dvc_data(definitions, project, out);
        Ok(selected)
    }

    /// Does the command include the workspace, or only commits?
    pub fn means_workspace(&self) -> bool {
        self.rev.is_empty() || self.all_branches || self.all_tags
    }

    /// The pins of the targets, from the locks of the workspace and of the selected commits.
    pub fn gather(&self, project: &Project, out: &Output, sink: &dyn Sink) -> Result<Scope> {
        let mut scope = Scope::default();
        if self.means_workspace() {
            let definitions = project.definitions()?;
            match self.select(project, &definitions, out) {
                Ok(selected) => self.add_workspace(&mut scope, project, &definitions, &selected, sink)?,
                // A commit may have the target.
                Err(e) if e.kind == Kind::Missing && self.asks_for_commits() => {}
                Err(e) => return Err(e),
            }
        }
        self.add_commits(&mut scope, project, out)?;
        if scope.is_empty() && !self.targets.is_empty() && self.asks_for_commits() {
            let error = Error::missing(format!("nothing is pinned there for {}", self.targets.names.join(", ")));
            return Err(error.hint("see what is: lockstep list --rev REV"));
        }
        Ok(scope)
    }

    /// Adds the pins of the targets in the workspace.
    pub fn add_workspace(
        &self,
        scope: &mut Scope,
        project: &Project,
        definitions: &Definitions,
        selected: &Selection,
        sink: &dyn Sink,
    ) -> Result<()> {
        let mut locks = project.locks(definitions)?;
        let mut reader = FactsReader::new(project, definitions, sink);
        overlay(project, definitions, &mut locks, &mut reader)?;
        scope.add(definitions, selected, &locks, &project.cwd);
        let kept = wanted(definitions, selected, &locks).into_iter().filter(|(.., is_stored)| *is_stored);
        scope.unpinned = kept.filter(|(_, pin, _)| pin.is_none()).map(|(path, ..)| path.clone()).collect();
        Ok(())
    }

    /// The exit code of a transfer that went well: not 0 if a pipeline file that it is about was left out.
    pub fn exit_code(&self, project: &Project) -> Result<u8> {
        let is_about_all = self.means_workspace() && self.targets.is_empty();
        if is_about_all { Ok(advice::exit_code_of_all(0, &project.definitions()?)) } else { Ok(0) }
    }

    /// Reports outputs without a pin, which cannot be transferred: errors for named targets, else a message.
    pub fn unpinned(&self, scope: &Scope, project: &Project, out: &Output) -> Result<Vec<Error>> {
        if scope.unpinned.is_empty() {
            return Ok(Vec::new());
        }
        let errors = advice::unpinned_errors(&scope.unpinned, "not pinned yet", &project.definitions()?, project);
        if !self.targets.is_empty() {
            return Ok(errors);
        }
        for error in errors {
            let hints = error.hints.join("; ");
            out.status(format!("{} ({hints})", error.message));
        }
        Ok(Vec::new())
    }

    fn asks_for_commits(&self) -> bool {
        !self.rev.is_empty() || self.all_branches || self.all_tags
    }

    /// Adds the pins of the targets in the selected commits. Skips a commit that lacks a target.
    pub fn add_commits(&self, scope: &mut Scope, project: &Project, out: &Output) -> Result<()> {
        if !self.asks_for_commits() {
            return Ok(());
        }
        let (revs, all_branches, all_tags) = (self.rev.clone(), self.all_branches, self.all_tags);
        let snapshots = project.snapshots();
        let which = CommitSelection { revs, all_branches, all_tags, ..CommitSelection::default() };
        for chosen in snapshots.history()?.select_commits(&which)? {
            let snapshot = snapshots.at(&Rev::Commit(chosen.id))?;
            for (path, error) in &snapshot.definitions.broken {
                out.warn_of(format!("{path} of {} is left out:", chosen.names.join(", ")), error);
            }
            let targets = StageScope::of(project, &snapshot.definitions);
            match targets.select(&self.targets.names, &self.targets.reach(), true) {
                Ok(selected) => scope.add(&snapshot.definitions, &selected, snapshot.locks()?, &project.cwd),
                Err(e) if e.kind == Kind::Missing => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub fn options(&self) -> Options {
        Options { remote: self.remote.clone(), jobs: self.jobs, run_cache: self.run_cache, again: false }
    }
}

/// Prints `3 requests, 104.9 MB sent`, with `-v`.
pub fn print_cost(remote: &str, spent: &TransferCost, out: &Output) {
    if out.verbose > 0 {
        let (requests, sent, received) = (spent.requests, spent.sent, spent.received);
        let moved = [(sent, "sent"), (received, "received")].map(|(n, how)| match n {
            0 => String::new(),
            n => format!(", {} {how}", text::bytes(n)),
        });
        out.status(format!("{remote}: {}{}", text::count(requests as usize, "request"), moved.concat()));
    }
}

pub fn list(all: &[Wanted]) -> Json {
    all.iter().map(|w| json!({"path": w.name, "id": w.pin.id.hex(), "size": w.pin.size})).collect::<Vec<_>>().into()
}

pub fn cost(spent: &TransferCost) -> Json {
    json!({"requests": spent.requests, "sent": spent.sent, "received": spent.received})
}

/// Prints a line for each output, up to a limit, then the number of the rest.
pub fn print_transferred(verb: &str, all: &[Wanted], out: &Output) {
    const SHOWN: usize = 20;
    let shown = if out.verbose > 0 || all.len() <= SHOWN { all.len() } else { SHOWN - 1 };
    for wanted in &all[..shown] {
        out.status(format!("{verb} {} ({})", wanted.name, text::bytes(wanted.pin.size)));
    }
    if shown < all.len() {
        out.status(format!("{verb} {} more", all.len() - shown));
    }
}

/// The error for outputs and data that are pinned and are neither here nor at the remote.
pub fn nowhere(all: &[Wanted], scope: &Scope) -> Error {
    let names: Vec<&str> = all.iter().take(10).map(|w| w.name.as_str()).collect();
    let more = if all.len() > names.len() { format!(" and {} more", all.len() - names.len()) } else { String::new() };
    let message = format!("{} neither here nor at the remote: {}{more}", count(all, scope), names.join(", "));
    if all.iter().all(|w| scope.is_data(&w.name)) {
        return Error::missing(message).hint(PUSH_THERE);
    }
    Error::missing(message).hint("make them again: lockstep repro").hint("or push them from a clone that has them")
}

/// The hint for data that is not here: no stage makes it.
const PUSH_THERE: &str = "push it from a clone that has it: lockstep push";

/// `2 outputs`, `1 data path`, or both at once.
fn count(all: &[Wanted], scope: &Scope) -> String {
    let data = all.iter().filter(|w| scope.is_data(&w.name)).count();
    match all.len() - data {
        0 if data > 0 => text::count(data, "data path"),
        _ if data > 0 => text::count(all.len(), "output or data path"),
        outs => text::count(outs, "output"),
    }
}

/// Prints all errors but the one with the lowest exit code, and returns that one, to end the command.
pub fn worst(mut errors: Vec<Error>, out: &Output) -> Option<Error> {
    let at = (0..errors.len()).min_by_key(|at| errors[*at].kind.exit_code())?;
    let worst = errors.remove(at);
    errors.iter().for_each(|error| out.error(error));
    Some(worst)
}

/// `status -c`: exit 1 with `-q` where anything differs.
pub fn compare(args: &TransferArgs, project: &Project, out: &Output) -> Result<u8> {
    let code = args.exit_code(project)?;
    let progress = Progress::new(out, false);
    let scope = args.gather(project, out, &progress)?;
    let compared = scope.compare(project, &args.options());
    progress.finish();
    let compared = compared?;
    // A place that is no remote does not tell where missing objects are.
    let is_asked = |at: &&RemoteResult<RemoteComparison>| !at.done.nowhere.is_empty();
    if let Some(error) = compared.iter().filter(is_asked).find_map(|at| at.done.unmarked.clone()) {
        return Err(error);
    }
    if args.json {
        let one = |at: &RemoteResult<RemoteComparison>| {
            json!({
                "remote": at.remote, "url": at.url, "not_there": list(&at.done.not_there),
                "not_here": list(&at.done.not_here), "nowhere": list(&at.done.nowhere), "both": at.done.both,
                "cost": cost(&at.spent),
            })
        };
        out.json(&json!({"remotes": compared.iter().map(one).collect::<Vec<_>>()}));
    }
    let mut same = true;
    for at in &compared {
        let (data, outs): (Vec<Wanted>, Vec<Wanted>) =
            at.done.nowhere.iter().cloned().partition(|w| scope.is_data(&w.name));
        let sorts = [
            (&at.done.not_there, "not at the remote", "lockstep push"),
            (&at.done.not_here, "not here", "lockstep pull"),
            (&outs, "neither here nor at the remote", "lockstep repro"),
            (&data, "neither here nor at the remote", PUSH_THERE),
        ];
        same &= sorts.iter().all(|(all, ..)| all.is_empty());
        if !args.json && !out.quiet {
            for (all, how, next) in sorts.iter().filter(|(all, ..)| !all.is_empty()) {
                let bytes = text::bytes(all.iter().map(|w| w.pin.size).sum());
                out.line(format!("{}: {} {how}, {bytes}: {next}", at.remote, count(all, &scope)));
                all.iter().for_each(|w| out.line(format!("  {} ({})", w.name, text::bytes(w.pin.size))));
            }
            if at.done.unmarked.is_some() {
                out.status(format!("nothing was pushed to {} ({}) yet", at.remote, at.url));
            } else if sorts.iter().all(|(all, ..)| all.is_empty()) && scope.unpinned.is_empty() && code == 0 {
                out.status(format!("{} has everything, and so has this clone", at.remote));
            }
        }
        print_cost(&at.remote, &at.spent, out);
    }
    if let Some(error) = worst(args.unpinned(&scope, project, out)?, out) {
        return Err(error);
    }
    Ok(code.max(u8::from(out.quiet && !same)))
}
