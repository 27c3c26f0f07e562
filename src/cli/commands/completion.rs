use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use crate::cli::args::Cli;
use crate::cli::output::Output;
use crate::error::Result;

/// Print a script that completes commands and options in a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Put it where the shell looks for it, then open a new shell:
  lockstep completion bash > ~/.local/share/bash-completion/completions/lockstep
  lockstep completion fish > ~/.config/fish/completions/lockstep.fish
  lockstep completion zsh > \"${fpath[1]}/_lockstep\"

Or try it in this shell only:
  source <(lockstep completion bash)")]
pub struct Args {
    shell: Supported,
}

/// The shells whose scripts were tried.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

pub fn run(args: &Args, out: &Output) -> Result<u8> {
    let shell = match args.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    // The generators offer hidden commands, too, so they are given a copy without them.
    let whole = Cli::command();
    let mut shown = clap::Command::new("lockstep")
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    let mut script = Vec::new();
    generate(shell, &mut shown, "lockstep", &mut script);
    out.bytes(&script);
    Ok(0)
}
