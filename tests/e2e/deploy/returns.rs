//! Failed checks and health, rollbacks and holds.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use super::{Site, names};

const KEYS: &str = "check: '! grep -q unfit $LOCKSTEP_RELEASE/model.bin'
after: cat ../srv/current/model.bin >> served; echo \" $LOCKSTEP_VERSION<$LOCKSTEP_PREVIOUS\" >> served
healthy: '! grep -q bad ../srv/current/model.bin'
timeout: 1s";

#[test]
fn failures_change_nothing_or_come_back() {
    let site = Site::new(KEYS);
    site.register("bad-0", "v0.1.0");
    site.promote("v0.1.0");
    let out = site.run(&["deploy", "prod"]);
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("it was the first version there, so nothing is current now"), "{out}");
    assert_eq!((site.current(), site.state(&[]).0.as_str()), (None, "empty"));
    for (seed, version) in [("one", "v1.0.0"), ("bad", "v1.1.0"), ("unfit", "v1.2.0")] {
        site.register(seed, version);
        site.promote(version);
        let out = site.run(&["deploy", "prod"]);
        assert_eq!(out.code, if seed == "one" { 0 } else { 6 }, "{out}");
        let words = match seed {
            "bad" => "returned to v1.0.0, which is current again",
            "unfit" => "nothing was changed: v1.0.0 is current",
            _ => "digits v1.0.0 is current in",
        };
        assert!(out.stderr.contains(words), "{out}");
        assert_eq!(site.current().as_deref(), Some("model-one"));
    }
    assert_eq!(
        site.events(),
        ["return v0.1.0 failed", "deploy v1.0.0 ok", "return v1.1.0 failed", "refuse v1.2.0 failed"]
    );
    let served = site.sandbox.read("served");
    assert_eq!(served, "model-bad-0 v0.1.0<\nmodel-one v1.0.0<\nmodel-bad v1.1.0<v1.0.0\nmodel-one v1.0.0<v1.1.0\n");
    assert!(site.staging().is_empty());
    assert_eq!(site.state(&[]).0, "behind");
    // A command that is never done is ended, with its children.
    site.register("two", "v2.0.0");
    site.promote("v2.0.0");
    let out = site.run(&["deploy", "prod", "--check", "sleep 987 & sleep 987", "--timeout", "500ms"]);
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("`check` took longer than 500ms"), "{out}");
    assert!(!site.sandbox.processes().iter().any(|(_, line)| line.contains("987")));
}

#[test]
fn a_rollback_holds_until_a_later_promotion_or_resume() {
    let site = Site::new("");
    for (seed, version) in [("one", "v1.0.0"), ("two", "v2.0.0"), ("three", "v3.0.0")] {
        site.register(seed, version);
        site.promote(version);
        site.ok(&["deploy", "prod"]);
    }
    let model = || site.current().unwrap();
    site.ok(&["deploy", "prod", "--rollback"]);
    assert_eq!((model().as_str(), site.state(&[]).0.as_str()), ("model-two", "held"));
    let out = site.ok(&["deploy", "prod"]);
    assert!(out.stderr.contains("was rolled back from digits#prod#3"), "{out}");
    site.ok(&["deploy", "prod", "--rollback"]);
    assert_eq!(model(), "model-one");
    site.ok(&["deploy", "prod"]);
    assert_eq!((model().as_str(), site.state(&[]).0.as_str()), ("model-one", "held"));
    let out = site.run(&["deploy", "prod", "--rollback"]);
    assert_eq!(out.code, 3, "{out}");
    site.promote("v2.0.0");
    assert_eq!(site.state(&[]).0, "behind");
    site.ok(&["deploy", "prod"]);
    assert_eq!(model(), "model-two");
    // The bytes of a release that was deleted come from the store again; damaged ones are not used.
    site.ok(&["deploy", "prod", "--rollback", "v3.0.0"]);
    assert_eq!(model(), "model-three");
    for name in names(&site.srv().join("releases")).iter().filter(|name| name.starts_with("v1")) {
        fs::remove_dir_all(site.srv().join("releases").join(name)).unwrap();
    }
    site.ok(&["deploy", "prod", "--rollback", "v1.0.0"]);
    assert_eq!(model(), "model-one");
    site.ok(&["deploy", "resume", "prod"]);
    site.ok(&["deploy", "prod"]);
    assert_eq!(model(), "model-two");
    site.ok(&["deploy", "hold", "prod", "-m", "trade fair"]);
    site.promote("v3.0.0");
    site.ok(&["deploy", "prod"]);
    assert_eq!((model().as_str(), site.state(&[]).0.as_str()), ("model-two", "held"));
    site.ok(&["deploy", "prod", "--force"]);
    assert_eq!(model(), "model-three");
    site.ok(&["deploy", "resume", "prod"]);
    site.ok(&["model", "deprecate", "digits@v3.0.0"]);
    assert_eq!(site.state(&[]).0, "fallen_back");
    site.ok(&["deploy", "prod"]);
    assert_eq!((model().as_str(), site.state(&[]).0.as_str()), ("model-two", "ok"));
    let out = site.run(&["deploy", "prod", "--rollback", "v3.0.0"]);
    assert_eq!(out.code, 1, "a withdrawn version: {out}");
}

/// Answers like a server of the Open Inference Protocol that has this version.
fn server(version: &'static str, hash: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap_or(0);
            let is_ready = String::from_utf8_lossy(&request[..n]).contains("/ready");
            let metadata =
                format!(r#"{{"name":"digits","versions":["{version}"],"parameters":{{"blake3":"{hash}"}}}}"#);
            let body = if is_ready { r#"{"ready":true}"#.to_string() } else { metadata };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    format!("http://{address}/v2/models/digits/ready")
}

#[test]
fn a_ready_server_with_the_old_version_is_not_healthy() {
    let site = Site::new("timeout: 1s");
    site.register("one", "v1.0.0");
    site.promote("v1.0.0");
    site.ok(&["deploy", "prod"]);
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(site.srv().join("current/lockstep.json")).unwrap()).unwrap();
    let old = server("v1.0.0", manifest["blake3"].as_str().unwrap().into());
    site.ok(&["deploy", "prod", "--force", "--healthy", &old]);
    site.target(&format!("timeout: 1s\nhealthy: {old}"));
    assert_eq!(site.state(&["--remote"]).0, "ok");
    site.register("two", "v2.0.0");
    site.promote("v2.0.0");
    let out = site.run(&["deploy", "prod"]);
    assert_eq!(out.code, 6, "{out}");
    assert!(out.stderr.contains("the server has v1.0.0, not v2.0.0"), "{out}");
    assert_eq!(site.current().as_deref(), Some("model-one"));
    site.ok(&["deploy", "prod", "--healthy", ""]);
    assert_eq!(site.state(&["--remote"]).0, "stale");
    site.target("timeout: 1s\nhealthy: http://127.0.0.1:1/v2/models/digits/ready");
    assert_eq!(site.state(&["--remote"]).0, "unreachable");
    assert_eq!(site.state(&[]).0, "ok");
}
