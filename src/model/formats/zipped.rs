//! Zip archives, distinguished by their content: PyTorch, NumPy's `.npz`, Keras 3, skops.

use super::zip::Archive;
use super::zip::array::{INFLATED, array};
use super::{Contents, Format, OtherContent, keras, skops, sparse, torch};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::shown;

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

/// Adds the kind of the archive to an error.
fn named(read: Result<Contents>, source: &Source, kind: &str) -> Result<Contents> {
    read.map_err(|mut e| {
        if e.message == source.refuse("").message {
            e.message = format!("{} is not a valid {kind} archive", source.name());
        }
        e
    })
}

fn arrays(source: &Source, archive: &Archive) -> Result<Contents> {
    let mut contents = Contents::new(Format::Npz);
    let (mut others, mut count, mut left) = (Vec::new(), 0u64, INFLATED);
    let matrix = sparse::find(archive)?;
    for entry in &archive.entries {
        match entry.name.strip_suffix(".npy") {
            Some(name) if matrix.is_some() && sparse::DESCRIPTIONS.contains(&name) => {}
            Some(name) => {
                count += 1;
                array(source, (archive, entry), &shown(name), &mut left, &mut contents)?;
            }
            None if entry.name.ends_with('/') => {}
            None => others.push(shown(&entry.name)),
        }
    }
    match matrix {
        Some(matrix) => sparse::describe(source, matrix, &mut contents)?,
        None => contents.add_metadata("arrays", count),
    }
    if !others.is_empty() {
        contents.note(format!("it also contains {}, which are not arrays and not read", few(&others)));
        contents.rest = OtherContent::Unread;
    }
    Ok(contents)
}

/// `a, b, c and 4 more`
fn few(names: &[String]) -> String {
    let first = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{first} and {} more", names.len() - 3) } else { first }
}
