//! A small server that answers as the comment APIs of GitHub and GitLab do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

pub const TOKEN: &str = "s3cr3t-token";

#[derive(Default)]
pub struct State {
    /// Id and body.
    pub comments: Vec<(u64, String)>,
    /// Comments that somebody else wrote.
    pub foreign: Vec<u64>,
    /// Is the token that of a job, which may not ask whose it is?
    pub is_bot: bool,
    /// Method and path of each request.
    pub asked: Vec<String>,
    /// Open pull requests: number, head (`owner:branch`) and commit.
    pub pulls: Vec<(u64, String, String)>,
    /// Answer everything with this status.
    pub status: Option<u16>,
}

pub struct Api {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Api {
    pub fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is its own affair.
                let _ = answer(stream.unwrap(), &shared);
            }
        });
        Api { url, state }
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub fn comments(&self) -> Vec<(u64, String)> {
        self.state.lock().unwrap().comments.clone()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    let (mut length, mut authorised) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_string();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorised = value == format!("Bearer {TOKEN}"),
            "private-token" => authorised = value == TOKEN,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let mut state = state.lock().unwrap();
    let (method, path) = (words[0].as_str(), words[1].as_str());
    state.asked.push(format!("{method} {path}"));
    let (status, json) = match state.status {
        Some(status) => (status, json!({"message": "Resource not accessible by integration"})),
        None if !authorised => (401, json!({"message": "Bad credentials"})),
        None => reply(&mut state, method, path, &body),
    };
    let text = json.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())
}

fn reply(state: &mut State, method: &str, path: &str, body: &Json) -> (u16, Json) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let ask = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_string);
    let text = body["body"].as_str().unwrap_or_default().to_string();
    let is_list = ["/repos/o/r/issues/7/comments", "/projects/5/merge_requests/7/notes"].contains(&path);
    let one =
        path.strip_prefix("/repos/o/r/issues/comments/").or(path.strip_prefix("/projects/5/merge_requests/7/notes/"));
    match method {
        "GET" if is_list => {
            let number = |name: &str, usual: usize| ask(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
            let (size, page) = (number("per_page", 20), number("page", 1));
            let page = state.comments.iter().skip((page - 1) * size).take(size);
            let (own, kind) = if state.is_bot { ("ci[bot]", "Bot") } else { ("ci", "User") };
            let author = |id: &u64| if state.foreign.contains(id) { ("mallory", "User") } else { (own, kind) };
            let one = |(id, body): &(u64, String)| {
                let (name, kind) = author(id);
                json!({"id": id, "body": body, "user": {"login": name, "type": kind}, "author": {"username": name}})
            };
            (200, page.map(one).collect())
        }
        "POST" if is_list => {
            let id = state.comments.len() as u64 + 1000;
            state.comments.push((id, text));
            (201, json!({"id": id}))
        }
        "PATCH" | "PUT" if one.is_some() => {
            let id: u64 = one.unwrap().parse().unwrap();
            let comment = state.comments.iter_mut().find(|(known, _)| *known == id).unwrap();
            comment.1 = text;
            (200, json!({"id": id}))
        }
        "GET" if path == "/user" && state.is_bot => (403, json!({"message": "Resource not accessible by integration"})),
        "GET" if path == "/user" => (200, json!({"login": "ci", "username": "ci"})),
        "GET" if path == "/repos/o/r/pulls" => {
            let head = ask("head").unwrap().replace("%3A", ":").replace("%2F", "/");
            let found = state.pulls.iter().filter(|(_, known, _)| *known == head);
            (200, found.map(|(number, _, commit)| json!({"number": number, "head": {"sha": commit}})).collect())
        }
        _ => (404, json!({"message": "Not Found"})),
    }
}
