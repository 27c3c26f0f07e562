//! ONNX models, run by ONNX Runtime. Its library is loaded once per process and is never linked.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use half::{bf16, f16};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{OutputSelector, RunOptions, Session as OrtSession};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType};
use ort::{Error as OrtError, ErrorCode};

use super::library::{self, LibraryPlaces};
use super::{Engine, LoadedModel, ModelBytes, RunFailure, Session, SessionPlan};
use crate::error::{Error, Result};
use crate::serve::protocol::datatype::Datatype;
use crate::serve::protocol::tensor::{ModelSignature, NamedTensor, Port, TensorData};

/// A process can have one environment; a second one is refused by the library.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// ONNX Runtime.
pub struct OnnxEngine {
    environment: Environment,
}

impl OnnxEngine {
    /// Loads the library from the first place that has it.
    ///
    /// Errors: no place has it, or it is too old ([`Kind::Missing`](crate::error::Kind::Missing)).
    pub fn open(places: &LibraryPlaces) -> Result<OnnxEngine> {
        library::check_build()?;
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(OnnxEngine { environment: environment.clone() });
        }
        let mut tried = Vec::new();
        for path in &places.paths {
            match load_library(path) {
                Ok(environment) => {
                    let environment = ENVIRONMENT.get_or_init(|| environment).clone();
                    return Ok(OnnxEngine { environment });
                }
                Err(why) => tried.push(why),
            }
        }
        match (places.is_named, places.paths.first()) {
            (true, Some(path)) => Err(Error::missing(format!("{} is not a usable ONNX Runtime", path.display()))
                .because(tried.join("; "))
                .hint("pip install onnxruntime; the library is site-packages/onnxruntime/capi/libonnxruntime.so.1.*")),
            _ => Err(library::absent(&tried)),
        }
    }
}

fn load_library(path: &PathBuf) -> Result<Environment, String> {
    let shown = path.display();
    let is_path = path.components().count() > 1;
    if is_path && !Path::is_file(path) {
        return Err(format!("{shown} does not exist"));
    }
    let load = || {
        let builder = ort::init_from(path).map_err(|e| e.to_string())?;
        let environment = builder.with_name("lockstep").with_telemetry(false).build().map_err(|e| e.to_string())?;
        // What fails is returned and counted; a client could fill the log of a server.
        environment.set_log_level(LogLevel::Fatal);
        Ok(environment)
    };
    std::panic::catch_unwind(load).unwrap_or_else(|_| Err(format!("{shown} cannot be loaded")))
}

impl Engine for OnnxEngine {
    fn platform(&self) -> &'static str {
        "onnx_onnxv1"
    }

    fn load(&self, model: &ModelBytes, plan: SessionPlan) -> Result<LoadedModel, String> {
        let load = || {
            let open = |_| self.open_session(model, plan.threads).map_err(|e| e.message().to_string());
            let sessions = (0..plan.sessions).map(open).collect::<Result<Vec<OrtSession>, String>>()?;
            let first = sessions.first().ok_or("it has no session")?;
            let (signature, remarks) = signature_of(first)?;
            let outputs: Vec<String> = signature.outputs.iter().flatten().map(|port| port.name.clone()).collect();
            let boxed = sessions
                .into_iter()
                .map(|session| Box::new(OnnxSession { session, outputs: outputs.clone() }) as Box<dyn Session>);
            Ok(LoadedModel::new(signature, remarks, boxed.collect()))
        };
        let load = std::panic::AssertUnwindSafe(load);
        std::panic::catch_unwind(load).unwrap_or_else(|_| Err("the engine panicked".into()))
    }
}

impl OnnxEngine {
    fn open_session(&self, model: &ModelBytes, threads: usize) -> Result<OrtSession, OrtError> {
        let recover = |e: OrtError<_>| OrtError::new(e.message());
        let builder = OrtSession::builder(&self.environment)?;
        let builder = builder.with_intra_threads(threads).map_err(recover)?;
        let builder = builder.with_inter_threads(1).map_err(recover)?;
        // Waiting threads sleep: other models and the server itself need the cores.
        let builder = builder.with_intra_op_spinning(false).map_err(recover)?;
        let mut builder = builder.with_log_level(LogLevel::Fatal).map_err(recover)?;
        match model {
            ModelBytes::Memory(bytes) => builder.commit_from_memory(bytes),
            ModelBytes::Path(path) => builder.commit_from_file(path),
        }
    }
}

/// The inputs and outputs, and remarks on outputs that are left out.
fn signature_of(session: &OrtSession) -> Result<(ModelSignature, Vec<String>), String> {
    let mut remarks = Vec::new();
    let mut inputs = Vec::new();
    for input in session.inputs() {
        let port =
            port(input).map_err(|kind| format!("its input {} is {kind}, and only tensors are served", input.name()));
        inputs.push(port?);
    }
    let mut outputs = Vec::new();
    for output in session.outputs() {
        match port(output) {
            Ok(port) => outputs.push(port),
            Err(kind) => remarks.push(format!(
                "the output {} is left out: it is {kind}, not a tensor (with skl2onnx, convert with options={{'zipmap': False}})",
                output.name()
            )),
        }
    }
    match outputs.is_empty() {
        true => Err("it has no output that is a tensor".into()),
        false => Ok((ModelSignature { inputs: Some(inputs), outputs: Some(outputs) }, remarks)),
    }
}

