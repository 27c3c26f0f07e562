//! NumPy arrays in a pickle: in NumPy's own form (with or without the buffers of protocol 5), in joblib's, masked
//! arrays, and arrays of Python's module `array`.

use std::collections::HashMap;

use super::dtype::numpy::{self, Descr};
use super::dtype::torch::dtype_of;
use super::pickle::content::{self, DECODED};
use super::pickle::{Id, Node, Pickle, StreamContent};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Dtype, Tensor, shown};

/// The maximum nesting of structured types.
const DEPTH: usize = 8;

/// The budget for the structured types of a pickle: its fields, the bytes of their names, and the ranges between
/// padding. A pickle of a few kilobytes can nest each of its types many times in others.
const TYPES: usize = 16 << 20;
/// The same for the type of a single array.
const TYPE: usize = 1 << 20;

/// An array as a pickle describes it.
struct Array {
    shape: Vec<u64>,
    descr: Descr,
    fortran: bool,
    values: Values,
}

enum Values {
    /// The bytes of this node.
    Node(Id),
    /// Raw, in the stream.
    Stream { at: u64, length: u64 },
    /// A list of Python objects, if its location is known.
    Objects(Option<Id>),
}

/// How an object is classified.
pub enum ArrayKind {
    Array {
        tensors: Vec<Result<Tensor, String>>,
        objects: Option<Id>,
    },
    /// An array in an unknown form.
    UnknownArray,
    Other,
}

/// Reads the arrays of one pickle.
pub struct Arrays<'a> {
    pickle: &'a Pickle,
    contents: content::Contents<'a>,
    /// Structured types that were read.
    types: HashMap<Id, Descr>,
    /// The remaining budget.
    left: usize,
}

