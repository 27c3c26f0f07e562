//! Where a command runs: its folder, its environment, the settings of its user.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::{advice, environment, signals, user};
use crate::config::{Config, GivenSetting};
use crate::error::{Error, Result};
use crate::project::{Project, Surroundings};
use crate::shell::word;

/// Opens the project of the current folder, or of `-C`.
pub fn open(global: &Global, out: &Output) -> Result<Project> {
    let project = Project::open(surroundings(global)?)?;
    advice::warn_ignored_settings(&project, &["cache.dir"], out);
    warn_of_exposed(&project.config, out);
    Ok(project)
}

/// Warns of settings files with secrets that other users of this machine can read.
pub fn warn_of_exposed(config: &Config, out: &Output) {
    for file in config.exposed() {
        let name = file.display().to_string();
        out.warn(format!("{name} holds a secret and other users may read it"));
        out.hint(format!("chmod 600 {}", word(&name)));
    }
}

pub fn surroundings(global: &Global) -> Result<Surroundings> {
    let here = std::env::current_dir().map_err(|e| Error::missing("the current folder no longer exists").because(e))?;
    let cwd = match &global.directory {
        Some(dir) => here.join(dir),
        None => here.clone(),
    };
    let env = environment::variables();
    let git = crate::git::Variables::read(&env, &here, global.directory.is_some());
    let home = env.get("HOME").filter(|h| !h.is_empty()).map(std::path::PathBuf::from);
    let config_home = env.get("XDG_CONFIG_HOME").filter(|h| !h.is_empty()).map(std::path::PathBuf::from);
    let config_home = config_home.or_else(|| home.as_ref().map(|h| h.join(".config")));
    Ok(Surroundings {
        cwd,
        git,
        now: SystemTime::now,
        program: std::env::current_exe().map_err(|e| Error::io("find", "the program itself", e))?,
        user_config: config_home.map(|c| c.join("lockstep").join("config.toml")),
        home,
        user: user::name,
        settings: settings(&env),
        env,
        stop: crate::event::StopSignal::from_flag(&signals::SIGNAL),
    })
}

/// Settings from environment variables. An empty variable is no setting.
fn settings(env: &BTreeMap<String, String>) -> Vec<GivenSetting> {
    let names = [
        ("LOCKSTEP_JOBS", "jobs"),
        ("LOCKSTEP_CACHE_DIR", "cache.dir"),
        ("LOCKSTEP_CACHE", "cache.mode"),
        ("LOCKSTEP_CACHE_SIGN", "cache.sign"),
        ("LOCKSTEP_PASS_ENV", "pass_env"),
    ];
    names
        .into_iter()
        .filter_map(|(name, key)| Some((name, key, env.get(name).filter(|value| !value.is_empty())?)))
        .map(|(name, key, value)| GivenSetting { key: key.into(), value: value.clone(), name: name.into() })
        .collect()
}
