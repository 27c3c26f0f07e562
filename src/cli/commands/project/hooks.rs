use clap::Subcommand;

use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::git::{ActionLog, HOOKS, Hook, Repo};
use crate::project::Project;

/// Install the Git hooks and the merge driver
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Install(InstallArgs),
    /// Remove the hooks and the merge driver, and restore the hooks from before
    Uninstall,
}

/// Install the merge driver for pipeline.lock and the pre-push hook
///
/// With the merge driver, branches that ran different stages merge without a conflict. The pre-push hook stops a push of
/// commits whose outputs are at no remote. Both belong to this clone; no committed file changes. A hook that exists
/// already is kept and runs first. `git push --no-verify` skips both.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep hooks install                   merge driver and pre-push hook
  lockstep hooks install --post-checkout   also report outdated outputs after `git checkout` and `git pull`
  lockstep hooks uninstall                 remove all of them")]
pub struct InstallArgs {
    /// Also install hooks that report, after a checkout or merge, what `lockstep checkout` would change
    #[arg(long)]
    post_checkout: bool,
    // As `lockstep hooks uninstall`.
    #[arg(long, hide = true, conflicts_with = "post_checkout")]
    uninstall: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Install(args) => install(args, project, out),
        Sub::Uninstall => uninstall(project, out),
    }
}

pub fn install(args: &InstallArgs, project: &Project, out: &Output) -> Result<u8> {
    if args.uninstall {
        return uninstall(project, out);
    }
    let (repo, program) = (git_repo(project)?, &project.around.program);
    print(repo.install_driver(program)?, out);
    print(repo.install_hook(Hook::PrePush, program)?, out);
    if args.post_checkout {
        print(repo.install_hook(Hook::PostCheckout, program)?, out);
        print(repo.install_hook(Hook::PostMerge, program)?, out);
    }
    Ok(0)
}

fn uninstall(project: &Project, out: &Output) -> Result<u8> {
    let repo = git_repo(project)?;
    print(repo.uninstall_driver()?, out);
    for hook in HOOKS {
        print(repo.uninstall_hook(hook)?, out);
    }
    Ok(0)
}

fn git_repo(project: &Project) -> Result<&Repo> {
    if project.repo.is_git() {
        return Ok(&project.repo);
    }
    Err(Error::missing("there is no Git repository here").hint("git init, then lockstep hooks install"))
}

fn print(done: ActionLog, out: &Output) {
    done.iter().for_each(|line| out.status(line));
}
