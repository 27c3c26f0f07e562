//! A report as Markdown, for a job's page and a comment. Pure.
//!
//! Names, values and sentences come from a branch that anyone may have pushed. They are written only in code spans and
//! fences, whose content Markdown shows unchanged: no link, image, mention or HTML can be made of them.

use crate::escape::{self, code_cell, code_span, longest_run};
use crate::report::collect::{Report, Unknown, ValueChange};
use crate::report::last::{LastRun, StageRun, StageStatus};
use crate::value::{Number, Value};

/// The maximum number of rows in a table.
const ROWS: usize = 50;
/// GitHub accepts 65,536 characters in a comment.
const LARGEST: usize = 60_000;

/// The first line of a comment, by which the next report of the same project finds it.
pub fn marker(report: &Report) -> String {
    let safe = |c: &char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let project: String = report.project.chars().filter(safe).take(200).collect();
    // `--` ends an HTML comment in some readers.
    format!("<!-- lockstep report {} -->", project.replace("--", "-"))
}

/// The whole report; the marker is not part of it.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    match &report.run {
        Some(run) => {
            out.push_str(&format!("### lockstep: {}\n\n", headline(run)));
            stages(&mut out, run);
        }
        None => out.push_str("### lockstep: no run here\n\n"),
    }
    values(&mut out, "Metrics", "metric", &report.metrics, true);
    values(&mut out, "Params", "param", &report.params, false);
    list(&mut out, "Checks that do not hold", report.checks.iter().map(|check| code_span(&check.sentence)));
    let unknown = |one: &Unknown| format!("{}: {}", code_span(&one.file), code_span(&one.why));
    list(&mut out, "Not compared", report.unknown.iter().map(unknown));
    out.push_str(&footer(report));
    if out.len() > LARGEST {
        let end = (0..=LARGEST).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
        let end = out[..end].rfind('\n').unwrap_or(end);
        out.truncate(end);
        // A fence that is cut before its end would swallow what follows.
        let open = out.lines().filter(|line| line.starts_with("```")).count() % 2 == 1;
        out.push_str(if open { "\n```\n\n…cut here\n" } else { "\n\n…cut here\n" });
    }
    out
}

/// `2 ran, 3 restored, 5 up to date`
fn headline(run: &LastRun) -> String {
    let words = [
        (StageStatus::Failed, "failed"),
        (StageStatus::Stale, "stale"),
        (StageStatus::Blocked, "not run"),
        (StageStatus::Ran, "ran"),
        (StageStatus::Restored, "restored"),
        (StageStatus::UpToDate, "up to date"),
        (StageStatus::Skipped, "skipped"),
    ];
    let parts: Vec<String> = words
        .iter()
        .map(|(word, text)| (run.count(*word), text))
        .filter(|(n, _)| *n > 0)
        .map(|(n, text)| format!("{n} {text}"))
        .collect();
    match parts.is_empty() {
        true if run.exit != 0 => "nothing was done".into(),
        true => "nothing to do".into(),
        false => parts.join(", "),
    }
}

fn stages(out: &mut String, run: &LastRun) {
    let mut told: Vec<&StageRun> = run.stages.iter().filter(|s| s.result != StageStatus::Skipped).collect();
    told.sort_by_key(|stage| stage.result);
    table(out, &["", "stage", "why", "time"], &told, |stage| {
        let time = match stage.result {
            StageStatus::Restored if stage.saved > 0.0 => format!("saved {}", seconds(stage.saved)),
            StageStatus::Ran | StageStatus::Failed => seconds(stage.seconds),
            _ => String::new(),
        };
        let mut why: Vec<String> = stage.reasons.iter().take(3).map(|reason| code_cell(reason)).collect();
        if stage.reasons.len() > 3 {
            why.push(format!("and {} more", stage.reasons.len() - 3));
        }
        vec![word(stage.result).into(), code_cell(&stage.address), why.join("<br>"), time]
    });
    for stage in told.iter().filter(|stage| stage.error.is_some()).take(5) {
        out.push_str(&format!(
            "{}: {}\n\n",
            code_span(&stage.address),
            code_span(stage.error.as_deref().unwrap_or_default())
        ));
        if !stage.tail.is_empty() {
            out.push_str(&fenced(&stage.tail));
        }
    }
    for error in run.errors.iter().take(5) {
        out.push_str(&format!("error: {}\n\n", code_span(error)));
    }
    for path in run.stale_data.iter().take(ROWS) {
        out.push_str(&format!("stale data: {}\n\n", code_span(path)));
    }
}

