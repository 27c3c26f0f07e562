use std::collections::BTreeSet;

use rustix::termios::tcgetwinsize;
use serde_json::json;

use crate::cli::advice;
use crate::cli::output::Output;
use crate::error::Result;
use crate::escape;
use crate::pipeline::draw::{Charset, Picture, draw};
use crate::pipeline::network::{Network, outs, stages};
use crate::pipeline::stage::StageId;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::{Project, Rev};

/// Draw the graph of stages
///
/// A stage stands above the stages that depend on it. Without targets, draws all pipelines of the repository. Stages
/// whose boxes do not fit the width of the terminal are listed, one line each: `train  <- prepare, features`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep dag                     all stages
  lockstep dag train               train with the stages it depends on
  lockstep dag train --full        train with all stages connected to it
  lockstep dag --outs              the files instead of the stages
  lockstep dag --rev v1.0          as of a commit, without checking it out
  lockstep dag --mermaid           for a README on GitHub or GitLab
  lockstep dag --dot | dot -Tsvg > dag.svg")]
pub struct Args {
    /// Stages, groups, outputs, or pipeline files
    targets: Vec<String>,
    /// Draw the graph of a revision: a branch, tag, `HEAD~3`, model version
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Draw all stages that are connected to the targets, not only those that they depend on
    #[arg(long)]
    full: bool,
    /// Draw outputs and tracked data instead of stages
    #[arg(short, long)]
    outs: bool,
    /// Draw one box for all stages of a foreach or matrix
    #[arg(long, alias = "collapse-foreach-matrix", conflicts_with = "outs")]
    collapse: bool,
    /// Print text for Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// Print text for Mermaid
    #[arg(long, group = "form")]
    mermaid: bool,
    /// Print a Mermaid block for Markdown
    #[arg(long, group = "form")]
    md: bool,
    /// Print JSON: nodes and edges
    #[arg(long, group = "form")]
    json: bool,
    /// Draw with ASCII characters only
    #[arg(long)]
    ascii: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let snapshot = project.at(&Rev::of(args.rev.as_deref()))?;
    let definitions = snapshot.with_graph()?;
    let scope = Scope::of(project, definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let selected = scope.select(&args.targets, &reach, true).map_err(|e| advice::hint_dvc(e, definitions))?;
    advice::refuse_dvc_only(definitions)?;
    advice::warn_broken_pipelines_of(&snapshot, out);
    let chosen = if args.targets.is_empty() { None } else { Some(needed(&selected.named, args.full, &scope)) };
    let chosen = chosen.unwrap_or_else(|| definitions.pipelines.ids().collect());
    let network = if args.outs {
        outs(&definitions.pipelines, &definitions.graph, &chosen, args.targets.is_empty(), &project.cwd)
    } else {
        stages(&definitions.pipelines, &definitions.graph, &chosen, args.collapse, &project.cwd)
    };
    if network.labels.is_empty() && !args.json {
        out.status("there are no stages to draw");
    }
    match args {
        Args { json: true, .. } => out.json(&json!({
            "nodes": network.labels,
            "edges": network.edges.iter().map(|(a, b)| json!({"from": network.labels[*a], "to": network.labels[*b]})).collect::<Vec<_>>(),
        })),
        Args { dot: true, .. } => out.document(&network.dot()),
        Args { mermaid: true, .. } => out.document(&network.mermaid()),
        Args { md: true, .. } => out.document(&format!("```mermaid\n{}\n```", network.mermaid())),
        _ => {
            let Network { labels, edges } = network;
            // A label is one line, and escaped before its width is taken.
            let labels = labels.iter().map(|label| escape::text(label)).collect();
            for line in draw(&Picture { labels, edges }, charset(args, project), width(project)) {
                out.line(line);
            }
        }
    }
    Ok(if args.targets.is_empty() { advice::exit_code_of_all(0, definitions) } else { 0 })
}

/// The targets with the stages that they depend on (also those of frozen stages, unlike in a run), or all connected ones.
fn needed(named: &[StageId], full: bool, scope: &Scope<'_>) -> BTreeSet<StageId> {
    let mut chosen = BTreeSet::new();
    let mut open = named.to_vec();
    while let Some(id) = open.pop() {
        if chosen.insert(id) {
            open.extend(scope.graph.upstream(id));
            if full {
                open.extend(scope.graph.downstream(id));
            }
        }
    }
    chosen
}

/// The number of columns for a drawing: `COLUMNS`, else that of the terminal; `None` for a pipe or a file.
fn width(project: &Project) -> Option<usize> {
    let given = project.around.env.get("COLUMNS").and_then(|columns| columns.parse().ok());
    let terminal = || tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| usize::from(size.ws_col));
    // Some terminals do not know their width, and say 0.
    given.filter(|columns| *columns > 0).or_else(|| terminal().filter(|columns| *columns > 0))
}

/// Use ASCII? Yes, unless the locale is UTF-8.
fn charset(args: &Args, project: &Project) -> Charset {
    let set = |name: &str| project.around.env.get(name).filter(|v| !v.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let is_utf8 = locale.is_some_and(|l| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    });
    // macOS terminals are UTF-8 in every locale.
    if args.ascii || !(is_utf8 || cfg!(target_os = "macos")) { Charset::Ascii } else { Charset::Unicode }
}
