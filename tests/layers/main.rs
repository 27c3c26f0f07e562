//! The order of the house, kept by a test: which room may name which, which crate is named where, and that only the
//! counter prints or reads the environment, the clock or the current directory.
//!
//! The sources are read as text, comments and strings blanked, test code cut off. What this misses (a path behind a
//! macro, an alias) a review has to see; what it says is true.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

mod circles;
mod source;

use std::fs;
use std::path::Path;

use source::{code, is_word, starts};

/// Rooms by layer: a room may name rooms of lower layers only; those of the lowest layer may name each other. Rooms to
/// come have their place: `dvc` beside `pipeline`, `deploy` and `serve` above `model`.
const LAYERS: &[&[&str]] = &[
    &[
        "error",
        "escape",
        "path",
        "event",
        "value",
        "document",
        "file_lock",
        "lfs",
        "replace",
        "secret",
        "shell",
        "tag",
        "url",
    ],
    &["config", "git"],
    &["store"],
    &["pipeline", "lock", "dvc"],
    &["project"],
    &["environment"],
    &["plan"],
    &["cache", "compare", "workspace"],
    &["remote"],
    &["import"],
    &["run", "retention"],
    &["edit", "model"],
    &["report", "deploy"],
    &["serve"],
    &["cli"],
];

/// (room, other): rooms that must not know each other though the layers would let them.
const STRANGERS: &[(&str, &str)] = &[("store", "git")];

/// Crates that only some files may name, by the beginnings of their paths below `src/`.
const CRATES: &[(&str, &[&str])] = &[
    ("serde_yaml", &["value/yaml"]),
    ("saphyr_parser", &["value/yaml"]),
    ("gix", &["git/"]),
    ("walkdir", &["git/"]),
    ("blake3", &["store/"]),
    ("rayon", &["store/", "model/diff/"]),
    ("flate2", &["model/", "report/plots/vega/"]),
    ("reflink_copy", &["store/"]),
    (
        "rustix",
        &[
            "document.rs",
            "file_lock.rs",
            "replace.rs",
            "git/",
            "store/",
            "environment/",
            "plan/",
            "cache/",
            "workspace/",
            "run/",
            "deploy/",
            "cli/",
            "serve/http/",
        ],
    ),
    ("signal_hook", &["run/", "cli/"]),
    ("toml_edit", &["config/"]),
    ("petgraph", &["pipeline/"]),
    ("http", &["remote/"]),
    ("ed25519_dalek", &["cache/signatures.rs"]),
    ("rustls", &["remote/backend/tls.rs"]),
    ("opendal", &["remote/"]),
    ("opendal_http_transport_reqwest", &["remote/backend/transport.rs"]),
    ("tokio", &["remote/", "serve/http/"]),
    (
        "reqwest",
        &[
            "deploy/",
            "import/lfs/",
            "report/comment.rs",
            "remote/backend/request_failure.rs",
            "remote/backend/tls.rs",
            "remote/backend/upload.rs",
            "remote/backend/transport.rs",
        ],
    ),
    ("http_body", &["remote/backend/upload.rs"]),
    ("bytes", &["remote/backend/upload.rs", "serve/http/"]),
    ("futures_core", &["remote/backend/transport.rs", "remote/backend/service.rs"]),
    ("safetensors", &["model/"]),
    ("sha2", &["deploy/", "import/lfs/", "model/availability.rs", "report/plots/", "store/checkout/hashed_copy.rs"]),
    ("pep508_rs", &["environment/"]),
    ("semver", &["tag/mod.rs"]),
    ("tch", &["model/", "serve/engine/torch.rs"]),
    ("ort", &["serve/engine/onnx.rs"]),
    ("half", &["serve/"]),
    ("hyper", &["serve/http/"]),
    ("hyper_util", &["serve/http/"]),
    ("http_body_util", &["serve/http/"]),
    ("csv", &["report/plots/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("indicatif", &["cli/"]),
];

/// What only the counter does, by the words that do it.
const COUNTER: &[&str] = &[
    "print!(",
    "println!(",
    "eprint!(",
    "eprintln!(",
    "dbg!(",
    "io::stdout(",
    "io::stderr(",
    "std::env",
    "env::var",
    "env::current_dir(",
    "SystemTime::now",
    "Instant::now",
];

/// Where standard output and standard error are written: what is written is escaped there.
const WRITERS: &[&str] = &["cli/output.rs", "cli/progress/bars.rs"];

/// Who does it nevertheless: (beginning of the file's path, words, reason).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "git/repo/settings.rs",
        "std::env",
        "where the user's global ignore file lies is told by Git's rules, as gix reads them",
    ),
    ("git/repo/settings.rs", "env::var", "the same"),
    ("git/repo/protected.rs", "std::env", "what Git's own variables allow is told by Git's rules"),
    ("git/repo/protected.rs", "env::var", "the same"),
    (
        "cache/entries.rs",
        "std::env",
        "`std::env::consts` names the platform that this was built for, not the environment",
    ),
    ("run/", "Instant::now", "a run measures how long its stages take"),
    ("deploy/", "Instant::now", "a deployment ends commands at their timeout"),
    ("serve/", "Instant::now", "a server measures its requests, and limits their time"),
    ("plan/program_versions.rs", "Instant::now", "a program that does not print its version is not waited for"),
];

