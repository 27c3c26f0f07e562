use super::super::{Column, Content, Plot, Template};
use super::*;

fn numbers(values: &[f64]) -> Column {
    Column::Numbers(values.to_vec())
}

fn words(values: &[&str]) -> Column {
    let words = super::axes::classes(values.iter().map(|v| v.to_string()).collect());
    let rows = values.iter().map(|v| words.iter().position(|w| w == v).unwrap() as u32).collect();
    Column::Words { rows, words }
}

fn series(revision: usize, part: usize, x: Column, y: Column) -> Series {
    Series { revision, part, name: format!("s{part}"), file: "f.csv".into(), x, y }
}

fn report(revisions: &[&str]) -> PlotReport {
    PlotReport { revisions: revisions.iter().map(|r| r.to_string()).collect(), ..PlotReport::default() }
}

fn chart(template: Template, series: Vec<Series>) -> Chart {
    Chart { template, own: None, x_label: "step".into(), y_label: "loss".into(), parts: 1, series }
}

fn svg(chart: &Chart, report: &PlotReport) -> String {
    let panels = draw(chart, report, "Title");
    panels.into_iter().map(|panel| panel.svg).collect()
}

#[test]
fn a_small_line() {
    let chart = chart(Template::Linear, vec![series(0, 0, numbers(&[0.0, 1.0, 2.0]), numbers(&[2.0, 1.0, 0.5]))]);
    insta::assert_snapshot!(svg(&chart, &report(&["workspace"])), @r#"
    <svg viewBox="0 0 640 340" role="img" aria-label="Title"><desc>one line of loss; x from 0 to 2, y from 0.5 to 2</desc>
    <g class="grid"><line x1="53.8" x2="622" y1="294" y2="294"/>
    <line x1="53.8" x2="622" y1="199.3" y2="199.3"/>
    <line x1="53.8" x2="622" y1="104.7" y2="104.7"/>
    <line x1="53.8" x2="622" y1="10" y2="10"/>
    </g>
    <g class="tick"><text x="45.8" y="298" text-anchor="end">0.5</text>
    <text x="45.8" y="203.3" text-anchor="end">1.0</text>
    <text x="45.8" y="108.7" text-anchor="end">1.5</text>
    <text x="45.8" y="14" text-anchor="end">2.0</text>
    <text x="53.8" y="311" text-anchor="middle">0</text>
    <text x="195.9" y="311" text-anchor="middle">0.5</text>
    <text x="337.9" y="311" text-anchor="middle">1.0</text>
    <text x="480" y="311" text-anchor="middle">1.5</text>
    <text x="622" y="311" text-anchor="middle">2.0</text>
    </g>
    <line class="axis" x1="53.8" x2="622" y1="294" y2="294"/>
    <text class="label" x="337.9" y="332" text-anchor="middle">step</text>
    <text class="label" transform="translate(14 152) rotate(-90)" text-anchor="middle">loss</text>
    <path class="line c0 d0" d="M53.8 10L337.9 199.3L622 294"/>
    </svg>
    "#);
}

#[test]
fn a_line_is_wider_where_others_lie_on_it() {
    let x = || numbers(&[0.0, 1.0, 2.0]);
    let ys: [&[f64]; 4] = [&[2.0, 1.0, 0.5], &[2.0, 1.0, 0.9], &[2.0, 1.0, 0.7], &[0.0, 0.5, 0.0]];
    let all = ys.iter().enumerate().map(|(n, y)| series(n, 0, x(), numbers(y))).collect();
    let svg = svg(&chart(Template::Linear, all), &report(&["a", "b", "c", "d"]));
    let classes: Vec<&str> = svg.split("<path class=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let want = ["line c0 d0 u2", "line c0 d0", "line c1 d0 u1", "line c1 d0", "line c2 d0", "line c3 d0"];
    assert_eq!(classes, want, "{svg}");
}

#[test]
fn each_template_draws_its_shapes() {
    let ten: Vec<f64> = (0..10).map(f64::from).collect();
    for (template, x, y, shape, count) in [
        (Template::Linear, numbers(&ten), numbers(&ten), "<path class=\"line c0 d0\"", 1),
        (Template::Simple, numbers(&ten), numbers(&ten), "h0", 10),
        (Template::Smooth, numbers(&ten), numbers(&ten), "<path class=\"line ", 2),
        (Template::Scatter, numbers(&ten), numbers(&ten), "h0", 10),
        (Template::ScatterJitter, words(&["a", "b", "a"]), numbers(&[1.0, 2.0, 1.0]), "h0", 3),
        (Template::Bar, words(&["a", "b", "a"]), numbers(&[1.0, 2.0, 1.0]), "<rect", 2),
        (Template::BarHorizontal, numbers(&[1.0, 2.0, 1.0]), words(&["a", "b", "a"]), "<rect", 2),
        (Template::Confusion, words(&["a", "b", "a"]), words(&["a", "b", "b"]), "<rect", 4),
    ] {
        let text = svg(&chart(template, vec![series(0, 0, x, y)]), &report(&["w"]));
        assert_eq!(text.matches(shape).count(), count, "{template:?}: {text}");
    }
}

#[test]
fn nothing_to_draw_is_said() {
    for template in Template::ALL {
        let (x, y) = match template {
            t if t.is_confusion() => (words(&[]), words(&[])),
            t if t.is_horizontal() => (numbers(&[]), words(&[])),
            Template::Bar => (words(&["a"]), numbers(&[f64::NAN])),
            _ => (numbers(&[1.0]), numbers(&[f64::NAN])),
        };
        let text = svg(&chart(template, vec![series(0, 0, x, y)]), &report(&["w"]));
        assert!(text.contains("no values") && !text.contains("NaN"), "{template:?}: {text}");
    }
}

#[test]
fn odd_numbers_stay_inside_the_picture() {
    let odd = [1e308, -1e308, f64::NAN, f64::INFINITY, 0.0, 5e-324];
    for template in [Template::Linear, Template::Simple, Template::Smooth, Template::Scatter, Template::ScatterJitter] {
        let text = svg(&chart(template, vec![series(0, 0, numbers(&odd), numbers(&odd))]), &report(&["w"]));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{template:?}: {text}");
    }
}

#[test]
fn a_gap_breaks_the_line_and_a_lonely_point_is_a_dot() {
    let y = numbers(&[1.0, 2.0, f64::NAN, 3.0, f64::NAN]);
    let text =
        svg(&chart(Template::Linear, vec![series(0, 0, numbers(&[0.0, 1.0, 2.0, 3.0, 4.0]), y)]), &report(&["w"]));
    assert_eq!((text.matches(" d=\"M").count(), text.matches("h0").count()), (2, 1), "{text}");
}

#[test]
fn colours_are_revisions_and_dashes_columns() {
    let line = |revision, part| {
        let y = numbers(&[(revision * 10 + part) as f64]);
        series(revision, part, numbers(&[0.0]), y)
    };
    let classes = |chart: &Chart, report: &PlotReport| -> Vec<String> {
        legend(chart, report).into_iter().map(|key| format!("{} {}", key.class, key.label)).collect()
    };
    let one = chart(Template::Linear, vec![line(0, 0), line(0, 1)]);
    assert_eq!(classes(&one, &report(&["w"])), ["c0 d0 s0", "c1 d0 s1"]);
    let two = chart(Template::Linear, vec![line(0, 0), line(0, 1), line(1, 0), line(1, 1)]);
    assert_eq!(classes(&two, &report(&["a", "b"])), ["c0 d0 a, s0", "c0 d1 a, s1", "c1 d0 b, s0", "c1 d1 b, s1"]);
    let single = chart(Template::Linear, vec![line(0, 0)]);
    assert!(classes(&single, &report(&["a", "b"])).is_empty());
    let nine = chart(Template::Linear, (0..9).map(|part| line(0, part)).collect());
    assert_eq!(classes(&nine, &report(&["w"]))[8], "c0 d1 s8");
}

#[test]
fn confusion_counts() {
    let matrix = series(0, 0, words(&["cat", "cat", "dog", "dog"]), words(&["cat", "dog", "dog", "eel"]));
    let mut chart = chart(Template::Confusion, vec![matrix]);
    let text = svg(&chart, &report(&["w"]));
    for cell in ["step cat, loss cat: 1", "step cat, loss dog: 1", "step dog, loss eel: 1", "step eel, loss eel: 0"] {
        assert!(text.contains(&format!("<title>{cell}</title>")), "{cell}: {text}");
    }
    assert!(text.contains("4 rows; step and loss are equal in 2 of them"));
    // shares of all rows with the same y
    chart.template = Template::ConfusionNormalized;
    let text = svg(&chart, &report(&["w"]));
    for cell in ["step cat, loss dog: 1 (50.0 %)", "step dog, loss eel: 1 (100.0 %)"] {
        assert!(text.contains(&format!("<title>{cell}</title>")), "{cell}: {text}");
    }
}

#[test]
fn words_on_an_axis_keep_their_order_and_dates_have_theirs() {
    let names = |chart: &Chart| {
        let text = svg(chart, &report(&["a", "b"]));
        let tick = |line: &str| Some(line.split_once("text-anchor=\"middle\">")?.1.split('<').next()?.to_string());
        text.lines().filter_map(tick).filter(|word| word != "step" && word != "loss").collect::<Vec<_>>()
    };
    let column = |values: &[&str]| Column::Words {
        rows: (0..values.len() as u32).collect(),
        words: values.iter().map(|v| v.to_string()).collect(),
    };
    let line = |revision, x| series(revision, 0, x, numbers(&[1.0, 2.0]));
    let plain = chart(Template::Linear, vec![line(0, column(&["z", "b"])), line(1, column(&["b", "a"]))]);
    assert_eq!(names(&plain), ["z", "b", "a"]);
    let dates = [line(0, column(&["2026-03-01", "2026-01-02"])), line(1, column(&["2026-02-01", "2026-01-02"]))];
    assert_eq!(names(&chart(Template::Linear, dates.into())), ["2026-01-02", "2026-02-01", "2026-03-01"]);
}

#[test]
fn a_million_rows_make_a_small_picture() {
    let x: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| (x / 1000.0).sin()).collect();
    for template in [Template::Linear, Template::Smooth, Template::Scatter] {
        let chart = chart(template, vec![series(0, 0, numbers(&x), numbers(&y))]);
        let text = svg(&chart, &report(&["w"]));
        assert!(text.len() < 400_000, "{template:?}: {}", text.len());
    }
}

#[test]
fn sorted_bars_have_the_longest_on_top() {
    let bars = series(0, 0, numbers(&[1.0, 5.0, 3.0]), words(&["a", "b", "c"]));
    let plot = Plot {
        id: String::new(),
        title: String::new(),
        content: Content::Chart(chart(Template::BarHorizontalSorted, vec![bars])),
    };
    let Content::Chart(chart) = &plot.content else { panic!() };
    let text = svg(chart, &report(&["w"]));
    let at = |word: &str| text.find(&format!(">{word}</text>")).unwrap();
    assert!(at("b") < at("c") && at("c") < at("a"));
}

#[test]
fn revisions_with_the_same_data_are_drawn_once() {
    let line = |revision, part, y: &[f64]| series(revision, part, numbers(&[0.0, 1.0]), numbers(y));
    let drawn = |chart: &Chart, report: &PlotReport| -> (Vec<String>, usize) {
        let keys = legend(chart, report).into_iter().map(|key| format!("{} {}", key.class, key.label)).collect();
        let panels = draw(chart, report, "Title");
        let count = |shape: &str| panels.iter().map(|panel| panel.svg.matches(shape).count()).sum::<usize>();
        (keys, count("<path class=\"line ") + count("<g class=\"bar "))
    };
    let three = &report(&["main", "svm", "tree"]);
    let [same, other] = [&[1.0, 2.0][..], &[5.0, 6.0]];
    let two_of_three = || vec![line(0, 0, same), line(1, 0, same), line(2, 0, other)];
    let keys = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let want = (keys(&["c0 d0 same in main, svm", "c2 d0 tree"]), 2);
    assert_eq!(drawn(&chart(Template::Linear, two_of_three()), three), want);
    // with several columns, each is judged by itself
    let mut columns = two_of_three();
    columns.extend([line(0, 1, &[7.0, 8.0]), line(1, 1, &[9.0, 7.5]), line(2, 1, &[7.0, 8.0])]);
    let mut columns = chart(Template::Linear, columns);
    columns.parts = 2;
    let labels = ["c0 d0 s0, same in main, svm", "c2 d0 tree, s0", "c0 d1 s1, same in main, tree", "c1 d1 svm, s1"];
    assert_eq!(drawn(&columns, three), (keys(&labels), 4));
    // a revision that lacks it is not among them
    let two = chart(Template::Linear, vec![line(0, 0, same), line(1, 0, same)]);
    assert_eq!(drawn(&two, three), (keys(&["c0 d0 same in main, svm"]), 1));
    // the same in all: the plot says so, not each line
    assert_eq!(drawn(&two, &report(&["main", "svm"])), (vec![], 1));
    let bars = |revision, y: &[f64]| series(revision, 0, words(&["a", "b"]), numbers(y));
    let bars = chart(Template::Bar, vec![bars(0, same), bars(1, same), bars(2, other)]);
    assert_eq!(drawn(&bars, three), want);
    let matrix = |revision, y: &[&str]| series(revision, 0, words(&["a", "b"]), words(y));
    let matrices = vec![matrix(0, &["a", "b"]), matrix(1, &["b", "b"]), matrix(2, &["a", "b"])];
    let panels = draw(&chart(Template::Confusion, matrices), three, "Title");
    let captions: Vec<&str> = panels.iter().map(|panel| panel.caption.as_deref().unwrap()).collect();
    assert_eq!(captions, ["same in main, tree", "svm"]);
}

#[test]
fn shares_and_matrices_are_square() {
    let shares = [0.0, 0.3, 0.6, 1.0];
    for (template, x, y, want) in [
        (Template::Linear, numbers(&shares), numbers(&shares), true),
        (Template::Simple, numbers(&shares), numbers(&shares), true),
        (Template::Scatter, numbers(&shares), numbers(&shares), true),
        (Template::Smooth, numbers(&shares), numbers(&shares), false),
        (Template::Linear, numbers(&[0.0, 1.0, 2.0, 3.0]), numbers(&shares), false),
        (Template::Confusion, words(&["a", "b"]), words(&["a", "a long class"]), true),
    ] {
        let panels = draw(&chart(template, vec![series(0, 0, x, y)]), &report(&["w"]), "Title");
        assert_eq!(panels[0].is_square, want, "{template:?}");
        if want {
            // from the left to the right of the x axis, and from the top to the bottom of the grid or the cells
            let number = |text: &str, name: &str| -> f64 {
                text.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
            };
            let axis = panels[0].svg.lines().find(|line| line.starts_with("<line class=\"axis\"")).unwrap();
            let (width, bottom) = (number(axis, "x2") - number(axis, "x1"), number(axis, "y1"));
            assert!((width - (bottom - 10.0)).abs() < 0.2, "{template:?}: {axis}");
        }
    }
}
