use std::fs::File;
use std::io::Read;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::shell::word;
use crate::workspace::logs::{LoggedRun, Logs, RunLog};
use crate::workspace::worktree_lock;

/// The interval in which `--follow` reads the log.
const PAUSE: Duration = Duration::from_millis(100);

/// Show what a stage printed when it ran
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The output of the last ten runs of a stage is kept in this workspace, each in a folder
of its own with a script that replays it (sh replay.sh).

Examples:
  lockstep logs train             the last run
  lockstep logs -f train          follow a run until it ends
  lockstep logs train --list      list its runs
  lockstep logs train --run 3     one of them
  lockstep logs --prune           remove outputs that were kept for more than a week")]
pub struct Args {
    /// The stage
    #[arg(required_unless_present = "prune")]
    stage: Option<String>,
    /// Follow the output until the run ends
    #[arg(short, long)]
    follow: bool,
    /// Show the run with this number [default: the last one]
    #[arg(long, value_name = "N")]
    run: Option<u64>,
    /// List the runs
    #[arg(long, conflicts_with_all = ["follow", "run"])]
    list: bool,
    /// Print JSON (with --list)
    #[arg(long, requires = "list")]
    json: bool,
    /// Remove kept outputs of failed or replaced runs that are older than a week
    #[arg(long, conflicts_with_all = ["stage", "follow", "run", "list"])]
    prune: bool,
    /// With --prune, remove all logs and kept outputs
    #[arg(long, requires = "prune")]
    all: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let logs = Logs::new(project.logs_dir());
    let Some(stage) = &args.stage else {
        return prune(args, &logs, project, out);
    };
    let (address, runs) = runs(stage, &logs, project)?;
    if args.list {
        list(args, &runs, project, out);
        return Ok(0);
    }
    let wanted = match args.run {
        Some(n) => runs.iter().find(|run| run.number == n),
        None => runs.last(),
    };
    match (wanted, args.run) {
        (Some(run), _) => print(&run.log, args.follow, out)?,
        (None, Some(n)) if !runs.is_empty() => {
            return Err(Error::missing(format!("there is no run {n} of {address} here"))
                .hint(format!("see which there are: lockstep logs {} --list", word(&address))));
        }
        _ => {
            return Err(Error::missing(format!("{address} has not run in this workspace"))
                .hint(format!("run it: lockstep repro {}", word(&address))));
        }
    }
    Ok(0)
}

/// The address of the stage, and its runs.
fn runs(target: &str, logs: &Logs, project: &Project) -> Result<(String, Vec<LoggedRun>)> {
    let definitions = project.definitions_without_graph()?;
    let scope = Scope::of(project, &definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let selected = scope.select(&[target.to_string()], &reach, false)?;
    let address = |id| definitions.pipelines.address(id, &project.cwd);
    match selected.named[..] {
        [id] => {
            let stage = definitions.pipelines.stage(id);
            let file = &definitions.pipelines.file(stage.file).path;
            Ok((address(id), logs.runs(file, &stage.name)))
        }
        [] => Err(Error::missing(format!("`{target}` selects no stage"))),
        _ => {
            let names: Vec<String> = selected.named.iter().map(|id| address(*id)).collect();
            Err(Error::usage(format!("`{target}` selects several stages: {}", names.join(", ")))
                .hint(format!("name one: lockstep logs {}", word(&names[0]))))
        }
    }
}

fn print(log: &RunLog, follow: bool, out: &Output) -> Result<()> {
    let path = log.output();
    let fail = |e| Error::io("read", &path, e);
    let mut file = File::open(&path).map_err(fail)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Checked before the read, so that the last read has everything that the run wrote.
        let goes_on = follow && log.is_running();
        loop {
            match file.read(&mut buffer).map_err(fail)? {
                0 => break,
                n => out.raw(&buffer[..n]),
            }
        }
        if !goes_on {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn list(args: &Args, runs: &[LoggedRun], project: &Project, out: &Output) {
    let time = |run: &LoggedRun| humantime::format_rfc3339_seconds(run.started).to_string();
    let seconds = |run: &LoggedRun| {
        let until = if run.log.is_running() { (project.around.now)() } else { run.written };
        until.duration_since(run.started).unwrap_or_default().as_secs_f64()
    };
    if args.json {
        let run = |run: &LoggedRun| {
            json!({
                "run": run.number,
                "start": time(run),
                "seconds": (seconds(run) * 1000.0).round() / 1000.0,
                "bytes": run.bytes,
                "running": run.log.is_running(),
                "kept": run.log.has_kept(),
                "folder": run.log.dir.to_string_lossy(),
            })
        };
        out.json(&runs.iter().map(run).collect::<Vec<_>>().into());
        return;
    }
    for run in runs {
        let mut line = format!(
            "{:>4}  {}  {:>7}  {:>9}",
            run.number,
            time(run),
            text::seconds(seconds(run)),
            text::bytes(run.bytes)
        );
        if run.log.is_running() {
            line.push_str(&format!("  {}", out.paint_out(Style::Green, "running")));
        }
        if run.log.has_kept() {
            line.push_str(&format!("  outputs kept in {}", run.log.dir.join("kept").display()));
        }
        out.line(line);
    }
    if runs.is_empty() {
        out.status("no runs");
    }
}

fn prune(args: &Args, logs: &Logs, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, false);
    // A run that has not ended is still writing its log.
    let _lock = worktree_lock::take(project, "lockstep logs --prune", &progress)?;
    let gone = logs.prune((project.around.now)(), args.all);
    let what = if args.all { "log" } else { "folder" };
    let kept = if args.all { "" } else { " of kept outputs" };
    out.status(match gone {
        0 => "nothing to remove".to_string(),
        n => format!("removed {}{kept}", text::count(n, what)),
    });
    Ok(0)
}
