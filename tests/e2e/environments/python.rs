//! The kinds of Python, with interpreters that are shell scripts: what counts, and that `status` starts none.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{fine, folder};
use crate::sandbox::{Output, Sandbox, output};

/// Versions that no machine has. A Python that can make environments: it notes each call.
const PYTHON: &str = r#"#!/bin/sh
site=$(dirname "$0")/../lib/site-packages
case "$*" in
  -c*) echo "cpython VERSION.4" ;;
  "-m venv"*) echo venv >> $CONF_LOG; mkdir -p "$3/bin" "$3/lib/site-packages"; cp "$0" "$3/bin/python" ;;
  *" install "*) echo "install $PIP_USER" >> $CONF_LOG; touch $site/pkg.py ;;
  *" check") echo check >> $CONF_LOG ;;
  *) echo "run $*" ;;
esac
"#;

const PIPELINE: &str = "
environments: {py: {pip: requirements.txt}}
stages: {train: {environment: py, cmd: 'python x > out; echo $VIRTUAL_ENV $PYTHONHOME >> out', outs: [out], deps: [in]}}
";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("requirements.txt", "numpy==1.26.4\nsix==1.0\n");
    sandbox.write("in", "");
    for version in ["3.77", "3.78"] {
        let name = format!("../py{version}/python{version}");
        sandbox.write(&name, PYTHON.replace("VERSION", version));
        fs::set_permissions(sandbox.path(&name), PermissionsExt::from_mode(0o755)).unwrap();
        symlink(format!("python{version}"), sandbox.path(&format!("../py{version}/python3"))).unwrap();
    }
    sandbox
}

fn with(sandbox: &Sandbox, version: &str, args: &[&str]) -> Output {
    let path = format!("{}:/usr/bin:/bin", sandbox.path(&format!("../py{version}")).canonicalize().unwrap().display());
    output(sandbox.lockstep("").env("PATH", path).env("PYTHONHOME", "/nowhere").args(args))
}

#[test]
fn what_the_requirements_resolve_to_is_an_input() {
    let sandbox = project();
    let out = with(&sandbox, "3.77", &["repro"]);
    fine(&out);
    assert_eq!(sandbox.ran(), ["venv", "install 0", "check"]);
    let made = folder(&sandbox);
    assert_eq!(sandbox.read("out"), format!("run x\n{}\n", made.display()));
    assert!(sandbox.read("pipeline.lock").contains("      python: \"3.77\"\n"));
    assert!(with(&sandbox, "3.77", &["logs", "train"]).stdout.contains("environment py (pip, python 3.77.4, "));
    // Comments, order and spelling do not count.
    sandbox.write("requirements.txt", "# two\nSix == 1.0  # one\n\nnumpy==1.26.4\n");
    fine(&with(&sandbox, "3.77", &["-q", "status"]));
    sandbox.write("requirements.txt", "numpy==2.0.0\nsix==1.0\n");
    let status = with(&sandbox, "3.77", &["status"]);
    assert!(status.stdout.contains("environment py: numpy 1.26.4 → 2.0.0"), "{status}");
    let status = with(&sandbox, "3.78", &["status"]);
    assert!(status.stdout.contains("environment py: python 3.77 → 3.78, numpy 1.26.4 → 2.0.0"), "{status}");
    fs::remove_file(made.with_extension("json")).unwrap();
    let status = with(&sandbox, "3.77", &["status"]);
    assert!(status.stdout.contains("environment py: its packages changed"), "{status}");
    assert_eq!(sandbox.ran(), [""; 0]);
}

#[test]
fn the_version_of_python_is_an_input() {
    let sandbox = project();
    fine(&with(&sandbox, "3.77", &["repro"]));
    let status = with(&sandbox, "3.78", &["status"]);
    assert!(status.stdout.contains("environment py: python 3.77 → 3.78\n"), "{status}");
    // Declared, the interpreter on the PATH does not matter for what is up to date.
    sandbox.write(".python-version", "3.77\n");
    fine(&with(&sandbox, "3.78", &["-q", "status"]));
    sandbox.ran();
    let out = with(&sandbox, "3.78", &["repro", "-f"]);
    fine(&out);
    assert_eq!(sandbox.ran(), [""; 0], "it is made");
    fine(&with(&sandbox, "3.78", &["env", "rm", "py"]));
    let out = with(&sandbox, "3.78", &["repro", "-f"]);
    assert!(out.code != 0 && out.stderr.contains("environment py needs Python 3.77, which was not found"), "{out}");
    assert!(out.stderr.contains("looked in PATH"), "{out}");
    assert!(sandbox.read("out").starts_with("run x\n"), "the last good output stays");
    // Without any Python, what is declared is enough to judge.
    sandbox.write("pipeline.yaml", PIPELINE.replace("pip: requirements.txt", "pip: requirements.txt, python: '3.77'"));
    let out = output(sandbox.lockstep("").env("PATH", "/nowhere").args(["-q", "status"]));
    fine(&out);
    sandbox
        .write("pipeline.yaml", PIPELINE.replace("pip: requirements.txt", "pip: requirements.txt, python: '3.77.9'"));
    let status = with(&sandbox, "3.77", &["status"]);
    assert!(status.stdout.contains("environment py: python 3.77 → 3.77.9"), "{status}");
    let out = with(&sandbox, "3.77", &["repro"]);
    assert!(out.code != 0 && out.stderr.contains("needs Python 3.77.9, which was not found"), "{out}");
}

#[test]
fn packages_that_come_or_go_by_hand_are_noticed() {
    let sandbox = project();
    fine(&with(&sandbox, "3.77", &["repro"]));
    for (file, why) in [("six.py", "six.py was installed by hand"), ("pkg.py", "pkg.py is gone")] {
        let file = folder(&sandbox).join("lib/site-packages").join(file);
        if file.exists() {
            fs::remove_file(file).unwrap()
        } else {
            fs::write(file, "").unwrap()
        }
        assert!(with(&sandbox, "3.77", &["env", "list"]).stdout.contains(why));
        sandbox.ran();
        let out = with(&sandbox, "3.77", &["repro", "-f"]);
        fine(&out);
        assert!(out.stderr.contains(why), "{out}");
        assert_eq!(sandbox.ran(), ["venv", "install 0", "check"]);
    }
}

#[test]
fn an_open_version_is_an_error_that_says_what_to_type() {
    let sandbox = project();
    sandbox.write("requirements.txt", "numpy>=1\n");
    for args in [&["status"][..], &["repro"], &["repro", "--dry"], &["env", "build"], &["env", "list"]] {
        let out = with(&sandbox, "3.77", args);
        assert_ne!(out.code, 0, "{out}");
        assert!(out.stderr.contains("environment py: requirements.txt:1: `numpy>=1` leaves the version open"), "{out}");
        assert!(out.stderr.contains("uv pip compile"), "{out}");
    }
    sandbox.write("pipeline.yaml", PIPELINE.replace("pip: requirements.txt", "uv: pyproject.toml"));
    sandbox.write("pyproject.toml", "[project]\nname = 'app'\nversion = '1'\n");
    let out = with(&sandbox, "3.77", &["repro"]);
    assert!(out.stderr.contains("uv.lock does not exist") && out.stderr.contains("make it: uv lock"), "{out}");
    assert_eq!(sandbox.ran(), [""; 0]);
}
