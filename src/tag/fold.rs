//! The state of a model from all of its tags: its versions, which of them has a label, and whether the model is
//! deprecated. Every reader of the registry uses this pure function.
//!
//! The rules are those of GTO (`gto/base.py` and `gto/tag.py` of version 1.10), also for tags of one second, so that a
//! deployment by GTO or DVC and one by lockstep use the same version:
//!
//! - Tags are ordered by the time of their tagger. Lightweight tags have none: such a tag may name a version, and
//!   nothing else.
//! - A version is a number on a commit. It is active unless it was withdrawn in the second of its last registration or
//!   later.
//! - A label's tag refers to the version on its commit. Each version that got the label has it until a later tag, or
//!   one of the same second, removes it from that version. Other versions keep it.
//! - Of the active versions with the label, the answer is the one that got it last; in one second the one that was
//!   registered first.
//! - A label on a commit without a version is valid, and no tag removes it.
//! - A model is deprecated if its last tag is later than all its others and than the commits of its versions.
//!
//! GTO refuses two versions on one commit. Here the tag of a label then names its version in its message; without a
//! name, or with one that is not on that commit, the tag refers to the highest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Action, Label, Version};

/// One tag of the model.
#[derive(Clone, Debug)]
pub struct TagEvent<C> {
    /// The name of the tag.
    pub tag: String,
    /// What the tag does.
    pub action: Action,
    /// The commit that the tag points to.
    pub commit: C,
    /// Seconds since 1970; `None` for a lightweight tag.
    pub time: Option<i64>,
    /// The version that its message names.
    pub noted: Option<Version>,
}

/// The result of a fold. Tags are named by their indexes in the input.
#[derive(Clone, Debug)]
pub struct ModelState<C> {
    /// Every version that a tag names, with each commit that it was registered on.
    pub versions: Vec<VersionState<C>>,
    /// By label; empty if the model is deprecated.
    pub labels: BTreeMap<Label, Holders>,
    /// The tag that deprecated the model.
    pub ended: Option<usize>,
    /// Each tag's version, as an index into `versions`.
    pub about: Vec<Option<usize>>,
}

/// A version number on a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionState<C> {
    /// The version number.
    pub version: Version,
    /// The commit that its tags point to.
    pub commit: C,
    /// Its last registration; `None` if there are only tags that withdraw it.
    pub registered: Option<usize>,
    /// The tag that withdrew it, if it is withdrawn.
    pub withdrawn: Option<usize>,
    /// Whether it was ever withdrawn.
    was_withdrawn: bool,
    /// Whether its registration is a lightweight tag.
    pub is_lightweight: bool,
}

/// The versions with a label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holders {
    /// The answer first, then those that would be the answer without it.
    pub all: Vec<Assignment>,
    /// The tags that the answer depends on: without any of them it would be another one.
    pub support: Vec<usize>,
}

/// The assignment of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assignment {
    /// The tag that assigned the label last.
    pub event: usize,
    /// An index into [`ModelState::versions`]; `None` for a commit without a version.
    pub version: Option<usize>,
}

impl<C> VersionState<C> {
    fn new(version: &Version, commit: C) -> VersionState<C> {
        let version = version.clone();
        VersionState { version, commit, registered: None, withdrawn: None, was_withdrawn: false, is_lightweight: false }
    }

    /// Returns true if the version is registered and not withdrawn.
    pub fn is_active(&self) -> bool {
        self.registered.is_some() && self.withdrawn.is_none()
    }
}

impl<C> ModelState<C> {
    /// A version by its number: the active one, otherwise the last one that was registered.
    pub fn version(&self, version: &Version) -> Option<&VersionState<C>> {
        let of_number = self.versions.iter().filter(|v| v.version == *version && v.registered.is_some());
        of_number.max_by_key(|v| (v.is_active(), v.registered))
    }
}

/// The history of one label on one version.
#[derive(Default)]
struct Slot {
    given: Option<usize>,
    taken: Option<usize>,
}

/// A valid assignment, in the order of answers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    given: Reverse<i64>,
    registered: i64,
    place: usize,
}

