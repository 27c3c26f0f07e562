//! Remotes of `lockstep.toml` that would use the user's credentials: nothing is sent before the user trusts them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sandbox::{Output, Sandbox, output};
use crate::terminal::Terminal;

/// A server that counts who comes, and answers nobody.
struct Server {
    address: String,
    came: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&came);
        std::thread::spawn(move || {
            listener.incoming().for_each(|_| {
                counter.fetch_add(1, Ordering::SeqCst);
            })
        });
        Server { address, came }
    }
}

const FAST: &str = "retries = 0\ntimeout = 2\n";

fn project(remote: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "0"]);
    sandbox.write("lockstep.toml", format!("[remote.lab]\n{remote}{FAST}"));
    sandbox
}

fn cloud(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)]) -> Output {
    let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK"), ("AWS_EC2_METADATA_DISABLED", "true")];
    output(sandbox.lockstep("").args(args).envs(keys).envs(env.iter().copied()))
}

#[test]
fn nothing_is_sent_before_a_grant() {
    let server = Server::start();
    let sandbox = project(&format!("url = \"s3://b/x\"\nendpoint_url = \"{}\"\n", server.address));
    let out = cloud(&sandbox, &["status", "-c"], &[]);
    let shown = sandbox.shown(&out).replace(&server.address, "[SERVER]");
    let exact = shown.rsplit("lab@").next().unwrap()[..16].to_string();
    let shown = shown.replace(&exact, "[FINGERPRINT]");
    insta::assert_snapshot!(shown, @r"
    exit 2
    --- stderr
    error: you have not trusted the remote lab: nothing is sent to s3://b/x
      because: lockstep.toml says endpoint_url = [SERVER]
      because: it would get your AWS credentials: those of the environment, of ~/.aws or of this machine
      hint: see it, and trust it: lockstep remote trust lab
      hint: in CI: LOCKSTEP_TRUST_REMOTES=lab@[FINGERPRINT]
    ");
    for args in [
        &["fetch"][..],
        &["pull"],
        &["push"],
        &["repro", "--pull"],
        &["repro", "--cache", "local:rw,remote:rw"],
        &["gc", "-c", "-w", "-f"],
        &["remote", "check"],
        &["cache", "drop", "a", "--remote"],
    ] {
        let out = cloud(&sandbox, args, &[]);
        assert_eq!(out.code, 2, "{args:?}: {out}");
        assert!(out.stderr.contains("lockstep remote trust lab"), "{args:?}: {out}");
    }
    for args in [&["status"][..], &["diff"], &["dag"], &["du"], &["remote", "list"], &["config"], &["repro"]] {
        let out = cloud(&sandbox, args, &[]);
        assert_eq!(out.code, 0, "{args:?}: {out}");
    }
    assert_eq!(server.came.load(Ordering::SeqCst), 0);
}

#[test]
fn no_remote_has_a_name_that_reads_as_a_grant_of_another() {
    let server = Server::start();
    let sandbox = project("url = \"/mnt/x\"\n");
    for name in ["lab@0123456789abcdef", "*", "lab\\n", "a,lab", " lab", "-lab", ".lab", "lab\\u001B[2J"] {
        let remote = format!("url = \"s3://b/x\"\nendpoint_url = \"{}\"\n{FAST}", server.address);
        sandbox.write("lockstep.toml", format!("[core]\nremote = \"{name}\"\n[remote.\"{name}\"]\n{remote}"));
        for granted in ["lab@0123456789abcdef", "*", "lab", "lab,*,-lab"] {
            let out = cloud(&sandbox, &["status", "-c"], &[("LOCKSTEP_TRUST_REMOTES", granted)]);
            assert_eq!(out.code, 2, "{name:?} {granted}: {out}");
            assert!(
                out.stderr.contains("name of a remote") || out.stderr.contains("control"),
                "{name:?} {granted}: {out}"
            );
        }
    }
    assert_eq!(server.came.load(Ordering::SeqCst), 0);
}

#[test]
fn a_grant_is_for_the_whole_url() {
    let sandbox = project("");
    let write = |user: &str| {
        let text = format!("url = \"ssh://{user}h.invalid/x\"\nkeyfile = \"k\"\n{FAST}");
        sandbox.write("lockstep.toml", format!("[remote.lab]\n{text}"));
    };
    write("ghp_one@");
    assert_eq!(sandbox.run(&["remote", "trust", "--yes", "lab"]).code, 0);
    write("ghp_two@");
    let out = cloud(&sandbox, &["status", "-c"], &[]);
    assert!(out.code == 2 && out.stderr.contains("you have not trusted"), "{out}");
    for url in ["s3://b/x?a", "s3://b/x#a", "gs://b/x?a=b", "azure://c/x#"] {
        sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{url}\"\n"));
        let out = cloud(&sandbox, &["status", "-c"], &[]);
        assert!(out.code == 2 && out.stderr.contains("`?` and `#`"), "{url}: {out}");
    }
}

