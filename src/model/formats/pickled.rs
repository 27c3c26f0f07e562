//! Pickles of any Python objects, in particular scikit-learn's models, also as written by joblib. Nothing is unpickled:
//! the globals are listed, and NumPy arrays are listed under the attributes that hold them.
//!
//! joblib stores the bytes of an array in the stream right after the object that describes it. [`arrays`] reads the
//! descriptions.

use std::collections::{BTreeSet, HashSet};

use super::arrays::{self, ArrayKind, Arrays};
use super::pickle::{self, Id, Node, Pickle};
use super::walk::{self, Visit, Walk};
use super::{Contents, Format, HEAD, OtherContent, TENSORS, dtype};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Tensor, shown};

/// The maximum number of listed globals.
const LISTED: usize = 30;
/// The maximum number of calls per file.
const NAMED: usize = 1000;
/// Shorter byte strings are not weights.
const LONG: u64 = 64;

/// Protocol 2 and newer begin with a mark of their own. An older pickle begins with a global, or is parsed: text that
/// begins with a bracket soon fails to parse as a pickle.
pub fn is_it(head: &[u8]) -> bool {
    match head {
        [0x80, 2..=5, ..] => true,
        [b'c', rest @ ..] => {
            let mut lines = rest.splitn(3, |b| *b == b'\n');
            let word = |line: Option<&[u8]>| {
                line.is_some_and(|l| !l.is_empty() && l.iter().all(|b| b.is_ascii_alphanumeric() || b"._".contains(b)))
            };
            word(lines.next()) && word(lines.next()) && lines.next().is_some()
        }
        [b'(' | b'}' | b']', ..] => {
            let source = Source::of_bytes(head.to_vec(), "");
            let mut reader = source.reader();
            match pickle::read(&mut reader, Some(arrays::wrapped)) {
                Ok(_) => true,
                // The remainder is outside of the bytes that were read.
                Err(e) => head.len() >= HEAD as usize && e.causes.iter().any(|why| why.contains("cut short")),
            }
        }
        _ => false,
    }
}

pub fn read(source: &Source) -> Result<Contents> {
    let mut reader = source.reader();
    let pickle = pickle::read(&mut reader, Some(arrays::wrapped))?;
    let globals = globals(&pickle);
    let joblib = globals.iter().any(|g| g.starts_with("joblib.numpy_pickle."));
    let mut contents = Contents::new(if joblib { Format::Joblib } else { Format::Pickle });
    describe(&pickle, &globals, &mut contents);
    find_tensors(&pickle, source, None, &mut |_, _| Ok(None), &mut contents)?;
    Ok(contents)
}

/// Returns the tensor for an object, by its path and number, if it is one.
pub type Recognise<'a> = dyn FnMut(&str, Id) -> Result<Option<Result<Tensor, String>>> + 'a;

/// Finds the arrays of an object, including those in arrays of objects under a prefix, and tensors that the caller
/// recognises, and notes what is not read.
pub fn find_tensors(
    pickle: &Pickle,
    source: &Source,
    prefix: Option<&str>,
    recognise: &mut Recognise,
    contents: &mut Contents,
) -> Result<()> {
    let (skip_root, prefix) = (prefix.is_some(), prefix.unwrap_or_default());
    let mut arrays = Arrays::new(pickle, source);
    let (mut found, mut unknown, mut failed) = (Vec::new(), 0u64, None);
    let mut read_ids: HashSet<Id> = HashSet::new();
    let mut visit = |path: &str, id| {
        if found.len() > TENSORS || failed.is_some() {
            return Visit::Skip;
        }
        let read = recognise(path, id).and_then(|tensor| match tensor {
            Some(tensor) => Ok(ArrayKind::Array { tensors: vec![tensor], objects: None }),
            None => arrays.read(id, &join(prefix, path)),
        });
        match read {
            Ok(ArrayKind::Other) => Visit::Enter,
            Ok(ArrayKind::UnknownArray) => {
                unknown += 1;
                Visit::Enter
            }
            Ok(ArrayKind::Array { tensors, objects: Some(objects) }) => {
                // The array of an `.npy` itself is described by its header.
                found.extend(tensors.into_iter().filter(|_| !(skip_root && id == pickle.root)));
                Visit::EnterOnly(objects)
            }
            Ok(ArrayKind::Array { tensors, objects: None }) => {
                found.extend(tensors);
                read_ids.insert(id);
                Visit::Skip
            }
            Err(e) => {
                failed = Some(e);
                Visit::Skip
            }
        }
    };
    let complete = Walk::over(pickle, &mut visit, source)?;
    if let Some(e) = failed {
        return Err(e);
    }
    for tensor in found {
        contents.push(source, tensor)?;
    }
    if !complete {
        contents.note(walk::TOO_DEEP);
    }
    if unknown > 0 {
        contents.note(format!("{unknown} arrays are of a kind that is not known, and not read"));
    }
    if globals(pickle).iter().any(|g| g.starts_with("joblib.numpy_pickle.") && g.ends_with("NDArrayWrapper")) {
        contents.note("arrays in files of their own, as joblib before 0.10 kept them, are not read");
    }
    note_bytes(pickle, &read_ids, contents);
    let rest = pickle::hash(pickle, source, &|id| read_ids.contains(&id))?;
    contents.rest = contents.rest.with(rest);
    Ok(())
}

