//! The generic kind, with nothing but `sh`.

use std::fs;

use super::{fine, folder, folders};
use crate::sandbox::process::wait_for;
use crate::sandbox::{Output, Sandbox, output};

/// `setup` installs a program that the stage calls.
const PIPELINE: &str = r#"
environments:
  any:
    files: [tool]
    setup: |
      echo setup >> $CONF_LOG
      mkdir $LOCKSTEP_ENVIRONMENT/bin
      cp tool $LOCKSTEP_ENVIRONMENT/bin/tool
      chmod +x $LOCKSTEP_ENVIRONMENT/bin/tool
stages:
  make: {environment: any, cmd: "tool in > out; echo make >> $CONF_LOG", deps: [in], outs: [out]}
"#;

fn project() -> Sandbox {
    filled(Sandbox::new())
}

fn filled(sandbox: Sandbox) -> Sandbox {
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("tool", "#!/bin/sh\ncat $1\n");
    sandbox.write("in", "1\n");
    sandbox
}

/// The same, where `setup` waits for a sign.
fn waiting() -> Sandbox {
    let sandbox = project();
    let wait = format!("{}\n      mkdir $LOCK", wait_for("go"));
    sandbox.write("pipeline.yaml", PIPELINE.replacen("mkdir $LOCK", &wait, 1));
    sandbox
}

#[test]
fn a_stage_runs_in_what_setup_made() {
    let sandbox = project();
    let out = sandbox.run(&["repro"]);
    fine(&out);
    assert!(out.stderr.contains("making environment any (files, "), "{out}");
    assert_eq!((sandbox.ran(), sandbox.read("out")), (vec!["setup".into(), "make".to_string()], "1\n".into()));
    let lock = sandbox.read("pipeline.lock");
    let at = lock.find("    environment:\n      kind: files\n      platform: ").expect(&lock);
    assert!(lock[at..].contains("\n      hash: "), "{lock}");
    assert!(sandbox.run(&["logs", "make"]).stdout.contains("lockstep: environment any (files, "));
    // Nothing to do.
    fine(&sandbox.run(&["-q", "status"]));
    fine(&sandbox.run(&["repro"]));
    // Another stage uses what is there.
    sandbox.write("in", "2\n");
    fine(&sandbox.run(&["repro"]));
    assert_eq!(sandbox.ran(), ["make"]);
    // What it is made from is an input.
    sandbox.write("tool", "#!/bin/sh\necho new; cat $1\n");
    let status = sandbox.run(&["status", "-v"]);
    assert!(
        status.stdout.contains("  environment any: its files or commands changed\n    - environment files "),
        "{status}"
    );
    assert!(sandbox.run(&["repro", "--dry"]).stdout.contains("environment any: "));
    let json: serde_json::Value = serde_json::from_str(&sandbox.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["stages"]["make"][0]["kind"], "environment");
    assert_eq!(json["stages"]["make"][0]["new"]["kind"], "files");
    assert_eq!(sandbox.ran(), [""; 0]);
    fine(&sandbox.run(&["repro"]));
    assert_eq!((sandbox.ran(), folders(&sandbox).len()), (vec!["setup".into(), "make".to_string()], 2));
    // The name is none.
    sandbox
        .write("pipeline.yaml", PIPELINE.replace("any:", "other:").replace("environment: any", "environment: other"));
    fine(&sandbox.run(&["-q", "status"]));
    sandbox.write("pipeline.yaml", PIPELINE.replace("environment: any, ", ""));
    let status = sandbox.run(&["status"]);
    assert!(status.stdout.contains("environment files: the stage names none any more"), "{status}");
}

#[test]
fn the_command_of_run_is_put_before() {
    let sandbox = project();
    sandbox.write(
        "pipeline.yaml",
        "environments: {e: {files: [tool], run: 'env FROM=\"$LOCKSTEP_ENVIRONMENT\"'}}\n\
         stages: {s: {environment: e, cmd: ['echo \"a  b\" > out', 'test -d \"$FROM\" && echo $FROM >> out'], outs: [out]}}\n",
    );
    fine(&sandbox.run(&["repro"]));
    assert_eq!(sandbox.read("out"), format!("a  b\n{}\n", folder(&sandbox).display()));
}

