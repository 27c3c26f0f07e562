//! Sums over pairs of numbers, and the distances computed from them.

/// Numbers that are widened at once: two blocks of them fit into the first cache.
pub const BLOCK: usize = 1024;
/// Partial sums side by side: as many as fit into the registers.
const LANES: usize = 4;

/// Over pairs of finite numbers, old `a` and new `b`; pairs with a NaN or an infinity are counted separately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub aa: f64,
    pub bb: f64,
    pub ab: f64,
    /// The sum of squared differences.
    pub dd: f64,
    /// The largest difference.
    pub max: f64,
    /// How many values are NaN or infinite, in the old and in the new tensor.
    pub odd: (u64, u64),
    /// Pairs of them that differ.
    pub odd_changed: u64,
    /// Pairs in all.
    pub count: u64,
}

/// The distance between old and new values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Movement {
    /// The largest |Δ|.
    pub max: f64,
    /// |new − old| / |old| in the Euclidean norm; `None` if the old tensor is all zero and the new one is not.
    pub relative_l2: Option<f64>,
    /// The cosine of the angle between the two; `None` if one is all zero.
    pub cosine: Option<f64>,
    /// How many values are NaN or infinite, in the old and in the new tensor; excluded from the distances.
    pub odd: (u64, u64),
    /// Pairs with a NaN or an infinity that differ.
    pub odd_changed: u64,
    /// The number of pairs, those with a NaN or an infinity included.
    pub count: u64,
}

impl Sums {
    /// Adds pairs of numbers; both slices have the same length.
    pub fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let sums = fast(a, b);
            // A NaN or an infinity spoils a sum: this block is computed again without such values.
            let sums = if (sums.aa + sums.bb + sums.dd).is_finite() { sums } else { careful(a, b) };
            self.join(&sums);
        }
    }

    /// The same for equal values.
    pub fn add_equal(&mut self, a: &[f64]) {
        for a in a.chunks(BLOCK) {
            let mut sums = Sums { count: a.len() as u64, ..Sums::default() };
            let mut lanes = [0.0; LANES];
            let (whole, rest) = a.as_chunks::<LANES>();
            for a in whole {
                for i in 0..LANES {
                    lanes[i] += a[i] * a[i];
                }
            }
            sums.aa = lanes.iter().sum::<f64>() + rest.iter().map(|a| a * a).sum::<f64>();
            (sums.bb, sums.ab) = (sums.aa, sums.aa);
            self.join(&if sums.aa.is_finite() { sums } else { careful(a, a) });
        }
    }

    /// Adds other sums.
    pub fn join(&mut self, more: &Sums) {
        self.aa += more.aa;
        self.bb += more.bb;
        self.ab += more.ab;
        self.dd += more.dd;
        self.max = self.max.max(more.max);
        self.odd = (self.odd.0 + more.odd.0, self.odd.1 + more.odd.1);
        self.odd_changed += more.odd_changed;
        self.count += more.count;
    }

    pub fn total<'a>(all: impl Iterator<Item = &'a Sums>) -> Option<Movement> {
        let mut total: Option<Sums> = None;
        for sums in all {
            total.get_or_insert_default().join(sums);
        }
        total.map(|t| t.movement())
    }

    /// The distances computed from the sums.
    pub fn movement(&self) -> Movement {
        let ratio = |value: f64| Some(value).filter(|v| v.is_finite());
        let relative_l2 = if self.dd == 0.0 { Some(0.0) } else { ratio((self.dd / self.aa).sqrt()) };
        // The product of roots, since the root of the product overflows earlier.
        let cosine = ratio(self.ab / (self.aa.sqrt() * self.bb.sqrt())).map(|c| c.clamp(-1.0, 1.0));
        Movement { max: self.max, relative_l2, cosine, odd: self.odd, odd_changed: self.odd_changed, count: self.count }
    }
}

