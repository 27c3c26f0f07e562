//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::auth::Token;
use super::body::BodyBudget;
use super::router::ModelAddress;
use crate::serve::engine::pool::WorkerPool;
use crate::serve::metrics::{Metrics, ModelInfo};
use crate::serve::models::load::LoadedVersion;
use crate::serve::models::switch::ServedModel;
use crate::serve::protocol::refusal::Refusal;

/// Limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Of a body, in bytes.
    pub body: usize,
    /// Of a body that arrives, and of an answer that is computed.
    pub time: Duration,
}

/// The state of a server.
pub struct ServerState {
    /// In the order of the command line.
    pub models: Vec<Arc<ServedModel>>,
    /// The threads that run them.
    pub pool: WorkerPool,
    /// Counters.
    pub metrics: Metrics,
    /// Of all requests.
    pub limits: RequestLimits,
    /// Of all bodies.
    pub budget: Arc<BodyBudget>,
    /// Without a token everyone may ask.
    pub token: Option<Token>,
    /// Can other machines connect? They do not see paths.
    pub is_public: bool,
    /// The clock.
    pub now: fn() -> SystemTime,
    /// Open connections.
    pub connections: AtomicUsize,
    /// The server is about to end: it answers, and asks clients to connect elsewhere.
    pub is_stopping: AtomicBool,
    /// The server ends: what arrives now is refused.
    pub is_stopped: AtomicBool,
}

impl ServerState {
    /// Is every model loaded, and does the server stay?
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.models.iter().all(|model| model.current().is_some())
    }

    /// Is it about to end?
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// The version that answers a request.
    ///
    /// Errors: 404 for a model or version that is not here; 503 while the model is loaded.
    pub fn find(&self, address: &ModelAddress) -> Result<(&ServedModel, Arc<LoadedVersion>), Refusal> {
        let ModelAddress { name, version } = address;
        let Some(model) = self.models.iter().find(|model| model.source.name == *name) else {
            let names: Vec<&str> = self.models.iter().map(|model| model.source.name.as_str()).collect();
            return Err(Refusal::new(404, format!("there is no model {name}: this server has {}", names.join(", "))));
        };
        let Some(current) = model.current() else {
            return Err(Refusal::new(503, format!("the model {name} is being loaded")));
        };
        match version {
            Some(version) if *version != current.facts.version => {
                let here = &current.facts.version;
                Err(Refusal::new(404, format!("there is no version {version} of {name}: this server has {here}")))
            }
            _ => Ok((model, current)),
        }
    }

    /// A refusal as the client may see it.
    pub fn shown(&self, refusal: Refusal) -> Refusal {
        if self.is_public { refusal.without_paths() } else { refusal }
    }

    /// What the metrics say of the models.
    pub fn infos(&self) -> Vec<ModelInfo> {
        let info = |model: &Arc<ServedModel>| {
            let version = model.current()?;
            Some(ModelInfo {
                model: model.source.name.clone(),
                version: version.facts.version.clone(),
                blake3: version.facts.blake3.map(|id| id.hex()).unwrap_or_default(),
                commit: version.facts.commit.clone().unwrap_or_default(),
            })
        };
        self.models.iter().filter_map(info).collect()
    }
}
