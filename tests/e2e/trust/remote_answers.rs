//! A remote that sends without end does not fill the memory: every get has the most that it may bring.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use super::run_limited;
use crate::sandbox::Sandbox;

/// A repository with one output, pushed to a folder, and gone from here.
fn pushed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'head -c 2000000 /dev/zero > o; echo 1 > p', outs: [o, p]}}\n");
    sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{}\"\n", sandbox.beside("lab").display()));
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!(sandbox.run(&["remote", "trust", "lab", "--yes"]).code, 0);
    assert_eq!(sandbox.run(&["push"]).code, 0);
    for gone in [".git/lockstep/store", ".git/lockstep/remotes", "o", "p"] {
        let path = sandbox.path(gone);
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
    sandbox
}

/// The paths of the files of the remote that `pull` reads.
fn files_of(sandbox: &Sandbox) -> Vec<String> {
    let lab = sandbox.beside("lab");
    let all = crate::promises::files(&lab).into_keys();
    all.filter(|path| !path.starts_with("tmp/") && path != "index/all").collect()
}

#[test]
fn of_a_folder() {
    let names = files_of(&pushed());
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        for thing in ["/dev/zero", "fifo", "large"] {
            let sandbox = pushed();
            let path = sandbox.beside("lab").join(&name);
            // A name with a time in it differs from run to run.
            let path = if path.exists() { path } else { newest(path.parent().unwrap()) };
            std::fs::remove_file(&path).unwrap();
            match thing {
                "fifo" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "large" => std::fs::File::create(&path).unwrap().set_len(9 << 30).unwrap(),
                device => symlink(device, &path).unwrap(),
            }
            for command in [&["pull"][..], &["status", "-c"]] {
                let out = run_limited(&sandbox, command);
                assert!(matches!(out.code, 0 | 1 | 3 | 4 | 7), "{thing} as {name}, {command:?}: {out}");
                assert!(!out.stderr.contains("memory"), "{thing} as {name}, {command:?}: {out}");
            }
            assert!(
                thing != "large" || name.starts_with("objects/") || run_limited(&sandbox, &["pull"]).code != 0,
                "{name}"
            );
        }
    }
}

fn newest(folder: &std::path::Path) -> std::path::PathBuf {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| !path.ends_with("all")).unwrap()
}

#[test]
fn of_a_server() {
    for endless in ["lockstep-remote", "index/all", "a segment", "packs/", "objects/"] {
        for how in [Endless::Claimed, Endless::Chunked, Endless::Silent] {
            let sandbox = pushed();
            let lab = sandbox.beside("lab");
            let segment = files_of(&sandbox).into_iter().find(|name| name.starts_with("index/")).unwrap();
            let endless = if endless == "a segment" { segment } else { endless.to_string() };
            let start = endless.clone();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (lab, start) = (lab.clone(), start.clone());
                    std::thread::spawn(move || answer(stream.unwrap(), &lab, &start, how));
                }
            });
            sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{url}\"\nretries = 0\n"));
            let out = run_limited(&sandbox, &["pull"]);
            assert!(matches!(out.code, 3 | 4), "{endless}: {out}");
            assert!(out.stderr.contains("lab"), "{endless}: {out}");
            assert!(!out.stderr.contains("memory"), "{endless}: {out}");
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Endless {
    /// With a length of 9 GB.
    Claimed,
    Chunked,
    /// Without a length: until the connection ends.
    Silent,
}

/// Answers as a static server does, but what begins with `endless` has no end.
fn answer(mut stream: TcpStream, lab: &std::path::Path, endless: &str, how: Endless) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_string();
    let is_head = request.starts_with("head");
    let zeros = vec![b'0'; 1 << 16];
    if path.starts_with(endless) && !is_head {
        let head = match how {
            Endless::Claimed => "Content-Length: 9000000000\r\n",
            Endless::Chunked => "Transfer-Encoding: chunked\r\n",
            Endless::Silent => "",
        };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n");
        for _ in 0..140_000 {
            let sent = if how == Endless::Chunked {
                write!(stream, "{:x}\r\n", zeros.len())
                    .and_then(|()| stream.write_all(&zeros))
                    .and_then(|()| stream.write_all(b"\r\n"))
            } else {
                stream.write_all(&zeros)
            };
            if sent.is_err() {
                return;
            }
        }
        return;
    }
    let Ok(bytes) = std::fs::read(lab.join(&path)) else {
        let _ = write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let range =
        range.and_then(|r| r.trim().split_once('-')).and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (status, first, last): (_, usize, usize) = match range {
        Some((first, last)) => ("206 Partial Content", first, usize::min(last, bytes.len() - 1)),
        None => ("200 OK", 0, bytes.len() - 1),
    };
    let own = &bytes[first..=last];
    let total = bytes.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{total}\r\nConnection: close\r\n\r\n",
        own.len()
    );
    if !is_head {
        let _ = stream.write_all(own);
    }
}
