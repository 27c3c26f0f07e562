//! Params and metrics of a snapshot, file by file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::error::{Error, Kind, Result};
use crate::git::{EntryKind, GitId};
use crate::path::RepoPath;
use crate::pipeline::stage::{FileId, InputLocation, StageId};
use crate::project::{Definitions, FileSource, Snapshot};
use crate::store::ObjectId;
use crate::value::{self, Value};

/// Which values of a file are requested.
#[derive(Clone, Debug, PartialEq)]
pub enum WantedValues {
    /// Everything in the file.
    Whole,
    /// Dotted keys, as stages write them.
    Keys(BTreeSet<String>),
}

/// The files, each once, ordered by path.
pub type ValueRequest = BTreeMap<String, (InputLocation, WantedValues)>;

/// The values of one file.
#[derive(Debug)]
pub struct FileValues {
    /// The location of the file.
    pub place: InputLocation,
    /// The values: of a whole file as they are in it, else by dotted key, without keys that the file lacks. Errors: the
    /// file is missing or invalid.
    pub values: Result<Value>,
}

impl FileValues {
    /// Whether the values are missing because the snapshot does not have the file. A file whose bytes are not here has
    /// unknown values.
    pub fn is_absent(&self, snapshot: &Snapshot<'_>) -> bool {
        let is_missing = matches!(&self.values, Err(e) if e.kind == Kind::Missing && e.causes.is_empty());
        is_missing
            && match &self.place {
                InputLocation::Repo(path) => matches!(snapshot.locate(path), Ok(None)),
                _ => true,
            }
    }
}

/// The params files of these stages, those at the top level of these pipeline files, and the files from which their
/// templates take variables: a value in a command is a param as well.
pub fn params_of(definitions: &Definitions, stages: &[StageId], tops: &[FileId]) -> ValueRequest {
    let mut requests = listed_params_of(definitions, stages, tops);
    for file in tops.iter().map(|id| definitions.pipelines.file(*id)) {
        for (place, keys) in &file.template_files {
            let wanted = match keys {
                Some(keys) => WantedValues::Keys(keys.iter().cloned().collect()),
                None => WantedValues::Whole,
            };
            request(&mut requests, place, wanted);
        }
    }
    requests
}

/// Like [`params_of`], without the files of templates.
pub fn listed_params_of(definitions: &Definitions, stages: &[StageId], tops: &[FileId]) -> ValueRequest {
    let mut requests = ValueRequest::new();
    for stage in stages.iter().map(|id| definitions.pipelines.stage(*id)) {
        for file in &stage.params {
            let wanted = match &file.keys {
                Some(keys) => WantedValues::Keys(keys.iter().cloned().collect()),
                None => WantedValues::Whole,
            };
            request(&mut requests, &file.place, wanted);
        }
    }
    for file in tops.iter().map(|id| definitions.pipelines.file(*id)) {
        top_level(&mut requests, &file.path, &file.params);
    }
    requests
}

/// The metrics of these stages, and those at the top level of these pipeline files.
pub fn metrics_of(definitions: &Definitions, stages: &[StageId], tops: &[FileId]) -> ValueRequest {
    let mut requests = ValueRequest::new();
    for stage in stages.iter().map(|id| definitions.pipelines.stage(*id)) {
        for out in stage.outs.iter().filter(|out| out.metric) {
            request(&mut requests, &InputLocation::Repo(out.path.clone()), WantedValues::Whole);
        }
    }
    for file in tops.iter().map(|id| definitions.pipelines.file(*id)) {
        top_level(&mut requests, &file.path, &file.metrics);
    }
    requests
}

fn top_level(requests: &mut ValueRequest, pipeline: &RepoPath, spellings: &[String]) {
    let folder = pipeline.parent().unwrap_or_default();
    for path in spellings.iter().filter_map(|spelling| folder.join(spelling)) {
        request(requests, &InputLocation::Repo(path), WantedValues::Whole);
    }
}

