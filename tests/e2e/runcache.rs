//! The run cache, shared: what others computed is restored instead of run, and whose results count.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::{Output, Sandbox, output};
use serde_json::Value as Json;

/// Two sources of a folder, one file of which the next stage reads, and a summary of the folder and that file. An output
/// that is never pushed lies in the folder, too.
const PIPELINE: &str = "
data:
- path: raw
stages:
  split:
    cmd: mkdir -p parts/a; cp raw/x parts/a/one; cp raw/x parts/a/two; echo split >> $CONF_LOG
    deps: [raw]
    outs: [parts/a]
  note:
    cmd: echo private > parts/note; echo note >> $CONF_LOG
    deps: [raw]
    outs: [parts/note: {push: false}]
  count:
    cmd: cat parts/a/one k.txt > count; echo count >> $CONF_LOG
    deps: [parts/a, k.txt]
    params: [n]
    outs: [count]
  sum:
    cmd: cat count $(find parts -type f | sort) > sum; echo sum >> $CONF_LOG
    deps: [parts, count]
    outs: [sum]
";

fn lab() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("raw/x", "x\n".repeat(5000));
    sandbox.write("k.txt", "k\n");
    sandbox.write("params.yaml", "n: 1\n");
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["repro", "-q"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.ran();
    sandbox
}

fn clone(sandbox: &Sandbox, name: &str) -> String {
    let folder = format!("../{name}");
    sandbox.git(&["clone", "-q", ".", &folder]);
    folder
}

#[track_caller]
fn fine(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

/// What became of each stage, by name, with where it came from.
fn results(out: &Output) -> Vec<(String, String, String)> {
    let json: Json = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"));
    let text = |one: &Json, key: &str| one[key].as_str().unwrap_or_default().to_string();
    let stages = json["stages"].as_array().unwrap().iter();
    stages.map(|one| (text(one, "address"), text(one, "result"), text(one, "from"))).collect()
}

fn all(out: &Output, result: &str) -> bool {
    results(out).iter().all(|(_, is, _)| is == result)
}

#[test]
fn a_fresh_clone_runs_nothing_and_fetches_nothing_that_nothing_needs() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    let out = sandbox.run_in(&c, &["repro", "--pull", "--allow-missing", "--json"]);
    fine(&out);
    assert!(all(&out, "up_to_date"), "{out}");
    assert!(sandbox.ran().is_empty());
    for path in ["raw", "parts/a", "parts/note", "count", "sum"] {
        assert!(!sandbox.path(&c).join(path).exists(), "{path} was fetched for nothing");
    }
    // One input of the last but one stage changes: it and what follows run, with what they read, and no more.
    fs::write(sandbox.path(&c).join("k.txt"), "other\n").unwrap();
    let out = sandbox.run_in(&c, &["repro", "--pull", "--allow-missing"]);
    assert_eq!(out.code, 3, "{out}");
    assert!(out.stderr.contains("stage sum needs parts/note, which does not exist"), "{out}");
    assert_eq!(sandbox.ran(), ["count"]);
    assert!(!sandbox.path(&c).join("raw").exists());
    // Without the flag, what cannot be had is made again.
    fine(&sandbox.run_in(&c, &["repro", "--pull"]));
    assert_eq!(sandbox.ran(), ["note", "sum"]);
}

/// A stage reads a file of a folder that another makes.
fn lab_with_a_part() -> Sandbox {
    let sandbox = lab();
    sandbox.write("pipeline.yaml", PIPELINE.replace("deps: [parts/a, k.txt]", "deps: [parts/a/one, k.txt]"));
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "y"]);
    sandbox.ran();
    sandbox
}

#[test]
fn a_part_of_an_output_brings_the_listing_of_the_output() {
    let sandbox = lab_with_a_part();
    let c = clone(&sandbox, "c");
    let ask = ["repro", "--pull", "--allow-missing", "--json"];
    let out = sandbox.run_in(&c, &ask);
    fine(&out);
    assert!(all(&out, "up_to_date") && sandbox.ran().is_empty(), "{out}");
    assert!(!sandbox.path(&c).join("parts/a").exists() && !sandbox.path(&c).join("count").exists());
    // What the part is now is asked of the folder, not of the stage's own entry.
    sandbox.write("raw/x", "other\n");
    fine(&sandbox.run(&["repro", "-q", "split"]));
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.git(&["commit", "-qam", "z"]);
    sandbox.git(&["-C", &c, "pull", "-q"]);
    sandbox.ran();
    let out = sandbox.run_in(&c, &["repro", "--pull", "--allow-missing", "--json", "count"]);
    fine(&out);
    let found = results(&out);
    let of = |name: &str| &found.iter().find(|(is, ..)| is == name).unwrap().1;
    assert_eq!((of("split").as_str(), of("count").as_str()), ("up_to_date", "ran"), "{out}");
    assert_eq!(sandbox.ran(), ["count"]);
}

