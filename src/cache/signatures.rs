//! Signatures of run-cache entries, and the writers that the settings trust.
//!
//! A cached result is the output of code that another person ran: anyone who can write to a remote can put any model
//! under any stage key. `cache.trust` names writers, which guards against mistakes; a signature guards against attacks.
//! It covers the stage key, the lock entry with the ids of all outputs, and the run record, so no part of an entry can
//! be exchanged. Keys come from the environment, so that no committed file contains a secret.
//!
//! | `cache.sign` | signs with | is checked with |
//! | --- | --- | --- |
//! | `hmac` | `LOCKSTEP_SIGN_KEY`, any secret | the same (BLAKE3 in keyed mode) |
//! | `ed25519` | `LOCKSTEP_SIGN_KEY`, a seed of 32 bytes in base64 | `cache.verify_keys` and `LOCKSTEP_VERIFY_KEYS`, public keys in base64, and the own key |
//! | not set, with keys | as `ed25519` | as `ed25519` |
//! | not set, with `LOCKSTEP_SIGN_KEY` alone | as `ed25519` if it is a seed, else as `hmac` | either, by that key |
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
use crate::store::authenticate;

/// The environment variable with the user's public keys.
pub const VERIFY_KEYS: &str = "LOCKSTEP_VERIFY_KEYS";

const CONTEXT: &str = "lockstep 2026-11-24 run cache signature";
/// A shorter secret could be guessed.
const SHORTEST: usize = 16;

/// The requirements of the settings on entries.
pub struct TrustPolicy {
    /// Lists of patterns over `user@host`; a writer must match each list.
    writers: Vec<Vec<String>>,
    seal: Option<SigningKeys>,
    warning: Option<String>,
}

