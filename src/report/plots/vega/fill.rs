//! Replaces DVC's anchors in a template. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::super::listing::cell;
use super::super::{Column, Series};

const START: &str = "<DVC_METRIC_";
const SEPARATOR: &str = "::";
const DASHES: [[u8; 2]; 7] = [[1, 0], [8, 8], [8, 4], [4, 4], [4, 2], [2, 1], [1, 1]];
const SHAPES: [&str; 4] = ["circle", "square", "triangle", "diamond"];
/// Legible on light and dark cards.
const COLOURS: [&str; 8] = ["#3f7fe0", "#e0752f", "#1f9d74", "#cf4c98", "#b08c1f", "#8268e6", "#d65151", "#6f93a8"];

/// The names of the columns in the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    pub x: String,
    pub y: String,
}

/// The values for a template.
pub struct TemplateValues<'a> {
    pub title: &'a str,
    pub names: Names,
    pub x_label: &'a str,
    pub y_label: &'a str,
    /// In the order in which they are shown.
    pub revisions: Vec<&'a str>,
    /// The file and the column of each line of the plot.
    pub lines: Vec<(&'a str, &'a str)>,
    pub rows: Vec<Map<String, Json>>,
}

impl Names {
    /// One name if all lines agree, otherwise DVC's.
    pub fn of(xs: &[&str], ys: &[&str]) -> Names {
        let one = |all: &[&str], other: &str| match all {
            [first, rest @ ..] if rest.iter().all(|name| name == first) => first.to_string(),
            _ => other.to_string(),
        };
        Names { x: one(xs, "dvc_inferred_x_value"), y: one(ys, "dvc_inferred_y_value") }
    }
}

/// The rows of one series: all columns of its file, its x and y, and their origin.
pub fn rows(
    names: &Names,
    columns: &[(String, Column)],
    series: &Series,
    field: &str,
    rev: &str,
) -> Vec<Map<String, Json>> {
    let row = |n: usize| {
        let mut row = Map::new();
        for (name, column) in columns.iter().filter(|(_, column)| column.len() == series.y.len()) {
            row.insert(name.clone(), cell(column, n));
        }
        row.insert(names.x.clone(), cell(&series.x, n));
        row.insert(names.y.clone(), cell(&series.y, n));
        for (key, value) in [("rev", rev), ("filename", &series.file), ("field", field)] {
            row.insert(key.into(), value.into());
        }
        row
    };
    (0..series.y.len()).map(row).collect()
}

