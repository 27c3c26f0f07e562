//! Evaluates quality gates: conditions on metrics (see [`crate::pipeline::check`]).
//!
//! A condition that cannot be evaluated fails: a metric that is missing or NaN, a revision without a value, an
//! unreadable metrics file that may have the metric as well as the file that was found. The exception is a comparison
//! with a label that no version has (`accuracy >= digits#prod`): it passes, because the first model has nothing to be
//! compared with.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;
use crate::pipeline::check::{Check, CheckLimit, Metric};
use crate::pipeline::problem::did_you_mean;
use crate::project::values::leaves;
use crate::value::{Number, Value};

/// The values of a pipeline's metrics files at one state of the repository.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By file and dotted key, in the order of the file.
    pub files: BTreeMap<RepoPath, Vec<(String, Value)>>,
    /// Files that could not be read.
    pub unread: Vec<(RepoPath, Error)>,
}

/// A condition and its result.
#[derive(Clone, Debug)]
pub struct CheckOutcome {
    /// The condition, as the pipeline file has it.
    pub check: Check,
    /// The pipeline file that declares it.
    pub pipeline: RepoPath,
    /// The file with the metric.
    pub file: Option<RepoPath>,
    /// The value of the metric; `None` if it is unknown.
    pub value: Option<Number>,
    /// The computed value that the metric is compared with.
    pub limit: Option<Number>,
    /// False also if the condition could not be evaluated.
    pub ok: bool,
    /// Why it could not be evaluated.
    pub error: Option<Error>,
    /// A remark on a condition that passes.
    pub remark: Option<String>,
}

/// The metrics at a revision; `None` for a label that no version has.
pub type AtRevision<'a> = dyn FnMut(&str) -> Result<Option<Metrics>> + 'a;

impl Metrics {
    /// Adds the values of one metrics file under their dotted keys.
    pub(super) fn add(&mut self, path: RepoPath, values: &Value) {
        self.files.insert(path, leaves(values).into_iter().map(|(key, value)| (key, value.clone())).collect());
    }

    /// The value of a metric and its file.
    fn find(&self, metric: &Metric, folder: &RepoPath) -> Result<(RepoPath, Number)> {
        let value = |values: &[(String, Value)]| {
            values.iter().find(|(key, _)| *key == metric.key).and_then(|(_, value)| value.number())
        };
        if let Some(spelling) = &metric.file {
            let path =
                folder.join(spelling).ok_or_else(|| Error::usage(format!("{spelling} leads out of the repository")))?;
            if let Some((_, error)) = self.unread.iter().find(|(p, _)| *p == path) {
                return Err(error.clone());
            }
            let Some(values) = self.files.get(&path) else {
                let names: Vec<String> = self.files.keys().map(|p| p.relative_to(folder)).collect();
                let error = Error::missing(format!("{path} is not a metrics file of this pipeline"));
                let hint = did_you_mean(spelling, names.iter().map(String::as_str));
                return Err(hint.into_iter().fold(error, Error::hint));
            };
            return value(values).map(|v| (path.clone(), v)).ok_or_else(|| {
                let keys = values.iter().filter(|(_, v)| v.number().is_some()).map(|(key, _)| key.as_str());
                let error = Error::missing(format!("{path} has no number `{}`", metric.key));
                did_you_mean(&metric.key, keys).into_iter().fold(error, Error::hint)
            });
        }
        let found: Vec<(&RepoPath, Number)> = self.files.iter().filter_map(|(p, vs)| Some((p, value(vs)?))).collect();
        match found[..] {
            // An unreadable file may have this metric, too.
            [_] | [] if !self.unread.is_empty() => {
                let error = self.unread[0].1.clone();
                let named = found.first().map(|(path, _)| format!("{}:{}", path.relative_to(folder), metric.key));
                Err(named
                    .into_iter()
                    .fold(error, |e, named| e.hint(format!("or name the file that is meant: {named}"))))
            }
            [(path, value)] => Ok((path.clone(), value)),
            [] => {
                let numbers = self.files.values().flatten().filter(|(_, value)| value.number().is_some());
                let keys = numbers.map(|(key, _)| key.as_str());
                let error = Error::missing(format!("no metrics file has a number `{}`", metric.key));
                Err(did_you_mean(&metric.key, keys).into_iter().fold(error, Error::hint))
            }
            _ => {
                let names: Vec<String> =
                    found.iter().map(|(p, _)| format!("`{}:{}`", p.relative_to(folder), metric.key)).collect();
                Err(Error::usage(format!("several metrics files have a number `{}`", metric.key))
                    .hint(format!("write {}", names.join(" or "))))
            }
        }
    }
}

