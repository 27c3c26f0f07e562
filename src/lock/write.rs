//! The canonical spelling of a lock file: same facts, same bytes.
//!
//! Block maps, one fact per line, sorted, so that Git can merge and people can review them. Scalars are plain if YAML
//! 1.1 and 1.2 both read them as the same string, else double-quoted (or a literal block for scripts), so that any YAML
//! reader in any language gets the recorded value. Written by hand rather than through serde: a new version of a
//! library must not change the bytes of committed files.

use std::fmt::Write as _;

use super::format::{Command, EnvironmentLock, Lock, OutLock, SCHEMA, StageLock};
use crate::store::Pin;
use crate::value::Value;

/// The text of a lock.
pub fn write(lock: &Lock) -> String {
    let mut out = format!("schema: {SCHEMA}\n");
    if !lock.data.is_empty() {
        out.push_str("data:\n");
        for (path, pin) in &lock.data {
            write_data(&mut out, path, pin);
        }
    }
    if !lock.stages.is_empty() {
        out.push_str("stages:\n");
        for (name, stage) in &lock.stages {
            key(&mut out, 1, name);
            out.push('\n');
            write_stage(&mut out, stage);
        }
    }
    out
}

pub(super) fn write_data(out: &mut String, path: &str, pin: &Pin) {
    key(out, 1, path);
    out.push('\n');
    write_pin(out, 2, pin);
}

fn write_stage(out: &mut String, stage: &StageLock) {
    let _ = writeln!(out, "    key: {}", stage.key);
    match &stage.cmd {
        Command::One(cmd) => {
            out.push_str("    cmd: ");
            text(out, 3, cmd);
        }
        Command::List(items) => {
            out.push_str("    cmd:\n");
            for item in items {
                out.push_str("    - ");
                text(out, 3, item);
            }
        }
    }
    for (name, value) in [("wdir", &stage.wdir), ("shell", &stage.shell)] {
        if let Some(value) = value {
            let _ = write!(out, "    {name}: ");
            text(out, 3, value);
        }
    }
    if let Some(environment) = &stage.environment {
        write_environment(out, environment);
    }
    if !stage.env.is_empty() {
        out.push_str("    env:\n");
        for (name, value) in &stage.env {
            key(out, 3, name);
            match value {
                Some(value) => {
                    out.push(' ');
                    text(out, 4, value);
                }
                None => out.push_str(" null\n"),
            }
        }
    }
    if !stage.deps.is_empty() {
        out.push_str("    deps:\n");
        for (path, pin) in &stage.deps {
            key(out, 3, path);
            out.push('\n');
            write_pin(out, 4, pin);
        }
    }
    if !stage.params.is_empty() {
        out.push_str("    params:\n");
        for (file, values) in &stage.params {
            key(out, 3, file);
            out.push_str(if values.is_empty() { " {}\n" } else { "\n" });
            for (name, value) in values {
                key(out, 4, name);
                write_value(out, 4, value);
            }
        }
    }
    if !stage.outs.is_empty() {
        out.push_str("    outs:\n");
        for (path, o) in &stage.outs {
            key(out, 3, path);
            out.push('\n');
            write_out(out, o);
        }
    }
}

fn write_environment(out: &mut String, environment: &EnvironmentLock) {
    out.push_str("    environment:\n");
    let python = environment.python.as_ref().map(|python| ("python", python));
    let fields = [("kind", &environment.kind), ("platform", &environment.platform)].into_iter().chain(python);
    for (name, value) in fields {
        let _ = write!(out, "      {name}: ");
        text(out, 4, value);
    }
    let _ = writeln!(out, "      hash: {}", environment.hash);
}

fn write_out(out: &mut String, o: &OutLock) {
    write_pin(out, 4, &o.pin);
    if !o.cache {
        out.push_str("        cache: false\n");
    }
    if o.persist {
        out.push_str("        persist: true\n");
    }
    if !o.metrics.is_empty() {
        out.push_str("        metrics:\n");
        for (name, value) in &o.metrics {
            key(out, 5, name);
            write_value(out, 5, value);
        }
    }
}

fn write_pin(out: &mut String, depth: usize, pin: &Pin) {
    let pad = "  ".repeat(depth);
    let _ = writeln!(out, "{pad}blake3: {}\n{pad}size: {}", pin.id, pin.size);
    if let Some(files) = pin.files {
        let _ = writeln!(out, "{pad}files: {files}");
    }
    if pin.executable {
        let _ = writeln!(out, "{pad}executable: true");
    }
}

