//! The table of merges: which side's record is taken.

use super::*;
use crate::lock::{Command, OutLock};
use crate::store::ObjectId;
use crate::value::Value;

fn pin(n: u8) -> Pin {
    Pin { id: ObjectId([n; 32]), size: 1, files: None, executable: false }
}

/// A record of a stage with its dep, its param and its out; the key is computed.
fn record(dep: (&str, u8), lr: i128, out: (&str, u8)) -> StageLock {
    let mut entry = StageLock {
        key: ObjectId::default(),
        cmd: Command::One("run".into()),
        wdir: None,
        shell: None,
        environment: None,
        env: ByName::new(),
        deps: [(dep.0.to_string(), pin(dep.1))].into(),
        params: [("params.yaml".to_string(), [("lr".to_string(), Value::Int(lr))].into())].into(),
        outs: [(out.0.to_string(), OutLock { pin: pin(out.1), cache: true, persist: false, metrics: ByName::new() })]
            .into(),
    };
    entry.key = key(&entry);
    entry
}

fn lock(stages: &[(&str, StageLock)]) -> Lock {
    Lock { data: BTreeMap::new(), stages: stages.iter().map(|(n, s)| (n.to_string(), s.clone())).collect() }
}

fn merged(base: Option<Lock>, ours: Lock, theirs: Lock, known: &MergedInputs) -> Merged {
    let conflict = |_: &str, _: Versions<Pin>| DataJoin::Conflict(Vec::new(), Remedy::Choose);
    merge(&Sides { base, ours, theirs }, known, &conflict)
}

fn choices_of(merged: &Merged) -> Vec<(&str, Side, ChoiceReason, bool)> {
    merged.choices.iter().map(|c| (c.block.name(), c.side, c.why, c.gone)).collect()
}

use ChoiceReason::{Inputs, Joined, NotRemoved, OnlyChange, Picked, Undecided};
use Side::{Ours, Theirs};

#[test]
fn one_side_changed_a_block() {
    let (old, new) = (record(("in", 1), 1, ("out", 1)), record(("in", 1), 2, ("out", 2)));
    let other = record(("in", 3), 1, ("other", 3));
    let base = || Some(lock(&[("a", old.clone()), ("b", other.clone())]));
    let same = lock(&[("a", old.clone()), ("b", other.clone())]);
    let changed = lock(&[("a", new.clone()), ("b", other.clone())]);
    let less = lock(&[("b", other.clone())]);
    let more = lock(&[("a", old.clone()), ("b", other.clone()), ("c", new.clone())]);
    let none = MergedInputs::default();
    for (ours, theirs, want, result) in [
        (&same, &changed, vec![("a", Theirs, OnlyChange, false)], &changed),
        (&changed, &same, vec![("a", Ours, OnlyChange, false)], &changed),
        (&changed, &changed, vec![], &changed),
        (&less, &same, vec![("a", Ours, OnlyChange, true)], &less),
        (&same, &less, vec![("a", Theirs, OnlyChange, true)], &less),
        (&same, &more, vec![("c", Theirs, OnlyChange, false)], &more),
        // Deleted here, run there: a record is rather kept.
        (&less, &changed, vec![("a", Theirs, NotRemoved, false)], &changed),
        (&changed, &less, vec![("a", Ours, NotRemoved, false)], &changed),
    ] {
        let m = merged(base(), ours.clone(), theirs.clone(), &none);
        assert_eq!(choices_of(&m), want);
        assert_eq!(m.lock, *result);
    }
    // Each side added a stage of its own.
    let (left, right) = (lock(&[("b", other.clone()), ("x", new.clone())]), lock(&[("b", other.clone()), ("y", old)]));
    let m = merged(Some(lock(&[("b", other)])), left, right, &none);
    assert_eq!(m.lock.stages.keys().collect::<Vec<_>>(), ["b", "x", "y"]);
}

