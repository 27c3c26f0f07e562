//! Maps values to positions on the page, and places ticks.

/// A straight scale from values to pixels.
#[derive(Clone, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Value and label.
    pub ticks: Vec<(f64, String)>,
}

/// Beyond this, differences overflow.
const LARGEST: f64 = 1e300;

/// The smallest and the largest finite value.
pub fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |found, v| match found {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// The extent of several.
pub fn join(extents: impl IntoIterator<Item = Option<(f64, f64)>>) -> Option<(f64, f64)> {
    extent(extents.into_iter().flatten().flat_map(|(low, high)| [low, high]))
}

impl Scale {
    /// From the pixel `from` to the pixel `to`, with about `count` ticks. With `round` it begins and ends at a tick.
    pub fn new(extent: (f64, f64), from: f64, to: f64, count: usize, round: bool) -> Scale {
        let (mut low, mut high) = (extent.0.clamp(-LARGEST, LARGEST), extent.1.clamp(-LARGEST, LARGEST));
        // A single value is centred. With a smaller range, floats cannot distinguish ticks.
        if high - low <= low.abs().max(high.abs()) * 1e-12 {
            let about = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - about, high + about);
        }
        let step = step((high - low) / count.max(1) as f64);
        if round {
            (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let values: Vec<f64> = (0..=(last - first).max(0.0) as usize).map(|n| (first + n as f64) * step).collect();
        let labels = labels(&values, step);
        Scale { low, high, from, to, ticks: values.into_iter().zip(labels).collect() }
    }

    /// For words at the positions 0, 1, …. As many are labelled as there is room for, `width` pixels each.
    pub fn words(words: &[String], from: f64, to: f64, width: f64) -> Scale {
        let count = words.len().max(1);
        let fit = ((to - from).abs() / width).floor().max(1.0) as usize;
        let every = count.div_ceil(fit);
        let ticks = words.iter().enumerate().step_by(every).map(|(n, word)| (n as f64, word.clone())).collect();
        Scale { low: -0.5, high: count as f64 - 0.5, from, to, ticks }
    }

    /// The pixel of a value.
    pub fn at(&self, value: f64) -> f64 {
        self.from + (value.clamp(-LARGEST, LARGEST) - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The pixels per unit.
    pub fn unit(&self) -> f64 {
        ((self.to - self.from) / (self.high - self.low)).abs()
    }

    /// (value, pixel) at both ends, for the script of the page.
    pub fn ends(&self) -> [f64; 4] {
        [self.low, self.from, self.high, self.to]
    }
}

/// 1, 2 or 5 times a power of ten, not less than `about`.
fn step(about: f64) -> f64 {
    let power = 10f64.powi(about.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= about * (1.0 - 1e-9)).unwrap_or(about)
}

/// Short labels, with as many decimals as the step asks for: `0.05`, `20k`, `1.5M`, `2e-6`.
fn labels(values: &[f64], step: f64) -> Vec<String> {
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, suffix) = match largest {
        l if !(1e-3..1e15).contains(&l) => (10f64.powi(largest.log10().floor() as i32), ""),
        l if l >= 1e4 => units.into_iter().find(|(unit, _)| l >= *unit).unwrap_or((1.0, "")),
        _ => (1.0, ""),
    };
    let decimals = (-(step / unit).log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
    let label = |value: &f64| {
        if *value == 0.0 {
            return "0".to_string();
        }
        let number = format!("{:.decimals$}", value / unit).replace('-', "−");
        match unit {
            _ if !suffix.is_empty() => number + suffix,
            1.0 => number,
            unit => format!("{number}e{}", unit.log10().round() as i32).replace('-', "−"),
        }
    };
    values.iter().map(label).collect()
}

/// A value for people, with six digits.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        let text = format!("{value:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trim(mantissa));
    }
    let digits = if size < 1.0 { 0 } else { size.log10().floor() as usize + 1 };
    let leading = if size == 0.0 || size >= 1.0 { 0 } else { (-size.log10()).floor() as usize };
    let text = format!("{value:.*}", (6 + leading).saturating_sub(digits));
    let text = trim(&text);
    if text == "-0" { "0".into() } else { text.to_string() }
}

/// Without trailing zeros.
fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks() {
        for (low, high, round, want) in [
            (0.0, 1.0, true, "0 0.2 0.4 0.6 0.8 1.0"),
            (0.03, 0.97, true, "0 0.2 0.4 0.6 0.8 1.0"),
            (0.03, 0.97, false, "0.2 0.4 0.6 0.8"),
            (0.0, 437.0, false, "0 100 200 300 400"),
            (-3.2, 3.1, true, "−4 −2 0 2 4"),
            (12_000.0, 48_000.0, true, "10k 20k 30k 40k 50k"),
            (0.0, 2_400_000.0, true, "0 0.5M 1.0M 1.5M 2.0M 2.5M"),
            (0.0, 1e-5, true, "0 0.2e−5 0.4e−5 0.6e−5 0.8e−5 1.0e−5"),
            (0.95, 0.96, true, "0.950 0.952 0.954 0.956 0.958 0.960"),
            (5.0, 5.0, true, "4.4 4.6 4.8 5.0 5.2 5.4 5.6"),
            (0.0, 0.0, true, "−1.0 −0.5 0 0.5 1.0"),
            (-1e308, 1e308, true, "−1.0e300 −0.5e300 0 0.5e300 1.0e300"),
            (1e9, 1e9 + 1e-7, true, "0.90G 0.95G 1.00G 1.05G 1.10G"),
        ] {
            let scale = Scale::new((low, high), 0.0, 100.0, 5, round);
            let labels: Vec<&str> = scale.ticks.iter().map(|(_, label)| label.as_str()).collect();
            assert_eq!(labels.join(" "), want, "{low} {high}");
            assert!(scale.ticks.iter().all(|(v, _)| (-0.01..=100.01).contains(&scale.at(*v))), "{low} {high}");
        }
    }

    #[test]
    fn places() {
        let scale = Scale::new((0.0, 10.0), 200.0, 0.0, 5, true);
        assert_eq!([0.0, 5.0, 10.0].map(|v| scale.at(v)), [200.0, 100.0, 0.0]);
        assert_eq!(scale.unit(), 20.0);
        let words: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let scale = Scale::words(&words, 0.0, 400.0, 150.0);
        assert_eq!((scale.at(0.0), scale.at(3.0), scale.unit()), (50.0, 350.0, 100.0));
        assert_eq!(scale.ticks, [(0.0, "a".into()), (2.0, "c".into())]);
    }

    #[test]
    fn extents_pass_over_gaps() {
        assert_eq!(extent([f64::NAN, 2.0, f64::INFINITY, -1.0]), Some((-1.0, 2.0)));
        assert_eq!(extent([f64::NAN]), None);
        assert_eq!(join([None, Some((1.0, 2.0)), Some((0.0, 1.0))]), Some((0.0, 2.0)));
    }

    #[test]
    fn numbers_for_people() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.123456789, "0.123457"),
            (0.00123456789, "0.00123457"),
            (1e-5, "1e-5"),
            (-1.23456789e-7, "-1.23457e-7"),
            (1234567.0, "1234567"),
            (1e15, "1e15"),
            (0.1 + 0.2, "0.3"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), want);
        }
    }
}
