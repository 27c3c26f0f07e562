//! The programs that a script starts, as far as they are written out in it. Pure.

use std::collections::BTreeSet;

use super::scan::Scan;

/// No more than so many of one script.
const MOST: usize = 16;

/// Words of the shell itself, and the utilities of POSIX, which are the same everywhere.
const OF_THE_SYSTEM: &str = " . : [ alias awk basename bg break builtin case cat cd chmod chown cksum cmp comm continue \
    cp csplit cut date dd declare df diff dirname do done du echo egrep elif else enable esac eval exit expand export \
    expr false fg fgrep fi file find fold for function getopts grep hash head hostname id if install jobs join kill let \
    ln local logname ls mapfile mkdir mkfifo mktemp mv nl od paste patch pathchk popd pr printf ps pushd pwd read \
    readarray readlink readonly realpath return rm rmdir sed select seq set sha256sum shift shopt shuf sleep sort source \
    split stat stty sync tac tail tee test then times touch tr trap true tsort tty type typeset ulimit umask unalias \
    uname unexpand uniq unset until wait wc which while who xargs yes { } ";

/// The words with which the commands of a script begin, each once, sorted; without those of the shell and of POSIX.
pub fn programs_of(script: &str) -> Vec<&str> {
    let mut scan = Scan::new(script);
    scan.run_as_bash();
    let is_of_system = |name: &str| OF_THE_SYSTEM.split_ascii_whitespace().any(|word| word == name);
    let found: BTreeSet<&str> = scan.programs.into_iter().filter(|name| !is_of_system(name)).collect();
    found.into_iter().take(MOST).collect()
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
        ] {
            assert_eq!(programs_of(script).join(" "), want, "{script}");
        }
    }
}
