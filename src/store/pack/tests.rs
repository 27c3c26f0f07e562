//! Tests with packs from other stores, intact and damaged.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::format::{HEADER, PackId, PackIndex, PackWriter, ROW, TRAILER, check_header, tail_length};
use crate::error::Kind;
use crate::event::Silent;
use crate::store::id::ObjectKind;
use crate::store::tests::{Sandbox, place};
use crate::store::trees::{Entry, EntryKind, Tree};
use crate::store::{LinkTypes, ObjectId, ObjectRef, Pin, Store};

/// A folder of 40 small files in two folders, as a pack file beside the store; returns the pin of the folder.
fn folder(s: &Sandbox, temp: &Path) -> (Pin, PackId) {
    let mut bytes = Vec::new();
    let mut writer = PackWriter::new(&mut bytes).unwrap();
    let mut trees = Vec::new();
    for half in 0..2u8 {
        let mut entries = Vec::new();
        for i in 0..20u8 {
            let content = content(half, i);
            let id = ObjectId::of(&content);
            writer.add(id, ObjectKind::Content, &content).unwrap();
            entries.push(Entry {
                name: format!("{i:02}").into(),
                kind: EntryKind::File,
                id,
                size: content.len() as u64,
                files: 1,
            });
        }
        trees.push(Tree { entries });
    }
    let entries = trees.iter().enumerate().map(|(at, tree)| {
        let pin = tree.pin();
        Entry { name: format!("h{at}").into(), kind: EntryKind::Tree, id: pin.id, size: pin.size, files: 20 }
    });
    let top = Tree { entries: entries.collect() };
    for tree in trees.iter().chain([&top]) {
        writer.add(tree.pin().id, ObjectKind::Tree, &tree.encode()).unwrap();
    }
    let (_, id) = writer.finish().unwrap();
    fs::create_dir_all(temp.parent().unwrap()).unwrap();
    fs::write(temp, bytes).unwrap();
    assert!(!s.store.contains(&top.pin()));
    (top.pin(), id)
}

fn content(half: u8, i: u8) -> Vec<u8> {
    vec![half * 100 + i; 10 + i as usize]
}

fn adopted(s: &Sandbox) -> (Pin, PathBuf) {
    let temp = s.store.temp().unwrap();
    let (pin, id) = folder(s, &temp);
    assert_eq!(s.store.adopt_pack(&temp, &Silent).unwrap(), id);
    (pin, s.store.dir().join("packs").join(id.file_name()))
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

fn quarantined(s: &Sandbox) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(s.store.dir().join("quarantine")).into_iter().flatten();
    entries.map(|e| fs::read(e.unwrap().path()).unwrap()).collect()
}

#[test]
fn a_pack_that_was_fetched_is_the_stores_own() {
    let s = Sandbox::new();
    let (pin, path) = adopted(&s);
    assert_eq!((fs::metadata(&path).unwrap().mode() & 0o777, s.temps()), (0o444, 0));
    assert!(s.store.contains(&pin) && s.store.holds(&pin) && s.store.missing_objects(&pin).unwrap().is_empty());
    s.restore("d", &pin).unwrap();
    assert_eq!(s.pin("d"), pin);
    assert_eq!(fs::read(s.top.join("d/h1/07")).unwrap(), content(1, 7));
    // Storing again writes nothing.
    s.put("d");
    assert!(!s.store.dir().join("objects").exists());
    let id = ObjectId::of(&content(0, 3));
    let mut reader = s.store.open_content(&id).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes, reader.size()), (content(0, 3), 13));
    assert_eq!((s.store.size(&id), s.store.size(&ObjectId([1; 32]))), (Some(13), None));
}

#[test]
fn what_a_pin_consists_of_and_what_is_lacking() {
    let s = Sandbox::new();
    let (pin, path) = adopted(&s);
    let all = s.store.list_objects(&pin).unwrap();
    assert_eq!(all.len(), 43);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 43);
    assert_eq!(all.last().unwrap(), &ObjectRef { id: pin.id, kind: ObjectKind::Tree, size: 111 });
    let at = |id: ObjectId| all.iter().position(|o| o.id == id).unwrap();
    let top = s.store.read_tree(&pin.id, 0).unwrap();
    for half in &top.entries {
        for entry in s.store.read_tree(&half.id, 0).unwrap().entries {
            assert!(at(entry.id) < at(half.id));
        }
    }
    // In another store: nothing, the root tree, one half.
    let other = Store::open(&s.dir.path().join("other"), LinkTypes::default());
    assert_eq!(other.missing_objects(&pin).unwrap().trees, [pin.id]);
    assert!(other.list_objects(&pin).unwrap_err().message.contains("is not in the store"));
    let take = |id: &ObjectId, kind| {
        let temp = other.temp().unwrap();
        fs::write(&temp, s.store.read(id, kind).unwrap()).unwrap();
        other.adopt_object(id, kind, &temp, &Silent).unwrap();
    };
    take(&pin.id, ObjectKind::Tree);
    assert_eq!(other.missing_objects(&pin).unwrap().trees, [top.entries[0].id, top.entries[1].id]);
    take(&top.entries[0].id, ObjectKind::Tree);
    take(&ObjectId::of(&content(0, 0)), ObjectKind::Content);
    let lacking = other.missing_objects(&pin).unwrap();
    assert_eq!((lacking.trees.as_slice(), lacking.contents.len()), (&[top.entries[1].id][..], 19));
    assert_eq!(lacking.bytes(), (1..20).map(|i| 10 + i).sum::<u64>());
    // A pack that another process adds is noticed.
    let temp = other.temp().unwrap();
    fs::copy(&path, &temp).unwrap();
    Store::open(other.dir(), LinkTypes::default()).adopt_pack(&temp, &Silent).unwrap();
    assert!(other.missing_objects(&pin).unwrap().is_empty() && other.contains(&pin));
}

