//! Switches to another version: no request is lost or mixed, and a bad version changes nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::client::{Answer, Connection};
use super::{Server, TIMES, fixture, release, switch_to, twins, until};
use crate::sandbox::Sandbox;

/// The version of an answer, whose values must be those of that version.
fn version_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let version = json["model_version"].as_str().unwrap().to_string();
    let factor = if version == "v1.0.0" { 1.0 } else { 0.01 };
    let last = json["outputs"][0]["data"][3].as_f64().unwrap();
    assert!((last - 4.0 * factor).abs() < 1e-6, "mixed: {json}");
    version
}

fn serve(sandbox: &Sandbox, folder: &Path) -> Server {
    Server::start(sandbox, &[folder.to_str().unwrap(), "--follow", "10ms", "--workers", "2"])
}

fn await_version(client: &mut Connection, version: &str) {
    until(version, || client.get("/v2/models/digits").json()["versions"][0] == version);
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn twenty_switches_under_load_lose_and_mix_nothing() {
    let sandbox = Sandbox::without_git();
    let folder = twins(&sandbox);
    let server = serve(&sandbox, &folder);
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = server.connect();
                while !is_over.load(Ordering::Relaxed) {
                    version_of(&client.post("/v2/models/digits/infer", TIMES));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut client = server.connect();
        for n in 0..20usize {
            let (name, version) = if n.is_multiple_of(2) { ("two", "v2.0.0") } else { ("one", "v1.0.0") };
            let before = count.load(Ordering::Relaxed);
            switch_to(&folder, name);
            await_version(&mut client, version);
            until("requests", || count.load(Ordering::Relaxed) > before + 64);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let counters = server.connect().get("/metrics").text();
    assert!(counters.contains(r#"lockstep_switches_total{model="digits",result="ok"} 21"#), "{counters}");
    let total = count.load(Ordering::Relaxed);
    println!("{total} requests over 20 switches");
    assert!(
        !counters.lines().any(|l| l.starts_with("lockstep_requests_total") && !l.contains("code=\"200\"")),
        "{counters}"
    );
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn two_hundred_switches_do_not_grow_the_memory() {
    let sandbox = Sandbox::without_git();
    let folder = twins(&sandbox);
    let server = serve(&sandbox, &folder);
    let mut client = server.connect();
    let mut switch = |n: usize| {
        let (name, version) = if n.is_multiple_of(2) { ("two", "v2.0.0") } else { ("one", "v1.0.0") };
        switch_to(&folder, name);
        await_version(&mut client, version);
        assert_eq!(version_of(&client.post("/v2/models/digits/infer", TIMES)), version);
    };
    (0..5).for_each(&mut switch);
    let few = server.memory();
    (5..200).for_each(&mut switch);
    let many = server.memory();
    println!("{few} kB after 5 switches, {many} kB after 200");
    assert!(many as f64 <= few as f64 * 1.2, "{few} kB after 5 switches, {many} kB after 200");
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_bad_version_changes_nothing() {
    let sandbox = Sandbox::without_git();
    let folder = twins(&sandbox);
    let good = std::fs::read(fixture("times-001.onnx")).unwrap();
    release(&folder, "broken", "v3.0.0", &good[..good.len() / 2]);
    release(&folder, "modified", "v4.0.0", &good);
    std::fs::write(folder.join("releases/modified/model.onnx"), std::fs::read(fixture("times-1.onnx")).unwrap())
        .unwrap();
    release(&folder, "escaping", "v5.0.0", &std::fs::read(fixture("escaping.onnx")).unwrap());
    release(&folder, "pickle", "v6.0.0", b"\x80\x04K\x01.");
    std::fs::create_dir_all(folder.join("releases/empty")).unwrap();
    let server = serve(&sandbox, &folder);
    let mut client = server.connect();
    let bad = ["broken", "modified", "escaping", "pickle", "empty", "absent"];
    for (n, name) in bad.iter().enumerate() {
        switch_to(&folder, name);
        until(name, || server.events().iter().filter(|event| event["event"] == "kept").count() == n + 1);
        assert_eq!(version_of(&client.post("/v2/models/digits/infer", TIMES)), "v1.0.0");
        assert_eq!(client.get("/v2/health/ready").status, 200);
    }
    // A failed version is not tried again.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let events = server.events();
    let why: Vec<&str> = events.iter().filter_map(|event| event["why"].as_str()).collect();
    assert_eq!(why.len(), bad.len(), "{why:?}");
    for (why, want) in
        why.iter().zip(["", "is not the file that its manifest names", "outside of its folder", "pickle"])
    {
        assert!(why.contains(want), "{why}");
    }
    // The version that answers is there again: it is not loaded a second time.
    let loaded = |events: &[serde_json::Value]| events.iter().filter(|event| event["event"] == "switched").count();
    switch_to(&folder, "one");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(loaded(&server.events()), 1);
    switch_to(&folder, "two");
    await_version(&mut client, "v2.0.0");
    let counters = client.get("/metrics").text();
    assert!(counters.contains(r#"lockstep_switches_total{model="digits",result="failed"} 6"#), "{counters}");
    assert!(client.get("/").text().contains("failed, v1.0.0 goes on"));
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_changed_signature_is_said() {
    let sandbox = Sandbox::without_git();
    let folder = twins(&sandbox);
    release(&folder, "wide", "v3.0.0", &std::fs::read(fixture("times-wide.onnx")).unwrap());
    let server = serve(&sandbox, &folder);
    switch_to(&folder, "wide");
    await_version(&mut server.connect(), "v3.0.0");
    let events = server.events();
    let switched = events.iter().rfind(|event| event["event"] == "switched").unwrap();
    assert!(switched["remarks"][0].as_str().unwrap().contains("are not those of v1.0.0"), "{switched}");
    let answer = server.connect().post("/v2/models/digits/infer", TIMES);
    assert_eq!(answer.error(), "input X: shape [1,4], wanted [-1,5]");
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_label_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "artifacts:\n  digits:\n    path: model.onnx\n    type: model\n");
    for (version, name) in [("v1.0.0", "times-1"), ("v2.0.0", "times-001")] {
        sandbox.write("model.onnx", std::fs::read(fixture(&format!("{name}.onnx"))).unwrap());
        if version == "v1.0.0" {
            let added = sandbox.run(&["add", "model.onnx"]);
            assert_eq!(added.code, 0, "{added}");
        } else {
            let committed = sandbox.run(&["commit", "model.onnx"]);
            assert_eq!(committed.code, 0, "{committed}");
        }
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "-m", version]);
        let registered = sandbox.run(&["model", "register", "digits", "--version", version]);
        assert_eq!(registered.code, 0, "{registered}");
    }
    let promote = |version: &str| {
        let promoted = sandbox.run(&["model", "promote", &format!("digits@{version}"), "prod"]);
        assert_eq!(promoted.code, 0, "{promoted}");
    };
    promote("v1.0.0");
    let server = Server::start(&sandbox, &["digits#prod", "--follow", "50ms"]);
    let mut client = server.connect();
    assert_eq!(version_of(&client.post("/v2/models/digits/infer", TIMES)), "v1.0.0");
    let about = client.get("/v2/models/digits").json();
    assert_eq!(about["parameters"]["label"], "prod");
    assert_eq!(about["parameters"]["path"], "model.onnx");
    promote("v2.0.0");
    await_version(&mut client, "v2.0.0");
    assert_eq!(version_of(&client.post("/v2/models/digits/infer", TIMES)), "v2.0.0");
    let copies = sandbox.path(".git/lockstep/serve");
    assert!(std::fs::read_dir(&copies).unwrap().count() <= 2);
    let fixed = Server::start(&sandbox, &["digits@v1.0.0"]);
    assert_eq!(version_of(&fixed.connect().post("/v2/models/digits/infer", TIMES)), "v1.0.0");
}
