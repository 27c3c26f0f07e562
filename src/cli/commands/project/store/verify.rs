use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::retention::verify::{
    Finding, PinnedBy, ReadSubset, RepairResult, RepairSource, VerifyOptions, VerifyReport, verify, verify_remote,
};
use crate::shell;

/// Verify the content of the store or of a remote
///
/// Checks names and sizes, packs, results of runs, and everything that any commit pins; --read-data also reads the bytes.
/// Lists damaged objects with the stages and commits that need them. Changes nothing without --repair, which moves
/// damaged objects to quarantine and restores them from the workspace or a remote. Objects that are missing here but at a
/// remote are not damaged.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep store verify                       the structure: seconds
  lockstep store verify --read-data           every byte
  lockstep store verify --read-data=1/7       a seventh: 1/7 on Mondays, 2/7 on Tuesdays, …
  lockstep store verify --repair              restore damaged objects
  lockstep store verify --remote --read-data  the same for the remote

Exit codes: 0 fine, or repaired; 1 something is damaged; 3 there is nothing to verify; 4 the remote failed")]
pub struct Args {
    /// Read objects: all, a share (1/7), or a random part (10%, 5GiB)
    #[arg(long, value_name = "PART", num_args = 0..=1, require_equals = true)]
    read_data: Option<Option<ReadSubset>>,
    /// The seed of the random part, to read the same part again [default: the time]
    #[arg(long, value_name = "N", requires = "read_data")]
    seed: Option<u64>,
    /// Verify a remote instead of the store [default: core.remote]
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    remote: Option<Option<String>>,
    /// Quarantine damaged objects, and restore them from the workspace or a remote; at a remote, upload them again
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let options = VerifyOptions {
        part: args.read_data.map(|part| part.unwrap_or(ReadSubset::All)),
        seed: args.seed,
        repair: args.repair,
    };
    let progress = Progress::new(out, false);
    let report = match &args.remote {
        Some(name) => verify_remote(project, name.as_deref(), &options, &progress),
        None => verify(project, &options, &progress),
    };
    progress.finish();
    let report = report?;
    if args.json {
        out.json(&as_json(&report));
    } else {
        print_report(&report, &options, out);
    }
    for error in report.pins.unreadable.iter().chain(&report.unasked) {
        out.warn(&error.message);
    }
    Ok(u8::from(!report.is_clean()))
}

fn print_report(report: &VerifyReport, options: &VerifyOptions, out: &Output) {
    for finding in &report.findings {
        print_finding(finding, report, out);
    }
    let files = files(report);
    let left = report.findings.iter().filter(|finding| !finding.is_repaired()).count();
    let repaired = report.findings.len() - left;
    out.status(match (left, repaired) {
        (0, 0) => format!("{files}: nothing is damaged"),
        (0, _) => format!("{files}: repaired"),
        (_, 0) => format!("{files}: {left} damaged"),
        _ => format!("{files}: {repaired} repaired, {left} left"),
    });
    let (count, bytes) = report.read;
    let thing = if report.remote.is_some() { "file" } else { "object" };
    match (options.part, report.seed) {
        (Some(_), Some(seed)) => out.status(format!(
            "read {} ({}), picked at random; to read the same ones again: --seed {seed}",
            text::count(count, thing),
            text::bytes(bytes)
        )),
        (Some(_), None) => out.status(format!("read {} ({})", text::count(count, thing), text::bytes(bytes))),
        (None, _) if count > 0 && out.verbose > 0 => {
            out.status(format!("read {} that changed since they were verified", text::count(count, "object")));
        }
        (None, _) => {}
    }
    if report.newer > 0 {
        out.status(format!("skipped {} that a newer lockstep wrote", text::count(report.newer, "file")));
    }
    if report.dropped > 0 {
        out.status(format!("removed {} from the run cache: an output is lost", text::count(report.dropped, "result")));
    }
    if !report.missing.is_empty() {
        let pins: BTreeSet<_> =
            report.missing.iter().map(|at| report.pins.paths[*at].pinned.pin).map(|p| (p.id, p.size)).collect();
        let bytes = text::bytes(pins.iter().map(|(_, size)| size).sum());
        out.status(format!("{} not here, which is not damage ({bytes})", text::count(pins.len(), "output")));
    }
    hints(report, options, out);
}

fn files(report: &VerifyReport) -> String {
    let (bytes, runs) = (text::bytes(report.bytes), text::count(report.runs, "result"));
    let packs = text::count(report.packs, "pack");
    match &report.remote {
        Some(name) => format!("{name}: {packs}, {}, {runs} ({bytes})", text::count(report.objects, "large object")),
        None => format!("{} ({bytes}), {packs}, {runs}", text::count(report.objects, "object")),
    }
}

