//! Tags that are pushed: made here and there, or neither.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::model::registry::{commit, json, project, shown};
use crate::sandbox::{Output, Sandbox, output};

/// Two versions of `digits`, of which the first is `prod`, in this repository, at `origin` and in the clone `../other`.
fn published() -> Sandbox {
    let sandbox = project();
    ok(&sandbox, &["model", "register", "digits", "--version", "v1.0.0"]);
    sandbox.write("params.yaml", "lr: 0.2\nacc: 0.95\n");
    commit(&sandbox, "Better");
    ok(&sandbox, &["model", "register", "digits", "--version", "v2.0.0"]);
    ok(&sandbox, &["model", "promote", "digits@v1.0.0", "prod"]);
    sandbox.git(&["clone", "-q", "--bare", ".", "../hub.git"]);
    sandbox.git(&["remote", "add", "origin", "../hub.git"]);
    sandbox.git(&["clone", "-q", "../hub.git", "../other"]);
    sandbox
}

fn ok(sandbox: &Sandbox, args: &[&str]) -> Output {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{args:?}: {out}");
    out
}

fn other(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.lockstep("../other").args(args))
}

fn hook(sandbox: &Sandbox, path: &str, script: &str) {
    sandbox.write(path, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(0o755)).unwrap();
}

fn tags(sandbox: &Sandbox, git_dir: &str) -> Vec<String> {
    let text =
        sandbox.git(&["--git-dir", git_dir, "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/tags"]);
    text.lines().map(str::to_string).collect()
}

/// The version that has the label `prod`, if one has it.
fn prod(sandbox: &Sandbox) -> String {
    let out = sandbox.run(&["model", "resolve", "digits#prod"]);
    let line = out.stdout.lines().find_map(|line| line.strip_prefix("version ")).unwrap_or("none");
    line.trim().to_string()
}

const COMMANDS: [&[&str]; 5] = [
    &["model", "promote", "digits@v2.0.0", "prod", "--push"],
    &["model", "demote", "digits", "prod", "--push"],
    &["model", "deprecate", "digits@v1.0.0", "--push"],
    &["model", "deprecate", "digits", "--push"],
    &["model", "register", "digits", "--bump", "minor", "--force", "--push"],
];

/// What another clone pushes between the look at the remote and the push.
#[test]
fn a_lost_race_leaves_nothing() {
    for args in COMMANDS {
        let sandbox = published();
        let dry: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--push").chain(["--dry"]).collect();
        let taken = ok(&sandbox, &dry).stdout.trim().to_string();
        assert!(taken.starts_with("digits"), "{taken}");
        let before = tags(&sandbox, ".git");
        let push = format!(
            "unset GIT_DIR; cd ../other && git tag -a -m theirs '{taken}' HEAD && git push -q origin 'refs/tags/{taken}'"
        );
        hook(&sandbox, ".git/hooks/pre-push", &push);
        let out = sandbox.run(args);
        let why = format!("another clone pushed {taken} first");
        assert!(out.code == 4 && out.stderr.contains(&why), "{args:?}: {out}");
        assert!(out.stderr.contains("git fetch origin --tags"), "{out}");
        assert_eq!(tags(&sandbox, ".git"), before, "{args:?}");
        assert_eq!(prod(&sandbox), "v1.0.0");
        sandbox.remove(".git/hooks/pre-push");
        // Again without a look at what there is, and then with it.
        let out = sandbox.run(args);
        let why = format!("origin has tags of digits that this clone lacks: {taken}");
        assert!(out.code == 4 && out.stderr.contains(&why), "{args:?}: {out}");
        assert_eq!(tags(&sandbox, ".git"), before, "{args:?}");
        sandbox.git(&["fetch", "-q", "origin", "--tags"]);
        sandbox.run(args);
        assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"), "{args:?}");
    }
}

#[test]
fn what_the_remote_refuses_is_taken_back() {
    for args in COMMANDS {
        let sandbox = published();
        let before = tags(&sandbox, ".git");
        hook(&sandbox, "../hub.git/hooks/pre-receive", "echo 'tags are protected' >&2; exit 1");
        for _ in 0..2 {
            let out = sandbox.run(args);
            assert!(out.code == 4 && out.stderr.contains("could not be pushed to origin"), "{args:?}: {out}");
            assert_eq!(tags(&sandbox, ".git"), before, "{args:?}");
        }
        sandbox.remove("../hub.git/hooks/pre-receive");
        ok(&sandbox, args);
        assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"), "{args:?}");
        assert_eq!(tags(&sandbox, ".git").len(), before.len() + 1);
        assert!(!sandbox.exists(".git/lockstep/tag-pushes/journal.json"));
    }
}

/// A tag of that name which is not of the command is never deleted.
#[test]
fn a_tag_of_the_name_stays() {
    let sandbox = published();
    hook(&sandbox, ".git/hooks/pre-push", "git tag -f -a -m mine 'digits#prod#2' HEAD; exit 1");
    let out = sandbox.run(COMMANDS[0]);
    assert_eq!(out.code, 4, "{out}");
    assert!(sandbox.git(&["cat-file", "tag", "refs/tags/digits#prod#2"]).contains("mine"));
}

