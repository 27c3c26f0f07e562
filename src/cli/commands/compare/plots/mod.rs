//! `plots show`, `plots diff`, `plots templates`.

mod place;

use std::io::IsTerminal;
use std::rc::Rc;

use clap::Subcommand;
use serde_json::json;

use crate::cli::advice;
use crate::cli::output::{Output, Style};
use crate::error::Result;
use crate::path::RepoPath;
use crate::project::{Project, Rev, Snapshot};
use crate::report::plots::{self, DefinedPlots, Overrides, Overview, PlotReport, PlotSource, Template};

/// Draw plots of one or more revisions
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Show(ShowArgs),
    Diff(DiffArgs),
    Templates(TemplatesArgs),
}

/// Make an HTML page of all plots
///
/// Plots are listed under `plots:` of a stage or at the top of a pipeline.yaml; a target may also be any other data file
/// or image. Data is CSV, TSV, JSON or YAML; without `x` the x axis is the row number, without `y` the last column is
/// drawn. The page is one file without references. Prints its path.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep plots show --open                       all plots, in the browser
  lockstep plots show loss.csv -x step -y loss     one file
  lockstep plots show train                        the plots of a stage
  lockstep plots show --rev v1.0                   as of a tag, without checking it out
  lockstep plots show --text                       in the terminal, without a page
  lockstep plots show confusion.csv -t confusion -x actual -y predicted")]
struct ShowArgs {
    /// Plots, stages, files or folders [default: all plots]
    targets: Vec<String>,
    /// Draw the plots of this revision; may be repeated [default: the workspace]
    #[arg(long = "rev", value_name = "REV")]
    revisions: Vec<String>,
    #[command(flatten)]
    look: DrawArgs,
}

/// Draw plots of several revisions on one page
///
/// Lines and bars share a chart, with one colour for each revision; confusion matrices and images are side by side.
/// What several revisions have in common is drawn once, and a plot that all have in common is folded into one line. The
/// page begins with the commits and a table of params and metrics.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep plots diff                        the last commit and the workspace
  lockstep plots diff main                   main and the workspace
  lockstep plots diff HEAD~2 HEAD~1 HEAD     three commits
  lockstep plots diff main --targets loss --md")]
struct DiffArgs {
    /// Revisions, or `workspace` [default: HEAD and the workspace; for one, that and the workspace]
    revisions: Vec<String>,
    /// Plots, stages, files or folders [default: all plots]
    #[arg(long, num_args = 1.., value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    look: DrawArgs,
}

/// List the templates of plots
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep plots templates
  lockstep plots show -t smooth loss.csv")]
struct TemplatesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct DrawArgs {
    /// The column for the x axis
    #[arg(short, value_name = "COLUMN")]
    x: Option<String>,
    /// A column for the y axis; may be repeated
    #[arg(short, value_name = "COLUMN")]
    y: Vec<String>,
    /// The label of the x axis
    #[arg(long, value_name = "TEXT")]
    x_label: Option<String>,
    /// The label of the y axis
    #[arg(long, value_name = "TEXT")]
    y_label: Option<String>,
    /// The title of each plot
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// The template: one of `lockstep plots templates`, or a Vega-Lite file with DVC's anchors
    #[arg(short, long, value_name = "NAME")]
    template: Option<String>,
    /// Treat the first line of a CSV or TSV file as data; columns are named 0, 1, …
    #[arg(long)]
    no_header: bool,
    /// The file of the page, or a folder for index.html [default: plots.html]
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["json", "md", "text"])]
    out: Option<std::path::PathBuf>,
    /// Open the page in the browser
    #[arg(long, conflicts_with_all = ["json", "md", "text"])]
    open: bool,
    /// Print the data as JSON, without a page
    #[arg(long, group = "form")]
    json: bool,
    /// Print a Markdown table, without a page
    #[arg(long, group = "form")]
    md: bool,
    /// Print a line of blocks for each series, without a page
    #[arg(long, group = "form")]
    text: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Show(args) => {
            let revisions = match args.revisions.as_slice() {
                [] => vec![Rev::Worktree],
                named => named.iter().map(|name| revision(name)).collect(),
            };
            show(&revisions, &args.targets, &args.look, project, out)
        }
        Sub::Diff(args) => {
            let mut revisions: Vec<Rev> = args.revisions.iter().map(|name| revision(name)).collect();
            if revisions.is_empty() {
                revisions.push(Rev::Named("HEAD".into()));
            }
            if revisions.len() == 1 {
                revisions.push(Rev::Worktree);
            }
            show(&revisions, &args.targets, &args.look, project, out)
        }
        Sub::Templates(args) => {
            templates(args, out);
            Ok(0)
        }
    }
}

/// Accepts `workspace`, DVC's word for the files as they are now.
fn revision(name: &str) -> Rev {
    if name == "workspace" { Rev::Worktree } else { Rev::Named(name.to_string()) }
}

