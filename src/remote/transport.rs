//! The HTTP of remotes, where the library's own will not do.
//!
//! For WebDAV it takes 429 Too Many Requests for a mistake of ours and gives up, where every other service waits and tries
//! again. And it follows a redirect from `https://` to `http://`, and tells the next server the URL that it comes from,
//! in which there may be a signature. (The client leaves `Authorization` out where scheme, host or port differ.)

use http::{Request, Response, StatusCode};
use opendal::{Buffer, HttpBody, HttpTransport, Result};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect::{Attempt, Policy};

use crate::remote::tls;

/// Redirects that are followed for one request.
const MOST_REDIRECTS: usize = 10;

/// The usual transport, but a server that asks for patience is one that cannot just now.
pub struct Patient(ReqwestTransport);

impl Patient {
    pub fn new() -> reqwest::Result<Patient> {
        tls::install_provider();
        let client = reqwest::Client::builder().referer(false).redirect(Policy::custom(follow)).build()?;
        Ok(Patient(ReqwestTransport::new(client)))
    }
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last().map_or("", |url| url.scheme());
    if from == "https" && attempt.url().scheme() != "https" {
        return attempt.stop();
    }
    if attempt.previous().len() > MOST_REDIRECTS { attempt.error("too many redirects") } else { attempt.follow() }
}

impl HttpTransport for Patient {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let mut answer = self.0.fetch(request).await?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(answer)
    }
}
