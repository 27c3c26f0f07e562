//! The storage format of a repository: `core.repositoryFormatVersion` and `extensions.*` of its own `config`.
//!
//! Git refuses a repository with an unknown extension, since it may store objects where the reader does not look. The
//! rules here are those of Git's `setup.c`; they use only the repository's own file, no included files and no
//! variables.

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use gix::config::{File, Source, file::Metadata};
use gix::hash::Kind as Hash;

use crate::document;
use crate::error::{Error, Result};

/// Extensions that apply in version 0 as well, by their lower-case names.
const OF_VERSION_0: [&str; 4] = ["noop", "partialclone", "preciousobjects", "worktreeconfig"];
/// Extensions of version 1 that lockstep supports, or that do not affect it.
const OF_VERSION_1: [&str; 6] =
    ["compatobjectformat", "noop-v1", "objectformat", "refstorage", "relativeworktrees", "submodulepathconfig"];

/// The storage format of a repository.
#[derive(Clone, Debug)]
pub(in crate::git) struct RepoFormat {
    /// The hash of object ids.
    pub hash: Hash,
    pub refs: RefStorage,
    /// Is it a partial clone, which fetches missing objects from a remote on demand?
    pub is_partial: bool,
    /// `core.bare`, if it is set.
    pub is_bare: Option<bool>,
    /// `core.worktree`, relative to the Git folder.
    pub worktree: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum RefStorage {
    /// `refs/`, `packed-refs` and `logs/`, which gix reads.
    Files,
    /// Tables, which the `git` program reads.
    Reftable,
}

impl Default for RepoFormat {
    fn default() -> RepoFormat {
        RepoFormat { hash: Hash::Sha1, refs: RefStorage::Files, is_partial: false, is_bare: None, worktree: None }
    }
}

impl RepoFormat {
    /// The format of the repository with this common folder, as seen from a worktree's Git folder.
    ///
    /// Errors ([`crate::error::Kind::Usage`]): a version or an extension that lockstep does not support.
    pub(in crate::git) fn read(common_dir: &Path, git_dir: &Path) -> Result<RepoFormat> {
        let file = common_dir.join("config");
        let Some(config) = parse(&file)? else { return Ok(RepoFormat::default()) };
        let refuse = |what: String| {
            Err(Error::usage(format!("the repository {} cannot be read: {what}", common_dir.display()))
                .because("what lockstep does not know about a repository could make it lose data there")
                .hint(format!("git --git-dir {} fsck — says whether Git itself can read it", common_dir.display())))
        };
        let version = match config.integer("core.repositoryFormatVersion") {
            Ok(version) => version.unwrap_or(0),
            Err(e) => return refuse(format!("core.repositoryFormatVersion is not a number ({e})")),
        };
        if !(0..=1).contains(&version) {
            return refuse(format!("it has the format version {version}, and lockstep knows 0 and 1"));
        }
        for name in extensions(&config) {
            if OF_VERSION_0.contains(&name.as_str()) || (version == 1 && OF_VERSION_1.contains(&name.as_str())) {
                continue;
            }
            if version == 1 {
                return refuse(format!("lockstep does not know extensions.{name}"));
            }
            if OF_VERSION_1.contains(&name.as_str()) {
                return refuse(format!("extensions.{name} needs core.repositoryFormatVersion = 1"));
            }
        }
        let text = |key: &str| config.string(key).map(|value| value.to_str_lossy().to_ascii_lowercase());
        let hash = match text("extensions.objectFormat").as_deref() {
            None | Some("sha1") => Hash::Sha1,
            Some("sha256") => Hash::Sha256,
            Some(other) => return refuse(format!("extensions.objectFormat is {other}")),
        };
        let refs = match text("extensions.refStorage").as_deref() {
            None | Some("files") => RefStorage::Files,
            Some("reftable") => RefStorage::Reftable,
            Some(other) => return refuse(format!("extensions.refStorage is {other}")),
        };
        let mut remotes = config.sections_by_name("remote").into_iter().flatten();
        let is_promisor = remotes.any(|remote| remote.value("promisor").is_some_and(|value| value != "false"));
        let is_partial = config.string("extensions.partialClone").is_some() || is_promisor;
        let mut found = RepoFormat { hash, refs, is_partial, is_bare: None, worktree: None };
        found.add_worktree(&config);
        if config.boolean("extensions.worktreeConfig").ok().flatten() == Some(true)
            && let Some(config) = parse(&git_dir.join("config.worktree"))?
        {
            found.add_worktree(&config);
        }
        Ok(found)
    }

