//! What somebody changes while a restore goes on is nowhere else: the restore gives way.
//!
//! The store's lock, held by the test, stops a restore between its look and its work.

use std::fs::File;

use crate::sandbox::Sandbox;

/// Two versions of an output, of which the first is checked out by Git, and the second lies in the workspace.
fn two_versions() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  make:\n    cmd: mkdir -p out/sub; for i in 1 2 3; do cat in > out/$i; done; cat in > out/sub/x; cp in one\n    \
         deps: [in]\n    outs: [out, one]\n",
    );
    for version in ["first\n", "second\n"] {
        sandbox.write("in", version);
        let out = sandbox.run(&["repro", "-q"]);
        assert_eq!(out.code, 0, "{out}");
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", version]);
    }
    sandbox.git(&["checkout", "-q", "HEAD~1"]);
    sandbox
}

#[test]
fn a_checkout_gives_way_to_an_edit() {
    for (path, is_edit) in
        [("out/3", true), ("out/new", true), ("out/sub/x", true), ("one", true), ("out/sub/x", false)]
    {
        let sandbox = two_versions();
        let lock = File::open(sandbox.path(".git/lockstep/store/lock")).unwrap();
        lock.lock().unwrap();
        let checkout = sandbox.start(&["checkout", path.split('/').next().unwrap()]);
        checkout.await_words("which is using the store");
        if is_edit {
            sandbox.write(path, "edited meanwhile")
        } else {
            sandbox.remove(path)
        }
        drop(lock);
        let out = checkout.end();
        assert_eq!(out.code, 1, "{path} {out}");
        assert!(out.stderr.contains("was restored; it was not touched"), "{path} {out}");
        if is_edit {
            assert_eq!(sandbox.read(path), "edited meanwhile", "{path}");
        }
        assert_eq!(sandbox.read("out/1"), "second\n", "{path}");
        // Asked again, it names the edit; forced, it does as it is told.
        if is_edit {
            assert_eq!(sandbox.run(&["checkout"]).code, 1, "{path}");
        }
        let out = sandbox.run(&["checkout", "--force"]);
        assert_eq!(out.code, 0, "{path} {out}");
        assert_eq!((sandbox.read("out/sub/x"), sandbox.read("one")), ("first\n".into(), "first\n".into()));
        assert!(!sandbox.exists("out/new"));
    }
}
