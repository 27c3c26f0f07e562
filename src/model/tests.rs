//! Hostile files of all formats: truncated at every byte, changed at random, with false numbers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::diff::{self, Values};
use super::folder::{FolderFile, ModelFolder};
use super::formats::{self, Contents, OtherContent};
use super::source::Source;
use super::tensor::Data;
use crate::error::Result;
use crate::event::Silent;

#[path = "../../tests/e2e/model/files.rs"]
mod files;

use files::*;

fn read(bytes: &[u8]) -> Result<Contents> {
    formats::read(&Source::of_bytes(bytes.to_vec(), "model"))
}

/// Files that the libraries of the formats wrote.
fn real() -> Vec<(&'static str, Vec<u8>)> {
    macro_rules! files {
        ($($format:literal $name:literal),* $(,)?) => {
            vec![$(($format, include_bytes!(concat!("../../tests/e2e/model/real/", $name)).to_vec())),*]
        };
    }
    files![
        "onnx" "branches-a.onnx",
        "onnx" "branches-b.onnx",
        "scipy-sparse" "csr.npz",
        "scipy-sparse" "dia.npz",
        "hdf5" "new-tree.h5",
        "hdf5" "old-tree.h5",
        "keras" "small.h5",
        "keras" "small.keras",
        "skops" "models.skops",
        "npz" "objects.npz",
        "npz" "types.npz",
        "pickle" "out-of-band.pkl",
        "pickle" "protocol-0.pkl",
        "pickle" "protocol-2.pkl",
        "pickle" "protocol-5.pkl",
        "pickle" "python-2-protocol-0.pkl",
        "pickle" "python-2-protocol-2.pkl",
    ]
}

