//! Splits a Python file into logical lines of tokens: brackets and backslashes join lines, comments and empty lines are
//! dropped.

use crate::value::budget::{self, NODES};
use crate::value::{Fault, Mark};

/// A token of a logical line.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Name(String),
    Number(String),
    /// A string literal; `None` if it is not plain text (bytes, f-string).
    Text(Option<String>),
    Op(&'static str),
}

impl Token {
    pub fn word(&self) -> &str {
        match self {
            Token::Name(w) => w,
            Token::Op(o) => o,
            _ => "",
        }
    }
}

/// A logical line.
pub struct Line {
    pub indent: usize,
    pub tokens: Vec<(Token, Mark)>,
}

const OPS: &[&str] = &[
    "**=", "//=", ">>=", "<<=", "...", "==", "!=", "<=", ">=", "->", ":=", "+=", "-=", "*=", "/=", "%=", "&=", "|=",
    "^=", "@=", "**", "//", "<<", ">>", "(", ")", "[", "]", "{", "}", ",", ":", ";", ".", "=", "+", "-", "*", "/", "%",
    "@", "&", "|", "^", "~", "<", ">",
];

struct Tokenizer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// The byte up to which the characters of this line are counted, and their number.
    counted: (usize, u32),
}

impl Tokenizer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn mark(&mut self) -> Mark {
        let more = self.text[self.counted.0..self.at].chars().count() as u32;
        self.counted = (self.at, self.counted.1 + more);
        Mark { line: self.line, column: self.counted.1 + 1, offset: self.at as u32 }
    }

    fn newline(&mut self) {
        self.line += 1;
        self.counted = (self.at, 0);
    }

    fn fault(&self, message: &str, mark: Mark) -> Fault {
        Fault::new(format!("no valid Python: {message}"), Some(mark))
    }
}

