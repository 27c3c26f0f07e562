use super::*;
use crate::git::testing::{git, repository};
use crate::url::Url;

fn event(version: &str, host: &str) -> Event {
    let (time, actor) = (format!("{version} {host}"), format!("{host} <root@{host}>"));
    Event { time, actor, host: host.into(), ..Event::example(version) }
}

fn versions(record: &Record<'_>) -> Vec<String> {
    let events = record.read(100).unwrap().into_iter().filter_map(|recorded| recorded.event);
    events.map(|event| format!("{} {}", event.version.unwrap(), event.host)).collect()
}

#[test]
fn only_the_events_that_a_record_lacks_are_added() {
    let (_dir, top) = repository();
    let repo = Repo::discover(&top).unwrap();
    let record = Record::of(&repo, "prod");
    let journal = [event("v1", "a"), event("v2", "a"), event("v3", "a")];
    assert_eq!(record.add(&journal[..1]).unwrap(), 1);
    assert_eq!(record.add(&journal[..1]).unwrap(), 0);
    assert_eq!(record.add(&journal).unwrap(), 2);
    assert_eq!(versions(&record), ["v3 a", "v2 a", "v1 a"]);
    assert_eq!(Record::targets(&repo).unwrap(), ["prod"]);
    assert_eq!(record.read(1).unwrap().len(), 1);
    // Without `user.name` the author is the actor of the event.
    let author = git(&top, &["log", "-1", "--format=%an <%ae>", "refs/lockstep/deployments/prod"]);
    assert_eq!(author.trim(), record.read(1).unwrap()[0].author);
}

#[test]
fn hosts_share_a_chain_and_none_loses_an_event() {
    let (dir, top) = repository();
    git(dir.path(), &["init", "-q", "--bare", "there"]);
    let remote = Url::from(dir.path().join("there").to_str().unwrap());
    let (_other_dir, other_top) = repository();
    let (repo, other_repo) = (Repo::discover(&top).unwrap(), Repo::discover(&other_top).unwrap());
    let (here, there) = (Record::of(&repo, "prod"), Record::of(&other_repo, "prod"));
    here.add(&[event("v1", "a")]).unwrap();
    assert_eq!(here.push(&remote).unwrap(), PushResult::Pushed(1));
    assert_eq!(here.push(&remote).unwrap(), PushResult::UpToDate);
    there.add(&[event("v1", "b"), event("v2", "b")]).unwrap();
    assert_eq!(there.push(&remote).unwrap(), PushResult::Pushed(2));
    assert_eq!(versions(&there), ["v2 b", "v1 b", "v1 a"]);
    here.add(&[event("v1", "a"), event("v2", "a")]).unwrap();
    assert_eq!(here.push(&remote).unwrap(), PushResult::Pushed(1));
    assert!(there.fetch(&remote).unwrap());
    assert_eq!(versions(&there), ["v2 a", "v2 b", "v1 b", "v1 a"]);
    assert_eq!(Record::targets_at(&repo, &remote).unwrap(), ["prod"]);
    assert!(!Record::of(&repo, "dev").fetch(&remote).unwrap());

    // A fresh clone of a host, with the same journal, sends nothing twice.
    let (_fresh_dir, fresh_top) = repository();
    let fresh_repo = Repo::discover(&fresh_top).unwrap();
    let fresh = Record::of(&fresh_repo, "prod");
    fresh.add(&[event("v1", "a"), event("v2", "a")]).unwrap();
    fresh.push(&remote).unwrap();
    assert_eq!(versions(&fresh), ["v2 a", "v2 b", "v1 b", "v1 a"]);

    // Rewritten at the remote: it is told, what was seen stays, and nothing is sent.
    git(
        &dir.path().join("there"),
        &["update-ref", "refs/lockstep/deployments/prod", "refs/lockstep/deployments/prod~2"],
    );
    here.add(&[event("v1", "a"), event("v2", "a"), event("v3", "a")]).unwrap();
    for error in [here.push(&remote).unwrap_err(), there.fetch(&remote).unwrap_err()] {
        assert!(error.kind == Kind::Remote && error.message.contains("was rewritten at"), "{error}");
    }
    assert_eq!(versions(&here).len(), 5);
    let restore = format!("{}:refs/lockstep/deployments/prod", here.seen);
    git(&top, &["push", "-q", "--force", remote.raw(), &restore]);
    assert_eq!(here.push(&remote).unwrap(), PushResult::Pushed(1));
}
