//! What a stage needs and the workspace lacks.

use crate::error::{Error, Kind};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{Dep, InputLocation, Out, StageId};
use crate::plan::content_source::ContentSource;
use crate::plan::missing_input::{missing_dep_error, similar_path};
use crate::plan::reasons::{Facts, PathState, Reason};
use crate::project::origin::Origin;
use crate::run::pull::MissingInput;
use crate::run::state::Run;
use crate::shell::word;
use crate::store::{Pin, TrackedPath, overlay};

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    /// What the lock says about an output or data, and where its bytes are kept.
    fn pinned(&self, owner: Owner) -> Option<MissingInput> {
        match owner {
            Owner::Out(id, at) => {
                let out = &self.stage(id).outs[at as usize];
                let pin = self.entry(id)?.outs.get(&out.spelled)?.pin;
                Some(MissingInput { path: out.path.clone(), pin, remote: out.remote.clone(), origin: None })
            }
            Owner::Data(file, at) => {
                let data = &self.definitions().pipelines.file(file).data[at as usize];
                let pin = *self.workspace.locks.of_file(file).data.get(&data.spelled)?;
                let origin = Origin::of_data(&self.definitions().pipelines.file(file).path, data);
                Some(MissingInput { path: data.path.clone(), pin, remote: data.remote.clone(), origin })
            }
        }
    }

    /// With `--allow-missing`, missing paths are assumed to equal what the lock pins. An unchanged stage stays
    /// unchanged, and the result of a changed stage may be known, without the bytes; these are fetched, or reported
    /// missing, before a stage runs. Also returns the folders of which the stage reads a part and whose listing is
    /// missing.
    pub(super) fn assume(&self, id: StageId, mut facts: Facts) -> (Facts, Vec<MissingInput>) {
        let store = self.project().store();
        let mut unlisted: Vec<MissingInput> = Vec::new();
        for (dep, now) in self.stage(id).deps.iter().zip(&mut facts.deps) {
            let InputLocation::Repo(path) = &dep.place else { continue };
            let absent = self.missing_sources(std::iter::once(dep));
            let holds_it = |input: &&MissingInput| path.is_in(&input.path);
            if let Some(input) = absent.iter().find(holds_it) {
                if *path == input.path {
                    *now = Some(input.pin);
                    continue;
                }
                *now = store.find_in_pin(&input.pin, &path.relative_to(&input.path)).unwrap_or_else(|| {
                    if unlisted.iter().all(|folder| folder.path != input.path) {
                        unlisted.push(input.clone());
                    }
                    // For a part of a folder that cannot be listed, use what the lock says about the stage.
                    self.entry(id).and_then(|entry| entry.deps.get(&dep.spelled).copied())
                });
            } else if !absent.is_empty() && now.is_none_or(|pin| pin.is_dir()) {
                let found =
                    now.and_then(|_| self.project().index().list_entries(&TrackedPath::from(path))).unwrap_or_default();
                let missing: Vec<_> = absent.iter().map(|i| (i.path.relative_to(path).into_bytes(), i.pin)).collect();
                *now = Some(overlay(&found, &missing));
            }
        }
        (facts, unlisted)
    }

    /// The missing outputs and data that equal, contain or are inside these deps.
    pub(super) fn missing_sources<'d>(&self, deps: impl Iterator<Item = &'d Dep>) -> Vec<MissingInput> {
        let paths = deps.filter_map(|dep| match &dep.place {
            InputLocation::Repo(path) => Some(path),
            _ => None,
        });
        let owners = paths.flat_map(|path| self.definitions().graph.owners_of(path));
        let is_gone =
            |input: &MissingInput| std::fs::symlink_metadata(input.path.on_disk(self.project().top())).is_err();
        owners.filter_map(|owner| self.pinned(owner)).filter(is_gone).collect()
    }

    /// The missing outputs that the stage builds on (`persist`), as the lock pins them.
    pub(super) fn missing_persistent(&self, id: StageId) -> Vec<MissingInput> {
        let is_gone = |path: &RepoPath| {
            let seen = std::fs::symlink_metadata(path.on_disk(self.project().top()));
            seen.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
        };
        // What Git tracks is restored by Git.
        let is_absent = |out: &Out| out.persist && out.cache && is_gone(&out.path);
        let outs = self.stage(id).outs.iter().enumerate().filter(|(_, out)| is_absent(out));
        outs.filter_map(|(n, _)| self.pinned(Owner::Out(id, n as u32))).collect()
    }

    /// All missing inputs of a stage.
    pub(in crate::run) fn missing_inputs(&self, id: StageId) -> Vec<MissingInput> {
        self.missing_sources(self.stage(id).deps.iter())
    }

    /// The error for a dep or a value that the stage needs and that does not exist.
    pub(super) fn missing_input_error(&self, id: StageId, facts: &Facts) -> Option<Error> {
        let stage = self.stage(id);
        if let Some((dep, _)) = stage.deps.iter().zip(&facts.deps).find(|(_, pin)| pin.is_none()) {
            let (project, definitions) = (self.project(), self.definitions());
            let missing = self.missing_sources(std::iter::once(dep));
            if missing.is_empty() {
                let error = missing_dep_error(project, definitions, id, &dep.spelled, &dep.place);
                return Some(error.hint(format!("create it, or take it out of the deps of {}", stage.name)));
            }
            let message = format!("stage {} needs {}, which does not exist", self.address(id), dep.spelled);
            let source = |input: &MissingInput| ContentSource::of(project, definitions, &input.path, &input.pin);
            let error = Error::missing(message);
            return Some(missing.iter().map(source).max().map_or(error.clone(), |source| source.add_hints(error)));
        }
        for file in &stage.params {
            let Some(Some(values)) = facts.params.get(&file.spelled) else {
                let (address, spelled) = (self.address(id), &file.spelled);
                let error = Error::missing(format!("stage {address} reads params of {spelled}, which does not exist"));
                return Some(match similar_path(self.project(), self.definitions(), stage, &file.place) {
                    Some(path) => error.hint(format!("did you mean `{path}`?")),
                    None => error,
                });
            };
            let missing: Vec<&str> =
                file.keys.iter().flatten().filter(|k| !values.contains_key(*k)).map(String::as_str).collect();
            if !missing.is_empty() {
                let what =
                    format!("{} lacks {}, which stage {} reads", file.spelled, missing.join(", "), self.address(id));
                return Some(Error::usage(what).hint(format!("add the value to {}", file.spelled)));
            }
        }
        None
    }

    /// An error for a stage that is stale for one reason: an output that it builds on (`persist`) is an earlier
    /// version, as after a merge without a checkout. Running it would replace the pinned version.
    pub(super) fn persistent_version_error(&self, id: StageId, facts: &Facts, reasons: &[Reason]) -> Option<Error> {
        let is_of_out = |reason: &Reason| matches!(reason, Reason::Out { state: PathState::Modified, .. });
        if !reasons.iter().all(is_of_out) {
            return None;
        }
        let (stage, entry, store) = (self.stage(id), self.entry(id)?, self.project().store());
        let is_other = |(out, now): &(&Out, &Option<Pin>)| {
            let (Some(now), Some(locked)) = (now, entry.outs.get(&out.spelled)) else { return false };
            out.persist
                && out.cache
                && !now.same_content(&locked.pin)
                && store.holds(now)
                && store.contains(&locked.pin)
        };
        let (out, _) = stage.outs.iter().zip(&facts.outs).find(is_other)?;
        let (path, address) = (out.path.relative_to(&self.project().cwd), self.address(id));
        let message =
            format!("{path} is not checked out: stage {address} builds on it, and pipeline.lock pins another version");
        let error = Error::new(Kind::Check, message);
        Some(error.hint(format!("bring the pinned version: lockstep checkout {}", word(&path))).hint(format!(
            "or build on the version that is here: lockstep repro --force --single-item {}",
            word(&address)
        )))
    }
}
