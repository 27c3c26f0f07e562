//! Files in Git LFS of any repository.

use super::{Hub, TOKEN, bytes, ok, pointer, sha256, weights};
use crate::sandbox::Sandbox;

#[test]
fn a_download_that_breaks_off_continues() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 400_000);
    hub.commit("org/model", &[], &[("model.bin", &content)]);
    for fault in ["breaks", "no-range"] {
        hub.set_fault(fault);
        let user = hub.user();
        let out = user.run(&["get", "hf://org/model", "model.bin"]);
        let ranges =
            |requests: Vec<String>| requests.into_iter().filter(|line| line.ends_with("bytes=200000-")).count();
        match fault {
            "breaks" => {
                ok(&out);
                assert!(bytes(&user, "model.bin") == content);
                // Of both hosts.
                assert_eq!(ranges(hub.requests()), 2);
            }
            _ => assert!(out.code == 4 && out.stderr.contains("what arrived is kept"), "{out}"),
        }
    }
}

#[test]
fn another_command_continues_a_download() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 400_000);
    hub.commit("org/model", &[], &[("model.bin", &content)]);
    let user = hub.user();
    hub.set_fault("no-range");
    assert_eq!(user.run(&["import", "hf://org/model", "model.bin"]).code, 4);
    assert!(!user.exists("model.bin") && !user.exists("pipeline.yaml"));
    hub.set_fault("");
    hub.requests();
    ok(&user.run(&["import", "hf://org/model", "model.bin"]));
    assert!(bytes(&user, "model.bin") == content);
    let requests = hub.requests();
    assert!(requests.iter().any(|line| line.starts_with("cdn ") && line.contains("bytes=200000-")), "{requests:?}");
}

#[test]
fn a_damaged_part_is_downloaded_again() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 400_000);
    hub.commit("org/model", &[], &[("model.bin", &content)]);
    let user = hub.user();
    hub.set_fault("no-range");
    assert_eq!(user.run(&["get", "hf://org/model", "model.bin"]).code, 4);
    hub.set_fault("");
    let parts = super::files_below(&user.path(".git"));
    let part = parts.iter().find(|file| file.extension().is_some_and(|e| e == "part")).unwrap();
    for damage in [weights(9, 100_000), weights(9, 400_000), weights(9, 500_000)] {
        std::fs::write(part, damage).unwrap();
        ok(&user.run(&["get", "--force", "hf://org/model", "model.bin"]));
        assert!(bytes(&user, "model.bin") == content);
        user.remove("model.bin");
    }
}

#[test]
fn any_repository_with_lfs_and_the_credentials_of_git() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 50_000);
    hub.commit("org/private", &[("f", "1")], &[("model.bin", &content)]);
    let address = format!("{}/org/private", hub.endpoint());
    let user = Sandbox::new();
    let out = user.run(&["get", &address, "model.bin"]);
    assert!(out.code == 4, "{out}");
    // Git's credential helper has the password.
    user.write("../home/.gitconfig", "[credential]\n\thelper = store\n");
    let host = address.trim_start_matches("http://").split('/').next().unwrap();
    user.write("../home/.git-credentials", format!("http://me:{TOKEN}@{host}\n"));
    ok(&user.run(&["import", &address, "model.bin"]));
    assert!(bytes(&user, "model.bin") == content);
    let text = user.read("pipeline.yaml");
    assert!(text.contains(&address) && !text.contains(TOKEN));
    let requests = hub.requests();
    assert!(requests.iter().filter(|line| line.starts_with("cdn ")).all(|line| line.ends_with(" - -")), "{requests:?}");
    // The address may have it itself.
    let other = Sandbox::new();
    ok(&other.run(&["get", &address.replace("http://", &format!("http://me:{TOKEN}@")), "model.bin"]));
    assert!(bytes(&other, "model.bin") == content);
}

#[test]
fn a_repository_on_this_disk_has_its_files_in_its_lfs_folder() {
    let source = Sandbox::new();
    let content = weights(1, 5_000);
    source.write("d/x.bin", pointer(&content));
    source.write("d/y", "y");
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "x"]);
    let there = source.root().to_str().unwrap();
    let user = Sandbox::new();
    let oid = sha256(&content);
    let place = format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]);
    for wrong in [None, Some(weights(2, 5_000)), Some(weights(1, 4_000))] {
        if let Some(wrong) = wrong {
            source.write(&place, wrong);
        }
        let out = user.run(&["get", there, "d"]);
        assert!(out.code == 3 && out.stderr.contains("git lfs pull") && !user.exists("d"), "{out}");
    }
    source.write(&place, &content);
    ok(&user.run(&["import", there, "d"]));
    assert!(bytes(&user, "d/x.bin") == content);
    assert!(source.exists(&place));
}

#[test]
fn pointers_of_the_current_repository_are_fetched_by_git_lfs() {
    let Some(hub) = Hub::start() else { return };
    let user = hub.user();
    user.write("x.bin", pointer(b"content"));
    user.git(&["add", "-A"]);
    user.git(&["commit", "-qm", "x"]);
    let out = user.run(&["get", "x.bin", "-o", "y.bin"]);
    assert!(out.code == 3 && out.stderr.contains("git lfs pull"), "{out}");
    assert_eq!(hub.requests(), [""; 0]);
}
