use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::gc::duration;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::Project;
use crate::retention::du::{PinnedUsage, StoreUsage, UsageOptions, usage};

/// Show the disk usage of the store, by stage and commit
///
/// Counts each byte once: what the workspace pins, what only earlier commits pin (without the part shared with later
/// ones), what other worktrees and projects need, results of earlier runs, and unneeded objects. UNIQUE is the part of
/// SIZE that no other output of the workspace has. AT lists the remotes that have the whole output, so that it is safe to
/// drop here. Sizes are those of files, so the total is that of the folder.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep store du                   all of it
  lockstep store du -a                with every earlier version and its commit
  lockstep store du train model.pt    one stage, one output, with their earlier versions
  lockstep store du -r backup         what is safe to drop because backup has it")]
pub struct Args {
    /// Stages, outputs, data, or folders [default: all]
    targets: Vec<String>,
    /// Show each earlier version on a line, with the newest commit that pins it
    #[arg(short, long)]
    all: bool,
    /// The remote to compare with [default: all]
    #[arg(short, long, value_name = "NAME")]
    remote: Option<String>,
    /// The --min-age of `store gc`, which keeps younger objects
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    min_age: Duration,
    /// Print JSON, with sizes in bytes
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let mut usage = usage(project, &UsageOptions { remote: args.remote.clone(), min_age: args.min_age })?;
    for trouble in &usage.troubles {
        out.warn(&trouble.message);
    }
    let is_meant = |line: &PinnedUsage| {
        args.targets.is_empty() || args.targets.iter().any(|target| is_target(line, target, &project.cwd))
    };
    if let Some(unknown) = args
        .targets
        .iter()
        .find(|target| !usage.workspace.iter().chain(&usage.earlier).any(|line| is_target(line, target, &project.cwd)))
    {
        return Err(Error::missing(format!("no lock pins anything for `{unknown}` that is here"))
            .hint("see what is pinned: lockstep store du -a"));
    }
    if args.json {
        out.json(&as_json(&usage, project, &is_meant));
        return Ok(0);
    }
    let total = usage.total();
    usage.workspace.retain(is_meant);
    usage.earlier.retain(is_meant);
    print_workspace(&usage, project, out);
    if args.all || !args.targets.is_empty() {
        print_versions(&usage, project, out);
    } else {
        print_earlier(&usage, project, out);
    }
    if args.targets.is_empty() {
        print_totals(&usage, total, project, out);
    }
    Ok(0)
}

/// Does a target select this line: by its stage, its group of stages, its path, or a folder above it?
fn is_target(line: &PinnedUsage, target: &str, cwd: &RepoPath) -> bool {
    let stage = &line.pinned.stage;
    let here = if cwd.is_root() { target.to_string() } else { format!("{cwd}/pipeline.yaml:{target}") };
    let is_stage = *stage == here || *stage == target || stage.strip_prefix(&here).is_some_and(|r| r.starts_with('@'));
    let path = RepoPath::root().join(&line.pinned.path);
    is_stage || path.zip(cwd.join(target)).is_some_and(|(path, target)| path.is_in(&target) || target.is_in(&path))
}

fn shown(line: &PinnedUsage, project: &Project) -> [String; 2] {
    let path = RepoPath::root().join(&line.pinned.path);
    let path = path.map_or_else(|| line.pinned.path.clone(), |path| path.relative_to(&project.cwd));
    [if line.pinned.stage == line.pinned.path { "data".to_string() } else { line.pinned.stage.clone() }, path]
}

fn at(line: &PinnedUsage) -> String {
    if line.remotes.is_empty() { "–".to_string() } else { line.remotes.join(", ") }
}

fn print_workspace(usage: &StoreUsage, project: &Project, out: &Output) {
    let mut table = Table::new(["STAGE", "PATH", "SIZE", "UNIQUE", "AT"]);
    for line in &usage.workspace {
        let [stage, path] = shown(line, project);
        let (held, alone) = match line.is_here {
            true => (text::bytes(line.held), text::bytes(line.alone)),
            false => (format!("{}, not here", text::bytes(line.pinned.pin.size)), String::new()),
        };
        table.row([stage, path, held, alone, at(line)]);
    }
    table.print(false, out);
    if !usage.workspace.is_empty() {
        out.status("UNIQUE: the part that no other output here has; AT: the remotes that have all of it");
    }
}

/// Prints earlier versions, a line for each path.
fn print_earlier(usage: &StoreUsage, project: &Project, out: &Output) {
    let mut paths: BTreeMap<[String; 2], (usize, u64, usize, u64)> = BTreeMap::new();
    for line in &usage.earlier {
        let sum = paths.entry(shown(line, project)).or_default();
        let safe = usize::from(!line.remotes.is_empty());
        *sum = (sum.0 + 1, sum.1 + line.held, sum.2 + safe, sum.3 + line.held * safe as u64);
    }
    if paths.is_empty() {
        return;
    }
    out.line("");
    let mut table = Table::new(["EARLIER", "PATH", "SIZE", "VERSIONS", "AT A REMOTE"]);
    for ([stage, path], (versions, bytes, safe, safe_bytes)) in paths {
        let safe = if safe == 0 { "–".to_string() } else { format!("{safe}, {}", text::bytes(safe_bytes)) };
        table.row([stage, path, text::bytes(bytes), versions.to_string(), safe]);
    }
    table.print(false, out);
}

