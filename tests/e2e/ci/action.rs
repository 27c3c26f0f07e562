//! `.github/actions/lockstep/action.yml`, step by step with the real binary, as a runner would take it: expressions are
//! evaluated, scripts run in bash, and the platform's cache is a folder that keeps what is saved under a key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml::Value as Yaml;

use crate::ci::{commit, path, repository, shipped};
use crate::sandbox::{Sandbox, output};

const ACTION: &str = ".github/actions/lockstep/action.yml";

/// A runner with a platform's cache, which outlives its jobs.
struct Runner<'a> {
    sandbox: &'a Sandbox,
    dir: PathBuf,
}

/// What a job left.
#[derive(Debug)]
struct Job {
    ok: bool,
    log: String,
    summary: String,
    saved: Vec<String>,
}

impl<'a> Runner<'a> {
    fn new(sandbox: &'a Sandbox) -> Runner<'a> {
        let dir = sandbox.root().parent().unwrap().join("runner");
        fs::create_dir_all(dir.join("cache")).unwrap();
        Runner { sandbox, dir }
    }

    /// Checks a revision out into a fresh clone, and runs the action in it.
    fn job(&self, revision: &str, given: &[(&str, &str)]) -> Job {
        let clone = self.dir.join("clone");
        let _ = fs::remove_dir_all(&clone);
        self.sandbox.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
        let git = |args: &[&str]| {
            let out = output(self.sandbox.command(Path::new("git"), "").args(args).current_dir(&clone));
            assert_eq!(out.code, 0, "{out}");
        };
        git(&["checkout", "-q", revision]);
        self.run(&clone, given)
    }

    fn run(&self, clone: &Path, given: &[(&str, &str)]) -> Job {
        let action = shipped(ACTION);
        let mut known = BTreeMap::new();
        for (name, input) in action["inputs"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            let value = given.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            known.insert(format!("inputs.{name}"), value.unwrap_or_else(|| text(&input["default"])));
        }
        for (name, _) in given {
            assert!(known.contains_key(&format!("inputs.{name}")), "the action has no input {name}");
        }
        let _ = fs::remove_file(self.dir.join("env"));
        let number = fs::read_dir(self.dir.join("cache")).unwrap().count();
        known.insert("github.run_id".into(), format!("run{number}"));
        known.insert("github.run_attempt".into(), "1".into());
        let mut job = Job { ok: true, log: String::new(), summary: String::new(), saved: Vec::new() };
        for step in action["runs"]["steps"].as_sequence().unwrap() {
            let condition = step["if"].as_str().unwrap_or("success()");
            if !holds(condition, job.ok, &known) {
                continue;
            }
            let id = step["id"].as_str().unwrap_or("");
            match step["uses"].as_str().and_then(|uses| uses.split('@').next()) {
                Some("actions/cache/restore") => {
                    let with = |name: &str| fill(&text(&step["with"][name]), &known);
                    if let Some(key) = self.restore(&with("key"), &with("restore-keys"), Path::new(&with("path"))) {
                        known.insert(format!("steps.{id}.outputs.cache-matched-key"), key);
                    }
                }
                Some("actions/cache/save") => {
                    let with = |name: &str| fill(&text(&step["with"][name]), &known);
                    self.save(&with("key"), Path::new(&with("path")));
                    job.saved.push(with("key"));
                }
                Some(other) => panic!("{other} is not known here"),
                None => self.script(step, clone, id, &mut known, &mut job),
            }
        }
        job.summary = fs::read_to_string(self.dir.join("summary")).unwrap_or_default();
        let _ = fs::remove_file(self.dir.join("summary"));
        job
    }

    fn script(&self, step: &Yaml, clone: &Path, id: &str, known: &mut BTreeMap<String, String>, job: &mut Job) {
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "an input in a script is a hole: {script}");
        assert_eq!(step["shell"], "bash");
        let outputs = self.dir.join("outputs");
        let _ = fs::remove_file(&outputs);
        let folder = step["working-directory"].as_str().map_or(String::new(), |folder| fill(folder, known));
        let mut command = self.sandbox.command(Path::new("bash"), "");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(clone.join(folder));
        command.env("PATH", path()).env("CI", "true").env("GITHUB_ACTIONS", "true").env("GITHUB_BASE_REF", "main");
        command.env("GITHUB_OUTPUT", &outputs).env("GITHUB_STEP_SUMMARY", self.dir.join("summary"));
        command.env("RUNNER_TEMP", &self.dir).env("GITHUB_ACTION_PATH", "/nowhere/.github/actions/lockstep");
        let env_file = self.dir.join("env");
        for line in fs::read_to_string(&env_file).unwrap_or_default().lines() {
            let (name, value) = line.split_once('=').unwrap();
            command.env(name, value);
        }
        command.env("GITHUB_ENV", &env_file);
        for (name, value) in step["env"].as_mapping().into_iter().flatten() {
            command.env(text(name), fill(&text(value), known));
        }
        let out = output(&mut command);
        job.log.push_str(&out.to_string());
        job.ok &= out.code == 0;
        for line in fs::read_to_string(&outputs).unwrap_or_default().lines() {
            let (name, value) = line.split_once('=').unwrap();
            known.insert(format!("steps.{id}.outputs.{name}"), value.to_string());
        }
    }

