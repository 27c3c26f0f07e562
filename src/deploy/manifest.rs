//! `lockstep.json`, the manifest of a release folder: which version it is, and the hash of each file.
//!
//! It is read without Git, a store or a network: by `serve`, by scripts on a production host, by later deployments. The
//! same version always has the same bytes, so it contains no time and no host. A manifest on disk is untrusted text.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{Error, Result};
use crate::store::ObjectId;
use crate::value::Value;

/// The name of the manifest in a release folder.
pub const MANIFEST: &str = "lockstep.json";

/// The version of the format that this program reads and writes.
const VERSION: u64 = 1;

/// A manifest of a model with a hundred thousand files has about 30 MB.
const MOST: u64 = 64 << 20;

/// The manifest of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub lockstep: u64,
    /// The name of the model.
    pub name: String,
    /// Its version, as `v1.2.0`; `None` for a path that was deployed without a version.
    pub version: Option<String>,
    /// The commit that pins the bytes; `None` without Git.
    pub commit: Option<String>,
    /// Where the repository is, without user and password.
    pub repository: Option<String>,
    /// The path of the model in its repository. The release has the same name for it, without the folders before it.
    pub path: String,
    /// The hash of the file, or of the tree of a folder: what `pipeline.lock` pins.
    pub blake3: ObjectId,
    /// In bytes.
    pub size: u64,
    /// The format that was recognised, as `onnx`.
    pub format: Option<String>,
    /// Each file once, sorted by path; the manifest itself is not among them.
    pub files: Vec<ReleasedFile>,
    /// The metrics of the version: file, key, value.
    #[serde(default)]
    pub metrics: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedFile {
    /// Relative to the release folder, with `/`.
    pub path: String,
    /// The hash of the content.
    pub blake3: ObjectId,
    /// 64 hexadecimal digits, for tools without BLAKE3.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
    /// `0444`, or `0555` for an executable file.
    pub mode: String,
}

impl Manifest {
    /// Reads the manifest of a release folder; `None` if there is none.
    ///
    /// Errors: it is not readable, is not a manifest, has a newer format, or names a file outside of its folder.
    pub fn read(folder: &Path) -> Result<Option<Manifest>> {
        let path = folder.join(MANIFEST);
        let Some(text) = document::read_text(&path, MOST)? else { return Ok(None) };
        let refused = |why: String| Error::usage(format!("{} is not the manifest of a release: {why}", path.display()));
        Manifest::parse(&text).map(Some).map_err(refused)
    }

    /// The bytes of the file: JSON with one key per line and a line end.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest has only keys that are strings");
        text.push('\n');
        text
    }

    fn parse(text: &str) -> std::result::Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Format {
            lockstep: u64,
        }
        let format: Format = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if format.lockstep != VERSION {
            return Err(format!("it has format {}, and this lockstep reads {VERSION}", format.lockstep));
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match manifest.files.iter().find(|file| !stays_inside(&file.path)) {
            Some(file) => Err(format!("it names {:?}, which is outside of the release", file.path)),
            None => Ok(manifest),
        }
    }
}

/// Is it a relative path of plain names?
fn stays_inside(path: &str) -> bool {
    let mut names = Path::new(path).components().peekable();
    names.peek().is_some() && names.all(|name| matches!(name, Component::Normal(_))) && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            lockstep: VERSION,
            name: "digits".into(),
            version: Some("v1.0.0".into()),
            commit: Some("8b".repeat(20)),
            repository: None,
            path: "models/model.onnx".into(),
            blake3: ObjectId([7; 32]),
            size: 3,
            format: Some("onnx".into()),
            files: vec![ReleasedFile {
                path: "model.onnx".into(),
                blake3: ObjectId([7; 32]),
                sha256: "9f".repeat(32),
                size: 3,
                mode: "0444".into(),
            }],
            metrics: [("metrics.json".into(), [("accuracy".into(), Value::Float(0.97))].into())].into(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        assert_eq!(Manifest::parse(&manifest().to_text()), Ok(manifest()));
    }

    #[test]
    fn hostile_and_newer_manifests_are_refused() {
        let named = |path: &str| {
            let mut hostile = manifest();
            hostile.files[0].path = path.into();
            hostile.to_text()
        };
        for (text, why) in [
            (named("../x"), "outside of the release"),
            (named("/etc/passwd"), "outside of the release"),
            (named("a/../../x"), "outside of the release"),
            (named(""), "outside of the release"),
            (named("."), "outside of the release"),
            (manifest().to_text().replace("\"lockstep\": 1", "\"lockstep\": 2"), "it has format 2"),
            ("[]".into(), "invalid"),
            ("{".into(), "EOF"),
        ] {
            let refused = Manifest::parse(&text).expect_err(&text);
            assert!(refused.contains(why), "{refused} lacks {why}");
        }
    }
}
