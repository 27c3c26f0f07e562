//! Environment variables that hold secrets, recognised by their names: which ones are hidden from stages, which cannot
//! be inputs, and whose values are masked in logs. Also hides the variables that name the files through which a step of
//! a CI job changes later steps. Pure.

use std::collections::BTreeMap;

use crate::url::secrets_of_text;

/// The private key that signs results. A command that sees it could sign as the team, so it is hidden from all stages.
pub const SIGN_KEY: &str = "LOCKSTEP_SIGN_KEY";

/// Credentials of a CI job, which give write access to the repository or access to other systems. `NAME*` means every
/// name with this prefix.
const WITHHELD: &[&str] = &[
    "ACTIONS_*",
    "BITBUCKET_STEP_OIDC_TOKEN*",
    "BITBUCKET_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN*",
    "CIRCLE_TOKEN",
    "CI_BUILD_TOKEN",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_JOB_JWT*",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CI_REPOSITORY_URL",
    "CI_RUNNER_TOKEN",
    "CI_SERVER_TOKEN",
    "DRONE_NETRC_PASSWORD",
    "FORGEJO_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GH_PAT",
    "GH_TOKEN",
    "GITEA_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_PAT",
    "GITHUB_TOKEN",
    "GITLAB_*TOKEN",
    "GL_TOKEN",
    "INPUT_*PAT",
    "INPUT_*TOKEN",
    "RUNNER_TOKEN",
    "SYSTEM_ACCESSTOKEN",
];

/// Names of files, and of one service, through which a step of a CI job changes later steps: their variables, their
/// search path, the output of this step, the summary of the job.
const OF_LATER_STEPS: &[&str] = &[
    "APPVEYOR_API_URL",
    "BITBUCKET_PIPELINES_VARIABLES_PATH",
    "BUILDKITE_ENV_FILE",
    "BUILDER_OUTPUT",
    "CF_VOLUME_PATH",
    "DRONE_ENV",
    "DRONE_OUTPUT*",
    "ENVMAN_ENVSTORE_PATH",
    "HARNESS_OUTPUT*",
    "SD_META_DIR",
    "SD_META_PATH",
];
/// The same for GitHub and compatible systems, behind the prefix of each.
const OF_LATER_STEPS_OF_ACTIONS: &[&str] = &["ENV", "OUTPUT", "PATH", "STATE", "STEP_SUMMARY"];
const ACTIONS: &[&str] = &["FORGEJO_", "GITEA_", "GITHUB_"];

/// Words that mark a name as that of a secret.
const SECRET_WORDS: &[&str] = &[
    "APIKEY",
    "APIKEYS",
    "AUTHORIZATION",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "JWT",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "SECRET",
    "SECRETS",
    "TOKEN",
];

/// Last words of names that describe a secret without being one: `TOKEN_FILE`, `PASSWORD_LENGTH`.
const ABOUT: &[&str] = &[
    "COUNT", "DIR", "EXPIRY", "FILE", "FILES", "ID", "IDS", "LEN", "LENGTH", "LIMIT", "NAME", "PATH", "SIZE", "TTL",
    "TYPE", "URL",
];

/// Words before `KEY` that make it a secret whatever follows (`PRIVATE_KEY_PEM`), and before `KEYS` and `TOKENS`.
const CLOSED_KEYS: &[&str] = &["ACCESS", "API", "AUTH", "ENCRYPTION", "PRIVATE", "SIGNING"];

/// Words before `KEY` with which it is not a secret.
const OPEN_KEYS: &[&str] =
    &["CACHE", "FOREIGN", "GROUP", "INDEX", "JOIN", "PARTITION", "PRIMARY", "PUBLIC", "ROW", "SORT", "VERIFY"];

/// Words before `TOKEN` with which it is a symbol of a vocabulary.
const VOCABULARY: &[&str] = &["BOS", "CLS", "END", "EOS", "IMAGE", "MASK", "PAD", "SEP", "SPECIAL", "START", "UNK"];

