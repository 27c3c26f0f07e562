//! Reads the literals of a Python file, without running it.
//!
//! It reads what DVC reads: `NAME = literal` and `NAME: type = literal` at the top and in class bodies (a class is a
//! map), and `self.NAME = literal` in an `__init__`. Other statements are skipped; invalid Python is an error with its
//! line. This is not a full parser: a file that Python would refuse may be accepted if its assignments are well formed.
//!
//! A file is split into logical lines of tokens first; indentation then determines the body of a line.

use std::collections::HashMap;

use super::{Fault, Mark, Value, scalar};

mod token;
use token::{Line, Token, lines};

/// Parses the assignments of a Python file into a map.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let lines = lines(text)?;
    let mut at = 0;
    let entries = body(&lines, &mut at, 0, false, 0)?;
    Ok(Value::Map(entries))
}

/// The assignments of the lines from `at` on that are indented by `indent` or more.
fn body(
    lines: &[Line],
    at: &mut usize,
    indent: usize,
    only_self: bool,
    depth: usize,
) -> Result<Vec<(String, Value)>, Fault> {
    let mut out = Names::default();
    while let Some(line) = lines.get(*at).filter(|l| l.indent >= indent) {
        *at += 1;
        let inner_indent = line.indent + 1;
        let words: Vec<&str> = line.tokens.iter().take(3).map(|(t, _)| t.word()).collect();
        let opens_block = matches!(line.tokens.last(), Some((Token::Op(":"), _)));
        match words.as_slice() {
            _ if depth > 100 => return Err(Fault::new("more than 100 levels of nesting", Some(line.tokens[0].1))),
            ["class", name, ..] if opens_block => {
                let inner = body(lines, at, inner_indent, false, depth + 1).map_err(|fault| fault.within(name))?;
                out.put(name.to_string(), Value::Map(inner));
            }
            ["class", name, ..] => {
                let colon = header_end(&line.tokens);
                let inner = statements(&line.tokens[colon..], false).map_err(|fault| fault.within(name))?;
                out.put(name.to_string(), Value::Map(inner));
            }
            ["def", "__init__", ..] if opens_block => {
                for (name, value) in body(lines, at, inner_indent, true, depth + 1)? {
                    out.put(name, value);
                }
            }
            [
                "def" | "async" | "if" | "elif" | "else" | "for" | "while" | "with" | "try" | "except" | "finally"
                | "match" | "case" | "@",
                ..,
            ] if opens_block || words[0] != "match" && words[0] != "case" => {
                while lines.get(*at).is_some_and(|l| l.indent >= inner_indent) {
                    *at += 1;
                }
            }
            _ => {
                for (name, value) in statements(&line.tokens, only_self)? {
                    out.put(name, value);
                }
            }
        }
    }
    Ok(out.entries)
}

