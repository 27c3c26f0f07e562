pub mod du;
pub mod gc;
mod gc_remote;
pub mod verify;

use std::path::Path;

use clap::Subcommand;

use crate::cache::entries::keys_of;
use crate::cache::signatures::new_pair;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::config::{self, WorktreeArea};
use crate::error::{Error, Result};
use crate::path::home::below_home;
use crate::path::normalise;
use crate::plan::facts::FactsReader;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::remote::Remote;
use crate::shell::word;
use crate::store::ObjectId;

/// Inspect, verify and clean the local store
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Print or set the folder of the store
    #[command(after_help = "\
The content of the old folder stays there: move it yourself to keep it.

Examples:
  lockstep store dir                            print it; CI keeps this folder between runs
  lockstep store dir ../store                   a folder of the repository: written to lockstep.toml
  lockstep store dir --local /mnt/team/store    for this clone alone; any folder")]
    Dir {
        /// The new folder
        path: Option<String>,
        /// Write the settings of this clone, not lockstep.toml
        #[arg(long, requires = "path")]
        local: bool,
    },
    /// Drop the results of a stage from the run cache
    ///
    /// The run cache holds the result of every run by its stage key. Drop a result that is wrong although its inputs are
    /// right (a full disk, an incomplete download).
    #[command(after_help = "\
Examples:
  lockstep store drop train && lockstep repro --force --single-item train
  lockstep store drop train --remote       also at the remote, for all its users")]
    Drop {
        /// A stage, or a stage key of 64 hexadecimal digits as pipeline.lock has it
        #[arg(value_name = "STAGE|KEY")]
        what: String,
        /// Also drop them at a remote, for all its users [default: core.remote]
        #[arg(long, value_name = "NAME", num_args = 0..=1)]
        remote: Option<Option<String>>,
    },
    /// Generate a pair of keys for `cache.sign = "ed25519"`
    #[command(after_help = "\
The first line is the secret: keep it where CI keeps its secrets, as LOCKSTEP_SIGN_KEY. The second
is for everybody: lockstep config cache.verify_keys KEY")]
    Keygen,
    Du(du::Args),
    Gc(gc::Args),
    Verify(verify::Args),
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Dir { path: None, .. } => out.line(project.store_dir().to_string_lossy()),
        Sub::Dir { path: Some(path), local } => set_dir(path, *local, project, out)?,
        Sub::Drop { what, remote } => drop_runs(what, remote.as_ref(), project, out)?,
        Sub::Keygen => {
            let (secret, public) = new_pair()?;
            out.line(format!("LOCKSTEP_SIGN_KEY={secret}"));
            out.line(format!("cache.verify_keys={public}"));
        }
        Sub::Du(args) => return du::run(args, project, out),
        Sub::Gc(args) => return gc::run(args, project, out),
        Sub::Verify(args) => return verify::run(args, project, out),
    }
    Ok(0)
}

fn set_dir(path: &str, local: bool, project: &Project, out: &Output) -> Result<()> {
    config::check_folder(path)?;
    let value = if Path::new(path).is_absolute() || below_home(path).is_some() {
        path.to_string()
    } else {
        // The argument is relative to the current folder, the setting to the root.
        normalise(&format!("{}/{path}", project.cwd.relative_to(&project.repo.project_root)))
    };
    let file = if local { project.repo.local_config() } else { project.repo.project_config() };
    let checkout =
        WorktreeArea { top: project.repo.top.clone(), root: project.repo.project_root.on_disk(project.top()) };
    if !local && let Err(reason) = checkout.takes(&value) {
        let message = format!("cache.dir cannot be {value} in lockstep.toml: {reason}");
        return Err(Error::usage(message)
            .because("lockstep.toml is committed, and this folder may not exist on other machines")
            .hint(format!("for this clone alone: lockstep store dir --local {}", word(path))));
    }
    config::set(&file, "cache.dir", &value)?;
    out.status(format!("cache.dir = {value} in {}", file.display()));
    Ok(())
}

fn drop_runs(what: &str, remote: Option<&Option<String>>, project: &Project, out: &Output) -> Result<()> {
    let remote = remote.map(|name| Remote::open(project, name.as_deref(), None)).transpose()?;
    if let Ok(key) = what.parse::<ObjectId>() {
        let gone = drop_keys(&[key], remote.as_ref(), project)?;
        if gone == (0, 0) {
            return Err(Error::missing(format!("the run cache has no result under the key {what}")));
        }
        print_dropped(gone, "", remote.as_ref(), out);
        return Ok(());
    }
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    let reach = SelectionMode { single: true, ..SelectionMode::default() };
    let selected = scope.select(&[what.to_string()], &reach, false)?;
    let progress = Progress::new(out, false);
    let mut reader = FactsReader::new(project, &definitions, &progress);
    for id in &selected.named {
        let gone = drop_keys(&keys_of(project, &definitions, *id, &mut reader)?, remote.as_ref(), project)?;
        let address = definitions.pipelines.address(*id, &project.cwd);
        match gone {
            (0, 0) => out.status(format!("the run cache has no result of {address}")),
            gone => print_dropped(gone, &format!(" of {address}"), remote.as_ref(), out),
        }
    }
    progress.finish();
    Ok(())
}

/// Drops results; returns how many, here and at the remote.
fn drop_keys(keys: &[ObjectId], remote: Option<&Remote>, project: &Project) -> Result<(usize, usize)> {
    // The remote comes first: if it fails, the same command can be repeated.
    let there = match remote {
        Some(remote) => {
            let known = remote.catalog()?;
            remote.withdraw(&keys.iter().flat_map(|key| known.runs(key)).map(|run| run.entry).collect())?
        }
        None => 0,
    };
    let mut here = 0;
    for key in keys {
        here += project.store().drop_runs(&key.hex())?;
    }
    Ok((here, there))
}

fn print_dropped((here, there): (usize, usize), of: &str, remote: Option<&Remote>, out: &Output) {
    let at = remote.map(|remote| format!("; withdrew {there} at {}", remote.name)).unwrap_or_default();
    out.status(format!("dropped {}{of}{at}", text::count(here, "result")));
}
