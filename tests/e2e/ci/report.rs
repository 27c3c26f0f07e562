//! `ci report` and `ci key`.

use std::fs;

use crate::ci::{commit, named, repository, with};
use crate::sandbox::Sandbox;

#[test]
fn a_report_tells_what_ran_and_what_changed() {
    let sandbox = repository();
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.25\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "faster");
    let out = sandbox.run(&["ci", "report", "--base", "main"]);
    assert_eq!(out.code, 0, "{out}");
    insta::assert_snapshot!(named(&sandbox, &out.stdout, &["main", "topic"]), @r"
    ### lockstep: 2 ran, 1 up to date

    |  | stage | why | time |
    | --- | --- | --- | --- |
    | ran | `train` | `param params.yaml:lr 0.1 → 0.25` | [TIME] |
    | ran | `eval` | `dep model changed` | [TIME] |

    **Metrics**

    | file | metric | old | new | change |
    | --- | --- | --- | --- | --- |
    | `metrics.json` | `accuracy` | `0.1` | `0.25` | +0.15, better |

    **Params**

    | file | param | old | new |
    | --- | --- | --- | --- |
    | `params.yaml` | `lr` | `0.1` | `0.25` |

    <sub>[TIME] in all · commit `[topic]` · compared with `main` (`[main]`)</sub>
    ");
    // What comes to main later is no change of this branch.
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.write("params.yaml", "lr: 0.5\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "main goes on");
    sandbox.git(&["checkout", "-q", "topic"]);
    assert_eq!(sandbox.run(&["checkout", "-q"]).code, 0);
    let out = with(
        &sandbox,
        &[("GITLAB_CI", "true"), ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")],
        &["ci", "report", "--json"],
    );
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!((&json["params"][0]["old"], &json["params"][0]["new"]), (&0.1.into(), &0.25.into()));
    assert_eq!((&json["metrics"][0]["key"], &json["metrics"][0]["better"]), (&"accuracy".into(), &true.into()));
}

#[test]
fn without_a_run_or_a_base_there_is_a_report_too() {
    let sandbox = repository();
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let clone = |args: &[&str]| {
        let env = [("GITHUB_ACTIONS", "true"), ("GITHUB_BASE_REF", "gone")];
        let clone = sandbox.root().parent().unwrap().join("clone");
        crate::sandbox::output(sandbox.lockstep("").args(args).envs(env).current_dir(clone))
    };
    let out = clone(&["ci", "report"]);
    insta::assert_snapshot!(named(&sandbox, &out.to_string(), &["main"]), @r"
    exit 0
    --- stdout
    ### lockstep: no run here

    <sub>commit `[main]` · not compared with `origin/gone`, which this clone does not have</sub>
    --- stderr
    warning: not compared with origin/gone, which this clone does not have (fetch it; GitHub: fetch-depth: 0)
    ");
    let out = clone(&["ci", "report", "--base", "gone"]);
    assert!(out.code == 3 && out.stderr.contains("gone"), "{out}");
}

#[test]
fn on_github_failures_and_stale_stages_become_annotations_and_the_page_shows_the_report() {
    let sandbox = repository();
    let page = sandbox.root().parent().unwrap().join("page.md");
    let env = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", page.to_str().unwrap())];
    sandbox.write("params.yaml", "lr: bad\n");
    let out = with(&sandbox, &env, &["repro", "--locked"]);
    assert!(out.code == 1 && out.stderr.contains("stale train: param params.yaml:lr 0.1 → \"bad\""), "{out}");
    insta::assert_snapshot!(with(&sandbox, &env, &["ci", "report"]).stderr, @r#"::error file=pipeline.yaml,line=6,title=train is stale::param params.yaml:lr 0.1 → "bad""#);
    assert_eq!(with(&sandbox, &env, &["repro"]).code, 6);
    insta::assert_snapshot!(with(&sandbox, &env, &["ci", "report"]).stderr, @r"::error file=pipeline.yaml,line=6,title=train failed::stage train failed with exit code 3");
    let page = named(&sandbox, &fs::read_to_string(&page).unwrap(), &["main"]);
    insta::assert_snapshot!(page, @r#"
    ### lockstep: 1 stale, 2 up to date

    |  | stage | why | time |
    | --- | --- | --- | --- |
    | stale | `train` | `param params.yaml:lr 0.1 → "bad"` |  |

    <sub>[TIME] in all · commit `[main]`</sub>
    ### lockstep: 1 failed, 1 not run, 1 up to date

    |  | stage | why | time |
    | --- | --- | --- | --- |
    | failed | `train` | `param params.yaml:lr 0.1 → "bad"` | [TIME] |
    | not run | `eval` |  |  |

    `train`: `stage train failed with exit code 3`

    <sub>[TIME] in all · commit `[main]`</sub>
    "#);
}

#[test]
fn an_outcome_is_the_last_runs_own() {
    let sandbox = repository();
    let report =
        || serde_json::from_str::<serde_json::Value>(&sandbox.run(&["ci", "report", "--json"]).stdout).unwrap();
    assert_eq!(report()["run"]["counts"]["ran"], 3);
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(
        (&report()["run"]["counts"]["up_to_date"], report()["run"]["stages"].as_array().unwrap().len()),
        (&3.into(), 0)
    );
    assert_eq!(sandbox.run(&["repro", "--dry", "-q"]).code, 0);
    assert_eq!(report()["run"]["exit"], 0);
    // One that could not begin has none.
    sandbox.write("pipeline.yaml", "stages: [");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 2);
    assert_eq!(report()["run"], serde_json::Value::Null);
}

#[test]
fn the_key_is_what_the_stages_read() {
    let sandbox = repository();
    let key = |sandbox: &crate::ci::Sandbox| {
        let out = sandbox.run(&["ci", "key"]);
        assert_eq!(out.code, 0, "{out}");
        out.stdout
    };
    let first = key(&sandbox);
    insta::assert_snapshot!(sandbox.filter(&first.replace(&first[15..47], "[KEY]")), @r"
    key=lockstep-1-[KEY]
    prefix=lockstep-1-
    path=[ROOT]/.git/lockstep/store
    ");
    let first = first.lines().next().unwrap().to_string();
    let now = || key(&sandbox).lines().next().unwrap().to_string();
    // Neither what is not read nor what is made counts, nor whether it was run.
    sandbox.write("README.md", "words\n");
    for path in ["clean", "model", "pipeline.lock"] {
        sandbox.remove(path);
    }
    assert_eq!(now(), first);
    sandbox.write("params.yaml", "lr: 0.3\n");
    let changed = now();
    assert_ne!(changed, first);
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(now(), changed);
    sandbox.write("raw", "other\n");
    assert_ne!(now(), changed);
    sandbox.remove("raw");
    assert_ne!(now(), changed);
    let json: serde_json::Value = serde_json::from_str(&sandbox.run(&["ci", "key", "--json"]).stdout).unwrap();
    let key = json["key"].as_str().unwrap();
    assert_eq!(
        (format!("key={key}"), &json["restore_keys"]),
        (now(), &serde_json::json!([format!("{key}-"), "lockstep-1-"]))
    );
}

#[test]
fn what_is_not_recorded_is_read_or_said_to_be_unknown() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  eval:\n    cmd: \"cat k > copy; for i in $(seq 150); do echo \\\"k$i: $(cat k)\\\"; done > m.yaml; test $(cat k) != 3\"\n    \
         deps: [k]\n    outs: [copy]\n    metrics: [m.yaml]\nchecks:\n- k1 >= 2\n",
    );
    sandbox.write("k", "1\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "one");
    sandbox.git(&["checkout", "-qb", "topic"]);
    let report = || sandbox.run(&["ci", "report", "--base", "main"]).stdout;
    assert!(report().contains("same params and metrics as `main`"), "{}", report());
    assert!(report().contains("**Checks that do not hold**\n\n- `k1 >= 2: is 1`"), "{}", report());
    sandbox.write("k", "2\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "two");
    assert!(report().contains("| `m.yaml` | `k1` | `1` | `2` | +1 |") && !report().contains("hold"), "{}", report());
    // A stage that fails has no metrics: those that are there are of the run before.
    sandbox.write("k", "3\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 6);
    let text = report();
    assert!(!text.contains("same params") && text.contains("- `m.yaml`: `stage eval failed`"), "{text}");
    assert!(text.contains("- `k1 >= 2: stage eval failed, so its metrics are not known`"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["ci", "report", "--base", "main", "--json"]).stdout).unwrap();
    assert_eq!((&json["unknown"][0]["file"], &json["checks"][0]["check"]), (&"m.yaml".into(), &"k1 >= 2".into()));
    // Bytes that are neither here nor in the lock are not known either.
    sandbox.write("k", "2\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.remove("m.yaml");
    fs::remove_dir_all(sandbox.path(".git/lockstep/store")).unwrap();
    let text = report();
    assert!(!text.contains("same params") && text.contains("**Not compared**\n\n- `m.yaml`"), "{text}");
}

#[test]
fn values_of_templates_are_compared() {
    let sandbox = Sandbox::new();
    sandbox.write("params.yaml", "lr: 1\n");
    sandbox.write("pipeline.yaml", "vars: [{n: 1}]\nstages:\n  a:\n    cmd: echo ${lr} ${n} > o\n    outs: [o]\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "one");
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 2\n");
    let text = sandbox.run(&["ci", "report", "--base", "main"]).stdout;
    assert!(text.contains("| `params.yaml` | `lr` | `1` | `2` |"), "{text}");
    sandbox.git(&["checkout", "-q", "params.yaml"]);
    sandbox.write("pipeline.yaml", sandbox.read("pipeline.yaml").replace("n: 1", "n: 2"));
    let text = sandbox.run(&["ci", "report", "--base", "main"]).stdout;
    assert!(text.contains("compared with `main`") && text.contains("other commands of `a`"), "{text}");
}

#[test]
fn metrics_of_a_stage_that_is_stale_now_are_not_compared() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  eval:\n    cmd: 'echo \"{\\\"acc\\\": $(cat k)}\" > m.json'\n    deps: [k]\n    metrics: [m.json]\n  \
         other:\n    cmd: echo > o\n    outs: [o]\n  below:\n    cmd: 'echo \"{\\\"b\\\": 1}\" > n.json'\n    deps: [m.json]\n    metrics: [n.json]\nchecks:\n- acc >= 1\n",
    );
    sandbox.write("k", "1\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "one");
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("k", "2\n");
    commit(&sandbox, "two");
    for run in [None, Some(["repro", "-q", "-f", "-s", "other"])] {
        run.iter().for_each(|args| assert_eq!(sandbox.run(args).code, 0));
        let text = sandbox.run(&["ci", "report", "--base", "main"]).stdout;
        assert!(!text.contains("same params"), "{text}");
        for file in ["- `m.json`: `stage eval is stale`", "- `n.json`: `stage below is stale`"] {
            assert!(text.contains(file), "{text}");
        }
        assert!(text.contains("- `acc >= 1: stage eval is stale, so its metrics are not known`"), "{text}");
    }
    // `check` knows no more than the report, whether the file is here, or the lock alone has its values.
    for is_here in [true, false] {
        if !is_here {
            sandbox.remove("m.json");
        }
        for args in [&["check"][..], &["check", "pipeline.yaml"]] {
            let out = sandbox.run(args);
            let why = "FAIL  acc >= 1: stage eval is stale, so its metrics are not known";
            assert!(out.code == 1 && out.stdout.contains(why) && out.stderr.contains("0 of 1 check hold"), "{out}");
        }
        assert_eq!(sandbox.run(&["check", "--rev", "main"]).code, 0);
    }
}

/// As in CI: the outputs of stages that are up to date are not fetched.
#[test]
fn metrics_that_are_merely_not_here_are_those_of_the_lock() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  eval:\n    cmd: 'echo \"{\\\"acc\\\": 1}\" > m.json'\n    metrics: [m.json]\nchecks:\n- acc >= 1\n",
    );
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    commit(&sandbox, "one");
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.remove("m.json");
    for is_stored in [true, false] {
        if !is_stored {
            fs::remove_dir_all(sandbox.path(".git/lockstep/store")).unwrap();
        }
        let text = sandbox.run(&["ci", "report", "--base", "main"]).stdout;
        assert!(text.contains("same params and metrics as `main`") && !text.contains("do not hold"), "{text}");
        let out = sandbox.run(&["check"]);
        assert_eq!(out.code, 0, "{out}");
        assert!(sandbox.run(&["metrics", "diff", "main"]).stderr.contains("no metrics differ"));
        assert!(sandbox.run(&["metrics", "show"]).stdout.contains("acc"));
    }
    // What cannot be looked at is not merely absent.
    sandbox.write("m.json/x", "1");
    assert_eq!(sandbox.run(&["metrics", "show"]).code, 2);
}
