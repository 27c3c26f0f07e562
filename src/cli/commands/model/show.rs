use serde_json::{Map, json};

use super::context::{self, ModelContext};
use crate::cli::output::{Output, Style};
use crate::cli::table::shown;
use crate::cli::text;
use crate::error::Result;
use crate::git::Repo;
use crate::model::registry::Event;
use crate::model::registry::gate;
use crate::model::registry::note::NotedCheck;
use crate::model::trace::Trace;
use crate::project::Project;
use crate::store::Pin;
use crate::tag::Version;
use crate::value::Value;

/// Show a version: its commit, stage, command, inputs, params, metrics, run and labels
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model show digits           the latest version
  lockstep model show digits@v1.2.0
  lockstep model show 'digits#prod'    the version that has a label
  lockstep model show digits --json    for programs")]
pub struct Args {
    /// NAME, NAME@VERSION or NAME#LABEL
    version: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let context = ModelContext::open(project, out)?;
    let trace = Trace::load(project, &context.registry, &context.asked(&args.version)?)?;
    if args.json {
        out.values(&shape(&trace, &project.repo));
    } else {
        print(&trace, &project.repo, out);
    }
    for remark in &trace.remarks {
        out.warn(remark);
    }
    Ok(u8::from(!trace.agrees()))
}

/// The metrics of a version: those in its tag, else those of its commit.
fn metrics(trace: &Trace<'_, '_>) -> Vec<(String, Vec<(String, crate::value::Value)>)> {
    if let Some(note) = trace.event.note.as_ref().filter(|note| !note.metrics.is_empty()) {
        return note
            .metrics
            .iter()
            .map(|(file, values)| (file.clone(), values.clone().into_iter().collect()))
            .collect();
    }
    let (Some(snapshot), Some(artifact)) = (&trace.snapshot, &trace.artifact) else { return Vec::new() };
    let found = gate::metrics(snapshot, artifact.file).files.into_iter();
    found.map(|(file, values)| (file.to_string(), values)).collect()
}

fn noted_checks<'t>(trace: &'t Trace<'_, '_>) -> &'t [NotedCheck] {
    trace.event.note.as_ref().map(|note| note.checks.as_slice()).unwrap_or_default()
}

fn print(trace: &Trace<'_, '_>, repo: &Repo, out: &Output) {
    let section = |name: &str| out.line(out.paint_out(Style::Dim, name));
    let field = |name: &str, value: String| {
        out.line(format!("{}  {}", out.paint_out(Style::Dim, &format!("{name:10}")), value));
    };
    let version = trace.version.map_or_else(|| trace.event.commit.short(), Version::to_string);
    let mut title = format!("{} {version}", trace.model.name);
    if trace.withdrawn.is_some() || trace.model.deprecated.is_some() {
        title.push_str(" (deprecated)");
    }
    out.line(out.paint_out(Style::Bold, &title));
    if let Some(desc) = trace.artifact.as_ref().and_then(|a| a.desc.as_ref()) {
        field("about", desc.clone());
    }
    let about = trace.about.as_ref().map(|about| format!(" {}", text::cut(&about.subject, 60))).unwrap_or_default();
    field("commit", format!("{}{about}", trace.event.commit.short()));
    if let Some(origin) = &trace.origin {
        field("file", format!("{}, {}", origin.path, sized(&origin.pin)));
        field("blake3", origin.pin.id.hex());
    } else if let Some(noted) = trace.noted_file() {
        field("file", format!("{}, as its tag says", noted.path));
        field("blake3", noted.blake3.clone());
    }
    let signed = |event: &Event| {
        if let Some(words) = context::signature_words(&event.signature(repo)) {
            field("signature", words);
        }
    };
    field("registered", said(trace.event));
    signed(trace.event);
    if let Some(note) = trace.event.note.as_ref().filter(|note| !note.forced.is_empty()) {
        field("overruled", note.forced.join("; "));
    }
    if let Some(event) = trace.withdrawn {
        field("taken back", said(event));
        signed(event);
    }
    for (label, event) in &trace.labels {
        field("label", format!("{label}, {}", said(event)));
        signed(event);
    }
    if let Some((address, entry)) = trace.maker() {
        field("stage", address);
        let mut name = "command";
        for line in entry.cmd.items().iter().flat_map(|item| item.lines()) {
            field(name, line.to_string());
            name = "";
        }
    }
    if let Some(run) = trace.run() {
        field("run", format!("{}, {} on {}", run.start, text::seconds(run.seconds.clamp(0.0, 1e9)), run.host));
        let by = if run.user == "unknown" { String::new() } else { format!("by {}, ", run.user) };
        let programs = run.programs.iter().map(|(name, version)| format!(", {name} {version}"));
        field("", format!("{by}{}, lockstep {}{}", run.platform, run.lockstep, programs.collect::<String>()));
    }
    upstream(trace, &field);
    if let Some(origin) = trace.origin.as_ref().filter(|origin| !origin.inputs.is_empty()) {
        section("inputs");
        let width = origin.inputs.iter().map(|i| i.path.chars().count()).max().unwrap_or(0).min(40);
        for input in &origin.inputs {
            let path = &input.path;
            out.line(format!("  {path:width$}  {}  {}", &input.pin.id.hex()[..12], sized(&input.pin)));
        }
    }
    let params = trace.params();
    let params = params.iter().map(|(f, vs)| (f.as_str(), vs.iter().map(|(k, v)| (k.as_str(), shown(v))).collect()));
    pairs("params", params.collect(), out);
    let numbers = metrics(trace);
    let numbers = numbers.iter().map(|(f, vs)| (f.as_str(), vs.iter().map(|(k, v)| (k.as_str(), shown(v))).collect()));
    pairs("metrics", numbers.collect(), out);
    let checks = noted_checks(trace);
    if !checks.is_empty() {
        section("checks when it was registered");
        for check in checks {
            let value = check.value.as_ref().map(|v| format!(", was {}", shown(v))).unwrap_or_default();
            let word = if check.ok { "held" } else { "did not hold" };
            out.line(format!("  {}: {word}{value}", check.check));
        }
    }
}

