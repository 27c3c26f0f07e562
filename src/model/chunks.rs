//! Values of a tensor in chunks that are compressed one by one, as HDF5 stores them. They are read row by row: a band of
//! chunks along the first dimension is in memory at a time.

use std::io::Read;
use std::sync::Arc;

use flate2::read::ZlibDecoder;

use super::source::Source;
use crate::error::Result;

/// The maximum size of a band, and of an uncompressed chunk.
const BAND: u64 = 32 << 20;

/// What was done to the bytes of a chunk when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// zlib.
    Deflate,
    /// The first bytes of all elements come first, then the second bytes, and so on; the number is the bytes of an
    /// element.
    Shuffle(u64),
    /// Four bytes of checksum follow.
    Checksum,
}

/// A chunk in a file.
#[derive(Clone)]
pub struct Chunk {
    /// Its stored bytes.
    pub source: Source,
    /// Bit `n` is set if the filter `n` was not applied.
    pub skipped_filters: u32,
}

/// All chunks of a tensor.
#[derive(Clone)]
pub struct Chunks {
    /// The whole file, for messages.
    pub source: Source,
    /// The shape of the tensor: at least one dimension.
    pub shape: Vec<u64>,
    /// The shape of a chunk: as many dimensions, none of them 0.
    pub chunk: Vec<u64>,
    /// Bytes of an element.
    pub width: u64,
    /// In the order in which they were applied.
    pub filters: Vec<Filter>,
    /// In row-major order of their positions, none missing.
    pub places: Vec<Chunk>,
}

impl Chunks {
    /// Returns true if a band of chunks fits into memory.
    pub fn is_readable(&self) -> bool {
        let band = self.chunk[0].min(self.shape[0]);
        let row = self.row_bytes();
        let chunk = self.chunk.iter().try_fold(self.width, |n, d| n.checked_mul(*d));
        row.and_then(|row| row.checked_mul(band)).is_some_and(|bytes| bytes <= BAND) && chunk.is_some_and(|n| n <= BAND)
    }

    /// Bytes of everything at one position of the first dimension.
    fn row_bytes(&self) -> Option<u64> {
        self.shape[1..].iter().try_fold(self.width, |n, d| n.checked_mul(*d))
    }

    /// The numbers of chunks along each dimension.
    pub fn counts(shape: &[u64], chunk: &[u64]) -> Vec<u64> {
        shape.iter().zip(chunk).map(|(d, c)| d.div_ceil(*c)).collect()
    }

    /// One chunk without its filters, of `bytes` bytes.
    fn decode(&self, chunk: &Chunk, bytes: u64) -> Result<Vec<u8>> {
        let damaged = || self.source.refuse("a compressed chunk of values in it is damaged or cut short");
        let mut content = chunk.source.all(BAND, "a chunk of values in it")?;
        for (at, filter) in self.filters.iter().enumerate().rev() {
            if chunk.skipped_filters >> at & 1 == 1 {
                continue;
            }
            content = match filter {
                Filter::Checksum => {
                    content.truncate(content.len().checked_sub(4).ok_or_else(damaged)?);
                    content
                }
                Filter::Deflate => {
                    // A checksum inside adds a few bytes.
                    let (mut inflated, most) = (Vec::new(), bytes + 64);
                    let read = ZlibDecoder::new(&content[..]).take(most).read_to_end(&mut inflated);
                    read.map_err(|_| damaged())?;
                    inflated
                }
                Filter::Shuffle(width) => unshuffle(&content, *width as usize),
            };
        }
        if content.len() as u64 != bytes { Err(damaged()) } else { Ok(content) }
    }

    /// The band of chunks with this number, row by row.
    fn band(&self, number: u64) -> Result<Vec<u8>> {
        let counts = Chunks::counts(&self.shape, &self.chunk);
        let in_band: u64 = counts[1..].iter().product();
        let first = number * self.chunk[0];
        let rows = self.chunk[0].min(self.shape[0] - first);
        let row = self.row_bytes().unwrap_or(0);
        let mut out = vec![0; (rows * row) as usize];
        let bytes = self.chunk.iter().product::<u64>() * self.width;
        for at in 0..in_band {
            let content = self.decode(&self.places[(number * in_band + at) as usize], bytes)?;
            self.place(&content, at, rows, &counts, &mut out);
        }
        Ok(out)
    }