/// `committed` returns the time of a commit; it is called only if the model may be deprecated.
pub fn fold<C: Copy + Ord>(facts: &[TagEvent<C>], committed: &dyn Fn(C) -> Option<i64>) -> ModelState<C> {
    let time = |at: usize| facts[at].time.unwrap_or(i64::MIN);
    let mut order: Vec<usize> = (0..facts.len()).filter(|at| facts[*at].time.is_some()).collect();
    order.sort_by(|a, b| (time(*a), &facts[*a].tag).cmp(&(time(*b), &facts[*b].tag)));
    let mut state =
        ModelState { versions: Vec::new(), labels: BTreeMap::new(), ended: None, about: vec![None; facts.len()] };
    state.number(facts, &order);
    let on_commits = state.by_commit();
    let mut slots: BTreeMap<(&Label, usize), Slot> = BTreeMap::new();
    let mut ranked: BTreeMap<&Label, Vec<(Rank, Assignment)>> = BTreeMap::new();
    for &at in &order {
        let (label, gives) = match &facts[at].action {
            Action::Promote(label) => (label, true),
            Action::Demote(label) => (label, false),
            _ => continue,
        };
        state.about[at] = on_commits.get(&facts[at].commit).and_then(|here| state.choose(here, &facts[at]));
        match state.about[at] {
            Some(version) => {
                let slot = slots.entry((label, version)).or_default();
                *if gives { &mut slot.given } else { &mut slot.taken } = Some(at);
            }
            None if gives => {
                let registered = committed(facts[at].commit).unwrap_or(i64::MIN).max(time(at));
                let rank = Rank { given: Reverse(time(at)), registered, place: facts.len() + at };
                ranked.entry(label).or_default().push((rank, Assignment { event: at, version: None }));
            }
            None => {}
        }
    }
    // Ended assignments, each with the tag that ended it.
    let mut lost: BTreeMap<&Label, Vec<(i64, usize)>> = BTreeMap::new();
    for ((label, version), slot) in slots {
        let Some(given) = slot.given else { continue };
        let numbered = &state.versions[version];
        let end = slot.taken.filter(|taken| time(*taken) >= time(given)).or(numbered.withdrawn);
        match (end, numbered.registered) {
            (None, Some(registered)) => {
                let rank = Rank { given: Reverse(time(given)), registered: time(registered), place: version };
                ranked.entry(label).or_default().push((rank, Assignment { event: given, version: Some(version) }));
            }
            (Some(end), _) => lost.entry(label).or_default().push((time(given), end)),
            (None, None) => {}
        }
    }
    for (label, mut all) in ranked {
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let all: Vec<Assignment> = all.into_iter().map(|(_, assignment)| assignment).collect();
        let answer = all[0];
        let mut support = vec![answer.event];
        if let Some(version) = answer.version.map(|at| &state.versions[at])
            && (facts[answer.event].noted.as_ref() != Some(&version.version) || version.was_withdrawn)
        {
            support.extend(version.registered);
        }
        let before = lost.get(label).into_iter().flatten().filter(|(given, _)| *given >= time(answer.event));
        support.extend(before.map(|(_, end)| *end));
        state.labels.insert(label.clone(), Holders { all, support });
    }
    state.ended = state.end(facts, &order, committed);
    if state.ended.is_some() {
        state.labels.clear();
    }
    state
}

