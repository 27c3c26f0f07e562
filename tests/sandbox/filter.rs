//! Making output the same in every run.

/// Replaces times (`1.23s`, `45ms`, `"seconds": 0.1`) by `[TIME]` and hex numbers of 32 digits and more by `[HASH]`.
pub fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_');
        let width = match () {
            _ if in_word => None,
            _ if hash(rest).is_some() => hash(rest).map(|n| (n, "[HASH]")),
            _ if out.ends_with("\"seconds\":") || out.ends_with("\"seconds\": ") => {
                Some((number(rest), "[TIME]")).filter(|(n, _)| *n > 0)
            }
            _ => time(rest).map(|n| (n, "[TIME]")),
        };
        let taken = match width {
            Some((n, word)) => {
                out.push_str(word);
                n
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

fn hash(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit() || c.is_ascii_uppercase()).unwrap_or(text.len());
    let next = text[end..].chars().next();
    (end >= 32 && !next.is_some_and(char::is_alphanumeric)).then_some(end)
}

fn time(text: &str) -> Option<usize> {
    let digits = number(text);
    if digits == 0 {
        return None;
    }
    let unit = ["ms", "µs", "ns", "s"].into_iter().find(|unit| text[digits..].starts_with(unit))?;
    let end = digits + unit.len();
    let next = text[end..].chars().next();
    (!next.is_some_and(|c| c.is_alphanumeric() || c == '_')).then_some(end)
}

/// The width of a number without a sign; 0 if there is none.
fn number(text: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.').map(digits) {
        Some(part) if whole > 0 && part > 0 => whole + 1 + part,
        _ => whole,
    }
}
