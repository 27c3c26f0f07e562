//! Reads many of Git's objects at once.
//!
//! In a pack most trees are deltas of a neighbour in history, in chains of up to 50, and a chain may lead to newer
//! objects or to older ones: `git gc` creates the one kind, and keeps the other kind from fetches and imports. Read in
//! the order of history, each object may cost its whole chain. Bases come before their deltas in a pack, however, so in
//! the order of the pack each object costs one step. This module reads in that order, on a few threads, each with its
//! own handle.

use std::sync::atomic::{AtomicUsize, Ordering};

use gix::odb::pack::cache::lru::MemoryCappedHashmap;
use gix::odb::pack::index;

use super::commit::{Commit, entries};
use crate::git::history::{DELTA_CACHE, History};
use crate::git::id::GitId;
use crate::git::repo::settings::open_at;

/// The number of objects that is worth the start of a thread.
const WORTH: usize = 128;
const MOST_THREADS: usize = 4;
/// The limit of bytes read ahead; the rest is read on demand.
const MOST_BYTES: usize = 32 << 20;
/// Objects are not searched in more packs than this: a repository with that many was not packed for long, and its
/// objects are loose or in small packs.
const MOST_PACKS: usize = 20;

impl History {
    /// Reads the root trees of commits into the cache. Best for up to `commit::REMEMBERED` of them.
    pub fn prefetch_trees(&self, commits: &[Commit]) {
        let known = self.0.trees.borrow();
        let ids: Vec<gix::ObjectId> = commits.iter().map(|c| c.tree).filter(|id| !known.contains_key(id)).collect();
        drop(known);
        let read = self.prefetch_objects(ids, &|id, kind, data| match kind {
            gix::object::Kind::Tree => entries(&data, id.kind()).ok(),
            _ => None,
        });
        read.into_iter().for_each(|(id, entries)| drop(entries.map(|entries| self.remember(id, entries))));
    }

    /// Reads blobs and maps them with the closure. Skips blobs that cannot be read or exceed the limit.
    pub fn prefetch_blobs<T: Send>(
        &self,
        ids: impl IntoIterator<Item = GitId>,
        make: &(dyn Fn(GitId, Vec<u8>) -> T + Sync),
    ) -> Vec<(GitId, T)> {
        let ids = ids.into_iter().map(|id| id.0).collect();
        let read = self.prefetch_objects(ids, &|id, kind, data| match kind {
            gix::object::Kind::Blob => Some(make(GitId(id), data)),
            _ => None,
        });
        read.into_iter().filter_map(|(id, made)| Some((GitId(id), made?))).collect()
    }

