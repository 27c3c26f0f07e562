//! A series as a sparkline of block characters.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// At most `width` blocks, each the mean of its share of the values; a blank where there are none.
pub fn spark(values: &[f64], width: usize) -> String {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let count = values.len().min(width);
    let share = |n: usize| {
        let range = n * values.len() / count..(n + 1) * values.len() / count;
        let part: Vec<f64> = values[range].iter().copied().filter(|v| v.is_finite()).collect();
        part.iter().map(|v| v / part.len() as f64).sum::<f64>() + if part.is_empty() { f64::NAN } else { 0.0 }
    };
    let block = |value: f64| match value {
        v if v.is_nan() => ' ',
        _ if high <= low => BLOCKS[3],
        // Halves, so that the difference of very large values does not overflow.
        v => BLOCKS[((v / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * 7.0).round().clamp(0.0, 7.0) as usize],
    };
    (0..count).map(|n| block(share(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        for (values, want) in [
            (&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0][..], "▁▂▃▄▅▆▇█"),
            (&many, "▁▂▃▄▅▆▇█"),
            (&[5.0, 5.0], "▄▄"),
            (&[1.0, f64::NAN, 0.0, f64::INFINITY], "█ ▁ "),
            (&[-1e308, 1e308], "▁█"),
            (&[f64::NAN], " "),
            (&[], ""),
        ] {
            assert_eq!(spark(values, 8), want, "{values:?}");
        }
    }
}
