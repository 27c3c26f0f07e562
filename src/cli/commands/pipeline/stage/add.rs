use crate::cli::commands::pipeline::repro;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::draft::draft;
use crate::error::{Error, Result};
use crate::path::{RepoPath, normalise};
use crate::pipeline::edit::{NewOut, NewStage, Role, put_stage};
use crate::project::Project;
use crate::shell::{word, words};
use crate::workspace::worktree_lock;

/// Add a stage to the pipeline.yaml of the current folder
///
/// Comments and order of the file stay as they are. The stage does not run without `--run`. Paths are relative to the
/// working folder of the stage.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep stage add -n prepare -d prepare.py -d data/raw -o data/clean python prepare.py
  lockstep stage add -n train -d data/clean -p lr,epochs -o model.bin -M metrics.json python train.py
  lockstep stage add -n train --force -p conf.json:lr -o model.bin 'python train.py > log.txt'")]
pub struct Args {
    /// The name of the stage
    #[arg(short, long)]
    name: String,
    /// Replace a stage of this name
    #[arg(short, long)]
    force: bool,
    /// A file or folder that the command reads
    #[arg(short, long, value_name = "PATH")]
    deps: Vec<String>,
    /// Parameters that the command reads [default file: params.yaml]
    #[arg(short, long, value_name = "[FILE:]KEY,…")]
    params: Vec<String>,
    /// A file or folder that the command makes
    #[arg(short, long, value_name = "PATH")]
    outs: Vec<String>,
    /// An output that is not stored; Git may track it
    #[arg(short = 'O', long, value_name = "PATH")]
    outs_no_cache: Vec<String>,
    /// An output that is not removed before the command runs
    #[arg(long, value_name = "PATH")]
    outs_persist: Vec<String>,
    /// The same, not stored
    #[arg(long, value_name = "PATH")]
    outs_persist_no_cache: Vec<String>,
    /// A file with metrics that the command makes
    #[arg(short, long, value_name = "PATH")]
    metrics: Vec<String>,
    /// The same, not stored
    #[arg(short = 'M', long, value_name = "PATH")]
    metrics_no_cache: Vec<String>,
    /// A file with a plot's data that the command makes
    #[arg(long, value_name = "PATH")]
    plots: Vec<String>,
    /// The same, not stored
    #[arg(long, value_name = "PATH")]
    plots_no_cache: Vec<String>,
    // DVC's old option, refused with a hint.
    #[arg(short, hide = true, value_name = "PATH")]
    checkpoints: Vec<String>,
    /// An environment variable that is an input
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// A folder for checkpoints: kept when the command fails, emptied when it succeeds
    #[arg(long, value_name = "DIR")]
    scratch: Vec<String>,
    /// The working folder of the command
    #[arg(short, long, value_name = "DIR")]
    wdir: Option<String>,
    /// Run the stage in each repro
    #[arg(long)]
    always_changed: bool,
    /// A description of the stage
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Run the stage, and the stages that it depends on, now
    #[arg(long)]
    run: bool,
    /// The command; several words are joined, and words with blanks are quoted
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    if !args.checkpoints.is_empty() {
        return Err(Error::usage("-c (checkpoints) is gone, from DVC as well")
            .hint("a folder from which the command can continue after a failure: --scratch DIR")
            .hint("an output that is not removed before a run: --outs-persist PATH"));
    }
    let progress = Progress::new(out, false);
    let edit = worktree_lock::take_for_edit(project, "lockstep stage add", &progress);
    progress.finish();
    let edit = edit?;
    let stage = stage(args, project)?;
    let file = project.cwd.join("pipeline.yaml").unwrap_or_default();
    let made = draft(project, &file, &|text| put_stage("pipeline.yaml", text, &stage, args.force).map(Some))?;
    let Some(made) = made else { return Ok(0) };
    let pipelines = &made.definitions.pipelines;
    let id = pipelines.ids().find(|id| pipelines.address(*id, &project.cwd) == args.name);
    let stored = id.iter().flat_map(|id| &pipelines.stage(*id).outs).filter(|o| o.cache);
    let tracked = project.repo.tracked(&stored.map(|o| o.path.clone()).collect::<Vec<RepoPath>>())?;
    if !tracked.is_empty() {
        let names: Vec<String> = tracked.iter().map(|p| p.relative_to(&project.cwd)).collect();
        return Err(Error::usage(format!(
            "Git tracks {}, and only one of Git and lockstep can keep it",
            names.join(", ")
        ))
        .hint(format!("stop tracking it in Git, keeping the file: git rm -r --cached {}", words(names)))
        .hint("or leave it to Git: --outs-no-cache, --metrics-no-cache, --plots-no-cache"));
    }
    made.write(project)?;
    drop(edit);
    let what = if made.is_new_file() { "wrote pipeline.yaml with" } else { "pipeline.yaml has" };
    out.status(format!("{what} stage {}", args.name));
    if args.run {
        return repro::run(&repro::Args::of_stage(&args.name), project, out);
    }
    out.status(format!("next: lockstep repro {}", word(&args.name)));
    Ok(0)
}

