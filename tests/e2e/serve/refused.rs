//! What is not served, and why. None of this needs a library.

use super::fixture;
use crate::sandbox::Sandbox;

#[test]
fn what_cannot_be_served_is_said() {
    let sandbox = Sandbox::without_git();
    sandbox.write("weights.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    sandbox.write("model.pkl", b"\x80\x04K\x01.");
    sandbox.write("folder/x", "");
    sandbox.write("text.onnx", "hello");
    for (what, code, want) in [
        ("weights.safetensors", 2, "it is safetensors"),
        ("model.pkl", 2, "skl2onnx.to_onnx"),
        ("folder", 2, "without lockstep.json and without a link `current`"),
        ("text.onnx", 2, "is not a model in a known format"),
        ("absent.onnx", 3, "absent.onnx does not exist"),
        ("digits@v1.0.0", 3, "digits@v1.0.0 does not exist"),
    ] {
        let out = sandbox.run(&["serve", what, "--listen", "127.0.0.1:0"]);
        assert_eq!(out.code, code, "{what}: {out}");
        assert!(out.stderr.contains(want), "{what}: {out}");
    }
}

#[test]
fn a_missing_library_is_said_with_what_to_install() {
    let sandbox = Sandbox::without_git();
    let model = fixture("times-1.onnx");
    let run = |args: &[&str]| sandbox.run(&[&["serve", model.to_str().unwrap(), "--once", "r.json"], args].concat());
    sandbox.write("r.json", super::TIMES);
    sandbox.write("not-a-library.so", "x");
    for args in [&["--onnxruntime", "absent.so"][..], &["--onnxruntime", "not-a-library.so"]] {
        let out = run(args);
        assert_eq!(out.code, 3, "{out}");
        assert!(out.stderr.contains("pip install onnxruntime"), "{out}");
    }
}

#[test]
fn other_machines_need_a_token_or_a_word() {
    let sandbox = Sandbox::without_git();
    let model = fixture("times-1.onnx");
    let out = sandbox.run(&["serve", model.to_str().unwrap(), "--listen", "0.0.0.0:0"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("--token-file FILE") && out.stderr.contains("--open"), "{out}");
    sandbox.write("token", "short");
    let out = sandbox.run(&["serve", model.to_str().unwrap(), "--token-file", "token"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("has no usable token"), "{out}");
    let out = sandbox.run(&["serve", model.to_str().unwrap(), "--listen", "nonsense"]);
    assert_eq!(out.code, 2, "{out}");
}

#[test]
fn two_models_of_one_name_are_refused() {
    let sandbox = Sandbox::without_git();
    let model = fixture("times-1.onnx");
    sandbox.write("times-1.onnx", std::fs::read(&model).unwrap());
    let out = sandbox.run(&["serve", model.to_str().unwrap(), "times-1.onnx", "--listen", "127.0.0.1:0"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("both called times-1"), "{out}");
}
