//! The ways in which objects get into a workspace: reflinks, hard links, symlinks or plain copies.

use std::fmt;
use std::str::FromStr;

/// One way. `Reflink` shares blocks until one side writes; the links expose the object itself, read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// A copy that shares blocks (`FICLONE`, `clonefile`).
    Reflink,
    /// The same inode as the object.
    Hardlink,
    /// A link to the path of the object.
    Symlink,
    /// Bytes of its own.
    Copy,
}

/// The ways to try, in this order; a plain copy is always the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTypes(Vec<LinkType>);

impl LinkTypes {
    /// These ways, the preferred one first.
    pub fn new(types: impl IntoIterator<Item = LinkType>) -> LinkTypes {
        LinkTypes(types.into_iter().collect())
    }

    /// The ways to try in order, with a final [`LinkType::Copy`].
    pub fn iter(&self) -> impl Iterator<Item = LinkType> + '_ {
        self.0.iter().copied().chain([LinkType::Copy])
    }
}

impl Default for LinkTypes {
    fn default() -> LinkTypes {
        LinkTypes(vec![LinkType::Reflink, LinkType::Copy])
    }
}

impl FromStr for LinkType {
    type Err = String;

    fn from_str(text: &str) -> Result<LinkType, String> {
        match text {
            "reflink" => Ok(LinkType::Reflink),
            "hardlink" => Ok(LinkType::Hardlink),
            "symlink" => Ok(LinkType::Symlink),
            "copy" => Ok(LinkType::Copy),
            _ => Err(format!("`{text}` is not a link type: use reflink, hardlink, symlink or copy")),
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkType::Reflink => "reflink",
            LinkType::Hardlink => "hardlink",
            LinkType::Symlink => "symlink",
            LinkType::Copy => "copy",
        })
    }
}