/// Whether the variable is hidden from a stage unless the stage asks for it and the user grants it.
pub fn is_withheld(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let fits = |pattern: &&str| match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => name == **pattern,
    };
    let mut of_actions = ACTIONS.iter().filter_map(|prefix| name.strip_prefix(prefix));
    name == SIGN_KEY
        || (name.starts_with("LOCKSTEP_") && is_secret(&name))
        || WITHHELD.iter().chain(OF_LATER_STEPS).any(fits)
        || of_actions.any(|name| OF_LATER_STEPS_OF_ACTIONS.contains(&name))
}

/// Names that mean a file of later steps in one CI system, which another variable identifies, and that belong to the
/// user elsewhere: bash reads `BASH_ENV` first, before each step at CircleCI, and on clusters with environment modules
/// as well.
pub fn withheld_in_ci(variables: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    [("CIRCLECI", "BASH_ENV"), ("CM_BUILD_ID", "CM_ENV")]
        .into_iter()
        .filter(move |(ci, _)| is_set(ci))
        .map(|(_, name)| name)
}

/// Git settings in the environment that include a credential: a header for a forge, or a URL with a password. Their
/// count and their names depend on each other, so all of them are removed.
pub fn withheld_git_settings(variables: &BTreeMap<String, String>) -> Vec<&str> {
    let is_setting = |name: &str| {
        matches!(name, "GIT_CONFIG_COUNT" | "GIT_CONFIG_PARAMETERS")
            || ["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"].iter().any(|start| name.starts_with(start))
    };
    let is_credential =
        |text: &str| text.to_ascii_lowercase().contains("extraheader") || !secrets_of_text(text).is_empty();
    let settings: Vec<_> = variables.iter().filter(|(name, _)| is_setting(name)).collect();
    match settings.iter().any(|(_, value)| is_credential(value)) {
        true => settings.into_iter().map(|(name, _)| name.as_str()).collect(),
        false => Vec::new(),
    }
}

/// Whether the name is that of a secret: its value cannot be an input, which the lock would hold in clear, and is
/// masked in logs.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).filter(|word| !word.is_empty()).collect();
    // `TOKEN2` and `OPENAI_KEY_2` are a second token and key.
    let words: Vec<&str> = words.iter().map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    let end = words.iter().rposition(|word| !word.is_empty()).map_or(0, |at| at + 1);
    let words = &words[..end];
    let Some(last) = words.last() else { return false };
    let before = words.len().checked_sub(2).map(|at| words[at]);
    if ABOUT.contains(last) || name == "GOOGLE_APPLICATION_CREDENTIALS" {
        return false;
    }
    match *last {
        "KEY" => !before.is_none_or(|word| OPEN_KEYS.contains(&word)),
        "TOKEN" if words.len() == 2 => !before.is_some_and(|word| VOCABULARY.contains(&word)),
        "PASS" => before.is_some_and(|word| !matches!(word, "BACKWARD" | "FIRST" | "FORWARD" | "SECOND")),
        "PWD" => before.is_some(),
        "STRING" => before == Some("CONNECTION"),
        "PAT" => before.is_some(),
        "SSHPASS" => true,
        "KEYS" | "TOKENS" => before.is_some_and(|word| CLOSED_KEYS.contains(&word)),
        "CONFIG" => before == Some("AUTH"),
        _ if words.windows(2).any(|pair| CLOSED_KEYS.contains(&pair[0]) && pair[1] == "KEY") => true,
        last if last.ends_with("SECRET") => true,
        last if last.ends_with("PASSWORD") || last.ends_with("APIKEY") || last.ends_with("ACCESSTOKEN") => true,
        _ => words.iter().any(|word| SECRET_WORDS.contains(word)),
    }
}

/// Suffixes of names that are often secrets. A variable with such a name becomes an input only if the pipeline says so
/// by `input: true`.
const DOUBTFUL_ENDS: &[&str] = &["CREDENTIALS", "PASSWD", "PASSWORD", "SECRET", "TOKEN", "_KEY"];

