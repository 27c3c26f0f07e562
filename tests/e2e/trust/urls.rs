//! Passwords and tokens in URLs are shown nowhere, and no URL is an option of another program.

use crate::sandbox::{Sandbox, output};

#[test]
fn passwords_of_urls_are_shown_nowhere() {
    let sandbox = Sandbox::new();
    let commit = "a".repeat(40);
    for url in [
        "https://u:S3CR3T@127.0.0.1:1/x",
        "HTTPS://u:S3CR3T@127.0.0.1:1/x",
        "https://u:S3CR3T/x@127.0.0.1:1/x",
        "https://u:x@S3CR3T@127.0.0.1:1/x",
        "https://S3CR3T@127.0.0.1:1/x",
        "https://127.0.0.1:1/x?token=S3CR3T",
        "ssh://u:S3CR3T@127.0.0.1:1/x",
        "user:S3CR3T@127.0.0.1/x",
        "u:S3CR3T@https://127.0.0.1:1/x",
        "evil::https://u:S3CR3T@127.0.0.1/x",
    ] {
        let run = |args: &[&str]| {
            let out = sandbox.run(args);
            assert!(!out.to_string().contains("S3CR3T"), "{args:?}: {out}");
        };
        for command in ["get", "list", "import"] {
            run(&[command, url]);
            run(&[command, url, "f"]);
            run(&[command, url, "f", "--rev", "v1"]);
        }
        run(&["remote", "add", "lab", url]);
        run(&["remote", "add", "--local", "--force", "lab", url]);
        run(&["remote", "modify", "--local", "lab", "retries", "0"]);
        for args in [
            &["remote", "list"][..],
            &["remote", "list", "--json"],
            &["remote", "check", "lab"],
            &["remote", "modify", "--local", "lab", "url", url],
            &["config"],
            &["config", "--json"],
            &["config", "remote.lab.url"],
        ] {
            run(args);
        }
        let text = format!(
            "data: [{{path: d, import: {{url: '{url}', path: d, commit: {commit}}}}}]\n\
             stages: {{a: {{cmd: x, deps: ['{url}'], outs: [o]}}}}\n"
        );
        sandbox.write("pipeline.yaml", text);
        if !url.contains("://") {
            // A dep is a path, and a path is shown.
            sandbox.write(url, "");
        }
        sandbox.write("pipeline.lock", format!("schema: 1\ndata:\n  d: {{blake3: {}, size: 1}}\n", "b".repeat(64)));
        for args in [
            &["update"][..],
            &["status"],
            &["status", "--json"],
            &["fetch"],
            &["pull", "--json"],
            &["repro"],
            &["repro", "--dry"],
            &["ci", "report"],
            &["checkout"],
        ] {
            run(args);
        }
        sandbox.remove("pipeline.yaml");
        sandbox.remove("pipeline.lock");
        sandbox.run(&["remote", "remove", "lab"]);
    }
}

#[test]
fn a_password_is_not_written_into_a_pipeline() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["import", "https://u:S3CR3T@h.invalid/x", "f"])), @r"
    exit 2
    --- stderr
    error: the URL https://u:***@h.invalid/x holds a password, and pipeline.yaml, where it goes, is committed
      hint: Git asks for it and remembers it: git config --global credential.helper store (or cache)
      hint: lockstep import https://u@h.invalid/x f
    ");
    assert!(!sandbox.exists("pipeline.yaml"));
}

#[test]
fn a_password_is_not_written_into_the_committed_settings() {
    let sandbox = Sandbox::new();
    sandbox.write("lockstep.toml", "[remote.lab]\nurl = \"/x\"\n");
    for (key, value) in [
        ("remote.lab.url", "webdav://u:S3CR3T@h/x"),
        ("remote.lab.url", "webdav:///u:S3CR3T@h/x"),
        ("remote.other.url", "https://ghp_S3CR3T@h/x"),
        ("remote.lab.endpoint_url", "http://u:S3CR3T@h"),
    ] {
        for args in [&["config", key, value][..], &["config", "--project", key, value]] {
            let out = sandbox.run(args);
            let is_refused = out.stderr.contains("--local") || out.stderr.contains("is not a URL of a remote");
            assert!(out.code == 2 && is_refused, "{args:?}: {out}");
            assert!(!out.to_string().contains("S3CR3T"), "{args:?}: {out}");
        }
    }
    assert_eq!(sandbox.read("lockstep.toml"), "[remote.lab]\nurl = \"/x\"\n");
    assert_eq!(sandbox.run(&["config", "--local", "remote.lab.url", "webdav://u:S3CR3T@h/x"]).code, 0);
}

