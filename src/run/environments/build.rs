//! The commands that make an environment, by its kind.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{BuildSurroundings, EnvironmentMaker};
use crate::environment::interpreter::Interpreter;
use crate::environment::normalise;
use crate::environment::record::{Record, folder_of};
use crate::environment::resolve::ResolvedEnvironment;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::pipeline::stage::EnvironmentSource;
use crate::plan::facts::resolve_environment;
use crate::plan::programs::find_file;
use crate::run::local::{CommandJob, Exit, run};
use crate::run::watchdog::Group;

/// Prints the whole version, if it is CPython.
const VERSION_SCRIPT: &str = "import sys; print(sys.implementation.name + ' %d.%d.%d' % sys.version_info[:3])";

/// Variables that would make the tools install into another place.
const MISLEADING: &[&str] = &[
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_CONSTRAINT",
    "PIP_DRY_RUN",
    "UV_PROJECT",
    "UV_WORKING_DIRECTORY",
    "UV_PYTHON",
    "UV_DEV",
    "UV_NO_DEV",
    "UV_NO_GROUP",
    "UV_NO_DEFAULT_GROUPS",
    "UV_LOCKED",
];

/// One command.
struct Step {
    words: Vec<String>,
    folder: PathBuf,
    variables: Vec<(String, String)>,
    /// What to type if it fails.
    hint: Option<String>,
}

