//! Limits on the size of a document, checked before it is parsed: few bytes can become large values.

use super::{Fault, Mark};

/// The values of a document, and the keys of its maps.
pub const NODES: usize = 2_000_000;

/// Errors: the JSON `text` has more than [`NODES`] values and keys. Does not check that it is valid JSON.
pub fn check_json(text: &str) -> Result<(), Fault> {
    let (mut nodes, mut in_string, mut escaped) = (1, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' | b'{' if !in_string => nodes += 1,
            _ => continue,
        }
        if nodes > NODES {
            return Err(too_many(text, at));
        }
    }
    Ok(())
}

/// Errors: `bytes` occur more than [`NODES`] times in `text`, including strings and comments.
pub fn check_marks(text: &str, bytes: &[u8]) -> Result<(), Fault> {
    let mut marks = text.bytes().enumerate().filter(|(_, byte)| bytes.contains(byte));
    marks.nth(NODES).map_or(Ok(()), |(at, _)| Err(too_many(text, at)))
}

/// The error for a document with too many nodes, up to the byte `at`.
fn too_many(text: &str, at: usize) -> Fault {
    let before = &text.as_bytes()[..at];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
    let column = before[start..].iter().filter(|b| **b & 0xC0 != 0x80).count() as u32 + 1;
    fault(Mark { line, column, offset: at as u32 })
}

pub fn fault(at: Mark) -> Fault {
    Fault::new(format!("the document has more than {NODES} nodes"), Some(at))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_format_has_a_budget() {
        for (name, text) in [
            ("m.json", format!("[{}0]", "{},".repeat(NODES))),
            ("m.json", format!("[{}0]", "[],".repeat(NODES / 2))),
            ("m.json", format!("{{{}\"a\":0}}", "\"a\":0,".repeat(NODES / 2))),
            ("m.json", format!("[NaN,\"\\\"\",{}0]", "0,".repeat(NODES))),
            ("m.toml", format!("a = [{}0]", "0,".repeat(NODES))),
            ("m.toml", "a.".repeat(NODES + 1) + "a = 0"),
            ("m.toml", "\n".repeat(9 << 20)),
            ("m.py", format!("a = [{}0]", "0,".repeat(NODES))),
            ("m.py", "a=0\n".repeat(NODES)),
            ("m.yaml", format!("[{}0]", "0,".repeat(NODES))),
        ] {
            let fault = parse(name, &text).unwrap_err();
            let said = fault.message.contains("more than 2000000 nodes") || fault.message.contains("larger than 8 MiB");
            assert!(said, "{name}: {}", fault.message);
        }
    }

    #[test]
    fn what_stands_in_strings_of_json_costs_nothing() {
        let text = format!("{{\"a\": \"{}\\\"{}\"}}", ",".repeat(NODES), "[".repeat(NODES));
        assert!(check_json(&text).is_ok());
        let fault = check_json(&format!("[\n \"é\", {}", "0,".repeat(NODES))).unwrap_err();
        assert_eq!(fault.mark.map(|m| m.line), Some(2));
    }
}
