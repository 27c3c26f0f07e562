//! Where an ONNX model stores weights: in initializers, dense or sparse, in `Constant` nodes, in attributes of
//! operators beyond the standard ones (trees and linear models of `ai.onnx.ml`), in the branches and bodies of `If`,
//! `Loop` and `Scan`, in functions, and in graphs for training.
//!
//! The other content of a graph (operators, names, settings) goes into one hash, so that a difference is detected.

use std::collections::HashSet;

use super::numbers::{Budget, NumberList};
use super::{MANY, Ports, add_metadata, tensor};
use crate::error::Result;
use crate::model::formats::protobuf::{Value, fields};
use crate::model::formats::{Contents, OtherContent, OtherContentHash};
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor, shown};

/// The maximum nesting of graphs. Python's protocol buffers allow about 30.
const DEPTH: usize = 30;
const ATTRIBUTES: usize = 10_000;
/// The maximum number of bytes read for the hash.
const HASHED: u64 = 64 << 20;
/// A longer text in an attribute is data.
const TEXT: u64 = 4096;

/// Collects the weights of all graphs of a model.
pub struct Graphs<'a> {
    source: &'a Source,
    contents: &'a mut Contents,
    names: HashSet<String>,
    budget: Budget,
    hash: OtherContentHash,
    /// The remaining number of bytes for the hash.
    to_hash: u64,
    nodes: u64,
    /// Nodes in branches, bodies and functions.
    inner_nodes: u64,
    external: Vec<String>,
    graphs_too_deep: u64,
    long_texts: u64,
}

/// The fields of a node that are needed before its attributes are read.
#[derive(Default)]
struct OperatorNode {
    name: String,
    operator: String,
    domain: String,
    outputs: Vec<String>,
    attributes: Vec<Source>,
}

impl OperatorNode {
    /// Returns true if its attributes hold weights, and not only settings.
    fn has_weights(&self) -> bool {
        let is_standard = matches!(self.domain.as_str(), "" | "ai.onnx");
        !is_standard || matches!(self.operator.as_str(), "Constant")
    }

    /// Its name within the names of its tensors and graphs.
    fn title(&self) -> &str {
        [self.name.as_str(), self.outputs.first().map_or("", String::as_str), self.operator.as_str()]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or("node")
    }
}

