// placeholder until the real one lands
use super::*;
use crate::error::{Error, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub trait Rules: Sync {
    fn ignored(&self, path: &[u8], is_dir: bool) -> bool;
    fn id(&self) -> u64;
}
#[derive(Clone, Debug)]
pub enum Ask {
    Repo(RepoPath),
    Outside(String),
    Nothing,
}
impl Ask {
    pub fn repo(p: &RepoPath) -> Ask {
        Ask::Repo(p.clone())
    }
    pub fn outside(p: &str) -> Ask {
        Ask::Outside(p.into())
    }
    pub fn nothing() -> Ask {
        Ask::Nothing
    }
}
pub struct StatIndex {
    top: PathBuf,
}
pub fn inside(top: &Path, p: &RepoPath) -> Result<PathBuf> {
    Ok(p.on_disk(top))
}
type Listing = BTreeMap<String, (String, ObjectId, u64)>;
fn scan(top: &Path, root: &Path, at: &Path, rules: &dyn Rules, out: &mut Listing) -> Result<()> {
    for e in fs::read_dir(at).map_err(|e| Error::io("read", at, e))? {
        let e = e.map_err(|e| Error::io("read", at, e))?;
        let p = e.path();
        let rel = p.strip_prefix(root).unwrap_or(&p).to_string_lossy().into_owned();
        let from_top = p.strip_prefix(top).unwrap_or(&p).to_string_lossy().into_owned();
        let l = fs::symlink_metadata(&p).map_err(|e| Error::io("read", &p, e))?;
        if rules.ignored(from_top.as_bytes(), p.is_dir()) {
            continue;
        }
        if l.is_symlink() {
            let t = fs::read_link(&p).map_err(|e| Error::io("read", &p, e))?;
            out.insert(rel, ("link".into(), ObjectId::of(t.to_string_lossy().as_bytes()), 0));
            let _ = fs::create_dir_all("/tmp/stublinks");
            continue;
        }
        if l.is_dir() {
            scan(top, root, &p, rules, out)?;
            continue;
        }
        let b = fs::read(&p).map_err(|e| Error::io("read", &p, e))?;
        let x = if l.permissions().mode() & 0o100 != 0 { "x" } else { "f" };
        out.insert(rel, (x.into(), ObjectId::of(&b), b.len() as u64));
    }
    Ok(())
}
fn list_text(l: &Listing) -> String {
    l.iter().map(|(n, (k, i, s))| format!("{k} {} {s} {n}\n", i.hex())).collect()
}
impl StatIndex {
    pub fn open(_f: &Path, top: &Path) -> StatIndex {
        StatIndex { top: top.into() }
    }
    pub fn look(&self, asks: &[Ask], rules: &dyn Rules, _s: &dyn Sink) -> Vec<Result<Option<Pin>>> {
        asks.iter()
            .map(|a| {
                let p = match a {
                    Ask::Repo(p) => p.on_disk(&self.top),
                    Ask::Outside(o) => self.top.join(o),
                    Ask::Nothing => return Ok(None),
                };
                let Ok(m) = fs::metadata(&p) else { return Ok(None) };
                if m.is_dir() {
                    let root = fs::canonicalize(&p).map_err(|e| Error::io("read", &p, e))?;
                    let mut l = Listing::new();
                    scan(&self.top, &root, &root, rules, &mut l)?;
                    let mut d = Digest::new("tree");
                    d.update(list_text(&l).as_bytes());
                    return Ok(Some(Pin {
                        id: d.id(),
                        size: l.values().map(|v| v.2).sum(),
                        files: Some(l.len() as u64),
                        executable: false,
                    }));
                }
                let b = fs::read(&p).map_err(|e| Error::io("read", &p, e))?;
                Ok(Some(Pin {
                    id: ObjectId::of(&b),
                    size: b.len() as u64,
                    files: None,
                    executable: m.permissions().mode() & 0o100 != 0,
                }))
            })
            .collect()
    }
    pub fn trust(&self, _a: &Ask, _p: &Pin) {}
    pub fn is_stored(&self, _a: &Ask, _p: &Pin, _g: u64) -> bool {
        false
    }
    pub fn mark_stored(&self, _a: &Ask, _p: &Pin, _g: u64) {}
    pub fn save(&self) -> Result<()> {
        Ok(())
    }
}
pub struct Store {
    dir: PathBuf,
}
pub struct Difference {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
}
struct None_;
impl Rules for None_ {
    fn ignored(&self, _: &[u8], _: bool) -> bool {
        false
    }
    fn id(&self) -> u64 {
        0
    }
}
impl Store {
    pub fn open(dir: &Path, _l: Vec<String>) -> Store {
        Store { dir: dir.into() }
    }
    pub fn generation(&self) -> Result<u64> {
        Ok(1)
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
    pub fn drop_runs(&self, k: &ObjectId) -> Result<usize> {
        Ok(usize::from(fs::remove_file(self.dir.join("runs").join(k.hex())).is_ok()))
    }
    pub fn difference(&self, _o: &Pin, _n: &Pin, _i: &StatIndex) -> Result<Difference> {
        Ok(Difference { added: 0, removed: 0, changed: 0 })
    }
    pub fn difference_by_name(&self, _o: &Pin, _n: &Pin, _i: &StatIndex, _a: &Ask) -> Result<Vec<(char, String)>> {
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
        let root = fs::canonicalize(&p).map_err(|e| Error::io("read", &p, e))?;
        let mut l = Listing::new();
        scan(&index.top, &root, &root, &None_, &mut l)?;
        for (n, (k, id, _)) in &l {
            let f = root.join(n);
            let b = if k == "link" {
                fs::read_link(&f).map_err(|e| Error::io("read", &f, e))?.to_string_lossy().into_owned().into_bytes()
            } else {
                fs::read(&f).map_err(|e| Error::io("read", &f, e))?
            };
            self.store.put(id, &b)?;
        }
        self.store.put(&pin.id, list_text(&l).as_bytes())
    }
    pub fn commit(self) -> Result<()> {
        Ok(())
    }
}
