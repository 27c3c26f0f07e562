//! Settings of `lockstep.toml`: a repository narrows what the user said, and never widens it.

use std::fs;

use crate::sandbox::{Output, Sandbox, output};

fn project(settings: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: echo a >> $CONF_LOG && echo 1 > o\n    outs: [o]\n");
    sandbox.write("lockstep.toml", settings);
    sandbox
}

#[test]
fn the_store_stays_inside_the_repository() {
    let sandbox = project("");
    std::os::unix::fs::symlink("..", sandbox.path("up")).unwrap();
    let absolute = sandbox.path("../elsewhere").display().to_string();
    for dir in
        [absolute.as_str(), "../elsewhere", "~/elsewhere", ".", "up/elsewhere", ".git/hooks", "x/../../elsewhere"]
    {
        sandbox.write("lockstep.toml", format!("cache.dir = \"{dir}\"\n"));
        let out = sandbox.run(&["repro", "--force"]);
        assert_eq!(out.code, 0, "{dir}: {out}");
        assert!(out.stderr.contains("which is ignored: it "), "{dir}: {out}");
        assert_eq!(out.stderr.contains("lockstep config --local cache.dir "), !dir.starts_with("up/"), "{dir}: {out}");
        let out = sandbox.run(&["cache", "dir"]);
        assert!(out.stdout.ends_with("/.git/lockstep/store\n"), "{dir}: {out}");
        assert!(!sandbox.exists("../elsewhere") && !sandbox.exists("objects"), "{dir}");
    }
    // Nor does a commit lead the store out by a link in it.
    sandbox.write("own/objects/x", "");
    std::os::unix::fs::symlink("../../elsewhere", sandbox.path("own/tmp")).unwrap();
    sandbox.write("lockstep.toml", "cache.dir = \"own\"\n");
    let out = sandbox.run(&["repro", "--force"]);
    assert!(out.stderr.contains("which is ignored: a symlink is in it"), "{out}");
    sandbox.remove("own");
    // What the user says counts, and ends the warning.
    assert_eq!(sandbox.run(&["config", "-q", "--local", "cache.dir", &absolute]).code, 0);
    let out = sandbox.run(&["repro", "-q", "--force"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{out}");
    assert!(sandbox.exists("../elsewhere/objects"));
    // A folder of the repository is the repository's.
    assert_eq!(sandbox.run(&["config", "--local", "--unset", "cache.dir"]).code, 0);
    sandbox.write("lockstep.toml", "cache.dir = \"own\"\n");
    assert_eq!(sandbox.run(&["repro", "-q", "--force"]).stderr, "");
    assert!(sandbox.exists("own/objects"));
}

#[test]
fn gc_deletes_nothing_in_a_folder_that_the_repository_names() {
    let sandbox = project("");
    let old = sandbox.path("../mine/tmp/document");
    fs::create_dir_all(old.parent().unwrap()).unwrap();
    fs::write(&old, "mine").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let mine = sandbox.path("../mine").display().to_string();
    sandbox.write("lockstep.toml", format!("cache.dir = \"{mine}\"\n"));
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    let out = sandbox.run(&["gc", "-w", "-f"]);
    assert!(old.exists(), "{out}");
}

#[test]
fn no_setting_has_control_characters() {
    for settings in [
        "cache.dir = \"x\\nkey=evil\\npath=/etc\"\n",
        "cache.dir = '''x\nkey=evil'''\n",
        "shell = \"sh\\u001b]0;x\\u0007\"\n",
        "[remote.\"a\\nb\"]\nurl = \"/x\"\n",
        "[remote.lab]\nurl = \"/x\\r\"\n",
        "cache.trust = [\"a\", \"b\\u009b\"]\n",
    ] {
        let sandbox = project(settings);
        let out = sandbox.run(&["ci", "key"]);
        assert_eq!(out.code, 2, "{settings}: {out}");
        assert!(out.stdout.is_empty() && out.stderr.contains("control character"), "{settings}: {out}");
        assert!(!out.stderr.lines().any(|line| line.starts_with("key=")), "{settings}: {out}");
    }
}

#[test]
fn a_repository_runs_commands_by_sh_or_bash_alone() {
    let sandbox = project("shell = \"./evil\"\n");
    sandbox.write("evil", "#!/bin/sh\necho evil >> $CONF_LOG\n");
    fs::set_permissions(sandbox.path("evil"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["repro", "-q"])), @r"
    exit 2
    --- stderr
    error: lockstep.toml wants commands to be run by the program `./evil`
      because: without your consent a repository can only choose sh or bash
      hint: if you trust it: lockstep config --local shell ./evil
    ");
    assert_eq!(sandbox.run(&["status"]).code, 0, "reading runs nothing");
    assert!(sandbox.ran().is_empty());
    // The user may choose it.
    assert_eq!(sandbox.run(&["config", "-q", "--local", "shell", "./evil"]).code, 0);
    sandbox.run(&["repro", "-q"]);
    assert_eq!(sandbox.ran(), ["evil"]);
    let sandbox = project("shell = \"bash\"\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(sandbox.ran(), ["a"]);
}

#[test]
fn a_committed_mode_allows_no_more_than_the_default() {
    let sandbox = project("[cache]\nmode = \"local:rw,remote:rw\"\n[remote.lab]\nurl = \"../lab\"\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["repro", "-q"])), @r"
    exit 0
    --- stderr
    warning: [ROOT]/lockstep.toml sets cache.mode to local:rw,remote:rw, which is ignored: it allows more than local:rw
    ");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("lockstep config --local cache.mode local:rw,remote:rw"), "{out}");
    assert!(!sandbox.exists("../lab"), "a run pushes only where the user says so");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["config", "--show-origin"])), @r"
    exit 0
    --- stdout
    cache.links = reflink,copy  (default)
    jobs = 1  (default)
    remote.lab.url = ../lab  ([ROOT]/lockstep.toml)
    shell = sh  (default)
    cache.mode is not set
        ignored, it allows more than local:rw: local:rw,remote:rw  ([ROOT]/lockstep.toml)
    ");
    assert_eq!(sandbox.run(&["config", "-q", "--local", "cache.mode", "local:rw,remote:rw"]).code, 0);
    let out = sandbox.run(&["repro", "-q", "--force"]);
    assert!(out.code == 0 && out.stderr.contains("nothing was pushed"), "{out}");
    assert!(!sandbox.exists("../lab"), "a new folder needs a grant");
    assert_eq!(sandbox.run(&["remote", "trust", "-q", "--yes", "lab"]).code, 0);
    let out = sandbox.run(&["repro", "-q", "--force"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{out}");
    assert!(sandbox.exists("../lab/lockstep-remote"));
}

#[test]
fn a_remote_that_the_user_only_reads_stays_so() {
    let sandbox = project("[remote.lab]\nurl = \"../lab\"\nread_only = false\n");
    sandbox.write("../home/.config/lockstep/config.toml", "[remote.lab]\nread_only = true\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    let out = sandbox.run(&["push"]);
    assert!(out.code == 4 && out.stderr.contains("may only be read"), "{out}");
    assert!(!sandbox.exists("../lab"));
}

/// Which results of others a clone takes.
struct Lab {
    sandbox: Sandbox,
    theirs: (String, String),
    mine: (String, String),
}

impl Lab {
    /// A remote with the result of one run, signed with their key.
    fn new() -> Lab {
        let sandbox = project("[remote.lab]\nurl = \"../lab\"\n");
        let pair = || {
            let text = sandbox.run(&["cache", "keygen"]).stdout;
            let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap().to_string();
            (value("LOCKSTEP_SIGN_KEY="), value("cache.verify_keys="))
        };
        let (theirs, mine) = (pair(), pair());
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "1"]);
        sandbox.git(&["clone", "-q", ".", "../clone"]);
        let keys = [("LOCKSTEP_SIGN_KEY", theirs.0.as_str()), ("LOCKSTEP_CACHE_SIGN", "ed25519")];
        assert_eq!(sandbox.run(&["remote", "trust", "--yes", "lab"]).code, 0);
        let out = output(sandbox.lockstep("").args(["repro", "-q"]).envs(keys));
        assert_eq!(out.code, 0, "{out}");
        assert_eq!(output(sandbox.lockstep("").args(["push", "-q"]).envs(keys)).code, 0);
        sandbox.ran();
        Lab { sandbox, theirs, mine }
    }

    /// Runs the stage in the clone: does it take their result? With the output.
    fn takes(&self, repository: &str, user: &str, env: &[(&str, &str)]) -> (bool, Output) {
        let fill = |text: &str| {
            let names = [("THEIRS", &self.theirs.1), ("MY_SECRET", &self.mine.0), ("MINE", &self.mine.1)];
            names.into_iter().fold(text.to_string(), |text, (name, key)| text.replace(name, key))
        };
        let clone = self.sandbox.path("../clone");
        for path in ["o", "pipeline.lock"] {
            let _ = fs::remove_file(clone.join(path));
        }
        let _ = fs::remove_dir_all(clone.join(".git/lockstep"));
        fs::create_dir_all(clone.join(".git/lockstep")).unwrap();
        let settings = format!("{}\n[remote.lab]\nurl = \"../lab\"\n", fill(repository));
        fs::write(clone.join("lockstep.toml"), settings).unwrap();
        fs::write(clone.join(".git/lockstep/config.toml"), fill(user)).unwrap();
        let env = env.iter().map(|(name, value)| (name.to_string(), fill(value)));
        let out = output(self.sandbox.lockstep("../clone").args(["repro", "--pull"]).envs(env));
        assert!(out.code == 0 || (out.code == 2 && !clone.join("o").exists()), "{out}");
        (self.sandbox.ran().is_empty() && out.code == 0, out)
    }
}

#[test]
fn the_repository_adds_no_key_and_takes_no_check_away() {
    let lab = Lab::new();
    for (repository, user, env, want) in [
        ("", "", vec![], true),
        ("", "cache.verify_keys = ['THEIRS']", vec![], true),
        ("", "cache.verify_keys = ['MINE']", vec![], false),
        ("", "cache.sign = 'ed25519'\ncache.verify_keys = ['MINE']", vec![], false),
        ("cache.verify_keys = ['THEIRS']", "cache.verify_keys = ['MINE']", vec![], false),
        ("cache.verify_keys = ['MINE', 'THEIRS']", "cache.verify_keys = ['MINE', 'THEIRS']", vec![], true),
        ("cache.verify_keys = ['MINE']", "cache.verify_keys = ['MINE', 'THEIRS']", vec![], false),
        ("cache.verify_keys = ['THEIRS']", "", vec![], true),
        ("cache.verify_keys = ['MINE']", "", vec![], false),
        ("cache.verify_keys = ['THEIRS']", "", vec![("LOCKSTEP_VERIFY_KEYS", "MINE")], false),
        ("", "", vec![("LOCKSTEP_VERIFY_KEYS", "MINE")], false),
        ("", "", vec![("LOCKSTEP_VERIFY_KEYS", "MINE,THEIRS")], true),
        ("", "", vec![("LOCKSTEP_SIGN_KEY", "MY_SECRET")], false),
        ("", "", vec![("LOCKSTEP_SIGN_KEY", "a secret of our team")], false),
        ("cache.verify_keys = ['THEIRS']", "", vec![("LOCKSTEP_SIGN_KEY", "MY_SECRET")], false),
        (
            "cache.verify_keys = ['THEIRS']",
            "",
            vec![("LOCKSTEP_SIGN_KEY", "MY_SECRET"), ("LOCKSTEP_CACHE_SIGN", "ed25519")],
            false,
        ),
        (
            "cache.sign = 'ed25519'\ncache.verify_keys = ['THEIRS', 'MINE']",
            "",
            vec![("LOCKSTEP_SIGN_KEY", "MY_SECRET")],
            false,
        ),
        (
            "cache.verify_keys = ['THEIRS']",
            "cache.verify_keys = ['THEIRS']",
            vec![("LOCKSTEP_SIGN_KEY", "MY_SECRET")],
            true,
        ),
        ("cache.verify_keys = ['THEIRS']", "cache.verify_keys = []", vec![], false),
        ("", "cache.verify_keys = []", vec![], false),
        ("cache.verify_keys = ['THEIRS']", "cache.sign = 'ed25519'\ncache.verify_keys = []", vec![], false),
        ("cache.verify_keys = []", "cache.verify_keys = ['THEIRS']", vec![], false),
        // Keys of the repository do not take the place of those that the user forgot.
        ("cache.verify_keys = ['THEIRS']", "", vec![("LOCKSTEP_CACHE_SIGN", "ed25519")], false),
        ("cache.sign = 'ed25519'\ncache.verify_keys = ['THEIRS']", "cache.sign = 'ed25519'", vec![], false),
        ("cache.sign = 'ed25519'\ncache.verify_keys = ['THEIRS']", "", vec![], true),
        // A variable is empty where a job gets no secret.
        ("", "", vec![("LOCKSTEP_VERIFY_KEYS", "")], false),
        ("cache.verify_keys = ['THEIRS']", "", vec![("LOCKSTEP_VERIFY_KEYS", " ")], false),
        ("cache.verify_keys = ['THEIRS']", "", vec![("LOCKSTEP_VERIFY_KEYS", ",")], false),
        ("", "cache.verify_keys = ['THEIRS']", vec![("LOCKSTEP_VERIFY_KEYS", "")], true),
        ("", "", vec![("LOCKSTEP_SIGN_KEY", "")], false),
        ("", "", vec![("LOCKSTEP_SIGN_KEY", "short")], false),
        ("", "", vec![("LOCKSTEP_CACHE_SIGN", "ed25519"), ("LOCKSTEP_SIGN_KEY", "a secret of our team")], false),
        ("cache.trust = ['*']", "cache.trust = ['ci@*']", vec![], false),
        ("cache.trust = ['ci@*']", "cache.trust = ['*']", vec![], false),
        ("cache.trust = ['t@*', 'ci@*']", "cache.trust = ['t@*']", vec![], true),
    ] {
        let (takes, out) = lab.takes(repository, user, &env);
        assert_eq!(takes, want, "{repository} | {user} | {env:?}: {out}");
    }
    let (_, out) = lab.takes("cache.verify_keys = ['THEIRS']", "cache.verify_keys = ['MINE']", &[]);
    assert!(out.stderr.contains("none of the keys of lockstep.toml is one of yours"), "{out}");
    let (_, out) = lab.takes("cache.verify_keys = ['THEIRS']", "", &[("LOCKSTEP_SIGN_KEY", "MY_SECRET")]);
    assert!(out.stderr.contains("lockstep config --user cache.verify_keys KEY"), "{out}");
    // A key pair is made by `store keygen`; no other scheme is left.
    for (settings, env) in [
        ("cache.sign = 'hmac'", [("LOCKSTEP_SIGN_KEY", "MY_SECRET")]),
        ("", [("LOCKSTEP_SIGN_KEY", "a secret of our team")]),
    ] {
        let (_, out) = lab.takes(settings, "", &env);
        assert!(out.code == 2 && out.stderr.contains("lockstep store keygen"), "{out}");
    }
}
