//! Lists of numbers in a protocol buffer: packed, or one field each, or both.

use crate::error::Result;
use crate::model::formats::protobuf::{Value, varint};
use crate::model::source::Source;

/// The maximum number of decoded bytes per model.
const DECODED: u64 = 64 << 20;

/// The remaining number of bytes that may be decoded.
pub struct Budget(u64);

impl Budget {
    pub fn new() -> Budget {
        Budget(DECODED)
    }

    /// Takes bytes from the budget; false if it is exhausted.
    pub fn take(&mut self, bytes: u64) -> bool {
        let enough = bytes <= self.0;
        self.0 = self.0.saturating_sub(bytes);
        enough
    }
}

/// A list of one field.
#[derive(Default)]
pub struct NumberList {
    /// All of it in one part of the file.
    piece: Option<Source>,
    /// Little-endian; integers with eight bytes each.
    bytes: Vec<u8>,
    /// Whether it is longer than the limit.
    pub is_cut: bool,
}

impl NumberList {
    pub fn is_empty(&self) -> bool {
        self.piece.is_none() && self.bytes.is_empty() && !self.is_cut
    }

    /// One more field of a list of floats, which have `width` bytes each.
    pub fn add_floats(&mut self, value: &Value, width: u64, budget: &mut Budget) -> Result<()> {
        match value {
            Value::Bytes(piece) if self.is_empty() => self.piece = Some(piece.clone()),
            Value::Bytes(piece) => {
                self.keep_piece(budget)?;
                self.append(piece, budget)?;
            }
            Value::Fixed(bits, found) if *found == width => {
                self.keep_piece(budget)?;
                self.push(&bits.to_le_bytes()[..width as usize], budget);
            }
            Value::Fixed(..) | Value::Number(_) => {}
        }
        Ok(())
    }

    /// One more field of a list of integers.
    pub fn add_integers(&mut self, value: &Value, budget: &mut Budget) -> Result<()> {
        match value {
            Value::Number(number) => self.push(&number.to_le_bytes(), budget),
            Value::Fixed(..) => {}
            Value::Bytes(piece) => {
                let mut reader = piece.reader();
                while reader.left() > 0 && !self.is_cut {
                    let number = varint(&mut reader)?;
                    self.push(&number.to_le_bytes(), budget);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], budget: &mut Budget) {
        if !self.is_cut && budget.take(bytes.len() as u64) {
            self.bytes.extend(bytes);
        } else {
            self.is_cut = true;
        }
    }

    fn keep_piece(&mut self, budget: &mut Budget) -> Result<()> {
        if let Some(piece) = self.piece.take() {
            self.append(&piece, budget)?;
        }
        Ok(())
    }

    fn append(&mut self, piece: &Source, budget: &mut Budget) -> Result<()> {
        if self.is_cut || !budget.take(piece.len()) {
            self.is_cut = true;
            return Ok(());
        }
        self.bytes.extend(piece.head(u64::MAX)?);
        Ok(())
    }

    /// The floats of the list, little-endian.
    pub fn floats(self, name: &str) -> Source {
        self.piece.unwrap_or_else(|| Source::of_bytes(self.bytes, name))
    }

    /// The integers of the list with so many bytes each, little-endian.
    pub fn integers(self, width: u64, name: &str) -> Source {
        if width == 8 {
            return Source::of_bytes(self.bytes, name);
        }
        let (numbers, _) = self.bytes.as_chunks::<8>();
        Source::of_bytes(numbers.iter().flat_map(|n| &n[..width as usize]).copied().collect(), name)
    }

    /// Packs the integers of the list: the low `bits` bits of each, without gaps, from the lowest bit of a byte on.
    pub fn packed(self, bits: usize, name: &str) -> Source {
        let (numbers, _) = self.bytes.as_chunks::<8>();
        let mut packed = vec![0u8; (numbers.len() * bits).div_ceil(8)];
        for (at, number) in numbers.iter().enumerate() {
            for bit in 0..bits {
                let place = at * bits + bit;
                packed[place / 8] |= (number[bit / 8] >> (bit % 8) & 1) << (place % 8);
            }
        }
        Source::of_bytes(packed, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_single_numbers_are_one_list() {
        let mut budget = Budget::new();
        let piece = |bytes: &[u8]| Value::Bytes(Source::of_bytes(bytes.to_vec(), "x"));
        let mut floats = NumberList::default();
        floats.add_floats(&piece(&[1, 2, 3, 4]), 4, &mut budget).unwrap();
        floats.add_floats(&Value::Fixed(0x08070605, 4), 4, &mut budget).unwrap();
        floats.add_floats(&piece(&[9, 9, 9, 9]), 4, &mut budget).unwrap();
        assert_eq!(floats.floats("x").head(99).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]);
        let mut integers = NumberList::default();
        integers.add_integers(&piece(&[1, 0x80, 2]), &mut budget).unwrap();
        integers.add_integers(&Value::Number((-2i64) as u64), &mut budget).unwrap();
        let mut six = NumberList::default();
        [1, 2, 3, 63, 5].iter().for_each(|n| six.add_integers(&Value::Number(*n), &mut budget).unwrap());
        assert_eq!(six.packed(6, "x").head(99).unwrap(), [0x81, 0x30, 0xfc, 5]);
        assert_eq!(integers.integers(2, "x").head(99).unwrap(), [1, 0, 0, 1, 0xfe, 0xff]);
    }

    #[test]
    fn a_list_beyond_the_budget_is_cut() {
        let mut budget = Budget(20);
        let mut list = NumberList::default();
        (0..5).for_each(|n| list.add_integers(&Value::Number(n), &mut budget).unwrap());
        assert!(list.is_cut && list.bytes.len() == 16);
    }
}