#[test]
fn an_unchanged_clone_is_unchanged_though_the_remote_is_down() {
    let sandbox = lab_with_a_part();
    let c = clone(&sandbox, "c");
    fs::rename(sandbox.path("../lab"), sandbox.path("../gone")).unwrap();
    for args in [&["repro", "--pull", "--allow-missing", "--json"][..], &["repro", "--allow-missing", "--json"]] {
        let out = sandbox.run_in(&c, args);
        fine(&out);
        assert!(all(&out, "up_to_date") && sandbox.ran().is_empty(), "{out}");
    }
}

#[test]
fn what_another_computed_is_restored_by_its_key() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    sandbox.write("params.yaml", "n: 2\n");
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["push", "-q", "--run-cache"]));
    assert_eq!(sandbox.ran(), ["count"]);
    fs::write(sandbox.path(&c).join("params.yaml"), "n: 2\n").unwrap();
    let out = sandbox.run_in(&c, &["repro", "--pull", "--allow-missing", "--json", "count"]);
    fine(&out);
    assert_eq!(results(&out).last().unwrap(), &("count".into(), "restored".into(), "remote".into()), "{out}");
    assert!(sandbox.ran().is_empty());
    assert!(!sandbox.path(&c).join("parts/a").exists(), "an input was fetched though nothing ran");
    assert_eq!(fs::read(sandbox.path(&c).join("count")).unwrap(), sandbox.read("count").as_bytes());
    // The entry is here now: the remote is not needed any more.
    fs::rename(sandbox.path("../lab"), sandbox.path("../gone")).unwrap();
    fs::remove_file(sandbox.path(&c).join("count")).unwrap();
    fs::write(sandbox.path(&c).join("pipeline.lock"), sandbox.git(&["show", "HEAD:pipeline.lock"])).unwrap();
    let out = sandbox.run_in(&c, &["repro", "--allow-missing", "--json", "count"]);
    assert_eq!(results(&out).last().unwrap().2, "local", "{out}");
}

#[test]
fn a_locked_run_in_ci_restores_and_never_runs() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    let out = sandbox.run_in(&c, &["repro", "--pull", "--locked", "--json", "split", "count"]);
    fine(&out);
    assert!(all(&out, "restored"), "{out}");
    assert!(sandbox.ran().is_empty());
    fs::write(sandbox.path(&c).join("params.yaml"), "n: 9\n").unwrap();
    let out = sandbox.run_in(&c, &["repro", "--pull", "--locked", "count"]);
    assert_eq!(out.code, 1, "{out}");
    assert!(out.stderr.contains("stale count: param params.yaml:n 1 → 9"), "{out}");
    // What no remote has cannot be restored.
    let out = sandbox.run_in(&c, &["repro", "--pull", "--locked", "note"]);
    assert_eq!(out.code, 3, "{out}");
    assert!(sandbox.ran().is_empty());
}

#[test]
fn a_remote_that_fails_is_a_warning_and_a_miss() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    fs::rename(sandbox.path("../lab"), sandbox.path("../gone")).unwrap();
    fs::create_dir(sandbox.path(&c).join("raw")).unwrap();
    fs::copy(sandbox.path("raw/x"), sandbox.path(&c).join("raw/x")).unwrap();
    let out = sandbox.run_in(&c, &["repro", "--pull"]);
    fine(&out);
    assert_eq!(out.stderr.matches("warning:").count(), 1, "{out}");
    assert_eq!(sandbox.ran(), ["split", "note", "count", "sum"]);
}

