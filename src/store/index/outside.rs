//! Rejects outputs and data with content that a symlink brings in from outside the repository.
//!
//! A dep may be hashed through such a link. Stored content is pushed, so an untrusted repository could send any file of
//! the user to the remote that it names. Links into Git's own folder count as leading out, too.

use std::path::Path;

use super::StatIndex;
use super::format::FOLLOWED;
use crate::error::{Error, Result};
use crate::path::links::FolderLinks;
use crate::shell::word;
use crate::store::fs::paths::{TrackedPath, join, to_path};
use crate::store::fs::writable::real_path;
use crate::store::id::Pin;
use crate::store::trees::EntryKind;

impl StatIndex {
    /// Checks that the content of a path is inside the repository. The index scanned the path with the result `pin`.
    ///
    /// Errors (usage): the path, a folder above it, or a link below it leads out.
    pub fn check_inside(&self, place: &TrackedPath, pin: Option<&Pin>, links: &mut FolderLinks) -> Result<()> {
        // A folder of lockstep's own holds content from other sources until it is stored.
        if let TrackedPath::Inside(path) = place {
            let is_parent_outside = links.real_parent(path).is_some_and(|real| self.bounds.outside(real).is_some());
            if is_parent_outside || self.is_link(place.key()) {
                self.check_path(&place.on_disk(&self.top), None)?;
            }
        }
        if pin.is_some_and(Pin::is_dir) { self.check_links(place) } else { Ok(()) }
    }

    /// Checks the links below a scanned folder.
    fn check_links(&self, place: &TrackedPath) -> Result<()> {
        let known = self.known(place.key());
        let view = known.view();
        let is_link = |flags: u8| flags & FOLLOWED != 0;
        let folders = view.folders.iter().filter(|folder| is_link(folder.flags as u8)).map(|f| view.path(f).to_vec());
        let files = view.folders.iter().flat_map(|folder| {
            let links = view.files_of(folder).iter();
            let links = links.filter(move |row| is_link(row.flags) || row.kind == EntryKind::Symlink as u8);
            links.map(move |row| join(view.path(folder), view.name(row)))
        });
        let mut links = folders.chain(files).peekable();
        if links.peek().is_none() {
            return Ok(());
        }
        let top = &place.on_disk(&self.top);
        let own = std::fs::canonicalize(top).map_err(|e| Error::io("open", top, e))?;
        links.try_for_each(|link| self.check_path(&top.join(to_path(&link)), Some(&own)))
    }

    /// Refuses a path that leads out of the repository and of the top `own`.
    fn check_path(&self, path: &Path, own: Option<&Path>) -> Result<()> {
        let real = real_path(path);
        if own.is_some_and(|own| real.starts_with(own)) {
            return Ok(());
        }
        let Some(place) = self.bounds.outside(&real) else { return Ok(()) };
        let (shown, real) = (self.shown(path), real.display());
        let is_link = |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        let above = path.ancestors().take_while(|above| *above != self.top() && above.starts_with(self.top()));
        let error = match above.filter(is_link).last() {
            Some(link) if link == path => Error::usage(format!("{shown} is a symlink that leads to {real}, {place}"))
                .hint(format!(
                    "put a copy in its place: rm -- {0} && cp -R -- {1} {0}",
                    word(&shown.to_string()),
                    word(&real.to_string())
                ))
                .hint("or list it in .lockstepignore; a dep of a stage may lie outside: it is hashed and never stored"),
            Some(link) => {
                let link = self.shown(link);
                Error::usage(format!("{shown} lies behind the symlink {link}, and so in {real}, {place}"))
                    .hint(format!("name the path by its real folders, or replace {link} by a folder"))
            }
            None => Error::usage(format!("{shown} lies {place}")).hint("name a path among your own files"),
        };
        Err(error.because("the content of outputs and data is stored and pushed, so it must lie in the repository"))
    }

    /// A path as the repository names it.
    fn shown<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        path.strip_prefix(self.top()).unwrap_or(path).display()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Bounds;
    use std::os::unix::fs::symlink;

    use crate::event::Silent;
    use crate::path::RepoPath;
    use crate::store::NoRules;

    fn check(index: &StatIndex, place: &TrackedPath) -> Result<()> {
        let pin = index.scan(std::slice::from_ref(place), &NoRules, &Silent).pop().unwrap()?;
        index.check_inside(place, pin.as_ref(), &mut FolderLinks::below(index.top()))
    }

    #[test]
    fn links_that_leave_the_repository_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let top = root.join("top");
        for folder in ["top/.git/objects", "top/src", "top/ways", "out/deep"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["top/.git/config", "top/.git/objects/o", "top/src/f", "out/deep/f", "secret"] {
            std::fs::write(root.join(file), file).unwrap();
        }
        symlink("../../out", top.join("ways/exit")).unwrap();
        let (git, objects) = ([top.join(".git")], top.join(".git/objects"));
        let bounds = Bounds::new(&top, &git, Some(&objects));
        let index = StatIndex::open(&root.join("index"), &top, true).within(bounds);
        let data = TrackedPath::Inside(RepoPath::root().join("data").unwrap());
        for (text, want) in [
            ("../src/f", None),
            ("../src", None),
            ("y", None),
            ("gone", None),
            ("../gone/x", None),
            ("../.git/objects/o", None),
            ("../../secret", Some("ROOT/secret")),
            ("/dev/../etc/hostname", Some("/etc/hostname")),
            ("../../out", Some("ROOT/out")),
            ("../ways/exit/deep/f", Some("ROOT/out/deep/f")),
            ("../.git/config", Some("ROOT/top/.git/config")),
            ("../.git", Some("ROOT/top/.git")),
            ("../../gone", Some("ROOT/gone")),
            ("../ways/exit/gone/../x", Some("ROOT/out/x")),
            ("/gone/x", Some("/gone/x")),
            ("../.git/gone", Some("ROOT/top/.git/gone")),
        ] {
            let folder = top.join("data");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(folder.join("z")).unwrap();
            std::fs::write(folder.join("y"), "y").unwrap();
            symlink(text, folder.join("link")).unwrap();
            let look = || index.scan(std::slice::from_ref(&data), &NoRules, &Silent).pop().unwrap();
            if look().is_err() {
                continue;
            }
            for _ in 0..2 {
                let got = check(&index, &data);
                match (got, want) {
                    (Ok(()), None) => {}
                    (Err(e), Some(to)) => {
                        let message = e.message.replace(root.to_str().unwrap(), "ROOT");
                        let start = format!("data/link is a symlink that leads to {to}, ");
                        assert!(message.starts_with(&start), "{text}: {message}");
                    }
                    (got, want) => panic!("{text}: {got:?}, not {want:?}"),
                }
            }
            // The path itself is the link.
            std::fs::remove_dir_all(&folder).unwrap();
            symlink(Path::new("src").join(text), top.join("data")).unwrap();
            if let (Ok(Some(_)), Some(_)) = (look(), want) {
                assert!(check(&index, &data).is_err(), "{text}");
            }
            std::fs::remove_file(top.join("data")).unwrap();
        }
    }
}