fn word(word: StageStatus) -> &'static str {
    match word {
        StageStatus::Failed => "failed",
        StageStatus::Stale => "stale",
        StageStatus::Blocked => "not run",
        StageStatus::Ran => "ran",
        StageStatus::Restored => "restored",
        StageStatus::UpToDate => "up to date",
        StageStatus::Skipped => "skipped",
    }
}

fn values(out: &mut String, title: &str, what: &str, changes: &[ValueChange], with_difference: bool) {
    if changes.is_empty() {
        return;
    }
    out.push_str(&format!("**{title}**\n\n"));
    let head: &[&str] =
        if with_difference { &["file", what, "old", "new", "change"] } else { &["file", what, "old", "new"] };
    table(out, head, &changes.iter().collect::<Vec<_>>(), |change| {
        let value = |value: &Option<Value>| value.as_ref().map(|v| code_cell(&plain(v))).unwrap_or_default();
        let mut row = vec![code_cell(&change.file), code_cell(&change.key), value(&change.old), value(&change.new)];
        if with_difference {
            row.push(difference(change));
        }
        row
    });
}

fn list(out: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    let all = lines.len();
    if all == 0 {
        return;
    }
    out.push_str(&format!("**{title}**\n\n"));
    lines.take(ROWS).for_each(|line| out.push_str(&format!("- {line}\n")));
    if all > ROWS {
        out.push_str(&format!("\nand {} more\n", all - ROWS));
    }
    out.push('\n');
}

fn plain(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// `+0.012, better`, of numbers.
fn difference(change: &ValueChange) -> String {
    let Some(by) = change.change.as_ref().and_then(Value::number).map(Number::to_f64) else { return String::new() };
    let text = format!("{by:+.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text.trim_start_matches(['+', '-']) == "0" { format!("{by:+e}") } else { text.to_string() };
    match change.better {
        Some(true) => format!("{text}, better"),
        Some(false) => format!("{text}, worse"),
        None => text,
    }
}

fn footer(report: &Report) -> String {
    let mut parts = Vec::new();
    if let Some(run) = &report.run {
        let saved = run.saved();
        parts.push(format!("{} in all", seconds(run.seconds)));
        if saved >= 0.01 {
            parts.push(format!("the run cache saved {}", seconds(saved)));
        }
    }
    let short = |commit: &str| code_span(&commit.chars().take(7).collect::<String>());
    if let Some(commit) = &report.commit {
        parts.push(format!("commit {}", short(commit)));
    }
    if let Some(base) = &report.base {
        let is_same = [&report.params, &report.metrics].iter().all(|changes| changes.is_empty())
            && report.unknown.is_empty()
            && report.commands.is_empty();
        let what = if is_same { "same params and metrics as" } else { "compared with" };
        parts.push(format!("{what} {} ({})", code_span(&base.name), short(&base.commit)));
    }
    if !report.commands.is_empty() {
        let first: Vec<String> = report.commands.iter().take(5).map(|address| code_span(address)).collect();
        let more = report.commands.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        parts.push(format!("other commands of {}{more}", first.join(", ")));
    }
    if let Some(name) = &report.no_base {
        parts.push(format!("not compared with {}, which this clone does not have", code_span(name)));
    }
    if report.project != "." {
        parts.push(format!("project {}", code_span(&report.project)));
    }
    format!("<sub>{}</sub>\n", parts.join(" · "))
}

fn table<T>(out: &mut String, head: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) {
    if rows.is_empty() {
        return;
    }
    out.push_str(&format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len())));
    for row in rows.iter().take(ROWS) {
        out.push_str(&format!("| {} |\n", cells(row).join(" | ")));
    }
    if rows.len() > ROWS {
        out.push_str(&format!("\nand {} more\n", rows.len() - ROWS));
    }
    out.push('\n');
}

fn fenced(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| escape::text(line).chars().take(500).collect()).collect();
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n\n", lines.join("\n"))
}

