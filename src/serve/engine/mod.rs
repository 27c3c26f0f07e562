//! What runs a model: a library that is loaded at run time (ONNX), or libtorch (TorchScript).

pub mod library;
pub mod onnx;
pub mod pool;
#[cfg(feature = "torch")]
pub mod torch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::protocol::tensor::{ModelSignature, NamedTensor, Port, TensorData};
use crate::error::{Error, Result};

/// A model in a format that an engine runs.
pub enum ModelBytes {
    /// The whole file.
    Memory(Vec<u8>),
    /// A file that is large, or has further files beside it.
    Path(std::path::PathBuf),
}

/// How many sessions of how many threads a model gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    /// Requests that run at once.
    pub sessions: usize,
    /// Threads of each session.
    pub threads: usize,
}

/// From this size on, a model gets one session with all threads: each session has its own copy of the weights.
pub const LARGE: u64 = 256 << 20;

impl SessionPlan {
    /// The plan for a model of `size` bytes.
    pub fn for_size(size: u64, workers: usize) -> SessionPlan {
        match size > LARGE {
            true => SessionPlan { sessions: 1, threads: workers },
            false => SessionPlan { sessions: workers, threads: 1 },
        }
    }
}

/// The reason why a run has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunFailure {
    /// The engine refuses the values of the request.
    Input(String),
    /// The engine itself failed.
    Engine(String),
}

/// Loads models of one format.
pub trait Engine: Send + Sync {
    /// The name in the metadata of a model, as `onnx_onnxv1`.
    fn platform(&self) -> &'static str;

    /// Loads a model. Errors: one sentence.
    fn load(&self, model: &ModelBytes, plan: SessionPlan) -> Result<LoadedModel, String>;
}

/// A copy of a model that one thread runs at a time.
pub trait Session: Send {
    /// The outputs that are wanted, in their order; all of them for an empty list.
    fn run(&mut self, inputs: Vec<NamedTensor>, wanted: &[&str]) -> Result<Vec<NamedTensor>, RunFailure>;
}

/// A model in memory.
pub struct LoadedModel {
    /// Its inputs and outputs.
    pub signature: ModelSignature,
    /// What the user should know, in sentences.
    pub remarks: Vec<String>,
    sessions: Vec<Mutex<Box<dyn Session>>>,
}

impl LoadedModel {
    /// A model with at least one session.
    pub fn new(signature: ModelSignature, remarks: Vec<String>, sessions: Vec<Box<dyn Session>>) -> LoadedModel {
        LoadedModel { signature, remarks, sessions: sessions.into_iter().map(Mutex::new).collect() }
    }

    /// Runs the session of a worker. A panic of the engine is a failure of the engine.
    pub fn run(
        &self,
        worker: usize,
        inputs: Vec<NamedTensor>,
        wanted: &[&str],
    ) -> Result<Vec<NamedTensor>, RunFailure> {
        let session = &self.sessions[worker % self.sessions.len()];
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| session.run(inputs, wanted)))
            .unwrap_or_else(|_| Err(RunFailure::Engine("the engine panicked".into())))
    }

    /// Runs each session once on zeros, which allocates what the first request would have to wait for. `None` if the
    /// model does not declare its inputs.
    pub fn warm_up(&self) -> Option<Result<(), RunFailure>> {
        let inputs: Vec<NamedTensor> = self.signature.inputs.as_ref()?.iter().map(zeros).collect::<Option<_>>()?;
        Some((0..self.sessions.len()).try_for_each(|worker| self.run(worker, inputs.clone(), &[]).map(|_| ())))
    }
}

/// Zeros for an input, with 1 for each dimension of any size. `None` if they would take more than the model itself may.
fn zeros(port: &Port) -> Option<NamedTensor> {
    let shape = port.shape.as_ref()?.iter().map(|size| usize::try_from(*size).unwrap_or(1)).collect::<Vec<_>>();
    let count = shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).filter(|count| *count <= 1 << 26)?;
    Some(NamedTensor { name: port.name.clone(), shape, data: TensorData::zeros(port.datatype, count) })
}

/// The engine for TorchScript.
///
/// Errors: this build lacks it.
#[cfg(feature = "torch")]
pub fn open_torch() -> Result<Box<dyn Engine>> {
    Ok(Box::new(torch::TorchEngine))
}

/// The engine for TorchScript.
///
/// Errors: this build lacks it.
#[cfg(not(feature = "torch"))]
pub fn open_torch() -> Result<Box<dyn Engine>> {
    Err(Error::missing("TorchScript cannot be served: this lockstep was built without libtorch")
        .hint("build one with it: eval \"$(.ci/libtorch)\" && cargo build --release --features torch")
        .hint("or export the model to ONNX: torch.onnx.export(model, example, \"model.onnx\")"))
}

#[cfg(test)]
mod tests {
    use super::super::protocol::datatype::Datatype;
    use super::*;

    struct Fragile;

    impl Session for Fragile {
        fn run(&mut self, inputs: Vec<NamedTensor>, _: &[&str]) -> Result<Vec<NamedTensor>, RunFailure> {
            assert!(inputs[0].shape != [0], "it breaks");
            Ok(inputs)
        }
    }

    #[test]
    fn a_panic_of_an_engine_is_a_failure_and_the_session_lives_on() {
        let port = Port { name: "X".into(), datatype: Datatype::Int8, shape: Some(vec![-1]) };
        let signature = ModelSignature { inputs: Some(vec![port]), outputs: None };
        let model = LoadedModel::new(signature, vec![], vec![Box::new(Fragile)]);
        let tensor = |count| NamedTensor {
            name: "X".into(),
            shape: vec![count],
            data: TensorData::zeros(Datatype::Int8, count),
        };
        assert_eq!(model.run(5, vec![tensor(0)], &[]), Err(RunFailure::Engine("the engine panicked".into())));
        assert_eq!(model.run(7, vec![tensor(2)], &[]), Ok(vec![tensor(2)]));
        assert_eq!(model.warm_up(), Some(Ok(())));
    }

    #[test]
    fn a_large_model_is_in_memory_once() {
        assert_eq!(SessionPlan::for_size(1, 4), SessionPlan { sessions: 4, threads: 1 });
        assert_eq!(SessionPlan::for_size(LARGE + 1, 4), SessionPlan { sessions: 1, threads: 4 });
    }
}