enum SigningKeys {
    Hmac(Vec<u8>),
    Ed25519 {
        own: Option<Box<SigningKey>>,
        known: Vec<VerifyingKey>,
    },
    /// One key, and no setting says how it signs.
    Either(Box<SigningKeys>, Box<SigningKeys>),
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
        let how = match config.cache_sign() {
            // The user's keys are for ed25519; a repository must not disable them.
            Some((_, Grade::Repository)) if has_list => Some("ed25519"),
            Some((how, _)) => Some(how),
            None => has_keys.then_some("ed25519"),
        };
        let mut warning = None;
        let seal = match how {
            None if is_empty(SIGN_KEY) => {
                warning = Some(format!("{SIGN_KEY} is empty: no result of others is used; set it, or unset it"));
                Some(SigningKeys::Ed25519 { own: None, known: Vec::new() })
            }
            None => env(SIGN_KEY).map(seal_by_one_key).transpose()?,
            Some("hmac") => Some(SigningKeys::Hmac(secret(env(SIGN_KEY))?)),
            Some(_) => {
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
                Some(SigningKeys::Ed25519 { own: own.map(Box::new), known })
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
        match self {
            SigningKeys::Hmac(secret) => Some(format!("hmac:{}", authenticate(CONTEXT, secret, message))),
            SigningKeys::Ed25519 { own, .. } => {
                let signature = own.as_ref()?.sign(message);
                Some(format!("ed25519:{}", BASE64.encode(signature.to_bytes())))
            }
            SigningKeys::Either(first, _) => first.sign(message),
        }
    }

    fn verifies(&self, message: &[u8], how: &str, text: &str) -> bool {
        match self {
            // Ids are compared as hashes of equal length, whose comparison gives no help to forge one: the texts are
            // hashed again under the secret first.
            SigningKeys::Hmac(secret) => {
                let again = |text: &str| authenticate(CONTEXT, secret, text.as_bytes());
                how == "hmac" && again(text) == again(&authenticate(CONTEXT, secret, message).hex())
            }
            SigningKeys::Ed25519 { known, .. } => {
                let Ok(bytes) = BASE64.decode(text) else { return false };
                let Ok(signature) = Signature::from_slice(&bytes) else { return false };
                how == "ed25519" && known.iter().any(|key| key.verify_strict(message, &signature).is_ok())
            }
            SigningKeys::Either(first, second) => {
                first.verifies(message, how, text) || second.verifies(message, how, text)
            }
        }
    }
}

fn no_key(has_theirs: bool) -> Error {
    let error = Error::usage("cache.sign is ed25519, and there is no key to check signatures with");
    let error = match has_theirs {
        true => error
            .because("you ask for signatures, so the keys count that you name; those of lockstep.toml alone do not")
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

/// Reads `LOCKSTEP_SIGN_KEY` if no setting says how to sign. Errors: it is not a valid key.
fn seal_by_one_key(text: &str) -> Result<SigningKeys> {
    let hmac = secret(Some(text)).map(SigningKeys::Hmac);
    let ed25519 = signing_key(text).ok().map(|own| {
        let known = vec![own.verifying_key()];
        SigningKeys::Ed25519 { own: Some(Box::new(own)), known }
    });
    match (ed25519, hmac) {
        (Some(first), Ok(second)) => Ok(SigningKeys::Either(Box::new(first), Box::new(second))),
        (Some(first), Err(_)) => Ok(first),
        (None, second) => second,
    }
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

fn secret(text: Option<&str>) -> Result<Vec<u8>> {
    match text {
        Some(text) if text.len() >= SHORTEST => Ok(text.as_bytes().to_vec()),
        Some(_) => Err(Error::usage(format!("{SIGN_KEY} is shorter than {SHORTEST} characters"))),
        None => Err(Error::usage(format!("cache.sign is hmac, and {SIGN_KEY} is not set"))
            .hint("entries are signed and checked with this secret; keep it where CI keeps its others")),
    }
}

fn signing_key(text: &str) -> Result<SigningKey> {
    bytes(text).map(|seed| SigningKey::from_bytes(&seed)).ok_or_else(|| {
        Error::usage(format!("{SIGN_KEY} is no Ed25519 seed of 32 bytes in base64"))
            .hint("make a pair: lockstep store keygen")
    })
}

fn verifying_key(text: &str) -> Result<VerifyingKey> {
    let key = bytes(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    // The text is not shown: it may be a seed or secret in the wrong variable.
    key.ok_or_else(|| {
        Error::usage(
            "a key of cache.verify_keys or LOCKSTEP_VERIFY_KEYS is no Ed25519 public key of 32 bytes in base64",
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

    fn hmac(secret: &str) -> TrustPolicy {
        sealed(Some(SigningKeys::Hmac(secret.as_bytes().to_vec())))
    }

    fn pair() -> (TrustPolicy, VerifyingKey) {
        let (seed, public) = new_pair().unwrap();
        let own = signing_key(&seed).unwrap();
        let key = verifying_key(&public).unwrap();
        (sealed(Some(SigningKeys::Ed25519 { own: Some(Box::new(own)), known: vec![key] })), key)
    }

    #[test]
    fn one_key_is_checked_either_way() {
        let (seed, _) = new_pair().unwrap();
        let alone = sealed(seal_by_one_key(&seed).ok());
        let own = signing_key(&seed).unwrap();
        let known = vec![own.verifying_key()];
        let ed25519 = sealed(Some(SigningKeys::Ed25519 { own: Some(Box::new(own)), known }));
        for other in [hmac(&seed), ed25519] {
            assert!(alone.accepts("u@h", b"m", other.sign(b"m").as_deref()));
        }
        assert!(!alone.accepts("u@h", b"m", None));
        assert!(!alone.accepts("u@h", b"m", pair().0.sign(b"m").as_deref()));
        assert!(alone.sign(b"m").unwrap().starts_with("ed25519:"));
        assert!(sealed(seal_by_one_key("a secret of a team").ok()).sign(b"m").unwrap().starts_with("hmac:"));
        assert!(seal_by_one_key("short").is_err());
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
        let reader = sealed(Some(SigningKeys::Ed25519 { own: None, known: vec![key] }));
        assert_eq!(reader.sign(b"m"), None);
        for (trust, other) in [(hmac("one secret of many"), hmac("another secret of many")), (a, b)] {
            let signature = trust.sign(b"message").unwrap();
            assert!(trust.accepts("u@h", b"message", Some(&signature)));
            assert!(!trust.accepts("u@h", b"messages", Some(&signature)));
            assert!(!other.accepts("u@h", b"message", Some(&signature)));
            for bad in [None, Some(""), Some("ed25519:"), Some("hmac:"), Some("none:x"), Some("ed25519:%%"), Some("x")]
            {
                assert!(!trust.accepts("u@h", b"message", bad), "{bad:?}");
            }
            if signature.starts_with("ed25519") {
                assert!(reader.accepts("u@h", b"message", Some(&signature)));
            }
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
        assert!(secret(None).is_err() && secret(Some("short")).is_err());
        assert!(signing_key("AAAA").is_err() && verifying_key("no base64!").is_err());
    }
}
