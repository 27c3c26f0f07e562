//! The environment of lockstep itself, and how its secrets are kept from other processes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::OnceLock;

use crate::secret::{SIGN_KEY, is_withheld};

static SIGNING_KEY: OnceLock<OsString> = OnceLock::new();

/// To be called before a thread starts. The signing key leaves the environment, so that no child has it: neither a stage
/// nor Git with its hooks. With a key or another credential there, other processes of the user cannot read this
/// process's environment through `/proc` either. (Root can, and a shell that exported them shows its own.)
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
    // SAFETY: `main` calls this first. No other thread exists that could read the environment meanwhile.
    unsafe { std::env::remove_var(SIGN_KEY) };
}

/// The variables that the rest of the program sees, the signing key among them. One that is not UTF-8 is left out, unless
/// it is withheld from stages, which takes its name.
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
