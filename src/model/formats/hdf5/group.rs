//! The links of a group: a B-tree with a heap of names (the old form), or messages of its header (the new form).

use std::collections::HashSet;

use super::file::Hdf5File;
use super::object::{LINK, LINK_INFO, Message, SYMBOL_TABLE};
use crate::error::Result;
use crate::model::source::Source;

/// The longest name of a link.
const NAME: u64 = 4096;

/// The links of a group.
#[derive(Default)]
pub struct Links {
    /// Name, and the address of the object.
    pub hard: Vec<(String, u64)>,
    /// Name, and what is needed to distinguish the target.
    pub soft: Vec<(String, Vec<u8>)>,
    /// Some links are in an index that is not read.
    pub is_dense: bool,
}

/// Whether these are the messages of a group.
pub fn is_group(messages: &[Message]) -> bool {
    messages.iter().any(|m| matches!(m.kind, SYMBOL_TABLE | LINK_INFO | LINK))
}

pub fn links(file: &Hdf5File, messages: &[Message]) -> Result<Links> {
    let mut links = Links::default();
    for message in messages {
        let mut reader = message.content.reader();
        match message.kind {
            SYMBOL_TABLE => {
                let (tree, heap) = (file.address(&mut reader)?, file.address(&mut reader)?);
                symbol_table(file, tree, heap, &mut links)?;
            }
            LINK => link(file, &message.content, &mut links)?,
            LINK_INFO => {
                reader.skip(1)?;
                let flags = reader.byte()?;
                reader.skip(if flags & 1 != 0 { 8 } else { 0 })?;
                links.is_dense |= !file.is_undefined(file.address(&mut reader)?);
            }
            _ => {}
        }
    }
    Ok(links)
}

fn link(file: &Hdf5File, content: &Source, links: &mut Links) -> Result<()> {
    let mut reader = content.reader();
    reader.skip(1)?;
    let flags = reader.byte()?;
    let kind = if flags & 8 != 0 { reader.byte()? } else { 0 };
    reader.skip(if flags & 4 != 0 { 8 } else { 0 } + if flags & 16 != 0 { 1 } else { 0 })?;
    let length = reader.number(1 << (flags & 3))?;
    if length > NAME {
        return Err(file.source.refuse(format!("the name of a link has {length} bytes")));
    }
    let name = String::from_utf8_lossy(&reader.take(length)?).into_owned();
    match kind {
        0 => links.hard.push((name, file.address(&mut reader)?)),
        _ => {
            let left = reader.left().min(NAME);
            links.soft.push((name, reader.take(left)?));
        }
    }
    Ok(())
}

/// The children of the leaves of a B-tree of version 1. Each node is read once, and a child is one level below its
/// parent.
fn leaves(file: &Hdf5File, root: u64) -> Result<Vec<u64>> {
    let (mut pending, mut seen, mut found) = (vec![(root, None)], HashSet::new(), Vec::new());
    while let Some((address, wanted)) = pending.pop() {
        let mut reader = file.structure(address, 8 + 2 * file.address_bytes())?;
        file.expect(&mut reader, "TREE")?;
        let (kind, level, count) = (reader.byte()?, reader.byte()?, reader.number(2)?);
        if kind != 0 || wanted.is_some_and(|wanted| wanted != level) || !seen.insert(address) {
            return Err(file.source.refuse("the index of a group is damaged"));
        }
        // A key (a length) before each child.
        let entry = file.length_bytes() + file.address_bytes();
        let mut reader = file.structure(address + reader.position() + 2 * file.address_bytes(), count * entry)?;
        let mut children = Vec::new();
        for _ in 0..count {
            file.length(&mut reader)?;
            children.push(file.address(&mut reader)?);
        }
        match level {
            0 => found.extend(children),
            _ => pending.extend(children.into_iter().rev().map(|child| (child, Some(level - 1)))),
        }
    }
    Ok(found)
}

fn symbol_table(file: &Hdf5File, tree: u64, heap: u64, links: &mut Links) -> Result<()> {
    let mut reader = file.structure(heap, 8 + 2 * file.length_bytes() + file.address_bytes())?;
    file.expect(&mut reader, "HEAP")?;
    reader.skip(4)?;
    let size = file.length(&mut reader)?;
    file.length(&mut reader)?;
    let names = file.source.part(file.address(&mut reader)?, size)?;
    for node in leaves(file, tree)? {
        let mut reader = file.structure(node, 8)?;
        file.expect(&mut reader, "SNOD")?;
        reader.skip(2)?;
        let count = reader.number(2)?;
        let entry = 2 * file.address_bytes() + 24;
        let mut reader = file.structure(node + 8, count * entry)?;
        for _ in 0..count {
            let (name, object) = (file.address(&mut reader)?, file.address(&mut reader)?);
            let kind = reader.number(4)?;
            reader.skip(4)?;
            let target = reader.number(4)?;
            reader.skip(12)?;
            let name = text(file, &names, name)?;
            match kind {
                2 => {
                    let target = text(file, &names, target)?.into_bytes();
                    links.soft.push((name, target));
                }
                _ => links.hard.push((name, object)),
            }
        }
    }
    Ok(())
}

/// A text of the heap, which ends with a zero.
fn text(file: &Hdf5File, heap: &Source, at: u64) -> Result<String> {
    let part = heap.part(at, heap.len().saturating_sub(at).min(NAME))?;
    file.pay(16)?;
    let bytes = part.head(256)?;
    let bytes = if bytes.contains(&0) { bytes } else { part.head(NAME)? };
    match bytes.iter().position(|b| *b == 0) {
        Some(end) => Ok(String::from_utf8_lossy(&bytes[..end]).into_owned()),
        None => Err(file.source.refuse("the name of a link does not end")),
    }
}
