use crate::cli::next_step;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::edit::add::{AddOptions, add};
use crate::error::Result;
use crate::project::Project;

/// Track files and folders that no stage makes
///
/// Adds each path to `data` in the nearest pipeline.yaml upwards, or in a new one here. Pins its content in
/// pipeline.lock, stores it, and makes Git ignore it. Adding a path again pins its changed content.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep add data/raw                      track a folder
  lockstep add images.zip labels.csv         or files
  lockstep add data/raw --desc 'from UCI'    say what it is")]
pub struct Args {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// A description of the data
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Only write the entry; `lockstep commit` or `lockstep repro` pins and stores the content
    #[arg(long)]
    no_commit: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let options = AddOptions { desc: args.desc.clone(), no_commit: args.no_commit, ..AddOptions::default() };
    let progress = Progress::new(out, false);
    let added = add(project, &args.paths, &options, &progress);
    progress.finish();
    let added = added?;
    if let Some(file) = &added.file {
        out.status(format!("{} in {}", text::count(added.new.len(), "new path"), file.relative_to(&project.cwd)));
    }
    if options.desc.is_some() && !added.known.is_empty() {
        out.warn("--desc is for new entries; change that of the others in pipeline.yaml");
    }
    next_step::print_git_add(&added.written, project, out);
    Ok(0)
}
