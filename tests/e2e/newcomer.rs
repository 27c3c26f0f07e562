//! The first steps of a user: reasons that name the change, what to commit, and what a clone would lack.

use insta::assert_snapshot;

use crate::sandbox::Sandbox;

const PIPELINE: &str = "\
stages:
  train:
    cmd: cat data/raw.csv > model.txt
    deps: [data/raw.csv, src]
    params: [train]
    outs: [model.txt]
";
const PARAMS: &str = "train: {epochs: 50, opt: {lr: 0.1, name: adam}, layers: [1, 2, 3]}\n";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("params.yaml", PARAMS);
    sandbox.write("data/raw.csv", "1,2\n");
    sandbox.write("src/train.py", "print(1)\n");
    sandbox
}

fn committed() -> Sandbox {
    let sandbox = project();
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox);
    sandbox
}

fn commit(sandbox: &Sandbox) {
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
}

/// The lines of a command's messages that begin with one of these words.
fn lines(stderr: &str, starts: &[&str]) -> String {
    let meant = stderr.lines().filter(|line| starts.iter().any(|start| line.trim_start().starts_with(start)));
    meant.map(|line| format!("{line}\n")).collect()
}

const STEPS: &[&str] = &["next:", "and ", "warning:", "hint:"];

#[test]
fn a_group_of_params_names_its_changed_leaves() {
    let sandbox = committed();
    sandbox.write(
        "params.yaml",
        "train: {epochs: 80, layers: [1, 2, 4], opt: {lr: 0.1, name: sgd}, seed: 7, a: {b: 1, c: 2}}\n",
    );
    let want = "param params.yaml:train.epochs 50 → 80, train.layers [1,2,3] → [1,2,4], train.opt.name \"adam\" → \
                \"sgd\", train.seed none → 7, and 2 more keys";
    for command in [&["status"][..], &["repro", "--dry"], &["status", "-v"]] {
        let out = sandbox.run(command);
        assert!(out.stdout.contains(want), "{out}");
    }
    let json = sandbox.run(&["status", "--json"]).stdout;
    assert!(json.contains("\"epochs\": 50") && json.contains("\"epochs\": 80"), "the whole values: {json}");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("running train (param params.yaml:train.epochs 50 → 80, "), "{out}");
    sandbox.write("params.yaml", "train: {epochs: 80}\n");
    let out = sandbox.run(&["status"]).stdout;
    assert!(out.contains("train.layers [1,2,4] → none") && !out.contains("epochs"), "{out}");
}

#[test]
fn the_next_step_names_the_inputs_that_git_lacks() {
    let sandbox = project();
    let first = sandbox.run(&["repro"]).stderr;
    assert_eq!(
        lines(&first, STEPS),
        "next: git add .gitignore data/raw.csv params.yaml pipeline.lock pipeline.yaml src\n"
    );
    commit(&sandbox);
    assert_eq!(lines(&sandbox.run(&["repro"]).stderr, STEPS), "");
    assert_eq!(lines(&sandbox.run(&["repro", "--force"]).stderr, STEPS), "", "the lock is the same");
    sandbox.write("params.yaml", PARAMS.replace("50", "60"));
    sandbox.write("src/new.py", "1");
    sandbox.write("unrelated", "1");
    assert_eq!(lines(&sandbox.run(&["repro"]).stderr, STEPS), "next: git add params.yaml pipeline.lock src/new.py\n");
    // What is staged as it is needs no second `git add`.
    sandbox.write("params.yaml", PARAMS.replace("50", "70"));
    sandbox.git(&["add", "params.yaml", "src"]);
    assert_eq!(lines(&sandbox.run(&["repro"]).stderr, STEPS), "next: git add pipeline.lock\n");
    // A commit of exactly the named files is up to date in a clone.
    sandbox.git(&["add", "pipeline.lock"]);
    sandbox.git(&["commit", "-qm", "y"]);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let status = sandbox.run_in("../clone", &["status"]);
    assert!(status.stderr.contains("0 stages stale, 1 not here, 0 up to date"), "{status}");
}

