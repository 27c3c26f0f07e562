//! Damaged pipeline files and locks: a message and exit code 2, never a panic, a hang or a full memory.
//!
//! A thousand are made by damaging good ones; others are made to explode.

use std::path::Path;
use std::time::{Duration, Instant};

use lockstep::error::Result;
use lockstep::path::RepoPath;
use lockstep::pipeline::stage::InputLocation;
use lockstep::pipeline::{Files, load};

use crate::promises::{Dice, from_env};
use crate::sandbox::{Output, Sandbox};

pub const PIPELINE: &str = include_str!("../../../fixtures/broken/good.yaml");
const LOCK: &str = include_str!("../../../fixtures/broken/good.lock");
pub const PARAMS: &str = "lr: 0.1\nsizes: [1, 2, 3]\nmodels: {a: {depth: 1}, b: {depth: 2}}\n";

/// One pipeline file, and `params.yaml`.
struct One(Vec<u8>);

impl Files for One {
    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
        Ok(match place {
            InputLocation::Repo(path) if path.as_str() == "pipeline.yaml" => Some(self.0.clone()),
            InputLocation::Repo(path) if path.as_str() == "params.yaml" => Some(PARAMS.into()),
            _ => None,
        })
    }

    fn top(&self) -> &Path {
        Path::new("/top")
    }
}

