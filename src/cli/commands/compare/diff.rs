use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::cli::advice;
use crate::cli::args::Format;
use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::table::Table;
use crate::cli::text;
use crate::compare::data::{ChangeKind, ComparedNode, DataChange, Differences};
use crate::compare::sides::{SnapshotPair, differences};
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;
use crate::project::{Project, Rev};
use crate::store::trees::EntryKind;

/// Compare outputs and data of two revisions
///
/// Without B, compares with the workspace as it is now, committed or not. Detects renamed files by their content. Compares
/// only outputs and data; for other files use `git diff`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep diff                        HEAD and the workspace
  lockstep diff v1.0                   a tag and the workspace
  lockstep diff main~1 main            two commits
  lockstep diff main --targets data    only what is in data/
  lockstep diff main --md              as a Markdown table, for a pull request
  lockstep diff --json                 for programs")]
pub struct Args {
    /// The old revision
    #[arg(value_name = "A", default_value = "HEAD")]
    old: String,
    /// The new revision [default: the workspace]
    #[arg(value_name = "B")]
    new: Option<String>,
    /// Compare only these files and folders
    #[arg(long, value_name = "PATH", num_args = 1..)]
    targets: Vec<String>,
    /// Show the ids of the contents
    #[arg(long)]
    show_hash: bool,
    /// Leave out files that are pinned, but neither in the workspace nor in the store
    #[arg(long)]
    hide_missing: bool,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let snapshots = project.snapshots();
    let old = snapshots.at(&Rev::Named(args.old.clone()))?;
    let new = snapshots.at(&Rev::of(args.new.as_deref()))?;
    advice::refuse_dvc_on_both_sides(&old.definitions, &new.definitions)?;
    advice::warn_broken_pipelines_of(&old, out);
    advice::warn_broken_pipelines_of(&new, out);
    let targets = args.targets.iter().map(|t| target(project, t)).collect::<Result<Vec<_>>>()?;
    let progress = Progress::new(out, false);
    let asked = SnapshotPair { old: &old, new: &new, targets: &targets };
    let found = differences(&asked, &progress);
    progress.finish();
    let (mut found, mut absent) = found?;
    let name = |path: &str| self::name(project, path);
    for change in &mut found.changes {
        change.path = name(&change.path);
        if let ChangeKind::Renamed { from, .. } = &mut change.what {
            *from = name(from);
        }
    }
    absent.iter_mut().for_each(|path| *path = name(path));
    if args.hide_missing {
        absent.clear();
    }
    if args.format.json {
        out.json(&to_json(&found, &absent));
    } else if args.format.md {
        table(&found, &absent, args).print(true, out);
    } else {
        list(&found, &absent, args, out);
        let is_whole = old.definitions.broken.is_empty() && new.definitions.broken.is_empty();
        if found.changes.is_empty() && absent.is_empty() && is_whole {
            out.status(format!("no outputs or data differ between {} and {}", old.name, new.name));
        }
    }
    for (path, error) in &found.unopened {
        let hint = error.hints.first().map_or(String::new(), |hint| format!(" ({hint})"));
        out.warn(format!("{}: its listing is not in the store{hint}", &name(path)));
    }
    // A commit cannot be fixed, so its broken files are no failure.
    let concerns = |path: &RepoPath| {
        let folder = path.parent().unwrap_or_default();
        targets.is_empty() || targets.iter().any(|t| t.is_in(&folder) || folder.is_in(t))
    };
    let is_mistaken = new.commit.is_none() && new.definitions.broken.iter().any(|(path, _)| concerns(path));
    Ok(if is_mistaken { Kind::Usage.exit_code() } else { 0 })
}

fn target(project: &Project, written: &str) -> Result<RepoPath> {
    project.typed(written).ok_or_else(|| Error::missing(format!("`{written}` is outside the repository")))
}

/// A path relative to the current folder; a folder keeps its `/`.
fn name(project: &Project, path: &str) -> String {
    let seen = RepoPath::root().join(path).map(|p| p.relative_to(&project.cwd)).unwrap_or(path.to_string());
    if path.ends_with('/') && !seen.ends_with('/') { seen + "/" } else { seen }
}

/// The groups, in the order in which they are shown.
const GROUPS: [(&str, Style); 4] =
    [("added", Style::Green), ("deleted", Style::Red), ("modified", Style::Yellow), ("renamed", Style::Cyan)];