/// Requests a file, or more values of it.
pub fn request(requests: &mut ValueRequest, place: &InputLocation, wanted: WantedValues) {
    let entry = requests.entry(place.to_string()).or_insert_with(|| (place.clone(), wanted.clone()));
    match (&mut entry.1, wanted) {
        (WantedValues::Keys(old), WantedValues::Keys(new)) => old.extend(new),
        (old, WantedValues::Whole) => *old = WantedValues::Whole,
        (WantedValues::Whole, WantedValues::Keys(_)) => {}
    }
}

/// Parsed contents, by the name of the file (which gives the format) and its content, so that a long history reads each
/// once.
#[derive(Default)]
pub struct ParsedFiles(HashMap<(String, ContentId), Result<Value>>);

#[derive(PartialEq, Eq, Hash)]
enum ContentId {
    Git(GitId),
    Stored(ObjectId),
}

/// Reads the requested values; one result per file.
pub fn read(snapshot: &Snapshot<'_>, requests: &ValueRequest, parsed: &mut ParsedFiles) -> Vec<FileValues> {
    let mut one = |place: &InputLocation, wanted: &WantedValues| {
        let whole = match place {
            InputLocation::Repo(path) => parsed.read_file(snapshot, path)?,
            other => match snapshot.files().read(other)? {
                Some(bytes) => value::read(&other.to_string(), &bytes)?,
                None => return Err(missing(snapshot, other)),
            },
        };
        Ok(match wanted {
            WantedValues::Whole => whole,
            WantedValues::Keys(keys) => {
                Value::Map(keys.iter().filter_map(|key| Some((key.clone(), whole.get(key)?.clone()))).collect())
            }
        })
    };
    requests.values().map(|(place, wanted)| FileValues { place: place.clone(), values: one(place, wanted) }).collect()
}

