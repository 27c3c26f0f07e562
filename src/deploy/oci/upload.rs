//! Uploads a blob in chunks. After a failure the registry is asked how far it is, and the upload goes on from there.

use std::io::{Read, Seek, SeekFrom};
use std::thread::sleep;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::{Method, StatusCode, Url as HttpUrl};

use super::client::Registry;
use crate::error::{Error, Result};

/// The bytes of one request.
const CHUNK: u64 = 16 << 20;
/// How often in a row a chunk is tried.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes that can be read again from any position.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

impl Registry {
    /// Uploads `size` bytes with this digest. `done` is told the bytes of each chunk that arrived.
    pub(super) fn upload(&self, digest: &str, size: u64, source: &mut dyn Source, done: &dyn Fn(u64)) -> Result<()> {
        let start = self.url("blobs/uploads/")?;
        let answer = self.send(|| self.request(Method::POST, start.clone()).header(CONTENT_LENGTH, 0))?;
        if !answer.status().is_success() {
            return Err(self.refused("an upload cannot begin", answer));
        }
        let mut at = self.location(answer.headers(), &start)?;
        let mut sent = 0;
        let (mut failures, mut farthest) = (0, 0);
        while sent < size {
            match self.send_chunk(&at, sent, size, source) {
                Ok((next, end)) => {
                    done(end - sent);
                    (at, sent) = (next, end);
                    // A registry that forgets what it had makes no progress.
                    if sent > farthest {
                        (farthest, failures) = (sent, 0);
                    }
                }
                Err(ChunkError::Final(error)) => return Err(error),
                Err(ChunkError::Again(error)) => {
                    failures += 1;
                    if failures == TRIES {
                        return Err(error);
                    }
                    sleep(PAUSE * 2u32.pow(failures));
                    self.stop.check()?;
                    if let Some((next, end)) = self.progress(&at, size) {
                        (at, sent) = (next, end);
                    }
                }
            }
        }
        self.close(at, digest)
    }

    fn send_chunk(
        &self,
        at: &HttpUrl,
        from: u64,
        size: u64,
        source: &mut dyn Source,
    ) -> Result<(HttpUrl, u64), ChunkError> {
        let end = size.min(from + CHUNK);
        let mut bytes = Vec::new();
        let unreadable =
            |e: std::io::Error| ChunkError::Final(self.error("a file of the release cannot be read".into()).because(e));
        source.seek(SeekFrom::Start(from)).map_err(unreadable)?;
        source.take(end - from).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != end - from {
            return Err(ChunkError::Final(self.error("a file of the release became shorter".into())));
        }
        let patch = || {
            self.request(Method::PATCH, at.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, format!("{from}-{}", end - 1))
                .body(bytes.clone())
        };
        let answer = self.send(patch).map_err(|e| match e.kind {
            crate::error::Kind::Remote => ChunkError::Again(e),
            _ => ChunkError::Final(e),
        })?;
        match answer.status() {
            status if status.is_success() => {
                let next = self.location(answer.headers(), at).map_err(ChunkError::Final)?;
                Ok((next, end))
            }
            status if status.is_server_error() || is_out_of_step(status) => {
                Err(ChunkError::Again(self.refused("a chunk cannot be uploaded", answer)))
            }
            _ => Err(ChunkError::Final(self.refused("a chunk cannot be uploaded", answer))),
        }
    }

    /// Where the upload goes on, and how many bytes have arrived; `None` if the registry does not say.
    fn progress(&self, at: &HttpUrl, size: u64) -> Option<(HttpUrl, u64)> {
        let answer = self.send(|| self.request(Method::GET, at.clone())).ok()?;
        let next = self.location(answer.headers(), at).unwrap_or_else(|_| at.clone());
        let end = arrived(answer.headers())?;
        (answer.status().is_success() && end <= size).then_some((next, end))
    }

    /// With an empty body: registries differ in what they take with the last bytes.
    fn close(&self, mut at: HttpUrl, digest: &str) -> Result<()> {
        at.query_pairs_mut().append_pair("digest", digest);
        let put = || self.request(Method::PUT, at.clone()).header(CONTENT_LENGTH, 0);
        let answer = self.send(put)?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(self.refused("the registry does not accept a blob", answer)),
        }
    }
}

enum ChunkError {
    /// The same chunk may arrive later.
    Again(Error),
    Final(Error),
}

/// The registry expects another position.
fn is_out_of_step(status: StatusCode) -> bool {
    status == StatusCode::RANGE_NOT_SATISFIABLE
}

/// The number of bytes of `Range: 0-END`, which is inclusive. A registry writes `0-0` before the first byte, too, so
/// one byte counts as none.
fn arrived(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let end: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    Some(if end == 0 { 0 } else { end + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, want) in [
            ("0-16777215", Some(16 << 20)),
            ("0-0", Some(0)),
            ("bytes=0-9", Some(10)),
            ("1-2", None),
            ("x", None),
            ("0-", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            assert_eq!(arrived(&headers), want, "{range}");
        }
        assert_eq!(arrived(&HeaderMap::new()), None);
    }
}
