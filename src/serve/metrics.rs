//! Counters of a server, in the text format of Prometheus. The names of models come from the command line and few versions
//! are kept, so the number of lines is bounded.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counters of older versions are added up under the version `older`.
const VERSIONS: usize = 32;
const OLDER: &str = "older";

/// Upper bounds of a histogram, in seconds.
const BOUNDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// All counters of a server.
#[derive(Default)]
pub struct Metrics {
    counters: Mutex<Counters>,
    in_flight: AtomicI64,
}

#[derive(Default)]
struct Counters {
    /// By model, version and status.
    requests: BTreeMap<(String, String, u16), u64>,
    /// The versions of each model, the oldest first.
    versions: BTreeMap<String, Vec<String>>,
    request_seconds: BTreeMap<String, Histogram>,
    inference_seconds: BTreeMap<String, Histogram>,
    /// By reason.
    rejected: BTreeMap<&'static str, u64>,
    engine_failures: BTreeMap<String, u64>,
    /// By model and result.
    switches: BTreeMap<(String, &'static str), u64>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        // The buckets are cumulative.
        self.buckets.iter_mut().zip(BOUNDS).filter(|(_, bound)| seconds <= *bound).for_each(|(bucket, _)| *bucket += 1);
        self.count += 1;
        self.sum += seconds;
    }
}

/// What `lockstep_model_info` says of a model.
pub struct ModelInfo {
    /// The name.
    pub model: String,
    /// The version that answers.
    pub version: String,
    /// Its hash.
    pub blake3: String,
    /// Its commit; may be empty.
    pub commit: String,
}

/// One request that is being answered.
pub struct InFlight<'m>(&'m Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request as long as the result lives.
    pub fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Counts an answer to a request for inference. The model and version are empty if the request names none.
    pub fn answered(&self, model: &str, version: &str, status: u16, time: Duration) {
        let mut counters = self.lock();
        counters.learn_version(model, version);
        *counters.requests.entry((model.into(), version.into(), status)).or_default() += 1;
        counters.request_seconds.entry(model.into()).or_default().add(time.as_secs_f64());
    }

    /// Counts a run of a model.
    pub fn inferred(&self, model: &str, time: Duration) {
        self.lock().inference_seconds.entry(model.into()).or_default().add(time.as_secs_f64());
    }

    /// Counts a request that the server had no room or time for.
    pub fn rejected(&self, why: &'static str) {
        *self.lock().rejected.entry(why).or_default() += 1;
    }

    /// Counts a failure of the engine itself.
    pub fn engine_failed(&self, model: &str) {
        *self.lock().engine_failures.entry(model.into()).or_default() += 1;
    }

    /// Counts a switch of a model: `ok` or `failed`.
    pub fn switched(&self, model: &str, result: &'static str) {
        *self.lock().switches.entry((model.into(), result)).or_default() += 1;
    }

    /// The text for Prometheus.
    pub fn text(&self, models: &[ModelInfo], waiting: usize) -> String {
        let counters = self.lock();
        let mut text = String::new();
        family(&mut text, "lockstep_requests_total", "counter", "Answers to requests for inference.");
        for ((model, version, code), count) in &counters.requests {
            let labels = labels(&[("model", model), ("version", version), ("code", &code.to_string())]);
            let _ = writeln!(text, "lockstep_requests_total{labels} {count}");
        }
        histograms(&mut text, "lockstep_request_seconds", "Time to answer a request.", &counters.request_seconds);
        histograms(&mut text, "lockstep_inference_seconds", "Time of a run of the model.", &counters.inference_seconds);
        family(&mut text, "lockstep_in_flight", "gauge", "Requests that are being answered.");
        let _ = writeln!(text, "lockstep_in_flight {}", self.in_flight.load(Ordering::Relaxed));
        family(&mut text, "lockstep_waiting", "gauge", "Requests that wait for a thread.");
        let _ = writeln!(text, "lockstep_waiting {waiting}");
        family(&mut text, "lockstep_rejected_total", "counter", "Requests without room or time for them.");
        for (why, count) in &counters.rejected {
            let _ = writeln!(text, "lockstep_rejected_total{} {count}", labels(&[("why", why)]));
        }
        family(&mut text, "lockstep_engine_failures_total", "counter", "Failures of the engine itself.");
        for (model, count) in &counters.engine_failures {
            let _ = writeln!(text, "lockstep_engine_failures_total{} {count}", labels(&[("model", model)]));
        }
        family(&mut text, "lockstep_switches_total", "counter", "Switches to another version.");
        for ((model, result), count) in &counters.switches {
            let labels = labels(&[("model", model), ("result", result)]);
            let _ = writeln!(text, "lockstep_switches_total{labels} {count}");
        }
        family(&mut text, "lockstep_model_info", "gauge", "The version of a model that answers.");
        for info in models {
            let ModelInfo { model, version, blake3, commit } = info;
            let labels = labels(&[("model", model), ("version", version), ("blake3", blake3), ("commit", commit)]);
            let _ = writeln!(text, "lockstep_model_info{labels} 1");
        }
        text
    }
}

