//! The programs that ran a stage: the file of each, and its version. A different `python3` on the PATH is not an input
//! of a stage and makes none stale, but an up-to-date result was made by the earlier program, and the user is warned.
//!
//! The programs that this worktree's runs used are kept in its state folder. If the file is lost, there are no warnings
//! until the stages run again. Programs are only inspected here ([`Programs::changed`]); only `program_versions.rs`
//! starts one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use crate::document;
use crate::path::RepoPath;
use crate::pipeline::stage::{Stage, StageId};
use crate::plan::program_versions::ask_version;
use crate::project::Project;
use crate::replace::replace_file;
use crate::shell::programs_of;
use crate::store::ObjectId;

const VERSION: u32 = 1;
/// A larger state file was not written by lockstep.
const MOST_BYTES: u64 = 64 << 20;
/// The number of kept runs that the current locks do not name, and of kept programs that no run used.
const MOST_OLD: usize = 10_000;
const MOST_UNUSED: usize = 32;

/// A program file, as a run found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The name as the command spells it.
    pub name: String,
    /// The path of the file, before links are followed.
    pub path: PathBuf,
    /// Of the file behind the links: size in bytes, time of its last change in nanoseconds, inode.
    stat: (u64, i64, u64),
    /// The first line that `--version` printed, for programs known to print their version.
    pub version: Option<String>,
}

/// A program that differs from the one that stages ran with.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramChange {
    /// The program that the stages ran with.
    pub old: Program,
    /// `None` if the PATH has no program of that name.
    pub new: Option<Program>,
    /// Stages that ran with the old program, with the keys of their lock entries.
    pub runs: Vec<(StageId, ObjectId)>,
}

/// The result of a lookup of a program by its name.
#[derive(Clone, Debug)]
enum Lookup {
    Found(Program),
    Missing,
    /// The name may lead to a file that only the running command finds, or to a file of the repository.
    Unknown,
}

/// The content of the state file.
#[derive(Default, Serialize, Deserialize)]
struct ProgramsFile {
    version: u32,
    programs: Vec<Program>,
    runs: Vec<ProgramRuns>,
}

/// Runs that used the same programs, which are given by their indexes in the list.
#[derive(Serialize, Deserialize)]
struct ProgramRuns {
    programs: Vec<usize>,
    keys: Vec<ObjectId>,
}

/// The programs that the runs of a worktree used, and those on the PATH now.
pub struct Programs<'a> {
    project: &'a Project,
    programs: Vec<Program>,
    /// Sets of program indexes; the programs of each run are one of these sets.
    sets: Vec<Vec<usize>>,
    /// The index of each run's set.
    runs: HashMap<ObjectId, usize>,
    /// Results of earlier lookups, by folder and name.
    found: HashMap<(PathBuf, String), Lookup>,
    is_changed: bool,
}

