//! Two clones that share a store and a remote; in each somebody runs, adds, commits, restores, pushes and forgets at random,
//! while others take away what nobody needs, here and there, and are killed at it. A model says what every tag must give
//! back: at any time, and at the end from a fresh clone through the remote.
//!
//! Ten seconds; `LOCKSTEP_STRESS_SECS` for longer, `LOCKSTEP_STRESS_SEED` for the same again. What is stored is made old
//! while nobody is in the middle of anything, so that gc takes it away at once and the guard of an hour still holds for
//! who is: no run of the test depends on how fast the machine is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::gc::{files, fine};
use crate::sandbox::process::Signal;
use crate::sandbox::{Output, Sandbox};

const PIPELINE: &str = r#"
stages:
  gen:
    cmd: "mkdir -p d; for i in $(seq 40); do echo $i $(cat n) > d/f$i; done; yes $(cat n) | head -c 300000 > d/big"
    deps: [n]
    outs: [d]
"#;

/// What a tag has: the number that its stage ran with, and that of its data.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Has {
    n: u64,
    raw: u64,
    pushed: bool,
}

struct World {
    sandbox: Sandbox,
    /// By clone and tag.
    tags: [Mutex<BTreeMap<String, Has>>; 2],
    /// Held by who stores or pushes; exclusively by who makes things old.
    quiet: RwLock<()>,
    removed: AtomicUsize,
    cleaned: AtomicUsize,
    done: AtomicUsize,
    until: Instant,
}

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % sides
    }
}

const CLONES: [&str; 2] = ["", "../b"];

#[test]
fn whatever_goes_on_nobody_loses_what_is_pinned() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("LOCKSTEP_STRESS_SECS").unwrap_or(10);
    let seed = number("LOCKSTEP_STRESS_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000
    });
    println!("seed {seed}");
    let world = World::new(Duration::from_secs(seconds));
    std::thread::scope(|scope| {
        for (clone, _) in CLONES.iter().enumerate() {
            let world = &world;
            scope.spawn(move || world.work(clone, Dice(seed + clone as u64)));
        }
        scope.spawn(|| world.collect(Dice(seed + 2)));
        scope.spawn(|| world.clean(Dice(seed + 3)));
    });
    world.check_all();
    let [done, removed, cleaned] = [&world.done, &world.removed, &world.cleaned].map(|n| n.load(Ordering::Relaxed));
    println!("{done} things done, {removed} times gc took something away here and {cleaned} times at the remote");
    assert!(done > 3 && removed > 0 && cleaned > 0, "{done} {removed} {cleaned}");
}

