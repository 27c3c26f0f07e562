//! Zip archives, told apart by what is in them: PyTorch, NumPy's `.npz`, Keras 3, skops.

use super::zip::{Archive, Entry};
use super::{Contents, Format, Rest, keras, npy, pickled, skops, torch};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Data, Tensor, shown};

/// What is inflated into memory of one archive: pickles, and arrays in Fortran order.
pub const INFLATED: u64 = 16 << 20;
/// Enough of a compressed entry for any header that is read.
const HEAD: u64 = 70_000;

pub fn read(source: &Source) -> Result<Contents> {
    let archive = Archive::read(source)?;
    let pickle = archive.entries.iter().map(|e| e.name.as_str()).find_map(|name| {
        let prefix = name.strip_suffix("data.pkl")?;
        (prefix.is_empty() || prefix.find('/') == Some(prefix.len() - 1)).then_some(prefix)
    });
    if let Some(prefix) = pickle {
        return named(torch::read_zip(source, &archive, prefix), source, "PyTorch");
    }
    if archive.find("metadata.json").is_some() && archive.find("config.json").is_some() {
        return named(keras::read_archive(source, &archive), source, "Keras");
    }
    if archive.find("schema.json").is_some() {
        return named(skops::read(source, &archive), source, "skops");
    }
    if archive.entries.iter().any(|e| e.name.ends_with(".npy")) {
        return named(arrays(source, &archive), source, "NumPy");
    }
    let names: Vec<String> = archive.entries.iter().take(5).map(|e| shown(&e.name)).collect();
    Err(source.refuse(format!("it is a zip archive of no model that is known; in it are {}", names.join(", "))))
}

/// An archive that turned out to be of a kind is spoken of as such.
fn named(read: Result<Contents>, source: &Source, kind: &str) -> Result<Contents> {
    read.map_err(|mut e| {
        if e.message == source.refuse("").message {
            e.message = format!("{} is no sound {kind} archive", source.name());
        }
        e
    })
}

fn arrays(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Npz);
    let (mut others, mut count, mut left) = (Vec::new(), 0u64, INFLATED);
    for entry in &archive.entries {
        match entry.name.strip_suffix(".npy") {
            Some(name) => {
                count += 1;
                array(source, (archive, entry), &shown(name), &mut left, &mut contents)?;
            }
            None if entry.name.ends_with('/') => {}
            None => others.push(shown(&entry.name)),
        }
    }
    contents.say("arrays", count);
    if !others.is_empty() {
        contents.note(format!("in it are also {}, which are no arrays and not read", few(&others)));
        contents.rest = Rest::Unread;
    }
    Ok(contents)
}

/// One array of an archive. One whose type is not known, or that is compressed in a way that is not known, is noted.
/// `left` is how many bytes may still be inflated into memory.
pub fn array(
    source: &Source,
    (archive, entry): (&Archive, &Entry),
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
            contents.rest = Rest::Unread;
            return Ok(());
        }
        None => Source::of_bytes(archive.head(entry, HEAD)?, source.name()),
    };
    let header = match npy::header(&content) {
        Ok(header) => header,
        Err(e) if content.head(npy::MAGIC.len() as u64)? == npy::MAGIC && entry.size > content.len().min(HEAD) / 2 => {
            contents.note(format!("the array `{name}` is not read: {}", e.causes.join(", ")));
            contents.rest = Rest::Unread;
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

/// `a, b, c and 4 more`
fn few(names: &[String]) -> String {
    let first = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{first} and {} more", names.len() - 3) } else { first }
}
