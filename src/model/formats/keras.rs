//! Keras 3's `.keras`: two JSON documents, and the weights in an HDF5 file. Lists what the configuration runs when it
//! is loaded: layers with Python code, and classes and functions outside of Keras.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::zip::Archive;
use super::{Contents, Format, OtherContent};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The maximum size of a configuration; large models have about a megabyte.
const JSON: u64 = 16 << 20;
/// The maximum number of listed calls.
const NAMED: usize = 1000;

pub fn read_archive(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Keras);
    let mut calls = BTreeSet::new();
    let mut say = |file: &str, keys: &[(&str, &str)]| -> Result<()> {
        let Some(entry) = archive.find(file) else { return Ok(()) };
        let text = archive.content(entry, JSON)?.all(JSON, file)?;
        let json: Json =
            serde_json::from_slice(&text).map_err(|e| source.refuse(format!("{file} in it is not valid JSON: {e}")))?;
        for (pointer, key) in keys {
            if let Some(value) = json.pointer(pointer).and_then(Json::as_str) {
                contents.add_metadata(key, shown(value));
            }
        }
        if let Some(layers) = json.pointer("/config/layers").and_then(Json::as_array) {
            contents.add_metadata("layers", layers.len());
        }
        name_code(&json, "", &mut calls);
        Ok(())
    };
    say("metadata.json", &[("/keras_version", "keras version"), ("/date_saved", "saved")])?;
    say("config.json", &[("/class_name", "class"), ("/config/name", "name")])?;
    contents.calls = calls.into_iter().collect();
    if let Some(weights) = archive.find("model.weights.h5") {
        contents.add_metadata("weights", format!("model.weights.h5, {} bytes", weights.size));
    }
    contents.note("the weights are in HDF5, whose tree is not read");
    contents.rest = OtherContent::Unread;
    Ok(contents)
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
