//! Thins a line of a million rows to what its pixels can show.
//!
//! Of all rows in one column of pixels the first, the lowest, the highest and the last are kept: a line through these
//! covers the same pixels as the line through all of them, so that no peak is lost.

/// Rows by x; those without an x are left out. Rows of equal x keep their order.
pub fn order(x: &[f64]) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..x.len() as u32).filter(|row| x[*row as usize].is_finite()).collect();
    let is_sorted = rows.windows(2).all(|pair| x[pair[0] as usize] <= x[pair[1] as usize]);
    if !is_sorted {
        rows.sort_by(|a, b| x[*a as usize].total_cmp(&x[*b as usize]));
    }
    rows
}

/// The rows to draw, as runs without gaps. `rows` are sorted from left to right, `column` returns the column of pixels
/// of a row. A gap within one column is ignored.
pub fn thin(rows: &[u32], y: &[f64], column: impl Fn(u32) -> i64) -> Vec<Vec<u32>> {
    let mut runs: Vec<Vec<u32>> = Vec::new();
    let mut run: Vec<u32> = Vec::new();
    let mut bucket: Option<Bucket> = None;
    let mut gap = false;
    for &row in rows {
        if !y[row as usize].is_finite() {
            gap = true;
            continue;
        }
        let here = column(row);
        match &mut bucket {
            Some(b) if b.column == here => b.add(row, y),
            _ => {
                if let Some(b) = bucket.take() {
                    b.drain(&mut run);
                }
                if gap && !run.is_empty() {
                    runs.push(std::mem::take(&mut run));
                }
                bucket = Some(Bucket { column: here, first: row, low: row, high: row, last: row });
            }
        }
        gap = false;
    }
    if let Some(b) = bucket {
        b.drain(&mut run);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// The rows to keep of one column of pixels.
struct Bucket {
    column: i64,
    first: u32,
    low: u32,
    high: u32,
    last: u32,
}

impl Bucket {
    fn add(&mut self, row: u32, y: &[f64]) {
        let value = |row: u32| y[row as usize];
        if value(row) < value(self.low) {
            self.low = row;
        }
        if value(row) > value(self.high) {
            self.high = row;
        }
        self.last = row;
    }

    /// In the order of the rows, each once.
    fn drain(self, run: &mut Vec<u32>) {
        // Rows with equal x are in the order of their numbers, as sorting was stable; otherwise a column is narrower
        // than a pixel, and the order of low and high is not visible.
        let mut between = [self.low, self.high];
        between.sort_unstable();
        let start = run.len();
        for row in [self.first, between[0], between[1], self.last] {
            if !run[start..].contains(&row) {
                run.push(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thinned(x: &[f64], y: &[f64]) -> Vec<Vec<u32>> {
        thin(&order(x), y, |row| x[row as usize].floor() as i64)
    }

    #[test]
    fn what_is_kept() {
        let nan = f64::NAN;
        for (x, y, want) in [
            // nothing to thin
            (&[0.0, 1.0, 2.0][..], &[5.0, 6.0, 7.0][..], vec![vec![0, 1, 2]]),
            // first, lowest, highest and last of a column
            (&[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0], &[3.0, 4.0, 1.0, 3.5, 9.0, 2.0, 0.0], vec![vec![0, 2, 4, 5, 6]]),
            // a gap splits, at its ends too, and infinity is one
            (&[0.0, 1.0, 2.0, 3.0], &[nan, 1.0, f64::INFINITY, 2.0], vec![vec![1], vec![3]]),
            // but not within one column
            (&[0.0, 0.2, 0.4, 1.0], &[1.0, nan, 2.0, 3.0], vec![vec![0, 2, 3]]),
            // lines go from left to right
            (&[2.0, 0.0, 1.0, 1.0], &[1.0, 2.0, 3.0, 4.0], vec![vec![1, 2, 3, 0]]),
            // no x, no point
            (&[0.0, nan, 2.0], &[1.0, 2.0, 3.0], vec![vec![0, 2]]),
            (&[], &[], vec![]),
        ] {
            assert_eq!(thinned(x, y), want, "{x:?} {y:?}");
        }
    }

    #[test]
    fn a_million_rows_lose_no_peak() {
        let x: Vec<f64> = (0..1_000_000).map(|n| n as f64 / 2000.0).collect();
        let mut y: Vec<f64> = (0..1_000_000).map(|n| f64::from(n % 7)).collect();
        y[123_456] = 99.0;
        let kept = thinned(&x, &y);
        assert!(kept.len() == 1 && kept[0].len() <= 2000, "{}", kept[0].len());
        assert!(kept[0].contains(&123_456));
    }
}
