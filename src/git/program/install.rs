//! Installs lockstep in a clone: a merge driver for `pipeline.lock`, and hooks.
//!
//! ```text
//! .git/config            merge.lockstep.name, merge.lockstep.driver
//! .git/info/attributes   pipeline.lock merge=lockstep        (any folder; not committed, so others need not have it)
//! hooks/pre-push         runs `lockstep hook pre-push`, after the hook that existed before
//! ```
//!
//! A foreign hook is never edited: it is renamed to `NAME.before-lockstep`, and the new hook calls it first, with the
//! same arguments and the same standard input. If `core.hooksPath` names a folder outside this repository, which other
//! repositories share, nothing is written there; the caller prints the line to add.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::document;
use crate::error::{Error, Result};
use crate::git::repo::Repo;
use crate::replace::replace_file;

const ATTRIBUTE: &str = "pipeline.lock merge=lockstep";
/// The second line of every hook that lockstep writes.
const MARK: &str = "# Written by `lockstep hooks install`; `lockstep hooks uninstall` removes it.";
/// How this line begins, whichever version wrote it.
const MARK_START: &str = "# Written by `lockstep ";
const KEPT: &str = ".before-lockstep";

/// A hook that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before a push: refuses it if the data of a pushed commit is at no remote.
    PrePush,
    /// After a checkout: lists outputs that differ from the lock.
    PostCheckout,
    /// After a merge: lists outputs that differ from the lock.
    PostMerge,
}

/// All hooks that lockstep installs.
pub const HOOKS: [Hook; 3] = [Hook::PrePush, Hook::PostCheckout, Hook::PostMerge];

impl Hook {
    /// The file name of the hook.
    pub fn name(self) -> &'static str {
        match self {
            Hook::PrePush => "pre-push",
            Hook::PostCheckout => "post-checkout",
            Hook::PostMerge => "post-merge",
        }
    }
}

/// The actions that were taken, in words for people: past tense, one line each.
pub type ActionLog = Vec<String>;

impl Repo {
    /// Configures the merge driver for locks.
    pub fn install_driver(&self, program: &Path) -> Result<ActionLog> {
        let driver = format!("{} \"$lockstep\" merge-driver %O %A %B %P %X %Y", find(program)?);
        self.git_config(&["merge.lockstep.name", "records of pipeline.lock, block by block"])?;
        self.git_config(&["merge.lockstep.driver", &driver])?;
        let file = self.attributes()?;
        let old = read(&file)?;
        if !old.lines().any(|line| line.trim() == ATTRIBUTE) {
            let gap = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
            write(&file, &format!("{old}{gap}{ATTRIBUTE}\n"))?;
        }
        Ok(vec!["Git merges pipeline.lock with lockstep in this clone".into()])
    }

    /// Removes the merge driver for locks.
    pub fn uninstall_driver(&self) -> Result<ActionLog> {
        let file = self.attributes()?;
        let old = read(&file)?;
        let new: String = old.lines().filter(|l| l.trim() != ATTRIBUTE).map(|l| format!("{l}\n")).collect();
        let had = new != old && old.lines().any(|line| line.trim() == ATTRIBUTE);
        if had {
            write(&file, &new)?;
        }
        let removed = self.git_config(&["--remove-section", "merge.lockstep"]).is_ok();
        Ok(if had || removed { vec!["Git merges pipeline.lock as text again".into()] } else { Vec::new() })
    }

    /// Writes a hook; rewrites one that lockstep wrote before.
    ///
    /// Errors: the hooks' folder is outside this repository; the backup of an earlier hook is in the way.
    pub fn install_hook(&self, hook: Hook, program: &Path) -> Result<ActionLog> {
        let folder = self.hooks_folder()?;
        let (file, kept) = (folder.join(hook.name()), folder.join(format!("{}{KEPT}", hook.name())));
        let script = script(hook, program)?;
        let mut done = Vec::new();
        if file.symlink_metadata().is_ok() && !is_ours(&file) {
            if kept.symlink_metadata().is_ok() {
                let (hook, file, kept) = (hook.name(), file.display(), kept.display());
                return Err(Error::usage(format!("there are two {hook} hooks of others: {file} and {kept}"))
                    .hint("merge them into the first, remove the second, then: lockstep hooks install"));
            }
            fs::rename(&file, &kept).map_err(|e| Error::io("rename", &file, e))?;
            done.push(format!("the {} hook that was there is kept as {} and runs first", hook.name(), kept.display()));
        }
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        replace_file(&file, script.as_bytes())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(|e| Error::io("write", &file, e))?;
        done.push(format!("hook {}", file.display()));
        Ok(done)
    }

    /// Removes a hook of lockstep, and restores the one that existed before.
    pub fn uninstall_hook(&self, hook: Hook) -> Result<ActionLog> {
        let Ok(folder) = self.hooks_folder() else { return Ok(Vec::new()) };
        let (file, kept) = (folder.join(hook.name()), folder.join(format!("{}{KEPT}", hook.name())));
        if !is_ours(&file) {
            return Ok(Vec::new());
        }
        if kept.symlink_metadata().is_ok() {
            fs::rename(&kept, &file).map_err(|e| Error::io("rename", &kept, e))?;
            return Ok(vec![format!("hook {} is the one from before again", file.display())]);
        }
        fs::remove_file(&file).map_err(|e| Error::io("remove", &file, e))?;
        Ok(vec![format!("hook {} is gone", file.display())])
    }

