//! What went wrong with an HTTP request, in words. The error of the library begins with the address, which may have a
//! signature, so only its kind and its last cause are told.

use std::error::Error as _;

use crate::url::redact_text;

/// The kind of a failure, and its last cause if there is one.
pub fn request_failure(e: &reqwest::Error) -> (&'static str, Option<String>) {
    let what = match () {
        _ if e.is_timeout() => "no answer in time",
        _ if e.is_connect() => "cannot connect",
        _ => "the request failed",
    };
    let mut last = e.source();
    while let Some(cause) = last.and_then(std::error::Error::source) {
        last = Some(cause);
    }
    (what, last.map(|cause| redact_text(&cause.to_string())))
}
