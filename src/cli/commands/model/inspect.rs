use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::cli::global::Global;
use crate::cli::output::{Output, Style};
use crate::cli::text;
use crate::error::Result;
use crate::model::formats::{Contents, Layer};
use crate::model::tensor::{Shape, Tensor};

/// Show the content of a model: layers, tensors, types, sizes, metadata
///
/// Detects the format by the content: safetensors, PyTorch, TorchScript, ONNX, NumPy, SciPy, Keras, HDF5, GGUF, pickles
/// of scikit-learn and joblib; and folders: SavedModel of TensorFlow, models of Hugging Face with all their shards. Reads headers only, and runs no code of the file: for a pickle it lists the functions that
/// loading it would call.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model inspect model.safetensors            any file; needs no repository
  lockstep model inspect bert/                        a folder with config.json and shards, or a SavedModel
  lockstep model inspect model.safetensors@HEAD~3     as it was then, from Git or the store
  lockstep model inspect models/fc.npz@v1.2 --tensors every tensor, however many
  lockstep model inspect model.pt --json              for programs")]
pub struct Args {
    /// A file or folder, or one of a revision
    #[arg(value_name = "PATH[@REV]")]
    path: String,
    /// List every layer and tensor
    #[arg(long)]
    tensors: bool,
    /// Load TorchScript modules with libtorch, which may run their code; needs a build with libtorch
    #[arg(long)]
    torch: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "tensors")]
    json: bool,
}

/// The number of tensors that are listed without --tensors.
const FEW: usize = 20;
/// The width of a type's name; structured types have long ones.
const TYPE: usize = 60;

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let (size, contents) = super::contents::read_contents(&args.path, args.torch, global)?;
    if args.json {
        out.json(&as_json(&args.path, size, &contents));
    } else {
        print(args, size, &contents, out);
    }
    if !contents.calls.is_empty() {
        out.warn(format!(
            "loading {} in Python would reach for {}: load it only if you trust who made it",
            args.path,
            few(&contents.calls)
        ));
    }
    Ok(0)
}

/// Tensors, parameters and bytes.
#[derive(Default)]
struct Totals {
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, tensor: &Tensor) {
        self.tensors += 1;
        self.parameters = self.parameters.saturating_add(tensor.elements());
        self.bytes = self.bytes.saturating_add(tensor.bytes());
    }
}

/// The totals, overall and for each type.
fn sums(contents: &Contents) -> (Totals, BTreeMap<&str, Totals>) {
    let (mut all, mut by_type) = (Totals::default(), BTreeMap::<&str, Totals>::new());
    for tensor in &contents.tensors {
        all.add(tensor);
        by_type.entry(tensor.dtype.name()).or_default().add(tensor);
    }
    (all, by_type)
}

fn print(args: &Args, size: u64, contents: &Contents, out: &Output) {
    let (all, by_type) = sums(contents);
    out.line(format!("{}  {}, {}", out.paint_out(Style::Bold, &args.path), contents.format.title(), text::bytes(size)));
    let mut facts: Vec<(&str, String)> = Vec::new();
    if all.tensors > 0 {
        facts.push(("tensors", grouped(all.tensors as u64)));
        facts.push(("parameters", grouped(all.parameters)));
        let types = by_type.iter().map(|(name, sum)| format!("{} {}", text::cut(name, TYPE), text::bytes(sum.bytes)));
        facts.push(("types", types.collect::<Vec<_>>().join(", ")));
    }
    facts.extend(contents.metadata.iter().map(|(key, value)| (key.as_str(), text::cut(value, 300))));
    let width = facts.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).min(40);
    for (key, value) in &facts {
        out.line(format!("  {}  {value}", out.paint_out(Style::Dim, &format!("{key:width$}"))));
    }
    if !contents.layers.is_empty() {
        out.line("");
        let shown = if args.tensors { contents.layers.len() } else { contents.layers.len().min(FEW) };
        layers(&contents.layers[..shown], out);
        if shown < contents.layers.len() {
            let more = grouped((contents.layers.len() - shown) as u64);
            out.status(format!("and {more} more layers: --tensors lists them all"));
        }
    }
    if all.tensors > 0 {
        out.line("");
        let shown = if args.tensors { all.tensors } else { all.tensors.min(FEW) };
        table(&contents.tensors[..shown], out);
        if shown < all.tensors {
            out.status(format!("and {} more: --tensors lists them all", grouped((all.tensors - shown) as u64)));
        }
    }
    for note in &contents.notes {
        out.status(format!("note: {note}"));
    }
}

