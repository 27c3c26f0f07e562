//! The stack machine: executes one operation after the other, until the end or a limit.

use std::collections::HashMap;

use super::content::{latin1_text, unescape};
use super::{CallResult, Follows, Form, Global, Id, Node, Pickle, StreamContent};
use crate::error::{Error, Result};
use crate::model::source::{Reader, Source};

/// A checkpoint of a hundred thousand tensors takes six million operations, and makes 1.8 million nodes.
const OPERATIONS: usize = 12_000_000;
const NODES: usize = 2_000_000;
/// A longer text cannot be a name, and is not stored.
const TEXT: u64 = 4 << 10;
const TEXTS: u64 = 64 << 20;

/// Runs one pickle.
pub(super) fn run(reader: &mut Reader, follows: Option<Follows>) -> Result<Pickle> {
    let mut machine = Machine {
        reader,
        pickle: Pickle { protocol: 0, nodes: Vec::new(), root: 0 },
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        outer: Vec::new(),
        texts: 0,
        follows,
    };
    let root = machine.run()?;
    Ok(Pickle { root, ..machine.pickle })
}

struct Machine<'a> {
    reader: &'a mut Reader,
    pickle: Pickle,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// The memos of the pickles around this one, and the object that each inner one belongs to.
    outer: Vec<(HashMap<u64, Id>, Id)>,
    /// Bytes of stored text.
    texts: u64,
    follows: Option<Follows>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id> {
        for _ in 0..OPERATIONS {
            let operation = self.reader.byte()?;
            if operation == b'.' {
                let object = self.pop()?;
                match self.outer.pop() {
                    None => return Ok(object),
                    Some((memo, owner)) => {
                        self.memo = memo;
                        if let Some(Node::CallResult(made)) = self.pickle.nodes.get_mut(owner as usize) {
                            made.items.push(object);
                        }
                    }
                }
                continue;
            }
            self.step(operation)?;
        }
        Err(self.refuse("its pickle has too many operations"))
    }

    fn step(&mut self, operation: u8) -> Result<()> {
        match operation {
            0x80 => self.pickle.protocol = self.reader.byte()?,
            0x95 => _ = self.reader.number(8)?, // FRAME: a hint for buffering
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.since_mark()?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'I' | b'L' => self.decimal()?,
            b'J' => {
                let number = self.reader.number(4)? as u32 as i32;
                self.push(Node::Int(number.into()))?;
            }
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'F' => {
                let number = self.reader.line(100)?.parse().unwrap_or(f64::NAN);
                self.push(Node::Float(number))?;
            }
            b'G' => {
                let number = f64::from_bits(self.reader.number(8)?.swap_bytes());
                self.push(Node::Float(number))?;
            }
            b'S' => self.line(Form::Escaped)?,
            b'V' => self.line(Form::RawUnicode)?,
            b'U' => self.string(1)?,
            b'T' => self.string(4)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b']' | 0x8f => self.push(Node::List(Vec::new()))?, // a set is a list here
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b't' => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items))?;
            }
            0x85..=0x87 => {
                let items = self.pops(usize::from(operation - 0x84))?;
                self.push(Node::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Node::List(items))?;
            }
            b'd' => {
                let pairs = self.pairs()?;
                self.push(Node::Dict(pairs))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let pair = self.pops(2)?;
                self.set(vec![(pair[0], pair[1])])?;
            }
            b'u' => {
                let pairs = self.pairs()?;
                self.set(pairs)?;
            }
            b'c' => {
                let (module, name) = (self.reader.line(1000)?, self.reader.line(1000)?);
                self.global(module, name)?;
            }
            0x93 => {
                let both = self.pops(2)?;
                let word = |id: Id| self.pickle.text(id).map(str::to_string);
                let (Some(module), Some(name)) = (word(both[0]), word(both[1])) else {
                    return Err(self.refuse("its pickle names a global by a value that is not text"));
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 => {
                let both = self.pops(2)?;
                self.made(both[0], both[1])?;
            }
            0x92 => {
                let all = self.pops(3)?;
                self.made(all[0], all[1])?;
            }
            b'o' => {
                let mut items = self.since_mark()?;
                if items.is_empty() {
                    return Err(self.refuse("its pickle is damaged"));
                }
                let class = items.remove(0);
                let args = self.node(Node::Tuple(items))?;
                self.made(class, args)?;
            }
            b'i' => {
                let (module, name) = (self.reader.line(1000)?, self.reader.line(1000)?);
                let items = self.since_mark()?;
                let args = self.node(Node::Tuple(items))?;
                self.global(module, name)?;
                let class = self.pop()?;
                self.made(class, args)?;
            }
            b'b' => self.build()?,
            b'P' => {
                let line = self.reader.line(1000)?;
                self.keep(line.len() as u64)?;
                let name = self.node(Node::Text(line))?;
                self.push(Node::Persistent(name))?;
            }
            b'Q' => {
                let name = self.pop()?;
                self.push(Node::Persistent(name))?;
            }
            b'p' => {
                let slot = self.slot()?;
                self.put(slot)?;
            }
            b'q' => self.numbered_put(1)?,
            b'r' => self.numbered_put(4)?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'g' => {
                let slot = self.slot()?;
                self.get(slot)?;
            }
            b'h' => self.numbered_get(1)?,
            b'j' => self.numbered_get(4)?,
            0x82..=0x84 => return Err(self.refuse("its pickle uses Python's extension registry")),
            0x97 => self.push(Node::OutOfBand)?,
            0x98 => {} // the buffer on top is read-only
            other => {
                let at = self.reader.position() - 1;
                return Err(self.refuse(format!("its pickle has an unknown operation {other:#04x} at byte {at}")));
            }
        }
        Ok(())
    }

    /// `INT` and `LONG` of protocol 0.
    fn decimal(&mut self) -> Result<()> {
        let line = self.reader.line(1000)?;
        let node = match line.trim_end_matches('L') {
            "00" => Node::Bool(false),
            "01" => Node::Bool(true),
            digits => digits.parse().map_or_else(|_| Node::Text(digits.to_string()), Node::Int),
        };
        self.push(node)
    }

    fn integer(&mut self, width: u64) -> Result<()> {
        let number = self.reader.number(width)?;
        self.push(Node::Int(number as i64))
    }

    /// An integer of any length; one that does not fit stays bytes.
    fn long(&mut self, width: u64) -> Result<()> {
        let length = self.reader.number(width)?;
        if length > 8 {
            return self.place(length, Form::Utf8);
        }
        let number = self.reader.number(length)?;
        let unused = 64 - 8 * length as u32;
        let number = if length == 0 { 0 } else { ((number << unused) as i64) >> unused };
        self.push(Node::Int(number))
    }

    fn text(&mut self, width: u64) -> Result<()> {
        let length = self.reader.number(width)?;
        if length > TEXT {
            return self.place(length, Form::Utf8);
        }
        self.keep(length)?;
        let bytes = self.reader.take(length)?;
        self.push(Node::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A string of Python 2, which is a text or bytes.
    fn string(&mut self, width: u64) -> Result<()> {
        let length = self.reader.number(width)?;
        if length > TEXT {
            return self.place(length, Form::Raw);
        }
        self.keep(length)?;
        let at = self.reader.position();
        let bytes = self.reader.take(length)?;
        let node = String::from_utf8(bytes).map_or(Node::Bytes { at, length, form: Form::Raw }, Node::Text);
        self.push(node)
    }

    /// A string or a text that a line feed ends. A short one is kept as a text if it is one.
    fn line(&mut self, form: Form) -> Result<()> {
        let mut at = self.reader.position();
        let (mut length, mut kept) = (0u64, Vec::new());
        loop {
            match self.reader.byte()? {
                b'\n' => break,
                byte if length < TEXT => kept.push(byte),
                _ => {}
            }
            length += 1;
        }
        let is_short = length <= TEXT;
        let quoted = length >= 2 && matches!(kept[0], b'\'' | b'"');
        if form == Form::Escaped && quoted {
            (at, length) = (at + 1, length - 2);
            kept.remove(0);
            kept.truncate(length as usize);
        }
        let text = match form {
            _ if !is_short => None,
            Form::Escaped => unescape(&kept).and_then(|bytes| String::from_utf8(bytes).ok()),
            _ => latin1_text(&kept),
        };
        match text {
            Some(text) => {
                self.keep(length)?;
                self.push(Node::Text(text))
            }
            None => self.push(Node::Bytes { at, length, form }),
        }
    }

    fn bytes(&mut self, width: u64) -> Result<()> {
        let length = self.reader.number(width)?;
        self.place(length, Form::Raw)
    }

    fn place(&mut self, length: u64, form: Form) -> Result<()> {
        let at = self.reader.position();
        self.reader.skip(length)?;
        self.push(Node::Bytes { at, length, form })
    }

    fn keep(&mut self, length: u64) -> Result<()> {
        self.texts += length;
        if self.texts > TEXTS { Err(self.refuse("its pickle holds too much text")) } else { Ok(()) }
    }

    fn global(&mut self, module: String, name: String) -> Result<()> {
        self.keep((module.len() + name.len()) as u64)?;
        self.push(Node::Global(Box::new(Global { module, name })))
    }

    fn made(&mut self, by: Id, args: Id) -> Result<()> {
        self.push(Node::CallResult(Box::new(CallResult { by, args, ..CallResult::default() })))
    }

    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let id = self.top()?;
        if let Some(Node::CallResult(made)) = self.pickle.nodes.get_mut(id as usize) {
            made.state = Some(state);
        }
        match self.follows.and_then(|follows| follows(&self.pickle, id)) {
            None => {}
            Some(StreamContent::Pickle) if self.outer.len() == 10 => {
                return Err(self.refuse("its pickles are nested too deep"));
            }
            Some(StreamContent::Pickle) => self.outer.push((std::mem::take(&mut self.memo), id)),
            Some(StreamContent::Values { length, padded }) => {
                if padded {
                    let padding = self.reader.number(1)?;
                    self.reader.skip(padding)?;
                }
                let at = self.reader.position();
                self.reader.skip(length)?;
                if let Some(Node::CallResult(made)) = self.pickle.nodes.get_mut(id as usize) {
                    made.raw = Some((at, length));
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, new: Vec<Id>) -> Result<()> {
        let id = self.top()?;
        match self.pickle.nodes.get_mut(id as usize) {
            Some(Node::List(items)) => items.extend(new),
            Some(Node::CallResult(made)) => made.items.extend(new),
            _ => return Err(self.refuse("its pickle appends to a value that is not a list")),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<(Id, Id)>) -> Result<()> {
        let id = self.top()?;
        match self.pickle.nodes.get_mut(id as usize) {
            Some(Node::Dict(pairs)) => pairs.extend(new),
            Some(Node::CallResult(made)) => made.pairs.extend(new),
            _ => return Err(self.refuse("its pickle sets keys of a value that is not a dict")),
        }
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<Id> {
        if self.pickle.nodes.len() == NODES {
            return Err(self.refuse(format!("its pickle has more than {NODES} objects")));
        }
        self.pickle.nodes.push(node);
        Ok(self.pickle.nodes.len() as Id - 1)
    }

    fn push(&mut self, node: Node) -> Result<()> {
        let id = self.node(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| self.stack.len() > floor).ok_or_else(|| self.underflow())
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pops(&mut self, count: usize) -> Result<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|at| *at >= floor) {
            Some(at) => Ok(self.stack.split_off(at)),
            None => Err(self.underflow()),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark.min(self.stack.len()))),
            None => Err(self.underflow()),
        }
    }

    fn pairs(&mut self) -> Result<Vec<(Id, Id)>> {
        let items = self.since_mark()?;
        if items.len() % 2 != 0 {
            return Err(self.refuse("its pickle has a key without a value"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    fn slot(&mut self) -> Result<u64> {
        let line = self.reader.line(30)?;
        line.parse().map_err(|_| self.refuse("its pickle is damaged"))
    }

    fn numbered_put(&mut self, width: u64) -> Result<()> {
        let slot = self.reader.number(width)?;
        self.put(slot)
    }

    fn put(&mut self, slot: u64) -> Result<()> {
        let top = self.top()?;
        if self.memo.len() == NODES {
            return Err(self.refuse("its pickle remembers too much"));
        }
        self.memo.insert(slot, top);
        Ok(())
    }

    fn numbered_get(&mut self, width: u64) -> Result<()> {
        let slot = self.reader.number(width)?;
        self.get(slot)
    }

    fn get(&mut self, slot: u64) -> Result<()> {
        match self.memo.get(&slot) {
            Some(id) => self.stack.push(*id),
            None => return Err(self.refuse("its pickle reads a memo entry that it never wrote")),
        }
        Ok(())
    }

    fn underflow(&self) -> Error {
        self.refuse("its pickle takes more from the stack than it holds")
    }

    fn refuse(&self, why: impl Into<String>) -> Error {
        self.source().refuse(why)
    }

    fn source(&self) -> &Source {
        self.reader.source()
    }
}
