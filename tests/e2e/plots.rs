//! `plots show`, `plots diff`, `plots templates`, end to end.

use crate::sandbox::{Sandbox, output};

const PIPELINE: &str = "\
stages:
  train:
    cmd: sh train.sh
    deps: [train.sh, rate]
    plots:
    - log.csv: {x: step, y: loss, title: Loss}
    - pics
  eval:
    cmd: printf 'actual,predicted\\ncat,cat\\ncat,dog\\n' > conf.csv
    deps: [log.csv]
    plots:
    - conf.csv: {x: actual, y: predicted, template: confusion, cache: false}
plots:
- both: {x: step, y: {log.csv: [loss, test]}}
";

const TRAIN: &str = "\
mkdir -p pics
printf 'step,loss,test\\n1,%s,0.9\\n2,0.5,0.8\\n3,0.25,0.7\\n' $(cat rate) > log.csv
printf '<svg xmlns=\"http://www.w3.org/2000/svg\"><text>%s</text></svg>' $(cat rate) > pics/a.svg
";

/// Two commits: the first with a loss of 1 at the first step, the second with 2.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("train.sh", TRAIN);
    for (rate, tag) in [("1.0", "v1"), ("2.0", "v2")] {
        sandbox.write("rate", rate);
        let run = sandbox.run(&["repro", "-q"]);
        assert_eq!(run.code, 0, "{run}");
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "-m", tag]);
        sandbox.git(&["tag", tag]);
    }
    sandbox
}

#[test]
fn a_page_with_everything_inside() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show"])), @r#"
    exit 0
    --- stdout
    plots.html
    --- stderr
    hint: keep it out of Git: echo plots.html >> .gitignore
    "#);
    let page = sandbox.read("plots.html");
    for part in [
        ">Loss</h2>",
        ">both</h2>",
        ">conf.csv</h2>",
        ">pics/a.svg</h2>",
        "data:image/svg+xml;base64,",
        "actual cat, predicted dog: 1",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // The same bytes again, an earlier page is replaced, and Git is told once.
    sandbox.write(".gitignore", sandbox.read(".gitignore") + "plots.html\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show"])), @r#"
    exit 0
    --- stdout
    plots.html
    "#);
    assert_eq!(sandbox.read("plots.html"), page);
}

#[test]
fn in_the_terminal_and_for_a_pull_request() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "--text"])), @r#"
    exit 0
    --- stdout
    both
      loss  █▂▁  last 0.25, min 0.25, max 2
      test  █▅▁  last 0.7, min 0.7, max 0.9
    Loss
      █▂▁  last 0.25, min 0.25, max 2
    pics/a.svg
      pics/a.svg  image/svg+xml, 62 bytes
    conf.csv
      equal in 1 of 2 (50.0 %)
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "diff", "v1", "v2", "--targets", "log.csv", "--md"])), @r#"
    exit 0
    --- stdout
    | plot | revision | series | trend | values |
    | --- | --- | --- | --- | --- |
    | Loss | v1 |  | █▃▁ | last 0.25, min 0.25, max 1 |
    | Loss | v2 |  | █▂▁ | last 0.25, min 0.25, max 2 |
    "#);
    assert!(!sandbox.exists("plots.html"));
}

#[test]
fn any_revision_without_checking_it_out() {
    let sandbox = project();
    // Not even in the workspace: what the commits pin is in the store.
    sandbox.remove("log.csv");
    sandbox.remove("pics");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "--rev", "v1", "log.csv", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "revisions": [
        "v1"
      ],
      "plots": [
        {
          "id": "log.csv",
          "title": "Loss",
          "template": "linear",
          "x_label": "step",
          "y_label": "loss",
          "series": [
            {
              "revision": "v1",
              "name": "loss",
              "file": "log.csv",
              "x": [
                1,
                2,
                3
              ],
              "y": [
                1,
                0.5,
                0.25
              ]
            }
          ]
        }
      ],
      "errors": []
    }
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "diff", "v1", "--text"])), @r#"
    exit 0
    --- stdout
    both
      v1  loss  █▃▁  last 0.25, min 0.25, max 1
      v1  test  █▅▁  last 0.7, min 0.7, max 0.9
    Loss
      v1  █▃▁  last 0.25, min 0.25, max 1
    pics/a.svg
      v1  pics/a.svg  image/svg+xml, 62 bytes
    conf.csv
      v1         equal in 1 of 2 (50.0 %)
      workspace  equal in 1 of 2 (50.0 %)
    --- stderr
    log.csv is not in the workspace
    pics is not in the workspace
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "diff", "v1", "v2", "-o", "out/"])), @r#"
    exit 0
    --- stdout
    out/index.html
    "#);
    let page = sandbox.read("out/index.html");
    for part in [
        "<title>Plots: v1, v2 · ",
        ">v1, loss<",
        ">v2, loss<",
        ">test, same in v1, v2<",
        "alt=\"pics/a.svg, v1\"",
        "alt=\"pics/a.svg, v2\"",
        "<summary><span>conf.csv: same in v1, v2</span></summary>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let by_name = sandbox.run(&["plots", "diff", "v1", "workspace", "--text"]);
    assert_eq!(by_name.stdout, sandbox.run(&["plots", "diff", "v1", "--text"]).stdout);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "--rev", "v9"])), @r#"
    exit 3
    --- stderr
    error: there is no revision `v9`
      hint: if it was pushed from another clone: git fetch --tags
    "#);
}

