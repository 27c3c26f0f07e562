use super::super::overview::CommitSummary;
use super::super::value_table::{ValueCell, ValueKind, ValueTable, ValueTableRow};
use super::super::{Chart, Column, Image, ImageKind, Series, Template};
use super::*;
use crate::error::Error;

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" onload=\"alert(1)";

fn hostile() -> PlotReport {
    let words = |text: &str| Column::Words { rows: vec![0, 0], words: vec![text.into()] };
    let series = |x, y| Series { revision: 0, part: 0, name: HOSTILE.into(), file: HOSTILE.into(), x, y };
    let numbers = || Column::Numbers(vec![1.0, 2.0]);
    let chart = |template, x, y| {
        Content::Chart(Chart {
            template,
            own: None,
            x_label: HOSTILE.into(),
            y_label: HOSTILE.into(),
            parts: 1,
            series: vec![series(x, y)],
        })
    };
    let contents = vec![
        chart(Template::Linear, words(HOSTILE), numbers()),
        chart(Template::Scatter, numbers(), numbers()),
        chart(Template::Bar, words(HOSTILE), numbers()),
        chart(Template::BarHorizontal, numbers(), words(HOSTILE)),
        chart(Template::Confusion, words(HOSTILE), words(HOSTILE)),
        Content::Images(vec![Image { revision: 0, file: HOSTILE.into(), kind: ImageKind::Svg, bytes: HOSTILE.into() }]),
    ];
    let plot = |content| Plot { id: HOSTILE.into(), title: HOSTILE.into(), content };
    PlotReport {
        revisions: vec![HOSTILE.into(), "workspace".into()],
        plots: contents.into_iter().map(plot).collect(),
        errors: vec![Error::usage(HOSTILE)],
        notes: vec![HOSTILE.into()],
    }
}

fn hostile_overview() -> Overview {
    let cell = |better| ValueCell { text: HOSTILE.into(), full: Some(HOSTILE.into()), better };
    let row = |kind| ValueTableRow {
        kind,
        name: HOSTILE.into(),
        is_changed: true,
        cells: vec![cell(None), cell(Some(true))],
    };
    Overview {
        repository: HOSTILE.into(),
        commits: vec![Some(CommitSummary { id: HOSTILE.into(), date: HOSTILE.into(), subject: HOSTILE.into() }), None],
        values: ValueTable {
            rows: vec![row(ValueKind::Metric), row(ValueKind::Param)],
            omitted: 12,
            unread: vec![HOSTILE.into()],
        },
    }
}

