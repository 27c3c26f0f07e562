//! Element types of tensors, by their names in the protocol.

use std::fmt;

/// The type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, one byte.
    Uint8,
    /// Unsigned, two bytes.
    Uint16,
    /// Unsigned, four bytes.
    Uint32,
    /// Unsigned, eight bytes.
    Uint64,
    /// Signed, one byte.
    Int8,
    /// Signed, two bytes.
    Int16,
    /// Signed, four bytes.
    Int32,
    /// Signed, eight bytes.
    Int64,
    /// IEEE 754, two bytes.
    Fp16,
    /// The upper half of an [`Datatype::Fp32`]; it has no form in JSON.
    Bf16,
    /// IEEE 754, four bytes.
    Fp32,
    /// IEEE 754, eight bytes.
    Fp64,
    /// Texts of any length.
    Bytes,
}

const NAMES: [(Datatype, &str); 14] = [
    (Datatype::Bool, "BOOL"),
    (Datatype::Uint8, "UINT8"),
    (Datatype::Uint16, "UINT16"),
    (Datatype::Uint32, "UINT32"),
    (Datatype::Uint64, "UINT64"),
    (Datatype::Int8, "INT8"),
    (Datatype::Int16, "INT16"),
    (Datatype::Int32, "INT32"),
    (Datatype::Int64, "INT64"),
    (Datatype::Fp16, "FP16"),
    (Datatype::Bf16, "BF16"),
    (Datatype::Fp32, "FP32"),
    (Datatype::Fp64, "FP64"),
    (Datatype::Bytes, "BYTES"),
];

impl Datatype {
    /// The type of a name, as `FP32`; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Datatype> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(datatype, _)| *datatype)
    }

    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(datatype, _)| *datatype == self).map_or("", |(_, name)| name)
    }

    /// The size of an element in bytes; `None` for [`Datatype::Bytes`].
    pub fn width(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (datatype, name) in NAMES {
            assert_eq!((Datatype::from_name(name), datatype.name()), (Some(datatype), name));
        }
        assert_eq!(Datatype::from_name("fp32"), None);
    }
}
