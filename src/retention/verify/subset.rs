//! Which objects are read: all, a share of them by their ids, or a random choice. Pure.

use crate::store::ObjectId;

/// The part of the objects to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadSubset {
    /// Every object.
    All,
    /// One of `of` shares, by the ids of the objects: that many runs, each with another number, read everything.
    Share {
        /// From 1 to `of`.
        number: u64,
        /// The number of shares.
        of: u64,
    },
    /// About this many of a million, at random.
    Millionths(u64),
    /// In random order, up to this many bytes.
    Bytes(u64),
}

impl std::str::FromStr for ReadSubset {
    type Err = String;

    fn from_str(text: &str) -> Result<ReadSubset, String> {
        let wrong = || format!("`{text}` is not a part: write 1/7, 10% or 5GiB");
        if let Some((number, of)) = text.split_once('/') {
            let (number, of): (u64, u64) =
                (number.trim().parse().map_err(|_| wrong())?, of.trim().parse().map_err(|_| wrong())?);
            if number == 0 || number > of {
                return Err(format!("there is no share {number} of {of}: count from 1/{of} to {of}/{of}"));
            }
            return Ok(ReadSubset::Share { number, of });
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
            if !(percent > 0.0 && percent <= 100.0) {
                return Err("a percentage is above 0 and at most 100".into());
            }
            return Ok(ReadSubset::Millionths((percent * 10_000.0).round() as u64));
        }
        let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = (text[..unit].parse::<f64>().map_err(|_| wrong())?, text[unit..].trim());
        let power = ["k", "m", "g", "t"].iter().position(|p| unit.to_ascii_lowercase().starts_with(p));
        let step: f64 = match (power, unit.to_ascii_lowercase().get(1..)) {
            (Some(_), Some("" | "ib")) => 1024.0,
            (Some(_), Some("b")) => 1000.0,
            (None, _) if unit.eq_ignore_ascii_case("b") => 1.0,
            _ => return Err(wrong()),
        };
        let bytes = number * step.powi(power.map_or(0, |p| p as i32 + 1));
        if bytes < 1.0 { Err(wrong()) } else { Ok(ReadSubset::Bytes(bytes as u64)) }
    }
}

impl ReadSubset {
    /// Returns true if the choice is random.
    pub fn is_random(&self) -> bool {
        matches!(self, ReadSubset::Millionths(_) | ReadSubset::Bytes(_))
    }

    /// The indexes of the chosen objects, in order.
    pub fn choose(&self, all: &[(ObjectId, u64)], seed: u64) -> Vec<usize> {
        let mut chosen: Vec<usize> = match *self {
            ReadSubset::All => (0..all.len()).collect(),
            ReadSubset::Share { number, of } => {
                (0..all.len()).filter(|at| start(&all[*at].0) % of == number - 1).collect()
            }
            ReadSubset::Millionths(n) => {
                (0..all.len()).filter(|at| random_number(&all[*at].0, seed) % 1_000_000 < n).collect()
            }
            ReadSubset::Bytes(most) => {
                let mut order: Vec<usize> = (0..all.len()).collect();
                order.sort_by_key(|at| random_number(&all[*at].0, seed));
                let mut read = 0;
                let before = order.iter().take_while(|at| {
                    let goes = read < most;
                    read += all[**at].1;
                    goes
                });
                before.copied().collect()
            }
        };
        chosen.sort_unstable();
        chosen
    }
}

fn start(id: &ObjectId) -> u64 {
    id.0.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A pseudo-random number from an id and the seed.
fn random_number(id: &ObjectId, seed: u64) -> u64 {
    start(&ObjectId::of(&[&id.0[..], &seed.to_le_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_people_write_them() {
        for (text, want) in [
            ("1/7", Some(ReadSubset::Share { number: 1, of: 7 })),
            ("7/7", Some(ReadSubset::Share { number: 7, of: 7 })),
            ("10%", Some(ReadSubset::Millionths(100_000))),
            ("0.5%", Some(ReadSubset::Millionths(5_000))),
            ("100%", Some(ReadSubset::Millionths(1_000_000))),
            ("5GiB", Some(ReadSubset::Bytes(5 << 30))),
            ("5G", Some(ReadSubset::Bytes(5 << 30))),
            ("500MB", Some(ReadSubset::Bytes(500_000_000))),
            ("1.5k", Some(ReadSubset::Bytes(1536))),
            ("12B", Some(ReadSubset::Bytes(12))),
            ("0/7", None),
            ("8/7", None),
            ("1/0", None),
            ("0%", None),
            ("101%", None),
            ("nan%", None),
            ("5", None),
            ("GiB", None),
            ("5GiBs", None),
            ("5é", None),
            ("-5G", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<ReadSubset>().ok(), want, "{text}");
        }
    }

    #[test]
    fn shares_are_everything_and_chance_is_fair() {
        let all: Vec<(ObjectId, u64)> = (0..1000u32).map(|n| (ObjectId::of(&n.to_le_bytes()), 10)).collect();
        let mut seen: Vec<usize> =
            (1..=7).flat_map(|number| ReadSubset::Share { number, of: 7 }.choose(&all, 0)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert_eq!(ReadSubset::All.choose(&all, 0).len(), 1000);
        let some = ReadSubset::Millionths(100_000);
        assert!((60..140).contains(&some.choose(&all, 1).len()));
        assert!(some.choose(&all, 1) == some.choose(&all, 1) && some.choose(&all, 1) != some.choose(&all, 2));
        assert_eq!(ReadSubset::Millionths(1_000_000).choose(&all, 3).len(), 1000);
        for (bytes, count) in [(1, 1), (10, 1), (11, 2), (100, 10), (1 << 40, 1000)] {
            assert_eq!(ReadSubset::Bytes(bytes).choose(&all, 5).len(), count, "{bytes}");
        }
    }
}
