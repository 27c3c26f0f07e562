//! `lockstep serve`: answers requests for inference over HTTP, and switches to another version without losing one.
//!
//! [`protocol`] is pure: bytes to tensors and back. [`engine`] runs models, [`models`] finds, loads and switches them,
//! [`http`] has the sockets, the limits, the routes and the page; [`metrics`] are its counters.
//!
//! ```text
//! connection (tokio)   head → route → token → body, within its limits
//! pool (OS threads)    JSON and tensors → checked against the model → session of this thread → bytes of the answer
//! follower (a thread)  source.identity() changed → load beside the old → verify → run on zeros → swap one pointer
//! ```
//!
//! A request takes the version once, when its body is complete. The old version is freed with its last request.

mod engine;
mod http;
mod metrics;
mod models;
pub mod once;
mod protocol;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use self::engine::library;
use self::engine::pool::WorkerPool;
pub use self::http::auth::Token;
use self::http::body::BodyBudget;
pub use self::http::listen::Listeners;
use self::http::server;
use self::http::state::{RequestLimits, ServerState};
use self::metrics::Metrics;
pub use self::models::load::EngineChoice;
use self::models::load::LoadSettings;
use self::models::source::ModelSource;
use self::models::switch::{ServedModel, SwitchOutcome};
use crate::error::{Error, Kind, Result};
use crate::project::Surroundings;

/// All bodies together may take this much memory, or four times the largest one.
const BODIES: usize = 256 << 20;

/// A look at the source that takes long, as at a registry with very many tags, is followed by a pause that is so many times
/// as long: requests need the cores.
const SPARED: u32 = 20;

/// How models are run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// `None`: by the format of the model.
    pub engine: Option<EngineChoice>,
    /// The library of ONNX Runtime, or its folder.
    pub onnxruntime: Option<PathBuf>,
    /// The number of threads that run models.
    pub workers: usize,
}

/// What a server does besides running models.
pub struct ServeOptions {
    /// Requests that wait for a thread.
    pub queue: usize,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// The time for a body to arrive, and for an answer to be computed.
    pub timeout: Duration,
    /// How long a server goes on answering after it was asked to stop.
    pub drain: Duration,
    /// How often the sources are looked at; `None`: never again.
    pub follow: Option<Duration>,
    /// Without one everyone may ask.
    pub token: Option<Token>,
}

/// What happens to a server.
pub enum ServeEvent<'e> {
    /// It accepts connections.
    Listening {
        /// The addresses, as `127.0.0.1:8080`.
        addresses: &'e [String],
    },
    /// A version answers now.
    Switched {
        /// The name of the model.
        model: &'e str,
        /// The version before; `None` at the start.
        from: Option<&'e str>,
        /// The version.
        to: &'e str,
        /// What the user should know.
        remarks: &'e [String],
    },
    /// A version could not be loaded, and the old one goes on.
    Kept {
        /// The name of the model.
        model: &'e str,
        /// Why.
        error: &'e Error,
    },
    /// All models are loaded.
    Ready,
}

/// Called from several threads.
pub type EventSink<'s> = dyn Fn(ServeEvent<'_>) + Sync + 's;

fn settings(options: &EngineOptions, around: &Surroundings) -> LoadSettings {
    let library = library::places(options.onnxruntime.as_deref(), &around.cwd, &around.env);
    LoadSettings { engine: options.engine, library, workers: options.workers }
}

/// Answers one request from a file; see [`once`].
pub fn serve_once(
    what: &str,
    options: &EngineOptions,
    around: &Surroundings,
    file: &std::path::Path,
    repeat: u32,
) -> Result<once::OnceOutcome> {
    let source = ModelSource::open(what, around)?;
    once::answer_once(&source, &settings(options, around), file, repeat)
}

