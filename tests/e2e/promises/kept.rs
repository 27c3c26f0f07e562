//! What is the user's stays the user's.

use crate::sandbox::Sandbox;

const COPY: &str = "stages:\n  s:\n    cmd: cp in o\n    deps: [in]\n    outs: [o]\n";

#[test]
fn a_folder_that_becomes_scratch_is_kept_and_not_emptied() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/mine.txt", "thoughts");
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: ls notes > o\n    outs: [o]\n    scratch: [notes]\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("o"), "");
    assert!(out.stderr.contains("notes was there before"), "{out}");
    assert_eq!(sandbox.read(".git/lockstep/worktree/logs/s/1/kept/notes/mine.txt"), "thoughts");

    let sandbox = Sandbox::new();
    sandbox.write("src/m.py", "x");
    sandbox.git(&["add", "src"]);
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: touch o\n    outs: [o]\n    scratch: [src]\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 2, "{out}");
    assert_eq!(sandbox.read("src/m.py"), "x");
}

#[test]
fn what_is_ignored_survives_a_checkout() {
    let sandbox = Sandbox::new();
    sandbox.write(".lockstepignore", "*.local\n");
    sandbox.write(
        "pipeline.yaml",
        "data:\n- path: raw\nstages:\n  s:\n    cmd: ls raw > o\n    deps: [raw]\n    outs: [o]\n",
    );
    sandbox.write("raw/a", "1");
    sandbox.write("raw/sub/b", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox.write("raw/a", "2");
    sandbox.remove("raw/sub");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["commit", "-qam", "two"]);
    sandbox.write("raw/notes.local", "mine");
    sandbox.git(&["checkout", "-q", "HEAD~1"]);
    let out = sandbox.run(&["checkout"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!((sandbox.read("raw/a"), sandbox.read("raw/sub/b")), ("1".into(), "1".into()));
    assert_eq!(sandbox.read("raw/notes.local"), "mine");
    // And when the folder in which it lies is not wanted any more.
    sandbox.write("raw/sub/more.local", "mine");
    sandbox.git(&["checkout", "-q", "-"]);
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    assert!(!sandbox.exists("raw/sub/b"));
    assert_eq!(sandbox.read("raw/sub/more.local"), "mine");
}

#[test]
fn a_kept_edit_outlives_many_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", COPY);
    sandbox.write("in", "0");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("o", "my edit");
    sandbox.write("in", "1");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("is kept in"), "{out}");
    for n in 2..14 {
        sandbox.write("in", n.to_string());
        assert_eq!(sandbox.run(&["repro"]).code, 0);
    }
    assert_eq!(sandbox.read(".git/lockstep/worktree/logs/s/2/kept/o"), "my edit");
}

#[test]
fn an_output_that_somebody_writes_to_while_it_is_aside_is_read_again() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: test $(cat in) = good && cp in o\n    deps: [in]\n    outs: [o]\n",
    );
    sandbox.write("in", "good");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let held = std::fs::File::options().write(true).open(sandbox.path("o")).unwrap();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: touch here; while test ! -e go; do sleep 0.05; done; false\n    deps: [in]\n    outs: [o]\n",
    );
    let path = sandbox.path("here");
    let writer = std::thread::spawn(move || {
        while !path.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::os::unix::fs::FileExt::write_all_at(&held, b"EVIL", 0).unwrap();
        std::fs::write(path.with_file_name("go"), "").unwrap();
    });
    assert_eq!(sandbox.run(&["repro"]).code, 6);
    writer.join().unwrap();
    assert_eq!(sandbox.read("o"), "EVIL");
    let out = sandbox.run(&["status"]);
    assert!(out.stdout.contains("output o changed"), "{out}");
}

#[test]
fn a_linked_output_that_persists_is_not_written_through_into_the_store() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["config", "--local", "cache.links", "hardlink"]).code, 0);
    let yaml = "stages:\n  s:\n    cmd: cat in >> log\n    deps: [in]\n    outs:\n    - log: {persist: true}\n";
    sandbox.write("pipeline.yaml", yaml);
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox.remove("log");
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    sandbox.write("in", "2");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("log"), "12");
    sandbox.git(&["checkout", "-qf", "HEAD"]);
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    assert_eq!(sandbox.read("log"), "1");
}

