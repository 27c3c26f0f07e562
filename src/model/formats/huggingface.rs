//! A folder of Hugging Face: `config.json`, a tokenizer, and weights in safetensors or PyTorch's form, in one file or in
//! several with an index. All shards together are one model: a tensor that is in two of them, a shard that is missing
//! and an index that disagrees with the shards are errors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use super::{Contents, Format, OtherContent, OtherContentHash};
use crate::error::Result;
use crate::model::folder::ModelFolder;
use crate::model::tensor::shown;

/// The maximum size of a JSON file: the index of a model with many experts has some megabytes.
const JSON: u64 = 64 << 20;
/// The maximum size of a tokenizer.
const TOKENIZER: u64 = 256 << 20;
/// The maximum number of shards; each is open.
const SHARDS: usize = 500;
/// The maximum number of names in a message.
const NAMED: usize = 3;

/// Names of weights, in the order in which the libraries look for them.
const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "adapter_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "adapter_model.bin",
    "diffusion_pytorch_model.bin",
];
/// Weights of other libraries.
const OTHERS: &[&str] = &["tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx"];
/// Descriptions of a model.
const CONFIGS: &[&str] = &["config.json", "adapter_config.json"];
/// Small files that are part of a model.
const PARTS: &[&str] = &[
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
];

/// Returns true if the folder has weights with one of the usual names, and a description or an index.
pub fn is_it(folder: &ModelFolder) -> bool {
    let has_weights = WEIGHTS.iter().any(|name| folder.has(name) || folder.has(&index_of(name)));
    let has_config = CONFIGS.iter().any(|name| folder.has(name));
    has_weights || (has_config && (folder.names().any(|name| shard_number(name).is_some()) || other(folder).is_some()))
}

fn index_of(weights: &str) -> String {
    format!("{weights}.index.json")
}

fn other<'a>(folder: &ModelFolder) -> Option<&'a str> {
    OTHERS.iter().copied().find(|name| folder.has(name))
}

/// `model-00001-of-00003.safetensors` as ("model.safetensors", 1, 3).
fn shard_number(name: &str) -> Option<(String, usize, usize)> {
    let (stem, extension) = name.rsplit_once('.').filter(|(_, ext)| ["safetensors", "bin"].contains(ext))?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (base, number) = rest.rsplit_once('-')?;
    let number_of = |digits: &str| -> Option<usize> {
        let is_plain = digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit());
        if is_plain { digits.parse().ok() } else { None }
    };
    Some((format!("{base}.{extension}"), number_of(number)?, number_of(count)?))
}

/// Reads the folder as one model.
pub fn read(folder: &ModelFolder) -> Result<Contents> {
    let mut contents = Contents::new(Format::HuggingFace);
    let mut hash = OtherContentHash::default();
    description(folder, &mut hash, &mut contents)?;
    tokenizer(folder, &mut contents)?;
    let shards = shards(folder)?;
    let mut index = Index::default();
    for (weights, files) in &shards {
        if let Some(read) = Index::read(folder, &index_of(weights))? {
            index = read;
            index.check_files(folder, &index_of(weights), files)?;
        }
    }
    let files: Vec<&String> = shards.values().flatten().collect();
    if files.len() > 1 {
        contents.add_metadata("shards", files.len());
    }
    let mut places: HashMap<String, String> = HashMap::new();
    for file in files {
        shard(folder, file, &mut places, &mut hash, &mut contents)?;
    }
    index.check_tensors(folder, &places)?;
    notes(folder, &shards, &mut contents);
    parts(folder, &mut hash, &mut contents)?;
    contents.rest = contents.rest.with(hash.rest());
    Ok(contents)
}