/// One sound file of each format.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let array = npy("<f4", false, "(2, 3)", &f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let turned = npy(">f8", true, "(2, 2)", &f64s(&[1.0, 2.0, 3.0, 4.0]));
    let weights = || ("w", "F32", &[2u64, 2][..], f32s(&[1.0, 2.0, 3.0, 4.0]));
    vec![
        ("safetensors", safetensors(&[weights(), ("h", "BF16", &[3], vec![0; 6])], &[("format", "pt")])),
        ("npy", array.clone()),
        ("npy", turned.clone()),
        ("npz", zip(&[("a.npy", &array, false), ("b.npy", &turned, false)])),
        ("npz", zip(&[("a.npy", &array, true)])),
        ("torch", torch(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 2.0, 3.0])),
        ("torch-legacy", torch_old(&[1.0, 2.0, 3.0])),
        ("onnx", onnx(&[onnx_tensor("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])),
        ("gguf", gguf()),
        ("joblib", joblib(&[0.5, -0.5])),
        ("keras", hdf5("keras_version", "3.1")),
        ("hdf5", hdf5("purpose", "a test")),
        ("keras", zip(&[("metadata.json", b"{\"keras_version\": \"3.1\"}", true), ("config.json", b"{}", false)])),
    ]
}

#[test]
fn each_is_known_by_its_content() {
    for (format, bytes) in samples().into_iter().chain(real()) {
        assert_eq!(read(&bytes).unwrap().format.word(), format);
    }
    for bytes in [&b""[..], b"hello", b"{\"a\": {\"b\": 1}}", b"PK\x03\x04", b"PK\x05\x06", b"# nothing\n", &[0; 600]] {
        let error = read(bytes).err().unwrap();
        assert_eq!(error.kind.exit_code(), 2, "{error}");
    }
}

#[test]
fn cut_short_anywhere_it_is_refused() {
    for (format, bytes) in samples() {
        let mut accepted = Vec::new();
        for cut in 0..bytes.len() {
            match read(&bytes[..cut]) {
                Ok(_) => accepted.push(cut),
                Err(error) => assert_eq!(error.kind.exit_code(), 2, "{format} cut at {cut}: {error}"),
            }
        }
        // A truncated protocol buffer may be valid.
        let most = if format == "onnx" { 3 } else { 0 };
        assert!(accepted.len() <= most, "{format} was accepted when cut at {accepted:?}");
    }
}

/// A random generator that is the same everywhere (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => bytes.insert(at, self.below(256) as u8),
                3 => _ = bytes.remove(at),
                4 => {
                    // A large number somewhere.
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill(if self.below(2) == 0 { 0xff } else { 0x7f });
                }
                _ => {
                    let (from, length) = (self.below(bytes.len()), 1 + self.below(20));
                    let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
    }
}

#[test]
fn changed_at_random_it_is_an_answer_or_an_error() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut answered) = (0, 0);
    for (format, bytes) in samples().into_iter().chain(real()) {
        let sound = read(&bytes).unwrap();
        for _ in 0..600 {
            let mut bad = bytes.clone();
            random.mutate(&mut bad);
            let compared = read(&bad).and_then(|contents| {
                assert!(contents.tensors.len() < 100, "{format}");
                diff::compare(&sound, &contents, &Silent)
            });
            match compared {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert!([2, 3].contains(&error.kind.exit_code()), "{format}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && answered > 1000, "refused {refused}, answered {answered}");
}

fn why(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(contents) => panic!("accepted as {}", contents.format.title()),
        Err(error) => {
            assert_eq!(error.kind.exit_code(), 2, "{error}");
            error.to_string()
        }
    }
}

#[test]
fn safetensors_that_lie() {
    let entry = |shape: &str, offsets: &str| {
        with_header(&format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}"), &[0; 16])
    };
    let deep = format!("{{\"w\":{}", "[".repeat(100_000));
    let huge = [&u64::MAX.to_le_bytes()[..], b"{\"w\":{}}"].concat();
    let beyond = [&1000u64.to_le_bytes()[..], b"{\"w\":{}}"].concat();
    let two = |a: &str, b: &str| {
        let tensor = |o: &str| format!("{{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":{o}}}");
        with_header(&format!("{{\"a\":{},\"b\":{}}}", tensor(a), tensor(b)), &[0; 16])
    };
    for (bytes, want) in [
        (huge, "claims 18446744073709551615 bytes"),
        (beyond, "declares a wrong size"),
        (with_header(&deep, &[]), "recursion limit"),
        (with_header("{\"w\":7}", &[]), "its header is wrong"),
        (with_header("{\"w\"\u{7}", &[]), "its header is wrong"),
        (entry("[9223372036854775808]", "[0,16]"), "its header is wrong"),
        (entry("[4611686018427387904,4]", "[0,0]"), "its header is wrong"),
        (entry("[4]", "[0,18446744073709551615]"), "its header is wrong"),
        (entry("[4]", "[4,20]"), "its header is wrong"),
        (entry("[3]", "[0,12]"), "declares 12 bytes"),
        (entry("[5]", "[0,20]"), "declares 20 bytes"),
        (two("[0,8]", "[4,12]"), "its header is wrong"),
        (two("[8,16]", "[8,16]"), "its header is wrong"),
    ] {
        let why = why(&bytes);
        assert!(why.contains(want) && why.contains("not a valid safetensors file"), "{want}: {why}");
    }
    assert!(read(&two("[8,16]", "[0,8]")).is_ok(), "the order of the header does not matter");
}

#[test]
fn archives_that_lie() {
    let array = npy("<f4", false, "(1,)", &[0; 4]);
    let sound = zip(&[("a.npy", &array, false), ("b.npy", &array, false)]);
    let directory = sound.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let end = sound.len() - 22;
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = sound.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let second = directory + 46 + 5;
    let bomb = zip(&[("m/data.pkl", &vec![b'('; 65 << 20], true)]);
    assert!(bomb.len() < 1 << 20);
    for (bytes, want) in [
        (changed(end + 10, &[0xff; 2]), "directory of the archive is damaged"),
        (changed(end + 16, &[0xff; 4]), "is outside of the archive"),
        (changed(second + 42, &[0; 4]), "overlap, as in a zip bomb"),
        (changed(directory + 42, &[0xff, 0xff, 0, 0]), "overlap, as in a zip bomb"),
        (changed(directory + 20, &[0xff; 8]), "overlap, as in a zip bomb"),
        (zip(&[("a.npy", &array, false), ("a.npy", &array, false)]), "`a.npy` occurs twice"),
        (zip(&[("readme", b"hello", false)]), "of no model that is known"),
        (bomb, "inflates to more than"),
        (
            zip(&[("metadata.json", b"{}", false), ("config.json", "[".repeat(9999).as_bytes(), true)]),
            "recursion limit",
        ),
        (zip(&[("a.npy", &npy("<f8", false, "(9,)", &[0; 8]), false)]), "needs 72 bytes by its shape and has 8"),
    ] {
        let why = why(&bytes);
        assert!(why.contains(want), "{want}: {why}");
    }
}

#[test]
fn checkpoints_that_lie() {
    let file = |held: i64, offset: i64, shape: &[i64], strides: &[i64]| {
        let view = View { name: "w", class: "FloatStorage", key: "0", held, offset, shape, strides };
        zip(&[("m/data.pkl", &state_dict(&[view]), false), ("m/data/0", &f32s(&[1.0; 6]), false)])
    };
    assert!(read(&file(6, 0, &[2, 3], &[3, 1])).is_ok());
    for (bytes, want) in [
        (file(6, 0, &[7], &[1]), "beyond its storage of 6 elements"),
        (file(6, 5, &[2], &[1]), "beyond its storage"),
        (file(6, 0, &[2, 2], &[5, 1]), "beyond its storage"),
        (file(6, i64::MAX, &[2], &[1]), "beyond its storage"),
        (file(6, 0, &[i64::MAX, i64::MAX], &[0, 0]), "is absurd"),
        (file(6, 0, &[2], &[i64::MAX]), "beyond its storage"),
        (file(i64::MAX, 0, &[2], &[1]), "less than it claims"),
        (file(6, 0, &[2, 3], &[1]), "not as many strides"),
        (zip(&[("m/data.pkl", &state_dict(&[]), false), ("m/data.pkl/x", b"", false)]), ""),
        (zip(&[("m/data.pkl", b"\x80\x02}", false)]), "cut short"),
        (zip(&[("m/data.pkl", b"\x80\x02]2", false)]), "cut short"),
    ] {
        if want.is_empty() {
            assert!(read(&bytes).unwrap().tensors.is_empty());
            continue;
        }
        let why = why(&bytes);
        assert!(why.contains(want), "{want}: {why}");
    }
    let mut old = torch_old(&[1.0, 2.0]);
    let at = old.len() - 16;
    old[at] = 3;
    assert!(why(&old).contains("another length than its description"));
}

#[test]
fn other_formats_that_lie() {
    let graph = |dims: &[u64]| onnx(&[onnx_tensor("w", dims, &[1.0, 2.0])]);
    let mut counts = gguf();
    counts[8..16].fill(0xff);
    let mut version = gguf();
    version[4] = 9;
    let mut name = gguf();
    name[24..32].fill(0xff);
    for (bytes, want) in [
        (graph(&[3]), "needs 12 bytes by its shape and has 8"),
        (graph(&[1 << 63]), "is absurd"),
        (graph(&[u64::MAX]), "is absurd"),
        (graph(&[1 << 40, 1 << 40]), "is absurd"),
        (graph(&[1; 2000]), "too many dimensions"),
        (counts, "claims 18446744073709551615 tensors"),
        (version, "version 9"),
        (name, "claims 18446744073709551615 bytes"),
        (b"\x80\x02]q\x00h\x01.".to_vec(), "never wrote"),
        (b"\x78\x9c\x00\x00".to_vec(), "damaged or cut short"),
    ] {
        let why = why(&bytes);
        assert!(why.contains(want), "{want}: {why}");
    }
}

/// Graphs that are nested too deep are noted, and not an error.
#[test]
fn graphs_that_are_nested_too_deep() {
    let mut graph = onnx_graph(&[], &[onnx_tensor("w", &[1], &[1.0])]);
    for _ in 0..200 {
        graph = onnx_graph(&[onnx_node("If", &[onnx_attribute("then_branch", 6, &graph)])], &[]);
    }
    let contents = read(&onnx_model(&graph)).unwrap();
    assert!(
        contents.tensors.is_empty() && contents.notes[0].contains("nested more than 30 deep"),
        "{:?}",
        contents.notes
    );
    assert_eq!(contents.rest, OtherContent::Unread);
}

/// Lists of numbers, one field each, beyond the limit for decoding.
#[test]
fn lists_that_are_too_long() {
    let list = [0x38, 1].repeat(9_000_000);
    let tensor = [vec![0x08], vec![0xc0, 0xa8, 0xa5, 0x04], vec![0x10, 7, 0x42, 1, b'w'], list].concat();
    let contents = read(&onnx(&[tensor])).unwrap();
    assert!(matches!(contents.tensors[0].data, Data::Elsewhere(_)));
    assert!(contents.notes[0].contains("too long"), "{:?}", contents.notes);
}

/// A pickle whose object doubles at each step, and one that is nested ever deeper: both are walked once.
#[test]
fn pickle_bombs_are_walked_once() {
    let doubling = [b"\x80\x02]".to_vec(), b"2\x86".repeat(500_000), b".".to_vec()].concat();
    assert!(read(&doubling).unwrap().tensors.is_empty());
    let deep = [b"\x80\x02N".to_vec(), b"\x85".repeat(500_000), b".".to_vec()].concat();
    assert!(read(&deep).unwrap().tensors.is_empty());
    // Long names above many things: their paths together would take gigabytes.
    let mut paths = b"\x80\x02}".to_vec();
    for _ in 0..50 {
        paths.extend([b"}X", &200u32.to_le_bytes()[..], &[b'n'; 200]].concat());
    }
    paths.extend(b"]q\x00(");
    paths.extend(b")".repeat(1_000_000));
    paths.extend([b"e".to_vec(), b"s".repeat(50), b".".to_vec()].concat());
    assert!(why(&paths).contains("too many, or nested too deep"));
    let many = [b"\x80\x02(".to_vec(), b"N".repeat(2_000_001), b"t.".to_vec()].concat();
    assert!(why(&many).contains("more than 2000000 objects"));
}

#[test]
fn values_are_compared_wherever_they_lie() {
    let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let moved = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0];
    let columns = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
    let big: Vec<u8> = rows.iter().flat_map(|v: &f32| v.to_be_bytes()).collect();
    let array =
        |bytes: &[u8], descr: &str, fortran| zip(&[("fc.weight.npy", &npy(descr, fortran, "(2, 3)", bytes), true)]);
    let stored =
        |bytes: &[u8], descr: &str, fortran| zip(&[("fc.weight.npy", &npy(descr, fortran, "(2, 3)", bytes), false)]);
    let base = torch(&rows, &[7.0, 8.0, 9.0]);
    for (name, bytes, max) in [
        ("deflated", array(&f32s(&rows), "<f4", false), None),
        ("deflated and moved", array(&f32s(&moved), "<f4", false), Some(2.0)),
        ("big-endian", stored(&big, ">f4", false), None),
        ("big-endian and deflated", array(&big, ">f4", false), None),
        ("Fortran order", stored(&f32s(&columns), "<f4", true), None),
        ("Fortran order, moved", stored(&f32s(&[1.0, 4.0, 2.0, 5.0, 3.0, 8.0]), "<f4", true), Some(2.0)),
        ("safetensors", safetensors(&[("fc.weight", "F32", &[2, 3], f32s(&moved))], &[]), Some(2.0)),
        ("ONNX", onnx(&[onnx_tensor("fc.weight", &[2, 3], &moved)]), Some(2.0)),
        ("wider", stored(&f64s(&moved.map(f64::from)), "<f8", false), Some(2.0)),
    ] {
        let difference = diff::compare(&read(&base).unwrap(), &read(&bytes).unwrap(), &Silent).unwrap();
        let row = difference.rows.iter().find(|r| r.name == "fc.weight").unwrap();
        match (&row.values, max) {
            (Values::Same, None) => {}
            (Values::Moved(m), Some(max)) => {
                assert_eq!((m.max, m.count), (max, 6), "{name}");
                assert!((m.relative_l2.unwrap() - 2.0 / 91f64.sqrt()).abs() < 1e-12, "{name}");
                assert!((m.cosine.unwrap() - 103.0 / (91f64 * 119.0).sqrt()).abs() < 1e-12, "{name}");
            }
            (values, _) => panic!("{name}: {values:?}"),
        }
    }
}

