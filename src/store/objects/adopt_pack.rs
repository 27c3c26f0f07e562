//! Adds fetched packs and objects from `tmp/` to the store. They are untrusted until verified.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::store::fs::seal::seal;
use crate::store::fs::stat::Seen;
use crate::store::hash;
use crate::store::id::ObjectId;
use crate::store::id::ObjectKind;
use crate::store::objects::Store;
use crate::store::pack::file::{Unusable, read_index, verify};
use crate::store::pack::format::{Malformed, PackId};

impl Store {
    /// Adds the pack at `temp` (see [`Store::temp`]): verifies every object against its id, then makes the pack durable
    /// and renames it. Loose objects that its trees refer to must be durable before. On an error the file stays with
    /// the caller, and the store is unchanged.
    pub fn adopt_pack(&self, temp: &Path, sink: &dyn Sink) -> Result<PackId> {
        self.begin()?;
        let _lock = self.lock_shared(sink)?;
        let refuse = |why: &str| Error::new(Kind::Missing, "a pack that was fetched is damaged").because(why);
        let file = File::open(temp).map_err(|e| Error::io("open", temp, e))?;
        let index = read_index(&file).map_err(|e| match e {
            Unusable::Io(e) => Error::io("read", temp, e),
            Unusable::Malformed(Malformed::Newer) => {
                Error::usage("a pack that was fetched has a newer format").hint("install a newer lockstep")
            }
            Unusable::Malformed(Malformed::Broken(why)) => refuse(why),
        })?;
        let bad = verify(&file, &index).map_err(|e| Error::io("read", temp, e))?;
        if let Some(id) = bad.first() {
            return Err(refuse(&format!("{} of its {} objects do not fit their ids: {id}", bad.len(), index.len())));
        }
        self.name_pack(temp, &file, &index.id())?;
        Ok(index.id())
    }

    /// Makes a verified pack durable and visible.
    pub(in crate::store) fn name_pack(&self, temp: &Path, file: &File, id: &PackId) -> Result<()> {
        let fail = |e: std::io::Error| self.refused("write", temp, e);
        rustix::fs::fchmod(file, 0o444.into()).map_err(|e| fail(e.into()))?;
        seal(file, &id.0);
        file.sync_all().map_err(fail)?;
        let is_new = fs::symlink_metadata(self.packs().dir()).is_err();
        let folder = self.folder("packs")?;
        let to = folder.join(id.file_name());
        self.rename(temp, &to).map_err(|e| self.refused("write", &to, e))?;
        let sync = |dir: &Path| File::open(dir).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", dir, e));
        sync(&folder)?;
        // Equal packs have equal names: objects under a tombstone are good in the new pack.
        match self.remove_file(&crate::store::pack::tombstones::path_of(&to)) {
            Ok(()) => self.packs().forget(id),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(self.refused("remove the tombstones of", &to, e)),
        }
        if is_new { sync(self.dir()) } else { Ok(()) }
    }

    /// Adds the object at `temp` (see [`Store::temp`]): verified, durable, and under its id when this returns.
    ///
    /// Errors: [`Kind::Missing`](crate::error::Kind::Missing) if its bytes do not fit the id; the store cannot be
    /// written. The file at `temp` stays then.
    pub fn adopt_object(&self, id: &ObjectId, kind: ObjectKind, temp: &Path, sink: &dyn Sink) -> Result<()> {
        self.begin()?;
        let _lock = self.lock_shared(sink)?;
        let file = File::open(temp).map_err(|e| Error::io("open", temp, e))?;
        let size = file.metadata().map_err(|e| Error::io("look at", temp, e))?.len();
        let got = hash::hash_object(&file, kind, size).map_err(|e| Error::io("read", temp, e))?;
        if got != *id {
            return Err(Error::missing(format!("object {id} arrived damaged")).because("its bytes do not match its id"));
        }
        let fail = |e: std::io::Error| self.refused("write", temp, e);
        rustix::fs::fchmod(&file, 0o444.into()).map_err(|e| fail(e.into()))?;
        seal(&file, id);
        file.sync_all().map_err(fail)?;
        let path = self.path(id);
        let shard = path.parent().unwrap_or(self.dir());
        let is_new = fs::symlink_metadata(shard).is_err();
        self.make_dir(shard).map_err(|e| self.refused("create", shard, e))?;
        if Seen::lstat(&path).is_ok_and(|seen| seen.stat.size != size) {
            self.quarantine(id)?;
        }
        self.rename(temp, &path).map_err(|e| self.refused("write", &path, e))?;
        let above = [self.dir().join("objects"), self.dir().to_path_buf()];
        let folders = std::iter::once(shard).chain(above.iter().map(|p| p.as_path()).filter(|_| is_new));
        for folder in folders {
            File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", folder, e))?;
        }
        Ok(())
    }
}
