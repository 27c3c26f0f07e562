//! Formats numbers for people.

/// `4.1 GB`, in powers of 1000, as disks and networks are measured.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    unreachable!("the last unit returns")
}

/// `0.31s`, `42s`, `2m 05s`, `1h 02m`.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 9.995 => format!("{s:.2}s"),
        s if s < 59.5 => format!("{s:.0}s"),
        s if s < 3599.5 => format!("{}m {:02}s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => format!("{}h {:02}m", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

/// `24h`, `90m`, `30days`: an age as the user types it.
pub fn age(age: std::time::Duration) -> String {
    match age.as_secs() {
        s if s % 3600 == 0 && s < 72 * 3600 && s > 0 => format!("{}h", s / 3600),
        _ => humantime::format_duration(age).to_string(),
    }
}

/// `1 stage`, `2 stages`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The day of a time in seconds since 1970: `2026-01-01`.
pub fn day(seconds: i64) -> String {
    crate::model::registry::tag_write::rfc3339(seconds).chars().take(10).collect()
}

/// `SECS` of `--wait`.
pub fn wait(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_string())?;
    std::time::Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// The first line of a text, cut where it is longer than `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(width) {
        None if line.len() == text.len() => line.to_string(),
        None => format!("{line}…"),
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!([0, 999, 1000, 1_234_567, 4_100_000_000].map(bytes), ["0 B", "999 B", "1.0 kB", "1.2 MB", "4.1 GB"]);
        assert_eq!([0.0, 9.99, 42.3, 125.0, 3725.0].map(seconds), ["0.00s", "9.99s", "42s", "2m 05s", "1h 02m"]);
        assert_eq!(["abcd", "abcde", "ab\ncd", "äöüäö"].map(|t| cut(t, 4)), ["abcd", "abcd…", "ab…", "äöüä…"]);
        assert_eq!(day(1_767_225_600), "2026-01-01");
        let ages = [0, 60, 3600, 86_400, 30 * 86_400].map(|s| age(std::time::Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "1m", "1h", "24h", "30days"]);
        assert_eq!(count(1, "file") + &count(2, "file"), "1 file2 files");
    }
}
