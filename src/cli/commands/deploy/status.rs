use serde_json::{Value as Json, json};

use crate::cli::output::{Output, Style};
use crate::cli::table::{Cell, Table};
use crate::deploy::Event;
use crate::deploy::status::{StatusOptions, TargetState, TargetStatus, status};
use crate::error::Result;
use crate::project::Project;

/// Show what runs at each target, and what should
///
/// Contacts nothing and runs nothing: it reads the tags of this clone, the folder of each target, its journal and its
/// record, which `deploy log --fetch` gets. Files
/// of the current release are compared by their stat, or with --read-data byte by byte.
///
/// States: ok, behind (another version is current), held (the same, on purpose), fallen_back (an older promotion counts
/// again, which only a deployment by hand follows), modified (files were changed), moved (`current` is not what was
/// deployed), stale (the server has another version), empty, unreachable.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep deploy status
  lockstep deploy status prod --read-data     reads every byte
  lockstep deploy status --remote             asks the servers, too
  lockstep deploy status --json")]
pub struct Args {
    /// Targets of pipeline.yaml [default: all]
    targets: Vec<String>,
    /// Read all files of the current releases, and compare their hashes
    #[arg(long)]
    read_data: bool,
    /// Ask the URLs under `healthy` which version they serve
    #[arg(long)]
    remote: bool,
    /// Exit with 1 unless all targets are ok
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let options = StatusOptions { reads_data: args.read_data, asks_servers: args.remote };
    let all = status(project, &args.targets, options)?;
    if args.json {
        out.json(&json!({"targets": all.iter().map(shape).collect::<Vec<_>>()}));
    } else {
        print(&all, out);
    }
    let is_fine = all.iter().all(|status| status.state == TargetState::Ok);
    Ok(if args.check && !is_fine { 1 } else { 0 })
}

fn print(all: &[TargetStatus], out: &Output) {
    if all.is_empty() {
        out.status("pipeline.yaml declares no deployment targets");
        return;
    }
    let mut table = Table::new(["target", "state", "current", "since", "wanted", "recorded", "folder"]);
    for status in all {
        let style = match status.state {
            TargetState::Ok => Style::Green,
            TargetState::Behind | TargetState::Held | TargetState::FallenBack | TargetState::Empty => Style::Yellow,
            _ => Style::Red,
        };
        let current = status.current.as_ref();
        let version = current.map(|current| current.version.clone().unwrap_or_else(|| current.release.clone()));
        let cell = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".into()));
        table.row([
            Cell::from(status.target.clone()),
            Cell::painted(status.state.word().into(), Some(style)),
            cell(version),
            cell(current.and_then(|current| current.since.clone())),
            cell(status.wanted.as_ref().map(|wanted| wanted.version.clone())),
            cell(recorded(status)),
            cell(status.to.clone()),
        ]);
    }
    table.print(false, out);
    for status in all {
        if let Some(held) = &status.held {
            out.line(format!("{}: held: {held}", status.target));
        }
        for problem in &status.problems {
            out.line(format!("{}: {problem}", status.target));
        }
    }
}

/// `v1.1.0 on web1, v1.0.0 on web2`
fn recorded(status: &TargetStatus) -> Option<String> {
    let one = |event: &Event| format!("{} on {}", event.version.as_deref().unwrap_or("a path"), event.host);
    let all: Vec<String> = status.recorded.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn shape(status: &TargetStatus) -> Json {
    json!({
        "target": status.target,
        "to": status.to,
        "state": status.state.word(),
        "wanted": status.wanted.as_ref().map(|wanted| json!({
            "name": wanted.name,
            "version": wanted.version,
            "promotion": wanted.promotion,
        })),
        "current": status.current.as_ref().map(|current| json!({
            "name": current.name,
            "version": current.version,
            "blake3": current.blake3.hex(),
            "release": current.release,
            "since": current.since,
        })),
        "serving": status.serving.as_ref().map(|serving| json!({
            "versions": serving.versions,
            "blake3": serving.blake3,
            "error": serving.failure,
        })),
        "recorded": status.recorded.iter().map(|event| json!({
            "name": event.name,
            "version": event.version,
            "blake3": event.blake3.hex(),
            "host": event.host,
            "since": event.time,
        })).collect::<Vec<_>>(),
        "held": status.held,
        "problems": status.problems,
    })
}
