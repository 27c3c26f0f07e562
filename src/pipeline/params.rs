//! The values that the params of a stage have now.

use std::collections::{BTreeMap, HashMap};

use super::load::Files;
use super::stage::{Place, Stage};
use crate::error::{Error, Result};
use crate::value::{Value, read};

/// Params files, each read and parsed once.
#[derive(Default)]
pub struct ParamsCache {
    files: HashMap<Place, Option<Value>>,
}

/// The params of one file by their keys as written; `None` if the file does not exist.
pub type FileParams = Option<BTreeMap<String, Value>>;

/// By file as the stage spells it. Keys that a file lacks are left out; of a file that counts as a whole the top-level
/// keys are taken.
pub fn read_params(files: &dyn Files, stage: &Stage, cache: &mut ParamsCache) -> Result<BTreeMap<String, FileParams>> {
    let mut out = BTreeMap::new();
    for file in &stage.params {
        if !cache.files.contains_key(&file.place) {
            let bytes = files.read(&file.place)?;
            let value = bytes.map(|bytes| read(&file.place.to_string(), &bytes)).transpose()?;
            cache.files.insert(file.place.clone(), value);
        }
        let value = cache.files.get(&file.place).and_then(Option::as_ref);
        let values = match (value, &file.keys) {
            (None, _) => None,
            (Some(value), Some(keys)) => {
                let found = keys.iter().filter_map(|k| value.get(k).map(|v| (k.clone(), v.clone())));
                Some(found.collect())
            }
            (Some(Value::Map(entries)), None) => Some(entries.iter().cloned().collect()),
            (Some(other), None) => {
                let message = format!("{} holds {}, a params file holds a map", file.place, other.kind());
                return Err(Error::usage(message));
            }
        };
        out.insert(file.spelled.clone(), values);
    }
    Ok(out)
}