impl<'a> Arrays<'a> {
    pub fn new(pickle: &'a Pickle, source: &'a Source) -> Arrays<'a> {
        let contents = content::Contents { pickle, source, left: DECODED };
        Arrays { pickle, contents, types: HashMap::new(), left: TYPES }
    }

    /// Classifies an object and reads its array.
    pub fn read(&mut self, id: Id, name: &str) -> Result<ArrayKind> {
        if !is_array(self.pickle, id) {
            return Ok(ArrayKind::Other);
        }
        let Some(array) = self.array(id) else { return Ok(ArrayKind::UnknownArray) };
        let objects = match array.values {
            Values::Objects(list) => list,
            _ => None,
        };
        if objects.is_some() && matches!(self.pickle.call(id), Some(((_, "NumpyArrayWrapper"), _))) {
            // joblib stores NumPy's own pickle of the array in the stream.
            return Ok(ArrayKind::Array { tensors: Vec::new(), objects });
        }
        let mask = self.mask(id, &array);
        let mut tensors = vec![self.tensor(name, array)?];
        if let Some(mask) = mask {
            tensors.push(self.tensor(&format!("{name}.mask"), mask)?);
        }
        Ok(ArrayKind::Array { tensors, objects })
    }

    fn tensor(&mut self, name: &str, array: Array) -> Result<Result<Tensor, String>> {
        let Array { shape, descr, fortran, values } = array;
        let source = match values {
            Values::Node(id) => self.contents.bytes(id)?,
            Values::Stream { at, length } => Ok(self.contents.source.part(at, length)?),
            Values::Objects(_) => Err("they are Python objects"),
        };
        let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        let needed = elements.and_then(|n| descr.dtype.bytes(n));
        let data = match source {
            Ok(source) if needed == Some(source.len()) => numpy::in_place(source, &shape, fortran, descr.big_endian),
            Ok(_) => Data::Elsewhere("they have another length than their shape"),
            Err(why) => Data::Elsewhere(why),
        };
        Ok(Tensor::new(shown(name), descr.dtype, shape, data))
    }

    fn array(&mut self, id: Id) -> Option<Array> {
        let pickle = self.pickle;
        let Node::CallResult(made) = pickle.node(id) else { return None };
        let ((_, function), args) = pickle.call(id)?;
        match function {
            "NumpyArrayWrapper" => {
                let state = made.state?;
                let descr = self.descr(pickle.get(state, "dtype")?, 0)?;
                let fortran = pickle.text(pickle.get(state, "order")?) == Some("F");
                let values = match made.raw {
                    Some((at, length)) => Values::Stream { at, length },
                    None => Values::Objects(made.items.first().copied()),
                };
                Some(Array { shape: pickle.ints(pickle.get(state, "shape")?)?, descr, fortran, values })
            }
            "_reconstruct" | "_mareconstruct" => {
                let state = pickle.items(made.state?)?;
                let [_, shape, dtype, fortran, values, ..] = state else { return None };
                let descr = self.descr(*dtype, 0)?;
                let values = if descr.objects { Values::Objects(Some(*values)) } else { Values::Node(*values) };
                let fortran = matches!(pickle.node(*fortran), Node::Bool(true) | Node::Int(1));
                self.whole(pickle.ints(*shape)?, descr, fortran, values)
            }
            "_frombuffer" => {
                let [buffer, dtype, shape, order, ..] = args else { return None };
                let (descr, fortran) = (self.descr(*dtype, 0)?, pickle.text(*order) == Some("F"));
                self.whole(pickle.ints(*shape)?, descr, fortran, Values::Node(*buffer))
            }
            _ => {
                let [_, _, code, values] = args else { return None };
                let (dtype, big_endian) = of_module_array(pickle.int(*code)?)?;
                let length = self.contents.bytes(*values).ok()?.ok()?.len();
                let shape = vec![length / dtype.width()?];
                let descr = Descr { dtype, big_endian, dims: Vec::new(), objects: false };
                Some(Array { shape, descr, fortran: false, values: Values::Node(*values) })
            }
        }
    }

    fn whole(&self, mut shape: Vec<u64>, descr: Descr, fortran: bool, values: Values) -> Option<Array> {
        shape.extend(&descr.dims);
        Some(Array { shape, descr, fortran, values })
    }

    /// The mask of a masked array.
    fn mask(&self, id: Id, array: &Array) -> Option<Array> {
        let Node::CallResult(made) = self.pickle.node(id) else { return None };
        let ((_, "_mareconstruct"), _) = self.pickle.call(id)? else { return None };
        let mask = *self.pickle.items(made.state?)?.get(5)?;
        let descr = Descr { dtype: Dtype::Bool, big_endian: false, dims: Vec::new(), objects: false };
        Some(Array { shape: array.shape.clone(), descr, fortran: array.fortran, values: Values::Node(mask) })
    }

    /// `numpy.dtype('f8', …)` with the state `(3, '<', …)`.
    fn descr(&mut self, id: Id, depth: usize) -> Option<Descr> {
        let pickle = self.pickle;
        let (("numpy", "dtype"), args) = pickle.call(id).filter(|_| depth < DEPTH)? else { return None };
        let first = *args.first()?;
        let Node::CallResult(made) = pickle.node(id) else { return None };
        let state = made.state.and_then(|state| pickle.items(state)).unwrap_or_default();
        let big_endian = state.get(1).and_then(|order| pickle.text(*order)) == Some(">");
        if let Some(parts) = state.get(2).and_then(|sub| pickle.items(*sub)) {
            let [base, shape] = parts else { return None };
            let mut descr = self.descr(*base, depth + 1)?;
            let dims = pickle.ints(*shape).or_else(|| Some(vec![pickle.int(*shape)?]))?;
            descr.dims.splice(0..0, dims);
            return Some(descr);
        }
        if let Some(names) = state.get(3).and_then(|names| pickle.items(*names)).filter(|names| !names.is_empty()) {
            if let Some(known) = self.types.get(&id) {
                return Some(known.clone());
            }
            let descr = self.fields(names, *state.get(4)?, pickle.int(*state.get(5)?)?, depth)?;
            self.types.insert(id, descr.clone());
            return Some(descr);
        }
        let dtype = match (pickle.text(first), pickle.global(first)) {
            (Some(name @ ("M8" | "m8")), _) => numpy::dtype(&format!("{name}{}", self.time_unit(state)))?.0,
            (Some(name), _) => numpy::dtype(name)?.0,
            // Types of other packages are named by their class.
            (_, Some((_, name))) => match dtype_of(name) {
                Dtype::Other { bytes: 0, name, .. } => match name.as_str() {
                    "int4" | "uint4" | "int2" | "uint2" | "float4_e2m1fn" => Dtype::Other { name, block: 1, bytes: 1 },
                    _ => return None,
                },
                known => known,
            },
            _ => return None,
        };
        let objects = dtype.name() == "object";
        Some(Descr { dtype, big_endian, dims: Vec::new(), objects })
    }

    /// A structured type: names, a dict of types and offsets, the size of it all.
    fn fields(&mut self, names: &[Id], types: Id, size: u64, depth: usize) -> Option<Descr> {
        let pickle = self.pickle;
        let Node::Dict(pairs) = pickle.node(types) else { return None };
        self.pay(pairs.len().saturating_add(names.len()))?;
        let types: HashMap<&str, Id> = pairs.iter().filter_map(|(k, v)| Some((pickle.text(*k)?, *v))).collect();
        let (mut fields, mut end) = (Vec::new(), 0u64);
        let padding = |from: u64, to: u64| -> Option<(String, Descr)> {
            let (dtype, _) = numpy::dtype(&format!("V{}", to.checked_sub(from).filter(|gap| *gap > 0)?))?;
            Some((String::new(), Descr { dtype, big_endian: false, dims: Vec::new(), objects: false }))
        };
        for name in names {
            let name = pickle.text(*name)?;
            let [dtype, offset, ..] = pickle.items(*types.get(name)?)? else { return None };
            let (descr, offset) = (self.descr(*dtype, depth + 1)?, pickle.int(*offset)?);
            if offset < end {
                return None; // they overlap
            }
            fields.extend(padding(end, offset));
            let count = descr.dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
            end = offset.checked_add(descr.dtype.bytes(count)?)?;
            fields.push((name.to_string(), descr));
        }
        fields.extend(padding(end, size));
        let descr = numpy::structured(&fields)?;
        let ranges = if let Dtype::Struct(layout) = &descr.dtype { layout.values.len() } else { 0 };
        self.pay(descr.dtype.name().len() + ranges)?;
        Some(descr)
    }

    /// Takes work from the budget; `None` if it is exhausted.
    fn pay(&mut self, work: usize) -> Option<()> {
        self.left = self.left.checked_sub(work)?;
        Some(())
    }

    /// `[ns]`, from the last part of the state: `({}, (b'ns', 1, 1, 1))`.
    fn time_unit(&mut self, state: &[Id]) -> String {
        let unit = (|| {
            let parts = self.pickle.items(*self.pickle.items(*state.get(8)?)?.get(1)?)?;
            let [unit, count, ..] = parts else { return None };
            let unit = self.contents.bytes(*unit).ok()?.ok()?.head(20).ok()?;
            let count = self.pickle.int(*count).filter(|n| *n != 1).map(|n| n.to_string()).unwrap_or_default();
            match String::from_utf8(unit).ok()?.as_str() {
                "generic" => None,
                unit => Some(format!("[{count}{unit}]")),
            }
        })();
        // NumPy names the type with its size before the unit.
        unit.unwrap_or_default()
    }
}

