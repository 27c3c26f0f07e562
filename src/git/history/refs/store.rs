//! The refs of a repository in any storage: in files, which gix reads, or in reftables, which one `git` process lists
//! for all queries of a [`History`].

use std::rc::Rc;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{PATIENCE, reftable};
use crate::error::{Error, Kind, Result};
use crate::git::history::{History, unreadable};
use crate::git::program;
use crate::git::repo::Repo;
use crate::git::repo::format::RefStorage;

/// A ref with an existing target.
pub(in crate::git) struct Ref {
    /// Its full name.
    pub name: String,
    /// Does it refer to another ref?
    pub is_symbolic: bool,
    /// The object that it names, for a symbolic ref that of the other ref: a tag object for an annotated tag.
    pub target: ObjectId,
    /// The same with tags followed.
    pub peeled: ObjectId,
}

/// The output of `git for-each-ref`: the refs of a worktree, and `HEAD` and similar refs at the root.
#[derive(Default)]
pub(in crate::git) struct RefTable {
    rows: Vec<Row>,
    /// Names of refs that Git could not read.
    broken: Vec<String>,
}

struct Row {
    name: String,
    is_symbolic: bool,
    target: ObjectId,
}

/// What is said of the refs that could not be read.
fn messages(found: &[Result<Ref>]) -> Vec<String> {
    found.iter().filter_map(|one| one.as_ref().err()).map(|error| error.to_string()).collect()
}

impl History {
    /// All refs below a prefix, by name; one with a missing target is an error at its position. Omits a symbolic ref
    /// without its branch (`origin/HEAD` after a rename).
    pub(in crate::git) fn read_refs(&self, prefix: &str) -> Result<Vec<Result<Ref>>> {
        let refs = self.read_all_refs(prefix)?.into_iter();
        Ok(refs.map(|reference| reference.map_err(|error| self.because_of_objects_elsewhere(error))).collect())
    }

    fn read_all_refs(&self, prefix: &str) -> Result<Vec<Result<Ref>>> {
        if self.0.ref_storage == RefStorage::Reftable {
            let table = self.ref_table()?;
            let found = table.rows.iter().filter(|row| row.name.starts_with(prefix)).map(|row| self.follow(row));
            let broken = table.broken.iter().filter(|name| name.starts_with(prefix));
            return Ok(found.chain(broken.map(|name| Err(broken_ref(name, "Git cannot read it")))).collect());
        }
        // Another process may delete a ref between the listing and the reading of its file. An error that stays is real.
        let mut found = self.read_ref_files(prefix)?;
        for _ in 1..PATIENCE {
            let before = messages(&found);
            if before.is_empty() {
                break;
            }
            found = self.read_ref_files(prefix)?;
            if messages(&found) == before {
                break;
            }
        }
        Ok(found)
    }

    fn read_ref_files(&self, prefix: &str) -> Result<Vec<Result<Ref>>> {
        let platform = self.0.repo.references().map_err(unreadable)?;
        let mut found = Vec::new();
        for reference in platform.prefixed(prefix).map_err(unreadable)? {
            match reference {
                Ok(reference) => found.extend(follow_in_files(reference)),
                Err(e) => found.push(Err(unreadable(e))),
            }
        }
        Ok(found)
    }

    /// The ref of this full name; `None` if there is none.
    pub(in crate::git) fn find_ref(&self, name: &str) -> Result<Option<Ref>> {
        if self.0.ref_storage == RefStorage::Reftable {
            let table = self.ref_table()?;
            return table.rows.iter().find(|row| row.name == name).map(|row| self.follow(row)).transpose();
        }
        let Ok(Some(reference)) = self.0.repo.try_find_reference(name) else { return Ok(None) };
        follow_in_files(reference).transpose()
    }

    /// The commit that is checked out; `None` before the first one.
    pub(in crate::git) fn head_id(&self) -> Result<Option<ObjectId>> {
        if self.0.ref_storage == RefStorage::Reftable {
            return Ok(self.ref_table()?.rows.iter().find(|row| row.name == "HEAD").map(|row| row.target));
        }
        read_head(&self.0.repo, RefStorage::Files)
    }

    /// The targets of refs at the root other than `HEAD` (`ORIG_HEAD`, `CHERRY_PICK_HEAD`), by name, if they are not
    /// files.
    pub(in crate::git) fn root_refs(&self) -> Result<Vec<(String, ObjectId)>> {
        if self.0.ref_storage == RefStorage::Files {
            return Ok(Vec::new());
        }
        let table = self.ref_table()?;
        let at_root = table.rows.iter().filter(|row| !row.name.contains('/') && row.name != "HEAD");
        Ok(at_root.map(|row| (row.name.clone(), row.target)).collect())
    }

