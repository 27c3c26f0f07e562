//! PyTorch checkpoints: a pickle that describes tensors, and the storages that they refer to. In a zip archive
//! (`torch.save`, TorchScript), or one after the other (before PyTorch 1.6).
//!
//! Of the pickle only the calls that rebuild tensors are interpreted. Other calls are listed, not executed.

use std::collections::HashMap;

use super::dtype::torch::dtype_of;
use super::pickle::{self, Id, Node, Pickle};
use super::pickled;
use super::zip::Archive;
use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor, is_plain, shown};

/// A pickle of a checkpoint that was deflated by hand; PyTorch stores it.
const PICKLE: u64 = 64 << 20;
/// `pickle.dumps(0x1950a86a20f9469cfc6c, 2)`, the magic number of PyTorch before 1.6.
const OLD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The maximum nesting of calls.
const CALLS: usize = 8;

/// Returns true for a checkpoint from before PyTorch 1.6.
pub fn is_old(head: &[u8]) -> bool {
    head.starts_with(OLD)
}

/// Returns true for a checkpoint from before PyTorch 0.1.10.
pub fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// The oldest form is only identified.
pub fn read_tar(source: &Source) -> Result<Contents> {
    let head = source.head(100)?;
    let name: String = String::from_utf8_lossy(&head).chars().take_while(|c| *c != '\0').collect();
    if !["storages", "tensors", "pickle", "sys_info"].contains(&name.trim_start_matches("./")) {
        return Err(source.refuse(format!("it is a tar archive that begins with `{}`", shown(&name))));
    }
    let mut contents = Contents::new(Format::TorchTar);
    contents.note("this form, from before 2017, is not read further: load it once and save it again");
    Ok(contents)
}

/// A checkpoint in an archive; `prefix` is the folder in it, with its slash.
pub fn read_zip(source: &Source, archive: &Archive, prefix: &str) -> Result<Contents> {
    let entry = |name: &str| archive.find(&format!("{prefix}{name}"));
    let script = archive.entries.iter().any(|e| e.name.strip_prefix(prefix).is_some_and(|n| n.starts_with("code/")));
    let mut contents = Contents::new(if script { Format::TorchScript } else { Format::Torch });
    for (name, key) in [("version", "archive version"), ("byteorder", "byte order"), ("producer", "producer")] {
        if let Some(entry) = entry(name) {
            let text = archive.head(entry, 100)?;
            contents.add_metadata(key, shown(String::from_utf8_lossy(&text).trim()));
        }
    }
    let big_endian = contents.metadata.iter().any(|(key, value)| key == "byte order" && value == "big");
    let Some(data) = entry("data.pkl") else { return Err(source.refuse("it has no data.pkl")) };
    let described = PickledTensors::read(archive.content(data, PICKLE)?, source, big_endian)?;
    described.tensors(&mut stored(source, archive, format!("{prefix}data/")), &mut contents)?;
    if let Some(constants) = entry("constants.pkl").filter(|_| script) {
        let described = PickledTensors::read(archive.content(constants, PICKLE)?, source, big_endian)?;
        let mut storages = stored(source, archive, format!("{prefix}constants/"));
        let mut more = Contents::new(Format::TorchScript);
        described.tensors(&mut storages, &mut more)?;
        contents.rest = contents.rest.with(more.rest);
        contents.notes.extend(more.notes);
        for mut tensor in more.tensors {
            tensor.name = format!("constants.{}", tensor.name);
            contents.push(source, Ok(tensor))?;
        }
    }
    if script {
        let code = archive.entries.iter().filter(|e| e.name.ends_with(".py")).count();
        contents.add_metadata("code files", code);
        if let Some((_, class)) = described.pickle.call(described.pickle.root).map(|(global, _)| global) {
            contents.add_metadata("module", shown(class));
        }
    }
    Ok(contents)
}