impl World {
    fn new(length: Duration) -> World {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", PIPELINE);
        let (store, lab) = (sandbox.path("../store"), sandbox.path("../lab"));
        let settings = format!("[core]\nremote = \"lab\"\n[remote.lab]\nurl = \"{}\"\n", lab.display());
        sandbox.write("lockstep.toml", settings);
        fine(&sandbox.run(&["remote", "trust", "lab", "--yes"]));
        sandbox.use_store("", &store);
        sandbox.write("n", "1");
        write_raw(&sandbox.path("raw"), 0);
        fine(&sandbox.run(&["add", "-q", "raw"]));
        fine(&sandbox.run(&["repro", "-q"]));
        // The clone finds a remote that is there.
        fine(&sandbox.run(&["push", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "1"]);
        sandbox.git(&["clone", "-q", ".", "../b"]);
        sandbox.use_store("../b", &store);
        fine(&sandbox.run_in("../b", &["checkout", "-q"]));
        World {
            sandbox,
            tags: Default::default(),
            quiet: RwLock::default(),
            removed: AtomicUsize::default(),
            cleaned: AtomicUsize::default(),
            done: AtomicUsize::default(),
            until: Instant::now() + length,
        }
    }

    fn go(&self, clone: usize, args: &[&str]) -> Output {
        self.sandbox.run_in(CLONES[clone], args)
    }

    fn git(&self, clone: usize, args: &[&str]) {
        let folder = self.sandbox.path(CLONES[clone]);
        self.sandbox.git(&[&["-C", folder.to_str().unwrap()], args].concat());
    }

    fn file(&self, clone: usize, name: &str) -> PathBuf {
        self.sandbox.path(CLONES[clone]).join(name)
    }

    /// Runs, adds, commits, restores, pushes, forgets.
    fn work(&self, clone: usize, mut dice: Dice) {
        let (mut n, mut raw) = (1, 0);
        // So that something can go, however short the time is.
        for (number, tag) in [(2000 + clone as u64, "gone"), (0, "start")] {
            let _busy = self.quiet.read().unwrap();
            write_raw(&self.file(clone, "raw"), number);
            fine(&self.go(clone, &["add", "-q", "raw"]));
            self.commit(clone, &format!("{tag}-{clone}"), Has { n, raw: number, pushed: false });
            while !self.push(clone) {}
        }
        self.forget(clone, &format!("gone-{clone}"));
        for step in 0.. {
            if Instant::now() > self.until {
                return;
            }
            let busy = self.quiet.read().unwrap();
            match dice.throw(10) {
                0..=3 => {
                    if dice.throw(3) > 0 {
                        n = dice.throw(60) + 1;
                        fs::write(self.file(clone, "n"), n.to_string()).unwrap();
                    }
                    if dice.throw(2) > 0 {
                        raw = dice.throw(1000) + 1;
                        fs::remove_dir_all(self.file(clone, "raw")).unwrap();
                        write_raw(&self.file(clone, "raw"), raw);
                        fine(&self.go(clone, &["add", "-q", "raw"]));
                    }
                    fine(&self.go(clone, &["repro", "-q"]));
                    self.commit(clone, &format!("t{clone}-{step}"), Has { n, raw, pushed: false });
                }
                // A run that nobody commits.
                4 => {
                    fs::write(self.file(clone, "n"), (100 + dice.throw(100)).to_string()).unwrap();
                    fine(&self.go(clone, &["repro", "-q"]));
                    self.git(clone, &["checkout", "-q", "."]);
                    fine(&self.go(clone, &["checkout", "-q"]));
                }
                5 => {
                    fs::remove_dir_all(self.file(clone, "d")).unwrap();
                    fs::remove_dir_all(self.file(clone, "raw")).unwrap();
                    fine(&self.go(clone, &["checkout", "-q"]));
                    check(&self.sandbox.path(CLONES[clone]), Has { n, raw, pushed: false }, "checkout");
                }
                6 => self.get_one(clone, &mut dice),
                7 | 8 => drop(self.push(clone)),
                _ => self.forget_one(clone, &mut dice),
            }
            while self.tags[clone].lock().unwrap().len() > 6 {
                self.forget_one(clone, &mut dice);
            }
            drop(busy);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn any(&self, clone: usize, dice: &mut Dice) -> Option<(String, Has)> {
        let tags = self.tags[clone].lock().unwrap();
        let at = dice.throw(tags.len().max(1) as u64) as usize;
        tags.iter().nth(at).map(|(tag, has)| (tag.clone(), *has))
    }

    fn get_one(&self, clone: usize, dice: &mut Dice) {
        if let Some((tag, has)) = self.any(clone, dice) {
            self.get(CLONES[clone], &tag, has);
        }
    }

    /// A tag gives back what it has.
    fn get(&self, clone: &str, tag: &str, has: Has) {
        let to = self.sandbox.path(&format!("../got-{tag}"));
        for path in ["d", "raw"] {
            let to = to.join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let out = self.sandbox.run_in(clone, &["get", "-q", ".", path, "--rev", tag, "-o", to.to_str().unwrap()]);
            assert_eq!(out.code, 0, "{clone} {tag} {has:?}: {out}");
        }
        check(&to, has, tag);
        fs::remove_dir_all(to).unwrap();
    }

    /// False if somebody cleans the remote: then nothing was pushed, and nothing is counted on.
    fn push(&self, clone: usize) -> bool {
        let out = self.go(clone, &["push", "-q", "-T"]);
        if out.code == 5 {
            return false;
        }
        fine(&out);
        self.tags[clone].lock().unwrap().values_mut().for_each(|has| has.pushed = true);
        true
    }

    fn commit(&self, clone: usize, tag: &str, has: Has) {
        self.git(clone, &["add", "-A"]);
        self.git(clone, &["commit", "-q", "--allow-empty", "-m", tag]);
        self.git(clone, &["tag", tag]);
        self.tags[clone].lock().unwrap().insert(tag.to_string(), has);
    }

    fn forget_one(&self, clone: usize, dice: &mut Dice) {
        if let Some((tag, _)) = self.any(clone, dice) {
            self.forget(clone, &tag);
        }
    }

    fn forget(&self, clone: usize, tag: &str) {
        self.tags[clone].lock().unwrap().remove(tag);
        self.git(clone, &["tag", "-d", tag]);
    }

    /// What a clone needs: its tags. Of the other one all commits are needed.
    fn collect(&self, mut dice: Dice) {
        while Instant::now() < self.until {
            if dice.throw(2) > 0 {
                self.make_old();
            }
            let clone = dice.throw(2) as usize;
            let gc = ["gc", "-w", "-T", "-f", "--min-age", "1h"];
            if dice.throw(4) == 0 && clone == 0 {
                let run = self.sandbox.start(&gc);
                std::thread::sleep(Duration::from_millis(dice.throw(120)));
                run.signal(Signal::KILL);
                run.end();
            } else {
                let out = self.go(clone, &gc);
                fine(&out);
                self.removed.fetch_add(usize::from(out.stderr.contains("removed")), Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(dice.throw(200)));
        }
    }

    fn clean(&self, mut dice: Dice) {
        while Instant::now() < self.until {
            self.clean_once(dice.throw(2) as usize);
            std::thread::sleep(Duration::from_millis(dice.throw(300)));
        }
    }

    fn clean_once(&self, clone: usize) {
        let out = self.go(clone, &["gc", "-c", "-w", "-T", "-f", "--min-age", "1h"]);
        fine(&out);
        self.cleaned.fetch_add(usize::from(out.stderr.contains("removed")), Ordering::Relaxed);
    }

    /// Two hours pass, for all that lies in the store and for the marks at the remote.
    fn make_old(&self) {
        let _alone = self.quiet.write().unwrap();
        for file in files(&self.sandbox.path("../store")) {
            // gc may take it away just now.
            let Ok(open) = File::open(&file) else { continue };
            let before = open.metadata().unwrap().modified().unwrap();
            open.set_modified(before - Duration::from_secs(7200)).unwrap();
        }
        for file in files(&self.sandbox.path("../lab/index")) {
            let name = file.file_name().unwrap().to_str().unwrap().to_string();
            if let Some(rest) = name.strip_suffix(".marked").and_then(|name| name.get(10..)) {
                let seconds = u64::from_str_radix(&name[..10], 16).unwrap();
                let _ = fs::rename(&file, file.with_file_name(format!("{:010x}{rest}.marked", seconds - 7200)));
            }
        }
    }

    /// Once all are done: nothing is lost here, nothing at the remote, and no byte is unaccounted for.
    fn check_all(&self) {
        for clone in [0, 0, 1, 1] {
            self.make_old();
            fine(&self.go(clone, &["gc", "-w", "-T", "-f", "--min-age", "1h"]));
            self.clean_once(clone);
        }
        for (clone, folder) in CLONES.iter().enumerate() {
            let tags = self.tags[clone].lock().unwrap().clone();
            for (tag, has) in &tags {
                self.get(folder, tag, *has);
            }
            let fresh = format!("../fresh-{clone}");
            self.git(clone, &["clone", "-q", ".", self.sandbox.path(&fresh).to_str().unwrap()]);
            for (tag, has) in tags.iter().filter(|(_, has)| has.pushed) {
                fine(&self.sandbox.run_in(&fresh, &["fetch", "-q", "--rev", tag]));
                self.get(&fresh, tag, *has);
            }
        }
        let out = self.go(0, &["du", "--json"]);
        fine(&out);
        let found: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        let bytes: u64 = files(&self.sandbox.path("../store")).iter().map(|f| f.metadata().unwrap().len()).sum();
        assert_eq!(found["bytes"].as_u64().unwrap(), bytes, "{found:#}");
        assert_eq!(found["damaged"], 0, "{found:#}");
    }
}

/// Small files and a large one, told by a number; neighbours share some.
fn write_raw(folder: &Path, number: u64) {
    fs::create_dir_all(folder).unwrap();
    for (name, content) in raw(number) {
        fs::write(folder.join(name), content).unwrap();
    }
}

fn raw(number: u64) -> [(&'static str, String); 3] {
    let large = format!("{:07}\n", number / 10).repeat(140_000);
    [("own", number.to_string()), ("common", (number % 5).to_string()), ("large", large)]
}

#[track_caller]
fn check(folder: &Path, has: Has, what: &str) {
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap_or_else(|e| panic!("{what} {path}: {e}"));
    for i in [1, 40] {
        assert_eq!(read(&format!("d/f{i}")), format!("{i} {}\n", has.n), "{what}");
    }
    let big: String = format!("{}\n", has.n).chars().cycle().take(300_000).collect();
    assert!(read("d/big") == big, "{what}: d/big");
    for (name, content) in raw(has.raw) {
        assert!(read(&format!("raw/{name}")) == content, "{what}: raw/{name}");
    }
}
