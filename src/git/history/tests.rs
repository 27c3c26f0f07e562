use super::select::children_first;
use super::*;
use crate::git::testing::{git, git_at, repository, write};
use crate::git::{CommitSelection, SelectedCommit};

/// Three commits on `main`, tags of several kinds, one branch aside.
fn sample() -> (tempfile::TempDir, std::path::PathBuf, Vec<String>) {
    let (dir, top) = repository();
    let commits: Vec<String> = ["1", "2", "3"]
        .iter()
        .map(|n| {
            write(&top, &[("file", n)]);
            git(&top, &["add", "-A"]);
            git_at(&top, &["commit", "-q", "-m", n], &format!("2026-01-0{n}T00:00:00Z"));
            git(&top, &["rev-parse", "HEAD"]).trim().to_string()
        })
        .collect();
    git(&top, &["branch", "-M", "main"]);
    git(&top, &["branch", "feature/x", "HEAD~1"]);
    git(&top, &["tag", "-a", "digits@v1.2.0", "-m", "first", "HEAD~2"]);
    git(&top, &["tag", "light", "HEAD~1"]);
    for (day, n, at) in [("5", "9", "HEAD~2"), ("6", "10", "HEAD"), ("4", "12", "HEAD~1")] {
        let tag = format!("digits#prod#{n}");
        git_at(&top, &["tag", "-a", &tag, "-m", "p", at], &format!("2026-02-0{day}T00:00:00Z"));
    }
    git(&top, &["tag", "-a", "digits#dev#1", "-m", "d", "HEAD~2"]);
    git(&top, &["tag", "-a", "digits#dev!#2", "-m", "d", "HEAD~2"]);
    (dir, top, commits)
}

#[test]
fn names_of_commits() {
    let (_dir, top, commits) = sample();
    git(&top, &["tag", "models/a=w@v0.1.0", "HEAD~1"]);
    git(&top, &["tag", "-a", "models/a=w#prod#1", "-m", "p", "HEAD~1"]);
    // A tag with the exact name of a label that was moved since.
    git_at(&top, &["tag", "-a", "digits#prod", "-m", "p", "HEAD~2"], "2026-02-01T00:00:00Z");
    let history = Repo::discover(&top).unwrap().history().unwrap();
    for (revision, want) in [
        ("models/a:w@v0.1.0", 1),
        ("models/a:w#prod", 1),
        ("digits@1.2.0", 0),
        ("HEAD", 2),
        ("HEAD~2", 0),
        ("main^", 1),
        ("feature/x", 1),
        ("light", 1),
        ("digits@v1.2.0", 0),
        ("digits@v1.2.0^{commit}", 0),
        ("digits#prod", 2),
        ("digits#prod#12", 1),
        ("refs/tags/digits#prod", 0),
        (commits[1].as_str(), 1),
        (&commits[0][..8], 0),
        ("@", 2),
        ("HEAD^{/2}", 1),
    ] {
        let got = history.resolve(revision).unwrap_or_else(|e| panic!("{revision}: {e}"));
        assert_eq!(got.id.hex(), commits[want], "{revision}");
    }
}

#[test]
fn what_is_not_there_is_told() {
    let (_dir, top, _) = sample();
    let history = Repo::discover(&top).unwrap().history().unwrap();
    for (revision, message, hint) in [
        ("mian", "no revision `mian`", "did you mean `main`?"),
        ("digits@v1.2.1", "no revision", "did you mean `digits@v1.2.0`?"),
        ("HEAD~9", "no revision `HEAD~9`", "git fetch --tags"),
        ("digits#dev", "no version of digits has the label dev", ""),
        ("digits#stage", "no version of digits has the label stage", ""),
        ("HEAD:file", "not a commit", ""),
    ] {
        let e = history.resolve(revision).unwrap_err();
        assert_eq!(e.kind, Kind::Missing);
        assert!(e.message.contains(message), "{e}");
        assert!(hint.is_empty() || e.hints.iter().any(|h| h.contains(hint)), "{e}");
    }
    let (_dir, empty) = repository();
    let e = Repo::discover(&empty).unwrap().resolve("HEAD").unwrap_err();
    assert!(e.to_string().contains("no commit yet"), "{e}");
}

#[test]
fn a_shallow_clone_says_so() {
    let (dir, top, commits) = sample();
    let clone = dir.path().join("clone");
    let url = format!("file://{}", top.display());
    git(dir.path(), &["clone", "-q", "--depth", "1", &url, clone.to_str().unwrap()]);
    let repo = Repo::discover(&clone).unwrap();
    assert_eq!(repo.resolve("HEAD").unwrap().id.hex(), commits[2]);
    let e = repo.resolve("HEAD~1").unwrap_err().to_string();
    assert!(e.contains("shallow") && e.contains("git fetch --unshallow"), "{e}");
}

#[test]
fn commits_are_chosen_once() {
    let (_dir, top, commits) = sample();
    let history = Repo::discover(&top).unwrap().history().unwrap();
    let chosen = |which: CommitSelection| -> Vec<String> {
        let one = |c: SelectedCommit| {
            let at = commits.iter().position(|id| *id == c.id.hex()).unwrap();
            format!("{at}:{}", c.names.join(",").replace(&c.id.short(), "-"))
        };
        history.select_commits(&which).unwrap().into_iter().map(one).collect()
    };
    let revs = |revs: &[&str]| revs.iter().map(|r| r.to_string()).collect::<Vec<_>>();
    assert_eq!(chosen(CommitSelection { all_commits: true, ..CommitSelection::default() }), ["2:-", "1:-", "0:-"]);
    assert_eq!(chosen(CommitSelection { all_branches: true, ..CommitSelection::default() }), ["1:feature/x", "2:main"]);
    assert_eq!(
        chosen(CommitSelection {
            all_tags: true,
            all_branches: true,
            revs: revs(&["HEAD"]),
            ..CommitSelection::default()
        }),
        [
            "2:HEAD,main,digits#prod#10",
            "1:feature/x,digits#prod#12,light",
            "0:digits#dev!#2,digits#dev#1,digits#prod#9,digits@v1.2.0"
        ]
    );
    assert_eq!(
        chosen(CommitSelection { revs: revs(&["main"]), number: Some(2), ..CommitSelection::default() }),
        ["2:main", "1:-"]
    );
}

#[test]
fn no_parent_comes_before_its_child() {
    let id = |n: u8| gix::ObjectId::from_bytes_or_panic(&[n; 20]);
    let (a, b, c, d) = (id(1), id(2), id(3), id(4));
    for (commits, want) in [
        (vec![(a, vec![]), (b, vec![a])], vec![b, a]),
        (vec![(a, vec![d]), (b, vec![a]), (c, vec![a])], vec![b, c, a]),
        (vec![(c, vec![b, a]), (a, vec![]), (b, vec![a])], vec![c, b, a]),
        (vec![(a, vec![d])], vec![a]),
    ] {
        let commits: Vec<_> = commits.iter().map(|(id, parents)| (*id, parents.as_slice())).collect();
        assert_eq!(children_first(&commits), want);
    }
}

#[test]
fn outside_git_there_is_no_history() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".lockstep")).unwrap();
    let repo = Repo::discover(dir.path()).unwrap();
    assert_eq!(repo.resolve("HEAD").unwrap_err().kind, Kind::Usage);
    assert_eq!(repo.tags().unwrap(), []);
}
