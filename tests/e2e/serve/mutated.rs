//! Ten thousand damaged requests: each is answered, none with a status of 5xx, and memory stays.

use super::{Server, TIMES, fixture};
use crate::sandbox::Sandbox;

/// A xorshift generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const PIECES: [&str; 22] = [
    "9223372036854775808",
    "-1",
    "1e999",
    "null",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "NaN",
    "18446744073709551615",
    "[[[[[[[[[[",
    "\u{0}",
    "\\u0000",
    "\\ud800",
    "\"datatype\": \"BF16\"",
    "\"shape\": []",
    "true",
    "0.0000001",
    ",",
    ":",
    "\"BYTES\"",
];

fn mutate(body: &mut Vec<u8>, dice: &mut Dice) {
    // Half of the requests stay valid JSON: only a number is another one.
    if dice.roll(2) == 0 {
        let digits: Vec<usize> = (0..body.len()).filter(|at| body[*at].is_ascii_digit()).collect();
        body[digits[dice.roll(digits.len())]] = b'0' + dice.roll(10) as u8;
        return;
    }
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(body.len() + 1);
        match dice.roll(6) {
            0 if at < body.len() => body[at] = dice.roll(256) as u8,
            1 => body.truncate(at.max(1)),
            2 => drop(body.splice(at..at, PIECES[dice.roll(PIECES.len())].bytes())),
            3 if at < body.len() => {
                drop(body.splice(at..body.len().min(at + dice.roll(12)), PIECES[dice.roll(PIECES.len())].bytes()))
            }
            4 if at < body.len() => {
                let end = body.len().min(at + 1 + dice.roll(40));
                let copy = body[at..end].to_vec();
                body.splice(at..at, copy);
            }
            _ => body.extend((0..dice.roll(30)).map(|n| n as u8)),
        }
    }
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn ten_thousand_mutated_bodies() {
    let sandbox = Sandbox::without_git();
    let paths = ["times-1", "types", "lookup", "scalar"].map(|name| fixture(&format!("{name}.onnx")));
    let server = Server::start(&sandbox, &paths.each_ref().map(|path| path.to_str().unwrap()));
    let lookup = r#"{"inputs": [{"name": "index", "shape": [2], "datatype": "INT64", "data": [0, 2]},
        {"name": "word", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}], "outputs": [{"name": "row"}]}"#;
    let scalar = r#"{"inputs": [{"name": "x", "shape": [], "datatype": "FP64", "data": [1.5]}]}"#;
    let binary =
        r#"{"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}"#;
    let texts = r#"{"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}},
        {"name": "word", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}]}"#;
    let with = |json: &str, tail: &[u8]| (json.len(), [json.as_bytes(), tail].concat());
    let seeds = [
        ("times-1", None, TIMES.as_bytes().to_vec()),
        ("lookup", None, lookup.as_bytes().to_vec()),
        ("scalar", None, scalar.as_bytes().to_vec()),
        ("times-1", Some(binary.len()), with(binary, &[0; 16]).1),
        ("lookup", Some(texts.len()), with(texts, &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 97]).1),
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut client = server.connect();
    let (mut statuses, mut memory) = (std::collections::BTreeMap::<u16, u32>::new(), 0);
    for n in 0..10_000 {
        let (model, length, mut body) = seeds[n % seeds.len()].clone();
        mutate(&mut body, &mut dice);
        let length = length.map(|length| match dice.roll(10) {
            0 => usize::MAX.to_string(),
            1 => dice.roll(body.len() + 2).to_string(),
            2 => "-1".to_string(),
            _ => length.to_string(),
        });
        let path = format!("/v2/models/{model}/infer");
        let headers: Vec<(&str, &str)> =
            length.iter().map(|l| ("Inference-Header-Content-Length", l.as_str())).collect();
        let answer = client.send("POST", &path, &headers, &body);
        let answer = answer.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body)));
        assert!(answer.status < 500, "{}: {}", answer.text(), String::from_utf8_lossy(&body));
        *statuses.entry(answer.status).or_default() += 1;
        if n == 1000 {
            memory = server.memory();
        }
    }
    println!("{statuses:?}; {memory} kB after 1000, {} kB at the end", server.memory());
    assert!(server.memory() < memory + 32_768, "{memory} kB after 1000, {} kB at the end", server.memory());
    assert_eq!(client.get("/v2/health/ready").status, 200);
    let counters = client.get("/metrics").text();
    assert!(!counters.contains("lockstep_engine_failures_total{"), "{counters}");
}
