//! Whose results count: signatures of run-cache entries, and the writers that the settings trust.
//!
//! A result from elsewhere is code that somebody else ran: whoever may write to a remote can put a model of his own
//! under anybody's stage key. `cache.trust` names writers, which guards against mistakes; a signature guards against
//! the rest. It covers the stage key, the lock entry with the ids of all outputs, and the run record, so nothing of an
//! entry can be exchanged. Keys come from the environment: a secret never stands in a committed file.
//!
//! | `cache.sign` | signs with | is checked with |
//! | --- | --- | --- |
//! | `hmac` | `LOCKSTEP_SIGN_KEY`, any secret | the same (BLAKE3 in keyed mode) |
//! | `ed25519` | `LOCKSTEP_SIGN_KEY`, a seed of 32 bytes in base64 | `cache.verify_keys` and `LOCKSTEP_VERIFY_KEYS`, public keys in base64, and the own key |

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::error::{Error, Result};
use crate::git;
use crate::project::Project;
use crate::secret::SIGN_KEY;
use crate::store::authenticate;

pub const VERIFY_KEYS: &str = "LOCKSTEP_VERIFY_KEYS";

const CONTEXT: &str = "lockstep 2026-11-24 run cache signature";
/// A shorter secret could be guessed.
const SHORTEST: usize = 16;

/// What the settings ask of entries.
pub struct Trust {
    /// Patterns over `user@host`; `None` for everybody.
    writers: Option<Vec<String>>,
    seal: Option<Seal>,
}

enum Seal {
    Hmac(Vec<u8>),
    Ed25519 { own: Option<Box<SigningKey>>, known: Vec<VerifyingKey> },
}

impl Trust {
    /// Errors: signatures are asked for, and there is no key to check them with.
    pub fn of(project: &Project) -> Result<Trust> {
        let env = |name: &str| project.around.env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let config = &project.config;
        let seal = match config.cache_sign() {
            None => None,
            Some("hmac") => Some(Seal::Hmac(secret(env(SIGN_KEY))?)),
            Some(_) => {
                let own = env(SIGN_KEY).map(signing_key).transpose()?;
                let named = env(VERIFY_KEYS).into_iter().flat_map(|keys| keys.split([',', ' ', '\n']));
                let texts = config.cache_verify_keys().iter().map(String::as_str).chain(named);
                let mut known = texts.filter(|t| !t.is_empty()).map(verifying_key).collect::<Result<Vec<_>>>()?;
                known.extend(own.as_ref().map(SigningKey::verifying_key));
                if known.is_empty() {
                    return Err(Error::usage("cache.sign is ed25519, and there is no key to check signatures with")
                        .hint("name public keys: lockstep config cache.verify_keys KEY,…")
                        .hint(format!("or set {SIGN_KEY} to your own; lockstep cache keygen makes one")));
                }
                Some(Seal::Ed25519 { own: own.map(Box::new), known })
            }
        };
        Ok(Trust { writers: config.cache_trust().map(<[String]>::to_vec), seal })
    }

    /// A signature over `message`, where the settings ask for one and there is a key.
    pub fn sign(&self, message: &[u8]) -> Option<String> {
        match self.seal.as_ref()? {
            Seal::Hmac(secret) => Some(format!("hmac:{}", authenticate(CONTEXT, secret, message))),
            Seal::Ed25519 { own, .. } => {
                let signature = own.as_ref()?.sign(message);
                Some(format!("ed25519:{}", BASE64.encode(signature.to_bytes())))
            }
        }
    }

    /// May an entry of this writer with this signature be used?
    pub fn accepts(&self, writer: &str, message: &[u8], signature: Option<&str>) -> bool {
        let is_trusted = self.writers.as_ref().is_none_or(|all| all.iter().any(|one| git::matches(one, writer)));
        is_trusted && self.is_signed(message, signature)
    }

    fn is_signed(&self, message: &[u8], signature: Option<&str>) -> bool {
        let Some(seal) = &self.seal else { return true };
        let Some((how, text)) = signature.and_then(|s| s.split_once(':')) else { return false };
        match seal {
            // Ids are compared as hashes of equal length, whose comparison tells nothing that helps to forge one: the
            // texts are hashed again under the secret first.
            Seal::Hmac(secret) => {
                let again = |text: &str| authenticate(CONTEXT, secret, text.as_bytes());
                how == "hmac" && again(text) == again(&authenticate(CONTEXT, secret, message).hex())
            }
            Seal::Ed25519 { known, .. } => {
                let Ok(bytes) = BASE64.decode(text) else { return false };
                let Ok(signature) = Signature::from_slice(&bytes) else { return false };
                how == "ed25519" && known.iter().any(|key| key.verify_strict(message, &signature).is_ok())
            }
        }
    }
}

/// A new key pair: the seed to be kept secret, and the public key, both in base64.
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
            .hint("make a pair: lockstep cache keygen")
    })
}

fn verifying_key(text: &str) -> Result<VerifyingKey> {
    let key = bytes(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    key.ok_or_else(|| Error::usage(format!("`{text}` is no Ed25519 public key of 32 bytes in base64")))
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text.trim()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(secret: &str) -> Trust {
        Trust { writers: None, seal: Some(Seal::Hmac(secret.as_bytes().to_vec())) }
    }

    fn pair() -> (Trust, VerifyingKey) {
        let (seed, public) = new_pair().unwrap();
        let own = signing_key(&seed).unwrap();
        let key = verifying_key(&public).unwrap();
        (Trust { writers: None, seal: Some(Seal::Ed25519 { own: Some(Box::new(own)), known: vec![key] }) }, key)
    }

    #[test]
    fn a_signature_fits_its_message_and_its_key_alone() {
        let (a, key) = pair();
        let (b, _) = pair();
        let reader = Trust { writers: None, seal: Some(Seal::Ed25519 { own: None, known: vec![key] }) };
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
        let trust =
            |writers: &[&str]| Trust { writers: Some(writers.iter().map(|w| w.to_string()).collect()), seal: None };
        for (patterns, writer, want) in [
            (&["ci@*"][..], "ci@runner-7", true),
            (&["ci@*"], "eve@runner-7", false),
            (&["*@lab", "me@laptop"], "me@laptop", true),
            (&[], "anybody@anywhere", false),
        ] {
            assert_eq!(trust(patterns).accepts(writer, b"", None), want, "{patterns:?} {writer}");
        }
        assert!(Trust { writers: None, seal: None }.accepts("anybody@anywhere", b"", None));
    }

    #[test]
    fn weak_or_broken_keys_are_refused() {
        assert!(secret(None).is_err() && secret(Some("short")).is_err());
        assert!(signing_key("AAAA").is_err() && verifying_key("no base64!").is_err());
    }
}