    fn prefetch_objects<T: Send>(
        &self,
        ids: Vec<gix::ObjectId>,
        make: &(dyn Fn(gix::ObjectId, gix::object::Kind, Vec<u8>) -> T + Sync),
    ) -> Vec<(gix::ObjectId, T)> {
        // These are read, and checked or replaced, one by one.
        if self.0.is_other && self.0.require_signed || self.0.grafts.is_some() {
            return Vec::new();
        }
        self.fetch_missing(ids.iter().copied());
        let ids = self.in_pack_order(ids);
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let threads = (ids.len() / WORTH).clamp(1, cores);
        let left = AtomicUsize::new(MOST_BYTES);
        let read = |repo: &gix::Repository, part: &[gix::ObjectId]| {
            let one = |id: &gix::ObjectId| {
                let size = usize::try_from(repo.try_find_header(*id).ok()??.size()).ok()?;
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(size)).ok()?;
                let mut object = repo.find_object(*id).ok()?;
                Some((*id, make(*id, object.kind, std::mem::take(&mut object.data))))
            };
            part.iter().filter_map(one).collect::<Vec<_>>()
        };
        if threads == 1 {
            return read(&self.0.repo, &ids);
        }
        let git_dir = self.0.repo.git_dir();
        let open = || {
            let mut repo = open_at(git_dir).ok()?;
            repo.objects.set_pack_cache(|| Box::new(MemoryCappedHashmap::new(DELTA_CACHE)));
            Some(repo)
        };
        let (first, rest) = ids.split_at(ids.len().div_ceil(threads));
        std::thread::scope(|scope| {
            let parts = rest.chunks(first.len().max(1));
            let work = |part| scope.spawn(move || open().map(|repo| read(&repo, part)).unwrap_or_default());
            let running: Vec<_> = parts.map(work).collect();
            let mut all = read(&self.0.repo, first);
            running.into_iter().for_each(|thread| all.extend(thread.join().unwrap_or_default()));
            all
        })
    }

    /// The ids without duplicates, in the order of packs; those of loose objects at the end.
    fn in_pack_order(&self, ids: Vec<gix::ObjectId>) -> Vec<gix::ObjectId> {
        let packs = self.0.packs.get_or_init(|| self.packs());
        let place = |id: &gix::ObjectId| {
            let found = |(n, pack): (usize, &index::File)| Some((n, pack.pack_offset_at_index(pack.lookup(id)?)));
            packs.iter().enumerate().find_map(found).unwrap_or((usize::MAX, 0))
        };
        let mut placed: Vec<_> = ids.into_iter().map(|id| (place(&id), id)).collect();
        placed.sort_unstable();
        placed.dedup();
        placed.into_iter().map(|(_, id)| id).collect()
    }

    /// The indexes of the packs of the repository and its alternates, the largest first.
    fn packs(&self) -> Vec<index::File> {
        let store = self.0.repo.objects.store_ref();
        let mut folders = vec![store.path().to_path_buf()];
        folders.extend(store.alternate_db_paths().unwrap_or_default());
        let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder.join("pack")).ok()).flatten().flatten();
        let mut paths: Vec<_> = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|e| e == "idx"))
            .map(|path| (std::cmp::Reverse(path.metadata().map_or(0, |m| m.len())), path))
            .collect();
        paths.sort();
        paths.truncate(MOST_PACKS);
        paths.iter().filter_map(|(_, path)| index::File::at(path, self.0.repo.object_hash()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};
    use crate::git::{CommitSelection, Repo};
    use std::fmt::Write;

    /// Reading ahead returns the same as reading one by one: from a pack of long chains and from loose objects.
    #[test]
    fn ahead_is_the_same_only_sooner() {
        let (_dir, top) = repository();
        let mut text = String::new();
        for n in 0..600 {
            let _ = write!(text, "commit refs/heads/main\ncommitter t <t@example.org> {} +0000\ndata 1\nx\n", 1000 + n);
            for i in n..n + 2 {
                let _ = write!(text, "M 100644 inline f{}\ndata 9\n{n:09}\n", i % 30);
            }
        }
        write(&top, &[("../import", &text)]);
        let script = "git fast-import --quiet < ../import && git repack -adq && git reset -q --hard main";
        assert!(std::process::Command::new("sh").args(["-c", script]).current_dir(&top).status().unwrap().success());
        write(&top, &[("loose", "1")]);
        commit_all(&top, "loose");
        let repo = Repo::discover(&top).unwrap();
        let all = CommitSelection { all_commits: true, ..CommitSelection::default() };
        let history = repo.history().unwrap();
        let chosen = history.select_commits(&all).unwrap();
        let commits: Vec<Commit> = chosen.iter().map(|one| history.commit(one.id).unwrap()).collect();
        assert_eq!(commits.len(), 601);
        history.prefetch_trees(&commits);
        let other = repo.history().unwrap();
        let known = history.0.trees.borrow();
        assert!(commits.iter().all(|commit| *known[&commit.tree] == *other.tree(commit.tree).unwrap()));
        let files = known.values().flat_map(|entries| entries.iter().map(|entry| entry.id));
        let tree = GitId(commits[0].tree);
        let read = history.prefetch_blobs(files.chain([tree]), &|_, bytes| bytes);
        assert_eq!(read.len(), 601);
        assert!(read.iter().all(|(id, bytes)| *bytes == other.blob(*id).unwrap()));
        assert!(git(&top, &["count-objects", "-v"]).contains("packs: 1\n"));
    }
}
