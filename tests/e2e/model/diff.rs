//! `model diff` through the real binary.

use crate::model::files::*;
use crate::sandbox::Sandbox;

/// Two models in two files.
fn pair(old: &[u8], new: &[u8]) -> Sandbox {
    let sandbox = Sandbox::without_git();
    sandbox.write("old", old);
    sandbox.write("new", new);
    sandbox
}

fn sample() -> Sandbox {
    let old = safetensors(
        &[
            ("same", "F32", &[2], f32s(&[1.0, 2.0])),
            ("moved", "F32", &[2], f32s(&[3.0, 4.0])),
            ("broke", "F32", &[3], f32s(&[1.0, 2.0, 3.0])),
            ("gone", "U8", &[1], vec![7]),
            ("shape", "U8", &[2, 2], vec![1; 4]),
            ("type", "F16", &[2], vec![0x00, 0x3c, 0x00, 0x40]),
        ],
        &[("epoch", "1")],
    );
    let new = safetensors(
        &[
            ("same", "F32", &[2], f32s(&[1.0, 2.0])),
            ("moved", "F32", &[2], f32s(&[3.0, 4.5])),
            ("broke", "F32", &[3], f32s(&[1.0, f32::NAN, f32::INFINITY])),
            ("came", "I64", &[1], vec![0; 8]),
            ("shape", "U8", &[4], vec![1; 4]),
            ("type", "F32", &[2], f32s(&[1.0, 2.0])),
        ],
        &[("epoch", "2")],
    );
    pair(&old, &new)
}

#[test]
fn tensors_that_came_went_and_moved() {
    let sandbox = sample();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "new"])), @r"
    exit 0
    --- stdout
    tensor  change    max |Δ|  rel. L2    cosine  note
    moved   changed    0.5000   0.1000  0.998460
    broke   changed         0        0  1.000000  NaN or inf: 0 → 2 of 3 values
    gone    removed                               u8 [1]
    shape   reshaped                              u8 [2, 2] → u8 [4]
    type    retyped         0        0  1.000000  f16 → f32
    came    added                                 i64 [1]
    --- stderr
    metadata epoch: 1 → 2
    7 tensors: 1 added, 1 removed, 1 reshaped, 1 retyped, 2 changed, 1 same; over all: max |Δ| 0.5000, rel. L2 0.0833
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "new", "--md", "--all", "-q"])), @r"
    exit 0
    --- stdout
    | tensor | change   | max \|Δ\| | rel. L2 | cosine   | note                          |
    | ------ | -------- | --------- | ------- | -------- | ----------------------------- |
    | same   | same     |           |         |          |                               |
    | moved  | changed  | 0.5000    | 0.1000  | 0.998460 |                               |
    | broke  | changed  | 0         | 0       | 1.000000 | NaN or inf: 0 → 2 of 3 values |
    | gone   | removed  |           |         |          | u8 [1]                        |
    | shape  | reshaped |           |         |          | u8 [2, 2] → u8 [4]            |
    | type   | retyped  | 0         | 0       | 1.000000 | f16 → f32                     |
    | came   | added    |           |         |          | i64 [1]                       |
    ");
}

