use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value as Json, json};

use crate::cli::advice;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::surroundings::{open, surroundings};
use crate::document;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::report::collect::{CompareWith, LARGEST, Report, collect};
use crate::report::comment::{self, CommentChange};
use crate::report::key::cache_key;
use crate::report::last::StageStatus;
use crate::report::markdown::{markdown, marker};
use crate::report::provider::{Job, Provider, PullRequest, Target, annotation, detect};

/// Report on a run in CI, and print a cache key
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Print a Markdown report of the last `repro`, and of the changes against the target branch
    ///
    /// The variables of GitHub, GitLab and others name the target branch; the clone must have it (on GitHub:
    /// `fetch-depth: 0`). On GitHub, also adds the report to the job's summary, and annotates failed and stale stages.
    ///
    /// --comment creates or updates one comment on the pull request, with the token in GITHUB_TOKEN or GITLAB_TOKEN.
    #[command(after_help = "\
Examples:
  lockstep ci report                       Markdown on standard output
  lockstep ci report --base origin/main    against a branch of your choice
  lockstep ci report --comment             one comment, updated by each run
  lockstep ci report --json > report.json  for a job that may comment where this one may not, and needs no repository:
  lockstep ci report --comment --from report.json")]
    Report(ReportArgs),
    /// Print the key for the CI system's cache of the store, and its fallback keys
    #[command(after_help = "\
The key names all that the stages read: it is the same before and after a run, and changes with a param, a source file
or a command. Next best are keys that begin with KEY- (what a failed run of the same got done), then with PREFIX. Each
line is NAME=VALUE, as GitHub reads outputs of a step.

Examples:
  lockstep ci key >> \"$GITHUB_OUTPUT\"
  lockstep ci key --json")]
    Key {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args, Debug)]
struct ReportArgs {
    /// Compare with this revision [default: the target branch of the pull request]
    #[arg(long, value_name = "REV", conflicts_with = "from")]
    base: Option<String>,
    /// Print Markdown, which is the default
    #[arg(long)]
    md: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "md")]
    json: bool,
    /// Write the report to a comment on the pull request
    #[arg(long)]
    comment: bool,
    /// Read the report from a file that `ci report --json` wrote in another job
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Comment on this pull request [default: the one of this job]
    #[arg(long, value_name = "NUMBER", requires = "comment")]
    pr: Option<u64>,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Report(args) => report(args, global, out),
        Sub::Key { json } => key(*json, &open(global, out)?, out),
    }
}

/// A report from a file needs no repository: a job that may comment should not have the code of a pull request.
fn report(args: &ReportArgs, global: &Global, out: &Output) -> Result<u8> {
    let around = surroundings(global)?;
    let env = &around.env;
    let event = env.get("GITHUB_EVENT_PATH").and_then(|path| document::read(path.as_ref(), document::MOST).ok()?);
    let event: Option<Json> = event.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let job = detect(env, event.as_ref());
    let report = match &args.from {
        Some(file) => {
            let bytes = document::read(&around.cwd.join(file), LARGEST as u64)?;
            let bytes = bytes.ok_or_else(|| Error::missing(format!("{} does not exist", file.display())))?;
            Report::parse(&file.display().to_string(), &bytes)?
        }
        None => {
            let against = match &args.base {
                Some(rev) => CompareWith::Rev(rev.clone()),
                None => CompareWith::FirstOf(job.bases.clone()),
            };
            collect(&open(global, out)?, &against)?
        }
    };
    if let Some(name) = &report.no_base {
        out.warn(format!(
            "not compared with {name}, which this clone does not have (fetch it; GitHub: fetch-depth: 0)"
        ));
    }
    let text = markdown(&report);
    if args.json {
        out.values(&report);
    } else {
        out.document(&text);
    }
    // A report from a file belongs to another job, which has written its own summary and annotations.
    if args.from.is_none() {
        if let Some(file) = &job.summary {
            append(Path::new(file), &text)?;
        }
        if job.provider == Provider::GitHub {
            annotate(&report, out);
        }
    }
    if args.comment {
        let target = target(args, &job)?;
        let token = token(&target, env)?;
        let (number, put) = comment::put(&target, token, &marker(&report), &text)?;
        let what = if put == CommentChange::Created { "created" } else { "updated" };
        out.status(format!("{what} the comment on pull request {number}"));
    }
    Ok(0)
}

fn append(file: &Path, text: &str) -> Result<()> {
    let written =
        std::fs::File::options().create(true).append(true).open(file).and_then(|mut f| f.write_all(text.as_bytes()));
    written.map_err(|e| Error::io("write", file, e))
}

fn annotate(report: &Report, out: &Output) {
    for stage in report.run.iter().flat_map(|run| &run.stages) {
        match stage.result {
            StageStatus::Failed => {
                let message = stage.error.clone().unwrap_or_else(|| "failed".into());
                out.ci_command(&annotation(&stage.file, stage.line, &format!("{} failed", stage.address), &message));
            }
            StageStatus::Stale => {
                let title = format!("{} is stale", stage.address);
                out.ci_command(&annotation(&stage.file, stage.line, &title, &stage.reasons.join("\n")));
            }
            _ => {}
        }
    }
}

fn target(args: &ReportArgs, job: &Job) -> Result<Target> {
    let mut target = job.target.clone().ok_or_else(|| {
        Error::usage(format!("cannot comment: this is {}, not a job of GitHub or GitLab", job.provider.name()))
            .hint("`lockstep ci report > FILE` writes the Markdown; post it with your system's own tools")
    })?;
    if let Some(number) = args.pr {
        target.pull = PullRequest::Number(number);
    }
    Ok(target)
}

fn token<'a>(target: &Target, env: &'a BTreeMap<String, String>) -> Result<&'a str> {
    let variable = target.site.token_variable();
    let token = env.get(variable).map(|token| token.trim()).filter(|token| !token.is_empty());
    token.ok_or_else(|| {
        let hint = match variable {
            "GITHUB_TOKEN" => "give a job that runs no stage `permissions: pull-requests: write`, and its step `env: GITHUB_TOKEN: ${{ github.token }}`",
            _ => "make a project access token with the scope `api`, and a masked CI/CD variable GITLAB_TOKEN of it for the environment of a job that runs no stage; CI_JOB_TOKEN may not comment",
        };
        Error::usage(format!("cannot comment: {variable} is not set")).hint(hint)
    })
}

fn key(json: bool, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    // With a broken pipeline file, the key would cover only a part of the inputs.
    if let Some((_, error)) = definitions.broken.first() {
        return Err(error.clone());
    }
    advice::warn_broken_pipelines(&definitions, project, out);
    let progress = Progress::new(out, false);
    let found = cache_key(project, &definitions, &progress);
    progress.finish();
    let found = found?;
    let _ = project.index().save();
    let path = project.store_dir();
    if json {
        out.json(&json!({"key": found.key, "restore_keys": found.restore(), "path": path.to_string_lossy()}));
        return Ok(0);
    }
    out.line(format!("key={}", found.key));
    out.line(format!("prefix={}", found.prefix()));
    out.line(format!("path={}", path.display()));
    Ok(0)
}