/// Splits a text into logical lines. Errors: a string or a bracket is not closed.
pub fn lines(text: &str) -> Result<Vec<Line>, Fault> {
    let mut c = Tokenizer { text, at: 0, line: 1, counted: (0, 0) };
    let mut out = Vec::new();
    let mut line = Line { indent: 0, tokens: Vec::new() };
    let mut brackets: Vec<(&'static str, Mark)> = Vec::new();
    let mut fresh = true;
    let mut left = NODES;
    while let Some(ch) = c.rest().chars().next() {
        if fresh && brackets.is_empty() && line.tokens.is_empty() {
            let blank = c.rest().len() - c.rest().trim_start_matches([' ', '\t', '\x0c']).len();
            line.indent = c.rest()[..blank].chars().fold(0, |n, ch| if ch == '\t' { (n / 8 + 1) * 8 } else { n + 1 });
            c.at += blank;
            fresh = false;
            continue;
        }
        match ch {
            '\n' => {
                c.at += 1;
                c.newline();
                if brackets.is_empty() {
                    if !line.tokens.is_empty() {
                        out.push(std::mem::replace(&mut line, Line { indent: 0, tokens: Vec::new() }));
                    }
                    fresh = true;
                }
            }
            ' ' | '\t' | '\r' | '\x0c' => c.at += 1,
            '#' => c.at += c.rest().find('\n').unwrap_or(c.rest().len()),
            '\\' => {
                let skip = if c.rest().starts_with("\\\r\n") { 3 } else { 2 };
                if !c.rest().starts_with("\\\n") && skip == 2 {
                    let mark = c.mark();
                    return Err(c.fault("a backslash within a line", mark));
                }
                c.at += skip;
                c.newline();
            }
            _ => {
                let mark = c.mark();
                left = left.checked_sub(1).ok_or_else(|| budget::fault(mark))?;
                let token = token(&mut c, ch)?;
                match token {
                    Token::Op(op @ ("(" | "[" | "{")) => brackets.push((op, mark)),
                    Token::Op(op @ (")" | "]" | "}")) => {
                        let fits = matches!(
                            (brackets.pop().map(|b| b.0), op),
                            (Some("("), ")") | (Some("["), "]") | (Some("{"), "}")
                        );
                        if !fits {
                            return Err(c.fault(&format!("`{op}` closes nothing"), mark));
                        }
                    }
                    _ => {}
                }
                line.tokens.push((token, mark));
            }
        }
    }
    if let Some((op, mark)) = brackets.pop() {
        return Err(c.fault(&format!("`{op}` is never closed"), mark));
    }
    if !line.tokens.is_empty() {
        out.push(line);
    }
    Ok(out)
}

fn token(c: &mut Tokenizer<'_>, ch: char) -> Result<Token, Fault> {
    let rest = c.rest();
    if ch == '"' || ch == '\'' {
        return text(c, "");
    }
    if ch.is_ascii_digit() || (ch == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
        let hex = rest.starts_with("0x") || rest.starts_with("0X");
        let mut end = 0;
        for (n, d) in rest.char_indices() {
            let after_e = !hex && n > 0 && matches!(rest.as_bytes()[n - 1], b'e' | b'E');
            if !(d.is_alphanumeric() || d == '_' || d == '.' || (after_e && matches!(d, '+' | '-'))) {
                break;
            }
            end = n + d.len_utf8();
        }
        let number = rest[..end].to_string();
        c.at += end;
        return Ok(Token::Number(number));
    }
    if ch.is_alphabetic() || ch == '_' {
        let end = rest.find(|d: char| !d.is_alphanumeric() && d != '_').unwrap_or(rest.len());
        let word = rest[..end].to_string();
        if rest[end..].starts_with(['"', '\'']) && end <= 2 {
            let prefix = word.to_ascii_lowercase();
            if prefix.bytes().all(|b| b"rbfut".contains(&b)) {
                c.at += end;
                return text(c, &prefix);
            }
        }
        c.at += end;
        return Ok(Token::Name(word));
    }
    match OPS.iter().find(|op| rest.starts_with(**op)) {
        Some(op) => {
            c.at += op.len();
            Ok(Token::Op(op))
        }
        None if ch == '!' => {
            c.at += 1;
            Ok(Token::Op("!="))
        }
        None => {
            let mark = c.mark();
            Err(c.fault(&format!("unexpected `{ch}`"), mark))
        }
    }
}

/// A string literal from its quote on.
fn text(c: &mut Tokenizer<'_>, prefix: &str) -> Result<Token, Fault> {
    let start = c.mark();
    let quote = &c.text[c.at..c.at + 1];
    let triple = c.rest().starts_with(&quote.repeat(3));
    let end = if triple { quote.repeat(3) } else { quote.to_string() };
    c.at += end.len();
    let raw = prefix.contains('r');
    let (mut out, mut literal) = (String::new(), !prefix.contains(['b', 'f', 't']));
    loop {
        if c.rest().starts_with(&end) {
            c.at += end.len();
            return Ok(Token::Text(literal.then_some(out)));
        }
        let Some(ch) = c.rest().chars().next() else {
            return Err(c.fault("a string is never closed", start));
        };
        c.at += ch.len_utf8();
        match ch {
            '\n' if !triple => return Err(c.fault("a string is never closed", start)),
            '\n' => {
                c.newline();
                out.push('\n');
            }
            '\r' if c.rest().starts_with('\n') => {}
            '\\' => {
                let Some(next) = c.rest().chars().next() else { continue };
                c.at += next.len_utf8();
                if next == '\n' {
                    c.newline();
                }
                if raw {
                    out.push('\\');
                    out.push(next);
                } else {
                    literal &= escape(c, next, &mut out);
                }
            }
            other => out.push(other),
        }
    }
}

/// The character of an escape, after its backslash; false if it is not supported.
fn escape(c: &mut Tokenizer<'_>, next: char, out: &mut String) -> bool {
    let simple = match next {
        '\n' => return true,
        '\\' | '\'' | '"' => next,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'N' => return false,
        'x' | 'u' | 'U' => {
            let width = [('x', 2), ('u', 4), ('U', 8)].iter().find(|(k, _)| *k == next).map_or(2, |(_, w)| *w);
            let found = c.rest().get(..width).and_then(|d| u32::from_str_radix(d, 16).ok()).and_then(char::from_u32);
            let Some(found) = found else { return false };
            c.at += width;
            found
        }
        '0'..='7' => {
            let more = c.rest().bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let digits = &c.text[c.at - 1..c.at + more];
            let found = u32::from_str_radix(digits, 8).ok().and_then(char::from_u32);
            c.at += more;
            found.unwrap_or('\0')
        }
        other => {
            out.push('\\');
            other
        }
    };
    out.push(simple);
    true
}
