//! The grades of settings, and what each may set.
//!
//! | grade | source |
//! | --- | --- |
//! | user | flags, environment variables, the user's settings file, the settings of the current clone |
//! | repository | `lockstep.toml`, which comes with a clone from other people, and the clone settings of another repository |
//! | remote | none: what a remote sends is data, and sets nothing |
//!
//! Every row of the tables of settings ([`super::keys`], `remote/settings/options.rs`) has a [`Rule`] for the
//! repository. "Narrows" means relative to the user's own files, or else to the built-in default.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::modes::Modes;
use super::{Origin, Setting};
use crate::path::names::{Owner, owner_of};

/// Who sets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// `lockstep.toml`, or another file of someone else.
    Repository,
    /// The user, or this program by a default.
    User,
}

/// What the repository may set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Any value, like a file of the user.
    Free,
    /// A value that allows no more than the user's or the default.
    Narrows,
    /// A list that is applied in addition to the user's: an element must be in both.
    Joins,
    /// A folder inside the repository.
    Inside,
    /// Any value, but only these are run.
    RunsOnly(&'static [&'static str]),
    /// Any value, after `lockstep remote trust`.
    Grant,
    /// Nothing: only the user sets it.
    Never,
}

/// A value with its source.
#[derive(Clone, Debug, PartialEq)]
pub struct GradedValue {
    /// The value as the source gives it.
    pub value: Setting,
    /// The source.
    pub origin: Origin,
    /// Whose source it is.
    pub grade: Grade,
    /// Higher for a stronger source.
    pub order: usize,
}

/// The worktree of a repository.
#[derive(Clone, Debug)]
pub struct WorktreeArea {
    /// The real path, without symlinks.
    pub top: PathBuf,
    /// The root of the project: relative paths are relative to it.
    pub root: PathBuf,
}

/// A note on a value of the repository that is not applied as written.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingNote {
    /// The value as written.
    pub value: Setting,
    /// Its source.
    pub origin: Origin,
    /// The end of a message: why the value is not applied.
    pub reason: String,
    /// Whether the value is ignored completely.
    pub ignored: bool,
}

impl SettingNote {
    /// Whether the user may confirm the value. False for folders: a commit may have prepared the folder.
    pub fn may_be_wanted(&self) -> bool {
        ![LINK, LINK_INSIDE, REPOSITORY].contains(&self.reason.as_str())
    }
}

/// The effective value of `said`, which is ordered from the weakest source to the strongest, with notes on the others.
pub fn combine<'a>(
    key: &str,
    rule: Rule,
    said: &'a [GradedValue],
    checkout: Option<&WorktreeArea>,
) -> (Option<&'a GradedValue>, Vec<SettingNote>) {
    let mut counts: Option<&GradedValue> = None;
    let mut notes = Vec::new();
    for one in said {
        if one.grade == Grade::User {
            // A value of the user in a stronger source overrides it.
            notes.retain(|note: &SettingNote| rule == Rule::Joins && !note.ignored);
            if let Some(list) = counts.filter(|known| rule == Rule::Joins && known.grade == Grade::Repository) {
                notes.push(note(list, "narrows it", false));
            }
            counts = Some(one);
            continue;
        }
        match (rule, counts) {
            (Rule::Joins, Some(_)) => notes.push(note(one, "narrows it", false)),
            (Rule::Narrows, weaker) => match excess(key, &one.value, weaker.map(|said| &said.value)) {
                None => counts = Some(one),
                Some(reason) => notes.push(note(one, &reason, true)),
            },
            (Rule::Inside, _) => match is_inside(&one.value, checkout) {
                Ok(()) => counts = Some(one),
                Err(reason) => notes.push(note(one, reason, true)),
            },
            (Rule::Never, _) => notes.push(note(one, "you alone may set it", true)),
            (Rule::RunsOnly(known), _) => {
                if !known.contains(&one.value.to_string().as_str()) {
                    notes.push(note(one, "no command is run by it", false));
                }
                counts = Some(one);
            }
            // The user sets the same value.
            (Rule::Grant, Some(weaker)) if weaker.grade == Grade::User && weaker.value == one.value => {}
            (Rule::Free | Rule::Grant | Rule::Joins, _) => counts = Some(one),
        }
    }
    (counts, notes)
}

fn note(said: &GradedValue, reason: &str, ignored: bool) -> SettingNote {
    SettingNote { value: said.value.clone(), origin: said.origin.clone(), reason: reason.into(), ignored }
}

