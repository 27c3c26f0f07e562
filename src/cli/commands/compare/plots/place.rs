//! The file of the page, and the browser that shows it.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::output::Output;
use crate::document;
use crate::error::{Error, Result};
use crate::project::{Project, check_target};
use crate::replace::replace_file;
use crate::report::plots::GENERATOR;

const NAME: &str = "plots.html";
/// The name of the generator stands within so many bytes of the page.
const HEAD: u64 = 1024;

/// Writes the page and returns its path, relative to the current folder. Replaces no file but an earlier page.
pub fn write(asked: Option<&Path>, page: &str, project: &Project, out: &Output) -> Result<PathBuf> {
    let mut path = asked.unwrap_or(Path::new(NAME)).to_path_buf();
    let here = &project.around.cwd;
    let is_folder =
        here.join(&path).is_dir() || asked.is_some_and(|asked| asked.as_os_str().to_string_lossy().ends_with('/'));
    let is_page = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("html") || e.eq_ignore_ascii_case("htm"));
    if is_folder || !is_page {
        path.push("index.html");
    }
    let there = here.join(&path);
    // The default path is not the user's choice, so a link there may come from the repository.
    if asked.is_none() && here.join(NAME).is_symlink() {
        return Err(Error::usage(format!("{NAME} is a symlink: the page is not written through it"))
            .hint("choose another file: lockstep plots show -o FILE.html, or remove the link"));
    }
    check_target(&there)?;
    refuse_foreign(&there, &path)?;
    if let Some(folder) = there.parent() {
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    replace_file(&there, page.as_bytes())?;
    if asked.is_none() {
        hint_gitignore(project, out);
    }
    Ok(path)
}

/// Refuses to replace a file that is not a page of lockstep.
fn refuse_foreign(there: &Path, path: &Path) -> Result<()> {
    let mut head = Vec::new();
    match document::open(there).and_then(|file| file.take(HEAD).read_to_end(&mut head)) {
        Ok(0) => Ok(()),
        Ok(_) if String::from_utf8_lossy(&head).contains(GENERATOR) => Ok(()),
        Ok(_) => Err(Error::usage(format!("{} exists and was not made by lockstep", path.display()))
            .hint("name another file: -o FILE.html, or remove it")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("look at", path, e)),
    }
}

/// Hints at adding the page to .gitignore, unless Git tracks or ignores it already.
fn hint_gitignore(project: &Project, out: &Output) {
    if !project.repo.is_git() {
        return;
    }
    let Some(path) = project.cwd.join(NAME) else { return };
    let is_tracked = || project.repo.tracked(std::slice::from_ref(&path)).is_ok_and(|tracked| !tracked.is_empty());
    if !is_tracked() && project.repo.is_ignored(&path) == Some(false) {
        out.hint(format!("keep it out of Git: echo {NAME} >> .gitignore"));
    }
}

/// Opens the page in a browser. Without a browser, prints a message; it is not a failure.
pub fn open(path: &Path, project: &Project, out: &Output) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let there = project.around.cwd.join(path);
    let started =
        Command::new(program).arg(&there).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match started {
        Ok(status) if status.success() => {}
        Ok(_) => out.warn(format!("{program} could not show it; open {} yourself", there.display())),
        Err(e) => out.warn(format!("{program} cannot be started ({e}); open {} yourself", there.display())),
    }
}
