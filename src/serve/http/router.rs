//! Which request means what, by its method and path alone.

use crate::serve::protocol::refusal::Refusal;
use crate::url::decode;

/// A model, and the version of it that the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAddress {
    /// The name, which may have slashes.
    pub name: String,
    /// `None` for the version that answers now.
    pub version: Option<String>,
}

/// A request that the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The server itself.
    About,
    /// Whether the process lives.
    Live,
    /// Whether requests should be sent here.
    Ready,
    /// Whether a model is loaded.
    ModelReady(ModelAddress),
    /// The inputs and outputs of a model.
    ModelAbout(ModelAddress),
    /// Inference.
    Infer(ModelAddress),
    /// The list of models.
    Index,
    /// Counters.
    Metrics,
    /// The page for people.
    Page,
}

impl Route {
    /// Is it open to everyone, also with a token?
    pub fn is_health(&self) -> bool {
        matches!(self, Route::Live | Route::Ready)
    }

    fn method(&self) -> &'static str {
        match self {
            Route::Infer(_) | Route::Index => "POST",
            _ => "GET",
        }
    }
}

/// The route of a path without its query. Errors: 404, or 405 with the method that is allowed.
pub fn route(method: &str, path: &str) -> Result<Route, (Refusal, Option<&'static str>)> {
    let unknown = || (Refusal::new(404, format!("there is nothing at {path}")), None);
    let route = find(path).ok_or_else(unknown)?;
    let allowed = route.method();
    match method == allowed || (method == "HEAD" && allowed == "GET") {
        true => Ok(route),
        false => Err((Refusal::new(405, format!("{path} takes {allowed}")), Some(allowed))),
    }
}

fn find(path: &str) -> Option<Route> {
    match path {
        "/" => return Some(Route::Page),
        "/metrics" => return Some(Route::Metrics),
        "/v2" | "/v2/" => return Some(Route::About),
        "/v2/health/live" => return Some(Route::Live),
        "/v2/health/ready" => return Some(Route::Ready),
        "/v2/repository/index" => return Some(Route::Index),
        _ => {}
    }
    let rest = path.strip_prefix("/v2/models/")?;
    if let Some(model) = rest.strip_suffix("/infer") {
        return address(model).map(Route::Infer);
    }
    if let Some(model) = rest.strip_suffix("/ready") {
        return address(model).map(Route::ModelReady);
    }
    address(rest).map(Route::ModelAbout)
}

/// `NAME` or `NAME/versions/V`. Clients leave the slash of a name as it is.
fn address(text: &str) -> Option<ModelAddress> {
    let (name, version) = match text.rsplit_once("/versions/") {
        Some((name, version)) if !version.contains('/') => (name, Some(version)),
        _ => (text, None),
    };
    let version = version.map(decode).transpose().ok()?;
    let name = decode(name.strip_suffix('/').unwrap_or(name)).ok()?;
    (!name.is_empty()).then_some(ModelAddress { name, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, version: Option<&str>) -> ModelAddress {
        ModelAddress { name: name.into(), version: version.map(str::to_string) }
    }

    #[test]
    fn routes() {
        for (method, path, want) in [
            ("GET", "/", Route::Page),
            ("HEAD", "/metrics", Route::Metrics),
            ("GET", "/v2", Route::About),
            ("GET", "/v2/", Route::About),
            ("GET", "/v2/health/live", Route::Live),
            ("GET", "/v2/health/ready", Route::Ready),
            ("POST", "/v2/repository/index", Route::Index),
            ("GET", "/v2/models/digits", Route::ModelAbout(model("digits", None))),
            ("GET", "/v2/models/digits/versions/v1.0.0", Route::ModelAbout(model("digits", Some("v1.0.0")))),
            ("GET", "/v2/models/digits/ready", Route::ModelReady(model("digits", None))),
            ("GET", "/v2/models/digits/versions/v1/ready", Route::ModelReady(model("digits", Some("v1")))),
            ("POST", "/v2/models/digits/infer", Route::Infer(model("digits", None))),
            ("POST", "/v2/models/digits/versions/v1/infer", Route::Infer(model("digits", Some("v1")))),
            ("POST", "/v2/models/a/b:digits/infer", Route::Infer(model("a/b:digits", None))),
            ("POST", "/v2/models/a%2Fb%3Ac/infer", Route::Infer(model("a/b:c", None))),
        ] {
            assert_eq!(route(method, path), Ok(want), "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_known() {
        for (method, path, status) in [
            ("GET", "/v1", 404),
            ("GET", "//", 404),
            ("POST", "/v2/models//infer", 404),
            ("POST", "/v2/models/%ff/infer", 404),
            ("POST", "/v2/repository/models/x/load", 404),
            ("GET", "/v2/models/x/infer", 405),
            ("POST", "/v2/models/x", 405),
            ("DELETE", "/v2/health/live", 405),
            ("GET", "/v2/repository/index", 405),
        ] {
            assert_eq!(route(method, path).unwrap_err().0.status, status, "{method} {path}");
        }
    }
}
