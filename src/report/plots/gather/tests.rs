use super::super::define::define;
use super::*;
use crate::pipeline::load::memory::Memory;

/// A revision defined by a test.
struct Revision(&'static str, Vec<(&'static str, &'static str)>);

impl PlotSource for Revision {
    fn label(&self) -> &str {
        self.0
    }

    fn read(&self, path: &RepoPath) -> Result<PathContent> {
        if let Some((_, text)) = self.1.iter().find(|(name, _)| *name == path.as_str()) {
            return Ok(PathContent::File(text.as_bytes().to_vec()));
        }
        let names = self.1.iter().filter_map(|(name, _)| RepoPath::root().join(name));
        let inside: Vec<RepoPath> = names.filter(|name| name.is_in(path)).collect();
        Ok(if inside.is_empty() { PathContent::Missing } else { PathContent::Folder(inside) })
    }
}

fn report(plots: &str, revisions: &[Revision]) -> PlotReport {
    let loaded = Memory::new(&[("pipeline.yaml", &format!("plots: {plots}"))]).load();
    let defined = define(&loaded.pipelines, &RepoPath::root());
    assert!(defined.errors.is_empty(), "{:?}", defined.errors);
    let sources: Vec<&dyn PlotSource> = revisions.iter().map(|r| r as &dyn PlotSource).collect();
    gather(&defined.plots, &sources, &RepoPath::root())
}

/// `revision name x=… y=…` of each series, or the file of each picture.
fn short(report: &PlotReport) -> Vec<String> {
    let numbers = |column: &Column| match column {
        Column::Numbers(numbers) => format!("{numbers:?}"),
        Column::Words { rows, words } => format!("{:?}", rows.iter().map(|r| &words[*r as usize]).collect::<Vec<_>>()),
    };
    let of_plot = |plot: &Plot| match &plot.content {
        Content::Images(images) => {
            images.iter().map(|i| format!("{} {}", report.revisions[i.revision], i.file)).collect()
        }
        Content::Chart(chart) => chart
            .series
            .iter()
            .map(|s| format!("{} {} {} {}", report.revisions[s.revision], s.name, numbers(&s.x), numbers(&s.y)))
            .collect::<Vec<_>>(),
    };
    report.plots.iter().flat_map(of_plot).collect()
}

#[test]
fn columns_of_files() {
    let now = Revision("now", vec![("a.csv", "s,l,m\n1,5,6\n2,7,8\n"), ("b.json", r#"{"h": [{"s": 3, "l": 4}]}"#)]);
    for (plots, want) in [
        ("[a.csv]", vec!["now m [0.0, 1.0] [6.0, 8.0]"]),
        ("[a.csv: {x: s, y: [l, m]}]", vec!["now l [1.0, 2.0] [5.0, 7.0]", "now m [1.0, 2.0] [6.0, 8.0]"]),
        ("[p: {y: {a.csv: l, b.json: l}}]", vec!["now a.csv [0.0, 1.0] [5.0, 7.0]", "now b.json [0.0] [4.0]"]),
        (
            "[p: {x: s, y: {a.csv: m, b.json: l}}]",
            vec!["now a.csv: m [1.0, 2.0] [6.0, 8.0]", "now b.json: l [3.0] [4.0]"],
        ),
        ("[a.csv: {template: bar}]", vec![r#"now m ["0", "1"] [6.0, 8.0]"#]),
        ("[a.csv: {template: bar_horizontal}]", vec![r#"now s [6.0, 8.0] ["1", "2"]"#]),
        ("[a.csv: {template: confusion, x: s, y: l}]", vec![r#"now l ["1", "2"] ["5", "7"]"#]),
    ] {
        let report = report(plots, std::slice::from_ref(&now));
        assert!(report.errors.is_empty(), "{plots}: {:?}", report.errors);
        assert_eq!(short(&report), want, "{plots}");
    }
}

#[test]
fn labels_come_from_the_columns() {
    let now = [Revision("now", vec![("a.csv", "s,l,m\n1,5,6\n")])];
    for (plots, want) in [
        ("[a.csv]", ("step", "m")),
        ("[a.csv: {x: s, y: [l, m]}]", ("s", "")),
        ("[a.csv: {x: s, x_label: X, y_label: Y}]", ("X", "Y")),
    ] {
        let report = report(plots, &now);
        let Content::Chart(chart) = &report.plots[0].content else { panic!() };
        assert_eq!((chart.x_label.as_str(), chart.y_label.as_str()), want, "{plots}");
    }
}

#[test]
fn folders_and_revisions() {
    let old = Revision("old", vec![("d/a.csv", "l\n1\n"), ("d/p.png", "x"), ("d/notes.txt", "")]);
    let new = Revision("new", vec![("d/a.csv", "l\n2\n"), ("d/p.png", "y"), ("d/sub/q.svg", "z")]);
    let report = report("[d]", &[old, new]);
    assert_eq!(
        short(&report),
        ["old l [0.0] [1.0]", "new l [0.0] [2.0]", "old d/p.png", "new d/p.png", "new d/sub/q.svg"]
    );
    assert_eq!(report.notes, ["d/sub/q.svg is not in old"]);
    assert!(report.errors.is_empty());
}

#[test]
fn what_fails_is_named_and_the_rest_goes_on() {
    let now = Revision("now", vec![("a.csv", "s,l\n1,5\n"), ("b.csv", "s,l\n1,5\n2,6\n"), ("w.csv", "s,l\n1,x\n")]);
    for (plots, want) in [
        ("[gone.csv, a.csv]", "gone.csv is not in now"),
        ("[p: {y: {gone.csv: l, a.csv: l}}]", "gone.csv is not in now"),
        ("[w.csv, a.csv]", "w.csv, column `l`: \"x\" in line 2 is not a number"),
        ("[a.csv: {y: z}, b.csv]", "a.csv has no column `z`"),
        ("[a.csv: {template: confusion}, b.csv]", "plot `a.csv`: the template confusion needs an `x`"),
        ("[p: {x: {a.csv: s}, y: {b.csv: l}}, b.csv]", "plot `p`: x has 1 rows and y has 2"),
    ] {
        let report = report(plots, std::slice::from_ref(&now));
        assert_eq!((report.errors.len(), report.plots.len()), (1, 1), "{plots}: {:?}", report.errors);
        assert!(report.errors[0].message.starts_with(want), "{plots}: {:?}", report.errors);
    }
    let other = Revision("other", vec![]);
    let both = report("[gone.csv]", &[now, other]);
    assert_eq!(both.errors[0].message, "gone.csv is in none of these revisions");
}