/// `0.31s`, `42s`, `2m 05s`, `1h 02m`.
fn seconds(s: f64) -> String {
    match s {
        s if s < 9.995 => format!("{s:.2}s"),
        s if s < 59.5 => format!("{s:.0}s"),
        s if s < 3599.5 => format!("{}m {:02}s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => format!("{}h {:02}m", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::collect::Base;

    fn run() -> LastRun {
        let stage = |address: &str, result| StageRun { address: address.into(), result, ..StageRun::default() };
        let ran = StageRun {
            reasons: vec!["param params.yaml:lr 0.1 → 0.2".into(), "dep a|b changed".into()],
            seconds: 75.0,
            ..stage("train", StageStatus::Ran)
        };
        let restored =
            StageRun { reasons: vec!["never run".into()], saved: 12.0, ..stage("prep", StageStatus::Restored) };
        let failed = StageRun {
            error: Some("stage eval failed with exit code 3".into()),
            tail: vec!["```".into(), "@everyone <img src=x>".into()],
            seconds: 0.5,
            ..stage("eval", StageStatus::Failed)
        };
        let counts = [StageStatus::Ran, StageStatus::Restored, StageStatus::Failed].map(|word| (word, 1));
        LastRun {
            version: 1,
            seconds: 76.0,
            counts: counts.into_iter().chain([(StageStatus::UpToDate, 4)]).collect(),
            stages: vec![ran, restored, failed],
            ..LastRun::default()
        }
    }

    #[test]
    fn reads_well() {
        let change = |key: &str, old: Value, new: Value| ValueChange {
            change: old.number().zip(new.number()).map(|(old, new)| new.minus(old).into()),
            better: (key == "accuracy").then_some(true),
            file: "metrics.json".into(),
            key: key.into(),
            old: Some(old).filter(|v| *v != Value::Null),
            new: Some(new).filter(|v| *v != Value::Null),
        };
        let report = Report {
            version: 1,
            project: ".".into(),
            commit: Some("0123456789abcdef".into()),
            base: Some(Base { name: "origin/main".into(), commit: "fedcba9876543210".into() }),
            run: Some(run()),
            metrics: vec![
                change("accuracy", Value::Float(0.951), Value::Float(0.957)),
                change("best", Value::Null, Value::Str("x".into())),
            ],
            params: vec![change("lr", Value::Float(0.1), Value::Float(0.2))],
            ..Report::default()
        };
        insta::assert_snapshot!(markdown(&report), @r"
        ### lockstep: 1 failed, 1 ran, 1 restored, 4 up to date

        |  | stage | why | time |
        | --- | --- | --- | --- |
        | failed | `eval` |  | 0.50s |
        | ran | `train` | `param params.yaml:lr 0.1 → 0.2`<br>`dep a\|b changed` | 1m 15s |
        | restored | `prep` | `never run` | saved 12s |

        `eval`: `stage eval failed with exit code 3`

        ````text
        ```
        @everyone <img src=x>
        ````

        **Metrics**

        | file | metric | old | new | change |
        | --- | --- | --- | --- | --- |
        | `metrics.json` | `accuracy` | `0.951` | `0.957` | +0.006, better |
        | `metrics.json` | `best` |  | `x` |  |

        **Params**

        | file | param | old | new |
        | --- | --- | --- | --- |
        | `metrics.json` | `lr` | `0.1` | `0.2` |

        <sub>1m 16s in all · the run cache saved 12s · commit `0123456` · compared with `origin/main` (`fedcba9`)</sub>
        ");
    }

    #[test]
    fn nothing_of_a_stranger_becomes_markup() {
        for (text, want) in [
            ("plain", "`plain`"),
            ("a`b", "``a`b``"),
            ("`x``", "``` `x`` ```"),
            ("a|b", "`a|b`"),
            ("@someone\n![](http://x)", "`@someone\\n![](http://x)`"),
            ("  ", ""),
        ] {
            assert_eq!(code_span(text), want);
        }
        assert_eq!((code_cell("a|b"), code_cell(r"a\|b")), (r"`a\|b`".into(), r"`a\¦b`".into()));
        assert_eq!(fenced(&["````".into()]), "`````text\n````\n`````\n\n");
        let report = Report { project: "a--><b>".into(), ..Report::default() };
        assert_eq!(marker(&report), "<!-- lockstep report a-b -->");
    }

    #[test]
    fn a_long_report_is_cut_at_a_line() {
        let mut run = run();
        run.stages[2].tail = vec!["é".repeat(400); 1000];
        let text = markdown(&Report { run: Some(run), ..Report::default() });
        assert!(text.len() <= LARGEST + 100 && text.ends_with("…cut here\n"));
        assert_eq!(text.lines().filter(|line| line.starts_with("```")).count() % 2, 0);
    }
}
