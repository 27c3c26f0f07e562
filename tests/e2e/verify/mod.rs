//! `verify` end to end: damage of every sort is found, named by whom it hurts, and repaired from where that can be done.

mod damage;
mod elsewhere;
mod fine;
mod repair;
mod rot;
mod there;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::sandbox::{Output, Sandbox};

/// A folder of sixty small files with a large one, two files of their own, and a metrics file that Git keeps.
const PIPELINE: &str = r#"
stages:
  gen:
    cmd: "mkdir -p d/sub; for i in $(seq 60); do echo $i $(cat n) > d/f$i; done; head -c 200000 /dev/zero | tr '\\0' $(cat n) > d/sub/big"
    deps: [n]
    outs: [d]
  use:
    cmd: "cat d/f1 > small; head -c 150000 d/sub/big > large; echo '{\"n\": 1}' > m.json; echo use >> $CONF_LOG"
    deps: [d]
    outs: [small, large]
    metrics: [{m.json: {cache: false}}]
"#;

/// Two commits, tagged v1 and v2, each with outputs of its own.
fn lab() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    for n in ["1", "2"] {
        sandbox.write("n", n);
        fine(&sandbox.run(&["repro", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", n]);
        sandbox.git(&["tag", &format!("v{n}")]);
    }
    sandbox.ran();
    sandbox
}

/// The same, with everything pushed to the remote `lab` in the folder beside it.
fn pushed() -> Sandbox {
    let sandbox = lab();
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["push", "-q", "-T", "--run-cache"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "3"]);
    sandbox
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// An output for a snapshot: short ids of commits are replaced as well.
fn shown(sandbox: &Sandbox, out: &Output) -> String {
    let mut text = sandbox.shown(out);
    for rev in ["v1", "v2", "main"] {
        text = text.replace(sandbox.git(&["rev-parse", "--short=7", rev]).trim(), &format!("[{rev}]"));
    }
    // Records of runs tell how long they took, with more digits or fewer.
    for size in 7000..7200 {
        text = text.replace(&format!("({}.{} kB)", size / 10, size % 10), "([SIZE])");
    }
    // What makes names unique.
    let random = |word: &str| {
        let end = word.trim_end_matches(':');
        let is_random = end.len() > 9 && end[end.len() - 8..].bytes().all(|b| b.is_ascii_hexdigit());
        let is_random = is_random && ['.', '-'].contains(&(end.as_bytes()[end.len() - 9] as char));
        if is_random { format!("{}[N]:", &end[..end.len() - 8]) } else { word.to_string() }
    };
    text.split(' ')
        .map(|words| words.split('\n').map(random).collect::<Vec<_>>().join("\n"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn store(sandbox: &Sandbox) -> PathBuf {
    sandbox.path(".git/lockstep/store")
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// The pack that holds these bytes somewhere, and where.
fn packed(folder: &Path, bytes: &[u8]) -> (PathBuf, u64) {
    let find = |path: &PathBuf| {
        let at = fs::read(path).unwrap().windows(bytes.len()).position(|window| window == bytes)?;
        Some((path.clone(), at as u64))
    };
    files(folder).iter().find_map(find).unwrap()
}

/// The loose object of these bytes.
fn loose(sandbox: &Sandbox, bytes: &[u8]) -> PathBuf {
    let all = files(&store(sandbox).join("objects"));
    all.into_iter().find(|path| fs::read(path).unwrap() == bytes).unwrap()
}

/// Flips a bit, as somebody does who writes to the file.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Flips a bit as a disk does: no time stamp tells of it.
fn rot(path: &Path, at: u64) {
    let time: SystemTime = fs::metadata(path).unwrap().modified().unwrap();
    flip(path, at);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Can the store give this output of a commit?
fn gives(sandbox: &Sandbox, rev: &str, path: &str) -> bool {
    let out = sandbox.run(&["get", "-q", ".", path, "--rev", rev, "-o", "../got"]);
    let got = sandbox.path("../got");
    let _ = if got.is_dir() { fs::remove_dir_all(got) } else { fs::remove_file(got) };
    out.code == 0
}
