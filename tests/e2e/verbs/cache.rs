//! `cache dir`, `cache drop`.

use crate::sandbox::{Sandbox, output};

#[test]
fn the_store_is_where_the_settings_say() {
    let sandbox = Sandbox::new();
    sandbox.write("sub/x", "");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "dir"])), @r"
    exit 0
    --- stdout
    [ROOT]/.git/lockstep/store
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["cache", "dir", "../store"])), @r"
    exit 0
    --- stderr
    cache.dir = store in [ROOT]/lockstep.toml
    ");
    assert_eq!(sandbox.read("lockstep.toml"), "[cache]\ndir = \"store\"\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["cache", "dir", "../../store"])), @r"
    exit 2
    --- stderr
    error: cache.dir cannot be ../store in lockstep.toml: it lies outside the repository
      because: lockstep.toml is committed, and this folder may not exist on other machines
      hint: for this clone alone: lockstep store dir --local ../../store
    ");
    assert_eq!(sandbox.run(&["cache", "dir", "--local", "/mnt/store", "-q"]).code, 0);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["cache", "dir"])), @r"
    exit 0
    --- stdout
    /mnt/store
    ");
    let mut command = sandbox.lockstep("");
    let out = output(command.args(["cache", "dir"]).env("LOCKSTEP_CACHE_DIR", "~/elsewhere"));
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 0
    --- stdout
    [BOX]/home/elsewhere
    ");
    assert_eq!(sandbox.run(&["cache", "dir", "--local"]).code, 2);
}

#[test]
fn a_dropped_result_is_made_again() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "1");
    sandbox
        .write("pipeline.yaml", "stages: {a: {cmd: 'cat in > out; echo a >> $CONF_LOG', deps: [in], outs: [out]}}\n");
    for text in ["1", "2"] {
        sandbox.write("in", text);
        assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    }
    assert_eq!(sandbox.ran().len(), 2);
    // The key that the input has now, and the one of the lock.
    sandbox.write("in", "1");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "drop", "a"])), @r"
    exit 0
    --- stderr
    dropped 2 results of a
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "drop", "a"])), @r"
    exit 0
    --- stderr
    the run cache has no result of a
    ");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(sandbox.ran().len(), 1);

    let lock = sandbox.read("pipeline.lock");
    let key = lock.lines().find_map(|line| line.trim().strip_prefix("key: ")).unwrap().to_string();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "drop", &key])), @r"
    exit 0
    --- stderr
    dropped 1 result
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "drop", &key])), @r"
    exit 3
    --- stderr
    error: the run cache has no result under the key [HASH]
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["cache", "drop", "b"])), @r"
    exit 3
    --- stderr
    error: `b` is neither a stage nor an output
      hint: see the stages: lockstep stage list --all
    ");
}