/// Returns true if this call creates an array.
pub fn is_array(pickle: &Pickle, id: Id) -> bool {
    let Some(((module, function), _)) = pickle.call(id) else { return false };
    match function {
        "_reconstruct" => matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray"),
        "_frombuffer" => matches!(module, "numpy.core.numeric" | "numpy._core.numeric"),
        "_mareconstruct" => matches!(module, "numpy.ma.core" | "numpy.ma"),
        "_array_reconstructor" => module == "array",
        "NumpyArrayWrapper" => module == "joblib.numpy_pickle",
        _ => false,
    }
}

/// `array.array`: the machine's format, as `Modules/arraymodule.c` numbers it.
fn of_module_array(code: u64) -> Option<(Dtype, bool)> {
    let dtype = match code {
        0 => Dtype::U8,
        1 => Dtype::I8,
        2 | 3 => Dtype::U16,
        4 | 5 => Dtype::I16,
        6 | 7 => Dtype::U32,
        8 | 9 => Dtype::I32,
        10 | 11 => Dtype::U64,
        12 | 13 => Dtype::I64,
        14 | 15 => Dtype::F32,
        16 | 17 => Dtype::F64,
        _ => return None,
    };
    Some((dtype, code > 1 && code % 2 == 1))
}

/// What follows joblib's description of an array in the stream.
pub fn wrapped(pickle: &Pickle, id: Id) -> Option<StreamContent> {
    let (("joblib.numpy_pickle", "NumpyArrayWrapper"), _) = pickle.call(id)? else { return None };
    let Node::CallResult(made) = pickle.node(id) else { return None };
    let state = made.state?;
    // The names of types are in the pickle itself: nothing else is read here.
    let nothing = Source::of_bytes(Vec::new(), "");
    let mut arrays = Arrays::new(pickle, &nothing);
    arrays.left = TYPE;
    let descr = arrays.descr(pickle.get(state, "dtype")?, 0)?;
    if descr.objects {
        return Some(StreamContent::Pickle);
    }
    let shape = pickle.ints(pickle.get(state, "shape")?)?;
    let count = shape.iter().chain(&descr.dims).try_fold(1u64, |n, d| n.checked_mul(*d))?;
    let length = descr.dtype.bytes(count)?;
    let padded = pickle.get(state, "numpy_array_alignment_bytes").is_some_and(|n| pickle.int(n).is_some());
    Some(StreamContent::Values { length, padded })
}

