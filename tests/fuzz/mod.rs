//! Damaged input for the parsers of what comes from elsewhere: trees, packs, segments, locks, pipelines, model files.
//!
//! A seeded loop instead of a coverage-guided fuzzer: it needs no second toolchain and compiles no dependency twice. The
//! answer of the parser stands in for coverage: an input whose answer was not seen before joins the corpus.
//!
//! `cargo test --lib fuzz_` gives each target a second. `LOCKSTEP_FUZZ_SECONDS=60` gives each a minute, and
//! `LOCKSTEP_FUZZ_SEED=7` another sequence. The same seed gives the same inputs in the same order.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// The most one input may take, in a build without optimisation on a busy machine.
const SLOW: Duration = Duration::from_secs(10);
/// Inputs grow to this length at most.
const LONGEST: usize = 1 << 20;
/// The corpus grows to this many inputs at most.
const CORPUS: usize = 4096;

/// Numbers that break size fields: limits of their types, and their neighbours.
const NUMBERS: &[u64] = &[
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 36,
    1 << 62,
    i64::MAX as u64,
    u64::MAX - 7,
    u64::MAX,
];

/// A xorshift generator.
pub struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }
}

/// Gives damaged versions of `corpus` to `parse` until the time is over. `parse` returns a short answer, such as the
/// message of the error, and panics if a promise is broken. `seal` recomputes the checksum of an input, so that half of
/// the inputs reach the code behind the checksum.
pub fn fuzz(target: &str, mut corpus: Vec<Vec<u8>>, seal: Option<fn(&mut Vec<u8>)>, parse: impl Fn(&[u8]) -> String) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap_or(default));
    let seed = number("LOCKSTEP_FUZZ_SEED", 1);
    let budget = Duration::from_secs(number("LOCKSTEP_FUZZ_SECONDS", 1));
    let mut dice = Dice::new(seed);
    let mut answers: HashSet<String> = corpus.iter().map(|input| answer(&parse(input))).collect();
    let (started, mut inputs) = (Instant::now(), 0u64);
    while started.elapsed() < budget {
        let mut input = corpus[dice.below(corpus.len())].clone();
        for _ in 0..1 + dice.below(4) {
            damage(&mut input, &corpus, &mut dice);
        }
        if let Some(seal) = seal.filter(|_| dice.below(2) == 0) {
            seal(&mut input);
        }
        inputs += 1;
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        let took = began.elapsed();
        let got = outcome.unwrap_or_else(|panic| {
            eprintln!("{target}: input {inputs} of seed {seed} panics: {}", keep(target, &input));
            resume_unwind(panic)
        });
        assert!(took < SLOW, "{target}: input {inputs} of seed {seed} took {took:?}: {}", keep(target, &input));
        if corpus.len() < CORPUS && answers.insert(answer(&got)) {
            corpus.push(input);
        }
    }
    println!("{target}: {inputs} inputs, {} answers, seed {seed}", answers.len());
    assert!(inputs > 0 && answers.len() > 1, "{target}: the damage has no effect");
}

/// Writes an input to a file for the debugger, and returns its path.
fn keep(target: &str, input: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("lockstep-fuzz-{target}"));
    let written = std::fs::write(&path, input);
    written.map_or_else(|e| format!("{e}: {input:?}"), |()| path.display().to_string())
}

/// An answer without its numbers, names and hashes: what is left tells one branch of the parser from another.
fn answer(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 1);
    words.take(16).collect::<Vec<_>>().join(" ")
}

fn damage(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    if input.is_empty() {
        input.push(dice.below(256) as u8);
    }
    let at = dice.below(input.len());
    match dice.below(9) {
        0 => input.truncate(at),
        1 => input[at] ^= 1 << dice.below(8),
        2 => input[at] = dice.below(256) as u8,
        3 => {
            // A size field, little or big end first, narrow or wide.
            let number = NUMBERS[dice.below(NUMBERS.len())];
            let mut bytes = number.to_le_bytes();
            if dice.below(4) == 0 {
                bytes.reverse();
            }
            let width = [1, 2, 4, 8][dice.below(4)].min(input.len() - at);
            input[at..at + width].copy_from_slice(&bytes[..width]);
        }
        4 => {
            let end = (at + 1 + dice.below(64)).min(input.len());
            input.drain(at..end);
        }
        5 => {
            let end = (at + 1 + dice.below(256)).min(input.len());
            let copy = input[at..end].to_vec();
            let most = if dice.below(16) == 0 { 2000 } else { 3 };
            let times = 1 + dice.below(most);
            let to = dice.below(input.len());
            if input.len() + copy.len() * times <= LONGEST {
                input.splice(to..to, copy.repeat(times));
            }
        }
        6 => {
            // A part of another input.
            let other = &corpus[dice.below(corpus.len())];
            let from = dice.below(other.len());
            let part = &other[from..(from + 1 + dice.below(256)).min(other.len())];
            let end = (at + dice.below(part.len())).min(input.len());
            if input.len() + part.len() <= LONGEST {
                input.splice(at..end, part.iter().copied());
            }
        }
        7 => {
            // Two places trade their bytes.
            let other = dice.below(input.len());
            input.swap(at, other);
        }
        _ => {
            let byte = [0, b' ', b'[', b'{', b'(', b'\n', 0xff][dice.below(7)];
            let most = if dice.below(8) == 0 { 20_000 } else { 8 };
            let times = 1 + dice.below(most);
            if input.len() + times <= LONGEST {
                input.splice(at..at, std::iter::repeat_n(byte, times));
            }
        }
    }
}
