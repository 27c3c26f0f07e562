//! All that a model file holds is told: read, or said to be not read. The files in `real/` were written by the libraries
//! of their formats (`fixtures/models/real.py`).

use serde_json::Value as Json;

use crate::model::files::*;
use crate::sandbox::Sandbox;

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/model/real");

fn real(name: &str) -> Vec<u8> {
    std::fs::read(format!("{REAL}/{name}")).unwrap()
}

fn inspect(bytes: &[u8]) -> String {
    let sandbox = Sandbox::without_git();
    sandbox.write("m", bytes);
    sandbox.shown(&sandbox.run(&["model", "inspect", "m"]))
}

fn diff(old: &[u8], new: &[u8]) -> Json {
    let sandbox = Sandbox::without_git();
    sandbox.write("a", old);
    sandbox.write("b", new);
    let out = sandbox.run(&["model", "diff", "a", "b", "--json", "--all"]);
    assert_eq!(out.code, 0, "{out}");
    serde_json::from_str(&out.stdout).unwrap()
}

/// Names of the tensors with a change of this kind.
fn changed(difference: &Json, change: &str) -> Vec<String> {
    let rows = difference["tensors"].as_array().unwrap().iter().filter(|t| t["change"] == change);
    rows.map(|t| t["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn onnx_weights_wherever_they_stand() {
    insta::assert_snapshot!(inspect(&real("branches-a.onnx")), @r"
    exit 0
    --- stdout
    m  ONNX, 754 B
      tensors                          12
      parameters                       44
      types                            f32 132 B, i4 3 B, i64 32 B, text 0 B
      IR version                       10
      producer                         onnx
      opset                            21
      graph                            branches
      sparse                           sparse [3, 4]
      nodes                            5
      nodes in branches and functions  4
      external data                    weights.bin
      input                            cond bool []
      input                            x f32 [-1, batch, 3]
      output                           y f32

    tensor                type  shape   parameters  bytes
    int4                  i4    [5]              5    3 B
    far                   f32   [2, 2]           4   16 B
    sparse                f32   [2]              2    8 B
    sparse.indices        i64   [2]              2   16 B
    floats                f32   [2]              2    8 B
    ints                  i64   [2]              2   16 B
    one                   f32   []               1    4 B
    strings               text  [2]              2    0 B
    w                     f32   [2, 3]           6   24 B
    else_c                f32   [2, 3]           6   24 B
    choice.then_branch.w  f32   [2, 3]           6   24 B
    then_c                f32   [2, 3]           6   24 B
    --- stderr
    note: the values of 1 tensor are not read: they are in another file
    ");
    let difference = diff(&real("branches-a.onnx"), &real("branches-b.onnx"));
    assert_eq!(changed(&difference, "changed"), ["sparse", "floats", "then_c"]);
    assert_eq!(changed(&difference, "unread"), ["far"]);
    assert_eq!(difference["rest"], "same");
    assert_eq!(difference["notes"]["old"].as_array().unwrap().len(), 1);
}

#[test]
fn an_operator_that_changed_is_not_the_same() {
    let model = |operator: &str| {
        let weights = onnx_tensor("w", &[2], &[1.0, 2.0]);
        onnx_model(&onnx_graph(&[onnx_node(operator, &[])], &[weights]))
    };
    assert_eq!(diff(&model("Relu"), &model("Relu"))["rest"], "same");
    let difference = diff(&model("Relu"), &model("Tanh"));
    assert_eq!((changed(&difference, "same"), &difference["rest"]), (vec!["w".to_string()], &Json::from("changed")));
    let sandbox = Sandbox::without_git();
    sandbox.write("a", model("Relu"));
    sandbox.write("b", model("Tanh"));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "a", "b"])), @r"
    exit 0
    --- stderr
    settings or other values beside the tensors differ
    1 tensor: 1 same
    ");
}

/// Of two tensors of one name each is held against its own.
#[test]
fn names_that_stand_several_times() {
    let branch = |v: f32| onnx_graph(&[], &[onnx_tensor("w", &[1], &[v])]);
    let model = |last: f32| {
        let branches: Vec<Vec<u8>> =
            [1.0, 2.0, last].iter().map(|v| onnx_attribute("branch", 6, &branch(*v))).collect();
        onnx_model(&onnx_graph(&[onnx_node("If", &branches)], &[]))
    };
    assert_eq!(changed(&diff(&model(3.0), &model(3.0)), "same").len(), 3);
    let difference = diff(&model(3.0), &model(4.0));
    assert_eq!((changed(&difference, "same").len(), changed(&difference, "changed").len()), (2, 1));
}

