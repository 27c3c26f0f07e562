//! Circles between the files of a folder: none can be read first.
//!
//! The nodes are the files and folders of one folder, without its `mod.rs`, which stands for the folder. A name that a
//! `mod.rs` re-exports leads to the file that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::{code, is_word, starts};

/// A module: the names behind `crate`.
type Module = Vec<String>;

/// Folders that may have a circle, each with its reason.
const ALLOWED: &[(&str, &str)] = &[];

#[test]
fn files_of_a_folder_form_no_circles() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    super::collect(&src, &mut files);
    let mut sources = BTreeMap::new();
    for file in files {
        let path = file.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
        if !super::is_test(&path) {
            sources.insert(module(&path), code(&fs::read_to_string(&file).unwrap()));
        }
    }
    let mut found = circles(&sources);
    found.retain(|(folder, _)| !ALLOWED.iter().any(|(allowed, _)| allowed == folder));
    assert!(found.is_empty(), "{found:#?}");
}

/// The module of a file below `src/`.
fn module(path: &str) -> Module {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(String::from).collect() }
}

/// Folders with the files and folders in them that name each other in a circle.
fn circles(sources: &BTreeMap<Module, String>) -> Vec<(String, Vec<String>)> {
    let reexports = reexports(sources);
    let mut edges: BTreeMap<Module, BTreeSet<(String, String)>> = BTreeMap::new();
    for (from, code) in sources {
        for path in paths(code).into_iter().filter_map(|path| resolve(path, from, sources)) {
            let to = owner(&follow(path, sources, &reexports), sources);
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (from.get(shared), to.get(shared)) {
                edges.entry(from[..shared].to_vec()).or_default().insert((a.clone(), b.clone()));
            }
        }
    }
    let mut found = Vec::new();
    for (folder, edges) in edges {
        let reached = |start: &str| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![start.to_string()]);
            while let Some(node) = left.pop() {
                let next = edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| to.clone());
                left.extend(next.filter(|to| seen.insert(to.clone())));
            }
            seen
        };
        let nodes: BTreeSet<String> = edges.iter().map(|(from, _)| from.clone()).collect();
        let mut rest: Vec<String> = nodes.into_iter().filter(|node| reached(node).contains(node)).collect();
        while let Some(first) = rest.first().cloned() {
            let (circle, others) =
                rest.into_iter().partition(|node| reached(&first).contains(node) && reached(node).contains(&first));
            found.push((folder.join("/"), circle));
            rest = others;
        }
    }
    found
}

/// What `pub use` gives other names, by module and name.
fn reexports(sources: &BTreeMap<Module, String>) -> BTreeMap<Module, Module> {
    let mut found = BTreeMap::new();
    for (module, code) in sources {
        for (path, name) in uses(code).into_iter().filter(|one| one.is_public).flat_map(|one| one.leaves) {
            if let Some(path) = resolve(path, module, sources) {
                found.insert([module.clone(), vec![name]].concat(), path);
            }
        }
    }
    found
}

/// All paths that a file names, but for those that it re-exports.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code.to_string();
    for one in uses(code) {
        if !one.is_public {
            found.extend(one.leaves.into_iter().map(|(path, _)| path));
        }
        rest.replace_range(one.at.clone(), &" ".repeat(one.at.len()));
    }
    for head in ["crate::", "super::", "self::"] {
        for at in starts(&rest, head).filter(|at| !rest[..*at].ends_with("::")) {
            let end = rest[at..].find(|c: char| !is_word(c) && c != ':').map_or(rest.len(), |end| at + end);
            found.push(rest[at..end].split("::").filter(|name| !name.is_empty()).map(String::from).collect());
        }
    }
    found
}

struct Use {
    at: std::ops::Range<usize>,
    is_public: bool,
    /// Paths, and the names that they have here.
    leaves: Vec<(Vec<String>, String)>,
}

