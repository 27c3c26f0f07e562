//! Makes typed stages of resolved ones: normalises paths, and refuses written paths that are outside the repository or
//! one of lockstep's own files.

use std::collections::HashSet;

use super::expand::Expanded;
use super::format::Checker;
use super::format::keys::PLOT_PROPERTIES;
use super::stage::{Data, Dep, FileId, Import, InputLocation, Out, ParamsFile, Plot, Scratch, Stage, StageEnvironment};
use super::vars::{PARAMS, place};
use crate::path::names::{Owner, folded, owner_of};
use crate::path::{RepoPath, normalise};
use crate::secret::{SIGN_KEY, is_withheld, may_be_secret};
use crate::value::node::{Entry, Node, Tree};
use crate::value::{Mark, Value};

/// File names that have a meaning for lockstep or Git in every folder, so that a stage cannot make them.
const RESERVED: &[&str] = &[
    "pipeline.yaml",
    "pipeline.lock",
    "lockstep.toml",
    ".lockstepignore",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
];

/// Makes typed stages, and collects problems.
pub struct Builder<'b, 't> {
    /// The root of the repository, absolute.
    pub top: &'b std::path::Path,
    /// The pipeline file, from the root.
    pub file: &'b RepoPath,
    /// Its folder, to which its paths are relative.
    pub folder: &'b RepoPath,
    /// Collects the problems.
    pub checker: &'b mut Checker<'t>,
}

impl Builder<'_, '_> {
    /// The typed stage; `None` if a problem prevents it.
    pub fn stage(&mut self, expanded: Expanded, file: FileId) -> Option<Stage> {
        let name = &expanded.name;
        let before = self.checker.problems.len();
        let wdir_entry = expanded.entries.iter().find(|e| e.key == "wdir");
        let (wdir, wdir_spelled) = match wdir_entry {
            None => (self.folder.clone(), ".".to_string()),
            Some(entry) => {
                let at = format!("stage `{name}`, `wdir`");
                let spelled = self.string(&entry.value, &at)?;
                let wdir = self.inside(self.folder, spelled, entry.value.start, &at)?;
                let spelled = wdir.relative_to(self.folder);
                (wdir, spelled)
            }
        };
        let mut stage = Stage {
            file,
            name: name.clone(),
            cmd: Vec::new(),
            cmd_is_list: false,
            wdir,
            wdir_spelled,
            deps: Vec::new(),
            params: Vec::new(),
            env: Vec::new(),
            env_asked: Vec::new(),
            outs: Vec::new(),
            environment: None,
            scratch: Vec::new(),
            frozen: false,
            always_changed: false,
            desc: None,
            desc_value: None,
            meta: None,
            mark: expanded.mark,
        };
        for entry in &expanded.entries {
            let at = format!("stage `{name}`, `{}`", entry.key);
            let node = &entry.value;
            match entry.key.as_str() {
                "cmd" => self.command(node, &at, &mut stage),
                "deps" => self.deps(node, &at, &mut stage),
                "params" => self.params(node, &at, &mut stage),
                "outs" | "metrics" | "plots" => self.outs(node, &entry.key, &at, &mut stage),
                "env" => self.env(node, &at, &mut stage),
                "environment" => {
                    // The file and index are found when all files are read.
                    stage.environment = self.string(node, &at).map(|name| StageEnvironment {
                        name: name.to_string(),
                        file,
                        index: 0,
                        mark: node.start,
                    });
                }
                "scratch" => self.scratch(node, &at, &mut stage),
                "frozen" => stage.frozen = is_true(node),
                "always_changed" => stage.always_changed = is_true(node),
                "desc" => match node.to_value() {
                    Value::Str(text) => stage.desc = Some(text),
                    other => {
                        stage.desc = Some(other.to_text());
                        stage.desc_value = Some(other);
                    }
                },
                "meta" => stage.meta = Some(node.to_value()).filter(|m| *m != Value::Null),
                _ => {}
            }
        }
        (self.checker.problems.len() == before).then_some(stage)
    }

