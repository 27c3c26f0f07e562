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

/// Check that everything in the store is still what was put there
///
/// Names and sizes, packs, results of runs, and everything that any commit pins are looked at; --read-data reads the
/// bytes as well. What is damaged is told with the stages and commits that it hurts. Nothing is touched without --repair,
/// which puts what is damaged into quarantine and takes it again from the workspace or a remote. What is not here, and
/// can be fetched, is no damage.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep verify                       the structure: seconds
  lockstep verify --read-data           every byte
  lockstep verify --read-data=1/7       a seventh: 1/7 on Mondays, 2/7 on Tuesdays, …
  lockstep verify --repair              take again what is damaged
  lockstep verify --remote --read-data  the same of what was pushed

Exit codes: 0 fine, or repaired; 1 something is damaged; 3 there is nothing to verify; 4 the remote failed")]
pub struct Args {
    /// Read objects: all, a share (1/7), by chance so many (10%) or so much (5GiB)
    #[arg(long, value_name = "PART", num_args = 0..=1, require_equals = true)]
    read_data: Option<Option<ReadSubset>>,
    /// What chance goes by, to read the same again [default: the time]
    #[arg(long, value_name = "N", requires = "read_data")]
    seed: Option<u64>,
    /// Look at a remote instead of the store [default: the one that counts]
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    remote: Option<Option<String>>,
    /// Put what is damaged into quarantine, and take it again from where it can be had; at a remote: put it again
    #[arg(long)]
    repair: bool,
    /// As JSON
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
        tell(&report, &options, out);
    }
    for error in report.pins.unreadable.iter().chain(&report.unasked) {
        out.warn(&error.message);
    }
    Ok(u8::from(!report.is_clean()))
}

fn tell(report: &VerifyReport, options: &VerifyOptions, out: &Output) {
    for finding in &report.findings {
        tell_finding(finding, report, out);
    }
    let files = files(report);
    let left = report.findings.iter().filter(|finding| !finding.is_repaired()).count();
    let repaired = report.findings.len() - left;
    out.say(match (left, repaired) {
        (0, 0) => format!("{files}: nothing is damaged"),
        (0, _) => format!("{files}: repaired"),
        (_, 0) => format!("{files}: {left} damaged"),
        _ => format!("{files}: {repaired} repaired, {left} left"),
    });
    let (count, bytes) = report.read;
    let thing = if report.remote.is_some() { "file" } else { "object" };
    match (options.part, report.seed) {
        (Some(_), Some(seed)) => out.say(format!(
            "read {} ({}), picked by chance; the same again: --seed {seed}",
            text::count(count, thing),
            text::bytes(bytes)
        )),
        (Some(_), None) => out.say(format!("read {} ({})", text::count(count, thing), text::bytes(bytes))),
        (None, _) if count > 0 && out.verbose > 0 => {
            out.say(format!("read {} that changed since they were verified", text::count(count, "object")));
        }
        (None, _) => {}
    }
    if report.newer > 0 {
        out.say(format!("{} of a later lockstep passed over", text::count(report.newer, "file")));
    }
    if report.dropped > 0 {
        out.say(format!("{} that led to what is lost dropped", text::count(report.dropped, "result")));
    }
    if !report.missing.is_empty() {
        let pins: BTreeSet<_> =
            report.missing.iter().map(|at| report.pins.paths[*at].pinned.pin).map(|p| (p.id, p.size)).collect();
        let bytes = text::bytes(pins.iter().map(|(_, size)| size).sum());
        out.say(format!("{} not here, which is no damage ({bytes})", text::count(pins.len(), "output")));
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

/// What to type next.
fn hints(report: &VerifyReport, options: &VerifyOptions, out: &Output) {
    let left: Vec<&Finding> = report.findings.iter().filter(|finding| !finding.is_repaired()).collect();
    if left.is_empty() {
        return;
    }
    if let Some(name) = &report.remote {
        match options.repair {
            // That it may only be read was said.
            true if left.iter().all(|finding| finding.outcome == Some(RepairResult::Unrepairable)) => {}
            false => out.hint(format!("put it again from here: lockstep verify --remote {name} --repair")),
            true => out.hint(format!("from a clone that has it: lockstep push --again -a -T -r {name}")),
        }
        return;
    }
    if !options.repair {
        out.hint("take it again from the workspace or a remote: lockstep verify --repair");
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
        out.hint(format!("bring back what no stage makes ({}), then: lockstep commit", few(&names)));
    }
    if let Some((claimed, commit)) = elsewhere.iter().find_map(|claimed| Some((claimed, everybody.commit(claimed)?))) {
        out.hint(format!(
            "{} as another commit has it: git switch --detach {commit}, then lockstep repro {}",
            claimed.pinned.path,
            shell::word(&claimed.pinned.stage)
        ));
    }
}

/// So many states and outputs are told by name.
const SHOWN: usize = 5;

fn tell_finding(finding: &Finding, report: &VerifyReport, out: &Output) {
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
        out.line(format!("  hurts {}{of}: {}", claim.path, few(&names)));
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
        RepairResult::Quarantined if finding.affected.is_empty() => "put aside: nobody misses it".into(),
        RepairResult::Quarantined => "put aside, with the results that led to it".into(),
        RepairResult::Restored(_) if of_remote => "repaired: put again from here".into(),
        RepairResult::Restored(sources) => {
            let names: Vec<String> = sources.iter().map(source).collect();
            format!("repaired: taken again from {}", names.join(" and "))
        }
        RepairResult::Lost if of_remote => "left: not all of it is here".into(),
        RepairResult::Lost => "lost: neither the workspace nor a remote has it".into(),
        RepairResult::Unrepairable if of_remote => "left: the remote may only be read".into(),
        RepairResult::Unrepairable => "left as it is: only a person can say what belongs there".into(),
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
