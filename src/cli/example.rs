//! The example project, compiled into the binary, so that it works without a network.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../fixtures/examples/digits/", $path)))),*]
    };
}

/// Path and content of each file but `pipeline.yaml`, which is pipeline.example.yaml at the top of the source tree.
const FILES: &[(&str, &[u8])] = files![
    ".gitignore",
    "README.md",
    "conf/model.json",
    "conf/report.json",
    "data/raw/README.md",
    "data/raw/digits.csv",
    "params.yaml",
    "src/choose.py",
    "src/evaluate.py",
    "src/model.py",
    "src/params.py",
    "src/predict.py",
    "src/prepare.py",
    "src/train.py",
];
const PIPELINE: &[u8] = include_bytes!("../../pipeline.example.yaml");
/// lockstep tracks data/raw as data, so Git ignores it from the first commit on.
const DATA_IGNORED: &[u8] = b"/raw\n";
const MESSAGE: &str = "Lay out the digits example";

/// The result of the first commit.
pub enum FirstCommit {
    Yes,
    /// Git has no name and address for the committer.
    NoName,
    /// The commit failed, with Git's message.
    No(String),
}

/// Writes the example to `dir`, which must be empty or missing, and makes it a Git repository.
pub fn lay_out(dir: &Path) -> Result<FirstCommit> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(
                    Error::usage(format!("{} is not empty", dir.display())).hint("choose a folder that does not exist")
                );
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("use", dir, e)),
    }
    fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    git(dir, &["init", "-q"]).and_then(|(fine, said)| {
        if fine { Ok(()) } else { Err(Error::missing(format!("git init failed in {}", dir.display())).because(said)) }
    })?;
    let own = [("pipeline.yaml", PIPELINE), ("data/.gitignore", DATA_IGNORED)];
    for (path, content) in FILES.iter().copied().chain(own) {
        let file = dir.join(path);
        let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, content));
        written.map_err(|e| Error::io("write", &file, e))?;
    }
    let named = std::env::var_os("GIT_COMMITTER_NAME").is_some() || git(dir, &["config", "user.name"])?.0;
    if !named {
        return Ok(FirstCommit::NoName);
    }
    for command in [&["add", "-A"][..], &["-c", "commit.gpgSign=false", "commit", "-q", "-m", MESSAGE]] {
        let (fine, said) = git(dir, command)?;
        if !fine {
            return Ok(FirstCommit::No(said));
        }
    }
    Ok(FirstCommit::Yes)
}

/// Runs Git in `dir`. Returns whether it succeeded, and its output. Removes variables that name another repository, as a
/// hook has them.
fn git(dir: &Path, args: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new("git");
    crate::git::clear_repository_variables(&mut command);
    let output = command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).output().map_err(|e| {
        let error = Error::missing("git cannot be started").because(e);
        error.hint("the example is a Git repository: install git first")
    })?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the example that is not in the list is missing for users.
    #[test]
    fn no_file_is_forgotten() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/examples/digits");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
                if entry.is_dir() && !entry.ends_with("__pycache__") {
                    folders.push(entry);
                } else if entry.is_file() {
                    found.push(entry.strip_prefix(&root).unwrap().to_str().unwrap().to_string());
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>());
    }
}