/// Evaluates one condition of a pipeline file.
pub fn evaluate(check: &Check, pipeline: &RepoPath, here: &Metrics, there: &mut AtRevision<'_>) -> CheckOutcome {
    let mut judged = CheckOutcome {
        check: check.clone(),
        pipeline: pipeline.clone(),
        file: None,
        value: None,
        limit: None,
        ok: false,
        error: None,
        remark: None,
    };
    match decide(&mut judged, here, there) {
        Ok(ok) => judged.ok = ok,
        Err(error) => judged.error = Some(error),
    }
    judged
}

fn decide(judged: &mut CheckOutcome, here: &Metrics, there: &mut AtRevision<'_>) -> Result<bool> {
    let check = judged.check.clone();
    let folder = judged.pipeline.parent().unwrap_or_default();
    let (file, value) = here.find(&check.metric, &folder)?;
    judged.value = Some(value);
    let limit = match &check.against {
        CheckLimit::Number(limit) => *limit,
        CheckLimit::Revision(rev, change) => {
            let Some(then) = there(rev)? else {
                judged.remark = Some(format!("there is no {rev} yet"));
                judged.file = Some(file);
                return Ok(true);
            };
            // The same file at the other revision; if it was another file then, the key alone is looked up.
            let same = Metric { file: Some(file.relative_to(&folder)), key: check.metric.key.clone() };
            let old = then.find(&same, &folder).or_else(|_| then.find(&check.metric, &folder));
            let (_, old) = old.map_err(|e| {
                let error = Error::new(e.kind, format!("there is no `{}` at {rev} to compare with", check.metric.key));
                e.hints.iter().cloned().fold(error.because(e.message), Error::hint)
            })?;
            change.map_or(old, |(how, by)| how.of(old, by))
        }
    };
    judged.file = Some(file);
    judged.limit = Some(limit);
    // NaN is unequal to everything, so `!=` would pass.
    Ok(!value.is_nan() && !limit.is_nan() && check.op.holds(value, limit))
}

impl CheckOutcome {
    /// The same, or unknown if its metric is of an unfinished stage: `undone` has the reason by file.
    pub fn unless_undone(self, undone: &BTreeMap<String, String>) -> CheckOutcome {
        let Some(why) = self.file.as_ref().and_then(|file| undone.get(&file.to_string())) else { return self };
        let error = Error::missing(format!("{why}, so its metrics are not known"));
        CheckOutcome { value: None, limit: None, ok: false, error: Some(error), remark: None, ..self }
    }

    /// One line for people: `accuracy >= main - 0.005 (0.9705)`, `is 0.9755`.
    pub fn sentence(&self) -> String {
        // Rounded numbers that look alike would contradict the result.
        let limit = self.limit.unwrap_or(Number::Int(0));
        let is_exact = self.value.is_some_and(|value| value != limit && short(value) == short(limit));
        let shown = |number: Number| if is_exact { exact(number) } else { short(number) };
        let limit = match (&self.check.against, self.limit) {
            (CheckLimit::Revision(..), Some(limit)) => format!(" ({})", shown(limit)),
            _ => String::new(),
        };
        let value = match (self.value, &self.error, &self.remark) {
            (_, Some(error), _) => error.message.clone(),
            (Some(value), _, Some(remark)) => format!("is {}; {remark}", shown(value)),
            (Some(value), _, None) => format!("is {}", shown(value)),
            (None, None, _) => String::new(),
        };
        format!("{}{limit}: {value}", self.check.text)
    }
}

/// Nine digits distinguish values, and hide that 0.1 + 0.2 is not 0.3.
fn short(number: Number) -> String {
    exact(match number {
        Number::Float(f) => Number::Float(format!("{f:.9e}").parse().unwrap_or(f)),
        whole => whole,
    })
}

fn exact(number: Number) -> String {
    Value::from(number).to_text().trim_end_matches(".0").to_string()
}