/// Errors: the type of a value that is no tensor of a known element type.
fn port(outlet: &Outlet) -> Result<Port, String> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return Err(outlet.dtype().to_string()) };
    let datatype = datatype_of(*ty).ok_or_else(|| format!("a tensor of {ty}"))?;
    // A dimension without a size is -1.
    let shape = shape.iter().map(|size| (*size).max(-1)).collect();
    Ok(Port { name: outlet.name().to_string(), datatype, shape: Some(shape) })
}

fn datatype_of(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

struct OnnxSession {
    session: OrtSession,
    /// The outputs that are tensors.
    outputs: Vec<String>,
}

impl Session for OnnxSession {
    fn run(&mut self, inputs: Vec<NamedTensor>, wanted: &[&str]) -> Result<Vec<NamedTensor>, RunFailure> {
        let values = inputs.into_iter().map(|tensor| Ok((tensor.name.clone(), to_value(tensor)?)));
        let values = values.collect::<Result<Vec<(String, DynValue)>, RunFailure>>()?;
        let all: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let names = if wanted.is_empty() { &all[..] } else { wanted };
        let selected = names.iter().fold(OutputSelector::no_default(), |selected, name| selected.with(*name));
        let options = RunOptions::new().map_err(engine_failure)?.with_outputs(selected);
        let outputs = self.session.run_with_options(values, &options).map_err(|e| failure_of(&e))?;
        outputs.iter().map(|(name, value)| from_value(name, &value)).collect()
    }
}

fn engine_failure(e: OrtError) -> RunFailure {
    RunFailure::Engine(e.message().to_string())
}

/// The engine ran the model when it was loaded: what fails now depends on the values of the request, unless memory ran
/// out or the engine says that it is broken.
fn failure_of(e: &OrtError) -> RunFailure {
    let message = e.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let lacks_memory =
        ["bad_alloc", "Failed to allocate memory", "out of memory"].iter().any(|sign| message.contains(sign));
    match e.code() {
        _ if lacks_memory => RunFailure::Engine(message),
        ErrorCode::InvalidArgument | ErrorCode::GenericFailure | ErrorCode::RuntimeException => {
            RunFailure::Input(message)
        }
        _ => RunFailure::Engine(message),
    }
}

fn to_value(tensor: NamedTensor) -> Result<DynValue, RunFailure> {
    let NamedTensor { name, shape, data } = tensor;
    let value = match data {
        TensorData::Bool(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Uint8(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Uint16(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Uint32(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Uint64(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Int8(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Int16(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Int32(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Int64(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Fp16(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Bf16(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Fp32(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Fp64(values) => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        TensorData::Bytes(texts) => {
            if texts.iter().any(|text| text.contains('\0')) {
                return Err(RunFailure::Input(format!("input {name}: a text has a zero byte")));
            }
            Tensor::from_string_array((shape, &texts[..])).map(Tensor::into_dyn)
        }
    };
    value.map_err(|e| failure_of(&e))
}

fn from_value(name: &str, value: &DynValue) -> Result<NamedTensor, RunFailure> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(RunFailure::Engine(format!("the output {name} is no tensor")));
    };
    let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let data = match ty {
        TensorElementType::Bool => TensorData::Bool(vector(value)?),
        TensorElementType::Uint8 => TensorData::Uint8(vector(value)?),
        TensorElementType::Uint16 => TensorData::Uint16(vector(value)?),
        TensorElementType::Uint32 => TensorData::Uint32(vector(value)?),
        TensorElementType::Uint64 => TensorData::Uint64(vector(value)?),
        TensorElementType::Int8 => TensorData::Int8(vector(value)?),
        TensorElementType::Int16 => TensorData::Int16(vector(value)?),
        TensorElementType::Int32 => TensorData::Int32(vector(value)?),
        TensorElementType::Int64 => TensorData::Int64(vector(value)?),
        TensorElementType::Float16 => TensorData::Fp16(vector::<f16>(value)?),
        TensorElementType::Bfloat16 => TensorData::Bf16(vector::<bf16>(value)?),
        TensorElementType::Float32 => TensorData::Fp32(vector(value)?),
        TensorElementType::Float64 => TensorData::Fp64(vector(value)?),
        TensorElementType::String => {
            TensorData::Bytes(value.try_extract_strings().map(|(_, texts)| texts).map_err(engine_failure)?)
        }
        other => return Err(RunFailure::Engine(format!("the output {name} is a tensor of {other}"))),
    };
    Ok(NamedTensor { name: name.to_string(), shape, data })
}

fn vector<T: PrimitiveTensorElementType + Copy>(value: &DynValue) -> Result<Vec<T>, RunFailure> {
    value.try_extract_tensor::<T>().map(|(_, values)| values.to_vec()).map_err(engine_failure)
}
