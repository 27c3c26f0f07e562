//! The end of a server, and the start of the next one on the same socket.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::client::Connection;
use super::{Server, TIMES, fixture, until};
use crate::sandbox::Sandbox;

const INFER: &str = "/v2/models/times-1/infer";

#[test]
#[ignore = "needs ONNX Runtime"]
fn a_server_is_not_ready_before_it_stops_answering() {
    let sandbox = Sandbox::without_git();
    let path = fixture("times-1.onnx");
    let mut server = Server::start(&sandbox, &[path.to_str().unwrap(), "--drain", "1500ms"]);
    let mut kept = server.connect();
    assert_eq!(kept.post(INFER, TIMES).header("connection"), None);
    server.signal(Signal::TERM);
    until("not ready", || server.connect().get("/v2/health/ready").status == 503);
    assert_eq!(server.connect().get("/v2/health/live").status, 200);
    let answer = kept.post(INFER, TIMES);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(server.connect().post(INFER, TIMES).status, 200, "new connections are still answered");
    assert_eq!(server.exit_code(), 0);
    assert!(Connection::try_open(&server.address).is_err());
}

/// Starts a server with a socket of this process as file 3, as systemd does.
fn activated(sandbox: &Sandbox, socket: &TcpListener) -> Server {
    let lockstep = sandbox.lockstep("");
    // The socket may have a number of two digits, which other shells than bash do not redirect.
    let mut shell = sandbox.command("/bin/bash".as_ref(), "");
    let script = format!("exec 3<&{}; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"", socket.as_raw_fd());
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    shell.args(["-c", &script]).arg(lockstep.get_program());
    shell.args(["serve", fixture("times-1.onnx").to_str().unwrap()]);
    Server::spawn(sandbox, shell)
}

#[test]
#[ignore = "needs ONNX Runtime"]
fn restarts_on_an_inherited_socket_lose_nothing() {
    let sandbox = Sandbox::without_git();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = activated(&sandbox, &socket);
    let address = socket.local_addr().unwrap().to_string();
    assert_eq!(server.address, address);
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut client = Connection::open(&address);
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.send("POST", INFER, &[], TIMES.as_bytes()).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    count.fetch_add(1, Ordering::Relaxed);
                    if answer.header("connection") == Some("close") {
                        client = Connection::open(&address);
                    }
                }
            });
        }
        for _ in 0..3 {
            let before = count.load(Ordering::Relaxed);
            let next = activated(&sandbox, &socket);
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(), 0);
            server = next;
            until("requests", || count.load(Ordering::Relaxed) > before + 200);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{} requests over 3 restarts", count.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_millis(10));
}