#[test]
fn a_record_of_a_stage_that_is_no_more_goes() {
    let (old, new) = (record(("in", 1), 1, ("out", 1)), record(("in", 1), 2, ("out", 2)));
    let known = MergedInputs { declared: Some([Block::Stage("b".into())].into()), ..MergedInputs::default() };
    let (gone, changed) = (lock(&[]), lock(&[("a", new.clone())]));
    for (ours, theirs, side) in [(&gone, &changed, Ours), (&changed, &gone, Theirs)] {
        let m = merged(Some(lock(&[("a", old.clone())])), ours.clone(), theirs.clone(), &known);
        assert_eq!(choices_of(&m), [("a", side, OnlyChange, true)]);
        assert!(m.lock.stages.is_empty());
    }
    // Without an ancestor it is unknown which side removed it.
    let m = merged(None, lock(&[("a", new.clone())]), lock(&[("b", new)]), &known);
    assert_eq!(choices_of(&m), [("a", Theirs, OnlyChange, true), ("b", Theirs, OnlyChange, false)]);
}

#[test]
fn both_changed_a_stage() {
    let base = record(("in", 1), 1, ("out", 1));
    let (lr2, lr3) = (record(("in", 1), 2, ("out", 2)), record(("in", 1), 3, ("out", 3)));
    let again = record(("in", 1), 1, ("out", 9)); // the old inputs, other bytes
    let in2 = record(("in", 2), 1, ("out", 4));
    let both = record(("in", 2), 2, ("out", 5));
    for (ours, theirs, side, why) in [
        (&lr2, &lr3, Ours, Undecided),  // one value, two changes
        (&lr2, &in2, Ours, Undecided),  // the merge has both changes, which no run had
        (&again, &lr2, Theirs, Inputs), // ours ran the old inputs again, the merge has new ones
        (&lr2, &again, Ours, Inputs),
        (&in2, &both, Theirs, Inputs), // theirs has both changes
        (&both, &lr2, Ours, Inputs),
    ] {
        let m = merged(
            Some(lock(&[("a", base.clone())])),
            lock(&[("a", ours.clone())]),
            lock(&[("a", theirs.clone())]),
            &MergedInputs::default(),
        );
        assert_eq!(choices_of(&m), [("a", side, why, false)]);
        assert_eq!(m.lock.stages["a"], *if side == Ours { ours } else { theirs });
    }
}

#[test]
fn the_merged_files_decide() {
    let base = record(("in", 1), 1, ("out", 1));
    let (lr2, lr3) = (record(("in", 1), 2, ("out", 2)), record(("in", 1), 3, ("out", 3)));
    for (now, side, why) in [(3, Theirs, Inputs), (2, Ours, Inputs), (4, Ours, Undecided)] {
        let known = MergedInputs {
            inputs: [("a".to_string(), record(("in", 1), now, ("out", 0)))].into(),
            ..MergedInputs::default()
        };
        for base in [Some(lock(&[("a", base.clone())])), None] {
            let m = merged(base, lock(&[("a", lr2.clone())]), lock(&[("a", lr3.clone())]), &known);
            assert_eq!(choices_of(&m), [("a", side, why, false)]);
        }
    }
}

#[test]
fn a_stage_is_measured_by_the_merged_result_of_what_it_reads() {
    // `b` makes what `a` reads. Ours changed b's param; theirs ran b again on the old one, with other bytes. So b is
    // ours, and a, which each side ran on its own b, is ours as well, though theirs is the newer of a's two inputs.
    let b = |lr, out| record(("in", 1), lr, ("mid", out));
    let a = |mid, lr, out| record(("mid", mid), lr, ("out", out));
    let base = lock(&[("a", a(1, 1, 1)), ("b", b(1, 1))]);
    let left = lock(&[("a", a(2, 1, 2)), ("b", b(2, 2))]);
    let right = lock(&[("a", a(3, 1, 3)), ("b", b(1, 3))]);
    let m = merged(Some(base.clone()), left.clone(), right.clone(), &MergedInputs::default());
    assert_eq!(choices_of(&m), [("a", Ours, Inputs, false), ("b", Ours, Inputs, false)]);
    assert_eq!(m.lock, left);
    let m = merged(Some(base), right, left.clone(), &MergedInputs::default());
    assert_eq!(choices_of(&m), [("a", Theirs, Inputs, false), ("b", Theirs, Inputs, false)]);
    assert_eq!(m.lock, left);
}