/// A key with its colon, at `depth` levels of two spaces.
fn key(out: &mut String, depth: usize, name: &str) {
    for _ in 0..depth {
        out.push_str("  ");
    }
    // A plain or quoted key may have at most 1024 characters; a longer one needs the explicit `?` indicator.
    if name.len() > 1000 {
        out.push_str("? ");
        quoted(out, name);
        out.push('\n');
        for _ in 0..depth {
            out.push_str("  ");
        }
    } else if is_plain(name) {
        out.push_str(name);
    } else {
        quoted(out, name);
    }
    out.push(':');
}

/// A value behind its key, which is at `depth`.
fn write_value(out: &mut String, depth: usize, value: &Value) {
    match value {
        Value::Str(s) => {
            out.push(' ');
            text(out, depth + 1, s);
        }
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            for (name, value) in sorted(entries) {
                key(out, depth + 1, name);
                write_value(out, depth + 1, value);
            }
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                out.push_str(&"  ".repeat(depth));
                out.push_str("- ");
                flow(out, item);
                out.push('\n');
            }
        }
        other => {
            out.push(' ');
            flow(out, other);
            out.push('\n');
        }
    }
}

/// The order of params maps is irrelevant: they are sorted, so that equal values give equal bytes.
fn sorted(entries: &[(String, Value)]) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
    entries.sort_by_key(|(k, _)| *k);
    entries
}

/// On one line, in YAML's flow style.
fn flow(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(s) if is_plain(s) && !s.contains([',', '[', ']', '{', '}', ':', '#']) => out.push_str(s),
        Value::Str(s) => quoted(out, s),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                flow(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (i, (name, value)) in sorted(entries).into_iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                quoted(out, name);
                out.push_str(": ");
                flow(out, value);
            }
            out.push('}');
        }
    }
}

