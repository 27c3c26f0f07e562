use std::collections::BTreeSet;

use serde_json::json;

use super::{declared, unknown};
use crate::cli::output::Output;
use crate::cli::text;
use crate::environment::record::Record;
use crate::error::{Error, Kind, Result};
use crate::event::Silent;
use crate::file_lock::Wait;
use crate::project::Project;
use crate::run::environments::{Removal, all, remove};
use crate::store::ObjectId;

/// The shortest beginning of a hash that selects an environment.
const SHORTEST: usize = 6;

/// Remove environments that were made
///
/// A stage that needs one makes it again. One that a stage runs in, or that is being made, is kept.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep env rm py              the environment of this name, and earlier ones of it
  lockstep env rm 0123abcd        one, by the beginning of its hash
  lockstep env rm --unused        those that no pipeline file of this worktree names")]
pub struct Args {
    /// Names of environments, or hashes
    #[arg(value_name = "NAME|HASH", required_unless_present = "unused", conflicts_with = "unused")]
    names: Vec<String>,
    /// Those that no pipeline file of this worktree names any more
    #[arg(long)]
    unused: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let environments = project.repo.environments_dir();
    let here = all(&environments);
    let chosen = match args.unused {
        true => unused(project, &here, out)?,
        false => named(args, project, &here, out)?,
    };
    let stop = project.around.stop;
    let wait = Wait { busy: "uses it", usual: None, signal: &|| stop.signal(), sink: &Silent };
    let (mut removed, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
    for hash in chosen {
        let size = Record::load(&environments, &hash).map_or(0, |record| record.bytes);
        match remove(&environments, &hash, &wait)? {
            Removal::Removed => {
                removed.push(hash.hex());
                bytes += size;
            }
            Removal::InUse => kept.push(hash.hex()),
        }
    }
    if args.json {
        out.json(&json!({"removed": removed, "in_use": kept, "bytes": bytes}));
    } else {
        for hash in &kept {
            out.warn(format!("{} is in use and stays", &hash[..12]));
        }
        out.status(format!("{} removed, {} freed", text::count(removed.len(), "environment"), text::bytes(bytes)));
    }
    Ok(u8::from(!kept.is_empty() && !args.unused))
}

/// Errors: what a pipeline file names is not known, so nothing is known to be unused.
fn unused(project: &Project, here: &[ObjectId], out: &Output) -> Result<Vec<ObjectId>> {
    let definitions = project.definitions()?;
    if let Some((path, error)) = definitions.broken.first() {
        return Err(Error::new(error.kind, format!("{path} cannot be read, so it is not known what it needs"))
            .because(error.message.clone()));
    }
    let mut used = BTreeSet::new();
    for one in declared(project, &definitions, out) {
        let why = "so it is not known which environment it is, and nothing was removed";
        used.insert(one.resolved.map_err(|error| error.because(why))?.lock.hash);
    }
    Ok(here.iter().filter(|hash| !used.contains(hash)).copied().collect())
}

fn named(args: &Args, project: &Project, here: &[ObjectId], out: &Output) -> Result<Vec<ObjectId>> {
    let definitions = project.definitions()?;
    let declared = declared(project, &definitions, out);
    let environments = project.repo.environments_dir();
    let mut chosen = BTreeSet::new();
    for name in &args.names {
        let is_hash = name.len() >= SHORTEST && name.bytes().all(|b| b.is_ascii_hexdigit());
        let by_hash: Vec<_> = here.iter().filter(|hash| is_hash && hash.hex().starts_with(name)).collect();
        if by_hash.len() > 1 {
            return Err(Error::new(Kind::Usage, format!("{name} is the beginning of {} hashes", by_hash.len())));
        }
        let current = declared.iter().filter(|one| one.spec.name == *name).flat_map(|one| &one.resolved);
        let current: Vec<ObjectId> = current.map(|resolved| resolved.lock.hash).collect();
        let is_named = |hash: &&ObjectId| {
            current.contains(hash) || Record::load(&environments, hash).is_some_and(|record| record.name == *name)
        };
        let by_name: Vec<_> = here.iter().filter(is_named).collect();
        if by_hash.is_empty() && by_name.is_empty() {
            match declared.iter().any(|one| one.spec.name == *name) {
                true => out.status(format!("environment {name} is not made")),
                false => return Err(unknown(name, &declared)),
            }
        }
        chosen.extend(by_hash.into_iter().chain(by_name).copied());
    }
    Ok(chosen.into_iter().collect())
}
