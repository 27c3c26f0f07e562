//! Which charts are square: those of two shares, as ROC and precision-recall curves. Pure.

use super::axes::Axis;

/// Names of axes whose values are shares, in lower case with spaces.
const SHARES: &[&str] = &[
    "false negative rate",
    "false positive rate",
    "fnr",
    "fpr",
    "fraction of positives",
    "mean predicted probability",
    "precision",
    "prob pred",
    "prob true",
    "recall",
    "sensitivity",
    "specificity",
    "tnr",
    "tpr",
    "true negative rate",
    "true positive rate",
];

/// Whether both axes run from 0 to 1: the values lie within, and either both axes have names of shares, or the values
/// begin near 0 and end near 1. Values that are only 0 and 1 may be counts.
pub fn is_square(x: &Axis<'_>, y: &Axis<'_>, labels: (&str, &str)) -> bool {
    let (Some(x_extent), Some(y_extent)) = (x.extent(), y.extent()) else { return false };
    let axes = [(x, x_extent), (y, y_extent)];
    let is_within = |(low, high): (f64, f64)| low >= -1e-9 && high <= 1.0 + 1e-9;
    let has_fraction = |axis: &Axis<'_>| axis.values.iter().flat_map(|of| of.iter()).any(|v| *v > 0.0 && *v < 1.0);
    axes.iter().all(|(axis, extent)| axis.words.is_none() && is_within(*extent))
        && (is_share(labels.0) && is_share(labels.1)
            || axes.iter().all(|(axis, (low, high))| *low <= 0.1 && *high >= 0.9 && has_fraction(axis)))
}

fn is_share(label: &str) -> bool {
    let label = label.trim().to_lowercase().replace('_', " ");
    SHARES.contains(&label.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::super::Column;
    use super::*;

    #[test]
    fn axes_of_shares() {
        let words = Column::Words { rows: vec![0], words: vec!["0.5".into()] };
        let numbers = |values: &[f64]| Column::Numbers(values.to_vec());
        for (x, y, labels, want) in [
            (numbers(&[0.0, 0.2, 1.0]), numbers(&[0.0, 0.7, 1.0]), ("a", "b"), true),
            (numbers(&[1.0, 0.05, 0.5]), numbers(&[0.08, f64::NAN, 0.95]), ("", ""), true),
            // precision seldom begins at 0
            (numbers(&[0.0, 1.0]), numbers(&[1.0, 0.55]), ("Recall", "Precision"), true),
            (numbers(&[0.0, 0.1]), numbers(&[0.0, 0.1]), ("false_positive_rate", " TPR "), true),
            (numbers(&[0.0, 0.5, 1.0]), numbers(&[1.0, 0.7, 0.55]), ("x", "y"), false),
            // two epochs
            (numbers(&[0.0, 1.0]), numbers(&[0.0, 0.95]), ("epoch", "acc"), false),
            (numbers(&[0.0, 1.0, 2.0]), numbers(&[0.0, 0.5, 1.0]), ("epoch", "recall"), false),
            (numbers(&[0.0, 0.5, 1.0]), numbers(&[0.0, 0.5, 1.2]), ("recall", "precision"), false),
            (numbers(&[0.0, 0.5, 1.0]), numbers(&[-0.5, 0.5, 1.0]), ("x", "y"), false),
            (words, numbers(&[0.5]), ("recall", "precision"), false),
            (numbers(&[]), numbers(&[]), ("recall", "precision"), false),
            (numbers(&[f64::NAN]), numbers(&[0.5]), ("recall", "precision"), false),
        ] {
            let axis = |column| Axis::of(std::iter::once(column));
            assert_eq!(is_square(&axis(&x), &axis(&y), labels), want, "{x:?} {y:?} {labels:?}");
        }
    }
}
