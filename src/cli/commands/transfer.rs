//! What `push`, `fetch`, `pull` and `status -c` share: their targets, and how what they did is told.

use serde_json::{Value as Json, json};

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git::Which;
use crate::plan::facts::Look;
use crate::plan::select::{Reach, Scope as Targets, Selected};
use crate::project::{Definitions, Project, Rev};
use crate::remote::scope::{Options, RemoteComparison, RemoteResult, Scope};
use crate::remote::{TransferCost, Wanted};
use crate::workspace::checkout::wanted;
use crate::workspace::recover::overlay;

/// Which outputs and data.
#[derive(clap::Args, Debug, Default)]
pub struct What {
    /// Stages, groups, outputs, data, or pipeline files [default: all]
    pub targets: Vec<String>,
    /// The remote [default: core.remote]
    #[arg(short, long, value_name = "NAME")]
    pub remote: Option<String>,
    /// Objects that travel at once [default: 16, or one a core for a folder]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Targets are folders
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Targets are patterns over stage names
    #[arg(long)]
    pub glob: bool,
    /// With what the tips of all branches pin
    #[arg(short, long)]
    pub all_branches: bool,
    /// With what all tags pin
    #[arg(short = 'T', long)]
    pub all_tags: bool,
    /// What this commit pins: a branch, tag, `HEAD~3`, model version; may be given several times
    #[arg(long, value_name = "REV")]
    pub rev: Vec<String>,
}

impl What {
    fn reach(&self) -> Reach {
        Reach { single: true, recursive: self.recursive, glob: self.glob, ..Reach::default() }
    }

    /// The targets in the workspace.
    pub fn select(&self, project: &Project, definitions: &Definitions, out: &Output) -> Result<Selected> {
        let selected = Targets::of(project, definitions).select(&self.targets, &self.reach(), true)?;
        super::refuse_dvc_alone(definitions)?;
        super::tell_broken(definitions, project, out);
        super::tell_dvc_data(definitions, project, out);
        Ok(selected)
    }

    /// Is the workspace meant, or commits alone?
    pub fn means_workspace(&self) -> bool {
        self.rev.is_empty() || self.all_branches || self.all_tags
    }

    /// What the locks say of the targets: those of the workspace, and those of the commits that are asked for.
    pub fn gather(&self, project: &Project, out: &Output, sink: &dyn Sink) -> Result<Scope> {
        let mut scope = Scope::default();
        if self.means_workspace() {
            let definitions = project.definitions()?;
            match self.select(project, &definitions, out) {
                Ok(selected) => self.add_workspace(&mut scope, project, &definitions, &selected, sink)?,
                // Perhaps a commit has it.
                Err(e) if e.kind == Kind::Missing && self.asks_for_commits() => {}
                Err(e) => return Err(e),
            }
        }
        self.add_commits(&mut scope, project, out)?;
        if scope.is_empty() && !self.targets.is_empty() && self.asks_for_commits() {
            let error = Error::missing(format!("nothing is pinned there for {}", self.targets.join(", ")));
            return Err(error.hint("see what is: lockstep list --rev REV"));
        }
        Ok(scope)
    }

    /// What the locks of the workspace say of the targets.
    pub fn add_workspace(
        &self,
        scope: &mut Scope,
        project: &Project,
        definitions: &Definitions,
        selected: &Selected,
        sink: &dyn Sink,
    ) -> Result<()> {
        let mut locks = project.locks(definitions)?;
        let mut look = Look::new(project, definitions, sink);
        overlay(project, definitions, &mut locks, &mut look)?;
        scope.add(definitions, selected, &locks, &project.cwd);
        let kept = wanted(definitions, selected, &locks).into_iter().filter(|(.., is_stored)| *is_stored);
        scope.unpinned = kept.filter(|(_, pin, _)| pin.is_none()).map(|(path, ..)| path.clone()).collect();
        Ok(())
    }

    /// What is meant and has no pin yet cannot be moved: an error for what was named, a note where all is meant.
    pub fn unpinned(&self, scope: &Scope, project: &Project, out: &Output) -> Result<Vec<Error>> {
        if scope.unpinned.is_empty() {
            return Ok(Vec::new());
        }
        let errors = super::not_pinned(&scope.unpinned, "not pinned yet", &project.definitions()?, project);
        if !self.targets.is_empty() {
            return Ok(errors);
        }
        for error in errors {
            let hints = error.hints.join("; ");
            out.say(format!("{} ({hints})", error.message));
        }
        Ok(Vec::new())
    }

    fn asks_for_commits(&self) -> bool {
        !self.rev.is_empty() || self.all_branches || self.all_tags
    }