#[test]
fn damaged_packs_and_objects_are_not_taken_in() {
    let s = Sandbox::new();
    let temp = s.store.temp().unwrap();
    folder(&s, &temp);
    let good = fs::read(&temp).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&temp, &bad).unwrap();
        // The reserved bytes of the header have no meaning yet.
        let e = s.store.adopt_pack(&temp, &Silent).err();
        assert_eq!(e.is_none(), (12..16).contains(&at), "{at}");
        fs::write(&temp, &good[..at]).unwrap();
        assert!(s.store.adopt_pack(&temp, &Silent).unwrap_err().message.contains("damaged"));
        let packs = s.store.dir().join("packs");
        let _ = fs::remove_dir_all(packs);
    }
    assert!(quarantined(&s).is_empty());
    fs::write(&temp, "other bytes").unwrap();
    let e = s.store.adopt_object(&ObjectId::of(b"bytes"), ObjectKind::Content, &temp, &Silent).unwrap_err();
    assert!(e.message.contains("arrived damaged") && s.store.size(&ObjectId::of(b"bytes")).is_none());
}

#[test]
fn one_bad_object_is_put_under_a_tombstone_and_the_others_stay() {
    let s = Sandbox::new();
    let (pin, path) = adopted(&s);
    let generation = s.store.generation();
    overwrite(&path, |bytes| bytes[HEADER as usize + 2] ^= 8);
    let bad = ObjectId::of(&content(0, 0));
    // Presence is not a proof, but `holds` verifies before a caller removes the other copy.
    assert!(s.store.contains(&pin) && !s.store.holds(&pin));
    let e = s.store.read(&bad, ObjectKind::Content).unwrap_err();
    assert!(e.kind == Kind::Missing && e.message.contains("is damaged") && e.causes[0].contains("kept in"), "{e}");
    let mut damaged = content(0, 0);
    damaged[2] ^= 8;
    assert_eq!(quarantined(&s), [damaged]);
    assert!(path.with_extension("dead").exists() && s.store.generation() != generation);
    // All stores see the tombstone.
    for store in [&s.store, &Store::open(s.store.dir(), LinkTypes::default())] {
        assert!(!store.contains(&pin) && store.size(&bad).is_none());
        assert_eq!(store.missing_objects(&pin).unwrap().contents.len(), 1);
        assert_eq!(store.read(&ObjectId::of(&content(0, 1)), ObjectKind::Content).unwrap(), content(0, 1));
    }
    let e = s.restore("d", &pin).unwrap_err();
    assert!(e.message.contains("h0/00") && s.names(".").is_empty(), "{e}");
    // After a new adoption the pack is intact.
    let temp = s.store.temp().unwrap();
    fs::write(&temp, content(0, 0)).unwrap();
    s.store.adopt_object(&bad, ObjectKind::Content, &temp, &Silent).unwrap();
    assert!(s.store.holds(&pin));
    s.restore("d", &pin).unwrap();
    assert_eq!(s.pin("d"), pin);
}

#[test]
fn storing_again_heals_a_pack() {
    for (at, tombstones) in [(HEADER as usize, "good"), (HEADER as usize + 12, "rubbish")] {
        let s = Sandbox::new();
        let (pin, path) = adopted(&s);
        s.restore("d", &pin).unwrap();
        overwrite(&path, |bytes| bytes[at] ^= 1);
        if tombstones == "rubbish" {
            fs::write(path.with_extension("dead"), tombstones).unwrap();
        }
        let store = Store::open(s.store.dir(), LinkTypes::default());
        let mut batch = store.batch();
        batch.add(&s.index, &place("d"), &pin).unwrap();
        batch.commit(&crate::event::Silent).unwrap();
        assert!(store.holds(&pin) && quarantined(&s).len() == 1);
        fs::remove_dir_all(s.top.join("d")).unwrap();
        s.restore("d", &pin).unwrap();
        assert_eq!(s.pin("d"), pin);
    }
}

