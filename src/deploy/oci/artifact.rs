//! The manifest and the configuration of a ModelPack artifact. Pure; no time and no host is in them.
//!
//! Source: <https://github.com/modelpack/model-spec> (`docs/spec.md`, `docs/config.md`, `docs/annotations.md`), as of
//! June 2026.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::deploy::{Manifest, ReleasedFile};

/// The media type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT_TYPE: &str = "application/vnd.cncf.model.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.cncf.model.config.v1+json";
const WEIGHT: &str = "application/vnd.cncf.model.weight.v1.raw";
const WEIGHT_CONFIG: &str = "application/vnd.cncf.model.weight.config.v1.raw";
const DOCUMENT: &str = "application/vnd.cncf.model.doc.v1.raw";

/// An artifact that is to be written.
pub struct Artifact {
    /// The configuration: JSON.
    pub config: Vec<u8>,
    /// The manifest: JSON.
    pub manifest: Vec<u8>,
}

/// The digest of bytes: `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// Builds the artifact of a release. `notes` are small files beside those of the manifest, as `lockstep.json`.
pub fn build(release: &Manifest, notes: &[(&str, &[u8])]) -> Artifact {
    let mut layers: Vec<Json> = release.files.iter().map(file_layer).collect();
    for (name, bytes) in notes {
        layers.push(layer(WEIGHT_CONFIG, &digest(bytes), bytes.len() as u64, name));
    }
    let config = to_bytes(&config(release, &layers));
    let mut annotations = Map::new();
    let mut annotate = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            annotations.insert(key.into(), value.as_str().into());
        }
    };
    annotate("dev.lockstep.blake3", &Some(release.blake3.hex()));
    annotate("org.opencontainers.image.revision", &release.commit);
    annotate("org.opencontainers.image.source", &release.repository);
    annotate("org.opencontainers.image.title", &Some(release.name.clone()));
    annotate("org.opencontainers.image.version", &release.version);
    let manifest = to_bytes(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len()},
        "layers": layers,
        "annotations": annotations,
    }));
    Artifact { config, manifest }
}

fn config(release: &Manifest, layers: &[Json]) -> Json {
    let mut descriptor = Map::new();
    descriptor.insert("name".into(), release.name.as_str().into());
    let optional = [("version", &release.version), ("revision", &release.commit), ("sourceURL", &release.repository)];
    for (key, value) in optional {
        if let Some(value) = value {
            descriptor.insert(key.into(), value.as_str().into());
        }
    }
    let mut about = Map::new();
    if let Some(format) = &release.format {
        about.insert("format".into(), format.as_str().into());
    }
    let digests: Vec<&Json> = layers.iter().map(|layer| &layer["digest"]).collect();
    json!({"descriptor": descriptor, "config": about, "modelfs": {"type": "layers", "diffIds": digests}})
}

fn file_layer(file: &ReleasedFile) -> Json {
    layer(media_type(&file.path), &format!("sha256:{}", file.sha256), file.size, &file.path)
}

/// Readers of ModelPack go by the first annotation, those of plain artifacts (`oras pull`) by the second.
fn layer(media_type: &str, digest: &str, size: u64, path: &str) -> Json {
    json!({
        "mediaType": media_type,
        "digest": digest,
        "size": size,
        "annotations": {"org.cncf.model.filepath": path, "org.opencontainers.image.title": path},
    })
}

/// Weights, unless the name is that of a text: it only helps readers to choose, and decides nothing.
fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    match extension {
        _ if ["readme", "license", "licence", "notice"].contains(&stem) => DOCUMENT,
        "md" | "rst" | "pdf" => DOCUMENT,
        "json" | "yaml" | "yml" | "toml" | "txt" | "vocab" | "model" | "jinja" => WEIGHT_CONFIG,
        _ => WEIGHT,
    }
}

/// JSON without spaces, its keys in the order in which they were put in.
fn to_bytes(json: &Json) -> Vec<u8> {
    json.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectId;

    fn release() -> Manifest {
        Manifest {
            lockstep: 1,
            name: "digits".into(),
            version: Some("v1.0.0".into()),
            commit: Some("8b".repeat(20)),
            repository: None,
            path: "model.onnx".into(),
            blake3: ObjectId([7; 32]),
            size: 3,
            format: Some("onnx".into()),
            files: vec![ReleasedFile {
                path: "sub/model.onnx".into(),
                blake3: ObjectId([7; 32]),
                sha256: "9f".repeat(32),
                size: 3,
                mode: "0444".into(),
            }],
            metrics: Default::default(),
        }
    }

    #[test]
    fn the_same_release_has_the_same_digest() {
        let notes: [(&str, &[u8]); 1] = [("lockstep.json", b"{}")];
        let (one, two) = (build(&release(), &notes), build(&release(), &notes));
        assert_eq!(digest(&one.manifest), digest(&two.manifest));
        let manifest: Json = serde_json::from_slice(&one.manifest).unwrap();
        let config: Json = serde_json::from_slice(&one.config).unwrap();
        assert_eq!(manifest["config"]["digest"], digest(&one.config));
        assert_eq!(manifest["layers"][0]["annotations"]["org.cncf.model.filepath"], "sub/model.onnx");
        assert_eq!(manifest["layers"][1]["digest"], digest(b"{}"));
        assert_eq!(config["modelfs"]["diffIds"][0], format!("sha256:{}", "9f".repeat(32)));
        assert_eq!(config["descriptor"]["version"], "v1.0.0");
        assert!(manifest["annotations"].get("org.opencontainers.image.source").is_none());
    }

    #[test]
    fn media_types() {
        for (path, want) in [
            ("model.onnx", WEIGHT),
            ("weights", WEIGHT),
            ("a/config.json", WEIGHT_CONFIG),
            ("tokenizer.model", WEIGHT_CONFIG),
            ("README.md", DOCUMENT),
            ("LICENSE", DOCUMENT),
            ("license.txt", DOCUMENT),
        ] {
            assert_eq!(media_type(path), want, "{path}");
        }
    }
}
