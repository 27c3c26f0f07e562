//! `~` and `~/` at the beginning of a folder in the settings: the folder HOME.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The path after the tilde: empty for HOME itself.
pub fn below_home(text: &str) -> Option<&str> {
    if text == "~" { Some("") } else { text.strip_prefix("~/") }
}

/// Expands the path in a setting: below `home`, or relative to `base`.
///
/// Errors (usage): it is below HOME, which is unset. A folder with the name `~` is never meant.
pub fn expand(text: &str, base: &Path, home: Option<&Path>) -> Result<PathBuf> {
    match (below_home(text), home.filter(|home| !home.as_os_str().is_empty())) {
        (None, _) => Ok(base.join(text)),
        (Some(""), Some(home)) => Ok(home.to_path_buf()),
        (Some(below), Some(home)) => Ok(home.join(below)),
        (Some(_), None) => Err(Error::usage(format!("`{text}` is in HOME, which is not set"))
            .hint("set HOME, or write the whole path")
            .hint(format!("a folder of that name: ./{text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_or_an_error() {
        for (text, home, want) in [
            ("~", Some("/home/u"), Some("/home/u")),
            ("~/", Some("/home/u"), Some("/home/u/")),
            ("~/a/b", Some("/home/u"), Some("/home/u/a/b")),
            ("~a", Some("/home/u"), Some("/p/~a")),
            ("./~", None, Some("/p/./~")),
            ("../a", None, Some("/p/../a")),
            ("/a", None, Some("/a")),
            ("~", None, None),
            ("~/a", None, None),
            ("~/a", Some(""), None),
        ] {
            let got = expand(text, Path::new("/p"), home.map(Path::new));
            assert_eq!(got.ok().as_deref(), want.map(Path::new), "{text} {home:?}");
        }
    }
}
