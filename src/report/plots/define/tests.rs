use super::super::select::{Overrides, merge, select};
use super::*;
use crate::pipeline::load::memory::Memory;

fn path(text: &str) -> RepoPath {
    RepoPath::root().join(text).unwrap()
}

fn defined(files: &[(&str, &str)], cwd: &str) -> DefinedPlots {
    let loaded = Memory::new(files).load();
    assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
    define(&loaded.pipelines, &path(cwd))
}

/// `id <- file:y@file:x, …` of each plot.
fn short(plots: &[Definition]) -> Vec<String> {
    let field = |f: &Field| format!("{}:{}", f.file, f.column);
    let one = |plot: &Definition| match &plot.data {
        PlotData::Path { path, x, y } => {
            format!("{} <- {path} {}@{}", plot.id, y.join(","), x.as_deref().unwrap_or("step"))
        }
        PlotData::Columns(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|p| format!("{}@{}", field(&p.y), p.x.as_ref().map_or("step".into(), field)))
                .collect();
            format!("{} <- {}", plot.id, pairs.join(" "))
        }
    };
    plots.iter().map(one).collect()
}

const FILES: &[(&str, &str)] = &[
    (
        "pipeline.yaml",
        "
plots:
- loss: {x: step, y: {a.csv: [train, test], b.csv: loss}, title: T}
- each: {x: {a.csv: s, b.csv: t}, y: {a.csv: p, b.csv: q}}
- one: {x: {a.csv: s}, y: {a.csv: p, b.csv: q}}
- roc.json: {x: fpr, y: [tpr, chance], template: scatter}
- pictures
- bare.csv:
stages:
  train: {cmd: x, matrix: {r: [1, 2]}, plots: ['m/${item.r}.csv': {x: step, y: loss, header: false, y_label: L}]}
  draw: {cmd: x, plots: [pictures, roc.json]}
",
    ),
    ("sub/pipeline.yaml", "plots: [loss: {y: {c.csv: l}}, d.csv]"),
];

#[test]
fn as_dvc_reads_them() {
    let defined = defined(FILES, ".");
    assert!(defined.errors.is_empty(), "{defined:?}");
    assert_eq!(
        short(&defined.plots),
        [
            "loss <- a.csv:train@a.csv:step a.csv:test@a.csv:step b.csv:loss@b.csv:step",
            "each <- a.csv:p@a.csv:s b.csv:q@b.csv:t",
            "one <- a.csv:p@a.csv:s b.csv:q@a.csv:s",
            "roc.json <- roc.json tpr,chance@fpr",
            "pictures <- pictures @step",
            "bare.csv <- bare.csv @step",
            "sub/pipeline.yaml:loss <- sub/c.csv:l@step",
            "sub/d.csv <- sub/d.csv @step",
            "m/1.csv <- m/1.csv loss@step",
            "m/2.csv <- m/2.csv loss@step",
        ]
    );
    assert_eq!(defined.plots[0].title.as_deref(), Some("T"));
    assert_eq!(defined.plots[3].template, Template::Scatter);
    let staged = &defined.plots[8];
    assert_eq!(
        (staged.header, staged.y_label.as_deref(), &staged.stages[..]),
        (false, Some("L"), &["train".to_string(), "train@1".into()][..])
    );
}

#[test]
fn a_bare_path_at_the_top_looks_as_its_stage_says() {
    let stages = "stages: {a: {cmd: x, plots: [a.csv: {x: s}, b.csv, c.csv: {x: s}]}}";
    let text = format!("plots: [a.csv, b.csv, c.csv: {{x: t}}]\n{stages}\n");
    let plots = defined(&[("pipeline.yaml", &text)], ".").plots;
    assert_eq!(short(&plots), ["b.csv <- b.csv @step", "c.csv <- c.csv @t", "a.csv <- a.csv @s"]);
}

#[test]
fn named_from_another_folder() {
    let names: Vec<String> = defined(FILES, "sub").plots.into_iter().map(|plot| plot.id).collect();
    assert_eq!(names[0], "../pipeline.yaml:loss");
    assert_eq!(names[3], "../roc.json");
    assert_eq!(names[6..8], ["loss", "d.csv"]);
}

