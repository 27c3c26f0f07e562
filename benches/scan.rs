//! Times the two paths that matter against what a user would compare them with: a look at unchanged files against
//! `git status`, and storing a big file against `cp`, `sync -f` and `b3sum`.
//!
//! `cargo bench --bench scan -- [FILES] [MIB]`; ratios count, since absolute times mean little on a shared machine.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lockstep::event::Silent;
use lockstep::path::RepoPath;
use lockstep::store::{LinkTypes, NoRules, StatIndex, Store, TrackedPath};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let (files, mib) = (numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(2048));
    let scratch = tempfile::Builder::new().prefix("lockstep-bench-").tempdir_in(".").unwrap();
    if files > 0 {
        looks(scratch.path(), files);
    }
    if mib > 0 {
        big_file(scratch.path(), mib);
    }
}

fn looks(scratch: &Path, files: usize) {
    let top = scratch.canonicalize().unwrap().join("git");
    for name in ["data", "out"] {
        for i in 0..files {
            let folder = top.join(format!("{name}/{:04}", i / 100));
            if i % 100 == 0 {
                fs::create_dir_all(&folder).unwrap();
            }
            fs::write(folder.join(format!("{i:06}.bin")), format!("{i}")).unwrap();
        }
    }
    for line in ["init -q", "add -A", "-c user.name=b -c user.email=b@x commit -qm x"] {
        run(&format!("git {line}"), &top);
    }
    let places = ["data", "out"].map(|p| TrackedPath::from(RepoPath::root().join(p).unwrap()));
    let file = top.join(".git/lockstep-index");
    let look = || {
        let index = StatIndex::open(&file, &top, true);
        let pins = index.scan(&places, &NoRules, &Silent);
        index.save().unwrap();
        assert!(pins.iter().all(|p| p.as_ref().is_ok_and(|p| p.unwrap().files == Some(files as u64))));
    };
    println!("first look: {:.3} s", time(look));
    run("sync", &top);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    look();
    run("git status", &top);
    let mut rounds: Vec<(f64, f64)> = (0..9).map(|_| (time(|| run("git status", &top)), time(look))).collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let git = rounds[rounds.len() / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    let ours = rounds[rounds.len() / 2].1;
    let ratio = ours / git;
    println!("look at {files} + {files} unchanged files: {ours:.3} s, git status {git:.3} s, ratio {ratio:.2}");
}

fn big_file(scratch: &Path, mib: usize) {
    let top = scratch.canonicalize().unwrap();
    let make = format!("head -c {}M /dev/urandom > big", mib);
    run(&make, &top);
    for round in 0..3 {
        run("sync && sleep 10", &top);
        let yard = time(|| run(&format!("cp big c{round} && sync -f c{round} && b3sum c{round}"), &top));
        // Disks with a budget for bursts must not charge one for the other.
        run("sync && sleep 10", &top);
        let index = StatIndex::open(&top.join(format!("index{round}")), &top, true);
        let place = TrackedPath::from(RepoPath::root().join("big").unwrap());
        let mut pin = None;
        let hash = time(|| pin = index.scan(std::slice::from_ref(&place), &NoRules, &Silent).remove(0).unwrap());
        let store = Store::open(&top.join(format!("store{round}")), LinkTypes::default());
        let stored = time(|| {
            let mut batch = store.batch();
            batch.add(&index, &place, &pin.unwrap()).unwrap();
            batch.commit(&Silent).unwrap();
        });
        let ratios = (stored / yard, (hash + stored) / yard);
        println!("{mib} MiB: cp+sync+b3sum {yard:.2} s, hash {hash:.2} s, store {stored:.2} s,");
        println!("  ratio {:.2}, with the hash {:.2}", ratios.0, ratios.1);
    }
}

fn run(command: &str, folder: &Path) {
    let out = Command::new("sh").args(["-c", command]).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