/// The files with weights: those of the first name of [`WEIGHTS`] that the folder has, as its libraries choose them.
fn shards(folder: &ModelFolder) -> Result<BTreeMap<String, Vec<String>>> {
    let mut by_name: BTreeMap<String, Vec<(usize, usize, String)>> = BTreeMap::new();
    for name in folder.names() {
        if let Some((weights, number, count)) = shard_number(name) {
            by_name.entry(weights).or_default().push((number, count, name.to_string()));
        }
    }
    for weights in WEIGHTS {
        if folder.has(weights) {
            return Ok(BTreeMap::from([(weights.to_string(), vec![weights.to_string()])]));
        }
        if let Some(found) = by_name.get(*weights) {
            return Ok(BTreeMap::from([(weights.to_string(), numbered(folder, weights, found)?)]));
        }
        if let Some(index) = Index::read(folder, &index_of(weights))? {
            let files: BTreeSet<&String> = index.map.values().collect();
            return Ok(BTreeMap::from([(weights.to_string(), files.into_iter().cloned().collect())]));
        }
    }
    match other(folder) {
        Some(name) => Err(folder
            .refuse(format!("its weights are in {name}, which is not read as a part of a folder"))
            .hint("name the file itself, or save the model with safetensors")),
        None => Err(folder.refuse("it has no weights with a usual name")),
    }
}

/// Checks that all shards are there.
fn numbered(folder: &ModelFolder, weights: &str, found: &[(usize, usize, String)]) -> Result<Vec<String>> {
    let count = found.iter().map(|(_, count, _)| *count).max().unwrap_or_default();
    if found.iter().any(|(number, of, _)| *of != count || *number == 0 || *number > count) {
        let names: Vec<&str> = found.iter().take(NAMED).map(|(_, _, name)| name.as_str()).collect();
        return Err(
            folder.refuse(format!("the shards of {weights} have numbers that do not fit: {}", names.join(", ")))
        );
    }
    if count > SHARDS {
        return Err(folder.refuse(format!("it has {count} shards, more than the {SHARDS} that are read")));
    }
    let numbers: BTreeSet<usize> = found.iter().map(|(number, _, _)| *number).collect();
    if let Some(missing) = (1..=count).find(|number| !numbers.contains(number)) {
        return Err(folder
            .refuse(format!("shard {missing} of {count} of {weights} is missing"))
            .hint("bring it back: what is pinned with lockstep checkout, what is downloaded from its hub"));
    }
    Ok(found.iter().map(|(_, _, name)| name.clone()).collect())
}

/// The index of shards: the file of each tensor.
#[derive(Default)]
struct Index {
    name: String,
    map: BTreeMap<String, String>,
}

impl Index {
    fn read(folder: &ModelFolder, name: &str) -> Result<Option<Index>> {
        #[derive(Deserialize)]
        struct File {
            weight_map: BTreeMap<String, String>,
        }
        let Some(text) = folder.read(name, JSON)? else { return Ok(None) };
        let file: File = serde_json::from_slice(&text).map_err(|e| folder.refuse(format!("{name} is wrong: {e}")))?;
        if file.weight_map.len() > super::TENSORS {
            return Err(folder.refuse(format!("{name} has more than {} tensors", super::TENSORS)));
        }
        if let Some(file) = file.weight_map.values().find(|file| file.contains('/') || file.contains('\\')) {
            return Err(folder.refuse(format!("{name} names the file `{}`, which is not in the folder", shown(file))));
        }
        Ok(Some(Index { name: name.to_string(), map: file.weight_map }))
    }

    /// Checks that the files of the index are the files of the folder.
    fn check_files(&self, folder: &ModelFolder, name: &str, files: &[String]) -> Result<()> {
        let listed: BTreeSet<&String> = self.map.values().collect();
        if listed.len() > SHARDS {
            return Err(
                folder.refuse(format!("{name} names {} files, more than the {SHARDS} that are read", listed.len()))
            );
        }
        if let Some(missing) = listed.iter().find(|file| !folder.has(file)) {
            return Err(folder.refuse(format!("{name} names {}, which is missing", shown(missing))));
        }
        match files.iter().find(|file| !listed.contains(file)) {
            Some(extra) => Err(folder.refuse(format!("{name} does not name {extra}"))),
            None => Ok(()),
        }
    }