#[test]
fn commit_names_the_inputs_too() {
    let sandbox = committed();
    sandbox.write("params.yaml", PARAMS.replace("50", "60"));
    sandbox.write("model.txt", "by hand");
    let out = sandbox.run(&["commit", "-f"]);
    assert_eq!(lines(&out.stderr, STEPS), "next: git add params.yaml pipeline.lock\n");
    // Nothing differs from Git's index, so there is nothing to add.
    commit(&sandbox);
    assert_eq!(lines(&sandbox.run(&["commit", "-f"]).stderr, STEPS), "");
}

#[test]
fn many_inputs_are_summed_up() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (10..30).map(|n| format!("in{n}")).collect();
    sandbox.write("pipeline.yaml", format!("stages: {{s: {{cmd: cat in* > o, deps: {names:?}, outs: [o]}}}}\n"));
    names.iter().for_each(|name| sandbox.write(name, "1"));
    let out = sandbox.run(&["repro"]);
    assert_eq!(
        lines(&out.stderr, STEPS),
        "next: git add pipeline.lock .gitignore pipeline.yaml in10 in11 in12 in13 in14\n\
         and 15 more paths to add: git status\n"
    );
    commit(&sandbox);
    names.iter().for_each(|name| sandbox.write(name, "2"));
    sandbox.write("unrelated", "1");
    assert_eq!(
        lines(&sandbox.run(&["repro"]).stderr, STEPS),
        "next: git add pipeline.lock in10 in11 in12 in13 in14 in15 in16\n\
         and 13 more paths to add: git status\n"
    );
}

#[test]
fn an_input_that_nothing_keeps_is_a_warning() {
    let sandbox = project();
    sandbox.write(".gitignore", "/data/\n*.log\n__pycache__/\n");
    sandbox.write("src/x.log", "1");
    sandbox.write("src/__pycache__/train.pyc", "1");
    let out = sandbox.run(&["repro"]);
    assert_snapshot!(lines(&out.stderr, STEPS), @r"
    warning: data/raw.csv is kept by neither Git nor lockstep: a clone cannot reproduce train
    hint: if it is one: lockstep add data/raw.csv, or git add -f data/raw.csv
    warning: src/x.log is kept by neither Git nor lockstep: a clone cannot reproduce train
    hint: if it is not an input: add a line for it to .lockstepignore
    hint: if it is one: lockstep add src/x.log, or git add -f src/x.log
    next: git add .gitignore params.yaml pipeline.lock pipeline.yaml src
    ");
    assert_eq!(lines(&sandbox.run(&["repro"]).stderr, STEPS), "", "only after a run");
    assert_eq!(sandbox.run(&["add", "data/raw.csv", "src/x.log"]).code, 0);
    let out = sandbox.run(&["repro", "--force"]);
    assert!(!out.stderr.contains("warning:"), "lockstep keeps it: {out}");
}

#[test]
fn outputs_in_a_folder_that_a_stage_reads_have_their_own_entry() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a: {cmd: echo 1 > d/out, deps: [x], outs: [d/out]}\n  b: {cmd: ls d > o, deps: [d], outs: [o]}\n",
    );
    sandbox.write("x", "1");
    sandbox.write("d/in", "1");
    let out = sandbox.run(&["repro"]);
    assert_eq!(lines(&out.stderr, STEPS), "next: git add .gitignore d/.gitignore d/in pipeline.lock pipeline.yaml x\n");
}

#[test]
fn a_dep_that_does_not_exist_is_not_new() {
    let sandbox = committed();
    sandbox.write("pipeline.yaml", PIPELINE.replace("deps: [data/raw.csv", "deps: [data/rwa.csv"));
    assert_snapshot!(sandbox.shown(&sandbox.run(&["status"])), @r"
    exit 0
    --- stdout
    train
      dep data/rwa.csv does not exist
      deps changed: data/raw.csv removed
    --- stderr
    hint: did you mean `data/raw.csv`?
    1 stage stale, 0 up to date
    ");
    for command in [&["repro"][..], &["repro", "--dry"], &["commit", "-f"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 3, "{out}");
        assert!(
            out.stderr
                .contains("train needs data/rwa.csv, which does not exist\n  hint: did you mean `data/raw.csv`?\n"),
            "{out}"
        );
    }
    // An output elsewhere has the name.
    let other = "  other: {cmd: echo > out/table.csv, outs: [out/table.csv]}\n";
    sandbox.write("pipeline.yaml", PIPELINE.replace("data/raw.csv, src", "table.csv, src") + other);
    let out = sandbox.run(&["status"]);
    assert!(out.stderr.contains("did you mean `out/table.csv`?"), "{out}");
    sandbox.write("pipeline.yaml", PIPELINE.replace("params: [train]", "params: [{param.yaml: [train]}]"));
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("did you mean `params.yaml`?"), "{out}");
}

