//! `model inspect` through the real binary.

use std::path::Path;

use crate::model::files::*;
use crate::sandbox::{Sandbox, output};

fn inspect(sandbox: &Sandbox, file: &str, bytes: &[u8]) -> String {
    sandbox.write(file, bytes);
    sandbox.shown(&sandbox.run(&["model", "inspect", file]))
}

#[test]
fn a_file_needs_no_repository_and_no_extension() {
    let sandbox = Sandbox::without_git();
    let weights = safetensors(
        &[("fc.weight", "F32", &[2, 3], vec![0; 24]), ("fc.bias", "BF16", &[3], vec![0; 6])],
        &[("format", "pt"), ("epoch", "3")],
    );
    insta::assert_snapshot!(inspect(&sandbox, "weights", &weights), @r"
    exit 0
    --- stdout
    weights  safetensors, 208 B
      tensors     2
      parameters  9
      types       bf16 6 B, f32 24 B
      epoch       3
      format      pt

    tensor     type  shape   parameters  bytes
    fc.weight  f32   [2, 3]           6   24 B
    fc.bias    bf16  [3]              3    6 B
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "weights", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "path": "weights",
      "format": "safetensors",
      "bytes": 208,
      "total": {
        "tensors": 2,
        "parameters": 9,
        "bytes": 30
      },
      "dtypes": {
        "bf16": {
          "tensors": 1,
          "parameters": 3,
          "bytes": 6
        },
        "f32": {
          "tensors": 1,
          "parameters": 6,
          "bytes": 24
        }
      },
      "metadata": {
        "epoch": "3",
        "format": "pt"
      },
      "layers": [],
      "tensors": [
        {
          "name": "fc.weight",
          "dtype": "f32",
          "shape": [
            2,
            3
          ],
          "parameters": 6,
          "bytes": 24
        },
        {
          "name": "fc.bias",
          "dtype": "bf16",
          "shape": [
            3
          ],
          "parameters": 3,
          "bytes": 6
        }
      ],
      "calls": [],
      "notes": []
    }
    "#);
}

