//! A WebDAV upload of any size. The library sends one request from memory with a timeout of two minutes; here the body
//! is read while it is sent, a few chunks ahead, and the timeout starts again whenever the server takes a chunk.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use opendal::raw::{
    build_rooted_abs_path, format_authorization_by_basic, format_authorization_by_bearer, percent_encode_path,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::event::StopSignal;
use crate::remote::backend::fault::{Fault, FaultKind, StreamFault};
use crate::remote::backend::tls;

/// The size of a chunk. [`AHEAD`] chunks wait to be sent.
const CHUNK: u64 = 1 << 20;
const AHEAD: usize = 4;
const GLANCE: Duration = Duration::from_millis(50);

/// An uploader for one WebDAV remote.
pub struct Upload {
    client: reqwest::Client,
    endpoint: String,
    root: String,
    authorization: Option<String>,
    /// A server that takes no data for this long has failed.
    patience: Duration,
    stop: StopSignal,
}

impl Upload {
    /// Builds the uploader from the library's settings.
    pub fn new(settings: &BTreeMap<String, String>, patience: Duration, stop: StopSignal) -> Result<Upload, Fault> {
        let get = |name: &str| settings.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let password = get("password").unwrap_or_default();
        let basic = get("username").map(|user| format_authorization_by_basic(user, password)).transpose()?;
        let bearer = get("token").map(format_authorization_by_bearer).transpose()?;
        let client = tls::http_client().redirect(reqwest::redirect::Policy::none()).build();
        Ok(Upload {
            client: client.map_err(|e| unsent(&e))?,
            endpoint: get("endpoint").unwrap_or_default().trim_end_matches('/').to_string(),
            root: format!("/{}/", get("root").unwrap_or_default().trim_matches('/')).replace("//", "/"),
            authorization: bearer.or(basic),
            patience,
            stop,
        })
    }

    /// Sends `size` bytes from `source`. Needs the runtime.
    pub async fn put(
        &self,
        path: &str,
        source: &mut dyn Read,
        size: u64,
        done: &dyn Fn(u64),
    ) -> Result<(), StreamFault> {
        let url = format!("{}{}", self.endpoint, percent_encode_path(&build_rooted_abs_path(&self.root, path)));
        let (sender, pieces) = mpsc::channel(AHEAD);
        let mut request = self.client.put(url).header("content-length", size);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(reqwest::Body::wrap(BodyChunks { pieces, left: size }));
        let mut answer = tokio::spawn(request.send());
        let fed = self.feed(sender, source, size, done, || answer.is_finished()).await;
        if let Err(broken) = fed {
            answer.abort();
            return Err(broken);
        }
        let mut waited = Duration::ZERO;
        let answer = loop {
            match timeout(GLANCE, &mut answer).await {
                Ok(answer) => break answer,
                Err(_) if self.stop.signal().is_some() || waited > self.patience => {
                    answer.abort();
                    return Err(self.timed_out());
                }
                Err(_) => waited += GLANCE,
            }
        };
        let answer = answer.map_err(|e| StreamFault::Remote(Fault::new(FaultKind::Other, e.to_string())))?;
        let status = answer.map_err(|e| StreamFault::Again(unsent(&e)))?.status();
        if status.is_success() { Ok(()) } else { Err(refused(status)) }
    }

    /// Sends the source in chunks; returns early if the server has answered already.
    async fn feed(
        &self,
        sender: mpsc::Sender<Bytes>,
        source: &mut dyn Read,
        size: u64,
        done: &dyn Fn(u64),
        is_answered: impl Fn() -> bool,
    ) -> Result<(), StreamFault> {
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; left.min(CHUNK) as usize];
            source.read_exact(&mut piece).map_err(StreamFault::Source)?;
            left -= piece.len() as u64;
            if left == 0 && source.read(&mut [0]).map_err(StreamFault::Source)? > 0 {
                return Err(StreamFault::Source(io::Error::other("it is longer than expected")));
            }
            let n = piece.len() as u64;
            let mut waited = Duration::ZERO;
            let room = loop {
                match timeout(GLANCE, sender.reserve()).await {
                    Ok(Ok(room)) => break room,
                    // The receiver is closed: the answer says why.
                    Ok(Err(_)) => return Ok(()),
                    Err(_) if is_answered() => return Ok(()),
                    Err(_) if self.stop.signal().is_some() || waited > self.patience => {
                        return Err(self.timed_out());
                    }
                    Err(_) => waited += GLANCE,
                }
            };
            room.send(piece.into());
            done(n);
        }
        Ok(())
    }

    fn timed_out(&self) -> StreamFault {
        match self.stop.signal() {
            Some(number) => StreamFault::Remote(Fault::new(FaultKind::Stopped(number), "interrupted")),
            None => StreamFault::Again(Fault::new(FaultKind::Busy, "the server takes nothing any more: timed out")),
        }
    }
}

/// The body of the request.
struct BodyChunks {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for BodyChunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(piece) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            None if self.left > 0 => Some(Err(io::Error::other("the source broke"))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The meaning of a server's refusal.
fn refused(status: StatusCode) -> StreamFault {
    let text = format!("the server answers {}", status.as_u16());
    let fault = |why| Fault::new(why, text.clone());
    match status.as_u16() {
        401 | 403 => StreamFault::Remote(fault(FaultKind::Denied)),
        404 | 409 => StreamFault::Remote(fault(FaultKind::NotFound)),
        413 | 507 => StreamFault::Remote(fault(FaultKind::Full)),
        408 | 425 | 429 | 500..=599 => StreamFault::Again(fault(FaultKind::Busy)),
        _ => StreamFault::Remote(fault(FaultKind::Other)),
    }
}

/// The error for a request without an answer. Without the URL, which may contain a password.
fn unsent(e: &reqwest::Error) -> Fault {
    let cause = std::iter::successors(std::error::Error::source(e), |e| e.source()).last();
    let text = cause.map_or_else(|| "the connection was lost".to_string(), ToString::to_string);
    Fault::new(if e.is_connect() { FaultKind::Unreachable } else { FaultKind::Busy }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_may_pass_are_told_from_others() {
        for (status, why, again) in [
            (401, FaultKind::Denied, false),
            (409, FaultKind::NotFound, false),
            (405, FaultKind::Other, false),
            (429, FaultKind::Busy, true),
            (503, FaultKind::Busy, true),
            (507, FaultKind::Full, false),
        ] {
            let (fault, may_pass) = match refused(StatusCode::from_u16(status).unwrap()) {
                StreamFault::Again(fault) => (fault, true),
                StreamFault::Remote(fault) => (fault, false),
                StreamFault::Source(e) => panic!("{e}"),
            };
            assert_eq!((fault.kind, may_pass), (why, again), "{status}");
        }
    }
}
