//! `${}` in strings: finds references, looks them up, writes values into text.
//!
//! `\${` is a literal `${`. A string that is only one reference takes the value with its type; any other string writes
//! scalars as [`Value::to_text`] does. In a `cmd` a map becomes options: `--lr 0.1 --verbose`.

use std::rc::Rc;

use super::context::{Context, MissingVariable, Var, VarTree};
use super::problem::did_you_mean;
use crate::value::Value;

/// An error in a template, and the invalid part.
#[derive(Debug)]
pub struct TemplateError {
    /// A sentence without its place.
    pub message: String,
    /// How to correct it.
    pub hint: Option<String>,
    /// The reference as written, for the mark: `${x.}`.
    pub part: String,
}

#[derive(Debug, PartialEq)]
enum TemplatePart<'s> {
    Text(&'s str),
    /// The text between the braces.
    Ref(&'s str),
}

/// The result of a string with templates.
pub enum ResolvedText {
    /// The string was one reference.
    Exact(Rc<Var>),
    /// The string with all references replaced.
    Text(String),
}

/// What the value is used for.
#[derive(Clone, Copy, PartialEq)]
pub enum ValueUse {
    /// Maps become options.
    Cmd,
    /// Scalars only.
    Field,
    /// Any type, if the reference is the whole string.
    Any,
}

/// Whether the text has a `${` that is not escaped.
pub fn has_reference(text: &str) -> bool {
    text.contains("${") && parts(text).is_ok_and(|p| p.iter().any(|p| matches!(p, TemplatePart::Ref(_))))
}

fn parts(text: &str) -> Result<Vec<TemplatePart<'_>>, TemplateError> {
    let mut out = Vec::new();
    let (mut from, mut search) = (0, 0);
    while let Some(found) = text[search..].find("${") {
        let at = search + found;
        if at > 0 && text.as_bytes()[at - 1] == b'\\' {
            search = at + 2;
            continue;
        }
        let inner = &text[at + 2..];
        let end =
            inner.find(['}', '\n']).filter(|&end| inner.as_bytes()[end] == b'}').ok_or_else(|| TemplateError {
                message: "a `${` is never closed".into(),
                hint: Some("write `\\${` for a `${` that lockstep shall leave alone".into()),
                part: inner.find('\n').map_or(&text[at..], |end| &text[at..at + 2 + end]).to_string(),
            })?;
        if at > from {
            out.push(TemplatePart::Text(&text[from..at]));
        }
        out.push(TemplatePart::Ref(&inner[..end]));
        from = at + 2 + end + 1;
        search = from;
    }
    if from < text.len() || out.is_empty() {
        out.push(TemplatePart::Text(&text[from..]));
    }
    Ok(out)
}

/// The names and positions of a reference: `a[0].b` → `a`, `0`, `b`.
fn path(reference: &str) -> Result<Vec<&str>, TemplateError> {
    let bad = |why: &str| TemplateError {
        message: format!("`${{{reference}}}` is not a reference: {why}"),
        hint: Some("a reference is a name with `.name`, `.0` or `[0]` behind it; `\\${` is left alone".into()),
        part: format!("${{{reference}}}"),
    };
    let word = |rest: &str| rest.find(['.', '[', ']']).unwrap_or(rest.len());
    let end = word(reference);
    if end == 0 {
        return Err(bad("a name is missing"));
    }
    let mut out = vec![reference[..end].trim()];
    let mut rest = &reference[end..];
    while !rest.is_empty() {
        let bracket = rest.starts_with('[');
        if !bracket && !rest.starts_with('.') {
            return Err(bad("a bracket is closed that was not opened"));
        }
        rest = &rest[1..];
        let end = word(rest);
        if end == 0 {
            return Err(bad("a name is missing"));
        }
        out.push(rest[..end].trim());
        rest = &rest[end..];
        if bracket {
            rest = rest.strip_prefix(']').ok_or_else(|| bad("a bracket is not closed"))?;
            // blanks may follow a bracket
            if rest.trim_start().is_empty() || rest.trim_start().starts_with(['.', '[']) {
                rest = rest.trim_start();
            }
        }
    }
    Ok(out)
}