impl<'a> Programs<'a> {
    /// Reads the state file. A file that is missing, damaged or of another version is treated as empty.
    pub fn load(project: &'a Project) -> Programs<'a> {
        let bytes = document::read(&path(project), MOST_BYTES).ok().flatten();
        let state = bytes.and_then(|bytes| serde_json::from_slice::<ProgramsFile>(&bytes).ok());
        let is_whole = |state: &ProgramsFile| {
            let mut places = state.runs.iter().flat_map(|runs| &runs.programs);
            state.version == VERSION && places.all(|at| *at < state.programs.len())
        };
        let state = state.filter(is_whole).unwrap_or_default();
        let keys = state.runs.iter().enumerate().flat_map(|(set, runs)| runs.keys.iter().map(move |key| (*key, set)));
        let runs = keys.collect();
        let sets = state.runs.into_iter().map(|runs| runs.programs).collect();
        Programs { project, programs: state.programs, sets, runs, found: HashMap::new(), is_changed: false }
    }

    /// Records the programs that a stage ran with. Returns their versions by name.
    pub fn record_run(&mut self, stage: &Stage, key: ObjectId) -> BTreeMap<String, String> {
        let wdir = stage.wdir.on_disk(self.project.top());
        // Those of an environment come before those of the PATH, and count by themselves.
        let items = if stage.environment.is_some() { &[][..] } else { &stage.cmd };
        let names: BTreeSet<&str> = items.iter().flat_map(|item| programs_of(item)).collect();
        let mut places = Vec::new();
        let mut versions = BTreeMap::new();
        for name in names {
            let Lookup::Found(program) = self.find_cached(&wdir, name) else { continue };
            let place = self.remember(program);
            versions.extend(self.programs[place].version.clone().map(|version| (name.to_string(), version)));
            places.push(place);
        }
        let set = (!places.is_empty()).then(|| self.set_index(places));
        let before = match set {
            Some(set) => self.runs.insert(key, set),
            None => self.runs.remove(&key),
        };
        self.is_changed |= before != set;
        versions
    }

    fn set_index(&mut self, mut places: Vec<usize>) -> usize {
        places.sort_unstable();
        places.dedup();
        self.sets.iter().position(|set| *set == places).unwrap_or_else(|| {
            self.sets.push(places);
            self.sets.len() - 1
        })
    }

    /// The index of a program in the list, with its version, which is queried if the file is new.
    fn remember(&mut self, mut program: Program) -> usize {
        if let Some(place) = self.programs.iter().position(|known| known.is_same_file(&program)) {
            return place;
        }
        program.version = ask_version(&program.name, &program.path, self.project);
        self.programs.push(program);
        self.is_changed = true;
        self.programs.len() - 1
    }

    /// Programs of these runs whose file changed, each once, except those known to have the same version. Starts no
    /// program.
    pub fn changed<'s>(&mut self, runs: impl Iterator<Item = (StageId, &'s Stage, ObjectId)>) -> Vec<ProgramChange> {
        let mut changes: Vec<ProgramChange> = Vec::new();
        if self.runs.is_empty() {
            return changes;
        }
        // Most stages use the same programs from the same folder.
        let mut by_set: HashMap<(usize, &RepoPath), Vec<usize>> = HashMap::new();
        for (id, stage, key) in runs {
            let Some(&set) = self.runs.get(&key) else { continue };
            let of_set = by_set.entry((set, &stage.wdir)).or_insert_with(|| {
                let wdir = stage.wdir.on_disk(self.project.top());
                self.changed_of(set, &wdir, &mut changes)
            });
            of_set.iter().for_each(|at| changes[*at].runs.push((id, key)));
        }
        changes
    }

    /// The indexes in `changes` of those programs of a set whose file changed.
    fn changed_of(&mut self, set: usize, wdir: &Path, changes: &mut Vec<ProgramChange>) -> Vec<usize> {
        let mut found = Vec::new();
        for at in self.sets[set].clone() {
            let old = self.programs[at].clone();
            let found_now = self.find_cached(wdir, &old.name);
            let known =
                |new: Program| self.programs.iter().find(|known| known.is_same_file(&new)).cloned().unwrap_or(new);
            let new = match found_now {
                Lookup::Found(new) => Some(known(new)),
                Lookup::Missing => None,
                Lookup::Unknown => continue,
            };
            if new.as_ref().is_some_and(|new| new.is_same_file(&old) || new.is_same_version(&old)) {
                continue;
            }
            let is_same = |change: &ProgramChange| change.old == old && is_same_file(&change.new, &new);
            found.push(changes.iter().position(is_same).unwrap_or_else(|| {
                changes.push(ProgramChange { old, new, runs: Vec::new() });
                changes.len() - 1
            }));
        }
        found
    }

    /// Like [`Programs::changed`], with the versions of the new programs, which are started to query them. A program
    /// that prints the same version as the old one is not a change, and the runs are assigned to it.
    pub fn changed_versions<'s>(
        &mut self,
        runs: impl Iterator<Item = (StageId, &'s Stage, ObjectId)>,
    ) -> Vec<ProgramChange> {
        let mut changes = self.changed(runs);
        for change in &mut changes {
            let Some(new) = change.new.take() else { continue };
            let place = self.remember(new);
            change.new = Some(self.programs[place].clone());
        }
        let (same, other): (Vec<ProgramChange>, Vec<ProgramChange>) =
            changes.into_iter().partition(ProgramChange::is_same_version);
        for change in same {
            let place = |program: &Program| self.programs.iter().position(|known| known.is_same_file(program));
            let (Some(old), Some(new)) = (place(&change.old), change.new.as_ref().and_then(place)) else { continue };
            for (_, key) in change.runs {
                let replaced = |at: &usize| if *at == old { new } else { *at };
                let places = self.sets[self.runs[&key]].iter().map(replaced).collect();
                let set = self.set_index(places);
                self.runs.insert(key, set);
            }
            self.is_changed = true;
        }
        other
    }

    /// Writes the state file if something changed. Keeps a limited number of runs that the locks do not name.
    pub fn save(&self, current: &dyn Fn() -> HashSet<ObjectId>) {
        if !self.is_changed {
            return;
        }
        let current = current();
        let (mut kept, mut old): (Vec<ObjectId>, Vec<ObjectId>) =
            self.runs.keys().partition(|key| current.contains(*key));
        old.sort_unstable();
        kept.extend(old.into_iter().take(MOST_OLD));
        let mut by_set: BTreeMap<usize, Vec<ObjectId>> = BTreeMap::new();
        for key in kept {
            by_set.entry(self.runs[&key]).or_default().push(key);
        }
        let mut state = ProgramsFile { version: VERSION, ..ProgramsFile::default() };
        let mut places: HashMap<usize, usize> = HashMap::new();
        for (set, mut keys) in by_set {
            let programs = self.sets[set].iter().map(|at| {
                *places.entry(*at).or_insert_with(|| {
                    state.programs.push(self.programs[*at].clone());
                    state.programs.len() - 1
                })
            });
            let programs = programs.collect();
            keys.sort_unstable();
            state.runs.push(ProgramRuns { programs, keys });
        }
        // Keep these, so that the version of a current program is not queried by every command.
        let unused = (0..self.programs.len()).rev().filter(|at| !places.contains_key(at)).take(MOST_UNUSED);
        state.programs.extend(unused.map(|at| self.programs[at].clone()));
        // A lost state file only costs later warnings.
        if let Ok(bytes) = serde_json::to_vec(&state) {
            let _ = replace_file(&path(self.project), &bytes);
        }
    }

    fn find_cached(&mut self, wdir: &Path, name: &str) -> Lookup {
        // The PATH may contain relative folders, so the result depends on the working folder.
        let asked = (wdir.to_path_buf(), name.to_string());
        if let Some(found) = self.found.get(&asked) {
            return found.clone();
        }
        let found = find(self.project, wdir, name);
        self.found.insert(asked, found.clone());
        found
    }
}

