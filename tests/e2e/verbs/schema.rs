//! The schemas for editors.

use serde_json::Value as Json;

use crate::sandbox::Sandbox;

#[test]
fn schemas_are_printed_anywhere() {
    let sandbox = Sandbox::without_git();
    let printed = |args: &[&str]| {
        let out = sandbox.run(args);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{args:?}");
        out.stdout
    };
    let (pipeline, config) = (printed(&["schema"]), printed(&["schema", "config"]));
    assert_eq!(pipeline, printed(&["schema", "pipeline"]));
    for (text, key) in
        [(&pipeline, "/definitions/stage/properties/deps"), (&config, "/properties/cache/properties/dir")]
    {
        let schema: Json = serde_json::from_str(text).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert!(schema.pointer(key).is_some_and(|property| property["description"].is_string()), "{key}");
        assert_eq!(schema["additionalProperties"], false);
    }
    let out = sandbox.run(&["schema", "lock"]);
    assert!(out.code == 2 && out.stderr.contains("[possible values: pipeline, config]"), "{out}");
}

/// A broken pipeline or settings file is when a schema is needed most.
#[test]
fn a_broken_project_does_not_hinder() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {");
    sandbox.write("lockstep.toml", "jobs = \n");
    assert_eq!(sandbox.run(&["schema"]).code, 0);
}
