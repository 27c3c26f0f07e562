//! Moves a folder that was just built into an existing one, as `cp -r` writes: replaces files of the same name and
//! keeps all others.
//!
//! No link is followed in either folder, even if one is swapped in during the move; a link at the name of a file is
//! replaced. At any time each file is complete, old or new.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, statat};
use rustix::io::Errno;

use super::stat::Seen;
use crate::error::{Error, Kind, Result};
use crate::store::fs::paths::to_path;

/// Moves the content of the folder `new` into the folder `to`, and removes `new`.
///
/// Errors ([`Kind::Check`]): a folder has the name of a file, or a file that of a folder. Nothing is moved then.
pub fn write_into(new: &Path, to: &Path) -> Result<()> {
    let (from, onto) = (open(CWD, new.as_os_str().as_bytes(), new)?, open(CWD, to.as_os_str().as_bytes(), to)?);
    for is_trial in [true, false] {
        each(&from, &onto, to, is_trial)?;
    }
    fs::remove_dir_all(new).map_err(|e| Error::io("remove", new, e))
}

fn each(from: &OwnedFd, onto: &OwnedFd, to: &Path, is_trial: bool) -> Result<()> {
    let entries = Dir::read_from(from).and_then(|dir| dir.collect::<Result<Vec<_>, Errno>>());
    for entry in entries.map_err(|e| Error::io("list", to, e))? {
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let place = to.join(to_path(name));
        let seen = |folder: &OwnedFd| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(Seen::from);
        let is_folder = seen(from).map_err(|e| Error::io("look at", &place, e))?.is_dir();
        let there = match seen(onto) {
            Ok(seen) => Some(seen.is_dir()),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(Error::io("look at", &place, e)),
        };
        match (is_folder, there) {
            (true, Some(true)) => each(&open(from, name, &place)?, &open(onto, name, &place)?, &place, is_trial)?,
            (false, Some(true)) => return Err(in_the_way(&place, "a folder", "a file")),
            (true, Some(false)) => return Err(in_the_way(&place, "a file or a link", "a folder")),
            _ if is_trial => {}
            _ => renameat(from, name, onto, name).map_err(|e| Error::io("write", &place, e))?,
        }
    }
    Ok(())
}

fn open(folder: impl std::os::fd::AsFd, name: &[u8], path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))
}

fn in_the_way(place: &Path, there: &str, wanted: &str) -> Error {
    let message = format!("{} is {there}, where {wanted} has to be written; nothing was touched", place.display());
    Error::new(Kind::Check, message).hint("move it away, or write elsewhere: -o PATH")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_replaced_and_everything_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        for path in ["new/a", "new/s/b", "new/s/t/c", "new/link"] {
            write(path, "new");
        }
        for path in ["to/a", "to/own", "to/s/own", "victim"] {
            write(path, "old");
        }
        symlink("../victim", at("to/link")).unwrap();
        write_into(&at("new"), &at("to")).unwrap();
        for path in ["to/a", "to/s/b", "to/s/t/c", "to/link"] {
            assert_eq!(read(path), "new");
        }
        for path in ["to/own", "to/s/own", "victim"] {
            assert_eq!(read(path), "old");
        }
        assert!(!at("new").exists() && !at("to/link").is_symlink());

        // Conflicts are found before any file is moved.
        for (new, old) in [("z/file", "z"), ("z", "z/file")] {
            write("new/a", "newer");
            write(&format!("new/{new}"), "newer");
            write(&format!("to/{old}"), "old");
            let error = write_into(&at("new"), &at("to")).unwrap_err();
            assert!(error.kind == Kind::Check && read("to/a") == "new", "{error}");
            let _ = fs::remove_file(at("to/z")).or_else(|_| fs::remove_dir_all(at("to/z")));
            fs::remove_dir_all(at("new")).unwrap();
        }
        // A link does not lead out of it either.
        write("new/s/x", "new");
        fs::create_dir(at("outside")).unwrap();
        fs::remove_dir_all(at("to/s")).unwrap();
        symlink("../outside", at("to/s")).unwrap();
        write_into(&at("new"), &at("to")).unwrap_err();
        assert_eq!(fs::read_dir(at("outside")).unwrap().count(), 0);
    }
}
