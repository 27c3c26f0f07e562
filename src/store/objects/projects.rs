//! The projects that use a shared store.
//!
//! ```text
//! projects/<hash>        in the store: a project that uses it. Its id, its host, and the absolute path of its
//!                        repository's common Git folder (or of its `.lockstep`)
//! <that folder>/…/id     in the repository: a random number, which is unique except for copies of the repository
//! ```
//!
//! A store inside its repository needs no such list. A store at the path of `cache.dir` may be shared, and only its
//! projects know which objects they need, so each one registers before it relies on any object. A path alone does not
//! identify a project: two containers may have their repositories at the same path. A copy of a repository has the id
//! of its original and another path. The host is for people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::store::fs::paths;
use crate::store::id::ObjectId;
use crate::store::objects::Store;

const PROJECTS: &str = "projects";
const MAGIC: &str = "lockstep-project 1\n";

/// A project that uses a shared store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreUser {
    /// The common Git folder of its repository, or its `.lockstep`.
    pub home: PathBuf,
    /// Its random number; `None` if it was registered by its path alone.
    pub id: Option<String>,
    /// The machine on which it was used last.
    pub host: String,
}

/// The repository id in `file`; `None` if the file is missing.
///
/// Errors: the file cannot be read.
pub fn id_in(file: &Path) -> Result<Option<String>> {
    let text = document::read_text(file, document::MOST)?;
    Ok(text.map(|text| text.trim().to_string()).filter(|id| is_id(id)))
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The same, but creates an id if there is none. If several processes try at once, all get the same id.
fn id_made_in(file: &Path) -> Result<String> {
    if let Some(id) = id_in(file)? {
        return Ok(id);
    }
    let fail = |e| Error::io("write", file, e);
    fs::create_dir_all(file.parent().unwrap_or(file)).map_err(fail)?;
    let temp = paths::temp_sibling(file);
    let made = File::options().write(true).create_new(true).open(&temp).and_then(|mut new| {
        new.write_all(paths::random_name().as_bytes())?;
        new.sync_all()
    });
    // The link fails if the file exists: the first writer wins. A malformed id is overwritten.
    let named = made.and_then(|()| match fs::hard_link(&temp, file) {
        Err(_) if id_in(file).is_ok_and(|id| id.is_none()) => fs::rename(&temp, file),
        _ => Ok(()),
    });
    let _ = fs::remove_file(&temp);
    named.map_err(fail)?;
    id_in(file)?.ok_or_else(|| Error::new(Kind::Io, format!("{} holds no id", file.display())))
}

impl Store {
    /// Registers the project for which this store was opened.
    pub(in crate::store) fn register(&self) -> Result<()> {
        let Some((home, id_file)) = self.project().filter(|_| self.is_store()) else { return Ok(()) };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = StoreUser { home: home.to_path_buf(), id: Some(id_made_in(id_file)?), host };
        let (path, bytes) = (self.user_path(&user), written(&user));
        if document::read(&path, document::MOST).is_ok_and(|known| known.is_some_and(|known| known == bytes)) {
            return Ok(());
        }
        self.folder(PROJECTS)?;
        self.put_small(&path, &bytes)
    }

    /// Did the user of this process register the project for which this store was opened? A registration by another
    /// user says nothing about this one.
    pub fn has_note_of_user(&self) -> bool {
        let Some((home, id_file)) = self.project().filter(|_| self.is_store()) else { return false };
        let Ok(Some(id)) = id_in(id_file) else { return false };
        let path = self.user_path(&StoreUser { home: home.to_path_buf(), id: Some(id.clone()), host: String::new() });
        let is_own = path.symlink_metadata().is_ok_and(|meta| meta.uid() == rustix::process::geteuid().as_raw());
        let bytes = document::read(&path, document::MOST).ok().flatten().filter(|_| is_own);
        bytes.and_then(read).is_some_and(|user| user.home == home && user.id == Some(id))
    }

    fn user_path(&self, user: &StoreUser) -> PathBuf {
        let id = user.id.as_deref().unwrap_or_default();
        let name = ObjectId::of(&[id.as_bytes(), user.home.as_os_str().as_bytes()].concat()).hex();
        self.dir().join(PROJECTS).join(&name[..32])
    }

    /// The registration files of projects.
    pub fn project_notes(&self) -> Result<Vec<PathBuf>> {
        let entries = self.root().entries(PROJECTS);
        let entries = entries.map_err(|e| Error::io("read", self.dir().join(PROJECTS), e))?;
        Ok(entries.into_iter().map(|entry| entry.path).collect())
    }

    /// The projects in these [files](Store::project_notes), sorted by path.
    ///
    /// Errors: a file cannot be read, since the objects of its project would be taken for garbage.
    pub fn projects(&self, notes: &[PathBuf]) -> Result<Vec<StoreUser>> {
        let mut users = Vec::new();
        for path in notes {
            let bytes = document::read(path, document::MOST)?.unwrap_or_default();
            let user = read(bytes).filter(|user| self.user_path(user) == *path).ok_or_else(|| {
                Error::new(Kind::Io, format!("{} does not say which project it belongs to", path.display()))
                    .hint("run any lockstep command that stores in each project that uses the store, then remove it")
            })?;
            users.push(user);
        }
        users.sort();
        Ok(users)
    }

    /// Deletes the registration of a project; returns whether it existed.
    pub fn remove_project(&self, user: &StoreUser) -> Result<bool> {
        let path = self.user_path(user);
        match self.remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.refused("remove", &path, e)),
        }
    }
}

