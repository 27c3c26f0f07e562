//! Answers requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use serde_json::{Value as Json, json};

use super::body::{self, BodyLimits};
use super::infer::{InferJob, infer};
use super::page;
use super::router::{ModelAddress, Route, route};
use super::state::ServerState;
use crate::serve::models::load::LoadedVersion;
use crate::serve::protocol::answer::EncodedAnswer;
use crate::serve::protocol::refusal::Refusal;
use crate::serve::protocol::tensor::Port;

const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A response with its whole body.
pub type FullResponse = Response<Full<Bytes>>;

/// Answers one request; never fails.
pub async fn respond(state: Arc<ServerState>, request: Request<Incoming>) -> Result<FullResponse, Infallible> {
    let in_flight = state.metrics.enter();
    let mut response = answer(&state, request).await;
    drop(in_flight);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if state.is_stopping() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn answer(state: &Arc<ServerState>, request: Request<Incoming>) -> FullResponse {
    let found = route(request.method().as_str(), request.uri().path());
    if !found.as_ref().is_ok_and(Route::is_health)
        && let Some(token) = &state.token
        && !token.accepts(request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
    {
        let mut response =
            refused(state, Refusal::new(401, "this server needs the header Authorization: Bearer TOKEN"));
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let route = match found {
        Ok(route) => route,
        Err((refusal, allowed)) => {
            let mut response = refused(state, refusal);
            if let Some(allowed) = allowed {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            return response;
        }
    };
    match route {
        Route::Live => as_json(200, &json!({"live": true})),
        Route::Ready => {
            let ready = state.is_ready();
            as_json(if ready { 200 } else { 503 }, &json!({"live": true, "ready": ready}))
        }
        Route::About => as_json(200, &about_server()),
        Route::ModelReady(address) => model_ready(state, &address),
        Route::ModelAbout(address) => match state.find(&address) {
            Ok((model, version)) => as_json(200, &about_model(&model.source.name, &version)),
            Err(refusal) => refused(state, refusal),
        },
        Route::Index => as_json(200, &index(state)),
        Route::Metrics => {
            text("text/plain; version=0.0.4; charset=utf-8", state.metrics.text(&state.infos(), state.pool.waiting()))
        }
        Route::Page => page_response(state),
        Route::Infer(address) => respond_to_infer(state, &address, request).await,
    }
}

fn about_server() -> Json {
    let extensions = ["binary_tensor_data", "model_repository(index)"];
    json!({"name": "lockstep", "version": env!("CARGO_PKG_VERSION"), "extensions": extensions})
}

fn model_ready(state: &ServerState, address: &ModelAddress) -> FullResponse {
    match state.find(address) {
        Err(refusal) if refusal.status == 404 => refused(state, refusal),
        found => {
            let ready = found.is_ok() && !state.is_stopping();
            as_json(if ready { 200 } else { 503 }, &json!({"name": address.name, "ready": ready}))
        }
    }
}

fn about_model(name: &str, version: &LoadedVersion) -> Json {
    let ports = |ports: &Option<Vec<Port>>| {
        let port = |port: &Port| json!({"name": port.name, "datatype": port.datatype.name(), "shape": port.shape});
        ports.iter().flatten().map(port).collect::<Vec<Json>>()
    };
    let facts = &version.facts;
    let mut parameters = serde_json::Map::new();
    let texts = [
        ("blake3", facts.blake3.map(|id| id.hex())),
        ("commit", facts.commit.clone()),
        ("label", facts.label.clone()),
        ("path", facts.path.clone()),
    ];
    parameters.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_string(), text?.into()))));
    json!({
        "name": name,
        "versions": [facts.version],
        "platform": version.platform,
        "inputs": ports(&version.model.signature.inputs),
        "outputs": ports(&version.model.signature.outputs),
        "parameters": parameters,
    })
}

fn index(state: &ServerState) -> Json {
    let entries = state.models.iter().map(|model| match model.current() {
        Some(version) => {
            json!({"name": model.source.name, "version": version.facts.version, "state": "READY", "reason": ""})
        }
        None => {
            json!({"name": model.source.name, "version": "", "state": "UNAVAILABLE", "reason": "it is being loaded"})
        }
    });
    entries.collect()
}

