//! Numbers, compared by their exact values: 2^53 + 1 is greater than 2^53, also between integers and floats.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Value, whole};

/// An integer or a float.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Number {
    /// An integer.
    Int(i128),
    /// A float, also NaN and the infinities.
    Float(f64),
}

impl Number {
    /// A number in a condition: digits with an optional point and exponent.
    pub fn parse(text: &str) -> Option<Number> {
        if let Ok(n) = text.parse() {
            return Some(Number::Int(n));
        }
        let is_whole = text.trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|f: &f64| f.is_finite() && !is_whole).map(Number::Float)
    }

    /// Returns true for NaN.
    pub fn is_nan(self) -> bool {
        matches!(self, Number::Float(f) if f.is_nan())
    }

    /// Returns false for NaN and the infinities.
    pub fn is_finite(self) -> bool {
        matches!(self, Number::Int(_)) || matches!(self, Number::Float(f) if f.is_finite())
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(f) => f,
        }
    }

    /// The sum: exact for integers, or a float if it overflows.
    pub fn plus(self, other: Number) -> Number {
        self.with(other, i128::checked_add, |a, b| a + b)
    }

    /// The difference: exact for integers, or a float if it overflows.
    pub fn minus(self, other: Number) -> Number {
        self.with(other, i128::checked_sub, |a, b| a - b)
    }

    /// The product: exact for integers, or a float if it overflows.
    pub fn times(self, other: Number) -> Number {
        self.with(other, i128::checked_mul, |a, b| a * b)
    }

    /// Integers stay integers.
    fn with(self, other: Number, ints: fn(i128, i128) -> Option<i128>, floats: fn(f64, f64) -> f64) -> Number {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => ints(a, b).map(Number::Int),
            _ => None,
        }
        .unwrap_or_else(|| Number::Float(floats(self.to_f64(), other.to_f64())))
    }
}

impl Value {
    /// The number; `None` for other kinds. Neither booleans nor numeric strings are numbers.
    pub fn number(&self) -> Option<Number> {
        match self {
            Value::Int(n) => Some(Number::Int(*n)),
            Value::Float(f) => Some(Number::Float(*f)),
            _ => None,
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        match number {
            Number::Int(n) => Value::Int(n),
            Number::Float(f) => Value::Float(f),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
            (Number::Int(a), Number::Float(b)) => compare(*a, *b),
            (Number::Float(a), Number::Int(b)) => compare(*b, *a).map(Ordering::reverse),
        }
    }
}

fn compare(int: i128, float: f64) -> Option<Ordering> {
    match whole(float.floor()) {
        // The fraction decides only if the integers are equal.
        Some(floor) => Some(int.cmp(&floor).then(if float.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })),
        None => 0.0.partial_cmp(&float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_order() {
        let big = 1i128 << 53;
        let rising = [
            Number::Float(f64::NEG_INFINITY),
            Number::Float(-1e300),
            Number::Int(i128::MIN),
            Number::Int(-big - 1),
            Number::Float(-(big as f64)),
            Number::Float(-0.5),
            Number::Int(0),
            Number::Float(5e-324),
            Number::Int(1),
            Number::Float(1.5),
            Number::Int(2),
            Number::Float(big as f64),
            Number::Int(big + 1),
            Number::Int(i128::MAX),
            Number::Float(1e300),
        ];
        for (n, a) in rising.iter().enumerate() {
            for (m, b) in rising.iter().enumerate() {
                assert_eq!(a.partial_cmp(b), Some(n.cmp(&m)), "{a:?} {b:?}");
            }
        }
        assert_eq!(Number::Int(big), Number::Float(big as f64));
        assert_eq!(Number::Int(0), Number::Float(-0.0));
        assert_eq!(Number::Int(0).partial_cmp(&Number::Float(f64::NAN)), None);
        assert_eq!(Number::Int(big + 1).minus(Number::Int(big)), Number::Int(1));
        assert_eq!(Number::Int(1).times(Number::Float(0.5)), Number::Float(0.5));
        assert_eq!(Number::Int(i128::MAX).plus(Number::Int(1)), Number::Float(2f64.powi(127)));
    }

    #[test]
    fn numbers_of_conditions() {
        assert_eq!(Number::parse("18446744073709551617"), Some(Number::Int((1 << 64) + 1)));
        assert_eq!(Number::parse("-1e22"), Some(Number::Float(-1e22)));
        for text in ["1e400", "nan", "inf", "x", &"9".repeat(50)] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