#[test]
fn data_that_both_sides_changed_is_joined_or_a_conflict() {
    let data = |n: u8| match n {
        0 => Lock::default(),
        n => Lock { data: [("raw".to_string(), pin(n))].into(), ..Lock::default() },
    };
    // 9 is both sides', as the caller joins them; 0 is none.
    let join = |_: &str, versions: Versions<Pin>| match versions {
        Versions { ours: Some(_), theirs: Some(_), .. } => DataJoin::Joined(Some(pin(9))),
        Versions { theirs: None, .. } => DataJoin::Picked(Theirs, None),
        Versions { ours: None, .. } => DataJoin::Conflict(vec!["why".into()], Remedy::Choose),
    };
    let nothing_declared = MergedInputs { declared: Some(BTreeSet::new()), ..MergedInputs::default() };
    for known in [&MergedInputs::default(), &nothing_declared] {
        for (base, ours, theirs, want, result) in [
            (Some(1), 1, 3, Some((Theirs, OnlyChange)), data(3)),
            (Some(1), 2, 1, Some((Ours, OnlyChange)), data(2)),
            (Some(1), 0, 1, Some((Ours, OnlyChange)), data(0)),
            (Some(1), 2, 2, None, data(2)),
            (Some(1), 2, 3, Some((Ours, Joined)), data(9)),
            (Some(0), 2, 3, Some((Ours, Joined)), data(9)),
            (None, 2, 3, Some((Ours, Joined)), data(9)),
            (Some(1), 2, 0, Some((Theirs, Picked)), data(0)),
        ] {
            let merged = merge(&Sides { base: base.map(data), ours: data(ours), theirs: data(theirs) }, known, &join);
            let got = merged.choices.first().map(|choice| (choice.side, choice.why));
            assert_eq!((got, merged.lock), (want, result), "{base:?} {ours} {theirs}");
        }
        let merged = merge(&Sides { base: Some(data(1)), ours: data(0), theirs: data(3) }, known, &join);
        let versions = Versions { base: Some(pin(1)), ours: None, theirs: Some(pin(3)) };
        let (path, details) = ("raw".to_string(), vec!["why".to_string()]);
        assert_eq!(merged.conflicts, [DataConflict { path, versions, details, remedy: Remedy::Choose }]);
        assert_eq!((merged.lock, merged.choices), (Lock::default(), vec![]));
    }
}

#[test]
fn folders_that_hold_outs_overlap() {
    for (a, b, want) in
        [("a", "a", true), ("a/b", "a", true), ("a", "ab", false), (".", "x", true), ("x/y", "x/z", false)]
    {
        assert_eq!(overlap(a, b), want, "{a} {b}");
    }
}

/// Arbitrary locks: what can be read can be written and read again, and merging two of them does not fail.
#[test]
fn fuzz_locks() {
    let good = include_str!("../../../fixtures/broken/good.lock");
    let small = lock(&[("train", record(("data", 1), 3, ("model", 2)))]);
    let corpus = vec![good.as_bytes().to_vec(), crate::lock::write(&small).into_bytes(), b"schema: 1\n".to_vec()];
    let base = crate::lock::read("base", good).unwrap();
    crate::fuzz::fuzz("locks", corpus, None, |bytes| {
        match crate::lock::read("pipeline.lock", &String::from_utf8_lossy(bytes)) {
            Ok(read) => {
                let again = crate::lock::read("again", &crate::lock::write(&read));
                assert!(again.is_ok_and(|again| again == read));
                let known = MergedInputs::default();
                let merged = merged(Some(base.clone()), small.clone(), read, &known);
                format!(
                    "fine {}",
                    choices_of(&merged).iter().map(|choice| format!("{:?}", choice.2)).collect::<String>()
                )
            }
            Err(error) => {
                assert_eq!(error.kind.exit_code(), 2, "{error}");
                error.message
            }
        }
    });
}
