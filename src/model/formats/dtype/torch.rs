//! Element types of PyTorch, by name.

use crate::model::tensor::{Dtype, shown};

/// By the name of a storage class or of a `torch.dtype`.
pub fn dtype_of(name: &str) -> Dtype {
    let other = |name: &str, bytes| Dtype::Other { name: name.into(), block: 1, bytes };
    match name {
        "FloatStorage" | "float32" | "float" => Dtype::F32,
        "DoubleStorage" | "float64" | "double" => Dtype::F64,
        "HalfStorage" | "float16" | "half" => Dtype::F16,
        "BFloat16Storage" | "bfloat16" => Dtype::Bf16,
        "LongStorage" | "int64" => Dtype::I64,
        "IntStorage" | "int32" => Dtype::I32,
        "ShortStorage" | "int16" => Dtype::I16,
        "CharStorage" | "int8" => Dtype::I8,
        "ByteStorage" | "uint8" | "UntypedStorage" => Dtype::U8,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "BoolStorage" | "bool" => Dtype::Bool,
        "ComplexFloatStorage" | "complex64" => Dtype::C64,
        "ComplexDoubleStorage" | "complex128" => Dtype::C128,
        "float8_e4m3fn" => Dtype::F8E4M3,
        "float8_e5m2" => Dtype::F8E5M2,
        "float8_e4m3fnuz" => Dtype::F8E4M3Fnuz,
        "float8_e5m2fnuz" => Dtype::F8E5M2Fnuz,
        "float8_e8m0fnu" => Dtype::F8E8M0,
        "QInt8Storage" | "qint8" => other("qint8", 1),
        "QUInt8Storage" | "quint8" => other("quint8", 1),
        "QInt32Storage" | "qint32" => other("qint32", 4),
        _ => other(&shown(name), 0),
    }
}

/// Returns true if this is the name of an element type.
pub fn is_type(name: &str) -> bool {
    !matches!(dtype_of(name), Dtype::Other { bytes: 0, .. })
}
