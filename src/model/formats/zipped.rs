//! Zip archives, told apart by what is in them: PyTorch, NumPy's `.npz`, Keras 3.

use super::zip::Archive;
use super::{Contents, Format, npy, torch};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor, shown};

/// The configuration of a Keras model; those of large ones have a megabyte.
const JSON: u64 = 16 << 20;
/// Enough of a compressed entry for any header that is read.
const HEAD: u64 = 70_000;

pub fn read(source: &Source) -> Result<Contents> {
    let archive = Archive::read(source)?;
    let pickle = archive.entries.iter().map(|e| e.name.as_str()).find_map(|name| {
        let prefix = name.strip_suffix("data.pkl")?;
        (prefix.is_empty() || prefix.find('/') == Some(prefix.len() - 1)).then_some(prefix)
    });
    if let Some(prefix) = pickle {
        return named(torch::read_zip(source, &archive, prefix), source, "PyTorch");
    }
    if archive.find("metadata.json").is_some() && archive.find("config.json").is_some() {
        return named(keras(source, &archive), source, "Keras");
    }
    if !archive.entries.is_empty() && archive.entries.iter().all(|e| e.name.ends_with(".npy")) {
        return named(arrays(source, &archive), source, "NumPy");
    }
    let names: Vec<String> = archive.entries.iter().take(5).map(|e| shown(&e.name)).collect();
    Err(source.refuse(format!("it is a zip archive of no model that is known; in it are {}", names.join(", "))))
}

/// An archive that turned out to be of a kind is spoken of as such.
fn named(read: Result<Contents>, source: &Source, kind: &str) -> Result<Contents> {
    read.map_err(|mut e| {
        if e.message == source.refuse("").message {
            e.message = format!("{} is no sound {kind} archive", source.name());
        }
        e
    })
}

fn arrays(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Npz);
    for entry in &archive.entries {
        let name = shown(entry.name.strip_suffix(".npy").unwrap_or(&entry.name));
        let tensor = match archive.stored(entry)? {
            Some(content) => {
                let header = npy::header(&content)?;
                let values = content.part(header.values, content.len() - header.values)?;
                npy::tensor(&name, &header, values)
            }
            None => {
                let head = Source::of_bytes(archive.head(entry, HEAD)?, source.name());
                let header = npy::header(&head)?;
                let Some(deflated) = archive.deflated(entry)? else {
                    return Err(source.refuse(format!("the array `{name}` is compressed in an unusual way")));
                };
                let data = match (header.objects, header.fortran && header.shape.len() > 1) {
                    (true, _) => Data::Elsewhere("Python objects are not read"),
                    (_, true) => Data::Elsewhere("they are compressed in Fortran order"),
                    _ => Data::Deflated { source: deflated, skip: header.values, big_endian: header.big_endian },
                };
                Tensor::new(name, header.dtype, header.shape, data)
            }
        };
        contents.push(source, tensor)?;
    }
    contents.say("arrays", contents.tensors.len());
    Ok(contents)
}

/// Keras 3: two JSON documents, and the weights in an HDF5 file.
fn keras(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Keras);
    let mut say = |file: &str, keys: &[(&str, &str)]| -> Result<()> {
        let Some(entry) = archive.find(file) else { return Ok(()) };
        let text = archive.content(entry, JSON)?.all(JSON, file)?;
        let json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| source.refuse(format!("{file} in it is no valid JSON: {e}")))?;
        for (pointer, key) in keys {
            if let Some(value) = json.pointer(pointer).and_then(|v| v.as_str()) {
                contents.say(key, shown(value));
            }
        }
        if let Some(layers) = json.pointer("/config/layers").and_then(|v| v.as_array()) {
            contents.say("layers", layers.len());
        }
        Ok(())
    };
    say("metadata.json", &[("/keras_version", "keras version"), ("/date_saved", "saved")])?;
    say("config.json", &[("/class_name", "class"), ("/config/name", "name")])?;
    if let Some(weights) = archive.find("model.weights.h5") {
        contents.say("weights", format!("model.weights.h5, {} bytes", weights.size));
    }
    contents.note("the weights are in HDF5, whose tree is not read");
    Ok(contents)
}
