use clap::ValueEnum;
use clap_complete::{Shell, generate};

use crate::cli::output::Output;
use crate::error::Result;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Put it where the shell looks for it, then open a new shell:
  lockstep completion bash > ~/.local/share/bash-completion/completions/lockstep
  lockstep completion fish > ~/.config/fish/completions/lockstep.fish
  lockstep completion zsh > \"${fpath[1]}/_lockstep\"

Or try it in this shell only:
  source <(lockstep completion bash)")]
pub struct Args {
    shell: SupportedShell,
}

/// The shells whose scripts are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SupportedShell {
    Bash,
    Zsh,
    Fish,
}

/// `whole` is the command line of the program.
pub fn run(args: &Args, whole: &clap::Command, out: &Output) -> Result<u8> {
    let shell = match args.shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    // The generators offer hidden commands, too, so they get a copy without them.
    let mut shown = clap::Command::new("lockstep")
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    let mut script = Vec::new();
    generate(shell, &mut shown, "lockstep", &mut script);
    if let SupportedShell::Bash = args.shell {
        script = without_dashes(&String::from_utf8_lossy(&script)).into_bytes();
    }
    out.raw(&script);
    Ok(0)
}

/// The generated script offers options even if nothing is typed. For a command that has only options, the shell would
/// type their common prefix `-`. Without this it offers files.
fn without_dashes(script: &str) -> String {
    const OFFER: &str = "COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )";
    let (mut fixed, mut options_alone, mut last) = (String::with_capacity(script.len()), false, "");
    for line in script.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix("opts=\"") {
            let words = words.trim_end().trim_end_matches('"');
            options_alone = words.split_whitespace().all(|word| word.starts_with(['-', '[', '<']));
        }
        let instead = match trimmed.trim_end() {
            text if options_alone && text.starts_with("if [[ ${cur} == -* || ") => "if [[ ${cur} == -* ]] ; then\n",
            text if options_alone && text == OFFER && last == "esac" => "COMPREPLY=()\n",
            _ => trimmed,
        };
        fixed.push_str(&line[..line.len() - trimmed.len()]);
        fixed.push_str(instead);
        last = trimmed.trim_end();
    }
    fixed
}
