//! Keras: `.keras` archives (two JSON documents, and the weights in an HDF5 file), and H5 files with models or weights.
//! Lists the layers, and what the configuration runs when it is loaded: layers with Python code, and classes and
//! functions outside of Keras.

mod layers;

use std::collections::BTreeSet;

use serde_json::Value as Json;

use self::layers::{GroupNames, Weights, layers};
use super::hdf5::{self, Tree};
use super::layers::totals;
use super::zip::{Archive, ZipEntry};
use super::{Contents, Format, OtherContent, OtherContentHash};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The maximum size of a configuration; large models have about a megabyte.
const JSON: u64 = 16 << 20;
/// The maximum size of compressed weights, and of other files together.
const INFLATED: u64 = 64 << 20;
/// The maximum number of listed calls.
const NAMED: usize = 1000;
const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";
const WEIGHTS: &str = "model.weights.h5";
/// Attributes with configurations.
pub const CONFIGURATIONS: &[&str] = &["model_config", "training_config"];

/// A `.keras` archive.
pub fn read_archive(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Keras);
    let json = |file: &str| -> Result<Json> {
        let Some(entry) = archive.find(file) else { return Ok(Json::Null) };
        let text = archive.content(entry, JSON)?.all(JSON, file)?;
        serde_json::from_slice(&text).map_err(|e| source.refuse(format!("{file} in it is not valid JSON: {e}")))
    };
    let (metadata, config) = (json(METADATA)?, json(CONFIG)?);
    for (pointer, key) in [("/keras_version", "keras version"), ("/date_saved", "saved")] {
        if let Some(value) = metadata.pointer(pointer).and_then(Json::as_str) {
            contents.add_metadata(key, shown(value));
        }
    }
    let mut hash = OtherContentHash::default();
    configuration(&config, &mut hash, &mut contents);
    match archive.find(WEIGHTS) {
        Some(entry) => weights_of(source, archive, entry, &config, &mut contents)?,
        None => {
            contents.note(format!("it has no {WEIGHTS}: its weights are in several files, which are not read"));
            contents.rest = OtherContent::Unread;
        }
    }
    other_files(archive, &mut hash, &mut contents)?;
    contents.rest = contents.rest.with(hash.rest());
    Ok(contents)
}

fn weights_of(
    source: &Source,
    archive: &Archive,
    entry: &ZipEntry,
    config: &Json,
    contents: &mut Contents,
) -> Result<()> {
    contents.add_metadata("weights", format!("{WEIGHTS}, {} bytes", entry.size));
    if archive.stored(entry)?.is_none() && entry.size > INFLATED {
        contents.note(format!("{WEIGHTS} is compressed and larger than {} MiB: it is not read", INFLATED >> 20));
        contents.rest = OtherContent::Unread;
        return Ok(());
    }
    let content = archive.content(entry, INFLATED)?;
    let tree = hdf5::tree(&content, &[])?;
    add_layers(config, &tree, GroupNames::ByClass, contents);
    hdf5::take(tree, source, contents)
}

/// Hashes the files besides configuration and weights: vocabularies and the like.
fn other_files(archive: &Archive, hash: &mut OtherContentHash, contents: &mut Contents) -> Result<()> {
    let is_other = |e: &&ZipEntry| ![CONFIG, METADATA, WEIGHTS].contains(&e.name.as_str()) && !e.name.ends_with('/');
    let (mut left, mut count) = (INFLATED, 0);
    for entry in archive.entries.iter().filter(is_other) {
        count += 1;
        if entry.size > left {
            contents.note(format!("`{}` in it is too large to be compared", shown(&entry.name)));
            contents.rest = OtherContent::Unread;
            continue;
        }
        let bytes = archive.content(entry, left)?.all(left, "a file in it")?;
        left -= bytes.len() as u64;
        hash.field(2, entry.name.as_bytes());
        hash.field(3, &bytes);
    }
    if count > 0 {
        contents.add_metadata("other files", count);
    }
    Ok(())
}

/// A model or weights in H5, as versions before 3 store them.
pub fn read_legacy(source: &Source, tree: Tree) -> Result<Contents> {
    let mut contents = Contents::new(Format::Keras);
    contents.add_metadata("HDF5 superblock", tree.version);
    let root = &tree.groups[0].1;
    let group = tree.group("model_weights");
    let version = root.text("keras_version").or_else(|| group?.text("keras_version"));
    if let Some(version) = version {
        contents.add_metadata("keras version", shown(version));
    }
    let mut hash = OtherContentHash::default();
    let mut config = Json::Null;
    for name in CONFIGURATIONS {
        let Some(text) = root.text(name) else { continue };
        let json = serde_json::from_str(text);
        let json: Json = json.map_err(|e| source.refuse(format!("its attribute {name} is not valid JSON: {e}")))?;
        if *name == "model_config" {
            config = json;
            configuration(&config, &mut hash, &mut contents);
        } else {
            hash_configuration(json, &mut hash);
        }
    }
    // Keras 3 writes weights into the same groups.
    let base = if group.is_some() { "model_weights" } else { "" };
    let weights = Weights::new(&tree);
    if config.is_null() {
        if let Some(names) = group.unwrap_or(root).texts("layer_names") {
            contents.add_metadata("layers", names.len());
        }
        contents.add_metadata("model parameters", weights.of_model(base));
    } else {
        contents.layers = layers(&config, base, GroupNames::ByLayer, &weights);
        add_totals(&mut contents, weights.of_model(base));
    }
    hdf5::take(tree, source, &mut contents)?;
    contents.rest = contents.rest.with(hash.rest());
    Ok(contents)
}

