//! A web server over a folder that can keep its clients waiting.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub struct Slow {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stall: AtomicBool,
    sent: AtomicUsize,
}

impl Slow {
    /// Serves until the test ends.
    pub fn serve(folder: PathBuf) -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<State>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, state) = (folder.clone(), Arc::clone(&shared));
                std::thread::spawn(move || answer(stream.unwrap(), &folder, &state));
            }
        });
        Slow { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on nobody gets anything of an object but its beginning.
    pub fn stall(&self, stall: bool) {
        self.state.stall.store(stall, Ordering::SeqCst);
    }

    /// Bytes of bodies.
    pub fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }
}

fn answer(stream: TcpStream, folder: &Path, state: &State) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    loop {
        let request = lines.next()?.ok()?;
        let mut range = None;
        while let Some(line) = lines.next()?.ok().filter(|line| !line.is_empty()) {
            if let Some(asked) = line.to_lowercase().strip_prefix("range: bytes=") {
                let (from, to) = asked.split_once('-').unwrap();
                range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().ok()));
            }
        }
        let mut words = request.split(' ');
        let (verb, path) = (words.next().unwrap(), words.next().unwrap());
        let Ok(bytes) = fs::read(folder.join(path.trim_start_matches('/'))) else {
            (&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        let (from, to) = range.map_or((0, bytes.len()), |(from, to)| (from, to.map_or(bytes.len(), |to| to + 1)));
        if path.starts_with("/objects/") && from >= 16 << 20 && state.stall.load(Ordering::SeqCst) {
            std::thread::park();
        }
        let part = &bytes[from..to.min(bytes.len())];
        let status = match range {
            Some(_) => {
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", from + part.len() - 1, bytes.len())
            }
            None => "200 OK".to_string(),
        };
        write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", part.len()).ok()?;
        if verb == "GET" {
            state.sent.fetch_add(part.len(), Ordering::SeqCst);
            (&stream).write_all(part).ok()?;
        }
    }
}
