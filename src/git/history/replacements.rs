//! The history as Git shows it, with the user's replacements: objects by `git replace` (`refs/replace/`), parents of
//! commits by `info/grafts`.
//!
//! Where signatures are required, and in other repositories, replacements do not apply. Code that must not lose objects
//! uses both views: see [`Repo::histories`].

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::git::history::{History, unreadable};
use crate::git::id::GitId;
use crate::git::repo::Repo;
use crate::path::RepoPath;
use crate::shell::word;

/// Where replacements are stored; `GIT_REPLACE_REF_BASE` may name another prefix.
const REPLACE: &str = "refs/replace/";
/// The number of chained replacements that Git follows.
const MOST_REPLACED: usize = 5;

/// Replaced parents of commits.
pub(in crate::git) type Grafts = HashMap<ObjectId, Vec<ObjectId>>;

impl Repo {
    /// The history by its objects, and the history as Git shows it, if they differ.
    ///
    /// Errors: refs cannot be read completely.
    pub fn histories(&self) -> Result<Vec<History>> {
        let Some(repo) = self.open()? else { return self.history().map(|history| vec![history]) };
        let plain = self.history_of(repo, &RepoPath::root(), None)?;
        plain.check_refs()?;
        let shown = self.shown_history(&plain)?;
        Ok([plain].into_iter().chain(shown).collect())
    }

    /// The history as Git shows it; `None` if there are no replacements.
    pub(in crate::git) fn shown_history(&self, plain: &History) -> Result<Option<History>> {
        let replaced = replacements(plain)?;
        let grafts = read_grafts(&plain.0.repo.common_dir().join("info/grafts"))?;
        if replaced.is_empty() && grafts.is_empty() {
            return Ok(None);
        }
        let Some(mut repo) = self.open()? else { return Ok(None) };
        let store = repo.objects.store_ref();
        let options =
            gix::odb::store::init::Options { use_multi_pack_index: store.use_multi_pack_index(), ..Default::default() };
        let (folder, hash) = (store.path().to_path_buf(), store.object_hash());
        **repo.objects = gix::odb::at_opts(folder, hash, replaced, options).map_err(unreadable)?.into_inner();
        let shown = self.history_of(repo, &plain.0.folder, Some(grafts))?;
        if let Some(table) = plain.0.ref_table.get() {
            let _ = shown.0.ref_table.set(table.clone());
        }
        Ok(Some(shown))
    }
}

impl History {
    /// The ancestors of `tips` with grafts applied, the newest first.
    pub(in crate::git) fn walk_grafts(
        &self,
        grafts: &Grafts,
        tips: impl IntoIterator<Item = ObjectId>,
        most: Option<usize>,
    ) -> Result<Vec<GitId>> {
        let shallow = self.0.repo.shallow_commits().map_err(unreadable)?;
        let is_cut = |id: &ObjectId| shallow.as_ref().is_some_and(|cut| cut.iter().any(|one| one == id));
        let (mut seen, mut next, mut order) = (HashSet::new(), BinaryHeap::new(), Vec::new());
        let time = |id: ObjectId| -> Result<i64> {
            Ok(self.0.repo.find_commit(id).map_err(unreadable)?.time().map_err(unreadable)?.seconds)
        };
        for id in tips.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>() {
            next.push((time(id)?, id));
        }
        while let Some((_, id)) = next.pop().filter(|_| most.is_none_or(|most| order.len() < most)) {
            order.push(GitId(id));
            let parents = match grafts.get(&id) {
                Some(parents) => parents.clone(),
                None if is_cut(&id) => Vec::new(),
                None => {
                    let commit = self.0.repo.find_commit(id).map_err(unreadable)?;
                    commit.parent_ids().map(|id| id.detach()).collect()
                }
            };
            for parent in parents {
                if seen.insert(parent) {
                    next.push((time(parent)?, parent));
                }
            }
        }
        Ok(order)
    }
}

/// Replaced objects and their replacements.
fn replacements(history: &History) -> Result<Vec<(ObjectId, ObjectId)>> {
    let base = history.0.repo.config_snapshot().string("gitoxide.objects.replaceRefBase");
    let base = base.map(|base| base.to_str_lossy().into_owned()).filter(|base| base != REPLACE);
    let mut one: HashMap<ObjectId, ObjectId> = HashMap::new();
    for prefix in [Some(REPLACE.to_string()), base].into_iter().flatten() {
        for reference in history.read_refs(&prefix)? {
            let reference = reference?;
            let id = reference.name.strip_prefix(&prefix).and_then(|id| ObjectId::from_hex(id.as_bytes()).ok());
            // Git skips a name that is not an id.
            id.map(|id| one.insert(id, reference.target));
        }
    }
    let last = |from: &ObjectId| {
        let mut to = one[from];
        for _ in 1..MOST_REPLACED {
            match one.get(&to) {
                Some(next) => to = *next,
                None => return Ok((*from, to)),
            }
        }
        let what = format!("Git cannot show the object {from}: it is replaced more than {MOST_REPLACED} times");
        Err(Error::new(Kind::Io, what).hint(format!("git replace -d {from}")))
    };
    one.keys().map(last).collect()
}

