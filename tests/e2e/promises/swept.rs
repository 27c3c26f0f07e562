//! What gc must not take: what a run, a neighbour or a pack of tomorrow needs.

use std::fs::{self, File};
use std::io::Read;

use crate::sandbox::process::until;
use crate::sandbox::{Sandbox, output};

const STATE: &str = ".git/lockstep/worktree/state/root";

/// An output that no run gives again, so that a lost one stays lost.
fn once() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  make:\n    cmd: (date +%s%N; head -c 300000 /dev/zero) > out\n    outs: [out]\n",
    );
    repro(&sandbox);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox
}

fn repro(sandbox: &Sandbox) {
    let out = sandbox.run(&["repro", "-q", "-f"]);
    assert_eq!(out.code, 0, "{out}");
}

fn make_fifo(sandbox: &Sandbox, path: &str) {
    let out = output(sandbox.command("mkfifo".as_ref(), "").arg(path));
    assert_eq!(out.code, 0, "{out}");
}

/// gc reads what a run recorded in an order in which nothing slips past it: a run may write its lock, and empty its
/// journal, between any two reads.
#[test]
fn a_run_that_ends_while_gc_looks_loses_nothing() {
    let sandbox = once();
    let before = sandbox.read("pipeline.lock");
    repro(&sandbox);
    let after = sandbox.read("pipeline.lock");
    assert_ne!(before, after);
    // As it is in the middle of a run: the fact stands in the journal alone.
    sandbox.write("pipeline.lock", &before);
    let journal = format!("{STATE}/journal");
    make_fifo(&sandbox, &journal);
    let gc = sandbox.start(&["gc", "-w", "-f", "--min-age", "0"]);
    // Blocks until gc is about to read the journal; now the run ends.
    let writer = File::options().write(true).open(sandbox.path(&journal)).unwrap();
    fs::remove_file(sandbox.path(&journal)).unwrap();
    sandbox.write("pipeline.lock", &after);
    drop(writer);
    let out = gc.end();
    assert_eq!(out.code, 0, "{out}");
    sandbox.remove("out");
    let out = sandbox.run(&["checkout"]);
    assert_eq!(out.code, 0, "{out}");
}

/// Between the moment in which a result is stored and the one in which something refers to it gc waits, whatever
/// `--min-age` says.
#[test]
fn gc_waits_for_a_result_that_is_being_recorded() {
    let sandbox = once();
    let journal = format!("{STATE}/journal");
    let text = sandbox.read("pipeline.yaml");
    sandbox.write(
        "pipeline.yaml",
        text.replace("cmd: ", &format!("cmd: mkfifo {journal}; ln {journal} $CONF_LOG.fifo; ")),
    );
    let run = sandbox.start(&["repro", "-f"]);
    until("the stage has run", || sandbox.beside("fifo").exists());
    let objects = || crate::promises::files(&sandbox.path(".git/lockstep/store/objects")).len();
    until("its output is stored", || objects() == 2);
    // The recorder is at the journal, or on its way there. gc must not come to a halt there, too.
    std::thread::sleep(std::time::Duration::from_millis(300));
    fs::remove_file(sandbox.path(&journal)).unwrap();
    let out = sandbox.run(&["gc", "-w", "-f", "--min-age", "0", "--wait", "0"]);
    assert_eq!((out.code, objects()), (5, 2), "{out}");
    let mut end = Vec::new();
    File::open(sandbox.beside("fifo")).unwrap().read_to_end(&mut end).unwrap();
    run.end();
}