/// Finds storages in a folder of the archive.
fn stored<'a>(source: &'a Source, archive: &'a Archive, folder: String) -> impl FnMut(&str) -> Result<Source> + 'a {
    let mut known: HashMap<String, Source> = HashMap::new();
    move |key| {
        if let Some(place) = known.get(key) {
            return Ok(place.clone());
        }
        let place = archive.find(&format!("{folder}{key}")).map(|e| archive.stored(e)).transpose()?.flatten();
        let place = place
            .ok_or_else(|| source.refuse(format!("the storage `{}` is missing in it, or compressed", shown(key))))?;
        known.insert(key.to_string(), place.clone());
        Ok(place)
    }
}

/// Pickles of the magic number, the protocol, the platform, the object and the keys of the storages; then each storage
/// with its length before it.
pub fn read_old(source: &Source) -> Result<Contents> {
    let mut contents = Contents::new(Format::TorchOld);
    let mut reader = source.reader();
    reader.skip(OLD.len() as u64)?;
    for _ in 0..2 {
        pickle::read(&mut reader, None)?;
    }
    let object = pickle::read(&mut reader, None)?;
    let keys = pickle::read(&mut reader, None)?;
    let known: HashMap<String, Storage> =
        (0..object.nodes.len() as Id).filter_map(|id| storage(&object, id)).map(|s| (s.key.clone(), s)).collect();
    let mut places: HashMap<String, Source> = HashMap::new();
    for id in keys.items(keys.root).unwrap_or_default() {
        let Some(storage) = keys.text(*id).and_then(|key| known.get(key)) else {
            return Err(source.refuse("it has a storage that nothing describes"));
        };
        let elements = reader.number(8)?;
        let length = storage.dtype.bytes(elements).filter(|_| elements == storage.elements);
        let length = length.ok_or_else(|| source.refuse("a storage has another length than its description"))?;
        places.insert(storage.key.clone(), reader.part(length)?);
    }
    let mut find = |key: &str| {
        places.get(key).cloned().ok_or_else(|| source.refuse(format!("the storage `{}` is missing in it", shown(key))))
    };
    let described = PickledTensors { pickle: object, text: source.clone(), source, big_endian: false };
    described.tensors(&mut find, &mut contents)?;
    Ok(contents)
}

/// The pickle of a checkpoint.
struct PickledTensors<'a> {
    pickle: Pickle,
    /// Its bytes.
    text: Source,
    /// The whole file.
    source: &'a Source,
    big_endian: bool,
}

impl PickledTensors<'_> {
    fn read(text: Source, source: &Source, big_endian: bool) -> Result<PickledTensors<'_>> {
        let pickle = pickle::read(&mut text.reader(), None)?;
        Ok(PickledTensors { pickle, text, source, big_endian })
    }

    /// Finds the tensors of an object, including NumPy arrays, and adds the other content of the pickle.
    fn tensors(&self, storages: &mut dyn FnMut(&str) -> Result<Source>, contents: &mut Contents) -> Result<()> {
        let PickledTensors { pickle, text, source, big_endian } = self;
        let mut recognise = |path: &str, id: Id| {
            let Some(view) = view(pickle, Call::of(pickle, id), CALLS) else { return Ok(None) };
            let name = name(path);
            let data = match &view.storage {
                None => Data::Elsewhere("they are on the device `meta`, which has none"),
                Some(storage) => place(&view, storage, storages(&storage.key)?, *big_endian)
                    .map_err(|why| source.refuse(format!("the tensor `{name}` {why}")))?,
            };
            Ok(Some(Tensor::new(name, view.dtype, view.shape, data)))
        };
        pickled::find_tensors(pickle, text, None, &mut recognise, contents)?;
        pickled::describe(pickle, &pickled::globals(pickle), contents);
        Ok(())
    }
}

/// Modules store their parts in dicts whose names are meaningless.
fn name(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').filter(|p| !["_modules", "_parameters", "_buffers"].contains(p)).collect();
    parts.join(".")
}

