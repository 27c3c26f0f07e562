//! A proxy that stands between lockstep and a server and makes the way bad: late, cut off, refused, garbled.
//!
//! It reads HTTP/1.1 message by message, so that it can count requests and let something befall a share of them; what it
//! does not read along (`Proxy::raw`, for SFTP) it can still hold up or cut off. What befalls is the [`Weather`].
//!
//! A transfer can be held after so many bytes ([`Proxy::hold_after`]), and a test that wants to kill somebody in the
//! middle of it need not guess at times.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Body, Head};
use super::weather::{Fate, Weather};

/// Listens on a port of loopback until it is dropped; then nobody is connected any more.
pub struct Proxy {
    port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: u16,
    reads_http: bool,
    weather: Mutex<Weather>,
    /// The first line of each request.
    requests: Mutex<Vec<String>>,
    /// Of the next request.
    number: AtomicU64,
    passed: Bytes,
    /// Bytes that may pass before all has to wait, and whether somebody waits.
    gate: Mutex<Gate>,
    moved: Condvar,
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Bytes {
    up: AtomicU64,
    down: AtomicU64,
}

struct Gate {
    limit: u64,
    waiting: usize,
}

impl Proxy {
    /// In front of an HTTP server.
    pub fn http(upstream: u16, weather: Weather) -> Proxy {
        Proxy::new(upstream, weather, true)
    }

    /// In front of any server; only the latency of a connection and the gate count.
    pub fn raw(upstream: u16) -> Proxy {
        Proxy::new(upstream, Weather::default(), false)
    }

    fn new(upstream: u16, weather: Weather, reads_http: bool) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            upstream,
            reads_http,
            weather: Mutex::new(weather),
            requests: Mutex::default(),
            number: AtomicU64::new(0),
            passed: Bytes::default(),
            gate: Mutex::new(Gate { limit: u64::MAX, waiting: 0 }),
            moved: Condvar::new(),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let serving = inner.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                let inner = serving.clone();
                thread::spawn(move || {
                    let _ = inner.serve(client); // either end went away, which is no matter of the proxy
                });
            }
        });
        Proxy { port, inner }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the next request on.
    pub fn set(&self, weather: Weather) {
        *self.inner.weather.lock().unwrap() = weather;
    }

    /// The first lines of the requests since the last call, in the order they came.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.requests.lock().unwrap())
    }

    /// Bytes that came from clients and from the server.
    pub fn bytes(&self) -> (u64, u64) {
        let passed = &self.inner.passed;
        (passed.up.load(Ordering::SeqCst), passed.down.load(Ordering::SeqCst))
    }

    /// So many more bytes pass, both ways together; then everybody waits.
    pub fn hold_after(&self, bytes: u64) {
        let (up, down) = self.bytes();
        self.inner.gate.lock().unwrap().limit = up + down + bytes;
    }

    /// Whether a transfer came to the limit, within a time.
    pub fn is_held(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut gate = self.inner.gate.lock().unwrap();
        while gate.waiting == 0 {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            gate = self.inner.moved.wait_timeout(gate, left).unwrap().0;
        }
        true
    }

    pub fn release(&self) {
        self.inner.gate.lock().unwrap().limit = u64::MAX;
        self.inner.moved.notify_all();
    }

    /// Closes every connection that is open now.
    pub fn cut(&self) {
        self.inner.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.release();
        self.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // wakes who listens
    }
}