/// The shortest digits that read back as the same float, with a point, and a sign in the exponent: YAML 1.1 readers
/// read `1e16` as a string.
fn float(f: f64) -> String {
    if f.is_nan() {
        return ".nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let digits = format!("{f:?}");
    match digits.split_once('e') {
        None => digits,
        Some((mantissa, exponent)) => {
            let mantissa = if mantissa.contains('.') { mantissa.to_string() } else { format!("{mantissa}.0") };
            let exponent = if exponent.starts_with('-') { exponent.to_string() } else { format!("+{exponent}") };
            format!("{mantissa}e{exponent}")
        }
    }
}

/// A string and its line end; `depth` is the level of the lines of a literal block.
fn text(out: &mut String, depth: usize, s: &str) {
    if is_plain(s) {
        out.push_str(s);
        out.push('\n');
    } else if is_literal(s) {
        let body = s.strip_suffix('\n');
        out.push_str(if body.is_some() { "|\n" } else { "|-\n" });
        for line in body.unwrap_or(s).split('\n') {
            if !line.is_empty() {
                out.push_str(&"  ".repeat(depth));
                out.push_str(line);
            }
            out.push('\n');
        }
    } else {
        quoted(out, s);
        out.push('\n');
    }
}

/// Whether a literal block can hold the string unchanged.
fn is_literal(s: &str) -> bool {
    let body = s.strip_suffix('\n').unwrap_or(s);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && !s.contains(|c: char| c != '\n' && c != '\t' && is_odd(c))
}

/// Characters that YAML reads as line ends or byte-order marks, or cannot print.
fn is_odd(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') || c.is_control()
}

/// Whether every YAML reader reads `s`, without quotes in a block, as this exact string.
fn is_plain(s: &str) -> bool {
    let Some(first) = s.chars().next() else { return false };
    let starts_well = first.is_alphabetic()
        || matches!(first, '_' | '/' | '$' | '(' | '^' | '~' | ';' | '+')
        || (matches!(first, '.' | '0'..='9') && s.contains('/'));
    starts_well
        && !s.ends_with([' ', ':'])
        && !s.contains(": ")
        && !s.contains(" #")
        && !s.contains(|c: char| is_odd(c))
        && !is_word(s)
        && !(matches!(first, '+' | '~') && s.len() < 40 && !s.contains(' '))
}

/// Words that YAML 1.1 or 1.2 does not read as a string.
fn is_word(s: &str) -> bool {
    s.len() <= 5
        && ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"]
            .iter()
            .any(|w| w.eq_ignore_ascii_case(s))
}

fn quoted(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_odd(c) => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lock::ByName;
    use crate::lock::read;
    use crate::store::ObjectId;

    fn pin(n: u8) -> Pin {
        Pin { id: ObjectId([n; 32]), size: 7, files: None, executable: false }
    }

    fn stage(cmd: &str) -> StageLock {
        StageLock {
            key: ObjectId([9; 32]),
            cmd: Command::One(cmd.into()),
            wdir: None,
            shell: None,
            environment: None,
            env: ByName::new(),
            deps: ByName::new(),
            params: ByName::new(),
            outs: ByName::new(),
        }
    }

    #[test]
    fn strings_and_numbers_come_back() {
        let strings = [
            "",
            " ",
            "a",
            "yes",
            "No",
            "null",
            "~",
            "1",
            "1_000",
            "012",
            "1.5",
            "2020-01-02",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "a:",
            "a\nb",
            "a\nb\n",
            "\n",
            "a\n\n b",
            " a\nb",
            "é",
            "数据",
            "'x'",
            "\"x\"",
            "\\",
            "tab\tx",
            "\u{85}",
            "\u{1}",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "|",
            ">",
            "+5",
            "+.inf",
            "a\r\nb",
            "=",
            "<<",
            "0x1F",
            "./x",
            "../a b",
            "echo 'a' > b # no",
            "1/2",
            "a\u{2028}b",
            "\u{1F600}",
            "---",
            "...",
            "~/x",
            "? x",
            "12:30",
        ];
        let mut s = stage("x");
        let values = strings.iter().map(|v| (v.to_string(), Value::Str(v.to_string())));
        let mut values: ByName<Value> = values.collect();
        let floats = [0.1, 1.0, -0.0, 1e16, 1e-5, 1.5e300, f64::INFINITY, 5e-324, 0.30000000000000004];
        for (i, f) in floats.into_iter().enumerate() {
            values.insert(format!("float{i}"), Value::Float(f));
        }
        values.insert("big".into(), Value::Int(1 << 100));
        values.insert(
            "deep".into(),
            Value::Map(vec![(
                "b".into(),
                Value::List(vec![
                    Value::Null,
                    Value::Str("a, b".into()),
                    Value::Map(vec![("no".into(), Value::Bool(true)), ("a".into(), Value::List(vec![]))]),
                ]),
            )]),
        );
        s.params.insert("params.yaml".into(), values);
        s.env.insert("UNSET".into(), None);
        s.env.insert("EMPTY".into(), Some(String::new()));
        for cmd in strings.iter().filter(|c| !c.is_empty()) {
            s.cmd = Command::List(vec![cmd.to_string(), "x\ny".into()]);
            s.outs
                .insert(cmd.to_string(), OutLock { pin: pin(3), cache: false, persist: true, metrics: ByName::new() });
            s.deps.insert("x".repeat(2000), pin(4));
            let lock = Lock { data: [(cmd.to_string(), pin(2))].into(), stages: [(cmd.to_string(), s.clone())].into() };
            let text = write(&lock);
            let back = read("pipeline.lock", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            for (name, stage) in &lock.stages {
                for (file, values) in &stage.params {
                    for (key, value) in values {
                        let got = &back.stages[name].params[file][key];
                        assert!(value.same(got), "{key:?}: {value:?} came back as {got:?}");
                    }
                }
            }
            assert_eq!(write(&back), text);
            assert_eq!(back.stages[*cmd].cmd, lock.stages[*cmd].cmd);
        }
    }

    /// The file formats, and how each writes the value of `a`.
    const FORMATS: [(&str, &str, &str); 4] =
        [("p.json", "{\"a\": ", "}"), ("p.yaml", "a: ", ""), ("p.toml", "a = ", ""), ("p.py", "a = ", "")];

    /// What reads the value back from the lock and from JSON.
    fn sinks(value: &Value) -> [Value; 2] {
        let mut s = stage("x");
        s.params.insert("p".into(), [("a".to_string(), value.clone())].into());
        let lock = Lock { stages: [("s".to_string(), s)].into(), ..Lock::default() };
        let back = read("pipeline.lock", &write(&lock)).unwrap();
        let json = serde_json::to_string(value).unwrap();
        [back.stages["s"].params["p"]["a"].clone(), crate::value::read("x.json", json.as_bytes()).unwrap()]
    }

    #[test]
    fn numbers_are_the_same_in_every_format_and_sink() {
        let exact = |a: &Value, b: &Value| match (a, b) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        let mut floats = vec![
            1e22,
            -0.0,
            5e-324,
            f64::MIN_POSITIVE,
            f64::MAX,
            0.1 + 0.2,
            0.9482758641242981,
            0.9743681430252835,
            1e16,
            1e-5,
            123456789.12345679,
            2f64.powi(64),
        ];
        // Any bits, the same in each run: Knuth's generator.
        let mut bits = 88172645463325252u64;
        while floats.len() < 3000 {
            bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            floats.extend(Some(f64::from_bits(bits)).filter(|f| f.is_finite()));
        }
        for f in floats {
            let digits = [format!("{f:?}"), format!("{f:.16e}").replace('e', "e+").replace("e+-", "e-")];
            for (name, before, after) in FORMATS {
                for text in &digits {
                    let read = crate::value::read(name, format!("{before}{text}{after}").as_bytes()).unwrap();
                    let value = read.get("a").unwrap();
                    assert!(exact(value, &Value::Float(f)), "{name} {text}: {value:?}");
                }
            }
            for back in sinks(&Value::Float(f)) {
                assert!(exact(&back, &Value::Float(f)), "{f:?}: {back:?}");
            }
        }
        for n in [0, -1, 1 << 53, (1 << 53) + 1, 1 << 64, (1 << 64) + 1, -(1 << 64) - 1, i128::MAX, i128::MIN + 1] {
            for (name, before, after) in FORMATS {
                let read = crate::value::read(name, format!("{before}{n}{after}").as_bytes());
                match read {
                    Ok(read) => assert_eq!(read.get("a"), Some(&Value::Int(n)), "{name}"),
                    // TOML has 64 bits.
                    Err(e) => assert!(name == "p.toml" && e.message.contains(&n.to_string()), "{name} {n}: {e}"),
                }
            }
            assert!(sinks(&Value::Int(n)).iter().all(|back| *back == Value::Int(n)), "{n}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_kept_are_errors_with_key_and_value() {
        let long = "1".repeat(45);
        let nested = [
            ("p.json", "{\"a\": {\"b\": [0, N]}}"),
            ("p.yaml", "a:\n  b: [0, N]"),
            ("p.yaml", "a:\n  b:\n  - 0\n  - N\n"),
            ("p.toml", "[a]\nb = [0, N]"),
        ];
        for (name, text) in nested {
            for number in [long.as_str(), "1e400", "-1.5e309"] {
                let e = crate::value::read(name, text.replace('N', number).as_bytes()).unwrap_err();
                assert!(e.message.starts_with(name) && e.message.contains(number), "{name} {e}");
                assert!(e.message.contains("(key `a.b.1`)"), "{name} {e}");
            }
        }
        let e = crate::value::read("p.py", format!("class A:\n  b = {{'c': {long}}}\n").as_bytes()).unwrap_err();
        assert!(e.message.contains(&long) && e.message.contains("(key `A.b.c`)"), "{e}");
        // Python itself reads infinity, and computes what is no literal.
        let read = crate::value::read("p.py", format!("a = 1e400\nb = {long} + 1").as_bytes()).unwrap();
        assert_eq!(read, Value::Map(vec![("a".into(), Value::Float(f64::INFINITY))]));
    }

    #[test]
    fn reads_well() {
        let mut s = stage("python train.py\necho done");
        s.deps.insert("data/clean".into(), Pin { files: Some(2), ..pin(1) });
        s.params.insert("params.yaml".into(), [("train.lr".to_string(), Value::Float(0.1))].into());
        let metrics = [("accuracy".to_string(), Value::Float(0.957))].into();
        s.outs.insert("metrics.json".into(), OutLock { pin: pin(2), cache: false, persist: false, metrics });
        let text = write(&Lock { data: BTreeMap::new(), stages: [("train".to_string(), s)].into() });
        insta::assert_snapshot!(text, @r"
        schema: 1
        stages:
          train:
            key: 0909090909090909090909090909090909090909090909090909090909090909
            cmd: |-
              python train.py
              echo done
            deps:
              data/clean:
                blake3: 0101010101010101010101010101010101010101010101010101010101010101
                size: 7
                files: 2
            params:
              params.yaml:
                train.lr: 0.1
            outs:
              metrics.json:
                blake3: 0202020202020202020202020202020202020202020202020202020202020202
                size: 7
                cache: false
                metrics:
                  accuracy: 0.957
        ");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, word) in [
            ("schema: 2\nstages: {}\n", "schema 2"),
            ("stages: {}\n", "does not begin"),
            ("schema: 1\nstage: {}\n", "unknown field"),
            ("<<<<<<< HEAD\nschema: 1\n=======\n>>>>>>> x\n", "merge conflict"),
            ("schema: 1\nstages: {a: {key: 12, cmd: x}}\n", "not a BLAKE3"),
        ] {
            let message = read("pipeline.lock", text).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