impl<'a> Graphs<'a> {
    pub fn new(source: &'a Source, contents: &'a mut Contents) -> Graphs<'a> {
        Graphs {
            source,
            contents,
            names: HashSet::new(),
            budget: Budget::new(),
            hash: OtherContentHash::default(),
            to_hash: HASHED,
            nodes: 0,
            inner_nodes: 0,
            external: Vec::new(),
            graphs_too_deep: 0,
            long_texts: 0,
        }
    }

    /// The graph of the model.
    pub fn main(&mut self, part: &Source, ports: &mut Ports) -> Result<()> {
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (2, _) => add_metadata(self.contents, "graph", &value.text()?),
                (11, Value::Bytes(info)) if ports.inputs.len() < MANY => ports.inputs.push(super::value(info)?),
                (12, Value::Bytes(info)) if ports.outputs.len() < MANY => ports.outputs.push(super::value(info)?),
                _ => {}
            }
        }
        self.graph(part, "", 0)
    }

    fn graph(&mut self, part: &Source, path: &str, depth: usize) -> Result<()> {
        // Tensors of this graph come before those of nested graphs, which may have the same names.
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (5, Value::Bytes(tensor)) => self.tensor(tensor, path, None)?,
                (15, Value::Bytes(sparse)) => self.sparse(sparse, path, None)?,
                _ => {}
            }
        }
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (1, Value::Bytes(node)) => self.node(node, path, depth)?,
                // Inputs and outputs of a branch; those of the model are listed.
                (11 | 12, Value::Bytes(info)) if depth > 0 => self.hash_bytes(b'p', info)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub fn function(&mut self, part: &Source) -> Result<()> {
        let (mut name, mut domain) = (String::new(), String::new());
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (1, _) => name = shown(&value.text()?),
                (4..=6, Value::Bytes(text)) => self.hash_bytes(b'f', text)?,
                (10, _) => domain = shown(&value.text()?),
                _ => {}
            }
        }
        self.hash_text(b'F', &format!("{domain}.{name}"));
        let mut defaults = OperatorNode { name: name.clone(), domain: "function".into(), ..OperatorNode::default() };
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (7, Value::Bytes(node)) => self.node(node, &name, 1)?,
                (11, Value::Bytes(attribute)) if defaults.attributes.len() < ATTRIBUTES => {
                    defaults.attributes.push(attribute.clone());
                }
                _ => {}
            }
        }
        self.attributes(&defaults, &name, 1)
    }

    /// Graphs that initialise and continue a training.
    pub fn training(&mut self, part: &Source) -> Result<()> {
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (1 | 2, Value::Bytes(graph)) => self.graph(graph, "training", 1)?,
                (_, Value::Bytes(binding)) => self.hash_bytes(b't', binding)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, part: &Source, path: &str, depth: usize) -> Result<()> {
        *(if depth == 0 { &mut self.nodes } else { &mut self.inner_nodes }) += 1;
        let mut node = OperatorNode::default();
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (1, Value::Bytes(input)) => self.hash_bytes(b'i', input)?,
                (2, Value::Bytes(output)) => {
                    self.hash_bytes(b'o', output)?;
                    if node.outputs.is_empty() {
                        node.outputs.push(shown(&value.text()?));
                    }
                }
                (3, _) => node.name = shown(&value.text()?),
                (4, _) => node.operator = value.text()?,
                (5, Value::Bytes(attribute)) if node.attributes.len() < ATTRIBUTES => {
                    node.attributes.push(attribute.clone());
                }
                (5, _) => return Err(part.refuse(format!("a node in it has more than {ATTRIBUTES} attributes"))),
                (7, _) => node.domain = value.text()?,
                (8, Value::Bytes(overload)) => self.hash_bytes(b'v', overload)?,
                _ => {}
            }
        }
        self.hash_text(b'n', &node.operator);
        self.hash_text(b'd', &node.domain);
        self.attributes(&node, path, depth)
    }

    fn attributes(&mut self, node: &OperatorNode, path: &str, depth: usize) -> Result<()> {
        for attribute in &node.attributes {
            self.attribute(attribute, node, path, depth)?;
        }
        Ok(())
    }

    fn attribute(&mut self, part: &Source, node: &OperatorNode, path: &str, depth: usize) -> Result<()> {
        let mut name = String::new();
        let mut names = fields(part);
        while let Some((number, value)) = names.field()? {
            if number == 1 {
                name = shown(&value.text()?);
            }
        }
        self.hash_text(b'a', &name);
        let is_constant = node.operator == "Constant";
        let title = match is_constant {
            true => node.outputs.first().cloned().unwrap_or_else(|| node.title().to_string()),
            false => format!("{}.{name}", node.title()),
        };
        let (mut floats, mut integers) = (NumberList::default(), NumberList::default());
        let weights = node.has_weights();
        let (mut texts, mut text_count, mut single) = (Vec::new(), 0, false);
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (5, Value::Bytes(tensor)) | (10, Value::Bytes(tensor)) if weights => {
                    self.tensor(tensor, path, Some(&title))?;
                }
                (22, Value::Bytes(sparse)) | (23, Value::Bytes(sparse)) if weights => {
                    self.sparse(sparse, path, Some(&title))?;
                }
                (6, Value::Bytes(graph)) | (11, Value::Bytes(graph)) if depth < DEPTH => {
                    self.graph(graph, &join(path, &format!("{}.{name}", node.title())), depth + 1)?;
                }
                (6 | 11, _) => self.graphs_too_deep += 1,
                (7, _) if weights => floats.add_floats(&value, 4, &mut self.budget)?,
                (8, _) if weights => integers.add_integers(&value, &mut self.budget)?,
                (2, _) if is_constant && name == "value_float" => {
                    single = true;
                    floats.add_floats(&value, 4, &mut self.budget)?;
                }
                (3, _) if is_constant && name == "value_int" => {
                    single = true;
                    integers.add_integers(&value, &mut self.budget)?;
                }
                (4 | 9, Value::Bytes(text)) if is_constant && self.budget.take(8 + text.len()) => {
                    single |= number == 4;
                    text_count += 1;
                    texts.extend(text.len().to_le_bytes());
                    texts.extend(text.head(u64::MAX)?);
                }
                (4 | 9, Value::Bytes(text)) => {
                    self.long_texts += u64::from(text.len() > TEXT);
                    self.hash_bytes(b's', text)?;
                }
                (1 | 13, _) => {}
                (_, Value::Bytes(bytes)) => self.hash_bytes(b'b', bytes)?,
                (_, Value::Number(n)) => self.hash_number(number, *n),
                (_, Value::Fixed(n, _)) => self.hash_number(number, *n),
            }
        }
        for (list, dtype, is_float) in [(floats, Dtype::F32, true), (integers, Dtype::I64, false)] {
            if list.is_empty() {
                continue;
            }
            let is_cut = list.is_cut;
            let source = if is_float { list.floats(self.source.name()) } else { list.integers(8, self.source.name()) };
            let count = source.len() / dtype.width().unwrap_or(1);
            let shape = if single { Vec::new() } else { vec![count] };
            let data = match is_cut {
                true => Data::Elsewhere("they are a list of numbers that is too long"),
                false => Data::Plain { source, big_endian: false },
            };
            self.push(path, Tensor::new(title.clone(), dtype, shape, data))?;
        }
        if text_count > 0 {
            let shape = if single { Vec::new() } else { vec![text_count] };
            let source = Source::of_bytes(texts, self.source.name());
            let data = Data::Encoded { source, exact: true };
            self.push(path, Tensor::new(title, tensor::dtype_of(8), shape, data))?;
        }
        Ok(())
    }

    /// A tensor; `title` is its name if it is in an attribute.
    fn tensor(&mut self, part: &Source, path: &str, title: Option<&str>) -> Result<()> {
        let read = tensor::read(part, &mut self.budget)?;
        self.external(read.external);
        let tensor = read.tensor.map(|tensor| match title {
            Some(title) => tensor.named(title),
            None => tensor,
        });
        self.push(path, tensor)
    }

    /// A sparse tensor consists of values, their indices, and a dense shape.
    fn sparse(&mut self, part: &Source, path: &str, title: Option<&str>) -> Result<()> {
        let (mut values, mut indices, mut shape) = (None, None, Vec::new());
        let mut parts = fields(part);
        while let Some((number, value)) = parts.field()? {
            match (number, &value) {
                (1, Value::Bytes(tensor)) => values = Some(tensor::read(tensor, &mut self.budget)?),
                (2, Value::Bytes(tensor)) => indices = Some(tensor::read(tensor, &mut self.budget)?),
                (3, _) => shape.extend(value.numbers(MANY)?),
                _ => {}
            }
            if shape.len() > MANY {
                return Err(part.refuse("a tensor has too many dimensions"));
            }
        }
        let named = values.as_ref().and_then(|v| v.tensor.as_ref().ok()).map(|t| t.name.clone());
        let name = title.map(str::to_string).or(named).unwrap_or_default();
        let dims: Vec<String> = shape.iter().map(|d| (*d as i64).to_string()).collect();
        if self.contents.metadata.len() < MANY {
            self.contents.add_metadata("sparse", format!("{name} [{}]", dims.join(", ")));
        }
        for (read, name) in [(values, name.clone()), (indices, format!("{name}.indices"))] {
            if let Some(read) = read {
                self.external(read.external);
                self.push(path, read.tensor.map(|tensor| tensor.named(&name)))?;
            }
        }
        Ok(())
    }

    /// If another tensor has the name, the path of its graph is prepended.
    fn push(&mut self, path: &str, tensor: Result<Tensor, String>) -> Result<()> {
        let tensor = tensor.map(|mut tensor| {
            if self.names.contains(&tensor.name) {
                tensor.name = join(path, &tensor.name);
            }
            tensor
        });
        if let Ok(tensor) = &tensor {
            self.names.insert(tensor.name.clone());
        }
        self.contents.push(self.source, tensor)
    }

    fn external(&mut self, location: Option<String>) {
        if let Some(location) = location.filter(|l| self.external.len() < 10 && !self.external.contains(l)) {
            self.external.push(location);
        }
    }

    fn hash_text(&mut self, mark: u8, text: &str) {
        self.hash.field(mark, text.as_bytes());
    }

    fn hash_number(&mut self, field: u64, number: u64) {
        self.hash.update(b"N").update(&field.to_le_bytes()).update(&number.to_le_bytes());
    }

    fn hash_bytes(&mut self, mark: u8, bytes: &Source) -> Result<()> {
        self.hash.update(&[mark]).update(&bytes.len().to_le_bytes());
        match self.to_hash.checked_sub(bytes.len()) {
            Some(left) => {
                self.to_hash = left;
                self.hash.update(&bytes.head(u64::MAX)?);
            }
            None => self.contents.rest = OtherContent::Unread,
        }
        Ok(())
    }

    /// Adds what is known after everything was read.
    pub fn finish(self) {
        self.contents.add_metadata("nodes", self.nodes);
        if self.inner_nodes > 0 {
            self.contents.add_metadata("nodes in branches and functions", self.inner_nodes);
        }
        for location in self.external {
            self.contents.add_metadata("external data", location);
        }
        if self.graphs_too_deep > 0 {
            self.contents.note(format!("graphs that are nested more than {DEPTH} deep are not read"));
        }
        if self.long_texts > 0 {
            self.contents
                .note(format!("long texts or bytes in {} attributes are not read as weights", self.long_texts));
        }
        if self.contents.rest == OtherContent::Nothing {
            self.contents.rest = self.hash.rest();
        }
        if self.graphs_too_deep > 0 {
            self.contents.rest = OtherContent::Unread;
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
