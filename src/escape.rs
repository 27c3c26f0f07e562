//! Escapes foreign text (names, paths, values, messages of other programs) for the medium in which it is shown: a
//! terminal, the log of a CI system, JSON, Markdown.
//!
//! Only `cli/output.rs` writes to terminals and logs; it calls [`line()`] for everything that it writes.

/// Characters that move a cursor, begin a line, change the direction of writing, or have no width: text with them does
/// not show its content. The joiners of words in Arabic, Indic scripts and emoji (U+200C, U+200D) stay.
fn is_harmful(c: char) -> bool {
    let has_no_width = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}');
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || has_no_width || turns
}

/// The text on one line: `\n`, `\r` and `\t` for line ends and tabs, `\u{1b}` for other harmful characters.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_harmful(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// The text as a line, or as a part of one (`begins`: is it at the beginning of the line?). CI systems find commands in
/// output: GitHub at the beginning of a line (`::error::`, also after blanks) and, like Azure and TeamCity, after `##`
/// anywhere (`##[error]`, `##vso[…]`). One character of such a mark is escaped.
pub fn line(part: &str, begins: bool) -> String {
    let mut shown = text(part);
    let blanks = shown.len() - shown.trim_start().len();
    if begins && shown[blanks..].starts_with("::") {
        shown.replace_range(blanks..blanks + 1, "\\u{3a}");
    }
    hide_commands(&shown, "\\u{23}").unwrap_or(shown)
}

/// JSON without harmful characters and with the same meaning.
pub fn json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Serde escapes C0 itself: the ones left are the line ends between values.
        if c != '\n' && is_harmful(c) {
            let mut units = [0; 2];
            shown.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    hide_commands(&shown, "\\u0023").unwrap_or(shown)
}

/// `##word[` with its second `#` replaced; `None` if there is none.
fn hide_commands(text: &str, hash: &str) -> Option<String> {
    let is_command = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).starts_with('[');
    let mut shown: Option<String> = None;
    let mut copied = 0;
    for (at, _) in text.match_indices('#') {
        if text[..at].ends_with('#') && is_command(&text[at + 1..]) {
            let shown = shown.get_or_insert_with(String::new);
            shown.push_str(&text[copied..at]);
            shown.push_str(hash);
            copied = at + 1;
        }
    }
    shown.map(|shown| shown + &text[copied..])
}

/// A Markdown code span on one line, with a fence that does not occur in its text. At most 200 characters.
pub fn code_span(span: &str) -> String {
    let span: String = text(span).chars().take(200).collect();
    let span = span.trim();
    if span.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(span) + 1);
    // A backtick at an end needs a space, which Markdown removes again.
    let pad = if span.starts_with('`') || span.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{span}{pad}{fence}")
}

/// A code span in a table, where a bar ends the cell even in code. A backslash escapes it, unless another one precedes
/// that: then a similar character is used, since nothing escapes it.
pub fn code_cell(cell: &str) -> String {
    let span = code_span(cell);
    span.replace('|', if span.contains('\\') { "¦" } else { "\\|" })
}

/// The text of a Markdown table's cell: unchanged if Markdown does not change it, else a code span.
pub fn markdown_cell(cell: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_.,:%-+/()[]=–→…".contains(c) || ('▁'..='█').contains(&c);
    let is_word = |word: &str| {
        // Within a word an underscore is a letter.
        let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let has_edge = word
            .match_indices('_')
            .any(|(at, _)| !is_letter(word[..at].chars().next_back()) || !is_letter(word[at + 1..].chars().next()));
        let has_address = word.to_ascii_lowercase().contains("www.") || word.contains("://") || word.contains("](");
        // GitLab links `%7` and `%name`; two colons may be an emoji.
        let has_reference =
            word.split('%').skip(1).any(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        let has_sign = has_edge || has_address || has_reference || word.matches(':').count() > 1;
        !has_sign && word.chars().all(is_plain)
    };
    if cell.split(' ').all(is_word) { cell.to_string() } else { code_cell(cell) }
}

/// The longest run of backticks.
pub fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_characters_are_shown_and_letters_stay() {
        for (given, want) in [
            ("data/é ü 漢字 \u{1f600} \\n", "data/é ü 漢字 \u{1f600} \\n"),
            ("a\u{1b}]0;x\u{7}b", "a\\u{1b}]0;x\\u{7}b"),
            ("a\nb\r\nc\td", "a\\nb\\r\\nc\\td"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("\u{61c}\u{feff}\u{200b}\u{e0041}", "\\u{61c}\\u{feff}\\u{200b}\\u{e0041}"),
            ("\u{202e}\u{2066}\u{2069}\u{2028}", "\\u{202e}\\u{2066}\\u{2069}\\u{2028}"),
        ] {
            assert_eq!(text(given), want);
            assert_eq!(text(want), want, "escaping twice changes nothing");
        }
    }

    #[test]
    fn no_line_is_a_command_of_a_ci_system() {
        for (given, want) in [
            ("::stop-commands::t", "\\u{3a}:stop-commands::t"),
            ("  ::error::x", "  \\u{3a}:error::x"),
            ("\n::error::x", "\\n::error::x"),
            ("std::fs a::b", "std::fs a::b"),
            ("a ##[error]x ##vso[task.x] ###[b]", "a #\\u{23}[error]x #\\u{23}vso[task.x] ##\\u{23}[b]"),
            ("## title # [x]", "## title # [x]"),
        ] {
            assert_eq!(line(given, true), want);
        }
        assert_eq!(line("::b", false), "::b");
    }

    #[test]
    fn json_says_the_same() {
        let given = serde_json::json!({"a\u{9b}\u{7f}\u{feff}\u{e0041}": ["\u{202e}##[x]\\##[y]", "é\n\u{1b}"]});
        let shown = json(&serde_json::to_string_pretty(&given).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), given);
        assert!(!shown.contains(|c: char| c != '\n' && is_harmful(c)) && !shown.contains("##["), "{shown}");
    }

    #[test]
    fn markdown_is_inert() {
        for (given, want) in [
            ("train.lr", "train.lr"),
            ("train_loss 95% → 0.1 (66.7 %)", "train_loss 95% → 0.1 (66.7 %)"),
            ("-", "-"),
            ("<img src=x>", "`<img src=x>`"),
            ("@all", "`@all`"),
            ("u8 [2, 3]", "u8 [2, 3]"),
            ("[a](b)", "`[a](b)`"),
            ("![a] (b)", "`![a] (b)`"),
            ("www.example.org", "`www.example.org`"),
            ("m.json:acc", "m.json:acc"),
            ("http://x", "`http://x`"),
            (":bomb:", "`:bomb:`"),
            ("_a_", "`_a_`"),
            ("(_a_)", "`(_a_)`"),
            ("%1 #2 !3", "`%1 #2 !3`"),
            ("a|b", "`a\\|b`"),
            ("a\\|b", "`a\\¦b`"),
            ("a`b", "``a`b``"),
            ("a\n| b", "`a\\n¦ b`"),
            ("", ""),
        ] {
            assert_eq!(markdown_cell(given), want);
        }
    }
}