/// Whether a tree has the weights of Keras 3: all of its datasets are in groups with the name `vars`.
pub fn is_weights(tree: &Tree) -> bool {
    let is_variable = |path: &str| path.starts_with("vars/") || path.contains("/vars/");
    !tree.datasets.is_empty() && tree.datasets.iter().all(|dataset| is_variable(&dataset.name))
}

/// A `.weights.h5` of Keras 3.
pub fn read_weights(source: &Source, tree: Tree) -> Result<Contents> {
    let mut contents = Contents::new(Format::Keras);
    contents.add_metadata("HDF5 superblock", tree.version);
    contents.add_metadata("model parameters", Weights::new(&tree).of_model(""));
    hdf5::take(tree, source, &mut contents)?;
    Ok(contents)
}

/// What a configuration says of the model.
fn configuration(config: &Json, hash: &mut OtherContentHash, contents: &mut Contents) {
    for (pointer, key) in [("/class_name", "class"), ("/config/name", "name")] {
        if let Some(value) = config.pointer(pointer).and_then(Json::as_str) {
            contents.add_metadata(key, shown(value));
        }
    }
    if let Some(layers) = config.pointer("/config/layers").and_then(Json::as_array) {
        contents.add_metadata("layers", layers.len());
    }
    let mut calls = BTreeSet::new();
    name_code(config, "", &mut calls);
    contents.calls = calls.into_iter().collect();
    hash_configuration(config.clone(), hash);
}

/// Hashes a configuration without the numbers that are different each time a model is saved.
fn hash_configuration(mut config: Json, hash: &mut OtherContentHash) {
    strip(&mut config);
    hash.field(1, config.to_string().as_bytes());
}

fn strip(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(strip),
        Json::Object(object) => {
            object.remove("shared_object_id");
            object.values_mut().for_each(strip);
        }
        _ => {}
    }
}

fn add_layers(config: &Json, tree: &Tree, names: GroupNames, contents: &mut Contents) {
    let weights = Weights::new(tree);
    let base = ["layers", "_layer_checkpoint_dependencies"].into_iter().find(|base| tree.group(base).is_some());
    contents.layers = layers(config, base.unwrap_or_default(), names, &weights);
    add_totals(contents, weights.of_model(""));
}

/// Adds the numbers of weights, as `Model.summary` of Keras counts them.
fn add_totals(contents: &mut Contents, parameters: u64) {
    contents.add_metadata("model parameters", parameters);
    // A weight outside of all layers may be of either kind.
    let totals = totals(&contents.layers).filter(|totals| totals.parameters == parameters);
    if let Some(trainable) = totals.and_then(|totals| totals.trainable) {
        contents.add_metadata("trainable", trainable);
        contents.add_metadata("not trainable", parameters.saturating_sub(trainable));
    }
}

/// Lists what a configuration runs. The depth of the document is bounded by its parser.
pub fn name_code(json: &Json, layer: &str, calls: &mut BTreeSet<String>) {
    if calls.len() >= NAMED {
        return;
    }
    let object = match json {
        Json::Array(items) => return items.iter().for_each(|item| name_code(item, layer, calls)),
        Json::Object(object) => object,
        _ => return,
    };
    let text = |key: &str| object.get(key).and_then(Json::as_str).unwrap_or_default();
    let (class, module) = (text("class_name"), text("module"));
    let named = json.pointer("/config/name").and_then(Json::as_str).unwrap_or(layer);
    match class {
        "Lambda" | "__lambda__" => _ = calls.insert(format!("the Python code of the layer `{}`", shown(named))),
        "function" => {
            let function = object.get("config").and_then(Json::as_str).unwrap_or(text("registered_name"));
            if module == "builtins" || !is_keras(module) {
                calls.insert(shown(format!("{module}.{function}").trim_start_matches('.')));
            }
        }
        "" => {}
        class if module.is_empty() || is_keras(module) => {
            // A custom object, which has to be registered before the model is loaded.
            if let Some((package, _)) = text("registered_name").split_once('>').filter(|_| module.is_empty()) {
                calls.insert(shown(&format!("{package}>{class}")));
            }
        }
        class => _ = calls.insert(shown(&format!("{module}.{class}"))),
    }
    object.values().for_each(|value| name_code(value, named, calls));
}

fn is_keras(module: &str) -> bool {
    let first = module.split('.').next().unwrap_or_default();
    matches!(first, "keras" | "builtins") || module.starts_with("tensorflow.keras") || module.starts_with("tf_keras")
}