#[test]
fn an_ignore_file_in_a_dep_is_no_change_during_the_run() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  z:\n    cmd: touch src/z\n    outs: [src/z]\n");
    sandbox.write("src/m.py", "x");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.remove("src/z");
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: ls src > o\n    deps: [src]\n    outs: [o]\n");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn another_pipelines_stage_of_the_same_name_has_a_scratch_folder_of_its_own() {
    let sandbox = Sandbox::new();
    for folder in ["a", "b"] {
        sandbox.write(
            &format!("{folder}/pipeline.yaml"),
            "stages:\n  train:\n    cmd: test -e go || { echo 30 hours > ckpt/state; exit 1; }; cp ckpt/* m\n    \
             scratch: [ckpt/]\n    outs: [m]\n",
        );
    }
    assert_eq!(sandbox.run_in("a", &["repro"]).code, 6);
    sandbox.write("b/ckpt/mine", "precious");
    assert_eq!(sandbox.run_in("b", &["repro"]).code, 6);
    let kept = ".git/lockstep/worktree/logs/b%2Fpipeline.yaml:train/1/kept/b/ckpt/mine";
    assert_eq!(sandbox.read(kept), "precious");
    // Whatever the current folder is, the stage goes on from where it was.
    sandbox.write("a/go", "");
    let out = sandbox.run(&["repro", "a/pipeline.yaml:train"]);
    assert_eq!((out.code, sandbox.read("a/m").as_str()), (0, "30 hours\n"), "{out}");
}

#[test]
fn the_last_copy_of_a_pinned_output_is_kept_when_it_is_replaced() {
    for damage in [false, true] {
        let sandbox = Sandbox::new();
        let metric = "    metrics: [m.json: {cache: false}]\n";
        sandbox.write("pipeline.yaml", format!("{}{metric}", COPY.replace("cp in o", "cp in o; cp in m.json")));
        sandbox.write("in", "1");
        assert_eq!(sandbox.run(&["repro"]).code, 0);
        let store = sandbox.path(".git/lockstep/store");
        if damage {
            for (name, _) in crate::promises::files(&store.join("objects")) {
                let object = store.join("objects").join(name);
                std::fs::remove_file(&object).unwrap();
                std::fs::write(&object, "x").unwrap();
            }
        } else {
            std::fs::remove_dir_all(&store).unwrap();
        }
        sandbox.write("in", "2");
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{out}");
        assert!(out.stderr.contains("the store lacks the old o: it is kept in"), "{out}");
        assert_eq!(crate::promises::kept(&sandbox, "s", "o").as_deref(), Some("1"));
        // That one is Git's.
        assert_eq!(crate::promises::kept(&sandbox, "s", "m.json"), None);
        // What the store has is not kept twice.
        sandbox.write("in", "3");
        let out = sandbox.run(&["repro"]);
        assert!(out.code == 0 && !out.stderr.contains("it is kept in"), "{out}");
    }
}

#[test]
fn hard_links_of_yesterday_are_not_written_through_today() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["config", "--local", "cache.links", "hardlink"]).code, 0);
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: cat in >> log\n    deps: [in]\n    outs: [log: {persist: true}]\n",
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "one"]);
    sandbox.remove("log");
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    assert_eq!(sandbox.run(&["config", "--local", "--unset", "cache.links"]).code, 0);
    sandbox.write("in", "2");
    let out = sandbox.run(&["repro"]);
    assert_eq!((out.code, sandbox.read("log").as_str()), (0, "12"), "{out}");
    sandbox.git(&["checkout", "-qf", "HEAD"]);
    sandbox.remove("log");
    let out = sandbox.run(&["checkout"]);
    assert_eq!((out.code, sandbox.read("log").as_str()), (0, "1"), "{out}");
}
