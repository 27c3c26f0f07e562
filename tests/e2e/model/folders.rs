//! Models that are folders: SavedModel of TensorFlow, and the files of Hugging Face.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::model::files::*;
use crate::sandbox::Sandbox;

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/model/real/module");

fn copy_module(sandbox: &Sandbox, to: &str) {
    for file in ["saved_model.pb", "fingerprint.pb", "variables/variables.index", VALUES] {
        sandbox.write(&format!("{to}/{file}"), std::fs::read(format!("{MODULE}/{file}")).unwrap());
    }
}

const VALUES: &str = "variables/variables.data-00000-of-00001";

fn shard(tensors: &[(&str, f32)]) -> Vec<u8> {
    let tensors: Vec<Named> = tensors.iter().map(|(name, v)| (*name, "F32", &[2u64][..], f32s(&[*v, *v]))).collect();
    safetensors(&tensors, &[("format", "pt")])
}

/// A model in two shards.
fn write_shards(sandbox: &Sandbox, folder: &str, value: f32) {
    let config = json!({"architectures": ["BertModel"], "model_type": "bert", "dtype": "float32", "hidden_size": 2});
    sandbox.write(&format!("{folder}/config.json"), config.to_string());
    sandbox.write(&format!("{folder}/tokenizer_config.json"), r#"{"tokenizer_class": "BertTokenizer"}"#);
    let words = json!({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}}, "added_tokens": []});
    sandbox.write(&format!("{folder}/tokenizer.json"), words.to_string());
    sandbox.write(&format!("{folder}/model-00001-of-00002.safetensors"), shard(&[("a", 1.0), ("b", value)]));
    sandbox.write(&format!("{folder}/model-00002-of-00002.safetensors"), shard(&[("c", 3.0)]));
    let map = json!({"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors"});
    let index = json!({"metadata": {"total_size": 24}, "weight_map": map});
    sandbox.write(&format!("{folder}/model.safetensors.index.json"), index.to_string());
}

#[test]
fn a_saved_model() {
    let sandbox = Sandbox::without_git();
    copy_module(&sandbox, "old");
    copy_module(&sandbox, "new");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "old"])), @r"
    exit 0
    --- stdout
    old  SavedModel, 14.6 kB
      tensors                    3
      parameters                 9
      types                      bf16 4 B, f32 24 B, text 0 B
      tags                       serve
      TensorFlow version         2.21.0
      signature serving_default  x f32 [?, 2] → y f32 [?, 3]
      fingerprint                5e0f32dcaa5d5100
      model parameters           8
      trainable                  6
      not trainable              2

    layer    class  type  input  parameters  trainable
    (model)         f32   –               8          6

    tensor  type  shape   parameters  bytes
    half    bf16  [2]              2    4 B
    text    text  []               1    0 B
    w       f32   [2, 3]           6   24 B
    ");
    let mut values = std::fs::read(format!("{MODULE}/{VALUES}")).unwrap();
    let at = values.windows(8).position(|w| w == f32s(&[4.0, 5.0])).unwrap();
    values[at..at + 4].copy_from_slice(&4.5f32.to_le_bytes());
    sandbox.write(&format!("new/{VALUES}"), values);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "new"])), @r"
    exit 0
    --- stdout
    tensor  change   max |Δ|  rel. L2    cosine  note
    w       changed   0.5000   0.0674  0.998503
    --- stderr
    3 tensors: 1 changed, 2 same; over all: max |Δ| 0.5000, rel. L2 0.0645
    ");
    // An asset belongs to the model.
    sandbox.write("new/assets/words.txt", "a\nb\n");
    let out = sandbox.run(&["model", "diff", "old", "new", "--json"]);
    assert!(out.stdout.contains("\"rest\": \"changed\""), "{out}");
}

