//! Provenance of a version, as a statement that other tools read: in-toto's Statement v1 with the predicate of SLSA
//! provenance v1 (<https://in-toto.io/Statement/v1>, <https://slsa.dev/spec/v1.0/provenance>).
//!
//! It is made from the tag and the locks of its commit alone, so every clone writes the same bytes. Subjects are the
//! file, or a folder as one; `blake3` of a folder is the hash of its tree, named `lockstepTree`. The keys `sha256` of a
//! file, which most verifiers ask for, and `dirHash` of a folder are present if the bytes were available at
//! registration.

use serde_json::{Map, Value as Json, json};

use super::trace::Trace;
use crate::error::{Error, Kind, Result};
use crate::model::registry::tag_write::{LAST_SECOND, rfc3339};
use crate::store::Pin;
use crate::value::Value;

/// The build type for a run of stages.
const BUILD_TYPE: &str = "urn:lockstep:stages:1";

/// The statement.
///
/// Errors: the lock of the commit does not pin the version, or contradicts its tag.
pub fn statement(trace: &Trace<'_, '_>) -> Result<Value> {
    let (Some(version), Some(origin)) = (trace.version, &trace.origin) else {
        let why = trace.remarks.first().cloned().unwrap_or_else(|| "its commit has no version".into());
        return Err(Error::missing(format!("{} cannot be traced", trace.model.name)).because(why));
    };
    if !trace.agrees() {
        let error = Error::new(Kind::Check, format!("{} {version} contradicts itself", trace.model.name));
        return Err(trace.remarks.iter().cloned().fold(error, Error::because));
    }
    let mut digest = digest(&origin.pin);
    if let Some(file) = trace.noted_file() {
        let noted = [("sha256", &file.sha256, !origin.pin.is_dir()), ("dirHash", &file.dir_hash, origin.pin.is_dir())];
        for (name, text, fits) in noted {
            if let Some(text) = text.as_deref().filter(|text| fits && is_sha256(text)) {
                digest.insert(name.into(), text.into());
            }
        }
    }
    let chain = trace.chain();
    let steps: Vec<Json> = chain
        .iter()
        .map(|(address, entry)| {
            let mut step = json!({"stage": address, "key": entry.key.hex(), "cmd": entry.cmd.items()});
            if let Some(environment) = &entry.environment {
                step["environment"] = json!({
                    "kind": environment.kind,
                    "platform": environment.platform,
                    "python": environment.python,
                    "hash": environment.hash.hex(),
                });
            }
            step
        })
        .collect();
    let params = trace.params().into_iter();
    let params = params.map(|(file, values)| (file, Value::Map(values.into_iter().collect()))).collect();
    let mut dependencies = vec![json!({
        "name": "commit",
        "digest": {"gitCommit": trace.event.commit.hex()},
    })];
    for input in &origin.inputs {
        dependencies.push(json!({
            "name": input.path,
            "digest": self::digest(&input.pin),
            "annotations": {"kind": if input.data { "data" } else { "file" }, "size": input.pin.size},
        }));
    }
    for (address, entry) in chain.iter().skip(1) {
        for (path, out) in &entry.outs {
            dependencies.push(json!({
                "name": path,
                "digest": self::digest(&out.pin),
                "annotations": {"kind": "output", "stage": address, "size": out.pin.size},
            }));
        }
    }
    let run = trace.run();
    let mut metadata = Map::new();
    if let Some((_, entry)) = chain.first() {
        metadata.insert("invocationId".into(), entry.key.hex().into());
    }
    let mut builder = json!({"id": "urn:lockstep:unknown"});
    if let Some(run) = run {
        builder = json!({
            "id": format!("urn:lockstep:host:{}", run.host),
            "version": {"lockstep": run.lockstep},
        });
        metadata.insert("startedOn".into(), run.start.clone().into());
        if let Some(end) = finished(&run.start, run.seconds) {
            metadata.insert("finishedOn".into(), end.into());
        }
    }
    let mut details = json!({"builder": builder, "metadata": metadata});
    let measured = trace.event.note.as_ref().map(|note| &note.metrics).filter(|metrics| !metrics.is_empty());
    if measured.is_some() {
        details["byproducts"] = json!([{"name": "metrics", "annotations": {}}]);
    }
    let mut external = json!({
        "artifact": trace.model.name.to_string(),
        "version": version.to_string(),
        "tag": trace.event.tag,
        "path": origin.path.to_string(),
        "params": {},
    });
    if let Some((address, _)) = chain.first() {
        external["stage"] = address.clone().into();
    }
    let mut internal = json!({"steps": steps});
    if let Some(run) = run {
        internal["platform"] = run.platform.clone().into();
        internal["user"] = run.user.clone().into();
        if !run.programs.is_empty() {
            internal["programs"] = json!(run.programs);
        }
    }
    let mut statement = Value::from(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": origin.path.to_string(), "digest": digest}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external,
                "internalParameters": internal,
                "resolvedDependencies": dependencies,
            },
            "runDetails": details,
        },
    }));
    statement.set(&["predicate", "buildDefinition", "externalParameters", "params"], Value::Map(params));
    for (file, values) in measured.into_iter().flatten() {
        let values = values.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let place = ["predicate", "runDetails", "byproducts", "0", "annotations", file];
        statement.set(&place, Value::Map(values));
    }
    Ok(statement)
}

/// The tag is untrusted text.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digest(pin: &Pin) -> Map<String, Json> {
    let name = if pin.is_dir() { "lockstepTree" } else { "blake3" };
    [(name.to_string(), pin.id.hex().into())].into_iter().collect()
}

fn finished(start: &str, seconds: f64) -> Option<String> {
    let start = humantime::parse_rfc3339(start).ok()?;
    let length = std::time::Duration::try_from_secs_f64(seconds).ok().filter(|d| d.as_secs() < 1 << 32)?;
    let end = start.checked_add(length)?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(end.as_secs()).ok().filter(|end| *end <= LAST_SECOND).map(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_from_other_peoples_tags() {
        assert_eq!(finished("2026-01-01T00:00:00Z", 61.4).as_deref(), Some("2026-01-01T00:01:01Z"));
        for (start, seconds) in [
            ("now", 1.0),
            ("2026-01-01T00:00:00Z", -1.0),
            ("2026-01-01T00:00:00Z", f64::NAN),
            ("2026-01-01T00:00:00Z", 1e300),
            ("9999-12-31T00:00:00Z", 4e9),
        ] {
            assert_eq!(finished(start, seconds), None);
        }
        assert!(is_sha256(&"0a".repeat(32)) && !is_sha256("0a") && !is_sha256(&"zz".repeat(32)));
    }
}