    /// The same for the commits that are asked for. A commit that lacks a target is passed over.
    pub fn add_commits(&self, scope: &mut Scope, project: &Project, out: &Output) -> Result<()> {
        if !self.asks_for_commits() {
            return Ok(());
        }
        let (revs, all_branches, all_tags) = (self.rev.clone(), self.all_branches, self.all_tags);
        let snapshots = project.snapshots();
        let which = Which { revs, all_branches, all_tags, ..Which::default() };
        for chosen in snapshots.history()?.choose(&which)? {
            let snapshot = snapshots.at(&Rev::Commit(chosen.id))?;
            for (path, error) in &snapshot.definitions.broken {
                out.warn_of(format!("{path} of {} is left out:", chosen.names.join(", ")), error);
            }
            let targets = Targets::of(project, &snapshot.definitions);
            match targets.select(&self.targets, &self.reach(), true) {
                Ok(selected) => scope.add(&snapshot.definitions, &selected, snapshot.locks()?, &project.cwd),
                Err(e) if e.kind == Kind::Missing => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub fn options(&self, run_cache: bool) -> Options {
        Options { remote: self.remote.clone(), jobs: self.jobs, run_cache, again: false }
    }
}

/// `3 requests, 104.9 MB sent`, with `-v`.
pub fn tell_cost(remote: &str, spent: &TransferCost, out: &Output) {
    if out.verbose > 0 {
        let (requests, sent, received) = (spent.requests, spent.sent, spent.received);
        let moved = [(sent, "sent"), (received, "received")].map(|(n, how)| match n {
            0 => String::new(),
            n => format!(", {} {how}", text::bytes(n)),
        });
        out.say(format!("{remote}: {}{}", text::count(requests as usize, "request"), moved.concat()));
    }
}

pub fn list(all: &[Wanted]) -> Json {
    all.iter().map(|w| json!({"path": w.name, "id": w.pin.id.hex(), "size": w.pin.size})).collect::<Vec<_>>().into()
}

pub fn cost(spent: &TransferCost) -> Json {
    json!({"requests": spent.requests, "sent": spent.sent, "received": spent.received})
}

/// A line for each, as many as one reads; then how many more.
pub fn tell_each(verb: &str, all: &[Wanted], out: &Output) {
    const SHOWN: usize = 20;
    let shown = if out.verbose > 0 || all.len() <= SHOWN { all.len() } else { SHOWN - 1 };
    for wanted in &all[..shown] {
        out.say(format!("{verb} {} ({})", wanted.name, text::bytes(wanted.pin.size)));
    }
    if shown < all.len() {
        out.say(format!("{verb} {} more", all.len() - shown));
    }
}

/// Outputs and data that are pinned and were found neither here nor at the remote.
pub fn nowhere(all: &[Wanted], scope: &Scope) -> Error {
    let names: Vec<&str> = all.iter().take(10).map(|w| w.name.as_str()).collect();
    let more = if all.len() > names.len() { format!(" and {} more", all.len() - names.len()) } else { String::new() };
    let message = format!("{} neither here nor at the remote: {}{more}", count(all, scope), names.join(", "));
    if all.iter().all(|w| scope.is_data(&w.name)) {
        return Error::missing(message).hint(PUSH_THERE);
    }
    Error::missing(message).hint("make them again: lockstep repro").hint("or push them from where they are")
}

/// What helps with data that is not here: no stage makes it.
const PUSH_THERE: &str = "push it from where it is: lockstep push";

/// `2 outputs`, `1 data path`, or both at once.
fn count(all: &[Wanted], scope: &Scope) -> String {
    let data = all.iter().filter(|w| scope.is_data(&w.name)).count();
    match all.len() - data {
        0 if data > 0 => text::count(data, "data path"),
        _ if data > 0 => text::count(all.len(), "output or data path"),
        outs => text::count(outs, "output"),
    }
}

/// Several failures: all are told, and the one with the lowest exit code comes back, to end the command.
pub fn worst(mut errors: Vec<Error>, out: &Output) -> Option<Error> {
    let at = (0..errors.len()).min_by_key(|at| errors[*at].kind.exit_code())?;
    let worst = errors.remove(at);
    errors.iter().for_each(|error| out.error(error));
    Some(worst)
}

/// `status -c`: exit 1 with `-q` where anything differs.
pub fn compare(what: &What, as_json: bool, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, false);
    let scope = what.gather(project, out, &progress)?;
    let compared = scope.compare(project, &what.options(false));
    progress.finish();
    let compared = compared?;
    // Of what is not here a place that is no remote says nothing.
    let is_asked = |at: &&RemoteResult<RemoteComparison>| !at.done.nowhere.is_empty();
    if let Some(error) = compared.iter().filter(is_asked).find_map(|at| at.done.unmarked.clone()) {
        return Err(error);
    }
    if as_json {
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
        if !as_json && !out.quiet {
            for (all, how, next) in sorts.iter().filter(|(all, ..)| !all.is_empty()) {
                let bytes = text::bytes(all.iter().map(|w| w.pin.size).sum());
                out.line(format!("{}: {} {how}, {bytes}: {next}", at.remote, count(all, &scope)));
                all.iter().for_each(|w| out.line(format!("  {} ({})", w.name, text::bytes(w.pin.size))));
            }
            if at.done.unmarked.is_some() {
                out.say(format!("nothing was pushed to {} ({}) yet", at.remote, at.url));
            } else if sorts.iter().all(|(all, ..)| all.is_empty()) && scope.unpinned.is_empty() {
                out.say(format!("{} has everything, and so has this clone", at.remote));
            }
        }
        tell_cost(&at.remote, &at.spent, out);
    }
    if let Some(error) = worst(what.unpinned(&scope, project, out)?, out) {
        return Err(error);
    }
    Ok(u8::from(out.quiet && !same))
}
