//! Hubs and repositories that mean harm, or are broken.

use std::time::{Duration, Instant};

use super::{Hub, TOKEN, ok, pointer, weights};

/// Every answer is refused within a bounded time, nothing is written, and nothing else is contacted.
#[test]
fn answers_that_are_refused() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/model", &[("f", "1")], &[("model.bin", &weights(1, 100_000))]);
    let user = hub.user_with(TOKEN);
    for (fault, says) in [
        ("metadata", "http://169.254.169.254, which is not used"),
        ("file", "which is not used"),
        ("plain", "http://cdn.example.org, which is not used"),
        ("redirect-metadata", "an address that is not used"),
        ("loop", "from address to address"),
        ("html", "not one of a server of Git LFS"),
        ("endless-batch", "too large"),
        ("cdn-html", "bytes instead of"),
        ("other-size", "where the pointer says"),
        ("other-bytes", "is not the one of the pointer"),
        ("endless", "is not the one of the pointer"),
        ("lacks", "Object does not exist"),
        ("root", "404"),
        ("git-html", "cannot be had"),
    ] {
        hub.set_fault(fault);
        let started = Instant::now();
        // A new clone each time for the fault of Git itself.
        let fresh = hub.user_with(TOKEN);
        let sandbox = if fault == "git-html" { &fresh } else { &user };
        let out = sandbox.run(&["import", "hf://org/model", "model.bin"]);
        assert!([3, 4].contains(&out.code) && out.stderr.contains(says), "{fault}: {out}");
        assert!(!out.stderr.contains(TOKEN), "{fault}: {out}");
        assert!(!sandbox.exists("model.bin") && !sandbox.exists("pipeline.yaml"), "{fault}");
        assert!(started.elapsed() < Duration::from_secs(30), "{fault}");
    }
    hub.set_fault("");
    ok(&user.run(&["import", "hf://org/model", "model.bin"]));
}

#[test]
fn pointers_that_lie() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 1_000);
    let good = pointer(&content);
    let oid = super::sha256(&content);
    let user = hub.user();
    hub.commit("org/model", &[], &[("good.bin", &content)]);
    for (n, (text, says)) in [
        (good.replace("size 1000", "size 999"), "bytes instead of 999"),
        (good.replace("size 1000", "size 1000000000000"), "bytes instead of"),
        (good.replace("size 1000", "size 0"), "Git LFS"),
        (good.replace("size 1000", "size -1"), "is no number"),
        (good.replace(&oid, &"../".repeat(21)), "is no SHA-256"),
        (good.replace("oid", "ext-0-x sha256:00\noid"), "an extension"),
        (good.replace(&oid[..8], "00000000"), "does not exist"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("{n}.bin");
        hub.commit("org/model", &[(&path, &text)], &[]);
        let out = user.run(&["get", "hf://org/model", &path]);
        assert!(out.code != 0 && out.stderr.contains(says), "{text} {out}");
        assert!(!user.exists(&path), "{text}");
    }
}