    /// The object of a revision in Git's grammar, and the full name of the ref at its beginning.
    pub(in crate::git) fn parse_revision(&self, revision: &str) -> Option<(ObjectId, Option<String>)> {
        // gix takes the short id of an object for one of SHA-1, and does not support grafts.
        let has_grafts = self.0.grafts.as_ref().is_some_and(|grafts| !grafts.is_empty());
        let is_read_by_gix = self.0.repo.object_hash() == gix::hash::Kind::Sha1 && !has_grafts;
        if self.0.ref_storage == RefStorage::Files && is_read_by_gix {
            let spec = self.0.repo.rev_parse(revision.as_bytes().as_bstr()).ok()?;
            let reference = spec.first_reference().map(|found| found.name.as_bstr().to_str_lossy().into_owned());
            return Some((spec.single()?.detach(), reference));
        }
        if revision == "HEAD" || revision == "@" {
            return Some((self.head_id().ok()??, None));
        }
        if let Ok(id) = ObjectId::from_hex(revision.as_bytes()) {
            return self.0.repo.has_object(id).then_some((id, None));
        }
        let ask = |args: &[&str]| {
            let mut command = program::question(self.0.repo.git_dir());
            if self.0.grafts.is_some() {
                command.env_remove("GIT_NO_REPLACE_OBJECTS");
            }
            let said = program::run(command.args(["rev-parse", "--quiet", "--verify"]).args(args)).ok()?;
            Some(String::from_utf8_lossy(&said).trim().to_string()).filter(|said| !said.is_empty())
        };
        let id = ObjectId::from_hex(ask(&["--end-of-options", revision])?.as_bytes()).ok()?;
        let head = crate::git::history::head_of(revision);
        let reference = if self.0.require_signed && !head.is_empty() {
            ask(&["--symbolic-full-name", "--end-of-options", head])
        } else {
            None
        };
        Some((id, reference))
    }

    fn ref_table(&self) -> Result<Rc<RefTable>> {
        if let Some(known) = self.0.ref_table.get() {
            return Ok(known.clone());
        }
        let table = Rc::new(self.list_refs()?);
        Ok(self.0.ref_table.get_or_init(|| table).clone())
    }

    fn list_refs(&self) -> Result<RefTable> {
        let (git_dir, common_dir) = (self.0.repo.git_dir(), self.0.repo.common_dir());
        reftable::check(git_dir, common_dir)?;
        let mut command = program::question(git_dir);
        command.args(["for-each-ref", "--include-root-refs", "--format=%(refname)%00%(objectname)%00%(symref)"]);
        let out = command.output().map_err(|e| unreadable(format!("git cannot be run: {e}")))?;
        let said = String::from_utf8_lossy(&out.stderr);
        if !out.status.success() {
            return Err(unreadable(said.trim())
                .because("its refs are not stored in files, so Git itself has to list them")
                .hint("git for-each-ref --include-root-refs — needs Git 2.45 or newer"));
        }
        reftable::check(git_dir, common_dir)?;
        let mut table = RefTable::default();
        for line in out.stdout.lines() {
            let mut parts = line.split(|byte| *byte == 0).map(|part| part.to_str_lossy().into_owned());
            let (Some(name), Some(id), Some(symbolic)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(unreadable("git for-each-ref says what lockstep does not understand"));
            };
            let target = ObjectId::from_hex(id.as_bytes()).map_err(unreadable)?;
            table.rows.push(Row { name, is_symbolic: !symbolic.is_empty(), target });
        }
        for line in said.lines().filter(|line| !line.starts_with("warning: ignoring dangling symref ")) {
            table.broken.push(line.strip_prefix("warning: ignoring broken ref ").unwrap_or("refs/").to_string());
        }
        Ok(table)
    }

    fn follow(&self, row: &Row) -> Result<Ref> {
        let peeled = self.peel(row.target).map_err(|e| broken_ref(&row.name, e))?;
        Ok(Ref { name: row.name.clone(), is_symbolic: row.is_symbolic, target: row.target, peeled })
    }
}

impl Repo {
    /// The commit that is checked out, in hex; `None` before the first commit and outside Git.
    pub fn head(&self) -> Result<Option<String>> {
        let Some(repo) = self.open()? else { return Ok(None) };
        Ok(read_head(&repo, self.format.refs)?.map(|id| id.to_hex().to_string()))
    }
}

/// The commit that is checked out; `None` before the first one.
fn read_head(repo: &gix::Repository, storage: RefStorage) -> Result<Option<ObjectId>> {
    if storage == RefStorage::Files {
        let head = repo.head().map_err(unreadable)?;
        return Ok(head.id().map(|id| id.detach()));
    }
    reftable::check(repo.git_dir(), repo.common_dir())?;
    let mut command = program::question(repo.git_dir());
    let out = command.args(["rev-parse", "--quiet", "--verify", "HEAD"]).output();
    let out = out.map_err(|e| unreadable(format!("git cannot be run: {e}")))?;
    match out.stdout.trim() {
        b"" if out.stderr.is_empty() => Ok(None),
        b"" => Err(unreadable(String::from_utf8_lossy(&out.stderr).trim())),
        id => ObjectId::from_hex(id).map(Some).map_err(unreadable),
    }
}

/// The target of a ref in files; `None` for a symbolic ref without its branch.
fn follow_in_files(mut reference: gix::Reference<'_>) -> Option<Result<Ref>> {
    let name = reference.name().as_bstr().to_str_lossy().into_owned();
    let target = reference.try_id().map(|id| id.detach());
    let is_symbolic = target.is_none();
    let target = match target.map_or_else(|| reference.follow_to_object().map(|id| id.detach()), Ok) {
        Ok(target) => target,
        Err(_) if is_symbolic => return None,
        Err(e) => return Some(Err(broken_ref(&name, e))),
    };
    let peeled = reference.peel_to_id().map(|id| id.detach());
    Some(match peeled {
        Ok(peeled) => Ok(Ref { name, is_symbolic, target, peeled }),
        Err(e) => Err(broken_ref(&name, e)),
    })
}

pub(in crate::git) fn broken_ref(name: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::Missing, format!("the Git reference {name} leads to nothing"))
        .because(cause)
        .hint("git fsck — says what is wrong with the repository")
}