    /// The key that fitted: the very one, else the youngest that begins with one of the others.
    fn restore(&self, key: &str, others: &str, folder: &Path) -> Option<String> {
        let cache = self.dir.join("cache");
        let mut keys: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap()).collect();
        keys.sort_by_key(|entry| std::cmp::Reverse(entry.metadata().unwrap().modified().unwrap()));
        let keys: Vec<String> = keys.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
        let begins = |other: &str| keys.iter().find(|known| known.starts_with(other));
        let found = keys.iter().find(|known| *known == key).or(others.lines().find_map(begins))?;
        copy(&cache.join(found), folder);
        Some(found.clone())
    }

    fn save(&self, key: &str, folder: &Path) {
        let kept = self.dir.join("cache").join(key);
        assert!(!kept.exists(), "a key is written once");
        copy(folder, &kept);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success());
}

fn text(value: &Yaml) -> String {
    match value {
        Yaml::String(text) => text.clone(),
        Yaml::Null => String::new(),
        other => serde_yaml::to_string(other).unwrap().trim().to_string(),
    }
}

/// Fills in `${{ … }}`; what is not known is empty, as on the platform.
fn fill(text: &str, known: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = text.split_once("${{") else { return text.to_string() };
    let (name, after) = rest.split_once("}}").unwrap();
    let value = known.get(name.trim()).cloned().unwrap_or_default();
    format!("{before}{value}{}", fill(after, known))
}

/// Conditions of the kind `always() && a == 'b' && c != d`.
fn holds(condition: &str, ok: bool, known: &BTreeMap<String, String>) -> bool {
    let value = |word: &str| match word.strip_prefix('\'').and_then(|w| w.strip_suffix('\'')) {
        Some(literal) => literal.to_string(),
        None => known.get(word).cloned().unwrap_or_default(),
    };
    let status = condition.split(" && ").find(|part| part.ends_with("()")).unwrap_or("success()");
    let runs = match status {
        "always()" => true,
        "failure()" => !ok,
        "success()" => ok,
        other => panic!("{other} is not known here"),
    };
    let compared = |part: &str| {
        let (a, b) = part.split_once(" == ").or(part.split_once(" != ")).unwrap();
        (value(a.trim()) == value(b.trim())) == part.contains(" == ")
    };
    runs && condition.split(" && ").all(|part| part.ends_with("()") || compared(part))
}

#[test]
fn the_stand_in_for_a_runner_evaluates() {
    let known = [("inputs.a", "x"), ("steps.s.outputs.k", "y")].map(|(k, v)| (k.to_string(), v.to_string())).into();
    assert_eq!(fill("1 ${{ inputs.a }} 2 ${{ steps.s.outputs.k }}${{ gone }}", &known), "1 x 2 y");
    for (condition, ok, want) in [
        ("success()", true, true),
        ("success()", false, false),
        ("inputs.a == 'x'", true, true),
        ("inputs.a == 'x'", false, false),
        ("always() && inputs.a != steps.s.outputs.k", false, true),
        ("always() && inputs.a == 'y'", true, false),
        ("failure() && inputs.a == 'x'", true, false),
        ("failure() && inputs.a == 'x'", false, true),
    ] {
        assert_eq!(holds(condition, ok, &known), want, "{condition}");
    }
}

/// Fresh clones each time: nothing runs that has run before, and what changed runs alone.
#[test]
fn the_platforms_cache_carries_results_from_job_to_job() {
    let sandbox = repository();
    let runner = Runner::new(&sandbox);
    let job = runner.job("main", &[]);
    assert!(job.ok, "{}", job.log);
    // The metrics are in Git, so the last stage is up to date.
    assert_eq!((sandbox.ran(), job.saved.len()), (vec!["prep".into(), "train".into()], 1));
    assert!(job.summary.starts_with("### lockstep: 2 ran, 1 up to date"), "{}", job.summary);

    let job = runner.job("main", &[]);
    assert!(job.ok && job.summary.contains("### lockstep: 2 restored, 1 up to date"), "{}", job.summary);
    assert_eq!((sandbox.ran(), job.saved.len()), (vec![], 0));

    // One param in a branch; its author did not run it. The store of main is where it begins.
    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.2\n");
    commit(&sandbox, "another rate");
    let job = runner.job("topic", &[]);
    assert!(job.ok, "{}", job.log);
    assert_eq!(sandbox.ran(), ["train", "eval"]);
    assert!(
        job.summary.contains("### lockstep: 2 ran, 1 restored") && job.summary.contains("+0.1, better"),
        "{}",
        job.summary
    );
    assert_eq!(job.saved.len(), 1);
    // Its second job finds what the first one made, though nobody committed the lock.
    let job = runner.job("topic", &[("targets", "train eval")]);
    assert!(job.ok && job.summary.contains("### lockstep: 3 restored"), "{}", job.summary);
    assert_eq!(sandbox.ran().len(), 0);

    // A stale lock: nothing runs, the job fails, and the page says why.
    let job = runner.job("topic", &[("locked", "true")]);
    assert!(!job.ok && job.log.contains("stale train: param params.yaml:lr 0.1 → 0.2"), "{}", job.log);
    assert!(job.log.contains("::error file=pipeline.yaml,line=6,title=train is stale::"), "{}", job.log);
    assert!(job.summary.contains("| stale | `train` | `param params.yaml:lr 0.1 → 0.2`"), "{}", job.summary);
    assert_eq!(sandbox.ran().len(), 0);
    let job = runner.job("main", &[("locked", "true")]);
    assert!(job.ok, "{}", job.log);

    // A failed stage fails the job; what finished before it is kept.
    sandbox.write("params.yaml", "lr: bad\n");
    sandbox.write("raw", "other\n");
    commit(&sandbox, "a bad rate");
    let job = runner.job("topic", &[]);
    assert!(!job.ok && job.summary.contains("### lockstep: 1 failed, 1 not run, 1 ran"), "{}", job.summary);
    assert_eq!((sandbox.ran(), job.saved.len()), (vec!["prep".into(), "train".into()], 1));
    let job = runner.job("topic", &[]);
    assert!(!job.ok && job.saved.len() == 1);
    assert_eq!(sandbox.ran(), ["train"]);
}

