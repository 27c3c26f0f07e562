//! Several clones write to one remote at the same time.

use std::collections::BTreeSet;

use crate::target::Target;
use crate::workplace::{assert_same_in, clone, must, noise, workplace};

pub fn two_clones_push_at_once(target: &Target) {
    let one = workplace(target, 40);
    let two = clone(&one, target);
    let base = one.git(&["rev-parse", "HEAD"]);
    // The first round is about a remote where nothing is yet.
    for round in 0..3 {
        for (clone, seed) in [(&one, 100), (&two, 200)] {
            clone.git(&["checkout", "-q", "-B", &format!("work-{seed}"), base.trim()]);
            clone.write("data/both.bin", noise(round, 5000));
            clone.write("data/own.bin", noise(seed + round, 5000));
            // No stage: the second never pulls what the first made.
            clone.write("pipeline.yaml", "data:\n- path: data\n");
            // The lock is that of the base, and what is here was made from the round before.
            must(clone, if round == 0 { &["add", "data"] } else { &["commit", "--force", "data"] });
            clone.git(&["add", "-A"]);
            clone.git(&["commit", "-q", "-m", "work"]);
        }
        let both = [one.start(&["push"]), two.start(&["push"])].map(|push| push.end());
        for (out, who) in both.iter().zip(["one", "two"]) {
            assert_eq!(out.code, 0, "{who}, round {round}: {out}");
        }
        for from in [&one, &two] {
            let other = clone(from, target);
            must(&other, &["pull"]);
            assert_same_in("data", from, &other);
        }
    }
}

/// Readers over HTTP go by `index/all`.
pub fn the_summary_lists_all_pushes_that_overlap(target: &Target) {
    let first = workplace(target, 50);
    let clones = [clone(&first, target), clone(&first, target), clone(&first, target), first];
    for round in 0..4 {
        for (n, clone) in (0..).zip(&clones) {
            clone.write("data/own.bin", noise(1000 * n + round, 3000));
            clone.write("pipeline.yaml", "data:\n- path: data\n");
            must(clone, &["add", "data"]);
        }
        let running: Vec<_> = clones.iter().map(|clone| clone.start(&["push"])).collect();
        for push in running {
            let out = push.end();
            assert!(out.code == 0 && !out.stderr.contains("warning"), "round {round}: {out}");
        }
        let index = target.data.as_ref().unwrap().join("index");
        let names = std::fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // s3s-fs keeps notes of its own there.
        let segments: BTreeSet<String> = names.filter(|name| name.len() == 27 && name.as_bytes()[10] == b'-').collect();
        let summary = std::fs::read_to_string(index.join("all")).unwrap();
        assert_eq!(summary.lines().map(str::to_string).collect::<BTreeSet<_>>(), segments, "round {round}");
        assert_eq!(segments.len() as u64, 4 * (round + 1));
    }
}
