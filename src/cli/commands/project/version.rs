use std::ffi::OsString;

use serde_json::json;

use crate::cli::output::Output;
use crate::error::Result;

/// Print the version
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep version
  lockstep version -v       with the platform and the versions of the formats that it reads and writes
  lockstep version --json")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Are the arguments `version` or `--version` alone? Scripts run this often, and it needs no command line parser.
pub fn is_asked(mut args: impl Iterator<Item = OsString>) -> bool {
    args.next();
    let is_version = args.next().is_some_and(|word| ["version", "--version", "-V"].iter().any(|known| word == *known));
    is_version && args.next().is_none()
}

pub fn text() -> String {
    format!("lockstep {}", env!("CARGO_PKG_VERSION"))
}

pub fn run(args: &Args, out: &Output) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let (lock, runs) = (crate::lock::SCHEMA, crate::cache::entries::VERSION);
    let debug = cfg!(debug_assertions);
    if args.json {
        out.json(&json!({
            "version": version,
            "platform": platform,
            "lock_schema": lock,
            "run_cache": runs,
            "features": [],
            "debug": debug,
        }));
        return Ok(0);
    }
    out.line(text());
    if out.verbose > 0 {
        out.line(format!("platform    {platform}{}", if debug { ", built without optimisation" } else { "" }));
        out.line(format!("lock        pipeline.lock schema {lock}"));
        out.line(format!("store       BLAKE3 objects, run cache entries of version {runs}"));
        out.line("features    none");
    }
    Ok(0)
}