#[test]
fn a_damaged_environment_is_made_again() {
    let sandbox = project();
    fine(&sandbox.run(&["repro"]));
    let tool = folder(&sandbox).join("bin/tool");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("bin/tool is gone", &|| fs::remove_file(&tool).unwrap()),
        ("bin/tool was changed", &|| fs::write(&tool, "other").unwrap()),
        ("it was not finished", &|| fs::remove_file(folder(&sandbox).with_extension("json")).unwrap()),
    ];
    for (why, change) in changes {
        change();
        sandbox.ran();
        // A command that only looks makes nothing.
        fine(&sandbox.run(&["-q", "status"]));
        assert_eq!(sandbox.ran(), [""; 0]);
        let out = sandbox.run(&["repro", "-f"]);
        fine(&out);
        assert!(out.stderr.contains(why), "{why}: {out}");
        assert_eq!(sandbox.ran(), ["setup", "make"]);
    }
}

#[test]
fn a_failed_setup_leaves_nothing_and_the_old_output_stays() {
    let sandbox = project();
    fine(&sandbox.run(&["repro"]));
    sandbox.write("pipeline.yaml", PIPELINE.replace("chmod +x", "echo oh no; exit 3; chmod +x"));
    let out = sandbox.run(&["repro"]);
    assert!(
        out.code != 0 && out.stderr.contains("environment any cannot be made: its `setup` failed with exit code 3"),
        "{out}"
    );
    assert!(out.stderr.contains("oh no"), "{out}");
    assert_eq!((sandbox.read("out"), folders(&sandbox).len()), ("1\n".into(), 1));
}

#[test]
fn one_that_was_killed_is_made_again() {
    let sandbox = waiting();
    let running = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    running.signal(rustix::process::Signal::KILL);
    running.end();
    sandbox.await_nobody();
    assert!(sandbox.run(&["env", "list"]).stdout.contains("incomplete"));
    sandbox.give_sign("go");
    let out = sandbox.run(&["repro"]);
    fine(&out);
    assert!(out.stderr.contains("because it was not finished"), "{out}");
    assert!(sandbox.run(&["env", "list"]).stdout.contains("built"));
}

/// Two worktrees: the second process waits, says so, and finds the environment made.
#[test]
fn worktrees_share_and_wait_for_each_other() {
    let sandbox = waiting();
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox.git(&["worktree", "add", "-q", "../other"]);
    let first = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let args = ["-C", "../other", "repro", "--no-run-cache"];
    let second = sandbox.start(&args);
    second.await_words("makes or removes environment any");
    sandbox.give_sign("go");
    let (first, second): (Output, Output) = (first.end(), second.end());
    fine(&first);
    fine(&second);
    let mut ran = sandbox.ran();
    ran.sort();
    assert_eq!(ran, ["make", "make", "setup"]);
    folder(&sandbox);
}

#[test]
fn one_that_is_in_use_is_not_removed() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", PIPELINE.replace("echo make", &format!("{}; echo make", wait_for("go"))));
    let running = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    let out = sandbox.run(&["env", "rm", "any"]);
    assert!(out.code == 1 && out.stderr.contains("is in use and stays"), "{out}");
    sandbox.give_sign("go");
    fine(&running.end());
    // Declared, so not unused.
    fine(&sandbox.run(&["env", "rm", "--unused"]));
    folder(&sandbox);
    sandbox.write("tool", "#!/bin/sh\ntrue\n");
    let list = sandbox.run(&["env", "list"]).stdout;
    assert!(list.contains("missing") && list.contains("not declared"), "{list}");
    let json: serde_json::Value = serde_json::from_str(&sandbox.run(&["env", "list", "--json"]).stdout).unwrap();
    assert_eq!((json[0]["state"].as_str(), json[0]["stages"][0].as_str()), (Some("missing"), Some("make")));
    fine(&sandbox.run(&["env", "rm", "--unused"]));
    assert!(folders(&sandbox).is_empty());
    // What is not known is not unused.
    fine(&sandbox.run(&["env", "build"]));
    sandbox.remove("tool");
    let out = sandbox.run(&["env", "rm", "--unused"]);
    assert!(out.code != 0 && out.stderr.contains("nothing was removed"), "{out}");
    folder(&sandbox);
}

#[test]
fn env_build_makes_it_before_a_stage_needs_it() {
    let sandbox = project();
    let out = sandbox.run(&["env", "build", "any"]);
    fine(&out);
    assert!(out.stderr.contains("1 made"), "{out}");
    assert_eq!(sandbox.ran(), ["setup"]);
    fine(&sandbox.run(&["env", "build"]));
    fine(&sandbox.run(&["repro"]));
    assert_eq!(sandbox.ran(), ["make"]);
    fine(&sandbox.run(&["env", "build", "--force"]));
    assert_eq!(sandbox.ran(), ["setup"]);
    let out = sandbox.run(&["env", "build", "ayn"]);
    assert!(out.code != 0 && out.stderr.contains("did you mean `any`?"), "{out}");
    let hash = folder(&sandbox).file_name().unwrap().to_str().unwrap()[..8].to_string();
    fine(&sandbox.run(&["env", "rm", &hash]));
    assert!(folders(&sandbox).is_empty());
}

