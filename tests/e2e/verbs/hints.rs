//! Hints are typed as they stand: names that a shell would split are quoted, and what was asked of another repository
//! is hinted for that one.

use crate::sandbox::Sandbox;

/// What a hint, a `next:` or a question says to type.
fn typed(text: &str, start: &str) -> String {
    let line = text.lines().find_map(|line| line.split_once(start)).unwrap_or_else(|| panic!("no `{start}`: {text}"));
    format!("{}{}", start, line.1)
}

#[test]
fn names_that_a_shell_would_split_are_quoted() {
    let sandbox = Sandbox::new();
    sandbox.write("my in", "1");
    let out = sandbox.run(&["stage", "add", "-n", "my stage", "-d", "my in", "-o", "my out", "false"]);
    assert_eq!(typed(&out.stderr, "lockstep repro"), "lockstep repro 'my stage'", "{out}");
    let out = sandbox.run(&["repro", "my stage"]);
    assert_eq!(typed(&out.stderr, "lockstep logs"), "lockstep logs 'my stage'", "{out}");
    let out = sandbox.run(&["add", "my out"]);
    assert_eq!(out.code, 3, "{out}");
    sandbox.write("sub/m ä", "1");
    let out = sandbox.run(&["add", "sub/m ä"]);
    assert_eq!(typed(&out.stderr, "git add"), "git add pipeline.lock pipeline.yaml sub/.gitignore", "{out}");
    let out = sandbox.run(&["add", "sub"]);
    assert_eq!(typed(&out.stderr, "lockstep stage remove"), "lockstep stage remove 'sub/m ä'", "{out}");
    sandbox.write("it's/a file", "1");
    sandbox.git(&["add", "it's"]);
    let out = sandbox.run(&["add", "it's/a file"]);
    let line = typed(&out.stderr, "git rm");
    assert_eq!(line, r"git rm -r --cached 'it'\''s/a file'", "{out}");
    // What is hinted does what it says.
    let done = sandbox.command("sh".as_ref(), "").args(["-c", &line]).status().unwrap();
    assert!(done.success() && sandbox.run(&["add", "it's/a file"]).code == 0);
    let out = sandbox.run_in("it's", &["add", "a file"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn hints_about_another_repository_name_it() {
    let source = Sandbox::new();
    source.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo 1 > 'my out'\n    outs: [my out]\n");
    assert_eq!(source.run(&["repro", "-q"]).code, 0);
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "1"]);
    let sandbox = Sandbox::new();
    let there = source.root().to_str().unwrap();
    for verb in ["get", "import"] {
        let out = sandbox.run(&[verb, there, "nope"]);
        let hint = typed(&out.stderr, "lockstep list");
        assert!(out.code == 3 && hint.starts_with(&format!("lockstep list {there} --rev ")), "{out}");
        let words: Vec<&str> = hint.split(' ').skip(1).collect();
        assert_eq!(sandbox.run(&words).stdout, ".gitignore\nmy out\npipeline.lock\npipeline.yaml\n", "{hint}");
    }
    source.remove(".git/lockstep/store");
    let out = sandbox.run(&["get", there, "my out"]);
    assert!(out.code == 3 && out.stderr.contains("that clone has no remote"), "nothing to fetch from: {out}");
    // A remote that was asked, and has nothing, is not to be asked again.
    assert_eq!(source.run(&["remote", "add", "-d", "r", "../remote"]).code, 0);
    std::fs::create_dir(source.path("../remote")).unwrap();
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "a remote"]);
    let out = source.run(&["get", "my out", "-o", "got"]);
    insta::assert_snapshot!(source.shown(&out), @r"
    exit 4
    --- stderr
    error: the remote r (../remote) is not a lockstep remote
      because: it has no file lockstep-remote: nothing was pushed there yet, or the URL is wrong
      hint: does the URL lead to the right place?
      hint: if it does, push from where the data is: lockstep push -r r
    ");
}

#[test]
fn a_broken_file_is_named_from_every_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  s: {cmd: echo > a, outs: [a], outz: [b]}\n");
    sandbox.write("s/pipeline.yaml", "stages:\n  t: {cmd: echo > b, outs: [b]}\n");
    for (folder, target) in [("", "a"), ("s", "../a"), ("s", "../pipeline.yaml:s")] {
        let out = sandbox.run_in(folder, &["repro", target]);
        assert!(out.code == 2 && out.stderr.contains("unknown key `outz`"), "{folder} {target}: {out}");
    }
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in("s", &["repro", "tt"])), @r"
    exit 3
    --- stderr
    error: `tt` is neither a stage nor an output
      because: ../pipeline.yaml cannot be read
      hint: did you mean `t`?
    ");
    assert_eq!(sandbox.run_in("s", &["repro", "b"]).code, 0);
}

#[test]
fn what_git_never_ignored_is_not_told_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo > a; echo > b\n    outs: [a: {cache: false}, b]\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["remove", "s"])), @r"
    exit 0
    --- stderr
    removed stage s
    still here: a
    still here, and no longer ignored by Git: b
    ");
}
