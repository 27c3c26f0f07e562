//! Pins in texts that are not complete locks: patches, and locks with conflict markers. Pure.
//!
//! ```text
//!  data:                      pins of both sides of a patch, and of all sides of a conflict
//!    raw:
//! -    blake3: <hex>
//! +    blake3: <hex>
//!      size: 3                the field `files` after the id marks a folder
//! ```

use crate::store::{ObjectId, Pin};

/// A pin in a text that may be cut anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub id: ObjectId,
    pub size: u64,
    /// `None` if the text ends before this field.
    pub files: Option<Option<u64>>,
}

impl Fragment {
    /// The pins that it may stand for.
    pub fn pins(&self) -> Vec<Pin> {
        let pin = |files| Pin { id: self.id, size: self.size, files, executable: false };
        self.files.map_or_else(|| vec![pin(Some(0)), pin(None)], |files| vec![pin(files)])
    }
}

/// All pins of a text, in order; with `is_patch`, each line begins with its side.
pub fn parse(text: &[u8], is_patch: bool) -> Vec<Fragment> {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<TextLine> = text.lines().map(|line| TextLine::parse(line, is_patch)).collect();
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let Some(("blake3", id)) = line.fact else { continue };
        let Ok(id) = id.trim_matches(['"', '\'']).parse() else { continue };
        let mut one = Fragment { id, size: 0, files: None };
        for next in lines[n + 1..].iter().filter(|next| line.side == ' ' || next.side == ' ' || next.side == line.side)
        {
            match next.fact.filter(|_| next.indent == line.indent) {
                Some(("size", size)) => one.size = size.parse().unwrap_or(0),
                Some(("files", files)) => one.files = Some(Some(files.parse().unwrap_or(0))),
                // Other fields of this pin.
                Some((key, _)) if key != "blake3" => {}
                _ if next.is_cut => break,
                _ => {
                    one.files = one.files.or(Some(None));
                    break;
                }
            }
        }
        found.push(one);
    }
    found
}

struct TextLine<'t> {
    side: char,
    indent: usize,
    fact: Option<(&'t str, &'t str)>,
    /// Whether the lock continues outside of the text.
    is_cut: bool,
}

impl<'t> TextLine<'t> {
    fn parse(line: &'t str, is_patch: bool) -> TextLine<'t> {
        let side = line.chars().next().filter(|side| is_patch && " +-".contains(*side));
        let rest = side.map_or(line, |_| &line[1..]);
        let content = rest.trim_start();
        let fact = content.split_once(':').map(|(key, value)| (key, value.trim()));
        let is_marker = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|marker| rest.starts_with(marker));
        let is_cut = is_marker || (is_patch && side.is_none());
        TextLine { side: side.unwrap_or(' '), indent: rest.len() - content.len(), fact, is_cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, is_patch: bool) -> String {
        let text = text.replace("=1", &"1".repeat(64)).replace("=2", &"2".repeat(64)).replace("=3", &"3".repeat(64));
        let one = |one: Fragment| {
            let kind = match one.files {
                None => "?".to_string(),
                Some(None) => "file".to_string(),
                Some(Some(files)) => format!("{files} files"),
            };
            format!("{} {} {kind}", &one.id.hex()[..1], one.size)
        };
        parse(text.as_bytes(), is_patch).into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn pins_of_patches() {
        for (text, want) in [
            ("", ""),
            (
                "@@ -1 +1 @@\n-    blake3: =1\n+    blake3: =2\n     size: 3\n     files: 2\n",
                "1 3 2 files, 2 3 2 files",
            ),
            (
                "@@\n-    blake3: =1\n-    size: 3\n+    blake3: =2\n+    size: 4\n   b:\n     blake3: =3\n",
                "1 3 file, 2 4 file, 3 0 ?",
            ),
            ("@@\n+    blake3: =2\n+    files: 9\n+    size: 4\n@@ -9 +9 @@\n", "2 4 9 files"),
            ("@@\n+    blake3: =2\n+    size: 4\n@@ -9 +9 @@\n x:\n", "2 4 ?"),
            ("@@\n+    blake3: =2\n+    size: 4\n+    executable: true\n+    cache: false\n+z:\n", "2 4 file"),
            ("@@\n+    blake3: none\n+    blake3: \"=1\"\n+b:\n", "1 0 file"),
        ] {
            assert_eq!(shown(text, true), want, "{text}");
        }
    }

    #[test]
    fn pins_of_conflicts() {
        let text = "data:\n  raw:\n<<<<<<< ours\n    blake3: =1\n    size: 3\n=======\n    blake3: =2\n    size: 4\n    \
                    files: 2\n>>>>>>> theirs\n  x:\n    blake3: =3\n    size: 5\n";
        assert_eq!(shown(text, false), "1 3 ?, 2 4 2 files, 3 5 ?");
        assert_eq!(parse(b"blake3: x\n\xff\n", false), []);
    }
}
