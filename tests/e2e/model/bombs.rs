//! Files that are made to eat memory or time.

use std::path::Path;

use crate::model::files::*;
use crate::sandbox::{Sandbox, output};

/// Bombs under a limit of memory: an error, not a crash, and soon.
#[test]
fn bombs_stay_small() {
    let sandbox = Sandbox::without_git();
    let zeros = zip(&[("m/data.pkl", &vec![b'('; 70 << 20], true)]);
    let memo = [b"\x80\x02]".to_vec(), b"2".repeat(12_000_000)].concat();
    let calls =
        [b"\x80\x02ca\nb\n)0".to_vec(), b"ca\nb\nq\x00)q\x01".to_vec(), b"h\x00h\x01R".repeat(2_000_001)].concat();
    let view =
        View { name: "w", class: "FloatStorage", key: "0", held: 1, offset: 0, shape: &[1; 8], strides: &[0; 8] };
    let mut views = state_dict(&[view]);
    let at = views.len() - 2;
    views.splice(at..at, [b"q\x05".to_vec(), b"J\x01\x00\x00\x00h\x05".repeat(310_000)].concat());
    let views = zip(&[("m/data.pkl", &views, false), ("m/data/0", &[0; 4], false)]);
    let entry = |n: usize| format!("\"{n}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let header = format!("{{{}}}", (0..310_000).map(entry).collect::<Vec<_>>().join(","));
    for (name, bytes) in [
        ("inflated", zeros),
        ("memo", memo),
        ("calls", calls),
        ("views", views),
        ("header", with_header(&header, &[])),
        ("attributes", onnx_model(&onnx_graph(&[onnx_node("If", &vec![Vec::new(); 10_001])], &[]))),
        ("links", hdf5_file(&[hdf5_object(&vec![hdf5_link("x", 48); 100_001])])),
        ("sparse", with_header("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", &[0; 4])),
    ] {
        sandbox.write(name, bytes);
        let mut shell = sandbox.command(Path::new("sh"), "");
        let program = env!("CARGO_BIN_EXE_lockstep");
        let script = format!("ulimit -v 1000000; ulimit -t 60; exec {program} model inspect {name}");
        let out = output(shell.args(["-c", &script]));
        assert_eq!(out.code, 2, "{name}: {out}");
    }
    // Many pickles in one archive: what is not looked at is said, and the rest is read.
    let pickle = npy("|O", false, "(1,)", &vec![b'('; 15 << 20]);
    let names: Vec<String> = (0..30).map(|n| format!("{n}.npy")).collect();
    let entries: Vec<(&str, &[u8], bool)> = names.iter().map(|name| (name.as_str(), pickle.as_slice(), true)).collect();
    sandbox.write("pickles", zip(&entries));
    let mut shell = sandbox.command(Path::new("sh"), "");
    let program = env!("CARGO_BIN_EXE_lockstep");
    let out =
        output(shell.args(["-c", &format!("ulimit -v 1000000; ulimit -t 60; exec {program} model inspect pickles")]));
    assert!(out.code == 0 && out.stderr.contains("a pickle that is not looked at"), "{out}");
}