#[test]
fn mistakes_name_the_plot() {
    for (plot, want) in [
        ("p: {x: {a.csv: s}, y: l}", "plot `p`: where `x` is a map of files, `y` has to be one, too"),
        ("p: {x: {a.csv: [s, t]}, y: {a.csv: [l, m, n]}}", "`x` names one column, or one for each of `y`"),
        ("p: {y: {a.csv: {b: c}}}", "`y` names a column, or a list of them, a file"),
        ("p: {y: {a.csv: }}", "`y` names a column"),
        ("p: {y: {}}", "`y` names no file"),
        ("p: {y: {../a.csv: l}}", "../a.csv lies outside of the repository"),
        ("../p.csv: ", "../p.csv lies outside of the repository"),
    ] {
        let text = format!("plots:\n- {plot}\n- fine.csv\n");
        let defined = defined(&[("pipeline.yaml", &text)], ".");
        assert_eq!((defined.errors.len(), defined.plots.len()), (1, 1), "{plot}: {defined:?}");
        let message = &defined.errors[0].message;
        assert!(message.starts_with("pipeline.yaml: ") && message.contains(want), "{plot}: {message}");
    }
    let own = defined(&[("sub/pipeline.yaml", "plots: [a.csv: {template: mine}, b.csv: {template: smooth}]")], ".");
    let called = TemplateRef { name: "mine".into(), folder: path("sub") };
    assert_eq!((own.plots[0].template, own.plots[0].own.as_ref()), (Template::Linear, Some(&called)));
    assert_eq!((own.plots[1].template, own.plots[1].own.as_ref()), (Template::Smooth, None));
}

#[test]
fn targets() {
    let all = defined(FILES, ".").plots;
    let exists = |p: &RepoPath| p.as_str() == "other.csv";
    let ids = |targets: &[&str]| -> Vec<String> {
        let targets: Vec<String> = targets.iter().map(|t| t.to_string()).collect();
        select(&all, &targets, &RepoPath::root(), &exists).unwrap().into_iter().map(|plot| plot.id).collect()
    };
    assert_eq!(ids(&["loss"]), ["loss"]);
    assert_eq!(ids(&["train", "m/1.csv"]), ["m/1.csv", "m/2.csv"]);
    assert_eq!(ids(&["train@2", "other.csv"]), ["m/2.csv", "other.csv"]);
    assert_eq!(ids(&["m", "sub"]), ["m/1.csv", "m/2.csv", "sub/d.csv"]);
    let error = select(&all, &["lass".into()], &RepoPath::root(), &exists).unwrap_err();
    assert_eq!(error.hints, ["did you mean `loss`?"]);
}

#[test]
fn the_command_line_has_the_last_word() {
    let all = defined(FILES, ".").plots;
    let overrides = Overrides {
        x: Some("epoch".into()),
        y: vec!["acc".into(), "loss".into()],
        title: Some("New".into()),
        template: Some(("smooth".into(), RepoPath::root())),
        no_header: true,
        ..Overrides::default()
    };
    let mut plots = vec![all[0].clone(), all[3].clone()];
    plots.iter_mut().for_each(|plot| overrides.apply(plot));
    assert_eq!(
        short(&plots),
        [
            "loss <- a.csv:acc@a.csv:epoch a.csv:loss@a.csv:epoch b.csv:acc@b.csv:epoch b.csv:loss@b.csv:epoch",
            "roc.json <- roc.json acc,loss@epoch"
        ]
    );
    assert!(plots.iter().all(|p| p.title.as_deref() == Some("New") && p.template == Template::Smooth && !p.header));
}

#[test]
fn several_revisions_make_one_list() {
    let old = defined(&[("pipeline.yaml", "plots: [gone.csv, a.csv: {title: old}]")], ".").plots;
    let new = defined(&[("pipeline.yaml", "plots: [a.csv: {title: new}, a.csv: {title: twice}, b.csv]")], ".").plots;
    let merged = merge(vec![old, new]);
    let titles: Vec<_> = merged.iter().map(|plot| (plot.id.as_str(), plot.title.as_deref().unwrap_or(""))).collect();
    assert_eq!(titles, [("a.csv", "new"), ("a.csv", "twice"), ("b.csv", ""), ("gone.csv", "")]);
}