    /// Copies a chunk to its position in a band of `rows` rows.
    fn place(&self, content: &[u8], at: u64, rows: u64, counts: &[u64], out: &mut [u8]) {
        let dims = self.shape.len();
        // The first element of the chunk in the band, and the part of the chunk that is inside of the tensor.
        let (mut start, mut inside, mut rest) = (vec![0; dims], vec![rows; dims], at);
        for d in (1..dims).rev() {
            start[d] = rest % counts[d] * self.chunk[d];
            inside[d] = self.chunk[d].min(self.shape[d] - start[d]);
            rest /= counts[d];
        }
        let offset = |index: &[u64], start: &[u64], shape: &[u64]| {
            (0..dims).fold(0, |n, d| n * if d == 0 { 1 } else { shape[d] } + index[d] + start[d]) * self.width
        };
        let run = (inside[dims - 1] * self.width) as usize;
        let (mut index, none) = (vec![0; dims], vec![0; dims]);
        loop {
            let (from, to) = (offset(&index, &none, &self.chunk), offset(&index, &start, &self.shape));
            let (from, to) = (from as usize, to as usize);
            out[to..to + run].copy_from_slice(&content[from..from + run]);
            let mut d = dims - 1;
            loop {
                if d == 0 {
                    return;
                }
                d -= 1;
                index[d] += 1;
                if index[d] < inside[d] {
                    break;
                }
                index[d] = 0;
            }
        }
    }
}

/// The opposite of [`Filter::Shuffle`]. Bytes after the last whole element stay where they are.
fn unshuffle(content: &[u8], width: usize) -> Vec<u8> {
    if width < 2 {
        return content.to_vec();
    }
    let count = content.len() / width;
    let mut out = content.to_vec();
    for (i, element) in out.chunks_exact_mut(width).enumerate() {
        for (byte, to) in element.iter_mut().enumerate() {
            *to = content[byte * count + i];
        }
    }
    out
}

/// Reads all values sequentially.
pub struct ChunkReader {
    chunks: Arc<Chunks>,
    next: u64,
    band: Vec<u8>,
    at: usize,
}

impl ChunkReader {
    /// Starts at the first value; see [`Chunks::is_readable`].
    pub fn new(chunks: Arc<Chunks>) -> ChunkReader {
        ChunkReader { chunks, next: 0, band: Vec::new(), at: 0 }
    }

    /// Fills `into` with the next bytes.
    ///
    /// Errors: a chunk is damaged, or all values were read.
    pub fn fill(&mut self, mut into: &mut [u8]) -> Result<()> {
        while !into.is_empty() {
            if self.at == self.band.len() {
                if self.next * self.chunks.chunk[0] >= self.chunks.shape[0] {
                    return Err(self.chunks.source.refuse("it has fewer values than its shape says"));
                }
                self.band = Vec::new();
                self.band = self.chunks.band(self.next)?;
                (self.next, self.at) = (self.next + 1, 0);
            }
            let count = into.len().min(self.band.len() - self.at);
            let (now, later) = into.split_at_mut(count);
            now.copy_from_slice(&self.band[self.at..self.at + count]);
            (into, self.at) = (later, self.at + count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_in_place() {
        // 3 × 5 in chunks of 2 × 2: the last ones reach beyond the tensor.
        let (shape, chunk) = (vec![3, 5], vec![2, 2]);
        let mut places = Vec::new();
        for (row, column) in [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4)] {
            let value = |r: u64, c: u64| if r < 3 && c < 5 { (r * 5 + c) as u8 } else { 99 };
            let bytes = (0..4).map(|i| value(row + i / 2, column + i % 2)).collect();
            places.push(Chunk { source: Source::of_bytes(bytes, "x"), skipped_filters: 0 });
        }
        let source = Source::of_bytes(Vec::new(), "x");
        let chunks = Chunks { source, shape, chunk, width: 1, filters: Vec::new(), places };
        assert!(chunks.is_readable());
        let mut reader = ChunkReader::new(Arc::new(chunks));
        let mut out = [0; 15];
        reader.fill(&mut out[..4]).unwrap();
        reader.fill(&mut out[4..]).unwrap();
        assert_eq!(out, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert!(reader.fill(&mut out[..1]).is_err());
    }

    #[test]
    fn shuffled_bytes() {
        assert_eq!(unshuffle(&[1, 3, 5, 2, 4, 6, 9], 2), [1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(unshuffle(&[1, 2, 3], 1), [1, 2, 3]);
    }
}
