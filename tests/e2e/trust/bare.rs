//! A bare repository that a clone or a remote brought is not opened, and Git fetches nothing for it: its settings name
//! programs.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::{Output, Sandbox, output};

const ID: &str = "00112233445566778899aabbccddeeff";

/// A project whose repository has, at `planted`, a bare one that lacks a blob, which Git would fetch by a program that leaves
/// the mark.
struct Hostile {
    sandbox: Sandbox,
    mark: PathBuf,
}

impl Hostile {
    /// Before the blob is taken away `prepare` may read it.
    fn new(planted: &str, prepare: impl Fn(&Sandbox)) -> Hostile {
        let sandbox = Sandbox::new();
        let mark = sandbox.beside("mark");
        sandbox.git(&["init", "-q", "../source"]);
        sandbox.write("../source/plain", "1");
        sandbox.write("../source/f", "1");
        assert_eq!(sandbox.run(&["-C", "../source", "add", "-q", "f"]).code, 0);
        sandbox.git(&["-C", "../source", "add", "-Af"]);
        sandbox.git(&["-C", "../source", "commit", "-qm", "x"]);
        sandbox.git(&["clone", "-q", "--bare", "../source", planted]);
        prepare(&sandbox);
        let head = sandbox.git(&["-C", planted, "rev-parse", "HEAD"]);
        let branch = sandbox.git(&["-C", planted, "symbolic-ref", "HEAD"]);
        let _ = fs::remove_file(sandbox.path(&format!("{planted}/packed-refs")));
        sandbox.write(&format!("{planted}/{}", branch.trim()), head.trim());
        sandbox.write(&format!("{planted}/lockstep/id"), ID);
        for file in ["plain", "pipeline.lock"] {
            let blob = sandbox.git(&["-C", planted, "rev-parse", &format!("HEAD:{file}")]);
            let (shard, rest) = blob.trim().split_at(2);
            let _ = fs::remove_file(sandbox.path(&format!("{planted}/objects/{shard}/{rest}")));
        }
        let program = format!("echo ran >> '{}'; false", mark.display());
        for (key, value) in [
            ("core.repositoryformatversion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.url", "/nowhere"),
            ("remote.origin.uploadpack", &program),
        ] {
            sandbox.git(&["-C", planted, "config", key, value]);
        }
        Hostile { sandbox, mark }
    }

    /// Of what is committed a clone, in which a command runs.
    fn run(&self, args: &[&str]) -> Output {
        let clone = self.sandbox.path("../clone");
        if !clone.exists() {
            self.sandbox.git(&["add", "-Af"]);
            self.sandbox.git(&["commit", "-qm", "x"]);
            self.sandbox.git(&["clone", "-q", ".", "../clone"]);
        }
        let out = output(self.sandbox.lockstep("").current_dir(clone).args(args));
        assert!(!self.mark.exists(), "{args:?} ran the program\n{out}");
        out
    }
}

fn store_at(sandbox: &Sandbox, dir: &str) {
    sandbox.write(&format!("{dir}/lockstep-store"), "lockstep-store 1\n");
    let objects = sandbox.path("../source/.git/lockstep/store/objects");
    for shard in fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().path()) {
        for object in fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().path()) {
            let below = object.strip_prefix(&objects).unwrap().to_str().unwrap();
            sandbox.write(&format!("{dir}/objects/{below}"), fs::read(&object).unwrap());
        }
    }
    sandbox.write("lockstep.toml", format!("[cache]\ndir = \"{dir}\"\n"));
    sandbox.write("pipeline.yaml", "stages: {}\n");
}

#[test]
fn a_store_in_a_committed_bare_repository_is_not_used() {
    let hostile = Hostile::new("bare", |sandbox| store_at(sandbox, "bare/lockstep/store"));
    for args in [&["status"][..], &["du"], &["verify"], &["gc", "-w"], &["gc", "-wf"]] {
        let out = hostile.run(args);
        assert!(out.stderr.contains("it lies in another repository"), "{args:?} {out}");
    }
}

/// The name under which a store notes a project.
fn note_name(home: &str) -> String {
    blake3::hash(format!("{ID}{home}").as_bytes()).to_hex()[..32].to_string()
}

