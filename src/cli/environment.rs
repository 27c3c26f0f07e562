//! The environment of this process. Keeps its secrets from child processes and from other processes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::OnceLock;

use crate::secret::{SIGN_KEY, is_withheld};

static SIGNING_KEY: OnceLock<OsString> = OnceLock::new();

/// Must be called before a thread starts. Removes the signing key from the environment, so that no child process
/// inherits it (stages, Git and its hooks). If the environment has a credential, also stops other processes of the user
/// from reading it through `/proc`. (Root still can, and so can a reader of the shell that exported it.)
pub fn keep_secrets() {
    if let Some(key) = std::env::var_os(SIGN_KEY) {
        let _ = SIGNING_KEY.set(key);
        remove_signing_key();
    }
    #[cfg(target_os = "linux")]
    if SIGNING_KEY.get().is_some() || std::env::vars_os().any(|(name, _)| is_withheld(&name.to_string_lossy())) {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

#[allow(unsafe_code)]
fn remove_signing_key() {
    // SAFETY: `main` calls this first. No other thread exists that could read the environment.
    unsafe { std::env::remove_var(SIGN_KEY) };
}

/// The variables that the rest of the program sees, including the signing key. Leaves out values that are not UTF-8,
/// unless the variable is withheld from stages, for which its name must be known.
pub fn variables() -> BTreeMap<String, String> {
    let key = SIGNING_KEY.get().map(|key| (OsString::from(SIGN_KEY), key.clone()));
    let text = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        let value = match value.into_string() {
            Ok(value) => value,
            Err(value) if is_withheld(&name) => value.to_string_lossy().into_owned(),
            Err(_) => return None,
        };
        Some((name, value))
    };
    std::env::vars_os().chain(key).filter_map(text).collect()
}
