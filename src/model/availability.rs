//! Availability: whether other clones can get the bytes of a version, and its SHA-256 for tools without BLAKE3.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::origin::ArtifactOrigin;
use crate::error::Result;
use crate::project::{PinnedPath, Project, Snapshot};
use crate::remote::Remote;
use crate::store::trees::EntryKind;
use crate::store::{ObjectId, Pin, Store};
use crate::store::{TreeWalk, WalkStep};

/// Whether remotes have all the data of a version.
pub enum Availability {
    /// There is no remote.
    Nowhere,
    /// What the remotes lack, a sentence each.
    Lacking(Vec<String>),
}

/// Asks the remotes for the version itself and for the data that it was made from: with these and Git's files it can be
/// made again.
pub fn check_availability(project: &Project, snapshot: &Snapshot<'_>, origin: &ArtifactOrigin) -> Result<Availability> {
    let is_input = |p: &PinnedPath| {
        let read = |input: &super::origin::Input| input.data && overlaps(&input.path, p.path.as_str());
        p.stage.is_none() && origin.inputs.iter().any(read)
    };
    let mut wanted = vec![origin.root.clone()];
    wanted.extend(snapshot.pinned()?.into_iter().filter(|p| is_input(p) && p.path != origin.root.path));
    wanted.retain(|p| p.cache);
    if wanted.is_empty() {
        return Ok(Availability::Lacking(Vec::new()));
    }
    if project.config.remotes().is_empty() {
        return Ok(Availability::Nowhere);
    }
    let mut lacking = Vec::new();
    let mut open: Vec<(Option<String>, Result<Remote>)> = Vec::new();
    for pinned in &wanted {
        let (name, pushed) = remote_of(snapshot, pinned);
        if !pushed {
            lacking.push(format!("{} is never pushed to a remote: it has `push: false`", pinned.path));
            continue;
        }
        let at = match open.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                open.push((name.clone(), Remote::open(project, name.as_deref(), None)));
                open.len() - 1
            }
        };
        let has = open[at].1.as_ref().map_err(Clone::clone).and_then(|remote| Ok((remote, remote.catalog()?)));
        match has {
            Ok((_, known)) if known.root(&pinned.pin).is_some() => {}
            Ok((remote, _)) => {
                lacking.push(format!("the remote {} does not have {}: lockstep push", remote.name, pinned.path));
            }
            Err(error) => lacking.push(format!("no remote could be asked for {}: {}", pinned.path, error.message)),
        }
    }
    Ok(Availability::Lacking(lacking))
}

/// The settings of a pinned path: its remote, and whether it is pushed at all.
fn remote_of(snapshot: &Snapshot<'_>, pinned: &PinnedPath) -> (Option<String>, bool) {
    let pipelines = &snapshot.definitions.pipelines;
    let out = pinned.stage.and_then(|id| pipelines.stage(id).outs.iter().find(|out| out.path == pinned.path));
    if let Some(out) = out {
        return (out.remote.clone(), out.push);
    }
    let data = pipelines.files.iter().flat_map(|file| &file.data).find(|data| data.path == pinned.path);
    data.map_or((None, true), |data| (data.remote.clone(), data.push))
}

/// Returns true if one path equals or contains the other.
fn overlaps(a: &str, b: &str) -> bool {
    let within = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    within(a, b) || within(b, a)
}

/// The SHA-256 of a file in the store, verified on the way; `None` if the store lacks it.
pub fn sha256(store: &Store, id: &ObjectId) -> Option<String> {
    let mut reader = store.open_content(id).ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(_) => return None,
        }
    }
    Some(hex(hasher))
}

/// The hash of a folder: in-toto's `dirHash`, which is Go's `Hash1` in hex. In the folder itself it is `find . -type f
/// | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum`. `None` if the store lacks a file, or if the folder holds
/// something else, such as a link, which the hash would not cover.
pub fn dir_hash(store: &Store, pin: &Pin) -> Option<String> {
    let mut files = Vec::new();
    let mut walk = TreeWalk::new(store, pin);
    while let Some(step) = walk.next() {
        match step {
            WalkStep::File(_, EntryKind::Symlink) => return None,
            WalkStep::File(file, _) => {
                let path = std::str::from_utf8(walk.path()).ok().filter(|path| !path.contains(['\n', '\\']))?;
                files.push((path.to_string(), file.id));
            }
            WalkStep::Tree(folder) => drop(walk.open(&folder).ok()?),
            WalkStep::End(..) => {}
        }
    }
    files.sort();
    let mut hasher = Sha256::new();
    for (name, id) in files {
        hasher.update(format!("{}  {name}\n", sha256(store, &id)?));
    }
    Some(hex(hasher))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_by_whole_names() {
        for (a, b, want) in [
            ("data", "data", true),
            ("data/raw/x", "data/raw", true),
            ("data", "data/raw", true),
            ("data2", "data", false),
        ] {
            assert_eq!(overlaps(a, b), want, "{a} {b}");
        }
    }
}
