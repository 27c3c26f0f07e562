//! Pointers of Git LFS: the small text that Git stores in place of a large file, and that is in the workspace until
//! `git lfs pull` fetches the file. Without this check the pointer would be pinned, used for training and registered as
//! if it were the file.

use crate::error::Error;

/// The specification limits pointers to less than this.
pub const LARGEST: u64 = 1024;
/// The current version, and its first two, which Git LFS still reads.
const STARTS: [&[u8]; 3] = [
    b"version https://git-lfs.github.com/spec/v1",
    b"version https://hawser.github.com/spec/v1",
    b"version http://git-media.io/v/2",
];

/// The file that a pointer stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// SHA-256 of the file: 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

/// Returns true if the text is a complete pointer.
pub fn is_pointer(bytes: &[u8]) -> bool {
    let rest = STARTS.iter().find_map(|start| bytes.strip_prefix(*start)).unwrap_or_default();
    (bytes.len() as u64) < LARGEST && (rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
}

/// Reads the text of a pointer. Errors: why it names no file, as the end of a sentence.
pub fn parse(bytes: &[u8]) -> Result<Pointer, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let fields: Vec<(&str, &str)> = text.lines().skip(1).filter_map(|line| line.split_once(' ')).collect();
    if fields.iter().any(|(key, _)| key.starts_with("ext-")) {
        return Err("an extension of Git LFS has to make the file");
    }
    let only = |name: &str| {
        let mut values = fields.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
        values.next().filter(|_| values.next().is_none())
    };
    let sha256 = only("oid").and_then(|oid| oid.strip_prefix("sha256:")).filter(|oid| is_sha256(oid));
    let size = only("size").filter(|size| size.bytes().all(|b| b.is_ascii_digit())).and_then(|size| size.parse().ok());
    match (sha256, size) {
        (Some(sha256), Some(size)) => Ok(Pointer { sha256: sha256.into(), size }),
        (None, _) => Err("its `oid` is no SHA-256"),
        (_, None) => Err("its `size` is no number"),
    }
}

fn is_sha256(oid: &str) -> bool {
    oid.len() == 64 && oid.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The error for a pointer where the file itself is needed.
pub fn refuse(what: impl std::fmt::Display) -> Error {
    Error::missing(format!("{what} is a pointer of Git LFS: the file itself is not here"))
}

/// The hint that fetches the files of a workspace.
pub const HINT: &str = "fetch the files that Git LFS has: git lfs pull";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_by_their_first_line() {
        let text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for (text, want) in [
            (text.to_string(), true),
            (text.replace('\n', "\r\n"), true),
            (text.replace("git-lfs", "hawser"), true),
            (text.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"), true),
            (text.replace("v1", "v11"), false),
            (format!("{text}{}", "x".repeat(1024)), false),
            (format!("\n{text}"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_pointer(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn pointers_name_a_file() {
        let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n");
        let want = Ok(Pointer { sha256: oid.into(), size: 12345 });
        assert_eq!(parse(text.as_bytes()), want);
        assert_eq!(parse(text.replace('\n', "\r\n").as_bytes()), want);
        assert_eq!(parse(text.trim_end().as_bytes()), want);
        for (from, to) in [
            (oid, "4d7a"),
            (oid, "../../../../../../../../../../../../../../../../../../etc/passwd00"),
            ("4d7a", "4D7A"),
            ("sha256", "sha512"),
            ("12345", "-1"),
            ("12345", "+1"),
            ("12345", "99999999999999999999"),
            ("12345", ""),
            ("size 12345", ""),
            ("size 12345", "size 1\nsize 2"),
            ("oid", "ext-0-case sha256:00\noid"),
        ] {
            assert!(parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} {to}");
        }
    }
}