#[test]
fn any_file_and_the_last_word_of_the_command_line() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.tsv", "0.5\tx\n0.25\ty\n");
    insta::assert_snapshot!(
        sandbox.shown(&sandbox.run_in("data", &["plots", "show", "a.tsv", "--no-header", "-x", "1", "-y", "0", "-t", "bar", "--title", "T", "--json"])),
        @r#"
    exit 0
    --- stdout
    {
      "revisions": [
        "workspace"
      ],
      "plots": [
        {
          "id": "a.tsv",
          "title": "T",
          "template": "bar",
          "x_label": "1",
          "y_label": "0",
          "series": [
            {
              "revision": "workspace",
              "name": "0",
              "file": "a.tsv",
              "x": [
                "x",
                "y"
              ],
              "y": [
                0.5,
                0.25
              ]
            }
          ]
        }
      ],
      "errors": []
    }
    "#
    );
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "data/a.tsv", "-y", "9"])), @r#"
    exit 2
    --- stderr
    error: data/a.tsv has no column `9`
      hint: its columns are: 0.5, x
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "data/a.tsv", "-y", "x"])), @r#"
    exit 2
    --- stderr
    error: data/a.tsv, column `x`: "y" in line 2 is not a number
      hint: name another column with `y` (-y); its columns are: 0.5, x
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "dato/a.tsv"])), @r#"
    exit 3
    --- stderr
    error: `dato/a.tsv` is neither a plot nor a file with data or a picture
      hint: see all plots: lockstep plots show --text
    "#);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show"])), @r#"
    exit 0
    --- stderr
    no plots here
    hint: name a file: lockstep plots show FILE, or list it under `plots:` of its stage
    "#);
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_shown() {
    let sandbox = project();
    sandbox.remove("conf.csv");
    sandbox.write("log.csv", "step,loss,test\n1,0.5,0.9\n2,oops,0.8\n");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "-o", "p.html"])), @r#"
    exit 2
    --- stdout
    p.html
    --- stderr
    error: log.csv, column `loss`: "oops" in line 3 is not a number
      hint: name another column with `y` (-y); its columns are: step, loss, test
    error: conf.csv does not exist
      hint: make it: lockstep repro, or bring it back: lockstep checkout
    "#);
    let page = sandbox.read("p.html");
    assert!(page.contains(">pics/a.svg</h2>") && page.contains("<li>conf.csv does not exist</li>"));
}

#[test]
fn what_others_made_is_not_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", "a\n1\n2\n");
    sandbox.write("plots.html", "<p>mine</p>");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "a.csv"])), @r#"
    exit 2
    --- stderr
    error: plots.html exists and was not made by lockstep
      hint: name another file: -o FILE.html, or remove it
    "#);
    assert_eq!(sandbox.read("plots.html"), "<p>mine</p>");
}

