//! What nobody needs any more goes; what somebody needs does not, whatever the weather.

use std::time::Duration;

use crate::sandbox::Sandbox;
use crate::target::Target;
use crate::weather::Weather;
use crate::workplace::{assert_same, clone, must, noise, workplace};

const CLEAN: [&str; 6] = ["gc", "-c", "-w", "-f", "--min-age", "0"];

/// Two versions at the remote, of which the second is needed.
fn two_versions(target: &Target, seed: u64) -> Sandbox {
    let work = workplace(target, seed);
    must(&work, &["push"]);
    work.write("seed.bin", noise(seed + 1000, 2 << 20));
    work.write("data/0/000.bin", noise(seed + 1001, 3000));
    must(&work, &["repro"]);
    work.git(&["add", "-A"]);
    work.git(&["commit", "-q", "-m", "again"]);
    must(&work, &["push"]);
    work
}

pub fn what_nobody_needs_goes_in_two_steps(target: &Target) {
    let work = two_versions(target, 70);
    must(&work, &CLEAN);
    let marked = clone(&work, target);
    must(&marked, &["fetch", "--rev", "HEAD~1"]);
    let out = must(&work, &CLEAN);
    assert!(out.stderr.contains("removed") && out.stderr.contains("MB"), "{out}");
    // Whoever looked before and whoever looks now gets all that is needed.
    must(&marked, &["pull"]);
    assert_same(&work, &marked);
    let other = clone(&work, target);
    must(&other, &["pull"]);
    assert_same(&work, &other);
    let gone = other.run(&["fetch", "--rev", "HEAD~1"]);
    assert!(gone.code == 3 && gone.stderr.contains("model.bin"), "{gone}");
    // What went can be pushed again by who has it.
    must(&marked, &["push", "--rev", "HEAD~1"]);
    must(&other, &["fetch", "--rev", "HEAD~1"]);
}

pub fn a_cleaning_in_bad_weather_harms_nothing(target: &Target) {
    const BAD: Weather = Weather {
        seed: 0,
        latency: Duration::from_millis(1),
        unavailable: 80,
        too_many: 40,
        dropped: 60,
        truncated: 0,
        corrupted: 0,
        on: "",
    };
    let (proxy, target) = target.proxied(Weather::default());
    let work = two_versions(&target, 80);
    for seed in 0..4 {
        proxy.set(Weather { seed, ..BAD });
        let out = work.run(&CLEAN);
        assert!([0, 4, 5].contains(&out.code), "{out}");
        proxy.set(Weather::default());
        let other = clone(&work, &target);
        must(&other, &["pull"]);
        assert_same(&work, &other);
    }
}
