//! TorchScript modules, run by libtorch, with the cargo feature `torch`. A module declares neither names nor shapes: its
//! inputs are taken in the order of the request, its outputs are called `OUTPUT__0` and so on, as Triton does.

use std::io::Read;
use std::sync::Arc;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use super::{Engine, LoadedModel, ModelBytes, RunFailure, Session, SessionPlan};
use crate::document;
use crate::serve::protocol::binary;
use crate::serve::protocol::datatype::Datatype;
use crate::serve::protocol::tensor::{ModelSignature, NamedTensor};

/// libtorch, on the CPU.
pub struct TorchEngine;

impl Engine for TorchEngine {
    fn platform(&self) -> &'static str {
        "pytorch_torchscript"
    }

    fn load(&self, model: &ModelBytes, plan: SessionPlan) -> Result<LoadedModel, String> {
        tch::set_num_threads(i32::try_from(plan.threads).unwrap_or(1));
        let module = match model {
            ModelBytes::Memory(bytes) => load_module(&mut &bytes[..])?,
            ModelBytes::Path(path) => load_module(&mut document::open(path).map_err(|e| e.to_string())?)?,
        };
        // The sessions share the module: running it changes nothing in it.
        let module = Arc::new(module);
        let session = |_| Box::new(TorchSession { module: module.clone() }) as Box<dyn Session>;
        Ok(LoadedModel::new(ModelSignature::default(), Vec::new(), (0..plan.sessions).map(session).collect()))
    }
}

fn load_module(from: &mut impl Read) -> Result<CModule, String> {
    let mut module = CModule::load_data_on_device(from, Device::Cpu).map_err(first_line)?;
    module.f_set_eval().map_err(first_line)?;
    Ok(module)
}

/// libtorch adds a stack of C++ to its messages.
fn first_line(e: TchError) -> String {
    let text = e.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // The reason of an interpreter is its last line before the stack.
    let said = lines.take_while(|line| !line.starts_with("Exception raised from")).last();
    said.unwrap_or("libtorch failed").to_string()
}

struct TorchSession {
    module: Arc<CModule>,
}

impl Session for TorchSession {
    fn run(&mut self, inputs: Vec<NamedTensor>, wanted: &[&str]) -> Result<Vec<NamedTensor>, RunFailure> {
        let inputs = inputs.iter().map(|tensor| to_tensor(tensor).map(IValue::Tensor));
        let inputs = inputs.collect::<Result<Vec<IValue>, RunFailure>>()?;
        let output = tch::no_grad(|| self.module.forward_is(&inputs)).map_err(|e| RunFailure::Input(first_line(e)))?;
        let mut tensors = Vec::new();
        flatten(output, &mut tensors)?;
        let named = tensors.iter().enumerate().map(|(at, tensor)| from_tensor(format!("OUTPUT__{at}"), tensor));
        let outputs = named.collect::<Result<Vec<NamedTensor>, RunFailure>>()?;
        select(outputs, wanted)
    }
}

fn select(outputs: Vec<NamedTensor>, wanted: &[&str]) -> Result<Vec<NamedTensor>, RunFailure> {
    if wanted.is_empty() {
        return Ok(outputs);
    }
    let find = |name: &&str| {
        let found = outputs.iter().find(|output| output.name == *name).cloned();
        found.ok_or_else(|| RunFailure::Input(format!("there is no output {name}: the model has {}", outputs.len())))
    };
    wanted.iter().map(find).collect()
}

fn flatten(value: IValue, tensors: &mut Vec<Tensor>) -> Result<(), RunFailure> {
    match value {
        IValue::Tensor(tensor) => tensors.push(tensor),
        IValue::TensorList(list) => tensors.extend(list),
        IValue::Tuple(values) | IValue::GenericList(values) => {
            values.into_iter().try_for_each(|value| flatten(value, tensors))?;
        }
        _ => return Err(RunFailure::Engine("the module returns a value that is no tensor".into())),
    }
    Ok(())
}