    fn string<'n>(&mut self, node: &'n Node, at: &str) -> Option<&'n str> {
        match node.as_str() {
            Some("") => {
                self.checker.report(node.start, format!("{at} is empty"));
                None
            }
            Some(text) => Some(text),
            None => {
                self.checker.report(node.start, format!("{at} must be a string, not {}", node.kind()));
                None
            }
        }
    }

    /// A path inside the repository.
    pub(super) fn inside(&mut self, base: &RepoPath, spelling: &str, mark: Mark, at: &str) -> Option<RepoPath> {
        self.checker.note_path(base, spelling, mark, at);
        let why = match place(self.top, base, spelling) {
            InputLocation::Repo(path) => match owner_in(&path) {
                Some(Owner::Git) => "belongs to Git",
                Some(Owner::Lockstep) => "belongs to lockstep",
                Some(Owner::Dvc) => "belongs to DVC",
                None => return Some(path),
            },
            InputLocation::Outside(_) => "is outside of the repository",
            InputLocation::Url(_) => "is not a path of the repository",
        };
        self.checker.report(mark, format!("{at}: `{spelling}` {why}"));
        None
    }

    /// A path that a stage writes, or data that lockstep restores.
    fn writable(&mut self, base: &RepoPath, spelling: &str, mark: Mark, at: &str) -> Option<RepoPath> {
        let path = self.inside(base, spelling, mark, at)?;
        let name = folded(path.name().as_bytes());
        let why = if RESERVED.iter().any(|reserved| folded(reserved.as_bytes()) == name) {
            "is a file that lockstep or Git itself reads"
        } else if self.file.is_in(&path) {
            "holds the pipeline file itself"
        } else {
            return Some(path);
        };
        self.checker.report(mark, format!("{at}: `{spelling}` {why}"));
        None
    }

    /// The path as the lock spells it: an absolute path inside the repository becomes relative.
    fn spelled(&self, base: &RepoPath, path: &RepoPath, spelling: &str) -> String {
        if spelling.starts_with('/') { path.relative_to(base) } else { normalise(spelling) }
    }

    fn command(&mut self, node: &Node, at: &str, stage: &mut Stage) {
        let items = match &node.tree {
            Tree::List(items) => {
                stage.cmd_is_list = true;
                items.as_slice()
            }
            _ => std::slice::from_ref(node),
        };
        for item in items {
            let text = match &item.tree {
                Tree::Scalar(value) if *value != Value::Null => value.to_text(),
                _ => String::new(),
            };
            if text.trim().is_empty() {
                self.checker.report(item.start, format!("{at} is empty"));
            }
            stage.cmd.push(text.strip_suffix('\n').unwrap_or(&text).to_string());
        }
    }

    fn deps(&mut self, node: &Node, at: &str, stage: &mut Stage) {
        let mut seen = HashSet::new();
        for item in node.as_list().unwrap_or_default() {
            let Some(spelling) = self.string(item, at) else { continue };
            self.checker.note_path(&stage.wdir, spelling, item.start, at);
            let place = place(self.top, &stage.wdir, spelling);
            let spelled = match &place {
                InputLocation::Repo(path) => self.spelled(&stage.wdir, path, spelling),
                _ => spelling.to_string(),
            };
            if seen.insert(place.clone()) {
                stage.deps.push(Dep { spelled, place, mark: item.start });
            }
        }
    }

    /// Keys of `params.yaml`, or maps from a file to its keys; without keys the whole file is an input.
    fn params(&mut self, node: &Node, at: &str, stage: &mut Stage) {
        let mut files: Vec<ParamsFile> = Vec::new();
        let mut seen: HashSet<(usize, String)> = HashSet::new();
        let mut add = |builder: &mut Self, spelling: &str, keys: Option<Vec<String>>, mark: Mark| {
            builder.checker.note_path(&stage.wdir, spelling, mark, at);
            let place = place(builder.top, &stage.wdir, spelling);
            let n = match files.iter().position(|f| f.place == place) {
                Some(n) => n,
                None => {
                    let spelled = match &place {
                        InputLocation::Repo(path) => builder.spelled(&stage.wdir, path, spelling),
                        _ => spelling.to_string(),
                    };
                    files.push(ParamsFile { spelled, place, keys: Some(Vec::new()), mark });
                    files.len() - 1
                }
            };
            match (keys, &mut files[n].keys) {
                (None, all) => *all = None,
                (Some(more), Some(keys)) => keys.extend(more.into_iter().filter(|key| seen.insert((n, key.clone())))),
                (Some(_), None) => {}
            }
        };
        for item in node.as_list().unwrap_or_default() {
            let Some(entries) = item.as_map() else {
                if let Some(key) = self.string(item, at) {
                    add(self, PARAMS, Some(vec![key.to_string()]), item.start);
                }
                continue;
            };
            for entry in entries {
                let at = format!("{at}, `{}`", entry.key);
                if entry.key.is_empty() || entry.key.contains("://") {
                    self.checker.report(entry.start, format!("{at} is not a path of a params file"));
                    continue;
                }
                match &entry.value.tree {
                    Tree::List(keys) if !keys.is_empty() => {
                        let keys: Vec<Option<&str>> = keys.iter().map(|k| self.string(k, &at)).collect();
                        let keys = keys.into_iter().flatten().map(str::to_string).collect();
                        add(self, &entry.key, Some(keys), entry.start);
                    }
                    Tree::List(_) | Tree::Scalar(Value::Null) => add(self, &entry.key, None, entry.start),
                    Tree::Map(entries) if entries.is_empty() => add(self, &entry.key, None, entry.start),
                    _ => {
                        let kind = entry.value.kind();
                        self.checker.report(entry.value.start, format!("{at} must be a list of keys, not {kind}"));
                    }
                }
            }
        }
        stage.params = files;
    }

    fn outs(&mut self, node: &Node, key: &str, at: &str, stage: &mut Stage) {
        for item in node.as_list().unwrap_or_default() {
            match item.as_map() {
                None => {
                    let Some(spelling) = self.string(item, at) else { continue };
                    self.out(spelling, &[], item.start, key, at, stage);
                }
                Some(entries) => {
                    for entry in entries {
                        if entry.key.is_empty() || !entry.is_string {
                            self.checker.report(entry.start, format!("{at}: `{}` is not a path", entry.key));
                            continue;
                        }
                        let flags = entry.value.as_map().unwrap_or_default();
                        self.out(&entry.key, flags, entry.start, key, at, stage);
                    }
                }
            }
        }
    }

    fn out(&mut self, spelling: &str, flags: &[Entry], mark: Mark, key: &str, at: &str, stage: &mut Stage) {
        let Some(path) = self.writable(&stage.wdir, spelling, mark, at) else { return };
        let notes = Annotations::of(flags);
        let plot = (key == "plots").then(|| {
            let is_property = |f: &&Entry| PLOT_PROPERTIES.iter().any(|property| property.name == f.key);
            Plot(flags.iter().filter(is_property).map(|f| (f.key.clone(), f.value.to_value())).collect())
        });
        stage.outs.push(Out {
            spelled: self.spelled(&stage.wdir, &path, spelling),
            path,
            cache: flag(flags, "cache", true),
            persist: flag(flags, "persist", false),
            push: flag(flags, "push", true),
            remote: notes.remote,
            metric: key == "metrics",
            plot,
            desc: notes.desc,
            kind: notes.kind,
            labels: notes.labels,
            meta: notes.meta,
            mark,
        });
    }

    /// Names of environment variables. `NAME: {input: false}` is a variable that the stage sees but that is not an
    /// input; `NAME: {input: true}` is an input although its name may be that of a secret.
    fn env(&mut self, node: &Node, at: &str, stage: &mut Stage) {
        for item in node.as_list().unwrap_or_default() {
            let (name, declared) = match item.as_map().and_then(<[Entry]>::first) {
                Some(entry) => {
                    let keys = entry.value.as_map().unwrap_or_default();
                    let declared = keys.iter().any(|key| key.key == "input").then(|| flag(keys, "input", true));
                    (entry.key.as_str(), declared)
                }
                None => match self.string(item, at) {
                    Some(name) => (name, None),
                    None => continue,
                },
            };
            let is_input = declared.unwrap_or(true);
            if name == SIGN_KEY {
                self.checker.report(item.start, format!("{at}: {name} is never passed to a stage"));
            } else if is_input && is_withheld(name) {
                let message = format!("{at}: `{name}` belongs to the job of a CI system, and is not an input");
                let hint = format!("a stage asks for it by `- {name}: {{input: false}}`");
                self.checker.report_with(item.start, message, Some(hint));
            } else if declared.is_none() && may_be_secret(name) {
                let message = format!("{at}: `{name}` looks like a secret, and pipeline.lock would hold its value");
                let hint = format!(
                    "`- {name}: {{input: false}}` passes it to the commands and records nothing; \
                     `- {name}: {{input: true}}` says that its value is harmless and may be recorded"
                );
                self.checker.report_with(item.start, message, Some(hint));
            }
            if name.contains('=') || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
                self.checker.report(
                    item.start,
                    format!("{at}: `{name}` is not a name of a variable; its value is not written here"),
                );
            }
            let (names, others) = match is_input {
                true => (&mut stage.env, &stage.env_asked),
                false => (&mut stage.env_asked, &stage.env),
            };
            if others.iter().any(|other| other == name) {
                self.checker.report(item.start, format!("{at}: `{name}` is listed as an input and as none"));
            }
            names.push(name.to_string());
        }
        for names in [&mut stage.env, &mut stage.env_asked] {
            names.sort();
            names.dedup();
        }
    }

    fn scratch(&mut self, node: &Node, at: &str, stage: &mut Stage) {
        for item in node.as_list().unwrap_or_default() {
            let Some(spelling) = self.string(item, at) else { continue };
            let Some(path) = self.writable(&stage.wdir, spelling, item.start, at) else { continue };
            if stage.wdir.is_in(&path) {
                self.checker.report(item.start, format!("{at}: `{spelling}` holds the working folder, and is emptied"));
                continue;
            }
            stage.scratch.push(Scratch { spelled: self.spelled(&stage.wdir, &path, spelling), path });
        }
    }

    /// An entry of `data`, whose path is resolved already.
    pub fn data(&mut self, spelling: &str, entries: &[Entry], mark: Mark) -> Option<Data> {
        let at = "`data`";
        let path = self.writable(self.folder, spelling, mark, at)?;
        let notes = Annotations::of(entries);
        Some(Data {
            spelled: self.spelled(self.folder, &path, spelling),
            path,
            remote: notes.remote,
            push: flag(entries, "push", true),
            desc: notes.desc,
            kind: notes.kind,
            labels: notes.labels,
            meta: notes.meta,
            import: import(entries),
            mark,
        })
    }
}

