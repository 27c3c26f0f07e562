//! A version of a model as its source has it, before it is loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::private_folder::PrivateFolder;
use crate::deploy::ReleasedFile;
use crate::store::ObjectId;
use crate::value::Value;

/// The facts of a version, for metadata, metrics and the page. All of it is text of others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReleaseFacts {
    /// `v1.2.0`; the beginning of the hash for a model without a version.
    pub version: String,
    /// The hash of the model's file or tree.
    pub blake3: Option<ObjectId>,
    /// The commit that pins it.
    pub commit: Option<String>,
    /// Where the repository is.
    pub repository: Option<String>,
    /// The path in the repository.
    pub path: Option<String>,
    /// The label by which it was found.
    pub label: Option<String>,
    /// In bytes.
    pub size: u64,
    /// File, key, value.
    pub metrics: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The files of a version on this disk.
pub struct Release {
    /// What is known of it. The version is empty if only the hash can name it.
    pub facts: ReleaseFacts,
    /// The folder that the model and the files beside it are in.
    pub folder: PathBuf,
    /// The files with their hashes; `None` if there is no manifest.
    pub files: Option<Vec<ReleasedFile>>,
    /// The file of the model, relative to the folder.
    pub file: String,
    /// Removes the copy of a version of the registry when the version is no longer needed.
    pub copy: Option<PrivateFolder>,
}

/// The first 12 digits of a hash: the version of a model that has none.
pub fn version_of_hash(id: &ObjectId) -> String {
    id.hex().chars().take(12).collect()
}

/// The file of the model among the files of a folder: the only ONNX or TorchScript file, or `model.onnx`, `model.pt`.
///
/// Errors: a sentence.
pub fn choose_file<'a>(names: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let is_model = |name: &&str| name.ends_with(".onnx") || name.ends_with(".pt");
    let candidates: Vec<&str> = names.filter(is_model).collect();
    let usual = ["model.onnx", "model.pt"];
    let is_usual = |name: &&&str| usual.contains(&name.rsplit('/').next().unwrap_or(name));
    match (&candidates[..], candidates.iter().filter(is_usual).collect::<Vec<_>>().as_slice()) {
        ([], _) => Err("it has no file that ends with .onnx or .pt".into()),
        ([one], _) => Ok(one.to_string()),
        (_, [one]) => Ok(one.to_string()),
        (several, _) => Err(format!("it has several models: {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_among_the_files_of_a_folder() {
        let choose = |names: &[&'static str]| choose_file(names.iter().copied());
        assert_eq!(choose(&["a/net.onnx", "a/weights.bin"]), Ok("a/net.onnx".into()));
        assert_eq!(choose(&["a/b.onnx", "a/model.onnx"]), Ok("a/model.onnx".into()));
        assert!(choose(&["a/b.onnx", "a/c.onnx"]).unwrap_err().contains("a/b.onnx, a/c.onnx"));
        assert!(choose(&["a.safetensors"]).is_err());
    }
}