#[test]
fn a_grant_is_for_these_values_and_this_clone() {
    let sandbox = project("url = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:9\"\n");
    let asks = |env: &[(&str, &str)]| {
        let out = cloud(&sandbox, &["status", "-c"], env);
        assert!(matches!(out.code, 2 | 4), "{out}");
        out.code == 2
    };
    assert!(asks(&[]));
    let out = sandbox.run(&["remote", "trust", "lab"]);
    assert!(out.code == 1 && out.stderr.contains("lockstep remote trust --yes lab"), "{out}");
    assert!(asks(&[]));
    let out = sandbox.run(&["remote", "trust", "lab", "--yes"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 0
    --- stderr
    lab is s3://b/x
      endpoint_url = http://127.0.0.1:9  (lockstep.toml)
    It would get your AWS credentials: those of the environment, of ~/.aws or of this machine.
    In CI: LOCKSTEP_TRUST_REMOTES=lab@42d51891aeb18fa4
    lab is trusted in this clone
    ");
    assert!(!asks(&[]));
    for text in [
        "url = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:10\"\n",
        "url = \"s3://other/x\"\nendpoint_url = \"http://127.0.0.1:9\"\n",
        "url = \"s3://b/x\"\nendpointurl = \"http://127.0.0.1:10\"\n",
        "url = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:9\"\nprofile = \"boss\"\n",
    ] {
        sandbox.write("lockstep.toml", format!("[remote.lab]\n{text}{FAST}"));
        assert!(asks(&[]), "{text}");
        assert!(!asks(&[("LOCKSTEP_TRUST_REMOTES", "other,lab")]), "{text}");
        assert!(asks(&[("LOCKSTEP_TRUST_REMOTES", "other,lab2")]), "{text}");
    }
    let out = sandbox.run(&["remote", "trust", "lab"]);
    let exact = out.stderr.split("LOCKSTEP_TRUST_REMOTES=").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(!asks(&[("LOCKSTEP_TRUST_REMOTES", exact)]), "{exact}");
    sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"s3://b/x\"\nrole_arn = \"evil\"\n{FAST}"));
    assert!(asks(&[("LOCKSTEP_TRUST_REMOTES", exact)]), "{exact}");
    // The first values are still granted, until the grant is taken back.
    sandbox.write(
        "lockstep.toml",
        format!("[remote.lab]\nurl = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:9\"\n{FAST}"),
    );
    assert!(!asks(&[]));
    assert_eq!(sandbox.run(&["remote", "trust", "lab", "--revoke"]).code, 0);
    assert!(asks(&[]));
}

#[test]
fn every_option_that_names_an_identity_or_a_host_is_refused() {
    for (url, options) in [
        (
            "s3://b/x",
            &["endpoint_url = 'http://127.0.0.1:9'", "profile = 'p'", "role_arn = 'r'", "external_id = 'e'"][..],
        ),
        ("s3://b/x", &["access_key_id = 'k'", "sse_kms_key_id = 'k'", "endpointurl = 'http://127.0.0.1:9'"]),
        (
            "gs://b/x",
            &["credential_path = 'c.json'", "credentialpath = 'c.json'", "endpoint_url = 'http://127.0.0.1:9'"],
        ),
        ("azure://c/x", &["account_name = 'a'", "connection_string = 'BlobEndpoint=http://127.0.0.1:9'"]),
        ("azure://c/x", &["endpoint_url = 'http://127.0.0.1:9'"]),
        ("ssh://127.0.0.1:9/x", &["keyfile = 'k'", "known_hosts_strategy = 'accept'", "known_hosts_strategy = 'add'"]),
    ] {
        for option in options {
            let sandbox = project(&format!("url = '{url}'\n{option}\n"));
            let out = cloud(&sandbox, &["status", "-c"], &[]);
            assert_eq!(out.code, 2, "{url} {option}: {out}");
            assert!(out.stderr.contains("lockstep remote trust lab"), "{url} {option}: {out}");
            let said = out.stderr.split("lockstep.toml says ").nth(1).unwrap_or_default().split(' ').next();
            let name = option.split(' ').next().unwrap().replace("tu", "t_u").replace("lp", "l_p");
            assert_eq!(said, Some(name.as_str()), "{url} {option}: {out}");
        }
    }
}

