//! The list of steps of a rebase, a cherry-pick or a revert: the revisions that its lines name.
//!
//! ```text
//! pick 1a2b3c4 # subject              fixup -C 1a2b3c4
//! merge -C 1a2b3c4 topic # subject    label topic        reset [new root]
//! ```
//!
//! Source: `parse_insn_line` in Git's `sequencer.c`.

/// The revisions and labels of a list.
#[derive(Debug, Default, PartialEq)]
pub(in crate::git) struct Todo<'t> {
    /// Commits, as the user or Git wrote them.
    pub commits: Vec<&'t str>,
    /// Labels of this list, or else revisions.
    pub places: Vec<&'t str>,
    /// The labels that lines of this list set.
    pub labels: Vec<&'t str>,
}

/// Parses a list. `comment` begins a comment, besides the punctuation characters.
///
/// Errors: the first line that is not a step.
pub(in crate::git) fn parse<'t>(text: &'t str, comment: &str) -> Result<Todo<'t>, &'t str> {
    let mut todo = Todo::default();
    for line in text.lines() {
        let step = line.trim();
        let is_comment = !step.starts_with(|c: char| c.is_ascii_alphabetic()) || step.starts_with(comment);
        if is_comment {
            continue;
        }
        let mut words = step.split_whitespace();
        match words.next().unwrap_or_default() {
            "p" | "pick" | "revert" | "e" | "edit" | "r" | "reword" | "s" | "squash" | "d" | "drop" | "f" | "fixup" => {
                todo.commits.push(words.find(|word| !is_flag(word)).ok_or(line)?);
            }
            "m" | "merge" => {
                let mut words = words.peekable();
                if words.next_if(|word| is_flag(word)).is_some() {
                    todo.commits.push(words.next().ok_or(line)?);
                }
                todo.places.extend(words.take_while(|word| *word != "#"));
            }
            "t" | "reset" => match words.next().ok_or(line)? {
                "[new" => {}
                place => todo.places.push(place),
            },
            "l" | "label" => todo.labels.push(words.next().ok_or(line)?),
            "x" | "exec" | "b" | "break" | "u" | "update-ref" | "noop" => {}
            _ => return Err(line),
        }
    }
    Ok(todo)
}

fn is_flag(word: &str) -> bool {
    word == "-C" || word == "-c"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_they_name() {
        for (text, commits, places, labels) in [
            ("", "", "", ""),
            ("# pick a\n\n; pick b\n", "", "", ""),
            ("pick a1 # subject\np b2\n  reword c3 x\nrevert d4\n", "a1 b2 c3 d4", "", ""),
            ("fixup -C a1 # x\nf -c b2\nfixup c3\nsquash d4\ndrop e5\nedit f6\n", "a1 b2 c3 d4 e5 f6", "", ""),
            ("label onto\nreset onto\nreset [new root]\nt HEAD~3 # x\n", "", "onto HEAD~3", "onto"),
            ("merge -C a1 topic # Merge topic\nm one two\nmerge -c b2 x\n", "a1 b2", "topic one two x", ""),
            ("exec make pick zz\nx true\nbreak\nnoop\nupdate-ref refs/heads/x\n", "", "", ""),
            ("rem pick a1\npick b2\n", "b2", "", ""),
        ] {
            let todo = parse(text, "rem").unwrap();
            let joined = [&todo.commits, &todo.places, &todo.labels].map(|words| words.join(" "));
            assert_eq!(joined, [commits, places, labels], "{text}");
        }
        for text in ["pick\n", "pick a\nteleport b\n", "merge -C\n", "reset\n"] {
            assert!(parse(text, "#").is_err(), "{text}");
        }
    }
}
