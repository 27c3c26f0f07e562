use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::git::{ActionLog, HOOKS, Hook};
use crate::project::Project;

/// Teach this clone's Git about lockstep: merges of pipeline.lock, and a check before a push
///
/// Sets a merge driver, so that branches which ran different stages merge without a conflict, and a pre-push hook that
/// stops a push whose outputs no remote has. Nothing that is committed changes. A hook that is there already is kept
/// and runs first; `git push --no-verify` passes by both.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep install                   merge driver and pre-push hook
  lockstep install --post-checkout   and a word after `git checkout` and `git pull` when outputs differ
  lockstep install --uninstall       take all of it away again")]
pub struct Args {
    /// After a checkout or a merge, tell what `lockstep checkout` would change
    #[arg(long)]
    post_checkout: bool,
    /// Take away what was installed
    #[arg(long, conflicts_with = "post_checkout")]
    uninstall: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let tell = |done: ActionLog| done.iter().for_each(|line| out.say(line));
    let repo = &project.repo;
    if !repo.is_git() {
        return Err(Error::missing("there is no Git repository here, so there is nothing to install")
            .hint("git init, then lockstep install"));
    }
    if args.uninstall {
        tell(repo.uninstall_driver()?);
        for hook in HOOKS {
            tell(repo.uninstall_hook(hook)?);
        }
        return Ok(0);
    }
    let program = &project.around.program;
    tell(repo.install_driver(program)?);
    tell(repo.install_hook(Hook::PrePush, program)?);
    if args.post_checkout {
        tell(repo.install_hook(Hook::PostCheckout, program)?);
        tell(repo.install_hook(Hook::PostMerge, program)?);
    }
    Ok(0)
}
