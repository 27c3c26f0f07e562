//! The table of joined folders. A folder is written as words: `x=1` a file, `x*1` an executable one, `x>1` a link;
//! `x=1` at the top alone is a file.

use super::*;
use crate::error::Error;

type Trees = BTreeMap<ObjectId, Tree>;

fn folder(trees: &mut Trees, words: &[(&str, EntryKind, u8)]) -> Entry {
    let mut tree = Tree::default();
    let mut below: BTreeMap<&str, Vec<(&str, EntryKind, u8)>> = BTreeMap::new();
    for (path, kind, n) in words {
        match path.split_once('/') {
            Some((folder, rest)) => below.entry(folder).or_default().push((rest, *kind, *n)),
            None => tree.entries.push(Entry {
                name: path.as_bytes().to_vec(),
                kind: *kind,
                id: ObjectId([*n; 32]),
                size: u64::from(*n),
                files: 1,
            }),
        }
    }
    for (name, words) in below {
        tree.entries.push(Entry { name: name.as_bytes().to_vec(), ..folder(trees, &words) });
    }
    tree.entries.sort_by(|a, b| a.name.cmp(&b.name));
    let pin = tree.pin();
    trees.insert(pin.id, tree);
    entry_of(&pin)
}

fn word(word: &str) -> (&str, EntryKind, u8) {
    let at = word.find(['=', '*', '>']).unwrap();
    let kind = match word.as_bytes()[at] {
        b'=' => EntryKind::File,
        b'*' => EntryKind::Executable,
        _ => EntryKind::Symlink,
    };
    (&word[..at], kind, word[at + 1..].parse().unwrap())
}

/// `-` is a missing path, `=1` and `*1` a file, everything else a folder.
fn version(trees: &mut Trees, text: &str) -> Option<Pin> {
    let words: Vec<_> = text.split_whitespace().filter(|w| *w != "." && *w != "-").map(word).collect();
    match words[..] {
        [] if text == "-" => None,
        [("", kind, n)] => {
            let executable = kind == EntryKind::Executable;
            Some(Pin { id: ObjectId([n; 32]), size: u64::from(n), files: None, executable })
        }
        _ => Some(folder(trees, &words).pin()),
    }
}

fn joined(base: &str, ours: &str, theirs: &str, pick: &PickSide) -> (Trees, JoinResult) {
    let mut trees = Trees::new();
    let mut pin = |text| version(&mut trees, text);
    let versions = Versions { base: pin(base), ours: pin(ours), theirs: pin(theirs) };
    let read = |id: &ObjectId, _: usize| trees.get(id).cloned().ok_or_else(|| Error::missing("no such tree"));
    let joined = join(versions, &read, pick).unwrap();
    (trees, joined)
}

#[test]
fn sides_are_joined_file_by_file() {
    for (base, ours, theirs, want) in [
        ("x=1", "x=1 a=2", "x=1 b=3", "x=1 a=2 b=3"),
        ("x=1 y=1", "x=2 y=1", "x=1 y=3", "x=2 y=3"),
        ("x=1 y=1 z=1", "x=2 z=1", "x=1 y=1", "x=2"),
        ("x=1 y=1", "y=1", "x=1", "."),
        ("x=1", "x=2 a=3", "x=2 b=3", "x=2 a=3 b=3"),
        // Deeper, with subtrees that only one side changed.
        ("s/x=1 t/u/v=1", "s/x=2 t/u/v=1", "s/x=1 t/u/v=1 t/u/w=2", "s/x=2 t/u/v=1 t/u/w=2"),
        ("s/x=1 s/y=1", "s/x=1", "s/y=1 a=1", "a=1"),
        ("s/x=1 s/y=1", "a=1", "s/x=1", "a=1"),
        // Content and executable bit, independently.
        ("x=1 y=1", "x*1 y=1 a=1", "x=2 y=1", "x*2 y=1 a=1"),
        ("x*1", "x=1 a=1", "x*1 b=1", "x=1 a=1 b=1"),
        ("=1", "*1", "=2", "*2"),
        // A type that one side changed.
        ("x=1", "x/y=1", "x=1 b=1", "x/y=1 b=1"),
        ("x/y=1", "x=1", "x/y=1 b=1", "x=1 b=1"),
        ("x>1", "x>1 a=1", "x>2", "x>2 a=1"),
        // Without an ancestor: all files of both sides.
        ("-", "x=1 a=1", "x=1 b=1", "x=1 a=1 b=1"),
        ("-", "s/a=1", "s/b=1", "s/a=1 s/b=1"),
        ("=1", "s/a=1", "s/b=1", "s/a=1 s/b=1"),
    ] {
        let (mut trees, got) = joined(base, ours, theirs, &|_| None);
        assert_eq!(got.conflicts, [], "{base} | {ours} | {theirs}");
        assert_eq!(got.pin, version(&mut trees, want), "{base} | {ours} | {theirs}");
        // Every object of the pin exists: it did before, or it is returned, deepest first.
        for bytes in &got.trees {
            let tree = Tree::parse(bytes).unwrap();
            assert!(tree.entries.iter().all(|e| e.kind != EntryKind::Tree || trees.contains_key(&e.id)));
        }
    }
}

