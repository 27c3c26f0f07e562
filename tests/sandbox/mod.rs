//! A repository of its own for each test: nothing of the machine's settings gets in, nothing gets out.

#![allow(dead_code)] // each test program uses its own part

pub mod filter;
pub mod process;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A temporary folder with a Git repository (`repo/`), an empty home (`home/`) and a log that stages write to (`log`).
pub struct Sandbox {
    dir: tempfile::TempDir,
    root: PathBuf,
    env: Vec<(String, String)>,
}

/// What a command left: its exit code (128 + number for a signal) and what it printed.
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    /// With a fresh, empty Git repository.
    pub fn new() -> Sandbox {
        let sandbox = Sandbox::without_git();
        sandbox.git(&["init", "-q", "-b", "main"]);
        sandbox
    }

    /// The same, on the file system of a folder.
    pub fn within(folder: &Path) -> Sandbox {
        let sandbox = Sandbox::at(tempfile::Builder::new().prefix("lockstep-").tempdir_in(folder).unwrap());
        sandbox.git(&["init", "-q", "-b", "main"]);
        sandbox
    }

    pub fn without_git() -> Sandbox {
        Sandbox::at(tempfile::Builder::new().prefix("lockstep-").tempdir().unwrap())
    }

    fn at(dir: tempfile::TempDir) -> Sandbox {
        let root = fs::canonicalize(dir.path()).unwrap().join("repo");
        fs::create_dir(&root).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Sandbox { dir, root, env: Vec::new() }
    }

    /// The same with more environment for every command.
    pub fn with<'a>(mut self, env: impl IntoIterator<Item = (&'a String, &'a String)>) -> Sandbox {
        self.env.extend(env.into_iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// The root of the repository, without symlinks.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file, with its folders. An existing one is replaced, so that a link into a store is never written
    /// through.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&file);
        fs::write(&file, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Removes a file or a folder.
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        let is_dir = path.symlink_metadata().unwrap().is_dir();
        if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Runs lockstep in the root.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_in("", args)
    }

    /// Runs lockstep in a folder of the repository.
    pub fn run_in(&self, folder: &str, args: &[&str]) -> Output {
        output(self.lockstep(folder).args(args))
    }

    /// Makes the clone in a folder use the store at `store`.
    pub fn use_store(&self, folder: &str, store: &Path) {
        let out = self.run_in(folder, &["cache", "dir", "-q", "--local", store.to_str().unwrap()]);
        assert_eq!(out.code, 0, "{out}");
    }

    /// lockstep as a command in a folder of the repository, to add arguments and variables to.
    pub fn lockstep(&self, folder: &str) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_lockstep")), folder)
    }

    /// Runs Git in the root; it must succeed. Returns what it prints.
    pub fn git(&self, args: &[&str]) -> String {
        let out = output(self.command(Path::new("git"), "").args(args));
        assert_eq!(out.code, 0, "git {args:?}: {}", out.stderr);
        out.stdout
    }

    /// The lines that stages added to the log (`echo NAME >> $CONF_LOG`) since the last call.
    pub fn ran(&self) -> Vec<String> {
        let log = self.log();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        text.lines().map(str::to_string).collect()
    }

    /// `text` with what differs from run to run replaced: this sandbox's folders, times, hashes.
    pub fn filter(&self, text: &str) -> String {
        let text = text.replace(self.root.to_str().unwrap(), "[ROOT]");
        filter::normalise(&text.replace(self.root.parent().unwrap().to_str().unwrap(), "[BOX]"))
    }

    /// An output as one text for an inline snapshot, filtered; parts that are empty are left out.
    pub fn shown(&self, output: &Output) -> String {
        self.filter(&output.to_string())
    }

    /// A program in a folder of the repository, with the sandbox's environment.
    pub fn command(&self, program: &Path, folder: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(folder)).env_clear().stdin(Stdio::null());
        for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("SHELL", "/bin/sh"),
            ("USER", "t"),
            ("NO_COLOR", "1"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "t"),
            ("GIT_AUTHOR_EMAIL", "t@example.org"),
            ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
            ("GIT_COMMITTER_NAME", "t"),
            ("GIT_COMMITTER_EMAIL", "t@example.org"),
            ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
        ] {
            command.env(name, value);
        }
        // The layout of new repositories, as `reftable-sha256`: see the tests of `layouts`.
        if let Some((refs, hash)) = std::env::var("LOCKSTEP_TEST_LAYOUT").unwrap_or_default().split_once('-') {
            command.env("GIT_DEFAULT_REF_FORMAT", refs).env("GIT_DEFAULT_HASH", hash);
        }
        command.env("HOME", self.dir.path().join("home")).env("CONF_LOG", self.log());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    use std::os::unix::process::ExitStatusExt;
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let code = out.status.code().or_else(|| out.status.signal().map(|n| 128 + n)).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code, stdout: text(out.stdout), stderr: text(out.stderr) }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit {}", self.code)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                writeln!(f, "--- {name}\n{}", text.trim_end_matches('\n'))?;
            }
        }
        Ok(())
    }
}
