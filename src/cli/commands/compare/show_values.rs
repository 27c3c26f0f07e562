//! `params show` and `metrics show`.

use std::rc::Rc;

use serde_json::json;

use crate::cli::advice;
use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::cli::table::{Table, shown};
use crate::error::{Error, Kind, Result};
use crate::git::{CommitSelection, GitId, SelectedCommit};
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, InputLocation, StageId};
use crate::plan::select::{Scope, SelectionMode};
use crate::project::values::{self, FileValues, ParsedFiles, ValueRequest, WantedValues};
use crate::project::{Definitions, Project, Rev, Snapshot};
use crate::value::Value;

use super::grouped_warnings::GroupedWarnings;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files, stages or groups [default: all]
    targets: Vec<String>,
    /// Show a revision instead of the workspace: a branch, tag, `HEAD~3`, model version; may be repeated
    #[arg(long, value_name = "REV")]
    rev: Vec<String>,
    /// Show the workspace and the tips of all branches
    #[arg(short, long)]
    all_branches: bool,
    /// Show the workspace and all tags
    #[arg(short = 'T', long)]
    all_tags: bool,
    /// Show the workspace and all commits
    #[arg(short = 'A', long)]
    all_commits: bool,
    /// With --rev, show N commits back from there
    #[arg(short, long, value_name = "N", requires = "rev")]
    num: Option<usize>,
    #[command(flatten)]
    format: Format,
}

/// Selects the files of some stages, and those at the top of some pipeline files.
pub(super) type ValueFiles = dyn Fn(&Definitions, &[StageId], &[FileId]) -> ValueRequest;

pub fn run(args: &Args, project: &Project, out: &Output, files: &ValueFiles, what: &str) -> Result<u8> {
    let which = CommitSelection {
        revs: args.rev.clone(),
        all_branches: args.all_branches,
        all_tags: args.all_tags,
        all_commits: args.all_commits,
        number: args.num,
    };
    if !which.is_empty() && (which.revs.len() != 1 || which.number.is_some() || args.all()) {
        return many(args, &which, project, out, files, what);
    }
    let snapshot = project.at(&Rev::of(args.rev.first().map(String::as_str)))?;
    if args.targets.is_empty() {
        advice::refuse_dvc_only(&snapshot.definitions)?;
    }
    advice::warn_broken_pipelines_of(&snapshot, out);
    let asked = asked(&args.targets, &snapshot, files, what, &[])?;
    let read = values::read(&snapshot, &asked, &mut ParsedFiles::default());
    if args.format.json {
        let files = files_json(project, &read);
        match args.rev.first() {
            None => out.values(&files),
            Some(name) => out.values(&[of_revision(std::slice::from_ref(name), snapshot.commit, files)]),
        }
    } else {
        let mut table = Table::new(["file", "key", "value"]);
        for file in &read {
            let Ok(values) = &file.values else { continue };
            let name = name(project, &file.place);
            for (key, value) in values::leaves(values) {
                table.row([name.clone(), key, shown(value)]);
            }
        }
        table.print(args.format.md, out);
    }
    let mut code = None;
    for error in read.iter().filter_map(|file| file.values.as_ref().err()) {
        let mut error = error.clone();
        if error.kind == Kind::Missing && what == "metrics" && snapshot.commit.is_none() {
            error.hints.push("make it: lockstep repro, or bring it back: lockstep checkout".into());
        }
        out.error(&error);
        code = Some(code.unwrap_or(u8::MAX).min(error.kind.exit_code()));
    }
    if read.is_empty() && snapshot.definitions.broken.is_empty() {
        out.status(format!("no {what} here"));
    }
    let code = code.unwrap_or(0);
    Ok(if args.targets.is_empty() { advice::exit_code_of_all(code, &snapshot.definitions) } else { code })
}

impl Args {
    fn all(&self) -> bool {
        self.all_branches || self.all_tags || self.all_commits
    }
}

/// The number of commits that are read at once: enough to read Git's objects quickly, and a bound on memory.
const AT_ONCE: usize = 1024;

/// A revision as JSON. With revisions, the output is always a list, even for a single one.
fn of_revision(names: &[String], commit: Option<GitId>, files: Value) -> Value {
    let mut shape = Value::from(json!({"rev": names.first(), "names": names, "commit": commit.map(|id| id.hex())}));
    shape.set(&["files"], files);
    shape
}