#[cfg(test)]
mod tests {
    use super::super::pickle;
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn int(n: i32) -> Vec<u8> {
        [b"J", &n.to_le_bytes()[..]].concat()
    }

    /// A pickled array of one element, whose type has `fields` fields, which are nested `levels` deep.
    fn nested(fields: usize, levels: u8) -> Vec<u8> {
        let names: Vec<Vec<u8>> = (0..fields).map(|i| text(&format!("f{i}"))).collect();
        let mut bytes = b"\x80\x03cnumpy\ndtype\n".to_vec();
        bytes.extend([text("u1"), b"\x85Rq\x000".to_vec()].concat());
        let mut size = 1i32;
        for level in 1..=levels {
            bytes.extend([b"cnumpy\ndtype\n".to_vec(), text("V1"), b"\x85R(".to_vec(), int(3), text("|")].concat());
            bytes.extend([b"N(".to_vec(), names.concat(), b"t}(".to_vec()].concat());
            for (i, name) in names.iter().enumerate() {
                let offset = int(size.wrapping_mul(i as i32));
                bytes.extend([name.clone(), vec![b'h', level - 1], offset, b"\x86".to_vec()].concat());
            }
            size = size.wrapping_mul(fields as i32);
            bytes.extend([b"u".to_vec(), int(size), b"tbq".to_vec(), vec![level], b"0".to_vec()].concat());
        }
        bytes.extend(
            [&b"cnumpy.core.numeric\n_frombuffer\n(C"[..], &[size as u8], &vec![7; size as u8 as usize]].concat(),
        );
        bytes.extend([vec![b'h', levels], int(1), b"\x85".to_vec(), text("C"), b"tR.".to_vec()].concat());
        bytes
    }

    fn read(bytes: Vec<u8>) -> ArrayKind {
        let source = Source::of_bytes(bytes, "x.pkl");
        let pickle = pickle::read(&mut source.reader(), None).unwrap();
        Arrays::new(&pickle, &source).read(pickle.root, "x").unwrap()
    }

    #[test]
    fn a_type_that_others_share_is_read_once() {
        let ArrayKind::Array { tensors, .. } = read(nested(5, 3)) else { panic!("it is an array") };
        let tensor = tensors[0].as_ref().unwrap();
        assert_eq!((tensor.bytes(), &tensor.shape[..]), (125, &[1][..]));
        assert!(tensor.dtype.name().starts_with("struct{f0: struct{f0: struct{f0: u8, f1: u8"));
        // Each of these has over a thousand millions of fields.
        for (fields, levels) in [(500, 4), (20, 7)] {
            assert!(matches!(read(nested(fields, levels)), ArrayKind::UnknownArray), "{fields} {levels}");
        }
    }
}