#[test]
fn a_saved_model_that_is_damaged() {
    let sandbox = Sandbox::without_git();
    let refused = |file: &str, bytes: &[u8], want: &str| {
        copy_module(&sandbox, "m");
        sandbox.write(&format!("m/{file}"), bytes);
        let out = sandbox.run(&["model", "inspect", "m"]);
        assert!(out.code == 2 && out.stderr.contains(want), "{want}: {out}");
    };
    let index = std::fs::read(format!("{MODULE}/variables/variables.index")).unwrap();
    let mut changed = index.clone();
    changed[20] ^= 1;
    refused("variables/variables.index", &changed, "checksum is wrong");
    refused("variables/variables.index", &index[..index.len() - 1], "no end of a table");
    refused("variables/variables.index", b"", "cut short");
    refused(VALUES, b"1234", "cut short");
    refused("saved_model.pb", b"", "has no graph");
    refused("saved_model.pb", b"\x12\xff\xff\xff\xff\x0f", "cut short, or declares a wrong size");
    copy_module(&sandbox, "m");
    std::fs::remove_file(sandbox.path("m").join(VALUES)).unwrap();
    let out = sandbox.run(&["model", "inspect", "m"]);
    assert!(out.code == 2 && out.stderr.contains("data-00000-of-00001 is missing"), "{out}");
}

#[test]
fn shards_are_one_model() {
    let sandbox = Sandbox::without_git();
    write_shards(&sandbox, "old", 2.0);
    write_shards(&sandbox, "new", 2.5);
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "old"])), @r"
    exit 0
    --- stdout
    old  Hugging Face model, 621 B
      tensors       3
      parameters    6
      types         f32 24 B
      architecture  BertModel
      model_type    bert
      dtype         float32
      hidden_size   2
      tokenizer     BertTokenizer, WordPiece, 2 tokens
      shards        2

    tensor  type  shape  parameters  bytes
    a       f32   [2]             2    8 B
    b       f32   [2]             2    8 B
    c       f32   [2]             2    8 B
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "new"])), @r"
    exit 0
    --- stdout
    tensor  change   max |Δ|  rel. L2    cosine  note
    b       changed   0.5000   0.2500  1.000000
    --- stderr
    3 tensors: 1 changed, 2 same; over all: max |Δ| 0.5000, rel. L2 0.1336
    ");
    // One file instead of two is the same model.
    write_shards(&sandbox, "one", 2.0);
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    for file in shards.into_iter().chain(["model.safetensors.index.json"]) {
        std::fs::remove_file(sandbox.path("one").join(file)).unwrap();
    }
    sandbox.write("one/model.safetensors", shard(&[("a", 1.0), ("b", 2.0), ("c", 3.0)]));
    let out = sandbox.run(&["model", "diff", "old", "one"]);
    assert!(out.stderr.contains("3 tensors: 3 same") && out.stderr.contains("metadata shards: 2 → –"), "{out}");
}

#[test]
fn shards_that_disagree() {
    let sandbox = Sandbox::without_git();
    let mut number = 0;
    let mut refused = |change: &dyn Fn(&str), want: &str| {
        number += 1;
        let folder = format!("m{number}");
        write_shards(&sandbox, &folder, 2.0);
        change(&folder);
        let out = sandbox.run(&["model", "inspect", &folder]);
        assert!(out.code == 2 && out.stderr.contains(want), "{want}: {out}");
    };
    let second = "model-00002-of-00002.safetensors";
    let write = |folder: &str, file: &str, bytes: &[u8]| sandbox.write(&format!("{folder}/{file}"), bytes);
    let remove = |folder: &str, file: &str| std::fs::remove_file(sandbox.path(folder).join(file)).unwrap();
    let index = |map: serde_json::Value| json!({"weight_map": map}).to_string();
    let (one, two) = ("model-00001-of-00002.safetensors", second);
    refused(&|m| remove(m, second), "shard 2 of 2 of model.safetensors is missing");
    refused(&|m| write(m, second, &shard(&[("c", 3.0), ("a", 1.0)])), "the tensor `a` is in model-00001-of-00002");
    refused(&|m| write(m, second, &shard(&[("d", 3.0)])), "names the tensor `c`, which is in no shard");
    refused(&|m| write(m, second, &shard(&[("c", 3.0), ("d", 3.0)])), "does not name the tensor `d`");
    refused(&|m| write(m, second, b"\x10\0\0\0\0\0\0\0{"), "is not a valid safetensors file");
    let file = "model.safetensors.index.json";
    refused(&|m| write(m, file, index(json!({"a": one, "b": two, "c": two})).as_bytes()), "`b` is in model-00002");
    refused(&|m| write(m, file, index(json!({"a": one, "b": one, "c": "x"})).as_bytes()), "names x, which is missing");
    refused(&|m| write(m, file, index(json!({"a": one, "b": one})).as_bytes()), "does not name model-00002");
    refused(&|m| write(m, file, index(json!({"a": "../x"})).as_bytes()), "which is not in the folder");
    refused(&|m| write(m, file, b"[]"), "is wrong");
    refused(&|m| write(m, "model-00003-of-00003.safetensors", &shard(&[])), "numbers that do not fit");
    refused(&|m| write(m, "config.json", b"{"), "config.json is not valid JSON");
    refused(&|m| write(m, "tokenizer.json", b"{\"model\": 1}"), "tokenizer.json is not valid");
    // Without shards, the index tells which are missing.
    refused(&|m| (remove(m, one), remove(m, two)).0, "names model-00001-of-00002.safetensors, which is missing");
}