impl<C: Copy + Ord> ModelState<C> {
    /// Finds the versions, in the order of their first tags; those of lightweight tags come last.
    fn number(&mut self, facts: &[TagEvent<C>], order: &[usize]) {
        let mut places: BTreeMap<(&Version, C), usize> = BTreeMap::new();
        for &at in order {
            let (version, registers) = match &facts[at].action {
                Action::Register(version) => (version, true),
                Action::Deregister(version) => (version, false),
                _ => continue,
            };
            let place = *places.entry((version, facts[at].commit)).or_insert_with(|| {
                self.versions.push(VersionState::new(version, facts[at].commit));
                self.versions.len() - 1
            });
            self.about[at] = Some(place);
            let numbered = &mut self.versions[place];
            let is_overtaken = |end: &usize| facts[*end].time < facts[at].time;
            if !registers {
                (numbered.withdrawn, numbered.was_withdrawn) = (Some(at), true);
            } else {
                numbered.registered = Some(at);
                numbered.withdrawn = numbered.withdrawn.filter(|end| !is_overtaken(end));
            }
        }
        for (at, fact) in facts.iter().enumerate().filter(|(_, fact)| fact.time.is_none()) {
            let Action::Register(version) = &fact.action else { continue };
            let is_same =
                |v: &VersionState<C>| v.version == *version && (v.registered.is_some() || v.commit == fact.commit);
            let place = self.versions.iter().position(is_same).unwrap_or_else(|| {
                self.versions.push(VersionState { is_lightweight: true, ..VersionState::new(version, fact.commit) });
                self.versions.len() - 1
            });
            self.versions[place].registered.get_or_insert(at);
            self.about[at] = Some(place);
        }
    }

    /// The versions that label tags may refer to, by commit.
    fn by_commit(&self) -> BTreeMap<C, Vec<usize>> {
        let mut found: BTreeMap<C, Vec<usize>> = BTreeMap::new();
        for (place, numbered) in self.versions.iter().enumerate().filter(|(_, v)| !v.is_lightweight) {
            found.entry(numbered.commit).or_default().push(place);
        }
        found
    }

    /// The version that a label's tag refers to, of those on its commit.
    fn choose(&self, here: &[usize], fact: &TagEvent<C>) -> Option<usize> {
        let noted = |place: &&usize| fact.noted.as_ref() == Some(&self.versions[**place].version);
        let highest = || {
            here.iter().max_by_key(|place| {
                let numbered = &self.versions[**place];
                (numbered.registered.is_some(), &numbered.version)
            })
        };
        here.iter().find(noted).or_else(highest).copied()
    }