fn show(revisions: &[Rev], targets: &[String], look: &DrawArgs, project: &Project, out: &Output) -> Result<u8> {
    let overrides = look.overrides(&project.cwd);
    let snapshots = project.snapshots();
    let snapshots: Vec<Snapshot<'_>> = revisions.iter().map(|rev| snapshots.at(rev)).collect::<Result<_>>()?;
    let report = gather(&snapshots, targets, &overrides, project, out)?;
    let nothing = report.plots.is_empty();
    if look.json {
        out.json(&plots::json(&report));
    } else if look.md && !nothing {
        out.document(&plots::markdown(&report));
    } else if look.text && !nothing {
        print(&report, out);
    } else if !look.md && !look.text && !nothing {
        if std::io::stdout().is_terminal() {
            print(&report, out);
        }
        let path =
            place::write(look.out.as_deref(), &plots::page(&report, &Overview::of(project, &snapshots)), project, out)?;
        out.line(path.display().to_string());
        if look.open {
            place::open(&path, project, out);
        }
    }
    let mut code = None;
    for error in &report.errors {
        out.error(error);
        code = Some(code.unwrap_or(u8::MAX).min(error.kind.exit_code()));
    }
    for note in &report.notes {
        out.status(note);
    }
    if nothing && report.errors.is_empty() {
        out.status("no plots here");
        out.hint("name a file: lockstep plots show FILE, or list it under `plots:` of its stage");
    }
    let code = code.unwrap_or(0);
    if !targets.is_empty() {
        return Ok(code);
    }
    Ok(snapshots.iter().fold(code, |code, snapshot| advice::exit_code_of_all(code, &snapshot.definitions)))
}

/// Reads the definitions of all revisions, and their data.
fn gather(
    snapshots: &[Snapshot<'_>],
    targets: &[String],
    overrides: &Overrides,
    project: &Project,
    out: &Output,
) -> Result<PlotReport> {
    let mut all = Vec::new();
    let mut errors = Vec::new();
    for (n, snapshot) in snapshots.iter().enumerate() {
        // Commits with the same pipeline files share their parsed definitions.
        if !snapshots[..n].iter().any(|other| Rc::ptr_eq(&other.definitions, &snapshot.definitions)) {
            advice::warn_broken_pipelines_of(snapshot, out);
        }
        let defined: DefinedPlots = plots::define(&snapshot.definitions.pipelines, &project.cwd);
        all.push(defined.plots);
        errors.extend(defined.errors);
    }
    let mut definitions = plots::merge(all);
    if !targets.is_empty() {
        let exists = |path: &RepoPath| {
            snapshots.iter().any(|snapshot| !matches!(snapshot.read(path), Ok(plots::PathContent::Missing)))
        };
        let seen: Vec<String> = targets.iter().map(|target| project.seen(target)).collect();
        definitions = plots::select(&definitions, &seen, &project.cwd, &exists)?;
        // Errors of plots that are not selected are ignored.
        errors.clear();
    }
    definitions.iter_mut().for_each(|definition| overrides.apply(definition));
    let sources: Vec<&dyn PlotSource> = snapshots.iter().map(|snapshot| snapshot as &dyn PlotSource).collect();
    let mut report = plots::gather(&definitions, &sources, &project.cwd);
    report.errors.splice(0..0, errors);
    Ok(report)
}

fn print(report: &PlotReport, out: &Output) {
    for plot in plots::rows(report).chunk_by(|a, b| a.plot == b.plot) {
        out.line(out.paint_out(Style::Bold, &printable(&plot[0].plot)));
        let lines: Vec<[String; 4]> = plot
            .iter()
            .map(|row| [&row.revision, &row.name, &row.spark, &row.facts].map(|cell| printable(cell)))
            .collect();
        let width = |n: usize| lines.iter().map(|cells| cells[n].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        for cells in &lines {
            let filled = cells.iter().zip(widths).filter(|(_, width)| *width > 0);
            let line: Vec<String> = filled.map(|(text, width)| format!("{text:width$}")).collect();
            out.line(format!("  {}", line.join("  ").trim_end()));
        }
    }
}

/// A title without control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn templates(args: &TemplatesArgs, out: &Output) {
    if args.json {
        let one = |template: &Template| json!({"name": template.name(), "about": template.about()});
        out.json(&Template::ALL.iter().map(one).collect());
        return;
    }
    for template in Template::ALL {
        out.line(format!("{:22} {}", template.name(), template.about()));
    }
}

impl DrawArgs {
    fn overrides(&self, cwd: &RepoPath) -> Overrides {
        Overrides {
            x: self.x.clone(),
            y: self.y.clone(),
            x_label: self.x_label.clone(),
            y_label: self.y_label.clone(),
            title: self.title.clone(),
            template: self.template.as_ref().map(|name| (name.clone(), cwd.clone())),
            no_header: self.no_header,
        }
    }
}
