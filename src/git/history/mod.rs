//! Reads any revision without checking it out: resolves names to commits.
//!
//! [`History`] is an open handle on Git's objects. Objects never change, so trees are cached: in a long history nearly
//! all subtrees are equal from commit to commit. One handle belongs to one thread.

pub(super) mod commit;
pub(super) mod find_by_name;
pub(super) mod model_revision;
pub(super) mod partial;
pub(super) mod prefetch;
pub(super) mod refs;
pub(super) mod replacements;
pub(super) mod select;
pub(super) mod signature;
pub(in crate::git) mod special;
pub(super) mod versions;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use gix::odb::pack::cache::lru::MemoryCappedHashmap;

use super::id::GitId;
use super::repo::Repo;
use super::repo::server_header::ServerHeader;
use crate::error::{Error, Kind, Result};
use crate::git::repo::format::RefStorage;
use crate::path::RepoPath;
use crate::shell::word;
use crate::tag::{self, ModelRequest, ModelTag};
use commit::{Commit, TreeEntry};
use model_revision::{RegistryAnswer, is_word};
use refs::store::{Ref, RefTable, broken_ref};
use replacements::Grafts;
use signature::Signature;
use special::DiscoveryFile;

/// The size of gix's cache of decoded trees and commits: walking a history and then reading it reads each commit twice.
const OBJECT_CACHE: usize = 32 << 20;
/// The size of the cache of delta bases: chains are up to 50 long, and neighbours in history share them.
pub(super) const DELTA_CACHE: usize = 64 << 20;

/// The largest number of nested tags that are followed.
const MOST_TAGS: usize = 64;

/// Git's objects and refs, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct History(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub repo: gix::Repository,
    /// The folder where names of models are looked up first.
    pub folder: RepoPath,
    pub require_signed: bool,
    /// See [`Repo::is_other`].
    pub is_other: bool,
    /// See [`Repo::fetches_missing`].
    pub fetches_missing: bool,
    /// See [`Repo::server_header`].
    pub server_header: Option<ServerHeader>,
    /// See [`Repo`].
    pub objects_elsewhere: Option<&'static str>,
    pub ref_storage: RefStorage,
    /// The refs, if they are not stored in files.
    pub ref_table: OnceCell<Rc<RefTable>>,
    /// Does Git fetch missing objects from a remote?
    pub is_partial: bool,
    /// Git's commit graph, which holds the tree of each commit, so that commits need not be read. `None` if there is
    /// none, if Git does not enable it, or if it may not be trusted (signatures are required, parents are replaced).
    pub graph: Option<gix::commitgraph::Graph>,
    /// The positions of objects in packs; see [`crate::git::history::prefetch`].
    pub packs: OnceCell<Vec<gix::odb::pack::index::File>>,
    pub trees: RefCell<HashMap<gix::ObjectId, Rc<Vec<TreeEntry>>>>,
    /// The relevant files below a tree; see [`Commit::discover`].
    pub special: RefCell<HashMap<gix::ObjectId, Rc<Vec<DiscoveryFile>>>>,
    /// Replaced parents of commits, if this is the history [as Git shows it](Repo::histories).
    pub grafts: Option<Grafts>,
}

impl Repo {
    /// Opens Git's objects.
    ///
    /// Errors: [`Kind::Usage`] outside Git.
    pub fn history(&self) -> Result<History> {
        self.history_from(&RepoPath::root())
    }

    /// The same, as seen from a folder: there the name of a model needs no folder. Commits are as Git shows them, with
    /// the user's replacements ([`Repo::histories`]), unless signatures are required.
    pub fn history_from(&self, folder: &RepoPath) -> Result<History> {
        let Some(repo) = self.open()? else {
            return Err(Error::usage("there is no history here: this project is not in a Git repository")
                .hint("git init — makes one"));
        };
        let plain = self.history_of(repo, folder, None)?;
        // A signature covers ids; and replacements of another repository must not apply here.
        if self.require_signed || self.is_other {
            return Ok(plain);
        }
        Ok(self.shown_history(&plain)?.unwrap_or(plain))
    }

