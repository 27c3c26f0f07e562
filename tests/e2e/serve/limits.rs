//! Limits of time and size, and who may ask.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::Connection;
use super::{Server, TIMES, fixture};
use crate::sandbox::Sandbox;

fn serve(sandbox: &Sandbox, args: &[&str]) -> Server {
    let path = fixture("times-1.onnx");
    Server::start(sandbox, &[&[path.to_str().unwrap()], args].concat())
}

const INFER: &str = "/v2/models/times-1/infer";

#[test]
#[ignore = "needs ONNX Runtime"]
fn large_and_slow_bodies_are_refused() {
    let sandbox = Sandbox::without_git();
    let server = serve(&sandbox, &["--max-body", "1kB", "--timeout", "400ms"]);
    let large = " ".repeat(2000);
    assert_eq!(server.connect().post(INFER, &large).status, 413);
    let mut chunked = server.connect();
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.write(head.as_bytes()).unwrap();
    chunked.write(format!("7d0\r\n{large}\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(chunked.read().unwrap().status, 413);
    let mut slow = server.connect();
    slow.write(format!("POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{").as_bytes()).unwrap();
    let started = Instant::now();
    assert_eq!(slow.read().unwrap().status, 408);
    assert!(started.elapsed() < Duration::from_secs(10));
    let mut heads = server.connect();
    let _ = heads.write(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000)).as_bytes());
    assert!(heads.read().map_or(true, |answer| answer.status == 431));
    assert_eq!(server.connect().post(INFER, TIMES).status, 200);
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_token_is_needed_for_all_but_health() {
    let sandbox = Sandbox::without_git();
    let token = "0123456789abcdef0123456789abcdef";
    sandbox.write("token", format!("{token}\n"));
    let server = serve(&sandbox, &["--token-file", "token"]);
    let mut client = server.connect();
    assert_eq!(client.get("/v2/health/ready").status, 200);
    for path in ["/", "/metrics", "/v2", "/v2/models/times-1"] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        let bearer = format!("Bearer {token}");
        let answer = client.send("GET", path, &[("Authorization", &bearer)], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}");
        let wrong = client.send("GET", path, &[("Authorization", "Bearer 0")], b"").unwrap();
        assert_eq!(wrong.status, 401, "{path}");
    }
    assert_eq!(client.post(INFER, TIMES).status, 401);
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn other_machines_see_no_paths() {
    let sandbox = Sandbox::without_git();
    let folder = super::twins(&sandbox);
    let mut command = sandbox.lockstep("");
    command.args(["serve", folder.to_str().unwrap(), "--listen", "0.0.0.0:0", "--open", "--follow", "10ms"]);
    let server = Server::spawn(&sandbox, command);
    let address = server.address.replace("0.0.0.0", "127.0.0.1");
    super::switch_to(&folder, "absent");
    super::until("a failure", || server.events().iter().any(|event| event["event"] == "kept"));
    let page = Connection::open(&address).get("/").text();
    assert!(page.contains("the log of the server says why"), "{page}");
    assert!(!page.contains(folder.to_str().unwrap()), "{page}");
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn slow_clients_do_not_block_others() {
    let sandbox = Sandbox::without_git();
    let server = serve(&sandbox, &[]);
    let slow: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    assert_eq!(server.connect().post(INFER, TIMES).status, 200);
    drop(slow);
    let mut garbage = TcpStream::connect(&server.address).unwrap();
    std::io::Write::write_all(&mut garbage, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = garbage.read_to_end(&mut answer);
    assert_eq!(server.connect().get("/v2/health/live").status, 200);
}
