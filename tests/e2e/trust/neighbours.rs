//! `get`, `list` and `import` of a folder on this disk: the settings and grants in its `.git` may have come with it, and
//! are no word of the user's.

use std::path::Path;

use super::listener::Listener;
use crate::sandbox::{Output, Sandbox, output};

const FAST: &str = "retries = 0\ntimeout = 2\n";

/// A folder with an output that only a remote has, and the user's own repository beside it.
fn neighbour() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "0"]);
    sandbox.git(&["init", "-q", "../mine"]);
    sandbox
}

fn settings(sandbox: &Sandbox, text: &str) {
    sandbox.write(".git/lockstep/config.toml", format!("{text}{FAST}"));
}

fn ask(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Output {
    let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK"), ("AWS_EC2_METADATA_DISABLED", "true")];
    output(sandbox.lockstep("../mine").args(args).envs(keys).envs(env.iter().copied()))
}

fn get(sandbox: &Sandbox, env: &[(&str, &str)]) -> Output {
    ask(sandbox, &["get", &sandbox.root().display().to_string(), "o", "--force"], env)
}

#[test]
fn a_folder_grants_itself_nothing() {
    let listener = Listener::start();
    let host = format!("http://127.0.0.1:{}", listener.port);
    let sandbox = neighbour();
    sandbox.remove(".git/lockstep/store");
    for (remote, options) in [
        (
            "url = 's3://b/x'",
            vec![format!("endpoint_url = '{host}'"), "profile = 'boss'".into(), "role_arn = 'r'".into()],
        ),
        ("url = 'gs://b/x'", vec![format!("endpoint_url = '{host}'"), "credential_path = '/etc/passwd'".into()]),
        (
            "url = 'azure://c/x'",
            vec!["account_name = 'a'".into(), format!("connection_string = 'BlobEndpoint={host}'")],
        ),
        ("url = 'ssh://127.0.0.1:9/x'", vec!["keyfile = '/k'".into(), "known_hosts_strategy = 'accept'".into()]),
    ] {
        for option in &options {
            let text = format!("core.remote = 'lab'\n[remote.lab]\n{remote}\n{option}\n");
            // Granted there, as the stranger would do before the folder is packed.
            sandbox.write(".git/lockstep/config.toml", "");
            sandbox.write("lockstep.toml", format!("{text}{FAST}"));
            let out = sandbox.run(&["remote", "trust", "--yes", "lab"]);
            assert_eq!(out.code, 0, "{option}: {out}");
            for place in ["lockstep.toml", ".git/lockstep/config.toml"] {
                sandbox.write("lockstep.toml", "");
                sandbox.write(".git/lockstep/config.toml", "");
                sandbox.write(place, format!("{text}{FAST}"));
                let out = get(&sandbox, &[("LOCKSTEP_TRUST_REMOTES", "lab")]);
                assert_eq!(out.code, 2, "{place} {option}: {out}");
                assert!(out.stderr.contains("you have not trusted the remote lab"), "{place} {option}: {out}");
            }
        }
    }
    assert!(listener.asked().is_empty());
}

#[test]
fn the_user_trusts_the_remote_of_another_clone() {
    let sandbox = neighbour();
    sandbox.remove(".git/lockstep/store");
    settings(&sandbox, "core.remote = 'lab'\n[remote.lab]\nurl = 's3://b/x'\nendpoint_url = 'http://127.0.0.1:9'\n");
    let out = get(&sandbox, &[]);
    insta::assert_snapshot!(sandbox.shown(&out).replace(&sandbox.root().display().to_string(), "[ROOT]"), @r"
    exit 2
    --- stderr
    error: you have not trusted the remote lab: nothing is sent to s3://b/x
      because: the settings of [ROOT] say endpoint_url = http://127.0.0.1:9
      because: it would get your AWS credentials: those of the environment, of ~/.aws or of this machine
      hint: for one command: LOCKSTEP_TRUST_REMOTES=lab@42d51891aeb18fa4
      hint: for good: lockstep config --user remote.lab.endpoint_url http://127.0.0.1:9
    ");
    let exact = out.stderr.split("LOCKSTEP_TRUST_REMOTES=").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(get(&sandbox, &[("LOCKSTEP_TRUST_REMOTES", exact)]).code, 4);
    assert_eq!(get(&sandbox, &[("LOCKSTEP_TRUST_REMOTES", "lab@0123456789abcdef")]).code, 2);
    let typed = ["config", "--user", "remote.lab.endpoint_url"];
    assert_eq!(sandbox.run(&[&typed[..], &["http://127.0.0.1:9"]].concat()).code, 0);
    assert_eq!(get(&sandbox, &[]).code, 4);
    // In the clone itself its settings are the user's.
    assert_eq!(sandbox.run(&["config", "--user", "--unset", "remote.lab.endpoint_url"]).code, 0);
    assert_eq!(output(sandbox.lockstep("").args(["status", "-c"]).env("AWS_ACCESS_KEY_ID", "A")).code, 4);
}

#[test]
fn a_worktree_of_the_repository_at_hand_is_the_users() {
    let sandbox = neighbour();
    settings(&sandbox, "core.remote = 'lab'\n[remote.lab]\nurl = 's3://b/x'\nendpoint_url = 'http://127.0.0.1:9'\n");
    sandbox.git(&["worktree", "add", "-q", "../tree"]);
    sandbox.remove(".git/lockstep/store");
    let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")];
    let out = output(sandbox.lockstep("").args(["get", "../tree", "o", "--force"]).envs(keys));
    assert_eq!(out.code, 4, "{out}");
}

#[test]
fn a_bare_neighbour_is_no_user_either() {
    let listener = Listener::start();
    let sandbox = neighbour();
    sandbox.git(&["clone", "-q", "--bare", ".", "../bare.git"]);
    let remote = format!("[remote.lab]\nurl = 's3://b/x'\nendpoint_url = 'http://127.0.0.1:{}'\n", listener.port);
    sandbox.write("../bare.git/lockstep/config.toml", format!("core.remote = 'lab'\n{remote}{FAST}"));
    assert_eq!(sandbox.run_in("../bare.git", &["remote", "list"]).code, 0);
    let out = ask(&sandbox, &["get", "../bare.git", "o"], &[("LOCKSTEP_TRUST_REMOTES", "lab")]);
    assert!(out.code == 2 && out.stderr.contains("you have not trusted"), "{out}");
    assert!(listener.asked().is_empty());
}

/// A store where the user has worked with the other clone counts; any other folder does not.
#[test]
fn a_store_of_another_clone_counts_if_it_knows_that_clone() {
    let sandbox = neighbour();
    sandbox.write("../shared/.keep", "");
    std::fs::remove_file(sandbox.path("../shared/.keep")).unwrap();
    let store = sandbox.path("../shared").display().to_string();
    settings(&sandbox, &format!("cache.dir = '{store}'\n[remote.x]\nurl = '/none'\n"));
    assert_eq!(sandbox.run(&["repro", "-q", "-f"]).code, 0);
    sandbox.remove(".git/lockstep/store");
    let out = get(&sandbox, &[]);
    assert_eq!((out.code, sandbox.read("../mine/o").as_str()), (0, "1\n"), "{out}");
    // A copy of that clone has the same settings, and was never used with the store.
    let copied = std::process::Command::new("cp").args(["-a", ".", "../copy"]).current_dir(sandbox.root()).status();
    assert!(copied.unwrap().success());
    let out = ask(&sandbox, &["get", "../copy", "o", "--force"], &[]);
    assert!(out.code == 4 && out.stderr.contains("cache.dir of ../copy is"), "{out}");
    assert!(!Path::new(&sandbox.path("../copy/.git/lockstep/store/objects")).exists());
    // Nor is a folder of the user's made a store.
    let victim = sandbox.path("../victim");
    std::fs::create_dir(&victim).unwrap();
    settings(&sandbox, &format!("cache.dir = '{}'\n[remote.x]\nurl = '/none'\n", victim.display()));
    assert_eq!(get(&sandbox, &[]).code, 4);
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
}

#[test]
fn no_setting_of_a_neighbour_counts_here() {
    let sandbox = neighbour();
    settings(
        &sandbox,
        "shell = './evil'\npass_env = ['GITHUB_TOKEN']\n[cache]\nmode = 'remote:rw'\n[remote.x]\nurl = '/none'\n",
    );
    for args in [&["get", "../repo", "o", "--force"][..], &["list", "../repo"], &["import", "../repo", "o", "-o", "i"]]
    {
        let args: Vec<String> =
            args.iter().map(|word| word.replace("../repo", &sandbox.root().display().to_string())).collect();
        let out = ask(&sandbox, &args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert_eq!(out.code, 0, "{args:?}: {out}");
    }
    let out = ask(&sandbox, &["config", "shell"], &[]);
    assert!(out.stdout.contains("sh") && !out.stdout.contains("evil"), "{out}");
}