#[test]
fn hosts_are_not_made_of_regions_accounts_and_buckets() {
    for remote in [
        "url = 's3://b/x'\nregion = '127.0.0.1:9/#'\n",
        "url = 'azure://c/x'\naccount_name = '127.0.0.1:9/#'\n",
        "url = 's3://127.0.0.1#/x'\naddressing_style = 'virtual'\n",
        "url = 's3://b/x'\nendpoint_url = 'https://s3.amazonaws.com@127.0.0.1:9'\n",
    ] {
        let sandbox = project(remote);
        for env in [&[][..], &[("LOCKSTEP_TRUST_REMOTES", "lab")]] {
            let out = cloud(&sandbox, &["status", "-c"], env);
            assert_eq!(out.code, 2, "{remote}: {out}");
        }
    }
}

#[test]
fn a_credentials_file_of_the_repository_is_granted_with_its_content() {
    let sandbox =
        project("url = \"gs://b/x\"\ncredential_path = \"cred.json\"\nendpoint_url = \"http://127.0.0.1:9\"\n");
    sandbox.write("cred.json", r#"{"type": "service_account"}"#);
    assert_eq!(sandbox.run(&["remote", "trust", "lab", "-y"]).code, 0);
    assert_eq!(cloud(&sandbox, &["status", "-c"], &[]).code, 4);
    sandbox.write("sub/x", "");
    assert_eq!(output(sandbox.lockstep("sub").args(["status", "-c"])).code, 4, "paths count from the root");
    for target in ["../mine.json", "../other.json"] {
        sandbox.write(target, r#"{"type": "service_account"}"#);
        sandbox.remove("cred.json");
        std::os::unix::fs::symlink(target, sandbox.path("cred.json")).unwrap();
        assert_eq!(cloud(&sandbox, &["status", "-c"], &[]).code, 2, "{target}");
        assert_eq!(sandbox.run(&["remote", "trust", "lab", "-y"]).code, 0);
    }
    sandbox.write("cred.json", r#"{"type": "external_account"}"#);
    assert_eq!(cloud(&sandbox, &["status", "-c"], &[]).code, 2);
}

#[test]
fn a_credentials_file_that_is_not_read_whole_is_not_trusted() {
    let sandbox =
        project("url = \"gs://b/x\"\ncredential_path = \"cred.json\"\nendpoint_url = \"http://127.0.0.1:9\"\n");
    sandbox.write("cred.json", format!(r#"{{"type": "service_account"{}}}"#, " ".repeat(1 << 20)));
    let trusted = sandbox.run(&["remote", "trust", "lab", "-y"]);
    assert_eq!(trusted.code, 2, "{trusted}");
    assert!(trusted.stderr.contains("credential_path of remote lab") && trusted.stderr.contains("1 MiB"), "{trusted}");
    for env in [("LOCKSTEP_TRUST_REMOTES", "lab"), ("LOCKSTEP_TRUST_REMOTES", "lab@0123456789abcdef")] {
        let out = cloud(&sandbox, &["status", "-c"], &[env]);
        assert!(out.code == 2 && out.stderr.contains("credential_path of remote lab"), "{out}");
    }
    sandbox.remove("cred.json");
    std::fs::create_dir(sandbox.path("cred.json")).unwrap();
    let folder = sandbox.run(&["remote", "trust", "lab", "-y"]);
    assert!(folder.code != 0 && folder.stderr.contains("credential_path of remote lab"), "{folder}");
    // A file of the user may have any size: it is named, and not its content.
    sandbox.remove("cred.json");
    sandbox.write("../big.json", " ".repeat((1 << 20) + 1));
    std::os::unix::fs::symlink("../big.json", sandbox.path("cred.json")).unwrap();
    assert_eq!(sandbox.run(&["remote", "trust", "lab", "-y"]).code, 0);
}

#[test]
fn what_the_user_types_is_the_word_of_the_user() {
    let sandbox = project("url = \"s3://b/x\"\n");
    let fetch = || cloud(&sandbox, &["status", "-c"], &[]).code;
    // Typed here, it is trusted here, and asked for in a clone.
    assert_eq!(sandbox.run(&["remote", "modify", "lab", "endpoint_url", "http://127.0.0.1:9"]).code, 0);
    assert_eq!(fetch(), 4);
    assert_eq!(sandbox.run(&["remote", "rename", "lab", "hut"]).code, 0);
    assert_eq!(fetch(), 4);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    assert_eq!(sandbox.run_in("../clone", &["status", "-c"]).code, 2);
    // What somebody else commits is not trusted by another change.
    let text = sandbox.read("lockstep.toml");
    sandbox.write("lockstep.toml", format!("{text}profile = \"boss\"\n"));
    assert_eq!(fetch(), 2);
    assert_eq!(sandbox.run(&["remote", "modify", "hut", "region", "eu"]).code, 0);
    assert_eq!(fetch(), 2);
    // Nor by one that makes it count.
    sandbox.write(
        "lockstep.toml",
        format!(
            "[remote.lab]\nurl = 's3://b/x'\nendpoint_url = 'http://127.0.0.1:9'\nallow_anonymous_login = true\n{FAST}"
        ),
    );
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", "allow_anonymous_login", "false"]).code, 0);
    assert_eq!(fetch(), 2);
    // Options of the user need no grant.
    sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = 's3://b/x'\n{FAST}"));
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", "endpoint_url", "http://127.0.0.1:9"]).code, 0);
    std::fs::remove_file(sandbox.path(".git/lockstep/trusted-remotes.json")).unwrap();
    assert_eq!(fetch(), 4);
}

#[test]
fn another_option_or_a_value_taken_out_trusts_nothing() {
    let sandbox = project("url = \"../theirs\"\n");
    let folder = sandbox.path("../theirs");
    for args in [&["lab", "jobs", "4"][..], &["--unset", "lab", "jobs"], &["--local", "lab", "jobs", "4"]] {
        assert_eq!(sandbox.run(&[&["remote", "modify"], args].concat()).code, 0, "{args:?}");
        let out = sandbox.run(&["push"]);
        assert!(out.code == 2 && out.stderr.contains("you have not trusted") && !folder.exists(), "{args:?}: {out}");
    }
    // The user's own URL hides that of the repository until it is taken out.
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", "url", "../mine"]).code, 0);
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "--unset", "lab", "url"]).code, 0);
    let out = sandbox.run(&["push"]);
    assert!(out.code == 2 && !folder.exists(), "{out}");
    assert_eq!(sandbox.run(&["remote", "modify", "lab", "url", "../theirs"]).code, 0);
    assert_eq!(sandbox.run(&["push"]).code, 0);
    // So does an option of the user's own.
    let text = format!("[remote.lab]\nurl = 's3://b/x'\nendpoint_url = 'http://127.0.0.1:9'\n{FAST}");
    sandbox.write("lockstep.toml", text);
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", "endpoint_url", "http://127.0.0.1:8"]).code, 0);
    assert_eq!(cloud(&sandbox, &["status", "-c"], &[]).code, 4);
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "--unset", "lab", "endpoint_url"]).code, 0);
    assert_eq!(cloud(&sandbox, &["status", "-c"], &[]).code, 2);
}

