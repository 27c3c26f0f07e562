//! `verify --remote`: damage at a remote that is a folder, and putting it again.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::Sandbox;
use crate::verify::{files, fine, flip, lab, packed, pushed, shown};

fn away(sandbox: &Sandbox, below: &str) -> Vec<PathBuf> {
    files(&sandbox.path("../lab").join(below))
}

/// With a large object, which lies in a file of its own there.
fn large() -> Sandbox {
    let sandbox = lab();
    sandbox.write("raw", "r".repeat(1_200_000));
    fine(&sandbox.run(&["add", "-q", "raw"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["push", "-q", "-T", "--run-cache"]));
    sandbox
}

#[test]
fn a_remote_that_is_as_it_should_be() {
    let sandbox = large();
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote"])), @r"
    exit 0
    --- stderr
    lab: 3 packs, 1 large object, 4 results (1.9 MB): nothing is damaged
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote", "lab", "--read-data"])), @r"
    exit 0
    --- stderr
    lab: 3 packs, 1 large object, 4 results (1.9 MB): nothing is damaged
    read 4 files (1.9 MB)
    ");
    let out = sandbox.run(&["verify", "--remote", "lob"]);
    assert!(out.code == 3 && out.stderr.contains("did you mean `lab`?"), "{out}");
    fs::create_dir(sandbox.path("../empty")).unwrap();
    fine(&sandbox.run(&["remote", "add", "-q", "empty", "../empty"]));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote", "empty"])), @r"
    exit 4
    --- stderr
    error: the remote empty (../empty) is not a lockstep remote
      because: it has no file lockstep-remote: nothing was pushed there yet, or the URL is wrong
      hint: does the URL lead to the right place?
      hint: if it does, push from where the data is: lockstep push -r empty
    ");
    fs::remove_dir(sandbox.path("../empty")).unwrap();
    assert_eq!(sandbox.run(&["verify", "--remote", "empty"]).code, 4);
}

#[test]
fn damage_there_is_named_and_put_again() {
    let sandbox = large();
    let (pack, at) = packed(&sandbox.path("../lab/packs"), b"7 2\n");
    flip(&pack, at);
    flip(&away(&sandbox, "objects")[0], 9);
    // Sizes are right: only reading tells.
    fine(&sandbox.run(&["verify", "--remote"]));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote", "--read-data"])), @r"
    exit 1
    --- stdout
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: workspace, main ([v2])
    objects/66/[HASH]: its bytes do not match its id
      needed by raw: workspace
    --- stderr
    lab: 3 packs, 1 large object, 4 results (1.9 MB): 2 damaged
    read 4 files (1.9 MB)
    hint: upload it again from here: lockstep store verify --remote lab --repair
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote", "--read-data", "--repair"])), @r"
    exit 0
    --- stdout
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: workspace, main ([v2])
      repaired: uploaded again from here
    objects/66/[HASH]: its bytes do not match its id
      needed by raw: workspace
      repaired: uploaded again from here
    --- stderr
    lab: 3 packs, 1 large object, 4 results (1.9 MB): repaired
    read 4 files (1.9 MB)
    ");
    fine(&sandbox.run(&["verify", "--remote", "--read-data"]));
}

/// Every file there, damaged in several ways: found, and put again as it was, from the clone that pushed it.
#[test]
fn every_file_comes_back_as_it_was() {
    let sandbox = large();
    let all = [away(&sandbox, "packs"), away(&sandbox, "objects"), away(&sandbox, "index")].concat();
    let all: Vec<PathBuf> = all.into_iter().filter(|path| !path.ends_with("all")).collect();
    assert!(all.len() > 4);
    for file in all.iter().chain([&sandbox.path("../lab/lockstep-remote")]) {
        let good = fs::read(file).unwrap();
        for how in ["flipped", "cut", "gone"] {
            let is_marker = file.ends_with("lockstep-remote");
            match how {
                "flipped" if !is_marker => flip(file, good.len() as u64 / 2),
                "cut" if !is_marker => fs::write(file, &good[..good.len() / 2]).unwrap(),
                // An index that is gone without a trace was never there.
                "gone" if file.parent().unwrap().ends_with("index") => continue,
                "gone" => fs::remove_file(file).unwrap(),
                _ => continue,
            }
            let out = sandbox.run(&["verify", "--remote", "--read-data"]);
            let name = file.strip_prefix(sandbox.path("../lab")).unwrap().to_str().unwrap();
            assert!(out.code == 1 && out.stdout.contains(name), "{name} {how}: {out}");
            fine(&sandbox.run(&["verify", "--remote", "--read-data", "--repair"]));
            assert_eq!(fs::read(file).unwrap(), good, "{name} {how}");
            fine(&sandbox.run(&["verify", "--remote", "--read-data"]));
        }
    }
}

/// A clone that has only a part puts again what it has; for the rest it names the way.
#[test]
fn a_clone_that_does_not_have_it_all() {
    let sandbox = large();
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "3"]);
    sandbox.git(&["clone", "-q", ".", "../c"]);
    fine(&sandbox.run_in("../c", &["pull", "-q", "d"]));
    let (pack, _) = packed(&sandbox.path("../lab/packs"), b"7 1\n");
    fs::remove_file(&pack).unwrap();
    let out = sandbox.run_in("../c", &["verify", "--remote", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("left: not all of it is here"), "{out}");
    assert!(out.stderr.contains("from a clone that has it: lockstep push --again -a -T -r lab"), "{out}");
    fine(&sandbox.run(&["verify", "--remote", "--repair"]));
    // The pack of its own outputs is made again, also where this clone got it in another way.
    let (pack, _) = packed(&sandbox.path("../lab/packs"), b"7 2\n");
    fs::remove_file(&pack).unwrap();
    let out = sandbox.run_in("../c", &["verify", "--remote", "--repair"]);
    println!("{out}");
    fine(&sandbox.run(&["verify", "--remote", "--read-data", "--repair"]));
}

#[test]
fn a_remote_that_may_only_be_read() {
    let sandbox = pushed();
    let (pack, at) = packed(&sandbox.path("../lab/packs"), b"7 2\n");
    flip(&pack, at);
    fine(&sandbox.run(&["remote", "modify", "-q", "lab", "read_only", "true"]));
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["verify", "--remote", "--read-data", "--repair"])), @r"
    exit 1
    --- stdout
    packs/[HASH].pack at 55: its bytes do not match its id
      needed by d of gen: workspace, main ([main]), v2 ([v2])
      left: the remote is read-only
    --- stderr
    lab: 3 packs, 0 large objects, 4 results ([SIZE]): 1 damaged
    read 3 files ([SIZE])
    warning: the remote lab may only be read: nothing was put there
    ");
}

/// What is damaged here does not travel.
#[test]
fn damage_here_is_no_help_there() {
    let sandbox = pushed();
    let (pack, at) = packed(&sandbox.path("../lab/packs"), b"7 1\n");
    flip(&pack, at);
    for pack in files(&crate::verify::store(&sandbox).join("packs")) {
        if let Some(at) = fs::read(&pack).unwrap().windows(4).position(|w| w == b"7 1\n") {
            crate::verify::rot(&pack, at as u64);
        }
    }
    let out = sandbox.run(&["verify", "--remote", "--read-data", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("left: not all of it is here"), "{out}");
}