#[test]
fn only_the_store_leaves_the_clone() {
    let sandbox = repository();
    let runner = Runner::new(&sandbox);
    let job = runner.job("main", &[]);
    assert!(job.ok, "{}", job.log);
    let mut carried: Vec<_> = fs::read_dir(runner.dir.join("cache").join(&job.saved[0]))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    carried.sort();
    for name in &carried {
        let known =
            ["generation", "lock", "lockstep-store", "objects", "packs", "projects", "quarantine", "runs", "tmp"];
        assert!(known.contains(&name.as_str()), "{carried:?}");
    }
    assert!(carried.contains(&"objects".to_string()), "{carried:?}");
}

#[test]
fn a_branch_does_not_choose_what_is_saved() {
    let sandbox = repository();
    sandbox.write("lockstep.toml", "cache.dir = \"own\"\n");
    commit(&sandbox, "a store of its own");
    let runner = Runner::new(&sandbox);
    let job = runner.job("main", &[]);
    assert!(job.ok && job.saved.len() == 1, "{}", job.log);
    assert!(!runner.dir.join("clone/own").exists());
    assert!(runner.dir.join("clone/.git/lockstep/store/objects").exists());
}

#[test]
fn the_projects_remote_carries_results_from_job_to_job() {
    let sandbox = repository();
    let remote = sandbox.root().parent().unwrap().join("outputs");
    assert_eq!(sandbox.run(&["remote", "add", "-q", "-d", "team", remote.to_str().unwrap()]).code, 0);
    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    commit(&sandbox, "a remote");
    let runner = Runner::new(&sandbox);
    let job = runner.job("main", &[("store", "remote")]);
    assert!(job.ok && job.saved.is_empty(), "{}", job.log);
    assert_eq!(sandbox.ran().len(), 0);

    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.2\n");
    commit(&sandbox, "another rate");
    let job = runner.job("topic", &[("store", "remote"), ("push", "true")]);
    assert!(job.ok, "{}", job.log);
    assert_eq!(sandbox.ran(), ["train", "eval"]);
    // What a job pushed the next one finds by its inputs alone: the lock was not committed.
    let job = runner.job("topic", &[("store", "remote"), ("push", "true")]);
    assert!(job.ok, "{}", job.log);
    assert!(sandbox.ran().is_empty());
    let job = runner.job("topic", &[("store", "remote"), ("locked", "true")]);
    assert!(!job.ok && job.log.contains("stale train"), "{}", job.log);
}

/// An unchanged pipeline is judged without its bytes, and what changed runs with those that it needs.
#[test]
fn with_allow_missing_only_what_is_needed_comes() {
    let sandbox = repository();
    let remote = sandbox.root().parent().unwrap().join("outputs");
    assert_eq!(sandbox.run(&["remote", "add", "-q", "-d", "team", remote.to_str().unwrap()]).code, 0);
    assert_eq!(sandbox.run(&["push", "-q"]).code, 0);
    commit(&sandbox, "a remote");
    let runner = Runner::new(&sandbox);
    let here = |out: &str| runner.dir.join("clone").join(out).exists();
    let job = runner.job("main", &[("store", "remote"), ("allow-missing", "true")]);
    assert!(job.ok && job.summary.contains("### lockstep: 3 up to date"), "{}{}", job.log, job.summary);
    assert!(sandbox.ran().is_empty() && !here("clean") && !here("model"));
    let job = runner.job("main", &[("store", "remote")]);
    assert!(job.ok && here("clean") && here("model"), "{}", job.log);

    sandbox.git(&["checkout", "-qb", "topic"]);
    sandbox.write("params.yaml", "lr: 0.2\n");
    commit(&sandbox, "another rate");
    let job = runner.job("topic", &[("store", "remote"), ("allow-missing", "true")]);
    assert!(job.ok, "{}", job.log);
    assert_eq!(sandbox.ran(), ["train", "eval"]);
}
