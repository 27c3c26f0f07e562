//! Stages do not see credentials of the CI job, no child sees the signing key, and logs hold no secret.

use crate::sandbox::{Output, Sandbox, output};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const TOKEN: &str = "ghs_abcdefghijklmnop";

fn repro(s: &Sandbox, args: &[&str]) -> Output {
    let variables = [
        ("LOCKSTEP_SIGN_KEY", KEY),
        ("GITHUB_TOKEN", TOKEN),
        ("ACTIONS_RUNTIME_TOKEN", "runtime-token-0"),
        ("GITLAB_TOKEN", "glpat-0123456789"),
        ("HF_TOKEN", "hf_training_token"),
        ("SEED", "42"),
    ];
    output(s.lockstep("").arg("repro").args(args).envs(variables))
}

/// The names among these that a stage wrote with `env > o`.
fn seen(s: &Sandbox) -> Vec<String> {
    let names = ["LOCKSTEP_SIGN_KEY", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "GITLAB_TOKEN", "HF_TOKEN", "SEED"];
    let text = s.read("o");
    names.iter().filter(|name| text.contains(&format!("{name}="))).map(|name| name.to_string()).collect()
}

#[test]
fn a_stage_sees_no_credential_of_the_job_and_no_signing_key() {
    let s = Sandbox::new();
    s.write("lockstep.toml", "cache.sign = \"ed25519\"\n");
    s.write("pipeline.yaml", "stages: {a: {cmd: env > o, outs: [o]}}\n");
    assert_eq!(repro(&s, &[]).code, 0);
    assert_eq!(seen(&s), ["HF_TOKEN", "SEED"]);
    let log = s.path(".git/lockstep/worktree/logs/a/1/env");
    let names = std::fs::read_to_string(log).unwrap();
    assert!(names.contains("HF_TOKEN\n") && !names.contains("GITHUB_TOKEN") && !names.contains("SIGN_KEY"), "{names}");
    // A stage that does not ask does not get it, whatever the user grants.
    s.write("pipeline.yaml", "stages: {a: {cmd: 'env > o #', outs: [o]}}\n");
    assert_eq!(repro(&s, &["--pass-env", "GITHUB_TOKEN"]).code, 0);
    assert_eq!(seen(&s), ["HF_TOKEN", "SEED"]);
}

/// Through these files a step of a job sets the variables, the search path and the inputs of later steps.
#[test]
fn a_stage_does_not_reach_the_later_steps_of_the_job() {
    let s = Sandbox::new();
    let files = ["GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY", "FORGEJO_ENV"];
    let others = ["BUILDKITE_ENV_FILE", "BITBUCKET_PIPELINES_VARIABLES_PATH", "DRONE_OUTPUT", "BASH_ENV"];
    let repro = |args: &[&str]| {
        let names = files.iter().chain(&others).map(|name| (*name, "later"));
        let kept = [("GITHUB_SHA", "kept"), ("GITHUB_EVENT_PATH", "kept"), ("CIRCLECI", "true")];
        output(s.lockstep("").arg("repro").args(args).envs(names).envs(kept))
    };
    s.write("pipeline.yaml", "stages: {a: {cmd: env > o, outs: [o]}}\n");
    let out = repro(&[]);
    assert_eq!(out.code, 0, "{out}");
    let seen = s.read("o");
    assert!(!seen.contains("=later"), "{seen}");
    assert!(seen.contains("GITHUB_SHA=kept") && seen.contains("GITHUB_EVENT_PATH=kept"), "{seen}");
    let asks = |name: &str| {
        s.write("pipeline.yaml", format!("stages: {{a: {{cmd: 'env > o', env: [{name}], outs: [o]}}}}\n"));
    };
    for (name, asked) in [("GITHUB_OUTPUT", "{GITHUB_OUTPUT: {input: false}}"), ("BASH_ENV", "BASH_ENV")] {
        asks(asked);
        let out = repro(&["--force"]);
        let refusal = format!("asks for {name}, which is not granted");
        assert!(out.code == 6 && out.stderr.contains(&refusal), "{name}: {out}");
        let out = repro(&["--force", "--pass-env", name]);
        assert_eq!((out.code, s.read("o").matches("=later").count()), (0, 1), "{name}: {out}");
    }
    asks("GITHUB_OUTPUT");
    let out = repro(&["--force"]);
    assert!(out.code == 2 && out.stderr.contains("belongs to the job of a CI system"), "{out}");
}

#[test]
fn several_jobs_withhold_them_too() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages: {a: {cmd: env > o, outs: [o]}, b: {cmd: env > p, outs: [p]}}\n");
    assert_eq!(repro(&s, &["-j", "2"]).code, 0);
    assert_eq!(seen(&s), ["HF_TOKEN", "SEED"]);
    assert!(!s.read("p").contains("GITHUB_TOKEN"));
}