/// One revision, and the values of its files.
struct RevisionValues {
    names: Vec<String>,
    commit: Option<GitId>,
    files: Vec<FileValues>,
}

/// Shows several revisions: a row for each, with a column for each key. Leaves out a revision without any of the files.
/// A single missing file is null in JSON and a `-` in the table.
fn many(
    args: &Args,
    which: &CommitSelection,
    project: &Project,
    out: &Output,
    files: &ValueFiles,
    what: &str,
) -> Result<u8> {
    let snapshots = project.snapshots();
    let history = snapshots.history()?;
    let chosen = history.select_commits(which)?;
    let mut parsed = ParsedFiles::default();
    let mut all: Vec<RevisionValues> = Vec::new();
    let (mut failed, mut code) = (None, 0);
    let (mut broken, mut unreadable) = (GroupedWarnings::default(), GroupedWarnings::default());
    let mut last: Option<(Rc<Definitions>, Rc<ValueRequest>)> = None;
    // `None`: this revision has no file to show.
    let mut ask = |snapshot: &Snapshot<'_>, names: &[String]| -> Result<Option<Rc<ValueRequest>>> {
        for (path, error) in &snapshot.definitions.broken {
            broken.add(path.as_str(), error, names);
        }
        if snapshot.commit.is_none() && args.targets.is_empty() {
            code = advice::exit_code_of_all(code, &snapshot.definitions);
        }
        if let Some((definitions, asked)) = &last
            && Rc::ptr_eq(definitions, &snapshot.definitions)
        {
            return Ok(Some(asked.clone()));
        }
        // A target may be missing in a revision if another one has it.
        match asked(&args.targets, snapshot, files, what, &[]) {
            Ok(asked) => Ok(Some(last.insert((snapshot.definitions.clone(), Rc::new(asked))).1.clone())),
            Err(e) if e.kind == Kind::Missing => {
                failed.get_or_insert(e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    };
    let mut read = |snapshot: &Snapshot<'_>, asked: &ValueRequest, names: Vec<String>, parsed: &mut ParsedFiles| {
        let files = values::read(snapshot, asked, parsed);
        let unread = files.iter().filter_map(|f| f.values.as_ref().err()).filter(|e| e.kind != Kind::Missing);
        unread.for_each(|error| unreadable.add("", error, &names));
        // A target exists even if it cannot be read.
        if files.iter().any(|f| f.values.as_ref().map_or_else(|e| e.kind != Kind::Missing, |_| true)) {
            all.push(RevisionValues { names, commit: snapshot.commit, files });
        }
    };
    if args.all() && !project.repo.is_bare() {
        let workspace = snapshots.at(&Rev::Worktree)?;
        let names = vec!["workspace".to_string()];
        if let Some(asked) = ask(&workspace, &names)? {
            read(&workspace, &asked, names, &mut parsed);
        }
    }
    let mut chosen = chosen.into_iter();
    loop {
        let some: Vec<SelectedCommit> = chosen.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let commits = some.iter().map(|one| history.commit(one.id)).collect::<Result<Vec<_>>>()?;
        history.prefetch_trees(&commits);
        let (mut wanted, mut names) = (Vec::new(), Vec::new());
        for (one, commit) in some.into_iter().zip(commits) {
            let snapshot = snapshots.of_commit(commit, &one.names[0])?;
            if let Some(asked) = ask(&snapshot, &one.names)? {
                wanted.push((snapshot, asked));
                names.push(one.names);
            }
        }
        values::read_ahead(&wanted, &mut parsed)?;
        for ((snapshot, asked), names) in wanted.iter().zip(names) {
            read(snapshot, asked, names, &mut parsed);
        }
    }
    broken.warn(out);
    unreadable.warn(out);
    if let Some(error) = failed.filter(|_| all.is_empty()) {
        return Err(error);
    }
    if args.format.json {
        let one = |read: &RevisionValues| of_revision(&read.names, read.commit, files_json(project, &read.files));
        out.values(&all.iter().map(one).collect::<Vec<_>>());
    } else {
        table(&all, project).print(args.format.md, out);
    }
    if all.is_empty() {
        out.status(format!("no {what} there"));
    }
    Ok(code)
}

/// A row for each revision and a column for each key. With several files, a key begins with the name of its file.
fn table(all: &[RevisionValues], project: &Project) -> Table {
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    let mut rows = Vec::new();
    for read in all {
        let mut row = Vec::new();
        for file in &read.files {
            let Ok(values) = &file.values else { continue };
            let path = file.place.to_string();
            for (key, value) in values::leaves(values) {
                let column = (path.clone(), key);
                let at = *index.entry(column.clone()).or_insert_with(|| {
                    columns.push((name(project, &file.place), column.1));
                    columns.len() - 1
                });
                row.push((at, shown(value)));
            }
        }
        rows.push(row);
    }
    let several = columns.iter().any(|(file, _)| *file != columns[0].0);
    let head = columns.iter().map(|(file, key)| match (several, key.is_empty()) {
        (_, true) => file.clone(),
        (true, _) => format!("{file}:{key}"),
        (false, _) => key.clone(),
    });
    let mut table = Table::new(["revision".to_string()].into_iter().chain(head));
    for (read, row) in all.iter().zip(rows) {
        let mut cells = vec!["-".to_string(); columns.len() + 1];
        cells[0] = read.names.join(", ");
        row.into_iter().for_each(|(at, text)| cells[at + 1] = text);
        table.row(cells);
    }
    table
}

fn name(project: &Project, place: &InputLocation) -> String {
    match place {
        InputLocation::Repo(path) => path.relative_to(&project.cwd),
        other => other.to_string(),
    }
}

fn files_json(project: &Project, read: &[FileValues]) -> Value {
    let entry = |file: &FileValues| {
        (name(project, &file.place), file.values.as_ref().map_or(Value::Null, |values| values.clone()))
    };
    Value::Map(read.iter().map(entry).collect())
}

/// The files to show: those of the targets, or without targets all files except those of some pipeline files.
pub(super) fn asked(
    targets: &[String],
    snapshot: &Snapshot<'_>,
    files: &ValueFiles,
    what: &str,
    without: &[RepoPath],
) -> Result<ValueRequest> {
    let pipelines = &snapshot.definitions.pipelines;
    let counts = |id: &FileId| !without.contains(&pipelines.file(*id).path);
    let stages: Vec<StageId> = pipelines.ids().filter(|id| counts(&pipelines.stage(*id).file)).collect();
    let tops: Vec<FileId> = (0..pipelines.files.len() as u32).map(FileId).filter(counts).collect();
    let asked = files(&snapshot.definitions, &stages, &tops);
    if targets.is_empty() { Ok(asked) } else { narrow(targets, snapshot, files, &asked, what) }
}

/// Resolves the targets: a file that is listed anyway, a folder of such files, a stage, or any other file.
fn narrow(
    targets: &[String],
    snapshot: &Snapshot<'_>,
    files: &ValueFiles,
    all: &ValueRequest,
    what: &str,
) -> Result<ValueRequest> {
    let (project, definitions) = (snapshot.project, &snapshot.definitions);
    let scope = Scope::of(project, definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let mut asked = ValueRequest::new();
    for target in targets {
        let path = project.typed(target);
        let is_meant =
            |place: &InputLocation| matches!((place, &path), (InputLocation::Repo(p), Some(path)) if p.is_in(path));
        let before = asked.len();
        for (place, wanted) in all.values().filter(|(place, _)| is_meant(place)) {
            values::request(&mut asked, place, wanted.clone());
        }
        let is_file = |path: &&RepoPath| snapshot.locate(path).is_ok_and(|found| found.is_some());
        let is_pipeline = |path: &&RepoPath| definitions.pipelines.files.iter().any(|f| f.path == **path);
        if asked.len() > before {
            continue;
        }
        if let Some(path) = path.as_ref().filter(is_file).filter(|path| !is_pipeline(path)) {
            values::request(&mut asked, &InputLocation::Repo(path.clone()), WantedValues::Whole);
            continue;
        }
        let selected = scope.select(std::slice::from_ref(target), &reach, false).map_err(|mut e: Error| {
            if e.kind == Kind::Missing {
                e.message = format!("`{target}` is neither a file with {what} nor a stage");
            }
            e
        })?;
        for (place, wanted) in files(definitions, &selected.named, &[]).values() {
            values::request(&mut asked, place, wanted.clone());
        }
    }
    Ok(asked)
}
