//! Which revisions have the same data: equal series and pictures are drawn once, and equal plots are folded. Pure.
//!
//! Data that cannot be read is unknown: a plot with a column or a picture that one revision lacks is not equal.

use std::collections::BTreeMap;

use super::{Chart, Column, Content, Image, Plot, Series, Template};

/// Series of one column with the same data.
pub struct SameSeries<'c> {
    /// The one that is drawn.
    pub first: &'c Series,
    /// Indexes of all their revisions, in display order.
    pub revisions: Vec<usize>,
}

/// Pictures with the same bytes.
pub struct SameImages<'c> {
    /// The one that is shown.
    pub first: &'c Image,
    /// Indexes of all their revisions, in display order.
    pub revisions: Vec<usize>,
}

/// The series of a chart, each with the revisions that have it.
pub fn same_series(chart: &Chart) -> Vec<SameSeries<'_>> {
    let mut found: Vec<(SameSeries<'_>, DrawnData<'_>)> = Vec::new();
    for series in &chart.series {
        let data = DrawnData::of(series, chart.template);
        let of_same = found.iter_mut().find(|(same, other)| same.first.part == series.part && other.is_same(&data));
        match of_same {
            Some((same, _)) => same.revisions.push(series.revision),
            None => found.push((SameSeries { first: series, revisions: vec![series.revision] }, data)),
        }
    }
    found.into_iter().map(|(same, _)| same).collect()
}

/// The pictures of a plot, each with the revisions that have it.
pub fn same_images(images: &[Image]) -> Vec<SameImages<'_>> {
    let mut found: Vec<SameImages<'_>> = Vec::new();
    for image in images {
        match found.iter_mut().find(|same| same.first.kind == image.kind && same.first.bytes == image.bytes) {
            Some(same) => same.revisions.push(image.revision),
            None => found.push(SameImages { first: image, revisions: vec![image.revision] }),
        }
    }
    found
}

/// Whether several revisions are compared, and all of them have the same data of the plot.
pub fn is_same_plot(plot: &Plot, revisions: usize) -> bool {
    match &plot.content {
        Content::Chart(chart) => is_same_chart(chart, revisions),
        Content::Images(images) => {
            let found = same_images(images);
            revisions > 1 && found.len() == 1 && found[0].revisions.len() == revisions
        }
    }
}

/// The same of a chart.
pub fn is_same_chart(chart: &Chart, revisions: usize) -> bool {
    // A template of the project may show any column of the files.
    if let Some(own) = &chart.own {
        return own.is_same;
    }
    let is_complete = chart.series.len() == chart.parts * revisions;
    revisions > 1 && is_complete && same_series(chart).len() == chart.parts
}

/// The data of a series on which its drawing depends.
enum DrawnData<'c> {
    Rows(&'c Column, &'c Column),
    /// How often each pair of words occurs: the order of the rows does not matter in a confusion matrix.
    Counts(BTreeMap<(&'c str, &'c str), u64>),
}