#[test]
fn damage_at_the_remote_is_a_miss_and_nothing_is_half_restored() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    fs::create_dir(sandbox.path(&c).join("raw")).unwrap();
    fs::copy(sandbox.path("raw/x"), sandbox.path(&c).join("raw/x")).unwrap();
    for pack in files(&sandbox.path("../lab/packs")) {
        let mut bytes = fs::read(&pack).unwrap();
        let end = bytes.len() / 3;
        bytes[16..end].iter_mut().for_each(|b| *b ^= 1);
        let _ = fs::remove_file(&pack);
        fs::write(&pack, bytes).unwrap();
    }
    let out = sandbox.run_in(&c, &["repro", "--pull"]);
    fine(&out);
    assert!(out.stderr.contains("is damaged"), "{out}");
    // What lies whole behind that third of the pack is restored; `note` is never pushed.
    assert_eq!(sandbox.ran(), ["note", "count"], "{out}");
    assert_eq!(out.stderr.matches("nothing that was asked for needs").count(), 1, "{out}");
    assert_eq!(fs::read(sandbox.path(&c).join("sum")).unwrap(), sandbox.read("sum").as_bytes());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect()
}

#[test]
fn a_withdrawn_result_is_used_by_nobody() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    let out = sandbox.run(&["cache", "drop", "count", "--remote"]);
    fine(&out);
    assert!(out.stderr.contains("dropped 1 result of count; withdrew 1 at lab"), "{out}");
    // The lock still pins it: that is a fact of its own. Another key would have found it.
    let out = sandbox.run_in(&c, &["repro", "--pull", "--allow-missing", "--json", "count"]);
    assert!(all(&out, "up_to_date"), "{out}");
    fs::remove_file(sandbox.path(&c).join("pipeline.lock")).unwrap();
    fs::create_dir(sandbox.path(&c).join("raw")).unwrap();
    fs::copy(sandbox.path("raw/x"), sandbox.path(&c).join("raw/x")).unwrap();
    let out = sandbox.run_in(&c, &["repro", "--pull", "--json", "count"]);
    fine(&out);
    assert_eq!(sandbox.ran(), ["count"], "{out}");
    assert_eq!(results(&out)[0].1, "restored", "{out}");
}

#[test]
fn unsigned_and_foreign_entries_do_not_count_where_signatures_are_asked_for() {
    let sandbox = lab();
    let with_keys = |folder: &str, args: &[&str], env: &[(&str, &str)]| {
        let mut command = sandbox.lockstep(folder);
        output(command.args(args).envs(env.iter().copied()))
    };
    let pair = || {
        let text = sandbox.run(&["cache", "keygen"]).stdout;
        let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap().to_string();
        (value("LOCKSTEP_SIGN_KEY="), value("cache.verify_keys="))
    };
    let ((secret, public), (other, _)) = (pair(), pair());
    let c = clone(&sandbox, "c");
    for key in [("cache.sign", "ed25519"), ("cache.verify_keys", public.as_str())] {
        fine(&sandbox.run_in(&c, &["config", "-q", "--local", key.0, key.1]));
        fine(&sandbox.run(&["config", "-q", "--local", key.0, key.1]));
    }
    fs::write(sandbox.path(&c).join("params.yaml"), "n: 3\n").unwrap();
    sandbox.write("params.yaml", "n: 3\n");
    let ask = ["repro", "--pull", "--allow-missing", "--json", "count"];
    // Signed by a stranger: as good as unsigned.
    fine(&with_keys("", &["repro", "-q", "--force", "-s", "count"], &[("LOCKSTEP_SIGN_KEY", &other)]));
    fine(&with_keys("", &["push", "-q"], &[]));
    sandbox.ran();
    let out = with_keys(&c, &ask, &[]);
    assert_eq!(results(&out).last().unwrap().1, "ran", "{out}");
    assert_eq!(sandbox.ran(), ["count"]);
    // Signed by one who is known.
    fs::write(sandbox.path(&c).join("params.yaml"), "n: 4\n").unwrap();
    sandbox.write("params.yaml", "n: 4\n");
    fine(&with_keys("", &["repro", "-q", "--force", "-s", "count"], &[("LOCKSTEP_SIGN_KEY", &secret)]));
    fine(&with_keys("", &["push", "-q"], &[]));
    let out = with_keys(&c, &ask, &[]);
    assert_eq!(results(&out).last().unwrap().2, "remote", "{out}");
}

