//! The value of a plain YAML scalar: the core schema of YAML 1.2, plus spellings that Python users know from
//! ruamel.yaml: `1_000`, `0b11`, `012` (twelve), `5.`, `.5`. `yes`, `no`, `on`, `off`, `12:30` and dates are strings.

use super::Value;

/// A number that [`Value`] cannot represent.
#[derive(Debug)]
pub struct TooLarge;

/// The value of a plain (unquoted) scalar.
pub fn plain(text: &str) -> Result<Value, TooLarge> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::Str(text.into()));
    }
    if let Some(number) = int(text) {
        return number.map(Value::Int);
    }
    match float(text) {
        Some(f) if f.is_infinite() && !text.ends_with(['f', 'F']) => Err(TooLarge),
        Some(f) => Ok(Value::Float(f)),
        None => Ok(Value::Str(text.into())),
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// `Some` for the spelling of an integer.
pub fn int(text: &str) -> Option<Result<i128, TooLarge>> {
    let (negative, rest) = sign(text);
    let (radix, digits) = match rest.get(..2) {
        Some("0b") => (2, &rest[2..]),
        Some("0o") => (8, &rest[2..]),
        Some("0x") => (16, &rest[2..]),
        _ if rest.starts_with(|c: char| c.is_ascii_digit()) => (10, rest),
        _ => return None,
    };
    if !digits.bytes().all(|b| b == b'_' || (b as char).is_digit(radix)) {
        return None;
    }
    let mut digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() {
        return None;
    }
    if negative {
        digits.insert(0, '-');
    }
    Some(i128::from_str_radix(&digits, radix).map_err(|_| TooLarge))
}

/// `Some` for the spelling of a float.
pub fn float(text: &str) -> Option<f64> {
    let (negative, rest) = sign(text);
    let f = match rest {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" => return (rest.len() == text.len()).then_some(f64::NAN),
        _ => {
            let (mantissa, exponent) = match rest.find(['e', 'E']) {
                Some(at) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            };
            let (whole, fraction) = match mantissa.split_once('.') {
                Some((whole, fraction)) => (whole, Some(fraction)),
                None => (mantissa, None),
            };
            let digits = |s: &str| s.bytes().all(|b| b == b'_' || b.is_ascii_digit());
            if !digits(whole) || !digits(fraction.unwrap_or("")) || whole.starts_with('_') {
                return None;
            }
            // `.5e3` without a sign is a string to ruamel.yaml
            let signed = |e: &str| e.starts_with(['-', '+']);
            match (whole.is_empty(), fraction, exponent) {
                (true, None, _) | (false, None, None) => return None,
                (true, Some(f), _) if !f.bytes().any(|b| b.is_ascii_digit()) => return None,
                (true, Some(_), Some(e)) if !signed(e) => return None,
                _ => {}
            }
            if let Some(e) = exponent {
                let (_, e) = sign(e);
                if e.is_empty() || !e.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
            }
            rest.chars().filter(|c| *c != '_').collect::<String>().parse().ok()?
        }
    };
    Some(if negative { -f } else { f })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, want) in [
            ("012", Value::Int(12)),
            ("0b11", Value::Int(3)),
            ("0o17", Value::Int(15)),
            ("-0o17", Value::Int(-15)),
            ("0x1F", Value::Int(31)),
            ("+0x1F", Value::Int(31)),
            ("+5", Value::Int(5)),
            ("1_000", Value::Int(1000)),
            ("1_", Value::Int(1)),
            ("089", Value::Int(89)),
            ("0o_17", Value::Int(15)),
            ("1e5", Value::Float(1e5)),
            ("1.e5", Value::Float(1e5)),
            (".5", Value::Float(0.5)),
            ("5.", Value::Float(5.0)),
            ("+.5", Value::Float(0.5)),
            (".5_", Value::Float(0.5)),
            ("1_0.5_0", Value::Float(10.5)),
            ("1_e5", Value::Float(1e5)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
            ("+.INF", Value::Float(f64::INFINITY)),
            (".5e-3", Value::Float(0.0005)),
            ("FALSE", Value::Bool(false)),
            ("NULL", Value::Null),
            ("~", Value::Null),
        ] {
            assert_eq!(plain(text).unwrap(), want, "{text}");
        }
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "12:30",
            "2020-01-02",
            "1.2.3",
            "_1",
            ".5e3",
            "0o",
            "0x",
            ".",
            "1e",
            "1e-3_",
            "+.nan",
            "tRue",
            "nULL",
            "0B11",
            "0X1f",
            "1-2",
            "+",
            "-",
            "1:30.5",
            "0b",
            "._",
            "é",
            "-é",
            "+é0",
        ] {
            assert_eq!(plain(text).unwrap(), Value::Str(text.into()), "{text}");
        }
        assert!(matches!(plain(".nan").unwrap(), Value::Float(f) if f.is_nan()));
        for text in ["999999999999999999999999999999999999999999", "1E400", "-1e400", "1_0.0e308"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
