//! A sorted table of keys and values, as LevelDB and TensorFlow write it. Format: `table_format.md` of LevelDB.

use crate::error::Result;
use crate::model::formats::protobuf::varint;
use crate::model::source::{Reader, Source};

const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const FOOTER: u64 = 48;
/// The maximum size of a block; TensorFlow writes blocks of 256 KiB, larger ones for single large values.
const BLOCK: u64 = 64 << 20;
/// The maximum length of all keys together. A key is stored as the difference to the one before it.
const KEYS: usize = 64 << 20;
/// What follows a block: its compression, and a checksum.
const TRAILER: u64 = 5;

/// Calls `visit` with each key and value, in order.
pub fn read(source: &Source, visit: &mut dyn FnMut(&[u8], Source) -> Result<()>) -> Result<()> {
    let Some(footer_at) = source.len().checked_sub(FOOTER) else { return Err(source.refuse("it is cut short")) };
    let mut footer = source.part(footer_at, FOOTER)?.reader();
    let _metaindex = Handle::read(&mut footer)?;
    let index = Handle::read(&mut footer)?;
    if source.part(footer_at + FOOTER - 8, 8)?.reader().number(8)? != MAGIC {
        return Err(source.refuse("it has no end of a table: it is cut short, or of another format"));
    }
    let (mut left, mut end) = (KEYS, 0);
    entries(&block(source, &index)?, &mut left, &mut |_, value| {
        let handle = Handle::read(&mut value.reader())?;
        // Blocks follow each other, so that none is read twice.
        if handle.offset < end {
            return Err(source.refuse("blocks of the table overlap"));
        }
        end = handle.offset.saturating_add(handle.size);
        let mut keys = KEYS;
        entries(&block(source, &handle)?, &mut keys, visit)
    })
}

/// The location of a block.
struct Handle {
    offset: u64,
    size: u64,
}

impl Handle {
    fn read(reader: &mut Reader) -> Result<Handle> {
        Ok(Handle { offset: varint(reader)?, size: varint(reader)? })
    }
}

/// The content of a block. Errors: it is compressed, or its checksum is wrong.
fn block(source: &Source, handle: &Handle) -> Result<Source> {
    if handle.size > BLOCK {
        return Err(source.refuse(format!("a block of the table claims {} bytes", handle.size)));
    }
    let bytes = source.read(handle.offset, handle.size + TRAILER)?;
    let (content, stored) = bytes.split_at(bytes.len() - 4);
    let (content, kind) = (&content[..content.len() - 1], content[content.len() - 1]);
    let crc = !bytes[..bytes.len() - 4].iter().fold(!0u32, |crc, byte| crc32c(crc, *byte));
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    if stored != masked.to_le_bytes() {
        return Err(source.refuse("a block of the table is damaged: its checksum is wrong"));
    }
    if kind != 0 {
        return Err(source.refuse("the table is compressed, which is not read"));
    }
    Ok(Source::of_bytes(content.to_vec(), source.name()))
}

/// A step of the checksum CRC-32C (Castagnoli).
fn crc32c(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
}

/// The entries of a block: the length of the part that the key shares with the one before, the lengths of the other
/// part and of the value, and both. A list of restart points follows.
fn entries(block: &Source, left: &mut usize, visit: &mut dyn FnMut(&[u8], Source) -> Result<()>) -> Result<()> {
    let damaged = || block.refuse("a block of the table is damaged");
    let restarts_at = block.len().checked_sub(4).ok_or_else(damaged)?;
    let restarts = block.part(restarts_at, 4)?.reader().number(4)?;
    let end = restarts_at.checked_sub(restarts * 4).ok_or_else(damaged)?;
    let mut reader = block.part(0, end)?.reader();
    let mut key: Vec<u8> = Vec::new();
    while reader.left() > 0 {
        let (shared, own, value) = (varint(&mut reader)?, varint(&mut reader)?, varint(&mut reader)?);
        if shared > key.len() as u64 {
            return Err(damaged());
        }
        key.truncate(shared as usize);
        key.extend(reader.take(own)?);
        *left = left.checked_sub(key.len()).ok_or_else(|| block.refuse("the keys of the table are too long"))?;
        visit(&key, reader.part(value)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        // The check value of CRC-32C.
        assert_eq!(!b"123456789".iter().fold(!0u32, |crc, byte| crc32c(crc, *byte)), 0xe306_9283);
    }
}