fn to_tensor(tensor: &NamedTensor) -> Result<Tensor, RunFailure> {
    let refused = || RunFailure::Input(format!("input {}: libtorch has no {}", tensor.name, tensor.data.datatype()));
    let kind = kind_of(tensor.data.datatype()).ok_or_else(refused)?;
    let shape: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
    let mut bytes = Vec::new();
    binary::write(&tensor.data, &mut bytes);
    Tensor::f_from_data_size(&bytes, &shape, kind).map_err(|e| RunFailure::Input(first_line(e)))
}

fn from_tensor(name: String, tensor: &Tensor) -> Result<NamedTensor, RunFailure> {
    let failed = |e: TchError| RunFailure::Engine(first_line(e));
    let kind = tensor.f_kind().map_err(failed)?;
    let datatype = datatype_of(kind).ok_or_else(|| RunFailure::Engine(format!("{name} is a tensor of {kind:?}")))?;
    let shape: Vec<usize> = tensor.size().iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    let tensor = tensor.f_to(Device::Cpu).and_then(|tensor| tensor.f_contiguous()).map_err(failed)?;
    if !bytes.is_empty() {
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(failed)?;
    }
    let data = binary::read(datatype, tensor.numel(), &bytes).map_err(RunFailure::Engine)?;
    Ok(NamedTensor { name, shape, data })
}

fn kind_of(datatype: Datatype) -> Option<Kind> {
    Some(match datatype {
        Datatype::Bool => Kind::Bool,
        Datatype::Uint8 => Kind::Uint8,
        Datatype::Int8 => Kind::Int8,
        Datatype::Int16 => Kind::Int16,
        Datatype::Int32 => Kind::Int,
        Datatype::Int64 => Kind::Int64,
        Datatype::Fp16 => Kind::Half,
        Datatype::Bf16 => Kind::BFloat16,
        Datatype::Fp32 => Kind::Float,
        Datatype::Fp64 => Kind::Double,
        Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 | Datatype::Bytes => return None,
    })
}

fn datatype_of(kind: Kind) -> Option<Datatype> {
    Some(match kind {
        Kind::Bool => Datatype::Bool,
        Kind::Uint8 => Datatype::Uint8,
        Kind::Int8 => Datatype::Int8,
        Kind::Int16 => Datatype::Int16,
        Kind::Int => Datatype::Int32,
        Kind::Int64 => Datatype::Int64,
        Kind::Half => Datatype::Fp16,
        Kind::BFloat16 => Datatype::Bf16,
        Kind::Float => Datatype::Fp32,
        Kind::Double => Datatype::Fp64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::protocol::tensor::TensorData;

    /// `torch.jit.script(nn.Linear(3, 2))`: all weights are 1.5, the bias is 0.5.
    const LINEAR: &[u8] = include_bytes!("../../../tests/e2e/model/linear-a.pt");

    fn run(shape: &[usize], values: Vec<f32>) -> Result<Vec<NamedTensor>, RunFailure> {
        let plan = SessionPlan { sessions: 2, threads: 1 };
        let model = TorchEngine.load(&ModelBytes::Memory(LINEAR.to_vec()), plan).unwrap();
        let input = NamedTensor { name: "x".into(), shape: shape.to_vec(), data: TensorData::Fp32(values) };
        model.run(1, vec![input], &[])
    }

    #[test]
    fn a_module_runs() {
        let outputs = run(&[2, 3], vec![1.0, 1.0, 1.0, 0.0, 0.0, 2.0]).unwrap();
        assert_eq!((outputs[0].name.as_str(), outputs[0].shape.clone()), ("OUTPUT__0", vec![2, 2]));
        assert_eq!(outputs[0].data, TensorData::Fp32(vec![5.0, 5.0, 3.5, 3.5]));
    }

    #[test]
    fn what_a_module_refuses_is_the_fault_of_the_input() {
        assert!(matches!(run(&[1, 2], vec![1.0, 1.0]), Err(RunFailure::Input(_))));
        assert!(
            TorchEngine.load(&ModelBytes::Memory(b"PK".to_vec()), SessionPlan { sessions: 1, threads: 1 }).is_err()
        );
    }
}
