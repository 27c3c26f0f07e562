//! Artifacts: the names under `artifacts:` of pipeline files, by which the registry names models.

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::problem::{Problem, render};
use crate::pipeline::stage::{FileId, InputLocation, PipelineFile};
use crate::project::Snapshot;
use crate::tag::ModelName;
use crate::value::{Value, yaml};

/// A declared artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// The folder of the pipeline file and the key under `artifacts:`.
    pub name: ModelName,
    /// The pipeline file that declares it.
    pub file: FileId,
    /// Relative to the root.
    pub path: RepoPath,
    /// The key `type`.
    pub kind: Option<String>,
    /// The key `desc`; `None` if it is missing or empty.
    pub desc: Option<String>,
    /// The key `labels`: free words, unlike the labels that tags assign.
    pub labels: Vec<String>,
    /// The key `meta`, as written.
    pub meta: Option<Value>,
}

/// The artifacts of a state of the repository, in the order of the files. An artifact with an invalid name or path is
/// left out; [`declared`] reports the error.
pub fn all(snapshot: &Snapshot<'_>) -> Vec<Artifact> {
    let files = snapshot.definitions.pipelines.files.iter().enumerate();
    files
        .flat_map(|(n, file)| {
            let id = FileId(n as u32);
            file.artifacts.iter().filter_map(move |(key, value)| artifact(file, id, key, value).ok())
        })
        .collect()
}

/// An artifact with an invalid name or path.
#[derive(Debug)]
pub struct InvalidArtifact {
    /// Its folder and name, in the form of a model name.
    pub name: String,
    /// Its declared path.
    pub path: Option<String>,
    /// The error, with its location.
    pub error: Error,
}

/// The artifacts that [`all`] leaves out.
pub fn invalid_artifacts(snapshot: &Snapshot<'_>) -> Vec<InvalidArtifact> {
    let mut found = Vec::new();
    for (n, file) in snapshot.definitions.pipelines.files.iter().enumerate() {
        for (key, value) in &file.artifacts {
            let Err(why) = artifact(file, FileId(n as u32), key, value) else { continue };
            let folder = file.path.parent().unwrap_or_default();
            let name = if folder.is_root() { key.clone() } else { format!("{folder}:{key}") };
            let path = value.get("path").map(Value::to_text).and_then(|path| folder.join(&path));
            found.push(InvalidArtifact {
                name,
                path: path.map(|path| path.to_string()),
                error: misplaced(snapshot, file, key, why),
            });
        }
    }
    found
}

/// One artifact.
///
/// Errors: no artifact of that name is declared, or its name or path is invalid, with the location.
pub fn declared(snapshot: &Snapshot<'_>, name: &ModelName) -> Result<Artifact> {
    let pipelines = &snapshot.definitions.pipelines;
    for (n, file) in pipelines.files.iter().enumerate() {
        if file.path.parent().unwrap_or_default().as_str() != name.folder() {
            continue;
        }
        if let Some((key, value)) = file.artifacts.iter().find(|(key, _)| key == name.short()) {
            return artifact(file, FileId(n as u32), key, value).map_err(|why| misplaced(snapshot, file, key, why));
        }
    }
    let path = pipeline_of(name);
    if let Some((_, error)) = snapshot.definitions.broken.iter().find(|(p, _)| *p == path) {
        return Err(error.clone());
    }
    let known: Vec<String> = all(snapshot).iter().map(|a| a.name.to_string()).collect();
    let at = if snapshot.commit.is_some() { format!(" at {}", snapshot.name) } else { String::new() };
    let error = Error::missing(format!("no artifact {name} is declared{at}"));
    let meant = crate::pipeline::problem::did_you_mean(&name.to_string(), known.iter().map(String::as_str));
    let error = meant.into_iter().fold(error, Error::hint);
    Err(error.hint(format!("declare it in {path}: `artifacts: {{{}: {{path: …}}}}`", name.short())))
}

/// The error for a name that is invalid in a tag, with its location.
pub fn unusable(snapshot: &Snapshot<'_>, short: &str) -> Option<Error> {
    let files = snapshot.definitions.pipelines.files.iter();
    let mut with = files.filter_map(|file| Some((file, file.artifacts.iter().find(|(key, _)| key == short)?)));
    let (file, (key, _)) = with.next()?;
    let why = ModelName::new(file.path.parent().unwrap_or_default().as_str(), key).err()?;
    Some(misplaced(snapshot, file, key, format!("the name `{key}` {why}")))
}

/// The artifact, or the end of a sentence that says why it is invalid.
fn artifact(file: &PipelineFile, id: FileId, key: &str, value: &Value) -> Result<Artifact, String> {
    let folder = file.path.parent().unwrap_or_default();
    let name = ModelName::new(folder.as_str(), key).map_err(|why| format!("the name `{key}` {why}"))?;
    let text = |key: &str| value.get(key).map(Value::to_text).filter(|t| !t.is_empty());
    let spelling = text("path").ok_or("it has no `path`")?;
    let path = folder.join(&spelling).ok_or_else(|| format!("its path {spelling} leads out of the repository"))?;
    let labels = match value.get("labels") {
        Some(Value::List(labels)) => labels.iter().map(Value::to_text).collect(),
        _ => Vec::new(),
    };
    let meta = value.get("meta").cloned();
    Ok(Artifact { name, file: id, path, kind: text("type"), desc: text("desc"), labels, meta })
}

/// Returns true if versions and labels of an artifact are valid only with good signatures on their tags (`require:
/// [signed]`).
pub fn asks_for_signatures(artifact: &Value) -> bool {
    matches!(artifact.get("require"), Some(Value::List(words)) if words.iter().any(|word| word.to_text() == "signed"))
}

fn misplaced(snapshot: &Snapshot<'_>, file: &PipelineFile, key: &str, why: String) -> Error {
    let name = file.path.to_string();
    let text = snapshot.files().read(&InputLocation::Repo(file.path.clone())).ok().flatten();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let root = yaml::parse(&text).ok().flatten();
    let mark = root.as_ref().and_then(|root| Some(root.get("artifacts")?.value.get(key)?.start));
    render(&[Problem::new(name, mark, format!("artifact `{key}`: {why}")).within(&text)])
}

/// The pipeline file that declares a model's artifact.
pub fn pipeline_of(name: &ModelName) -> RepoPath {
    let folder = RepoPath::root().join(name.folder()).unwrap_or_default();
    folder.join("pipeline.yaml").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_stand_in_the_file_of_their_folder() {
        assert_eq!(pipeline_of(&"c/d:one".parse().unwrap()).to_string(), "c/d/pipeline.yaml");
    }
}
