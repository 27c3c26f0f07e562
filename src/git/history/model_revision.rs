//! Versions and labels of models as revisions: `digits@v1.2.0`, `digits#prod`.

use crate::error::Result;
use crate::git::history::History;
use crate::tag::fold::{TagEvent, fold};
use crate::tag::{self, Label, ModelRequest, ModelTag, block};

/// The registry's answer for a version or a label.
pub(in crate::git) enum RegistryAnswer {
    /// The first leads to the commit; the answer depends on all of them.
    Tags(Vec<String>),
    /// No version has the label any more.
    Ended,
    /// No tag of a model mentions it.
    Unknown,
}

/// Can it be a label? A number is a counter.
pub(in crate::git) fn is_word(label: &Label) -> bool {
    label.to_string().parse::<u64>().is_err()
}

impl History {
    /// Looks up a version or a label in the registry.
    ///
    /// Errors: several folders have such a model.
    pub(in crate::git) fn answer(&self, asked: &ModelRequest) -> Result<RegistryAnswer> {
        let parsed = |name: &str| name.strip_prefix("refs/tags/").unwrap_or(name).parse::<ModelTag>().ok();
        let refs = self.readable_refs("refs/tags/")?.into_iter();
        let tags: Vec<_> = refs.filter_map(|tag| Some((parsed(&tag.name)?, tag))).collect();
        let known = tags.iter().map(|(tag, _)| tag.name.clone()).collect();
        let meant = tag::resolve_name(&asked.name, &known, &self.0.folder)?;
        let of_model = tags.into_iter().filter(|(tag, _)| tag.name == meant);
        let mut facts = Vec::new();
        for (parsed, reference) in of_model {
            let Some(tag) = self.read_tag(&reference) else { continue };
            let (time, noted) = match &tag.annotated {
                Some(about) => (Some(about.time), block::version(&about.message)),
                None => (None, None),
            };
            facts.push(TagEvent { tag: tag.name, action: parsed.action, commit: tag.commit, time, noted });
        }
        let committed = |commit| self.commit(commit).and_then(|commit| commit.info()).ok().map(|about| about.time);
        let state = fold(&facts, &committed);
        let names = |events: &[usize]| RegistryAnswer::Tags(events.iter().map(|at| facts[*at].tag.clone()).collect());
        Ok(match &asked.which {
            tag::Which::Latest => RegistryAnswer::Unknown,
            tag::Which::Version(version) => match state.version(version).and_then(|numbered| numbered.registered) {
                Some(event) => names(&[event]),
                None => RegistryAnswer::Unknown,
            },
            tag::Which::Label(label) => match state.labels.get(label) {
                Some(holders) if self.0.require_signed => names(&holders.support),
                Some(holders) => names(&[holders.all[0].event]),
                None if facts.iter().any(|fact| fact.time.is_some() && fact.action.label() == Some(label)) => {
                    RegistryAnswer::Ended
                }
                None => RegistryAnswer::Unknown,
            },
        })
    }
}