/// Values by name: the last assignment wins, at the position of the first.
#[derive(Default)]
struct Names {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Names {
    fn put(&mut self, name: String, value: Value) {
        match self.index.get(&name) {
            Some(&n) => self.entries[n].1 = value,
            None => {
                self.index.insert(name.clone(), self.entries.len());
                self.entries.push((name, value));
            }
        }
    }
}

/// The index after the colon of a `class` line.
fn header_end(tokens: &[(Token, Mark)]) -> usize {
    let mut level = 0i32;
    for (n, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Op("(" | "[" | "{") => level += 1,
            Token::Op(")" | "]" | "}") => level -= 1,
            Token::Op(":") if level == 0 => return n + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The assignments of one line: statements separated by `;`.
fn statements(tokens: &[(Token, Mark)], only_self: bool) -> Result<Vec<(String, Value)>, Fault> {
    let mut out = Names::default();
    for statement in tokens.split(|(t, _)| *t == Token::Op(";")) {
        if let Some((name, value)) = assignment(statement, only_self)? {
            out.put(name, value);
        }
    }
    Ok(out.entries)
}

fn assignment(tokens: &[(Token, Mark)], only_self: bool) -> Result<Option<(String, Value)>, Fault> {
    let mut level = 0i32;
    let mut equals = Vec::new();
    let mut colon = None;
    for (n, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Op("(" | "[" | "{") => level += 1,
            Token::Op(")" | "]" | "}") => level -= 1,
            Token::Op("=") if level == 0 => equals.push(n),
            Token::Op(":") if level == 0 && colon.is_none() && equals.is_empty() => colon = Some(n),
            Token::Name(w) if w == "lambda" && equals.is_empty() => return Ok(None),
            _ => {}
        }
    }
    let Some(&first) = equals.first() else { return Ok(None) };
    let mut from = 0;
    for &n in equals.iter().chain([&tokens.len()]) {
        if n == from {
            let place = tokens.get(n).or(tokens.last()).map(|(_, mark)| *mark);
            return Err(Fault::new("no valid Python: something is missing beside `=`", place));
        }
        from = n + 1;
    }
    let target = &tokens[..colon.unwrap_or(first)];
    let name = match target {
        [(Token::Name(name), _)] if !only_self => name,
        [(Token::Name(me), _), (Token::Op("."), _), (Token::Name(name), _)] if me == "self" => name,
        _ => return Ok(None),
    };
    if equals.len() > 1 {
        return Ok(None);
    }
    let mut literal = Literal { tokens: &tokens[first + 1..], at: 0, keys: vec![name.clone()], too_large: None };
    let value = literal.tuple(&[], 0);
    if let (Some(Some(value)), true) = (value.ok(), literal.at == literal.tokens.len()) {
        return literal.too_large.map_or(Ok(Some((name.clone(), value))), Err);
    }
    adjacent(&tokens[first + 1..]).map(|()| None)
}

/// Two adjacent operands are a syntax error.
fn adjacent(tokens: &[(Token, Mark)]) -> Result<(), Fault> {
    for pair in tokens.windows(2) {
        let number_first = matches!(pair[0].0, Token::Number(_));
        if number_first && matches!(pair[1].0, Token::Number(_) | Token::Text(_)) {
            return Err(Fault::new("no valid Python: two values side by side", Some(pair[1].1)));
        }
    }
    Ok(())
}

/// Evaluates a literal; `Err(())` and `None` mean that it is not one.
struct Literal<'t> {
    tokens: &'t [(Token, Mark)],
    at: usize,
    /// The keys of the current value.
    keys: Vec<String>,
    /// The first number that is out of range. It is an error if the whole value is a literal.
    too_large: Option<Fault>,
}

impl Literal<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(t, _)| t)
    }

    fn consume(&mut self, op: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Op(o)) if *o == op);
        self.at += usize::from(found);
        found
    }

    /// One value, or several with commas: a tuple. `Ok(None)` if the next token is one of `ends`.
    fn tuple(&mut self, ends: &[&str], depth: usize) -> Result<Option<Value>, ()> {
        let (items, commas) = self.items(ends, depth)?;
        Ok(match (items.len(), commas) {
            (0, _) => None,
            (1, 0) => items.into_iter().next(),
            _ => Some(Value::List(items)),
        })
    }

    fn items(&mut self, ends: &[&str], depth: usize) -> Result<(Vec<Value>, usize), ()> {
        let (mut items, mut commas) = (Vec::new(), 0);
        while self.at < self.tokens.len() && !matches!(self.peek(), Some(Token::Op(o)) if ends.contains(o)) {
            items.push(self.value(depth)?);
            if !self.consume(",") {
                break;
            }
            commas += 1;
        }
        Ok((items, commas))
    }

    fn value(&mut self, depth: usize) -> Result<Value, ()> {
        if depth > 100 {
            return Err(());
        }
        if self.consume("-") {
            return match self.value(depth + 1)? {
                Value::Int(n) => Ok(Value::Int(-n)),
                Value::Float(f) => Ok(Value::Float(-f)),
                _ => Err(()),
            };
        }
        if self.consume("+") {
            return self.value(depth + 1).and_then(|v| match v {
                Value::Int(_) | Value::Float(_) => Ok(v),
                _ => Err(()),
            });
        }
        if self.consume("(") {
            let value = self.tuple(&[")"], depth + 1)?.unwrap_or(Value::List(Vec::new()));
            return if self.consume(")") { Ok(value) } else { Err(()) };
        }
        if self.consume("[") {
            let (items, _) = self.items(&["]"], depth + 1)?;
            return if self.consume("]") { Ok(Value::List(items)) } else { Err(()) };
        }
        if self.consume("{") {
            return self.braces(depth + 1);
        }
        let token = self.peek().cloned();
        self.at += 1;
        match token {
            Some(Token::Number(text)) => match number(&text) {
                Some(Err(scalar::TooLarge)) => {
                    let fault = Fault::number(&text, self.tokens[self.at - 1].1).within(&self.keys.join("."));
                    self.too_large.get_or_insert(fault);
                    Ok(Value::Int(0))
                }
                Some(Ok(value)) => Ok(value),
                None => Err(()),
            },
            Some(Token::Text(Some(mut text))) => {
                while let Some(Token::Text(more)) = self.peek() {
                    text.push_str(more.as_ref().ok_or(())?);
                    self.at += 1;
                }
                Ok(Value::Str(text))
            }
            Some(Token::Name(word)) => match word.as_str() {
                "None" => Ok(Value::Null),
                "True" => Ok(Value::Bool(true)),
                "False" => Ok(Value::Bool(false)),
                "set" if self.consume("(") && self.consume(")") => Ok(Value::List(Vec::new())),
                _ => Err(()),
            },
            _ => Err(()),
        }
    }

    /// A dict, or a set: each value once, sorted, since a set is unordered.
    fn braces(&mut self, depth: usize) -> Result<Value, ()> {
        if self.consume("}") {
            return Ok(Value::Map(Vec::new()));
        }
        let first = self.value(depth)?;
        if !self.consume(":") {
            let mut items = vec![first];
            if self.consume(",") {
                items.extend(self.items(&["}"], depth)?.0);
            }
            if !self.consume("}") {
                return Err(());
            }
            let rank = |v: &Value| match v {
                Value::Str(s) => format!("'{s}'"),
                other => other.to_python_text(),
            };
            items.sort_by_key(rank);
            items.dedup_by(|a, b| a.same(b));
            return Ok(Value::List(items));
        }
        let mut entries = Names::default();
        let mut key = first;
        loop {
            if matches!(key, Value::List(_) | Value::Map(_)) {
                return Err(());
            }
            self.keys.push(key.to_python_text());
            let value = self.value(depth)?;
            self.keys.pop();
            entries.put(key.to_python_text(), value);
            if self.consume("}") {
                return Ok(Value::Map(entries.entries));
            }
            if !self.consume(",") {
                return Err(());
            }
            if self.consume("}") {
                return Ok(Value::Map(entries.entries));
            }
            key = self.value(depth)?;
            if !self.consume(":") {
                return Err(());
            }
        }
    }
}

