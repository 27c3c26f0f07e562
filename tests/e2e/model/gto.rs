//! GTO itself as the judge: it and lockstep write tags in turn, and give the same answers after each.
//!
//! `pip install gto==1.10.1`; `.ci/run` does so. GTO reads no reftable and no SHA-256: in such layouts there is no judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use crate::model::registry::project;
use crate::sandbox::{Output, Sandbox, output};

const LABELS: [&str; 2] = ["prod", "dev/eu"];

/// A random generator that is the same everywhere (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn is_unknown_to_gto() -> bool {
    std::env::var("LOCKSTEP_TEST_LAYOUT").is_ok_and(|layout| !layout.is_empty())
}

fn gto(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("gto"), "").env_remove("GIT_COMMITTER_DATE").args(args))
}

fn parse(out: &Output) -> Json {
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"))
}

/// Who has each label by `gto show`: a version, or a commit without one.
fn holders(sandbox: &Sandbox, model: &str) -> BTreeMap<String, String> {
    let versions = parse(&gto(sandbox, &["show", model, "--json"]));
    let mut found = BTreeMap::new();
    for version in versions.as_array().unwrap() {
        for stage in version["stages"].as_array().unwrap() {
            let text = |key: &str| stage[key].as_str().unwrap().to_string();
            let before = found.insert(text("stage"), text("version"));
            assert!(before.is_none_or(|before| before == text("version")), "{versions}");
        }
    }
    found
}

/// The same by each reader of lockstep.
fn answers(sandbox: &Sandbox, model: &str) -> BTreeMap<String, String> {
    let run = |args: &[&str]| output(sandbox.lockstep("").args(args).env_remove("GIT_COMMITTER_DATE"));
    let listed = parse(&run(&["model", "list", "--all", "--json"]));
    let listed = listed.as_array().unwrap().iter().find(|one| one["name"] == model).unwrap();
    let of = |shape: &Json| shape["version"].as_str().or(shape["commit"].as_str()).unwrap().to_string();
    let labels = listed["labels"].as_object().unwrap();
    let found: BTreeMap<String, String> = labels.iter().map(|(label, shape)| (label.clone(), of(shape))).collect();
    for label in LABELS {
        let name = format!("{model}#{label}");
        let resolved = run(&["model", "resolve", &name, "--json"]);
        assert_eq!((resolved.code == 0).then(|| of(&parse(&resolved))).as_ref(), found.get(label), "{resolved}");
        let shown = run(&["metrics", "show", "--rev", &name, "--json"]);
        assert_eq!(shown.code, if found.contains_key(label) { 0 } else { 3 }, "{shown}");
    }
    found
}

/// Seconds, event, tag, version and label of each event.
type History = BTreeSet<(String, String, String, Option<String>, Option<String>)>;

fn gto_history(sandbox: &Sandbox, model: &str) -> History {
    let events = parse(&gto(sandbox, &["history", model, "--json"]));
    let text = |event: &Json, key: &str| event[key].as_str().map(str::to_string);
    let one = |event: &Json| {
        let word = match event["event"].as_str().unwrap() {
            "registration" => "register",
            "deregistration" => "deregister",
            "assignment" => "promote",
            "unassignment" => "demote",
            _ => "deprecate",
        };
        let version = text(event, "version").filter(|version| version.starts_with('v'));
        let time = text(event, "timestamp").unwrap().replace("+00:00", "Z");
        (time, word.to_string(), text(event, "ref").unwrap(), version, text(event, "stage"))
    };
    events.as_array().unwrap().iter().map(one).collect()
}

fn own_history(sandbox: &Sandbox, model: &str) -> History {
    let events = parse(&sandbox.run(&["model", "history", model, "--json"]));
    let text = |event: &Json, key: &str| event[key].as_str().map(str::to_string);
    let one = |event: &Json| {
        let [time, word, tag] = ["time", "event", "tag"].map(|key| text(event, key).unwrap());
        (time, word, tag, text(event, "version"), text(event, "label"))
    };
    events.as_array().unwrap().iter().map(one).collect()
}

