//! The machine-readable block in the message of a tag: a line `lockstep-model 1`, then JSON to the end of the message.
//!
//! Any user who may push tags can write it, so it is untrusted: its size is limited, and an invalid block is ignored.

use serde::Deserialize;

use super::Version;
use crate::value;

/// The version of the block.
pub const VERSION: u32 = 1;
/// The limit for a message, which includes all metrics of a version. A longer one was written by another program.
pub const LONGEST: usize = 16 << 20;
/// The start of its first line.
pub const HEAD: &str = "lockstep-model ";

/// The part of a block that names the version of a tag.
#[derive(Deserialize)]
struct Subject {
    version: Option<String>,
}

/// The JSON of the block in a message, if it has one of this version.
pub fn json(message: &str) -> Option<&str> {
    if message.len() > LONGEST {
        return None;
    }
    let (version, json) = message[start(message)?..].split_once('\n')?;
    (version.trim().parse() == Ok(VERSION)).then_some(json)
}

/// Where the block begins, after its [`HEAD`].
pub fn start(message: &str) -> Option<usize> {
    let at_line = |at: &usize| *at == 0 || message.as_bytes()[at - 1] == b'\n';
    let mut heads = message.match_indices(HEAD).map(|(at, _)| at).filter(at_line);
    heads.next().map(|at| at + HEAD.len())
}

/// The version that the block of a message names.
pub fn version(message: &str) -> Option<Version> {
    value::read_record::<Subject>(json(message)?).ok()?.version?.parse().ok()
}