impl Inner {
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        thread::sleep(self.weather.lock().unwrap().latency);
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap().push(stream.try_clone()?);
        }
        let ended = if self.reads_http { self.http(&client, &server) } else { self.raw(&client, &server) };
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        ended
    }

    fn raw(&self, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = self.pass_all(client, server, &self.passed.up);
                let _ = server.shutdown(Shutdown::Write);
            });
            let ended = self.pass_all(server, client, &self.passed.down);
            let _ = client.shutdown(Shutdown::Both);
            ended
        })
    }

    fn pass_all(&self, mut from: &TcpStream, mut to: &TcpStream, counter: &AtomicU64) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.gate(n, counter);
            to.write_all(&buffer[..n])?;
        }
    }

    /// Counts bytes about to be passed on; waits while they are too many.
    fn gate(&self, bytes: usize, counter: &AtomicU64) {
        let total = || self.passed.up.load(Ordering::SeqCst) + self.passed.down.load(Ordering::SeqCst);
        let mut gate = self.gate.lock().unwrap();
        while total() + bytes as u64 > gate.limit {
            gate.waiting += 1;
            self.moved.notify_all();
            gate = self.moved.wait(gate).unwrap();
            gate.waiting -= 1;
        }
        counter.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    fn http(&self, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(server));
        while let Some(request) = Head::read(&mut requests)? {
            let weather = *self.weather.lock().unwrap();
            let number = self.number.fetch_add(1, Ordering::SeqCst);
            self.requests.lock().unwrap().push(request.line().to_string());
            thread::sleep(weather.latency);
            if request.value("expect").is_some() {
                (&*client).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let fate = weather.fate(number, request.line());
            let body = request.body();
            if let Fate::Refused(status) = fate {
                self.pass_body(&mut requests, &mut io::sink(), body, &self.passed.up)?;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                (&*client).write_all(answer.as_bytes())?;
                continue;
            }
            (&*server).write_all(&request.bytes)?;
            if fate == Fate::RequestDropped && body != Body::None {
                return self.pass_body(&mut requests, &mut &*server, body.half(), &self.passed.up);
            }
            // A server may answer and hang up before it has the whole body: the answer counts, not that we could not
            // deliver the rest.
            let delivered = self.pass_body(&mut requests, &mut &*server, body, &self.passed.up);
            let answer = loop {
                match Head::read(&mut answers)? {
                    Some(head) if head.status().starts_with('1') => {}
                    Some(head) => break head,
                    None => return delivered.and(Err(io::ErrorKind::UnexpectedEof.into())),
                }
            };
            self.answer(&request, answer, fate, &mut answers, client)?;
            delivered?;
        }
        Ok(())
    }

    /// An error also where the connection is of no use afterwards.
    fn answer(
        &self,
        request: &Head,
        mut answer: Head,
        fate: Fate,
        answers: &mut BufReader<&TcpStream>,
        mut client: &TcpStream,
    ) -> io::Result<()> {
        let has_none = request.line().starts_with("HEAD ") || ["204", "304"].contains(&answer.status());
        let body = match answer.body() {
            _ if has_none => Body::None,
            Body::None if answer.value("content-length").is_none() => Body::UntilTheEnd,
            body => body,
        };
        let over = || Err(io::ErrorKind::ConnectionAborted.into());
        match (fate, body) {
            (Fate::RequestDropped | Fate::AnswerDropped, body) => {
                if body != Body::None {
                    client.write_all(&answer.bytes)?;
                    self.pass_body(answers, &mut client, body.half(), &self.passed.down)?;
                }
                return over();
            }
            (Fate::Truncated | Fate::Corrupted, body) if body != Body::None => {
                let mut bytes = whole(answers, body)?;
                let middle = bytes.len() / 2;
                match fate {
                    Fate::Truncated => bytes.truncate(middle),
                    _ => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x10),
                }
                self.gate(bytes.len(), &self.passed.down);
                answer.set_length(bytes.len() as u64);
                client.write_all(&[answer.bytes, bytes].concat())?;
                return over();
            }
            (_, body) => {
                client.write_all(&answer.bytes)?;
                self.pass_body(answers, &mut client, body, &self.passed.down)?;
            }
        }
        let closes = answer.value("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if closes || body == Body::UntilTheEnd { over() } else { Ok(()) }
    }

    fn pass_body(
        &self,
        from: &mut impl BufRead,
        to: &mut impl Write,
        body: Body,
        counter: &AtomicU64,
    ) -> io::Result<()> {
        match body {
            Body::None => Ok(()),
            Body::Length(n) => self.pass(from, to, n, counter),
            Body::UntilTheEnd => self.pass(from, to, u64::MAX, counter),
            Body::Chunked => loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                to.write_all(line.as_bytes())?;
                let size = chunk_size(&line)?;
                if size > 0 {
                    self.pass(from, to, size + 2, counter)?;
                    continue;
                }
                while line != "\r\n" && !line.is_empty() {
                    line.clear();
                    from.read_line(&mut line)?;
                    to.write_all(line.as_bytes())?;
                }
                return Ok(());
            },
        }
    }

    /// Up to `n` bytes; fewer only if `n` stands for "all there are".
    fn pass(&self, from: &mut impl BufRead, to: &mut impl Write, n: u64, counter: &AtomicU64) -> io::Result<()> {
        let mut left = n;
        while left > 0 {
            let there = from.fill_buf()?;
            if there.is_empty() {
                return if n == u64::MAX { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let now = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.gate(now, counter);
            to.write_all(&there[..now])?;
            from.consume(now);
            left -= now as u64;
        }
        Ok(())
    }
}

/// The bytes of a body, however they came.
fn whole(from: &mut impl BufRead, body: Body) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match body {
        Body::None => {}
        Body::Length(n) => drop(from.take(n).read_to_end(&mut bytes)?),
        Body::UntilTheEnd => drop(from.read_to_end(&mut bytes)?),
        Body::Chunked => loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            match chunk_size(&line)? {
                0 => break,
                n => from.take(n).read_to_end(&mut bytes)?,
            };
            from.read_line(&mut line)?;
        },
    }
    Ok(bytes)
}

fn chunk_size(line: &str) -> io::Result<u64> {
    let size = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
