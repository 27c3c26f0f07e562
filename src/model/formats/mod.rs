//! Detects the format of a file by its content, and reads its header. One file per format.
//!
//! A reader gets a [`Source`] and returns [`Contents`]. It reads headers, runs nothing from the file, and trusts no
//! number in the file before checking it. A damaged or hostile file is an error with the reason.

mod arrays;
mod compressed;
mod dtype;
mod gguf;
mod h5;
mod hdf5;
mod huggingface;
mod keras;
mod layers;
mod literal;
mod npy;
mod onnx;
mod other_content;
mod pickle;
mod pickled;
mod protobuf;
mod safetensors;
mod skops;
mod sparse;
mod tensorflow;
mod torch;
mod walk;
mod zip;
mod zipped;

use std::collections::BTreeMap;

pub use layers::Layer;
pub use onnx::locations as external_locations;
pub use other_content::{OtherContent, OtherContentHash};
pub use sparse::{SparseLayout, SparseMatrix};

use crate::error::{Error, Result};
use crate::model::folder::ModelFolder;
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor, shown};

/// More tensors than any model has (the largest have a third of that); a file with more is made to exhaust memory.
const TENSORS: usize = 300_000;
/// How many bytes are read to detect the format.
const HEAD: u64 = 4096;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// safetensors (Hugging Face): a JSON header, then plain values.
    Safetensors,
    /// `torch.save`: a pickle and its storages in a zip archive.
    Torch,
    /// `torch.jit.save`: like [`Format::Torch`], with code.
    TorchScript,
    /// `torch.save` before PyTorch 1.6: pickles, then storages.
    TorchOld,
    /// `torch.save` before PyTorch 0.1.10.
    TorchTar,
    /// ONNX: one protobuf message.
    Onnx,
    /// `numpy.save`: one array.
    Npy,
    /// `numpy.savez`: a zip archive of `.npy` files.
    Npz,
    /// `scipy.sparse.save_npz`: a zip archive of `.npy` files that are one sparse matrix.
    Sparse,
    /// `skops.io.dump`: a zip archive with `schema.json`.
    Skops,
    /// Keras 3's `.keras`, a zip archive, or Keras' `.h5`.
    Keras,
    /// A folder with `saved_model.pb`: TensorFlow, TensorFlow Hub.
    SavedModel,
    /// A folder with `config.json` and weights, as Hugging Face's libraries write it.
    HuggingFace,
    /// HDF5 other than Keras.
    Hdf5,
    /// GGUF of llama.cpp, versions 2 and 3.
    Gguf,
    /// A pickle of Python.
    Pickle,
    /// A pickle with joblib's arrays, or a compressed one.
    Joblib,
    /// A zip archive before its entries are known; never the format of [`Contents`].
    Zip,
}

impl Format {
    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Torch => "PyTorch",
            Format::TorchScript => "TorchScript",
            Format::TorchOld => "PyTorch (before 1.6)",
            Format::TorchTar => "PyTorch (before 0.1.10)",
            Format::Onnx => "ONNX",
            Format::Npy => "NumPy array",
            Format::Npz => "NumPy arrays",
            Format::Sparse => "SciPy sparse matrix",
            Format::Skops => "skops",
            Format::Keras => "Keras",
            Format::SavedModel => "SavedModel",
            Format::HuggingFace => "Hugging Face model",
            Format::Hdf5 => "HDF5",
            Format::Gguf => "GGUF",
            Format::Pickle => "pickle",
            Format::Joblib => "joblib pickle",
            Format::Zip => "zip archive",
        }
    }

    /// The name for programs.
    pub fn word(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Torch => "torch",
            Format::TorchScript => "torchscript",
            Format::TorchOld => "torch-legacy",
            Format::TorchTar => "torch-tar",
            Format::Onnx => "onnx",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Sparse => "scipy-sparse",
            Format::Skops => "skops",
            Format::Keras => "keras",
            Format::SavedModel => "savedmodel",
            Format::HuggingFace => "huggingface",
            Format::Hdf5 => "hdf5",
            Format::Gguf => "gguf",
            Format::Pickle => "pickle",
            Format::Joblib => "joblib",
            Format::Zip => "zip",
        }
    }
}

