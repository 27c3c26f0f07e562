//! The current values of a stage's params.

use std::collections::{BTreeMap, HashMap};

use super::budget::{Budget, MOST_BYTES};
use super::files::Files;
use super::stage::{InputLocation, ParamsFile, Stage};
use crate::error::{Error, Result};
use crate::value::{Value, read};

/// Params files, each read and parsed once.
#[derive(Default)]
pub struct ParamsCache {
    files: HashMap<InputLocation, Option<ParamsOf>>,
    /// The limit on all values together.
    budget: Budget,
}

/// The content of a params file, with an index of its top-level keys, of which there may be thousands.
struct ParamsOf {
    value: Value,
    index: HashMap<String, usize>,
}

impl ParamsOf {
    fn new(value: Value) -> ParamsOf {
        let entries = if let Value::Map(entries) = &value { entries.as_slice() } else { &[] };
        let index = entries.iter().enumerate().map(|(n, (key, _))| (key.clone(), n)).collect();
        ParamsOf { value, index }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let Value::Map(entries) = &self.value else { return self.value.get(key) };
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let found = &entries[*self.index.get(first)?].1;
        rest.map_or(Some(found), |rest| found.get(rest))
    }
}

/// The params of one file by their keys as written; `None` if the file does not exist.
pub type FileParams = Option<BTreeMap<String, Value>>;

/// Params by file, as the stage spells it. Keys that a file lacks are left out; for a whole file, its top-level keys
/// are returned.
pub fn read_params(files: &dyn Files, stage: &Stage, cache: &mut ParamsCache) -> Result<BTreeMap<String, FileParams>> {
    let mut out = BTreeMap::new();
    for file in &stage.params {
        if !cache.files.contains_key(&file.place) {
            let bytes = files.read(&file.place)?;
            let value = bytes.map(|bytes| read(&file.place.to_string(), &bytes)).transpose()?;
            cache.files.insert(file.place.clone(), value.map(ParamsOf::new));
        }
        let budget = &mut cache.budget;
        let content = cache.files.get(&file.place).and_then(Option::as_ref);
        let values = match (content, &file.keys) {
            (None, _) => None,
            (Some(content), Some(keys)) => {
                let found = || keys.iter().filter_map(|k| content.get(k).map(|v| (k, v)));
                if !found().all(|(key, value)| budget.take_text(key.len()) && budget.take_value(value)) {
                    return Err(too_large(stage, file));
                }
                Some(found().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            (Some(ParamsOf { value: Value::Map(entries), .. }), None) => {
                if !entries.iter().all(|(key, value)| budget.take_text(key.len()) && budget.take_value(value)) {
                    return Err(too_large(stage, file));
                }
                Some(entries.iter().cloned().collect())
            }
            (Some(ParamsOf { value, .. }), None) => {
                let message = format!("{} holds {}, a params file holds a map", file.place, value.kind());
                return Err(Error::usage(message));
            }
        };
        out.insert(file.spelled.clone(), values);
    }
    Ok(out)
}

fn too_large(stage: &Stage, file: &ParamsFile) -> Error {
    let most = MOST_BYTES >> 20;
    Error::usage(format!(
        "the params of all stages take more than {most} MiB with {} of stage {}",
        file.place, stage.name
    ))
    .hint("name the keys that the stage reads, or make the file a dep, which is hashed")
}

#[cfg(test)]
mod tests {
    use super::super::load::memory::Memory;
    use super::*;

    #[test]
    fn keys_whole_files_and_missing_ones() {
        let files = Memory::new(&[
            (
                "pipeline.yaml",
                "stages: {a: {cmd: x, params: [m.l.0, gone, {w.toml: }, {no.yaml: [x]}, {l.json: ['0']}]}}",
            ),
            ("params.yaml", "m: {l: [5]}"),
            ("w.toml", "a = 1\n[b]\nc = 2"),
            ("l.json", "[7]"),
        ]);
        let loaded = files.load();
        let stage = &loaded.pipelines.stages[0];
        let params = read_params(&files, stage, &mut ParamsCache::default()).unwrap();
        assert_eq!(
            serde_json::to_string(&params).unwrap(),
            r#"{"l.json":{"0":7},"no.yaml":null,"params.yaml":{"m.l.0":5},"w.toml":{"a":1,"b":{"c":2}}}"#
        );
        // params files that no template needs are not read at load
        let read: Vec<String> = loaded.inputs.iter().map(|(p, _)| p.to_string()).collect();
        assert_eq!(read, ["params.yaml", "pipeline.yaml"]);
    }
}
