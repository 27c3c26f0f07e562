//! A server on loopback that writes down what it is asked and has nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const REPEATING: &str = "403 Forbidden";

pub struct Listener {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    pub fn start() -> Listener {
        Listener::answering("404 Not Found")
    }

    /// One that sends everybody elsewhere.
    pub fn redirecting(to: &str) -> Listener {
        Listener::answering(&format!("302 Found\r\nLocation: {to}"))
    }

    /// One that forbids everything, and repeats in its answers what it was asked.
    pub fn repeating() -> Listener {
        Listener::answering(REPEATING)
    }

    fn answering(status: &str) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, status) = (Arc::new(Mutex::new(Vec::new())), status.to_string());
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client may go away.
                let _ = answer(stream.unwrap(), &status, &log);
            }
        });
        Listener { port, asked }
    }

    /// The requests since the last call, each with its headers.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, status: &str, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
    }
    reader.read_exact(&mut vec![0; length])?;
    log.lock().unwrap().push(request.clone());
    if status == REPEATING {
        let body = format!("you said {request}");
        let length = body.len();
        return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
