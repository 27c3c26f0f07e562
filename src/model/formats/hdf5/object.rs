//! The header of an object (a group or a dataset): a list of messages, in both versions.

use std::collections::HashSet;

use super::file::Hdf5File;
use crate::error::Result;
use crate::model::source::{Reader, Source};

/// The maximum number of messages of an object: attributes and links of compact groups.
const MESSAGES: usize = 100_000;

pub const DATASPACE: u64 = 0x01;
pub const LINK_INFO: u64 = 0x02;
pub const DATATYPE: u64 = 0x03;
pub const LINK: u64 = 0x06;
pub const LAYOUT: u64 = 0x08;
pub const FILTERS: u64 = 0x0b;
pub const ATTRIBUTE: u64 = 0x0c;
const CONTINUATION: u64 = 0x10;
pub const SYMBOL_TABLE: u64 = 0x11;
pub const ATTRIBUTE_INFO: u64 = 0x15;

/// A message of a header.
pub struct Message {
    pub kind: u64,
    pub content: Source,
    /// The content is a reference to a message of another object.
    pub is_shared: bool,
}

/// The messages of the object at an address.
pub fn messages(file: &Hdf5File, address: u64) -> Result<Vec<Message>> {
    let mut head = file.structure(address, 16)?;
    let mut list = MessageList { file, version: 1, has_order: false, pending: Vec::new(), found: Vec::new() };
    match head.byte()? {
        1 => {
            head.skip(7)?;
            let size = head.number(4)?;
            list.pending.push(file.structure(address + 16, size)?);
        }
        b'O' => {
            let mut head = file.structure(address, file.source.len().saturating_sub(address).min(40))?;
            file.expect(&mut head, "OHDR")?;
            let (version, flags) = (head.byte()?, head.byte()?);
            if version != 2 {
                return Err(file.source.refuse(format!("the header of an object has the unknown version {version}")));
            }
            // Times, and the limits of dense attributes.
            head.skip(if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 })?;
            let size = head.number(1 << (flags & 3))?;
            (list.version, list.has_order) = (2, flags & 4 != 0);
            list.pending.push(file.structure(address.saturating_add(head.position()), size)?);
        }
        version => {
            return Err(file.source.refuse(format!("the header of an object has the unknown version {version}")));
        }
    }
    list.read()
}

struct MessageList<'a> {
    file: &'a Hdf5File,
    version: u8,
    has_order: bool,
    /// Blocks of messages.
    pending: Vec<Reader>,
    found: Vec<Message>,
}

impl MessageList<'_> {
    fn read(mut self) -> Result<Vec<Message>> {
        let mut seen = HashSet::new();
        while let Some(mut block) = self.pending.pop() {
            if !seen.insert(block.source().start()) {
                return Err(self.file.source.refuse("the header of an object continues in itself"));
            }
            let head = if self.version == 1 { 8 } else { 4 + if self.has_order { 2 } else { 0 } };
            while block.left() >= head {
                self.message(&mut block)?;
            }
        }
        Ok(self.found)
    }

    fn message(&mut self, block: &mut Reader) -> Result<()> {
        let kind = block.number(if self.version == 1 { 2 } else { 1 })?;
        let (size, flags) = (block.number(2)?, block.byte()?);
        block.skip(if self.version == 1 {
            3
        } else if self.has_order {
            2
        } else {
            0
        })?;
        let content = block.part(size)?;
        if kind == CONTINUATION {
            let mut at = content.reader();
            let (address, length) = (self.file.address(&mut at)?, self.file.length(&mut at)?);
            self.pending.push(self.block(address, length)?);
            return Ok(());
        }
        if self.found.len() == MESSAGES {
            return Err(self.file.source.refuse(format!("an object in it has more than {MESSAGES} messages")));
        }
        self.found.push(Message { kind, content, is_shared: flags & 2 != 0 });
        Ok(())
    }

    /// A block of a continuation: with a signature and a checksum in version 2.
    fn block(&self, address: u64, length: u64) -> Result<Reader> {
        if self.version == 1 {
            return self.file.structure(address, length);
        }
        let mut whole = self.file.structure(address, length)?;
        self.file.expect(&mut whole, "OCHK")?;
        let inner = whole.left().saturating_sub(4);
        Ok(whole.part(inner)?.reader())
    }
}
