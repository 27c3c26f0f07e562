use serde_json::{Map, Value as Json, json};

use crate::cli::args::Format;
use crate::cli::global::Global;
use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::Result;
use crate::escape;
use crate::model::diff::{self, Change, Difference, Movement, OtherContentChange, TensorRow, TensorType, Values};
use crate::model::tensor::Shape;

/// Compare two models: added, removed and changed tensors, and how far their values moved
///
/// Matches tensors by name. For those of the same shape, shows the largest |Δ| of a value, the relative distance (the
/// Euclidean norm of the difference, divided by that of the old values), and the cosine of the angle between the two.
/// The formats may differ.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model diff model.safetensors@HEAD~1 model.safetensors   what training moved
  lockstep model diff a.pt b.safetensors                           formats may differ
  lockstep model diff model.npz@main model.npz --md                for a pull request
  lockstep model diff a.safetensors b.safetensors --json           for programs")]
pub struct Args {
    /// The old model: a file or folder, or one of a revision
    #[arg(value_name = "A")]
    old: String,
    /// The new model
    #[arg(value_name = "B")]
    new: String,
    /// List unchanged tensors, too
    #[arg(long)]
    all: bool,
    /// Load TorchScript modules with libtorch, which may run their code; needs a build with libtorch
    #[arg(long)]
    torch: bool,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let (_, old) = super::contents::read_contents(&args.old, args.torch, global)?;
    let (_, new) = super::contents::read_contents(&args.new, args.torch, global)?;
    diff::check(&old, &args.old)?;
    diff::check(&new, &args.new)?;
    let progress = Progress::new(out, false);
    let difference = diff::compare(&old, &new, &progress);
    progress.finish();
    let difference = difference?;
    if args.format.json {
        out.json(&as_json(args, &difference));
        return Ok(0);
    }
    print(args, &difference, out);
    Ok(0)
}

fn print(args: &Args, difference: &Difference, out: &Output) {
    let rows: Vec<&TensorRow> = difference.rows.iter().filter(|r| args.all || r.change() != Change::Same).collect();
    let head = ["tensor", "change", "max |Δ|", "rel. L2", "cosine", "note"].map(str::to_string);
    let mut cells: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(|row| cells(row))).collect();
    if args.format.md {
        cells[0].iter_mut().for_each(|cell| *cell = cell.replace('|', "\\|"));
        cells[1..].iter_mut().flatten().for_each(|cell| *cell = escape::markdown_cell(cell));
    } else {
        cells.iter_mut().flatten().for_each(|cell| *cell = escape::text(cell));
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4), width(5)];
    if !rows.is_empty() && args.format.md {
        for (at, row) in cells.iter().enumerate() {
            let cell = |(text, width): (&String, usize)| format!("{text:width$}");
            let row: Vec<String> = row.iter().zip(widths).map(cell).collect();
            out.line(format!("| {} |", row.join(" | ")));
            if at == 0 {
                out.line(format!("| {} |", widths.map(|w| "-".repeat(w.max(3))).join(" | ")));
            }
        }
    } else if !rows.is_empty() {
        for (at, [name, change, max, l2, cosine, note]) in cells.iter().enumerate() {
            let [a, b, c, d, e, _] = widths;
            let line = format!("{name:a$}  {change:b$}  {max:>c$}  {l2:>d$}  {cosine:>e$}  {note}");
            let line = line.trim_end();
            out.line(if at == 0 { out.paint_out(Style::Dim, line) } else { line.to_string() });
        }
    }
    if let Some((old, new)) = difference.formats {
        out.status(format!("format: {} → {}", old.title(), new.title()));
    }
    for (key, old, new) in &difference.metadata {
        let value = |v: &Option<String>| v.as_deref().map_or("–".to_string(), |v| text::cut(v, 60));
        out.status(format!("metadata {key}: {} → {}", value(old), value(new)));
    }
    match difference.rest {
        Some(OtherContentChange::Changed) => out.status("settings or other values beside the tensors differ"),
        Some(OtherContentChange::Unread) => out.status("settings and other values beside the tensors are not compared"),
        Some(OtherContentChange::Same) | None => {}
    }
    for (name, notes) in [(&args.old, &difference.notes.0), (&args.new, &difference.notes.1)] {
        notes.iter().for_each(|note| out.status(format!("note: {name}: {note}")));
    }
    out.status(summary(difference));
}

