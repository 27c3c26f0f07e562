//! A secret belongs to a place: scheme, host and port. Files with secrets are for their owner alone.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::listener::Listener;
use crate::sandbox::{Output, Sandbox, output};

/// One output that is recorded, so that a remote is asked for it.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo > o, outs: [o]}}\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox
}

fn remote(sandbox: &Sandbox, text: &str) {
    sandbox.write("lockstep.toml", format!("[remote.lab]\nretries = 0\n{text}\n"));
}

fn fed(sandbox: &Sandbox, args: &[&str], input: &str) -> Output {
    let mut command = sandbox.lockstep("");
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: out.status.code().unwrap(), stdout: text(out.stdout), stderr: text(out.stderr) }
}

/// Were credentials sent?
fn authorised(requests: &[String]) -> bool {
    requests.iter().any(|request| {
        let request = request.to_ascii_lowercase();
        request.contains("\nauthorization:") || request.contains("\nx-amz-security-token:")
    })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_password_goes_to_the_place_that_it_was_given_for() {
    let (sandbox, here, elsewhere) = (project(), Listener::start(), Listener::start());
    let shown = |out: &Output| {
        let text = sandbox.shown(out);
        text.replace(&here.port.to_string(), "[HERE]").replace(&elsewhere.port.to_string(), "[ELSEWHERE]")
    };
    remote(&sandbox, &format!("url = \"webdav://127.0.0.1:{}/x\"\nuser = \"ann\"", here.port));
    let set = fed(&sandbox, &["remote", "modify", "--local", "lab", "password", "--stdin"], "S3CR3T\n");
    insta::assert_snapshot!(shown(&set), @r"
    exit 0
    --- stderr
    password of lab = *** in [ROOT]/.git/lockstep/config.toml
    ");
    assert_eq!(sandbox.run(&["status", "-c"]).code, 0);
    assert!(authorised(&here.asked()));

    // Another path of the same server is the same place.
    remote(&sandbox, &format!("url = \"webdav://127.0.0.1:{}/y\"\nuser = \"ann\"", here.port));
    assert_eq!(sandbox.run(&["status", "-c"]).code, 0);
    assert!(authorised(&here.asked()));

    // A commit changes where the remote is, and says that the password is for that.
    let text = format!(
        "url = \"webdav://127.0.0.1:{0}/x\"\nuser = \"ann\"\npassword_for = \"http://127.0.0.1:{0}\"",
        elsewhere.port
    );
    remote(&sandbox, &text);
    insta::assert_snapshot!(shown(&sandbox.run(&["status", "-c"])), @r"
    exit 2
    --- stderr
    error: password of the remote lab was given for http://127.0.0.1:[HERE], and the settings now name http://127.0.0.1:[ELSEWHERE]: it was not sent
      because: [ROOT]/lockstep.toml sets url of lab
      hint: if that place is the right one: lockstep config --local remote.lab.password_for http://127.0.0.1:[ELSEWHERE]
      hint: or give another one, for this clone alone: lockstep remote modify --local lab password
    ");
    for command in [&["push"][..], &["pull"], &["fetch"], &["remote", "check"], &["repro", "--pull", "--force"]] {
        sandbox.run(command);
        assert_eq!(elsewhere.asked(), Vec::<String>::new(), "{command:?}");
    }

    // The line of the hint.
    let place = format!("http://127.0.0.1:{}", elsewhere.port);
    assert_eq!(sandbox.run(&["config", "--local", "remote.lab.password_for", &place]).code, 0);
    assert_eq!(sandbox.run(&["status", "-c"]).code, 0);
    assert!(authorised(&elsewhere.asked()));
    assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", "password", "--unset"]).code, 0);
    assert!(!sandbox.read(".git/lockstep/config.toml").contains("password"));
}

#[test]
fn a_file_with_url_and_secret_names_the_place_itself() {
    let (sandbox, elsewhere) = (project(), Listener::start());
    let local = "[remote.lab]\nurl = \"s3://b/x\"\nendpoint_url = \"http://127.0.0.1:9\"\naccess_key_id = \"a\"\n\
                 secret_access_key = \"b\"\nsession_token = \"c\"\n";
    sandbox.write(".git/lockstep/config.toml", local);
    remote(&sandbox, "");
    // It is unreachable, and nothing is wrong with the settings.
    assert_eq!(sandbox.run(&["status", "-c"]).code, 4);

    // The endpoint comes from the repository now.
    sandbox.write(".git/lockstep/config.toml", local.replace("endpoint_url = \"http://127.0.0.1:9\"\n", ""));
    remote(&sandbox, &format!("endpoint_url = \"http://127.0.0.1:{}\"", elsewhere.port));
    let out = sandbox.run(&["status", "-c"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("was given for https://s3.amazonaws.com"), "{out}");
    // The region is a part of a host's name.
    remote(&sandbox, "region = \"evil.example.org/\"");
    assert_eq!(sandbox.run(&["status", "-c"]).code, 2);
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
}

#[test]
fn an_account_of_the_environment_names_the_place_of_its_secrets() {
    let (sandbox, elsewhere) = (project(), Listener::start());
    remote(
        &sandbox,
        &format!("url = \"azure://c/x\"\naccount_name = \"b\"\nendpoint_url = \"http://127.0.0.1:{}\"", elsewhere.port),
    );
    for env in [
        &[("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_SAS_TOKEN", "sig=S3CR3T")][..],
        &[("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_KEY", "S3CR3T")],
        &[("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;SharedAccessSignature=sig=S3CR3T")],
    ] {
        let mut status = sandbox.lockstep("");
        status.args(["status", "-c"]).env("LOCKSTEP_TRUST_REMOTES", "lab");
        let out = output(status.envs(env.iter().copied()));
        assert!(out.code == 4 && out.stderr.contains("is for https://a.blob.core.windows.net"), "{out}");
        assert_eq!(elsewhere.asked(), Vec::<String>::new());
    }
}

#[test]
fn the_settings_of_another_repository_get_no_secret_of_mine() {
    let (stranger, elsewhere) = (project(), Listener::start());
    remote(&stranger, &format!("url = \"http://127.0.0.1:{}/x\"\nuser = \"ann\"", elsewhere.port));
    stranger.git(&["add", "-A"]);
    stranger.git(&["commit", "-qm", "x"]);
    let bare = stranger.path("../bare.git");
    stranger.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);

    let mine = Sandbox::new();
    let user = mine.path("../home/.config/lockstep/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    for text in [
        "[remote.lab]\npassword = \"S3CR3T\"\n",
        "[remote.lab]\nurl = \"https://lab.example.org/x\"\npassword = \"S3CR3T\"\n",
        "[remote.lab]\npassword = \"S3CR3T\"\npassword_for = \"https://lab.example.org\"\n",
    ] {
        fs::write(&user, text).unwrap();
        for args in [&["get"][..], &["list"], &["import"]] {
            let place = bare.to_str().unwrap();
            mine.run(&[args, &[place, "o"]].concat());
        }
        let asked = elsewhere.asked();
        assert!(!asked.is_empty() && !asked.iter().any(|request| request.contains(&basic("ann:S3CR3T"))), "{asked:?}");
    }
}

#[test]
fn a_stranger_s_remote_of_the_same_name_does_not_learn_my_user() {
    let (stranger, elsewhere) = (project(), Listener::start());
    let place = format!("http://127.0.0.1:{}", elsewhere.port);
    remote(&stranger, &format!("url = \"{place}/x\""));
    stranger.git(&["add", "-A"]);
    stranger.git(&["commit", "-qm", "x"]);
    let bare = stranger.path("../bare.git");
    stranger.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let mine = Sandbox::new();
    let user = mine.path("../home/.config/lockstep/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    for text in ["user = \"ann\"\n", "user = \"ann\"\nurl = \"https://lab.example.org/x\"\n"] {
        fs::write(&user, format!("[remote.lab]\n{text}")).unwrap();
        mine.run(&["get", bare.to_str().unwrap(), "o"]);
        let asked = elsewhere.asked();
        assert!(!asked.is_empty() && !asked.iter().any(|request| request.contains(&basic("ann:"))), "{asked:?}");
    }
}

#[test]
fn what_a_server_repeats_is_not_shown() {
    let (sandbox, server) = (project(), Listener::repeating());
    let place = format!("http://127.0.0.1:{}", server.port);
    let blob = format!("BlobEndpoint={place};SharedAccessSignature=sv=1&sig=S3CR3T%2FSAS");
    let aws = format!("url = \"s3://b/x\"\nregion = \"e\"\nendpoint_url = \"{place}\"");
    let dav = place.replace("http", "webdav");
    for (text, local, env) in [
        (format!("url = \"{dav}/x\"\nuser = \"ann\""), "password = \"S3CR3T%2F\"", vec![]),
        (format!("url = \"{dav}/x\""), "token = \"S3CR3Ttoken\"", vec![]),
        (String::new(), "", vec![]),
        ("url = \"azure://c/x\"".to_string(), "", vec![("AZURE_STORAGE_CONNECTION_STRING", blob.as_str())]),
        (
            aws,
            "",
            vec![
                ("AWS_ACCESS_KEY_ID", "AK"),
                ("AWS_SECRET_ACCESS_KEY", "SK"),
                ("AWS_SESSION_TOKEN", "S3CR3Tsession"),
                ("LOCKSTEP_TRUST_REMOTES", "lab"),
            ],
        ),
    ] {
        let text = if text.is_empty() { format!("url = \"{dav}/x\"") } else { text };
        remote(&sandbox, &text);
        let url = format!("url = \"{}/x\"", dav.replace("://", "://ann:S3CR3Turl@"));
        let url = if local.is_empty() && env.is_empty() { url } else { String::new() };
        let place = if local.is_empty() {
            String::new()
        } else {
            format!("{}_for = \"{place}\"", &local[..local.find(' ').unwrap()])
        };
        sandbox.write(".git/lockstep/config.toml", format!("[remote.lab]\n{local}\n{place}\n{url}\n"));
        let out = output(sandbox.lockstep("").args(["status", "-c"]).envs(env));
        assert!(out.code == 4 && out.stderr.contains("you said"), "{text}: {out}");
        for secret in ["S3CR3T", &basic("ann:S3CR3T%2F"), &basic("ann:S3CR3Turl")] {
            assert!(!out.stderr.contains(secret), "{text}: {out}");
        }
    }
}

fn basic(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn a_redirect_takes_no_password_along() {
    let (sandbox, elsewhere) = (project(), Listener::start());
    let here = Listener::redirecting(&format!("http://127.0.0.1:{}/x", elsewhere.port));
    for scheme in ["webdav", "http"] {
        let url = format!("{scheme}://ann:S3CR3T@127.0.0.1:{}/x", here.port);
        sandbox.run(&["remote", "add", "--local", "--force", "lab", &url]);
        sandbox.run(&["status", "-c"]);
        let (first, second) = (here.asked(), elsewhere.asked());
        assert!(authorised(&first), "{first:?}");
        assert!(!authorised(&second), "{second:?}");
        assert_eq!(second.is_empty(), scheme == "webdav", "{second:?}");
    }
}

#[test]
fn a_redirect_takes_no_session_token_along() {
    let (sandbox, elsewhere) = (project(), Listener::start());
    let here = Listener::redirecting(&format!("http://127.0.0.1:{}/x", elsewhere.port));
    remote(&sandbox, "url = \"s3://b/x\"");
    let endpoint = format!("http://127.0.0.1:{}", here.port);
    let env = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "SK"),
        ("AWS_SESSION_TOKEN", "S3CR3T"),
    ];
    output(sandbox.lockstep("").args(["status", "-c"]).envs(env));
    assert!(here.asked().iter().any(|request| request.contains("S3CR3T")));
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
}

#[test]
fn no_session_and_no_bearer_token_goes_in_clear() {
    let sandbox = project();
    fs::create_dir_all(sandbox.path("../home/.aws")).unwrap();
    let key = "aws_access_key_id = AK\naws_secret_access_key = SK\n";
    let profiles = format!("[lab]\n{key}aws_session_token = S3CR3T\n[fixed]\n{key}");
    fs::write(sandbox.path("../home/.aws/credentials"), profiles).unwrap();
    let keys = &[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")][..];
    let session = &[keys, &[("AWS_SESSION_TOKEN", "S3CR3T")]].concat();
    let tenant = &[("AZURE_CLIENT_ID", "1"), ("AZURE_TENANT_ID", "2"), ("AZURE_CLIENT_SECRET", "S3CR3T")][..];
    for (text, env, is_refused) in [
        ("url = \"s3://b/x\"", &session[..], true),
        ("url = \"s3://b/x\"", keys, false),
        ("url = \"s3://b/x\"\nallow_anonymous_login = true", session, false),
        ("url = \"s3://b/x\"\nprofile = \"lab\"", &[], true),
        ("url = \"s3://b/x\"\nprofile = \"lab\"", keys, false),
        ("url = \"s3://b/x\"\nprofile = \"fixed\"", &[], false),
        ("url = \"azure://c/x\"", tenant, true),
        ("url = \"azure://c/x\"", &[], true),
        ("url = \"azure://c/x\"", &[("AZURE_STORAGE_KEY", "c2VjcmV0")], false),
        ("url = \"azure://c/x\"\nallow_anonymous_login = true", tenant, false),
    ] {
        let text = format!("{text}\nendpoint_url = \"http://store.invalid\"\naccount_name = \"acc\"\n");
        let text = if text.contains("s3:") { text.replace("account_name", "region") } else { text };
        remote(&sandbox, &text);
        let env = env.iter().copied().chain([("LOCKSTEP_TRUST_REMOTES", "lab")]);
        let out = output(sandbox.lockstep("").args(["status", "-c"]).envs(env));
        assert_eq!(out.stderr.contains("in clear"), is_refused, "{text}: {out}");
    }
}

#[test]
fn no_password_goes_in_clear() {
    let sandbox = project();
    for (url, option) in [
        ("webdav://ann:S3CR3T@store.invalid/x", "retries"),
        ("http://ann:S3CR3T@store.invalid/x", "retries"),
        ("webdav://127.0.0.1.store.invalid/x", "token"),
        ("http://store.invalid/x", "password"),
    ] {
        sandbox.run(&["remote", "add", "--local", "--force", "lab", url]);
        assert_eq!(sandbox.run(&["remote", "modify", "--local", "lab", option, "0"]).code, 0);
        let out = sandbox.run(&["status", "-c"]);
        assert_eq!(out.code, 4, "{url}: {out}");
        assert!(out.stderr.contains("in clear"), "{url}: {out}");
        sandbox.run(&["remote", "remove", "lab"]);
    }
}

#[test]
fn settings_with_secrets_are_for_their_owner() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["remote", "add", "lab", "webdavs://h/x"]).code, 0);
    let local = sandbox.path(".git/lockstep/config.toml");
    let set = |args: &[&str]| {
        let out = fed(&sandbox, &[args, &["--stdin"]].concat(), "S3CR3T");
        assert_eq!(out.code, 0, "{out}");
    };
    set(&["remote", "modify", "--local", "lab", "password"]);
    assert_eq!((mode(&local), mode(local.parent().unwrap())), (0o600, 0o700));
    // One that was wider is told, and narrowed when it is written.
    fs::set_permissions(&local, Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["remote", "default", "lab", "--local"])), @r"
    exit 0
    --- stderr
    warning: [ROOT]/.git/lockstep/config.toml holds a secret and other users may read it
    hint: chmod 600 [ROOT]/.git/lockstep/config.toml
    lab is the default remote
    ");
    assert_eq!(mode(&local), 0o600);
    // A URL with a password is a secret, too.
    fs::remove_file(&local).unwrap();
    assert_eq!(sandbox.run(&["remote", "add", "--local", "web", "webdavs://ann:S3CR3T@h/x"]).code, 0);
    assert_eq!(mode(&local), 0o600);
    set(&["config", "--user", "remote.lab.password"]);
    let user = sandbox.path("../home/.config/lockstep/config.toml");
    assert_eq!((mode(&user), mode(user.parent().unwrap())), (0o600, 0o700));
    // What is committed is for all.
    assert_eq!(mode(&sandbox.path("lockstep.toml")) & 0o044, 0o044);
}

