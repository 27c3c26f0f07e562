//! The HTTP transport of remotes, where the library's own does not fit.
//!
//! For WebDAV the library takes 429 Too Many Requests for a client error and gives up, where every other service waits
//! and repeats. It reads every answer to its end: here an answer is limited to the requested size, or to
//! [`cap::ANSWER`]. It also follows a redirect from `https://` to `http://`, and sends the next server the URL that it
//! comes from, which may contain a signature. Only data that is read over plain HTTP may be on another server than the
//! remote. (The client drops `Authorization` if scheme, host or port differ.)

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::header::{CONTENT_LENGTH, HeaderMap, RANGE};
use http::{Method, Request, Response, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect::{Attempt, Policy};

use crate::remote::backend::{cap, tls};
use crate::remote::settings::address::Scheme;

/// Redirects that are followed for one request.
const MOST_REDIRECTS: usize = 10;

tokio::task_local! {
    /// The limit for answers to the requests of this task that carry an object.
    pub static MOST: u64;
}

/// The usual transport, with 429 treated as temporary and with a limit on every answer.
pub struct BoundedTransport(ReqwestTransport);

impl BoundedTransport {
    /// For remotes of this scheme.
    pub fn new(scheme: Scheme) -> reqwest::Result<BoundedTransport> {
        let policy = Policy::custom(if scheme == Scheme::Http { follow } else { follow_inside });
        let client = tls::http_client().referer(false).redirect(policy).build()?;
        Ok(BoundedTransport(ReqwestTransport::new(client)))
    }
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last().map_or("", |url| url.scheme());
    if from == "https" && attempt.url().scheme() != "https" {
        return attempt.stop();
    }
    if attempt.previous().len() > MOST_REDIRECTS { attempt.error("too many redirects") } else { attempt.follow() }
}

/// Follows redirects to the same scheme, host and port only. For requests with secrets outside of `Authorization`, such
/// as the session token of S3, or with objects in their bodies.
fn follow_inside(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    if from.is_none_or(|from| from.origin() != attempt.url().origin()) {
        return attempt.stop();
    }
    follow(attempt)
}

impl HttpTransport for BoundedTransport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let most = answer_limit(&request);
        let has_body = request.method() != Method::HEAD;
        let mut answer = self.0.fetch(request).await?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let claimed = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if has_body && claimed.is_some_and(|length| length > most) {
            return Err(too_large(most));
        }
        let (head, body) = answer.into_parts();
        let body = body.map_inner(|stream| Box::new(Capped { stream, left: most, most }));
        Ok(Response::from_parts(head, body))
    }
}

/// The limit for the answer to this request.
fn answer_limit(request: &Request<Buffer>) -> u64 {
    let task = MOST.try_with(|most| *most).ok();
    task.or_else(|| asked_for(request.headers())).unwrap_or(0).max(cap::ANSWER)
}

/// The length of the range that a request asks for: `bytes=0-99`.
fn asked_for(headers: &HeaderMap) -> Option<u64> {
    let (first, last) = headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    last.parse::<u64>().ok()?.checked_sub(first.parse::<u64>().ok()?)?.checked_add(1)
}

fn too_large(most: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the answer is larger than {most} bytes"))
}

type Body = Box<dyn Stream<Item = Result<Buffer>> + Send + Sync + Unpin + 'static>;

/// A body that fails if it is longer than allowed.
struct Capped {
    stream: Body,
    left: u64,
    most: u64,
}

impl Stream for Capped {
    type Item = Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Buffer>>> {
        let next = std::task::ready!(Pin::new(&mut self.stream).poll_next(context));
        let Some(Ok(bytes)) = next else { return Poll::Ready(next) };
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.unwrap_or(0);
        Poll::Ready(Some(left.map(|_| bytes).ok_or_else(|| too_large(self.most))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_size_that_was_asked_for() {
        for (range, want) in [
            ("bytes=0-99", Some(100)),
            ("bytes=5-5", Some(1)),
            ("bytes=5-", None),
            ("bytes=-5", None),
            ("bytes=9-5", None),
            ("bytes=0-18446744073709551615", None),
            ("x", None),
        ] {
            let request = Request::get("http://x/").header(RANGE, range).body(Buffer::new()).unwrap();
            assert_eq!(asked_for(request.headers()), want, "{range}");
            assert_eq!(answer_limit(&request), want.unwrap_or(0).max(cap::ANSWER));
        }
    }
}
