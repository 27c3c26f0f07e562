//! ONNX: a protocol buffer with the graph and, as a rule, the weights. Field numbers as in `onnx.proto3`.
//!
//! [`graph`] finds the weights, [`tensor`] reads one, [`numbers`] reads lists of numbers.

mod external;
mod graph;
mod numbers;
mod tensor;

use std::collections::HashSet;

use super::protobuf::{Value, fields};
use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;
pub use external::locations;
use graph::Graphs;
use tensor::dtype_of;

/// The maximum number of listed dimensions, metadata entries or inputs.
const MANY: usize = 1000;
const FUNCTIONS: usize = 100_000;

/// A message that begins like a model: the version of the format, a producer, operator sets, or the graph.
pub fn is_it(head: &[u8]) -> bool {
    match head {
        // ir_version, then producer, graph, opset, metadata: models that exist begin so
        [0x08, 1..=40, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72 | 0xa2 | 0xca, ..] => true,
        [0x08, 1..=40] => true,
        _ => false,
    }
}

pub fn read(source: &Source) -> Result<Contents> {
    let mut contents = Contents::new(Format::Onnx);
    let (mut graphs, mut functions, mut training) = (Vec::new(), Vec::new(), Vec::new());
    let (mut producer, mut version) = (String::new(), String::new());
    let mut opsets = Vec::new();
    let mut model = fields(source);
    while let Some((number, value)) = model.field()? {
        match (number, &value) {
            (1, Value::Number(n)) => contents.add_metadata("IR version", n),
            (2, _) => producer = shown(&value.text()?),
            (3, _) => version = shown(&value.text()?),
            (4, _) => add_metadata(&mut contents, "domain", &value.text()?),
            (5, Value::Number(n)) if *n != 0 => contents.add_metadata("model version", n),
            (6, _) => add_metadata(&mut contents, "description", &value.text()?),
            (7, Value::Bytes(part)) if graphs.len() < MANY => graphs.push(part.clone()),
            (20, Value::Bytes(part)) if training.len() < MANY => training.push(part.clone()),
            (25, Value::Bytes(part)) if functions.len() < FUNCTIONS => functions.push(part.clone()),
            (25, _) => return Err(source.refuse(format!("it has more than {FUNCTIONS} functions"))),
            (8, Value::Bytes(part)) if opsets.len() < MANY => opsets.push(opset(part)?),
            (14, Value::Bytes(part)) if contents.metadata.len() < MANY => {
                let (key, value) = pair(part)?;
                contents.add_metadata(&key, shown(&value));
            }
            _ => {}
        }
    }
    add_metadata(&mut contents, "producer", format!("{producer} {version}").trim());
    add_metadata(&mut contents, "opset", &opsets.join(", "));
    if graphs.is_empty() {
        return Err(source.refuse("it has no graph"));
    }
    let mut read = Graphs::new(source, &mut contents);
    // Repeated occurrences of a message are merged, as protocol buffers require.
    let mut ports = Ports::default();
    for graph in &graphs {
        read.main(graph, &mut ports)?;
    }
    for function in &functions {
        read.function(function)?;
    }
    for info in &training {
        read.training(info)?;
    }
    read.finish();
    ports.add_to(&mut contents);
    Ok(contents)
}

/// Inputs and outputs of the graph.
#[derive(Default)]
struct Ports {
    inputs: Vec<(String, String)>,
    outputs: Vec<(String, String)>,
}

impl Ports {
    /// Old models list their weights among the inputs.
    fn add_to(mut self, contents: &mut Contents) {
        let weights: HashSet<&str> = contents.tensors.iter().map(|t| t.name.as_str()).collect();
        self.inputs.retain(|(name, _)| !weights.contains(name.as_str()));
        for (key, values) in [("input", self.inputs), ("output", self.outputs)] {
            for (name, kind) in values {
                contents.add_metadata(key, format!("{name} {kind}").trim());
            }
        }
    }
}

fn add_metadata(contents: &mut Contents, key: &str, value: &str) {
    if !value.is_empty() {
        contents.add_metadata(key, shown(value));
    }
}

/// `ai.onnx 17`
fn opset(part: &Source) -> Result<String> {
    let (mut domain, mut version) = (String::new(), 0);
    let mut fields = fields(part);
    while let Some((number, value)) = fields.field()? {
        match (number, &value) {
            (1, _) => domain = shown(&value.text()?),
            (2, Value::Number(n)) => version = *n,
            _ => {}
        }
    }
    Ok(if domain.is_empty() { version.to_string() } else { format!("{domain} {version}") })
}

fn pair(part: &Source) -> Result<(String, String)> {
    let (mut key, mut text) = (String::new(), String::new());
    let mut fields = fields(part);
    while let Some((number, value)) = fields.field()? {
        // A field of another kind is unknown to other readers, and changes nothing.
        match (number, &value) {
            (1, Value::Bytes(_)) => key = value.text()?,
            (2, Value::Bytes(_)) => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// An input or an output: its name, element type and shape; a dimension may have a name instead of a size.
fn value(info: &Source) -> Result<(String, String)> {
    let (mut name, mut kind) = (String::new(), String::new());
    let mut parts = fields(info);
    while let Some((number, value)) = parts.field()? {
        match (number, &value) {
            (1, _) => name = shown(&value.text()?),
            (2, Value::Bytes(part)) => kind = self::kind(part)?,
            _ => {}
        }
    }
    Ok((name, kind))
}

fn kind(part: &Source) -> Result<String> {
    let tensor = match fields(part).field()? {
        Some((1, Value::Bytes(tensor))) => tensor,
        Some((4, _)) => return Ok("(sequence)".into()),
        Some((5, _)) => return Ok("(map)".into()),
        Some((8, _)) => return Ok("(sparse tensor)".into()),
        Some((9, _)) => return Ok("(optional)".into()),
        _ => return Ok("(no tensor)".into()),
    };
    let (mut dtype, mut dims) = (String::new(), None);
    let mut parts = fields(&tensor);
    while let Some((number, value)) = parts.field()? {
        match (number, &value) {
            (1, Value::Number(n)) => dtype = dtype_of(*n).name().to_string(),
            (2, Value::Bytes(shape)) => dims = Some(shape_of(shape)?),
            _ => {}
        }
    }
    Ok(match dims {
        Some(dims) => format!("{dtype} [{}]", dims.join(", ")),
        None => dtype,
    })
}

fn shape_of(part: &Source) -> Result<Vec<String>> {
    let mut dims = Vec::new();
    let mut parts = fields(part);
    while let Some((number, value)) = parts.field()? {
        if let (1, Value::Bytes(dim)) = (number, value) {
            let mut shown_as = "?".to_string();
            let mut inner = fields(&dim);
            while let Some((number, value)) = inner.field()? {
                match (number, &value) {
                    // A size of -1 is unknown.
                    (1, Value::Number(n)) => shown_as = (*n as i64).to_string(),
                    (2, _) => shown_as = shown(&value.text()?),
                    _ => {}
                }
            }
            if dims.len() < MANY {
                dims.push(shown_as);
            }
        }
    }
    Ok(dims)
}