fn stage(args: &Args, project: &Project) -> Result<NewStage> {
    let wdir = args.wdir.as_deref().map(|wdir| spelled(project, &project.cwd, wdir)).filter(|wdir| wdir != ".");
    let folder = wdir.as_deref().and_then(|wdir| project.cwd.join(wdir)).unwrap_or_else(|| project.cwd.clone());
    let spelled = |path: &String| spelled(project, &folder, path);
    let tidy = |paths: &[String]| paths.iter().map(spelled).collect::<Vec<_>>();
    let mut outs = Vec::new();
    for (paths, role, cache, persist) in [
        (&args.outs, Role::Out, true, false),
        (&args.outs_no_cache, Role::Out, false, false),
        (&args.outs_persist, Role::Out, true, true),
        (&args.outs_persist_no_cache, Role::Out, false, true),
        (&args.metrics, Role::Metric, true, false),
        (&args.metrics_no_cache, Role::Metric, false, false),
        (&args.plots, Role::Plot, true, false),
        (&args.plots_no_cache, Role::Plot, false, false),
    ] {
        outs.extend(tidy(paths).into_iter().map(|path| NewOut { path, role, cache, persist }));
    }
    let cmd = joined(&args.command);
    if cmd.trim().is_empty() {
        return Err(Error::usage("the command is empty").hint("lockstep stage add -n NAME -d DEP -o OUT COMMAND"));
    }
    Ok(NewStage {
        name: args.name.clone(),
        cmd,
        wdir,
        deps: tidy(&args.deps),
        params: params(&args.params, &spelled),
        env: args.env.clone(),
        outs,
        scratch: tidy(&args.scratch),
        always_changed: args.always_changed,
        desc: args.desc.clone(),
    })
}

/// A path as the pipeline file names it: relative to `folder` if it is inside the repository, so that it is valid in a
/// clone.
fn spelled(project: &Project, folder: &RepoPath, path: &str) -> String {
    if path.contains("://") {
        return path.to_string();
    }
    match project.typed(path).filter(|_| path.starts_with('/')) {
        Some(path) => path.relative_to(folder),
        None => normalise(path),
    }
}

/// `file:a,b` → the file with its keys, each file once. Words without `:` are keys of `params.yaml`.
fn params(written: &[String], spelled: &dyn Fn(&String) -> String) -> Vec<(Option<String>, Vec<String>)> {
    let mut files: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for word in written {
        let (file, keys) = match word.rsplit_once(':') {
            Some((file, keys)) if !file.is_empty() => (Some(spelled(&file.to_string())), keys),
            Some((_, keys)) => (None, keys),
            None => (None, word.as_str()),
        };
        // Without keys the stage depends on all of params.yaml, which a list of keys cannot express.
        let file = if file.is_none() && keys.is_empty() { Some("params.yaml".to_string()) } else { file };
        let file = if file.as_deref() == Some("params.yaml") && !keys.is_empty() { None } else { file };
        let keys = keys.split(',').map(str::trim).filter(|k| !k.is_empty()).map(str::to_string);
        match files.iter_mut().find(|(f, _)| *f == file) {
            Some((_, known)) => known.extend(keys),
            None => files.push((file, keys.collect())),
        }
    }
    files
}

/// A single word is a command line as it is. Several words are joined, and quoted where necessary.
fn joined(words: &[String]) -> String {
    let [line] = words else {
        let quote = |word: &String| match word.as_str() {
            "" => "\"\"".to_string(),
            w if w.contains('"') => format!("'{}'", w.replace('\'', "'\\''")),
            w if w.contains([' ', '\t', '\n']) => format!("\"{w}\""),
            w => w.to_string(),
        };
        return words.iter().map(quote).collect::<Vec<_>>().join(" ");
    };
    line.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| w.to_string()).collect()
    }

    #[test]
    fn words_are_joined() {
        for (given, want) in [
            (&["python a.py > b"][..], "python a.py > b"),
            (&["echo", "a b", "", "c"], "echo \"a b\" \"\" c"),
            (&["python3", "-c", "print(\"a b\", 'c')"], "python3 -c 'print(\"a b\", '\\''c'\\'')'"),
        ] {
            assert_eq!(joined(&words(given)), want);
        }
    }

    #[test]
    fn params_are_grouped_by_file() {
        let got =
            params(&words(&["lr,epochs", "c.json:a", "depth", "c.json:b,", "p.toml:", "params.yaml:x"]), &|path| {
                normalise(path)
            });
        let want = vec![
            (None, words(&["lr", "epochs", "depth", "x"])),
            (Some("c.json".into()), words(&["a", "b"])),
            (Some("p.toml".into()), vec![]),
        ];
        assert_eq!(got, want);
    }
}
