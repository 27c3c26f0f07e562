//! Reads YAML: turns events of the parser, with marks, into nodes.
//!
//! One document per file; anchors, aliases and merge keys (`<<`) are expanded here, duplicate keys and unknown tags are
//! errors. Files are untrusted, so depth, size and the expansion of aliases are limited, and recursion is not deeper
//! than that limit.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::budget::{self, NODES};
use super::node::{Entry, Node, Tree};
use super::{Fault, Mark, Value, scalar};

const DEPTH: usize = 128;
const BYTES: usize = 64 << 20;

/// The maximum number of entries in a machine-written document of an unexpected form: each takes about 400 bytes while
/// it is read.
const MARKS: usize = 750_000;

/// The one document of `text`, or `None` if it is empty.
pub fn parse(text: &str) -> Result<Option<Node>, Fault> {
    if text.len() > BYTES {
        return Err(Fault::new(format!("the file is larger than {} MiB", BYTES >> 20), None));
    }
    let mut reader = YamlReader {
        parser: Parser::new_from_str(text),
        marks: Marks { text, chars: 0, bytes: 0 },
        open: Vec::new(),
        anchors: HashMap::new(),
        left: NODES,
    };
    reader.document().map_err(|fault| super::conflict(text).unwrap_or(fault))
}

/// What to quote if an unquoted text was read as more than a text.
fn quotes(text: &str, mark: Mark, info: &str) -> Option<String> {
    let line = super::line_at(text, mark)?;
    let column = mark.column as usize - 1;
    let before: String = line.chars().take(column).collect();
    if info.contains("mapping values") {
        // The first `: ` of a line ends its key; a text with another one has to be quoted.
        let (key, value) = line.split_once(": ")?;
        let value = value.trim();
        let is_plain = !value.starts_with(['"', '\'', '|', '>', '[', '{', '&', '*']);
        let is_second = key.len() + 1 < before.len();
        return (is_second && is_plain).then(|| {
            format!("text with `: ` in it needs quotes: {}: '{}'", key.trim_start(), value.replace('\'', "''"))
        });
    }
    let (_, list) = line.split_once('[')?;
    let word = list.split([',', ']', ' ']).find(|word| word.contains("${") && !word.starts_with(['"', '\'']))?;
    Some(format!("between brackets text with `${{` needs quotes: \"{word}\""))
}

/// Reads machine-written YAML (lock files) straight into types, without marks.
pub fn read_typed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    // The parser's time is quadratic in the depth. Brackets in strings are counted too, but usually come in pairs. It
    // also stores all events of a text before the first value is made of them: an entry begins with a mark.
    if text.len() > BYTES {
        return Err(format!("it is larger than {} MiB and not in the form that lockstep writes", BYTES >> 20));
    }
    let (mut depth, mut marks) = (0u32, 0usize);
    let after = text.bytes().skip(1).chain([b'\n']);
    for (byte, next) in text.bytes().zip(after) {
        match byte {
            b'[' | b'{' => (depth, marks) = (depth + 1, marks + 1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => marks += 1,
            b'-' | b'?' if next.is_ascii_whitespace() => marks += 1,
            _ => {}
        }
        if marks > MARKS {
            return Err(format!("it has more than {MARKS} entries and is not in the form that lockstep writes"));
        }
        if depth > 10_000 {
            return Err("its brackets are nested too deep".into());
        }
    }
    serde_yaml::from_str(text).map_err(|e| e.to_string())
}

/// Translates the parser's marks, which count characters, to bytes. They come nearly in order, so a cursor suffices.
struct Marks<'t> {
    text: &'t str,
    chars: usize,
    bytes: usize,
}

impl Marks<'_> {
    fn mark(&mut self, m: &Marker) -> Mark {
        let bytes = self.text.as_bytes();
        while self.chars < m.index() && self.bytes < bytes.len() {
            self.bytes += 1;
            while self.bytes < bytes.len() && bytes[self.bytes] & 0xC0 == 0x80 {
                self.bytes += 1;
            }
            self.chars += 1;
        }
        while self.chars > m.index() && self.bytes > 0 {
            self.bytes -= 1;
            while self.bytes > 0 && bytes[self.bytes] & 0xC0 == 0x80 {
                self.bytes -= 1;
            }
            self.chars -= 1;
        }
        Mark { line: m.line().max(1) as u32, column: m.col() as u32 + 1, offset: self.bytes as u32 }
    }
}

/// An incomplete list or map.
struct OpenNode {
    start: Mark,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashSet<String>,
        merges: Vec<Node>,
        merge_seen: bool,
        key: Option<Key>,
        /// Whether it is written with braces.
        flow: bool,
    },
}