/// The other stages that were run for it, with their times.
fn upstream(trace: &Trace<'_, '_>, field: &dyn Fn(&str, String)) {
    let runs = trace.event.note.as_ref().map(|note| &note.runs);
    let mut name = "upstream";
    for (address, _) in trace.chain().into_iter().skip(1) {
        let run = runs.and_then(|runs| runs.get(&address));
        let took = run.map(|r| format!(", {}, {}", r.start, text::seconds(r.seconds.clamp(0.0, 1e9))));
        field(name, format!("{address}{}", took.unwrap_or_default()));
        name = "";
    }
}

/// Keys and values by file, aligned.
fn pairs(name: &str, files: Vec<(&str, Vec<(&str, String)>)>, out: &Output) {
    if files.is_empty() {
        return;
    }
    out.line(out.paint_out(Style::Dim, name));
    let all = || files.iter().flat_map(|(file, values)| values.iter().map(move |(key, value)| (*file, *key, value)));
    let wide = |length: usize| length.min(40);
    let first = wide(all().map(|(file, ..)| file.chars().count()).max().unwrap_or(0));
    let second = wide(all().map(|(_, key, _)| key.chars().count()).max().unwrap_or(0));
    for (file, key, value) in all() {
        out.line(format!("  {file:first$}  {key:second$}  {value}"));
    }
}

fn said(event: &Event) -> String {
    let day = event.time.map_or_else(|| "at some time".to_string(), text::day);
    let by = event.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let words = event.words.lines().next().filter(|line| !line.is_empty() && !line.contains(" blake3 "));
    format!("{day}{by}{}", words.map(|line| format!(": {line}")).unwrap_or_default())
}

fn sized(pin: &Pin) -> String {
    match pin.files {
        Some(files) => format!("{} in {}", text::bytes(pin.size), text::count(files as usize, "file")),
        None => text::bytes(pin.size),
    }
}

fn shape(trace: &Trace<'_, '_>, repo: &Repo) -> Value {
    let event = trace.event;
    let verified = |event: &Event| context::verified(event, &event.signature(repo));
    let mut shape = verified(event);
    shape["name"] = trace.model.name.to_string().into();
    shape["version"] = json!(trace.version.map(Version::to_string));
    shape["deprecated"] = (trace.withdrawn.is_some() || trace.model.deprecated.is_some()).into();
    shape["message"] = json!(event.words);
    shape["commit_subject"] = json!(trace.about.as_ref().map(|about| &about.subject));
    shape["path"] = json!(trace.origin.as_ref().map(|origin| origin.path.to_string()));
    shape["pin"] = json!(trace.pin().as_ref().map(context::pin));
    shape["labels"] =
        trace.labels.iter().map(|(label, event)| (label.to_string(), verified(event))).collect::<Map<_, _>>().into();
    let stage = trace
        .maker()
        .map(|(address, entry)| json!({"address": address, "key": entry.key.hex(), "cmd": entry.cmd.items()}));
    shape["stage"] = json!(stage);
    shape["upstream"] = trace.chain().into_iter().skip(1).map(|(address, _)| address).collect::<Vec<_>>().into();
    let input = |input: &crate::model::origin::Input| {
        let mut one = context::pin(&input.pin);
        one["path"] = input.path.clone().into();
        one["data"] = input.data.into();
        one
    };
    let inputs = trace.origin.as_ref().map(|o| o.inputs.iter().map(input).collect::<Vec<_>>());
    shape["inputs"] = inputs.unwrap_or_default().into();
    // Filled below, with values of the user.
    shape["params"] = json!({});
    shape["metrics"] = json!({});
    let note = event.note.as_ref();
    shape["runs"] = json!(note.map(|note| &note.runs));
    shape["checks"] = json!(null);
    shape["forced"] = json!(note.map(|note| note.forced.clone()).unwrap_or_default());
    shape["remarks"] = json!(trace.remarks);
    let mut shape = Value::from(shape);
    let params = trace.params().into_iter().map(|(file, values)| (file, Value::Map(values.into_iter().collect())));
    shape.set(&["params"], Value::Map(params.collect()));
    let metrics = metrics(trace).into_iter().map(|(file, values)| (file, Value::Map(values)));
    shape.set(&["metrics"], Value::Map(metrics.collect()));
    if let Some(note) = note {
        shape.set(&["checks"], Value::List(note.checks.iter().map(NotedCheck::shape).collect()));
    }
    shape
}