/// Whether the name may be that of a secret, so that the pipeline must say whether its value may be written to the
/// lock.
pub fn may_be_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    is_secret(name) || DOUBTFUL_ENDS.iter().any(|end| upper.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_names_are_known_by_their_ends() {
        for name in ["HF_TOKEN", "SORT_KEY", "PAD_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "db_passwd", "ssh-key_KEY"]
        {
            assert!(may_be_secret(name), "{name}");
        }
        for name in ["SEED", "MAX_TOKENS", "MONKEY", "KEY", "TOKEN_FILE", "PUBLIC_KEYS", "CUDA_VISIBLE_DEVICES"] {
            assert!(!may_be_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "LOCKSTEP_SIGN_KEY",
            "GITHUB_TOKEN",
            "hf_token",
            "WANDB_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AZURE_STORAGE_CONNECTION_STRING",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "SMTP_PASS",
            "SECRET",
            "MY_SECRET_VALUE",
            "OPENAI_APIKEY",
            "GH_PAT",
            "SYSTEM_ACCESSTOKEN",
            "TOKEN",
            "KAGGLE_KEY",
            "TOKEN2",
            "OPENAI_KEY_2",
            "API_KEY_",
            "MYSECRET",
            "DB_PASSWORD1",
            "PRIVATE_KEY_PEM",
            "API_KEYS",
            "ACCESS_TOKENS",
            "AUTHORIZATION",
            "DOCKER_AUTH_CONFIG",
            "MY_CREDS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "_",
            "PATH",
            "PWD",
            "OLDPWD",
            "KEY",
            "SEED",
            "CUDA_VISIBLE_DEVICES",
            "MAX_TOKENS",
            "TOKENIZERS_PARALLELISM",
            "PAD_TOKEN",
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SORT_KEY",
            "PUBLIC_KEY",
            "PASSWORD_LENGTH",
            "FIRST_PASS",
            "MONKEY",
            "MAX_TOKENS_2",
            "SEED_1",
            "PAD_TOKEN_2",
            "2",
            "KEY_2",
            "PATTERN",
            "LOCKSTEP_VERIFY_KEYS",
            "LOCKSTEP_JOBS",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn credentials_of_jobs_are_withheld_and_those_of_training_are_not() {
        for name in [
            "LOCKSTEP_SIGN_KEY",
            "LOCKSTEP_REMOTE_PASSWORD",
            "GITHUB_TOKEN",
            "github_token",
            "GITLAB_TOKEN",
            "GITLAB_PRIVATE_TOKEN",
            "CI_JOB_TOKEN",
            "CI_JOB_JWT_V2",
            "ACTIONS_RUNTIME_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "INPUT_TOKEN",
            "INPUT_GITHUB-TOKEN",
            "BITBUCKET_TOKEN",
            "FORGEJO_TOKEN",
            "GITHUB_PAT",
            "CI_SERVER_TOKEN",
            "RUNNER_TOKEN",
            "DRONE_NETRC_PASSWORD",
            "GITHUB_ENV",
            "GITHUB_PATH",
            "GITHUB_OUTPUT",
            "GITHUB_STATE",
            "GITHUB_STEP_SUMMARY",
            "FORGEJO_OUTPUT",
            "GITEA_ENV",
            "BUILDKITE_ENV_FILE",
            "BITBUCKET_PIPELINES_VARIABLES_PATH",
            "DRONE_OUTPUT_FILE",
            "HARNESS_OUTPUT_SECRET_FILE",
            "ENVMAN_ENVSTORE_PATH",
        ] {
            assert!(is_withheld(name), "{name}");
        }
        for name in [
            "HF_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "WANDB_API_KEY",
            "GITHUB_SHA",
            "GITHUB_EVENT_PATH",
            "GITHUB_WORKSPACE",
            "PATH",
            "ENV",
            "BASH_ENV",
            "LOCKSTEP_VERIFY_KEYS",
            "CI",
        ] {
            assert!(!is_withheld(name), "{name}");
        }
        let variables = |name: &str| BTreeMap::from([(name.to_string(), "true".to_string())]);
        for (ci, name) in [("CIRCLECI", Some("BASH_ENV")), ("CM_BUILD_ID", Some("CM_ENV")), ("CI", None)] {
            assert_eq!(withheld_in_ci(&variables(ci)).next(), name);
        }
    }
}
