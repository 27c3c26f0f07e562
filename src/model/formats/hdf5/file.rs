//! The file: its superblock, and the primitives of all structures. Format: "HDF5 File Format Specification", version
//! 3.0.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::Result;
use crate::model::source::{Reader, Source};

pub const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
/// How much is read of structures (headers, indexes, attributes) in all. A structure that is referred to many times
/// counts each time.
const STRUCTURES: u64 = 128 << 20;

/// A file of HDF5. All addresses count from the base address.
pub struct Hdf5File {
    /// From the base address to the end.
    pub source: Source,
    pub version: u8,
    /// The address of the header of the root group.
    pub root: u64,
    /// Bytes of an address.
    offset: u64,
    /// Bytes of a length.
    length: u64,
    left: Cell<u64>,
    heaps: RefCell<HashMap<u64, Rc<Heap>>>,
}

/// A collection of the global heap: the objects by their number.
type Heap = HashMap<u64, Source>;

/// A user block of 512, 1024, … bytes may precede it.
pub fn start(head: &[u8]) -> Option<usize> {
    [0, 512, 1024, 2048].into_iter().find(|at| head.get(*at..).is_some_and(|h| h.starts_with(MAGIC)))
}

impl Hdf5File {
    /// Reads the superblock. Errors: its version is unknown, or the file is shorter than it says.
    pub fn open(source: &Source) -> Result<Hdf5File> {
        let Some(at) = start(&source.head(4096)?) else { return Err(source.refuse("it is cut short")) };
        let mut reader = source.part(at as u64, source.len() - at as u64)?.reader();
        reader.skip(MAGIC.len() as u64)?;
        let version = reader.byte()?;
        let (offset, length) = match version {
            0 | 1 => {
                reader.skip(4)?;
                let sizes = (reader.byte()?, reader.byte()?);
                // Group sizes and flags; version 1 has a size for chunks, too.
                reader.skip(if version == 0 { 9 } else { 13 })?;
                sizes
            }
            2 | 3 => {
                let sizes = (reader.byte()?, reader.byte()?);
                reader.skip(1)?;
                sizes
            }
            version => return Err(source.refuse(format!("superblock version {version} is not known"))),
        };
        if ![2, 4, 8].contains(&offset) || ![2, 4, 8].contains(&length) {
            return Err(source.refuse(format!("its addresses have {offset} bytes and its lengths {length}")));
        }
        let offset = u64::from(offset);
        let base = reader.number(offset)?;
        reader.skip(offset)?;
        let end = reader.number(offset)?;
        // The driver block, and the name of the root.
        reader.skip(if version < 2 { 2 * offset } else { 0 })?;
        let root = reader.number(offset)?;
        if end > source.len() {
            return Err(source.refuse(format!("it is cut short: {} bytes of {end}", source.len())));
        }
        let left = source.len().checked_sub(base);
        let left = left.ok_or_else(|| source.refuse("its base address is beyond its end"))?;
        let (source, length) = (source.part(base, left)?, u64::from(length));
        let left = Cell::new(STRUCTURES);
        Ok(Hdf5File { source, version, root, offset, length, left, heaps: RefCell::default() })
    }

    /// Returns true if this address says that there is nothing.
    pub fn is_undefined(&self, address: u64) -> bool {
        address == u64::MAX >> (64 - 8 * self.offset)
    }

    pub fn address(&self, reader: &mut Reader) -> Result<u64> {
        reader.number(self.offset)
    }

    pub fn length(&self, reader: &mut Reader) -> Result<u64> {
        reader.number(self.length)
    }

    /// Bytes of an address.
    pub fn address_bytes(&self) -> u64 {
        self.offset
    }

    /// Bytes of a length.
    pub fn length_bytes(&self) -> u64 {
        self.length
    }

    /// A structure of `length` bytes, which is read.
    pub fn structure(&self, address: u64, length: u64) -> Result<Reader> {
        let part = self.source.part(address, length)?;
        self.pay(length)?;
        Ok(part.reader())
    }

    /// Counts bytes of structures.
    ///
    /// Errors: they are too many.
    pub fn pay(&self, bytes: u64) -> Result<()> {
        let left = self.left.get().checked_sub(bytes);
        let most = STRUCTURES >> 20;
        let too_many = || self.source.refuse(format!("its groups and attributes have more than {most} MiB"));
        self.left.set(left.ok_or_else(too_many)?);
        Ok(())
    }

    /// Reads a signature of four bytes. Errors: it is another one.
    pub fn expect(&self, reader: &mut Reader, signature: &str) -> Result<()> {
        if reader.take(4)? == signature.as_bytes() {
            return Ok(());
        }
        Err(self.source.refuse(format!("a structure in it ({signature}) has no signature: it is damaged")))
    }

    /// An object of the global heap. Errors: there is none, or it is damaged.
    pub fn heap_object(&self, address: u64, number: u64) -> Result<Source> {
        let known = self.heaps.borrow().get(&address).cloned();
        let heap = match known {
            Some(heap) => heap,
            None => {
                let heap = Rc::new(self.read_heap(address)?);
                self.heaps.borrow_mut().insert(address, heap.clone());
                heap
            }
        };
        let object = heap.get(&number).cloned();
        object.ok_or_else(|| self.source.refuse("a text in it is missing in its heap"))
    }

    fn read_heap(&self, address: u64) -> Result<Heap> {
        let mut head = self.structure(address, 8 + self.length)?;
        self.expect(&mut head, "GCOL")?;
        head.skip(4)?;
        let size = self.length(&mut head)?;
        let mut reader = self.source.part(address, size)?.reader();
        reader.skip(head.position().min(size))?;
        let mut heap = Heap::new();
        let object_head = 8 + self.length;
        while reader.left() >= object_head {
            self.pay(object_head)?;
            let number = reader.number(2)?;
            reader.skip(6)?;
            let length = self.length(&mut reader)?;
            if number == 0 {
                break; // the rest is free
            }
            heap.insert(number, reader.part(length)?);
            reader.skip((length.next_multiple_of(8) - length).min(reader.left()))?;
        }
        Ok(heap)
    }
}
