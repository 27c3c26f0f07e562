use crate::cli::output::Output;
use crate::error::Result;

/// Print the version
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &Output) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        out.json(&serde_json::json!({
            "version": version,
            "platform": format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            "lock_schema": crate::lock::SCHEMA,
        }));
    } else {
        out.line(format!("lockstep {version}"));
    }
    Ok(0)
}
