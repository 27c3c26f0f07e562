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

/// Returns true if the text is a complete pointer.
pub fn is_pointer(bytes: &[u8]) -> bool {
    let rest = STARTS.iter().find_map(|start| bytes.strip_prefix(*start)).unwrap_or_default();
    (bytes.len() as u64) < LARGEST && (rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
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
}