    /// Objects without replacements: the text of a tag and its signature are about the tag object itself.
    pub fn plain_history(&self) -> Result<History> {
        match self.open()? {
            Some(repo) => self.history_of(repo, &RepoPath::root(), None),
            None => self.history(),
        }
    }

    pub(super) fn history_of(
        &self,
        mut repo: gix::Repository,
        folder: &RepoPath,
        grafts: Option<Grafts>,
    ) -> Result<History> {
        repo.object_cache_size(OBJECT_CACHE);
        repo.objects.set_pack_cache(|| Box::new(MemoryCappedHashmap::new(DELTA_CACHE)));
        let require_signed = self.require_signed;
        // A signature covers commits, not this summary of them.
        let is_summed_up = !require_signed && grafts.is_none();
        let graph = if !is_summed_up { None } else { repo.commit_graph_if_enabled().ok().flatten() };
        let (packs, trees, special, ref_table) = Default::default();
        Ok(History(Rc::new(Inner {
            repo,
            folder: folder.clone(),
            require_signed,
            is_other: self.is_other,
            fetches_missing: self.fetches_missing,
            server_header: self.server_header.clone(),
            objects_elsewhere: self.objects_elsewhere,
            ref_storage: self.format.refs,
            ref_table,
            is_partial: self.format.is_partial,
            graph,
            packs,
            trees,
            special,
            grafts,
        })))
    }

    /// Resolves a revision to a commit; see [`History::resolve`].
    pub fn resolve(&self, revision: &str) -> Result<Commit> {
        self.history()?.resolve(revision)
    }
}

impl History {
    /// Resolves a revision to a commit: all that `git rev-parse` accepts (branches, tags, `HEAD~3`, short ids,
    /// `main^{/words}`), model versions `digits@v1.2.0` and labels `digits#prod` (by [`tag::fold`]), with a folder as
    /// `models/a:digits@v1.2.0`, which may be omitted as everywhere (see [`tag::resolve_name`]).
    ///
    /// Errors: [`Kind::Missing`] with suggestions.
    pub fn resolve(&self, revision: &str) -> Result<Commit> {
        // `@` and `#` have a meaning in Git's grammar in some places; a tag has precedence.
        let full = revision.strip_prefix("refs/").unwrap_or(revision);
        let tag = || self.tagged(full.strip_prefix("tags/").unwrap_or(full));
        let asked = revision.parse::<ModelRequest>().ok().filter(|_| revision.contains(['@', '#']));
        let model = asked.as_ref().map(|asked| self.answer(asked));
        let commit = match model {
            Some(Ok(RegistryAnswer::Tags(tags))) => {
                let commits = tags.iter().map(|tag| self.tagged(tag)).collect::<Result<Vec<_>>>()?;
                commits.into_iter().next().flatten()
            }
            Some(Ok(RegistryAnswer::Ended)) => None,
            Some(Ok(RegistryAnswer::Unknown)) | None if revision.contains(['@', '#']) => tag()?,
            // Several folders have such a model, and a tag of the exact name decides.
            Some(Err(error)) => Some(tag()?.ok_or(error)?),
            _ => None,
        };
        if let Some(commit) = commit {
            return Ok(commit);
        }
        if let Some(asked) = asked {
            match &asked.which {
                tag::Which::Label(label) if is_word(label) => {
                    let name = &asked.name;
                    return Err(self.unknown(revision, format!("no version of {name} has the label {label}")));
                }
                // A branch may have the name of a version, without a signature.
                tag::Which::Version(version) if self.0.require_signed => {
                    let name = &asked.name;
                    return Err(self.unknown(revision, format!("no tag says that {name} has a version {version}")));
                }
                // It may be Git's own syntax: a branch `a#1`, `main@{1}`.
                _ => {}
            }
        }
        let Some((id, reference)) = self.parse_revision(revision) else {
            return Err(self.unknown(revision, format!("there is no revision `{revision}`")));
        };
        if self.0.require_signed {
            self.require_signed(revision, id, reference.as_deref())?;
        }
        self.commit_of(id, revision)
    }

