//! Two clones write to one remote at the same time.

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
            must(clone, &["add", "data"]);
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
