//! Checks that the disk has room for the size that a tree claims. A few trees that refer to each other can claim 10^12
//! files.
//!
//! The reader of a tree checks that its claims match its pin; this module checks the pin before a byte is written.

use std::fs;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::store::fs::link::LinkType;
use crate::store::fs::paths;
use crate::store::id::Pin;
use crate::store::objects::Store;

/// The smallest size of a directory entry.
const NAME: u64 = 16;

/// The free space of a disk.
#[derive(Clone, Copy, Debug)]
struct FreeSpace {
    bytes: u64,
    /// `None` if the file system has no fixed number of inodes.
    files: Option<u64>,
}

/// How much new disk space a checkout needs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sharing {
    /// Files may be links to existing files.
    Links,
    /// Files are new, but their bytes may be shared.
    Bytes,
    Nothing,
}

/// Refuses a checkout that cannot fit on the disk of `dest`. With `may_take_over`, files of an old folder may be linked
/// into the new one.
///
/// Errors ([`Kind::Io`]): there is not enough room.
pub fn check_free_space(store: &Store, pin: &Pin, dest: &Path, may_take_over: bool) -> Result<()> {
    let parent = dest.parent().unwrap_or(dest);
    let Ok(disk) = rustix::fs::statvfs(parent) else { return Ok(()) };
    let free = FreeSpace {
        bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        files: (disk.f_files > 0).then_some(disk.f_favail),
    };
    let has = |wanted: LinkType| store.links().iter().any(|link| link == wanted);
    let links = may_take_over || has(LinkType::Hardlink) || has(LinkType::Symlink);
    let sharing = if links {
        Sharing::Links
    } else if has(LinkType::Reflink) && !fits(pin, free, Sharing::Nothing) && can_reflink(parent) {
        Sharing::Bytes
    } else {
        Sharing::Nothing
    };
    if fits(pin, free, sharing) {
        return Ok(());
    }
    let files = pin.files.map_or(String::new(), |files| format!("{files} files with "));
    let message = format!(
        "{} has no room: {files}{} bytes are pinned, {} bytes are free on its disk",
        dest.display(),
        pin.size,
        free.bytes
    );
    Err(Error::new(Kind::Io, message)
        .because("nothing was written")
        .hint("free some space on that disk, or check out only some paths"))
}

/// Pure.
fn fits(pin: &Pin, free: FreeSpace, sharing: Sharing) -> bool {
    let files = pin.files.unwrap_or(1);
    let has_names = files.saturating_mul(NAME) <= free.bytes;
    let has_files = sharing == Sharing::Links || free.files.is_none_or(|free| files <= free);
    let has_bytes = sharing != Sharing::Nothing || pin.size <= free.bytes;
    has_names && has_files && has_bytes
}

fn can_reflink(folder: &Path) -> bool {
    let (from, to) = (paths::temp_sibling(&folder.join("probe")), paths::temp_sibling(&folder.join("probe")));
    let can = fs::write(&from, "a clone?").is_ok() && reflink_copy::reflink(&from, &to).is_ok();
    let _ = (fs::remove_file(&from), fs::remove_file(&to));
    can
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectId;

    #[test]
    fn what_is_claimed_is_compared_with_the_disk() {
        use Sharing::*;
        let gib = 1 << 30;
        for (size, files, free_files, sharing, want) in [
            (10, 1, Some(10), Nothing, true),
            (2 * gib, 1, Some(10), Nothing, false),
            (2 * gib, 1, Some(10), Bytes, true),
            (2 * gib, 1, Some(10), Links, true),
            (10, 11, Some(10), Nothing, false),
            (10, 11, Some(10), Bytes, false),
            (10, 11, Some(10), Links, true),
            (10, 11, None, Nothing, true),
            (0, 2_500_000_000_000, None, Links, false),
            (0, u64::MAX, None, Bytes, false),
            (u64::MAX, 1, None, Nothing, false),
        ] {
            let pin = Pin { id: ObjectId([0; 32]), size, files: Some(files), executable: false };
            let free = FreeSpace { bytes: gib, files: free_files };
            assert_eq!(fits(&pin, free, sharing), want, "{size} {files} {free_files:?} {sharing:?}");
        }
    }
}