/// Equal chunks are part of the norm as well, and the sums do not depend on how the work was split.
#[test]
fn a_tensor_of_many_pieces() {
    let n = 300_000;
    let old: Vec<f32> = (0..n).map(|i| (i % 97) as f32 - 40.0).collect();
    let mut new = old.clone();
    new[250_000] += 4.0;
    new[7] = f32::NAN;
    let file = |v: &[f32]| safetensors(&[("w", "F32", &[n as u64], f32s(v))], &[]);
    let difference = diff::compare(&read(&file(&old)).unwrap(), &read(&file(&new)).unwrap(), &Silent).unwrap();
    let Values::Moved(m) = &difference.rows[0].values else { panic!("it moved") };
    let norm = old.iter().enumerate().filter(|(i, _)| *i != 7).map(|(_, v)| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    assert_eq!((m.max, m.odd, m.odd_changed, m.count), (4.0, (0, 1), 1, n as u64));
    assert!((m.relative_l2.unwrap() - 4.0 / norm).abs() < 1e-15);
    assert_eq!(difference.total.unwrap(), *m);
}

/// `torch.jit.script`, as PyTorch 2.13 saves it.
#[test]
fn torchscript_of_pytorch_itself() {
    let [a, b] =
        [&include_bytes!("../../tests/e2e/model/linear-a.pt")[..], include_bytes!("../../tests/e2e/model/linear-b.pt")];
    let (a, b) = (read(a).unwrap(), read(b).unwrap());
    assert_eq!(a.format.word(), "torchscript");
    let names: Vec<_> = a.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
    assert_eq!(names, [("weight", &[2, 3][..]), ("bias", &[2])]);
    assert!(a.calls.is_empty(), "{:?}", a.calls);
    let total = diff::compare(&a, &b, &Silent).unwrap().total.unwrap();
    assert_eq!((total.max, total.count), (0.25, 8));
}

/// Model files of all formats together: parts of one occur in another.
#[test]
fn fuzz_models() {
    let corpus = samples().into_iter().chain(real()).map(|(_, bytes)| bytes).collect();
    crate::fuzz::fuzz("models", corpus, None, |bytes| match read(bytes) {
        Ok(contents) => {
            // A model compared with itself is equal, or was not read.
            let same = diff::compare(&contents, &contents, &Silent);
            for row in same.iter().flat_map(|difference| &difference.rows) {
                assert!(matches!(row.values, Values::Same | Values::Unread(_)), "{row:?}");
            }
            let what = contents.tensors.first().map_or("none", |_| "some");
            format!("{} {what} {}", contents.format.word(), contents.notes.join(" "))
        }
        Err(error) => {
            assert_eq!(error.kind.exit_code(), 2, "{error}");
            error.to_string()
        }
    });
}

#[test]
fn trees_that_lie() {
    let info = hdf5_message(2, &[&[0, 0][..], &[0xff; 16]].concat());
    let linked = |name: &str, address: u64| hdf5_object(&[info.clone(), hdf5_link(name, address)]);
    let dataset = |shape: &[u64], address: u64, bytes: u64| {
        let root = linked("w", 48 + linked("w", 0).len() as u64);
        hdf5_file(&[root, hdf5_dataset(shape, address, bytes), vec![0; 64]])
    };
    // Two datasets with the same values: a small file could claim any number of bytes.
    let two = |a: u64, b: u64| {
        let root = |a, b| hdf5_object(&[hdf5_link("a", a), hdf5_link("b", b)]);
        let (first, length) = (48 + root(0, 0).len() as u64, hdf5_dataset(&[2], 0, 8).len() as u64);
        let root = root(first, first + length);
        hdf5_file(&[root, hdf5_dataset(&[2], a, 8), hdf5_dataset(&[2], b, 8), vec![0; 64]])
    };
    let end = two(0, 0).len() as u64 - 64;
    assert!(read(&two(end, end + 8)).is_ok());
    // A group that has itself as a child is listed once.
    let circle = hdf5_file(&[linked("again", 48)]);
    assert!(read(&circle).unwrap().notes[0].contains("another name"));
    let forward = |name: &str| hdf5_file(&[linked(name, 1 << 40)]);
    let mut attribute = hdf5("a", "b");
    let at = attribute.windows(4).position(|w| w == [0x13, 0, 0, 0]).unwrap();
    attribute[at + 4..at + 8].fill(0xff);
    let mut size = hdf5("a", "b");
    size[54..58].fill(0xff);
    for (bytes, want) in [
        (two(end, end + 4), "datasets in it share their bytes"),
        (two(end, end), "datasets in it share their bytes"),
        (dataset(&[2], 1 << 50, 8), "declares a wrong size"),
        (dataset(&[3], 60, 8), "needs 12 bytes by its shape and has 8"),
        (dataset(&[1 << 62, 4], 60, 8), "is absurd"),
        (dataset(&[u64::MAX], 60, 8), "is absurd"),
        (forward("x"), "declares a wrong size"),
        (attribute, "an attribute in it is larger than its place"),
        (size, "declares a wrong size"),
        (hdf5_file(&[vec![9; 100]]), "unknown version 9"),
        (hdf5_file(&[b"OHDR\x07\x02".to_vec()]), "cut short"),
        (hdf5("model_config", "{"), "model_config is not valid JSON"),
    ] {
        let why = why(&bytes);
        assert!(why.contains(want), "{want}: {why}");
    }
    // A chain of groups: beyond a depth, it is noted.
    let length = linked("g", 0).len() as u64;
    let chain: Vec<Vec<u8>> = (1..300).map(|n| linked("g", 48 + n * length)).chain([linked("g", 48)]).collect();
    let contents = read(&hdf5_file(&chain)).unwrap();
    assert!(contents.notes[0].contains("more than 100 deep"), "{:?}", contents.notes);
    assert_eq!(contents.rest, OtherContent::Unread);
}

/// Folders in memory.
fn folders() -> Vec<(&'static str, BTreeMap<String, Vec<u8>>)> {
    macro_rules! module {
        ($($name:literal),*) => {
            vec![$(($name, include_bytes!(concat!("../../tests/e2e/model/real/module/", $name)).to_vec())),*]
        };
    }
    let module = module![
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001"
    ];
    let shard = |name: &'static str| safetensors(&[(name, "F32", &[2, 2], f32s(&[1.0, 2.0, 3.0, 4.0]))], &[]);
    let index =
        br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let tokenizer = br#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#;
    let shards = vec![
        ("config.json", br#"{"model_type": "bert", "architectures": ["A"], "auto_map": {"x": "m.C"}}"#.to_vec()),
        ("tokenizer.json", tokenizer.to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("model-00001-of-00002.safetensors", shard("a")),
        ("model-00002-of-00002.safetensors", shard("b")),
    ];
    let files =
        |files: Vec<(&str, Vec<u8>)>| files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect();
    vec![("savedmodel", files(module)), ("huggingface", files(shards))]
}

fn read_folder(files: &BTreeMap<String, Vec<u8>>) -> Result<Contents> {
    let sizes = files.iter().map(|(name, bytes)| (name.clone(), FolderFile::Regular(bytes.len() as u64))).collect();
    let open = |name: &str| Ok(Source::of_bytes(files[name].clone(), name));
    formats::read_folder(&ModelFolder::new("model", sizes, open))
}

#[test]
fn folders_changed_at_random_are_an_answer_or_an_error() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (format, files) in folders() {
        let sound = read_folder(&files).unwrap();
        assert_eq!(sound.format.word(), format);
        let (mut refused, mut answered) = (0, 0);
        for _ in 0..2000 {
            let mut files = files.clone();
            let at = random.below(files.len());
            let name = files.keys().nth(at).unwrap().clone();
            let file = files.get_mut(&name).unwrap();
            if random.below(4) == 0 {
                let length = random.below(file.len());
                file.truncate(length);
            } else {
                random.mutate(file);
            }
            match read_folder(&files).and_then(|contents| diff::compare(&sound, &contents, &Silent)) {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert_eq!(error.kind.exit_code(), 2, "{format}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 30 && answered > 30, "{format}: refused {refused}, answered {answered}");
    }
}
