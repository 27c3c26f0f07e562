//! A tensor: its shape, and its values in one vector, the last dimension the fastest.

use half::{bf16, f16};

use super::datatype::Datatype;

/// The values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// `BOOL`.
    Bool(Vec<bool>),
    /// `UINT8`.
    Uint8(Vec<u8>),
    /// `UINT16`.
    Uint16(Vec<u16>),
    /// `UINT32`.
    Uint32(Vec<u32>),
    /// `UINT64`.
    Uint64(Vec<u64>),
    /// `INT8`.
    Int8(Vec<i8>),
    /// `INT16`.
    Int16(Vec<i16>),
    /// `INT32`.
    Int32(Vec<i32>),
    /// `INT64`.
    Int64(Vec<i64>),
    /// `FP16`.
    Fp16(Vec<f16>),
    /// `BF16`.
    Bf16(Vec<bf16>),
    /// `FP32`.
    Fp32(Vec<f32>),
    /// `FP64`.
    Fp64(Vec<f64>),
    /// `BYTES`; engines take UTF-8 without zero bytes.
    Bytes(Vec<String>),
}

#[cfg(test)]
/// Evaluates an expression with the vector of a [`TensorData`], whatever its type.
macro_rules! each_vector {
    ($data:expr, $vector:ident => $result:expr) => {
        match $data {
            TensorData::Bool($vector) => $result,
            TensorData::Uint8($vector) => $result,
            TensorData::Uint16($vector) => $result,
            TensorData::Uint32($vector) => $result,
            TensorData::Uint64($vector) => $result,
            TensorData::Int8($vector) => $result,
            TensorData::Int16($vector) => $result,
            TensorData::Int32($vector) => $result,
            TensorData::Int64($vector) => $result,
            TensorData::Fp16($vector) => $result,
            TensorData::Bf16($vector) => $result,
            TensorData::Fp32($vector) => $result,
            TensorData::Fp64($vector) => $result,
            TensorData::Bytes($vector) => $result,
        }
    };
}

impl TensorData {
    /// The type of the elements.
    pub fn datatype(&self) -> Datatype {
        match self {
            TensorData::Bool(_) => Datatype::Bool,
            TensorData::Uint8(_) => Datatype::Uint8,
            TensorData::Uint16(_) => Datatype::Uint16,
            TensorData::Uint32(_) => Datatype::Uint32,
            TensorData::Uint64(_) => Datatype::Uint64,
            TensorData::Int8(_) => Datatype::Int8,
            TensorData::Int16(_) => Datatype::Int16,
            TensorData::Int32(_) => Datatype::Int32,
            TensorData::Int64(_) => Datatype::Int64,
            TensorData::Fp16(_) => Datatype::Fp16,
            TensorData::Bf16(_) => Datatype::Bf16,
            TensorData::Fp32(_) => Datatype::Fp32,
            TensorData::Fp64(_) => Datatype::Fp64,
            TensorData::Bytes(_) => Datatype::Bytes,
        }
    }

    /// The number of elements.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        each_vector!(self, vector => vector.len())
    }

    /// `count` zeros; empty texts for `BYTES`.
    pub fn zeros(datatype: Datatype, count: usize) -> TensorData {
        match datatype {
            Datatype::Bool => TensorData::Bool(vec![false; count]),
            Datatype::Uint8 => TensorData::Uint8(vec![0; count]),
            Datatype::Uint16 => TensorData::Uint16(vec![0; count]),
            Datatype::Uint32 => TensorData::Uint32(vec![0; count]),
            Datatype::Uint64 => TensorData::Uint64(vec![0; count]),
            Datatype::Int8 => TensorData::Int8(vec![0; count]),
            Datatype::Int16 => TensorData::Int16(vec![0; count]),
            Datatype::Int32 => TensorData::Int32(vec![0; count]),
            Datatype::Int64 => TensorData::Int64(vec![0; count]),
            Datatype::Fp16 => TensorData::Fp16(vec![f16::ZERO; count]),
            Datatype::Bf16 => TensorData::Bf16(vec![bf16::ZERO; count]),
            Datatype::Fp32 => TensorData::Fp32(vec![0.0; count]),
            Datatype::Fp64 => TensorData::Fp64(vec![0.0; count]),
            Datatype::Bytes => TensorData::Bytes(vec![String::new(); count]),
        }
    }
}

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name of the input or output.
    pub name: String,
    /// The size of each dimension; empty for a single value.
    pub shape: Vec<usize>,
    /// As many values as the product of the dimensions.
    pub data: TensorData,
}

/// An input or output that a model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// The size of each dimension, -1 for any; `None` if the model does not say.
    pub shape: Option<Vec<i64>>,
}

/// The inputs and outputs of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSignature {
    /// `None` if the model does not say: TorchScript takes its inputs in the order of the request.
    pub inputs: Option<Vec<Port>>,
    /// `None` if the model does not say.
    pub outputs: Option<Vec<Port>>,
}

/// A shape as it is written in messages: `[1,64]`.
pub fn shape_text<T: ToString>(shape: &[T]) -> String {
    format!("[{}]", shape.iter().map(T::to_string).collect::<Vec<_>>().join(","))
}
