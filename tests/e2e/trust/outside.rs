//! What lies outside of the repository: deps by other rules, and a home that is not set.

use crate::sandbox::{Sandbox, output};

#[test]
fn ignore_rules_of_names_count_below_a_folder_outside() {
    for is_absolute in [false, true] {
        let sandbox = Sandbox::new();
        let ext = tempfile::tempdir_in(sandbox.path("").parent().unwrap()).unwrap();
        let name = ext.path().file_name().unwrap().to_str().unwrap();
        let dep = if is_absolute { ext.path().display().to_string() } else { format!("../{name}") };
        sandbox.write("pipeline.yaml", format!("stages: {{a: {{cmd: echo 1 > o, deps: ['{dep}'], outs: [o]}}}}\n"));
        sandbox.write(".lockstepignore", "*.tmp\n/f\n");
        let write = |file: &str, text: &str| {
            let file = ext.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("f", "1");
        write("sub/g", "1");
        let code = |args: &[&str]| sandbox.run(args).code;
        assert_eq!(code(&["repro"]), 0, "{}", sandbox.run(&["repro"]));
        for ignored in ["__pycache__/x", "sub/__pycache__/x", "sub/x.pyc", ".DS_Store", "x.tmp", "sub/x.tmp"] {
            write(ignored, "1");
        }
        let out = sandbox.run(&["status"]);
        assert!(out.code == 0 && !out.to_string().contains("stale"), "{out}");
        write("f", "22");
        let out = sandbox.run(&["status"]);
        assert!(out.to_string().contains("stale"), "{out}");
    }
}

#[test]
fn a_tilde_without_a_home_is_no_folder() {
    for url in ["~", "~/store"] {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo 1 > o, outs: [o]}}\n");
        assert_eq!(sandbox.run(&["remote", "add", "-d", "r", url]).code, 0);
        assert_eq!(sandbox.run(&["repro"]).code, 0);
        let mut push = sandbox.command(env!("CARGO_BIN_EXE_lockstep").as_ref(), "");
        let out = output(push.arg("push").env_remove("HOME"));
        assert!(out.code == 2 && out.stderr.contains("is in HOME, which is not set"), "{out}");
        assert!(!sandbox.path("~").exists());
        let mut push = sandbox.command(env!("CARGO_BIN_EXE_lockstep").as_ref(), "");
        let home = tempfile::tempdir().unwrap();
        let out = output(push.arg("push").env("HOME", home.path()));
        assert_eq!(out.code, 0, "{out}");
        let place = if url == "~" { home.path().to_path_buf() } else { home.path().join("store") };
        assert!(place.join("lockstep-remote").is_file() && !sandbox.path("~").exists());
        let mut status = sandbox.command(env!("CARGO_BIN_EXE_lockstep").as_ref(), "");
        let out = output(status.arg("status").env_remove("HOME").env("LOCKSTEP_CACHE_DIR", "~/x"));
        assert!(out.code == 2 && out.stderr.contains("it is the value of the setting cache.dir"), "{out}");
    }
}