#[test]
fn no_browser_is_no_failure() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", "a\n1\n2\n");
    for program in ["bin/xdg-open", "bin/open"] {
        sandbox.write(program, "#!/bin/sh\nexit 3\n");
        std::fs::set_permissions(sandbox.path(program), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    let run = output(sandbox.lockstep("").args(["plots", "show", "a.csv", "--open", "-o", "p.html"]).env("PATH", path));
    assert_eq!((run.code, run.stdout.as_str()), (0, "p.html\n"), "{run}");
    assert!(
        run.stderr.contains(
            "could not show it; open [ROOT]/p.html".replace("[ROOT]", sandbox.root().to_str().unwrap()).as_str()
        ),
        "{run}"
    );
}

#[test]
fn templates() {
    let sandbox = Sandbox::without_git();
    sandbox.git(&["init", "-q"]);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "templates"])), @r#"
    exit 0
    --- stdout
    linear                 a line through the points
    simple                 the same, with each point marked
    smooth                 a smoothed line (LOESS), the values faint behind it
    scatter                a dot for each row
    scatter_jitter         the same, dots moved a little so that equal ones can be told apart
    bar                    a bar for each x, as high as y
    bar_horizontal         a bar for each y, as long as x
    bar_horizontal_sorted  the same, the longest on top
    confusion              how often each pair of x and y occurs
    confusion_normalized   the same, as a share of all rows with that y
    "#);
}

/// Links in circles end, whatever they are called.
#[test]
fn links_in_circles() {
    let sandbox = Sandbox::new();
    sandbox.write("d/a.csv", "a\n1\n2\n");
    std::os::unix::fs::symlink("..", sandbox.path("d/up.csv")).unwrap();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "d", "--text"])), @r#"
    exit 0
    --- stdout
    d/a.csv
      ▁█  last 2, min 1, max 2
    "#);
}

/// A report of a hostile repository runs nothing.
#[test]
fn titles_and_cells_are_text() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "plots: [a.csv: {title: '</title><script>alert(1)</script>', template: bar, x: n}]");
    sandbox.write("a.csv", "n,v\n<script>alert(2)</script>,1\n\"\"\" onclick=\"\"alert(3)\",2\n");
    assert_eq!(sandbox.run(&["plots", "show"]).code, 0);
    let page = sandbox.read("plots.html");
    assert!(!page.contains("<script>alert") && !page.contains("onclick=\""));
    assert!(page.contains("&lt;script&gt;alert(2)"));
}

/// What a page shows, anybody may see who gets the page.
#[test]
fn links_out_of_the_repository_are_not_followed() {
    let sandbox = Sandbox::new();
    sandbox.write("../secret", "a\n1\n");
    sandbox.write("a.csv", "a\n1\n2\n");
    sandbox.write(".git/lockstep/config.toml", "");
    for (to, link) in [("../../secret", "d/secret.csv"), ("../.git/config", "d/token.png"), ("../a.csv", "d/mine.csv")]
    {
        std::fs::create_dir_all(sandbox.path("d")).unwrap();
        std::os::unix::fs::symlink(to, sandbox.path(link)).unwrap();
    }
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "d", "--text"])), @r"
    exit 2
    --- stdout
    d/mine.csv
      ▁█  last 2, min 1, max 2
    --- stderr
    error: d/secret.csv is not read: it leads to [BOX]/secret, outside of the repository
      hint: what lockstep reads may be printed and published: copy the file into the repository
    error: d/token.png is not read: it leads to [ROOT]/.git/config, in a folder that belongs to Git or lockstep itself
      hint: what lockstep reads may be printed and published: copy the file into the repository
    ");
}

const OWN: &str = r#"{
  "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
  "data": {"values": "<DVC_METRIC_DATA>"}, "title": "<DVC_METRIC_TITLE>", "mark": "area",
  "encoding": {
    "x": {"field": "<DVC_METRIC_X>", "type": "quantitative", "title": "<DVC_METRIC_X_LABEL>"},
    "y": {"field": "<DVC_METRIC_Y>", "type": "quantitative"}, "color": "<DVC_METRIC_COLOR>"
  }
}"#;

