//! One file has one path: symlinks inside of the repository hide no edge, and give no output a second name.

use std::os::unix::fs::symlink;

use crate::sandbox::Sandbox;

fn stages(dep: &str) -> String {
    format!(
        "stages:\n  b:\n    cmd: cat {dep} > out\n    deps: [{dep}]\n    outs: [out]\n  a:\n    cmd: cp in real/o\n    deps: [in]\n    outs: [real/o]\n"
    )
}

#[test]
fn a_dep_behind_a_link_is_the_output_that_it_really_is() {
    for (dep, link, to) in
        [("lnk/o", "lnk", "real"), ("current", "current", "real/o"), ("two/o", "two", "lnk"), ("up/real/o", "up", ".")]
    {
        let s = Sandbox::new();
        std::fs::create_dir(s.path("real")).unwrap();
        symlink("real", s.path("lnk")).ok();
        let _ = symlink(to, s.path(link));
        s.write("in", "1");
        s.write("pipeline.yaml", stages(dep));
        // The first run makes it, whatever stands first in the file.
        let out = s.run(&["repro"]);
        assert_eq!((out.code, s.read("out").as_str()), (0, "1"), "{dep}: {out}");
        assert!(s.read("pipeline.lock").contains(&format!("{dep}:")), "the lock keeps the spelling");
        s.write("in", "2");
        let status = s.run(&["status", "-p", "b"]);
        assert!(status.stdout.contains("\na\n") || status.stdout.starts_with("a\n"), "{dep}: {status}");
        let out = s.run(&["repro", "b"]);
        assert_eq!((out.code, s.read("out").as_str()), (0, "2"), "{dep}: {out}");
        assert_eq!(s.run(&["-q", "status"]).code, 0);
        let dag = s.run(&["dag", "--mermaid"]);
        assert!(dag.stdout.contains("-->"), "{dep}: {dag}");
    }
}

#[test]
fn a_link_that_appears_or_goes_counts_at_once() {
    let s = Sandbox::new();
    std::fs::create_dir(s.path("real")).unwrap();
    s.write("in", "1");
    s.write("lnk/o", "mine");
    s.write("pipeline.yaml", stages("lnk/o"));
    assert_eq!(s.run(&["repro"]).code, 0);
    assert_eq!(s.read("out"), "mine");
    // No pipeline file changed, so the compiled form still counts.
    s.remove("lnk");
    symlink("real", s.path("lnk")).unwrap();
    s.write("in", "2");
    let out = s.run(&["repro", "b"]);
    assert_eq!((out.code, s.read("out").as_str()), (0, "2"), "{out}");
    std::fs::remove_file(s.path("lnk")).unwrap();
    s.write("lnk/o", "mine");
    s.write("in", "3");
    let out = s.run(&["repro", "b"]);
    assert_eq!((out.code, s.read("out").as_str(), s.read("real/o").as_str()), (0, "mine", "2"), "{out}");
}

#[test]
fn what_is_written_behind_a_link_is_refused() {
    for (stage, place) in [
        ("{cmd: x, outs: [lnk/o]}", "`outs`: `lnk/o` lies behind the symlink `lnk`"),
        ("{cmd: x, metrics: [lnk/o]}", "`metrics`: `lnk/o` lies behind the symlink `lnk`"),
        ("{cmd: x, scratch: [lnk/o]}", "`scratch`: `lnk/o` lies behind the symlink `lnk`"),
        ("{cmd: x, wdir: lnk}", "`wdir`: `lnk` is a symlink"),
        ("{cmd: x, wdir: lnk/sub}", "`wdir`: `lnk/sub` lies behind the symlink `lnk`"),
    ] {
        let s = Sandbox::new();
        s.write("real/sub/x", "");
        symlink("real", s.path("lnk")).unwrap();
        s.write("pipeline.yaml", format!("stages: {{a: {stage}}}\n"));
        for command in [&["status"][..], &["repro"], &["dag"]] {
            let out = s.run(command);
            assert!(out.code == 2 && out.stderr.contains(place), "{stage} {command:?}: {out}");
            assert!(out.stderr.contains("hint: write where it really is: `real"), "{out}");
        }
    }
    let s = Sandbox::new();
    s.write("real/d", "x");
    symlink("real", s.path("lnk")).unwrap();
    let out = s.run(&["add", "lnk/d"]);
    assert!(out.code == 2 && out.stderr.contains("its folder lnk is a symlink to real"), "{out}");
    assert!(!s.exists("pipeline.yaml"));
    s.write("pipeline.yaml", "data: [{path: lnk/d}]\n");
    let out = s.run(&["status"]);
    assert!(out.code == 2 && out.stderr.contains("`data`: `lnk/d` lies behind the symlink `lnk`"), "{out}");
}

