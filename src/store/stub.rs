// placeholder until the real one lands
use super::*;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

type Listing = BTreeMap<String, (String, ObjectId, u64)>;
fn list_text(l: &Listing) -> String {
    l.iter().map(|(n, (k, i, s))| format!("{k} {} {s} {n}\n", i.hex())).collect()
}
pub struct Store {
    dir: PathBuf,
}
pub struct Difference {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
}
impl Store {
    pub fn open(dir: &Path, _l: Vec<String>) -> Store {
        Store { dir: dir.into() }
    }
    pub fn generation(&self) -> Result<[u8; 16]> {
        let p = self.dir.join("generation");
        if let Ok(b) = fs::read(&p) {
            if b.len() == 16 {
                let mut g = [0; 16];
                g.copy_from_slice(&b);
                return Ok(g);
            }
        }
        fs::create_dir_all(&self.dir).map_err(|e| Error::io("create", &self.dir, e))?;
        let g = *b"0123456789abcdef";
        fs::write(&p, g).map_err(|e| Error::io("write", &p, e))?;
        Ok(g)
    }
    fn at(&self, id: &ObjectId) -> PathBuf {
        let h = id.hex();
        self.dir.join("objects").join(&h[..2]).join(&h[2..])
    }
    fn listing(&self, id: &ObjectId) -> Option<Listing> {
        let t = fs::read_to_string(self.at(id)).ok()?;
        Some(
            t.lines()
                .filter_map(|l| {
                    let mut p = l.splitn(4, ' ');
                    let k = p.next()?;
                    let i = p.next()?.parse().ok()?;
                    let s = p.next()?.parse().ok()?;
                    Some((p.next()?.to_string(), (k.to_string(), i, s)))
                })
                .collect(),
        )
    }
    pub fn contains(&self, p: &Pin) -> Result<bool> {
        if !self.at(&p.id).exists() {
            return Ok(false);
        }
        if p.is_dir() {
            return Ok(self.listing(&p.id).is_some_and(|l| l.values().all(|v| self.at(&v.1).exists())));
        }
        Ok(true)
    }
    pub fn batch<'a>(&'a self, _s: &'a dyn Sink) -> Batch<'a> {
        Batch { store: self }
    }
    fn put(&self, id: &ObjectId, b: &[u8]) -> Result<()> {
        let p = self.at(id);
        if let Some(d) = p.parent() {
            fs::create_dir_all(d).map_err(|e| Error::io("create", d, e))?;
        }
        fs::write(&p, b).map_err(|e| Error::io("write", &p, e))
    }
    pub fn restore(
        &self,
        _i: &StatIndex,
        top: &Path,
        path: &RepoPath,
        pin: &Pin,
        _r: &dyn Rules,
        _s: &dyn Sink,
    ) -> Result<()> {
        let dest = path.on_disk(top);
        if let Some(d) = dest.parent() {
            fs::create_dir_all(d).map_err(|e| Error::io("create", d, e))?;
        }
        let one = |dest: &Path, k: &str, id: &ObjectId| -> Result<()> {
            let b = fs::read(self.at(id)).map_err(|e| Error::io("read", self.at(id), e))?;
            if let Some(d) = dest.parent() {
                fs::create_dir_all(d).map_err(|e| Error::io("create", d, e))?;
            }
            if k == "link" {
                let _ = std::os::unix::fs::symlink(String::from_utf8_lossy(&b).as_ref(), dest);
                return Ok(());
            }
            fs::write(dest, b).map_err(|e| Error::io("write", dest, e))?;
            if k == "x" {
                let _ = fs::set_permissions(dest, fs::Permissions::from_mode(0o755));
            }
            Ok(())
        };
        if !pin.is_dir() {
            return one(&dest, if pin.executable { "x" } else { "f" }, &pin.id);
        }
        fs::create_dir_all(&dest).map_err(|e| Error::io("create", &dest, e))?;
        for (n, (k, id, _)) in self.listing(&pin.id).unwrap_or_default() {
            one(&dest.join(n), &k, &id)?;
        }
        Ok(())
    }
    pub fn put_run(&self, k: &ObjectId, b: &[u8]) -> Result<()> {
        let d = self.dir.join("runs");
        fs::create_dir_all(&d).map_err(|e| Error::io("create", &d, e))?;
        fs::write(d.join(k.hex()), b).map_err(|e| Error::io("write", &d, e))
    }
    pub fn get_runs(&self, k: &ObjectId) -> Result<Vec<Vec<u8>>> {
        Ok(fs::read(self.dir.join("runs").join(k.hex())).into_iter().collect())
    }
    pub fn difference(&self, _o: &Pin, _n: &Pin, _i: &StatIndex) -> Result<Difference> {
        Ok(Difference { added: 0, removed: 0, changed: 0 })
    }
    pub fn difference_by_name(&self, _o: &Pin, _n: &Pin, _i: &StatIndex, _a: &Place) -> Result<Vec<(char, String)>> {
        Ok(vec![])
    }
}
pub struct Batch<'a> {
    store: &'a Store,
}
impl Batch<'_> {
    pub fn add(&mut self, index: &StatIndex, top: &Path, path: &RepoPath, pin: &Pin) -> Result<()> {
        let p = path.on_disk(top);
        if !pin.is_dir() {
            return self.store.put(&pin.id, &fs::read(&p).map_err(|e| Error::io("read", &p, e))?);
        }
        let mut l = Listing::new();
        for e in index.detail(&Place::from(path)).unwrap_or_default() {
            let n = String::from_utf8_lossy(&e.path).into_owned();
            let k = match e.kind {
                tree::EntryKind::Tree => continue,
                tree::EntryKind::File => "f",
                tree::EntryKind::Executable => "x",
                tree::EntryKind::Symlink => "link",
            };
            let f = p.join(&n);
            let b = if k == "link" {
                fs::read_link(&f).map_err(|e| Error::io("read", &f, e))?.to_string_lossy().into_owned().into_bytes()
            } else {
                fs::read(&f).map_err(|e| Error::io("read", &f, e))?
            };
            self.store.put(&e.id, &b)?;
            l.insert(n, (k.to_string(), e.id, e.size));
        }
        self.store.put(&pin.id, list_text(&l).as_bytes())
    }
    pub fn commit(self) -> Result<()> {
        Ok(())
    }
}