    fn add_worktree(&mut self, config: &File) {
        self.is_bare = config.boolean("core.bare").ok().flatten().or(self.is_bare);
        if let Some(worktree) = config.string("core.worktree").filter(|path| !path.is_empty()) {
            self.worktree = gix::path::from_bstring(worktree).ok();
        }
    }
}

/// A configuration file; `None` if it does not exist.
fn parse(file: &Path) -> Result<Option<File>> {
    let Some(bytes) = document::read(file, document::MOST)? else { return Ok(None) };
    let meta = Metadata::from(Source::Local).at(file);
    let parsed = File::from_bytes_no_includes(&bytes, meta, Default::default());
    parsed.map(Some).map_err(|e| {
        Error::usage(format!("Git's settings in {} cannot be read", file.display()))
            .because(e)
            .hint(format!("git config --file {} --list — says where the mistake is", file.display()))
    })
}

/// The names of all extensions, in lower case. Sections with a subsection are not Git's.
fn extensions(config: &File) -> Vec<String> {
    let sections = config.sections_by_name("extensions").into_iter().flatten();
    let plain = sections.filter(|section| section.header().subsection_name().is_none());
    plain.flat_map(|section| section.value_names().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn read(config: &str) -> Result<RepoFormat> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), config).unwrap();
        RepoFormat::read(dir.path(), dir.path())
    }

    #[test]
    fn formats_that_are_known() {
        for (config, hash, refs, is_partial) in [
            ("", Hash::Sha1, RefStorage::Files, false),
            ("[core]\nrepositoryformatversion = 0\n[extensions]\nfoo = 1\n", Hash::Sha1, RefStorage::Files, false),
            (
                "[core]\nrepositoryformatversion=1\n[extensions]\nobjectFormat=SHA256\n",
                Hash::Sha256,
                RefStorage::Files,
                false,
            ),
            (
                "[core]\nrepositoryformatversion=1\n[Extensions]\nRefStorage = reftable\n",
                Hash::Sha1,
                RefStorage::Reftable,
                false,
            ),
            ("[extensions]\npartialClone = origin\n", Hash::Sha1, RefStorage::Files, true),
            ("[remote \"origin\"]\npromisor = true\n", Hash::Sha1, RefStorage::Files, true),
            (
                "[core]\nrepositoryformatversion=1\n[extensions]\nrelativeWorktrees\n",
                Hash::Sha1,
                RefStorage::Files,
                false,
            ),
        ] {
            let found = read(config).unwrap_or_else(|e| panic!("{config}: {e}"));
            assert_eq!((found.hash, found.refs, found.is_partial), (hash, refs, is_partial), "{config}");
        }
    }

    #[test]
    fn formats_that_are_refused() {
        for (config, part) in [
            ("[core]\nrepositoryformatversion = 2\n", "version 2"),
            ("[core]\nrepositoryformatversion = x\n", "not a number"),
            ("[core]\nrepositoryformatversion = 1\n[extensions]\nfoo = 1\n", "extensions.foo"),
            ("[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = md5\n", "md5"),
            ("[core]\nrepositoryformatversion = 1\n[extensions]\nrefStorage = sql\n", "sql"),
            ("[core]\nrepositoryformatversion = 0\n[extensions]\nobjectFormat = sha256\n", "= 1"),
            ("[core\n", "cannot be read"),
        ] {
            let error = read(config).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{config}");
            assert!(error.message.contains(part), "{config}: {error}");
        }
    }

    #[test]
    fn the_worktree_may_have_settings_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let git_dir = dir.path().join("worktrees/x");
        std::fs::create_dir_all(&git_dir).unwrap();
        std::fs::write(git_dir.join("config.worktree"), "[core]\nworktree = ../w\n").unwrap();
        for (config, want) in [("", None), ("[extensions]\nworktreeConfig = true\n", Some(PathBuf::from("../w")))] {
            std::fs::write(dir.path().join("config"), config).unwrap();
            assert_eq!(RepoFormat::read(dir.path(), &git_dir).unwrap().worktree, want);
        }
    }
}