#[test]
fn hostile_text_stays_text() {
    let page = page(&hostile(), &hostile_overview());
    // The only scripts are the page's own, and data.
    let tags: Vec<&str> = page.match_indices("<script").map(|(at, _)| &page[at..at + 20]).collect();
    assert!(tags.len() >= 3);
    for tag in &tags[..tags.len() - 1] {
        assert!(tag.starts_with("<script type=\"applic"), "{tag}");
    }
    assert_eq!(page.matches("</script").count(), tags.len());
    assert_eq!(page.matches("<img").count(), 1);
    for word in ["onload=\"", "onerror=alert(1)>", "<script>alert"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn the_page_reaches_for_nothing() {
    let page = page(&hostile(), &hostile_overview());
    for word in ["http:", "https:", "//cdn", "@import", "url("] {
        let found = page.match_indices(word).map(|(at, _)| &page[at..(at + 40).min(page.len())]).next();
        assert_eq!(found, None);
    }
    assert!(page[..1024].contains(GENERATOR));
}

/// The content security policy has the hashes of exactly the texts between the tags.
#[test]
fn only_our_own_script_may_run() {
    let page = page(&hostile(), &hostile_overview());
    let between = |start: &str, end: &str| {
        let at = page.rfind(start).unwrap() + start.len();
        &page[at..at + page[at..].find(end).unwrap()]
    };
    for (text, rule) in
        [(between("<script>", "</script>"), "script-src"), (between("<style>", "</style>"), "style-src")]
    {
        assert!(page.contains(&format!("{rule} '{}'", hash(text))), "{rule}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    assert_eq!(page(&hostile(), &hostile_overview()), page(&hostile(), &hostile_overview()));
}

/// A page of lines of one column, one a revision.
fn page_of_lines(ys: &[&[f64]]) -> String {
    let line = |(revision, y): (usize, &&[f64])| Series {
        revision,
        part: 0,
        name: "loss".into(),
        file: "a.csv".into(),
        x: Column::Numbers((0..y.len()).map(|n| n as f64).collect()),
        y: Column::Numbers(y.to_vec()),
    };
    let series = ys.iter().enumerate().map(line).collect();
    let chart =
        Chart { template: Template::Linear, own: None, x_label: "".into(), y_label: "".into(), parts: 1, series };
    let revisions = (0..ys.len()).map(|n| format!("r{n}")).collect();
    let plot = Plot { id: "loss".into(), title: "Loss".into(), content: Content::Chart(chart) };
    let report = PlotReport { revisions, plots: vec![plot], ..PlotReport::default() };
    page(&report, &Overview::default())
}

#[test]
fn equal_plots_are_folded() {
    let same = page_of_lines(&[&[1.0, 2.0], &[1.0, 2.0]]);
    assert!(same.contains("<details class=\"same\">\n<summary><span>Loss: same in r0, r1</span></summary>"), "{same}");
    // closed, and drawn once
    assert!(!same.contains("<details open"));
    assert_eq!(same.matches("<path class=\"line c0 d0\"").count(), 1);
    let many: Vec<&[f64]> = vec![&[1.0, 2.0]; 60];
    assert!(page_of_lines(&many).contains("Loss: same in all 60 revisions"));
    for different in [&[&[1.0, 2.0][..], &[1.0, 2.5]][..], &[&[1.0, 2.0]]] {
        assert!(!page_of_lines(different).contains("class=\"same\""));
    }
}

#[test]
fn a_legend_is_bounded() {
    let lines: Vec<Vec<f64>> = (0..60).map(|n| vec![n as f64, 0.0]).collect();
    let page = page_of_lines(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let caption = page.split("<figcaption>").nth(1).unwrap().split("</figcaption>").next().unwrap();
    let (shown, folded) = caption.split_once("<details class=\"more\"><summary>and 52 more</summary>").unwrap();
    assert_eq!((shown.matches("<li>").count(), folded.matches("<li>").count()), (8, 52));
    assert!(page_of_lines(&[&[1.0], &[2.0]]).matches("class=\"more\"").count() == 0);
}

#[test]
fn the_header_names_repository_and_commits() {
    let cell = |text: &str, better| ValueCell { text: text.into(), full: None, better };
    let row =
        |name: &str, is_changed, cells| ValueTableRow { kind: ValueKind::Metric, name: name.into(), is_changed, cells };
    let subject = "a subject that goes on and on ".repeat(5);
    let overview = Overview {
        repository: "churn".into(),
        commits: vec![Some(CommitSummary { id: "0123456".into(), date: "2026-01-31".into(), subject }), None],
        values: ValueTable {
            rows: vec![
                row("acc", true, vec![cell("0.5", None), cell("0.75", Some(true))]),
                row("n", false, vec![cell("3", None), cell("3", None)]),
            ],
            omitted: 12,
            unread: vec!["p.yaml (in v1)".into()],
        },
    };
    let report = PlotReport { revisions: vec!["v1".into(), "workspace".into()], ..PlotReport::default() };
    let page = page(&report, &overview);
    assert!(page.contains("<title>Plots: v1, workspace · churn</title>"));
    let header = page.split("<header>\n").nth(1).unwrap().split("</header>").next().unwrap();
    insta::assert_snapshot!(header, @r#"
    <h1>Plots of <span>churn</span></h1>
    <div class="scroll">
    <table class="revisions">
    <tr><th scope="row"><svg viewBox="0 0 26 10" aria-hidden="true"><path class="line c0" d="M2 5L24 5"/></svg><span>v1</span></th><td><code>0123456</code></td><td class="date">2026-01-31</td><td><span title="a subject that goes on and on a subject that goes on and on a subject that goes on and on a subject that goes on and on a subject that goes on and on ">a subject that goes on and on a subject that goes on and on a subject that goes…</span></td></tr>
    <tr><th scope="row"><svg viewBox="0 0 26 10" aria-hidden="true"><path class="line c1" d="M2 5L24 5"/></svg><span>workspace</span></th><td colspan="3" class="note">files on disk</td></tr>
    </table>
    </div>
    <div class="scroll">
    <table class="values">
    <thead><tr><th></th><th></th><th scope="col"><span>v1</span></th><th scope="col"><span>workspace</span></th></tr></thead>
    <tbody>
    <tr class="changed"><td class="kind">metric</td><th scope="row"><span>acc</span></th><td>0.5</td><td class="better">0.75 better</td></tr>
    <tr class="same"><td class="kind">metric</td><th scope="row"><span>n</span></th><td>3</td><td>3</td></tr>
    </tbody>
    </table>
    <div class="note">and 12 more</div>
    </div>
    <div class="note">Not read: p.yaml (in v1)</div>
    "#);
}