impl<'c> DrawnData<'c> {
    fn of(series: &'c Series, template: Template) -> DrawnData<'c> {
        match (&series.x, &series.y) {
            (Column::Words { rows: xs, words: x }, Column::Words { rows: ys, words: y }) if template.is_confusion() => {
                let mut counts = BTreeMap::new();
                for (at_x, at_y) in xs.iter().zip(ys) {
                    *counts.entry((x[*at_x as usize].as_str(), y[*at_y as usize].as_str())).or_default() += 1;
                }
                DrawnData::Counts(counts)
            }
            (x, y) => DrawnData::Rows(x, y),
        }
    }

    fn is_same(&self, other: &DrawnData<'_>) -> bool {
        match (self, other) {
            (DrawnData::Counts(a), DrawnData::Counts(b)) => a == b,
            (DrawnData::Rows(ax, ay), DrawnData::Rows(bx, by)) => is_same_column(ax, bx) && is_same_column(ay, by),
            _ => false,
        }
    }
}

fn is_same_column(a: &Column, b: &Column) -> bool {
    let is_same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    match (a, b) {
        (Column::Numbers(a), Column::Numbers(b)) => a.len() == b.len() && a.iter().zip(b).all(is_same),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ImageKind;
    use super::*;

    const NAN: f64 = f64::NAN;

    fn numbers(values: &[f64]) -> Column {
        Column::Numbers(values.to_vec())
    }

    fn words(text: &str) -> Column {
        let mut words: Vec<String> = Vec::new();
        let mut row = |word: &str| {
            words.iter().position(|known| known == word).unwrap_or_else(|| {
                words.push(word.into());
                words.len() - 1
            }) as u32
        };
        let rows = text.split(' ').map(&mut row).collect();
        Column::Words { rows, words }
    }

    /// The groups of a chart as `part: revisions`, and whether it is equal in all of `revisions`.
    fn grouped(template: Template, parts: usize, revisions: usize, all: Vec<(usize, usize, Column, Column)>) -> String {
        let series = |(revision, part, x, y)| Series { revision, part, name: "".into(), file: "".into(), x, y };
        let series = all.into_iter().map(series).collect();
        let chart = Chart { template, own: None, x_label: "".into(), y_label: "".into(), parts, series };
        let groups = same_series(&chart);
        let groups: Vec<String> =
            groups.iter().map(|same| format!("{}: {:?}", same.first.part, same.revisions)).collect();
        format!("{} {}", groups.join(", "), is_same_chart(&chart, revisions))
    }

    #[test]
    fn series_with_the_same_data() {
        let line = |revision, part, y: &[f64]| (revision, part, numbers(&[0.0, 1.0]), numbers(y));
        for (parts, revisions, all, want) in [
            (1, 2, vec![line(0, 0, &[1.0, 2.0]), line(1, 0, &[1.0, 2.0])], "0: [0, 1] true"),
            (1, 2, vec![line(0, 0, &[1.0, 2.0]), line(1, 0, &[1.0, 2.5])], "0: [0], 0: [1] false"),
            // a gap is equal to a gap, and zero has no sign
            (1, 2, vec![line(0, 0, &[NAN, 0.0]), line(1, 0, &[NAN, -0.0])], "0: [0, 1] true"),
            (1, 2, vec![line(0, 0, &[NAN, 1.0]), line(1, 0, &[1.0, 1.0])], "0: [0], 0: [1] false"),
            // two of three, and a revision that lacks it
            (1, 3, vec![line(0, 0, &[1.0]), line(1, 0, &[2.0]), line(2, 0, &[1.0])], "0: [0, 2], 0: [1] false"),
            (1, 3, vec![line(0, 0, &[1.0]), line(2, 0, &[1.0])], "0: [0, 2] false"),
            // columns are told apart
            (2, 1, vec![line(0, 0, &[1.0]), line(0, 1, &[1.0])], "0: [0], 1: [0] false"),
            (
                2,
                2,
                vec![line(0, 0, &[1.0]), line(0, 1, &[2.0]), line(1, 0, &[1.0]), line(1, 1, &[2.0])],
                "0: [0, 1], 1: [0, 1] true",
            ),
            // a column that no revision could read is unknown
            (2, 2, vec![line(0, 0, &[1.0]), line(1, 0, &[1.0])], "0: [0, 1] false"),
            // one revision is not compared
            (1, 1, vec![line(0, 0, &[1.0])], "0: [0] false"),
        ] {
            assert_eq!(grouped(Template::Linear, parts, revisions, all), want);
        }
        let rows = |revision, x: &str, y: &str| (revision, 0, words(x), words(y));
        let swapped = || vec![rows(0, "a b", "a a"), rows(1, "b a", "a a")];
        assert_eq!(grouped(Template::Confusion, 1, 2, swapped()), "0: [0, 1] true");
        assert_eq!(grouped(Template::Scatter, 1, 2, swapped()), "0: [0], 0: [1] false");
        assert_eq!(
            grouped(Template::Confusion, 1, 2, vec![rows(0, "a b", "a a"), rows(1, "a b", "a b")]),
            "0: [0], 0: [1] false"
        );
        // a number is not a word
        let mixed = vec![(0, 0, numbers(&[1.0]), numbers(&[1.0])), (1, 0, words("1"), numbers(&[1.0]))];
        assert_eq!(grouped(Template::Linear, 1, 2, mixed), "0: [0], 0: [1] false");
    }

    #[test]
    fn pictures_with_the_same_bytes() {
        for (all, revisions, want) in [
            (vec![(0, "x"), (1, "x")], 2, true),
            (vec![(0, "x"), (1, "y")], 2, false),
            (vec![(1, "x")], 2, false),
            (vec![(0, "x")], 1, false),
        ] {
            let image = |(revision, bytes): &(usize, &str)| Image {
                revision: *revision,
                file: "a.png".into(),
                kind: ImageKind::Png,
                bytes: bytes.as_bytes().to_vec(),
            };
            let content = Content::Images(all.iter().map(image).collect());
            assert_eq!(is_same_plot(&Plot { id: "".into(), title: "".into(), content }, revisions), want, "{all:?}");
        }
    }
}
