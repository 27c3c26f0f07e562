//! A request for inference: from the bytes of its body to those of its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::body::BudgetShare;
use super::state::ServerState;
use crate::serve::engine::RunFailure;
use crate::serve::models::load::LoadedVersion;
use crate::serve::protocol::answer::{self, EncodedAnswer};
use crate::serve::protocol::refusal::Refusal;
use crate::serve::protocol::request::{self, InferRequest};
use crate::serve::protocol::tensor::NamedTensor;

/// The reason of a 503 that is the engine's.
const FAILED: &str = "the engine failed";

/// A request with the version that answers it.
pub struct InferJob {
    /// The name of the model.
    pub model: String,
    /// The version.
    pub version: Arc<LoadedVersion>,
    /// The body.
    pub body: Bytes,
    /// The memory of the body, also while it waits for nothing because its client got a 504.
    pub share: BudgetShare,
    /// The length of the JSON, if tensors follow it.
    pub json_length: Option<usize>,
}

/// Queues a request and waits for its answer.
///
/// Errors: 503 if the queue is full or the engine fails, 504 if it takes too long, 400 if the request is wrong.
pub async fn infer(state: &Arc<ServerState>, job: InferJob) -> Result<EncodedAnswer, Refusal> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (shared, model) = (state.clone(), job.model.clone());
    let work = move |worker: usize| {
        // The client is gone, or got a 504.
        if !sender.is_closed() {
            let _ = sender.send(answer(&shared, worker, job));
        }
    };
    if !state.pool.submit(Box::new(work)) {
        state.metrics.rejected("full");
        return Err(Refusal::new(503, "the queue of the server is full"));
    }
    match tokio::time::timeout(state.limits.time, receiver).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            state.metrics.engine_failed(&model);
            Err(Refusal::new(503, FAILED))
        }
        Err(_) => {
            state.metrics.rejected("slow");
            Err(Refusal::new(504, format!("no answer within {} s", state.limits.time.as_secs_f64())))
        }
    }
}

fn answer(state: &ServerState, worker: usize, job: InferJob) -> Result<EncodedAnswer, Refusal> {
    let mut request = request::read(&job.body, job.json_length, &job.version.model.signature)?;
    drop((job.body, job.share));
    let started = Instant::now();
    let outputs = run(&job.version, worker, &mut request);
    state.metrics.inferred(&job.model, started.elapsed());
    let outputs = outputs.map_err(|failure| match failure {
        RunFailure::Input(why) => Refusal::request(format!("the model refuses the request: {why}")),
        RunFailure::Engine(why) => {
            state.metrics.engine_failed(&job.model);
            Refusal::new(503, format!("{FAILED}: {why}"))
        }
    })?;
    answer::encode(&job.model, &job.version.facts.version, &request, &outputs)
}

/// Runs a request, whose inputs are taken.
pub fn run(version: &LoadedVersion, worker: usize, request: &mut InferRequest) -> Result<Vec<NamedTensor>, RunFailure> {
    let inputs = std::mem::take(&mut request.inputs);
    let wanted: Vec<&str> = request.outputs.iter().map(|output| output.name.as_str()).collect();
    version.model.run(worker, inputs, &wanted)
}
