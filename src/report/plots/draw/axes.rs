//! Columns of several series on one axis.
//!
//! Words get the positions 0, 1, … in the order of their occurrence, dates in their own; so all later code works on
//! numbers.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::Column;
use super::super::scale::{Scale, extent, join, number};
use super::frame::LETTER;

/// The values of all series on one axis.
pub struct Axis<'a> {
    /// One list a series.
    pub values: Vec<Cow<'a, [f64]>>,
    /// The words at the positions, if the axis has words.
    pub words: Option<Vec<String>>,
}

impl<'a> Axis<'a> {
    pub fn of(columns: impl Iterator<Item = &'a Column> + Clone) -> Axis<'a> {
        let is_number = |column: &Column| matches!(column, Column::Numbers(_));
        if columns.clone().all(is_number) {
            let values = columns.filter_map(|column| match column {
                Column::Numbers(numbers) => Some(Cow::Borrowed(numbers.as_slice())),
                Column::Words { .. } => None,
            });
            return Axis { values: values.collect(), words: None };
        }
        let words = words_of(columns.clone());
        let places: HashMap<&str, f64> = words.iter().enumerate().map(|(n, word)| (word.as_str(), n as f64)).collect();
        let place = |word: &str| places.get(word).copied().unwrap_or(f64::NAN);
        let values = columns
            .map(|column| match column {
                Column::Numbers(numbers) => Cow::Owned(numbers.iter().map(|n| place(&number(*n))).collect()),
                Column::Words { rows, words } => {
                    let of_word: Vec<f64> = words.iter().map(|word| place(word)).collect();
                    Cow::Owned(rows.iter().map(|row| of_word[*row as usize]).collect())
                }
            })
            .collect();
        Axis { values, words: Some(words) }
    }

    /// `None` if there is no value.
    pub fn scale(&self, from: f64, to: f64, count: usize, round: bool) -> Option<Scale> {
        match &self.words {
            Some(words) if words.is_empty() => None,
            Some(words) => {
                let vertical = from > to;
                let letters = words.iter().map(|word| word.chars().count()).max().unwrap_or(1).min(24);
                let room = if vertical { 14.0 } else { letters as f64 * LETTER + 10.0 };
                Some(Scale::words(words, from, to, room))
            }
            None => self.extent().map(|(low, high)| {
                // Steps that begin at 1, or at 20 of 2000, start at zero.
                let low = if low > 0.0 && low <= high * 0.05 { 0.0 } else { low };
                Scale::new((low, high), from, to, count, round)
            }),
        }
    }

    pub fn extent(&self) -> Option<(f64, f64)> {
        join(self.values.iter().map(|values| extent(values.iter().copied())))
    }

    /// For people: `0 to 400`, `a to z`.
    pub fn range(&self) -> String {
        match (&self.words, self.extent()) {
            (Some(words), _) => match (words.first(), words.last()) {
                (Some(first), Some(last)) => format!("{first} to {last}"),
                _ => "nothing".into(),
            },
            (None, Some((low, high))) => format!("{} to {}", number(low), number(high)),
            (None, None) => "nothing".into(),
        }
    }
}

/// All words, each once: dates in their order, others in that of their first row.
pub fn words_of<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut add = |word: Cow<'_, str>| {
        if !known.contains(word.as_ref()) {
            known.insert(word.to_string());
            words.push(word.into_owned());
        }
    };
    for column in columns {
        match column {
            Column::Numbers(numbers) => {
                numbers.iter().filter(|n| n.is_finite()).for_each(|n| add(Cow::Owned(number(*n))));
            }
            Column::Words { words, .. } => words.iter().for_each(|word| add(Cow::Borrowed(word))),
        }
    }
    if words.iter().all(|word| is_date(word)) {
        words.sort();
    }
    words
}

/// Words, each once, in a natural order: numbers by size, others alphabetically.
pub fn classes(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words.dedup();
    let value = |word: &String| word.parse::<f64>().ok().filter(|v| v.is_finite());
    if words.iter().all(|word| value(word).is_some()) {
        words.sort_by(|a, b| value(a).unwrap_or(0.0).total_cmp(&value(b).unwrap_or(0.0)));
    }
    words
}

/// `2026-11-24`, with or without a time: ISO 8601 sorts as text.
fn is_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
    digits(0..4) && bytes.get(4) == Some(&b'-') && digits(5..7)
}
