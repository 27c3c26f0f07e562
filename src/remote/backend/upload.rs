//! A WebDAV upload of any size. The library sends one request from memory, and gives it two minutes; here the body is
//! read while it travels, a few pieces ahead, and only a server that takes nothing for so long is given up.

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
use crate::remote::backend::fault::{Broken, Fault, Why};
use crate::remote::backend::tls;

/// What is read at once. As many again wait to be sent as [`AHEAD`] says.
const PIECE: u64 = 1 << 20;
const AHEAD: usize = 4;
const GLANCE: Duration = Duration::from_millis(50);

pub struct Upload {
    client: reqwest::Client,
    endpoint: String,
    root: String,
    authorization: Option<String>,
    /// A server that takes nothing for so long has failed.
    patience: Duration,
    stop: StopSignal,
}

impl Upload {
    /// By the library's own settings.
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

    /// Sends what `source` gives, `size` bytes. To be called where the runtime is.
    pub async fn put(&self, path: &str, source: &mut dyn Read, size: u64, done: &dyn Fn(u64)) -> Result<(), Broken> {
        let url = format!("{}{}", self.endpoint, percent_encode_path(&build_rooted_abs_path(&self.root, path)));
        let (sender, pieces) = mpsc::channel(AHEAD);
        let mut request = self.client.put(url).header("content-length", size);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(reqwest::Body::wrap(Pieces { pieces, left: size }));
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
                    return Err(self.late());
                }
                Err(_) => waited += GLANCE,
            }
        };
        let answer = answer.map_err(|e| Broken::Remote(Fault::new(Why::Other, e.to_string())))?;
        let status = answer.map_err(|e| Broken::Again(unsent(&e)))?.status();
        if status.is_success() { Ok(()) } else { Err(refused(status)) }
    }

    /// Hands the source over piece by piece; ends early if the server has answered already.
    async fn feed(
        &self,
        sender: mpsc::Sender<Bytes>,
        source: &mut dyn Read,
        size: u64,
        done: &dyn Fn(u64),
        is_answered: impl Fn() -> bool,
    ) -> Result<(), Broken> {
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; left.min(PIECE) as usize];
            source.read_exact(&mut piece).map_err(Broken::Source)?;
            left -= piece.len() as u64;
            if left == 0 && source.read(&mut [0]).map_err(Broken::Source)? > 0 {
                return Err(Broken::Source(io::Error::other("its size is not what was expected")));
            }
            let n = piece.len() as u64;
            let mut waited = Duration::ZERO;
            let room = loop {
                match timeout(GLANCE, sender.reserve()).await {
                    Ok(Ok(room)) => break room,
                    // Nobody reads any more: the answer says why.
                    Ok(Err(_)) => return Ok(()),
                    Err(_) if is_answered() => return Ok(()),
                    Err(_) if self.stop.signal().is_some() || waited > self.patience => {
                        return Err(self.late());
                    }
                    Err(_) => waited += GLANCE,
                }
            };
            room.send(piece.into());
            done(n);
        }
        Ok(())
    }

    fn late(&self) -> Broken {
        match self.stop.signal() {
            Some(number) => Broken::Remote(Fault::new(Why::Stopped(number), "interrupted")),
            None => Broken::Again(Fault::new(Why::Busy, "the server takes nothing any more: timed out")),
        }
    }
}

/// The body of the request.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Pieces {
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

/// What a server's refusal means.
fn refused(status: StatusCode) -> Broken {
    let text = format!("the server answers {}", status.as_u16());
    let fault = |why| Fault::new(why, text.clone());
    match status.as_u16() {
        401 | 403 => Broken::Remote(fault(Why::Denied)),
        404 | 409 => Broken::Remote(fault(Why::NotFound)),
        413 | 507 => Broken::Remote(fault(Why::Full)),
        408 | 425 | 429 | 500..=599 => Broken::Again(fault(Why::Busy)),
        _ => Broken::Remote(fault(Why::Other)),
    }
}

/// Nobody answered. No URL: it may hold a password.
fn unsent(e: &reqwest::Error) -> Fault {
    let cause = std::iter::successors(std::error::Error::source(e), |e| e.source()).last();
    let text = cause.map_or_else(|| "the connection was lost".to_string(), ToString::to_string);
    Fault::new(if e.is_connect() { Why::Unreachable } else { Why::Busy }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_may_pass_are_told_from_others() {
        for (status, why, again) in [
            (401, Why::Denied, false),
            (409, Why::NotFound, false),
            (405, Why::Other, false),
            (429, Why::Busy, true),
            (503, Why::Busy, true),
            (507, Why::Full, false),
        ] {
            let (fault, may_pass) = match refused(StatusCode::from_u16(status).unwrap()) {
                Broken::Again(fault) => (fault, true),
                Broken::Remote(fault) => (fault, false),
                Broken::Source(e) => panic!("{e}"),
            };
            assert_eq!((fault.why, may_pass), (why, again), "{status}");
        }
    }
}