#[test]
fn a_pipeline_asks_and_the_user_grants() {
    let s = Sandbox::new();
    let asks = "stages: {a: {cmd: env > o, env: [SEED, {GITHUB_TOKEN: {input: false}}], outs: [o]}}\n";
    s.write("pipeline.yaml", asks);
    let refused = repro(&s, &[]);
    assert!(!s.exists("o"));
    insta::assert_snapshot!(s.shown(&refused), @r"
    exit 6
    --- stderr
    error: stage a asks for GITHUB_TOKEN, which is not granted
      because: a pipeline only asks for such a variable; the user who runs it decides
      hint: to grant it: lockstep repro --pass-env GITHUB_TOKEN
      hint: in CI: LOCKSTEP_PASS_ENV=GITHUB_TOKEN
    1 failed in [TIME]
    ");
    // A file of the repository grants nothing.
    s.write("lockstep.toml", "pass_env = [\"GITHUB_TOKEN\"]\n");
    let refused = repro(&s, &[]);
    assert!(refused.code != 0 && !s.exists("o"), "{refused}");
    s.remove("lockstep.toml");
    assert_eq!(repro(&s, &["--pass-env", "GITHUB_TOKEN"]).code, 0);
    assert_eq!(seen(&s), ["GITHUB_TOKEN", "HF_TOKEN", "SEED"]);
    // It is no input: neither in the lock nor in the key.
    let lock = s.read("pipeline.lock");
    assert!(lock.contains("SEED: \"42\"") && !lock.contains("GITHUB_TOKEN") && !lock.contains(TOKEN), "{lock}");
    s.write("pipeline.yaml", "stages: {a: {cmd: env > o, env: [SEED], outs: [o]}}\n");
    assert!(repro(&s, &[]).stderr.contains("1 up to date"));
    s.write("pipeline.yaml", asks);
    // Other ways to grant it.
    let mut command = s.lockstep("");
    command.args(["repro", "-f"]).env("GITHUB_TOKEN", TOKEN).env("LOCKSTEP_PASS_ENV", "GITLAB_TOKEN,GITHUB_TOKEN");
    let again = output(&mut command);
    assert!(again.code == 0 && s.read("o").contains(TOKEN), "{again}");
    assert_eq!(s.run(&["config", "--local", "pass_env", "GITHUB_TOKEN"]).code, 0);
    assert_eq!(repro(&s, &["-f"]).code, 0);
    // Where it is not set there is nothing to grant.
    s.run(&["config", "--local", "--unset", "pass_env"]);
    assert_eq!(s.run(&["repro", "-f"]).code, 0);
}

#[test]
fn the_signing_key_is_never_granted() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages: {a: {cmd: env > o, outs: [o]}}\n");
    insta::assert_snapshot!(s.shown(&repro(&s, &["--pass-env", "LOCKSTEP_SIGN_KEY"])), @r"
    exit 2
    --- stderr
    error: LOCKSTEP_SIGN_KEY is never passed to a stage
      because: a command that sees it could sign any result
    ");
    for env in ["LOCKSTEP_SIGN_KEY", "{LOCKSTEP_SIGN_KEY: {input: false}}"] {
        s.write("pipeline.yaml", format!("stages: {{a: {{cmd: env > o, env: [{env}], outs: [o]}}}}\n"));
        let refused = repro(&s, &[]);
        assert!(refused.code == 2 && refused.stderr.contains("never passed to a stage"), "{refused}");
    }
}

#[test]
fn a_secret_is_no_input() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages:\n  a:\n    cmd: env > o\n    env: [SEED, WANDB_API_KEY]\n    outs: [o]\n");
    insta::assert_snapshot!(s.shown(&s.run(&["status"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    pipeline.yaml:4:17: stage `a`, `env`: `WANDB_API_KEY` looks like a secret, and pipeline.lock would hold its value
      |
    4 |     env: [SEED, WANDB_API_KEY]
      |                 ^
      hint: `- WANDB_API_KEY: {input: false}` passes it to the commands and records nothing; `- WANDB_API_KEY: {input: true}` says that its value is harmless and may be recorded
    ");
    s.write("pipeline.yaml", "stages: {a: {cmd: x, env: [{WANDB_API_KEY: {inputs: false}}, {A: 1}]}}\n");
    insta::assert_snapshot!(s.shown(&s.run(&["status"])), @r"
    exit 2
    --- stderr
    warning: pipeline.yaml is left out:
    pipeline.yaml:1:45: unknown key `inputs` in an entry of stage `a`, `env`, `WANDB_API_KEY`
      |
    1 | stages: {a: {cmd: x, env: [{WANDB_API_KEY: {inputs: false}}, {A: 1}]}}
      |                                             ^
      hint: did you mean `input`?
    pipeline.yaml:1:66: an entry of stage `a`, `env` must be a name or `NAME: {input: false}`, not a number
      |
    1 | stages: {a: {cmd: x, env: [{WANDB_API_KEY: {inputs: false}}, {A: 1}]}}
      |                                                                  ^
    ");
}

#[test]
fn secrets_are_masked_in_logs_and_reports() {
    let s = Sandbox::new();
    let cmd = "printf hf_train; sleep 0.3; printf 'ing_token\\n'; echo $HF_TOKEN-$SEED; exit 3";
    s.write("pipeline.yaml", format!("stages: {{a: {{cmd: \"{}\"}}}}\n", cmd.replace('\\', "\\\\")));
    for jobs in ["1", "2"] {
        let failed = repro(&s, &["-j", jobs]);
        assert_eq!(failed.code, 6, "{failed}");
        assert_eq!(s.run(&["logs", "a"]).stdout, "***\n***-42\n");
    }
    let quiet = repro(&s, &["-q"]);
    assert!(quiet.stderr.contains("***-42") && !quiet.stderr.contains("hf_training"), "{quiet}");
    let report = s.run(&["ci", "report"]);
    assert!(report.stdout.contains("***-42") && !report.stdout.contains("hf_training"), "{report}");
}

#[test]
fn settings_of_git_with_a_credential_are_withheld_together() {
    let s = Sandbox::new();
    for (key, value, is_seen) in [
        ("http.https://forge.example/.extraheader", "AUTHORIZATION: basic eDp5", false),
        ("url.https://u:S3CR3T@forge.example/.insteadOf", "https://forge.example/", false),
        ("safe.directory", "*", true),
    ] {
        s.write("pipeline.yaml", format!("stages: {{a: {{cmd: 'env > o # {is_seen} {}', outs: [o]}}}}\n", key.len()));
        let settings = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", key), ("GIT_CONFIG_VALUE_0", value)];
        let out = output(s.lockstep("").arg("repro").envs(settings));
        assert_eq!(out.code, 0, "{out}");
        assert_eq!(s.read("o").contains("GIT_CONFIG_COUNT"), is_seen, "{key}");
        assert_eq!(s.read("o").contains(value), is_seen, "{key}");
    }
}

#[test]
fn passwords_in_urls_of_the_environment_are_masked_in_logs() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages: {a: {cmd: 'echo $DATABASE_URL $HTTPS_PROXY $TOKEN2; exit 3'}}\n");
    let variables = [
        ("DATABASE_URL", "postgres://u:S3CR3Tdatabase@h/x"),
        ("HTTPS_PROXY", "http://u:S3CR3Tproxy@h"),
        ("TOKEN2", "S3CR3Tsecond"),
    ];
    assert_eq!(output(s.lockstep("").arg("repro").envs(variables)).code, 6);
    assert_eq!(s.run(&["logs", "a"]).stdout, "postgres://u:***@h/x http://u:***@h ***\n");
}

/// The environment that Git's hooks see, when lockstep runs Git.
#[test]
fn git_hooks_do_not_see_the_signing_key() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages: {a: {cmd: echo x > m.bin, outs: [m.bin]}}\nartifacts: {m: {path: m.bin}}\n");
    assert_eq!(s.run(&["repro"]).code, 0);
    s.git(&["add", "-A"]);
    s.git(&["commit", "-qm", "x"]);
    s.write(".git/hooks/reference-transaction", "#!/bin/sh\nenv >> \"$CONF_LOG.hook\"\n");
    let hook = s.path(".git/hooks/reference-transaction");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let made =
        output(s.lockstep("").args(["model", "register", "m", "--version", "1.0.0"]).env("LOCKSTEP_SIGN_KEY", KEY));
    let seen = std::fs::read_to_string(s.beside("hook")).unwrap_or_default();
    assert!(seen.contains("HOME=") && !seen.contains(KEY), "{made}{seen}");
}

/// Every file below the repository and its Git folder that holds a text.
fn files_with(s: &Sandbox, text: &str) -> Vec<String> {
    let found = output(s.command("grep".as_ref(), "").args(["-rla", text, "."]));
    found.stdout.lines().map(str::to_string).collect()
}

#[test]
fn a_doubtful_name_is_an_input_only_where_the_pipeline_says_so() {
    let s = Sandbox::new();
    let stage =
        |env: &str| format!("stages: {{a: {{cmd: 'echo $SORT_KEY > o; echo $DB_PASSWD', env: [{env}], outs: [o]}}}}\n");
    let variables = [("SORT_KEY", "created_at"), ("DB_PASSWD", "S3CR3Tpasswd")];
    let run = |args: &[&str]| output(s.lockstep("").args(args).envs(variables));
    for name in ["SORT_KEY", "DB_PASSWD", "{SORT_KEY: {}}"] {
        s.write("pipeline.yaml", stage(name));
        let out = run(&["repro"]);
        assert!(out.code == 2 && out.stderr.contains("looks like a secret"), "{name}: {out}");
        assert!(out.stderr.contains("{input: false}") && out.stderr.contains("{input: true}"), "{name}: {out}");
        assert!(!s.exists("pipeline.lock"));
    }
    s.write("pipeline.yaml", stage("{DB_PASSWD: {input: false}}, {SORT_KEY: {input: true}}"));
    let out = run(&["repro"]);
    assert_eq!((out.code, s.read("o").as_str()), (0, "created_at\n"), "{out}");
    let lock = s.read("pipeline.lock");
    assert!(lock.contains("SORT_KEY: created_at") && !lock.contains("DB_PASSWD:"), "{lock}");
    assert_eq!(s.run(&["logs", "a"]).stdout, "***\n");
    assert_eq!(files_with(&s, "S3CR3Tpasswd"), [] as [&str; 0]);
    // Another secret is no reason to run.
    let other = output(s.lockstep("").arg("status").envs([("SORT_KEY", "created_at"), ("DB_PASSWD", "other-one")]));
    assert!(other.stderr.contains("up to date"), "{other}");
    s.write("pipeline.yaml", stage("{A: {input: true}}, {A: {input: false}}"));
    let out = run(&["status"]);
    assert!(out.code == 2 && out.stderr.contains("`A` is listed as an input and as none"), "{out}");
}

#[test]
fn a_secret_in_an_old_lock_is_told_and_not_shown() {
    let s = Sandbox::new();
    let with = |env: &str| format!("stages: {{a: {{cmd: 'echo x > o', env: [{env}], outs: [o]}}}}\n");
    s.write("pipeline.yaml", with("{HF_TOKEN: {input: true}}"));
    assert_eq!(repro(&s, &[]).code, 0);
    assert!(s.read("pipeline.lock").contains("hf_training_token"));
    assert!(!s.run(&["status"]).stderr.contains("holds the value"), "it is declared");
    for env in ["{HF_TOKEN: {input: false}}", "HF_TOKEN", "SEED"] {
        s.write("pipeline.yaml", with(env));
        for command in [&["status"][..], &["status", "-v"], &["status", "--json"], &["repro", "--dry"]] {
            let out = s.run(command);
            let told = format!("{}{}", out.stdout, out.stderr);
            assert!(!told.contains("hf_training"), "{env} {command:?}: {out}");
            if command[0] == "status" {
                assert!(out.stderr.contains("pipeline.lock holds the value of HF_TOKEN (stage a)"), "{env}: {out}");
                assert!(out.stderr.contains("lockstep repro a"), "{env}: {out}");
            }
        }
    }
    s.write("pipeline.yaml", with("{HF_TOKEN: {input: false}}"));
    let out = repro(&s, &[]);
    assert!(out.code == 0 && !out.stderr.contains("hf_training"), "{out}");
    assert!(!s.read("pipeline.lock").contains("HF_TOKEN"));
    assert!(!s.run(&["status"]).stderr.contains("holds the value"));
}

#[test]
fn a_url_with_a_password_is_no_input() {
    let s = Sandbox::new();
    let stage = |env: &str| format!("stages: {{a: {{cmd: 'echo > o', env: [{env}], outs: [o]}}}}\n");
    let run = |args: &[&str]| output(s.lockstep("").args(args).env("DB", "postgres://bob:hunter2hunter2@db/x"));
    for env in ["DB", "{DB: {input: true}}"] {
        s.write("pipeline.yaml", stage(env));
        for args in [&["repro"][..], &["status"], &["commit", "--force"]] {
            let out = run(args);
            assert!(out.code == 2 && out.stderr.contains("holds a URL with a password"), "{env} {args:?}: {out}");
            assert!(!format!("{out}").contains("hunter2"), "{out}");
        }
        assert_eq!(files_with(&s, "hunter2"), [] as [&str; 0]);
    }
    s.write("pipeline.yaml", stage("{DB: {input: false}}"));
    assert_eq!(run(&["repro"]).code, 0);
    assert_eq!(files_with(&s, "hunter2"), [] as [&str; 0]);
}