/// A template of the project, by its name or its path, is filled as DVC fills it, and drawn by what the page carries.
#[test]
fn templates_of_the_project() {
    let sandbox = project();
    sandbox.write(".dvc/plots/mine.json", OWN);
    sandbox.write("t/own.json", OWN);
    let own = sandbox.read("pipeline.yaml").replace("title: Loss}", "title: '</script>', template: mine}");
    sandbox.write("pipeline.yaml", own);
    let run = sandbox.run(&["plots", "diff", "v1", "--targets", "log.csv"]);
    assert_eq!(run.code, 0, "{run}");
    let page = sandbox.read("plots.html");
    let start = "<script type=\"application/json\" class=\"vega\">";
    let spec = page.split(start).nth(1).unwrap().split("</script>").next().unwrap();
    let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
    assert_eq!(spec["title"], "</script>");
    assert_eq!(spec["encoding"]["y"]["field"], "loss");
    assert_eq!(spec["encoding"]["color"]["scale"]["domain"], serde_json::json!(["v1", "workspace"]));
    let rows = spec["data"]["values"].as_array().unwrap();
    let first =
        serde_json::json!({"step": 1, "loss": 1, "test": 0.9, "rev": "v1", "filename": "log.csv", "field": "loss"});
    assert_eq!((rows.len(), &rows[0]), (6, &first));
    assert!(page.contains("vega.expressionInterpreter") && !page.contains("unsafe-eval"));
    assert_eq!(page.split("script-src ").nth(1).unwrap().split(';').next().unwrap().matches("'sha256-").count(), 3);

    let run = sandbox.run(&["plots", "show", "log.csv", "-t", "t/own.json", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run}"));
    assert_eq!(json["plots"][0]["template"], "t/own.json");
    // A page that needs none of it carries none of it.
    assert_eq!(sandbox.run(&["plots", "show", "log.csv", "-t", "linear"]).code, 0);
    assert!(!sandbox.read("plots.html").contains("vega"));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["plots", "show", "both", "-t", "mien", "--text"])), @r"
    exit 3
    --- stdout
    both
      loss  █▂▁  last 0.25, min 0.25, max 2
      test  █▅▁  last 0.7, min 0.7, max 0.9
    --- stderr
    error: plot `both`: there is no template `mien`
      hint: those that are built in: lockstep plots templates
      hint: one of your own, in Vega-Lite: .dvc/plots/mien.json
    ");
}

/// The page says what it compares: the repository, the commits, and their params and metrics.
#[test]
fn a_page_names_what_it_compares() {
    let s = Sandbox::new();
    s.git(&["remote", "add", "origin", "https://me:t0ken@host/team/churn.git"]);
    s.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: x\n    params: [rate, api_token]\n    metrics:\n    \
         - m.json: {cache: false, meta: {better: {acc: higher}}}\n    plots:\n    - a.csv: {cache: false}\n",
    );
    s.write("a.csv", "a\n1\n2\n");
    for (tag, rate, acc, subject) in [("v1", "1", "0.5", "First"), ("v2", "2", "0.75", "<script>alert(1)</script>")] {
        s.write("params.yaml", format!("same: 3\nrate: {rate}\napi_token: secret-{rate}\n"));
        s.write("m.json", format!("{{\"n\": 1, \"acc\": {acc}}}"));
        s.git(&["add", "-A"]);
        s.git(&["commit", "-q", "-m", subject]);
        s.git(&["tag", tag]);
    }
    let page = |args: &[&str]| {
        let run = s.run(args);
        assert_eq!(run.code, 0, "{run}");
        s.read("p.html")
    };
    let diff = page(&["plots", "diff", "v1", "v2", "-o", "p.html"]);
    let commit = |rev: &str| s.git(&["rev-parse", "--short=7", rev]).trim().to_string();
    for part in [
        "<h1>Plots of <span>churn</span></h1>",
        &format!("<code>{}</code>", commit("v1")),
        &format!("<code>{}</code>", commit("v2")),
        "<span>First</span>",
        "<span>&lt;script&gt;alert(1)&lt;/script&gt;</span>",
        "<td>0.5</td><td class=\"better\">0.75 better</td>",
        "<th scope=\"row\"><span>rate</span></th><td>1</td><td>2</td>",
        "<span>api_token</span></th><td>***</td><td>***</td>",
        "<summary><span>a.csv: same in v1, v2</span></summary>",
    ] {
        assert!(diff.contains(part), "{part}\n{}", &diff[diff.find("<header>").unwrap()..]);
    }
    assert!(diff.find(">rate<").unwrap() < diff.find(">n<").unwrap(), "values that differ come first");
    for secret in ["t0ken", "secret-1", "<script>alert"] {
        assert!(!diff.contains(secret), "{secret}");
    }
    assert_eq!(page(&["plots", "diff", "v1", "v2", "-o", "p.html"]), diff);
    // What one side cannot read is unknown, so it is no difference.
    s.write("m.json", "{");
    let diff = page(&["plots", "diff", "v2", "-o", "p.html"]);
    assert!(diff.contains("Not read: m.json (in workspace)") && !diff.contains(">acc<"));
    assert!(diff.contains("files on disk"));
    let show = page(&["plots", "show", "--rev", "v1", "-o", "p.html"]);
    assert!(show.contains("<span>First</span>") && show.contains("<td>0.5</td></tr>"));
}