#[test]
fn checkpoints_of_pytorch() {
    let sandbox = Sandbox::without_git();
    let checkpoint = torch(&[1.0; 6], &[1.0; 3]);
    insta::assert_snapshot!(inspect(&sandbox, "model.pt", &checkpoint), @r"
    exit 0
    --- stdout
    model.pt  PyTorch, 980 B
      tensors          3
      parameters       15
      types            f32 60 B
      archive version  3
      byte order       little
      protocol         2
      object           collections.OrderedDict

    tensor     type  shape   parameters  bytes
    fc.weight  f32   [2, 3]           6   24 B
    fc.bias    f32   [3]              3   12 B
    fc.turned  f32   [3, 2]           6   24 B
    ");
    insta::assert_snapshot!(inspect(&sandbox, "old.pth", &torch_old(&[1.0; 3])), @r"
    exit 0
    --- stdout
    old.pth  PyTorch (before 1.6), 213 B
      tensors     1
      parameters  3
      types       f32 12 B
      protocol    2
      object      collections.OrderedDict

    tensor  type  shape  parameters  bytes
    w       f32   [3]             3   12 B
    ");
}

#[test]
fn onnx_numpy_and_others() {
    let sandbox = Sandbox::without_git();
    let model = onnx(&[onnx_tensor("w", &[2, 3], &[1.0; 6])]);
    insta::assert_snapshot!(inspect(&sandbox, "model.onnx", &model), @r"
    exit 0
    --- stdout
    model.onnx  ONNX, 167 B
      tensors     1
      parameters  6
      types       f32 24 B
      IR version  9
      license     MIT
      producer    pytorch 2.1
      opset       17
      graph       net
      nodes       1
      input       x f32 [batch, 3]
      output      y f32 [batch, 3]

    tensor  type  shape   parameters  bytes
    w       f32   [2, 3]           6   24 B
    ");
    let arrays = zip(&[
        ("a.npy", &npy("<f4", false, "(2,)", &[0; 8]), true),
        ("n.npy", &npy("<i8", false, "()", &[0; 8]), false),
    ]);
    insta::assert_snapshot!(inspect(&sandbox, "arrays.npz", &arrays), @r"
    exit 0
    --- stdout
    arrays.npz  NumPy arrays, 403 B
      tensors     2
      parameters  3
      types       f32 8 B, i64 8 B
      arrays      2

    tensor  type  shape  parameters  bytes
    a       f32   [2]             2    8 B
    n       i64   []              1    8 B
    ");
    insta::assert_snapshot!(inspect(&sandbox, "model.gguf", &gguf()), @r"
    exit 0
    --- stdout
    model.gguf  GGUF, 274 B
      tensors               2
      parameters            38
      types                 f32 24 B, q4_0 18 B
      version               3
      general.architecture  llama
      tokens                (2 values)

    tensor  type  shape    parameters  bytes
    t       f32   [2, 3]            6   24 B
    q       q4_0  [1, 32]          32   18 B
    ");
    insta::assert_snapshot!(inspect(&sandbox, "model.h5", &hdf5("keras_version", "3.1")), @r"
    exit 0
    --- stdout
    model.h5  Keras, 204 B
      tensors           1
      parameters        2
      types             f32 8 B
      HDF5 superblock   2
      keras version     3.1
      model parameters  2

    tensor  type  shape  parameters  bytes
    w       f32   [2]             2    8 B
    ");
    insta::assert_snapshot!(inspect(&sandbox, "model.joblib", &joblib(&[1.0, 2.0])), @r"
    exit 0
    --- stdout
    model.joblib  joblib pickle, 281 B
      tensors          1
      parameters       2
      types            f64 16 B
      protocol         2
      object           sklearn.linear_model.LogisticRegression
      sklearn version  1.5.0
      globals          joblib.numpy_pickle.NumpyArrayWrapper, numpy.dtype, sklearn.linear_model.LogisticRegression

    tensor  type  shape   parameters  bytes
    coef_   f64   [1, 2]           2   16 B
    ");
}

#[test]
fn a_pickle_that_would_run_something_is_named_and_not_run() {
    let sandbox = Sandbox::without_git();
    let evil = format!("cos\nsystem\n(S'touch {}'\ntR.", sandbox.path("pwned").display());
    insta::assert_snapshot!(inspect(&sandbox, "evil.pkl", evil.as_bytes()), @r"
    exit 0
    --- stdout
    evil.pkl  pickle, 56 B
      protocol  0
      object    os.system
      globals   os.system
    --- stderr
    warning: loading evil.pkl in Python would reach for os.system: load it only if you trust who made it
    ");
    assert!(!sandbox.exists("pwned"));
}

#[test]
fn many_tensors_are_cut_unless_asked_for() {
    let sandbox = Sandbox::without_git();
    let names: Vec<String> = (0..30).map(|n| format!("layer.{n}")).collect();
    let tensors: Vec<Named> = names.iter().map(|name| (name.as_str(), "U8", &[1][..], vec![0])).collect();
    sandbox.write("m", safetensors(&tensors, &[]));
    let few = sandbox.run(&["model", "inspect", "m"]);
    assert!(few.stderr.contains("and 10 more: --tensors lists them all") && !few.stdout.contains("layer.29"));
    let all = sandbox.run(&["model", "inspect", "m", "--tensors"]);
    assert!(all.stdout.contains("layer.29") && all.stderr.is_empty());
}

#[test]
fn what_cannot_be_read_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write("folder/x", "");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "nope.pt"])), @r"
    exit 3
    --- stderr
    error: nope.pt does not exist
      hint: bring back what is pinned: lockstep checkout; an older version: PATH@REVISION
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "folder"])), @r"
    exit 2
    --- stderr
    error: folder is a folder without a model in a known form
      hint: known are SavedModel (saved_model.pb) and Hugging Face (config.json and weights)
      hint: name a file in it
    ");
    insta::assert_snapshot!(inspect(&sandbox, "notes.txt", b"hello world\n"), @r"
    exit 2
    --- stderr
    error: notes.txt is not a model in a known format
      hint: known are safetensors, PyTorch, ONNX, NumPy, SciPy, Keras, HDF5, GGUF, pickle, joblib and skops
    ");
    let lying = [&1000u64.to_le_bytes()[..], b"{\"w\":{}}"].concat();
    insta::assert_snapshot!(inspect(&sandbox, "model.safetensors", &lying), @r"
    exit 2
    --- stderr
    error: model.safetensors is not a valid safetensors file
      because: it is cut short, or declares a wrong size: 1000 bytes at 8 of 16 bytes
    ");
}

/// A file whose name has an `@` in it is a file.
#[test]
fn an_at_sign_in_a_name() {
    let sandbox = Sandbox::without_git();
    let shown = inspect(&sandbox, "a@b.npy", &npy("<f4", false, "(2,)", &[0; 8]));
    assert!(shown.starts_with("exit 0") && shown.contains("[2]"), "{shown}");
}

#[cfg(not(feature = "torch"))]
#[test]
fn without_libtorch_it_says_how_to_get_it() {
    let sandbox = Sandbox::without_git();
    let state = state_dict(&[]);
    sandbox.write("m.pt", zip(&[("m/data.pkl", &state, false), ("m/code/__torch__.py", b"", true)]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "m.pt", "--torch"])), @r#"
    exit 2
    --- stderr
    error: m.pt cannot be loaded by libtorch: this lockstep was built without it
      hint: build one with it: eval "$(.ci/libtorch)" && cargo build --release --features torch
      hint: without --torch the module is read by lockstep itself, which runs nothing
    "#);
    assert_eq!(sandbox.run(&["model", "inspect", "m.pt"]).code, 0);
}

/// Opening one would wait for ever.
#[test]
fn a_fifo_is_refused() {
    let sandbox = Sandbox::without_git();
    output(sandbox.command(Path::new("mkfifo"), "").arg("pipe"));
    let out = sandbox.run(&["model", "inspect", "pipe"]);
    assert_eq!((out.code, out.stderr.as_str()), (2, "error: pipe is not a regular file\n"));
}
