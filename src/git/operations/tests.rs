use super::super::testing::{commit_all, git, repository, write};
use super::*;
use crate::git::OperationKind;

fn hex(ids: &BTreeSet<GitId>) -> BTreeSet<String> {
    ids.iter().map(GitId::hex).collect()
}

/// Runs Git with a command that stops at a conflict.
fn stop(top: &Path, args: &[&str]) {
    let mut command = std::process::Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args).current_dir(top);
    assert!(!command.output().unwrap().status.success(), "{args:?}");
}

/// `main` with two commits, and `side` with three that conflict with it, from the first one.
fn forked() -> (tempfile::TempDir, PathBuf, Vec<String>) {
    let (dir, top) = repository();
    write(&top, &[("f", "0")]);
    commit_all(&top, "0");
    git(&top, &["checkout", "-qb", "side"]);
    let side = ["1", "2", "3"].map(|text| {
        write(&top, &[("f", text)]);
        commit_all(&top, text)
    });
    git(&top, &["checkout", "-qB", "main", "HEAD~3"]);
    write(&top, &[("f", "other")]);
    commit_all(&top, "other");
    (dir, top, side.into())
}

fn unfinished(top: &Path) -> Result<OperationObjects> {
    let repo = Repo::discover(top).unwrap();
    repo.operation_objects(&repo.history().unwrap(), "f")
}

#[test]
fn what_a_fetch_names() {
    let (dir, top) = repository();
    write(&top, &[("f", "1")]);
    commit_all(&top, "1");
    git(dir.path(), &["clone", "-q", top.to_str().unwrap(), "there"]);
    let there = dir.path().join("there");
    write(&there, &[("f", "2")]);
    let fetched = commit_all(&there, "2");
    git(&top, &["fetch", "-q", there.to_str().unwrap(), "HEAD"]);
    let repo = Repo::discover(&top).unwrap();
    assert!(hex(&repo.private_commits().unwrap()).contains(&fetched));
    assert_eq!(unfinished(&top).unwrap(), OperationObjects::default());
    assert_eq!(repo.current_operation(), None);
}

#[test]
fn all_that_is_left_to_pick_counts() {
    let (_dir, top, side) = forked();
    stop(&top, &["cherry-pick", "side~2", "side~1", "side"]);
    git(&top, &["branch", "-qD", "side"]);
    let repo = Repo::discover(&top).unwrap();
    assert_eq!(repo.current_operation(), Some(OperationKind::CherryPick));
    let found = unfinished(&top).unwrap();
    assert!(hex(&found.commits).is_superset(&side.iter().cloned().collect()));
    assert_eq!(found.trees.len(), 1, "AUTO_MERGE");
    let todo = top.join(".git/sequencer/todo");
    let text = fs::read_to_string(&todo).unwrap();
    for bad in ["pick 0123456 # gone\n", "teleport x\n"] {
        fs::write(&todo, format!("{text}{bad}")).unwrap();
        let error = unfinished(&top).unwrap_err();
        assert!(error.hints.iter().any(|hint| hint.contains("cherry-pick --abort")), "{error}");
    }
}

#[test]
fn what_a_rebase_has_to_do_counts() {
    for flag in ["--merge", "--apply"] {
        let (_dir, top, side) = forked();
        write(&top, &[("g", "1")]);
        git(&top, &["add", "g"]);
        git(&top, &["checkout", "-q", "side"]);
        write(&top, &[("g", "2")]);
        stop(&top, &["rebase", "-q", "--autostash", flag, "main"]);
        git(&top, &["update-ref", "refs/heads/side", "main"]);
        let found = unfinished(&top).unwrap();
        let commits = hex(&found.commits);
        assert!(commits.is_superset(&side.iter().cloned().collect()), "{flag} {commits:?}");
        let folder = top.join(".git").join(if flag == "--merge" { "rebase-merge" } else { "rebase-apply" });
        let stash = fs::read_to_string(folder.join("autostash")).unwrap();
        let index = git(&top, &["rev-parse", &format!("{}^2", stash.trim())]);
        assert!(commits.contains(index.trim()), "{flag}");
        fs::write(folder.join("orig-head"), "").unwrap();
        let error = unfinished(&top).unwrap_err();
        assert!(error.hints.iter().any(|hint| hint.contains("rebase --abort")), "{error}");
    }
}

#[test]
fn patches_count() {
    let (dir, top, _) = forked();
    let patches = dir.path().join("patches");
    git(&top, &["format-patch", "-q", "-o", patches.to_str().unwrap(), "main..side"]);
    let files: Vec<String> =
        fs::read_dir(&patches).unwrap().map(|file| file.unwrap().path().display().to_string()).collect();
    stop(&top, &[&["am", "-q"], &files.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let found = unfinished(&top).unwrap();
    assert!(found.patches.len() >= 3 && !found.blobs.is_empty(), "{found:?}");
    assert!(found.patches.iter().any(|(_, text)| text.contains_str("+3")));
}

#[test]
fn a_bisection_counts_with_what_lies_between() {
    let (_dir, top, side) = forked();
    git(&top, &["bisect", "start", "side", "side~3"]);
    git(&top, &["branch", "-qD", "side"]);
    assert!(hex(&unfinished(&top).unwrap().commits).is_superset(&side.into_iter().collect()));
    fs::write(top.join(".git/BISECT_START"), "nowhere\n").unwrap();
    assert!(unfinished(&top).unwrap_err().message.contains("nowhere"));
}