/// Byte strings that belong to no array may be weights of another library.
fn note_bytes(pickle: &Pickle, arrays: &HashSet<Id>, contents: &mut Contents) {
    let mut known: HashSet<Id> = HashSet::new();
    for id in arrays {
        if let Node::CallResult(made) = pickle.node(*id) {
            let parts = [Some(made.args), made.state].into_iter().flatten().filter_map(|id| pickle.items(id)).flatten();
            for part in parts {
                known.insert(*part);
                // `_codecs.encode(text, 'latin1')`, `bytearray(bytes)`
                known.extend(pickle.call(*part).and_then(|(_, args)| args.first().copied()));
            }
        }
    }
    let (mut count, mut bytes) = (0u64, 0u64);
    for (id, node) in pickle.nodes.iter().enumerate() {
        if let Node::Bytes { length, .. } = node
            && *length >= LONG
            && !known.contains(&(id as Id))
        {
            (count, bytes) = (count + 1, bytes.saturating_add(*length));
        }
    }
    if count > 0 {
        contents.note(format!("byte strings and long texts in it are not read as weights: {count}, of {bytes} bytes"));
    }
}

/// Reads the pickle of an array of Python objects: its calls and arrays. Problems are noted and do not stop the reader.
pub fn read_objects(values: &Source, name: &str, contents: &mut Contents) {
    let title = if name.is_empty() { "it".to_string() } else { format!("`{name}`") };
    contents
        .note(format!("{title} is an array of Python objects, a pickle: NumPy loads it only with allow_pickle=True"));
    let mut inner = Contents::new(contents.format);
    let read = pickle::read(&mut values.reader(), Some(arrays::wrapped)).and_then(|pickle| {
        // The array itself is described by the header before the pickle.
        let globals = globals(&pickle);
        inner.calls = globals.iter().filter(|g| !is_usual(g)).map(|g| shown(g)).collect();
        find_tensors(&pickle, values, Some(name), &mut |_, _| Ok(None), &mut inner)
    });
    match read {
        Ok(()) => {
            for tensor in inner.tensors {
                if contents.tensors.len() < TENSORS {
                    contents.tensors.push(tensor);
                }
            }
            contents.rest = contents.rest.with(inner.rest);
            contents.notes.extend(inner.notes);
        }
        Err(e) => {
            let why = e.causes.join(", ");
            contents.note(format!("the pickle of {title} cannot be read: {why}"));
            contents.rest = OtherContent::Unread;
            inner.calls.push(format!("whatever the damaged pickle of {title} names"));
        }
    }
    add_calls(&mut contents.calls, inner.calls);
}

/// Adds new calls, up to the limit.
fn add_calls(calls: &mut Vec<String>, more: Vec<String>) {
    let mut known: BTreeSet<String> = calls.iter().cloned().collect();
    for call in more {
        if calls.len() >= NAMED {
            let rest = "others, which are not listed";
            calls.extend((!known.contains(rest)).then(|| rest.to_string()));
            break;
        }
        if known.insert(call.clone()) {
            calls.push(call);
        }
    }
}

fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_string(),
        (prefix, "") => prefix.to_string(),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}

/// Adds protocol, class of the object, library versions, and calls.
pub fn describe(pickle: &Pickle, globals: &BTreeSet<String>, contents: &mut Contents) {
    contents.add_metadata("protocol", pickle.protocol);
    if let Some((module, name)) = class(pickle, pickle.root) {
        contents.add_metadata("object", shown(&format!("{module}.{name}")));
    }
    if let Some(version) = version(pickle, pickle.root) {
        contents.add_metadata("sklearn version", version);
    }
    contents.calls = globals.iter().filter(|g| !is_usual(g)).map(|g| shown(g)).collect();
    // Checkpoints of PyTorch always have the same few.
    if !globals.is_empty() && matches!(contents.format, Format::Pickle | Format::Joblib) {
        let mut names: Vec<String> = globals.iter().take(LISTED).map(|g| shown(g)).collect();
        if globals.len() > LISTED {
            names.push(format!("and {} more", globals.len() - LISTED));
        }
        contents.add_metadata("globals", names.join(", "));
    }
}