/// Prints each earlier version.
fn print_versions(usage: &StoreUsage, project: &Project, out: &Output) {
    if usage.earlier.is_empty() {
        return;
    }
    out.line("");
    let mut table = Table::new(["COMMIT", "DATE", "STAGE", "PATH", "SIZE", "AT"]);
    for line in &usage.earlier {
        let [stage, path] = shown(line, project);
        let (name, day) = line.commit.as_ref().map_or_else(Default::default, |c| (c.name.clone(), text::day(c.time)));
        table.row([name, day, stage, path, text::bytes(line.held), at(line)]);
    }
    table.print(false, out);
}

fn print_totals(usage: &StoreUsage, total: u64, project: &Project, out: &Output) {
    let mut rows: Vec<(String, u64, String)> = Vec::new();
    let mut add = |what: &str, bytes: u64, more: String| {
        if bytes > 0 {
            rows.push((what.to_string(), bytes, more));
        }
    };
    let shared = match usage.shared {
        0 => String::new(),
        shared => format!("{} of it in several outputs", text::bytes(shared)),
    };
    add("the workspace pins", usage.now(), shared);
    let (before, safe) = usage.before();
    let safe = match safe {
        0 => String::new(),
        safe => format!("{} at a remote, safe to drop: lockstep store gc -w --not-in-remote", text::bytes(safe)),
    };
    add("earlier versions", before, safe);
    usage.worktrees.iter().for_each(|(name, bytes)| add("another worktree", *bytes, name.clone()));
    usage.projects.iter().for_each(|(home, bytes)| add("another project", *bytes, home.display().to_string()));
    let results = text::count(usage.number_of_results, "result");
    add("run cache", usage.runs + usage.results, format!("{results}, and what only they lead to"));
    add("not needed", usage.garbage.bytes, free(usage));
    add("damaged, set aside", usage.damaged, String::new());
    add("being written", usage.temporary, String::new());
    add("indexes of packs, book-keeping", usage.overhead, String::new());
    rows.push(("total".to_string(), total, project.store().dir().display().to_string()));
    out.line("");
    let width = rows.iter().map(|(what, ..)| what.chars().count()).max().unwrap_or(0);
    let sizes = rows.iter().map(|(_, bytes, _)| text::bytes(*bytes).len()).max().unwrap_or(0);
    for (what, bytes, more) in rows {
        out.line(format!("{what:width$}  {:>sizes$}  {more}", text::bytes(bytes)).trim_end());
    }
}

/// Prints what `store gc` would do with unneeded objects.
fn free(usage: &StoreUsage) -> String {
    let garbage = &usage.garbage;
    let mut parts = Vec::new();
    if garbage.now > 0 {
        parts.push(format!("lockstep store gc -A frees {}", text::bytes(garbage.now)));
    }
    if garbage.young > 0 {
        let hours = (garbage.until.max(0) as u64).div_ceil(3600);
        parts.push(format!("{} too young for it for up to {hours}h", text::bytes(garbage.young)));
    }
    if garbage.spared > 0 {
        parts.push(format!("{} in packs that are mostly needed", text::bytes(garbage.spared)));
    }
    parts.join("; ")
}

fn as_json(usage: &StoreUsage, project: &Project, is_meant: &dyn Fn(&PinnedUsage) -> bool) -> Json {
    let list = |lines: &[PinnedUsage]| -> Json {
        let one = |line: &PinnedUsage| {
            let mut o = json!({
                "stage": line.pinned.stage, "path": line.pinned.path, "id": line.pinned.pin.id.hex(),
                "size": line.pinned.pin.size, "held": line.held, "here": line.is_here, "remotes": line.remotes,
            });
            match &line.commit {
                Some(commit) => {
                    o["commit"] = commit.id.to_string().into();
                    o["name"] = commit.name.clone().into();
                    o["time"] = commit.time.into();
                }
                None => o["alone"] = line.alone.into(),
            }
            o
        };
        lines.iter().filter(|line| is_meant(line)).map(one).collect::<Vec<_>>().into()
    };
    let (before, safe) = usage.before();
    let garbage = &usage.garbage;
    let projects: BTreeMap<String, u64> =
        usage.projects.iter().map(|(home, bytes)| (home.display().to_string(), *bytes)).collect();
    json!({
        "store": project.store().dir(),
        "bytes": usage.total(),
        "workspace": {"bytes": usage.now(), "shared": usage.shared, "outs": list(&usage.workspace)},
        "earlier": {"bytes": before, "at_a_remote": safe, "versions": list(&usage.earlier)},
        "worktrees": usage.worktrees,
        "projects": projects,
        "run_cache": {"bytes": usage.runs + usage.results, "results": usage.number_of_results},
        "unneeded": {
            "bytes": garbage.bytes, "freed_by_gc": garbage.now, "young": garbage.young,
            "young_for_seconds": garbage.until, "spared": garbage.spared,
        },
        "damaged": usage.damaged,
        "temporary": usage.temporary,
        "overhead": usage.overhead,
        "troubles": usage.troubles.iter().map(Error::full_message).collect::<Vec<_>>(),
    })
}
