//! Signatures of run-cache entries, and the writers that the settings trust.
//!
//! A cached result is the output of code that another person ran: anyone who can write to a remote can put any model
//! under any stage key. `cache.trust` names writers, which guards against mistakes; a signature guards against attacks.
//! It covers the stage key, the lock entry with the ids of all outputs, and the run record, so no part of an entry can
//! be exchanged. Keys come from the environment, so that no committed file contains a secret.
//!
//! Signatures are Ed25519: entries are signed with `LOCKSTEP_SIGN_KEY`, a seed of 32 bytes in base64, and checked with
//! `cache.verify_keys` and `LOCKSTEP_VERIFY_KEYS`, public keys in base64, and the own key. `cache.sign = "ed25519"` asks
//! for signatures; so does any of the keys.
//!
//! A branch can therefore not disable the check by removing `cache.sign` from `lockstep.toml`. If the user has a list
//! of keys or writers, which may be empty (such as an empty `LOCKSTEP_VERIFY_KEYS`), only the repository's keys and
//! writers that are also in the user's list are accepted. The key in `LOCKSTEP_SIGN_KEY` is one of the user's keys. If
//! the user asks for `ed25519`, the user must also give the keys. An empty variable or a missing key never makes
//! unsigned results acceptable.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::config::Grade;
use crate::error::{Error, Result};
use crate::git;
use crate::project::Project;
use crate::secret::SIGN_KEY;

/// The environment variable with the user's public keys.
pub const VERIFY_KEYS: &str = "LOCKSTEP_VERIFY_KEYS";

/// The requirements of the settings on entries.
pub struct TrustPolicy {
    /// Lists of patterns over `user@host`; a writer must match each list.
    writers: Vec<Vec<String>>,
    seal: Option<SigningKeys>,
    warning: Option<String>,
}

struct SigningKeys {
    own: Option<Box<SigningKey>>,
    known: Vec<VerifyingKey>,
}

impl TrustPolicy {
    /// Reads the requirements. Errors: the settings ask for signatures, and there is no key to verify them with.
    pub fn from_settings(project: &Project) -> Result<TrustPolicy> {
        let env = |name: &str| project.around.env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let config = &project.config;
        let named = env(VERIFY_KEYS).into_iter().flat_map(|keys| keys.split([',', ' ', '\n']));
        let listed = config.cache_verify_keys(Grade::User);
        // An empty list names no key, unlike a missing list. A variable is empty in a CI job that does not get the
        // secret.
        let is_empty = |name: &str| project.around.env.get(name).is_some_and(|text| text.trim().is_empty());
        let has_list = listed.is_some() || project.around.env.contains_key(VERIFY_KEYS);
        let user = listed.unwrap_or_default().iter().map(String::as_str).chain(named);
        let user = user.filter(|text| !text.is_empty()).map(verifying_key).collect::<Result<Vec<_>>>()?;
        let mut user = has_list.then_some(user);
        let theirs = config.cache_verify_keys(Grade::Repository);
        let theirs = theirs.map(|keys| keys.iter().map(|key| verifying_key(key)).collect::<Result<Vec<_>>>());
        let theirs = theirs.transpose()?;
        let has_keys = has_list || theirs.is_some();
        let asks = has_keys || config.cache_sign().is_some();
        let mut warning = None;
        let seal = match asks {
            false if is_empty(SIGN_KEY) => {
                warning = Some(format!("{SIGN_KEY} is empty: no result of others is used; set it, or unset it"));
                Some(SigningKeys { own: None, known: Vec::new() })
            }
            false => env(SIGN_KEY).map(keys_of_seed).transpose()?,
            true => {
                let own = env(SIGN_KEY).map(signing_key).transpose()?;
                let own_key = own.as_ref().map(SigningKey::verifying_key);
                // A user with a key has a list of keys: the repository's keys are not added to it.
                if let Some(key) = own_key {
                    user.get_or_insert_default().push(key);
                }
                // The repository's keys must not replace keys that the user forgot, because a branch may change them.
                if let (None, Some((_, Grade::User))) = (&user, config.cache_sign()) {
                    return Err(no_key(theirs.is_some()));
                }
                let mut known = common(user, theirs.clone());
                known.extend(own_key.filter(|key| !known.contains(key)));
                warning = unused_keys(has_list, theirs.as_deref(), own_key, &known);
                if known.is_empty() && !has_keys {
                    return Err(no_key(false));
                }
                Some(SigningKeys { own: own.map(Box::new), known })
            }
        };
        let writers = config.cache_trust().into_iter().map(<[String]>::to_vec).collect();
        Ok(TrustPolicy { writers, seal, warning })
    }

