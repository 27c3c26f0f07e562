//! The lines of a `.gitignore` that keep outs and data out of Git.
//!
//! The file belongs to the user: lines are only added at its end, and removed only if they equal a line that this
//! module would write. [`plan`] is pure; [`apply`] writes, once per folder.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::document::Bounds;
use crate::error::Result;
use crate::replace::FileWriter;

/// The new text of a `.gitignore` that ignores each name of `wanted` and no longer each of `unwanted`; `None` if it
/// does not change. Names are entries of the folder, with a `/` at the end for a known folder: `/x/` in the file is
/// enough for `x/`, but not for `x`.
pub fn plan(current: &[u8], wanted: &[&str], unwanted: &[&str]) -> Option<Vec<u8>> {
    let is_line = |line: &[u8], name: &str| {
        let rule = rule(name.trim_end_matches('/'));
        let rest = without_line_end(line).strip_prefix(rule.as_bytes());
        rest == Some(b"") || (rest == Some(b"/") && name.ends_with('/'))
    };
    let first_line = current.split_inclusive(|b| *b == b'\n').next().unwrap_or_default();
    let newline = if first_line.ends_with(b"\r\n") { "\r\n" } else { "\n" };
    let mut text: Vec<u8> = Vec::with_capacity(current.len());
    for line in current.split_inclusive(|b| *b == b'\n') {
        let goes = unwanted.iter().any(|name| is_line(line, name)) && !wanted.iter().any(|name| is_line(line, name));
        if !goes {
            text.extend_from_slice(line);
        }
    }
    for name in wanted {
        if text.split(|b| *b == b'\n').any(|line| is_line(line, name)) {
            continue;
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.extend_from_slice(newline.as_bytes());
        }
        text.extend_from_slice(rule(name.trim_end_matches('/')).as_bytes());
        text.extend_from_slice(newline.as_bytes());
    }
    (text != current).then_some(text)
}

/// The line for one entry of the folder, for messages.
pub fn line(name: &str) -> String {
    rule(name)
}

/// Updates the ignore file `file` of an open folder (see [`plan`]); removes a file that becomes empty. Returns whether
/// anything changed. The file is written in that folder, even if the path of the folder is replaced.
pub fn apply(bounds: &Bounds, folder: OwnedFd, file: &Path, wanted: &[&str], unwanted: &[&str]) -> Result<bool> {
    let current = bounds.read(file)?.unwrap_or_default();
    if plan(&current, wanted, unwanted).is_none() {
        return Ok(false);
    }
    let turn = FileWriter::lock_in(File::from(folder), file)?;
    // Another process may have written first.
    let current = bounds.read(file)?.unwrap_or_default();
    match plan(&current, wanted, unwanted) {
        None => return Ok(false),
        Some(text) if text.is_empty() => turn.remove()?,
        Some(text) => turn.write(&text)?,
    }
    Ok(true)
}

/// The rule for one entry of the folder: anchored, so that it matches no other file. After the `/`, `#` and `!` are
/// ordinary; a line end cannot be written, so `?` matches it.
fn rule(name: &str) -> String {
    let mut rule = String::from("/");
    let ends_with_spaces = name.trim_end_matches(' ').len();
    for (at, c) in name.char_indices() {
        match c {
            '*' | '?' | '[' | '\\' => rule.extend(['\\', c]),
            ' ' if at >= ends_with_spaces => rule.push_str("\\ "),
            '\n' | '\r' => rule.push('?'),
            c => rule.push(c),
        }
    }
    rule
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};
    use std::fs;

    #[test]
    fn only_its_own_lines_come_and_go() {
        for (current, wanted, unwanted, want) in [
            ("", &["x"][..], &[][..], Some("/x\n")),
            ("/x\n", &["x"], &[], None),
            ("*.log\n/x/\n", &["x/"], &[], None),
            ("/x/\n", &["x"], &[], Some("/x/\n/x\n")),
            ("*.log", &["x", "y"], &[], Some("*.log\n/x\n/y\n")),
            ("# mine\r\n*.log\r\n", &["x"], &[], Some("# mine\r\n*.log\r\n/x\r\n")),
            ("# mine\n/x\n\nx\n/xy\n", &[], &["x"], Some("# mine\n\nx\n/xy\n")),
            ("/x\r\n", &[], &["x"], Some("")),
            ("/x\n", &["x"], &["x"], None),
            ("/x\n/y\n", &["z"], &["x"], Some("/y\n/z\n")),
            ("", &["x", "x"], &[], Some("/x\n")),
            ("a\n", &[], &["x"], None),
            ("/x/\n", &[], &["x"], None),
        ] {
            let got = plan(current.as_bytes(), wanted, unwanted).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(got.as_deref(), want, "{current:?} +{wanted:?} -{unwanted:?}");
        }
    }

    #[test]
    fn git_understands_every_name() {
        let (_dir, top) = repository();
        let names = [
            "plain",
            "#hash",
            "!bang",
            "a[1]",
            "st*r",
            "wh?t",
            "back\\slash",
            "two  ",
            " lead",
            "li\nne",
            "ret\r",
            "ä",
        ];
        let bounds = Bounds::new(&top, &[], None);
        let apply = |wanted: &[&str], unwanted: &[&str]| {
            let folder = OwnedFd::from(File::open(&top).unwrap());
            apply(&bounds, folder, &top.join(".gitignore"), wanted, unwanted).unwrap()
        };
        assert!(apply(&names, &[]) && !apply(&names, &[]));
        for name in names {
            fs::write(top.join(name), "").unwrap();
        }
        for other in ["a1", "star", "what", "two"] {
            fs::write(top.join(other), "").unwrap();
        }
        let seen = git(&top, &["status", "--porcelain", "-z"]);
        assert_eq!(seen, "?? .gitignore\0?? a1\0?? star\0?? two\0?? what\0");

        assert!(apply(&[], &names));
        assert!(!top.join(".gitignore").exists());
    }
}
