//! Compressed pickles, as written by `joblib.dump(…, compress=3)`: recognised by the magic of the compression. Small
//! zlib and gzip content is read; other compressions are only identified.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};

use super::{Contents, Format, pickled};
use crate::error::Result;
use crate::model::source::Source;

/// The maximum number of bytes inflated into memory.
const INFLATED: u64 = 64 << 20;

/// The name of the compression, by its magic.
pub fn kind(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some("zlib"),
        [0x1f, 0x8b, 8, ..] => Some("gzip"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        _ => None,
    }
}

pub fn read(source: &Source) -> Result<Contents> {
    let kind = kind(&source.head(16)?).unwrap_or_default();
    let mut bytes = Vec::new();
    let inflated = match kind {
        "zlib" => ZlibDecoder::new(source.reader()).take(INFLATED + 1).read_to_end(&mut bytes),
        "gzip" => GzDecoder::new(source.reader()).take(INFLATED + 1).read_to_end(&mut bytes),
        _ => {
            let mut contents = Contents::new(Format::Joblib);
            contents.add_metadata("compression", kind);
            contents.note(format!("its {kind} content is not read; joblib writes pickles like this"));
            return Ok(contents);
        }
    };
    inflated.map_err(|_| source.refuse(format!("its {kind} stream is damaged or cut short")))?;
    if bytes.len() as u64 > INFLATED {
        let mut contents = Contents::new(Format::Joblib);
        contents.add_metadata("compression", kind);
        contents.note(format!("it inflates to more than {INFLATED} bytes, and is not looked at"));
        return Ok(contents);
    }
    if !pickled::is_it(&bytes) {
        return Err(source.refuse(format!("its {kind} stream is not a pickle")));
    }
    let mut contents = pickled::read(&Source::of_bytes(bytes, source.name()))?;
    contents.format = Format::Joblib;
    contents.metadata.insert(0, ("compression".into(), kind.into()));
    Ok(contents)
}