/// Checks that every reference of the text is well formed.
pub fn check(text: &str) -> Result<(), TemplateError> {
    if text.contains("${") {
        for part in parts(text)? {
            if let TemplatePart::Ref(reference) = part {
                path(reference)?;
            }
        }
    }
    Ok(())
}

/// Resolves all references. Errors: a reference is unknown or has the wrong type, or the result is longer than `most`
/// bytes.
pub fn resolve(
    text: &str,
    context: &Context<'_>,
    target: ValueUse,
    most: usize,
) -> Result<ResolvedText, TemplateError> {
    if !text.contains("${") {
        return Ok(ResolvedText::Text(text.to_string()));
    }
    let parts = parts(text)?;
    if let [TemplatePart::Ref(reference)] = parts.as_slice() {
        let var = look_up(reference, context)?;
        return match (&var.tree, target) {
            (VarTree::Scalar(_), _) | (_, ValueUse::Any) => Ok(ResolvedText::Exact(var)),
            (VarTree::Map(_), ValueUse::Cmd) => Ok(ResolvedText::Text(options(&var, reference, most)?)),
            _ => Err(not_scalar(reference, &var)),
        };
    }
    let mut out = String::with_capacity(text.len());
    for part in parts {
        match part {
            TemplatePart::Text(text) => out.push_str(text),
            TemplatePart::Ref(reference) => {
                let var = look_up(reference, context)?;
                let value = match (&var.tree, target) {
                    (VarTree::Scalar(value), _) => value.to_text(),
                    (VarTree::Map(_), ValueUse::Cmd | ValueUse::Any) => options(&var, reference, most)?,
                    _ => return Err(not_scalar(reference, &var)),
                };
                if value.len() > most.saturating_sub(out.len()) {
                    return Err(too_large(reference));
                }
                out.push_str(&value);
            }
        }
    }
    Ok(ResolvedText::Text(out.replace("\\${", "${")))
}

fn not_scalar(reference: &str, var: &Var) -> TemplateError {
    TemplateError {
        message: format!("`${{{reference}}}` is {}, which cannot be written here", var.kind()),
        hint: None,
        part: format!("${{{reference}}}"),
    }
}

/// The error for results larger than [`super::budget::MOST_BYTES`].
fn too_large(reference: &str) -> TemplateError {
    let message = format!("with `${{{reference}}}` {}", super::budget::too_large());
    TemplateError { message, hint: Some(super::budget::SMALLER.into()), part: format!("${{{reference}}}") }
}

fn look_up(reference: &str, context: &Context<'_>) -> Result<Rc<Var>, TemplateError> {
    let path = path(reference)?;
    context.select(&path).map_err(|MissingVariable { known, reason }| {
        let whole = path.join(".");
        let hint = did_you_mean(&whole, known.iter().map(String::as_str))
            .or_else(|| did_you_mean(path[0], known.iter().map(String::as_str)));
        TemplateError {
            message: format!("cannot find `{reference}`: {reason}"),
            hint: hint.or_else(|| {
                let shell = "for a variable of the shell write `\\${".to_string() + reference + "}`";
                (path.len() == 1).then_some(shell)
            }),
            part: format!("${{{reference}}}"),
        }
    })
}

/// A map as the options of a command: `--name value`, nested names with dots, `--flag` for true, nothing for false.
fn options(var: &Var, reference: &str, most: usize) -> Result<String, TemplateError> {
    let mut out = String::new();
    options_of(var, "", reference, &mut out, most)?;
    Ok(out.trim_end().to_string())
}