#[test]
fn a_pack_with_a_broken_index_goes_to_quarantine_whole() {
    let cases: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.truncate(5),
        |bytes| *bytes.iter_mut().rev().nth(100).unwrap() ^= 1,
        |bytes| bytes[0] = b'L',
    ];
    for damage in cases {
        let s = Sandbox::new();
        let (pin, path) = adopted(&s);
        let generation = s.store.generation();
        overwrite(&path, damage);
        let store = Store::open(s.store.dir(), LinkTypes::default());
        assert!(!store.contains(&pin) && !path.exists());
        assert!(quarantined(&s).len() == 1 && store.generation() != generation);
        assert_eq!(store.missing_objects(&pin).unwrap().trees, [pin.id]);
    }
}

#[test]
fn a_pack_of_a_newer_format_or_under_a_wrong_name() {
    let s = Sandbox::new();
    let (pin, path) = adopted(&s);
    overwrite(&path, |bytes| bytes[8] = 2);
    let store = Store::open(s.store.dir(), LinkTypes::default());
    assert!(!store.contains(&pin) && path.exists(), "it is left alone");
    overwrite(&path, |bytes| bytes[8] = 1);
    assert!(Store::open(s.store.dir(), LinkTypes::default()).contains(&pin));
    fs::rename(&path, path.with_file_name(format!("{}.pack", "ab".repeat(32)))).unwrap();
    assert!(!Store::open(s.store.dir(), LinkTypes::default()).contains(&pin) && quarantined(&s).len() == 1);
}

/// In a read-only store, damage is reported each time.
#[test]
fn damage_in_a_read_only_store_is_told() {
    let s = Sandbox::new();
    let (pin, path) = adopted(&s);
    let [first, last] = [HEADER as usize, fs::read(&path).unwrap().len() - 1 - 56 - 43 * 49];
    overwrite(&path, |bytes| {
        bytes[first] ^= 1;
        // The root tree, the last object.
        bytes[last] ^= 1;
    });
    // No user can create files there.
    let store = s.store.dir();
    for name in ["quarantine", "tmp"] {
        let _ = fs::remove_dir_all(store.join(name));
        fs::write(store.join(name), "in the way").unwrap();
    }
    for _ in 0..2 {
        let store = Store::open(store, LinkTypes::default());
        let e = store.read(&ObjectId::of(&content(0, 0)), ObjectKind::Content).unwrap_err();
        assert!(e.kind == Kind::Missing && e.message.contains("is damaged"), "{e}");
        assert!(store.read_tree(&pin.id, 0).unwrap_err().message.contains("is damaged"));
        assert!(!store.contains(&pin) && !store.holds(&pin));
        assert!(store.missing_objects(&pin).unwrap().trees == [pin.id]);
        assert_eq!(store.read(&ObjectId::of(&content(0, 1)), ObjectKind::Content).unwrap(), content(0, 1));
    }
    assert!(s.restore("d", &pin).is_err() && !s.top.join("d").exists());
}

/// The parts of a foreign pack that are parsed: its header, its trailer, its index.
#[test]
fn fuzz_packs() {
    let mut bytes = Vec::new();
    let mut writer = PackWriter::new(&mut bytes).unwrap();
    for i in 0..8u8 {
        let content = content(i % 2, i);
        writer.add(ObjectId::of(&content), ObjectKind::Content, &content).unwrap();
    }
    writer.finish().unwrap();
    let mut empty = Vec::new();
    PackWriter::new(&mut empty).unwrap().finish().unwrap();
    let seal = |bytes: &mut Vec<u8>| {
        let Some(rows) = bytes.len().checked_sub(TRAILER) else { return };
        let Some(header) = rows.checked_sub(rows % ROW) else { return };
        let start = bytes[rows + 8..rows + 16].try_into().map_or(0, |n| u64::from_le_bytes(n) as usize);
        let start = if start < rows { start } else { header };
        let sum = ObjectId::of(&bytes[start..rows]);
        bytes[rows + 16..rows + 48].copy_from_slice(&sum.0);
    };
    crate::fuzz::fuzz("packs", vec![bytes, empty], Some(seal), |bytes| {
        let Some(header) = bytes.first_chunk::<{ HEADER as usize }>() else { return "short".into() };
        if let Err(why) = check_header(header) {
            return why.to_string();
        }
        let Some(trailer) = bytes.last_chunk::<TRAILER>() else { return "no trailer".into() };
        let length = match tail_length(trailer, bytes.len() as u64) {
            Ok(length) => length as usize,
            Err(why) => return why.to_string(),
        };
        assert!(length <= bytes.len());
        match PackIndex::parse(bytes[bytes.len() - length..].to_vec()) {
            Ok(index) => {
                assert_eq!((index.file_length(), index.iter().count()), (bytes.len() as u64, index.len()));
                for row in index.iter() {
                    let end = row.offset.checked_add(row.length).unwrap();
                    assert!(row.offset >= HEADER && end <= (bytes.len() - length) as u64);
                    assert_eq!(index.find(&row.id).map(|found| found.offset), Some(row.offset));
                }
                format!("fine {}", ["none", "some"][usize::from(!index.is_empty())])
            }
            Err(why) => why.to_string(),
        }
    });
}
