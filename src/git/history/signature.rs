//! Verifies the signature of a tag or of a commit. Git decides, with the user's keys and settings: `git verify-tag --raw`, for
//! OpenPGP, X.509 and SSH alike. Before that, two checks: the object under the id is the object that was read, and the
//! name inside the tag is the name of its ref, since the signature of `digits@v1.0.0` does not cover `digits@v2.0.0`.
//!
//! The settings of the current clone belong to the user. Those of another repository could name the trusted keys and
//! the programs that verify, so a tag of another repository is verified in isolation; see [`IsolatedRepo`].

use std::process::{Command, Stdio};

use crate::error::{Error, Kind, Result};
use crate::git::history::History;
use crate::git::id::GitId;
use crate::git::program::isolated::IsolatedRepo;
use crate::git::program::question;
use crate::git::repo::Repo;
use crate::shell::word;

/// The first lines of signatures of a tag, as in Git's `gpg-interface.c`.
const BEGINNINGS: [&str; 4] = [
    "-----BEGIN PGP SIGNATURE-----",
    "-----BEGIN PGP MESSAGE-----",
    "-----BEGIN SIGNED MESSAGE-----",
    "-----BEGIN SSH SIGNATURE-----",
];

/// The result of verifying a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The verdict.
    pub state: SignatureState,
    /// The fingerprint or the number of the key, if the signature names one.
    pub key: Option<String>,
    /// The owner of the key, according to the user's keys.
    pub signer: Option<String>,
    /// Why it is not good.
    pub why: Option<String>,
}

/// The verdict on a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureState {
    /// Good, and made by a key that the user's settings accept.
    Good,
    /// It does not fit the tag, has expired, or its key has expired or was revoked.
    Bad,
    /// It cannot be checked, because the key is missing here.
    UnknownKey,
    /// There is no signature.
    None,
    /// It was not checked, or the program for checking is missing.
    NotChecked,
}

impl SignatureState {
    /// The word in JSON and tables.
    pub fn word(self) -> &'static str {
        match self {
            SignatureState::Good => "good",
            SignatureState::Bad => "bad",
            SignatureState::UnknownKey => "unknown key",
            SignatureState::None => "none",
            SignatureState::NotChecked => "not checked",
        }
    }
}

impl Signature {
    fn without_key(state: SignatureState, why: Option<String>) -> Signature {
        Signature { state, key: None, signer: None, why }
    }

    /// The result without asking Git.
    pub fn unchecked(is_there: bool) -> Signature {
        Signature::without_key(if is_there { SignatureState::NotChecked } else { SignatureState::None }, None)
    }

    /// Is it verified and good?
    pub fn is_good(&self) -> bool {
        self.state == SignatureState::Good
    }

    /// Refuses a tag whose signature is not good.
    pub fn require(&self, tag: &str) -> Result<()> {
        if self.is_good() {
            return Ok(());
        }
        let state = self.state.word();
        let error = Error::new(Kind::Check, format!("the tag {tag} has no good signature: {state}"));
        let error = self.why.iter().fold(error, Error::because);
        let key = self.key.iter().map(|key| format!("the key is {key}"));
        Err(key.fold(error, Error::because).hint(format!("see what Git says: git verify-tag {}", word(tag))))
    }
}

/// Splits a tag object into the signed text and the signature. As in Git, the last line that begins a signature counts.
pub(in crate::git) fn split(object: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    let mut found = None;
    for line in object.split_inclusive(|byte| *byte == b'\n') {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning.as_bytes())) {
            found = Some(at);
        }
        at += line.len();
    }
    match found {
        Some(at) => (&object[..at], Some(&object[at..])),
        None => (object, None),
    }
}

impl Repo {
    /// Verifies the signature of the tag object `id`, which was found under the name `name` (without `refs/tags/`).
    pub fn verify_tag(&self, name: &str, id: GitId) -> Signature {
        match self.plain_history() {
            Ok(history) => history.verify_tag(name, id),
            Err(error) => Signature::without_key(SignatureState::NotChecked, Some(error.message)),
        }
    }
}

impl Repo {
    /// Verifies the signature of a commit of this repository.
    pub fn verify_commit(&self, id: GitId) -> Signature {
        match self.plain_history() {
            Ok(history) => history.verify_commit(id),
            Err(error) => Signature::without_key(SignatureState::NotChecked, Some(error.message)),
        }
    }
}

