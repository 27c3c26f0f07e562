//! Another program of the same name makes no stage stale, and is said of what the earlier one made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::sandbox::{Output, Sandbox, output};

const PIPELINE: &str = "\
stages:
  train:
    cmd: cd . && python3 train > model
    outs: [model]
  copy:
    cmd: cp model copied
    deps: [model]
    outs: [copied]
";

/// A `python3` in a folder of its own that calls itself by this version, and leaves a sign when it is asked for it.
fn install(sandbox: &Sandbox, folder: &str, version: &str) {
    let file = format!("../{folder}/python3");
    let asked = sandbox.path("../asked");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo x >> {}; echo Python {version}; fi\n",
        asked.display()
    );
    sandbox.write(&file, script);
    fs::set_permissions(sandbox.path(&file), fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(sandbox: &Sandbox, folder: &str, args: &[&str]) -> Output {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", sandbox.path(&format!("../{folder}")).display());
    let mut command: Command = sandbox.lockstep("");
    let out = output(command.args(args).env("PATH", path));
    assert_eq!(out.code, 0, "{args:?}: {out}");
    out
}

fn times_asked(sandbox: &Sandbox) -> usize {
    sandbox.read("../asked").lines().count()
}

#[test]
fn another_interpreter_is_said_and_runs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    install(&sandbox, "old", "3.11.2");
    install(&sandbox, "new", "3.12.0");
    run(&sandbox, "old", &["repro"]);
    assert_eq!(times_asked(&sandbox), 1);
    for args in [&["status"][..], &["repro"]] {
        assert!(!run(&sandbox, "old", args).stderr.contains("python3"));
    }
    assert_eq!(times_asked(&sandbox), 1, "what is known is not asked for again");
    let said = run(&sandbox, "new", &["status"]).stderr;
    assert!(said.contains("/new/python3 now; train was made with 3.11.2 (") && said.contains("up to date"), "{said}");
    assert_eq!(times_asked(&sandbox), 1, "status starts no program");
    let out = run(&sandbox, "new", &["repro"]);
    assert!(out.stderr.contains("python3 is 3.12.0 (") && out.stderr.contains("2 up to date"), "{out}");
    assert!(run(&sandbox, "new", &["repro"]).stderr.contains("python3 is 3.12.0 ("));
    assert_eq!(times_asked(&sandbox), 2, "its version is known by now");
    // Made again, it is a result of the new one.
    run(&sandbox, "new", &["repro", "-f", "train"]);
    assert!(!run(&sandbox, "new", &["status"]).stderr.contains("python3"));
    assert!(run(&sandbox, "old", &["status"]).stderr.contains("train was made with 3.12.0"));
}

#[test]
fn the_same_version_in_another_file_is_no_change() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    install(&sandbox, "old", "3.11.2");
    install(&sandbox, "new", "3.11.2");
    run(&sandbox, "old", &["repro"]);
    assert!(run(&sandbox, "new", &["status"]).stderr.contains("train was made with"));
    let out = run(&sandbox, "new", &["repro"]);
    assert!(!out.stderr.contains("python3"), "{out}");
    assert!(!run(&sandbox, "new", &["status"]).stderr.contains("python3"));
}

#[test]
fn a_program_that_is_gone_and_a_damaged_record() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: julia3 x > o\n    outs: [o]\n");
    install(&sandbox, "old", "1");
    fs::rename(sandbox.path("../old/python3"), sandbox.path("../old/julia3")).unwrap();
    run(&sandbox, "old", &["repro"]);
    assert!(
        run(&sandbox, "none", &["status"]).stderr.contains("julia3 is not on the PATH any more; a was made with /")
    );
    for damage in
        ["", "{", "{\"version\":2}", "{\"version\":1,\"programs\":[],\"runs\":[{\"programs\":[7],\"keys\":[]}]}"]
    {
        sandbox.write(".git/lockstep/worktree/state/root/programs", damage);
        for args in [&["status"][..], &["repro"]] {
            assert!(!run(&sandbox, "none", args).stderr.contains("julia3"));
        }
    }
}

#[test]
fn a_file_of_the_repository_is_no_program() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: ./python3 x > o\n    outs: [o]\n");
    install(&sandbox, "old", "1");
    fs::rename(sandbox.path("../old/python3"), sandbox.path("python3")).unwrap();
    run(&sandbox, "old", &["repro"]);
    assert!(!sandbox.exists("../asked"));
    sandbox.write("python3", "#!/bin/sh\ntrue\n");
    assert!(!run(&sandbox, "old", &["status"]).stderr.contains("python3"));
}