    /// Checks that each tensor is where the index says.
    fn check_tensors(&self, folder: &ModelFolder, places: &HashMap<String, String>) -> Result<()> {
        if self.name.is_empty() {
            return Ok(());
        }
        for (tensor, file) in &self.map {
            let (name, tensor_name) = (&self.name, shown(tensor));
            match places.get(tensor) {
                None => {
                    return Err(folder.refuse(format!("{name} names the tensor `{tensor_name}`, which is in no shard")));
                }
                Some(place) if place != file => {
                    let why =
                        format!("{name} says that the tensor `{tensor_name}` is in {}; it is in {place}", shown(file));
                    return Err(folder.refuse(why));
                }
                Some(_) => {}
            }
        }
        match places.keys().filter(|tensor| !self.map.contains_key(*tensor)).min() {
            Some(tensor) => Err(folder.refuse(format!("{} does not name the tensor `{}`", self.name, shown(tensor)))),
            None => Ok(()),
        }
    }
}

/// Adds the tensors of a shard.
fn shard(
    folder: &ModelFolder,
    file: &str,
    places: &mut HashMap<String, String>,
    hash: &mut OtherContentHash,
    contents: &mut Contents,
) -> Result<()> {
    let source = folder.open(file)?;
    let read = super::read(&source)?;
    for tensor in read.tensors {
        if let Some(other) = places.insert(tensor.name.clone(), file.to_string()) {
            let name = shown(&tensor.name);
            return Err(folder.refuse(format!("the tensor `{name}` is in {other} and in {file}")));
        }
        contents.push(&source, Ok(tensor))?;
    }
    for (key, value) in read.metadata {
        hash.field(1, key.as_bytes());
        hash.field(2, value.as_bytes());
    }
    contents.rest = contents.rest.with(read.rest);
    contents.calls.extend(read.calls);
    contents.calls.dedup();
    // Notes on values are made for the whole folder.
    let notes = read.notes.into_iter().filter(|note| !note.starts_with("the values of "));
    contents.notes.extend(notes.map(|note| format!("{file}: {note}")));
    Ok(())
}

/// What `config.json` says. Its numbers are listed, since they are the shape of the model.
fn description(folder: &ModelFolder, hash: &mut OtherContentHash, contents: &mut Contents) -> Result<()> {
    const LISTED: &[&str] = &[
        "model_type",
        "dtype",
        "torch_dtype",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "tie_word_embeddings",
        "transformers_version",
        "peft_type",
        "base_model_name_or_path",
        "_class_name",
        "_diffusers_version",
    ];
    for config in CONFIGS {
        let Some(text) = folder.read(config, JSON)? else { continue };
        hash.field(3, &text);
        let json: Json =
            serde_json::from_slice(&text).map_err(|e| folder.refuse(format!("{config} is not valid JSON: {e}")))?;
        let names = json.get("architectures").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        let names: Vec<String> = names.take(10).map(shown).collect();
        if !names.is_empty() {
            contents.add_metadata("architecture", names.join(", "));
        }
        for key in LISTED {
            match json.get(*key) {
                Some(Json::String(text)) => contents.add_metadata(key, shown(text)),
                Some(value @ (Json::Number(_) | Json::Bool(_))) => contents.add_metadata(key, value),
                _ => {}
            }
        }
        if let Some(method) = json.pointer("/quantization_config/quant_method").and_then(Json::as_str) {
            contents.add_metadata("quantization", shown(method));
        }
        // Code of the repository, which `trust_remote_code` runs.
        let code = json.get("auto_map").and_then(Json::as_object).into_iter().flatten();
        let code = code.filter_map(|(_, class)| class.as_str()).take(NAMED * 10);
        contents.calls.extend(code.map(|class| format!("{} with trust_remote_code", shown(class))));
    }
    contents.calls.sort();
    contents.calls.dedup();
    Ok(())
}