/// Reading a file by hand. Documents are read by `document.rs`, which opens regular files only, and knows a cap.
const READS: &[&str] = &["fs::read(", "fs::read_to_string(", "File::open("];

/// Who reads by hand nevertheless: (beginning of the file's path, reason).
const READERS: &[(&str, &str)] = &[
    ("document.rs", "the reader itself"),
    ("replace.rs", "opens folders, to sync them"),
    ("store/fs/writable.rs", "opens folders, to look at what is below them"),
    ("remote/backend/folder.rs", "opens folders, to sync them"),
    ("store/fs/rename.rs", "opens folders, to sync them, and copies"),
    ("store/objects/mod.rs", "opens folders, to sync them"),
    ("store/batch/loose.rs", "opens folders, to sync them"),
    ("store/index/mod.rs", "opens the top of the repository, to look at what is below it"),
    ("store/copy.rs", "opens what it wrote"),
    ("store/objects/adopt_pack.rs", "opens folders, to sync them, and what it fetched"),
    ("remote/catalog/mod.rs", "lockstep's own memory of a remote, in Git's folder"),
    ("remote/fetch/session/mod.rs", "opens what it fetched"),
    ("remote/backend/transfer.rs", "opens a pack of the store"),
    ("project/compiled.rs", "lockstep's own state, in Git's folder"),
    ("report/last.rs", "lockstep's own state, in Git's folder"),
    ("workspace/backup.rs", "opens folders, to sync them"),
    ("run/commit.rs", "lockstep's own log folder"),
    ("workspace/journal.rs", "lockstep's own state, in Git's folder"),
    ("workspace/logs.rs", "lockstep's own log folder"),
    ("workspace/restore.rs", "lockstep's own log folder"),
    ("workspace/worktree_lock.rs", "lockstep's own state, in Git's folder"),
    ("run/execute/scratch.rs", "lockstep's own state, in Git's folder"),
    ("cache/signatures.rs", "the system's random numbers"),
    ("run/watchdog.rs", "the system's list of processes"),
    ("cli/commands/pipeline/logs.rs", "lockstep's own log folder"),
    ("cli/signals.rs", "the system's list of processes"),
    ("cli/user.rs", "the system's list of users"),
];