    /// Refuses a revision in Git's grammar that begins with a version or a label without a good signature. `reference`
    /// is the ref that Git found at its beginning; it may be a branch of that name.
    fn require_signed(&self, revision: &str, id: gix::ObjectId, reference: Option<&str>) -> Result<()> {
        let is_tag = |name: &&str| name.parse::<ModelTag>().is_ok();
        if let Some(tag) = reference.and_then(|name| name.strip_prefix("refs/tags/")).filter(is_tag) {
            let commit = self.tagged(tag)?;
            if self.0.is_other && commit.map(|commit| commit.id.0) != Some(self.peel(id)?) {
                let error =
                    Error::new(Kind::Check, format!("the signature of {tag} was verified, not where {revision} leads"));
                return Err(error.hint(format!("name the tag alone: {}", word(tag))));
            }
            if revision.contains("@{") {
                let error =
                    Error::new(Kind::Check, format!("no signature covers the log of the tag {tag}: {revision}"));
                return Err(error.hint(format!("name the tag alone: {}", word(tag))));
            }
            return Ok(());
        }
        let head = head_of(revision);
        let is_full = ["refs/", "heads/", "remotes/"].iter().any(|prefix| head.starts_with(prefix));
        let is_asked = match head.parse::<ModelRequest>().map(|asked| asked.which) {
            Ok(tag::Which::Label(label)) => is_word(&label),
            Ok(tag::Which::Version(_)) => true,
            _ => is_tag(&head),
        };
        if is_full || !head.contains(['@', '#']) || !is_asked {
            return Ok(());
        }
        Err(self.unknown(revision, format!("there is no tag {head} whose signature could be verified")))
    }

    /// A commit by its id.
    ///
    /// Errors: [`Kind::Missing`] if this clone lacks it, or it is not a commit.
    pub fn commit(&self, id: GitId) -> Result<Commit> {
        if let Some(known) = self.0.graph.as_ref().and_then(|graph| graph.commit_by_id(id.0)) {
            return Ok(Commit { id, tree: known.root_tree_id().to_owned(), history: self.clone() });
        }
        self.commit_of(id.0, &id.short())
    }

