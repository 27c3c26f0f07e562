//! `config`, and settings from the environment.

use crate::sandbox::{Sandbox, output};

#[test]
fn settings_are_set_read_and_unset() {
    let sandbox = Sandbox::new();
    sandbox.write("lockstep.toml", "# ours\nshell = \"bash\" # for pipefail\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "jobs", "4"])), @r"
    exit 0
    --- stderr
    jobs = 4 in [ROOT]/lockstep.toml
    ");
    assert_eq!(sandbox.run(&["config", "--local", "jobs", "8"]).code, 0);
    assert_eq!(sandbox.run(&["config", "--user", "cache.links", "hardlink,copy"]).code, 0);
    insta::assert_snapshot!(sandbox.read("lockstep.toml"), @r#"
    # ours
    shell = "bash" # for pipefail
    jobs = 4
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--show-origin"])), @r"
    exit 0
    --- stdout
    cache.links = hardlink,copy  ([BOX]/home/.config/lockstep/config.toml)
    jobs = 8  ([ROOT]/.git/lockstep/config.toml)
    shell = bash  ([ROOT]/lockstep.toml)
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--project", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "jobs": 4,
      "shell": "bash"
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "jobs"])), @r"
    exit 0
    --- stdout
    8
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--project", "jobs", "--json", "--show-origin"])), @r#"
    exit 0
    --- stdout
    {
      "value": 4,
      "origin": "[ROOT]/lockstep.toml"
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--local", "--unset", "jobs"])), @r"
    exit 0
    --- stderr
    removed jobs from [ROOT]/.git/lockstep/config.toml
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--local", "--unset", "jobs"])), @r"
    exit 3
    --- stderr
    error: [ROOT]/.git/lockstep/config.toml does not set jobs
      hint: see what does: lockstep config --show-origin
    ");
}

#[test]
fn mistakes() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "job"])), @r"
    exit 2
    --- stderr
    error: unknown setting `job` — did you mean `jobs`?
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "jobs", "many"])), @r"
    exit 2
    --- stderr
    error: `jobs` takes a number from 0, not `many`
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "core.remote"])), @r"
    exit 3
    --- stderr
    error: core.remote is not set
      hint: set it: lockstep config core.remote VALUE
    ");
    sandbox.write("lockstep.toml", "jobs = 1\ncolour = 3\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config"])), @r"
    exit 2
    --- stderr
    error: [ROOT]/lockstep.toml:2:1: unknown setting `colour`
      2 | colour = 3
        | ^^^^^^
    ");
    let outside = Sandbox::without_git();
    assert_eq!(outside.run(&["config", "--user", "jobs", "2"]).code, 0);
    insta::assert_snapshot!(outside.shown(&outside.run(&["config", "jobs"])), @r"
    exit 0
    --- stdout
    2
    ");
    insta::assert_snapshot!(outside.shown(&outside.run(&["config", "jobs", "3"])), @r"
    exit 3
    --- stderr
    error: neither [ROOT] nor a folder above it is a Git repository
      hint: git init — makes one; lockstep needs no further set-up in it
      hint: lockstep init --no-scm — works without Git, in this folder
    ");
}

#[test]
fn the_environment_is_a_source() {
    let sandbox = Sandbox::new();
    let run = |jobs: &str| {
        let mut command = sandbox.lockstep("");
        sandbox.shown(&output(command.args(["config", "jobs", "--show-origin"]).env("LOCKSTEP_JOBS", jobs)))
    };
    insta::assert_snapshot!(run("3"), @r"
    exit 0
    --- stdout
    3  (LOCKSTEP_JOBS)
    ");
    insta::assert_snapshot!(run(""), @r"
    exit 0
    --- stdout
    1  (default)
    ");
    insta::assert_snapshot!(run("x"), @r"
    exit 2
    --- stderr
    error: LOCKSTEP_JOBS: `jobs` takes a number from 0, not `x`
    ");
}

#[test]
fn settings_that_are_written_at_the_same_time_all_count() {
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let out = sandbox.run(&["config", &format!("remote.r{n}.url"), "/x"]);
                assert_eq!(out.code, 0, "{out}");
            });
        }
    });
    assert_eq!(sandbox.run(&["config", "--project"]).stdout.lines().count(), 8, "{}", sandbox.read("lockstep.toml"));
    let mut names = std::fs::read_dir(sandbox.root()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().contains("lockstep-new")));
}
