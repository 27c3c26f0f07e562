//! Lines that hints say to type hold words of files as words, whatever stands in them.

use std::process::Command;

use crate::sandbox::Sandbox;

#[test]
fn a_hint_that_is_typed_runs_nothing_of_a_file() {
    let s = Sandbox::new();
    for url in ["ext::$(touch PWNED)", "x$(touch PWNED)::y", "ext::`touch PWNED`", "ext::';touch PWNED;'"] {
        let url = url.replace('\'', "''");
        s.write(
            "pipeline.yaml",
            format!(
                "data: [{{path: d, import: {{url: '{url}', path: f, rev: HEAD, commit: '{}'}}}}]\n",
                "0".repeat(40)
            ),
        );
        try_hints(&s, &["update"]);
    }
    s.write("pipeline.yaml", "stages: {a: {cmd: 'true', wdir: 'x$(touch PWNED)'}}\n");
    try_hints(&s, &["repro"]);
}

/// Types what the hints say after the last colon and a blank, but with programs that do nothing.
fn try_hints(s: &Sandbox, args: &[&str]) {
    let out = s.run(args);
    let hints: Vec<&str> = out.stderr.lines().filter_map(|line| line.trim().strip_prefix("hint: ")).collect();
    assert!(out.code != 0, "{out}");
    for hint in hints {
        let start = ["git ", "mkdir ", "lockstep "].iter().filter_map(|word| hint.find(word)).min();
        let Some(line) = start.map(|start| &hint[start..]) else { continue };
        let functions = "git() { :; }; mkdir() { :; }; lockstep() { :; }; ";
        let _ = Command::new("bash").current_dir(s.path("")).args(["-c", &format!("{functions}{line}")]).output();
        assert!(!s.exists("PWNED"), "{hint}");
    }
}

#[test]
fn the_page_of_plots_is_not_written_through_a_link() {
    let s = Sandbox::new();
    std::fs::create_dir(s.path("../site")).unwrap();
    s.write("pipeline.yaml", "stages: {a: {cmd: 'echo x,y > p.csv; echo 1,2 >> p.csv', plots: [p.csv]}}\n");
    assert_eq!(s.run(&["repro", "-q"]).code, 0);
    for target in ["../site", "../site/page.html", "../none"] {
        std::os::unix::fs::symlink(target, s.path("plots.html")).unwrap();
        let out = s.run(&["plots", "show"]);
        assert!(out.code == 2 && out.stderr.contains("symlink"), "{out}");
        assert_eq!(std::fs::read_dir(s.path("../site")).unwrap().count(), 0);
        s.remove("plots.html");
    }
    assert_eq!(s.run(&["plots", "show"]).code, 0);
    // What the user names is the user's word.
    assert_eq!(s.run(&["plots", "show", "-o", "../site/"]).code, 0);
}

#[test]
fn no_stage_is_called_as_a_folder() {
    let s = Sandbox::new();
    for name in [".", ".."] {
        s.write("pipeline.yaml", format!("stages: {{'{name}': {{cmd: 'true'}}}}\n"));
        let out = s.run(&["repro"]);
        assert!(out.code == 2 && format!("{out}").contains("that of a folder"), "{out}");
    }
}