fn uses(code: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for at in starts(code, "use ") {
        let line = code[..at].rfind('\n').map_or(0, |at| at + 1);
        let before = code[line..at].trim();
        let Some(end) = code[at..].find(';').map(|end| at + end) else { continue };
        if before.is_empty() || before.starts_with("pub") {
            let mut leaves = Vec::new();
            tree(code[at + 4..end].trim(), &[], &mut leaves);
            found.push(Use { at: at..end, is_public: !before.is_empty(), leaves });
        }
    }
    found
}

/// The leaves of `a::{b, c::{self, d as e}}`.
fn tree(text: &str, above: &[String], leaves: &mut Vec<(Vec<String>, String)>) {
    if let Some((path, group)) = text.split_once('{') {
        let path = path.trim().trim_end_matches("::").split("::").filter(|name| !name.is_empty());
        let above: Vec<String> = above.iter().cloned().chain(path.map(String::from)).collect();
        let group = group.trim().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    tree(group[start..at].trim(), &above, leaves);
                    start = at + 1;
                }
                _ => {}
            }
        }
    } else if !text.is_empty() {
        let (path, name) = text.split_once(" as ").map_or((text, None), |(path, name)| (path, Some(name)));
        let mut path: Vec<String> = above.iter().cloned().chain(path.split("::").map(String::from)).collect();
        if path.len() > 1 {
            path.retain(|part| part != "self" && part != "*");
        }
        let name = name.map_or_else(|| path.last().cloned().unwrap_or_default(), String::from);
        leaves.push((path, name));
    }
}

/// A path as seen from the top of the crate; `None` if it leads elsewhere.
fn resolve(path: Vec<String>, from: &Module, sources: &BTreeMap<Module, String>) -> Option<Module> {
    let mut path = path.into_iter().peekable();
    let mut base = from.clone();
    match path.peek()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
        }
        first => {
            base.push(first.to_string());
            sources.contains_key(&base).then_some(())?;
        }
    }
    path.next();
    while path.next_if(|part| part == "super").is_some() {
        base.pop();
    }
    base.extend(path);
    Some(base)
}

/// Where a re-exported name comes from.
fn follow(path: Module, sources: &BTreeMap<Module, String>, reexports: &BTreeMap<Module, Module>) -> Module {
    let mut path = path;
    for _ in 0..6 {
        let module = owner(&path, sources).len();
        let Some(origin) = path.get(..module + 1).and_then(|name| reexports.get(name)) else { break };
        path = [origin.as_slice(), &path[module + 1..]].concat();
    }
    path
}

/// The file that a path leads to.
fn owner(path: &Module, sources: &BTreeMap<Module, String>) -> Module {
    let mut path = path.clone();
    while !path.is_empty() && !sources.contains_key(&path) {
        path.pop();
    }
    path
}

#[test]
fn circles_are_seen() {
    for (files, want) in [
        (
            &[("a/mod", "mod b; mod c;"), ("a/b", "use super::c::X;"), ("a/c", "fn f() { crate::a::b::g() }")][..],
            "a: b c",
        ),
        (
            &[
                ("a/mod", "mod b;\npub use b::X;"),
                ("a/b", "use super::c::Y;"),
                ("a/c/mod", ""),
                ("a/c/d", "use crate::a::X;"),
            ],
            "a: b c",
        ),
        (&[("a/mod", "use b::X;"), ("a/b", "use crate::a::{self, Y};"), ("a/c", "use super::b;")], ""),
        (
            &[
                ("a/b", "use crate::a::{c::{self, X}, d};"),
                ("a/c", "use super::d;"),
                ("a/d", "use super::super::a::b::Z as W;"),
            ],
            "a: b c d",
        ),
    ] {
        let sources = files.iter().map(|(path, code)| (module(path), code.to_string())).collect();
        let found: Vec<String> =
            circles(&sources).iter().map(|(folder, files)| format!("{folder}: {}", files.join(" "))).collect();
        assert_eq!(found.join(", "), want, "{files:?}");
    }
}
