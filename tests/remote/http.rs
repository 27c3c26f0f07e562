//! As much of HTTP/1.1 as a proxy must understand: where a message ends.

use std::io::{self, BufRead};

/// How the end of a message is found.
#[derive(Clone, Copy, PartialEq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
    UntilTheEnd,
}

impl Body {
    /// What is passed on of a body that is cut off.
    pub fn half(self) -> Body {
        match self {
            Body::Length(n) => Body::Length(n / 2),
            _ => Body::None,
        }
    }
}

/// The first line and the headers, as they came.
pub struct Head {
    pub bytes: Vec<u8>,
    text: String,
}

impl Head {
    /// `None` where the connection ended before it.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            from.read_until(b'\n', &mut bytes)?;
            match &bytes[before..] {
                b"" if bytes.is_empty() => return Ok(None),
                b"" => return Err(io::ErrorKind::UnexpectedEof.into()),
                b"\r\n" => break,
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(Head { bytes, text }))
    }

    pub fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// Of an answer, three digits.
    pub fn status(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn body(&self) -> Body {
        if self.value("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return Body::Chunked;
        }
        match self.value("content-length").and_then(|v| v.parse().ok()) {
            None | Some(0) => Body::None,
            Some(n) => Body::Length(n),
        }
    }

    /// The body has that length, whatever was said before.
    pub fn set_length(&mut self, length: u64) {
        let kept =
            self.text.lines().filter(|l| !l.is_empty() && !l.to_ascii_lowercase().starts_with("content-length:"));
        let lines: String = kept.map(|line| format!("{line}\r\n")).collect();
        self.bytes = format!("{lines}Content-Length: {length}\r\n\r\n").into_bytes();
    }
}
