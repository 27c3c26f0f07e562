//! Somebody dies in the middle of a transfer: the client by `kill -9`, or the server.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::sandbox::process::Signal;
use crate::sandbox::{Output, Sandbox};
use crate::target::Target;
use crate::weather::Weather;
use crate::workplace::{assert_nothing_wrong, assert_same, clone, contents, must, workplace};

/// Of a thousand bytes that a whole transfer moves, those after which somebody is killed.
const MOMENTS: [u64; 5] = [1, 120, 500, 930, 998];

/// Long enough that a transfer that has not come to the limit by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kills a client at a moment of a transfer of `whole` bytes by way of the proxy, or of `whole` microseconds where there
/// is no proxy. Gives the exit code, which is that of a transfer that ended if it was quicker.
fn kill(sandbox: &Sandbox, verb: &str, moment: u64, whole: u64, proxy: Option<&Proxy>) -> Output {
    let part = whole * moment / 1000;
    if let Some(proxy) = proxy {
        proxy.hold_after(part);
    }
    let mut running = sandbox.start(&[verb]);
    match proxy {
        Some(proxy) => {
            let started = std::time::Instant::now();
            while !running.is_over() && !proxy.is_held(Duration::from_millis(20)) {
                assert!(started.elapsed() < PATIENCE, "{verb} neither ends nor moves:\n{}", running.stderr());
            }
        }
        None => std::thread::sleep(Duration::from_micros(part)),
    }
    if !running.is_over() {
        running.signal(Signal::KILL);
    }
    if let Some(proxy) = proxy {
        proxy.cut();
        proxy.release();
    }
    let out = running.end();
    // An ssh that was still opening its connection when the others were cut would keep it: nothing ends it but that.
    let started = std::time::Instant::now();
    while let Some(proxy) = proxy.filter(|_| !sandbox.processes().is_empty() && started.elapsed() < PATIENCE) {
        proxy.cut();
        std::thread::sleep(Duration::from_millis(10));
    }
    sandbox.await_nobody();
    out
}

/// A proxy where there is a port to put one in front of.
fn proxy(target: &Target) -> Option<Proxy> {
    match target.port {
        0 => None,
        port if target.http => Some(Proxy::http(port, Weather::default())),
        port => Some(Proxy::raw(port)),
    }
}

/// Bytes, or microseconds, of a transfer that nobody disturbs.
fn measure(sandbox: &Sandbox, verb: &str, proxy: Option<&Proxy>) -> u64 {
    let bytes = || proxy.map_or((0, 0), |p| p.bytes());
    let (before, started) = (bytes(), std::time::Instant::now());
    must(sandbox, &[verb]);
    let after = bytes();
    match proxy {
        Some(_) => after.0 + after.1 - before.0 - before.1,
        None => started.elapsed().as_micros() as u64,
    }
}

pub fn a_push_killed_at_any_moment_is_made_good_by_the_next(target: &Target) {
    let proxy = proxy(target);
    let target = proxy.as_ref().map_or(target.clone(), |proxy| target.behind(proxy));
    let whole = measure(&workplace(&target.clone().within("whole"), 10), "push", proxy.as_ref());
    for moment in MOMENTS {
        let target = target.clone().within(&format!("at-{moment}"));
        let work = workplace(&target, 10);
        let killed = kill(&work, "push", moment, whole, proxy.as_ref());
        assert!([0, 137].contains(&killed.code), "{killed}");
        let other = clone(&work, &target);
        let early = other.run(&["pull"]);
        // 3: not there. 4 would mean that what is there is damaged, but for a folder that was not made yet.
        let new = ["is not there", "is not a lockstep remote"].iter().any(|words| early.stderr.contains(words));
        assert!([0, 3].contains(&early.code) || new, "killed at {moment}: {early}");
        assert_nothing_wrong(&work, &other);
        if early.code == 0 {
            assert_same(&work, &other);
        }
        must(&work, &["push"]);
        must(&other, &["pull"]);
        assert_same(&work, &other);
    }
}

pub fn a_pull_killed_at_any_moment_is_made_good_by_the_next(target: &Target) {
    let proxy = proxy(target);
    let target = proxy.as_ref().map_or(target.clone(), |proxy| target.behind(proxy));
    let work = workplace(&target, 11);
    must(&work, &["push"]);
    let whole = measure(&clone(&work, &target), "pull", proxy.as_ref());
    for moment in MOMENTS {
        let other = clone(&work, &target);
        let killed = kill(&other, "pull", moment, whole, proxy.as_ref());
        assert!([0, 137].contains(&killed.code), "{killed}");
        assert_nothing_wrong(&work, &other);
        must(&other, &["pull"]);
        assert_same(&work, &other);
        must(&other, &["status", "--quiet"]);
    }
}

pub fn a_server_that_dies_in_a_transfer_loses_nothing(target: &Target) {
    let server = Target::alone(&target.name);
    let proxy = if server.http { Proxy::http(server.port, Weather::default()) } else { Proxy::raw(server.port) };
    let mut target = server.behind(&proxy);
    target.options.insert("retries".into(), "2".into());
    let work = workplace(&target, 12);
    let whole = measure(&work, "push", Some(&proxy));
    let (work, again) = (workplace(&target.clone().within("again"), 13), target.clone().within("again"));
    dies(&server, &proxy, &work, "push", whole / 2);
    must(&work, &["push"]);
    server.settle();
    let other = clone(&work, &again);
    dies(&server, &proxy, &other, "pull", whole / 2);
    assert_nothing_wrong(&work, &other);
    must(&other, &["pull"]);
    assert_same(&work, &other);
}

/// The transfer ends by itself, with an error that says that the remote failed; then the server is back.
fn dies(server: &Target, proxy: &Proxy, sandbox: &Sandbox, verb: &str, after: u64) {
    let before = contents(sandbox);
    proxy.hold_after(after);
    let running = sandbox.start(&[verb]);
    assert!(proxy.is_held(PATIENCE), "{}", running.stderr());
    server.kill_server();
    proxy.cut();
    proxy.release();
    let out = running.end();
    assert_eq!(out.code, 4, "{verb}: {out}");
    assert!(out.stderr.contains("store"), "it names the remote: {out}");
    assert_eq!(contents(sandbox), before);
    server.restart_server();
}
