//! Patches that `git am` and `git rebase --apply` have not applied yet: mails in `rebase-apply/`, one per file.
//!
//! A patch names its original commit, which may be in another repository, and the blobs of each file before and after.
//! If these are missing, the lines of the patch show the change; a binary patch then shows nothing.

use std::path::Path;

use gix::bstr::ByteSlice;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::git::program;

/// The commit and the blobs that a patch names.
#[derive(Debug, Default, PartialEq)]
pub(in crate::git) struct Patch {
    /// Its original commit, in hex, if the first line has it.
    pub commit: Option<String>,
    /// Ids of blobs, mostly abbreviated; those of a binary change are needed, since nothing else has its content.
    pub blobs: Vec<Blob>,
}

#[derive(Debug, PartialEq)]
pub(in crate::git) struct Blob {
    pub id: String,
    pub is_needed: bool,
}

/// The text of a patch with unencoded lines, whatever encoding the mail has.
pub(in crate::git) fn decode(git_dir: &Path, file: &Path, mail: Vec<u8>) -> Result<Vec<u8>> {
    let head = mail.find("\n\n").map_or(&mail[..], |end| &mail[..end]).to_ascii_lowercase();
    let is_plain = !["base64", "quoted-printable", "multipart/"].iter().any(|word| head.contains_str(word));
    if is_plain {
        return Ok(mail);
    }
    let failed = |e: &dyn std::fmt::Display| {
        Error::new(Kind::Io, format!("the patch {} cannot be read", file.display())).because(e)
    };
    let input = document::open(file).map_err(|e| failed(&e))?;
    let mut command = program::question(git_dir);
    command.args(["mailinfo", "-b", "/dev/null", "/dev/stdout"]).stdin(input);
    let patch = program::run(&mut command).map_err(|e| failed(&e))?;
    let first = mail.lines().next().unwrap_or_default();
    Ok([first, b"\n", &patch].concat())
}

/// Reads the headers of a patch. Skips changes of files of other names.
pub(in crate::git) fn parse(text: &[u8], name: &str) -> Patch {
    let mut patch = Patch::default();
    let first = text.lines().next().unwrap_or_default().to_str_lossy();
    let from = first.strip_prefix("From ").and_then(|rest| rest.split(' ').next());
    patch.commit = from.filter(|id| is_hex(id) && id.len() >= 40).map(str::to_string);
    let mut is_of_name = false;
    let mut last = 0;
    for line in text.lines() {
        if line.starts_with(b"diff --git ") {
            is_of_name = line.contains_str(name);
            last = patch.blobs.len();
        } else if let Some(ids) = line.strip_prefix(b"index ").filter(|_| is_of_name) {
            let ids = ids.to_str_lossy();
            let ids = ids.split(' ').next().unwrap_or_default().split("..");
            let is_blob = |id: &&str| is_hex(id) && id.bytes().any(|digit| digit != b'0');
            patch.blobs.extend(ids.filter(is_blob).map(|id| Blob { id: id.to_string(), is_needed: false }));
        } else if is_of_name && (line == b"GIT binary patch" || line.starts_with(b"Binary files ")) {
            patch.blobs[last..].iter_mut().for_each(|blob| blob.is_needed = true);
        }
    }
    patch
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_patches() {
        let from = "a".repeat(40);
        let text = format!(
            "From {from} Mon Sep 17 00:00:00 2001\nFrom: me\n\ndiff --git a/x b/x\nindex 11..22 100644\n\
             diff --git a/d/a.lock b/d/a.lock\nindex 33aa..44bb 100644\n-x\ndiff --git a/a.lock b/a.lock\n\
             new file mode 100644\nindex 0000..55cc\nGIT binary patch\n"
        );
        let patch = parse(text.as_bytes(), "a.lock");
        assert_eq!(patch.commit.as_deref(), Some(from.as_str()));
        let blobs: Vec<_> = patch.blobs.iter().map(|blob| (blob.id.as_str(), blob.is_needed)).collect();
        assert_eq!(blobs, [("33aa", false), ("44bb", false), ("55cc", true)]);
        assert_eq!(parse(b"From me Mon\nFrom: x\n", "a.lock"), Patch::default());
    }
}
