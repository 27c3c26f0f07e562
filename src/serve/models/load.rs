//! Loads a version: verifies its bytes, recognises its format, checks the files that it names, and runs it once.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::release::{Release, ReleaseFacts, version_of_hash};
use crate::deploy::{self, ReleasedFile};
use crate::document;
use crate::error::{Error, Result};
use crate::model::formats::{self, Format};
use crate::model::source::Source;
use crate::serve::engine::library::LibraryPlaces;
use crate::serve::engine::onnx::OnnxEngine;
use crate::serve::engine::{self, Engine, LARGE, LoadedModel, ModelBytes, RunFailure, SessionPlan};
use crate::store::hash::hash_object;
use crate::store::{ObjectId, ObjectKind};

/// Which engine the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// ONNX Runtime.
    Onnx,
    /// libtorch.
    Torch,
}

/// How models are loaded.
pub struct LoadSettings {
    /// `None`: by the format of the file.
    pub engine: Option<EngineChoice>,
    /// Where ONNX Runtime may be.
    pub library: LibraryPlaces,
    /// The number of threads that run models.
    pub workers: usize,
}

/// A version in memory. It is freed with the last request that uses it.
pub struct LoadedVersion {
    /// What is known of it.
    pub facts: ReleaseFacts,
    /// The name of its engine, as `onnx_onnxv1`.
    pub platform: &'static str,
    /// The model.
    pub model: LoadedModel,
    /// Why it could not run on zeros; `None` if it could, or if its inputs are not known.
    pub cold: Option<String>,
    /// The copy that the model may still read from.
    _copy: Option<super::private_folder::PrivateFolder>,
}

/// Loads a release and runs it on zeros.
///
/// Errors: its bytes are not those of its manifest, it is in no format that can be served, it names files outside of its
/// folder, the engine refuses it.
pub fn load(release: Release, settings: &LoadSettings) -> Result<LoadedVersion> {
    let path = release.folder.join(&release.file);
    let shown = path.display().to_string();
    let source = Source::open(&path, &shown)?;
    let size = source.len();
    let engine = engine_for(&source, &shown, settings)?;
    let is_onnx = engine.platform().starts_with("onnx");
    let external = if is_onnx { formats::external_locations(&source)? } else { BTreeSet::new() };
    check_external(&external, &release)?;
    for file in release.files.iter().flatten() {
        let is_read_later = file.path == release.file && size <= LARGE && external.is_empty();
        if !is_read_later {
            verify(&release.folder, file)?;
        }
    }
    let mut facts = release.facts;
    let (bytes, id) = match size <= LARGE && external.is_empty() {
        true => {
            let absent = || Error::missing(format!("{shown} does not exist"));
            let bytes = document::read(&path, LARGE)?.ok_or_else(absent)?;
            let id = ObjectId::of(&bytes);
            let wanted = release.files.iter().flatten().find(|file| file.path == release.file);
            if let Some(wanted) = wanted.filter(|wanted| wanted.blake3 != id) {
                return Err(modified(&path, wanted));
            }
            (ModelBytes::Memory(bytes), id)
        }
        false => (ModelBytes::Path(path.clone()), hash_file(&path)?),
    };
    facts.blake3 = facts.blake3.or(Some(id));
    facts.size = facts.size.max(size);
    if facts.version.is_empty() {
        facts.version = version_of_hash(&facts.blake3.unwrap_or(id));
    }
    let plan = SessionPlan::for_size(size, settings.workers);
    let refused = |why: String| Error::usage(format!("{shown} cannot be loaded")).because(why);
    let model = engine.load(&bytes, plan).map_err(refused)?;
    let cold = match model.warm_up() {
        Some(Err(RunFailure::Input(why) | RunFailure::Engine(why))) => Some(why),
        _ => None,
    };
    Ok(LoadedVersion { facts, platform: engine.platform(), model, cold, _copy: release.copy })
}

fn modified(path: &Path, wanted: &ReleasedFile) -> Error {
    Error::usage(format!("{} is not the file that its manifest names", path.display()))
        .because(format!("the manifest has the hash {}", wanted.blake3.hex()))
        .hint("deploy the version again: lockstep deploy")
}