/// The location of a view's elements, checked against its storage.
fn place(view: &View, storage: &Storage, bytes: Source, big_endian: bool) -> Result<Data, String> {
    let Some(width) = view.dtype.width().filter(|w| *w > 0) else {
        return Ok(Data::Elsewhere("their type is not known"));
    };
    if view.shape.len() != view.strides.len() {
        return Err("has not as many strides as dimensions".into());
    }
    let held = bytes.len() / width;
    if storage.dtype.bytes(storage.elements).is_none_or(|claimed| claimed > bytes.len()) {
        return Err(format!("has a storage of {} bytes, less than it claims", bytes.len()));
    }
    if view.shape.contains(&0) {
        return Ok(Data::Plain { source: bytes.part(0, 0).map_err(|e| e.message)?, big_endian });
    }
    let steps = view.shape.iter().zip(&view.strides);
    let last =
        steps.into_iter().try_fold(view.offset, |sum: u64, (d, stride)| sum.checked_add((d - 1).checked_mul(*stride)?));
    if last.is_none_or(|last| last >= held) {
        return Err(format!("reaches beyond its storage of {held} elements"));
    }
    if !is_plain(&view.shape, &view.strides) {
        let (offset, strides) = (view.offset, view.strides.clone());
        return Ok(Data::Strided { storage: bytes, offset, strides, big_endian });
    }
    let elements: u64 = view.shape.iter().product();
    let part = bytes.part(view.offset * width, elements * width).map_err(|e| e.causes.join(", "))?;
    Ok(Data::Plain { source: part, big_endian })
}

struct Storage {
    key: String,
    dtype: Dtype,
    elements: u64,
}

/// A tensor in a pickle: a view of a storage.
struct View {
    storage: Option<Storage>,
    dtype: Dtype,
    /// In elements, like the strides.
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

/// A function and its arguments.
struct Call<'a> {
    module: &'a str,
    function: &'a str,
    args: &'a [Id],
}

impl<'a> Call<'a> {
    fn of(pickle: &'a Pickle, id: Id) -> Option<Call<'a>> {
        let ((module, function), args) = pickle.call(id)?;
        Some(Call { module, function, args })
    }
}

/// Interprets the few calls that make tensors; `left` bounds the nesting.
fn view(pickle: &Pickle, call: Option<Call>, left: usize) -> Option<View> {
    let Call { module, function, args } = call?;
    let arg = |n: usize| args.get(n).copied();
    match (module, function) {
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") if left > 0 => {
            view(pickle, Call::of(pickle, arg(0)?), left - 1)
        }
        ("torch._tensor", "_rebuild_from_type_v2") if left > 0 => {
            let (module, function) = pickle.global(arg(0)?)?;
            view(pickle, Some(Call { module, function, args: pickle.items(arg(2)?)? }), left - 1)
        }
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => Some(View {
            storage: None,
            dtype: dtype_of(pickle.global(arg(0)?)?.1),
            offset: 0,
            shape: pickle.ints(arg(1)?)?,
            strides: pickle.ints(arg(2)?)?,
        }),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" | "_rebuild_qtensor") => {
            let storage = storage(pickle, arg(0)?)?;
            let dtype = match function {
                "_rebuild_tensor_v3" => dtype_of(pickle.global(arg(6)?)?.1),
                _ => storage.dtype.clone(),
            };
            let (offset, shape, strides) = (pickle.int(arg(1)?)?, pickle.ints(arg(2)?)?, pickle.ints(arg(3)?)?);
            Some(View { storage: Some(storage), dtype, offset, shape, strides })
        }
        _ => None,
    }
}

/// `('storage', torch.FloatStorage, '0', 'cpu', 123)`
fn storage(pickle: &Pickle, id: Id) -> Option<Storage> {
    let Node::Persistent(name) = pickle.node(id) else { return None };
    let [word, class, key, _, elements, ..] = pickle.items(*name)? else { return None };
    if pickle.text(*word) != Some("storage") {
        return None;
    }
    let dtype = dtype_of(pickle.global(*class)?.1);
    Some(Storage { key: pickle.text(*key)?.to_string(), dtype, elements: pickle.int(*elements)? })
}