    /// The branches or tags below a prefix and their commits, by name. Omits tags of trees and blobs, and broken refs.
    pub fn names(&self, prefix: &str) -> Result<Vec<(String, GitId)>> {
        let mut found = Vec::new();
        for reference in self.readable_refs(prefix)? {
            if self.is_commit(reference.peeled).unwrap_or(false) {
                let name = reference.name.strip_prefix(prefix).unwrap_or(&reference.name).to_string();
                found.push((name, GitId(reference.peeled)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The commit of a tag with this exact name.
    fn tagged(&self, name: &str) -> Result<Option<Commit>> {
        let of_model = name.parse::<ModelTag>().is_ok();
        let name = format!("refs/tags/{name}");
        let Some(reference) = self.find_ref(&name)? else { return Ok(None) };
        if self.0.require_signed && of_model {
            let short = name.strip_prefix("refs/tags/").unwrap_or(&name);
            let signature = match reference.is_symbolic {
                true => Signature::unchecked(false),
                false => self.verify_tag(short, GitId(reference.target)),
            };
            signature.require(short)?;
            return self.commit_of(self.peel(reference.target)?, &name).map(Some);
        }
        self.commit_of(reference.peeled, &name).map(Some)
    }

    /// Follows nested tags to the object that is not a tag.
    pub(super) fn peel(&self, mut id: gix::ObjectId) -> Result<gix::ObjectId> {
        for _ in 0..MOST_TAGS {
            if self.0.repo.find_header(id).map_err(unreadable)?.kind() != gix::object::Kind::Tag {
                return Ok(id);
            }
            let object = self.0.repo.find_object(id).map_err(unreadable)?;
            let Ok(tag) = object.try_into_tag() else { return Ok(id) };
            self.check_content(id, gix::object::Kind::Tag, &tag.data)?;
            id = tag.target_id().map_err(unreadable)?.detach();
        }
        Err(unreadable(format!("{id} is a tag of a tag, more than {MOST_TAGS} times")))
    }

    /// Refuses an object of another repository whose content does not match its id, where signatures are required: they
    /// cover only ids. Git has checked fetched objects, but never the objects of a repository on disk.
    pub(super) fn check_content(&self, id: gix::ObjectId, kind: gix::object::Kind, data: &[u8]) -> Result<()> {
        let is_checked = self.0.is_other && self.0.require_signed;
        if !is_checked || gix::objs::compute_hash(id.kind(), kind, data).is_ok_and(|hash| hash == id) {
            return Ok(());
        }
        Err(Error::new(Kind::Check, format!("the {kind} {id} has other content than its id says"))
            .hint("git fsck — run in that repository, lists what is damaged in it"))
    }

    fn commit_of(&self, id: gix::ObjectId, revision: &str) -> Result<Commit> {
        let object = self
            .0
            .repo
            .find_object(id)
            .map_err(|_| self.unknown(revision, format!("the commit of `{revision}` is not in this clone")))?;
        let commit = object.peel_to_kind(gix::object::Kind::Commit).map_err(|_| {
            Error::new(Kind::Missing, format!("`{revision}` is a file or a folder of Git, not a commit"))
        })?;
        let commit = commit.try_into_commit().map_err(unreadable)?;
        self.check_content(commit.id, gix::object::Kind::Commit, &commit.data)?;
        let tree = commit.tree_id().map_err(unreadable)?.detach();
        Ok(Commit { id: GitId(commit.id), tree, history: self.clone() })
    }

    /// The refs below a prefix without broken ones: those are for Git to report, and no reason to refuse all others.
    ///
    /// Errors: a ref leads to an object that the repository's own folder lacks, while Git may read objects from another
    /// folder.
    pub(super) fn readable_refs(&self, prefix: &str) -> Result<Vec<Ref>> {
        let refs = self.read_refs(prefix)?;
        if self.0.objects_elsewhere.is_none() {
            return Ok(refs.into_iter().flatten().collect());
        }
        let check = |reference: Ref| match self.0.repo.has_object(reference.peeled) {
            true => Ok(reference),
            false => Err(self.because_of_objects_elsewhere(broken_ref(&reference.name, "its object is not there"))),
        };
        refs.into_iter().map(|reference| reference.and_then(check)).collect()
    }

    pub(super) fn because_of_objects_elsewhere(&self, error: Error) -> Error {
        let Some(variable) = self.0.objects_elsewhere else { return error };
        let objects = self.0.repo.common_dir().join("objects");
        let objects = objects.display();
        error
            .because(format!(
                "{variable} is set, and lockstep reads objects of Git from {objects} and its alternates alone"
            ))
            .hint(format!("unset {variable}"))
            .hint(format!("or name its folder in {objects}/info/alternates"))
    }

    /// The error for an unknown revision, with suggestions.
    fn unknown(&self, revision: &str, message: String) -> Error {
        let mut error = Error::missing(message);
        if self.0.objects_elsewhere.is_some() {
            return self.because_of_objects_elsewhere(error);
        }
        if !matches!(self.head_id(), Ok(Some(_))) && revision.starts_with("HEAD") {
            return error.because("there is no commit yet").hint("git commit — makes the first one");
        }
        let word = revision.split(['~', '^']).next().unwrap_or(revision);
        let refs = ["refs/heads/", "refs/tags/", "refs/remotes/"];
        let names = refs.iter().flat_map(|prefix| self.names(prefix).unwrap_or_default());
        let near = names
            .map(|(name, _)| (strsim::jaro_winkler(word, &name), name))
            .filter(|(score, name)| *score > 0.8 && name != word)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, name)) = near {
            error = error.hint(format!("did you mean `{name}`?"));
        }
        if self.0.repo.is_shallow().unwrap_or(false) {
            return error
                .because("this clone is shallow: it has only the newest commits")
                .hint("git fetch --unshallow --tags");
        }
        error.hint("if it was pushed from another clone: git fetch --tags")
    }
}

/// The name at the beginning of a revision in Git's grammar.
pub(super) fn head_of(revision: &str) -> &str {
    let end = [revision.find(['^', '~', ':']), revision.find("@{")].into_iter().flatten().min();
    &revision[..end.unwrap_or(revision.len())]
}

pub(super) fn unreadable(cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::Io, "cannot read the Git repository").because(cause)
}

#[cfg(test)]
mod tests;
