//! Reads the tree of an HDF5 file: groups, attributes, datasets.
//!
//! Written here instead of taken from a crate because of what it does *not* do: nothing is allocated by a number from
//! the file, nothing is read twice in a circle, all structures together have a limit, no two datasets share bytes, and
//! values are located instead of read. What it does not read is noted: dense indexes of links and attributes (groups
//! with many entries, written with the option for newest versions), filters other than deflate and shuffle, extensible
//! indexes of chunks. Soft and external links are not followed.

mod attribute;
mod dataset;
mod datatype;
mod file;
mod group;
mod object;

use std::collections::HashSet;

pub use attribute::{Attribute, AttributeValue, Attributes};
use file::{Hdf5File, start};

use super::{Contents, OtherContent, OtherContentHash};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Tensor, shown};

/// The maximum depth of groups. Keras stays below 20.
const DEPTH: usize = 100;

/// Returns true for the start of an HDF5 file.
pub fn is_it(head: &[u8]) -> bool {
    start(head).is_some()
}

/// The content of a file.
pub struct Tree {
    /// The version of the superblock.
    pub version: u8,
    /// In the order of the groups; their names are paths without a leading slash.
    pub datasets: Vec<Tensor>,
    /// The groups with their paths; the root is the first, with an empty one.
    pub groups: Vec<(String, Attributes)>,
    /// What was not read, in sentences.
    pub notes: Vec<String>,
    /// A hash of attributes and soft links.
    pub rest: OtherContent,
}

impl Tree {
    /// The attributes of a group.
    pub fn group(&self, path: &str) -> Option<&Attributes> {
        self.groups.iter().find(|(at, _)| at == path).map(|(_, attributes)| attributes)
    }
}

/// Adds the datasets, the notes and the rest of a tree.
pub fn take(tree: Tree, source: &Source, contents: &mut Contents) -> Result<()> {
    for tensor in tree.datasets {
        contents.push(source, Ok(tensor))?;
    }
    contents.notes.extend(tree.notes);
    contents.rest = contents.rest.with(tree.rest);
    Ok(())
}

/// Reads the whole tree. The attributes of the root with the names in `apart` are not hashed.
pub fn tree(source: &Source, apart: &'static [&'static str]) -> Result<Tree> {
    let file = Hdf5File::open(source)?;
    let (version, root) = (file.version, file.root);
    let tree =
        Tree { version, datasets: Vec::new(), groups: Vec::new(), notes: Vec::new(), rest: OtherContent::Nothing };
    let mut walk = Walk {
        apart,
        file,
        tree,
        seen: HashSet::new(),
        ranges: Vec::new(),
        hash: OtherContentHash::default(),
        unread: false,
    };
    let mut pending = vec![(String::new(), root, 0)];
    while let Some((path, address, depth)) = pending.pop() {
        walk.object(path, address, depth, &mut pending)?;
    }
    walk.finish()
}

struct Walk {
    /// Attributes of the root that are not hashed.
    apart: &'static [&'static str],
    file: Hdf5File,
    tree: Tree,
    /// The addresses of objects that were read.
    seen: HashSet<u64>,
    /// Where datasets have values: address and length.
    ranges: Vec<(u64, u64)>,
    hash: OtherContentHash,
    unread: bool,
}

impl Walk {
    fn object(
        &mut self,
        path: String,
        address: u64,
        depth: usize,
        pending: &mut Vec<(String, u64, usize)>,
    ) -> Result<()> {
        if !self.seen.insert(address) {
            self.note(format!("`{}` is another name of an object that is listed already", shown(&path)));
            return Ok(());
        }
        let messages = object::messages(&self.file, address)?;
        let attributes = attribute::attributes(&self.file, &messages)?;
        self.hash_attributes(&path, &attributes);
        if dataset::is_dataset(&messages) {
            let as_bf16 = attributes.text("dtype") == Some("bfloat16");
            let tensor = dataset::dataset(&self.file, &path, &messages, as_bf16, &mut self.ranges)?;
            if self.tree.datasets.len() == super::TENSORS {
                return Err(self.file.source.refuse(format!("it has more than {} datasets", super::TENSORS)));
            }
            self.tree.datasets.push(tensor.map_err(|why| self.file.source.refuse(why))?);
            return Ok(());
        }
        if !group::is_group(&messages) && depth == 0 {
            return Err(self.file.source.refuse("its root is not a group"));
        }
        let links = group::links(&self.file, &messages)?;
        if links.is_dense {
            self.note(format!("the links of the group `/{}` are in a dense index, which is not read", shown(&path)));
            self.unread = true;
        }
        for (name, target) in &links.soft {
            self.hash.field(1, path.as_bytes());
            self.hash.field(2, name.as_bytes());
            self.hash.field(3, target);
        }
        if depth == DEPTH && !links.hard.is_empty() {
            self.note(format!("groups that are nested more than {DEPTH} deep are not read"));
            self.unread = true;
        } else {
            for (name, address) in links.hard.into_iter().rev() {
                let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                self.file.pay(below.len() as u64)?;
                pending.push((below, address, depth + 1));
            }
        }
        self.tree.groups.push((path, attributes));
        Ok(())
    }

    fn note(&mut self, text: String) {
        const NOTES: usize = 20;
        if self.tree.notes.len() < NOTES && !self.tree.notes.contains(&text) {
            self.tree.notes.push(text);
        }
    }

    fn hash_attributes(&mut self, path: &str, attributes: &Attributes) {
        if attributes.is_dense {
            self.note(format!("attributes of `/{}` are in a dense index, which is not read", shown(path)));
            self.unread = true;
        }
        for attribute in &attributes.list {
            if path.is_empty() && self.apart.contains(&attribute.name.as_str()) {
                continue;
            }
            self.hash.field(4, path.as_bytes());
            self.hash.field(5, attribute.name.as_bytes());
            self.hash.field(6, attribute.kind.as_bytes());
            match &attribute.value {
                AttributeValue::Texts(texts) => texts.iter().for_each(|text| self.hash.field(7, text.as_bytes())),
                AttributeValue::Elements(_, bytes) => self.hash.field(8, bytes),
                AttributeValue::Unread => self.unread = true,
            }
        }
    }

    fn finish(mut self) -> Result<Tree> {
        self.ranges.retain(|(_, length)| *length > 0);
        self.ranges.sort_unstable();
        if self.ranges.windows(2).any(|pair| pair[0].0.saturating_add(pair[0].1) > pair[1].0) {
            return Err(self.file.source.refuse("datasets in it share their bytes"));
        }
        self.tree.rest = if self.unread { OtherContent::Unread } else { self.hash.rest() };
        Ok(self.tree)
    }
}