fn verify(folder: &Path, file: &ReleasedFile) -> Result<()> {
    let path = folder.join(&file.path);
    let hash = match file.mode == deploy::LINK_MODE {
        true => deploy::link_hashes(&path)?.id,
        false => hash_file(&path)?,
    };
    match hash == file.blake3 {
        true => Ok(()),
        false => Err(modified(&path, file)),
    }
}

fn hash_file(path: &Path) -> Result<ObjectId> {
    let failed = |e| Error::io("read", path, e);
    let file = document::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    hash_object(&file, ObjectKind::Content, size).map_err(failed)
}

/// The engine for the format of a file.
fn engine_for(source: &Source, shown: &str, settings: &LoadSettings) -> Result<Box<dyn Engine>> {
    let format = formats::read(source)?.format;
    match (format, settings.engine) {
        (Format::Onnx, None | Some(EngineChoice::Onnx)) => Ok(Box::new(OnnxEngine::open(&settings.library)?)),
        (Format::TorchScript, None | Some(EngineChoice::Torch)) => engine::open_torch(),
        _ => Err(not_served(format, shown)),
    }
}

/// Formats with weights alone need the program that made them.
fn not_served(format: Format, shown: &str) -> Error {
    let error = Error::usage(format!("{shown} cannot be served: it is {}", format.title()))
        .because("ONNX models are served, and TorchScript with a build for libtorch");
    let hint = match format {
        Format::Onnx | Format::TorchScript => "leave out --engine, or name the engine of this format",
        Format::Keras | Format::Hdf5 => {
            "export it to ONNX: python -m tf2onnx.convert --saved-model DIR --output model.onnx"
        }
        Format::Pickle | Format::Joblib | Format::Skops => {
            "export it to ONNX: skl2onnx.to_onnx(model, X[:1], options={'zipmap': False})"
        }
        Format::Torch | Format::TorchOld | Format::TorchTar | Format::Safetensors => {
            "export it to ONNX: torch.onnx.export(model, example, \"model.onnx\")"
        }
        _ => "export the model to ONNX with the framework that made it",
    };
    error.hint(hint)
}

/// Files beside the model have to be in its folder, also behind links, and in its manifest.
fn check_external(locations: &BTreeSet<String>, release: &Release) -> Result<()> {
    let model = release.folder.join(&release.file);
    let folder = model.parent().unwrap_or(&release.folder);
    let real_folder = std::fs::canonicalize(folder).map_err(|e| Error::io("find", folder, e))?;
    for location in locations {
        let refused = |why: &str| {
            Error::usage(format!("{} is not loaded", model.display()))
                .because(format!("it takes weights from {location:?}, {why}"))
        };
        let relative = Path::new(location);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) || location.is_empty() {
            return Err(refused("which is outside of its folder"));
        }
        let real = std::fs::canonicalize(folder.join(relative)).map_err(|_| refused("which does not exist"))?;
        if !real.starts_with(&real_folder) || !real.is_file() {
            return Err(refused("which is outside of its folder, or no file"));
        }
        let name = Path::new(&release.file).with_file_name(relative);
        let is_listed = |file: &ReleasedFile| Path::new(&file.path) == name;
        if release.files.as_ref().is_some_and(|files| !files.iter().any(is_listed)) {
            return Err(refused("which is not in the manifest of the release"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_a_model_stay_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("release");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(folder.join("weights"), "x").unwrap();
        std::fs::write(folder.join("unlisted"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let listed = |path: &str| ReleasedFile {
            path: path.into(),
            blake3: ObjectId([0; 32]),
            sha256: String::new(),
            size: 1,
            mode: "0444".into(),
        };
        let release = Release {
            facts: ReleaseFacts::default(),
            folder,
            files: Some(vec![listed("model.onnx"), listed("weights"), listed("link")]),
            file: "model.onnx".into(),
            copy: None,
        };
        for (location, is_allowed) in [
            ("weights", true),
            ("../secret", false),
            ("/etc/passwd", false),
            ("link", false),
            ("unlisted", false),
            ("absent", false),
            ("", false),
            (".", false),
            ("./weights", false),
            ("*/_ORT_MEM_ADDR_/*", false),
        ] {
            assert_eq!(check_external(&[location.to_string()].into(), &release).is_ok(), is_allowed, "{location}");
        }
    }
}