impl History {
    pub(in crate::git) fn verify_tag(&self, name: &str, id: GitId) -> Signature {
        let refused = |why: String| Signature::without_key(SignatureState::Bad, Some(why));
        let Ok(object) = self.0.repo.find_object(id.0) else { return refused("the tag cannot be read".into()) };
        if split(&object.data).1.is_none() {
            return Signature::without_key(SignatureState::None, None);
        }
        let hash = gix::objs::compute_hash(id.0.kind(), gix::object::Kind::Tag, &object.data);
        if object.kind != gix::object::Kind::Tag || hash.is_ok_and(|hash| hash != id.0) {
            return refused("the object in its place is not the one that its id names".into());
        }
        match name_in_tag(&object.data) {
            Some(own) if own == name => {}
            Some(own) => return refused(format!("it is the signature of the tag {own}")),
            None => return refused("the tag has no name of its own".into()),
        }
        let apart = match self.0.is_other.then(|| IsolatedRepo::with_tag(&object.data, id.0.kind())).transpose() {
            Ok(apart) => apart,
            Err(error) => return Signature::without_key(SignatureState::NotChecked, Some(error.message)),
        };
        let command = match &apart {
            Some(apart) => apart.git(),
            None => question(self.0.repo.git_dir()),
        };
        ask(command, "verify-tag", id)
    }

    /// Verifies the signature of a commit of this repository.
    pub(in crate::git) fn verify_commit(&self, id: GitId) -> Signature {
        let refused = |why: &str| Signature::without_key(SignatureState::Bad, Some(why.into()));
        let Ok(object) = self.0.repo.find_object(id.0) else { return refused("the commit cannot be read") };
        let hash = gix::objs::compute_hash(id.0.kind(), gix::object::Kind::Commit, &object.data);
        if object.kind != gix::object::Kind::Commit || hash.is_ok_and(|hash| hash != id.0) {
            return refused("the object in its place is not the one that its id names");
        }
        let mut header = object.data.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        if !header.any(|line| line.starts_with(b"gpgsig")) {
            return Signature::without_key(SignatureState::None, None);
        }
        ask(question(self.0.repo.git_dir()), "verify-commit", id)
    }
}

/// Lets Git verify an object.
fn ask(mut command: Command, verb: &str, id: GitId) -> Signature {
    command.args([verb, "--raw", &id.hex()]);
    command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::piped());
    match command.output() {
        Ok(out) => parse_verdict(out.status.success(), &String::from_utf8_lossy(&out.stderr)),
        Err(e) => {
            Signature::without_key(SignatureState::NotChecked, Some(format!("the program git cannot be run: {e}")))
        }
    }
}

/// The name inside a tag object.
fn name_in_tag(object: &[u8]) -> Option<String> {
    let header = object.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let mut names = header.filter_map(|line| line.strip_prefix(b"tag "));
    let name = String::from_utf8(names.next()?.to_vec()).ok()?;
    names.next().is_none().then_some(name)
}

/// Parses the output of `git verify-tag --raw`: lines of GnuPG's protocol (`doc/DETAILS`, which gpgsm uses as well), or
/// those of `ssh-keygen -Y verify`. Only the exit code makes a signature good.
fn parse_verdict(is_fine: bool, said: &str) -> Signature {
    let status = |word: &str| {
        let mut lines = said.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
        lines.find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    };
    let mut found = Signature::without_key(SignatureState::Bad, None);
    // `Good "git" signature for me@example.org with ED25519 key SHA256:…`, without `for …` if the key is unknown.
    let ssh = said.lines().find_map(|line| line.strip_prefix("Good \"git\" signature "));
    if let Some((before, key)) = ssh.and_then(|line| line.rsplit_once(" key ")) {
        found.key = Some(key.to_string());
        found.signer = before.strip_prefix("for ").and_then(|rest| Some(rest.rsplit_once(" with ")?.0.to_string()));
    }
    let of_gpg = |word: &str| {
        let (key, signer) = status(word)?.split_once(' ')?;
        Some((key.to_string(), signer.to_string()))
    };
    let words = ["GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"];
    if let Some((key, signer)) = words.iter().find_map(|word| of_gpg(word)) {
        let fingerprint = status("VALIDSIG").and_then(|rest| rest.split(' ').next());
        (found.key, found.signer) = (Some(fingerprint.map_or(key, str::to_string)), Some(signer));
    }
    if is_fine {
        found.state = SignatureState::Good;
        return found;
    }
    let complaint = |part: &str| said.lines().find(|line| line.contains(part)).map(|line| line.trim().to_string());
    let why = if let Some(missing) = complaint("cannot run ").or_else(|| complaint("cannot exec ")) {
        found.state = SignatureState::NotChecked;
        missing
    } else if status("EXPSIG").is_some() {
        "the signature has expired".into()
    } else if status("EXPKEYSIG").is_some() {
        "its key has expired".into()
    } else if status("REVKEYSIG").is_some() {
        "its key was revoked".into()
    } else if status("BADSIG").is_some() {
        "it was changed after it was signed".into()
    } else if status("NO_PUBKEY").is_some()
        || status("ERROR").is_some_and(lacks_key)
        || status("ERRSIG").is_some_and(|rest| rest.split(' ').nth(5) == Some("9"))
    {
        found.state = SignatureState::UnknownKey;
        found.key = status("ERRSIG").and_then(unknown_key).or(found.key);
        "its public key is not among yours".into()
    } else if status("GOODSIG").is_some() {
        found.state = SignatureState::UnknownKey;
        "its key is trusted less than gpg.minTrustLevel asks for".into()
    } else if ssh.is_some() && found.signer.is_none() {
        found.state = SignatureState::UnknownKey;
        "its key is not in the file that gpg.ssh.allowedSignersFile names".into()
    } else if said.contains("allowedSignersFile needs to be configured") {
        found.state = SignatureState::UnknownKey;
        "gpg.ssh.allowedSignersFile names no file of keys to verify with".into()
    } else {
        let last = said.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("[GNUPG:]"));
        last.map_or("it is none that Git can read".into(), |line| line.trim().to_string())
    };
    found.why = Some(why);
    found
}

