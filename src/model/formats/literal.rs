//! Python literals in the headers of NumPy: dicts, lists, tuples, texts, integers, `True`, `False`, `None`. Nothing is
//! evaluated.

const DEPTH: usize = 30;
const ITEMS: usize = 20_000;

/// A parsed literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    None,
    Bool(bool),
    Int(u64),
    Text(String),
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// The value under a key of a dict.
    pub fn get(&self, key: &str) -> Option<&Literal> {
        let Literal::Dict(pairs) = self else { return None };
        pairs.iter().rev().find(|(k, _)| matches!(k, Literal::Text(text) if text == key)).map(|(_, value)| value)
    }
}

/// Parses a text that is one literal; `None` otherwise.
pub fn parse(text: &str) -> Option<Literal> {
    let mut parser = Parser { rest: text, items: 0 };
    let literal = parser.value(0)?;
    parser.space();
    parser.rest.trim_end_matches('\0').is_empty().then_some(literal)
}

struct Parser<'a> {
    rest: &'a str,
    items: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn consume(&mut self, mark: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Literal> {
        self.items += 1;
        if depth > DEPTH || self.items > ITEMS {
            return None;
        }
        self.space();
        match self.rest.chars().next()? {
            '{' => self.dict(depth),
            '[' => Some(Literal::List(self.list("[", "]", depth)?.0)),
            '(' => match self.list("(", ")", depth)? {
                // Brackets around one value without a comma are grouping, not a tuple.
                (mut items, false) if items.len() == 1 => items.pop(),
                (items, _) => Some(Literal::Tuple(items)),
            },
            '0'..='9' => self.int(),
            '\'' | '"' => self.text(),
            'b' | 'u' if self.rest[1..].starts_with(['\'', '"']) => {
                self.rest = &self.rest[1..];
                self.text()
            }
            _ => [("True", Literal::Bool(true)), ("False", Literal::Bool(false)), ("None", Literal::None)]
                .into_iter()
                .find_map(|(word, literal)| self.consume(word).then_some(literal)),
        }
    }

    fn list(&mut self, open: &str, close: &str, depth: usize) -> Option<(Vec<Literal>, bool)> {
        self.consume(open);
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.consume(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            comma = self.consume(",");
        }
        Some((items, comma))
    }

    fn dict(&mut self, depth: usize) -> Option<Literal> {
        self.consume("{");
        let (mut pairs, mut comma) = (Vec::new(), true);
        while !self.consume("}") {
            if !comma {
                return None;
            }
            let key = self.value(depth + 1)?;
            if !self.consume(":") {
                return None;
            }
            pairs.push((key, self.value(depth + 1)?));
            comma = self.consume(",");
        }
        Some(Literal::Dict(pairs))
    }

    /// Python 2 appended an `L` to large ones.
    fn int(&mut self) -> Option<Literal> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let number = self.rest[..end].parse().ok()?;
        self.rest = self.rest[end..].strip_prefix('L').unwrap_or(&self.rest[end..]);
        Some(Literal::Int(number))
    }

    fn text(&mut self) -> Option<Literal> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(Literal::Text(text));
                }
                '\\' => {
                    let (_, escaped) = chars.next()?;
                    let digits = match escaped {
                        'n' => {
                            text.push('\n');
                            continue;
                        }
                        't' => {
                            text.push('\t');
                            continue;
                        }
                        'x' => 2,
                        'u' => 4,
                        'U' => 8,
                        other => {
                            text.push(other);
                            continue;
                        }
                    };
                    let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    text.push(u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)?);
                }
                c => text.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        let text = |t: &str| Literal::Text(t.into());
        for (written, want) in [
            ("'a'", Some(text("a"))),
            (r#"  "it's" "#, Some(text("it's"))),
            (r"'\x41\u0042\'\\'", Some(text("AB'\\"))),
            ("(3L, 1,)", Some(Literal::Tuple(vec![Literal::Int(3), Literal::Int(1)]))),
            ("()", Some(Literal::Tuple(vec![]))),
            ("(5)", Some(Literal::Int(5))),
            ("(5,)", Some(Literal::Tuple(vec![Literal::Int(5)]))),
            (
                "[(b'a', True), None]",
                Some(Literal::List(vec![Literal::Tuple(vec![text("a"), Literal::Bool(true)]), Literal::None])),
            ),
            ("{'a': 1, }", Some(Literal::Dict(vec![(text("a"), Literal::Int(1))]))),
            ("{'a': 1 'b': 2}", None),
            ("[1 2]", None),
            ("'a", None),
            ("1 + 1", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("os.system('id')", None),
            (r"'\ud800'", None),
        ] {
            assert_eq!(parse(written), want, "{written}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(parse(&format!("[{}]", "1,".repeat(100_000))), None);
    }
}