#[test]
fn the_house_is_in_order() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 5, "the sources are not where they were");
    let mut breaches = Vec::new();
    for file in files {
        let path = file.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
        breaches.extend(check(&path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    name == "tests.rs" || name == "testing.rs" || path.contains("/tests/")
}

/// The breaches of one file, `path` below `src/`, one line each.
fn check(path: &str, source: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    if is_test(path) || path == "lib.rs" {
        return breaches;
    }
    // `main.rs` belongs to the counter.
    let room = if path == "main.rs" { "cli" } else { path.split('/').next().unwrap().trim_end_matches(".rs") };
    let Some(layer) = layer(room) else {
        return vec![format!("src/{path}: there is no room `{room}` in tests/layers.rs")];
    };
    let code = code(source);
    for other in rooms_named(path, &code) {
        match self::layer(&other) {
            None => breaches.push(format!("src/{path} names crate::{other}, which is no room")),
            Some(higher) if higher > layer => {
                breaches.push(format!("src/{path} names crate::{other}, a room of a higher layer"));
            }
            Some(same) if same == layer && layer > 0 && other != room => {
                breaches.push(format!("src/{path} names crate::{other}, a room of its own layer"));
            }
            _ if STRANGERS.contains(&(room, other.as_str())) => {
                breaches.push(format!("src/{path} names crate::{other}, which it must not know"));
            }
            _ => {}
        }
    }
    for (krate, homes) in CRATES {
        if !homes.iter().any(|home| path.starts_with(home)) && names_crate(&code, krate) {
            breaches.push(format!("src/{path} names the crate {krate}, which belongs to {}", homes.join(", ")));
        }
    }
    let is_excepted = |words: &str| EXCEPTIONS.iter().any(|(start, w, _)| path.starts_with(start) && *w == words);
    let reads_by_hand = READERS.iter().any(|(start, _)| path.starts_with(start));
    for words in READS.iter().filter(|words| !reads_by_hand && starts(&code, words).next().is_some()) {
        breaches.push(format!("src/{path} says `{words}`; `document::read`, `document::open` and `Bounds` know a cap"));
    }
    for words in COUNTER {
        if room != "cli" && !is_excepted(words) && starts(&code, words).next().is_some() {
            breaches.push(format!("src/{path} says `{words}`, which only the counter does"));
        }
    }
    for words in ["stdout().lock(", "stderr().lock("] {
        if !WRITERS.contains(&path) && code.contains(words) {
            breaches.push(format!("src/{path} says `{words}`: what is written goes through Output, which escapes it"));
        }
    }
    breaches
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a file names, by `crate::` or by enough `super::`s.
fn rooms_named(path: &str, code: &str) -> Vec<String> {
    let mut rooms: Vec<String> = starts(code, "crate::").flat_map(|at| heads(&code[at + 7..])).collect();
    let folders = path.matches('/').count();
    let depth = if path.ends_with("/mod.rs") { folders } else { folders + 1 };
    for at in starts(code, "super::") {
        let mut rest = &code[at..];
        let mut ups = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            (rest, ups) = (next, ups + 1);
        }
        if ups == depth && !code[..at].ends_with("super::") {
            rooms.extend(heads(rest));
        }
    }
    rooms.sort();
    rooms.dedup();
    rooms
}

/// The first names of a path: one, or those of a `{…}` group.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut found = Vec::new();
    let (mut depth, mut at_start) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && is_word(c) => {
                found.push(word(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    found
}

/// Is the crate named, as the beginning of a path or by `use`?
fn names_crate(code: &str, krate: &str) -> bool {
    starts(code, krate).any(|at| {
        let before = code[..at].trim_end();
        let is_head = match before.strip_suffix("::") {
            Some(parent) => !parent.ends_with(|c| is_word(c) || c == '>'),
            None => !before.ends_with('.'),
        };
        let after = &code[at + krate.len()..];
        let is_used = before.ends_with("use") && after.starts_with([';', ' ']);
        is_head && (after.starts_with("::") || is_used)
    })
}

#[test]
fn breaches_are_seen() {
    for (path, source, want) in [
        ("git/x.rs", "use crate::store::Store;", "names crate::store, a room of a higher layer"),
        ("store/x.rs", "use crate::git::Repo;", "names crate::git, which it must not know"),
        ("path/mod.rs", "fn f() { crate::git::discover() }", "names crate::git, a room of a higher layer"),
        ("store/x.rs", "use crate::{error::{Error, Result}, cli};", "names crate::cli, a room of a higher layer"),
        ("pipeline/x.rs", "use super::super::lock::Lock;", "names crate::lock, a room of its own layer"),
        ("pipeline/mod.rs", "use super::run;", "names crate::run, a room of a higher layer"),
        ("run/x.rs", "use gix::bstr;", "names the crate gix"),
        ("run/x.rs", "use gix;", "names the crate gix"),
        ("run/x.rs", "fn f(x: ::blake3::Hash) {}", "names the crate blake3"),
        ("store/x.rs", "fn f() { println!(\"x\") }", "says `println!(`"),
        ("store/x.rs", "let s = '\"'; let t = std::env::var(\"X\");", "says `std::env`"),
        ("git/x.rs", "use std::time::Instant; fn f() { Instant::now(); }", "says `Instant::now`"),
        ("attic/x.rs", "", "there is no room `attic`"),
        ("run/x.rs", "use crate::nowhere::X;", "names crate::nowhere, which is no room"),
    ] {
        let breaches = check(path, source);
        assert!(breaches.iter().any(|b| b.contains(want)), "{path}: {source}: {breaches:?}");
    }
}

#[test]
fn what_is_in_order_passes() {
    for (path, source) in [
        (
            "run/x.rs",
            "use crate::{git::Repo, lock, error::{Error}}; use std::time::Instant; fn f() { Instant::now(); }",
        ),
        (
            "path/mod.rs",
            "// crate::cli, println!(\n/* gix:: */ const X: &str = \"crate::cli \\\" gix::\"; const Y: &str = r#\"gix::\"#;",
        ),
        ("path/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::cli; fn f() { println!(\"x\") }\n}\n"),
        ("run/x.rs", "use crate::value::gix::X; pub(crate) fn writeln() {} fn g() { a.gix::<u8>() }"),
        ("run/x/y.rs", "use super::super::store; use super::cli;"),
        ("cli/x.rs", "fn f() { println!(\"x\"); std::env::args(); clap::Parser }"),
        ("main.rs", "use lockstep::cli; fn main() { std::env::args(); }"),
    ] {
        assert_eq!(check(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}