fn group(what: &ChangeKind) -> usize {
    match what {
        ChangeKind::Added(_) => 0,
        ChangeKind::Deleted(_) => 1,
        ChangeKind::Modified { .. } => 2,
        ChangeKind::Renamed { .. } => 3,
    }
}

fn sizes(what: &ChangeKind) -> String {
    match what {
        ChangeKind::Added(node) | ChangeKind::Deleted(node) | ChangeKind::Renamed { node, .. } => {
            text::bytes(node.size)
        }
        ChangeKind::Modified { old, new } if old.id == new.id => {
            if new.kind == EntryKind::Executable { "now executable" } else { "no longer executable" }.into()
        }
        ChangeKind::Modified { old, new } if old.size == new.size => text::bytes(new.size),
        ChangeKind::Modified { old, new } => format!("{} → {}", text::bytes(old.size), text::bytes(new.size)),
    }
}

fn hashes(what: &ChangeKind) -> String {
    let short = |node: &ComparedNode| node.id.hex()[..12].to_string();
    match what {
        ChangeKind::Added(node) | ChangeKind::Deleted(node) | ChangeKind::Renamed { node, .. } => short(node),
        ChangeKind::Modified { old, new } => format!("{} → {}", short(old), short(new)),
    }
}

fn path(change: &DataChange) -> String {
    match &change.what {
        ChangeKind::Renamed { from, .. } => format!("{from} → {}", change.path),
        _ => change.path.clone(),
    }
}

fn list(found: &Differences, absent: &[String], args: &Args, out: &Output) {
    let width = found.changes.iter().map(|c| path(c).chars().count()).max().unwrap_or(0).min(60);
    let mut counts: Vec<String> = Vec::new();
    for (n, (word, style)) in GROUPS.iter().enumerate() {
        let of_group: Vec<&DataChange> = found.changes.iter().filter(|c| group(&c.what) == n).collect();
        if of_group.is_empty() {
            continue;
        }
        counts.push(format!("{} {word}", of_group.len()));
        out.line(out.paint_out(*style, word));
        for change in of_group {
            let hash = if args.show_hash { format!("  {}", hashes(&change.what)) } else { String::new() };
            out.line(format!("  {:width$}  {}{hash}", path(change), sizes(&change.what)));
        }
    }
    if !absent.is_empty() {
        counts.push(format!("{} not in cache", absent.len()));
        out.line(out.paint_out(Style::Dim, "not in cache"));
        absent.iter().for_each(|path| out.line(format!("  {}", path)));
    }
    if !counts.is_empty() {
        out.status(counts.join(", "));
    }
}

fn table(found: &Differences, absent: &[String], args: &Args) -> Table {
    let head = ["status", "path", "size"].into_iter().chain(args.show_hash.then_some("hash"));
    let mut table = Table::new(head);
    let row = |status: &str, path: String, size: String, hash: String| {
        [status.to_string(), path, size].into_iter().chain(args.show_hash.then_some(hash))
    };
    for (n, (word, _)) in GROUPS.iter().enumerate() {
        for change in found.changes.iter().filter(|c| group(&c.what) == n) {
            table.row(row(word, path(change), sizes(&change.what), hashes(&change.what)));
        }
    }
    absent.iter().for_each(|path| table.row(row("not in cache", path.clone(), "-".into(), "-".into())));
    table
}

/// Groups of `{path, hash, size}`, with DVC's names.
fn to_json(found: &Differences, absent: &[String]) -> Json {
    let mut groups: BTreeMap<usize, Vec<Json>> = BTreeMap::new();
    for change in &found.changes {
        let entry = match &change.what {
            ChangeKind::Added(node) | ChangeKind::Deleted(node) => {
                json!({"path": change.path, "hash": node.id.hex(), "size": node.size})
            }
            ChangeKind::Modified { old, new } => json!({
                "path": change.path,
                "hash": {"old": old.id.hex(), "new": new.id.hex()},
                "size": {"old": old.size, "new": new.size},
            }),
            ChangeKind::Renamed { from, node } => {
                json!({"path": {"old": from, "new": change.path}, "hash": node.id.hex(), "size": node.size})
            }
        };
        groups.entry(group(&change.what)).or_default().push(entry);
    }
    let mut of = |n: usize| groups.remove(&n).unwrap_or_default();
    let absent: Vec<Json> = absent.iter().map(|path| json!({"path": path})).collect();
    let unopened: Vec<Json> = found.unopened.iter().map(|(path, _)| json!({"path": path})).collect();
    json!({"added": of(0), "deleted": of(1), "modified": of(2), "renamed": of(3), "not in cache": absent, "unopened": unopened})
}
