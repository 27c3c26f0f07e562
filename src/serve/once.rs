//! One request without a server: the smoke test of a release, and the time of a run without HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use super::http::infer::run;
use super::models::load::{LoadSettings, load};
use super::models::source::ModelSource;
use super::protocol::answer;
use super::protocol::refusal::Refusal;
use super::protocol::request::{self, InferRequest};
use crate::document;
use crate::error::{Error, Kind, Result};

/// The result of one request.
pub struct OnceOutcome {
    /// The answer in JSON.
    pub answer: Vec<u8>,
    /// How long each run took, the shortest first; empty without repetitions.
    pub times: Vec<Duration>,
}

/// Answers the request in a file, and repeats its run `repeat` times.
///
/// Errors: the model cannot be loaded; the request is refused ([`Kind::Check`]).
pub fn answer_once(source: &ModelSource, settings: &LoadSettings, file: &Path, repeat: u32) -> Result<OnceOutcome> {
    let absent = || Error::missing(format!("{} does not exist", file.display()));
    let body = document::read(file, document::MOST)?.ok_or_else(absent)?;
    let version = load(source.release()?, settings)?;
    let refused =
        |refusal: Refusal| Error::new(Kind::Check, format!("{} is refused: {}", file.display(), refusal.message));
    let parsed = request::read(&body, None, &version.model.signature).map_err(refused)?;
    let run_one = |mut request: InferRequest| {
        let outputs = run(&version, 0, &mut request);
        let failed =
            |why| Error::new(Kind::Check, format!("{} has no answer", file.display())).because(format!("{why:?}"));
        outputs.map(|outputs| (request, outputs)).map_err(failed)
    };
    let (request, outputs) = run_one(clone_request(&parsed))?;
    let encoded = answer::encode(&source.name, &version.facts.version, &request, &outputs).map_err(refused)?;
    let mut times = Vec::with_capacity(repeat as usize);
    for _ in 0..repeat {
        let request = clone_request(&parsed);
        let started = Instant::now();
        run_one(request)?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(OnceOutcome { answer: encoded.bytes, times })
}

fn clone_request(request: &InferRequest) -> InferRequest {
    // The file has no binary tensors, and the answer is printed.
    let outputs = request.outputs.iter().map(|output| request::WantedOutput { is_binary: false, ..output.clone() });
    InferRequest {
        id: request.id.clone(),
        inputs: request.inputs.clone(),
        outputs: outputs.collect(),
        is_binary: false,
    }
}

/// The time that `percent` of the sorted times do not exceed.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
