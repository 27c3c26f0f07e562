//! `deploy log`: the record of targets.

use serde_json::{Value as Json, json};

use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::deploy::journal::Journal;
use crate::deploy::record::{self, Finding, PushResult, Record, RecordedEvent};
use crate::deploy::{self, Event, Request, target};
use crate::error::{Error, Kind, Result};
use crate::pipeline::deploy::Requirement;
use crate::pipeline::problem::did_you_mean;
use crate::project::{Project, Rev};
use crate::store::RootFolder;
use crate::url::Url;

/// Show the deployments to targets: what, when, and who
///
/// The record of a target is a chain of commits at refs/lockstep/deployments/TARGET. A plain clone does not have it:
/// --fetch gets it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep deploy log                  all targets, the newest first
  lockstep deploy log prod -n 5
  lockstep deploy log --fetch          in a fresh clone
  lockstep deploy log prod --push      sends what the remote lacks
  lockstep deploy log prod --verify    compares it with the journal of this host, and verifies signatures

Exit codes: 0; 1 --verify found something; 4 the remote failed, or its record was rewritten.")]
pub struct Args {
    /// The name under `deploy` in pipeline.yaml [default: all]
    target: Option<String>,
    /// Show the newest N events
    #[arg(short, value_name = "N")]
    number: Option<usize>,
    /// First fetch the records from the remote
    #[arg(long)]
    fetch: bool,
    /// Send the events that the remote lacks
    #[arg(long, alias = "send")]
    push: bool,
    /// Compare the record with the journal of this host
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The record of one target, as shown.
struct TargetLog {
    target: String,
    events: Vec<RecordedEvent>,
    findings: Vec<Finding>,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let remote = if args.fetch || args.push { Some(project.repo.tag_remote()?) } else { None };
    let names = targets(args, project, remote.as_ref().filter(|_| args.fetch))?;
    let mut logs = Vec::new();
    for name in names {
        let record = Record::of(&project.repo, &name);
        if let Some(remote) = &remote {
            exchange(args, project, &record, remote, out)?;
        }
        // All of them: a finding may be anywhere.
        let most = if args.verify { usize::MAX } else { args.number.unwrap_or(usize::MAX) };
        let mut events = record.read(most)?;
        let findings = if args.verify { verify(project, &name, &events)? } else { Vec::new() };
        events.truncate(args.number.unwrap_or(usize::MAX));
        logs.push(TargetLog { target: name, events, findings });
    }
    if logs.iter().all(|log| log.events.is_empty()) && !args.json {
        out.status("no deployment is recorded in this clone");
        out.hint("lockstep deploy log --fetch — gets the records from the remote");
    }
    match args.json {
        true => out.json(&Json::from(logs.iter().map(shape).collect::<Vec<_>>())),
        false => logs.iter().for_each(|log| print(log, out)),
    }
    match logs.iter().map(|log| log.findings.len()).sum::<usize>() {
        0 => Ok(0),
        _ if args.json => Ok(Kind::Check.exit_code()),
        n => Err(Error::new(Kind::Check, format!("{n} findings in the records; see above")).hint(
            "find out who can push to refs/lockstep/deployments/, and what runs on the host: lockstep deploy status",
        )),
    }
}

fn targets(args: &Args, project: &Project, remote: Option<&Url>) -> Result<Vec<String>> {
    let mut names = Record::targets(&project.repo)?;
    if let Some(remote) = remote {
        names.extend(Record::targets_at(&project.repo, remote)?);
    }
    let now = project.at(&Rev::Worktree)?;
    let declared: Vec<String> = target::declared(&now)?.into_iter().map(|(_, entry)| entry.name.clone()).collect();
    match &args.target {
        None if !args.push => {}
        None => names.extend(declared),
        Some(name) if names.contains(name) || declared.contains(name) => return Ok(vec![name.clone()]),
        Some(name) => {
            let known = names.iter().chain(&declared).map(String::as_str);
            let error = Error::missing(format!("there is no target {name}, and no record of one"));
            return Err(did_you_mean(name, known).into_iter().fold(error, Error::hint));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Fetches, and with --push sends: also the events that only the journal has.
fn exchange(args: &Args, project: &Project, record: &Record<'_>, remote: &Url, out: &Output) -> Result<()> {
    if args.fetch {
        record.fetch(remote)?;
    }
    if args.push {
        if let Some((events, _)) = journal(project, record.target())? {
            record.add(&events)?;
        }
        let target = record.target();
        match record.push(remote)? {
            PushResult::Pushed(n) => out.status(format!("{target}: {n} pushed to {remote}")),
            PushResult::UpToDate => out.status(format!("{target}: {remote} has all of it")),
        }
    }
    Ok(())
}

/// The events of the journal of a target and its folder; `None` if this clone does not deploy there.
fn journal(project: &Project, name: &str) -> Result<Option<(Vec<Event>, String)>> {
    let now = project.at(&Rev::Worktree)?;
    if !target::declared(&now)?.iter().any(|(_, entry)| entry.name == name) {
        return Ok(None);
    }
    let request = Request { what: name.into(), ..Request::default() };
    // A clone without the setting that names the folder deploys nothing.
    let Ok(target) = target::find(project, &now, &request) else { return Ok(None) };
    let place = target.to.place();
    let folder = target.to.folder;
    if !folder.is_dir() {
        return Ok(None);
    }
    let journal = Journal::read(&RootFolder::new(folder.clone()))?;
    Ok(Some((journal.events().cloned().collect(), place)))
}

fn verify(project: &Project, name: &str, events: &[RecordedEvent]) -> Result<Vec<Finding>> {
    let journal = journal(project, name)?;
    let host = deploy::host();
    let journal = journal.as_ref().map(|(events, to)| record::Journal { events, host: &host, to });
    let now = project.at(&Rev::Worktree)?;
    let mut declared = target::declared(&now)?.into_iter();
    let entry = declared.find(|(_, entry)| entry.name == name);
    let require_signed = project.around.requires_signed()
        || entry.is_some_and(|(_, entry)| entry.require.contains(&Requirement::Signed));
    let signature = |recorded: &RecordedEvent| project.repo.verify_commit(recorded.id).state;
    Ok(record::find_differences(events, name, journal.as_ref(), true, require_signed, &signature))
}

fn print(log: &TargetLog, out: &Output) {
    if !log.events.is_empty() {
        let mut table = Table::new(["when", "target", "what", "version", "result", "host", "by", "record", "why"]);
        for recorded in &log.events {
            table.row(cells(log, recorded));
        }
        table.print(false, out);
    }
    for finding in &log.findings {
        let of = finding.commit.as_ref().map(|id| format!(" {}", &id[..7])).unwrap_or_default();
        out.warn(format!("{}{of}: {}", log.target, finding.what));
    }
}

fn cells(log: &TargetLog, recorded: &RecordedEvent) -> [String; 9] {
    let none = || "-".to_string();
    let target = log.target.clone();
    match &recorded.event {
        None => [
            none(),
            target,
            "not readable".into(),
            none(),
            none(),
            none(),
            recorded.author.clone(),
            recorded.id.short(),
            none(),
        ],
        Some(event) => [
            event.time.clone(),
            target,
            event.event.word().into(),
            event.version.clone().unwrap_or_else(none),
            event.result.word().into(),
            event.host.clone(),
            event.actor.clone(),
            recorded.id.short(),
            event.why.as_deref().and_then(|why| why.lines().next()).unwrap_or("-").to_string(),
        ],
    }
}

fn shape(log: &TargetLog) -> Json {
    let events = log
        .events
        .iter()
        .map(|recorded| json!({"record": recorded.id.hex(), "author": recorded.author, "event": recorded.event}));
    let findings = log.findings.iter().map(|finding| json!({"record": finding.commit, "what": finding.what}));
    json!({
        "target": log.target,
        "events": events.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}
