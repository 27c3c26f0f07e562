//! Every command of README.md, run.
//!
//! A comment before each `sh` block says how: `test` goes on in the folder where the block before ended, `test: new`
//! begins in a new sandbox, `test: exit N` expects that code of the last command, `test: no, REASON` is not run. A
//! block without such a comment is a mistake.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::{Sandbox, output};

struct Block {
    line: usize,
    new: bool,
    exit: i32,
    script: String,
}

#[test]
fn the_commands_do_what_they_say() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = blocks(&readme);
    assert!(blocks.len() > 5, "where are the blocks?");
    let mut sandbox = Sandbox::without_git();
    let mut folder = sandbox.root().to_path_buf();
    for block in &blocks {
        if block.new {
            sandbox = Sandbox::without_git();
            folder = sandbox.root().to_path_buf();
        }
        let (code, shown, ended_in) = run(&sandbox, &folder, &block.script);
        assert_eq!(code, block.exit, "README.md:{}:\n{}\n{shown}", block.line, block.script);
        folder = ended_in;
    }
}

/// The blocks that are run, in their order.
fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "```sh") {
        let mark = lines[at - 1].strip_prefix("<!-- test").and_then(|rest| rest.strip_suffix(" -->"));
        let mark = mark.unwrap_or_else(|| panic!("README.md:{}: no comment says how this is tested", at + 1));
        if mark.starts_with(": no, ") {
            continue;
        }
        let exit = mark.strip_prefix(": exit ").map_or(0, |code| code.parse().unwrap());
        assert!(["", ": new"].contains(&mark) || exit > 0, "README.md:{at}: {mark}");
        let script = lines[at + 1..].iter().take_while(|line| **line != "```");
        let script = script.map(|line| format!("{line}\n")).collect();
        found.push(Block { line: at + 1, new: mark == ": new", exit, script });
    }
    found
}

/// Runs a script in a folder with the built binary on the path; its exit code, what it printed, and where it ended.
fn run(sandbox: &Sandbox, folder: &Path, script: &str) -> (i32, String, PathBuf) {
    // What is built already is not built again, and nothing is left outside of the sandbox.
    let script = script
        .replace("cargo build --release && ", "")
        .replace("./target/release/lockstep", "lockstep")
        .replace("/tmp/", &format!("{}/", sandbox.root().display()));
    let bin = Path::new(env!("CARGO_BIN_EXE_lockstep")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let note = sandbox.path(".ended-in");
    let mut shell = sandbox.command(Path::new("sh"), "");
    shell.args(["-e", "-c", &format!("{script}\npwd > \"$ENDED_IN\"")]);
    let out = output(shell.current_dir(folder).env("PATH", path).env("ENDED_IN", &note));
    let ended_in = fs::read_to_string(&note).map_or(folder.to_path_buf(), |text| PathBuf::from(text.trim()));
    let _ = fs::remove_file(&note);
    (out.code, out.to_string(), ended_in)
}