impl EnvironmentMaker<'_> {
    /// Makes an environment in its folder, which is empty, and writes its record.
    pub(super) fn build(&self, environment: &ResolvedEnvironment, surroundings: &BuildSurroundings<'_>) -> Result<()> {
        if let Some(at) = environment.needs_network().filter(|_| self.offline) {
            let message = format!("environment {} cannot be made offline: {at} is an address", environment.spec.name);
            return Err(Error::new(Kind::Stage, message).hint("run the command without --offline"));
        }
        let environments = self.project.repo.environments_dir();
        let folder = folder_of(&environments, &environment.lock.hash);
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        let mut record = Record {
            name: environment.spec.name.clone(),
            kind: environment.lock.kind.clone(),
            platform: environment.lock.platform.clone(),
            python: environment.lock.python.clone(),
            packages: environment.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect(),
            ..Record::default()
        };
        let steps = match environment.python {
            Some(_) => {
                let (interpreter, version) = self.interpreter(environment, surroundings)?;
                record.interpreter = Some(version);
                self.python_steps(environment, &interpreter, &folder)?
            }
            None => self.setup_step(environment, &folder),
        };
        for step in &steps {
            self.run_step(environment, step, surroundings)?;
        }
        let now = resolve_environment(self.project, self.definitions, &environment.spec, self.sink)?;
        if now.lock.hash != environment.lock.hash {
            let name = &environment.spec.name;
            return Err(Error::new(Kind::Stage, format!("the files of environment {name} changed while it was made"))
                .hint("run the same command again"));
        }
        record.take_files(&folder)?;
        self.warn_of_others(environment, &record);
        sync(&folder)?;
        record.save(&environments, &environment.lock.hash)
    }

    /// Warns if something was installed that does not count, as by a tool that reads markers otherwise.
    fn warn_of_others(&self, environment: &ResolvedEnvironment, record: &Record) {
        let names = record.sites.values().flatten().filter_map(|name| name.strip_suffix(".dist-info"));
        let names = names.filter_map(|name| normalise(name.split('-').next()?));
        let is_other = |name: &String| {
            !["pip", "setuptools"].contains(&name.as_str()) && !environment.packages.iter().any(|p| p.name == *name)
        };
        let others: Vec<String> = names.filter(is_other).collect();
        if environment.python.is_some() && !others.is_empty() {
            let (name, others) = (&environment.spec.name, others.join(", "));
            let text = format!("environment {name} has packages that do not count as inputs: {others}");
            self.sink.event(Event::Warning { text: &text });
        }
    }

    /// An interpreter of the version that counts, and its whole version.
    fn interpreter(
        &self,
        environment: &ResolvedEnvironment,
        surroundings: &BuildSurroundings<'_>,
    ) -> Result<(Interpreter, String)> {
        let (Some(wanted), folder) = (environment.python, self.documents_folder(environment)) else {
            return Err(Error::new(Kind::Bug, "an environment of Python has no version"));
        };
        let pythons = self.pythons();
        for candidate in pythons.candidates(wanted, &folder) {
            let words = vec![candidate.path.to_string_lossy().into_owned(), "-c".into(), VERSION_SCRIPT.into()];
            let step = Step { words, folder: folder.clone(), variables: Vec::new(), hint: None };
            let mut said = String::new();
            let exit = self.run_words(&step, surroundings, &mut |line| said.push_str(&String::from_utf8_lossy(line)));
            let version = said.trim().strip_prefix("cpython ").unwrap_or_default();
            let is_wanted = wanted
                .patch
                .map_or_else(|| version.starts_with(&format!("{wanted}.")), |_| version == wanted.to_string());
            match exit? {
                Exit::Signal(number) => return Err(stopped(environment, number)),
                Exit::Fine if is_wanted => return Ok((candidate, version.to_string())),
                _ => {}
            }
        }
        let message = format!("environment {} needs Python {wanted}, which was not found", environment.spec.name);
        Err(Error::new(Kind::Stage, message)
            .because(pythons.searched())
            .hint(format!("install it: uv python install {wanted}, or pyenv install {wanted}"))
            .hint("or declare a version that is here: python: \"3.11\""))
    }

    /// The folder of the documents.
    fn documents_folder(&self, environment: &ResolvedEnvironment) -> PathBuf {
        let folder = match &environment.spec.source {
            EnvironmentSource::Uv { project, .. } => project.parent().unwrap_or_default(),
            EnvironmentSource::Pip { requirements, .. } => requirements.parent().unwrap_or_default(),
            EnvironmentSource::Files { .. } => environment.spec.folder.clone(),
        };
        folder.on_disk(self.project.top())
    }

    fn python_steps(
        &self,
        environment: &ResolvedEnvironment,
        interpreter: &Interpreter,
        folder: &Path,
    ) -> Result<Vec<Step>> {
        let cwd = self.documents_folder(environment);
        let python = interpreter.path.to_string_lossy().into_owned();
        let target = folder.to_string_lossy().into_owned();
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<String>>();
        if let EnvironmentSource::Pip { requirements, .. } = &environment.spec.source {
            let own = format!("{target}/bin/python");
            let file = requirements.on_disk(self.project.top()).to_string_lossy().into_owned();
            let pip = ["-m", "pip", "--no-input", "--disable-pip-version-check", "--no-color"];
            let pip = |rest: &[&str]| [vec![own.clone()], words(&pip), words(rest)].concat();
            let mut install = pip(&["install", "--no-deps", "--progress-bar", "off", "-r", &file]);
            install.extend(self.offline.then(|| "--no-index".to_string()));
            let step = |words: Vec<String>, hint: Option<&str>| Step {
                words,
                folder: cwd.clone(),
                variables: vec![("PIP_USER".into(), "0".into())],
                hint: hint.map(str::to_string),
            };
            let venv = vec![python, "-m".into(), "venv".into(), target.clone()];
            return Ok(vec![
                step(venv, Some("Python needs its module venv; on Debian: apt install python3-venv")),
                step(install, None),
                step(
                    pip(&["check"]),
                    Some("list each package that others need, with its version: uv pip compile, or pip freeze"),
                ),
            ]);
        }
        let path = self.project.around.env.get("PATH").map(String::as_str);
        let Some((uv, _)) = find_file(path, &cwd, "uv") else {
            let message = format!("environment {} needs uv, which is not on the PATH", environment.spec.name);
            return Err(Error::new(Kind::Stage, message).hint("install it: pip install uv"));
        };
        let project = cwd.to_string_lossy().into_owned();
        let mut sync = vec![uv.to_string_lossy().into_owned()];
        sync.extend(words(&[
            "sync",
            "--frozen",
            "--no-editable",
            "--no-install-project",
            "--no-install-workspace",
            "--no-progress",
        ]));
        sync.extend(words(&["--project", &project, "--python", &python]));
        let (_, groups, extras) = environment.uv().unwrap_or((&self.project.cwd, &[], &[]));
        sync.extend(groups.iter().flat_map(|group| words(&["--group", group])));
        sync.extend(extras.iter().flat_map(|extra| words(&["--extra", extra])));
        // Worktrees share the environment, so it must not link into one of them (--no-editable). uv keeps what it built from a folder, also if files in it changed.
        let local = environment.packages.iter().filter(|package| package.local.is_some());
        sync.extend(local.flat_map(|package| words(&["--reinstall-package", &package.name])));
        sync.extend(self.offline.then(|| "--offline".to_string()));
        let variables = vec![("UV_PROJECT_ENVIRONMENT".into(), target), ("UV_PYTHON_DOWNLOADS".into(), "never".into())];
        Ok(vec![Step { words: sync, folder: cwd, variables, hint: None }])
    }

    fn setup_step(&self, environment: &ResolvedEnvironment, folder: &Path) -> Vec<Step> {
        let EnvironmentSource::Files { setup: Some(setup), .. } = &environment.spec.source else { return Vec::new() };
        let target = folder.to_string_lossy().into_owned();
        let mut variables = vec![("LOCKSTEP_ENVIRONMENT".to_string(), target)];
        variables.extend(self.offline.then(|| ("LOCKSTEP_OFFLINE".to_string(), "1".to_string())));
        let cwd = environment.spec.folder.on_disk(self.project.top());
        let words = vec!["sh".into(), "-e".into(), "-c".into(), setup.clone()];
        vec![Step { words, folder: cwd, variables, hint: None }]
    }

    fn run_step(
        &self,
        environment: &ResolvedEnvironment,
        step: &Step,
        surroundings: &BuildSurroundings<'_>,
    ) -> Result<()> {
        let mut show = |line: &[u8]| self.sink.event(Event::StageOutput { stage: surroundings.address, line });
        let how = match self.run_words(step, surroundings, &mut show)? {
            Exit::Fine => return Ok(()),
            Exit::Signal(number) => return Err(stopped(environment, number)),
            Exit::Code(code) => format!("failed with exit code {code}"),
        };
        let program = step.words[0].rsplit('/').next().unwrap_or_default();
        let verbs: Vec<&str> = step.words[1..].iter().map(String::as_str).filter(|w| !w.starts_with('-')).collect();
        let verb = match program {
            "sh" => "its `setup`".to_string(),
            "uv" => "uv sync".to_string(),
            _ => format!("python -m {}", verbs.iter().take(2).copied().collect::<Vec<_>>().join(" ")),
        };
        let message = format!("environment {} cannot be made: {verb} {how}", environment.spec.name);
        let mut error = Error::new(Kind::Stage, message);
        if self.offline {
            error = error.because("--offline forbids the network").hint("run the command without --offline");
        }
        Err(match &step.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn run_words(
        &self,
        step: &Step,
        surroundings: &BuildSurroundings<'_>,
        on_output: &mut dyn FnMut(&[u8]),
    ) -> Result<Exit> {
        let group = self.watchdog.as_ref().map(|watchdog| Group::acquire(watchdog, self.alone));
        let mut withheld = surroundings.withheld.to_vec();
        withheld.extend(MISLEADING.iter().map(|name| name.to_string()));
        withheld.retain(|name| !step.variables.iter().any(|(given, _)| given == name));
        let job = CommandJob {
            commands: vec![step.words.clone()],
            program: PathBuf::from(&step.words[0]),
            wdir: step.folder.clone(),
            env: step.variables.clone(),
            withheld,
            log: surroundings.log,
            mask: surroundings.mask.clone(),
            group: group.as_ref().map_or(0, Group::id),
            signal: self.signal,
            terminal: None,
            raw: false,
        };
        run(&job, on_output, &mut |_| {})
    }
}

fn stopped(environment: &ResolvedEnvironment, number: i32) -> Error {
    let message = format!("environment {} was not finished: the command was ended by a signal", environment.spec.name);
    Error::new(Kind::Signal(number), message)
}

/// Waits until the files of an environment are on the disk.
fn sync(folder: &Path) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::io("write", folder, std::io::Error::from(e));
    let opened = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(failed)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&opened).map_err(failed)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::fsync(&opened).map_err(failed)?;
    Ok(())
}