/// Prints the next command to type.
fn hints(report: &VerifyReport, options: &VerifyOptions, out: &Output) {
    let left: Vec<&Finding> = report.findings.iter().filter(|finding| !finding.is_repaired()).collect();
    if left.is_empty() {
        return;
    }
    if let Some(name) = &report.remote {
        match options.repair {
            // The report has said already that the remote is read-only.
            true if left.iter().all(|finding| finding.outcome == Some(RepairResult::Unrepairable)) => {}
            false => out.hint(format!("upload it again from here: lockstep store verify --remote {name} --repair")),
            true => out.hint(format!("from a clone that has it: lockstep push --again -a -T -r {name}")),
        }
        return;
    }
    if !options.repair {
        out.hint("restore it from the workspace or a remote: lockstep store verify --repair");
        return;
    }
    let hurt: BTreeSet<usize> = left.iter().flat_map(|finding| finding.affected.iter().copied()).collect();
    let everybody = &report.pins;
    let hurt = hurt.iter().map(|at| &everybody.paths[*at]);
    let (here, elsewhere): (Vec<&PinnedBy>, Vec<&PinnedBy>) =
        hurt.partition(|claimed| everybody.is_in_workspace(claimed));
    let (data, made): (Vec<&PinnedBy>, Vec<&PinnedBy>) =
        here.into_iter().partition(|c| c.pinned.stage == c.pinned.path);
    let stages: BTreeSet<&str> = made.iter().map(|claimed| claimed.pinned.stage.as_str()).collect();
    if !stages.is_empty() {
        out.hint(format!("make it again: lockstep repro {}", shell::words(stages)));
    }
    if !data.is_empty() {
        let names: BTreeSet<&str> = data.iter().map(|claimed| claimed.pinned.path.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        out.hint(format!("restore data that no stage makes ({}), then: lockstep commit", few(&names)));
    }
    if let Some((claimed, commit)) = elsewhere.iter().find_map(|claimed| Some((claimed, everybody.commit(claimed)?))) {
        out.hint(format!(
            "{} as another commit has it: git switch --detach {commit}, then lockstep repro {}",
            claimed.pinned.path,
            shell::word(&claimed.pinned.stage)
        ));
    }
}

/// The number of states and outputs that are printed by name.
const SHOWN: usize = 5;

fn print_finding(finding: &Finding, report: &VerifyReport, out: &Output) {
    let mark = if finding.is_repaired() { Style::Green } else { Style::Red };
    let place = match finding.id {
        Some(id) if finding.place == "nowhere" => format!("object {id}"),
        _ => finding.place.clone(),
    };
    out.line(format!("{}: {}", out.paint_out(mark, &place), finding.problem));
    for at in finding.affected.iter().take(SHOWN) {
        let claimed = &report.pins.paths[*at];
        let claim = &claimed.pinned;
        let of = if claim.stage == claim.path { String::new() } else { format!(" of {}", claim.stage) };
        let names: Vec<&str> = report.pins.names(claimed).collect();
        out.line(format!("  needed by {}{of}: {}", claim.path, few(&names)));
    }
    if finding.affected.len() > SHOWN {
        out.line(format!("  and {}", text::count(finding.affected.len() - SHOWN, "more output")));
    }
    if let Some(cure) = &finding.outcome {
        out.line(format!("  {}", words(cure, finding, report.remote.is_some())));
    }
}

fn few(names: &[&str]) -> String {
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn words(cure: &RepairResult, finding: &Finding, of_remote: bool) -> String {
    match cure {
        RepairResult::Quarantined if finding.affected.is_empty() => "moved to quarantine: no commit needs it".into(),
        RepairResult::Quarantined => "moved to quarantine, with the results that need it".into(),
        RepairResult::Restored(_) if of_remote => "repaired: uploaded again from here".into(),
        RepairResult::Restored(sources) => {
            let names: Vec<String> = sources.iter().map(source).collect();
            format!("repaired: restored from {}", names.join(" and "))
        }
        RepairResult::Lost if of_remote => "left: not all of it is here".into(),
        RepairResult::Lost => "lost: neither the workspace nor a remote has it".into(),
        RepairResult::Unrepairable if of_remote => "left: the remote is read-only".into(),
        RepairResult::Unrepairable => "left: repair it by hand".into(),
    }
}

fn source(source: &RepairSource) -> String {
    match source {
        RepairSource::Pack => "what is whole of the pack".into(),
        RepairSource::Workspace => "the workspace".into(),
        RepairSource::Remote(name) => name.clone(),
        RepairSource::Store => "the store".into(),
    }
}

fn as_json(report: &VerifyReport) -> Json {
    let claimed = |at: &usize| -> Json {
        let claimed = &report.pins.paths[*at];
        let states: Vec<&str> = report.pins.names(claimed).collect();
        json!({"stage": claimed.pinned.stage, "path": claimed.pinned.path, "states": states})
    };
    let finding = |finding: &Finding| -> Json {
        let from = match &finding.outcome {
            Some(RepairResult::Restored(sources)) => sources.iter().map(name_of).collect(),
            _ => Vec::new(),
        };
        json!({
            "id": finding.id.map(|id| id.hex()),
            "where": finding.place,
            "problem": finding.problem,
            "hurts": finding.affected.iter().map(claimed).collect::<Vec<_>>(),
            "repaired": finding.outcome.as_ref().map(|_| finding.is_repaired()),
            "from": from,
        })
    };
    let missing = |at: &usize| -> Json {
        let claim = &report.pins.paths[*at].pinned;
        let mut one = claimed(at);
        one["id"] = claim.pin.id.hex().into();
        one["size"] = claim.pin.size.into();
        one
    };
    json!({
        "remote": report.remote,
        "objects": report.objects,
        "packs": report.packs,
        "runs": report.runs,
        "bytes": report.bytes,
        "read": report.read.1,
        "read_objects": report.read.0,
        "seed": report.seed,
        "damaged": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "missing": report.missing.iter().map(missing).collect::<Vec<_>>(),
        "newer": report.newer,
        "dropped": report.dropped,
        "unreadable": messages(&report.pins.unreadable),
        "failed": messages(&report.unasked),
    })
}

fn messages(errors: &[Error]) -> Vec<&str> {
    errors.iter().map(|error| error.message.as_str()).collect()
}

fn name_of(source: &RepairSource) -> String {
    match source {
        RepairSource::Pack => "pack".into(),
        RepairSource::Workspace => "workspace".into(),
        RepairSource::Remote(name) => format!("remote {name}"),
        RepairSource::Store => "store".into(),
    }
}