fn written(user: &StoreUser) -> Vec<u8> {
    let head = format!("{MAGIC}{}\n{}\n", user.id.as_deref().unwrap_or_default(), user.host.replace('\n', " "));
    [head.as_bytes(), user.home.as_os_str().as_bytes()].concat()
}

/// The path is absolute: a relative one would depend on the current folder. A file with only a path comes from a
/// version before ids.
fn read(bytes: Vec<u8>) -> Option<StoreUser> {
    let home = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
    if bytes.starts_with(b"/") {
        return Some(StoreUser { home: home(&bytes), id: None, host: String::new() });
    }
    let mut rest = bytes.strip_prefix(MAGIC.as_bytes())?.splitn(3, |b| *b == b'\n');
    let mut line = || Some(String::from_utf8_lossy(rest.next()?).into_owned());
    let (id, host) = (line()?, line()?);
    let home = home(rest.next()?);
    home.is_absolute().then(|| StoreUser { home, id: Some(id).filter(|id| is_id(id)), host })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LinkTypes;

    fn projects(store: &Store) -> Result<Vec<StoreUser>> {
        store.projects(&store.project_notes()?)
    }

    #[test]
    fn projects_make_themselves_known() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("store");
        let known = |home: &str, id: &str| {
            let id_file = dir.path().join(id);
            let store = Store::open(&at, LinkTypes::default()).for_project(PathBuf::from(home), id_file.clone());
            store.begin().unwrap();
            (PathBuf::from(home), id_in(&id_file).unwrap())
        };
        let a = known("/a/.git", "a");
        let b = known("/b b\n/.git", "b");
        // Another repository at the same path, and a copy of the first one.
        let (other, copy) = (known("/a/.git", "other"), known("/copy/.git", "a"));
        assert_eq!(known("/a/.git", "a"), a);
        assert!(a.1 != other.1 && a.1 == copy.1 && a.1.is_some());
        let store = Store::open(&at, LinkTypes::default());
        let all = || projects(&store).unwrap().into_iter().map(|user| (user.home, user.id)).collect::<Vec<_>>();
        let mut want = vec![a.clone(), b, other, copy];
        want.sort();
        assert_eq!(all(), want);
        let user = projects(&store).unwrap().into_iter().find(|user| (&user.home, &user.id) == (&a.0, &a.1)).unwrap();
        assert!(!user.host.is_empty());
        assert!(store.remove_project(&user).unwrap());
        assert!(!store.remove_project(&user).unwrap());
        want.retain(|one| *one != a);
        assert_eq!(all(), want);
        // Files from before ids count; unreadable files are an error.
        let old = StoreUser { home: "/old/.git".into(), id: None, host: String::new() };
        fs::write(store.user_path(&old), "/old/.git").unwrap();
        assert!(projects(&store).unwrap().contains(&old));
        fs::write(store.user_path(&old), "/c/.git").unwrap();
        assert!(projects(&store).is_err());
        fs::remove_file(store.user_path(&old)).unwrap();
        let relative = StoreUser { home: "c/.git".into(), id: a.1, host: String::new() };
        fs::write(store.user_path(&relative), written(&relative)).unwrap();
        assert!(projects(&store).is_err());
    }

    #[test]
    fn the_first_writer_sets_the_id() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lockstep/id");
        let make = || {
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| id_made_in(&file).unwrap())).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect::<std::collections::HashSet<_>>()
            })
        };
        let first = make();
        assert_eq!((first.len(), make()), (1, first.clone()));
        fs::write(&file, "torn").unwrap();
        assert_eq!(id_in(&file).unwrap(), None);
        assert_eq!(id_made_in(&file).unwrap().len(), 32);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
