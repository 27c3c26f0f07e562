//! One random byte anywhere in the store, many times: `verify --read-data` tells of it or the byte means nothing, and no
//! command ever gives wrong bytes. `LOCKSTEP_ROT_SEED` and `LOCKSTEP_ROT_ROUNDS` choose others and more.

use std::fs;
use std::path::{Path, PathBuf};

use crate::verify::{files, lab, store};

fn from_env(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Bytes that nobody reads: reserved ones of a pack's header, who holds the lock, and the random id of the generation,
/// of which another is as good.
fn means_nothing(name: &Path, at: u64) -> bool {
    let is_pack = name.extension().is_some_and(|e| e == "pack");
    let is_note = name.ends_with("lock") || name.ends_with("lockstep-store");
    is_pack && (12..16).contains(&at) || is_note || name.ends_with("generation") && at > 16
}

#[test]
fn a_random_byte_anywhere() {
    let sandbox = lab();
    let good = store(&sandbox);
    let keep = sandbox.path("../keep");
    copy(&good, &keep);
    let all: Vec<(PathBuf, u64)> =
        files(&keep).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().len())).collect();
    let seed = from_env("LOCKSTEP_ROT_SEED", 1);
    println!("LOCKSTEP_ROT_SEED={seed}");
    let mut dice = Dice(seed);
    let mut told = 0;
    for round in 0..from_env("LOCKSTEP_ROT_ROUNDS", 50) {
        fs::remove_dir_all(&good).unwrap();
        copy(&keep, &good);
        // Each file as often as the next, whatever its size.
        let (path, size) = &all[dice.below(all.len() as u64) as usize];
        if *size == 0 {
            continue;
        }
        let name = path.strip_prefix(&keep).unwrap();
        let at = dice.below(*size);
        crate::verify::rot(&good.join(name), at);
        let what = format!("round {round}: {} at {at}", name.display());
        let out = sandbox.run(&["verify", "--read-data"]);
        assert!([0, 1].contains(&out.code), "{what}: {out}");
        assert!(out.code == 1 || means_nothing(name, at), "{what} was not found: {out}");
        told += u32::from(out.code == 1);
        // Whatever comes out is right, before a repair and after it.
        for repaired in [false, true] {
            if repaired {
                let out = sandbox.run(&["verify", "--read-data", "--repair"]);
                assert!([0, 1].contains(&out.code), "{what}: {out}");
            }
            for n in ["1", "2"] {
                let to = sandbox.path("../got");
                let _ = fs::remove_dir_all(&to);
                let rev = format!("v{n}");
                let out = sandbox.run(&["get", "-q", ".", "d", "--rev", &rev, "-o", "../got"]);
                assert!([0, 3].contains(&out.code), "{what}: {out}");
                if out.code == 0 {
                    let is_right =
                        (1..=60).all(|i| fs::read_to_string(to.join(format!("f{i}"))).unwrap() == format!("{i} {n}\n"));
                    assert!(
                        is_right && fs::read(to.join("sub/big")).unwrap() == n.repeat(200_000).as_bytes(),
                        "{what}"
                    );
                } else if repaired {
                    // What the workspace has is always repaired.
                    assert_eq!(n, "1", "{what}: {out}");
                }
            }
        }
        let again = sandbox.run(&["verify", "--read-data", "--repair"]);
        let once_more = sandbox.run(&["verify", "--read-data", "--repair"]);
        assert_eq!((again.code, &again.stdout), (once_more.code, &once_more.stdout), "{what}");
    }
    println!("{told} told");
    assert!(told > 10);
}

/// With the times of the files, which say that they were verified.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
            let meta = fs::metadata(&path).unwrap();
            let file = fs::File::options().write(true).open(&target);
            let file = file.or_else(|_| fs::File::open(&target)).unwrap();
            file.set_modified(meta.modified().unwrap()).unwrap();
        }
    }
}