struct Key {
    text: String,
    is_string: bool,
    is_merge: bool,
    start: Mark,
    end: Mark,
}

struct YamlReader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    marks: Marks<'t>,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, (Node, Size)>,
    /// The remaining number of nodes after expanding aliases; 64 bytes of text count as one.
    left: usize,
}

#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    depth: usize,
}

impl<'t> YamlReader<'t> {
    fn document(&mut self) -> Result<Option<Node>, Fault> {
        let mut root: Option<Node> = None;
        let mut documents = 0;
        while let Some(event) = self.parser.next_event() {
            let (event, span) = match event {
                Ok(found) => found,
                Err(e) => {
                    let mark = self.marks.mark(e.marker());
                    let fault = Fault::new(format!("no valid YAML: {}", e.info()), Some(mark));
                    return Err(match quotes(self.marks.text, mark, e.info()) {
                        Some(hint) => fault.hint(hint),
                        None => fault,
                    });
                }
            };
            let start = self.marks.mark(&span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Fault::new("a second document begins here; one file holds one", Some(start)));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let value = scalar_value(text, style, tag.as_deref(), start);
                    let (value, plain) = value.map_err(|fault| self.place(fault))?;
                    let node = Node { start, end: self.marks.mark(&span.end), tree: Tree::Scalar(value) };
                    self.complete(node, anchor, plain, &mut root)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    check_tag(tag.as_deref(), &["seq"], start)?;
                    self.begin(OpenNode { start, anchor, kind: OpenKind::List(Vec::new()) })?;
                }
                Event::MappingStart(anchor, tag) => {
                    check_tag(tag.as_deref(), &["map"], start)?;
                    let kind = OpenKind::Map {
                        entries: Vec::new(),
                        seen: HashSet::new(),
                        merges: Vec::new(),
                        merge_seen: false,
                        key: None,
                        flow: self.marks.text.as_bytes().get(start.offset as usize) == Some(&b'{'),
                    };
                    self.begin(OpenNode { start, anchor, kind })?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.finish(span, &mut root)?,
                Event::Alias(anchor) => {
                    let Some((node, size)) = self.anchors.get(&anchor) else {
                        return Err(Fault::new("an alias is inside of its own anchor", Some(start)));
                    };
                    let (size, mut node) = (*size, node.clone());
                    if size.depth + self.open.len() > DEPTH {
                        return Err(too_deep(start));
                    }
                    // Errors inside an alias are reported at the alias.
                    node.start = start;
                    node.end = self.marks.mark(&span.end);
                    self.take(size.nodes, start)?;
                    self.complete(node, 0, false, &mut root)?;
                }
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            }
        }
        Ok(root)
    }

    /// Adds the keys to the error of a scalar.
    fn place(&self, fault: Fault) -> Fault {
        self.open.iter().rev().fold(fault, |fault, open| match &open.kind {
            OpenKind::List(items) => fault.within(&items.len().to_string()),
            OpenKind::Map { key: Some(key), .. } => fault.within(&key.text),
            OpenKind::Map { key: None, .. } => fault,
        })
    }

    fn take(&mut self, nodes: usize, at: Mark) -> Result<(), Fault> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(budget::fault(at)),
        }
    }

    fn begin(&mut self, open: OpenNode) -> Result<(), Fault> {
        if self.open.len() >= DEPTH {
            return Err(too_deep(open.start));
        }
        self.open.push(open);
        Ok(())
    }

    fn finish(&mut self, span: Span, root: &mut Option<Node>) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let tree = match open.kind {
            OpenKind::List(items) => Tree::List(items),
            OpenKind::Map { mut entries, mut seen, merges, .. } => {
                for map in merges {
                    for entry in map.as_map().unwrap_or_default() {
                        if seen.insert(entry.key.clone()) {
                            self.take(size_of(&entry.value).nodes, open.start)?;
                            entries.push(entry.clone());
                        }
                    }
                }
                Tree::Map(entries)
            }
        };
        let end = self.marks.mark(&span.end);
        self.complete(Node { start: open.start, end, tree }, open.anchor, false, root)
    }

    /// Adds a finished node to its list or map, or sets the root.
    fn complete(&mut self, node: Node, anchor: usize, plain: bool, root: &mut Option<Node>) -> Result<(), Fault> {
        self.take(own_size(&node), node.start)?;
        if anchor != 0 {
            let size = size_of(&node);
            self.take(size.nodes, node.start)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|o| &mut o.kind) {
            None => *root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, seen, merges, merge_seen, key, flow }) => match key.take() {
                None => {
                    if !*flow && tab_before(self.marks.text, node.start) {
                        return Err(Fault::new("a tab in the indentation; YAML wants spaces", Some(node.start)));
                    }
                    let made = make_key(node, plain)?;
                    if if made.is_merge { *merge_seen } else { !seen.insert(made.text.clone()) } {
                        return Err(Fault::new(format!("duplicate key `{}`", made.text), Some(made.start)));
                    }
                    *merge_seen |= made.is_merge;
                    *key = Some(made);
                }
                Some(k) if k.is_merge => *merges = merge_sources(node)?,
                Some(k) => {
                    entries.push(Entry { key: k.text, is_string: k.is_string, start: k.start, end: k.end, value: node })
                }
            },
        }
        Ok(())
    }
}

