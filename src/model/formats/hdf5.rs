//! Identifies HDF5 by its signature and the version of its superblock. Its tree is not read. Keras is recognised by the
//! names of attributes near the beginning.

use super::{Contents, Format, OtherContent};
use crate::error::Result;
use crate::model::source::Source;

const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
/// How far to search for attributes of the root.
const ATTRIBUTES: u64 = 1 << 20;
/// How far to search for layers with Python code.
const CODE: u64 = 64 << 20;
const CHUNK: u64 = 1 << 20;

/// A user block of 512, 1024, … bytes may precede it.
fn start(head: &[u8]) -> Option<usize> {
    [0, 512, 1024, 2048].into_iter().find(|at| head.get(*at..).is_some_and(|h| h.starts_with(MAGIC)))
}

/// Returns true for the start of an HDF5 file.
pub fn is_it(head: &[u8]) -> bool {
    start(head).is_some()
}

pub fn read(source: &Source) -> Result<Contents> {
    let head = source.head(ATTRIBUTES)?;
    let version = start(&head).and_then(|at| head.get(at + MAGIC.len()));
    let version = match version {
        Some(version @ 0..=3) => *version,
        Some(version) => return Err(source.refuse(format!("superblock version {version} is not known"))),
        None => return Err(source.refuse("it is cut short")),
    };
    let has = |word: &str| head.windows(word.len()).any(|w| w == word.as_bytes());
    let keras = ["keras_version", "model_config", "layer_names"].into_iter().any(has);
    let mut contents = Contents::new(if keras { Format::Keras } else { Format::Hdf5 });
    contents.add_metadata("HDF5 superblock", version);
    contents.note("its tree of groups and datasets is not read");
    contents.rest = OtherContent::Unread;
    if keras {
        name_code(source, &mut contents)?;
    }
    Ok(contents)
}

/// Keras stores the configuration of a model as JSON in an attribute, including the Python code of a `Lambda` layer.
fn name_code(source: &Source, contents: &mut Contents) -> Result<()> {
    const MARKS: [&[u8]; 3] = [b"\"Lambda\"", b"\"__lambda__\"", b"\"function_type\""];
    let end = source.len().min(CODE);
    let mut at = 0;
    while at < end {
        let bytes = source.read(at, (CHUNK + 32).min(source.len() - at))?;
        if MARKS.iter().any(|mark| contains(&bytes, mark)) {
            contents.calls.push("the Python code of a Lambda layer".into());
            return Ok(());
        }
        at += CHUNK;
    }
    if source.len() > CODE {
        contents.note("layers that hold Python code are looked for in its first 64 MiB only");
    }
    Ok(())
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    let quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == mark[0]);
    quotes.into_iter().any(|(at, _)| bytes[at..].starts_with(mark))
}