fn cells(row: &TensorRow) -> [String; 6] {
    let change = row.change();
    let mut note = String::new();
    let facts = |f: &TensorType| format!("{} {}", f.dtype, Shape(&f.shape));
    match (change, &row.old, &row.new) {
        (Change::Added, _, Some(new)) => note = facts(new),
        (Change::Removed, Some(old), _) => note = facts(old),
        (Change::Reshaped, Some(old), Some(new)) => note = format!("{} → {}", facts(old), facts(new)),
        (Change::Retyped, Some(old), Some(new)) => note = format!("{} → {}", old.dtype, new.dtype),
        _ => {}
    }
    let [mut max, mut l2, mut cosine] = [const { String::new() }; 3];
    match &row.values {
        Values::Moved(m) => {
            (max, l2, cosine) = (number(Some(m.max)), number(m.relative_l2), angle(m.cosine));
            if m.odd != (0, 0) {
                let odd = format!("NaN or inf: {} → {} of {} values", m.odd.0, m.odd.1, m.count);
                note = if note.is_empty() { odd } else { format!("{note}; {odd}") };
            }
        }
        Values::Unread(why) => note = join(&note, &format!("values not compared: {why}")),
        Values::Differ => note = join(&note, "bytes differ"),
        Values::Same | Values::Incomparable => {}
    }
    let name = if row.name.is_empty() { "(array)".to_string() } else { row.name.clone() };
    [name, word(change).to_string(), max, l2, cosine, note]
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.to_string() } else { format!("{a}; {b}") }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Reshaped => "reshaped",
        Change::Retyped => "retyped",
        Change::Changed => "changed",
        Change::Unread => "unread",
        Change::Same => "same",
    }
}

/// `1.2e-3`, or a dash for an unknown value.
fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(0.0) => "0".into(),
        Some(v) if (0.001..10_000.0).contains(&v.abs()) => format!("{v:.4}"),
        Some(v) => format!("{v:.3e}"),
    }
}

/// A cosine. Close to 1, shows the distance from 1.
fn angle(cosine: Option<f64>) -> String {
    match cosine {
        None => "–".into(),
        // A smaller distance is a rounding error.
        Some(c) if c < 1.0 - 1e-12 && c > 0.999_999 => format!("1-{:.1e}", 1.0 - c),
        Some(c) => format!("{c:.6}"),
    }
}

fn summary(difference: &Difference) -> String {
    let count = |wanted: Change| difference.rows.iter().filter(|r| r.change() == wanted).count();
    let changes = [Change::Added, Change::Removed, Change::Reshaped, Change::Retyped, Change::Changed, Change::Unread];
    let parts: Vec<String> = changes
        .into_iter()
        .chain([Change::Same])
        .filter(|c| count(*c) > 0)
        .map(|c| format!("{} {}", count(c), word(c)))
        .collect();
    let mut text = format!("{}: {}", text::count(difference.rows.len(), "tensor"), parts.join(", "));
    if let Some(total) = difference.total {
        text.push_str(&format!(
            "; over all: max |Δ| {}, rel. L2 {}",
            number(Some(total.max)),
            number(total.relative_l2)
        ));
    }
    text
}

fn as_json(args: &Args, difference: &Difference) -> Json {
    let facts = |f: &TensorType| json!({"dtype": f.dtype.name(), "shape": f.shape, "parameters": f.elements});
    let row = |row: &TensorRow| {
        let mut o = Map::new();
        o.insert("name".into(), json!(row.name));
        o.insert("change".into(), json!(word(row.change())));
        for (key, side) in [("old", &row.old), ("new", &row.new)] {
            if let Some(side) = side {
                o.insert(key.into(), facts(side));
            }
        }
        match &row.values {
            Values::Moved(m) => _ = o.insert("moved".into(), movement(m)),
            Values::Unread(why) => _ = o.insert("unread".into(), json!(why)),
            _ => {}
        }
        Json::Object(o)
    };
    let change = |wanted: Change| difference.rows.iter().filter(|r| r.change() == wanted).count();
    let all = [
        Change::Added,
        Change::Removed,
        Change::Reshaped,
        Change::Retyped,
        Change::Changed,
        Change::Unread,
        Change::Same,
    ];
    let metadata =
        |(key, old, new): &(String, Option<String>, Option<String>)| (key.clone(), json!({"old": old, "new": new}));
    json!({
        "old": args.old,
        "new": args.new,
        "formats": difference.formats.map(|(old, new)| json!({"old": old.word(), "new": new.word()})),
        "counts": all.into_iter().map(|c| (word(c).to_string(), json!(change(c)))).collect::<Map<_, _>>(),
        "moved": difference.total.as_ref().map(movement),
        "tensors": difference.rows.iter().filter(|r| args.all || r.change() != Change::Same).map(row).collect::<Vec<_>>(),
        "metadata": difference.metadata.iter().map(metadata).collect::<Map<_, _>>(),
        "rest": difference.rest.map(|rest| match rest {
            OtherContentChange::Same => "same",
            OtherContentChange::Changed => "changed",
            OtherContentChange::Unread => "unread",
        }),
        "notes": {"old": difference.notes.0, "new": difference.notes.1},
    })
}

fn movement(m: &Movement) -> Json {
    json!({
        "max": m.max,
        "relative_l2": m.relative_l2,
        "cosine": m.cosine,
        "values": m.count,
        "not_finite": {"old": m.odd.0, "new": m.odd.1, "changed": m.odd_changed},
    })
}