#[test]
fn the_run_record_has_the_versions() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    install(&sandbox, "old", "3.11.2");
    run(&sandbox, "old", &["repro"]);
    let found =
        Command::new("grep").args(["-rla", "version", ".git/lockstep/store/runs"]).current_dir(sandbox.root()).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    let text = |file| String::from_utf8_lossy(&fs::read(sandbox.path(file)).unwrap()).into_owned();
    let texts: Vec<String> = found.lines().map(text).collect();
    let is_noted = |text: &&String| text.contains("\"python3\": \"3.11.2\"");
    assert_eq!((texts.len(), texts.iter().filter(is_noted).count()), (2, 1));
}

/// One file by another path, and another file of a version that is known to be the same, are no change, however often the
/// PATH goes to and fro.
#[test]
fn equal_interpreters_do_not_flap() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    install(&sandbox, "old", "3.11.2");
    install(&sandbox, "copy", "3.11.2");
    std::os::unix::fs::symlink("old", sandbox.path("../link")).unwrap();
    run(&sandbox, "old", &["repro"]);
    assert!(!run(&sandbox, "link", &["status"]).stderr.contains("python3"));
    run(&sandbox, "copy", &["repro"]);
    for folder in ["old", "copy", "link", "old"] {
        for args in [&["status"][..], &["repro"], &["status"]] {
            let out = run(&sandbox, folder, args);
            assert!(!out.stderr.contains("python3"), "{folder} {args:?}: {out}");
        }
    }
}

/// A command that says itself where its programs are is not held against the PATH of lockstep.
#[test]
fn a_command_with_a_path_of_its_own_is_not_judged() {
    for cmd in
        ["PATH=../own:$PATH python3 x", "env PATH=../own:/usr/bin:/bin python3 x", "export PATH=../own; python3 x"]
    {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: {cmd} > o\n    outs: [o]\n"));
        for (folder, version) in [("old", "3.11.2"), ("new", "3.12.0"), ("own", "3.9.0")] {
            install(&sandbox, folder, version);
        }
        run(&sandbox, "old", &["repro"]);
        for args in [&["status"][..], &["repro"]] {
            let out = run(&sandbox, "new", args);
            assert!(!out.stderr.contains("python3"), "{cmd} {args:?}: {out}");
        }
    }
}

/// A relative folder of the PATH is another one for each command, so what it has is not known; a folder without the
/// program is.
#[test]
fn a_program_that_may_be_in_a_relative_folder_is_not_called_missing() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    install(&sandbox, "old", "3.11.2");
    run(&sandbox, "old", &["repro"]);
    let status = |path: &str| output(sandbox.lockstep("").arg("status").env("PATH", path));
    let git = "/usr/local/bin:/usr/bin:/bin";
    for path in [format!(".:{git}"), format!("/nowhere:bin:{git}"), ":/nowhere".to_string()] {
        let out = status(&path);
        assert!(!out.stderr.contains("not on the PATH"), "{path}: {out}");
    }
    let out = status("/nowhere");
    assert!(out.stderr.contains("python3 is not on the PATH any more"), "{out}");
}

/// The shell is found for each stage, as its process would find it.
#[test]
fn the_shell_is_the_one_of_the_path_at_that_time() {
    for folder in ["bin", "$top/bin"] {
        let sandbox = Sandbox::new();
        let stage = |name: &str, dep: &str, cmd: &str| {
            format!("  {name}:\n    cmd: {cmd} && echo {name} > {name}\n    deps: [{dep}]\n    outs: [{name}]\n")
        };
        let stages = [
            stage("one", "in", "cp wrapper bin/sh && chmod +x bin/sh"),
            stage("two", "one", "true"),
            stage("three", "two", "rm bin/sh && mkdir bin/sh"),
            stage("four", "three", "rmdir bin/sh && cp broken bin/sh && chmod +x bin/sh"),
            stage("five", "four", "true"),
        ];
        sandbox.write("pipeline.yaml", format!("stages:\n{}", stages.concat()));
        sandbox.write("in", "x");
        sandbox.write("wrapper", "#!/bin/sh\necho used >> used\nexec /bin/sh \"$@\"\n");
        sandbox.write("broken", "#!/no/such/interpreter\n");
        // Not executable: passed over.
        sandbox.write("bin/sh", "no program");
        let folder = folder.replace("$top", &sandbox.root().display().to_string());
        let repro = |path: &str| output(sandbox.lockstep("").arg("repro").env("PATH", path));
        let out = repro(&format!("{folder}:/nowhere::/usr/bin:/bin"));
        assert_eq!((out.code, sandbox.read("used").lines().count()), (0, 2), "{out}");
        assert_eq!(sandbox.read("five"), "five\n");
        sandbox.write("in", "y");
        let out = repro(&folder);
        assert!(out.code != 0 && out.stderr.contains("cannot start the command with sh"), "{out}");
        let replay = sandbox.read(".git/lockstep/worktree/logs/two/1/replay.sh");
        assert!(replay.contains("\nsh -c '"), "{replay}");
    }
}
