//! Tests: which objects a batch packs, which stay files, and what a failed batch leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::event::Silent;
use crate::store::tests::{Sandbox, place};
use crate::store::{LinkType, LinkTypes, Pin, Store};

fn many(s: &Sandbox, files: usize, size: usize) {
    for i in 0..files {
        let mut content = vec![i as u8; size];
        content[..8].copy_from_slice(&(i as u64).to_le_bytes());
        s.write(&format!("d/{}/{i}", i % 4), content);
    }
}

fn packs(store: &Store) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.dir().join("packs")).into_iter().flatten();
    let mut packs: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    packs.sort();
    packs
}

fn loose(store: &Store) -> usize {
    let shards = fs::read_dir(store.dir().join("objects")).into_iter().flatten();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

fn comes_back(s: &Sandbox, pin: &Pin) {
    fs::remove_dir_all(s.top.join("d")).unwrap();
    s.restore("d", pin).unwrap();
    assert_eq!(s.pin("d"), *pin);
}

#[test]
fn many_small_files_cost_one() {
    for links in [LinkType::Copy, LinkType::Reflink, LinkType::Hardlink, LinkType::Symlink] {
        let s = Sandbox::with(LinkTypes::new([links]));
        many(&s, 100, 1000);
        s.write("d/empty", "");
        s.write("d/run.sh", "#!/bin/sh\n");
        fs::set_permissions(s.top.join("d/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("0/0", s.top.join("d/link")).unwrap();
        s.write("d/large", vec![7; 2 << 20]);
        s.write("d/middling", vec![8; 100 << 10]);
        let pin = s.put("d");
        // An object that can be linked must be a file.
        let shared = match links {
            LinkType::Hardlink | LinkType::Symlink => true,
            LinkType::Reflink => reflink_copy::reflink(s.top.join("d/large"), s.dir.path().join("clone")).is_ok(),
            LinkType::Copy => false,
        };
        assert_eq!((packs(&s.store).len(), loose(&s.store), s.temps()), (1, 1 + usize::from(shared), 0), "{links:?}");
        assert!(s.store.contains(&pin) && s.store.holds(&pin));
        assert_eq!(s.store.list_objects(&pin).unwrap().len(), 100 + 5 + 5);
        comes_back(&s, &pin);
        // One more file is not worth a pack.
        s.write("d/0/more", "more");
        let pin = s.put("d");
        assert_eq!((packs(&s.store).len(), loose(&s.store)), (1, 4 + usize::from(shared)));
        comes_back(&s, &pin);
    }
}

#[test]
fn a_few_stay_loose() {
    let s = Sandbox::new();
    many(&s, 10, 100);
    s.put("d");
    assert_eq!((packs(&s.store).len(), loose(&s.store)), (0, 15));
    let s = Sandbox::new();
    many(&s, 11, 100);
    s.put("d");
    assert_eq!((packs(&s.store).len(), loose(&s.store)), (1, 0));
}

#[test]
fn a_pack_is_finished_when_it_is_large_enough() {
    let s = Sandbox::with(LinkTypes::new([LinkType::Copy]));
    many(&s, 700, 100 << 10);
    let pin = s.put("d");
    let sizes: Vec<u64> = packs(&s.store).iter().map(|p| fs::metadata(p).unwrap().len()).collect();
    assert_eq!((sizes.len(), loose(&s.store), s.temps()), (2, 0, 0));
    assert!(sizes.iter().all(|size| *size <= (64 << 20) + (1 << 20)), "{sizes:?}");
    comes_back(&s, &pin);
}

#[test]
fn equal_batches_make_equal_packs() {
    let s = Sandbox::new();
    many(&s, 300, 500);
    let pin = s.pin("d");
    // A batch that begins after another finished finds its objects, and packs only the rest.
    let all_added = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let store = Store::open(s.store.dir(), LinkTypes::default());
                let mut batch = store.batch();
                batch.add(&s.index, &place("d"), &pin).unwrap();
                all_added.wait();
                batch.commit(&Silent).unwrap();
                assert!(store.contains(&pin) && store.holds(&pin));
            });
        }
    });
    assert_eq!((packs(&s.store).len(), loose(&s.store), s.temps()), (1, 0, 0));
    let other = Store::open(&s.dir.path().join("other"), LinkTypes::default());
    let mut batch = other.batch();
    batch.add(&s.index, &place("d"), &pin).unwrap();
    batch.commit(&Silent).unwrap();
    assert_eq!(packs(&other)[0].file_name(), packs(&s.store)[0].file_name());
    assert!(!s.store.dir().join("quarantine").exists());
    comes_back(&s, &pin);
}