/// The push arrived, whatever the connection says afterwards.
#[test]
fn a_push_that_arrived_stays() {
    let sandbox = published();
    hook(&sandbox, "../receive", "git-receive-pack \"$@\"; exit 1");
    sandbox.git(&["config", "remote.origin.receivepack", sandbox.path("../receive").to_str().unwrap()]);
    let out = ok(&sandbox, COMMANDS[0]);
    assert!(out.stderr.contains("pushed digits#prod#2 to origin"), "{out}");
    assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"));
}

/// The hint of a journal that cannot be settled drops exactly the tags of that command.
#[test]
fn the_tag_of_a_command_that_did_not_end_can_be_dropped_as_the_hint_says() {
    for (args, tag) in
        [(COMMANDS[0], "digits#prod#2"), (&["model", "deprecate", "digits@v1.0.0", "--push"], "digits@v1.0.0!")]
    {
        let sandbox = published();
        let before = tags(&sandbox, ".git");
        hook(&sandbox, "../receive", "mv ../hub.git ../gone.git; exit 1");
        sandbox.git(&["config", "remote.origin.receivepack", sandbox.path("../receive").to_str().unwrap()]);
        assert_eq!(sandbox.run(args).code, 4);
        let out = sandbox.run(COMMANDS[4]);
        assert!(out.code == 4 && out.stderr.contains(&format!("was to push {tag} to origin and did not end")), "{out}");
        let hint = out.stderr.lines().find_map(|line| line.split_once("arrive there: ")).unwrap().1;
        let mut shell = sandbox.command(std::path::Path::new("sh"), "");
        let dropped = output(shell.args(["-c", hint]));
        assert!(dropped.code == 0, "{hint}: {dropped}");
        assert_eq!(tags(&sandbox, ".git"), before, "{hint}");
        assert!(!ok(&sandbox, &["model", "list"]).stderr.contains("may not be"));
    }
}

/// Whether it arrived cannot be told; the next command that pushes tells.
#[test]
fn a_remote_that_went_away_is_asked_later() {
    for arrives in [false, true] {
        let sandbox = published();
        let receive = if arrives { "git-receive-pack \"$@\";" } else { "" };
        hook(&sandbox, "../receive", &format!("{receive} mv ../hub.git ../gone.git; exit 1"));
        sandbox.git(&["config", "remote.origin.receivepack", sandbox.path("../receive").to_str().unwrap()]);
        let out = sandbox.run(COMMANDS[0]);
        assert!(out.code == 4 && out.stderr.contains("whether digits#prod#2 arrived at origin is not known"), "{out}");
        let told = "digits#prod#2 may not be at origin";
        for args in [&["model", "list"][..], &["model", "resolve", "digits#prod"], COMMANDS[0]] {
            let out = sandbox.run(args);
            let told = if args[1] == "promote" { "did not end" } else { told };
            assert!(out.stderr.contains(told), "{args:?}: {out}");
        }
        fs::rename(sandbox.path("../gone.git"), sandbox.path("../hub.git")).unwrap();
        sandbox.git(&["config", "--unset", "remote.origin.receivepack"]);
        let out = ok(&sandbox, COMMANDS[0]);
        let settled = if arrives { "digits#prod#2 is at origin" } else { "digits#prod#2 is deleted" };
        assert!(out.stderr.contains(settled), "{out}");
        assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"));
        assert_eq!(prod(&sandbox), "v2.0.0");
        assert!(!ok(&sandbox, &["model", "list"]).stderr.contains("may not be"));
    }
}

/// Killed between the tag and the push, with and without the push going on.
#[test]
fn a_killed_command_is_settled_by_the_next() {
    // Only there does a hook find the process.
    if !std::path::Path::new("/proc/self/status").exists() {
        return;
    }
    for (args, end) in COMMANDS.iter().flat_map(|args| [(args, "exit 1"), (args, "exit 0")]) {
        let sandbox = published();
        let before = tags(&sandbox, ".git");
        let kill = "kill -9 $(sed -n 's/^PPid:[^0-9]*//p' /proc/$PPID/status)";
        hook(&sandbox, ".git/hooks/pre-push", &format!("{kill}; {end}"));
        let out = sandbox.run(args);
        assert_eq!(out.code, 128 + 9, "{args:?}: {out}");
        crate::sandbox::process::until("git ends", || sandbox.processes().is_empty());
        sandbox.remove(".git/hooks/pre-push");
        let told = ok(&sandbox, &["model", "list"]);
        assert!(told.stderr.contains("may not be at origin"), "{args:?}: {told}");
        let out = sandbox.run(args);
        let settled = out.stderr.contains(if end == "exit 1" { "is deleted" } else { "is at origin" });
        assert!(settled, "{args:?} {end}: {out}");
        // The registry here is that of the remote, and the command did its work once.
        assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"), "{args:?} {end}: {out}");
        let made = tags(&sandbox, ".git").len() - before.len();
        let is_register = args[1] == "register" && end == "exit 0";
        assert_eq!(made, if is_register { 2 } else { 1 }, "{args:?} {end}: {out}");
    }
}

