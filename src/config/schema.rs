//! The JSON Schema of settings files, written from the table of [`super::keys`]. Editors complete keys and mark mistakes
//! with it. Draft 7, which editors support best.

use serde_json::{Map, Value as Json, json};

use super::Setting;
use super::keys::{KEYS, SHOWN, SettingSpec, ValueType, parse};

/// The JSON Schema of `lockstep.toml`. It knows the names of options of remotes and refuses no other, as the parser:
/// their rules depend on the scheme of the URL.
pub fn schema() -> Json {
    let mut properties = Map::new();
    for spec in KEYS {
        match spec.name.split_once('.') {
            None => drop(properties.insert(spec.name.to_string(), property(spec))),
            Some((table, name)) => {
                let table = properties.entry(table).or_insert_with(|| table_of(Map::new()));
                table["properties"][name] = property(spec);
            }
        }
    }
    properties.insert("remote".to_string(), remotes());
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lockstep.toml",
        "description": "Settings of lockstep for a project",
    });
    for (key, value) in table_of(properties).as_object().into_iter().flatten() {
        schema[key] = value.clone();
    }
    schema
}

fn table_of(properties: Map<String, Json>) -> Json {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(spec: &SettingSpec) -> Json {
    let mut property = json!({ "description": spec.about });
    for (key, value) in schema_of(spec.takes).as_object().into_iter().flatten() {
        property[key] = value.clone();
    }
    if let Some(default) = spec.default.and_then(|typed| parse(spec.name, typed).ok()) {
        property["default"] = match default {
            Setting::Int(n) => json!(n),
            Setting::Bool(b) => json!(b),
            Setting::Str(text) => json!(text),
            Setting::List(items) => json!(items),
        };
    }
    property
}

fn schema_of(takes: ValueType) -> Json {
    let text = json!({ "type": "string", "minLength": 1 });
    match takes {
        ValueType::Count => json!({ "type": "integer", "minimum": 0 }),
        ValueType::Text => text,
        ValueType::Word(known) => json!({ "enum": known }),
        ValueType::Words(known) => json!({ "type": "array", "minItems": 1, "items": { "enum": known } }),
        ValueType::Texts => json!({ "type": "array", "items": text }),
        ValueType::Modes => {
            let mode = r"\s*(local|remote):[rw]*\s*";
            json!({ "type": "string", "pattern": format!("^{mode}(,{mode})*$") })
        }
        ValueType::Free => {
            json!({ "type": ["string", "integer", "boolean", "array"], "items": { "type": "string" } })
        }
    }
}

fn remotes() -> Json {
    let free = schema_of(ValueType::Free);
    let mut options: Map<String, Json> = SHOWN.iter().map(|option| (option.to_string(), free.clone())).collect();
    let mut url = json!({ "description": "A folder, s3://…, gs://…, azure://…, ssh://…, webdavs://… or https://…" });
    url["type"] = json!("string");
    url["minLength"] = json!(1);
    options.insert("url".to_string(), url);
    json!({
        "description": "The remotes, by name; `lockstep remote modify --help` lists the options of each kind",
        "type": "object",
        "propertyNames": { "pattern": r"^[^-.\s/:@*][^\s/:@*]*$" },
        "additionalProperties": { "type": "object", "properties": options, "additionalProperties": free },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::entries;
    use super::*;

    /// Whether the parser accepts a file, and whether the schema does.
    fn verdicts(text: &str) -> (bool, bool) {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("config.json", schema()).unwrap();
        let compiled = compiler.compile("config.json", &mut schemas).unwrap();
        let json: Json = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (entries(Path::new("lockstep.toml"), text).is_ok(), schemas.validate(&json, compiled).is_ok())
    }

    #[test]
    fn the_schema_accepts_settings() {
        for text in [
            "",
            "jobs = 0\nshell = \"zsh\"\npass_env = [\"A\"]\n[cache]\ndir = \"/x\"\nlinks = [\"copy\", \"reflink\"]",
            "[cache]\nmode = \"local:rw, remote:r\"\nsign = \"ed25519\"\ntrust = []\nverify_keys = [\"k\"]",
            "cache.mode = \"local:\"\ncore = {remote = \"lab\"}",
            "[remote.\"a.b\"]\nurl = \"s3://b\"\nretries = 3\nread_only = true\nx = [\"y\"]\n[remote.lab]\n[core]",
            "[remote.lab]\npassword_for = \"https://x\"\nsse = \"aws:kms\"\n[remote.\"\u{e9}t\u{e9}\"]\nurl = \"/x\"",
        ] {
            assert_eq!(verdicts(text), (true, true), "{text}");
        }
    }

    #[test]
    fn the_schema_refuses_mistakes() {
        for text in [
            "job = 1",
            "jobs = -1",
            "jobs = \"4\"",
            "jobs = 1.5",
            "jobs = [1]",
            "shell = \"\"",
            "shell = 1",
            "pass_env = \"A\"",
            "pass_env = [1]",
            "cache = 1",
            "[cache]\ndri = \"x\"",
            "[cache]\nlinks = []",
            "[cache]\nlinks = [\"softlink\"]",
            "[cache]\nlinks = \"copy\"",
            "[cache]\nmode = \"all\"",
            "[cache]\nmode = \"local:rwx\"",
            "[cache]\nsign = \"rsa\"",
            "[cache]\ntrust = [\"\"]",
            "[core]\nremotes = \"x\"",
            "remote.lab = 1",
            "[remote.lab]\nurl = true",
            "[remote.lab]\nurl = \"\"",
            "[remote.lab.x]\ny = 1",
            "[remote.lab]\nretries = 1.5",
            "[remote.\"-lab\"]\nurl = \"/x\"",
            "[remote.\"lab@0123456789abcdef\"]\nurl = \"/x\"",
        ] {
            assert_eq!(verdicts(text), (false, false), "{text}");
        }
    }

    #[test]
    fn every_setting_is_described() {
        let schema = schema();
        for spec in KEYS {
            let path = format!("/properties/{}", spec.name.replace('.', "/properties/"));
            let property = schema.pointer(&path).unwrap_or_else(|| panic!("{path}"));
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        }
        assert_eq!(schema["properties"]["cache"]["properties"]["links"]["default"], json!(["reflink", "copy"]));
    }
}