#[test]
fn a_key_in_the_wrong_place_is_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo > o, outs: [o]}}\n");
    let out = output(sandbox.lockstep("").args(["repro"]).env("LOCKSTEP_VERIFY_KEYS", "S3CR3TSEED"));
    assert!(out.code == 2 && out.stderr.contains("LOCKSTEP_VERIFY_KEYS") && !out.stderr.contains("S3CR3T"), "{out}");
}

#[test]
fn users_and_hosts_of_ssh_hold_nothing_for_a_shell() {
    let sandbox = Sandbox::new();
    for url in [
        "ssh://$(touch${IFS}x)@h/p",
        "ssh://h$(x)/p",
        "`touch x`@h:p",
        "ssh://a;b@h/p",
        "ssh://%24%28x%29@h/p",
        "ssh://a b@h/p",
        "a\nb@h:p",
    ] {
        for args in [&["list", url][..], &["get", url, "o"], &["import", url, "o"]] {
            let out = sandbox.run(args);
            assert!(out.code == 2 && out.stderr.contains("its user or host has"), "{args:?}: {out}");
        }
    }
    for user in ["$(touch x)", "`touch x`", "a;b", "a|b", "a b", "%h", "-oX"] {
        sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"ssh://h.invalid/p\"\nuser = '{user}'\n"));
        let out = sandbox.run(&["remote", "check", "lab"]);
        assert!(out.code == 2 && out.stderr.contains("`user` takes"), "{user}: {out}");
        sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = 'ssh://{user}@h.invalid/p'\n"));
        let out = sandbox.run(&["remote", "check", "lab"]);
        assert!(out.code == 2 && out.stderr.contains("is not a URL of a remote") || user == "%h", "{user}: {out}");
    }
}

#[test]
fn lines_of_settings_files_with_secrets_are_not_quoted() {
    let sandbox = Sandbox::new();
    for text in [
        "[remote.lab]\npassword = \"S3CR3T\n",
        "[remote.lab]\npassword = \"\"\"x\nS3CR3T = 1\n\"\"\"\nurl = 1\n",
        "remote.lab = {url = \"https://u:S3CR3T@h/x\", x = }\n",
        "[remote.lab]\nurl = [\"https://u:S3CR3T@h/x\"]\n",
    ] {
        sandbox.write(".git/lockstep/config.toml", text);
        let out = sandbox.run(&["status"]);
        assert_eq!(out.code, 2, "{text}: {out}");
        assert!(out.stderr.contains("config.toml:") && !out.stderr.contains("S3CR3T"), "{text}: {out}");
    }
}

#[test]
fn no_host_is_an_option_of_ssh() {
    let sandbox = Sandbox::new();
    for url in [
        "ssh://-oProxyCommand=touch$IFS/x/y",
        "SSH://u@-oProxyCommand=x/y",
        "sftp://%2DoProxyCommand=x/y",
        "git+ssh://-oX/y",
        "ssh://-oX@host/y",
        "user@-oProxyCommand=x:path",
        "host:--upload-pack=x",
        "[-oX:22]:path",
    ] {
        for command in ["get", "list", "import"] {
            let out = sandbox.run(&[command, url, "f"]);
            assert_eq!(out.code, 2, "{url}: {out}");
            assert!(out.stderr.contains("begins with `-`"), "{url}: {out}");
        }
    }
    for url in ["ssh://-oX/y", "sftp://u@-oX/y", "sftp://%2DoX/y", "ssh://-oX@h/y"] {
        let out = sandbox.run(&["remote", "add", "lab", url]);
        assert!(out.code == 2 && out.stderr.contains("begins with `-`"), "{url}: {out}");
        sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{url}\"\n"));
        assert_eq!(sandbox.run(&["remote", "check"]).code, 2, "{url}");
        sandbox.remove("lockstep.toml");
    }
    sandbox.write("lockstep.toml", "[remote.lab]\nurl = \"ssh://h/y\"\nuser = \"-oX\"\n");
    assert_eq!(sandbox.run(&["remote", "check"]).code, 2);
}