#[test]
fn demote_ends_every_assignment_in_one_push() {
    let sandbox = published();
    ok(&sandbox, &["model", "promote", "digits@v2.0.0", "prod", "--push"]);
    let before = tags(&sandbox, ".git");
    for args in [&["--dry"][..], &["--dry", "--push"], &["--dry-run"]] {
        let out = ok(&sandbox, &[&["model", "demote", "digits", "prod"], args].concat());
        assert_eq!(out.stdout, "digits#prod!#3\ndigits#prod!#4\n", "{out}");
        assert_eq!(tags(&sandbox, ".git"), before);
    }
    let shape = json(&sandbox, &["model", "demote", "digits", "prod", "--dry", "--json"]);
    assert_eq!((&shape["tags"][1], &shape["tag"]), (&"digits#prod!#4".into(), &"digits#prod!#4".into()), "{shape}");
    assert_eq!((&shape["version"], &shape["also"][0]), (&"v2.0.0".into(), &"v1.0.0".into()), "{shape}");
    // One that the remote does not take, and none arrives.
    hook(&sandbox, "../hub.git/hooks/update", "case $1 in *3) exit 1;; esac");
    let out = sandbox.run(&["model", "demote", "digits", "prod", "--push"]);
    assert_eq!(out.code, 4, "{out}");
    assert_eq!((tags(&sandbox, ".git"), tags(&sandbox, "../hub.git")), (before.clone(), before.clone()));
    assert_eq!(prod(&sandbox), "v2.0.0");
    sandbox.remove("../hub.git/hooks/update");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["model", "demote", "digits", "prod", "--push"])), @r"
    exit 0
    --- stderr
    digits v2.0.0 is no longer prod, and v1.0.0, which had the label before, does not get it back
    pushed digits#prod!#3, digits#prod!#4 to origin
    ");
    assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"));
    assert_eq!(tags(&sandbox, ".git").len(), before.len() + 2);
    for args in [&["model", "resolve", "digits#prod"][..], &["get", "model.bin", "--rev", "digits#prod", "-o", "x"]] {
        let out = sandbox.run(args);
        assert!(out.code == 3 && out.stderr.contains("no version of digits has the label prod"), "{args:?}: {out}");
    }
}

/// A label that is here and not at the remote is not said to be done.
#[test]
fn what_was_made_without_push_is_pushed_by_the_same_command() {
    let sandbox = published();
    let args = &["model", "promote", "digits@v2.0.0", "prod"];
    let out = ok(&sandbox, args);
    assert!(out.stderr.contains("next: git push origin refs/tags/digits#prod#2"), "{out}");
    let out = ok(&sandbox, &[&args[..], &["--push"]].concat());
    assert!(out.stderr.contains("already") && out.stderr.contains("pushed digits#prod#2 to origin"), "{out}");
    assert_eq!(tags(&sandbox, ".git"), tags(&sandbox, "../hub.git"));
    let out = ok(&sandbox, &[&args[..], &["--push"]].concat());
    assert!(!out.stderr.contains("pushed"), "{out}");
    // Deleted there by hand.
    sandbox.git(&["--git-dir", "../hub.git", "tag", "-d", "digits@v1.0.0", "digits#prod#1"]);
    let out = ok(&sandbox, &["model", "demote", "digits", "prod", "--push"]);
    assert!(out.stderr.contains("git push --atomic origin refs/tags/digits#prod#1 refs/tags/digits@v1.0.0"), "{out}");
    // Another tag of the name there.
    assert_eq!(other(&sandbox, &["model", "list"]).code, 0);
    sandbox.git(&["--git-dir", "../hub.git", "update-ref", "refs/tags/digits@v1.0.0", "refs/tags/digits@v2.0.0"]);
    let out = sandbox.run(&[&args[..], &["--push"]].concat());
    assert!(out.code == 4 && out.stderr.contains("git tag -d digits@v1.0.0"), "{out}");
}

/// Tags count by their times, so a new one is never older than those that are there.
#[test]
fn a_tag_counts_although_the_clock_of_another_was_ahead() {
    let sandbox = published();
    let mut git = sandbox.command(std::path::Path::new("git"), "");
    git.args(["tag", "-a", "-m", "x", "digits#prod#2", "digits@v1.0.0^{}"]);
    assert_eq!(output(git.env("GIT_COMMITTER_DATE", "2033-05-18T03:33:20Z")).code, 0);
    let out = ok(&sandbox, &["model", "promote", "digits@v2.0.0", "prod"]);
    assert!(out.stderr.contains("is dated 2033-05-18T03:33:20Z, ahead of this clock"), "{out}");
    assert_eq!(prod(&sandbox), "v2.0.0");
    let out = ok(&sandbox, &["model", "demote", "digits", "prod"]);
    assert_eq!((prod(&sandbox).as_str(), out.code), ("none", 0));
    ok(&sandbox, &["model", "deprecate", "digits"]);
    let listed = json(&sandbox, &["model", "list", "--json", "--all"]);
    assert_eq!(listed[0]["deprecated"], true);
}