#[test]
fn pickles_of_every_protocol_hold_the_same() {
    insta::assert_snapshot!(inspect(&real("protocol-5.pkl")), @r"
    exit 0
    --- stdout
    m  pickle, 723 B
      tensors     6
      parameters  20
      types       bool 2 B, datetime64[ns] 16 B, f64 112 B, struct{a: u8, raw[7], b: f64} 32 B
      protocol    5
      globals     numpy._core.multiarray._reconstruct, numpy._core.numeric._frombuffer, numpy.dtype, numpy.ma.MaskedArray, numpy.ma.core._mareconstruct, numpy.ndarray

    tensor     type                           shape   parameters  bytes
    coef_      f64                            [2, 3]           6   48 B
    turned     f64                            [2, 3]           6   48 B
    when       datetime64[ns]                 [2]              2   16 B
    nodes      struct{a: u8, raw[7], b: f64}  [2]              2   32 B
    mask       f64                            [2]              2   16 B
    mask.mask  bool                           [2]              2    2 B
    ");
    for protocol in ["protocol-0.pkl", "protocol-2.pkl"] {
        let difference = diff(&real(protocol), &real("protocol-5.pkl"));
        let same = changed(&difference, "same");
        assert_eq!(same, ["coef_", "turned", "when", "nodes", "mask", "mask.mask"], "{protocol}: {difference}");
    }
}

#[test]
fn buffers_outside_of_a_pickle_are_not_read() {
    let file = real("out-of-band.pkl");
    insta::assert_snapshot!(inspect(&file), @r"
    exit 0
    --- stdout
    m  pickle, 138 B
      tensors     1
      parameters  6
      types       f64 48 B
      protocol    5
      globals     numpy._core.numeric._frombuffer, numpy.dtype

    tensor  type  shape   parameters  bytes
    w       f64   [2, 3]           6   48 B
    --- stderr
    note: the values of 1 tensor are not read: they are kept outside of the file, in buffers of protocol 5
    ");
    assert_eq!(changed(&diff(&file, &file), "unread"), ["w"]);
}

#[test]
fn ordered_dicts_of_python_2() {
    insta::assert_snapshot!(inspect(&real("python-2-protocol-0.pkl")), @r"
    exit 0
    --- stdout
    m  pickle, 24.3 kB
      tensors     3
      parameters  905
      types       f32 16 B, f64 7.2 kB
      protocol    0
      object      collections.OrderedDict
      globals     collections.OrderedDict, numpy.core.multiarray._reconstruct, numpy.dtype, numpy.ndarray

    tensor   type  shape   parameters   bytes
    layer.w  f32   [2, 2]           4    16 B
    layer.b  f64   [1]              1     8 B
    long     f64   [900]          900  7.2 kB
    ");
    let mut moved = real("python-2-protocol-2.pkl");
    assert_eq!(changed(&diff(&real("python-2-protocol-0.pkl"), &moved), "same").len(), 3);
    let end = moved.len() - 10;
    moved[end] ^= 1;
    assert_eq!(changed(&diff(&real("python-2-protocol-0.pkl"), &moved), "changed"), ["long"]);
}

/// A Python value beside the arrays.
#[test]
fn a_setting_that_changed_is_not_the_same() {
    let old = real("protocol-2.pkl");
    let mut new = old.clone();
    let at = old.windows(7).position(|w| w == b"n_iter_").unwrap();
    let place = at + old[at..].windows(2).position(|w| w == [b'K', 3]).unwrap() + 1;
    new[place] = 4;
    let difference = diff(&old, &new);
    assert_eq!((changed(&difference, "same").len(), &difference["rest"]), (6, &Json::from("changed")));
}

#[test]
fn arrays_of_objects_are_pickles() {
    let file = real("objects.npz");
    insta::assert_snapshot!(inspect(&file), @r"
    exit 0
    --- stdout
    m  NumPy arrays, 775 B
      tensors     3
      parameters  7
      types       f32 8 B, f64 24 B, object 16 B
      arrays      2

    tensor    type    shape  parameters  bytes
    w         f32     [2]             2    8 B
    labels.1  f64     [3]             3   24 B
    labels    object  [2]             2   16 B
    --- stderr
    note: `labels` is an array of Python objects, a pickle: NumPy loads it only with allow_pickle=True
    warning: loading m in Python would reach for posix.system: load it only if you trust who made it
    ");
    assert_eq!(changed(&diff(&file, &file), "same"), ["w", "labels.1", "labels"]);
    let array = npy("<f4", false, "(1,)", &[0; 4]);
    let evil = npy("|O", false, "(1,)", b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.");
    let other = npy("|O", false, "(1,)", b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.");
    let damaged = npy("|O", false, "(1,)", b"\x80\x02cos\nsys");
    for deflate in [false, true] {
        let archive = |objects: &[u8]| zip(&[("o.npy", objects, deflate), ("w.npy", &array, deflate)]);
        let shown = inspect(&archive(&evil));
        assert!(shown.contains("would reach for os.system") && shown.contains("w       f32"), "{shown}");
        let shown = inspect(&archive(&damaged));
        assert!(shown.contains("the damaged pickle of `o`") && shown.contains("w       f32"), "{shown}");
        assert_eq!(changed(&diff(&archive(&evil), &archive(&evil)), "same"), ["o", "w"]);
        assert_eq!(changed(&diff(&archive(&evil), &archive(&other)), "unread"), ["o"]);
    }
}

#[test]
fn structured_and_long_types() {
    let file = real("types.npz");
    insta::assert_snapshot!(inspect(&file), @r"
    exit 0
    --- stdout
    m  NumPy arrays, 1.9 kB
      tensors     7
      parameters  16
      types       datetime64[ns] 24 B, f128 48 B, raw[3] 6 B, struct{a: u8, raw[7], b: f64} 32 B, struct{m: >f32 [2, 2]} 32 B, text[1] 8 B, timedelta64[[TIME]] 16 B
      arrays      7

    tensor  type                           shape  parameters  bytes
    long    f128                           [3]             3   48 B
    when    datetime64[ns]                 [3]             3   24 B
    span    timedelta64[[TIME]]               [2]             2   16 B
    words   text[1]                        [2]             2    8 B
    raw     raw[3]                         [2]             2    6 B
    nodes   struct{a: u8, raw[7], b: f64}  [2]             2   32 B
    sub     struct{m: >f32 [2, 2]}         [2]             2   32 B
    ");
    let array = |descr: &str, values: &[u8]| {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
    };
    let of = |old: &[u8], new: &[u8]| diff(old, new)["tensors"][0]["change"].as_str().unwrap().to_string();
    let padded = "[('a', '|u1'), ('', '|V3'), ('b', '<i4')]";
    let base = array(padded, &[1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(of(&base, &array(padded, &[1, 9, 9, 9, 2, 0, 0, 0])), "same");
    assert_eq!(of(&base, &array(padded, &[1, 0, 0, 0, 3, 0, 0, 0])), "changed");
    let integer = array("[('a', '<i4')]", &[0; 4]);
    assert_eq!(of(&integer, &array("[('a', '<f4')]", &[0; 4])), "retyped");
    let (little, big) = (array("'<U1'", &[65, 0, 0, 0]), array("'>U1'", &[0, 0, 0, 65]));
    assert_eq!(of(&little, &big), "same");
    let half = array("'<f2'", &[0; 2]);
    assert_eq!(of(&half, &array("'<f16'", &[0; 16])), "retyped");
}

#[test]
fn keras_layers_that_hold_code_are_named() {
    let config = r#"{"class_name": "Sequential", "module": "keras", "config": {"name": "s", "layers": [
        {"class_name": "Dense", "module": "keras.layers", "config": {"name": "d", "activation": "relu"}},
        {"class_name": "TimeDistributed", "module": "keras.layers", "config": {"name": "each", "layer":
            {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "twice", "function":
                {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": null, "closure": null}}}}}},
        {"class_name": "Popen", "module": "subprocess", "config": {"name": "p"}}]}}"#;
    let file = |config: &str| zip(&[("metadata.json", b"{}", false), ("config.json", config.as_bytes(), true)]);
    insta::assert_snapshot!(inspect(&file(config)), @r"
    exit 0
    --- stdout
    m  Keras, 493 B
      class   Sequential
      name    s
      layers  3
    --- stderr
    note: it has no model.weights.h5: its weights are in several files, which are not read
    warning: loading m in Python would reach for subprocess.Popen, the Python code of the layer `twice`: load it only if you trust who made it
    ");
    let plain = config.replace("Lambda", "Dense").replace("__lambda__", "Zeros").replace("subprocess", "keras.layers");
    assert!(!inspect(&file(&plain)).contains("warning"));
    assert!(inspect(&hdf5("model_config", "{\"class_name\": \"Lambda\"}")).contains("code of the layer"));
}

#[test]
fn skops_names_its_types() {
    insta::assert_snapshot!(inspect(&real("models.skops")), @r"
    exit 0
    --- stdout
    m  skops, 12.2 kB
      tensors        5
      parameters     8
      types          f64 40 B, i32 4 B, i64 16 B
      protocol       2
      skops version  0.16.0
      object         builtins.dict

    tensor        type  shape   parameters  bytes
    m.classes_    i64   [2]              2   16 B
    m.n_iter_     i32   [1]              1    4 B
    m.coef_       f64   [1, 2]           2   16 B
    m.intercept_  f64   [1]              1    8 B
    own.w         f64   [2]              2   16 B
    --- stderr
    warning: loading m in Python would reach for shop.models.Own: load it only if you trust who made it
    ");
    assert_eq!(changed(&diff(&real("models.skops"), &real("models.skops")), "same").len(), 5);
}

#[test]
fn layers_of_keras() {
    insta::assert_snapshot!(inspect(&real("small.keras")), @r"
    exit 0
    --- stdout
    m  Keras, 25.0 kB
      tensors           10
      parameters        37
      types             f32 144 B, i64 8 B
      keras version     3.15.1
      saved             2026-12-01@01:24:21
      class             Sequential
      name              small
      layers            5
      weights           model.weights.h5, 20400 bytes
      model parameters  35
      trainable         29
      not trainable     6

    layer                class               type     input   parameters  trainable
    input_layer          InputLayer          float32  [?, 4]           0          0
    hidden               Dense               float32  [?, 4]          15         15
    batch_normalization  BatchNormalization  float32  [?, 3]          12          6
    dropout              Dropout             float32  –                0          0
    logits               Dense               float32  [?, 3]           8          8

    tensor                             type  shape   parameters  bytes
    layers/batch_normalization/vars/0  f32   [3]              3   12 B
    layers/batch_normalization/vars/1  f32   [3]              3   12 B
    layers/batch_normalization/vars/2  f32   [3]              3   12 B
    layers/batch_normalization/vars/3  f32   [3]              3   12 B
    layers/dense/vars/0                f32   [4, 3]          12   48 B
    layers/dense/vars/1                f32   [3]              3   12 B
    layers/dense_1/vars/0              f32   [3, 2]           6   24 B
    layers/dense_1/vars/1              f32   [2]              2    8 B
    optimizer/vars/0                   i64   []               1    8 B
    optimizer/vars/1                   f32   []               1    4 B
    ");
    insta::assert_snapshot!(inspect(&real("small.h5")), @r"
    exit 0
    --- stdout
    m  Keras, 29.3 kB
      tensors           10
      parameters        37
      types             f32 144 B, i64 8 B
      HDF5 superblock   0
      keras version     3.15.1
      class             Sequential
      name              small
      layers            5
      model parameters  35
      trainable         29
      not trainable     6

    layer                  class               type     input   parameters  trainable
    input_layer_1          InputLayer          float32  [?, 4]           0          0
    hidden                 Dense               float32  –               15         15
    batch_normalization_1  BatchNormalization  float32  –               12          6
    dropout_1              Dropout             float32  –                0          0
    logits                 Dense               float32  –                8          8

    tensor                                                                           type  shape   parameters  bytes
    model_weights/batch_normalization_1/small/batch_normalization_1/beta             f32   [3]              3   12 B
    model_weights/batch_normalization_1/small/batch_normalization_1/gamma            f32   [3]              3   12 B
    model_weights/batch_normalization_1/small/batch_normalization_1/moving_mean      f32   [3]              3   12 B
    model_weights/batch_normalization_1/small/batch_normalization_1/moving_variance  f32   [3]              3   12 B
    model_weights/hidden/small/hidden/bias                                           f32   [3]              3   12 B
    model_weights/hidden/small/hidden/kernel                                         f32   [4, 3]          12   48 B
    model_weights/logits/small/logits/bias                                           f32   [2]              2    8 B
    model_weights/logits/small/logits/kernel                                         f32   [3, 2]           6   24 B
    optimizer_weights/sgd_1/iteration                                                i64   []               1    8 B
    optimizer_weights/sgd_1/learning_rate                                            f32   []               1    4 B
    ");
    let sandbox = Sandbox::without_git();
    sandbox.write("m", real("small.keras"));
    let out = sandbox.run(&["model", "inspect", "m", "--json"]);
    let told: Json = serde_json::from_str(&out.stdout).unwrap();
    let want = serde_json::json!({
        "name": "batch_normalization", "class": "BatchNormalization", "dtype": "float32", "input": "[?, 3]",
        "parameters": 12, "trainable": 6,
    });
    assert_eq!(told["layers"][2], want);
}

/// A weight moves, and an argument of a layer changes.
#[test]
fn keras_models_are_compared() {
    let old = real("small.keras");
    let mut new = old.clone();
    let ones = f32s(&[1.0; 3]);
    let at = new.windows(ones.len()).position(|w| w == ones).unwrap();
    new[at + 4..at + 8].copy_from_slice(&3f32.to_le_bytes());
    let difference = diff(&old, &new);
    assert_eq!(changed(&difference, "changed"), ["layers/batch_normalization/vars/0"]);
    assert_eq!(difference["rest"], "same");
    let text = b"\"rate\": 0.1";
    let at = new.windows(text.len()).position(|w| w == text).unwrap();
    new[at + text.len() - 1] = b'2';
    assert_eq!(diff(&old, &new)["rest"], "changed");
}

#[test]
fn trees_of_hdf5() {
    insta::assert_snapshot!(inspect(&real("new-tree.h5")), @r"
    exit 0
    --- stdout
    m  HDF5, 6.7 kB
      tensors          4
      parameters       212
      types            f16 12 B, f64 48 B, i32 800 B
      HDF5 superblock  3

    tensor      type  shape   parameters  bytes
    doubles     f64   [2, 3]           6   48 B
    group/many  i32   [100]          100  400 B
    group/one   i32   [100]          100  400 B
    group/half  f16   [3, 2]           6   12 B
    --- stderr
    note: `again` is another name of an object that is listed already
    note: the values of 1 tensor are not read: the index of their chunks is of a kind that is not read
    ");
    let sandbox = Sandbox::without_git();
    sandbox.write("m", real("old-tree.h5"));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "inspect", "m", "--tensors"])), @r"
    exit 0
    --- stdout
    m  HDF5, 21.2 kB
      tensors          29
      parameters       1,043
      types            bool 2 B, bytes[3] 3 B, c128 16 B, f32 96 B, f64 88 B, i32 4.0 kB, struct{a: f32, b: >i64 [2]} 60 B, text 16 B
      HDF5 superblock  0
      purpose          a test
      rate             0.5

    tensor           type                         shape     parameters   bytes
    doubles          f64                          [2, 3]             6    48 B
    group/big        f64                          [5]                5    40 B
    group/bool       bool                         [2]                2     2 B
    group/bytes      bytes[3]                     [1]                1     3 B
    group/chunked    i32                          [50, 20]       1,000  4.0 kB
    group/complex    c128                         [1]                1    16 B
    group/n0         f32                          []                 1     4 B
    group/n1         f32                          []                 1     4 B
    group/n10        f32                          []                 1     4 B
    group/n11        f32                          []                 1     4 B
    group/n12        f32                          []                 1     4 B
    group/n13        f32                          []                 1     4 B
    group/n14        f32                          []                 1     4 B
    group/n15        f32                          []                 1     4 B
    group/n16        f32                          []                 1     4 B
    group/n17        f32                          []                 1     4 B
    group/n18        f32                          []                 1     4 B
    group/n19        f32                          []                 1     4 B
    group/n2         f32                          []                 1     4 B
    group/n3         f32                          []                 1     4 B
    group/n4         f32                          []                 1     4 B
    group/n5         f32                          []                 1     4 B
    group/n6         f32                          []                 1     4 B
    group/n7         f32                          []                 1     4 B
    group/n8         f32                          []                 1     4 B
    group/n9         f32                          []                 1     4 B
    group/text       text                         []                 1    16 B
    group/unwritten  f32                          [4]                4    16 B
    records          struct{a: f32, b: >i64 [2]}  [3]                3    60 B
    --- stderr
    note: the values of 1 tensor are not read: they are texts of any length
    note: the values of 1 tensor are not read: they were never written
    ");
    let same = diff(&real("old-tree.h5"), &real("old-tree.h5"));
    assert_eq!(changed(&same, "unread"), ["group/text", "group/unwritten"]);
    assert_eq!(same["counts"]["same"], 27);
}

/// Values in compressed chunks are compared as numbers.
#[test]
fn chunks_of_hdf5() {
    let sandbox = Sandbox::without_git();
    let rows: Vec<u8> = (0..1000i32).flat_map(|i| (if i == 777 { 1777 } else { i }).to_le_bytes()).collect();
    sandbox.write("a", real("old-tree.h5"));
    sandbox.write("b", zip(&[("group/chunked.npy", &npy("<i4", false, "(50, 20)", &rows), true)]));
    let out = sandbox.run(&["model", "diff", "a", "b"]);
    let row = out.stdout.lines().find(|line| line.starts_with("group/chunked")).unwrap_or_default();
    assert!(row.contains("changed  1000.0000"), "{out}");
}

#[test]
fn sparse_matrices() {
    insta::assert_snapshot!(inspect(&real("csr.npz")), @r"
    exit 0
    --- stdout
    m  SciPy sparse matrix, 1.6 kB
      tensors        3
      parameters     151
      types          f64 480 B, i32 364 B
      layout         csr
      shape          [30, 20]
      type           f64
      stored values  60

    tensor   type  shape  parameters  bytes
    indices  i32   [60]           60  240 B
    indptr   i32   [31]           31  124 B
    data     f64   [60]           60  480 B
    ");
    let same = diff(&real("csr.npz"), &real("dia.npz"));
    assert_eq!(changed(&same, "same"), ["matrix"]);
    let file = |values: &[f64], columns: &[u8], format: &str, lines: &[u8]| {
        let ints = |values: &[u8]| values.iter().flat_map(|v| i32::from(*v).to_le_bytes()).collect::<Vec<u8>>();
        let array = |descr: &str, count: usize, bytes: Vec<u8>| npy(descr, false, &format!("({count},)"), &bytes);
        let shape = [2i64, 3].iter().flat_map(|d| d.to_le_bytes()).collect();
        zip(&[
            ("data.npy", &array("<f8", values.len(), f64s(values)), true),
            ("indices.npy", &array("<i4", columns.len(), ints(columns)), true),
            ("indptr.npy", &array("<i4", lines.len(), ints(lines)), false),
            ("format.npy", &npy("|S3", false, "()", format.as_bytes()), false),
            ("shape.npy", &array("<i8", 2, shape), false),
        ])
    };
    let base = file(&[1.0, 2.0], &[0, 2], "csr", &[0, 1, 2]);
    // A value at another position has moved by itself; a stored zero is nothing.
    let moved = diff(&base, &file(&[1.0, 2.0], &[1, 2], "csr", &[0, 1, 2]));
    assert_eq!((changed(&moved, "changed"), &moved["moved"]["max"]), (vec!["matrix".into()], &serde_json::json!(1.0)));
    let zero = file(&[1.0, 0.0, 2.0], &[0, 1, 2], "csr", &[0, 2, 3]);
    assert_eq!(changed(&diff(&base, &zero), "same"), ["matrix"]);
    let wrong = diff(&base, &file(&[1.0, 2.0], &[0, 3], "csr", &[0, 1, 2]));
    assert_eq!(changed(&wrong, "unread"), ["matrix"]);
    let short = inspect(&file(&[1.0, 2.0], &[0, 2], "csr", &[0, 2]));
    assert!(short.starts_with("exit 2") && short.contains("`indptr` has the shape [2] and not [3]"), "{short}");
    // Arrays that only have such names are arrays.
    let plain = inspect(&file(&[1.0, 2.0], &[0, 2], "xyz", &[0, 2]));
    assert!(plain.contains("NumPy arrays"), "{plain}");
}