/// Reads ahead the requested files of many commits: files in Git, and the locks of commits that lack a file.
pub fn read_ahead(all: &[(Snapshot<'_>, Rc<ValueRequest>)], parsed: &mut ParsedFiles) -> Result<()> {
    let (mut blobs, mut pinned) = (HashMap::new(), Vec::new());
    for (snapshot, requests) in all {
        let Some(commit) = snapshot.git() else { continue };
        let paths = requests.values().filter_map(|(place, _)| match place {
            InputLocation::Repo(path) => Some(path),
            _ => None,
        });
        let mut all_in_git = true;
        for path in paths {
            match commit.find(path) {
                Ok(Some((EntryKind::File | EntryKind::Executable, id))) => {
                    // The name gives the format: a blob with two names is read later.
                    blobs.entry(id).or_insert_with(|| path.to_string());
                }
                _ => all_in_git = false,
            }
        }
        if !all_in_git {
            pinned.push(snapshot);
        }
    }
    let Some((snapshot, _)) = all.iter().find(|(snapshot, _)| snapshot.git().is_some()) else { return Ok(()) };
    snapshot.locks_ahead(&pinned)?;
    let Some(commit) = snapshot.git() else { return Ok(()) };
    let is_new = |(id, name): &(&GitId, &String)| !parsed.0.contains_key(&((*name).clone(), ContentId::Git(**id)));
    let new: Vec<GitId> = blobs.iter().filter(is_new).map(|(id, _)| *id).collect();
    let read = commit.history().prefetch_blobs(new, &|id, bytes| value::read(&blobs[&id], &bytes));
    for (id, value) in read {
        parsed.0.insert((blobs[&id].clone(), ContentId::Git(id)), value);
    }
    Ok(())
}

impl ParsedFiles {
    fn read_file(&mut self, snapshot: &Snapshot<'_>, path: &RepoPath) -> Result<Value> {
        let content = match snapshot.locate(path)? {
            None => return Err(missing(snapshot, &InputLocation::Repo(path.clone()))),
            Some(FileSource::Disk) => return parse(snapshot, path),
            Some(FileSource::Git(id)) => ContentId::Git(id),
            Some(FileSource::Store(pin)) => ContentId::Stored(pin.id),
        };
        let entry = self.0.entry((path.to_string(), content));
        let value = entry.or_insert_with(|| parse(snapshot, path));
        match value {
            Err(e) if e.kind == Kind::Missing => locked(snapshot, path).ok_or_else(|| e.clone()),
            value => value.clone(),
        }
    }
}

fn parse(snapshot: &Snapshot<'_>, path: &RepoPath) -> Result<Value> {
    let bytes = snapshot.read_file(path)?.ok_or_else(|| missing(snapshot, &InputLocation::Repo(path.clone())))?;
    value::read(path.as_str(), &bytes)
}

fn missing(snapshot: &Snapshot<'_>, place: &InputLocation) -> Error {
    match snapshot.commit {
        None => Error::missing(format!("{place} does not exist")),
        Some(_) => Error::missing(format!("{place} does not exist in {}", snapshot.name)),
    }
}

/// The scalars in the lock for a metrics file whose bytes are missing, so that a fresh clone has its metrics.
fn locked(snapshot: &Snapshot<'_>, path: &RepoPath) -> Option<Value> {
    let pipelines = &snapshot.definitions.pipelines;
    let stage = pipelines.stages.iter().find(|s| s.outs.iter().any(|o| o.metric && o.path == *path))?;
    let out = stage.outs.iter().find(|o| o.path == *path)?;
    let entry = snapshot.locks().ok()?.of_file(stage.file).stages.get(&stage.name)?;
    let scalars = &entry.outs.get(&out.spelled)?.metrics;
    let mut value = Value::Map(Vec::new());
    scalars.iter().for_each(|(key, scalar)| put(&mut value, key, scalar));
    (!scalars.is_empty()).then_some(value)
}

/// Sets a value at a dotted key.
fn put(map: &mut Value, key: &str, scalar: &Value) {
    let Value::Map(entries) = map else { return };
    let Some((first, rest)) = key.split_once('.') else {
        return entries.push((key.to_string(), scalar.clone()));
    };
    if !entries.last().is_some_and(|(name, value)| name == first && matches!(value, Value::Map(_))) {
        entries.push((first.to_string(), Value::Map(Vec::new())));
    }
    if let Some((_, inner)) = entries.last_mut() {
        put(inner, rest, scalar);
    }
}

/// All values except maps, by dotted key in the order of the file. If the file holds no map, its value under an empty
/// name.
pub fn leaves(value: &Value) -> Vec<(String, &Value)> {
    fn collect<'v>(name: &str, value: &'v Value, found: &mut Vec<(String, &'v Value)>) {
        match value {
            Value::Map(entries) if !entries.is_empty() || name.is_empty() => {
                for (key, value) in entries {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    collect(&name, value, found);
                }
            }
            value => found.push((name.to_string(), value)),
        }
    }
    let mut found = Vec::new();
    collect("", value, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_asked_for_once() {
        let keys = |names: &[&str]| WantedValues::Keys(names.iter().map(|n| n.to_string()).collect());
        let place = InputLocation::Repo(RepoPath::root().join("p.yaml").unwrap());
        let mut requests = ValueRequest::new();
        request(&mut requests, &place, keys(&["b"]));
        request(&mut requests, &place, keys(&["a", "b"]));
        assert_eq!(requests["p.yaml"].1, keys(&["a", "b"]));
        request(&mut requests, &place, WantedValues::Whole);
        request(&mut requests, &place, keys(&["c"]));
        assert_eq!((requests.len(), &requests["p.yaml"].1), (1, &WantedValues::Whole));
    }

    #[test]
    fn leaves_have_dotted_names() {
        let value = value::read("x.yaml", b"{a: {b: 1, c: [2]}, d: {}, e: null}").unwrap();
        let names: Vec<_> = leaves(&value).into_iter().map(|(name, v)| format!("{name}={}", v.to_text())).collect();
        assert_eq!(names, ["a.b=1", "a.c=[2]", "d={}", "e=None"]);
        assert_eq!(leaves(&Value::Int(3)), [(String::new(), &Value::Int(3))]);
        assert!(leaves(&Value::Map(vec![])).is_empty());
    }
}
