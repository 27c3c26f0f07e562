//! Quality gates: the conditions under `checks:`, as the user wrote them.
//!
//! ```text
//! check    = metric op number
//!          | metric op revision [ ("+" | "-" | "*") number ]
//! metric   = [ file ":" ] key                    `accuracy`, `recall.macro`, `eval/metrics.json:accuracy`,
//!                                                `macro avg.f1-score`, or with quotes: `"a >= b.f1"`
//! op       = ">=" | "<=" | ">" | "<" | "==" | "!="
//! revision = what Git understands, `digits@v1.2.0` or `digits#prod`: the same metric there
//! ```
//!
//! Operators need spaces around them, since a revision may contain a `-`. Further arithmetic belongs in the stage that
//! writes the metrics. Evaluated in `model/checks.rs`.

use serde::{Deserialize, Serialize};

use super::problem::did_you_mean;
use crate::value::{Mark, Number};

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The artifact whose versions must meet it; `None` for all artifacts of the file.
    pub artifact: Option<String>,
    /// As written, with single spaces.
    pub text: String,
    /// The value that is compared.
    pub metric: Metric,
    /// How it is compared.
    pub op: Op,
    /// The value that it is compared with.
    pub against: CheckLimit,
    /// The place of the condition in the pipeline file.
    pub mark: Mark,
}

/// The metric of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Relative to the pipeline file; `None` if the key alone identifies the metric.
    pub file: Option<String>,
    /// Dotted.
    pub key: String,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
    /// `==`
    Equal,
    /// `!=`
    Differs,
}

/// What the metric is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CheckLimit {
    /// A number of the condition itself.
    Number(Number),
    /// The value at a revision, changed by a number.
    Revision(String, Option<(Adjustment, Number)>),
}

/// An arithmetic operation on the value at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adjustment {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
}

/// An error in a condition: the end of a sentence that begins with the condition, and a suggestion.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckError {
    /// Without the condition: `has no comparison`.
    pub message: String,
    /// A correct spelling.
    pub hint: Option<String>,
}

const OPS: [(&str, Op); 6] = [
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    (">", Op::Above),
    ("<", Op::Below),
    ("==", Op::Equal),
    ("!=", Op::Differs),
];

impl Op {
    /// The operator as written.
    pub fn word(self) -> &'static str {
        OPS.iter().find(|(_, op)| *op == self).map_or("", |(word, _)| word)
    }

    /// Whether the comparison is true; false for NaN.
    pub fn holds(self, value: Number, limit: Number) -> bool {
        match self {
            Op::AtLeast => value >= limit,
            Op::AtMost => value <= limit,
            Op::Above => value > limit,
            Op::Below => value < limit,
            Op::Equal => value == limit,
            Op::Differs => value != limit && !value.is_nan() && !limit.is_nan(),
        }
    }
}

impl Adjustment {
    /// Applies the operation.
    pub fn of(self, value: Number, by: Number) -> Number {
        match self {
            Adjustment::Plus => value.plus(by),
            Adjustment::Minus => value.minus(by),
            Adjustment::Times => value.times(by),
        }
    }
}

/// Parses one condition.
pub fn parse(text: &str, artifact: Option<&str>, mark: Mark) -> Result<Check, CheckError> {
    let bad = |message: String, hint: Option<String>| Err(CheckError { message, hint });
    let words = words(text);
    // A key may contain blanks: the first word that is an operator ends the metric.
    let is_op = |word: &&str| OPS.iter().any(|(op, _)| op == word);
    let end = words.iter().skip(1).position(is_op).map_or(1, |n| n + 1);
    let Some(metric) = words.get(..end).map(|words| words.join(" ")) else { return bad("is empty".into(), None) };
    let Some((&op, rest)) = words[end..].split_first() else { return bad("has no comparison".into(), spaced(&metric)) };
    let Some((_, op)) = OPS.iter().find(|(word, _)| *word == op).copied() else {
        let meant = match op {
            "=" => Some("did you mean `==`?".into()),
            "=>" => Some("did you mean `>=`?".into()),
            "=<" => Some("did you mean `<=`?".into()),
            other => spaced(other).or_else(|| did_you_mean(other, OPS.iter().map(|(word, _)| *word))),
        };
        return bad(format!("has `{op}` where one of >= <= > < == != must stand"), meant);
    };
    let (what, change) = match rest {
        [] => return bad(format!("has nothing behind `{}`", op.word()), None),
        [what] => (*what, None),
        [what, sign, by] => {
            let change = match *sign {
                "+" => Adjustment::Plus,
                "-" => Adjustment::Minus,
                "*" => Adjustment::Times,
                other => return bad(format!("has `{other}` where + - or * must stand"), None),
            };
            let Some(by) = number(by) else { return bad(format!("has `{by}` where a number must stand"), None) };
            (*what, Some((change, by)))
        }
        _ => {
            return bad(
                "continues after its end; write `METRIC >= NUMBER` or `METRIC >= REVISION - NUMBER`".into(),
                None,
            );
        }
    };
    let against = match (number(what), change) {
        (Some(number), None) => CheckLimit::Number(number),
        (Some(_), Some(_)) => return bad("computes with two numbers; write the result".into(), None),
        (None, change) => {
            if what.contains(['<', '>', '=', '*', '?', '[', '\\', ':']) || what.starts_with('-') {
                return bad(format!("has `{what}` where a number or a revision must stand"), None);
            }
            CheckLimit::Revision(what.to_string(), change)
        }
    };
    let (file, key) = match metric.rsplit_once(':') {
        Some((file, key)) => (Some(file.to_string()), key),
        None => (None, metric.as_str()),
    };
    if key.is_empty() || file.as_deref() == Some("") {
        return bad(
            format!("has `{metric}` where a metric must stand, as `accuracy` or `metrics.json:accuracy`"),
            None,
        );
    }
    let key = if key.matches('"').count() % 2 == 0 { key.replace('"', "") } else { key.to_string() };
    let metric = Metric { file, key };
    Ok(Check { artifact: artifact.map(str::to_string), text: words.join(" "), metric, op, against, mark })
}

