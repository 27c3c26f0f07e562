//! Compares the record of a target with its journal. Hosts of repositories cannot protect refs like those of a record,
//! so a record can be rewritten by everyone who can push; the journal is on the host, where others cannot write.

use super::RecordedEvent;
use crate::deploy::event::Event;
use crate::git::SignatureState;

/// A difference, or a commit of the record that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The commit of the record; `None` if the record lacks it.
    pub commit: Option<String>,
    /// A sentence.
    pub what: String,
}

/// The place whose journal is compared.
pub struct Journal<'e> {
    /// The events, the oldest first.
    pub events: &'e [Event],
    /// The name of this host, as in its events.
    pub host: &'e str,
    /// The folder of the journal, as in its events.
    pub to: &'e str,
}

/// What is wrong with a record (the newest event first), by itself and compared with the journal of this host.
/// `is_whole` is false if only the newest events were read. `signature` verifies a commit; unsigned ones are a finding
/// if `require_signed`.
pub fn find_differences(
    record: &[RecordedEvent],
    target: &str,
    journal: Option<&Journal<'_>>,
    is_whole: bool,
    require_signed: bool,
    signature: &dyn Fn(&RecordedEvent) -> SignatureState,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for recorded in record {
        findings.extend(
            problems(recorded, target, require_signed, signature)
                .into_iter()
                .map(|what| Finding { commit: Some(recorded.id.hex()), what }),
        );
    }
    let Some(journal) = journal else { return findings };
    let events: Vec<(&RecordedEvent, &Event)> =
        record.iter().filter_map(|recorded| Some((recorded, recorded.event.as_ref()?))).collect();
    let is_of_here = |event: &Event| event.host == journal.host && event.to == journal.to;
    let unknown: Vec<&(&RecordedEvent, &Event)> =
        events.iter().filter(|(_, event)| is_of_here(event) && !journal.events.contains(event)).collect();
    for (recorded, event) in &unknown {
        let what = match journal.events.iter().find(|own| is_same_moment(own, event)) {
            Some(own) => format!("it says {}, and the journal of this host says {}", summary(event), summary(own)),
            None => format!("the journal of this host has no {}", summary(event)),
        };
        findings.push(Finding { commit: Some(recorded.id.hex()), what });
    }
    let oldest = events.last().map(|(_, event)| event.time.as_str());
    for own in journal.events {
        // One that the record tells otherwise is a finding already.
        let is_known = events.iter().any(|(_, event)| *event == own)
            || unknown.iter().any(|(_, event)| is_same_moment(event, own));
        let is_before = !is_whole && oldest.is_some_and(|oldest| own.time.as_str() < oldest);
        if !is_known && !is_before {
            findings.push(Finding { commit: None, what: format!("the record lacks {}", summary(own)) });
        }
    }
    findings
}

fn problems(
    recorded: &RecordedEvent,
    target: &str,
    require_signed: bool,
    signature: &dyn Fn(&RecordedEvent) -> SignatureState,
) -> Vec<String> {
    let mut problems = Vec::new();
    match &recorded.event {
        None => problems.push("the commit is no event that this lockstep can read".to_string()),
        Some(event) if event.target != target => {
            problems.push(format!("it is an event of the target {}", event.target))
        }
        Some(_) => {}
    }
    if recorded.parents > 1 {
        problems.push(format!("it joins {} histories", recorded.parents));
    }
    match signature(recorded) {
        SignatureState::Good => {}
        SignatureState::Bad => problems.push("its signature is bad".into()),
        state if require_signed => problems.push(format!("it has no good signature: {}", state.word())),
        _ => {}
    }
    problems
}

/// Are both about the same moment of the same host? Their content may differ.
fn is_same_moment(a: &Event, b: &Event) -> bool {
    a.time == b.time && a.host == b.host && a.to == b.to && a.event == b.event
}

/// `deploy v1.1.0 4b28d43d5570 2026-01-02T03:04:05Z`
fn summary(event: &Event) -> String {
    let version = event.version.as_deref().unwrap_or("(a path)");
    let hash = event.blake3.hex();
    format!("{} {version} {} {}", event.event.word(), &hash[..12], event.time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::GitId;

    fn event(version: &str, time: &str) -> Event {
        Event { time: time.into(), ..Event::example(version) }
    }

    fn recorded(event: Option<Event>) -> RecordedEvent {
        let id = GitId::from_hex(&"1".repeat(40)).unwrap();
        RecordedEvent { id, parents: 1, author: "a <a@b>".into(), event }
    }

    fn find(record: &[RecordedEvent], journal: &[Event], is_whole: bool) -> Vec<String> {
        let journal = Journal { events: journal, host: "web1", to: "/srv" };
        let found = find_differences(record, "prod", Some(&journal), is_whole, false, &|_| SignatureState::None);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_rewritten_record_differs_from_the_journal() {
        let (one, two) = (event("v1.0.0", "1"), event("v1.1.0", "2"));
        let record = [recorded(Some(two.clone())), recorded(Some(one.clone()))];
        assert!(find(&record, &[one.clone(), two.clone()], true).is_empty());
        let same_second = event("v1.1.0", "1");
        let changed = [recorded(Some(event("v0.9.0", "2"))), recorded(Some(one.clone()))];
        let other_host = Event { host: "web2".into(), ..event("v9.0.0", "3") };
        for (record, journal, is_whole, want) in [
            (&record[1..], vec![one.clone(), two.clone()], true, "the record lacks deploy v1.1.0"),
            (&record[..1], vec![one.clone(), two.clone()], true, "the record lacks deploy v1.0.0"),
            (&record[..1], vec![one.clone(), two.clone()], false, ""),
            (&record[1..], vec![one.clone(), same_second], true, "the record lacks deploy v1.1.0"),
            (&record[..], vec![one.clone()], true, "the journal of this host has no deploy v1.1.0"),
            (&changed[..], vec![one.clone(), two.clone()], true, "it says deploy v0.9.0"),
            (&[recorded(Some(other_host))][..], vec![], true, ""),
            (&[recorded(None)][..], vec![], true, "no event that this lockstep can read"),
        ] {
            let found = find(record, &journal, is_whole);
            assert_eq!(found.len(), usize::from(!want.is_empty()), "{found:?}");
            assert!(found.iter().all(|what| what.contains(want)), "{found:?} lack {want}");
        }
    }

    #[test]
    fn foreign_and_unsigned_commits_are_findings() {
        let of_other = Event { target: "dev".into(), ..event("v1.0.0", "1") };
        let merged = RecordedEvent { parents: 2, ..recorded(Some(event("v1.0.0", "1"))) };
        for (recorded, state, require_signed, want) in [
            (recorded(Some(of_other)), SignatureState::Good, true, "it is an event of the target dev"),
            (merged, SignatureState::Good, true, "it joins 2 histories"),
            (recorded(Some(event("v1", "1"))), SignatureState::None, true, "it has no good signature: none"),
            (recorded(Some(event("v1", "1"))), SignatureState::Bad, false, "its signature is bad"),
        ] {
            let found = find_differences(&[recorded], "prod", None, true, require_signed, &|_| state);
            assert_eq!(found.iter().map(|finding| finding.what.as_str()).collect::<Vec<_>>(), [want]);
        }
    }
}
