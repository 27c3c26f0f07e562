use super::super::Template;
use super::*;

fn report() -> PlotReport {
    let words = |values: &[&str]| Column::Words {
        rows: (0..values.len() as u32).collect(),
        words: values.iter().map(|v| v.to_string()).collect(),
    };
    let series =
        |revision, part, name: &str, x, y| Series { revision, part, name: name.into(), file: "a.csv".into(), x, y };
    let steps = || Column::Numbers(vec![1.0, 2.0, 3.0]);
    let lines = vec![
        series(0, 0, "train", steps(), Column::Numbers(vec![3.0, 2.0, 1.5])),
        series(1, 1, "te|st", steps(), Column::Numbers(vec![1.0, f64::NAN, 2.5])),
    ];
    let matrix = vec![series(0, 0, "p", words(&["a", "b", "c"]), words(&["a", "b", "d"]))];
    let chart = |template, series| {
        Content::Chart(Chart { template, own: None, x_label: "step".into(), y_label: "loss".into(), parts: 2, series })
    };
    let plot = |id: &str, content| Plot { id: id.into(), title: format!("{id} *title*"), content };
    PlotReport {
        revisions: vec!["main".into(), "workspace".into()],
        plots: vec![plot("lines", chart(Template::Linear, lines)), plot("matrix", chart(Template::Confusion, matrix))],
        ..PlotReport::default()
    }
}

#[test]
fn for_programs() {
    insta::assert_snapshot!(json(&report()).to_string(), @r#"{"revisions":["main","workspace"],"plots":[{"id":"lines","title":"lines *title*","template":"linear","x_label":"step","y_label":"loss","series":[{"revision":"main","name":"train","file":"a.csv","x":[1,2,3],"y":[3,2,1.5]},{"revision":"workspace","name":"te|st","file":"a.csv","x":[1,2,3],"y":[1,null,2.5]}]},{"id":"matrix","title":"matrix *title*","template":"confusion","x_label":"step","y_label":"loss","series":[{"revision":"main","name":"p","file":"a.csv","x":["a","b","c"],"y":["a","b","d"]}]}],"errors":[]}"#);
}

#[test]
fn for_a_pull_request() {
    insta::assert_snapshot!(markdown(&report()), @r#"
    | plot | revision | series | trend | values |
    | --- | --- | --- | --- | --- |
    | `lines *title*` | main | train | █▃▁ | last 1.5, min 1.5, max 3 |
    | `lines *title*` | workspace | `te\|st` | ▁ █ | last 2.5, min 1, max 2.5 |
    | `matrix *title*` | main |  |  | equal in 2 of 3 (66.7 %) |
    "#);
}