/// A clone that restores everything from a remote makes no environment.
#[test]
fn what_is_restored_needs_no_environment() {
    let sandbox = project();
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    fine(&sandbox.run(&["repro", "-q"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    fine(&sandbox.run(&["push", "-q"]));
    for (name, args) in
        [("a", &["pull"][..]), ("b", &["repro", "--pull"]), ("c", &["repro", "--pull", "--allow-missing"])]
    {
        sandbox.git(&["clone", "-q", ".", &format!("../{name}")]);
        sandbox.ran();
        let out = sandbox.run_in(&format!("../{name}"), args);
        fine(&out);
        assert_eq!(sandbox.ran(), [""; 0], "{out}");
        assert!(!sandbox.exists(&format!("../{name}/.git/lockstep/environments")), "{name}");
        // The last one fetches only what is needed.
        assert!(name == "c" || sandbox.read(&format!("../{name}/out")) == "1\n", "{out}");
    }
    // The run cache of the remote, without the lock.
    sandbox.git(&["clone", "-q", ".", "../d"]);
    sandbox.remove("../d/pipeline.lock");
    let out = sandbox.run_in("../d", &["repro", "--pull"]);
    fine(&out);
    assert_eq!(sandbox.ran(), [""; 0], "{out}");
}

#[test]
fn without_git_they_lie_in_the_project() {
    let sandbox = filled(Sandbox::without_git());
    fine(&sandbox.run(&["init", "--no-scm", "-q"]));
    fine(&sandbox.run(&["repro"]));
    assert_eq!(sandbox.ran(), ["setup", "make"]);
    assert!(sandbox.exists(".lockstep/environments"));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let sandbox = project();
    fine(&sandbox.run(&["status"]));
    sandbox.write(".git/lockstep/environments", "not a folder");
    let out = sandbox.run(&["repro"]);
    assert!(out.code != 0 && out.stderr.contains("environments"), "{out}");
    assert_eq!(sandbox.ran(), [""; 0]);
}

#[test]
fn an_unknown_name_is_an_error() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", PIPELINE.replace("environment: any", "environment: ayn"));
    let out = sandbox.run(&["status"]);
    assert!(out.code != 0 && out.stderr.contains("there is no environment `ayn`"), "{out}");
    assert!(out.stderr.contains("did you mean `any`?"), "{out}");
}

#[test]
fn the_provenance_of_a_version_has_it() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", format!("{PIPELINE}artifacts: {{m: {{path: out}}}}\n"));
    fine(&sandbox.run(&["repro", "-q"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    fine(&sandbox.run(&["model", "register", "m", "--version", "1.0.0"]));
    let out = sandbox.run(&["model", "provenance", "m"]);
    fine(&out);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let step = &json["predicate"]["buildDefinition"]["internalParameters"]["steps"][0];
    let name = folder(&sandbox).file_name().unwrap().to_str().unwrap().to_string();
    assert_eq!(
        (step["environment"]["kind"].as_str(), step["environment"]["hash"].as_str()),
        (Some("files"), Some(&*name))
    );
    // A commit whose environment is another than that of its result cannot be reproduced.
    sandbox.write("tool", "#!/bin/sh\necho other\n");
    sandbox.git(&["commit", "-qam", "y"]);
    let out = sandbox.run(&["model", "register", "m", "--bump", "minor"]);
    assert!(out.code != 0 && out.to_string().contains("environment any: its files or commands changed"), "{out}");
}

/// An environment has its own path in many files.
#[test]
fn one_that_was_moved_with_its_repository_is_made_again() {
    let sandbox = project();
    fine(&sandbox.run(&["repro"]));
    fs::rename(sandbox.root(), sandbox.path("../moved")).unwrap();
    sandbox.ran();
    let command = |args: &[&str]| {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_lockstep"));
        crate::sandbox::output(
            sandbox.command(program, "").current_dir(sandbox.root().with_file_name("moved")).args(args),
        )
    };
    let out = command(&["repro", "-f"]);
    fine(&out);
    assert!(out.stderr.contains("because the repository was moved"), "{out}");
    assert_eq!(sandbox.ran(), ["setup", "make"]);
}

/// Two stages at once: one makes it, the other waits.
#[test]
fn stages_of_one_run_share_it() {
    let sandbox = project();
    let more = "  also: {environment: any, cmd: 'tool in > out2', deps: [in], outs: [out2]}\n";
    sandbox.write("pipeline.yaml", format!("{PIPELINE}{more}"));
    fine(&sandbox.run(&["repro", "-j", "2"]));
    let mut ran = sandbox.ran();
    ran.sort();
    assert_eq!((ran, sandbox.read("out2")), (vec!["make".to_string(), "setup".into()], "1\n".into()));
}

/// The value of a secret never reaches the log.
#[test]
fn secrets_are_masked_in_the_output_of_setup() {
    let sandbox = project();
    sandbox.write("pipeline.yaml", PIPELINE.replace("mkdir", "echo token $HF_TOKEN\n      mkdir"));
    let out = crate::sandbox::output(sandbox.lockstep("").env("HF_TOKEN", "very-secret-value").args(["repro"]));
    fine(&out);
    let log = sandbox.run(&["logs", "make"]).stdout;
    assert!(log.contains("token ***") && !log.contains("very-secret-value"), "{log}");
}

/// `run` reads the file while the stage runs.
#[test]
fn a_file_that_changes_during_the_run_fails_the_stage() {
    let sandbox = Sandbox::new();
    sandbox.write("wrap.sh", "echo one > made; exec \"$@\"\n");
    sandbox.write(
        "pipeline.yaml",
        "environments: {e: {files: [wrap.sh], run: sh wrap.sh}}\n\
         stages: {s: {environment: e, cmd: 'cat made > out; echo other >> wrap.sh', outs: [out]}}\n",
    );
    let out = sandbox.run(&["repro"]);
    assert!(out.code == 6 && out.stderr.contains("environment e"), "{out}");
    assert!(!sandbox.exists("pipeline.lock"));
}

#[test]
fn a_stage_that_makes_a_file_of_an_environment_runs_first() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "environments: {e: {files: [made.txt], setup: 'cp made.txt $LOCKSTEP_ENVIRONMENT/x'}}\n\
         stages:\n  a: {environment: e, cmd: 'cat $LOCKSTEP_ENVIRONMENT/x > out', outs: [out]}\n  \
         m: {cmd: 'cp in made.txt', deps: [in], outs: [made.txt]}\n",
    );
    for text in ["1\n", "2\n"] {
        sandbox.write("in", text);
        fine(&sandbox.run(&["repro"]));
        assert_eq!(sandbox.read("out"), text);
        fine(&sandbox.run(&["-q", "status"]));
    }
}

/// Copied templates: the same words mean another file.
#[test]
fn setup_runs_in_the_folder_of_its_own_file() {
    let sandbox = Sandbox::new();
    sandbox.write("common", "");
    for folder in ["a", "b"] {
        sandbox.write(&format!("{folder}/conf"), folder);
        sandbox.write(
            &format!("{folder}/pipeline.yaml"),
            "environments: {e: {files: [../common], setup: 'cp conf $LOCKSTEP_ENVIRONMENT/conf'}}\n\
             stages: {s: {environment: e, cmd: 'cat $LOCKSTEP_ENVIRONMENT/conf > out', outs: [out]}}\n",
        );
    }
    fine(&sandbox.run(&["repro", "-P"]));
    assert_eq!((sandbox.read("a/out"), sandbox.read("b/out")), ("a".into(), "b".into()));
}

/// As on another machine: Linux tells programs of `setarch` that the processor is a smaller one.
#[test]
#[ignore = "needs setarch on x86-64"]
fn a_result_of_another_platform_is_restored_and_stays_what_it_is() {
    let sandbox = project();
    let there = |args: &[&str]| {
        let mut command = sandbox.command("setarch".as_ref(), "");
        command.arg("i686").arg(sandbox.lockstep("").get_program()).args(args);
        output(&mut command)
    };
    fine(&sandbox.run(&["repro"]));
    sandbox.ran();
    let lock = sandbox.read("pipeline.lock");
    sandbox.remove("out");
    let out = there(&["repro"]);
    assert!(out.code == 0 && out.stderr.contains("restored"), "{out}");
    assert_eq!((sandbox.ran(), sandbox.read("pipeline.lock")), (vec![], lock.clone()));
    let status = there(&["status"]);
    assert!(status.stdout.contains("linux-x86_64") || status.stderr.contains("linux-x86_64"), "{status}");
    fine(&there(&["commit", "--force"]));
    assert_eq!(sandbox.read("pipeline.lock"), lock);
}