#[test]
fn what_both_sides_changed_is_a_conflict() {
    use Clash::{Added, Changed, Removed, Type};
    let mut cases = vec![
        ("x=1", "x=2", "x=3", vec![("x", Changed)], "x=2", "x=3"),
        ("x=1 y=1", "x=2 y=1", "y=1", vec![("x", Removed(Side::Theirs))], "x=2 y=1", "y=1"),
        ("s/x=1 a=1", "a=1", "s/x=2 a=1", vec![("s/x", Removed(Side::Ours))], "a=1", "s/x=2 a=1"),
        ("a=1", "a=1 x=2", "a=1 x=3", vec![("x", Added)], "a=1 x=2", "a=1 x=3"),
        ("a=1", "a=1 x*2", "a=1 x=2", vec![("x", Added)], "a=1 x*2", "a=1 x=2"),
        ("a=1", "a=1 x=2", "a=1 x/y=2", vec![("x", Type)], "a=1 x=2", "a=1 x/y=2"),
        ("x/y=1", "x=1", "x/y=2", vec![("x", Type)], "x=1", "x/y=2"),
        ("x=1", "x>1", "x=2", vec![("x", Type)], "x>1", "x=2"),
        ("x=1", "x*2", "x=3", vec![("x", Changed)], "x*2", "x=3"),
        ("x>1", "x>2", "x>3", vec![("x", Changed)], "x>2", "x>3"),
        ("=1", "=2", "=3", vec![("", Changed)], "=2", "=3"),
        ("=1", "-", "=3", vec![("", Removed(Side::Ours))], "-", "=3"),
        ("x=1 y=1", "x=1", "-", vec![("", Removed(Side::Theirs))], "x=1", "-"),
        ("=1", "=2", "x=3", vec![("", Type)], "=2", "x=3"),
        ("-", "=2", "=3", vec![("", Added)], "=2", "=3"),
    ];
    let both = vec![("s/x", Changed), ("y", Added)];
    cases.push(("s/x=1", "s/x=2 y=2 o=1", "s/x=3 y=3 t=1", both, "s/x=2 y=2 o=1 t=1", "s/x=3 y=3 o=1 t=1"));
    for (base, ours, theirs, want, with_ours, with_theirs) in cases {
        let (_, got) = joined(base, ours, theirs, &|_| None);
        let want: Vec<_> =
            want.into_iter().map(|(path, clash)| PathConflict { path: path.as_bytes().to_vec(), clash }).collect();
        assert_eq!(got.conflicts, want, "{base} | {ours} | {theirs}");
        for (side, want) in [(Side::Ours, with_ours), (Side::Theirs, with_theirs)] {
            let (mut trees, got) = joined(base, ours, theirs, &|_| Some(side));
            assert_eq!(got.conflicts, []);
            assert_eq!(got.pin, version(&mut trees, want), "{base} | {ours} | {theirs}");
        }
    }
}

#[test]
fn names_that_must_not_stand_in_one_folder_are_a_conflict() {
    let (_, got) = joined("a=1", "a=1 X>1", "a=1 x=2", &|_| None);
    assert!(matches!(&got.conflicts[..], [PathConflict { clash: Clash::Names(_), .. }]), "{got:?}");
}

#[test]
fn a_tree_that_cannot_be_read_is_an_error_unless_one_side_left_it_alone() {
    let pin = |n: u8| Pin { id: ObjectId([n; 32]), size: 1, files: Some(1), executable: false };
    let read = |_: &ObjectId, _: usize| Err(Error::missing("no such tree"));
    let versions =
        |base, ours, theirs| Versions { base: Some(pin(base)), ours: Some(pin(ours)), theirs: Some(pin(theirs)) };
    assert!(join(versions(1, 2, 3), &read, &|_| None).is_err());
    assert_eq!(join(versions(1, 1, 3), &read, &|_| None).unwrap().pin, Some(pin(3)));
}
