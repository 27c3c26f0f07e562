//! Requests and answers.

use serde_json::json;

use super::{Server, TIMES, fixture, twins};
use crate::sandbox::Sandbox;

fn all(sandbox: &Sandbox) -> Server {
    let paths = ["types", "lookup", "scalar", "external"].map(|name| fixture(&format!("{name}.onnx")));
    let folder = twins(sandbox);
    let mut args: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    args.push(folder.to_str().unwrap());
    Server::start(sandbox, &args)
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn what_the_server_says_of_itself_and_of_a_model() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let mut client = server.connect();
    for path in ["/v2", "/v2/"] {
        assert_eq!(client.get(path).json()["extensions"][0], "binary_tensor_data");
    }
    assert_eq!(client.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(client.get("/v2/health/ready").json(), json!({"live": true, "ready": true}));
    assert_eq!(client.get("/v2/models/digits/versions/v1.0.0/ready").json(), json!({"name": "digits", "ready": true}));
    let about = client.get("/v2/models/digits").json();
    assert_eq!(about["versions"], json!(["v1.0.0"]));
    assert_eq!(about["platform"], "onnx_onnxv1");
    assert_eq!(about["inputs"], json!([{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]));
    assert_eq!(about["parameters"]["commit"], "8b".repeat(20));
    assert_eq!(about["parameters"]["blake3"].as_str().unwrap().len(), 64);
    let index = client.send("POST", "/v2/repository/index", &[], b"").unwrap().json();
    assert_eq!(index[4], json!({"name": "digits", "version": "v1.0.0", "state": "READY", "reason": ""}));
    for (path, status) in [
        ("/v2/models/nothing", 404),
        ("/v2/models/digits/versions/v9", 404),
        ("/v2/repository/models/digits/load", 404),
        ("/v2/models/digits/infer", 405),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.error().is_empty());
    }
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn values_come_back_as_they_were_sent() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let mut client = server.connect();
    let answer = client.post("/v2/models/digits/infer", &TIMES.replacen('{', r#"{"id": "q", "#, 1));
    assert_eq!(
        answer.text(),
        r#"{"model_name":"digits","model_version":"v1.0.0","id":"q","outputs":[{"name":"Y","shape":[1,4],"datatype":"FP32","data":[1.0,2.0,3.0,4.0]}]}"#
    );
    let empty = r#"{"inputs": [{"name": "X", "shape": [0, 4], "datatype": "FP32", "data": []}]}"#;
    assert_eq!(client.post("/v2/models/digits/infer", empty).json()["outputs"][0]["shape"], json!([0, 4]));
    let scalar = r#"{"inputs": [{"name": "x", "shape": [], "datatype": "FP64", "data": [1.5]}]}"#;
    assert_eq!(client.post("/v2/models/scalar/infer", scalar).json()["outputs"][0]["data"], json!([3.0]));
    let rows = r#"{"inputs": [{"name": "index", "shape": [2], "datatype": "INT64", "data": [0, 2]},
        {"name": "word", "shape": [2], "datatype": "BYTES", "data": ["é", ""]}], "outputs": [{"name": "echo"}, {"name": "row"}]}"#;
    let outputs = client.post("/v2/models/lookup/infer", rows).json()["outputs"].clone();
    assert_eq!(outputs[0]["data"], json!(["é", ""]));
    assert_eq!(outputs[1]["data"], json!([1.0, 2.0, null, null]), "NaN is null");
    let weights = client.post("/v2/models/external/infer", &TIMES.replace("[1, 2, 3, 4]", "[1, 1, 1, 1]"));
    assert_eq!(weights.json()["outputs"][0]["data"], json!([0.0, 1.0, 2.0, 3.0]));
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn binary_tensors_are_exact() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let mut client = server.connect();
    let json = json!({"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32",
        "parameters": {"binary_data_size": 16}}], "parameters": {"binary_data_output": true}})
    .to_string();
    let values = [f32::NAN, f32::INFINITY, -0.0, 1.0e-45].map(f32::to_le_bytes).concat();
    let length = json.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str()), ("Content-Type", "application/octet-stream")];
    let body = [json.as_bytes(), &values].concat();
    let answer = client.send("POST", "/v2/models/digits/infer", &headers, &body).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
    let at: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    assert_eq!(&answer.body[at..], &values);
    let json: serde_json::Value = serde_json::from_slice(&answer.body[..at]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 16);
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_wrong_request_is_named() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let mut client = server.connect();
    let x = |shape: &str, kind: &str, data: &str| {
        format!(r#"{{"inputs": [{{"name": "X", "shape": {shape}, "datatype": "{kind}", "data": {data}}}]}}"#)
    };
    for (body, want) in [
        (x("[1, 3]", "FP32", "[1, 2, 3]"), "input X: shape [1,3], wanted [-1,4]"),
        (x("[1, 4]", "FP64", "[1, 2, 3, 4]"), "input X: datatype FP64, wanted FP32"),
        (x("[1, 4]", "FP32", "[1, 2, null, 4]"), "input X: null is no value"),
        (x("[1, 4]", "FP32", "[1, 2]"), "input X: 2 values, wanted 4"),
        (x("[9223372036854775807, 4]", "FP32", "[]"), "is too large"),
        (x("[-1, 4]", "FP32", "[]"), "has a negative size"),
        ("{}".into(), "missing field `inputs`"),
        ("".into(), "the request: EOF"),
        ("[[[[".into(), "the request: "),
        (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "the request: "),
        (x("[1, 4]", "FP32", &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))), "input X: "),
    ] {
        let answer = client.post("/v2/models/digits/infer", &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.error().contains(want), "{want}: {}", answer.error());
    }
    // The engine itself refuses an index.
    let far = r#"{"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]},
        {"name": "word", "shape": [1], "datatype": "BYTES", "data": [""]}]}"#;
    let answer = client.post("/v2/models/lookup/infer", far);
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("out of data bounds"), "{}", answer.error());
    let kinds = ["application/x-www-form-urlencoded", "text/plain"];
    for kind in kinds {
        let answer =
            client.send("POST", "/v2/models/digits/infer", &[("Content-Type", kind)], TIMES.as_bytes()).unwrap();
        assert_eq!(answer.status, 415);
    }
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn the_page_and_the_counters() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let mut client = server.connect();
    client.post("/v2/models/digits/infer", TIMES);
    let page = client.get("/");
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    let html = page.text();
    for part in ["v1.0.0", "accuracy", "0.97", "git.example.org/digits", "&lt;script&gt;"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script"));
    let counters = client.get("/metrics").text();
    for line in [
        r#"lockstep_requests_total{model="digits",version="v1.0.0",code="200"} 1"#,
        r#"lockstep_switches_total{model="digits",result="ok"} 1"#,
        "lockstep_in_flight 1",
    ] {
        assert!(counters.lines().any(|l| l == line), "{line}\n{counters}");
    }
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn one_answer_without_a_server() {
    let sandbox = Sandbox::without_git();
    let folder = twins(&sandbox);
    sandbox.write("request.json", TIMES);
    let library = super::onnxruntime();
    let once = ["serve", folder.to_str().unwrap(), "--onnxruntime", &library, "--once", "request.json"];
    let out = sandbox.run(&once);
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stdout.contains(r#""data":[1.0,2.0,3.0,4.0]"#), "{out}");
    let out = sandbox.run(&[&once[..], &["--repeat", "20"]].concat());
    assert!(out.stdout.contains("20 runs: p50 "), "{out}");
    sandbox.write("request.json", "{}");
    let out = sandbox.run(&once);
    assert_eq!(out.code, 1, "{out}");
    assert!(out.stderr.contains("missing field `inputs`"), "{out}");
}

/// Triton's own client, in JSON and in binary, and the checker of Prometheus.
#[test]
#[ignore = "needs ONNX Runtime, tritonclient and promtool"]
fn clients_of_others_work() {
    let sandbox = Sandbox::without_git();
    let server = all(&sandbox);
    let python =
        std::env::var("LOCKSTEP_TRITONCLIENT").expect("LOCKSTEP_TRITONCLIENT names a Python with tritonclient");
    let out = std::process::Command::new(python).arg(fixture("triton.py")).arg(&server.address).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let counters = server.connect().get("/metrics").text();
    sandbox.write("counters", counters);
    let input = std::fs::File::open(sandbox.path("counters")).unwrap();
    let checked = std::process::Command::new("promtool").args(["check", "metrics"]).stdin(input).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
