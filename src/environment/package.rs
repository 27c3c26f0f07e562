//! One package of an environment, as its document says it.

use crate::path::RepoPath;

/// One package that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Normalised.
    pub name: String,
    /// Empty if it is not known before it is installed.
    pub version: String,
    /// Where it comes from, as the document says it.
    pub source: String,
    /// Hashes of its files, sorted.
    pub hashes: Vec<String>,
    /// A file or folder of the repository from which it is installed.
    pub local: Option<RepoPath>,
}