/// The origin of data, whose schema was checked already.
fn import(entries: &[Entry]) -> Option<Import> {
    let origin = &entries.iter().find(|e| e.key == "import")?.value;
    let text = |key: &str| Some(origin.get(key)?.value.as_str()?.to_string());
    let rev = text("rev").unwrap_or("HEAD".into());
    Some(Import { url: text("url")?.into(), path: text("path")?, rev, commit: text("commit")? })
}

/// The descriptive keys of outs and data.
struct Annotations {
    remote: Option<String>,
    desc: Option<String>,
    kind: Option<String>,
    labels: Vec<String>,
    meta: Option<Value>,
}

impl Annotations {
    fn of(flags: &[Entry]) -> Annotations {
        let find = |key: &str| flags.iter().find(|f| f.key == key).map(|f| &f.value);
        let text = |key: &str| find(key).map(|n| n.to_value().to_text()).filter(|t| !t.is_empty());
        let labels = find("labels").and_then(Node::as_list).unwrap_or_default();
        Annotations {
            remote: text("remote"),
            desc: text("desc"),
            kind: text("type"),
            labels: labels.iter().map(|l| l.to_value().to_text()).collect(),
            meta: find("meta").map(Node::to_value).filter(|m| *m != Value::Null),
        }
    }
}

fn owner_in(path: &RepoPath) -> Option<Owner> {
    path.parts().find_map(|name| owner_of(name.as_bytes()))
}

fn is_true(node: &Node) -> bool {
    matches!(node.tree, Tree::Scalar(Value::Bool(true)))
}

fn flag(flags: &[Entry], key: &str, default: bool) -> bool {
    flags.iter().find(|f| f.key == key).map_or(default, |f| is_true(&f.value))
}