#[test]
fn a_committed_note_on_a_project_does_not_count() {
    let hostile = Hostile::new("bare", |sandbox| {
        store_at(sandbox, ".cache");
        let clone = sandbox.beside("clone").join("bare");
        for home in ["bare", clone.to_str().unwrap(), "/nowhere/.git"] {
            let note = format!(".cache/projects/{}", note_name(home));
            sandbox.write(&note, format!("lockstep-project 1\n{ID}\nhost\n{home}"));
        }
        sandbox.write(".cache/projects/junk", "?");
        sandbox.write(".cache/generation", sandbox.read("../source/.git/lockstep/store/generation"));
    });
    for args in [&["status"][..], &["du"], &["gc", "-w"], &["gc", "-wf"]] {
        let out = hostile.run(args);
        assert_eq!(out.code, 0, "{args:?} {out}");
    }
    let out = hostile.run(&["verify"]);
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stderr.contains(".cache/projects/junk came with a commit"), "{out}");
    // One that no commit brought is damage, and gc does not guess what it stands for.
    fs::write(hostile.sandbox.path("../clone/.cache/projects/torn"), "?").unwrap();
    for (args, code) in [(&["verify"][..], 1), (&["gc", "-w"], 7)] {
        let out = hostile.run(args);
        assert!(out.code == code && out.stdout.contains("torn") | out.stderr.contains("torn"), "{args:?} {out}");
    }
}

/// Where the user names the store every note counts, and gc does not go on without one.
#[test]
fn a_note_on_a_bare_repository_in_a_worktree_is_refused() {
    let hostile = Hostile::new("bare", |sandbox| store_at(sandbox, ".cache"));
    let store = hostile.sandbox.beside("store");
    let out = hostile.run(&["cache", "dir", "--local", store.to_str().unwrap()]);
    assert_eq!(out.code, 0, "{out}");
    let clone = hostile.sandbox.path("../clone").canonicalize().unwrap();
    for home in [clone.join("bare").display().to_string(), "bare".into()] {
        let note = store.join("projects").join(note_name(&home));
        fs::create_dir_all(note.parent().unwrap()).unwrap();
        fs::write(store.join("lockstep-store"), "lockstep-store 1\n").unwrap();
        fs::write(&note, format!("lockstep-project 1\n{ID}\nhost\n{home}")).unwrap();
        for args in [&["du"][..], &["gc", "-w"], &["gc", "-wf"]] {
            assert!(hostile.run(args).code > 1, "{home} {args:?}");
        }
        fs::remove_file(note).unwrap();
    }
}

#[test]
fn a_bare_repository_that_came_as_data_is_not_opened() {
    let remote = |sandbox: &Sandbox| sandbox.beside("remote").display().to_string();
    let hostile = Hostile::new("w/p", |sandbox| {
        sandbox.write("../home/.gitconfig", "[safe]\n\tbareRepository = all\n");
        let out = sandbox.run(&["import", "w/p", "plain", "-o", "g"]);
        assert_eq!(out.code, 0, "{out}");
        sandbox.write("../home/.gitconfig", "");
    });
    let sandbox = &hostile.sandbox;
    sandbox.remove("g");
    for args in [&["add", "-q", "w"][..], &["remote", "add", "-d", "lab", &remote(sandbox)], &["push", "-q", "w"]] {
        let out = sandbox.run(args);
        assert_eq!(out.code, 0, "{args:?} {out}");
    }
    sandbox.write(".gitignore", "/w\n/g\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    hostile.run(&["pull"]);
    assert!(sandbox.path("../clone/w/p/HEAD").exists());
    for args in [
        &["pull"][..],
        &["fetch"],
        &["update"],
        &["repro", "--pull"],
        &["status"],
        &["list", "w/p"],
        &["get", "w/p", "plain", "-o", "q"],
        &["import", "w/p", "plain", "-o", "q"],
        &["-C", "w/p", "status"],
    ] {
        let out = hostile.run(args);
        let is_told = out.stderr.contains("a bare repository in a folder of the repository");
        assert!(is_told || ["status", "repro"].contains(&args[0]), "{args:?} {out}");
    }
}

/// Outside of worktrees a bare repository is the user's, and Git fetches for it only where it is at hand.
#[test]
fn git_fetches_nothing_for_another_repository() {
    let hostile = Hostile::new("../outside.git", |_| ());
    hostile.sandbox.write("pipeline.yaml", "stages: {}\n");
    for args in [&["get", "../outside.git", "plain", "-o", "q"][..], &["import", "../outside.git", "plain", "-o", "q"]]
    {
        let out = hostile.run(args);
        assert!(out.code != 0 && out.stderr.contains("fetch --refetch"), "{args:?} {out}");
    }
}
