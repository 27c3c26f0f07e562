//! What the library does not know of HTTP: for WebDAV it takes 429 Too Many Requests for a mistake of ours and gives up,
//! where every other service waits and tries again.

use http::{Request, Response, StatusCode};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter, Result};

/// The usual transport, but a server that asks for patience is one that cannot just now.
#[derive(Default)]
pub struct Patient(HttpTransporter);

impl HttpTransport for Patient {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let mut answer = self.0.fetch(request).await?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(answer)
    }
}