fn fast(a: &[f64], b: &[f64]) -> Sums {
    let (mut aa, mut bb, mut ab, mut dd, mut max) =
        ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0f64; LANES]);
    let ((a_whole, a_rest), (b_whole, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            let d = (a[i] - b[i]).abs();
            aa[i] += a[i] * a[i];
            bb[i] += b[i] * b[i];
            ab[i] += a[i] * b[i];
            dd[i] += d * d;
            max[i] = if d > max[i] { d } else { max[i] };
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        let d = (a - b).abs();
        aa[0] += a * a;
        bb[0] += b * b;
        ab[0] += a * b;
        dd[0] += d * d;
        max[0] = max[0].max(d);
    }
    let sum = |lanes: [f64; LANES]| lanes.iter().sum();
    let max = max.into_iter().fold(0.0, f64::max);
    Sums { aa: sum(aa), bb: sum(bb), ab: sum(ab), dd: sum(dd), max, count: a.len() as u64, ..Sums::default() }
}

fn careful(a: &[f64], b: &[f64]) -> Sums {
    let mut sums = Sums { count: a.len() as u64, ..Sums::default() };
    for (a, b) in a.iter().zip(b) {
        if a.is_finite() && b.is_finite() {
            let d = (a - b).abs();
            sums.aa += a * a;
            sums.bb += b * b;
            sums.ab += a * b;
            sums.dd += d * d;
            sums.max = sums.max.max(d);
            continue;
        }
        sums.odd.0 += u64::from(!a.is_finite());
        sums.odd.1 += u64::from(!b.is_finite());
        sums.odd_changed += u64::from(a != b && !(a.is_nan() && b.is_nan()));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(a: &[f64], b: &[f64]) -> Movement {
        let mut sums = Sums::default();
        sums.add(a, b);
        sums.movement()
    }

    #[test]
    fn distances() {
        let m = moved(&[3.0, 4.0], &[3.0, 4.5]);
        assert_eq!((m.max, m.relative_l2, m.count), (0.5, Some(0.1), 2));
        assert!((m.cosine.unwrap() - 27.0 / (5.0 * (9.0f64 + 20.25).sqrt())).abs() < 1e-15);
        assert_eq!(moved(&[1.0, 0.0], &[0.0, 1.0]).cosine, Some(0.0));
        let m = moved(&[1.0; 5000], &[-1.0; 5000]);
        assert_eq!((m.max, m.relative_l2, m.cosine), (2.0, Some(2.0), Some(-1.0)));
        let m = moved(&[0.0], &[1.0]);
        assert_eq!((m.max, m.relative_l2, m.cosine), (1.0, None, None));
        let m = moved(&[0.0], &[0.0]);
        assert_eq!((m.max, m.relative_l2, m.cosine), (0.0, Some(0.0), None));
    }

    #[test]
    fn nan_and_infinity_stand_apart() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let m = moved(&[3.0, nan, inf, 1.0, nan, inf], &[3.0, nan, inf, nan, 2.0, -inf]);
        assert_eq!((m.odd, m.odd_changed, m.max, m.relative_l2, m.count), ((4, 4), 3, 0.0, Some(0.0), 6));
        let mut spread = vec![1.0; 5000];
        spread[4000] = nan;
        let m = moved(&[1.0; 5000], &spread);
        assert_eq!((m.odd, m.odd_changed, m.max, m.cosine), ((0, 1), 1, 0.0, Some(1.0)));
    }

    #[test]
    fn what_did_not_move_is_summed_alike() {
        let a: Vec<f64> = (0..3001).map(|i| f64::from(i) * 0.25 - 90.0).collect();
        for a in [a.clone(), [a, vec![f64::NAN]].concat()] {
            let (mut slow, mut fast) = (Sums::default(), Sums::default());
            slow.add(&a, &a);
            fast.add_equal(&a);
            assert_eq!(slow, fast);
        }
    }
}
