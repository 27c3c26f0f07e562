//! Text of SVG and HTML, with all outside content escaped.

use std::fmt::Write;

/// For text and for quoted attributes. Control characters, which XML forbids, become spaces.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// JSON for a `<script type="application/json">`, without characters that an HTML parser could read as a tag, a comment
/// or an entity.
pub fn json_inside_html(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // They occur only in strings, where an escape means the same.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// A length on the page, to a tenth of a pixel.
pub fn px(length: f64) -> String {
    let rounded = (length * 10.0).round() / 10.0;
    // -0 is 0
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

/// An SVG under construction.
pub struct Svg {
    text: String,
    open: Vec<&'static str>,
}

impl Svg {
    /// `label` and `description` are for screen readers.
    pub fn new(width: f64, height: f64, label: &str, description: &str) -> Svg {
        let mut svg = Svg { text: String::new(), open: Vec::new() };
        let view = format!("0 0 {} {}", px(width), px(height));
        svg.begin("svg", &[("viewBox", &view), ("role", "img"), ("aria-label", label)]);
        svg.text("desc", &[], description);
        svg
    }

    pub fn begin(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes, ">");
        self.open.push(name);
    }

    pub fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            let _ = write!(self.text, "</{name}>");
        }
        self.text.push('\n');
    }

    pub fn element(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes, "/>\n");
    }

    /// An element with text in it.
    pub fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes, ">");
        let _ = writeln!(self.text, "{}</{name}>", escape(text));
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)], end: &str) {
        let _ = write!(self.text, "<{name}");
        for (key, value) in attributes {
            let _ = write!(self.text, " {key}=\"{}\"", escape(value));
        }
        self.text.push_str(end);
    }

    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        assert_eq!(escape("<script>\"a\" & 'b'\u{1b}"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39; ");
        let json = json_inside_html(&serde_json::json!({"</script><!--": "&\u{2028}"}));
        assert_eq!(json, r#"{"\u003c/script\u003e\u003c!--":"\u0026\u2028"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["</script><!--"], "&\u{2028}");
        let mut svg = Svg::new(10.0, 5.25, "a\" onload=\"x", "<b>");
        svg.begin("g", &[]);
        assert_eq!(
            svg.finish(),
            "<svg viewBox=\"0 0 10 5.3\" role=\"img\" aria-label=\"a&quot; onload=&quot;x\"><desc>&lt;b&gt;</desc>\n\
             <g></g>\n</svg>\n"
        );
    }

    #[test]
    fn lengths() {
        assert_eq!([0.04, -0.04, 1.25, 100.0, -3.149].map(px), ["0", "0", "1.3", "100", "-3.1"]);
    }
}
