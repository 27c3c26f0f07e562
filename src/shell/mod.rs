//! Words as a POSIX shell reads them. A command in a hint must mean the same when it is pasted into a shell, whatever
//! the names of stages and files.

mod bash_only;
mod programs;
mod scan;

use std::borrow::Cow;

pub use bash_only::{BashOnly, find_bash_only};
pub use programs::programs_of;

/// A name as one word of a command line, quoted if necessary.
pub fn word(name: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    // Special only at the beginning of a word, as in `HEAD~1` and `digits#prod`; in an assignment, also `~` behind `:`.
    let assigned = name.contains([':', '=']);
    let plain_inside = |c: char| plain(c) || c == '#' || (c == '~' && !assigned);
    match name.starts_with(plain) && name.chars().all(plain_inside) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("'{}'", name.replace('\'', "'\\''"))),
    }
}

/// A path as one word that no program takes for an option, and Git not for a pattern with `:`.
pub fn path_word(path: &str) -> Cow<'_, str> {
    match path.starts_with(['-', ':']) {
        true => Cow::Owned(word(&format!("./{path}")).into_owned()),
        false => word(path),
    }
}

/// Several paths, separated by spaces.
pub fn path_words<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> String {
    let words: Vec<String> = paths.into_iter().map(|path| path_word(path.as_ref()).into_owned()).collect();
    words.join(" ")
}

/// Several names, separated by spaces.
pub fn words<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let words: Vec<String> = names.into_iter().map(|name| word(name.as_ref()).into_owned()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_neither_an_option_nor_a_pattern() {
        for (path, want) in [("a", "a"), ("-q", "./-q"), (":a b", "'./:a b'"), ("sub/-q", "sub/-q"), ("../x", "../x")] {
            assert_eq!(path_word(path), want);
        }
        assert_eq!(path_words(["-f", "it's"]), "./-f 'it'\\''s'");
    }

    #[test]
    fn what_a_shell_would_split_is_quoted() {
        for (name, want) in [
            ("train", "train"),
            ("sub/pipeline.yaml:proc@a", "sub/pipeline.yaml:proc@a"),
            ("größe.csv", "größe.csv"),
            ("my stage", "'my stage'"),
            ("it's", "'it'\\''s'"),
            ("a;rm -rf $HOME", "'a;rm -rf $HOME'"),
            ("*", "'*'"),
            ("~", "'~'"),
            ("HEAD~1", "HEAD~1"),
            ("digits#prod", "digits#prod"),
            ("#a", "'#a'"),
            ("a:~/b", "'a:~/b'"),
            ("", "''"),
        ] {
            assert_eq!(word(name), want);
            let out = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", word(name))]).output();
            assert_eq!(String::from_utf8(out.unwrap().stdout).unwrap(), name);
        }
        assert_eq!(words(["a", "b c"]), "a 'b c'");
    }
}
