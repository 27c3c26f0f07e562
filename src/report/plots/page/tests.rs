use super::super::{Column, ImageKind, Series, Template};
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

#[test]
fn hostile_text_stays_text() {
    let page = page(&hostile());
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
    let page = page(&hostile());
    for word in ["http:", "https:", "//cdn", "@import", "url("] {
        let found = page.match_indices(word).map(|(at, _)| &page[at..(at + 40).min(page.len())]).next();
        assert_eq!(found, None);
    }
    assert!(page[..1024].contains(GENERATOR));
}

/// The content security policy has the hashes of exactly the texts between the tags.
#[test]
fn only_our_own_script_may_run() {
    let page = page(&hostile());
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
    assert_eq!(page(&hostile()), page(&hostile()));
}