/// One error for all failed conditions; `None` if all pass.
pub fn failure(judged: &[CheckOutcome]) -> Option<Error> {
    let failed: Vec<&CheckOutcome> = judged.iter().filter(|j| !j.ok).collect();
    if failed.is_empty() {
        return None;
    }
    let said = if failed.len() == 1 { "a check does" } else { "checks do" };
    let error = Error::new(Kind::Check, format!("{said} not hold"));
    Some(failed.iter().fold(error, |e, j| e.because(j.sentence())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::check::parse;
    use crate::value::Mark;

    fn path(text: &str) -> RepoPath {
        RepoPath::root().join(text).unwrap()
    }

    fn metrics(files: &[(&str, &str)]) -> Metrics {
        let mut all = Metrics::default();
        for (name, json) in files {
            all.add(path(name), &crate::value::read(name, json.as_bytes()).unwrap());
        }
        all
    }

    fn one(text: &str) -> String {
        let here = metrics(&[
            ("sub/m.json", r#"{"acc": 0.95, "recall": {"macro": 0.9}, "n": 3, "s": "x", "bad": null, "nan": NaN}"#),
            ("sub/other.json", r#"{"n": 4, "acc.top": 1}"#),
        ]);
        let mut there = |rev: &str| match rev {
            "main" => Ok(Some(metrics(&[("sub/m.json", r#"{"acc": 0.96}"#)]))),
            "moved" => Ok(Some(metrics(&[("sub/old.json", r#"{"acc": 0.9}"#)]))),
            "lost" => Ok(Some(metrics(&[("sub/m.json", r#"{"acc": NaN}"#)]))),
            "empty" => Ok(Some(Metrics::default())),
            "digits#prod" => Ok(None),
            other => Err(Error::missing(format!("there is no revision `{other}`"))),
        };
        let check = parse(text, None, Mark::default()).unwrap();
        let judged = evaluate(&check, &path("sub/pipeline.yaml"), &here, &mut there);
        let hints = judged.error.iter().flat_map(|e| &e.hints).map(|h| format!("; {h}")).collect::<String>();
        format!("{} {}{hints}", if judged.ok { "ok" } else { "no" }, judged.sentence())
    }

    #[test]
    fn judgements() {
        for (text, want) in [
            ("acc >= 0.95", "ok acc >= 0.95: is 0.95"),
            ("acc > 0.95", "no acc > 0.95: is 0.95"),
            ("recall.macro >= 0.9", "ok recall.macro >= 0.9: is 0.9"),
            ("acc.top == 1", "ok acc.top == 1: is 1"),
            ("m.json:n == 3", "ok m.json:n == 3: is 3"),
            ("../sub/other.json:n == 4", "ok ../sub/other.json:n == 4: is 4"),
            ("acc >= main", "no acc >= main (0.96): is 0.95"),
            ("acc >= main - 0.01", "ok acc >= main - 0.01 (0.95): is 0.95"),
            ("acc >= moved * 1.5", "no acc >= moved * 1.5 (1.35): is 0.95"),
            ("acc >= digits#prod", "ok acc >= digits#prod: is 0.95; there is no digits#prod yet"),
            ("acc >= empty", "no acc >= empty: there is no `acc` at empty to compare with"),
            ("acc >= nowhere", "no acc >= nowhere: there is no revision `nowhere`"),
            ("n >= 1", "no n >= 1: several metrics files have a number `n`; write `m.json:n` or `other.json:n`"),
            ("ac >= 1", "no ac >= 1: no metrics file has a number `ac`; did you mean `acc`?"),
            ("s >= 1", "no s >= 1: no metrics file has a number `s`; did you mean `n`?"),
            ("nan >= 1", "no nan >= 1: is nan"),
            ("nan <= 1", "no nan <= 1: is nan"),
            ("nan != 1", "no nan != 1: is nan"),
            ("acc != lost", "no acc != lost (nan): is 0.95"),
            ("bad >= 1", "no bad >= 1: no metrics file has a number `bad`"),
            (
                "n.json:n >= 1",
                "no n.json:n >= 1: sub/n.json is not a metrics file of this pipeline; did you mean `m.json`?",
            ),
            ("m.json:nn >= 1", "no m.json:nn >= 1: sub/m.json has no number `nn`; did you mean `n`?"),
            ("../../x:n >= 1", "no ../../x:n >= 1: ../../x leads out of the repository"),
        ] {
            assert_eq!(one(text), want);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let mut here = metrics(&[("m.json", r#"{"acc": 1}"#)]);
        here.unread.push((path("gone.json"), Error::missing("gone.json does not exist")));
        let mut there = |_: &str| Ok(None);
        let mut sentence = |text: &str| {
            evaluate(&parse(text, None, Mark::default()).unwrap(), &path("pipeline.yaml"), &here, &mut there).sentence()
        };
        assert_eq!(sentence("m.json:acc >= 1"), "m.json:acc >= 1: is 1");
        assert_eq!(sentence("acc >= 1"), "acc >= 1: gone.json does not exist");
        assert_eq!(sentence("loss <= 1"), "loss <= 1: gone.json does not exist");
        assert_eq!(sentence("gone.json:x <= 1"), "gone.json:x <= 1: gone.json does not exist");
    }
}