/// Damages a text in one of many ways, once or several times.
fn damage(good: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.as_bytes().to_vec();
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(bytes.len());
        let lines = || String::from_utf8_lossy(&bytes).lines().map(|l| format!("{l}\n")).collect::<Vec<_>>();
        match dice.below(11) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 | 3 => {
                let mut lines = lines();
                let line = dice.below(lines.len());
                let count = 1 + dice.below(3);
                let copy = lines[line..].iter().take(count).cloned().collect::<Vec<_>>();
                let to = dice.below(lines.len());
                lines.splice(to..to, copy);
                bytes = lines.concat().into_bytes();
            }
            4 => {
                let mut lines = lines();
                let line = dice.below(lines.len());
                lines.remove(line);
                bytes = lines.concat().into_bytes();
            }
            5 => {
                let mut lines = lines();
                let line = dice.below(lines.len());
                let other = dice.below(lines.len());
                lines.swap(line, other);
                bytes = lines.concat().into_bytes();
            }
            6 => {
                // Deeper or less deep by a space or two.
                let mut lines = lines();
                let line = dice.below(lines.len());
                lines[line] =
                    if dice.below(2) == 0 { format!(" {}", lines[line]) } else { lines[line][1..].to_string() };
                bytes = lines.concat().into_bytes();
            }
            7 => drop(bytes.splice(at..at, [0xff, 0xfe].into_iter().take(1 + dice.below(2)))),
            8 => {
                const WORDS: &[&str] = &[
                    "${", "}", "${item", "${lr}", "&a ", "*a", "<<: ", "[", "]", "{", "}", ": ", "- ", "\t", "|", ">",
                    "!!str ", "!x ", "\"", "'", "#", "---\n", "...\n", "null", "~", "1e999", ".nan", "-0x", "?", "%",
                    "@", "\u{0}", "\u{feff}", "../", "/", "..", "é", "\u{202e}", "\r",
                ];
                let word = WORDS[dice.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            9 => {
                let n = dice.below(60_000);
                let what = [b'a', b'[', b' ', b'-', b'9'][dice.below(5)];
                bytes.splice(at..at, std::iter::repeat_n(what, n));
            }
            _ => {
                let end = (at + dice.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Each must be read, well or not, in a moment.
#[test]
fn a_thousand_damaged_files_are_read_without_a_panic() {
    let seed = from_env("LOCKSTEP_DAMAGE_SEED", 1);
    println!("LOCKSTEP_DAMAGE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let path = RepoPath::root().join("pipeline.yaml").unwrap();
    let (mut broken, mut fine) = (0, 0);
    for n in 0..from_env("LOCKSTEP_DAMAGE_ROUNDS", 1000) {
        let started = Instant::now();
        let text = if n % 2 == 0 {
            let text = damage(PIPELINE, &mut dice);
            let loaded = load(&One(text.clone()), std::slice::from_ref(&path), &RepoPath::root());
            let graph = lockstep::pipeline::graph::build(&loaded.pipelines);
            let is_broken = !loaded.broken.is_empty() || graph.is_err();
            for (_, problems) in &loaded.broken {
                assert!(!lockstep::pipeline::problem::render(problems).message.is_empty());
            }
            broken += u32::from(is_broken);
            fine += u32::from(!is_broken);
            text
        } else {
            let text = damage(LOCK, &mut dice);
            let read = lockstep::lock::read("pipeline.lock", &String::from_utf8_lossy(&text));
            if let Ok(lock) = &read {
                // What was read can be written, and says the same.
                let again = lockstep::lock::read("again", &lockstep::lock::write(lock));
                assert!(again.is_ok_and(|again| again == *lock), "{}", String::from_utf8_lossy(&text));
            }
            broken += u32::from(read.is_err());
            fine += u32::from(read.is_ok());
            text
        };
        let shown = String::from_utf8_lossy(&text[..text.len().min(3000)]).into_owned();
        assert!(started.elapsed() < Duration::from_secs(10), "took {:?}:\n{shown}", started.elapsed());
    }
    assert!(broken > 200 && fine > 20, "{broken} broken, {fine} fine: the damage is not varied");
}

/// lockstep with at most two gigabytes of address space and ten seconds.
fn limited(sandbox: &Sandbox, args: &[&str]) -> (Output, Duration) {
    let plain = sandbox.lockstep("");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(args);
    command.current_dir(sandbox.root()).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let started = Instant::now();
    let out = crate::sandbox::output(&mut command);
    (out, started.elapsed())
}

fn survives(sandbox: &Sandbox, what: &str) {
    for args in [&["status", "--json"][..], &["repro", "--dry"]] {
        let (out, took) = limited(sandbox, args);
        let is_for_the_system = out.code == 7 && out.stderr.contains("File name too long");
        assert!(matches!(out.code, 0 | 2 | 3) || is_for_the_system, "{what}, {args:?}: {out}");
        assert!(took < Duration::from_secs(10), "{what}, {args:?} took {took:?}");
    }
}

#[test]
fn the_program_survives_damaged_files() {
    let seed = from_env("LOCKSTEP_DAMAGE_SEED", 1);
    println!("LOCKSTEP_DAMAGE_SEED={seed}");
    let mut dice = Dice::new(seed + 1);
    let sandbox = Sandbox::new();
    sandbox.write("params.yaml", PARAMS);
    for n in 0..15 {
        sandbox.write("pipeline.yaml", damage(PIPELINE, &mut dice));
        sandbox.write("pipeline.lock", LOCK);
        survives(&sandbox, &format!("pipeline {n} of seed {seed}"));
        sandbox.write("pipeline.yaml", PIPELINE);
        sandbox.write("pipeline.lock", damage(LOCK, &mut dice));
        survives(&sandbox, &format!("lock {n} of seed {seed}"));
    }
}

/// What grows when it is read: the file is small, what it stands for is not.
#[test]
fn files_that_explode_are_refused_in_time() {
    let laughs: String =
        (1..40).map(|n| format!("a{n}: &a{n} [{0}, {0}, {0}, {0}]\n", format!("*a{}", n - 1))).collect();
    let axis = |name: &str, n: usize| {
        format!("      {name}: [{}]\n", (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", "))
    };
    let matrix: String = ["a", "b", "c", "d"].map(|name| axis(name, 100)).concat();
    let many: String = (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let doubling: String = (1..60).map(|n| format!("- v{n}: ${{v{0}}}${{v{0}}}\n", n - 1)).collect();
    let cases = [
        ("aliases", format!("vars:\n- x: 1\na0: &a0 x\n{laughs}stages: {{}}\n")),
        (
            "aliases in vars",
            format!("vars:\n- a0: &a0 x\n{}", laughs.lines().map(|l| format!("  {l}\n")).collect::<String>()),
        ),
        (
            "merge keys",
            format!(
                "vars:\n- m0: &m0 {{k: 1}}\n{}",
                (1..40)
                    .map(|n| format!("  m{n}: &m{n} {{<<: [*m{0}, *m{0}], k{n}: *m{0}}}\n", n - 1))
                    .collect::<String>()
            ),
        ),
        ("a matrix of 10^8", format!("stages:\n  s:\n    matrix:\n{matrix}    cmd: echo ${{item.a}}\n")),
        (
            "foreach of lists of lists",
            format!(
                "vars:\n- l: [{many}]\nstages:\n  s:\n    foreach: ${{l}}\n    do:\n      cmd: echo ${{l}} ${{item}}\n"
            ),
        ),
        ("doubling strings", format!("vars:\n- v0: 0123456789\n{doubling}stages:\n  s:\n    cmd: echo ${{v59}}\n")),
        ("deep lists", format!("vars: {}\n", "[".repeat(50_000))),
        ("deep maps", (0..5_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>()),
        ("deep flow maps", format!("stages: {}", "{a: ".repeat(50_000))),
        ("a huge key", format!("stages:\n  {}:\n    cmd: x\n", "k".repeat(5_000_000))),
        ("a huge template", format!("stages:\n  s:\n    cmd: {}\n", "${".repeat(500_000))),
        ("a huge number", format!("stages:\n  s:\n    cmd: echo ${{x}}\nvars:\n- x: {}\n", "9".repeat(1_000_000))),
        ("many brackets in a template", format!("stages:\n  s:\n    cmd: echo ${{x{}}}\n", "[0]".repeat(200_000))),
        (
            "many stages of one output",
            (0..2_000).fold("stages:\n".to_string(), |s, n| s + &format!("  s{n}:\n    cmd: x\n    outs: [o]\n")),
        ),
        ("a path of many parts", format!("stages:\n  s:\n    cmd: x\n    outs: ['{}x']\n", "a/".repeat(200_000))),
        ("a path of many steps up", format!("stages:\n  s:\n    cmd: x\n    deps: ['{}x']\n", "../".repeat(200_000))),
    ];
    let sandbox = Sandbox::new();
    for (what, text) in cases {
        sandbox.write("pipeline.yaml", text);
        survives(&sandbox, what);
    }
    sandbox.remove("pipeline.yaml");
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("params.yaml", PARAMS);
    let locks = [
        ("a deep lock", format!("schema: 1\nstages: {}", "{a: ".repeat(50_000))),
        ("a deep param", format!("schema: 1\nstages:\n  s:\n    params: {}", "[".repeat(50_000))),
        (
            "aliases in a lock",
            format!("schema: 1\nx:\n  a0: &a0 x\n{}", laughs.lines().map(|l| format!("  {l}\n")).collect::<String>()),
        ),
        (
            "aliases in params of a lock",
            format!(
                "schema: 1\nstages:\n  s:\n    cmd: x\n    params:\n      p:\n        a0: &a0 x\n{}",
                laughs.lines().map(|l| format!("        {l}\n")).collect::<String>()
            ),
        ),
        ("a huge lock key", format!("schema: 1\ndata:\n  {}:\n", "k".repeat(5_000_000))),
        ("a lock of zeros", "\0".repeat(1_000_000)),
        ("a lock of another schema", "schema: 99999999999999999999999\n".to_string()),
    ];
    for (what, text) in locks {
        sandbox.write("pipeline.lock", text);
        survives(&sandbox, what);
    }
}