/// Every global that the pickle names, sorted.
pub fn globals(pickle: &Pickle) -> BTreeSet<String> {
    let global = |node: &Node| match node {
        Node::Global(global) => Some(format!("{}.{}", global.module, global.name)),
        _ => None,
    };
    pickle.nodes.iter().filter_map(global).collect()
}

/// Globals that every sound model may name: types, arrays, and the functions that build them. Any other global deserves
/// suspicion first. (Unpickling is never safe; this only separates usual from unusual.)
pub fn is_usual(global: &str) -> bool {
    let Some((module, name)) = global.rsplit_once('.') else { return false };
    let is_class = name.starts_with(|c: char| c.is_ascii_uppercase());
    match module {
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter" | "deque"),
        "builtins" | "__builtin__" => matches!(
            name,
            "set"
                | "frozenset"
                | "list"
                | "dict"
                | "tuple"
                | "slice"
                | "range"
                | "complex"
                | "bytearray"
                | "bytes"
                | "object"
        ),
        "_codecs" => name == "encode",
        "array" => matches!(name, "array" | "_array_reconstructor"),
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "ml_dtypes" => dtype::torch::is_type(name),
        "numpy.rec" => name == "recarray",
        "numpy" if matches!(name, "record" | "recarray" | "matrix") => true,
        "numpy" => ["bool", "int", "uint", "float", "complex", "dtype", "ndarray"].iter().any(|t| name.starts_with(t)),
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "_reconstruct" | "scalar"),
        "numpy.core.numeric" | "numpy._core.numeric" => name == "_frombuffer",
        "numpy.ma" | "numpy.ma.core" => matches!(name, "_mareconstruct" | "MaskedArray"),
        "numpy.random._pickle" | "torch.jit._pickle" => true,
        "joblib.numpy_pickle" => name == "NumpyArrayWrapper",
        "torch" => matches!(name, "Size" | "device" | "Tensor" | "per_tensor_affine") || dtype::torch::is_type(name),
        "torch.storage" => matches!(name, "TypedStorage" | "UntypedStorage"),
        "torch._utils" => name.starts_with("_rebuild_"),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        _ if module.starts_with("__torch__.") || module == "__torch__" => true,
        _ => {
            ["torch.nn.", "torch.ao.nn.", "sklearn.", "scipy.sparse."].iter().any(|p| module.starts_with(p)) && is_class
        }
    }
}

/// The class of an object; `copyreg._reconstructor` of old protocols has it as an argument.
fn class(pickle: &Pickle, id: Id) -> Option<(&str, &str)> {
    match pickle.call(id)? {
        (("copyreg" | "copy_reg", _), args) => pickle.global(*args.first()?),
        (global, _) => Some(global),
    }
}

fn version(pickle: &Pickle, id: Id) -> Option<&str> {
    let Node::CallResult(made) = pickle.node(id) else { return None };
    pickle.text(pickle.get(made.state?, "_sklearn_version")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_several_pickles_are_joined_up_to_a_limit() {
        let mut calls = vec!["b".to_string()];
        add_calls(&mut calls, ["a", "b", "a"].map(String::from).to_vec());
        assert_eq!(calls, ["b", "a"]);
        add_calls(&mut calls, (0..5000).map(|i| format!("f{i}")).collect());
        assert_eq!(calls.len(), NAMED + 1);
        add_calls(&mut calls, vec!["c".into()]);
        assert_eq!((calls.len(), calls[NAMED].as_str()), (NAMED + 1, "others, which are not listed"));
    }

    #[test]
    fn the_unusual_is_told_from_the_usual() {
        for usual in [
            "torch._utils._rebuild_tensor_v2",
            "torch.BFloat16Storage",
            "torch.float8_e4m3fn",
            "torch.nn.modules.linear.Linear",
            "__torch__.torch.nn.modules.linear.Linear",
            "sklearn.linear_model._logistic.LogisticRegression",
            "numpy._core.multiarray._reconstruct",
            "numpy.float64",
            "builtins.set",
        ] {
            assert!(is_usual(usual), "{usual}");
        }
        for unusual in [
            "os.system",
            "posix.system",
            "builtins.eval",
            "builtins.getattr",
            "torch.load",
            "torch.storage._load_from_bytes",
            "torch.hub.load",
            "numpy.load",
            "numpy.testing._private.utils.runstring",
            "sklearn.utils._testing.set_random_state",
            "__main__.Net",
            "eval",
        ] {
            assert!(!is_usual(unusual), "{unusual}");
        }
    }
}
