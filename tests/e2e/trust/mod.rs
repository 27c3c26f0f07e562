//! Whose word counts: what a hostile repository, remote or neighbour cannot do, one file a subject.

mod addresses;
mod bare;
mod documents;
mod escapes;
mod folder_remotes;
mod forged_objects;
mod grades;
mod grants;
mod imports;
mod limits;
mod links_inside;
mod links_out;
mod listener;
mod multiplication;
mod neighbours;
mod outside;
mod owner;
mod paths;
mod planted_links;
mod remote_answers;
mod secret_places;
mod secrets;
mod signatures;
mod stores;
mod swapped;
mod temporary_files;
mod tree_bomb;
mod trees;
mod typed_hints;
mod urls;
mod waits;

use crate::sandbox::{Output, Sandbox, output};

/// With 3 GB at most, and a minute.
fn run_limited(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut limited = sandbox.command("sh".as_ref(), "");
    let program = env!("CARGO_BIN_EXE_lockstep");
    limited.args(["-c", "ulimit -v 3000000; exec timeout 60 \"$@\"", "sh", program]).args(args);
    output(&mut limited)
}