/// Serves models until the user stops it.
///
/// Errors: a model cannot be loaded at the start, two have the same name, the system gives no threads.
pub fn serve(
    what: &[String],
    engine: &EngineOptions,
    options: ServeOptions,
    listeners: Listeners,
    around: &Surroundings,
    events: &EventSink<'_>,
) -> Result<()> {
    let sources = what.iter().map(|what| ModelSource::open(what, around)).collect::<Result<Vec<_>>>()?;
    check_names(&sources)?;
    let settings = settings(engine, around);
    let (follow, drain) = (options.follow, options.drain);
    let state = Arc::new(new_state(sources, engine, options, &listeners, around)?);
    let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
    events(ServeEvent::Listening { addresses: &addresses });
    let is_failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ended, is_ended) = channel::<()>();
        let (shared, settings, is_failed) = (&state, &settings, &is_failed);
        let follower = scope.spawn(move || {
            let loaded = load_all(shared, settings, events);
            match loaded {
                Ok(()) => follow_all(shared, settings, follow, &is_ended, events),
                Err(_) => is_failed.store(true, Ordering::SeqCst),
            }
            loaded
        });
        let is_done = || is_failed.load(Ordering::SeqCst);
        let served = server::run(&state, listeners, drain, around.stop, &is_done);
        drop(ended);
        let loaded = follower.join().unwrap_or_else(|_| Err(Error::new(Kind::Bug, "a thread panicked")));
        loaded.and(served)
    })
}

fn check_names(sources: &[ModelSource]) -> Result<()> {
    for (at, source) in sources.iter().enumerate() {
        if let Some(other) = sources[..at].iter().find(|other| other.name == source.name) {
            return Err(Error::usage(format!("{} and {} are both called {}", other.typed, source.typed, source.name))
                .hint("serve them by two servers"));
        }
    }
    Ok(())
}

fn new_state(
    sources: Vec<ModelSource>,
    engine: &EngineOptions,
    options: ServeOptions,
    listeners: &Listeners,
    around: &Surroundings,
) -> Result<ServerState> {
    Ok(ServerState {
        models: sources.into_iter().map(|source| Arc::new(ServedModel::new(source))).collect(),
        pool: WorkerPool::start(engine.workers, options.queue)?,
        metrics: Metrics::default(),
        limits: RequestLimits { body: options.max_body, time: options.timeout },
        budget: BodyBudget::new(options.max_body.saturating_mul(4).max(BODIES)),
        token: options.token,
        is_public: listeners.is_public(),
        now: around.now,
        connections: AtomicUsize::new(0),
        is_stopping: AtomicBool::new(false),
        is_stopped: AtomicBool::new(false),
    })
}

/// The first versions; without them there is nothing to serve.
fn load_all(state: &ServerState, settings: &LoadSettings, events: &EventSink<'_>) -> Result<()> {
    for model in &state.models {
        let outcome = model.follow(settings, state.now);
        report(state, model, &outcome, events);
        if let SwitchOutcome::Failed { error } = outcome {
            return Err(error);
        }
    }
    events(ServeEvent::Ready);
    Ok(())
}

/// Looks at the sources until the server ends.
fn follow_all(
    state: &ServerState,
    settings: &LoadSettings,
    follow: Option<Duration>,
    is_ended: &Receiver<()>,
    events: &EventSink<'_>,
) {
    let Some(follow) = follow else { return };
    let can_change: Vec<_> = state.models.iter().filter(|model| model.source.can_change()).collect();
    let mut pause = follow;
    while !can_change.is_empty() && matches!(is_ended.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
        pause = follow;
        for model in &can_change {
            if state.is_stopping() {
                return;
            }
            let started = Instant::now();
            let outcome = model.follow(settings, state.now);
            if matches!(outcome, SwitchOutcome::Unchanged) {
                pause = pause.max(started.elapsed() * SPARED);
            }
            report(state, model, &outcome, events);
        }
    }
}

fn report(state: &ServerState, model: &ServedModel, outcome: &SwitchOutcome, events: &EventSink<'_>) {
    let name = &model.source.name;
    match outcome {
        SwitchOutcome::Unchanged => {}
        SwitchOutcome::Switched { from, to, remarks } => {
            state.metrics.switched(name, "ok");
            events(ServeEvent::Switched { model: name, from: from.as_deref(), to, remarks });
        }
        SwitchOutcome::Failed { error } => {
            state.metrics.switched(name, "failed");
            if model.current().is_some() {
                events(ServeEvent::Kept { model: name, error });
            }
        }
    }
}
