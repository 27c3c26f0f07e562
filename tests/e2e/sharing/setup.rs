//! `remote add`, `modify`, `list`, `default`, `rename`, `remove`, `check`.

use crate::sandbox::Sandbox;

#[test]
fn remotes_are_named_and_described_in_the_settings() {
    let sandbox = Sandbox::new();
    sandbox.write("sub/x", "");
    sandbox.write("lockstep.toml", "# ours\njobs = 2\n");
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    insta::assert_snapshot!(run(&["remote", "list"]), @r"
    exit 0
    --- stderr
    no remotes; name one: lockstep remote add -d NAME URL
    ");
    insta::assert_snapshot!(run(&["remote", "add", "-d", "lab", "s3://bucket/digits"]), @r"
    exit 0
    --- stderr
    lab = s3://bucket/digits in [ROOT]/lockstep.toml
    ");
    // A folder counts from the root, wherever it was typed.
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("sub", &["remote", "add", "--local", "near", "../../x"])), @r"
    exit 0
    --- stderr
    near = ../x in [ROOT]/.git/lockstep/config.toml
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "lab", "endpointurl", "http://127.0.0.1:9"]), @r"
    exit 0
    --- stderr
    endpoint_url of lab = http://127.0.0.1:9 in [ROOT]/lockstep.toml
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "--local", "lab", "secret_access_key", "s3cr3t"]), @r"
    exit 0
    --- stderr
    warning: a secret on the command line can be read in the shell's history and in the list of processes
    hint: to be asked for it: lockstep remote modify --local lab secret_access_key
    secret_access_key of lab = *** in [ROOT]/.git/lockstep/config.toml
    ");
    insta::assert_snapshot!(sandbox.read("lockstep.toml"), @r#"
    # ours
    jobs = 2

    [remote.lab]
    url = "s3://bucket/digits"
    endpoint_url = "http://127.0.0.1:9"

    [core]
    remote = "lab"
    "#);
    insta::assert_snapshot!(run(&["remote", "list"]), @r"
    exit 0
    --- stdout
    lab   s3://bucket/digits  (default)
            endpoint_url = http://127.0.0.1:9
            secret_access_key = ***
            secret_access_key_for = http://127.0.0.1:9
    near  ../x
    ");
    insta::assert_snapshot!(run(&["remote", "list", "--json"]), @r#"
    exit 0
    --- stdout
    [
      {
        "name": "lab",
        "url": "s3://bucket/digits",
        "default": true,
        "options": {
          "endpoint_url": "http://127.0.0.1:9",
          "secret_access_key": "***",
          "secret_access_key_for": "http://127.0.0.1:9"
        }
      },
      {
        "name": "near",
        "url": "../x",
        "default": false,
        "options": {}
      }
    ]
    "#);
    insta::assert_snapshot!(run(&["remote", "rename", "lab", "bench"]), @r"
    exit 0
    --- stderr
    renamed lab to bench
    ");
    assert_eq!(sandbox.run(&["remote", "default"]).stdout, "bench\n");
    assert!(sandbox.read(".git/lockstep/config.toml").contains("s3cr3t"));
    insta::assert_snapshot!(run(&["remote", "remove", "bench"]), @r"
    exit 0
    --- stderr
    removed bench from [ROOT]/lockstep.toml
    removed bench from [ROOT]/.git/lockstep/config.toml
    ");
    assert_eq!(sandbox.read("lockstep.toml"), "# ours\njobs = 2\n");
    insta::assert_snapshot!(run(&["remote", "default"]), @r"
    exit 3
    --- stderr
    error: there is no default remote
      hint: choose one: lockstep remote default NAME
    ");
}

#[test]
fn secrets_are_neither_committed_nor_shown() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    insta::assert_snapshot!(run(&["remote", "add", "web", "webdavs://me:s3cr3t@example.org/x"]), @r"
    exit 2
    --- stderr
    error: a password does not belong in lockstep.toml, which is committed
      hint: lockstep remote add web webdavs://me@example.org/x
      hint: lockstep remote modify --local web password
    ");
    assert_eq!(sandbox.run(&["remote", "add", "web", "webdavs://me@example.org/x"]).code, 0);
    insta::assert_snapshot!(run(&["remote", "modify", "web", "password", "s3cr3t"]), @r"
    exit 2
    --- stderr
    error: `password` is a secret and does not belong in lockstep.toml, which is committed
      hint: lockstep remote modify --local web password
    ");
    insta::assert_snapshot!(run(&["config", "remote.web.password", "s3cr3t"]), @r"
    exit 2
    --- stderr
    error: remote.web.password is a secret and does not belong in lockstep.toml
      hint: lockstep remote modify --local web password
    ");
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "web", "password", "s3cr3t"]).code, 0);
    assert_eq!(sandbox.run(&["remote", "add", "--local", "old", "webdavs://me:s3cr3t@example.org/x"]).code, 0);
    for args in [
        &["config"][..],
        &["config", "--json"],
        &["config", "--show-origin"],
        &["config", "remote.web.password"],
        &["config", "remote.old.url"],
        &["remote", "list"],
        &["remote", "list", "--json"],
        &["remote", "add", "--local", "old", "webdav://me:s3cr3t@example.org/x"],
    ] {
        let out = sandbox.run(args);
        assert!(!format!("{out}").contains("s3cr3t"), "{args:?}: {out}");
    }
}

#[test]
fn mistakes_are_told() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    assert_eq!(sandbox.run(&["remote", "add", "lab", "s3://bucket"]).code, 0);
    insta::assert_snapshot!(run(&["remote", "add", "lab", "/mnt/x"]), @r"
    exit 2
    --- stderr
    error: there is a remote `lab` already: s3://bucket
      hint: give it another URL: lockstep remote add --force …
    ");
    insta::assert_snapshot!(run(&["remote", "add", "a b", "/mnt/x"]), @r"
    exit 2
    --- stderr
    error: `a b` is not a valid name of a remote
      hint: letters, digits, `-`, `_` and `.`
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "lab", "regoin", "eu"]), @r"
    exit 2
    --- stderr
    error: the remote lab has no option `regoin`
      hint: did you mean `region`?
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "lab", "read_only", "yes"]), @r"
    exit 2
    --- stderr
    error: `read_only` takes true or false, not `yes`
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "lag", "region", "eu"]), @r"
    exit 3
    --- stderr
    error: there is no remote `lag`
      hint: lockstep remote add lag URL
    ");
    insta::assert_snapshot!(run(&["remote", "check", "lag"]), @r"
    exit 3
    --- stderr
    error: there is no remote `lag`
      hint: lockstep remote add lag URL
      hint: did you mean `lab`?
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "lab", "region", "--unset"]), @r"
    exit 3
    --- stderr
    error: [ROOT]/lockstep.toml does not set `region` of lab
      hint: see what does: lockstep config --show-origin
    ");
    sandbox.write("lockstep.toml", "[remote.lab]\nurl = \"s3://bucket\"\nregoin = \"eu\"\n");
    insta::assert_snapshot!(run(&["remote", "check"]), @r"
    exit 2
    --- stderr
    error: the remote lab has no option `regoin`
      hint: did you mean `region`?
    ");
    // What is wrong can be taken out.
    assert_eq!(sandbox.run(&["remote", "modify", "lab", "regoin", "--unset"]).code, 0);
}

