//! The registry as its commands see it, and the names that users type.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::git::{Signature, SignatureState};
use crate::model::artifact;
use crate::model::registry::publish;
use crate::model::registry::tag_write::rfc3339;
use crate::model::registry::{Event, Registry};
use crate::project::{Project, Rev, Snapshot};
use crate::store::Pin;
use crate::tag::{self, Label, ModelName, ModelRequest};

pub struct ModelContext<'p> {
    pub project: &'p Project,
    pub registry: Registry,
    /// The workspace, with the artifacts that are declared now.
    pub now: Snapshot<'p>,
    known: BTreeSet<ModelName>,
}

impl<'p> ModelContext<'p> {
    pub fn open(project: &'p Project, out: &Output) -> Result<ModelContext<'p>> {
        let registry = Registry::read(&project.repo)?;
        if out.verbose > 0 {
            for tag in &registry.passed_over {
                out.status(format!("the tag {} is not a tag of the registry", tag));
            }
        }
        for (tag, remote) in publish::pending_tags(&project.repo) {
            out.warn(format!(
                "{tag} may not be at {remote}: the command that made it did not end; the next one with --push settles it"
            ));
        }
        let now = project.at(&Rev::Worktree)?;
        let declared = artifact::all(&now).into_iter().map(|artifact| artifact.name);
        let known = registry.models.keys().cloned().chain(declared).collect();
        Ok(ModelContext { project, registry, now, known })
    }

    /// `digits`, `models/a:digits`.
    pub fn name(&self, typed: &str) -> Result<ModelName> {
        let name: ModelName = typed.parse().map_err(|why| self.unusable(typed, why))?;
        self.meant(&name)
    }

    fn meant(&self, typed: &ModelName) -> Result<ModelName> {
        let name = tag::resolve_name(typed, &self.known, &self.project.cwd)?;
        // An artifact may be declared under a name that no tag can have.
        match artifact::unusable(&self.now, typed.short()) {
            Some(error) if !self.known.contains(&name) => Err(error),
            _ => Ok(name),
        }
    }

    /// `digits`, `digits@v1.2.0`, `digits#prod`.
    pub fn asked(&self, typed: &str) -> Result<ModelRequest> {
        let asked: ModelRequest = typed.parse().map_err(|why| self.unusable(typed, why))?;
        let name = self.meant(&asked.name)?;
        Ok(ModelRequest { name, ..asked })
    }

    /// The error for a name that cannot be in a tag, with the place of its declaration.
    fn unusable(&self, typed: &str, why: String) -> Error {
        artifact::unusable(&self.now, typed).unwrap_or_else(|| Error::usage(why))
    }
}

pub fn label(text: &str) -> Result<Label, String> {
    text.parse()
}

/// The JSON of a tag.
pub fn event(event: &Event) -> Json {
    json!({
        "event": event.word(),
        "tag": event.tag,
        "commit": event.commit.hex(),
        "by": event.by,
        "time": event.time.map(rfc3339),
        "signed": Signature::unchecked(event.has_signature).state.word(),
    })
}

/// The same, with its signature verified.
pub fn verified(event: &Event, signature: &Signature) -> Json {
    let mut shape = self::event(event);
    shape["signed"] = signature.state.word().into();
    if signature.state != SignatureState::None {
        shape["signature"] = json!({"key": signature.key, "signer": signature.signer, "why": signature.why});
    }
    shape
}

/// A signature in words, or `None` if there is none.
pub fn signature_words(signature: &Signature) -> Option<String> {
    let by = signature.signer.iter().chain(&signature.key).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest: Vec<&str> = [by.as_str(), signature.why.as_deref().unwrap_or_default()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let rest = if rest.is_empty() { String::new() } else { format!(": {}", rest.join("; ")) };
    match signature.state {
        SignatureState::None => None,
        SignatureState::Good => Some(format!("good{rest}")),
        state => Some(format!("{}{rest}", state.word().to_uppercase())),
    }
}

pub fn pin(pin: &Pin) -> Json {
    let mut shape = json!({"blake3": pin.id.hex(), "size": pin.size});
    if let Some(files) = pin.files {
        shape["files"] = files.into();
    }
    shape
}