#[test]
fn a_clone_without_a_remote_is_not_sent_to_one() {
    let sandbox = committed();
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let in_clone = |args: &[&str]| sandbox.run_in("../clone", args);
    let status = in_clone(&["status"]);
    assert_snapshot!(sandbox.shown(&status), @r"
    exit 0
    --- stdout
    train
      output model.txt is missing, also from the store
    --- stderr
    0 stages stale, 1 not here, 0 up to date
    1 out not here, 4 B: lockstep repro makes them again
    ");
    for command in [
        &["repro", "--locked"][..],
        &["checkout"],
        &["get", ".", "model.txt", "-o", "m"],
        &["get", ".", "model.txt", "-o", "m", "--rev", "HEAD"],
    ] {
        let out = in_clone(command);
        assert!(
            out.code != 0 && !out.stderr.contains("lockstep pull") && !out.stderr.contains("lockstep fetch"),
            "{out}"
        );
    }
    assert_eq!(in_clone(&["remote", "add", "-d", "lab", "/nowhere"]).code, 0);
    assert!(in_clone(&["status"]).stderr.contains("lockstep pull, if they were pushed"));
    // What is in the store is only a checkout away.
    sandbox.remove("model.txt");
    assert_snapshot!(sandbox.run(&["status"]).stderr, @r"
    0 stages stale, 1 not here, 0 up to date
    1 path not checked out, 4 B: lockstep checkout
    ");
    assert_eq!((sandbox.run(&["status"]).code, sandbox.run(&["-q", "status"]).code), (0, 1));
    assert_eq!(sandbox.run(&["-q", "status", "--json"]).code, 1);
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    assert_eq!(sandbox.run(&["-q", "status"]).code, 0);
}

#[test]
fn data_of_a_clone_without_a_remote() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["add", "data/raw.csv"]).code, 0);
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let status = sandbox.run_in("../clone", &["status"]);
    assert!(status.stderr.contains("1 data path not here, 4 B: there is no remote, so put copies back"), "{status}");
    sandbox.remove("data/raw.csv");
    let status = sandbox.run(&["status"]);
    assert!(status.stderr.contains("hint: bring it back: lockstep checkout data/raw.csv\n"), "{status}");
    assert!(status.stderr.ends_with("1 path not checked out, 4 B: lockstep checkout\n"), "{status}");
}