#[test]
fn the_settings_say_whose_results_count_and_who_may_write() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    let remove_lock = || fs::remove_file(sandbox.path(&c).join("pipeline.lock")).unwrap();
    remove_lock();
    fs::create_dir(sandbox.path(&c).join("raw")).unwrap();
    fs::copy(sandbox.path("raw/x"), sandbox.path(&c).join("raw/x")).unwrap();
    fine(&sandbox.run_in(&c, &["config", "-q", "--local", "cache.trust", "ci@*"]));
    let out = sandbox.run_in(&c, &["repro", "--pull", "--cache", "local:r,remote:r", "--json", "split"]);
    assert_eq!(results(&out)[0].1, "ran", "{out}");
    let runs = sandbox.path(&c).join(".git/lockstep/store/runs");
    assert!(!runs.exists(), "nothing may be written to the local run cache");
    fine(&sandbox.run_in(&c, &["config", "-q", "--local", "cache.trust", "ci@*,t@*"]));
    remove_lock();
    let out = sandbox.run_in(&c, &["repro", "--cache", "local:rw,remote:r", "--json", "split"]);
    assert_eq!(results(&out)[0].1, "restored", "{out}");
    let out = sandbox.run(&["repro", "--cache", "local:rx"]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("neither r nor w"), "{out}");
}

#[test]
fn with_the_right_to_write_the_remote_gets_what_was_made() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    sandbox.write("params.yaml", "n: 5\n");
    let out = sandbox.run(&["repro", "--cache", "local:rw,remote:rw"]);
    fine(&out);
    assert!(out.stderr.contains("to lab"), "{out}");
    fs::write(sandbox.path(&c).join("params.yaml"), "n: 5\n").unwrap();
    sandbox.ran();
    fine(&sandbox.run_in(&c, &["repro", "--pull", "--allow-missing", "count"]));
    assert!(sandbox.ran().is_empty());
}

#[test]
fn a_run_that_gave_the_same_again_is_remembered() {
    let sandbox = lab();
    let c = clone(&sandbox, "c");
    fs::create_dir(sandbox.path(&c).join("raw")).unwrap();
    fs::copy(sandbox.path("raw/x"), sandbox.path(&c).join("raw/x")).unwrap();
    fine(&sandbox.run_in(&c, &["repro", "-q", "split"]));
    fs::remove_dir_all(sandbox.path(&c).join("parts/a")).unwrap();
    fs::remove_file(sandbox.path(&c).join("pipeline.lock")).unwrap();
    sandbox.ran();
    fine(&sandbox.run_in(&c, &["repro", "-q", "split"]));
    assert!(sandbox.ran().is_empty(), "the lock had the entry already, the run cache has to have it, too");
}

#[test]
fn a_locked_run_brings_what_the_lock_pins_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {dice: {cmd: head -c 40 /dev/urandom > o, outs: [o]}}\n");
    fine(&sandbox.run(&["repro", "-q"]));
    let first = fs::read(sandbox.path("o")).unwrap();
    fine(&sandbox.run(&["repro", "-q", "--force"]));
    let lock = sandbox.read("pipeline.lock");
    let id = lock.lines().find_map(|line| line.trim().strip_prefix("blake3: ")).unwrap();
    let object = sandbox.path(".git/lockstep/store/objects").join(&id[..2]).join(&id[2..]);
    fs::remove_file(object).unwrap();
    sandbox.remove("o");
    // The run cache has what the first run made, which the lock does not name.
    let out = sandbox.run(&["repro", "--locked"]);
    assert_eq!(out.code, 3, "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), lock);
    fine(&sandbox.run(&["repro", "-q"]));
    assert_eq!(fs::read(sandbox.path("o")).unwrap(), first);
}

#[test]
fn a_folder_that_is_partly_here_is_made_whole_before_its_stage_is_judged() {
    let sandbox = Sandbox::new();
    sandbox.write("d/a", "a\n");
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  mk: {cmd: echo b > d/b, outs: [d/b]}\n  use: {cmd: cat d/* > o; echo use >> $CONF_LOG, deps: [d], outs: [o]}\n",
    );
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["push", "-q"]));
    sandbox.ran();
    for path in ["d/b", ".git/lockstep/store"] {
        sandbox.remove(path);
    }
    fine(&sandbox.run(&["repro", "--pull", "-s", "use"]));
    assert!(sandbox.ran().is_empty() && sandbox.exists("d/b"));
}