#[test]
fn excerpts_of_files_hold_no_secret_and_are_short() {
    let s = Sandbox::new();
    let url = "https://bob:Sup3rS3cret@host/x.git";
    let check = |name: &str, args: &[&str], marked: &str| {
        let out = s.run(args);
        let shown = format!("{}{}", out.stdout, out.stderr);
        assert!(out.code == 2 && !shown.contains("S3cret"), "{name}: {shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.len() < 400), "{name}: {} bytes", shown.len());
        // A caret stays below what is wrong.
        let marks = lines.iter().zip(lines.iter().skip(1)).filter_map(|(line, mark)| line.get(mark.find('^')?..));
        let marks: Vec<&str> = marks.collect();
        assert!(marks.is_empty() == marked.is_empty(), "{name}: {shown}");
        assert!(marked.is_empty() || marks.iter().any(|mark| mark.starts_with(marked)), "{name}: {shown}");
    };
    for (name, item, marked) in [
        ("behind the URL", format!("import: {{url: \"{url}\", path: f, comit: 24910b97}}"), "comit"),
        ("before the URL", format!("import: {{comit: 1, url: \"{url}\", path: f}}"), "comit"),
        ("two URLs", format!("import: {{url: \"{url}\", pth: \"{url}\", path: f}}"), "pth"),
        ("a comma in the password", "import: {url: \"https://bob:x,S3cret@host/x\", pth: f}".into(), "pth"),
        ("a blank in the password", "import: {url: \"https://bob:x S3cret@host/x\", pth: f}".into(), "pth"),
        ("a quote", "import: {url: 'https://bob:x\"S3cret@host/x', pth: f}".into(), "pth"),
        ("the value", format!("import: [\"{url}\"]"), "["),
        ("far behind", format!("import: {{url: \"{url}\", note: \"{}\", pth: 1}}", "é ".repeat(3000)), "note"),
    ] {
        s.write("pipeline.yaml", format!("data:\n- path: d\n  {item}\n"));
        check(name, &["status"], marked);
    }
    s.remove("pipeline.yaml");
    for (name, text, marked) in [
        ("a misspelt secret", "[remote.lab]\nurl = \"/x\"\npasword = \"S3cret\n".to_string(), ""),
        ("a bare word", "remote.lab.pasword = S3cret\n".into(), ""),
        ("a table", "remote = {lab = {url = \"/x\", pswd = \"S3cret }}\n".into(), ""),
        ("a long line", format!("jobs = 1 {}\n", "x".repeat(400_000)), "1"),
        ("a long value", format!("jobs = \"{}\"\n", "x".repeat(400_000)), "\""),
    ] {
        s.write("lockstep.toml", text);
        check(name, &["status"], marked);
    }
}

#[test]
fn an_option_that_is_not_known_is_not_shown() {
    let s = Sandbox::new();
    s.write(
        "lockstep.toml",
        "[remote.lab]\nurl = \"https://bob:S3cret@host/x\"\npasword = \"S3cret\"\nTOKEN = \"S3cret\"\njobs = 3\n\
         endpoint_url = \"https://bob:S3cret@host\"\n",
    );
    for args in [
        &["config"][..],
        &["config", "--show-origin"],
        &["config", "--json"],
        &["config", "remote.lab.pasword"],
        &["remote", "list"],
        &["remote", "list", "--json"],
        &["status", "-c"],
        &["config", "--local", "remote.lab.pasword", "S3cret"],
    ] {
        let out = s.run(args);
        assert!(!format!("{out}").contains("S3cret"), "{args:?}: {out}");
    }
    assert!(s.run(&["config", "--show-origin"]).stdout.contains("remote.lab.jobs = 3"));
}