#[test]
fn gc_says_what_is_too_young() {
    let sandbox = committed();
    for text in ["3,4\n", "5,6\n"] {
        sandbox.write("data/raw.csv", text);
        assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    }
    assert_snapshot!(sandbox.run(&["store", "gc", "-w"]).stderr, @r"
    nothing to remove
    1 result of the run cache, with 1 object (4 B), is younger than 24h: kept (--min-age)
    ");
    let json = sandbox.run(&["store", "gc", "-w", "--dry", "--json"]).stdout;
    assert!(json.contains("\"young_results\""), "{json}");
    // The sum of `--dry` is that of the removal.
    let free = |text: &str| {
        text.lines().find_map(|line| line.split(": ").nth(1).filter(|_| line.contains(" free"))).map(str::to_string)
    };
    let dry = sandbox.run(&["store", "gc", "-w", "--min-age", "0", "--dry"]).stdout;
    let done = sandbox.run(&["store", "gc", "-w", "--min-age", "0", "--force"]).stderr;
    assert!(free(&dry).is_some() && free(&dry) == free(&done), "{dry}{done}");
}

#[test]
fn a_plot_of_a_column_that_the_stage_did_not_write() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "\
stages:
  s:
    cmd: cp table.csv l.csv; cp table.csv fine.csv; cp rows.json r.json; cp table.csv d.tsv
    deps: [table.csv, rows.json]
    plots: [l.csv: {x: step, y: los}, fine.csv: {x: step, y: loss}, r.json: {y: b}, d.tsv]
plots:
- both:
    x: step
    y: {fine.csv: [loss, acc]}
",
    );
    sandbox.write("table.csv", "step,loss\n1,2\n");
    sandbox.write("rows.json", "[{\"a\": 1}]");
    let out = sandbox.run(&["repro"]);
    assert_snapshot!(lines(&out.stderr, &["warning:", "hint:"]), @r"
    warning: plot `both`: fine.csv has no column `acc`
    hint: its columns are: step, loss
    warning: plot `l.csv`: l.csv has no column `los`
    hint: its columns are: step, loss
    warning: plot `r.json`: r.json has no column `b`
    hint: its columns are: a
    ");
    assert!(!sandbox.run(&["repro"]).stderr.contains("warning:"));
    let shown = sandbox.run(&["plots", "show", "--text"]);
    assert!(shown.stderr.contains("l.csv has no column `los`"), "{shown}");
}

#[test]
fn a_verb_of_dvc_says_what_to_type() {
    let sandbox = Sandbox::new();
    for (args, want) in [
        (&["exp", "run"][..], "an experiment is a branch"),
        (&["run", "-n", "x", "cmd"], "lockstep stage add -n NAME"),
        (&["import-url", "https://x/y"], "lockstep add FILE"),
        (&["remote", "modfy"], "did you mean `modify`?"),
        (&["stauts"], "did you mean `status`"),
        (&["xyzzy"], "see all commands: lockstep help"),
    ] {
        let out = sandbox.run(args);
        assert_eq!((out.code, out.stdout.as_str()), (2, ""), "{out}");
        assert!(out.stderr.starts_with("error: lockstep has no command `") && out.stderr.contains(want), "{out}");
        assert_eq!(out.stderr.lines().count(), 2, "{out}");
    }
}

/// A chain of stages is not stale because all its outputs are elsewhere.
#[test]
fn a_clone_of_a_chain_of_stages_is_not_stale() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a: {cmd: echo 1 > a.txt, outs: [a.txt]}\n  b: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}\n  \
         c: {cmd: cp b.txt c.txt, deps: [b.txt], outs: [c.txt]}\n",
    );
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let status = sandbox.run_in("../clone", &["status"]);
    assert!(status.stderr.contains("0 stages stale, 3 not here, 0 up to date"), "{status}");
}

/// What is offered to be typed is neither an option nor a pattern, and large files are not offered to Git.
#[test]
fn odd_and_large_inputs_can_be_added_as_hinted() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {s: {cmd: echo > o, deps: [./-d, ':x', big], outs: [o]}}\n");
    ["-d", ":x"].iter().for_each(|name| sandbox.write(name, "1"));
    sandbox.write("big", "1".repeat(11_000_000));
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("hint: big is large (11.0 MB); to keep it out of Git: lockstep add big\n"), "{out}");
    let line = out.stderr.lines().find_map(|line| line.strip_prefix("next: ")).unwrap().to_string();
    assert_eq!(line, "git add ./-d .gitignore ./:x pipeline.lock pipeline.yaml");
    assert!(sandbox.command("sh".as_ref(), "").args(["-c", &line]).status().unwrap().success());
}

#[test]
fn a_file_of_secrets_is_not_offered_to_git() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {s: {cmd: cat .env > o, deps: [.env], outs: [o]}}\n");
    sandbox.write(".gitignore", ".env\n");
    sandbox.write(".env", "TOKEN=1");
    let out = sandbox.run(&["repro"]);
    assert!(out.stderr.contains("warning: .env is kept by neither Git nor lockstep"), "{out}");
    assert!(!out.stderr.contains("git add -f") && !out.stderr.contains("lockstep add"), "{out}");
}
