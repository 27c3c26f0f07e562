//! What is in the workspace now: the facts of stages, through the stat index.

use std::path::Path;

use rustc_hash::FxHashMap;

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::git;
use crate::path::RepoPath;
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::{Place, Stage, StageId};
use crate::project::{Definitions, Project};
use crate::run::fresh::Facts;
use crate::store::{Pin, Place as Spot, Rules, is_beside};
use crate::url::Url;

/// The repository's ignore rules, as the store wants them. What lockstep itself puts beside an output is nobody's
/// content, wherever that lies.
pub struct IgnoreRules<'a>(pub &'a git::Rules);

impl Rules for IgnoreRules<'_> {
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        is_beside(path.rsplit(|b| *b == b'/').next().unwrap_or(path)) || self.0.ignored(path, is_dir)
    }

    fn id(&self) -> u64 {
        self.0.id()
    }
}

/// Looks at places and remembers what it saw.
pub struct Look<'a> {
    project: &'a Project,
    definitions: &'a Definitions,
    sink: &'a dyn Sink,
    seen: FxHashMap<&'a Place, Result<Option<Pin>>>,
    /// Outs and data are plain paths in the definitions.
    seen_outs: FxHashMap<&'a RepoPath, Result<Option<Pin>>>,
    params: ParamsCache,
}

impl<'a> Look<'a> {
    pub fn new(project: &'a Project, definitions: &'a Definitions, sink: &'a dyn Sink) -> Look<'a> {
        let (seen, seen_outs) = Default::default();
        Look { project, definitions, sink, seen, seen_outs, params: ParamsCache::default() }
    }

    /// Looks at everything that these stages read and write, in one sweep.
    pub fn sweep(&mut self, ids: &[StageId]) {
        self.sweep_what(ids, true);
    }

    /// Looks at what these stages write, and not at what they read, which may be a hundred thousand files.
    pub fn sweep_outs(&mut self, ids: &[StageId]) {
        self.sweep_what(ids, false);
    }

    fn sweep_what(&mut self, ids: &[StageId], with_deps: bool) {
        let definitions = self.definitions;
        let mut places = Vec::new();
        let mut outs = Vec::new();
        for id in ids {
            let stage = definitions.pipelines.stage(*id);
            for dep in stage.deps.iter().filter(|_| with_deps) {
                if !self.seen.contains_key(&dep.place) {
                    self.seen.insert(&dep.place, Ok(None));
                    places.push(&dep.place);
                }
            }
            for out in &stage.outs {
                if !self.seen_outs.contains_key(&out.path) {
                    self.seen_outs.insert(&out.path, Ok(None));
                    outs.push(&out.path);
                }
            }
        }
        if places.is_empty() && outs.is_empty() {
            return;
        }
        let top = self.project.top();
        let spots: Vec<Spot> = places.iter().map(|p| spot(p, top)).chain(outs.iter().map(|p| Spot::from(*p))).collect();
        let (_, out_spots) = spots.split_at(places.len());
        let found = look(self.project, definitions, &spots, self.sink);
        let inside = self.project.index().must_lie_inside(out_spots);
        let inside = std::iter::repeat_n(Ok(()), places.len()).chain(inside);
        let mut found = found.into_iter().zip(inside).map(|(pin, inside)| inside.and(pin));
        for place in places {
            let pin = found.next().unwrap_or(Ok(None));
            self.seen.insert(place, if let Place::Url(url) = place { Err(no_url(url)) } else { pin });
        }
        for out in outs {
            self.seen_outs.insert(out, found.next().unwrap_or(Ok(None)));
        }
    }

    /// What was seen may be so no longer: a command ran, outputs were restored.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.seen_outs.clear();
        self.params = ParamsCache::default();
    }

    pub fn out(&mut self, path: &'a RepoPath) -> Result<Option<Pin>> {
        if let Some(seen) = self.seen_outs.get(path) {
            return seen.clone();
        }
        let pin =
            look_at_outs(self.project, self.definitions, &[Spot::from(path)], self.sink).pop().unwrap_or(Ok(None));
        self.seen_outs.insert(path, pin.clone());
        pin
    }

    /// The facts of a stage; what was not seen yet is looked at now.
    pub fn facts(&mut self, id: StageId) -> Result<Facts> {
        let stage = self.definitions.pipelines.stage(id);
        self.sweep(&[id]);
        let deps = stage.deps.iter().map(|d| self.seen[&d.place].clone()).collect::<Result<_>>()?;
        let outs = stage.outs.iter().map(|o| self.seen_outs[&o.path].clone()).collect::<Result<_>>()?;
        let params = read_params(&self.project.files(), stage, &mut self.params)?;
        Ok(Facts { deps, params, env: env_values(self.project, stage), outs })
    }
}

/// Where a dep lies on this disk. A URL lies nowhere.
pub fn spot(place: &Place, top: &Path) -> Spot {
    match place {
        Place::Repo(path) => Spot::from(path),
        Place::Outside(path) => Spot::Outside(top.join(path)),
        Place::Url(url) => Spot::Outside(top.join(url.raw())),
    }
}

fn no_url(url: &Url) -> Error {
    Error::new(Kind::Usage, format!("{url} is a URL: its content cannot be pinned as a dep"))
        .hint("fetch it in a stage of its own, and depend on what that stage writes")
}

/// Looks at places; one answer each.
pub fn look(project: &Project, definitions: &Definitions, asks: &[Spot], sink: &dyn Sink) -> Vec<Result<Option<Pin>>> {
    project.index().look(asks, &IgnoreRules(&definitions.rules), sink)
}

/// The declared environment variables of a stage.
pub fn env_values(project: &Project, stage: &Stage) -> Vec<Option<String>> {
    stage.env.iter().map(|name| project.around.env.get(name).cloned()).collect()
}

/// Looks at outs and data, whose content must lie in the repository; one answer each.
pub fn look_at_outs(
    project: &Project,
    definitions: &Definitions,
    asks: &[Spot],
    sink: &dyn Sink,
) -> Vec<Result<Option<Pin>>> {
    let found = look(project, definitions, asks, sink);
    let inside = project.index().must_lie_inside(asks);
    found.into_iter().zip(inside).map(|(pin, inside)| inside.and(pin)).collect()
}
