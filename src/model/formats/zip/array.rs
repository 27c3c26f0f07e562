//! One NumPy array of a zip archive.

use super::{Archive, ZipEntry};
use crate::error::Result;
use crate::model::formats::{Contents, OtherContent, npy, pickled};
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor};

/// The maximum number of bytes inflated into memory per archive: pickles, and arrays in Fortran order.
pub const INFLATED: u64 = 16 << 20;
/// Enough of a compressed entry for any header that is read.
const HEAD: u64 = 70_000;

/// Reads one array of an archive. An unknown type or compression is noted. `left` is the number of bytes that may still
/// be inflated into memory.
pub fn array(
    source: &Source,
    (archive, entry): (&Archive, &ZipEntry),
    name: &str,
    left: &mut u64,
    contents: &mut Contents,
) -> Result<()> {
    let mut inflate = || -> Result<Source> {
        let whole = archive.content(entry, *left)?;
        *left = left.saturating_sub(whole.len());
        Ok(whole)
    };
    let content = match archive.stored(entry)? {
        Some(content) => content,
        None if archive.deflated(entry)?.is_none() => {
            contents.note(format!("the array `{name}` is not read: it is compressed in a way that is not known"));
            contents.rest = OtherContent::Unread;
            return Ok(());
        }
        None => Source::of_bytes(archive.head(entry, HEAD)?, source.name()),
    };
    let header = match npy::header(&content) {
        Ok(header) => header,
        Err(e) if content.head(npy::MAGIC.len() as u64)? == npy::MAGIC && entry.size > content.len().min(HEAD) / 2 => {
            contents.note(format!("the array `{name}` is not read: {}", e.causes.join(", ")));
            contents.rest = OtherContent::Unread;
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let tensor = match archive.deflated(entry)? {
        None => {
            let values = content.part(header.values, content.len() - header.values)?;
            if header.objects {
                pickled::read_objects(&values, name, contents);
            }
            npy::tensor(name, &header, values)
        }
        Some(_) if header.objects => {
            let data = match inflate() {
                Ok(whole) => {
                    let values = whole.part(header.values, whole.len() - header.values)?;
                    pickled::read_objects(&values, name, contents);
                    Data::Encoded { source: values, exact: false }
                }
                Err(_) => {
                    let what = format!("the Python objects of `{name}`, a pickle that is not looked at");
                    contents.calls.push(what);
                    Data::Elsewhere("they are Python objects in a large compressed pickle")
                }
            };
            Tensor::new(name.into(), header.dtype, header.shape, data)
        }
        Some(deflated) => {
            let data = match header.fortran && header.shape.iter().filter(|d| **d > 1).count() > 1 {
                true => match inflate() {
                    Ok(whole) => {
                        let values = whole.part(header.values, whole.len() - header.values)?;
                        return contents.push(source, npy::tensor(name, &header, values));
                    }
                    Err(_) => Data::Elsewhere("they are compressed in Fortran order, and too many"),
                },
                false => Data::Deflated { source: deflated, skip: header.values, big_endian: header.big_endian },
            };
            Tensor::new(name.into(), header.dtype, header.shape, data)
        }
    };
    contents.push(source, tensor)
}
