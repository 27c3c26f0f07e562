//! Globs over names of stages, paths and groups, for `--glob`.

/// Does the whole of `name` match `pattern`, with the syntax of Python's `fnmatch`: `*` matches any text (with `/`),
/// `?` one character, `[a-z]` one of a set, `[!a-z]` one outside it? Hand-written, since a backslash is not an escape
/// there and `?` matches a whole character, unlike in gitignore rules.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // The position to resume at when a match fails: after the last `*`, with one more character given to it.
    let (mut p, mut n, mut retry) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        if n == name.len() && p == pattern.len() {
            return true;
        }
        match (n < name.len()).then(|| one(&pattern[p..], name[n])).flatten() {
            Some(width) => (p, n) = (p + width, n + 1),
            None => match retry {
                Some((after, taken)) if taken < name.len() => {
                    retry = Some((after, taken + 1));
                    (p, n) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// The length of the part of `pattern` that matches the character `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set_end(pattern) {
            Some(end) => in_set(&pattern[1..end], c).then_some(end + 1),
            None => (c == '[').then_some(1),
        },
        p => (*p == c).then_some(1),
    }
}

/// The position of the `]` that ends the set at the beginning of `pattern`; one right at its start is literal.
fn set_end(pattern: &[char]) -> Option<usize> {
    let first = if pattern.get(1) == Some(&'!') { 2 } else { 1 };
    (first + 1..pattern.len()).find(|at| pattern[*at] == ']')
}

fn in_set(set: &[char], c: char) -> bool {
    let (negated, set) = match set {
        ['!', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
            found |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= set[at] == c;
            at += 1;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_fnmatch_has_it() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("train*", "train@a/b", true),
            ("*.csv", "data/x.csv", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("?", "ä", true),
            ("??", "ä", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[ab", "[ab", true),
            ("a\\*", "a\\bc", true),
            ("proc@[0-9]", "proc@7", true),
            ("", "", true),
            ("", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} on {name}");
        }
        assert!(!matches(&"*a".repeat(30), &"a".repeat(29)), "no exponential time");
    }
}