#[test]
fn folders_do_not_lead_outside() {
    let sandbox = Sandbox::without_git();
    sandbox.write("secret", shard(&[("a", 1.0)]));
    sandbox.write("m/config.json", "{}");
    symlink(sandbox.path("secret"), sandbox.path("m/model.safetensors")).unwrap();
    let out = sandbox.run(&["model", "inspect", "m"]);
    assert!(out.code == 2 && out.stderr.contains("model.safetensors is a symlink that leads out"), "{out}");
    // A link inside, and a folder that is a link itself.
    std::fs::remove_file(sandbox.path("m/model.safetensors")).unwrap();
    sandbox.write("m/blobs/0", shard(&[("a", 1.0)]));
    symlink("blobs/0", sandbox.path("m/model.safetensors")).unwrap();
    symlink("m", sandbox.path("link")).unwrap();
    for folder in ["m", "link", "m/", "./m"] {
        assert!(sandbox.run(&["model", "inspect", folder]).stdout.contains("tensors     1"), "{folder}");
    }
    // What is not a regular file is no weight.
    sandbox.write("p/config.json", "{}");
    make_fifo(&sandbox.path("p/model.safetensors"));
    let out = sandbox.run(&["model", "inspect", "p"]);
    assert!(out.code == 2 && out.stderr.contains("without a model in a known form"), "{out}");
    for n in 0..10_001 {
        std::fs::write(sandbox.path("p").join(n.to_string()), "").unwrap();
    }
    let out = sandbox.run(&["model", "inspect", "p"]);
    assert!(out.code == 2 && out.stderr.contains("p has more than 10000 files"), "{out}");
}

fn make_fifo(path: &std::path::Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A folder on disk, as a pinned output, in Git, and as a version of the registry.
#[test]
fn folders_of_revisions() {
    let sandbox = Sandbox::new();
    write_shards(&sandbox, "source", 2.0);
    copy_module(&sandbox, "tf");
    let stages = "stages:\n  train:\n    cmd: cp -r source model\n    deps: [source]\n    outs: [model]\n";
    sandbox.write("pipeline.yaml", format!("{stages}artifacts:\n  bert:\n    path: model\n"));
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    sandbox.git(&["tag", "-a", "bert@v1.0.0", "-m", "first"]);
    write_shards(&sandbox, "source", 5.0);
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    for spec in ["model", "model@HEAD", "source", "source@HEAD", "bert@v1.0.0"] {
        let out = sandbox.run(&["model", "inspect", spec]);
        assert!(out.code == 0 && out.stdout.contains("architecture  BertModel"), "{spec}: {out}");
    }
    assert!(sandbox.run(&["model", "inspect", "tf@HEAD"]).stdout.contains("serving_default"));
    for old in ["model@HEAD", "source@HEAD", "bert@v1.0.0"] {
        let out = sandbox.run(&["model", "diff", old, "model"]);
        assert!(out.code == 0 && out.stderr.contains("1 changed, 2 same"), "{old}: {out}");
    }
    let out = sandbox.run(&["model", "inspect", "pipelines@HEAD"]);
    assert!(out.code == 3, "{out}");
    // A checkout with symlinks into the store.
    sandbox.run(&["config", "cache.links", "symlink"]);
    std::fs::remove_dir_all(sandbox.path("model")).unwrap();
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    let is_link = sandbox.path("model/config.json").symlink_metadata().unwrap().is_symlink();
    let out = sandbox.run(&["model", "inspect", "model"]);
    assert!(out.code == 0 && out.stdout.contains("architecture"), "{is_link}: {out}");
}