/// The kind of the tokenizer, and the size of its vocabulary.
fn tokenizer(folder: &ModelFolder, contents: &mut Contents) -> Result<()> {
    #[derive(Deserialize)]
    struct Config {
        tokenizer_class: Option<String>,
    }
    #[derive(Deserialize)]
    struct Fast {
        model: Option<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        r#type: Option<String>,
        #[serde(default)]
        vocab: Vocabulary,
    }
    let class = match folder.read("tokenizer_config.json", JSON)? {
        Some(text) => {
            let config: Config = serde_json::from_slice(&text)
                .map_err(|e| folder.refuse(format!("tokenizer_config.json is wrong: {e}")))?;
            config.tokenizer_class
        }
        None => None,
    };
    let (mut kind, mut size) = (None, None);
    if folder.has("tokenizer.json") {
        let source = folder.open("tokenizer.json")?;
        if source.len() > TOKENIZER {
            contents.note(format!("tokenizer.json is larger than {} MiB, and not looked at", TOKENIZER >> 20));
        } else {
            let reader = std::io::BufReader::new(source.reader());
            let fast: Fast = serde_json::from_reader(reader)
                .map_err(|e| folder.refuse(format!("tokenizer.json is not valid: {e}")))?;
            if let Some(model) = fast.model {
                (kind, size) = (model.r#type, Some(model.vocab.0));
            }
        }
    } else {
        let files = [
            ("tokenizer.model", "SentencePiece"),
            ("spiece.model", "SentencePiece"),
            ("merges.txt", "BPE"),
            ("vocab.txt", "WordPiece"),
        ];
        kind = files.iter().find(|(file, _)| folder.has(file)).map(|(_, kind)| kind.to_string());
    }
    let size = size.filter(|size| *size > 0).map(|size| format!("{size} tokens"));
    let parts: Vec<String> = [class, kind].into_iter().flatten().map(|part| shown(&part)).chain(size).collect();
    if !parts.is_empty() {
        contents.add_metadata("tokenizer", parts.join(", "));
    }
    Ok(())
}

/// The number of entries of a vocabulary, which is an object or a list. The entries are not kept.
#[derive(Default)]
struct Vocabulary(usize);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Vocabulary, D::Error> {
        struct Count;
        impl<'de> serde::de::Visitor<'de> for Count {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vocabulary, A::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Vocabulary(count))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vocabulary, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Vocabulary(count))
            }

            fn visit_unit<E>(self) -> std::result::Result<Vocabulary, E> {
                Ok(Vocabulary(0))
            }
        }
        from.deserialize_any(Count)
    }
}

/// Weights that are not read, since others are.
fn notes(folder: &ModelFolder, shards: &BTreeMap<String, Vec<String>>, contents: &mut Contents) {
    let is_weights = |name: &str| {
        WEIGHTS.contains(&name)
            || OTHERS.contains(&name)
            || shard_number(name).is_some_and(|(w, _, _)| WEIGHTS.contains(&w.as_str()))
    };
    let is_read = |name: &str| shards.values().flatten().any(|file| file == name);
    let unread: Vec<&str> = folder.names().filter(|name| is_weights(name) && !is_read(name)).collect();
    if !unread.is_empty() {
        let first = unread.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = if unread.len() > NAMED { format!(" and {} more", unread.len() - NAMED) } else { String::new() };
        contents.note(format!("{first}{more} also have weights, which are not read"));
        contents.rest = OtherContent::Unread;
    }
}

/// Hashes the other files of a model, and its Python code.
fn parts(folder: &ModelFolder, hash: &mut OtherContentHash, contents: &mut Contents) -> Result<()> {
    let is_part = |name: &str| PARTS.contains(&name) || (name.ends_with(".py") && !name.contains('/'));
    for name in folder.names().filter(|name| is_part(name)) {
        let source = folder.open(name)?;
        if source.len() > TOKENIZER {
            contents.note(format!("{} is too large to be compared", shown(name)));
            contents.rest = OtherContent::Unread;
            continue;
        }
        hash.field(4, name.as_bytes());
        hash.source(&source)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        let found = |name| shard_number(name).map(|(name, number, count)| format!("{name} {number} {count}"));
        assert_eq!(found("model-00001-of-00003.safetensors").as_deref(), Some("model.safetensors 1 3"));
        assert_eq!(found("pytorch_model-00012-of-00100.bin").as_deref(), Some("pytorch_model.bin 12 100"));
        for name in
            ["model.safetensors", "model-1-of-3.safetensors", "model-00001-of-0000x.bin", "a-00001-of-00002.txt"]
        {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
