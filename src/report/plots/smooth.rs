//! LOESS: at each position a straight line is fitted to the nearest points, with larger weights for nearer ones
//! (Cleveland 1979, tricube weights, without the robust iterations).

/// The maximum number of points to smooth; more are averaged to this number first, which is not visible.
const POINTS: usize = 400;
/// The share of the points in each fit.
const SPAN: f64 = 0.2;

/// The smoothed line through points that go from left to right.
pub fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points = averaged(points);
    let n = points.len();
    let width = ((n as f64 * SPAN).ceil() as usize).clamp(5, n.max(5)).min(n);
    if n < 3 {
        return points;
    }
    let mut start = 0;
    let fit = |at: &(f64, f64)| {
        // The nearest `width` points are adjacent, and move right with the position.
        while start + width < n && points[start + width].0 - at.0 < at.0 - points[start].0 {
            start += 1;
        }
        (at.0, line_at(at.0, &points[start..start + width]).unwrap_or(at.1))
    };
    points.iter().map(fit).collect()
}

/// The weighted line through `points`, at `x`.
fn line_at(x: f64, points: &[(f64, f64)]) -> Option<f64> {
    let reach = points.iter().map(|p| (p.0 - x).abs()).fold(0.0, f64::max);
    if reach == 0.0 {
        return Some(points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64);
    }
    // Slightly beyond the furthest point, so that it has a weight, too.
    let weigh = |p: &(f64, f64)| (1.0 - ((p.0 - x).abs() / (reach * 1.001)).powi(3)).powi(3);
    let total: f64 = points.iter().map(weigh).sum();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(|p| weigh(p) * of(p)).sum::<f64>() / total;
    let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
    let spread = mean(&|p| (p.0 - mx) * (p.0 - mx));
    let slope = if spread > 0.0 { mean(&|p| (p.0 - mx) * (p.1 - my)) / spread } else { 0.0 };
    Some(my + slope * (x - mx)).filter(|y| y.is_finite())
}

fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    let each = finite.len().div_ceil(POINTS).max(1);
    let mean = |group: &[(f64, f64)]| {
        let n = group.len() as f64;
        (group.iter().map(|p| p.0 / n).sum(), group.iter().map(|p| p.1 / n).sum())
    };
    finite.chunks(each).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let line: Vec<(f64, f64)> = (0..50).map(|n| (n as f64, 3.0 * n as f64 - 7.0)).collect();
        for ((x, y), (_, want)) in smooth(&line).into_iter().zip(&line) {
            assert!((y - want).abs() < 1e-9, "{x} {y}");
        }
    }

    #[test]
    fn noise_is_taken_away() {
        let noisy: Vec<(f64, f64)> = (0..200).map(|n| (n as f64, if n % 2 == 0 { 1.0 } else { -1.0 })).collect();
        assert!(smooth(&noisy).iter().all(|(_, y)| y.abs() < 0.3));
    }

    #[test]
    fn small_and_odd_input() {
        assert!(smooth(&[]).is_empty());
        assert_eq!(smooth(&[(1.0, 2.0)]), [(1.0, 2.0)]);
        assert_eq!(smooth(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]), [(1.0, 2.0), (3.0, 4.0)]);
        // all at one place
        assert!(smooth(&[(1.0, 2.0), (1.0, 4.0), (1.0, 6.0)]).iter().all(|(_, y)| *y == 4.0));
        let many: Vec<(f64, f64)> = (0..100_000).map(|n| (n as f64, 1.0)).collect();
        assert!(smooth(&many).len() <= POINTS);
    }
}
