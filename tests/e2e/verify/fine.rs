//! What is no damage.

use std::fs;

use crate::sandbox::Sandbox;
use crate::verify::{fine, lab, pushed, shown, store};

#[test]
fn a_store_that_is_as_it_should_be() {
    let sandbox = lab();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify"])), @r"
    exit 0
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: nothing is damaged
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--read-data"])), @r"
    exit 0
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: nothing is damaged
    read 129 objects ([SIZE])
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--repair"])), @r"
    exit 0
    --- stderr
    129 objects ([SIZE]), 2 packs, 4 results: nothing is damaged
    ");
    fine(&sandbox.run(&["-q", "verify"]));
}

#[test]
fn parts_are_read_by_share_or_by_chance() {
    let sandbox = lab();
    let read = |part: &str, more: &[&str]| -> u64 {
        let part = format!("--read-data={part}");
        let out = sandbox.run(&[&["verify", "--json", &part], more].concat());
        fine(&out);
        serde_json::from_str::<serde_json::Value>(&out.stdout).unwrap()["read_objects"].as_u64().unwrap()
    };
    let all = read("1/1", &[]);
    assert_eq!((1..=3).map(|n| read(&format!("{n}/3"), &[])).sum::<u64>(), all);
    assert_eq!(read("100%", &[]), all);
    let some = read("40%", &["--seed", "7"]);
    assert!(some == read("40%", &["--seed", "7"]) && some > 0 && some < all, "{some} of {all}");
    assert!(read("1B", &[]) == 1 && read("1GiB", &[]) == all);
    let out = sandbox.run(&["verify", "--read-data=40%", "--seed", "7"]);
    assert!(out.stderr.contains("picked at random; to read the same ones again: --seed 7"), "{out}");
    let out = sandbox.run(&["verify", "--read-data=8/7"]);
    assert!(out.code == 2 && out.stderr.contains("there is no share 8 of 7"), "{out}");
}

#[test]
fn a_clone_lacks_much_and_is_whole() {
    let sandbox = pushed();
    sandbox.git(&["clone", "-q", ".", "../c"]);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run_in("../c", &["verify"])), @r"
    exit 3
    --- stderr
    error: there is no store yet at [BOX]/c/.git/lockstep/store: nothing to verify
      hint: lockstep repro fills it, and so does lockstep pull from a remote
    ");
    fs::write(sandbox.path("../c/lockstep.toml"), fs::read(sandbox.path("lockstep.toml")).unwrap()).unwrap();
    fine(&sandbox.run_in("../c", &["fetch", "-q", "small", "large"]));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run_in("../c", &["verify"])), @r"
    exit 0
    --- stderr
    2 objects (150.0 kB), 0 packs, 0 results: nothing is damaged
    4 outputs not here, which is not damage (550.6 kB)
    ");
    // Without any remote, nobody can bring what the workspace needs.
    fs::write(sandbox.path("../c/lockstep.toml"), "").unwrap();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run_in("../c", &["verify"])), @r"
    exit 1
    --- stdout
    object [HASH]: it is not in the store, and there is no remote that may have it
      needed by d of gen: workspace, main ([main]), v2 ([v2])
    --- stderr
    2 objects (150.0 kB), 0 packs, 0 results: 1 damaged
    3 outputs not here, which is not damage (350.3 kB)
    hint: restore it from the workspace or a remote: lockstep store verify --repair
    ");
}

/// What gc took of earlier commits was given up.
#[test]
fn what_gc_took_is_no_damage() {
    let sandbox = lab();
    fine(&sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]));
    let out = sandbox.run(&["verify", "--read-data"]);
    assert!(out.code == 0 && out.stderr.contains("not here, which is not damage"), "{out}");
}

/// Looking changes nothing and needs no lock.
#[test]
fn looking_touches_nothing() {
    let sandbox = lab();
    let listing = || {
        let entry = |path: &std::path::PathBuf| (path.clone(), fs::read(path).unwrap());
        crate::verify::files(&store(&sandbox)).iter().map(entry).collect::<Vec<_>>()
    };
    crate::verify::flip(&crate::verify::packed(&store(&sandbox).join("packs"), b"7 2\n").0, 20);
    crate::verify::flip(&crate::verify::loose(&sandbox, &[b'1'; 200_000]), 20);
    let before = listing();
    let lock = fs::File::open(store(&sandbox).join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(sandbox.run(&["verify", "--read-data"]).code, 1);
    assert!(listing() == before);
}

/// A repro and a gc that go on all the while are no damage.
#[test]
fn what_goes_on_meanwhile_is_no_damage() {
    let sandbox = lab();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 3..15 {
                sandbox.write("n", (n % 10).to_string());
                fine(&sandbox.run(&["repro", "-q"]));
                fine(&sandbox.run(&["gc", "-q", "-A", "-f", "--min-age", "0"]));
            }
        });
        let mut looks = 0;
        while !writer.is_finished() || looks < 5 {
            let out = sandbox.run(&["verify", "--read-data"]);
            assert_eq!(out.code, 0, "{out}");
            looks += 1;
        }
        println!("{looks} looks");
    });
}

#[test]
fn without_git() {
    let sandbox = Sandbox::without_git();
    fine(&sandbox.run(&["init", "-q", "--no-scm"]));
    sandbox.write("pipeline.yaml", crate::verify::PIPELINE);
    sandbox.write("n", "1");
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["verify", "--read-data"]));
    let big = crate::verify::files(&sandbox.path(".lockstep/store/objects")).remove(0);
    crate::verify::flip(&big, 5);
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains(": workspace"), "{out}");
}