/// Python itself writes infinity as `1e400`.
fn number(text: &str) -> Option<Result<Value, scalar::TooLarge>> {
    let lower = text.to_ascii_lowercase();
    if lower.ends_with('j') && !lower.starts_with("0x") {
        return None;
    }
    if let Some(n) = scalar::int(&lower) {
        return Some(n.map(Value::Int));
    }
    lower.replace('_', "").parse().ok().map(|f| Ok(Value::Float(f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        match parse(text) {
            Ok(v) => serde_json::to_string(&v).unwrap(),
            Err(f) => format!("error {}: {}", f.mark.map_or(0, |m| m.line), f.message),
        }
    }

    #[test]
    fn literals() {
        for (text, want) in [
            ("A = 1\nB = A + 1\nC = D = 3\n", r#"{"A":1}"#),
            ("A = [1, 2.5, None, True]\nF = 'a' + 'b'\nG = {2, 1, 1}", r#"{"A":[1,2.5,null,true],"G":[1,2]}"#),
            ("A: int = 1\nB: dict[str, int] = {'x': 1, 'y': (1, 2), }\nC: int\n", r#"{"A":1,"B":{"x":1,"y":[1,2]}}"#),
            ("A = 'it''s' \"\\n\\x41\"\nB = r'\\n'\nC = f'{A}'\nD = b'x'", r#"{"A":"its\nA","B":"\\n"}"#),
            (
                "A = '''x\ny'''\nB = (\n  1,\n  -2, # c\n)\nC = 1 \\\n  \nD = 1, 2",
                r#"{"A":"x\ny","B":[1,-2],"C":1,"D":[1,2]}"#,
            ),
            ("A = 1_000; B = 0xFF; C = 1e-3; D = .5; E = 2j", r#"{"A":1000,"B":255,"C":0.001,"D":0.5}"#),
            (
                "class K(Base):\n    '''doc'''\n    X = 'x'\n    def __init__(self, a=1):\n        self.lr = 0.1\n        other = 2\n    class Inner:\n        Y = 2\nZ = 3",
                r#"{"K":{"X":"x","lr":0.1,"Inner":{"Y":2}},"Z":3}"#,
            ),
            ("def f():\n    x = 1\nif True:\n    y = 2\nelse:\n    y = 3\nz = 4\nz += 1", r#"{"z":4}"#),
            ("import os\nfrom a import b as c\n@dec(x=1)\nclass A: pass\nx[0] = 1\na, b = 1, 2\nf(x=1)", r#"{"A":{}}"#),
            ("x = set()\ny = {}\nz = ()\nw = lambda: 0\nv = not True\n", r#"{"x":[],"y":{},"z":[]}"#),
            ("", "{}"),
        ] {
            assert_eq!(json(text), want, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("a = 1\nx = = 1\n", "error 2"),
            ("a = 1\nx = \n", "error 2"),
            ("= 1", "error 1"),
            ("x = [1\n", "error 1"),
            ("x = 1)\n", "error 1"),
            ("x = 'abc\n", "error 1"),
            ("a = 1\n\nb = 1 2", "error 3"),
            ("x = $", "error 1"),
            ("x = '''abc\n", "error 1"),
        ] {
            let got = json(text);
            assert!(got.starts_with(want), "{text}: {got}");
        }
        for text in [
            "(".repeat(100_000),
            "x = ".to_string() + &"-".repeat(100_000),
            "x = ".to_string() + &"[".repeat(9000) + &"]".repeat(9000),
        ] {
            let _ = json(&text);
        }
    }
}