    /// The folder in which Git looks for hooks.
    fn hooks_folder(&self) -> Result<PathBuf> {
        let common = self.common()?;
        let configured = self.open()?.and_then(|r| r.config_snapshot().trusted_path("core.hooksPath").ok().flatten());
        let Some(configured) = configured else { return Ok(common.join("hooks")) };
        let folder = self.top.join(configured);
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if real(&folder).starts_with(real(&self.top)) || real(&folder).starts_with(real(common)) {
            return Ok(folder);
        }
        Err(Error::usage(format!("core.hooksPath is {}, which is not this repository's alone", folder.display()))
            .hint("add this to its pre-push by hand: lockstep hook pre-push \"$@\""))
    }

    fn attributes(&self) -> Result<PathBuf> {
        Ok(self.common()?.join("info/attributes"))
    }

    fn common(&self) -> Result<&PathBuf> {
        self.common_dir.as_ref().ok_or_else(|| {
            Error::missing("there is no Git repository here, so there is nothing to install")
                .hint("git init, then lockstep hooks install")
        })
    }

    fn git_config(&self, args: &[&str]) -> Result<()> {
        self.git(&[&["config", "--local"], args].concat(), None, None).map(drop)
    }
}

/// Shell words that set `$lockstep` to the program: its current path, or, if it moves, the one in PATH.
fn find(program: &Path) -> Result<String> {
    let path = program
        .to_str()
        .ok_or_else(|| Error::usage(format!("the name of the program is not UTF-8: {}", program.display())))?;
    // `%` begins a placeholder in a merge driver.
    let quoted = path.replace('\'', r"'\''").replace('%', "%%");
    Ok(format!("lockstep='{quoted}'; [ -x \"$lockstep\" ] || lockstep=lockstep;"))
}

fn script(hook: Hook, program: &Path) -> Result<String> {
    let name = hook.name();
    let find = find(program)?.replace("%%", "%");
    Ok(format!(
        "\
#!/bin/sh
{MARK}
{find}
input=; [ -t 0 ] || {{ input=$(cat; echo x); input=${{input%x}}; }}
before=\"$0{KEPT}\"
if [ -x \"$before\" ]; then
  printf %s \"$input\" | \"$before\" \"$@\" || exit
fi
if ! command -v \"$lockstep\" > /dev/null; then
  echo \"lockstep is not here any more, so the {name} hook does nothing\" >&2
  exit 0
fi
printf %s \"$input\" | \"$lockstep\" hook {name} \"$@\"
"
    ))
}

fn is_ours(file: &Path) -> bool {
    let is_marked = |text: String| text.lines().nth(1).is_some_and(|line| line.starts_with(MARK_START));
    document::read_text(file, document::MOST).is_ok_and(|text| text.is_some_and(is_marked))
}

fn read(file: &Path) -> Result<String> {
    Ok(document::read_text(file, document::MOST)?.unwrap_or_default())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    replace_file(file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{git, repository};

    #[test]
    fn installing_twice_is_installing_once_and_taking_it_away_leaves_nothing() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        let before = fs::read_to_string(top.join(".git/config")).unwrap();
        fs::create_dir_all(top.join(".git/info")).unwrap();
        fs::write(top.join(".git/info/attributes"), "*.png binary").unwrap();
        let program = Path::new("/odd 100%/it's/lockstep");
        for _ in 0..2 {
            repo.install_driver(program).unwrap();
        }
        let attributes = || fs::read_to_string(top.join(".git/info/attributes")).unwrap();
        assert_eq!(attributes(), "*.png binary\npipeline.lock merge=lockstep\n");
        assert_eq!(
            git(&top, &["config", "--get-all", "merge.lockstep.driver"]),
            "lockstep='/odd 100%%/it'\\''s/lockstep'; [ -x \"$lockstep\" ] || lockstep=lockstep; \
             \"$lockstep\" merge-driver %O %A %B %P %X %Y\n"
        );
        assert!(git(&top, &["check-attr", "merge", "a/b/pipeline.lock"]).ends_with("merge: lockstep\n"));
        assert_eq!(repo.uninstall_driver().unwrap().len(), 1);
        assert_eq!(attributes(), "*.png binary\n");
        assert_eq!(fs::read_to_string(top.join(".git/config")).unwrap(), before);
        assert!(repo.uninstall_driver().unwrap().is_empty());
    }

    #[test]
    fn a_hook_that_was_there_is_kept_and_comes_back() {
        let (_dir, top) = repository();
        let repo = Repo::discover(&top).unwrap();
        let hook = top.join(".git/hooks/pre-push");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "#!/bin/sh\necho mine\n").unwrap();
        let program = Path::new("/nowhere/lockstep");
        assert_eq!(repo.install_hook(Hook::PrePush, program).unwrap().len(), 2);
        assert_eq!(repo.install_hook(Hook::PrePush, program).unwrap().len(), 1);
        assert!(is_ours(&hook));
        repo.uninstall_hook(Hook::PrePush).unwrap();
        assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\necho mine\n");
        assert!(repo.uninstall_hook(Hook::PrePush).unwrap().is_empty());

        repo.install_hook(Hook::PostMerge, program).unwrap();
        repo.uninstall_hook(Hook::PostMerge).unwrap();
        assert!(!top.join(".git/hooks/post-merge").exists());
    }

    #[test]
    fn the_hooks_folder_is_gits() {
        let (dir, top) = repository();
        git(&top, &["config", "core.hooksPath", ".githooks"]);
        let program = Path::new("/nowhere/lockstep");
        Repo::discover(&top).unwrap().install_hook(Hook::PrePush, program).unwrap();
        assert!(is_ours(&top.join(".githooks/pre-push")));
        git(&top, &["config", "core.hooksPath", dir.path().join("shared").to_str().unwrap()]);
        let e = Repo::discover(&top).unwrap().install_hook(Hook::PrePush, program).unwrap_err();
        assert!(e.message.contains("core.hooksPath") && !dir.path().join("shared").exists());
    }
}
