use crate::cli::advice;
use crate::cli::ask;
use crate::cli::next_step::{self, GitInputs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::run::commit::{ChangedInputs, CommitOptions, changed_inputs_sentence, commit, commit_kept, last_refused};
use crate::shell::word;

/// Record outputs and data as they are, without a run
///
/// Stores them, and pins them in pipeline.lock.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep commit                 store what `repro --no-commit` made
  lockstep commit -f train        take train's outputs as they are for the result of its inputs
  lockstep commit --kept train    record the outputs of a run whose input changed during the run")]
pub struct Args {
    /// Stages, groups, outputs, data, or pipeline files [default: the current folder's pipeline]
    targets: Vec<String>,
    /// Do not ask about inputs that changed
    #[arg(short, long)]
    force: bool,
    /// Record the kept outputs of a refused run against its own inputs
    #[arg(long)]
    kept: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let selected = scope.select(&args.targets, &reach, false)?;
    let options = CommitOptions { force: args.force, command: "lockstep commit".into() };
    let progress = Progress::new(out, false);
    let committed = if args.kept {
        let [id] = selected.named[..] else {
            return Err(Error::usage("--kept takes exactly one stage").hint("lockstep commit --kept STAGE"));
        };
        let address = definitions.pipelines.address(id, &project.cwd);
        if !args.force {
            last_refused(project, &definitions, id)?;
            let question =
                format!("record the kept outputs of {address} against the inputs as they were before its run?");
            confirm(&question, &format!("lockstep commit --kept --force {address}"), out)?;
        }
        commit_kept(project, &definitions, id, &options, &progress)
    } else {
        commit(project, &definitions, &selected, &options, &progress, &|doubt: &ChangedInputs| {
            let address = definitions.pipelines.address(doubt.stage, &project.cwd);
            let question =
                format!("{address} is stale ({}); record its outputs as they are?", changed_inputs_sentence(doubt));
            confirm(&question, &format!("lockstep commit --force {}", word(&address)), out)
        })
    };
    progress.finish();
    let committed = committed?;
    out.status(format!("{} recorded", text::count(committed.stages.len(), "stage")));
    advice::warn_orphans(&committed.orphans, project, out);
    let mut inputs = GitInputs::of(&definitions, &committed.stages);
    selected.files.iter().for_each(|file| inputs.add_file(&definitions, file.0 as usize));
    let outs = committed.stages.iter().flat_map(|id| &definitions.pipelines.stage(*id).outs);
    let kept_by_git = outs.filter(|out| !out.cache).map(|out| out.path.clone());
    let written: Vec<_> = committed.written.into_iter().chain(kept_by_git).collect();
    next_step::print_recorded(&written, &inputs, &definitions, project, out);
    Ok(0)
}

fn confirm(question: &str, agreed: &str, out: &Output) -> Result<()> {
    ask::confirm(question, agreed, "nothing was recorded", out)
}