#[test]
fn a_variable_is_about_the_repository_at_hand_alone() {
    let server = Server::start();
    let sandbox = project(&format!("url = \"s3://b/x\"\nendpoint_url = \"{}\"\n", server.address));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    sandbox.remove(".git/lockstep/store");
    sandbox.git(&["init", "-q", "../mine"]);
    let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK"), ("LOCKSTEP_TRUST_REMOTES", "lab")];
    let root = sandbox.root().display().to_string();
    for address in [root.clone(), format!("file://{root}")] {
        let out = output(sandbox.lockstep("../mine").args(["get", &address, "o"]).envs(keys));
        assert_eq!(out.code, 2, "{out}");
        assert!(out.stderr.contains("you have not trusted the remote lab"), "{out}");
    }
    assert_eq!(server.came.load(Ordering::SeqCst), 0);
}

#[test]
fn a_terminal_asks_once() {
    let sandbox = project("url = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:9\"\n");
    let mut terminal = Terminal::start(&sandbox, &["status", "-c"]);
    terminal.until("trust the remote lab? [y/N]");
    terminal.key("n\r");
    assert_eq!(terminal.end().0, 2);
    let mut terminal = Terminal::start(&sandbox, &["status", "-c"]);
    terminal.until("trust the remote lab? [y/N]");
    terminal.key("y\r");
    assert_eq!(terminal.end().0, 4);
    let (code, seen) = Terminal::start(&sandbox, &["status", "-c"]).end();
    assert!(code == 4 && !seen.contains("[y/N]"), "{seen}");
}