/// The parts between blanks that are not in quotes.
fn words(text: &str) -> Vec<&str> {
    let mut in_quotes = false;
    let is_blank = |c: char| {
        in_quotes ^= c == '"';
        c.is_whitespace() && !in_quotes
    };
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    // A quote that is never closed is an ordinary character.
    if in_quotes { text.split_whitespace().collect() } else { words }
}

/// A suggestion with spaces for a condition without them.
fn spaced(word: &str) -> Option<String> {
    let (op, at) = OPS.iter().find_map(|(op, _)| Some((*op, word.find(op)?)))?;
    let (left, right) = (&word[..at], &word[at + op.len()..]);
    Some(format!("put spaces around the comparison: `{}`", format!("{left} {op} {right}").trim()))
}

fn number(text: &str) -> Option<Number> {
    // `nan`, `inf` and `infinity` are valid branch names.
    let begins = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    Number::parse(text).filter(|_| begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Check, CheckError> {
        parse(text, None, Mark::default())
    }

    #[test]
    fn conditions() {
        let metric = |file: Option<&str>, key: &str| Metric { file: file.map(str::to_string), key: key.into() };
        let at = |rev: &str, change| CheckLimit::Revision(rev.into(), change);
        for (text, m, op, against) in [
            ("accuracy >= 0.95", metric(None, "accuracy"), Op::AtLeast, CheckLimit::Number(Number::Float(0.95))),
            (
                "  recall.macro   >  1e-3 ",
                metric(None, "recall.macro"),
                Op::Above,
                CheckLimit::Number(Number::Float(0.001)),
            ),
            (
                "eval/m.json:loss < -1",
                metric(Some("eval/m.json"), "loss"),
                Op::Below,
                CheckLimit::Number(Number::Int(-1)),
            ),
            ("accuracy >= main", metric(None, "accuracy"), Op::AtLeast, at("main", None)),
            (
                "accuracy >= main - 0.005",
                metric(None, "accuracy"),
                Op::AtLeast,
                at("main", Some((Adjustment::Minus, Number::Float(0.005)))),
            ),
            (
                "loss <= origin/my-branch * 1.05",
                metric(None, "loss"),
                Op::AtMost,
                at("origin/my-branch", Some((Adjustment::Times, Number::Float(1.05)))),
            ),
            ("n != digits#prod", metric(None, "n"), Op::Differs, at("digits#prod", None)),
            ("n == HEAD~1 + 2", metric(None, "n"), Op::Equal, at("HEAD~1", Some((Adjustment::Plus, Number::Int(2))))),
            ("macro avg.f1 >= 1.5", metric(None, "macro avg.f1"), Op::AtLeast, CheckLimit::Number(Number::Float(1.5))),
            ("m.json:\"a >= b\".f1 < main", metric(Some("m.json"), "a >= b.f1"), Op::Below, at("main", None)),
            ("n >= nan", metric(None, "n"), Op::AtLeast, at("nan", None)),
        ] {
            let check = read(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
            assert_eq!((check.metric, check.op, check.against), (m, op, against), "{text}");
        }
        assert_eq!(read(" a  >=   1 ").unwrap().text, "a >= 1");
    }

    #[test]
    fn mistakes() {
        for (text, message, hint) in [
            ("", "is empty", None),
            ("accuracy", "no comparison", None),
            ("accuracy>=0.95", "no comparison", Some("put spaces around the comparison: `accuracy >= 0.95`")),
            ("accuracy >=0.95", "has `>=0.95`", Some("put spaces around the comparison: `>= 0.95`")),
            ("accuracy => 0.95", "has `=>`", Some("did you mean `>=`?")),
            ("accuracy = 0.95", "has `=`", Some("did you mean `==`?")),
            ("accuracy >=", "nothing behind `>=`", None),
            ("accuracy >= main - x", "`x` where a number", None),
            ("accuracy >= main / 2", "`/` where + - or *", None),
            ("accuracy >= 0.9 - 0.1", "two numbers", None),
            ("accuracy >= main - 0.1 and more", "after its end", None),
            ("accuracy >= --output=x", "where a number or a revision", None),
            ("metrics.json: >= 1", "where a metric", None),
            (":a >= 1", "where a metric", None),
        ] {
            let bad = read(text).expect_err(text);
            assert!(bad.message.contains(message), "{text}: {}", bad.message);
            assert_eq!(bad.hint.as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn comparisons() {
        let [nan, one, two] = [f64::NAN, 1.0, 2.0].map(Number::Float);
        for (word, op) in OPS {
            assert!(!op.holds(nan, one) && !op.holds(one, nan), "{word}");
            assert_eq!(op.holds(one, one), word.contains('=') && word != "!=", "{word}");
            assert_eq!(op.holds(two, one), [">", ">=", "!="].contains(&word), "{word}");
        }
    }
}