#[test]
fn a_source_that_changed_leaves_no_pack() {
    for change in ["longer than it was, by far", "", "short", "same size is 24 bytes ok"] {
        let s = Sandbox::new();
        many(&s, 100, 24);
        let pin = s.pin("d");
        s.write("d/3/99", change);
        let mut batch = s.store.batch();
        batch.add(&s.index, &place("d"), &pin).unwrap();
        let e = batch.commit(&Silent).unwrap_err();
        assert!(e.message.contains("d/3/99 changed while it was stored"), "{e}");
        assert!(!s.store.contains(&pin) && s.temps() == 0 && packs(&s.store).is_empty());
    }
}

#[test]
fn a_full_disk_leaves_no_half_pack() {
    let s = Sandbox::new();
    let disk = s.dir.path().join("small");
    fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&disk).output();
    if !mount.is_ok_and(|o| o.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    many(&s, 300, 50_000);
    let pin = s.pin("d");
    let store = Store::open(&disk.join("store"), LinkTypes::default());
    let mut batch = store.batch();
    batch.add(&s.index, &place("d"), &pin).unwrap();
    let e = batch.commit(&Silent).unwrap_err();
    let temps = fs::read_dir(store.dir().join("tmp")).map_or(0, |d| d.count());
    let left = (temps, packs(&store).len(), store.contains(&pin));
    let _ = std::process::Command::new("umount").arg(&disk).output();
    assert!(e.message.contains("No space left") && !e.hints.is_empty(), "{e}");
    assert_eq!(left, (0, 0, false));
}

/// One flipped byte anywhere: a read returns the right bytes or an error; storing again repairs.
#[test]
fn a_flipped_byte_never_gives_wrong_bytes() {
    let s = Sandbox::new();
    many(&s, 60, 300);
    s.write("d/large", vec![9; 200_000]);
    let pin = s.put("d");
    let truth: Vec<(PathBuf, Vec<u8>)> = files(&s.top.join("d"));
    let mut victims = files(s.store.dir());
    victims.retain(|(_, bytes)| !bytes.is_empty());
    let mut seed = 7u64;
    let (mut refused, mut right) = (0, 0);
    for _ in 0..150 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (path, bytes) = &victims[(seed >> 33) as usize % victims.len()];
        let at = (seed >> 20) as usize % bytes.len();
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (seed >> 61);
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, bad).unwrap();
        let store = Store::open(s.store.dir(), LinkTypes::default());
        fs::remove_dir_all(s.top.join("d")).unwrap();
        let restored =
            crate::store::restore(&store, &s.index, &s.writable("d").unwrap(), &pin, &crate::store::NoRules, &Silent);
        match restored {
            Ok(_) => {
                right += 1;
                assert!(files(&s.top.join("d")) == truth, "{path:?} at {at}");
            }
            Err(e) => {
                refused += 1;
                assert!(e.message.contains("damaged") || e.message.contains("is not in the store"), "{e}");
                assert!(!s.top.join("d").exists());
                for (path, bytes) in &truth {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
            }
        }
        assert_eq!(s.pin("d"), pin);
        let mut batch = store.batch();
        batch.add(&s.index, &place("d"), &pin).unwrap();
        match batch.commit(&Silent) {
            Ok(_) => assert!(store.holds(&pin), "{path:?} at {at}"),
            Err(e) => assert!(e.message.contains("has format") && path.ends_with("generation"), "{e}"),
        }
        // Restore the state for the next round.
        fs::remove_dir_all(s.store.dir()).unwrap();
        for (path, bytes) in &victims {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    assert!(refused > 20 && right > 20, "{refused} refused, {right} right");
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}

#[test]
fn what_is_loose_already_is_not_packed() {
    let s = Sandbox::new();
    many(&s, 8, 100);
    s.put("d");
    let before = loose(&s.store);
    assert_eq!(before, 13);
    many(&s, 1200, 100);
    let pin = s.put("d");
    let packed: Vec<_> = s.store.all_packs().iter().map(|pack| pack.index.len()).collect();
    // Eight files are present; all five trees changed.
    assert_eq!((packed.as_slice(), loose(&s.store)), (&[1200 - 8 + 5][..], before));
    comes_back(&s, &pin);
}
