//! ONNX: a protocol buffer that holds the graph and, as a rule, the weights. Field numbers as in `onnx.proto3`.

use super::protobuf::{Fields, Value, fields};
use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Shape, Tensor, shown};

/// More dimensions, metadata or inputs than this are not listed.
const MANY: usize = 1000;

/// A message that begins like a model: the version of the format, a producer, operator sets, or the graph.
pub fn is_it(head: &[u8]) -> bool {
    match head {
        // ir_version, then producer, graph, opset, metadata: models that exist begin so
        [0x08, 1..=40, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..] => true,
        [0x08, 1..=40] => true,
        _ => false,
    }
}

pub fn read(source: &Source) -> Result<Contents> {
    let mut contents = Contents::new(Format::Onnx);
    let mut graph = None;
    let (mut producer, mut version) = (String::new(), String::new());
    let mut opsets = Vec::new();
    let mut model = fields(source);
    while let Some((number, value)) = model.field()? {
        match (number, &value) {
            (1, Value::Number(n)) => contents.say("IR version", n),
            (2, _) => producer = shown(&value.text()?),
            (3, _) => version = shown(&value.text()?),
            (4, _) => say(&mut contents, "domain", &value.text()?),
            (5, Value::Number(n)) if *n != 0 => contents.say("model version", n),
            (6, _) => say(&mut contents, "description", &value.text()?),
            (7, Value::Bytes(part)) => graph = Some(part.clone()),
            (8, Value::Bytes(part)) if opsets.len() < MANY => opsets.push(opset(part)?),
            (14, Value::Bytes(part)) if contents.metadata.len() < MANY => {
                let (key, value) = pair(part)?;
                contents.say(&key, shown(&value));
            }
            _ => {}
        }
    }
    say(&mut contents, "producer", format!("{producer} {version}").trim());
    say(&mut contents, "opset", &opsets.join(", "));
    let Some(graph) = graph else { return Err(source.refuse("it has no graph")) };
    self::graph(&graph, &mut contents)?;
    Ok(contents)
}

fn say(contents: &mut Contents, key: &str, value: &str) {
    if !value.is_empty() {
        contents.say(key, shown(value));
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
        match number {
            1 => key = value.text()?,
            2 => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

fn graph(part: &Source, contents: &mut Contents) -> Result<()> {
    let (mut nodes, mut name) = (0u64, String::new());
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let mut parts = fields(part);
    while let Some((number, value)) = parts.field()? {
        match (number, &value) {
            (1, _) => nodes += 1,
            (2, _) => name = value.text()?,
            (5, Value::Bytes(tensor)) => {
                let tensor = self::tensor(tensor)?;
                contents.push(part, tensor)?;
            }
            (11, Value::Bytes(info)) if inputs.len() < MANY => inputs.push(self::value(info)?),
            (12, Value::Bytes(info)) if outputs.len() < MANY => outputs.push(self::value(info)?),
            _ => {}
        }
    }
    say(contents, "graph", &name);
    contents.say("nodes", nodes);
    // Old models list their weights among the inputs.
    let weights: std::collections::HashSet<&str> = contents.tensors.iter().map(|t| t.name.as_str()).collect();
    inputs.retain(|(name, _)| !weights.contains(name.as_str()));
    for (key, values) in [("input", inputs), ("output", outputs)] {
        for (name, kind) in values {
            contents.say(key, format!("{name} {kind}").trim());
        }
    }
    Ok(())
}

/// An input or an output: its name, element type and shape, in which a dimension may have a name instead of a size.
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
    let Some(tensor) = nested(&mut fields(part), 1)? else { return Ok("(no tensor)".into()) };
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
                    (1, Value::Number(n)) => shown_as = n.to_string(),
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

fn nested(parts: &mut Fields, wanted: u64) -> Result<Option<Source>> {
    while let Some((number, value)) = parts.field()? {
        if let (true, Value::Bytes(part)) = (number == wanted, value) {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// An initializer. Its values lie in `raw_data`, or in a packed list of their type, or in another file.
fn tensor(part: &Source) -> Result<Result<Tensor, String>> {
    let (mut name, mut kind, mut shape) = (String::new(), 0, Vec::new());
    let (mut packed, mut raw, mut external) = (None, None, false);
    let mut parts = fields(part);
    while let Some((number, value)) = parts.field()? {
        match (number, &value) {
            (1, _) => shape.extend(value.numbers(MANY)?),
            (2, Value::Number(n)) => kind = *n,
            (8, _) => name = shown(&value.text()?),
            (9, Value::Bytes(bytes)) => raw = Some(bytes.clone()),
            (4 | 10, Value::Bytes(bytes)) => packed = Some(bytes.clone()),
            (14, Value::Number(n)) => external = *n == 1,
            _ => {}
        }
        if shape.len() > MANY {
            return Err(part.refuse("a tensor has too many dimensions"));
        }
    }
    if shape.iter().any(|d| *d > i64::MAX as u64) {
        return Ok(Err(format!("the shape {} of the tensor `{name}` is absurd", Shape(&shape))));
    }
    let dtype = dtype_of(kind);
    let data = match (raw, packed) {
        _ if external => Data::Elsewhere("they lie in another file"),
        (Some(source), _) if dtype.width().is_some_and(|w| w > 0) => Data::Plain { source, big_endian: false },
        (None, Some(source)) if matches!(dtype, Dtype::F32 | Dtype::F64) => Data::Plain { source, big_endian: false },
        _ => Data::Elsewhere("they are written as a list of numbers"),
    };
    Ok(Tensor::new(name, dtype, shape, data))
}

/// `TensorProto.DataType`
fn dtype_of(number: u64) -> Dtype {
    let other = |name: &str, block, bytes| Dtype::Other { name: name.into(), block, bytes };
    match number {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        8 => other("text", 1, 0),
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        14 => Dtype::C64,
        15 => Dtype::C128,
        16 => Dtype::Bf16,
        17 => Dtype::F8E4M3,
        18 => Dtype::F8E4M3Fnuz,
        19 => Dtype::F8E5M2,
        20 => Dtype::F8E5M2Fnuz,
        21 => other("u4", 1, 0),
        22 => other("i4", 1, 0),
        23 => other("f4", 1, 0),
        24 => Dtype::F8E8M0,
        n => other(&format!("type {n}"), 1, 0),
    }
}