#[test]
fn for_programs() {
    let sandbox = sample();
    let out = sandbox.run(&["model", "diff", "old", "new", "--json"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r#"
    exit 0
    --- stdout
    {
      "old": "old",
      "new": "new",
      "formats": null,
      "counts": {
        "added": 1,
        "removed": 1,
        "reshaped": 1,
        "retyped": 1,
        "changed": 2,
        "unread": 0,
        "same": 1
      },
      "moved": {
        "max": 0.5,
        "relative_l2": 0.08333333333333333,
        "cosine": 0.9982731812361942,
        "values": 9,
        "not_finite": {
          "old": 0,
          "new": 2,
          "changed": 2
        }
      },
      "tensors": [
        {
          "name": "moved",
          "change": "changed",
          "old": {
            "dtype": "f32",
            "shape": [
              2
            ],
            "parameters": 2
          },
          "new": {
            "dtype": "f32",
            "shape": [
              2
            ],
            "parameters": 2
          },
          "moved": {
            "max": 0.5,
            "relative_l2": 0.1,
            "cosine": 0.9984603532054123,
            "values": 2,
            "not_finite": {
              "old": 0,
              "new": 0,
              "changed": 0
            }
          }
        },
        {
          "name": "broke",
          "change": "changed",
          "old": {
            "dtype": "f32",
            "shape": [
              3
            ],
            "parameters": 3
          },
          "new": {
            "dtype": "f32",
            "shape": [
              3
            ],
            "parameters": 3
          },
          "moved": {
            "max": 0.0,
            "relative_l2": 0.0,
            "cosine": 1.0,
            "values": 3,
            "not_finite": {
              "old": 0,
              "new": 2,
              "changed": 2
            }
          }
        },
        {
          "name": "gone",
          "change": "removed",
          "old": {
            "dtype": "u8",
            "shape": [
              1
            ],
            "parameters": 1
          }
        },
        {
          "name": "shape",
          "change": "reshaped",
          "old": {
            "dtype": "u8",
            "shape": [
              2,
              2
            ],
            "parameters": 4
          },
          "new": {
            "dtype": "u8",
            "shape": [
              4
            ],
            "parameters": 4
          }
        },
        {
          "name": "type",
          "change": "retyped",
          "old": {
            "dtype": "f16",
            "shape": [
              2
            ],
            "parameters": 2
          },
          "new": {
            "dtype": "f32",
            "shape": [
              2
            ],
            "parameters": 2
          },
          "moved": {
            "max": 0.0,
            "relative_l2": 0.0,
            "cosine": 0.9999999999999998,
            "values": 2,
            "not_finite": {
              "old": 0,
              "new": 0,
              "changed": 0
            }
          }
        },
        {
          "name": "came",
          "change": "added",
          "new": {
            "dtype": "i64",
            "shape": [
              1
            ],
            "parameters": 1
          }
        }
      ],
      "metadata": {
        "epoch": {
          "old": "1",
          "new": "2"
        }
      },
      "rest": "same",
      "notes": {
        "old": [],
        "new": []
      }
    }
    "#);
}

#[test]
fn formats_may_differ() {
    let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let sandbox = pair(
        &torch(&weights, &[1.0, 2.0, 3.0]),
        &safetensors(
            &[("fc.weight", "F32", &[2, 3], f32s(&weights)), ("fc.bias", "F32", &[3], f32s(&[1.0, 2.0, 2.0]))],
            &[],
        ),
    );
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "new"])), @r"
    exit 0
    --- stdout
    tensor     change   max |Δ|  rel. L2    cosine  note
    fc.bias    changed   1.0000   0.2673  0.979958
    fc.turned  removed                              f32 [3, 2]
    --- stderr
    format: PyTorch → safetensors
    3 tensors: 1 removed, 1 changed, 1 same; over all: max |Δ| 1.0000, rel. L2 0.0976
    ");
}

#[test]
fn nothing_changed_and_nothing_to_compare() {
    let sandbox = sample();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "old"])), @r"
    exit 0
    --- stderr
    6 tensors: 6 same
    ");
    sandbox.write("k.h5", hdf5_file(&[hdf5_object(&[hdf5_message(2, &[&[0, 0][..], &[0xff; 16]].concat())])]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "k.h5"])), @r"
    exit 2
    --- stderr
    error: k.h5 (HDF5) has no tensors that can be compared
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["model", "diff", "old", "gone"])), @r"
    exit 3
    --- stderr
    error: gone does not exist
      hint: bring back what is pinned: lockstep checkout; an older version: PATH@REVISION
    ");
}

/// The same result, to the last bit, whatever the number of threads.
#[test]
fn sums_do_not_depend_on_the_threads() {
    let n = 400_000;
    let values = |k: f32| f32s(&(0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<_>>());
    let file =
        |k: f32| safetensors(&[("a", "F32", &[n as u64], values(k)), ("b", "F32", &[n as u64], values(k * 3.0))], &[]);
    let sandbox = pair(&file(0.37), &file(0.3701));
    let run = |threads: &str| {
        let mut command = sandbox.lockstep("");
        command.env("RAYON_NUM_THREADS", threads).args(["model", "diff", "old", "new", "--json"]);
        crate::sandbox::output(&mut command).stdout
    };
    let one = run("1");
    assert!(one.contains("relative_l2") && one == run("2") && one == run("7"));
}