/// The header of a file.
pub struct Contents {
    /// The format by content; the file's name does not matter.
    pub format: Format,
    /// Key and value, in a deterministic order.
    pub metadata: Vec<(String, String)>,
    /// In the order in which the reader finds them.
    pub tensors: Vec<Tensor>,
    /// Set if the tensors are the arrays of a sparse matrix.
    pub sparse: Option<SparseMatrix>,
    /// The layers, if the file describes them.
    pub layers: Vec<Layer>,
    /// What the reader cannot tell, in sentences.
    pub notes: Vec<String>,
    /// The content besides tensors and metadata.
    pub rest: OtherContent,
    /// Calls that loading the file would make in Python, besides those that tensors need; for pickles.
    pub calls: Vec<String>,
}

impl Contents {
    /// Contents without tensors, metadata or notes.
    pub(in crate::model) fn new(format: Format) -> Contents {
        Contents {
            format,
            metadata: Vec::new(),
            tensors: Vec::new(),
            sparse: None,
            layers: Vec::new(),
            notes: Vec::new(),
            rest: OtherContent::Nothing,
            calls: Vec::new(),
        }
    }

    /// Adds notes on tensors whose values are not read, by reason.
    fn note_unread_values(&mut self) {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for tensor in &self.tensors {
            if let Data::Elsewhere(why) = tensor.data {
                *reasons.entry(why).or_default() += 1;
            }
        }
        for (why, count) in reasons {
            let of = if count == 1 { "1 tensor".to_string() } else { format!("{count} tensors") };
            self.note(format!("the values of {of} are not read: {why}"));
        }
    }

    fn add_metadata(&mut self, key: &str, value: impl ToString) {
        self.metadata.push((shown(key), value.to_string()));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn push(&mut self, source: &Source, tensor: Result<Tensor, String>) -> Result<()> {
        if self.tensors.len() == TENSORS {
            return Err(source.refuse(format!("it has more than {TENSORS} tensors")));
        }
        self.tensors.push(tensor.map_err(|why| source.refuse(why))?);
        Ok(())
    }
}

/// Detects the format and reads the header.
pub fn read(source: &Source) -> Result<Contents> {
    let head = source.head(HEAD)?;
    let (format, read): (Format, fn(&Source) -> Result<Contents>) = match &head[..] {
        [] => return Err(Error::usage(format!("{} is empty", source.name()))),
        h if h.starts_with(b"PK\x03\x04") || h.starts_with(b"PK\x05\x06") => (Format::Zip, zipped::read),
        h if h.starts_with(npy::MAGIC) => (Format::Npy, npy::read),
        h if h.starts_with(gguf::MAGIC) => (Format::Gguf, gguf::read),
        h if torch::is_old(h) => (Format::TorchOld, torch::read_old),
        h if torch::is_tar(h) => (Format::TorchTar, torch::read_tar),
        h if hdf5::is_it(h) => (Format::Hdf5, h5::read),
        h if safetensors::is_it(h) => (Format::Safetensors, safetensors::read),
        h if pickled::is_it(h) => (Format::Pickle, pickled::read),
        h if onnx::is_it(h) => (Format::Onnx, onnx::read),
        h if compressed::kind(h).is_some() => (Format::Joblib, compressed::read),
        _ => {
            return Err(Error::usage(format!("{} is not a model in a known format", source.name())).hint(
                "known are safetensors, PyTorch, ONNX, NumPy, SciPy, Keras, HDF5, GGUF, pickle, joblib and skops",
            ));
        }
    };
    let mut contents = read(source).map_err(|mut e| {
        if e.message == source.refuse("").message {
            e.message = format!("{} is not a valid {} file", source.name(), format.title());
        }
        e
    })?;
    contents.note_unread_values();
    Ok(contents)
}

/// Reads a model that is a folder: a SavedModel, or the files of a model of Hugging Face.
pub fn read_folder(folder: &ModelFolder) -> Result<Contents> {
    let mut contents = if folder.has(tensorflow::GRAPH) {
        tensorflow::read(folder)?
    } else if huggingface::is_it(folder) {
        huggingface::read(folder)?
    } else {
        let error = Error::usage(format!("{} is a folder without a model in a known form", folder.name()));
        return Err(error
            .hint("known are SavedModel (saved_model.pb) and Hugging Face (config.json and weights)")
            .hint("name a file in it"));
    };
    contents.note_unread_values();
    Ok(contents)
}
