use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::pipeline::edit;
use crate::project::Project;
use crate::run::select::{Reach, Scope};

/// Keep stages from running, whatever changes
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Stages
    #[arg(required = true)]
    targets: Vec<String>,
}

/// Let frozen stages run again
#[derive(clap::Args, Debug)]
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
    let scope = Scope {
        pipelines: &definitions.pipelines,
        graph: &definitions.graph,
        cwd: &project.cwd,
        broken: &definitions.broken,
        matches: &crate::git::matches,
    };
    let reach = Reach { single: true, ..Reach::default() };
    let selected = scope.select(targets, &reach, false)?;
    let mut done = std::collections::BTreeSet::new();
    for id in &selected.named {
        let stage = definitions.pipelines.stage(*id);
        // Generated stages share one definition, which is frozen as a whole.
        let name = stage.name.split('@').next().unwrap_or(&stage.name).to_string();
        let file = &definitions.pipelines.file(stage.file).path;
        if !done.insert((file.clone(), name.clone())) {
            continue;
        }
        let on_disk = file.on_disk(project.top());
        let text = std::fs::read_to_string(&on_disk).map_err(|e| Error::io("read", &on_disk, e))?;
        if let Some(new) = edit::set_frozen(file.as_str(), &text, &name, frozen)? {
            crate::replace::replace_file(&on_disk, new.as_bytes())?;
        }
        out.say(format!("{} {name}", if frozen { "froze" } else { "unfroze" }));
    }
    Ok(0)
}
