//! Damage that shows while something else is asked of the store is damage, not an absence: set aside, and named.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::Sandbox;

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(path)),
            path => found.push(path),
        }
    }
    found
}

fn change(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_object_of_the_wrong_size() {
    for (name, size) in [("small", 300_usize), ("big", 2 << 20)] {
        for longer in [true, false] {
            let sandbox = Sandbox::new();
            sandbox.write(name, vec![7; size]);
            assert_eq!(sandbox.run(&["add", "-q", name]).code, 0);
            let object = files(sandbox.path(".git/lockstep/store/objects")).remove(0);
            change(&object, |bytes| bytes.resize(if longer { size + 1 } else { size - 1 }, 1));
            sandbox.remove(name);
            let out = sandbox.run(&["checkout"]);
            assert!(out.code == 3 && out.stderr.contains("is damaged") && out.stderr.contains("quarantine"), "{out}");
            assert!(out.stderr.contains(&format!("not in the store: {name}")), "{out}");
            assert!(!object.exists());
            assert_eq!(files(sandbox.path(".git/lockstep/store/quarantine")).len(), 1);
            // Once set aside it is stored again from the workspace.
            sandbox.write(name, vec![7; size]);
            assert_eq!(sandbox.run(&["commit"]).code, 0);
            sandbox.remove(name);
            assert_eq!(sandbox.run(&["checkout"]).code, 0);
        }
    }
}

#[test]
fn a_good_object_that_is_pinned_with_another_size() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "12345");
    assert_eq!(sandbox.run(&["add", "-q", "f"]).code, 0);
    sandbox.write("pipeline.lock", sandbox.read("pipeline.lock").replace("size: 5", "size: 6"));
    sandbox.remove("f");
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 3 && out.stderr.contains("has 5 bytes, and a lock pins it with 6"), "{out}");
    assert_eq!(files(sandbox.path(".git/lockstep/store/objects")).len(), 1);
}

#[test]
fn a_pack_and_a_tree() {
    let folder = || {
        let sandbox = Sandbox::new();
        (0..40).for_each(|n| sandbox.write(&format!("d/{n}"), format!("{n}")));
        assert_eq!(sandbox.run(&["add", "-q", "d"]).code, 0);
        let pack = files(sandbox.path(".git/lockstep/store/packs")).remove(0);
        sandbox.remove("d");
        (sandbox, pack)
    };
    let (sandbox, pack) = folder();
    change(&pack, |bytes| bytes.truncate(bytes.len() - 9));
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 3 && out.stderr.contains("the pack ") && out.stderr.contains("is kept in"), "{out}");
    assert_eq!(files(sandbox.path(".git/lockstep/store/quarantine")).len(), 1);

    // The tree in it, whose bytes follow those of the files.
    let (sandbox, pack) = folder();
    change(&pack, |bytes| {
        let names = bytes.windows(4).position(|w| w == [1, 40, 0, 0]).unwrap();
        bytes[names + 9] ^= 1;
    });
    let out = sandbox.run(&["status"]);
    assert!(out.stderr.contains("is damaged"), "{out}");
}