/// A long life of a model, in which GTO and lockstep take turns at random.
#[test]
#[ignore = "needs gto 1.10"]
fn gto_and_lockstep_take_turns() {
    if is_unknown_to_gto() {
        return;
    }
    let sandbox = project();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut done: Vec<String> = Vec::new();
    let own = |args: &[&str]| output(sandbox.lockstep("").args(args).env_remove("GIT_COMMITTER_DATE"));
    let mut versions: Vec<String> = Vec::new();
    for step in 0..24 {
        let (label, by_gto) = (*random.pick(&LABELS), random.below(2) == 0);
        let old = versions.get(random.below(versions.len().max(1))).cloned().unwrap_or_default();
        let name = format!("digits@{old}");
        let what = if step < 6 { [0, 1, 0, 1, 0, 2][step] } else { random.below(11) };
        let out = match (what, by_gto) {
            (0 | 3, _) => {
                let next = format!("v1.{}.0", versions.len());
                sandbox.git(&["commit", "-q", "--allow-empty", "-m", &next]);
                versions.push(next.clone());
                match by_gto {
                    true => gto(&sandbox, &["register", "digits", "--version", &next]),
                    false => own(&["model", "register", "digits", "--version", &next]),
                }
            }
            (1 | 2 | 4 | 5, true) => gto(&sandbox, &["assign", "digits", "--version", &old, "--stage", label]),
            (1 | 2 | 4 | 5, false) => own(&["model", "promote", &name, label]),
            (6 | 7, true) => gto(&sandbox, &["deprecate", "digits", &old, label]),
            (6 | 7, false) => own(&["model", "demote", "digits", label]),
            (8, true) => gto(&sandbox, &["deprecate", "digits", &old]),
            (8, false) => own(&["model", "deprecate", &name]),
            (9, true) => gto(&sandbox, &["deprecate", "digits"]),
            (9, false) => own(&["model", "deprecate", "digits"]),
            _ => {
                sandbox.git(&["commit", "-q", "--allow-empty", "-m", "no version"]);
                gto(&sandbox, &["assign", "digits", "HEAD", "--stage", label, "--skip-registration"])
            }
        };
        done.push(format!("{what} by {}: {label} {old}: {out}", if by_gto { "gto" } else { "lockstep" }));
        // Neither may leave what stops the other.
        assert!(!out.stderr.contains("Traceback") && [0, 1, 2, 3].contains(&out.code), "{}", done.join("\n"));
        if versions.is_empty() {
            continue;
        }
        let wanted = holders(&sandbox, "digits");
        assert_eq!(answers(&sandbox, "digits"), wanted, "{}\n{}", done.join("\n"), sandbox.git(&["tag"]));
        assert_eq!(own_history(&sandbox, "digits"), gto_history(&sandbox, "digits"), "{}", done.join("\n"));
        let name = format!("digits#{label}");
        let shown = gto(&sandbox, &["show", &name, "--version"]).stdout;
        let short = |version: &String| if version.starts_with('v') { version.clone() } else { version[..7].into() };
        assert_eq!(shown.lines().next(), wanted.get(label).map(short).as_deref(), "{}", done.join("\n"));
    }
    let made = |word: &str| done.iter().filter(|line| line.contains(word) && line.contains("exit 0")).count();
    assert!(made("by gto") > 5 && made("by lockstep") > 5, "{}", done.join("\n"));
}

/// Tags of one second, of any order and style, as `git tag` makes them.
#[test]
#[ignore = "needs gto 1.10"]
fn tags_of_one_second_mean_the_same() {
    if is_unknown_to_gto() {
        return;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..25 {
        let sandbox = Sandbox::new();
        let commits = 2 + random.below(3);
        let mut ids = Vec::new();
        for n in 0..=commits {
            sandbox.git(&["commit", "-q", "--allow-empty", "-m", &n.to_string()]);
            ids.push(sandbox.git(&["rev-parse", "HEAD"]).trim().to_string());
        }
        let span = *random.pick(&[1, 1, 3, 20]);
        let (mut made, mut counter) = (Vec::new(), 0);
        for step in 0..4 + random.below(14) {
            counter += random.below(2);
            let count = if counter > 0 && random.below(3) > 0 { format!("#{counter}") } else { String::new() };
            // The last commit has no version.
            let at = random.below(commits);
            let version = format!("v1.{}.0", (at * 7) % 11);
            let label = *random.pick(&LABELS);
            let kind = if step == 0 { 0 } else { random.below(20) };
            let (name, at) = match kind {
                0..6 => (format!("digits@{version}{count}"), at),
                6..8 => (format!("digits@{version}!{count}"), at),
                8..15 => (format!("digits#{label}{count}"), at + random.below(5) / 4 * (commits - at)),
                15..19 => (format!("digits#{label}!{count}"), at + random.below(5) / 4 * (commits - at)),
                _ => (format!("digits@deprecated{count}"), at),
            };
            let date = format!("2026-01-01T00:00:{:02}Z", random.below(span));
            let mut git = sandbox.command(Path::new("git"), "");
            let is_light = random.below(12) == 0 && name.contains('#');
            let kind: &[&str] = if is_light { &["tag"] } else { &["tag", "-a", "-m", "x"] };
            let out = output(git.args(kind).args([&name, &ids[at]]).env("GIT_COMMITTER_DATE", &date));
            if out.code == 0 {
                made.push(format!("{name} {at} {date} light: {is_light}"));
            }
        }
        if made.iter().all(|tag| tag.contains("light: true")) {
            continue;
        }
        let wanted = holders(&sandbox, "digits");
        assert_eq!(answers(&sandbox, "digits"), wanted, "round {round}\n{}", made.join("\n"));
    }
}

/// GTO reads two versions on one commit of which one was taken back, and none of them once one has a label.
#[test]
#[ignore = "needs gto 1.10"]
fn a_version_beside_one_that_was_taken_back_is_read() {
    if is_unknown_to_gto() {
        return;
    }
    let sandbox = project();
    let own = |args: &[&str]| output(sandbox.lockstep("").args(args).env_remove("GIT_COMMITTER_DATE"));
    for args in [
        &["model", "register", "digits", "--version", "v1.0.0"][..],
        &["model", "deprecate", "digits@v1.0.0"],
        &["model", "register", "digits", "--version", "v2.0.0"],
    ] {
        let out = own(args);
        assert_eq!(out.code, 0, "{out}");
    }
    let shown = gto(&sandbox, &["show", "digits", "--json"]);
    assert!(shown.code == 0 && shown.stdout.contains("v2.0.0") && !shown.stdout.contains("v1.0.0"), "{shown}");
    assert_eq!(own(&["model", "promote", "digits@v2.0.0", "prod"]).code, 1);
    assert_eq!(gto(&sandbox, &["show", "digits"]).code, 0);
    assert_eq!(own(&["model", "promote", "digits@v2.0.0", "prod", "--force"]).code, 0);
    let shown = gto(&sandbox, &["show", "digits"]);
    assert!(shown.code != 0 && shown.stderr.contains("Multiple versions are not allowed"), "{shown}");
}
