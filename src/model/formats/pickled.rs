//! Pickles of any Python objects, scikit-learn's models above all, also as joblib writes them. Nothing is unpickled:
//! the globals are named, and NumPy arrays are listed under the attributes that hold them.
//!
//! joblib puts the bytes of an array into the stream right behind the object that describes it.

use std::collections::BTreeSet;

use super::pickle::{self, Behind, Id, Node, Pickle};
use super::walk::Walk;
use super::{Contents, Format, TENSORS, npy, torch};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor, shown};

/// How many of the globals are listed.
const LISTED: usize = 30;

/// Protocol 2 and newer begin with a mark of their own; an older one only if it begins with a global.
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
        _ => false,
    }
}

pub fn read(source: &Source) -> Result<Contents> {
    let mut reader = source.reader();
    let pickle = pickle::read(&mut reader, Some(wrapped))?;
    let globals = globals(&pickle);
    let joblib = globals.iter().any(|g| g.starts_with("joblib.numpy_pickle."));
    let mut contents = Contents::new(if joblib { Format::Joblib } else { Format::Pickle });
    describe(&pickle, &globals, &mut contents);
    let mut found = Vec::new();
    let mut visit = |name: &str, id| {
        let enough = found.len() > TENSORS;
        let array = if enough { None } else { array(&pickle, id, name, source) };
        let is_array = array.is_some();
        found.extend(array);
        is_array || enough
    };
    Walk::over(&pickle, &mut visit, source)?;
    for tensor in found {
        contents.push(source, tensor)?;
    }
    Ok(contents)
}

/// Protocol, class of the object, library versions, and what would be called.
pub fn describe(pickle: &Pickle, globals: &BTreeSet<String>, contents: &mut Contents) {
    contents.say("protocol", pickle.protocol);
    if let Some((module, name)) = class(pickle, pickle.root) {
        contents.say("object", shown(&format!("{module}.{name}")));
    }
    if let Some(version) = version(pickle, pickle.root) {
        contents.say("sklearn version", version);
    }
    contents.calls = globals.iter().filter(|g| !is_usual(g)).map(|g| shown(g)).collect();
    // Those of a checkpoint of PyTorch are always the same few.
    if !globals.is_empty() && matches!(contents.format, Format::Pickle | Format::Joblib) {
        let mut names: Vec<String> = globals.iter().take(LISTED).map(|g| shown(g)).collect();
        if globals.len() > LISTED {
            names.push(format!("and {} more", globals.len() - LISTED));
        }
        contents.say("globals", names.join(", "));
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

/// Globals that every sound model may name: types, arrays, and the functions that put them together. Whatever else a
/// pickle names is what to be afraid of first. (Unpickling never is safe; this only tells the usual from the unusual.)
fn is_usual(global: &str) -> bool {
    let Some((module, name)) = global.rsplit_once('.') else { return false };
    let is_class = name.starts_with(|c: char| c.is_ascii_uppercase());
    match module {
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter" | "deque"),
        "builtins" | "__builtin__" => matches!(
            name,
            "set" | "frozenset" | "list" | "dict" | "tuple" | "slice" | "range" | "complex" | "bytearray" | "object"
        ),
        "_codecs" => name == "encode",
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "numpy" => ["bool", "int", "uint", "float", "complex", "dtype", "ndarray"].iter().any(|t| name.starts_with(t)),
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "_reconstruct" | "scalar"),
        "numpy.core.numeric" | "numpy._core.numeric" => name == "_frombuffer",
        "numpy.random._pickle" | "torch.jit._pickle" => true,
        "joblib.numpy_pickle" => name == "NumpyArrayWrapper",
        "torch" => matches!(name, "Size" | "device" | "Tensor" | "per_tensor_affine") || torch::is_type(name),
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
    let Node::Made(made) = pickle.node(id) else { return None };
    pickle.text(pickle.get(made.state?, "_sklearn_version")?)
}

/// A NumPy array, as `pickle` or as joblib keeps it.
fn array(pickle: &Pickle, id: Id, name: &str, source: &Source) -> Option<Result<Tensor, String>> {
    let Node::Made(made) = pickle.node(id) else { return None };
    let ((module, function), _) = pickle.call(id)?;
    let (shape, descr, fortran, place) = if (module, function) == ("joblib.numpy_pickle", "NumpyArrayWrapper") {
        let state = made.state?;
        let fortran = pickle.text(pickle.get(state, "order")?) == Some("F");
        (pickle.get(state, "shape")?, pickle.get(state, "dtype")?, fortran, made.raw)
    } else if is_multiarray(module) && function == "_reconstruct" {
        let state = pickle.items(made.state?)?;
        let fortran = matches!(pickle.node(*state.get(3)?), Node::Bool(true));
        let place = match pickle.node(*state.get(4)?) {
            Node::Bytes { at, length } => Some((*at, *length)),
            _ => None,
        };
        (*state.get(1)?, *state.get(2)?, fortran, place)
    } else {
        return None;
    };
    let shape = pickle.ints(shape)?;
    let (dtype, big_endian) = dtype(pickle, descr)?;
    let data = match place.map(|(at, length)| source.part(at, length)) {
        Some(Ok(part)) => npy::in_place(part, &shape, fortran, big_endian),
        _ => Data::Elsewhere("they are kept as Python objects"),
    };
    Some(Tensor::new(shown(name), dtype, shape, data))
}

fn is_multiarray(module: &str) -> bool {
    matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray")
}

/// `numpy.dtype('f8', …)` with the state `(3, '<', …)`.
fn dtype(pickle: &Pickle, id: Id) -> Option<(crate::model::tensor::Dtype, bool)> {
    let (("numpy", "dtype"), args) = pickle.call(id)? else { return None };
    let descr = pickle.text(*args.first()?)?;
    let (dtype, _) = npy::dtype(descr)?;
    let Node::Made(made) = pickle.node(id) else { return None };
    let order = made.state.and_then(|s| pickle.items(s)?.get(1).copied()).and_then(|o| pickle.text(o));
    Some((dtype, order == Some(">")))
}

/// What follows joblib's description of an array.
fn wrapped(pickle: &Pickle, id: Id) -> Option<Behind> {
    let (("joblib.numpy_pickle", "NumpyArrayWrapper"), _) = pickle.call(id)? else { return None };
    let Node::Made(made) = pickle.node(id) else { return None };
    let state = made.state?;
    let (dtype, _) = dtype(pickle, pickle.get(state, "dtype")?)?;
    if dtype.name() == "object" {
        return Some(Behind::Pickle);
    }
    let shape = pickle.ints(pickle.get(state, "shape")?)?;
    let length = dtype.bytes(shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?)?;
    let padded = pickle.get(state, "numpy_array_alignment_bytes").is_some_and(|n| pickle.int(n).is_some());
    Some(Behind::Values { length, padded })
}

#[cfg(test)]
mod tests {
    use super::*;

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
