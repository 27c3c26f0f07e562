//! The page on `/`: what is served, where it comes from, and the last switches. HTML without a script.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::state::ServerState;
use crate::model::registry::tag_write::rfc3339;
use crate::report::plots::page::hash;
use crate::report::plots::svg::escape;
use crate::serve::models::load::LoadedVersion;
use crate::serve::models::switch::{ServedModel, SwitchRecord};
use crate::serve::protocol::refusal::without_paths;
use crate::serve::protocol::tensor::{Port, shape_text};

const STYLE: &str = include_str!("page.css");
/// More values are left out.
const MOST_METRICS: usize = 50;

/// The header `Content-Security-Policy` of the page.
pub fn policy() -> String {
    let style = hash(STYLE);
    format!("default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

/// The page as HTML.
pub fn page(state: &ServerState) -> String {
    let ready = if state.is_ready() { ("good", "ready") } else { ("bad", "not ready") };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>lockstep serve</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>Models</h1>\n\
         <div class=\"soft\">lockstep {} · <span class=\"{}\">{}</span> · Open Inference Protocol at <code>/v2</code>, \
         counters at <code>/metrics</code></div>\n</header>\n<main>\n",
        env!("CARGO_PKG_VERSION"),
        ready.0,
        ready.1,
    );
    state.models.iter().for_each(|model| section(&mut page, model, state.is_public));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn section(page: &mut String, model: &ServedModel, is_public: bool) {
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(&model.source.name));
    match model.current() {
        Some(version) => about(page, &version, is_public),
        None => page.push_str("<p class=\"bad\">It is being loaded.</p>\n"),
    }
    let history = model.history();
    if !history.is_empty() {
        page.push_str("<h3>Last switches</h3>\n<table>\n");
        history.iter().for_each(|record| switch(page, record, is_public));
        page.push_str("</table>\n");
    }
    page.push_str("</section>\n");
}

fn about(page: &mut String, version: &LoadedVersion, is_public: bool) {
    let facts = &version.facts;
    // The address of a repository may be a folder of this machine.
    let repository = facts.repository.as_deref().map(|r| if is_public { without_paths(r) } else { r.to_string() });
    let code = |text: &str| format!("<code>{}</code>", escape(text));
    page.push_str("<table>\n");
    row(page, "version", Some(escape(&facts.version)));
    row(page, "label", facts.label.as_deref().map(escape));
    row(page, "BLAKE3", facts.blake3.map(|id| code(&id.hex())));
    row(page, "commit", facts.commit.as_deref().map(code));
    row(page, "path", facts.path.as_deref().map(code));
    row(page, "repository", repository.as_deref().map(code));
    row(page, "size", Some(format!("{} bytes", facts.size)));
    row(page, "engine", Some(escape(version.platform)));
    page.push_str("</table>\n");
    ports(page, "Inputs", version.model.signature.inputs.as_deref());
    ports(page, "Outputs", version.model.signature.outputs.as_deref());
    metrics(page, version);
}

fn row(page: &mut String, name: &str, html: Option<String>) {
    if let Some(html) = html {
        let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th><td>{html}</td></tr>");
    }
}

fn ports(page: &mut String, title: &str, ports: Option<&[Port]>) {
    let Some(ports) = ports else { return };
    let _ = writeln!(page, "<h3>{title}</h3>\n<table>");
    for port in ports {
        let shape = port.shape.as_deref().map(shape_text).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escape(&port.name),
            port.datatype,
            escape(&shape)
        );
    }
    page.push_str("</table>\n");
}

fn metrics(page: &mut String, version: &LoadedVersion) {
    let metrics = &version.facts.metrics;
    if metrics.is_empty() {
        return;
    }
    page.push_str("<h3>Metrics</h3>\n<table>\n");
    let all = metrics.iter().flat_map(|(file, values)| values.iter().map(move |(key, value)| (file, key, value)));
    for (file, key, value) in all.clone().take(MOST_METRICS) {
        let value = serde_json::to_string(value).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"soft\">{}</td></tr>",
            escape(key),
            escape(&value),
            escape(file)
        );
    }
    page.push_str("</table>\n");
    if all.count() > MOST_METRICS {
        page.push_str("<div class=\"soft\">and more</div>\n");
    }
}

fn switch(page: &mut String, record: &SwitchRecord, is_public: bool) {
    let seconds = record.time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let from = record.from.as_deref().unwrap_or("start");
    let what = match &record.failure {
        None => format!("{} → {}", escape(from), escape(&record.to)),
        Some(why) => {
            let why = if is_public { "the log of the server says why".to_string() } else { escape(why) };
            format!("<span class=\"bad\">{} failed, {} goes on</span>: {why}", escape(&record.to), escape(from))
        }
    };
    let _ = writeln!(page, "<tr><th scope=\"row\">{}</th><td>{what}</td></tr>", rfc3339(seconds));
}