#[test]
fn secrets_are_asked_for() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["remote", "add", "lab", "webdavs://h/x"]).code, 0);
    let run = |args: &[&str]| sandbox.shown(&sandbox.run(args));
    insta::assert_snapshot!(run(&["remote", "modify", "--local", "lab", "password"]), @r"
    exit 2
    --- stderr
    error: the password is empty; nothing was written
      hint: in a terminal, which asks for it: lockstep remote modify --local lab password
      hint: from another program: … | lockstep remote modify --local lab password --stdin
    ");
    insta::assert_snapshot!(run(&["remote", "modify", "--local", "lab", "password", "S3CR3T"]), @r"
    exit 0
    --- stderr
    warning: a secret on the command line can be read in the shell's history and in the list of processes
    hint: to be asked for it: lockstep remote modify --local lab password
    password of lab = *** in [ROOT]/.git/lockstep/config.toml
    ");
    for args in [
        &["remote", "modify", "--local", "lab", "token", "-"][..],
        &["config", "--local", "remote.lab.token", "-"],
        &["config", "--local", "remote.lab.token", "--stdin"],
    ] {
        let secret = args.join("");
        let out = fed(&sandbox, args, &format!("{secret}\n"));
        assert_eq!(out.code, 0, "{out}");
        let written = sandbox.read(".git/lockstep/config.toml");
        assert!(written.contains(&format!("token = \"{secret}\"\ntoken_for = \"https://h\"")), "{written}");
        assert!(!out.to_string().contains(&secret), "{out}");
    }
    for (args, input) in
        [(&["remote", "modify", "--local", "lab", "token", "-"][..], "a\nb\n"), (&["config", "--stdin", "jobs"], "2")]
    {
        let out = fed(&sandbox, args, input);
        assert_eq!(out.code, 2, "{out}");
    }
}
