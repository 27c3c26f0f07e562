//! A plain web server over a folder: it gives files and ranges of them, and lists nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves a folder until the test ends, and gives the URL.
pub fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let folder = folder.clone();
            // A client may go away.
            std::thread::spawn(move || drop(answer(stream.unwrap(), &folder)));
        }
    });
    url
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some((start, end)) = line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
            range = Some((start.parse::<usize>().unwrap_or(0), end.parse::<usize>().ok()));
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Ok(bytes) = std::fs::read(folder.join(path.trim_start_matches('/'))) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (status, range, body) = match range {
        Some((start, end)) if start < bytes.len() => {
            let end = end.map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
            let told = format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
            ("206 Partial Content", told, &bytes[start..end])
        }
        _ => ("200 OK", String::new(), &bytes[..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    if method == "GET" { stream.write_all(body) } else { Ok(()) }
}
