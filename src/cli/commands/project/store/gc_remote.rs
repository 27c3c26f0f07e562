//! `store gc -c`: the garbage of a remote instead of the store's.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cli::ask;
use crate::cli::output::Output;
use crate::cli::{signals, text};
use crate::error::Result;
use crate::project::Project;
use crate::remote::gc::apply::CleanupResult;
use crate::retention::remote::{RemoteGcOptions, RemoteGcPlan, Unneeded, apply, plan};

/// The flags of the command.
pub struct Flags {
    pub dry: bool,
    pub force: bool,
    pub json: bool,
}

pub fn run(options: &RemoteGcOptions, how: &Flags, project: &Project, out: &Output) -> Result<u8> {
    let planned = plan(project, options)?;
    for error in &planned.unreadable {
        out.warn(&error.message);
    }
    let is_empty = planned.planned.is_empty();
    if how.dry || is_empty {
        if how.json {
            out.json(&json!({"plan": as_json(&planned)}));
        } else {
            print_plan(&planned, options.min_age, out);
        }
        if !how.dry && !planned.planned.plan.done.is_empty() {
            apply(project, options, &planned)?;
        }
        return Ok(0);
    }
    if !how.force {
        let (url, name) = (planned.remote.url(), &planned.remote.name);
        print_plan(&planned, options.min_age, out);
        out.status(format!(
            "objects that others pushed to {name} are garbage, too, unless a lock here or of a project that shares the \
             store pins them"
        ));
        ask::typed(&url.to_string(), "the same command with --force", "nothing was marked or removed", out)?;
    }
    let cleaned = signals::watched(project.around.stop, || apply(project, options, &planned))?;
    if how.json {
        out.json(&json!({"plan": as_json(&planned), "done": done(&cleaned)}));
        return Ok(0);
    }
    print_done(&planned, &cleaned, options.min_age, out);
    Ok(0)
}

fn print_plan(planned: &RemoteGcPlan, min_age: Duration, out: &Output) {
    let (plan, name) = (&planned.planned.plan, &planned.remote.name);
    let (gone, marked) = planned.planned.bytes();
    if planned.planned.is_empty() && plan.wait.is_empty() {
        out.line(format!("nothing to remove from {name}"));
    }
    if !plan.remove.is_empty() {
        out.line(format!("would delete from {name} now{}:", of_files(gone)));
        list(&planned.going, plan.remove.runs.len(), out);
    }
    if !plan.mark.is_empty() {
        let age = text::age(min_age);
        out.line(format!("would mark at {name}, to delete after {age}{}:", of_files(marked)));
        list(&planned.marked, plan.mark.runs.len(), out);
    }
    if !planned.planned.rewrite.is_empty() {
        let packs = text::count(planned.planned.rewrite.len(), "pack");
        out.line(format!("would rewrite {packs}"));
    }
    print_rest(planned, min_age, out);
}

/// Objects in files of their own are deleted; those in packs once the pack is mostly unneeded.
fn of_files(bytes: u64) -> String {
    if bytes == 0 { " (in packs that others need, too)".to_string() } else { format!(" ({})", text::bytes(bytes)) }
}

/// Prints the unneeded objects that stay for now.
fn print_rest(planned: &RemoteGcPlan, min_age: Duration, out: &Output) {
    let plan = &planned.planned.plan;
    if !plan.wait.is_empty() {
        let at = plan.until + min_age.as_secs();
        let bytes = text::bytes(plan.wait.bytes(&planned.planned.catalog.all));
        let when = crate::model::registry::tag_write::rfc3339(at as i64);
        out.status(format!("{bytes} at {} are marked, and may be deleted from {when} on", planned.remote.name));
    }
    let young = &planned.planned.young.runs;
    if !young.is_empty() {
        let results = text::count(young.len(), "result");
        out.status(format!("{results} younger than {}, with their outputs: kept", text::age(min_age)));
    }
}

fn list(all: &[Unneeded], results: usize, out: &Output) {
    const SHOWN: usize = 20;
    for one in all.iter().take(SHOWN) {
        let size = text::bytes(one.size);
        out.line(match &one.known {
            Some((claim, commit)) => format!("  {} ({size}) of {commit}", &claim.path),
            None => format!("  an object that no lock here pins ({size})"),
        });
    }
    if all.len() > SHOWN {
        out.line(format!("  and {} more", all.len() - SHOWN));
    }
    if results > 0 {
        out.line(format!("  {} of the run cache", text::count(results, "result")));
    }
}

fn print_done(planned: &RemoteGcPlan, cleaned: &CleanupResult, min_age: Duration, out: &Output) {
    let name = &planned.remote.name;
    let rows = cleaned.removed.roots.len() + cleaned.removed.runs.len();
    let files = cleaned.removed.packs.len() + cleaned.removed.objects.len();
    if rows + files > 0 {
        let (outputs, results) = (cleaned.removed.roots.len(), cleaned.removed.runs.len());
        out.status(format!(
            "removed {} and {} from {name}: {} in {} free",
            text::count(outputs, "output"),
            text::count(results, "result"),
            text::bytes(cleaned.bytes),
            text::count(files, "file"),
        ));
    }
    if cleaned.rewritten > 0 {
        out.status(format!("rewrote {}", text::count(cleaned.rewritten, "pack")));
    }
    if cleaned.marked > 0 {
        let age = text::age(min_age);
        let marked = text::count(planned.marked.len(), "output");
        let bytes = of_files(planned.planned.bytes().1);
        out.status(format!(
            "marked {marked} at {name}{bytes}: the same command deletes them, in {age} at the earliest"
        ));
    }
    if rows + files + cleaned.rewritten + cleaned.marked == 0 {
        out.status(format!("nothing to remove from {name}: the marked objects are needed again"));
    }
    if cleaned.is_cut_short {
        out.status("time ran out before all files were deleted: the same command continues");
    }
    print_rest(planned, min_age, out);
}

fn as_json(planned: &RemoteGcPlan) -> Json {
    let plan = &planned.planned.plan;
    let list = |all: &[Unneeded]| -> Json {
        let one = |one: &Unneeded| {
            let (path, commit) = one.known.as_ref().map(|(claim, commit)| (&claim.path, commit)).unzip();
            json!({"path": path, "commit": commit, "size": one.size})
        };
        all.iter().map(one).collect::<Vec<_>>().into()
    };
    let (gone, marked) = planned.planned.bytes();
    json!({
        "remote": planned.remote.name,
        "url": planned.remote.url().to_string(),
        "remove": {"bytes": gone, "outputs": list(&planned.going), "runs": plan.remove.runs.len()},
        "mark": {"bytes": marked, "outputs": list(&planned.marked), "runs": plan.mark.runs.len()},
        "waiting": {"bytes": plan.wait.bytes(&planned.planned.catalog.all), "marked_until": plan.until},
        "young": {"outputs": planned.planned.young.roots.len(), "runs": planned.planned.young.runs.len()},
        "rewrite": planned.planned.rewrite.len(),
    })
}

fn done(cleaned: &CleanupResult) -> Json {
    let removed = &cleaned.removed;
    json!({
        "outputs": removed.roots.len(), "runs": removed.runs.len(), "packs": removed.packs.len(),
        "objects": removed.objects.len(), "bytes": cleaned.bytes, "rewritten": cleaned.rewritten,
        "marked": cleaned.marked, "cut_short": cleaned.is_cut_short,
    })
}
