//! What a long history costs: 10,000 commits, 1,000 tags, each commit with its own params, metrics and lock.
//!
//!     cargo bench --bench history [COMMITS]
//!
//! The yardstick is `git log --format=%H`, which reads every commit and nothing else. Prints the best of some runs.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a program that prints

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let commits: usize = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(10_000);
    let dir = tempfile::tempdir().unwrap();
    let lockstep = env!("CARGO_BIN_EXE_lockstep");
    for (name, kept_by_git) in [("metrics in Git", true), ("metrics in the store, values from the lock", false)] {
        let root = dir.path().join(if kept_by_git { "git" } else { "lock" });
        make(&root, commits, kept_by_git);
        println!("{commits} commits, {} tags, {name}", commits / 10);
        let yardstick = best(&root, "git", &["log", "--all", "--format=%H"], commits);
        println!("{:>8.1} ms  git log --all --format=%H", millis(yardstick));
        for args in [
            &["metrics", "show", "--all-commits"][..],
            &["metrics", "show", "--all-commits", "--json"],
            &["metrics", "show", "--all-tags"],
            &["metrics", "diff", "HEAD~1", "HEAD"],
            &["params", "show", "--all-commits"],
        ] {
            let lines = if args.contains(&"--all-commits") { commits } else { 1 };
            let time = best(&root, lockstep, args, lines);
            let times = time.as_secs_f64() / yardstick.as_secs_f64();
            println!("{:>8.1} ms  lockstep {} ({times:.1} times)", millis(time), args.join(" "));
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn best(root: &Path, program: &str, args: &[&str], lines: usize) -> Duration {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            let out = Command::new(program).args(args).current_dir(root).stderr(Stdio::inherit()).output().unwrap();
            let time = start.elapsed();
            assert!(out.status.success());
            assert!(out.stdout.iter().filter(|b| **b == b'\n').count() >= lines, "it says too little");
            time
        })
        .min()
        .unwrap()
}

/// A repository with a history, by `git fast-import`; packed, as a clone is.
fn make(root: &Path, commits: usize, kept_by_git: bool) {
    std::fs::create_dir(root).unwrap();
    git(root, &["init", "-q", "-b", "main"]);
    let mut child =
        Command::new("git").args(["fast-import", "--quiet"]).current_dir(root).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = std::io::BufWriter::new(child.stdin.take().unwrap());
    let pipeline = format!(
        "stages:\n  train:\n    cmd: python train.py\n    params: [lr]\n    metrics: [m.json: {{cache: {}}}]\n",
        !kept_by_git
    );
    for n in 0..commits {
        let date = 1_700_000_000 + n * 60;
        let metrics = format!("{{\"accuracy\": 0.{n:05}, \"loss\": {{\"val\": 1.{n:05}}}}}");
        let mut files = vec![
            ("m.json", metrics.clone()),
            ("params.yaml", format!("lr: 0.{n:05}\nepochs: {n}\n")),
            ("pipeline.lock", lock(n, kept_by_git)),
            ("src/train.py", format!("# version {}\n", n / 100)),
        ];
        files.retain(|(name, _)| kept_by_git || *name != "m.json");
        if n == 0 {
            files.push(("pipeline.yaml", pipeline.clone()));
            files.push((".gitignore", "/m.json\n".into()));
            (0..40)
                .for_each(|i| files.push((["src/a.py", "src/b.py", "README.md", "setup.cfg"][i % 4], format!("{i}"))));
        }
        let mut text = format!("commit refs/heads/main\ncommitter t <t@example.org> {date} +0000\ndata 1\nx\n");
        for (name, content) in &files {
            let _ = write!(text, "M 100644 inline {name}\ndata {}\n{content}\n", content.len());
        }
        if n % 10 == 0 {
            let _ = write!(text, "tag v{n}\nfrom refs/heads/main\ntagger t <t@example.org> {date} +0000\ndata 1\nx\n");
        }
        pipe.write_all(text.as_bytes()).unwrap();
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
    git(root, &["gc", "-q"]);
    git(root, &["reset", "-q", "--hard"]);
    if !kept_by_git {
        std::fs::write(root.join("m.json"), "{\"accuracy\": 1}").unwrap();
    }
}

fn lock(n: usize, kept_by_git: bool) -> String {
    let hex = format!("{n:064x}");
    let cache = if kept_by_git { "        cache: false\n" } else { "" };
    format!(
        "schema: 1\nstages:\n  train:\n    key: {hex}\n    cmd: python train.py\n    params:\n      params.yaml:\n        \
         lr: 0.{n:05}\n    outs:\n      m.json:\n        blake3: {hex}\n        size: 50\n{cache}        metrics:\n          \
         accuracy: 0.{n:05}\n          loss.val: 1.{n:05}\n"
    )
}

fn git(root: &Path, args: &[&str]) {
    assert!(Command::new("git").args(args).current_dir(root).status().unwrap().success(), "{args:?}");
}
