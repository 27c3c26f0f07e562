//! The real pip and the real uv, with tiny wheels in a folder and without the network.

use std::path::Path;

use super::{fine, folder};
use crate::sandbox::{Output, Sandbox, output};

/// Writes wheels `wheels/NAME-VERSION-py3-none-any.whl`: a module with the version, and what it requires.
const WHEELS: &str = r#"
import os, sys, zipfile
os.makedirs('wheels', exist_ok=True)
for spec in sys.argv[1:]:
    name, version, *needs = spec.split(',')
    with zipfile.ZipFile(f'wheels/{name}-{version}-py3-none-any.whl', 'w') as z:
        info = f'{name}-{version}.dist-info'
        z.writestr(f'{name}.py', f'version = {version!r}\n')
        meta = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        z.writestr(f'{info}/METADATA', meta + ''.join(f'Requires-Dist: {n}\n' for n in needs))
        z.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        z.writestr(f'{info}/RECORD', f'{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n')
"#;

fn python(sandbox: &Sandbox, args: &[&str]) {
    fine(&output(sandbox.command(Path::new("python3"), "").args(args)));
}

fn wheels(sandbox: &Sandbox, specs: &[&str]) {
    python(sandbox, &[&["-c", WHEELS], specs].concat());
}

const STAGE: &str =
    "stages: {s: {environment: py, cmd: 'python -c \"import a; print(a.version)\" > out', outs: [out], deps: [in]}}\n";

#[test]
#[ignore = "needs python3 with venv"]
fn pip_installs_exactly_what_is_listed() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "");
    wheels(&sandbox, &["a,1.0,b", "a,2.0,b", "b,1.0"]);
    sandbox.write("pipeline.yaml", format!("environments: {{py: {{pip: requirements.txt}}}}\n{STAGE}"));
    sandbox.write("requirements.txt", "--no-index\n--find-links wheels\na==1.0\nb==1.0\n");
    let out = sandbox.run(&["repro"]);
    fine(&out);
    assert_eq!(sandbox.read("out"), "1.0\n");
    sandbox.write("requirements.txt", "--no-index\n--find-links wheels\nb==1.0\na==2.0\n");
    let status = sandbox.run(&["status"]);
    assert!(status.stdout.contains("environment py: a 1.0 → 2.0"), "{status}");
    fine(&sandbox.run(&["repro", "--offline"]));
    assert_eq!(sandbox.read("out"), "2.0\n");
    // A package that is needed and not listed.
    sandbox.write("requirements.txt", "--no-index\n--find-links wheels\na==2.0\n");
    let out = sandbox.run(&["repro"]);
    assert!(out.code != 0 && out.stderr.contains("python -m pip check failed"), "{out}");
    assert!(out.stderr.contains("list each package that others need"), "{out}");
    assert_eq!(sandbox.read("out"), "2.0\n");
}

fn uv(sandbox: &Sandbox, args: &[&str]) -> Output {
    output(sandbox.command(Path::new("uv"), "").args(args))
}

fn project(train: &str, dev: &str) -> String {
    format!(
        "[project]\nname = 'app'\nversion = '0'\nrequires-python = '>=3.9'\ndependencies = ['a']\n\
         [dependency-groups]\ntrain = [{train}]\nother = [{dev}]\n\
         [tool.uv]\nno-index = true\nfind-links = ['wheels']\n"
    )
}

#[test]
#[ignore = "needs uv and python3"]
fn uv_installs_what_the_lock_resolves_to() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "");
    wheels(&sandbox, &["a,1.0", "b,1.0", "c,1.0", "c,2.0"]);
    sandbox.write("pipeline.yaml", format!("environments: {{py: {{uv: pyproject.toml, groups: [train]}}}}\n{STAGE}"));
    sandbox.write("pyproject.toml", project("'b'", "'c==1.0'"));
    fine(&uv(&sandbox, &["lock", "--offline"]));
    let out = sandbox.run(&["repro", "--offline"]);
    fine(&out);
    let site = std::fs::read_dir(folder(&sandbox).join("lib")).unwrap().next().unwrap().unwrap().path();
    let has = |name: &str| site.join("site-packages").join(name).exists();
    assert_eq!((sandbox.read("out").as_str(), has("b.py"), has("c.py")), ("1.0\n", true, false));
    fine(&sandbox.run(&["-q", "status"]));
    // A package of another group changes nothing.
    sandbox.write("pyproject.toml", project("'b'", "'c==2.0'"));
    fine(&uv(&sandbox, &["lock", "--offline"]));
    fine(&sandbox.run(&["-q", "status"]));
    // One of this group does.
    sandbox.write("pyproject.toml", project("'b', 'c'", ""));
    fine(&uv(&sandbox, &["lock", "--offline"]));
    let status = sandbox.run(&["status"]);
    assert!(status.stdout.contains("environment py: c 2.0 added"), "{status}");
    // The content of a package in the repository counts, and is what is installed.
    let build = "[build-system]\nrequires = ['uv_build']\nbuild-backend = 'uv_build'\n";
    sandbox.write("x/pyproject.toml", format!("[project]\nname = 'x'\nversion = '1'\n{build}"));
    sandbox.write("x/src/x/__init__.py", "v = 1\n");
    let with_x = project("'b'", "").replace("['a']", "['a', 'x']") + "[tool.uv.sources]\nx = {path = 'x'}\n";
    sandbox.write("pyproject.toml", with_x);
    fine(&uv(&sandbox, &["lock", "--offline"]));
    let pipeline = sandbox.read("pipeline.yaml").replace("import a; print(a.version)", "import x; print(x.v)");
    sandbox.write("pipeline.yaml", pipeline);
    fine(&sandbox.run(&["repro", "--offline"]));
    sandbox.write("x/src/x/__init__.py", "v = 2\n");
    let status = sandbox.run(&["status"]);
    assert!(status.stdout.contains("environment py: the sources of its packages changed"), "{status}");
    fine(&sandbox.run(&["repro", "--offline"]));
    assert_eq!(sandbox.read("out"), "2\n");
    // The lock file is not of this project any more.
    sandbox.write("pyproject.toml", project("'b'", "").replace("['a']", "['a', 'b']"));
    let status = sandbox.run(&["status"]);
    assert!(status.code != 0 && status.stderr.contains("was made for other requirements"), "{status}");
}