/// Returns true if there is a tab between the start of the line and its first token at `mark`. The parser accepts tabs
/// after spaces; readers differ in their meaning as indentation.
fn tab_before(text: &str, mark: Mark) -> bool {
    let before = &text.as_bytes()[..mark.offset as usize];
    let blank = before.iter().rev().take_while(|b| matches!(b, b' ' | b'\t'));
    let (mut tab, mut length) = (false, 0);
    for b in blank {
        tab |= *b == b'\t';
        length += 1;
    }
    tab && (length == before.len() || before[before.len() - length - 1] == b'\n')
}

fn too_deep(at: Mark) -> Fault {
    Fault::new(format!("more than {DEPTH} levels of nesting"), Some(at))
}

fn own_size(node: &Node) -> usize {
    1 + node.as_str().map_or(0, |s| s.len() / 64)
}

fn size_of(node: &Node) -> Size {
    let mut size = Size { nodes: own_size(node), depth: 1 };
    let mut add = |child: &Node| {
        let inner = size_of(child);
        size.nodes += inner.nodes;
        size.depth = size.depth.max(inner.depth + 1);
    };
    match &node.tree {
        Tree::Scalar(_) => {}
        Tree::List(items) => items.iter().for_each(&mut add),
        Tree::Map(entries) => entries.iter().for_each(|e| add(&e.value)),
    }
    size
}

fn make_key(node: Node, plain: bool) -> Result<Key, Fault> {
    let (start, end, kind) = (node.start, node.end, node.kind());
    let Tree::Scalar(value) = node.tree else {
        return Err(Fault::new(format!("{kind} cannot be a key"), Some(start)));
    };
    let is_string = matches!(value, Value::Str(_));
    let text = if value == Value::Null { "null".to_string() } else { value.to_text() };
    Ok(Key { is_merge: plain && text == "<<", text, is_string, start, end })
}

/// The maps of a merge key, the first of which wins.
fn merge_sources(node: Node) -> Result<Vec<Node>, Fault> {
    let fault = |n: &Node| Fault::new(format!("`<<` needs a map or a list of maps, not {}", n.kind()), Some(n.start));
    match node.tree {
        Tree::Map(_) => Ok(vec![node]),
        Tree::List(items) => match items.iter().find(|n| n.as_map().is_none()) {
            Some(other) => Err(fault(other)),
            None => Ok(items),
        },
        Tree::Scalar(_) => Err(fault(&node)),
    }
}

const CORE: &str = "tag:yaml.org,2002:";

/// The last part of a standard tag: `str`, `int`.
fn core_tag(tag: &Tag) -> Option<String> {
    let full = format!("{}{}", tag.handle, tag.suffix);
    full.strip_prefix(CORE).or_else(|| full.strip_prefix("!!")).map(str::to_string)
}

fn check_tag(tag: Option<&Tag>, known: &[&str], at: Mark) -> Result<(), Fault> {
    let Some(tag) = tag else { return Ok(()) };
    match core_tag(tag) {
        Some(name) if known.contains(&name.as_str()) => Ok(()),
        _ => Err(Fault::new(format!("the tag `{}{}` is not known here", tag.handle, tag.suffix), Some(at))),
    }
}