#[test]
fn a_check_puts_gets_and_deletes() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    assert_eq!(sandbox.run(&["remote", "add", "lab", "../lab"]).code, 0);
    insta::assert_snapshot!(run(&["remote", "check"]), @r"
    exit 0
    --- stdout
    lab (../lab): put, got and deleted an object
    nothing was pushed to it yet
    ");
    assert_eq!(crate::sharing::files(&sandbox, ""), Vec::<std::path::PathBuf>::new());
    assert_eq!(sandbox.run(&["remote", "modify", "lab", "read_only", "true"]).code, 0);
    insta::assert_snapshot!(run(&["remote", "check", "--json"]), @r#"
    exit 0
    --- stdout
    {
      "name": "lab",
      "url": "../lab",
      "writes": false,
      "segments": null,
      "as": null,
      "requests": 1
    }
    "#);
    // Nobody listens on port 9 of loopback.
    assert_eq!(sandbox.run(&["remote", "add", "web", "webdav://127.0.0.1:9/x"]).code, 0);
    assert_eq!(sandbox.run(&["remote", "modify", "web", "retries", "0"]).code, 0);
    let out = sandbox.run(&["remote", "check", "web"]);
    assert_eq!(out.code, 4);
    assert!(out.stderr.starts_with("error: the remote web (webdav://127.0.0.1:9/x) cannot be reached"), "{out}");
}