/// How `value` allows more than `weaker`, or than the default if there is none; `None` if it does not.
pub fn excess(key: &str, value: &Setting, weaker: Option<&Setting>) -> Option<String> {
    match key {
        "cache.mode" => {
            let parse = |setting: &Setting| Modes::parse(&setting.to_string()).ok();
            let most = weaker.and_then(parse).unwrap_or_default();
            let fits = parse(value).is_some_and(|modes| modes.is_within(&most));
            (!fits).then(|| format!("it allows more than {most}"))
        }
        // A hard link gives access to the store's own file.
        "cache.links" => {
            let words = |setting: &Setting| match setting {
                Setting::List(words) => words.clone(),
                other => vec![other.to_string()],
            };
            let most = weaker.map_or_else(|| vec!["reflink".into(), "copy".into()], words);
            let fits = words(value).iter().all(|word| word == "copy" || most.contains(word));
            (!fits).then(|| format!("it allows more than {}", most.join(",")))
        }
        // An option that is `true` or `false`, where `true` allows less.
        _ if weaker.is_some_and(is_on) && !is_on(value) => Some("it allows more than you do".into()),
        "cache.sign" if weaker.is_some_and(|weaker| weaker != value) => Some("your own setting counts".into()),
        _ => None,
    }
}

fn is_on(value: &Setting) -> bool {
    value.to_string() == "true"
}

const OUTSIDE: &str = "it lies outside the repository";
const LINK: &str = "it leads through a symlink";
const LINK_INSIDE: &str = "a symlink is in it";
const REPOSITORY: &str = "it lies in another repository";

fn is_inside(value: &Setting, checkout: Option<&WorktreeArea>) -> Result<(), &'static str> {
    match (value, checkout) {
        (Setting::Str(text), Some(checkout)) => checkout.takes(text),
        _ => Err(OUTSIDE),
    }
}

impl WorktreeArea {
    /// Whether a folder stays inside the repository, below its root, also through the current symlinks. Errors: the
    /// reason.
    pub fn takes(&self, text: &str) -> Result<(), &'static str> {
        let mut path = self.root.clone();
        let mut went_down = false;
        for component in Path::new(text).components() {
            match component {
                // A leading tilde means a home folder.
                Component::Normal(name) if !went_down && name.to_string_lossy().starts_with('~') => {
                    return Err(OUTSIDE);
                }
                Component::Normal(name) if owner_of(name.as_bytes()) == Some(Owner::Git) => {
                    return Err("it lies in the Git folder");
                }
                Component::Normal(name) => {
                    went_down = true;
                    path.push(name);
                }
                Component::CurDir => {}
                // Behind a symlink `..` leads to another folder.
                Component::ParentDir if !went_down => {
                    path.pop();
                }
                Component::RootDir if Path::new(text).starts_with(&self.top) => path = PathBuf::from("/"),
                _ => return Err(OUTSIDE),
            }
        }
        if !path.starts_with(&self.top) {
            return Err(OUTSIDE);
        }
        if self.root.starts_with(&path) {
            return Err("it is the folder of the project itself");
        }
        let is_link = |folder: &Path| folder.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if path.ancestors().take_while(|folder| *folder != self.top).any(is_link) {
            return Err(LINK);
        }
        if path.ancestors().take_while(|folder| *folder != self.top).any(is_repository) {
            return Err(REPOSITORY);
        }
        if holds_link(&path, 2) {
            return Err(LINK_INSIDE);
        }
        Ok(())
    }
}

/// Whether Git takes the content of a folder for a repository, with files or bare. A commit can contain a bare one.
fn is_repository(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
    has(".git") || is_bare_repository(folder)
}

/// Whether Git takes the folder itself for a repository.
pub fn is_bare_repository(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
    has("HEAD") && (has("objects") || has("refs") || has("commondir"))
}

