//! SavedModel of TensorFlow, and modules of TensorFlow Hub: a folder with `saved_model.pb` (graph, signatures, objects)
//! and `variables/`. Formats: `saved_model.proto`, `meta_graph.proto`, `graph.proto`.
//!
//! The graph is a program. Its operations that reach for files, or call Python, are named; none is run.

mod bundle;
mod objects;
mod table;
mod types;

use std::collections::BTreeSet;

use self::objects::{ModelObjects, VariableNames, each};
use super::layers::totals;
use super::protobuf::{Value, fields};
use super::{Contents, Format, OtherContent, OtherContentHash};
use crate::error::Result;
use crate::model::folder::ModelFolder;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The file with the graph.
pub const GRAPH: &str = "saved_model.pb";
const VARIABLES: &str = "variables/variables";
/// The maximum size of the graph: protocol buffers end there.
const MOST: u64 = 2 << 30;
/// The maximum size of all assets that are hashed.
const ASSETS: u64 = 256 << 20;
/// The maximum number of listed signatures and of their inputs or outputs.
const LISTED: usize = 100;

/// Operations that reach out of the graph, besides those that restore variables.
const REACHING: &[&str] = &[
    "EagerPyFunc",
    "MatchingFiles",
    "PyFunc",
    "PyFuncStateless",
    "ReadFile",
    "WriteAudioSummary",
    "WriteFile",
    "WriteGraphSummary",
    "DebugIdentity",
    "DebugIdentityV2",
    "DumpDebugInfo",
    "PrintV2",
    "SaveDataset",
    "SaveDatasetV2",
    "LoadDataset",
];

/// Reads a folder with `saved_model.pb`.
pub fn read(folder: &ModelFolder) -> Result<Contents> {
    let mut contents = Contents::new(Format::SavedModel);
    let source = folder.open(GRAPH)?;
    if source.len() > MOST {
        return Err(source.refuse(format!("{GRAPH} has {} bytes, more than a protocol buffer can have", source.len())));
    }
    let mut model = ModelObjects::default();
    let mut graphs = 0;
    each(&source, 2, &mut |graph| {
        graphs += 1;
        // A model may have graphs for training and for serving; they share the variables.
        if graphs <= LISTED { meta_graph(&graph, &mut model, &mut contents) } else { Ok(()) }
    })?;
    if graphs == 0 {
        return Err(source.refuse(format!("{GRAPH} has no graph")));
    }
    if graphs > 1 {
        contents.add_metadata("graphs", graphs);
    }
    if folder.has("keras_metadata.pb") {
        model.read_keras(&folder.open("keras_metadata.pb")?)?;
    }
    if folder.has("tfhub_module.pb") {
        contents.add_metadata("module", "TensorFlow Hub");
    }
    fingerprint(folder, &mut contents)?;
    let mut hash = OtherContentHash::default();
    hash.source(&source)?;
    variables(folder, &model, &mut hash, &mut contents)?;
    assets(folder, &mut hash, &mut contents)?;
    let calls: BTreeSet<String> = contents.calls.drain(..).chain(model.calls).collect();
    contents.calls = calls.into_iter().collect();
    contents.rest = contents.rest.with(hash.rest());
    Ok(contents)
}

fn variables(
    folder: &ModelFolder,
    model: &ModelObjects,
    hash: &mut OtherContentHash,
    contents: &mut Contents,
) -> Result<()> {
    if !folder.has(&format!("{VARIABLES}.index")) {
        if folder.names().any(|name| name.starts_with(VARIABLES)) {
            return Err(folder.refuse(format!("{VARIABLES}.index is missing")));
        }
        contents.add_metadata("variables", 0);
        return Ok(());
    }
    let Some(graph) = bundle::read(folder, VARIABLES, contents)? else { return Ok(()) };
    let graph = text_of(&graph)?;
    hash.source(&graph)?;
    let names = VariableNames::read(&graph)?;
    contents.layers = objects::layers(&contents.tensors, &names, model);
    if let Some(totals) = totals(&contents.layers) {
        contents.add_metadata("model parameters", totals.parameters);
        if let Some(trainable) = totals.trainable {
            contents.add_metadata("trainable", trainable);
            contents.add_metadata("not trainable", totals.parameters - trainable);
        }
    }
    Ok(())
}

/// The only text of a variable: its length, a checksum of the length, and the bytes.
fn text_of(source: &Source) -> Result<Source> {
    let mut reader = source.reader();
    let length = super::protobuf::varint(&mut reader)?;
    reader.skip(4)?;
    reader.part(length)
}

fn meta_graph(graph: &Source, model: &mut ModelObjects, contents: &mut Contents) -> Result<()> {
    let mut all = fields(graph);
    while let Some((field, value)) = all.field()? {
        let Value::Bytes(message) = value else { continue };
        match field {
            1 => about(&message, contents)?,
            2 => operations(&message, contents)?,
            5 => signature(&message, contents)?,
            7 => model.read_graph(&message)?,
            _ => {}
        }
    }
    Ok(())
}