impl Program {
    /// Whether both are one file, possibly under several paths, as where `/bin` is a link to `/usr/bin`.
    fn is_same_file(&self, other: &Program) -> bool {
        (&self.name, self.stat) == (&other.name, other.stat)
    }

    /// Whether both versions are known and equal.
    fn is_same_version(&self, other: &Program) -> bool {
        self.version.is_some() && self.version == other.version
    }

    /// `3.11.2 (/usr/bin/python3)`, or the path alone.
    fn describe(&self) -> String {
        let path = self.path.display();
        self.version.as_ref().map_or_else(|| path.to_string(), |version| format!("{version} ({path})"))
    }
}

impl ProgramChange {
    fn is_same_version(&self) -> bool {
        self.new.as_ref().is_some_and(|new| new.is_same_version(&self.old))
    }

    /// A sentence; `address` gives the name of a stage.
    pub fn describe(&self, address: impl Fn(StageId) -> String) -> String {
        const MOST: usize = 3;
        let name = &self.old.name;
        let now = match &self.new {
            None => format!("{name} is not on the PATH any more"),
            Some(new) if new.path == self.old.path && new.version.is_none() => {
                format!("{} is another file now", new.path.display())
            }
            Some(new) => format!("{name} is {} now", new.describe()),
        };
        let mut stages: Vec<String> = self.runs.iter().take(MOST).map(|(id, _)| address(*id)).collect();
        if self.runs.len() > MOST {
            stages.push(format!("{} more", self.runs.len() - MOST));
        }
        let was = if stages.len() == 1 { "was" } else { "were" };
        let last = stages.pop().unwrap_or_default();
        let stages = if stages.is_empty() { last } else { format!("{} and {last}", stages.join(", ")) };
        format!("{now}; {stages} {was} made with {}", self.old.describe())
    }
}

