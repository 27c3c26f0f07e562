use std::collections::BTreeSet;

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::edit::draft::draft;
use crate::error::{Error, Result};
use crate::pipeline::edit;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::workspace::worktree_lock;

/// Freeze stages: do not run them, whatever changes
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep stage freeze fetch            keep the outputs of fetch, whatever changes
  lockstep stage freeze train@0.1        all stages of train: they share one definition")]
pub struct Args {
    /// Stages
    #[arg(required = true)]
    targets: Vec<String>,
}

/// Unfreeze stages, so that they run again
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep stage unfreeze fetch          fetch runs again when something changes")]
pub struct UnfreezeArgs {
    /// Stages
    #[arg(required = true)]
    targets: Vec<String>,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    set(&args.targets, true, project, out)
}

pub fn unfreeze(args: &UnfreezeArgs, project: &Project, out: &Output) -> Result<u8> {
    set(&args.targets, false, project, out)
}

fn set(targets: &[String], frozen: bool, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let selected = scope.select(targets, &reach, false)?;
    let (word, is) = if frozen { ("froze", "frozen") } else { ("unfroze", "not frozen") };
    let command = if frozen { "lockstep stage freeze" } else { "lockstep stage unfreeze" };
    let progress = Progress::new(out, false);
    let edit = worktree_lock::take_for_edit(project, command, &progress);
    progress.finish();
    let _edit = edit?;
    let mut done = BTreeSet::new();
    for id in &selected.named {
        let stage = definitions.pipelines.stage(*id);
        let file = definitions.pipelines.file(stage.file);
        // Generated stages share one definition, which is frozen as a whole.
        let group = file.groups.iter().find(|(_, ids)| ids.contains(id));
        let name = group.map_or(&stage.name, |(group, _)| group);
        if !done.insert((stage.file, name)) {
            continue;
        }
        let place = file.path.relative_to(&project.cwd);
        let made = draft(project, &file.path, &|text| edit::set_frozen(&place, text, name, frozen))?;
        let all = match group {
            Some((_, ids)) => format!(", with the {} that it generates", text::count(ids.len(), "stage")),
            None => String::new(),
        };
        match made {
            Some(made) => {
                made.write(project)?;
                out.status(format!("{word} {name}{all}"));
            }
            None => {
                let comma = if all.is_empty() { "" } else { "," };
                out.status(format!("{name}{all}{comma} is {is} already"));
            }
        }
    }
    if selected.named.is_empty() {
        return Err(Error::usage("no target is a stage").hint("see the stages: lockstep stage list --all"));
    }
    Ok(0)
}