/// The value of a scalar, and whether it was written plain, without a tag.
fn scalar_value(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Result<(Value, bool), Fault> {
    let fault = |message: String| Fault::new(message, Some(at));
    let too_large = |_: scalar::TooLarge| Fault::number(&text, at);
    let is_plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        let value = if is_plain { scalar::plain(&text).map_err(too_large)? } else { Value::Str(text.into_owned()) };
        return Ok((value, is_plain));
    };
    if tag.suffix.is_empty() || (tag.handle.is_empty() && tag.suffix == "!") {
        return Ok((Value::Str(text.into_owned()), false));
    }
    let wrong = |what: &str| fault(format!("`{text}` is {what}"));
    let value = match core_tag(tag).as_deref() {
        Some("str" | "timestamp") => Value::Str(text.into_owned()),
        Some("int") => Value::Int(scalar::int(&text).ok_or_else(|| wrong("no whole number"))?.map_err(too_large)?),
        Some("float") => match scalar::plain(&text).map_err(too_large)? {
            Value::Int(n) => Value::Float(n as f64),
            Value::Float(f) => Value::Float(f),
            _ => return Err(wrong("no number")),
        },
        Some("bool") => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Value::Bool(true),
            "false" | "no" | "off" | "n" => Value::Bool(false),
            _ => return Err(wrong("no boolean")),
        },
        Some("null") => Value::Null,
        _ => return check_tag(Some(tag), &[], at).map(|()| (Value::Null, false)),
    };
    Ok((value, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        match parse(text) {
            Ok(node) => serde_json::to_string(&node.map(Node::into_value)).unwrap(),
            Err(e) => format!("error {:?}: {}", e.mark.map(|m| (m.line, m.column)), e.message),
        }
    }

    #[test]
    fn documents() {
        for (text, want) in [
            ("", "null"),
            ("# only\n", "null"),
            ("a: 1\nb: [x, '1', \"\\u0041\"]", r#"{"a":1,"b":["x","1","A"]}"#),
            ("a: &x {p: 1}\nb: *x", r#"{"a":{"p":1},"b":{"p":1}}"#),
            ("x: &a {p: 1, q: 2}\ny: {<<: *a, p: 3}", r#"{"x":{"p":1,"q":2},"y":{"p":3,"q":2}}"#),
            (
                "a: &a {p: 1}\nb: &b {p: 2, q: 2}\nc: {<<: [*a, *b]}\n",
                r#"{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2}}"#,
            ),
            ("'<<': {a: 1}", r#"{"<<":{"a":1}}"#),
            ("a: 1\n...\n", r#"{"a":1}"#),
            (
                "a: !!str 5\nb: !!int '5'\nc: !!float 5\nd: ! 5\ne: !!seq []",
                r#"{"a":"5","b":5,"c":5.0,"d":"5","e":[]}"#,
            ),
            ("a: |\r\n  x\r\n  y\r\nb: 'p\r\n  q'\r\n", r#"{"a":"x\ny\n","b":"p q"}"#),
            ("1: a\ntrue: b\n2020-01-02: 2020-01-02", r#"{"1":"a","true":"b","2020-01-02":"2020-01-02"}"#),
            ("a:\n- b\n- c:\n  - d", r#"{"a":["b",{"c":["d"]}]}"#),
            ("%YAML 1.2\n---\nx: yes", r#"{"x":"yes"}"#),
        ] {
            assert_eq!(json(text), want, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("a: 1\na: 2", "(2, 1)): duplicate key `a`"),
            ("{a: 1, a: 2}", "duplicate key `a`"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: !run x", "(1, 4)): the tag `!run`"),
            ("a: !x [1]", "the tag `!x`"),
            ("a: [1", "no valid YAML"),
            ("a:\n\tb: 1", "no valid YAML"),
            ("a:\n  \tb: 1", "(2, 4)): a tab in the indentation"),
            ("a: *x", "error"),
            ("a: &a [*a]", "alias"),
            ("a: [d-${n}]", "error"),
            ("<<: 5", "needs a map"),
            ("[a]: 1", "a list cannot be a key"),
            ("a: !!int x", "no whole number"),
        ] {
            let got = json(text);
            assert!(got.starts_with("error") && got.contains(want), "{text}: {got}");
        }
    }

    #[test]
    fn hostile_input_is_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            laughs += &format!("a{i}: &a{i} [{refs}]\n");
        }
        let deep_aliases: String =
            "a0: &a0 [x]\n".to_string() + &(1..300).map(|i| format!("a{i}: &a{i} [*a{}]\n", i - 1)).collect::<String>();
        for text in [laughs, deep_aliases, "[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            assert!(parse(&text).is_err());
        }
        let _ = parse(&"a: ".repeat(100_000));
        let _ = parse(&"? ".repeat(100_000));
    }

    #[test]
    fn marks_count_characters_and_bytes() {
        let text = "é: 1\nb: ['ü', x]\n";
        let node = parse(text).unwrap().unwrap();
        let list = node.get("b").unwrap().value.as_list().unwrap();
        assert_eq!((list[1].start.line, list[1].start.column), (2, 10));
        assert_eq!(&text[list[1].start.offset as usize..list[1].end.offset as usize], "x");
        assert_eq!(&text[list[0].start.offset as usize..list[0].end.offset as usize], "'ü'");
    }
}
