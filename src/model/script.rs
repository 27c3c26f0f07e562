//! TorchScript modules read by libtorch, with the cargo feature `torch`.
//!
//! The reader in `formats/torch.rs` lists what a module stores as plain tensors, runs nothing and needs nothing.
//! libtorch is the authority on the parameters of a module, but loading may run code of the module (its `__setstate__`,
//! which can write files), so it is used only if the user asks for it. It loads the whole module into memory.

use super::formats::{Contents, Format};
use super::source::Source;
use crate::error::{Error, Result};

/// Replaces the parameters of a TorchScript module by those that libtorch reads; buffers are kept. Files of other
/// formats are unchanged.
pub fn load(source: &Source, contents: &mut Contents) -> Result<()> {
    if contents.format != Format::TorchScript {
        return Ok(());
    }
    by_libtorch::load(source, contents)
}

#[cfg(not(feature = "torch"))]
mod by_libtorch {
    use super::*;

    pub fn load(source: &Source, _: &mut Contents) -> Result<()> {
        Err(Error::usage(format!("{} cannot be loaded by libtorch: this lockstep was built without it", source.name()))
            .hint("build one with it: eval \"$(.ci/libtorch)\" && cargo build --release --features torch")
            .hint("without --torch the module is read by lockstep itself, which runs nothing"))
    }
}

#[cfg(feature = "torch")]
mod by_libtorch {
    use tch::{CModule, Device, Kind, TchError, Tensor as Theirs};

    use super::*;
    use crate::model::tensor::{Data, Dtype, Tensor, shown};

    /// libtorch takes a module whole, and copies it several times.
    const LARGEST: u64 = 4 << 30;

    pub fn load(source: &Source, contents: &mut Contents) -> Result<()> {
        if source.len() > LARGEST {
            return Err(Error::usage(format!("{} is too large to be loaded whole", source.name()))
                .hint("leave out --torch: lockstep itself reads it piece by piece"));
        }
        let refuse = |e: TchError| {
            let text = e.to_string();
            let why = text.lines().next().unwrap_or_default().to_string();
            Error::usage(format!("libtorch cannot load {}", source.name())).because(why)
        };
        let module = CModule::load_data_on_device(&mut source.reader(), Device::Cpu).map_err(refuse)?;
        for (name, theirs) in module.named_parameters().map_err(refuse)? {
            let tensor = ours(&name, &theirs, source).map_err(refuse)?.map_err(|why| source.refuse(why))?;
            match contents.tensors.iter_mut().find(|t| t.name == tensor.name) {
                Some(known) => *known = tensor,
                None => contents.tensors.push(tensor),
            }
        }
        Ok(())
    }

    fn ours(name: &str, theirs: &Theirs, source: &Source) -> Result<Result<Tensor, String>, TchError> {
        let kind = theirs.f_kind()?;
        let shape = theirs.size().iter().map(|d| *d as u64).collect();
        let dtype = dtype_of(kind);
        let mut bytes = vec![0; theirs.numel() * kind.elt_size_in_bytes()];
        // Quantised tensors have no plain values to copy.
        let data = if matches!(dtype, Dtype::Other { .. }) {
            Data::Elsewhere("their type has no numbers")
        } else {
            theirs.f_contiguous()?.f_copy_data_u8(&mut bytes, theirs.numel())?;
            Data::Plain { source: Source::of_bytes(bytes, source.name()), big_endian: cfg!(target_endian = "big") }
        };
        Ok(Tensor::new(shown(name), dtype, shape, data))
    }

    fn dtype_of(kind: Kind) -> Dtype {
        match kind {
            Kind::Uint8 => Dtype::U8,
            Kind::Int8 => Dtype::I8,
            Kind::Int16 => Dtype::I16,
            Kind::Int => Dtype::I32,
            Kind::Int64 => Dtype::I64,
            Kind::Half => Dtype::F16,
            Kind::Float => Dtype::F32,
            Kind::Double => Dtype::F64,
            Kind::ComplexFloat => Dtype::C64,
            Kind::ComplexDouble => Dtype::C128,
            Kind::Bool => Dtype::Bool,
            Kind::BFloat16 => Dtype::Bf16,
            Kind::Float8e5m2 => Dtype::F8E5M2,
            Kind::Float8e4m3fn => Dtype::F8E4M3,
            Kind::Float8e5m2fnuz => Dtype::F8E5M2Fnuz,
            Kind::Float8e4m3fnuz => Dtype::F8E4M3Fnuz,
            other => {
                let bytes = other.elt_size_in_bytes() as u64;
                Dtype::Other { name: format!("{other:?}").to_lowercase(), block: 1, bytes }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::event::Silent;
        use crate::model::diff::{self, Values};
        use crate::model::formats;

        fn scripted(bytes: &[u8]) -> Source {
            Source::of_bytes(bytes.to_vec(), "m.pt")
        }

        /// `torch.jit.script(nn.Linear(3, 2))`, saved by PyTorch 2.13. All weights are 1.5; the bias is 0.5 in `A` and
        /// 0.75 in `B`.
        const A: &[u8] = include_bytes!("../../tests/e2e/model/linear-a.pt");
        const B: &[u8] = include_bytes!("../../tests/e2e/model/linear-b.pt");

        fn by_libtorch(source: &Source) -> Contents {
            let mut contents = formats::read(source).unwrap();
            contents.tensors.clear();
            load(source, &mut contents).unwrap();
            contents
        }

        #[test]
        fn libtorch_and_lockstep_read_the_same() {
            let source = scripted(A);
            let own = formats::read(&source).unwrap();
            assert_eq!((own.format, own.tensors.len()), (Format::TorchScript, 2));
            let difference = diff::compare(&own, &by_libtorch(&source), &Silent).unwrap();
            assert_eq!(difference.rows.len(), 2);
            assert!(difference.rows.iter().all(|row| row.values == Values::Same), "{:?}", difference.rows);
        }

        #[test]
        fn values_of_two_modules() {
            let (old, new) = (by_libtorch(&scripted(A)), by_libtorch(&scripted(B)));
            let difference = diff::compare(&old, &new, &Silent).unwrap();
            let total = difference.total.unwrap();
            assert_eq!((total.max, total.count), (0.25, 8));
        }

        #[test]
        fn a_module_that_is_none_is_refused() {
            let mut contents = Contents::new(Format::TorchScript);
            let error = load(&scripted(b"PK\x03\x04 no"), &mut contents).unwrap_err();
            assert_eq!((error.kind.exit_code(), error.message.as_str()), (2, "libtorch cannot load m.pt"));
        }
    }
}