impl Counters {
    /// Keeps the counters of the newest versions of a model apart.
    fn learn_version(&mut self, model: &str, version: &str) {
        let versions = self.versions.entry(model.into()).or_default();
        if versions.iter().any(|known| known == version) {
            return;
        }
        versions.push(version.into());
        if versions.len() <= VERSIONS {
            return;
        }
        let oldest = versions.remove(0);
        let is_oldest = |(of, version, _): &(String, String, u16)| of == model && *version == oldest;
        let moved: Vec<_> = self.requests.keys().filter(|key| is_oldest(key)).cloned().collect();
        for key in moved {
            let count = self.requests.remove(&key).unwrap_or_default();
            *self.requests.entry((key.0, OLDER.into(), key.2)).or_default() += count;
        }
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histograms(text: &mut String, name: &str, help: &str, all: &BTreeMap<String, Histogram>) {
    family(text, name, "histogram", help);
    for (model, histogram) in all {
        for (bucket, bound) in histogram.buckets.iter().zip(BOUNDS) {
            let labels = labels(&[("model", model), ("le", &bound.to_string())]);
            let _ = writeln!(text, "{name}_bucket{labels} {bucket}");
        }
        let Histogram { count, sum, .. } = histogram;
        let _ = writeln!(text, "{name}_bucket{} {count}", labels(&[("model", model), ("le", "+Inf")]));
        let labels = labels(&[("model", model)]);
        let _ = writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_written() {
        let metrics = Metrics::default();
        let request = metrics.enter();
        metrics.answered("a\"b", "v1", 200, Duration::from_millis(2));
        metrics.answered("a\"b", "v1", 200, Duration::from_secs(60));
        metrics.inferred("a\"b", Duration::from_micros(50));
        metrics.rejected("full");
        metrics.switched("a\"b", "ok");
        let info = ModelInfo { model: "m".into(), version: "v1".into(), blake3: "00".into(), commit: String::new() };
        let text = metrics.text(&[info], 0);
        for line in [
            r#"lockstep_requests_total{model="a\"b",version="v1",code="200"} 2"#,
            r#"lockstep_request_seconds_bucket{model="a\"b",le="0.001"} 0"#,
            r#"lockstep_request_seconds_bucket{model="a\"b",le="0.0025"} 1"#,
            r#"lockstep_request_seconds_bucket{model="a\"b",le="30"} 1"#,
            r#"lockstep_request_seconds_bucket{model="a\"b",le="+Inf"} 2"#,
            r#"lockstep_request_seconds_count{model="a\"b"} 2"#,
            r#"lockstep_inference_seconds_bucket{model="a\"b",le="0.0001"} 1"#,
            "lockstep_in_flight 1",
            r#"lockstep_rejected_total{why="full"} 1"#,
            r#"lockstep_switches_total{model="a\"b",result="ok"} 1"#,
            r#"lockstep_model_info{model="m",version="v1",blake3="00",commit=""} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        drop(request);
        assert!(metrics.text(&[], 0).contains("lockstep_in_flight 0"));
    }

    #[test]
    fn many_versions_do_not_make_many_lines() {
        let metrics = Metrics::default();
        for n in 0..200 {
            metrics.answered("m", &format!("v{n}"), 200, Duration::ZERO);
        }
        let text = metrics.text(&[], 0);
        assert!(text.lines().filter(|line| line.starts_with("lockstep_requests_total")).count() <= VERSIONS + 1);
        assert!(text.contains(&format!("version=\"older\",code=\"200\"}} {}", 200 - VERSIONS)));
    }
}