    /// The tag that deprecated the model, if it is later than all other tags and the commits.
    fn end(&self, facts: &[TagEvent<C>], order: &[usize], committed: &dyn Fn(C) -> Option<i64>) -> Option<usize> {
        let end = *order.iter().rfind(|at| facts[**at].action == Action::Deprecate)?;
        let mut others = order.iter().filter(|at| !matches!(facts[**at].action, Action::Deprecate | Action::Create));
        let is_as_late = |time: Option<i64>| time >= facts[end].time;
        let is_active = others.any(|at| is_as_late(facts[*at].time) || is_as_late(committed(facts[*at].commit)));
        (!is_active).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::ModelTag;

    /// `tag commit time [noted version]`, a line each; `-` for the time of a lightweight tag. Commit `n` is of second `n`.
    fn facts(lines: &str) -> Vec<TagEvent<i64>> {
        let lines = lines.split('\n').map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let tag: ModelTag = words[0].parse().unwrap();
                let noted = words.get(3).and_then(|version| version.parse().ok());
                let (commit, time) = (words[1].parse().unwrap(), words[2].parse().ok());
                TagEvent { tag: words[0].into(), action: tag.action, commit, time, noted }
            })
            .collect()
    }

    fn folded(facts: &[TagEvent<i64>]) -> ModelState<i64> {
        fold(facts, &|commit| Some(commit))
    }

    /// Versions (`-` before those taken back), the holders of each label, the answer first, and whether it has ended.
    fn shown(facts: &[TagEvent<i64>]) -> String {
        let state = folded(facts);
        let mut versions: Vec<_> = state.versions.iter().filter(|v| v.registered.is_some()).collect();
        versions.sort_by_key(|v| &v.version);
        let versions = versions.iter().map(|v| format!("{}{}", if v.is_active() { "" } else { "-" }, v.version));
        let holder = |holder: &Assignment| match holder.version {
            Some(at) => state.versions[at].version.to_string(),
            None => format!("commit{}", facts[holder.event].commit),
        };
        let labels = state.labels.iter().map(|(label, holders)| {
            let names: Vec<String> = holders.all.iter().map(holder).collect();
            format!("{label}={}", names.join(","))
        });
        let end = state.ended.map(|_| "ended".to_string());
        versions.chain(labels).chain(end).collect::<Vec<_>>().join(" ")
    }

    /// Each was verified with `gto show` of GTO 1.10.1, where GTO reads the repository.
    const CASES: &[(&str, &str, &str)] = &[
        ("one of each", "m@v1.0.0 1 10\n m#p#1 1 11", "v1.0.0 p=v1.0.0"),
        ("a label moves", "m@v1.0.0 1 10\n m@v1.1.0 2 11\n m#p#1 1 12\n m#p#2 2 13", "v1.0.0 v1.1.0 p=v1.1.0,v1.0.0"),
        (
            "and back",
            "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#1 1 3\n m#p#2 2 4\n m#p#3 1 5",
            "v1.0.0 v1.1.0 p=v1.0.0,v1.1.0",
        ),
        ("taken away", "m@v1.0.0 1 10\n m#p#1 1 11\n m#p!#2 1 12", "v1.0.0"),
        (
            "taken from one version alone",
            "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#1 1 3\n m#p#2 2 4\n m#p!#3 2 5",
            "v1.0.0 v1.1.0 p=v1.0.0",
        ),
        (
            "taken from an earlier one",
            "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#1 1 3\n m#p#2 2 4\n m#p!#3 1 5",
            "v1.0.0 v1.1.0 p=v1.1.0",
        ),
        ("given again", "m@v1.0.0 1 1\n m#p#1 1 3\n m#p!#2 1 4\n m#p#3 1 5", "v1.0.0 p=v1.0.0"),
        ("given and taken in one second", "m@v1.0.0 1 1\n m#p!#1 1 4\n m#p#2 1 4", "v1.0.0"),
        (
            "a version is taken back",
            "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#1 1 3\n m#p#2 2 4\n m@v1.1.0! 2 5",
            "v1.0.0 -v1.1.0 p=v1.0.0",
        ),
        ("the only one is taken back", "m@v1.0.0 1 10\n m#p#1 1 11\n m@v1.0.0! 1 12", "-v1.0.0"),
        ("taken back in the same second", "m@v1.0.0 1 10\n m@v1.0.0! 1 10", "-v1.0.0"),
        ("registered once more", "m@v1.0.0 1 1\n m#p#1 1 2\n m@v1.0.0!#2 1 3\n m@v1.0.0#3 1 4", "v1.0.0 p=v1.0.0"),
        ("taken back on another commit", "m@v1.0.0 1 1\n m@v1.0.0! 2 2", "v1.0.0"),
        ("taken back without a start", "m@v1.0.0! 1 10\n m#p#1 1 11", ""),
        (
            "clocks beat counters",
            "m@v1.0.0 1 1\n m@v1.1.0 2 2\n m#p#9 1 90\n m#p#10 2 12",
            "v1.0.0 v1.1.0 p=v1.0.0,v1.1.0",
        ),
        (
            "one second: the version that was registered first",
            "m@v1.1.0 2 1\n m@v1.0.0 1 2\n m#p#1 1 5\n m#p#2 2 5",
            "v1.0.0 v1.1.0 p=v1.1.0,v1.0.0",
        ),
        (
            "one second for all: by the names of the versions' tags",
            "m@v1.10.0 1 5\n m@v1.9.0 2 5\n m#p#1 1 5\n m#p#2 2 5",
            "v1.9.0 v1.10.0 p=v1.10.0,v1.9.0",
        ),
        ("without counters", "m@v1.0.0 1 10\n m#p 1 11\n m#p! 1 12\n m#d 1 13", "v1.0.0 d=v1.0.0"),
        ("several labels", "m@v1.0.0 1 10\n m#a#1 1 11\n m#b#2 1 11", "v1.0.0 a=v1.0.0 b=v1.0.0"),
        ("no version", "m#p#1 7 10", "p=commit7"),
        ("no version, taken away", "m@v1.0.0 1 1\n m#p#1 7 10\n m#p!#2 7 11", "v1.0.0 p=commit7"),
        ("no version, moved", "m@v1.0.0 1 1\n m#p#1 7 10\n m#p#2 1 11", "v1.0.0 p=v1.0.0,commit7"),
        ("a version came later", "m#p#1 1 10\n m#p!#2 1 11\n m#d#3 1 12\n m@v1.0.0 1 20", "v1.0.0 d=v1.0.0"),
        ("it ends", "m@v1.0.0 1 10\n m#p#1 1 11\n m@deprecated 1 12", "v1.0.0 ended"),
        ("it ends in one second", "m@v1.0.0 1 10\n m#p#1 1 12\n m@deprecated 1 12", "v1.0.0 p=v1.0.0"),
        ("its commit is as late", "m@v1.0.0 12 10\n m@deprecated 12 12", "v1.0.0"),
        ("it goes on", "m@v1.0.0 1 10\n m#p#1 1 11\n m@deprecated 1 12\n m@v1.1.0 2 13", "v1.0.0 v1.1.0 p=v1.0.0"),
        ("it goes on with a label", "m@v1.0.0 1 10\n m@deprecated 1 12\n m#p#1 1 13", "v1.0.0 p=v1.0.0"),
        ("it ends twice", "m@v1.0.0 1 1\n m@deprecated 1 2\n m#p#1 1 3\n m@deprecated#2 1 4", "v1.0.0 ended"),
        ("lightweight tags", "m@v1.0.0 1 10\n m#p#1 1 -\n m@v1.0.0! 1 -\n m@deprecated 1 -", "v1.0.0"),
        ("a lightweight version, taken back", "m@v1.0.0 1 -\n m@v1.0.0! 1 9\n m#p#1 1 11", "-v1.0.0"),
        ("a lightweight version", "m@v1.0.0 1 -\n m#p#1 1 11\n m#d#1 2 12", "v1.0.0 d=commit2 p=commit1"),
        ("two on one commit, noted", "m@v1.0.0 1 1\n m@v1.1.0 1 2\n m#p#1 1 3 v1.0.0", "v1.0.0 v1.1.0 p=v1.0.0"),
        ("two on one commit", "m@v1.0.0 1 1\n m@v1.1.0 1 2\n m#p#1 1 3", "v1.0.0 v1.1.0 p=v1.1.0"),
        ("a lying note", "m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v2.0.0", "v1.0.0 v2.0.0 p=v1.0.0"),
        ("a note with rubbish", "m@v1.0.0 1 1\n m#p#1 1 3 ../../x", "v1.0.0 p=v1.0.0"),
    ];

    #[test]
    fn what_the_tags_come_to() {
        for (what, lines, want) in CASES {
            let mut facts = facts(lines);
            assert_eq!(shown(&facts), *want, "{what}");
            facts.reverse();
            assert_eq!(shown(&facts), *want, "{what}, in the other order");
        }
    }

    /// Without a tag that an answer depends on, the answer would be another one; a tag without a signature must not
    /// change it.
    #[test]
    fn an_answer_rests_on_what_ended_others() {
        for (lines, want) in [
            ("m@v1.0.0 1 1\n m#p#1 1 3 v1.0.0", "m#p#1"),
            ("m@v1.0.0 1 1\n m#p#1 1 3", "m#p#1 m@v1.0.0"),
            ("m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v1.0.0\n m#p#2 2 4 v2.0.0", "m#p#2"),
            ("m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v1.0.0\n m#p#2 2 4 v2.0.0\n m#p!#3 2 5", "m#p#1 m#p!#3"),
            ("m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v1.0.0\n m#p#2 2 4 v2.0.0\n m@v2.0.0! 2 5", "m#p#1 m@v2.0.0!"),
            ("m@v1.0.0 1 1\n m@v2.0.0 2 2\n m#p#1 1 3 v1.0.0\n m#p!#2 1 4\n m#p#3 2 5 v2.0.0", "m#p#3"),
            ("m@v1.0.0 1 1\n m#p#1 1 2 v1.0.0\n m@v1.0.0!#2 1 3\n m@v1.0.0#3 1 4", "m#p#1 m@v1.0.0#3"),
        ] {
            let facts = facts(lines);
            let state = folded(&facts);
            let support = &state.labels[&"p".parse::<Label>().unwrap()].support;
            let names: Vec<&str> = support.iter().map(|at| facts[*at].tag.as_str()).collect();
            assert_eq!(names.join(" "), want, "{lines}");
        }
    }
}