/// Whether there is a symlink among the folders of a store. A commit can contain one, and files would be written or
/// deleted behind it. Deeper entries are files, which are never written through.
fn holds_link(folder: &Path, levels: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_symlink() => true,
        Ok(kind) => kind.is_dir() && levels > 1 && holds_link(&entry.path(), levels - 1),
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(grade: Grade, value: &str) -> GradedValue {
        let origin = if grade == Grade::User { Origin::Default } else { Origin::File("lockstep.toml".into()) };
        let value = match value {
            "true" => Setting::Bool(true),
            "false" => Setting::Bool(false),
            list if list.starts_with('[') => Setting::List(vec![list[1..list.len() - 1].into()]),
            text => Setting::Str(text.into()),
        };
        GradedValue { value, origin, grade, order: 0 }
    }

    #[test]
    fn the_repository_narrows_and_never_widens() {
        use Grade::{Repository, User};
        for (key, rule, values, want, notes) in [
            ("jobs", Rule::Free, vec![(User, "1"), (Repository, "4")], "4", vec![]),
            ("cache.mode", Rule::Narrows, vec![(Repository, "local:r")], "local:r", vec![]),
            ("cache.mode", Rule::Narrows, vec![(Repository, "local:rw")], "local:rw", vec![]),
            ("cache.mode", Rule::Narrows, vec![(Repository, "remote:rw")], "-", vec!["it allows more than local:rw"]),
            (
                "cache.mode",
                Rule::Narrows,
                vec![(User, "local:rw,remote:rw"), (Repository, "remote:r")],
                "remote:r",
                vec![],
            ),
            (
                "cache.mode",
                Rule::Narrows,
                vec![(User, "local:r"), (Repository, "local:rw")],
                "local:r",
                vec!["it allows more than local:r"],
            ),
            (
                "cache.mode",
                Rule::Narrows,
                vec![(Repository, "local:rw,remote:rw"), (User, "remote:r")],
                "remote:r",
                vec![],
            ),
            ("cache.sign", Rule::Narrows, vec![(Repository, "ed25519")], "ed25519", vec![]),
            ("cache.sign", Rule::Narrows, vec![(User, "ed25519"), (Repository, "ed25519")], "ed25519", vec![]),
            ("cache.links", Rule::Narrows, vec![(Repository, "[copy]")], "copy", vec![]),
            ("cache.links", Rule::Narrows, vec![(Repository, "[reflink]")], "reflink", vec![]),
            (
                "cache.links",
                Rule::Narrows,
                vec![(Repository, "[hardlink]")],
                "-",
                vec!["it allows more than reflink,copy"],
            ),
            ("cache.links", Rule::Narrows, vec![(User, "[hardlink]"), (Repository, "[hardlink]")], "hardlink", vec![]),
            ("read_only", Rule::Narrows, vec![(Repository, "true")], "true", vec![]),
            (
                "read_only",
                Rule::Narrows,
                vec![(User, "true"), (Repository, "false")],
                "true",
                vec!["it allows more than you do"],
            ),
            ("read_only", Rule::Narrows, vec![(Repository, "true"), (User, "false")], "false", vec![]),
            ("cache.trust", Rule::Joins, vec![(Repository, "[theirs]")], "theirs", vec![]),
            ("cache.trust", Rule::Joins, vec![(User, "[mine]"), (Repository, "[theirs]")], "mine", vec!["narrows it"]),
            ("cache.trust", Rule::Joins, vec![(Repository, "[theirs]"), (User, "[mine]")], "mine", vec!["narrows it"]),
            ("shell", Rule::RunsOnly(&["sh"]), vec![(Repository, "zsh")], "zsh", vec!["no command is run by it"]),
            ("shell", Rule::RunsOnly(&["sh"]), vec![(Repository, "zsh"), (User, "zsh")], "zsh", vec![]),
            ("cache.dir", Rule::Inside, vec![(Repository, "/mnt")], "-", vec!["it lies outside the repository"]),
        ] {
            let all: Vec<GradedValue> = values.iter().map(|(grade, value)| said(*grade, value)).collect();
            let (counts, got) = combine(key, rule, &all, None);
            assert_eq!(counts.map_or("-".into(), |said| said.value.to_string()), want, "{key} {values:?}");
            assert_eq!(got.iter().map(|note| note.reason.as_str()).collect::<Vec<_>>(), notes, "{key} {values:?}");
        }
    }

    #[test]
    fn a_folder_of_the_repository_stays_inside_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = std::fs::canonicalize(dir.path()).unwrap().join("top");
        std::fs::create_dir_all(top.join("sub/deep")).unwrap();
        std::os::unix::fs::symlink("/", top.join("sub/out")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("sub/dangling")).unwrap();
        std::os::unix::fs::symlink("..", top.join("sub/up")).unwrap();
        for (store, link) in [("planted", "tmp"), ("planted2", "objects/ab"), ("own", "objects/ab/file")] {
            let link = top.join("sub").join(store).join(link);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink("/", link).unwrap();
        }
        std::fs::create_dir_all(top.join("sub/bare/objects")).unwrap();
        std::fs::write(top.join("sub/bare/HEAD"), "").unwrap();
        std::fs::create_dir_all(top.join("sub/nested/.git")).unwrap();
        let checkout = WorktreeArea { top: top.clone(), root: top.join("sub") };
        let absolute = top.join("x").to_string_lossy().into_owned();
        for (text, want) in [
            ("store", true),
            ("own", true),
            ("planted", false),
            ("planted2", false),
            ("bare/lockstep/store", false),
            ("bare", false),
            ("nested/store", false),
            ("./store/x", true),
            ("../store", true),
            (absolute.as_str(), true),
            (".", false),
            ("", false),
            ("..", false),
            ("../..", false),
            ("../../store", false),
            ("deep/..", false),
            ("deep/../../../x", false),
            ("~/store", false),
            ("~other/store", false),
            ("/mnt/store", false),
            ("out/store", false),
            ("dangling", false),
            ("dangling/x", false),
            ("up/x", false),
            ("../.git/x", false),
            ("../.GIT/lockstep", false),
        ] {
            assert_eq!(is_inside(&Setting::Str(text.into()), Some(&checkout)).is_ok(), want, "{text}");
        }
    }
}
