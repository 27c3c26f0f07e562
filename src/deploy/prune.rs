//! Deletes old releases: not the current one, not the one before, and not the newest others that are to be kept. A
//! folder that is not recognisably a release of lockstep is never deleted.

use std::collections::BTreeSet;

use super::Manifest;
use super::folder::{CurrentLink, TargetFolder};
use super::journal::Journal;
use super::release::release_name;
use crate::error::Result;

/// A release that may be deleted.
#[derive(Clone, Debug, PartialEq)]
struct OldRelease {
    /// Its folder below `releases/`.
    name: String,
    /// When it was current last, as the number of a line of the journal; `None` for never.
    used: Option<usize>,
}

/// Deletes old releases of a folder whose lock is held. Returns their names.
pub fn prune(folder: &TargetFolder, journal: &Journal, keep: u64) -> Result<Vec<String>> {
    let CurrentLink::Release(current) = folder.current()? else { return Ok(Vec::new()) };
    let events: Vec<String> =
        journal
            .events()
            .map(|event| {
                if event.makes_current() {
                    release_name(event.version.as_deref(), &event.blake3)
                } else {
                    String::new()
                }
            })
            .collect();
    let stack = journal.stack();
    let before = stack.iter().rev().nth(1).map(|event| release_name(event.version.as_deref(), &event.blake3));
    let mut protected: BTreeSet<String> = [base_of(&current).to_string()].into();
    protected.extend(before);
    let mut old = Vec::new();
    for entry in folder.releases()? {
        let name = entry.text();
        if name == current || !entry.path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        let Ok(Some(manifest)) = Manifest::read(&entry.path) else { continue };
        let base = release_name(manifest.version.as_deref(), &manifest.blake3);
        if base_of(name) != base || (protected.contains(&base) && name == base && base != base_of(&current)) {
            continue;
        }
        old.push(OldRelease { name: name.into(), used: events.iter().rposition(|event| *event == base) });
    }
    let going = chosen(old, keep);
    going.iter().try_for_each(|name| folder.remove_release(name))?;
    Ok(going)
}

/// Those that go: all but the last used ones.
fn chosen(mut old: Vec<OldRelease>, keep: u64) -> Vec<String> {
    old.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    old.into_iter().skip(keep).map(|release| release.name).collect()
}

/// The name without the number of a second folder for the same release.
fn base_of(name: &str) -> &str {
    match name.rsplit_once('.') {
        // The hash comes last, so a part after a dot behind it is such a number.
        Some((base, number))
            if !number.contains('-') && number.len() < 12 && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            base
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_ones_stay() {
        let old = |name: &str, used| OldRelease { name: name.into(), used };
        let all = vec![old("a", Some(1)), old("b", None), old("c", Some(7)), old("d", Some(3))];
        for (keep, want) in [(0, "c d a b"), (1, "d a b"), (3, "b"), (9, "")] {
            assert_eq!(chosen(all.clone(), keep).join(" "), want);
        }
    }

    #[test]
    fn a_second_folder_of_a_release_has_a_number() {
        for (name, want) in [
            ("v1.1.0-4b28d43d5570", "v1.1.0-4b28d43d5570"),
            ("v1.1.0-4b28d43d5570.2", "v1.1.0-4b28d43d5570"),
            ("v1.1.0-rc.1-4b28d43d5570", "v1.1.0-rc.1-4b28d43d5570"),
            ("4b28d43d5570.13", "4b28d43d5570"),
            ("v1.1.0-123456789012", "v1.1.0-123456789012"),
        ] {
            assert_eq!(base_of(name), want);
        }
    }
}