fn options_of(var: &Var, name: &str, reference: &str, out: &mut String, most: usize) -> Result<(), TemplateError> {
    if out.len() > most {
        return Err(too_large(reference));
    }
    let option = |out: &mut String, value: &str| {
        out.push_str("--");
        out.push_str(name);
        out.push(' ');
        if !value.is_empty() {
            out.push_str(value);
            out.push(' ');
        }
    };
    match &var.tree {
        VarTree::Map(map) => {
            for (key, var) in map.iter() {
                let name = if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
                options_of(var, &name, reference, out, most)?;
            }
        }
        VarTree::Scalar(Value::Bool(true)) => option(out, ""),
        VarTree::Scalar(Value::Bool(false)) => {}
        VarTree::Scalar(Value::Str(s)) => option(out, &quote(s)),
        VarTree::Scalar(value) => option(out, &value.to_text()),
        VarTree::List(items) => {
            for (n, item) in items.iter().enumerate() {
                let text = match &item.tree {
                    VarTree::Scalar(Value::Str(s)) => quote(s),
                    VarTree::Scalar(value) => value.to_python_text(),
                    _ => {
                        return Err(TemplateError {
                            message: format!("`{name}` of `${{{reference}}}` holds {} in a list", item.kind()),
                            hint: Some("an option takes scalars or a list of scalars".into()),
                            part: format!("${{{reference}}}"),
                        });
                    }
                };
                if n == 0 {
                    option(out, &text);
                } else {
                    out.push_str(&text);
                    out.push(' ');
                }
            }
        }
    }
    Ok(())
}

/// One word of a POSIX shell: in single quotes unless all characters are harmless.
pub fn quote(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn context(yaml: &str) -> Context<'static> {
        let mut context = Context::default();
        let var = Var::new(&read("p.yaml", yaml.as_bytes()).unwrap(), &"p.yaml".into());
        if let VarTree::Map(map) = &var.tree {
            context.merge(map).unwrap();
        }
        context
    }

    fn text(template: &str, target: ValueUse) -> String {
        let context = context(
            "{x: 1, s: a b, t: true, n: null, f: 1.0, l: [1, [2, 3], {y: z}], m: {a: {b: [1, x y, true]}, c: true, d: false, e: {}, g: \"it's\", h: ''}, 'a b': 5}",
        );
        match resolve(template, &context, target, usize::MAX) {
            Ok(ResolvedText::Text(text)) => text,
            Ok(ResolvedText::Exact(var)) => format!("={}", var.to_value().to_text()),
            Err(bad) => format!("error: {}", bad.message),
        }
    }

    #[test]
    fn references() {
        for (template, want) in [
            ("${x}", "=1"),
            ("${t}", "=true"),
            ("${ x }", "=1"),
            ("a${x}b${s}", "a1ba b"),
            ("$${x} {x} $x", "$1 {x} $x"),
            ("\\${x} ${x}", "${x} 1"),
            ("\\${HOME}", "${HOME}"),
            ("-${n}${t}${f}", "-Nonetrue1.0"),
            ("${l[0]} ${l.1.0} ${l[-1].y} ${l[ 2 ][y]}", "1 2 z z"),
            ("${a b}!", "5!"),
            ("plain", "plain"),
            ("x\\${l[", "x${l["),
        ] {
            assert_eq!(text(template, ValueUse::Field), want, "{template}");
        }
        for template in [
            "${x",
            "${x\n}",
            "${}",
            "${ }",
            "${x.}",
            "${.x}",
            "${a..b}",
            "${l[0}",
            "${l[]}",
            "${l]}",
            "${nope}",
            "${x.y}",
            "${l[9]}",
            "${l[a]}",
            "${l}",
            "a ${m}",
            "${m}",
            "${l[[0]]}",
        ] {
            assert!(
                text(template, ValueUse::Field).starts_with("error"),
                "{template}: {}",
                text(template, ValueUse::Field)
            );
        }
    }

    #[test]
    fn options_of_maps() {
        assert_eq!(text("p ${m}", ValueUse::Cmd), r#"p --a.b 1 'x y' True --c --g 'it'"'"'s' --h ''"#);
        assert_eq!(text("p ${m.e} end", ValueUse::Cmd), "p  end");
        assert_eq!(text("${m.a}", ValueUse::Cmd), "--a.b 1 'x y' True".replace("--a.b", "--b"));
        assert!(text("p ${l}", ValueUse::Cmd).starts_with("error"));
        assert_eq!(quote("a/b:c=%@+,.-_"), "a/b:c=%@+,.-_");
    }
}