async fn respond_to_infer(
    state: &Arc<ServerState>,
    address: &ModelAddress,
    request: Request<Incoming>,
) -> FullResponse {
    let started = Instant::now();
    let (mut name, mut version) = (String::new(), String::new());
    let answered = run_inference(state, address, request, &mut name, &mut version).await;
    let status = answered.as_ref().map_or_else(|refusal| refusal.status, |_| 200);
    state.metrics.answered(&name, &version, status, started.elapsed());
    match answered {
        Ok(answer) => infer_response(answer),
        Err(refusal) => refused(state, refusal),
    }
}

/// Sets the name and version for the metrics as soon as they are known to be those of a model.
async fn run_inference(
    state: &Arc<ServerState>,
    address: &ModelAddress,
    request: Request<Incoming>,
    name: &mut String,
    version: &mut String,
) -> Result<EncodedAnswer, Refusal> {
    if state.is_stopped.load(Ordering::SeqCst) {
        state.metrics.rejected("stopping");
        return Err(Refusal::new(503, "the server is stopping"));
    }
    let (model, found) = state.find(address)?;
    *name = model.source.name.clone();
    *version = found.facts.version.clone();
    drop(found);
    let json_length = check_headers(request.headers())?;
    let limits = BodyLimits { most: state.limits.body, time: state.limits.time, budget: &state.budget };
    let read = body::read(request.into_body(), &limits).await;
    let (body, share) = read.inspect_err(|refusal| match refusal.status {
        503 => state.metrics.rejected("memory"),
        408 => state.metrics.rejected("slow body"),
        _ => {}
    })?;
    // The model may have been switched while the body arrived.
    let (_, found) = state.find(address)?;
    *version = found.facts.version.clone();
    infer(state, InferJob { model: name.clone(), version: found, body, share, json_length }).await
}

/// The length of the JSON, if binary tensors follow it. Errors: 400, 415.
fn check_headers(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    if let Some(encoding) =
        text(&header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        return Err(Refusal::new(415, format!("Content-Encoding: {encoding} is not taken, send the body as it is")));
    }
    if let Some(kind) = text(&header::CONTENT_TYPE).filter(|kind| !is_known_type(kind)) {
        let wanted = "application/json, or application/octet-stream with binary tensors";
        return Err(Refusal::new(415, format!("Content-Type: {kind}, wanted {wanted}")));
    }
    let length = |text: &str| {
        text.parse().map_err(|_| Refusal::request(format!("Inference-Header-Content-Length: {text} is not a length")))
    };
    text(&JSON_LENGTH).map(length).transpose()
}

fn is_known_type(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind.starts_with("application/") && kind.ends_with("+json");
    is_json || ["application/json", "application/octet-stream", "text/json"].contains(&kind.as_str())
}

fn infer_response(answer: EncodedAnswer) -> FullResponse {
    let EncodedAnswer { bytes, json_length } = answer;
    let kind = if json_length.is_some() { "application/octet-stream" } else { "application/json" };
    let mut response = with_type(200, kind, bytes);
    if let Some(length) = json_length {
        response.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
    }
    response
}

fn refused(state: &ServerState, refusal: Refusal) -> FullResponse {
    let refusal = state.shown(refusal);
    let mut response = with_type(refusal.status, "application/json", refusal.body());
    if refusal.status == 503 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn page_response(state: &ServerState) -> FullResponse {
    let mut response = text("text/html; charset=utf-8", page::page(state));
    let policy = HeaderValue::from_str(&page::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn as_json(status: u16, value: &Json) -> FullResponse {
    with_type(status, "application/json", value.to_string().into_bytes())
}

fn text(kind: &'static str, text: String) -> FullResponse {
    with_type(200, kind, text.into_bytes())
}

fn with_type(status: u16, kind: &'static str, body: Vec<u8>) -> FullResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::BAD_GATEWAY);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            check_headers(&pairs.collect()).map_err(|refusal| refusal.status)
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[("content-type", "application/json; charset=utf-8")]), Ok(None));
        assert_eq!(
            check(&[("content-type", "application/octet-stream"), ("inference-header-content-length", "7")]),
            Ok(Some(7))
        );
        assert_eq!(check(&[("inference-header-content-length", "-1")]), Err(400));
        assert_eq!(check(&[("inference-header-content-length", "18446744073709551616")]), Err(400));
        assert_eq!(check(&[("content-type", "application/x-www-form-urlencoded")]), Err(415));
        assert_eq!(check(&[("content-type", "text/plain")]), Err(415));
        assert_eq!(check(&[("content-encoding", "gzip")]), Err(415));
        assert_eq!(check(&[("content-encoding", "identity")]), Ok(None));
    }
}