fn table(tensors: &[Tensor], out: &Output) {
    let head = ["tensor", "type", "shape", "parameters", "bytes"].map(str::to_string);
    let row = |t: &Tensor| {
        let name = if t.name.is_empty() { "(array)".to_string() } else { t.name.clone() };
        let shape = Shape(&t.shape).to_string();
        [name, text::cut(t.dtype.name(), TYPE), shape, grouped(t.elements()), text::bytes(t.bytes())]
    };
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(tensors.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    for (at, [name, dtype, shape, parameters, bytes]) in rows.iter().enumerate() {
        let [a, b, c, d, e] = widths;
        let line = format!("{name:a$}  {dtype:b$}  {shape:c$}  {parameters:>d$}  {bytes:>e$}");
        out.line(if at == 0 { out.paint_out(Style::Dim, &line) } else { line });
    }
}

fn layers(layers: &[Layer], out: &Output) {
    let head = ["layer", "class", "type", "input", "parameters", "trainable"].map(str::to_string);
    let row = |layer: &Layer| {
        let known = |n: Option<u64>| n.map_or_else(|| "?".to_string(), grouped);
        let text = |text: &Option<String>| text::cut(text.as_deref().unwrap_or("–"), TYPE);
        let (dtype, input) = (text(&layer.dtype), text(&layer.input));
        [layer.name.clone(), layer.class.clone(), dtype, input, known(layer.parameters), known(layer.trainable)]
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(layers.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e, f] = [width(0), width(1), width(2), width(3), width(4), width(5)];
    for (at, [name, class, dtype, input, parameters, trainable]) in rows.iter().enumerate() {
        let line = format!("{name:a$}  {class:b$}  {dtype:c$}  {input:d$}  {parameters:>e$}  {trainable:>f$}");
        out.line(if at == 0 { out.paint_out(Style::Dim, &line) } else { line });
    }
}

fn as_json(path: &str, size: u64, contents: &Contents) -> Json {
    let (all, by_type) = sums(contents);
    let sum = |s: &Totals| json!({"tensors": s.tensors, "parameters": s.parameters, "bytes": s.bytes});
    let tensor = |t: &Tensor| {
        json!({
            "name": t.name, "dtype": t.dtype.name(), "shape": t.shape, "parameters": t.elements(), "bytes": t.bytes(),
        })
    };
    let layer = |l: &Layer| {
        json!({
            "name": l.name, "class": l.class, "dtype": l.dtype, "input": l.input, "parameters": l.parameters,
            "trainable": l.trainable,
        })
    };
    // A repeated key (inputs of a graph) gets a list of its values.
    let mut metadata: Map<String, Json> = Map::new();
    for (key, value) in &contents.metadata {
        match metadata.get_mut(key) {
            None => _ = metadata.insert(key.clone(), json!(value)),
            Some(Json::Array(values)) => values.push(json!(value)),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    json!({
        "path": path,
        "format": contents.format.word(),
        "bytes": size,
        "total": sum(&all),
        "dtypes": by_type.iter().map(|(name, s)| (name.to_string(), sum(s))).collect::<Map<_, _>>(),
        "metadata": metadata,
        "layers": contents.layers.iter().map(layer).collect::<Vec<_>>(),
        "tensors": contents.tensors.iter().map(tensor).collect::<Vec<_>>(),
        "calls": contents.calls,
        "notes": contents.notes,
    })
}

/// `os.system, builtins.eval and 3 more`
fn few(names: &[String]) -> String {
    let first = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{first} and {} more", names.len() - 5) } else { first }
}

/// `1,234,567`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut groups: Vec<&str> = (first..digits.len()).step_by(3).map(|at| &digits[at..at + 3]).collect();
    if first > 0 {
        groups.insert(0, &digits[..first]);
    }
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 123_456, 1_234_567].map(grouped), ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
