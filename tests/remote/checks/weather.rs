//! The way to the server is bad.

use std::time::Duration;

use crate::target::Target;
use crate::weather::Weather;
use crate::workplace::{assert_nothing_wrong, assert_same, clone, must, workplace};

/// A few attempts get each object through, also where it takes several requests.
const BAD: Weather = Weather {
    seed: 0,
    latency: Duration::from_millis(2),
    unavailable: 50,
    too_many: 30,
    dropped: 30,
    truncated: 0,
    corrupted: 0,
    on: "",
};

pub fn refusals_and_lost_connections_are_survived(target: &Target) {
    for seed in 0..4 {
        let mut target = target.clone().within(&format!("seed-{seed}"));
        // An object of WebDAV takes several requests, each of which may fail.
        target.options.insert("retries".into(), "8".into());
        let (proxy, target) = target.proxied(BAD);
        let work = workplace(&target, 50 + seed);
        proxy.set(Weather { seed, ..BAD });
        must(&work, &["push"]);
        let other = clone(&work, &target);
        must(&other, &["pull"]);
        assert_same(&work, &other);
    }
}

/// Whatever comes, the workspace never holds other bytes than were pushed, and good weather mends everything.
pub fn bytes_changed_on_the_way_are_noticed(target: &Target) {
    let (proxy, target) = target.proxied(Weather::default());
    let work = workplace(&target, 60);
    must(&work, &["push"]);
    for (truncated, corrupted) in [(1000, 0), (0, 1000), (300, 300)] {
        for on in ["packs", "objects", "index"] {
            proxy.set(Weather { seed: 7, truncated, corrupted, on, ..Weather::default() });
            let other = clone(&work, &target);
            let out = other.run(&["pull"]);
            assert!([0, 3, 4].contains(&out.code), "{on} {truncated} {corrupted}: {out}");
            if truncated == 1000 || corrupted == 1000 {
                assert_ne!(out.code, 0, "{on} {truncated} {corrupted}: {out}");
            }
            assert_nothing_wrong(&work, &other);
            proxy.set(Weather::default());
            must(&other, &["pull"]);
            assert_same(&work, &other);
        }
    }
}
