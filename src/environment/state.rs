//! The state of an environment's folder, compared with its record by sizes and times: no content is read.

use std::fs;
use std::path::Path;

use super::record::{Record, folder_of, interpreter_file, names_in, real_path, stat_of};
use crate::store::ObjectId;

/// Whether an environment can be used.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It is as it was made.
    Built(Box<Record>),
    /// It was never made, or removed.
    Missing,
    /// It was not finished.
    Incomplete,
    /// It was changed since; why, as a sentence without its subject.
    Damaged(String),
}

impl State {
    /// The word for lists and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            State::Built(_) => "built",
            State::Missing => "missing",
            State::Incomplete => "incomplete",
            State::Damaged(_) => "damaged",
        }
    }
}

/// Looks at the folder of an environment.
pub fn check(environments: &Path, hash: &ObjectId) -> State {
    let folder = folder_of(environments, hash);
    // A folder that is a symlink was not made here.
    let is_folder = fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir());
    let Some(record) = Record::load(environments, hash) else {
        return if is_folder { State::Incomplete } else { State::Missing };
    };
    if !is_folder {
        return State::Missing;
    }
    match damage(&folder, &record) {
        Some(why) => State::Damaged(why),
        None => State::Built(Box::new(record)),
    }
}

fn damage(folder: &Path, record: &Record) -> Option<String> {
    if real_path(folder) != record.folder {
        return Some("the repository was moved".into());
    }
    for (path, stat) in &record.files {
        match fs::symlink_metadata(folder.join(path)) {
            Err(_) => return Some(format!("{path} is gone")),
            Ok(meta) if meta.is_dir() => return Some(format!("{path} is a folder now")),
            Ok(meta) if stat_of(&meta) != *stat => return Some(format!("{path} was changed")),
            Ok(_) => {}
        }
    }
    for (site, names) in &record.sites {
        let now = names_in(&folder.join(site));
        if let Some(new) = now.iter().find(|name| !names.contains(name)) {
            return Some(format!("{new} was installed by hand"));
        }
    }
    if record.python.is_some() {
        let now = interpreter_file(folder);
        let what = if now.is_none() { "is gone" } else { "was changed" };
        return (now.is_none() || now != record.interpreter_file)
            .then(|| format!("the Python that it was made with {what}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_by_hand_is_seen() {
        let hash = ObjectId([7; 32]);
        type Change = fn(&Path);
        let changes: [(&str, Change); 8] = [
            ("built", |_| {}),
            ("built", |f| fs::write(f.join("lib/site-packages/__pycache__"), "").unwrap()),
            ("a.py was changed", |f| fs::write(f.join("lib/site-packages/a.py"), "other").unwrap()),
            ("a.py is gone", |f| fs::remove_file(f.join("lib/site-packages/a.py")).unwrap()),
            ("b.py was installed by hand", |f| fs::write(f.join("lib/site-packages/b.py"), "").unwrap()),
            ("python is gone", |f| fs::remove_file(f.join("bin/python")).unwrap()),
            ("is gone", |f| fs::remove_file(f.parent().unwrap().join("base")).unwrap()),
            ("made with was changed", |f| fs::write(f.parent().unwrap().join("base"), "other").unwrap()),
        ];
        for (want, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            let folder = folder_of(dir.path(), &hash);
            assert_eq!(check(dir.path(), &hash), State::Missing);
            fs::create_dir_all(folder.join("lib/site-packages")).unwrap();
            fs::create_dir_all(folder.join("bin")).unwrap();
            fs::write(folder.join("lib/site-packages/a.py"), "a").unwrap();
            fs::write(dir.path().join("base"), "").unwrap();
            std::os::unix::fs::symlink("../../base", folder.join("bin/python")).unwrap();
            assert_eq!(check(dir.path(), &hash), State::Incomplete);
            let mut record = Record { python: Some("3.11".into()), ..Record::default() };
            record.take_files(&folder).unwrap();
            record.save(dir.path(), &hash).unwrap();
            change(&folder);
            let found = match check(dir.path(), &hash) {
                State::Damaged(why) => why,
                other => other.word().into(),
            };
            assert!(found.contains(want), "{want}: {found}");
        }
    }
}