/// The filled template, and its unknown anchors.
///
/// Errors: the end of a sentence about the template.
pub fn fill(template: &Json, filling: TemplateValues<'_>) -> Result<(Json, Vec<String>), &'static str> {
    if !contains(template, "<DVC_METRIC_DATA>") {
        return Err("has no place for the data: \"data\": {\"values\": \"<DVC_METRIC_DATA>\"}");
    }
    let values = filling.values();
    let mut unknown = BTreeSet::new();
    let mut spec = template.clone();
    put(&mut spec, &values, &mut unknown);
    Ok((spec, unknown.into_iter().collect()))
}

impl TemplateValues<'_> {
    /// The value of each anchor.
    fn values(self) -> Map<String, Json> {
        let several = |of: &dyn Fn(&(&str, &str)) -> String| {
            let all: BTreeSet<String> = self.lines.iter().map(of).collect();
            Some(all).filter(|all| all.len() > 1)
        };
        let files = several(&|line| line.0.to_string());
        let fields = several(&|line| line.1.to_string());
        // The distinction between the lines, and all possible ones.
        let both = format!("filename{SEPARATOR}field");
        let (varied, domain): (Option<String>, Vec<String>) = match (files, fields) {
            (Some(_), Some(_)) => {
                let all = several(&|line| format!("{}{SEPARATOR}{}", line.0, line.1));
                (Some(both.clone()), all.into_iter().flatten().collect())
            }
            (Some(files), None) => (Some("filename".into()), files.into_iter().collect()),
            (None, Some(fields)) => (Some("field".into()), fields.into_iter().collect()),
            (None, None) => (None, Vec::new()),
        };
        let group: Vec<&str> = std::iter::once("rev").chain(varied.as_deref()).collect();
        let with = |name: &str| json!(group.iter().copied().chain([name]).collect::<Vec<_>>());
        let pivot: Vec<String> = match &varied {
            Some(name) => {
                std::iter::once("rev").chain(name.split(SEPARATOR)).map(|key| format!("datum.{key}")).collect()
            }
            None => vec!["datum.rev".into()],
        };
        let mapped = |range: Json| match &varied {
            Some(field) => json!({
                "field": field,
                "scale": {"domain": domain, "range": range},
                "legend": {"symbolFillColor": "transparent", "symbolStrokeColor": "grey"},
            }),
            None => json!({}),
        };
        let facet = varied.as_ref().map_or(json!({}), |field| json!({"field": field, "sort": []}));
        let cycle = |n: usize| COLOURS[n % COLOURS.len()];
        let colours: Vec<&str> = (0..self.revisions.len()).map(cycle).collect();
        let lines = domain.len();
        let mut tooltip = vec![
            json!({"field": "rev"}),
            json!({"field": escaped(&self.names.x)}),
            json!({"field": escaped(&self.names.y)}),
        ];
        tooltip.extend(varied.as_ref().map(|field| json!({"field": field})));
        let mut rows = self.rows;
        if varied.as_ref() == Some(&both) {
            for row in &mut rows {
                let part = |key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_string();
                let joined = format!("{}{SEPARATOR}{}", part("filename"), part("field"));
                row.insert(both.clone(), joined.into());
            }
        }
        let values = json!({
            "TITLE": self.title,
            "X": escaped(&self.names.x),
            "Y": escaped(&self.names.y),
            "X_LABEL": self.x_label,
            "Y_LABEL": self.y_label,
            "COLOR": {"field": "rev", "scale": {"domain": self.revisions, "range": colours}},
            "ZOOM_AND_PAN": {"name": "grid", "select": "interval", "bind": "scales"},
            "PLOT_HEIGHT": 300,
            "PLOT_WIDTH": 300,
            "GROUP_BY": group,
            "GROUP_BY_X": with(&self.names.x),
            "GROUP_BY_Y": with(&self.names.y),
            "PIVOT_FIELD": pivot.join(&format!(" + '{SEPARATOR}' + ")),
            "TOOLTIP": tooltip,
            "ROW": facet,
            "COLUMN": facet,
            "STROKE_DASH": mapped((0..lines).map(|n| json!(DASHES[n % DASHES.len()])).collect()),
            "SHAPE": mapped((0..lines).map(|n| json!(SHAPES[n % SHAPES.len()])).collect()),
        });
        let Json::Object(mut values) = values else { return Map::new() };
        values.insert("DATA".into(), rows.into_iter().map(Json::Object).collect());
        values
    }
}

/// The name of a field: Vega interprets a point as access to a nested value.
fn escaped(name: &str) -> String {
    name.chars().flat_map(|c| matches!(c, '.' | '[' | ']').then_some('\\').into_iter().chain([c])).collect()
}

fn contains(json: &Json, anchor: &str) -> bool {
    match json {
        Json::String(text) => text == anchor,
        Json::Array(items) => items.iter().any(|item| contains(item, anchor)),
        Json::Object(entries) => entries.values().any(|value| contains(value, anchor)),
        _ => false,
    }
}

/// Replaces anchors by their values: a text that is only an anchor by any value, an anchor within a longer text by a
/// text.
fn put(json: &mut Json, values: &Map<String, Json>, unknown: &mut BTreeSet<String>) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| put(item, values, unknown)),
        Json::Object(entries) => entries.values_mut().for_each(|value| put(value, values, unknown)),
        Json::String(text) => {
            if let Some(value) = text.strip_prefix(START).and_then(|rest| values.get(rest.strip_suffix('>')?)) {
                *json = value.clone();
                return;
            }
            if text.contains(START) {
                *text = inside(text, values, unknown);
            }
        }
        _ => {}
    }
}

