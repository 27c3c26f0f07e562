//! The content of outputs at a remote, for callers that must not miss an object: trees come from the store if it has
//! them, otherwise from the remote's packs. All trees of a pack are read at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::remote::Remote;
use crate::remote::catalog::Catalog;
use crate::remote::catalog::segment::Location;
use crate::remote::fetch::ranges::{coalesce, entry};
use crate::store::pack::format::PackId;
use crate::store::trees::Tree;
use crate::store::{ObjectId, ObjectKind, Store};

/// Reads trees from the store or the remote, and caches them.
pub struct RemoteTrees<'a> {
    remote: &'a Remote,
    store: &'a Store,
    read: HashMap<ObjectId, Arc<Tree>>,
    /// Packs whose trees were read.
    asked: HashSet<PackId>,
}

impl<'a> RemoteTrees<'a> {
    pub fn new(remote: &'a Remote, store: &'a Store) -> RemoteTrees<'a> {
        RemoteTrees { remote, store, read: HashMap::new(), asked: HashSet::new() }
    }

    /// All objects that are reachable from these outputs.
    ///
    /// Errors: a tree is damaged or missing both in the store and at the remote, so its content is not known.
    pub fn reachable(&mut self, catalog: &Catalog, roots: &BTreeSet<(ObjectId, bool)>) -> Result<HashSet<ObjectId>> {
        let mut seen = HashSet::new();
        for key in roots {
            let Some(root) = catalog.all.roots.get(key) else { continue };
            let mut rest = vec![*key];
            while let Some((id, is_tree)) = rest.pop() {
                if seen.insert(id) && is_tree {
                    let tree = self.tree(catalog, &id, &root.location)?;
                    rest.extend(tree.entries.iter().map(|entry| (entry.id, entry.pin().is_dir())));
                }
            }
        }
        Ok(seen)
    }

    fn tree(&mut self, catalog: &Catalog, id: &ObjectId, location: &Location) -> Result<Arc<Tree>> {
        if let Some(tree) = self.read.get(id) {
            return Ok(Arc::clone(tree));
        }
        let here = match self.store.read_tree(id, 0) {
            Ok(tree) => Some(tree),
            Err(e) if e.kind == Kind::Missing => None,
            Err(e) => return Err(e),
        };
        if let Some(tree) = here {
            let tree = Arc::new(tree);
            self.read.insert(*id, Arc::clone(&tree));
            return Ok(tree);
        }
        if let Location::Tree(packs) = location {
            for pack in packs {
                self.ask(catalog, pack)?;
            }
        }
        self.read.get(id).map(Arc::clone).ok_or_else(|| {
            let remote = self.remote;
            let message = format!("the folder {id} is not at the remote {} ({})", remote.name, remote.url());
            Error::missing(message)
                .because("an index at the remote says that the output that contains it is complete there")
                .hint(remote.push_again_hint())
        })
    }

    fn ask(&mut self, catalog: &Catalog, pack: &PackId) -> Result<()> {
        let Some(row) = catalog.all.packs.get(pack).filter(|_| self.asked.insert(*pack)) else { return Ok(()) };
        let index = self.remote.index(pack, row)??;
        let trees = index.iter().filter(|row| row.kind == ObjectKind::Tree && !self.read.contains_key(&row.id));
        for range in coalesce(trees.map(|row| entry(*pack, &row)).collect()) {
            for (entry, bytes) in self.remote.read_whole(&range)? {
                let tree = Tree::parse(&bytes).map_err(|why| {
                    let message = format!("the folder {} at the remote {} cannot be used", entry.id, self.remote.name);
                    Error::new(Kind::Remote, message).because(why)
                })?;
                self.read.insert(entry.id, Arc::new(tree));
            }
        }
        Ok(())
    }
}