    /// A warning that explains why no result is accepted.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// A signature over `message`, if the settings ask for one and there is a key.
    pub fn sign(&self, message: &[u8]) -> Option<String> {
        self.seal.as_ref()?.sign(message)
    }

    /// Whether an entry of this writer with this signature may be used.
    pub fn accepts(&self, writer: &str, message: &[u8], signature: Option<&str>) -> bool {
        let is_trusted = self.writers.iter().all(|list| list.iter().any(|one| git::matches(one, writer)));
        is_trusted && self.is_signed(message, signature)
    }

    fn is_signed(&self, message: &[u8], signature: Option<&str>) -> bool {
        let Some(seal) = &self.seal else { return true };
        let Some((how, text)) = signature.and_then(|s| s.split_once(':')) else { return false };
        seal.verifies(message, how, text)
    }
}

impl SigningKeys {
    fn sign(&self, message: &[u8]) -> Option<String> {
        let signature = self.own.as_ref()?.sign(message);
        Some(format!("ed25519:{}", BASE64.encode(signature.to_bytes())))
    }

    fn verifies(&self, message: &[u8], how: &str, text: &str) -> bool {
        let Ok(bytes) = BASE64.decode(text) else { return false };
        let Ok(signature) = Signature::from_slice(&bytes) else { return false };
        how == "ed25519" && self.known.iter().any(|key| key.verify_strict(message, &signature).is_ok())
    }
}

fn no_key(has_theirs: bool) -> Error {
    let error = Error::usage("cache.sign is ed25519, and there is no key to check signatures with");
    let error = match has_theirs {
        true => error
            .because("your own settings require signatures, so keys that only lockstep.toml lists do not count")
            .hint("name public keys: lockstep config --user cache.verify_keys KEY,…"),
        false => error.hint("name public keys: lockstep config cache.verify_keys KEY,…"),
    };
    error
        .hint(format!("in CI: {VERIFY_KEYS}=KEY,…"))
        .hint(format!("or set {SIGN_KEY} to your own; lockstep store keygen makes one"))
}

/// The keys in both lists, or those of one list if the other is missing.
fn common(user: Option<Vec<VerifyingKey>>, theirs: Option<Vec<VerifyingKey>>) -> Vec<VerifyingKey> {
    match (user, theirs) {
        (Some(user), Some(theirs)) => user.into_iter().filter(|key| theirs.contains(key)).collect(),
        (user, theirs) => user.or(theirs).unwrap_or_default(),
    }
}

/// Why results of others are rejected, although there are keys.
fn unused_keys(
    has_list: bool,
    theirs: Option<&[VerifyingKey]>,
    own: Option<VerifyingKey>,
    known: &[VerifyingKey],
) -> Option<String> {
    let of_others = |keys: &[VerifyingKey]| keys.iter().any(|key| Some(*key) != own);
    match theirs {
        _ if of_others(known) => None,
        Some(_) if has_list => {
            Some("none of the keys of lockstep.toml is one of yours: no result of others is used".to_string())
        }
        Some(theirs) if own.is_some() && of_others(theirs) => Some(format!(
            "you have {SIGN_KEY} and name no keys of others: those of lockstep.toml do not count, and no result of \
             others is used; name them: lockstep config --user cache.verify_keys KEY,…"
        )),
        None if has_list => {
            Some(format!("cache.verify_keys and {VERIFY_KEYS} name no key of others: no result of others is used"))
        }
        _ => None,
    }
}

/// The keys where only `LOCKSTEP_SIGN_KEY` is given. Errors: it is not a valid key.
fn keys_of_seed(text: &str) -> Result<SigningKeys> {
    let own = signing_key(text)?;
    let known = vec![own.verifying_key()];
    Ok(SigningKeys { own: Some(Box::new(own)), known })
}

/// A new key pair: the secret seed and the public key, both in base64.
pub fn new_pair() -> Result<(String, String)> {
    let mut seed = [0u8; 32];
    let source = "/dev/urandom";
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut seed));
    read.map_err(|e| Error::io("read", source, e))?;
    let key = SigningKey::from_bytes(&seed);
    Ok((BASE64.encode(seed), BASE64.encode(key.verifying_key().to_bytes())))
}