fn is_same_file(one: &Option<Program>, other: &Option<Program>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_file(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn path(project: &Project) -> PathBuf {
    project.state_dir().join("programs")
}

/// The program that a shell in this folder starts for this name. A file of the repository that is called by its path is
/// not included: the stage may depend on it as on any other file.
fn find(project: &Project, wdir: &Path, name: &str) -> Lookup {
    let Some(path) = project.around.env.get("PATH") else { return Lookup::Unknown };
    // A relative folder depends on where the command changes to before it calls the program.
    let folders = absolute_part(path);
    let Some((path, found)) = find_file(folders, wdir, name) else {
        let is_searched = name.contains('/') || folders.is_some_and(|folders| folders.len() == path.len());
        return if is_searched { Lookup::Missing } else { Lookup::Unknown };
    };
    if name.contains('/')
        && path.starts_with(project.top())
        && fs::canonicalize(&path).is_ok_and(|real| real.starts_with(project.top()))
    {
        return Lookup::Unknown;
    }
    let changed = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    Lookup::Found(Program { name: name.to_string(), path, stat: (found.len(), changed, found.ino()), version: None })
}

/// The folders of a PATH before the first relative one, if there are any.
fn absolute_part(folders: &str) -> Option<&str> {
    let mut end = 0;
    for folder in folders.split(':').take_while(|folder| folder.starts_with('/')) {
        end += folder.len() + 1;
    }
    folders.get(..end.checked_sub(1)?)
}

/// The file that a shell starts for this name in this folder. `folders` is the value of the PATH.
pub fn find_file(folders: Option<&str>, wdir: &Path, name: &str) -> Option<(PathBuf, Metadata)> {
    let look_up = |path: PathBuf| {
        let found = fs::metadata(&path).ok().filter(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)?;
        access(&path, Access::EXEC_OK).is_ok().then_some((path, found))
    };
    match name.contains('/') {
        true => look_up(wdir.join(name)),
        false => folders?.split(':').find_map(|folder| look_up(wdir.join(folder).join(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_sentence() {
        let program = |path: &str, version: Option<&str>| Program {
            name: "python3".into(),
            path: path.into(),
            stat: (1, 2, 3),
            version: version.map(str::to_string),
        };
        let old = program("/a/python3", Some("3.11.2"));
        let runs = |n: u32| (0..n).map(|at| (StageId(at), ObjectId::default())).collect::<Vec<_>>();
        for (new, runs, want) in [
            (None, runs(1), "python3 is not on the PATH any more; s0 was made with 3.11.2 (/a/python3)"),
            (
                Some(program("/b/python3", Some("3.12.0"))),
                runs(2),
                "python3 is 3.12.0 (/b/python3) now; s0 and s1 were made with 3.11.2 (/a/python3)",
            ),
            (
                Some(program("/b/python3", None)),
                runs(3),
                "python3 is /b/python3 now; s0, s1 and s2 were made with 3.11.2 (/a/python3)",
            ),
            (
                Some(program("/a/python3", None)),
                runs(9),
                "/a/python3 is another file now; s0, s1, s2 and 6 more were made with 3.11.2 (/a/python3)",
            ),
        ] {
            let change = ProgramChange { old: old.clone(), new, runs };
            assert_eq!(change.describe(|id| format!("s{}", id.0)), want);
        }
    }
}