/// A text with anchors in it, each replaced once: inserted values are not searched again.
fn inside(text: &str, values: &Map<String, Json>, unknown: &mut BTreeSet<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = from.find('>') else { return out + from };
        let (anchor, name) = (&from[..=end], &from[START.len()..end]);
        match values.get(name) {
            Some(Json::String(value)) => out.push_str(value),
            _ => {
                unknown.insert(anchor.to_string());
                out.push_str(anchor);
            }
        }
        rest = &from[anchor.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling<'a>(revisions: &[&'a str], lines: &[(&'a str, &'a str)]) -> TemplateValues<'a> {
        let names = Names::of(&["step"], &lines.iter().map(|line| line.1).collect::<Vec<_>>());
        let row = |(file, field): &(&str, &str)| {
            let Json::Object(row) = json!({"rev": "a", "filename": file, "field": field}) else { return Map::new() };
            row
        };
        let rows = lines.iter().map(row).collect();
        let (revisions, lines) = (revisions.to_vec(), lines.to_vec());
        TemplateValues { title: "T", names, x_label: "the x", y_label: "the y", revisions, lines, rows }
    }

    fn filled(template: Json, filling: TemplateValues<'_>) -> (Json, Vec<String>) {
        let (spec, unknown) = fill(&json!({"data": {"values": "<DVC_METRIC_DATA>"}, "t": template}), filling).unwrap();
        (spec["t"].clone(), unknown)
    }

    #[test]
    fn one_line_of_two_revisions() {
        let template = json!({
            "title": "<DVC_METRIC_TITLE>", "x": ["<DVC_METRIC_X>", "<DVC_METRIC_X_LABEL>"], "color": "<DVC_METRIC_COLOR>",
            "dash": "<DVC_METRIC_STROKE_DASH>", "pivot": "<DVC_METRIC_PIVOT_FIELD>", "by": "<DVC_METRIC_GROUP_BY_X>",
            "expr": "datum['<DVC_METRIC_Y>'] > 0 && '<DVC_METRIC_X>'", "no": "<DVC_METRIC_NEW>", "n": 1,
        });
        let (spec, unknown) = filled(template, filling(&["a", "b"], &[("l.csv", "val.loss")]));
        let want = json!({
            "title": "T", "x": ["step", "the x"],
            "color": {"field": "rev", "scale": {"domain": ["a", "b"], "range": ["#3f7fe0", "#e0752f"]}},
            "dash": {}, "pivot": "datum.rev", "by": ["rev", "step"],
            "expr": "datum['val\\.loss'] > 0 && 'step'", "no": "<DVC_METRIC_NEW>", "n": 1,
        });
        assert_eq!((spec, unknown), (want, vec!["<DVC_METRIC_NEW>".to_string()]));
    }

    #[test]
    fn several_lines_are_told_apart() {
        let template =
            json!(["<DVC_METRIC_Y>", "<DVC_METRIC_ROW>", "<DVC_METRIC_PIVOT_FIELD>", "<DVC_METRIC_GROUP_BY>"]);
        for (lines, want) in [
            (
                vec![("l.csv", "a"), ("l.csv", "b")],
                json!(["dvc_inferred_y_value", {"field": "field", "sort": []}, "datum.rev + '::' + datum.field", ["rev", "field"]]),
            ),
            (
                vec![("l.csv", "a"), ("m.csv", "a")],
                json!(["a", {"field": "filename", "sort": []}, "datum.rev + '::' + datum.filename", ["rev", "filename"]]),
            ),
            (
                vec![("l.csv", "a"), ("m.csv", "b")],
                json!([
                    "dvc_inferred_y_value", {"field": "filename::field", "sort": []},
                    "datum.rev + '::' + datum.filename + '::' + datum.field", ["rev", "filename::field"]
                ]),
            ),
        ] {
            assert_eq!(filled(template.clone(), filling(&["r"], &lines)).0, want);
        }
        let both = filling(&["r"], &[("l.csv", "a"), ("m.csv", "b")]);
        let (spec, _) = fill(&json!({"values": "<DVC_METRIC_DATA>"}), both).unwrap();
        assert_eq!(spec["values"][1]["filename::field"], "m.csv::b");
    }

    #[test]
    fn a_template_needs_data_and_what_is_put_there_is_not_read_again() {
        assert!(fill(&json!({"mark": "line"}), filling(&["r"], &[("a", "b")])).is_err());
        let sly = TemplateValues { title: "<DVC_METRIC_Y_LABEL>", ..filling(&["r"], &[("a", "b")]) };
        assert_eq!(filled(json!("x <DVC_METRIC_TITLE> <DVC_METRIC_X"), sly).0, "x <DVC_METRIC_Y_LABEL> <DVC_METRIC_X");
    }
}
