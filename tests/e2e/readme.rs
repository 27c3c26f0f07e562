//! Every example of README.md and of the pages in `docs/`, run.
//!
//! Each page is one story in one sandbox: a `sh` block goes on in the folder where the block before it ended. What a
//! block is stands in it, where readers see it, too:
//!
//! - `sh`: is run. If its first line is `# not run: REASON`, it is not. If its last line is `# exit code N`, it ends with
//!   that code, else with 0.
//! - `text` right after a `sh` block: each line was printed, in any order; numbers and hashes may differ, `…` stands for
//!   more lines.
//! - `yaml` and others: if the first line is `# NAME`, the file is written; else it begins with `# excerpt` or
//!   `# not run: REASON`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::{Sandbox, output};

struct Block {
    /// Where it begins, as `docs/run.md:12`.
    place: String,
    kind: String,
    lines: Vec<String>,
}

#[test]
fn the_readme_does_what_it_says() {
    let blocks = run_page("README.md");
    assert!(blocks > 5, "README.md has {blocks} examples that run");
}

#[test]
fn the_pages_of_the_docs_do_what_they_say() {
    let mut blocks = 0;
    for page in pages() {
        blocks += run_page(&page);
    }
    assert!(blocks > 20, "docs/ has {blocks} examples that run");
}

/// They are shown by `lockstep help TOPIC`, too.
#[test]
fn the_pages_fit_a_terminal() {
    for page in pages() {
        let text = read(&page);
        for (number, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= 100, "{page}:{}: longer than 100 characters", number + 1);
        }
        for tag in ["<!--", "<br", "<sub>", "<a ", "<img", "<details"] {
            assert!(!text.contains(tag), "{page}: {tag}");
        }
    }
    let readme = read("README.md");
    assert!(readme.lines().count() <= 250, "README.md has {} lines", readme.lines().count());
    assert!(readme.lines().all(|line| line.chars().count() <= 120), "README.md: a line is longer than 120 characters");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages().into_iter().chain(["README.md".to_string()]) {
        let text = read(&page);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = Path::new(&page).parent().unwrap().join(link);
            assert!(source(path.to_str().unwrap()).exists(), "{page}: {link}");
        }
    }
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(page: &str) -> String {
    fs::read_to_string(source(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// The pages in `docs/`, sorted.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(source("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.into_iter().filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect()
}

/// Runs the examples of a page; says how many were run.
fn run_page(page: &str) -> usize {
    let sandbox = Sandbox::without_git();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let mut folder = sandbox.root().to_path_buf();
    let mut printed: Option<String> = None;
    let mut count = 0;
    for block in blocks(page, &read(page)) {
        let first = block.lines.first().map_or("", String::as_str);
        match block.kind.as_str() {
            "sh" if first.starts_with("# not run: ") => printed = None,
            "sh" => {
                let (text, ended_in) = run(&sandbox, &folder, &block);
                (printed, folder, count) = (Some(text), ended_in, count + 1);
            }
            "text" => {
                if let Some(printed) = &printed {
                    must_be_printed(&block, printed);
                }
            }
            "yaml" | "toml" | "python" => {
                printed = None;
                if let Some(name) = file_name(first) {
                    fs::write(folder.join(name), block.lines.join("\n") + "\n").unwrap();
                } else {
                    let is_marked = first.starts_with("# excerpt") || first.starts_with("# not run: ");
                    assert!(is_marked, "{}: the first line names no file, and not `# excerpt`", block.place);
                }
            }
            kind => panic!("{}: a block of `{kind}`", block.place),
        }
    }
    count
}

/// The fenced blocks of a page, in their order.
fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let lines = body.map(str::to_string).collect();
            found.push(Block { place: format!("{page}:{}", number + 1), kind: kind.to_string(), lines });
        }
    }
    found
}

/// `pipeline.yaml` of `# pipeline.yaml`.
fn file_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("# ")?;
    let is_name = name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    is_name.then_some(name)
}

/// Runs a block with the built binary on the path; what it printed, and where it ended.
fn run(sandbox: &Sandbox, folder: &Path, block: &Block) -> (String, PathBuf) {
    let root = sandbox.root().to_str().unwrap();
    // What is built already is not built again, and nothing is left outside of the sandbox.
    let script = block.lines.join("\n");
    let script = script
        .replace("cargo build --release && ", "")
        .replace("./target/release/lockstep", "lockstep")
        .replace("/tmp/", &format!("{root}/tmp/"));
    let bin = Path::new(env!("CARGO_BIN_EXE_lockstep")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let note = sandbox.path(".ended-in");
    let mut shell = sandbox.command(Path::new("sh"), "");
    shell.args(["-e", "-c", &format!("{script}\npwd > \"$ENDED_IN\"")]);
    let out = output(shell.current_dir(folder).env("PATH", path).env("ENDED_IN", &note));
    let last = block.lines.last().map_or("", String::as_str);
    let expected = last.strip_prefix("# exit code ").map_or(0, |code| code.parse().unwrap());
    assert_eq!(out.code, expected, "{}:\n{script}\n{out}", block.place);
    let ended_in = fs::read_to_string(&note).map_or(folder.to_path_buf(), |text| PathBuf::from(text.trim()));
    let _ = fs::remove_file(&note);
    let printed = format!("{}\n{}", out.stdout, out.stderr);
    (printed.replace(&format!("{root}/tmp/"), "/tmp/").replace(root, "/home/me"), ended_in)
}

fn must_be_printed(block: &Block, printed: &str) {
    let have: BTreeSet<String> = printed.lines().map(simplify).collect();
    for line in block.lines.iter().filter(|line| !["", "…"].contains(&line.trim())) {
        assert!(have.contains(&simplify(line)), "{}: not printed: {line}\nprinted was:\n{printed}", block.place);
    }
}

/// A line without what differs from run to run: one blank between words, `H` for each hexadecimal number of seven digits
/// and more, `0` for every other number, `0s` for each duration.
fn simplify(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut out = String::new();
    let mut rest = words.join(" ");
    while let Some(first) = rest.chars().next() {
        let in_word = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let hex = rest.bytes().take_while(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)).count();
        let ends = !rest[hex..].chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let width = if !in_word && ends && (7..=64).contains(&hex) {
            out.push('H');
            hex
        } else if digits > 0 {
            out.push('0');
            let part =
                rest[digits..].strip_prefix('.').map_or(0, |part| part.bytes().take_while(u8::is_ascii_digit).count());
            if part > 0 { digits + 1 + part } else { digits }
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest.drain(..width);
    }
    out.replace("0h 0m", "0m").replace("0m 0s", "0s")
}

#[test]
fn numbers_and_hashes_do_not_matter() {
    for (line, simple) in [
        ("2 ran in 0.07s", "0 ran in 0s"),
        ("2 ran in 1h 12m 3s", "0 ran in 0s"),
        ("  of 28f224f  (First)", "of H (First)"),
        ("9fc1a2e0 v1.10.0 4,5", "H v0.0 0,0"),
        ("decade 12 B → 5 B", "decade 0 B → 0 B"),
    ] {
        assert_eq!(simplify(line), simple);
    }
}