/// A folder in a pack that this version cannot read may name anything.
#[test]
fn gc_takes_nothing_while_a_pack_cannot_be_read() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  make:\n    cmd: mkdir d; for i in $(seq 60); do echo $i > d/$i; done; head -c 2000000 /dev/zero > d/model\n    \
         outs: [d]\n",
    );
    repro(&sandbox);
    let store = sandbox.path(".git/lockstep/store");
    let packs = crate::promises::files(&store.join("packs"));
    assert_eq!(packs.len(), 1);
    for (name, bytes) in packs {
        let (path, mut newer) = (store.join("packs").join(&name), bytes.clone());
        newer[8] = 2;
        fs::remove_file(&path).unwrap();
        fs::write(&path, newer).unwrap();
        let objects = crate::promises::files(&store.join("objects"));
        let out = sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]);
        assert_eq!(out.code, 7, "{out}");
        assert!(out.stderr.contains("nothing was touched") && out.stderr.contains("newer lockstep"), "{out}");
        assert_eq!(crate::promises::files(&store.join("objects")), objects);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let out = sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox.remove("d");
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
}

/// Two containers have their repositories at one path, and share a store.
#[test]
fn a_neighbour_at_the_same_path_is_another_one() {
    let at = tempfile::tempdir().unwrap();
    let make = |bytes: &str| {
        let sandbox = Sandbox::within(at.path());
        let store = at.path().join("store");
        sandbox.use_store("", &store);
        sandbox.write(
            "pipeline.yaml",
            format!("stages:\n  make:\n    cmd: (date +%s%N; head -c {bytes} /dev/zero) > out\n    outs: [out]\n"),
        );
        sandbox
    };
    let gc = ["gc", "-w", "-f", "--min-age", "0"];
    let (first, second) = (make("300000"), make("300001"));
    // Each is at the path of the first while it is at work.
    let (place, away) = (first.root().to_path_buf(), at.path().join("away"));
    repro(&first);
    fs::rename(&place, &away).unwrap();
    fs::rename(second.root(), &place).unwrap();
    repro(&first);
    let out = first.run(&gc);
    assert_eq!(out.code, 3, "{out}");
    assert!(out.stderr.contains("is another repository") && out.stderr.contains("--forget"), "{out}");
    fs::rename(&place, second.root()).unwrap();
    fs::rename(&away, &place).unwrap();
    first.remove("out");
    let out = first.run(&["checkout"]);
    assert_eq!(out.code, 0, "{out}");
    // Given up by who knows it to be gone; the one that asks is never meant.
    let path = place.join(".git").display().to_string();
    let out = first.run(&[&gc[..], &["--forget", &path]].concat());
    assert_eq!(out.code, 0, "{out}");
    let out = first.run(&gc);
    assert_eq!(out.code, 0, "{out}");
    first.remove("out");
    assert_eq!(first.run(&["checkout"]).code, 0);
}

/// A linked worktree on a disk that is not mounted has a lock that nothing else has.
#[test]
fn gc_takes_nothing_while_a_worktree_is_away() {
    let sandbox = once();
    sandbox.git(&["worktree", "add", "-q", "../other", "-b", "other"]);
    let out = sandbox.run(&["-C", "../other", "repro", "-q", "-f"]);
    assert_eq!(out.code, 0, "{out}");
    let (other, away) = (sandbox.path("../other"), sandbox.path("../away"));
    fs::rename(&other, &away).unwrap();
    for mounted in [false, true] {
        if mounted {
            fs::create_dir(&other).unwrap();
        }
        let out = sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]);
        assert_eq!(out.code, 3, "{out}");
        assert!(out.stderr.contains("is not there") && out.stderr.contains("git worktree prune"), "{out}");
    }
    fs::remove_dir(&other).unwrap();
    fs::rename(&away, &other).unwrap();
    fs::remove_file(other.join("out")).unwrap();
    let out = sandbox.run(&["-C", "../other", "checkout"]);
    assert_eq!(out.code, 0, "{out}");
    fs::remove_dir_all(&other).unwrap();
    sandbox.git(&["worktree", "prune"]);
    let out = sandbox.run(&["gc", "-w", "-f", "--min-age", "0"]);
    assert_eq!(out.code, 0, "{out}");
}
