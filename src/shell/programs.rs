//! Finds the programs that a script starts, as far as they are written literally. Pure.

use std::collections::BTreeSet;

use super::scan::Scan;

/// At most this many programs of one script.
const MOST: usize = 16;

/// Builtins of the shell, and the utilities of POSIX, which are the same everywhere.
const OF_THE_SYSTEM: &str = " . : [ alias awk basename bg break builtin case cat cd chmod chown cksum cmp comm continue \
    cp csplit cut date dd declare df diff dirname do done du echo egrep elif else enable esac eval exit expand export \
    expr false fg fgrep fi file find fold for function getopts grep hash head hostname id if install jobs join kill let \
    ln local logname ls mapfile mkdir mkfifo mktemp mv nl od paste patch pathchk popd pr printf ps pushd pwd read \
    readarray readlink readonly realpath return rm rmdir sed select seq set sha256sum shift shopt shuf sleep sort source \
    split stat stty sync tac tail tee test then times touch tr trap true tsort tty type typeset ulimit umask unalias \
    uname unexpand uniq unset until wait wc which while who xargs yes { } ";

/// The first words of the script's commands, each once, sorted. Excludes builtins, POSIX utilities, and names whose
/// file the script itself may determine.
pub fn programs_of(script: &str) -> Vec<&str> {
    let mut scan = Scan::new(script);
    scan.run_as_bash();
    let (has_own_path, has_own_folder) = (sets_path(script), moves(script));
    let is_of_system = |name: &str| OF_THE_SYSTEM.split_ascii_whitespace().any(|word| word == name);
    let is_known = |name: &str| match name.contains('/') {
        true => name.starts_with('/') || !has_own_folder,
        false => !has_own_path && !is_function(script, name),
    };
    let found: BTreeSet<&str> =
        scan.programs.into_iter().filter(|name| !is_of_system(name) && is_known(name)).collect();
    found.into_iter().take(MOST).collect()
}

fn words(script: &str) -> impl Iterator<Item = &str> {
    script.split(|c: char| c.is_whitespace() || ";&|()`\"'{}".contains(c))
}

/// Whether the script may search programs elsewhere than on the PATH that it was started with: it sets the variable, or
/// reads a file that may, such as that of a virtual environment.
fn sets_path(script: &str) -> bool {
    let names_path = |word: &str| {
        let name = word.trim_end_matches('+');
        name == "PATH" || name.ends_with("=PATH") || name == "-uPATH" || name == "--unset=PATH"
    };
    let is_set = |word: &str| names_path(word.split_once('=').map_or(word, |(name, _)| name)) || names_path(word);
    let clears = |word: &str| matches!(word, "source" | "eval" | "alias" | "hash" | "module" | "activate");
    let is_env = words(script).any(|word| word == "env" || word.ends_with("/env"));
    let clears_env = |word: &str| word == "-" || word == "--ignore-environment" || is_short(word, 'i');
    sources_file(script)
        || words(script).any(|word| is_set(word) || clears(word))
        || is_env && words(script).any(clears_env)
}

/// Whether a command begins with `.`.
fn sources_file(script: &str) -> bool {
    script.match_indices(". ").any(|(at, _)| {
        let before = script[..at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with([';', '&', '|', '\n', '(', '{']) || before.ends_with("then")
    })
}

/// Whether a command may run in another folder than that of its stage.
fn moves(script: &str) -> bool {
    let is_env = words(script).any(|word| word == "env" || word.ends_with("/env"));
    let moves_env = |word: &str| word.starts_with("--chdir") || is_short(word, 'C');
    words(script).any(|word| matches!(word, "cd" | "pushd" | "popd")) || is_env && words(script).any(moves_env)
}

/// Whether the word is a group of short options that contains this one.
fn is_short(word: &str, option: char) -> bool {
    word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(option))
}

/// Whether the script defines a function of this name.
fn is_function(script: &str, name: &str) -> bool {
    script.match_indices(name).any(|(at, _)| {
        let is_whole = script[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|{(".contains(c));
        let before = script[..at].trim_end().ends_with("function");
        is_whole && (before || script[at + name.len()..].trim_start().starts_with("()"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_stand_where_commands_begin() {
        for (script, want) in [
            ("python3 train.py", "python3"),
            ("cd src && python3 train.py --lr 1", "python3"),
            ("A=1 B='x y' python train.py; Rscript plot.R | gzip", "Rscript gzip python"),
            ("env A=1 python train.py", "python"),
            ("nice -n 5 /opt/py/bin/python x", "/opt/py/bin/python"),
            ("exec julia x.jl", "julia"),
            ("if ! python a; then node b; else perl c; fi", "node perl python"),
            ("for x in python node; do ruby $x; done", "ruby"),
            ("echo $(python -c 'import perl; node') \"$(Rscript -e 1)\"", "Rscript python"),
            ("# python\necho python 'node' \"perl\"", ""),
            ("$PYTHON x; \"$PYTHON\" x; py$V x; 'python' x", ""),
            ("cat <<E\npython\nE\nnode x", "node"),
            ("python a &> log && node b", "node python"),
            ("diff <(python a) <(node b)", "node python"),
            ("[[ -f x ]] && julia y", "julia"),
            ("time -p torchrun x", "torchrun"),
            ("mkdir -p o && cp a o", ""),
            ("A=1", ""),
            ("", ""),
            // The command itself says where programs are.
            ("PATH=/x:$PATH python3 a", ""),
            ("A=1 PATH=/x python3 a", ""),
            ("export PATH=/x:$PATH; python3 a", ""),
            ("export A=1 PATH; PATH+=:/x\npython3 a", ""),
            ("env PATH=/x python3 a", ""),
            ("env -i python3 a", ""),
            ("env -uPATH python3 a", ""),
            ("env -u PATH python3 a", ""),
            (". venv/bin/activate && python3 a", ""),
            ("source activate x; python3 a", ""),
            ("sh -c 'PATH=/x python3 a'; node b", ""),
            ("PATH=/x python3 a; /opt/bin/python3 b", "/opt/bin/python3"),
            ("cd . && python3 a", "python3"),
            ("cd x && . venv/bin/activate && python3 a", ""),
            ("MYPATH=/x PYTHONPATH=src python3 a", "python3"),
            ("echo $PATH; python3 -i a", "python3"),
            ("cd src && ../venv/bin/python a; /opt/bin/node", "/opt/bin/node"),
            ("../venv/bin/python a", "../venv/bin/python"),
            ("env -C src ../venv/bin/python a", ""),
            ("python3() { node x; }; python3 a", "node"),
            ("function julia { node x; }; julia a", "node"),
        ] {
            assert_eq!(programs_of(script).join(" "), want, "{script}");
        }
    }
}
