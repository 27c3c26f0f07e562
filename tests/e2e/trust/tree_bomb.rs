//! A few trees that name each other claim more files than a disk can hold: they are refused before a byte is written.

use std::time::{Duration, Instant};

use lockstep::event::Silent;
use lockstep::store::trees::{Entry, EntryKind, Tree};
use lockstep::store::{LinkTypes, ObjectKind, Pin, Store};

use crate::sandbox::Sandbox;

/// Thirteen trees of nine entries each: 2.5 × 10^12 files of `size` bytes.
fn bomb(sandbox: &Sandbox, size: usize) -> Pin {
    let store = Store::open(&sandbox.path(".git/lockstep/store"), LinkTypes::default());
    let mut batch = store.batch();
    let file = batch.add_bytes(ObjectKind::Content, vec![b'x'; size]);
    let mut entry = Entry { name: Vec::new(), kind: EntryKind::File, id: file, size: size as u64, files: 1 };
    let mut pin = entry.pin();
    for _ in 0..13 {
        let entries = (0..9u8).map(|n| Entry { name: vec![b'a' + n], ..entry.clone() }).collect();
        let tree = Tree { entries };
        pin = tree.pin();
        batch.add_bytes(ObjectKind::Tree, tree.encode());
        entry = Entry {
            name: Vec::new(),
            kind: EntryKind::Tree,
            id: pin.id,
            size: pin.size,
            files: pin.files.unwrap_or_default(),
        };
    }
    batch.commit(&Silent).unwrap();
    pin
}

#[test]
fn more_than_the_disk_holds() {
    for size in [0, 1, 1000] {
        for (is_honest, code, words) in [(true, 7, "has no room: 2541865828329 files"), (false, 3, "not of the size")] {
            let sandbox = Sandbox::new();
            let pin = bomb(&sandbox, size);
            let (size, files) = if is_honest { (pin.size, pin.files.unwrap()) } else { (10, 10) };
            sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
            sandbox.write(
                "pipeline.lock",
                format!("schema: 1\ndata:\n  d:\n    blake3: {}\n    size: {size}\n    files: {files}\n", pin.id.hex()),
            );
            for command in [&["checkout"][..], &["pull"], &["repro"], &["get", ".", "d", "-o", "e"]] {
                let began = Instant::now();
                let out = sandbox.run(command);
                assert!(
                    (out.code != 0 || command[0] == "repro") && began.elapsed() < Duration::from_secs(10),
                    "{command:?} {out}"
                );
                assert!(!sandbox.exists("d") && !sandbox.exists("e"), "{command:?} {out}");
                if command[0] == "checkout" {
                    assert_eq!(out.code, code, "{command:?} {out}");
                    assert!(out.stderr.contains(words), "{command:?} {out}");
                }
            }
        }
    }
}
