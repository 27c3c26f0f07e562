//! The JSON Schema of pipeline files, written from the tables of [`super::keys`]. Editors complete keys and mark mistakes
//! with it; lockstep itself checks by the tables, with better messages.
//!
//! Draft 7, which editors support best. The schema refuses only what the checker refuses. It cannot tell whether a
//! reference is well formed, whether a path is inside the repository, or whether a key is a string.

use serde_json::{Map, Value as Json, json};

use super::keys::{GROUP, KeySpec, KeyTables, KeyType, STAGE, TOP, rows};
use crate::pipeline::budget::LONGEST_NAME;
use crate::pipeline::deploy::RESERVED_TARGETS;

/// The JSON Schema of a pipeline file.
pub fn schema() -> Json {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pipeline.yaml of lockstep",
        "description": "The stages of a pipeline: the command of each, what it reads and what it writes",
    });
    extend(&mut schema, map_of(rows(TOP)));
    // An empty file is fine.
    schema["type"] = json!(["object", "null"]);
    schema["definitions"] = json!({ "stage": stage(), "constant": constant() });
    schema
}

fn extend(schema: &mut Json, more: Json) {
    if let (Json::Object(fields), Json::Object(more)) = (schema, more) {
        fields.extend(more);
    }
}

/// A map with these keys and no others.
fn map_of(specs: impl Iterator<Item = &'static KeySpec>) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for spec in specs {
        let mut property = json!({ "description": spec.about });
        extend(&mut property, schema_of(spec.takes));
        properties.insert(spec.name.to_string(), property);
        required.extend(spec.is_required.then_some(spec.name));
    }
    let mut map = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        map["required"] = json!(required);
    }
    map
}

fn map(tables: KeyTables) -> Json {
    map_of(rows(tables))
}

/// A stage, or a group of stages.
fn stage() -> Json {
    let mut stage = map_of(rows(STAGE).chain(rows(GROUP)));
    let names = |tables| rows(tables).filter(|spec| spec.is_required).map(|spec| spec.name).collect::<Vec<_>>();
    let has = |name| json!({ "required": [name] });
    if let Json::Object(fields) = &mut stage {
        fields.remove("required");
    }
    stage["if"] = json!({ "anyOf": names(GROUP).into_iter().map(has).collect::<Vec<_>>() });
    stage["then"] = json!({ "required": names(GROUP), "propertyNames": { "enum": names(GROUP) } });
    stage["else"] = json!({ "required": names(STAGE) });
    stage
}

/// A value in which a string has no reference.
fn constant() -> Json {
    let itself = json!({ "$ref": "#/definitions/constant" });
    let mut constant = no_reference();
    extend(&mut constant, json!({ "items": itself, "additionalProperties": itself }));
    constant
}

fn no_reference() -> Json {
    json!({ "not": { "type": "string", "pattern": r"(^|[^\\])\$\{[^}\n]*\}" } })
}

fn list(item: Json) -> Json {
    json!({ "type": "array", "items": item })
}

/// A map with any keys.
fn named(value: Json) -> Json {
    json!({ "type": "object", "additionalProperties": value })
}

fn text() -> Json {
    json!({ "type": "string" })
}

/// A string with a reference, which stands for a value of another type.
fn template() -> Json {
    json!({ "type": "string", "pattern": r"\$\{" })
}

fn any_of(choices: impl IntoIterator<Item = Json>) -> Json {
    json!({ "anyOf": choices.into_iter().collect::<Vec<_>>() })
}

fn schema_of(takes: KeyType) -> Json {
    match takes {
        KeyType::Text => text(),
        KeyType::Literal => json!({ "type": "string", "minLength": 1 }),
        KeyType::Commit => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$" }),
        KeyType::Flag => json!({ "type": "boolean" }),
        KeyType::Any | KeyType::Ignored => json!({}),
        KeyType::Texts => list(text()),
        KeyType::Words(known) => list(json!({ "enum": known })),
        KeyType::Map(tables) => map(tables),
        KeyType::Command => {
            let command = json!({ "type": "string", "pattern": r"\S" });
            let mut several = list(command.clone());
            several["minItems"] = json!(1);
            any_of([command, several])
        }
        KeyType::Vars => {
            let mut file = text();
            extend(&mut file, no_reference());
            list(any_of([file, named(json!({ "$ref": "#/definitions/constant" }))]))
        }
        KeyType::Params => {
            let whole_file = [json!({ "type": "null" }), json!({ "type": "object", "maxProperties": 0 })];
            let keys = any_of([list(text()), template()].into_iter().chain(whole_file));
            list(any_of([text(), named(keys)]))
        }
        KeyType::Env(tables) => {
            let mut one = named(map(tables));
            (one["minProperties"], one["maxProperties"]) = (json!(1), json!(1));
            list(any_of([text(), one]))
        }
        KeyType::Matrix => named(any_of([json!({ "type": "array" }), template()])),
        KeyType::Items => any_of([json!({ "type": ["array", "object"] }), template()]),
        KeyType::Outs(tables) => list(any_of([text(), named(map(tables))])),
        KeyType::Stages => {
            let mut stages = named(json!({ "$ref": "#/definitions/stage" }));
            stages["propertyNames"] = stage_name();
            stages
        }
        KeyType::GroupBody => map_of(rows(STAGE).filter(|spec| !matches!(spec.takes, KeyType::Matrix))),
        KeyType::Charts(tables) => {
            let mut chart = map(tables);
            chart["type"] = json!(["object", "null"]);
            list(any_of([text(), named(chart)]))
        }
        KeyType::Column => json!({ "type": ["string", "object"] }),
        KeyType::Columns => json!({ "type": ["string", "array", "object"] }),
        KeyType::Artifacts(tables) => named(map(tables)),
        KeyType::Targets(tables) => {
            let mut targets = named(map(tables));
            targets["propertyNames"] = json!({
                "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$",
                "maxLength": 100,
                "not": { "enum": RESERVED_TARGETS },
            });
            targets
        }
        KeyType::Count => any_of([json!({ "type": "integer", "minimum": 0 }), template()]),
        KeyType::Time => {
            let text = json!({ "type": "string", "pattern": "^[1-9][0-9]{0,8}(ms|s|m|h)?$" });
            any_of([json!({ "type": "integer", "minimum": 1, "maximum": 7 * 24 * 60 * 60 }), text, template()])
        }
        KeyType::Word(known) => any_of([json!({ "enum": known }), template()]),
        KeyType::Environments(tables) => {
            let mut environments = named(map(tables));
            environments["propertyNames"] = stage_name();
            environments
        }
        KeyType::Checks => any_of([list(text()), named(list(text()))]),
        KeyType::Entries(tables) => list(map(tables)),
    }
}

/// The rules of [`super::name_problem`].
fn stage_name() -> Json {
    let other = r":/\\@\x00-\x1f\x7f-\x9f";
    json!({
        "pattern": format!("^[^-{other}][^{other}]*$"),
        "maxLength": LONGEST_NAME,
        "not": { "enum": [".", ".."] },
    })
}

#[cfg(test)]
mod tests;
