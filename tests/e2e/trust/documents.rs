//! Files that are read for what they say lie in the repository, are regular, and have an end.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

const PIPELINE: &str = "vars: [v.json]\nparams: [p.json]\nmetrics: [m.json]\nstages: {a: {cmd: 'echo ${pw} > o', params: [p.json: [pw]], outs: [o]}}\n";
/// Every command that reads documents and runs nothing, with the document that it is about.
const READERS: [(&str, &[&str]); 6] = [
    ("m.json", &["metrics", "show"]),
    ("m.json", &["metrics", "diff"]),
    ("p.json", &["params", "show"]),
    ("p.json", &["status"]),
    ("v.json", &["stage", "list", "--json"]),
    ("v.json", &["repro", "--dry"]),
];

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    for name in ["v.json", "p.json", "m.json"] {
        sandbox.write(name, "{\"pw\": 1}");
    }
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox
}

/// A file beside the repository.
fn outside(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.root().parent().unwrap().join(file_name(sandbox))
}

fn file_name(sandbox: &Sandbox) -> String {
    format!("{}-secret.json", sandbox.root().file_name().unwrap().to_str().unwrap())
}

#[test]
fn what_lies_outside_is_never_printed() {
    for how in ["link", "link to a link", "link of a folder", "git"] {
        for (name, command) in READERS {
            let sandbox = project();
            std::fs::write(outside(&sandbox), "{\"pw\": \"hunter2\"}").unwrap();
            std::fs::write(sandbox.path(".git/token.json"), "{\"pw\": \"hunter2\"}").unwrap();
            sandbox.remove(name);
            match how {
                "link" => symlink(outside(&sandbox), sandbox.path(name)).unwrap(),
                "link to a link" => {
                    symlink(outside(&sandbox), sandbox.path("first")).unwrap();
                    symlink("first", sandbox.path(name)).unwrap();
                }
                "git" => symlink(".git/token.json", sandbox.path(name)).unwrap(),
                _ => {
                    symlink("..", sandbox.path("up")).unwrap();
                    symlink(format!("up/{}", file_name(&sandbox)), sandbox.path(name)).unwrap();
                }
            }
            let out = sandbox.run(command);
            let all = format!("{}{}", out.stdout, out.stderr);
            assert!(!all.contains("hunter2"), "{how} {command:?} {out}");
            assert!(all.contains("is not read: it leads to"), "{how} {command:?} {out}");
            assert!(out.code == 2 || command[0] == "status" || command[0] == "stage", "{how} {command:?} {out}");
        }
    }
}

#[test]
fn a_spelling_that_leads_out_is_not_read() {
    let sandbox = Sandbox::new();
    std::fs::write(outside(&sandbox), "{\"pw\": \"hunter2\"}").unwrap();
    let absolute = outside(&sandbox).display().to_string();
    let relative = format!("../{}", file_name(&sandbox));
    for spelling in [relative.as_str(), absolute.as_str(), &format!(".git/../{relative}")] {
        for pipeline in [
            format!("metrics: ['{spelling}']\n"),
            format!("params: ['{spelling}']\n"),
            format!("vars: ['{spelling}']\nstages: {{a: {{cmd: 'echo ${{pw}}'}}}}\n"),
            format!("stages: {{a: {{cmd: echo, params: ['{spelling}': [pw]]}}}}\n"),
        ] {
            sandbox.write("pipeline.yaml", &pipeline);
            for command in [&["metrics", "show"][..], &["params", "show"], &["stage", "list", "--json"], &["status"]] {
                let out = sandbox.run(command);
                assert!(!format!("{}{}", out.stdout, out.stderr).contains("hunter2"), "{pipeline} {command:?} {out}");
            }
        }
    }
    // A dep may lie outside: it is hashed.
    let stage = format!("stages: {{a: {{cmd: 'cat {relative} > o', deps: ['{relative}'], outs: [o]}}}}\n");
    sandbox.write("pipeline.yaml", stage);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
}

#[test]
fn links_that_stay_inside_are_followed() {
    let sandbox = project();
    std::fs::create_dir_all(sandbox.path("conf")).unwrap();
    for name in ["v.json", "p.json", "m.json", "pipeline.yaml"] {
        std::fs::rename(sandbox.path(name), sandbox.path(&format!("conf/{name}"))).unwrap();
        symlink(format!("conf/{name}"), sandbox.path(name)).unwrap();
    }
    // Also where a checkout links into the store.
    sandbox.write("lockstep.toml", "[cache]\nlinks = [\"hardlink\"]\n");
    for command in [&["repro"][..], &["metrics", "show"], &["params", "show"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{command:?} {out}");
    }
}

#[test]
fn no_document_has_no_end() {
    let files = ["lockstep.toml", "pipeline.yaml", "pipeline.lock", ".lockstepignore", "v.json", "p.json", "m.json"];
    for thing in ["fifo", "/dev/zero", "large"] {
        for name in files {
            let sandbox = project();
            let _ = std::fs::remove_file(sandbox.path(name));
            match thing {
                "fifo" => make_fifo(&sandbox.path(name)),
                "large" => std::fs::File::create(sandbox.path(name)).unwrap().set_len(5 << 40).unwrap(),
                device => symlink(device, sandbox.path(name)).unwrap(),
            }
            for command in [&["status"][..], &["metrics", "show"], &["params", "show"], &["repro"]] {
                let began = Instant::now();
                let mut limited = sandbox.command("sh".as_ref(), "");
                let program = env!("CARGO_BIN_EXE_lockstep");
                limited.args(["-c", "ulimit -v 3000000; exec timeout 20 \"$@\"", "sh", program]).args(command);
                let out = crate::sandbox::output(&mut limited);
                assert!(matches!(out.code, 0 | 2 | 3 | 7), "{thing} as {name}, {command:?}: {out}");
                assert!(began.elapsed() < Duration::from_secs(15), "{thing} as {name}, {command:?}");
            }
        }
    }
}

fn make_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}