/// The system goes up from where the link leads, and a spelling from where the link is.
#[test]
fn a_step_back_from_a_link_is_refused_with_the_right_path() {
    for (text, place) in [
        ("stages: {a: {cmd: cat lnk/../x, deps: [lnk/../x]}}", "stage `a`, `deps`: `lnk/../x`"),
        ("stages: {a: {cmd: cat lnk/../x, deps: [./lnk/.././x]}}", "stage `a`, `deps`: `./lnk/.././x`"),
        ("stages: {a: {cmd: x, params: [lnk/../x: [k]]}}", "`params`: `lnk/../x`"),
        ("stages: {a: {cmd: x, outs: [lnk/../x]}}", "stage `a`, `outs`: `lnk/../x`"),
        ("stages: {a: {cmd: x, metrics: [lnk/../x: {cache: false}]}}", "stage `a`, `metrics`: `lnk/../x`"),
        ("stages: {a: {cmd: x, scratch: [lnk/../x]}}", "stage `a`, `scratch`: `lnk/../x`"),
        ("stages: {a: {cmd: x, wdir: lnk/../x}}", "stage `a`, `wdir`: `lnk/../x`"),
        ("stages: {a: {cmd: x, vars: [lnk/../x]}}", "stage `a`, `vars`: `lnk/../x`"),
        ("vars: [lnk/../x]\nstages: {a: {cmd: x}}", "`vars`: `lnk/../x`"),
        ("data: [{path: lnk/../x}]", "`data`: `lnk/../x`"),
        ("stages: {a: {foreach: [lnk], do: {cmd: x, deps: ['${item}/../x']}}}", "stage `a@lnk`, `deps`: `lnk/../x`"),
        ("metrics: [lnk/../x]", "`metrics`: `lnk/../x`"),
        ("params: [lnk/../x]", "`params`: `lnk/../x`"),
        ("plots: [lnk/../x]", "`plots`: `lnk/../x`"),
        ("plots: [lnk/../x: {x: a}]", "`plots`: `lnk/../x`"),
        ("artifacts: {m: {path: lnk/../x}}", "artifact `m`: `lnk/../x`"),
    ] {
        let s = Sandbox::new();
        s.write("real/deep/y", "");
        s.write("real/x", "a: right\n");
        s.write("x", "a: wrong\n");
        symlink("real/deep", s.path("lnk")).unwrap();
        s.write("pipeline.yaml", format!("{text}\n"));
        for command in [&["status"][..], &["repro"]] {
            let out = s.run(command);
            assert!(out.code == 2 && out.stderr.contains(place), "{text} {command:?}: {out}");
            assert!(out.stderr.contains("hint: write where it really is: `real/x`"), "{text}: {out}");
        }
        assert_eq!(s.read("x"), "a: wrong\n");
        // Where it is no link both ways are one, and a change of the link is seen.
        std::fs::remove_file(s.path("lnk")).unwrap();
        std::fs::create_dir(s.path("lnk")).unwrap();
        let out = s.run(&["status"]);
        assert!(!out.stderr.contains("leaves a symlinked folder"), "{text}: {out}");
    }
}

#[test]
fn a_word_that_steps_back_from_a_link_is_the_file_that_the_system_opens() {
    let s = Sandbox::new();
    s.write("real/deep/y", "");
    s.write("in", "1");
    symlink("real/deep", s.path("lnk")).unwrap();
    s.write("pipeline.yaml", stages("real/o"));
    let out = s.run(&["repro", "lnk/../o"]);
    assert_eq!((out.code, s.read("real/o").as_str()), (0, "1"), "{out}");
    s.write("real/d", "right");
    s.write("d", "wrong");
    assert_eq!(s.run(&["add", "lnk/../d"]).code, 0);
    assert!(s.read("pipeline.yaml").contains("path: real/d"), "{}", s.read("pipeline.yaml"));
    let absolute = format!("{}/lnk/../o", s.root().display());
    assert_eq!(s.run(&["status", &absolute]).code, 0);
}

#[test]
fn a_target_may_be_named_through_a_link() {
    let s = Sandbox::new();
    std::fs::create_dir(s.path("real")).unwrap();
    symlink("real", s.path("lnk")).unwrap();
    s.write("in", "1");
    s.write("pipeline.yaml", stages("real/o"));
    let out = s.run(&["repro", "lnk/o"]);
    assert_eq!((out.code, s.read("real/o").as_str()), (0, "1"), "{out}");
    assert!(!s.exists("out"));
}

/// A stage makes the link: what reads it needs that stage.
#[test]
fn a_link_that_is_an_output_belongs_to_its_stage() {
    let s = Sandbox::new();
    s.write("v1/f", "1");
    s.write(
        "pipeline.yaml",
        "stages:\n  b: {cmd: cat latest/f > out, deps: [latest/f], outs: [out]}\n  a: {cmd: ln -s v1 latest, outs: [latest]}\n",
    );
    for _ in 0..2 {
        let out = s.run(&["repro"]);
        assert_eq!((out.code, s.read("out").as_str()), (0, "1"), "{out}");
        let listed = s.run(&["dag", "--mermaid"]);
        assert!(listed.stdout.contains("-->"), "{listed}");
    }
}
