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
