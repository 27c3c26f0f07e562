//! The variables of a model: an index (a table of names with types, shapes and places) and files with the values.
//! Format: `tensor_bundle.proto` of TensorFlow.

use std::collections::HashMap;

use super::table;
use super::types::{dtype, other, shape, type_name};
use crate::error::Result;
use crate::model::folder::ModelFolder;
use crate::model::formats::protobuf::{Value, fields};
use crate::model::formats::{Contents, TENSORS};
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor, shown};

/// The maximum number of files with values.
const SHARDS: u64 = 1_000;
/// The maximum size of an index.
const INDEX: u64 = 1 << 30;
/// The key of the graph of objects.
const OBJECTS: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// What follows the name of a variable of an object.
pub const SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

/// An entry of the index.
#[derive(Default)]
struct BundleEntry {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    offset: u64,
    size: u64,
    is_sliced: bool,
}

/// Adds all variables as tensors. Returns the serialised graph of objects, if there is one.
pub fn read(folder: &ModelFolder, prefix: &str, contents: &mut Contents) -> Result<Option<Source>> {
    let index = folder.open(&format!("{prefix}.index"))?;
    if index.len() > INDEX {
        return Err(index.refuse(format!("it has {} bytes", index.len())));
    }
    let mut bundle =
        Bundle { folder, prefix, contents, header: None, shards: HashMap::new(), ranges: Vec::new(), objects: None };
    table::read(&index, &mut |key, value| bundle.entry(&index, key, value))?;
    if bundle.header.is_none() {
        return Err(index.refuse("it has no header"));
    }
    bundle.ranges.sort_unstable();
    if bundle.ranges.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].2 > pair[1].1) {
        return Err(index.refuse("variables in it share their bytes"));
    }
    Ok(bundle.objects)
}

struct Bundle<'a> {
    folder: &'a ModelFolder<'a>,
    prefix: &'a str,
    contents: &'a mut Contents,
    /// The number of files, and the byte order.
    header: Option<(u64, bool)>,
    shards: HashMap<u64, Source>,
    /// File, first byte, and end of each variable.
    ranges: Vec<(u64, u64, u64)>,
    objects: Option<Source>,
}

impl Bundle<'_> {
    fn entry(&mut self, index: &Source, key: &[u8], value: Source) -> Result<()> {
        if key.is_empty() {
            self.header = Some(header(index, &value)?);
            return Ok(());
        }
        let Some((shards, big_endian)) = self.header else { return Err(index.refuse("it has no header")) };
        let name = String::from_utf8_lossy(key).into_owned();
        let entry = entry(&value)?;
        if self.ranges.len() >= TENSORS {
            return Err(index.refuse(format!("it has more than {TENSORS} variables")));
        }
        if entry.is_sliced {
            let data = Data::Elsewhere("they are stored in slices");
            let dtype = dtype(entry.dtype).unwrap_or_else(|| other(&type_name(entry.dtype), 0));
            return self.contents.push(index, Tensor::new(shown(&name), dtype, entry.shape, data));
        }
        let source = self.shard(index, entry.shard, shards)?.part(entry.offset, entry.size)?;
        if entry.size > 0 {
            self.ranges.push((entry.shard, entry.offset, entry.offset + entry.size));
        }
        if name == OBJECTS {
            self.objects = Some(source);
            return Ok(());
        }
        let (dtype, data) = match dtype(entry.dtype) {
            Some(dtype) => (dtype, Data::Plain { source, big_endian }),
            // Lengths, a checksum of them, and the bytes of all texts.
            None if entry.dtype == 7 => (other("text", 0), Data::Encoded { source, exact: true }),
            None => (other(&type_name(entry.dtype), 0), Data::Encoded { source, exact: false }),
        };
        // The names of slices have control characters.
        let name = name.strip_suffix(SUFFIX).unwrap_or(&name);
        self.contents.push(index, Tensor::new(shown(name), dtype, entry.shape, data))
    }

    fn shard(&mut self, index: &Source, number: u64, count: u64) -> Result<Source> {
        if number >= count {
            return Err(index.refuse(format!("a variable is in the file {number} of {count}")));
        }
        if let Some(known) = self.shards.get(&number) {
            return Ok(known.clone());
        }
        let shard = self.folder.open(&format!("{}.data-{number:05}-of-{count:05}", self.prefix))?;
        self.shards.insert(number, shard.clone());
        Ok(shard)
    }
}

/// The number of files, and whether values are big-endian.
fn header(index: &Source, source: &Source) -> Result<(u64, bool)> {
    let (mut shards, mut big_endian) = (0, false);
    let mut all = fields(source);
    while let Some((field, value)) = all.field()? {
        match (field, value) {
            (1, Value::Number(number)) => shards = number,
            (2, Value::Number(number)) => big_endian = number == 1,
            _ => {}
        }
    }
    if shards > SHARDS {
        return Err(index.refuse(format!("it claims {shards} files of values")));
    }
    Ok((shards, big_endian))
}

fn entry(source: &Source) -> Result<BundleEntry> {
    let mut entry = BundleEntry::default();
    let mut all = fields(source);
    while let Some((field, value)) = all.field()? {
        match (field, value) {
            (1, Value::Number(number)) => entry.dtype = number,
            (2, Value::Bytes(dims)) => {
                let dims = shape(&dims)?.and_then(|dims| dims.into_iter().collect());
                entry.shape = dims.ok_or_else(|| source.refuse("the shape of a variable is not known"))?;
            }
            (3, Value::Number(number)) => entry.shard = number,
            (4, Value::Number(number)) => entry.offset = number,
            (5, Value::Number(number)) => entry.size = number,
            (7, _) => entry.is_sliced = true,
            _ => {}
        }
    }
    Ok(entry)
}