/// `ERROR verify.findkey CODE`, as gpgsm writes it: 9 in the lower half of the code means that the key is missing.
fn lacks_key(rest: &str) -> bool {
    let code = rest.strip_prefix("verify.findkey ").and_then(|code| code.trim().parse::<u32>().ok());
    code.is_some_and(|code| code & 0xffff == 9)
}

/// `ERRSIG KEYID ALGORITHM HASH CLASS TIME CODE FINGERPRINT`
fn unknown_key(rest: &str) -> Option<String> {
    let mut parts = rest.split(' ');
    let id = parts.next()?.to_string();
    Some(parts.nth(5).filter(|fingerprint| *fingerprint != "-").map_or(id, str::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_beginning_counts() {
        for (object, want) in [
            ("tag a\n\nwords\n", None),
            ("tag a\n\n-----BEGIN PGP SIGNATURE-----\nx\n", Some("-----BEGIN PGP SIGNATURE-----\nx\n")),
            (
                "a\n-----BEGIN PGP SIGNATURE-----\nx\n-----BEGIN SSH SIGNATURE-----\n",
                Some("-----BEGIN SSH SIGNATURE-----\n"),
            ),
            ("a\n -----BEGIN SSH SIGNATURE-----\n", None),
            ("a\n-----BEGIN SIGNED MESSAGE-----", Some("-----BEGIN SIGNED MESSAGE-----")),
        ] {
            let (before, signature) = split(object.as_bytes());
            let signature = signature.map(|bytes| std::str::from_utf8(bytes).unwrap());
            assert_eq!((before.len() + signature.map_or(0, str::len), signature), (object.len(), want), "{object}");
        }
    }

    #[test]
    fn names_of_tag_objects() {
        for (object, want) in [
            ("object 1\ntype commit\ntag a@v1.0.0\ntagger x\n\ntag b\n", Some("a@v1.0.0")),
            ("object 1\ntag a\ntag b\n\n", None),
            ("object 1\n\ntag a\n", None),
            ("", None),
        ] {
            assert_eq!(name_in_tag(object.as_bytes()).as_deref(), want, "{object}");
        }
    }

    #[test]
    fn what_git_says() {
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1111 A <a@b>\n[GNUPG:] VALIDSIG FFFF 2026-01-01 1\n";
        let unknown = "[GNUPG:] ERRSIG 1111 22 8 00 1 9 FFFF\n[GNUPG:] NO_PUBKEY 1111\n";
        let known = "Good \"git\" signature for a b with c with ED25519 key SHA256:xyz\n";
        let stranger = "Good \"git\" signature with ED25519 key SHA256:xyz\nNo principal matched.\n";
        for (is_fine, said, want) in [
            (true, good, "good FFFF A <a@b> -"),
            (false, good, "unknown key FFFF A <a@b> its key is trusted less than gpg.minTrustLevel asks for"),
            (false, "[GNUPG:] BADSIG 1111 A\n", "bad 1111 A it was changed after it was signed"),
            (false, "[GNUPG:] EXPKEYSIG 1111 A\n", "bad 1111 A its key has expired"),
            (false, "[GNUPG:] REVKEYSIG 1111 A\n", "bad 1111 A its key was revoked"),
            (false, unknown, "unknown key FFFF - its public key is not among yours"),
            (
                false,
                "[GNUPG:] NEWSIG\n[GNUPG:] ERROR verify.findkey 50331657\n",
                "unknown key - - its public key is not among yours",
            ),
            (true, known, "good SHA256:xyz a b with c -"),
            (
                false,
                stranger,
                "unknown key SHA256:xyz - its key is not in the file that gpg.ssh.allowedSignersFile names",
            ),
            (false, "error: no signature found\n", "bad - - error: no signature found"),
            (
                false,
                "error: cannot run gpg: No such file or directory\n",
                "not checked - - error: cannot run gpg: No such file or directory",
            ),
            (false, "", "bad - - it is none that Git can read"),
        ] {
            let found = parse_verdict(is_fine, said);
            let part = |part: &Option<String>| part.clone().unwrap_or("-".into());
            let shown =
                format!("{} {} {} {}", found.state.word(), part(&found.key), part(&found.signer), part(&found.why));
            assert_eq!(shown, want, "{said}");
        }
    }
}
