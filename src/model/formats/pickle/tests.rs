//! Pickles of every protocol, and hostile ones.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::source::Source;

fn run(bytes: &[u8]) -> Result<Pickle> {
    read(&mut Source::of_bytes(bytes.to_vec(), "x").reader(), None)
}

/// A node as Python would write it, with calls unevaluated.
fn text(pickle: &Pickle, id: Id) -> String {
    let list = |items: &[Id]| items.iter().map(|i| text(pickle, *i)).collect::<Vec<_>>().join(" ");
    match pickle.node(id) {
        Node::Tuple(items) => format!("({})", list(items)),
        Node::List(items) => format!("[{}]", list(items)),
        Node::Dict(pairs) => {
            let pair = |(k, v): &(Id, Id)| format!("{}:{}", text(pickle, *k), text(pickle, *v));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Node::Global(global) => format!("{}.{}", global.module, global.name),
        Node::CallResult(made) => format!("{}<{}>", text(pickle, made.by), text(pickle, made.args)),
        Node::Int(n) => n.to_string(),
        Node::Text(t) => t.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn objects_of_every_protocol() {
    for (bytes, want) in [
        // pickle.dumps({'a': (1, -2, 300), 'b': [True, None]}, protocol)
        (&b"(dp0\nVa\np1\n(I1\nI-2\nI300\ntp2\nsVb\np3\n(lp4\nI01\naNas."[..], "{a:(1 -2 300) b:[Bool(true) None]}"),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xffM,\x01\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04(\x88Neu.", "{a:(1 -2 300) b:[Bool(true) None]}"),
        (b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.", "posix.system<(id)>"),
        (b"cos\nsystem\n(S'id'\ntR.", "os.system<(id)>"),
        (b"(S'id'\nios\nsystem\n.", "os.system<(id)>"),
        (b"(cos\nsystem\nS'id'\no.", "os.system<(id)>"),
        (b"\x80\x02\x8a\x02\x00\x80\x8a\x00\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01\x87.", "(-32768 0 Bytes { at: 10, length: 9, form: Utf8 })"),
    ] {
        let pickle = run(bytes).unwrap();
        assert_eq!(text(&pickle, pickle.root), want);
    }
}

#[test]
fn hostile_pickles_are_refused() {
    for (bytes, want) in [
        (&b"\x80\x02"[..], "cut short"),
        (b".", "more from the stack"),
        (b"(.", "more from the stack"),
        (b"K\x01(0.", "more from the stack"),
        (b"u.", "more from the stack"),
        (b"}(K\x01u.", "key without a value"),
        (b"K\x01K\x02a.", "appends to a value that is not a list"),
        (b"h\x05.", "never wrote"),
        (b"\x8b\xff\xff\xff\x7f.", "cut short"),
        (b"B\xff\xff\xff\xff.", "cut short"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut short"),
        (b"\x82\x01.", "extension registry"),
        (b"\xff", "unknown operation 0xff at byte 0"),
        (b"K\x01K\x02\x93.", "not text"),
    ] {
        let causes = run(bytes).err().map(|e| e.causes.join(" ")).unwrap_or_default();
        assert!(causes.contains(want), "{bytes:?}: {causes}");
    }
}

#[test]
fn a_bomb_of_doublings_costs_its_own_bytes() {
    // l = []; l = [l, l], and again a thousand times; then a list that holds itself.
    let mut bytes = b"\x80\x02]".to_vec();
    for _ in 0..1000 {
        bytes.extend(b"2\x86");
    }
    bytes.extend(b"0]q\x00h\x00a.");
    let pickle = run(&bytes).unwrap();
    assert!(pickle.nodes.len() < 1100);
    assert!(matches!(pickle.node(pickle.root), Node::List(items) if items == &[pickle.root]));
}