/// Tags, and the version of TensorFlow.
fn about(message: &Source, contents: &mut Contents) -> Result<()> {
    let (mut tags, mut version) = (Vec::new(), String::new());
    let mut all = fields(message);
    while let Some((field, value)) = all.field()? {
        match field {
            4 if tags.len() < LISTED => tags.push(shown(&value.text()?)),
            5 => version = shown(&value.text()?),
            _ => {}
        }
    }
    contents.add_metadata("tags", tags.join(", "));
    if !version.is_empty() {
        contents.add_metadata("TensorFlow version", version);
    }
    Ok(())
}

/// Names operations of the graph and of its functions that reach out.
fn operations(graph: &Source, contents: &mut Contents) -> Result<()> {
    let mut found = BTreeSet::new();
    let mut node = |node: Source| -> Result<()> {
        let mut all = fields(&node);
        while let Some((field, value)) = all.field()? {
            if field == 2 {
                let name = value.text()?;
                if REACHING.contains(&name.as_str()) {
                    found.insert(format!("the operation {name} of its graph"));
                }
            }
        }
        Ok(())
    };
    each(graph, 1, &mut node)?;
    each(graph, 2, &mut |library| each(&library, 1, &mut |function| each(&function, 3, &mut node)))?;
    contents.calls.extend(found);
    Ok(())
}

/// An entry of the map of signatures: `signature serving_default: x f32 [?, 2] → y f32 [?, 3]`.
fn signature(entry: &Source, contents: &mut Contents) -> Result<()> {
    let (mut name, mut inputs, mut outputs) = (String::new(), Vec::new(), Vec::new());
    let mut all = fields(entry);
    while let Some((field, value)) = all.field()? {
        match (field, value) {
            (1, value) => name = shown(&value.text()?),
            (2, Value::Bytes(signature)) => {
                each(&signature, 1, &mut |argument| argument_of(&argument, &mut inputs))?;
                each(&signature, 2, &mut |argument| argument_of(&argument, &mut outputs))?;
            }
            _ => {}
        }
    }
    inputs.sort();
    outputs.sort();
    let is_init = name == "__saved_model_init_op";
    if !is_init && contents.metadata.len() < LISTED {
        let text = format!("{} → {}", inputs.join(", "), outputs.join(", "));
        contents.add_metadata(&format!("signature {name}"), text.trim());
    }
    Ok(())
}

/// `x f32 [?, 2]`
fn argument_of(entry: &Source, found: &mut Vec<String>) -> Result<()> {
    let (mut name, mut dtype, mut shape) = (String::new(), 0, String::new());
    let mut all = fields(entry);
    while let Some((field, value)) = all.field()? {
        match (field, value) {
            (1, value) => name = shown(&value.text()?),
            (2, Value::Bytes(info)) => {
                let mut info = fields(&info);
                while let Some((field, value)) = info.field()? {
                    match (field, value) {
                        (2, Value::Number(number)) => dtype = number,
                        (3, Value::Bytes(dims)) => shape = dims_of(&dims)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if found.len() < LISTED {
        found.push(format!("{name} {} {shape}", types::type_name(dtype)));
    }
    Ok(())
}

fn dims_of(dims: &Source) -> Result<String> {
    let Some(dims) = types::shape(dims)? else { return Ok("[…]".into()) };
    let dim = |dim: &Option<u64>| dim.map_or_else(|| "?".to_string(), |dim| dim.to_string());
    Ok(format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", ")))
}

/// The checksum of the model in `fingerprint.pb`.
fn fingerprint(folder: &ModelFolder, contents: &mut Contents) -> Result<()> {
    if !folder.has("fingerprint.pb") {
        return Ok(());
    }
    let mut all = fields(&folder.open("fingerprint.pb")?);
    while let Some((field, value)) = all.field()? {
        if let (1, Value::Number(number) | Value::Fixed(number, _)) = (field, value) {
            contents.add_metadata("fingerprint", format!("{number:016x}"));
        }
    }
    Ok(())
}

/// Files that the graph reads, like vocabularies.
fn assets(folder: &ModelFolder, hash: &mut OtherContentHash, contents: &mut Contents) -> Result<()> {
    let (mut left, mut count) = (ASSETS, 0);
    for name in folder.names().filter(|name| name.starts_with("assets/") || name.starts_with("assets.extra/")) {
        count += 1;
        let source = folder.open(name)?;
        match left.checked_sub(source.len()) {
            Some(rest) => left = rest,
            None => {
                contents.note(format!("the asset {} is too large to be compared", shown(name)));
                contents.rest = OtherContent::Unread;
                continue;
            }
        }
        hash.field(1, name.as_bytes());
        hash.source(&source)?;
    }
    if count > 0 {
        contents.add_metadata("assets", count);
    }
    Ok(())
}
