//! Where content comes from that is pinned and not in the workspace, and the command that brings it.

use crate::error::Error;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::project::origin::Origin;
use crate::project::{Definitions, Project};
use crate::store::Pin;

/// Where missing content may be, from the cheapest to get to the most expensive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentSource {
    Store,
    /// The repository from which it was imported.
    Import,
    /// A remote may have it, or a stage makes it.
    Remote {
        is_made: bool,
    },
    /// A stage makes it, and it is never pushed or there is no remote.
    Stage,
    /// Data, without a remote.
    Unknown,
}

impl ContentSource {
    /// The source of the output or data at `path`.
    pub fn of(project: &Project, definitions: &Definitions, path: &RepoPath, pin: &Pin) -> ContentSource {
        if project.store().contains(pin) {
            return ContentSource::Store;
        }
        let (is_made, is_pushed) = match definitions.graph.owner(path) {
            Some(Owner::Out(id, at)) => (true, definitions.pipelines.stage(id).outs[at as usize].push),
            Some(Owner::Data(..)) | None => (false, true),
        };
        match (is_made, is_pushed && !project.config.remotes().is_empty()) {
            (false, _) if Origin::of(definitions, path).is_some() => ContentSource::Import,
            (is_made, true) => ContentSource::Remote { is_made },
            (true, false) => ContentSource::Stage,
            (false, false) => ContentSource::Unknown,
        }
    }

    /// Adds what to type.
    pub fn add_hints(self, error: Error) -> Error {
        match self {
            ContentSource::Store => error.hint("bring it back: lockstep checkout"),
            ContentSource::Import => error.hint("fetch it from the repository it was imported from: lockstep pull"),
            ContentSource::Remote { is_made: true } => {
                error.hint("fetch what was pushed: lockstep pull").hint("or make it again: lockstep repro")
            }
            ContentSource::Remote { is_made: false } => error.hint("fetch what was pushed: lockstep pull"),
            ContentSource::Stage => error.hint("make it again: lockstep repro"),
            ContentSource::Unknown => {
                error.hint("put a copy of it back there: there is no remote, and lockstep keeps only what was stored")
            }
        }
    }
}
