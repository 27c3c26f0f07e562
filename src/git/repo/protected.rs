//! Git's configuration from sources that no repository can write: the system's file, the user's files, and variables.
//! Git calls these scopes protected.

use gix::config::File;

/// All values of a setting, the lowest precedence first.
pub(in crate::git) fn values(key: &str) -> Vec<String> {
    let files = [File::from_globals().ok(), File::from_environment_overrides().ok()];
    let strings = files.iter().flatten().filter_map(|file| file.strings(key));
    strings.flatten().map(|value| value.to_string()).collect()
}

/// The folder for temporary folders.
pub(in crate::git) fn temporary() -> std::path::PathBuf {
    std::env::temp_dir()
}

/// The user who became root by `sudo`.
pub(in crate::git) fn sudo_user() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}

/// May Git ask for a password in the terminal? `None` if the user did not set it.
pub(in crate::git) fn terminal_prompt() -> Option<bool> {
    Some(std::env::var("GIT_TERMINAL_PROMPT").ok()? != "0")
}

/// The settings that the user gives in `GIT_CONFIG_KEY_0`, `GIT_CONFIG_VALUE_0` and so on.
pub(in crate::git) fn settings_in_environment() -> Vec<(String, String)> {
    let count = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let setting = |n| {
        let key = std::env::var(format!("GIT_CONFIG_KEY_{n}")).ok()?;
        Some((key, std::env::var(format!("GIT_CONFIG_VALUE_{n}")).unwrap_or_default()))
    };
    (0..count).map_while(setting).collect()
}
