//! `lockstep serve`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::cli::global::Global;
use crate::cli::inherited::inherited_sockets;
use crate::cli::output::Output;
use crate::cli::signals;
use crate::cli::surroundings::surroundings;
use crate::document;
use crate::error::{Error, Result};
use crate::project::Surroundings;
use crate::serve::once::percentile;
use crate::serve::{EngineChoice, EngineOptions, Listeners, ServeEvent, ServeOptions, Token, serve, serve_once};

/// Answer requests with models over HTTP
///
/// Serves ONNX models by the Open Inference Protocol v2, in JSON and with binary tensors, so that Triton's clients work.
/// Follows the link `current` of a deployment folder, or a label, and switches to another version without losing a
/// request. Needs the library ONNX Runtime at run time: pip install onnxruntime.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep serve /srv/digits                         a deployment folder: the release that `current` names
  lockstep serve 'digits#prod'                       the version with a label, and those that get it later
  lockstep serve model.onnx --listen 127.0.0.1:9000  a file
  lockstep serve . --listen 0.0.0.0:8080 --token-file /etc/lockstep/token
  lockstep serve . --once request.json               one answer without a server: a smoke test
  curl -s localhost:8080/v2/models/digits/infer -H 'Content-Type: application/json' -d @request.json

GET / is a page for people, GET /metrics has counters for Prometheus. docs/serving.md has more.")]
pub struct Args {
    /// A release or deployment folder, a model of the registry (NAME, NAME@VERSION, NAME#LABEL), or a model file
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    /// The address to listen on; beyond this machine it needs --token-file or --open
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// The engine [default: by the format of the model]
    #[arg(long, value_enum)]
    engine: Option<EngineName>,
    /// The library of ONNX Runtime, or its folder
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Requests that run at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Requests that wait; further ones get a 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    queue: u32,
    /// The largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_body: u64,
    /// The time for a body to arrive, and for an answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// How long to go on answering after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    drain: Duration,
    /// A file with the token that clients have to send
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Let other machines ask without a token
    #[arg(long, conflicts_with = "token_file")]
    open: bool,
    /// How often to look for another version, or `never`
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = follow)]
    follow: Follow,
    /// Print the answer to the request in a file, and end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "token_file", "open"])]
    once: Option<PathBuf>,
    /// With --once: run N more times and print how long a run takes
    #[arg(long, value_name = "N", requires = "once")]
    repeat: Option<u32>,
    /// Print events as JSON, one a line
    #[arg(long)]
    json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum EngineName {
    /// ONNX Runtime
    Onnx,
    /// libtorch, for TorchScript
    Torch,
}