fn signing_key(text: &str) -> Result<SigningKey> {
    bytes(text).map(|seed| SigningKey::from_bytes(&seed)).ok_or_else(|| {
        Error::usage(format!("{SIGN_KEY} is not an Ed25519 seed of 32 bytes in base64"))
            .hint("make a pair: lockstep store keygen")
    })
}

fn verifying_key(text: &str) -> Result<VerifyingKey> {
    let key = bytes(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    // The text is not shown: it may be a seed or secret in the wrong variable.
    key.ok_or_else(|| {
        Error::usage(
            "a key of cache.verify_keys or LOCKSTEP_VERIFY_KEYS is not an Ed25519 public key of 32 bytes in base64",
        )
    })
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text.trim()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(seal: Option<SigningKeys>) -> TrustPolicy {
        TrustPolicy { writers: Vec::new(), seal, warning: None }
    }

    fn pair() -> (TrustPolicy, VerifyingKey) {
        let (seed, public) = new_pair().unwrap();
        let own = signing_key(&seed).unwrap();
        let key = verifying_key(&public).unwrap();
        (sealed(Some(SigningKeys { own: Some(Box::new(own)), known: vec![key] })), key)
    }

    #[test]
    fn a_seed_alone_signs_and_checks() {
        let (seed, _) = new_pair().unwrap();
        let alone = sealed(keys_of_seed(&seed).ok());
        assert!(alone.accepts("u@h", b"m", alone.sign(b"m").as_deref()));
        assert!(!alone.accepts("u@h", b"m", None));
        assert!(!alone.accepts("u@h", b"m", pair().0.sign(b"m").as_deref()));
        for text in ["a secret of a team", "short", ""] {
            let error = keys_of_seed(text).err().unwrap();
            assert!(error.hints.iter().any(|hint| hint.contains("lockstep store keygen")), "{text}");
        }
    }

    #[test]
    fn keys_of_the_repository_are_never_added_to_those_of_the_user() {
        let [a, b, c] = [(); 3].map(|()| pair().1);
        assert_eq!(common(Some(vec![a, b]), None), [a, b]);
        assert_eq!(common(None, Some(vec![c])), [c]);
        assert_eq!(common(Some(vec![a, b]), Some(vec![b, c])), [b]);
        assert_eq!(common(Some(vec![a]), Some(vec![c])), []);
        assert_eq!(common(Some(vec![]), Some(vec![c])), []);
        assert_eq!(common(None, None), []);
    }

    #[test]
    fn a_signature_fits_its_message_and_its_key_alone() {
        let (a, key) = pair();
        let (b, _) = pair();
        let reader = sealed(Some(SigningKeys { own: None, known: vec![key] }));
        assert_eq!(reader.sign(b"m"), None);
        let signature = a.sign(b"message").unwrap();
        assert!(a.accepts("u@h", b"message", Some(&signature)));
        assert!(reader.accepts("u@h", b"message", Some(&signature)));
        assert!(!a.accepts("u@h", b"messages", Some(&signature)));
        assert!(!b.accepts("u@h", b"message", Some(&signature)));
        let renamed = signature.replace("ed25519:", "hmac:");
        for bad in [None, Some(""), Some("ed25519:"), Some(&renamed), Some("none:x"), Some("ed25519:%%"), Some("x")] {
            assert!(!a.accepts("u@h", b"message", bad), "{bad:?}");
        }
    }

    #[test]
    fn writers_are_named_by_patterns() {
        let trust = |lists: &[&[&str]]| {
            let writers = lists.iter().map(|list| list.iter().map(|w| w.to_string()).collect()).collect();
            TrustPolicy { writers, seal: None, warning: None }
        };
        for (lists, writer, want) in [
            (&[&["ci@*"][..]][..], "ci@runner-7", true),
            (&[&["ci@*"]], "eve@runner-7", false),
            (&[&["*@lab", "me@laptop"]], "me@laptop", true),
            (&[&[]], "anybody@anywhere", false),
            (&[], "anybody@anywhere", true),
            (&[&["ci@*", "me@*"], &["*"]], "me@laptop", true),
            (&[&["ci@*", "me@*"], &["*"]], "eve@laptop", false),
            (&[&["ci@*", "me@*"], &["ci@*"]], "me@laptop", false),
        ] {
            assert_eq!(trust(lists).accepts(writer, b"", None), want, "{lists:?} {writer}");
        }
    }

    #[test]
    fn weak_or_broken_keys_are_refused() {
        assert!(signing_key("AAAA").is_err() && verifying_key("no base64!").is_err());
    }
}