/// `commit parent parent …`, one a line.
fn read_grafts(file: &Path) -> Result<Grafts> {
    let bytes = document::read(file, document::MOST)?.unwrap_or_default();
    let mut grafts = Grafts::new();
    for line in bytes.lines().map(|line| line.trim()).filter(|line| !line.is_empty() && line[0] != b'#') {
        let ids: Result<Vec<ObjectId>, _> = line.fields().map(ObjectId::from_hex).collect();
        let Ok(ids) = ids else {
            let what = format!("{} has a line that is not a graft: {}", file.display(), line.to_str_lossy());
            let file = file.display().to_string();
            return Err(Error::new(Kind::Io, what).hint(format!("correct it, or: rm {}", word(&file))));
        };
        // Of two lines for one commit Git takes the last one.
        ids.split_first().map(|(commit, parents)| grafts.insert(*commit, parents.to_vec()));
    }
    Ok(grafts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{commit_all, git, repository, write};

    #[test]
    fn what_is_replaced_is_shown() {
        let (_dir, top) = repository();
        let ids = ["1", "2", "3", "4"].map(|text| {
            write(&top, &[("f", text)]);
            commit_all(&top, text)
        });
        let repo = Repo::discover(&top).unwrap();
        assert_eq!(repo.histories().unwrap().len(), 1);
        let f = RepoPath::root().join("f").unwrap();
        let read = |rev: &str| -> Vec<String> {
            let all = repo.histories().unwrap();
            let one = |history: &History| history.resolve(rev).unwrap().read(&f).unwrap().unwrap();
            all.iter().map(|history| String::from_utf8(one(history)).unwrap()).collect()
        };
        git(&top, &["replace", &ids[2], &ids[1]]);
        assert_eq!((read("HEAD~1"), read("HEAD~2"), read("HEAD")), (both("3", "2"), both("2", "1"), both("4", "4")));
        // Of a replacement, and of a file.
        git(&top, &["replace", &ids[1], &ids[0]]);
        assert_eq!(read("HEAD~1"), both("3", "1"));
        let blob = |rev: &str| git(&top, &["rev-parse", &format!("{rev}:f")]).trim().to_string();
        git(&top, &["replace", &blob(&ids[3]), &blob(&ids[0])]);
        assert_eq!(read("HEAD"), both("4", "1"));
        git(&top, &["replace", "-d", &ids[1]]);
        git(&top, &["replace", &ids[1], &ids[2]]);
        assert!(repo.histories().err().unwrap().message.contains("replaced more than"));
    }

    fn both(plain: &str, shown: &str) -> Vec<String> {
        vec![plain.to_string(), shown.to_string()]
    }

    #[test]
    fn grafts_are_parents() {
        let (_dir, top) = repository();
        let one = commit_all(&top, "1");
        git(&top, &["checkout", "-q", "--orphan", "other"]);
        let other = commit_all(&top, "other");
        git(&top, &["checkout", "-q", "main"]);
        let two = commit_all(&top, "2");
        let grafts = top.join(".git/info/grafts");
        std::fs::create_dir_all(top.join(".git/info")).unwrap();
        std::fs::write(&grafts, format!("# comment\n\n{two} {other}\n")).unwrap();
        let repo = Repo::discover(&top).unwrap();
        let reached = || -> Vec<Vec<String>> {
            let tip = repo.head_commit().unwrap();
            let all = repo.histories().unwrap();
            all.iter().map(|history| history.reachable(tip).unwrap().iter().map(GitId::hex).collect()).collect()
        };
        assert_eq!(reached(), [vec![two.clone(), one], vec![two.clone(), other.clone()]]);
        assert_eq!(repo.histories().unwrap()[1].resolve("HEAD~1").unwrap().id.hex(), other);
        std::fs::write(&grafts, format!("{two} {}\n", &other[..30])).unwrap();
        assert!(repo.histories().err().unwrap().message.contains("not a graft"));
    }
}