#[derive(Clone, Copy, Debug)]
struct Follow(Option<Duration>);

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let around = surroundings(global)?;
    let engine = EngineOptions {
        engine: args.engine.map(|name| match name {
            EngineName::Onnx => EngineChoice::Onnx,
            EngineName::Torch => EngineChoice::Torch,
        }),
        onnxruntime: args.onnxruntime.clone(),
        workers: args.workers.map_or_else(cores, |n| n as usize),
    };
    match &args.once {
        Some(file) => run_once(args, file, &engine, &around, out),
        None => run_server(args, &engine, &around, out),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run_once(
    args: &Args,
    file: &std::path::Path,
    engine: &EngineOptions,
    around: &Surroundings,
    out: &Output,
) -> Result<u8> {
    let [what] = &args.what[..] else {
        return Err(Error::usage("--once answers with one model, and several are named"));
    };
    let engine = EngineOptions { workers: 1, ..engine.clone() };
    let outcome = serve_once(what, &engine, around, &around.cwd.join(file), args.repeat.unwrap_or(0))?;
    out.line(String::from_utf8_lossy(&outcome.answer));
    if !outcome.times.is_empty() {
        let micros = |percent| percentile(&outcome.times, percent).as_nanos() as f64 / 1000.0;
        let (p50, p99, runs) = (micros(50), micros(99), outcome.times.len());
        match args.json {
            true => out.line(json!({"runs": runs, "p50_us": p50, "p99_us": p99}).to_string()),
            false => out.line(format!("{runs} runs: p50 {p50:.1} µs, p99 {p99:.1} µs")),
        }
    }
    Ok(0)
}

fn run_server(args: &Args, engine: &EngineOptions, around: &Surroundings, out: &Output) -> Result<u8> {
    let token = args.token_file.as_ref().map(|file| read_token(&around.cwd.join(file), out)).transpose()?;
    let sockets: Vec<TcpListener> = inherited_sockets(&around.env)?;
    let listeners = match sockets.is_empty() {
        true => Listeners::bind(&args.listen)?,
        false => Listeners::inherited(sockets)?,
    };
    if listeners.is_public() && token.is_none() && !args.open {
        let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
        return Err(Error::usage(format!("{} can be reached from other machines", addresses.join(", ")))
            .hint("let clients with a token in: --token-file FILE")
            .hint("or everyone: --open"));
    }
    let options = ServeOptions {
        queue: args.queue as usize,
        max_body: usize::try_from(args.max_body).unwrap_or(usize::MAX),
        timeout: args.timeout,
        drain: args.drain,
        follow: args.follow.0,
        token,
    };
    signals::watch();
    serve(&args.what, engine, options, listeners, around, &|event| print_event(&event, args.json, out))?;
    Ok(0)
}

fn read_token(file: &std::path::Path, out: &Output) -> Result<Token> {
    use std::os::unix::fs::PermissionsExt;
    let shown = file.display().to_string();
    let absent = || Error::missing(format!("{shown} does not exist")).hint(format!("openssl rand -hex 32 > {shown}"));
    let text = document::read_text(file, 64 << 10)?.ok_or_else(absent)?;
    if std::fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o077 != 0) {
        out.warn(format!("{shown} holds a secret and other users may read it"));
        out.hint(format!("chmod 600 {}", crate::shell::word(&shown)));
    }
    Token::from_text(&text, &shown)
}

fn print_event(event: &ServeEvent<'_>, json: bool, out: &Output) {
    match event {
        _ if json => out.line(as_json(event).to_string()),
        ServeEvent::Listening { addresses } => {
            out.status(format!("listening on http://{}", addresses.join(", http://")))
        }
        ServeEvent::Switched { model, from, to, remarks } => {
            match from {
                Some(from) => out.status(format!("{model}: {from} → {to}")),
                None => out.status(format!("{model}: {to}")),
            }
            remarks.iter().for_each(|remark| out.warn(format!("{model} {to}: {remark}")));
        }
        ServeEvent::Kept { model, error } => out.warn_error(format!("{model}: the old version goes on:"), error),
        ServeEvent::Ready => out.status("ready"),
    }
}

fn as_json(event: &ServeEvent<'_>) -> serde_json::Value {
    match event {
        ServeEvent::Listening { addresses } => json!({"event": "listening", "addresses": addresses}),
        ServeEvent::Switched { model, from, to, remarks } => {
            json!({"event": "switched", "model": model, "from": from, "to": to, "remarks": remarks})
        }
        ServeEvent::Kept { model, error } => {
            json!({"event": "kept", "model": model, "why": error.to_string()})
        }
        ServeEvent::Ready => json!({"event": "ready"}),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write 500ms or 30s"))
}

fn follow(text: &str) -> Result<Follow, String> {
    match text {
        "never" => Ok(Follow(None)),
        text => match duration(text)? {
            time if time < Duration::from_millis(10) => Err("at least 10ms, or never".into()),
            time => Ok(Follow(Some(time))),
        },
    }
}

/// `64MiB`, `500kB`, `1000`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<u64> = text[..digits].parse().ok();
    let unit = match text[digits..].trim() {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = number.zip(unit).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
    size.filter(|size| *size > 0).ok_or_else(|| "write 64MiB, 500kB or a number of bytes".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        for (text, want) in [
            ("64MiB", Some(64 << 20)),
            ("500kB", Some(500_000)),
            ("7", Some(7)),
            ("0", None),
            ("1e3", None),
            ("", None),
            ("MiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(size(text).ok(), want, "{text}");
        }
        assert!(follow("never").unwrap().0.is_none() && follow("1s").unwrap().0.is_some());
        assert!(follow("1ms").is_err() && follow("x").is_err());
    }
}
