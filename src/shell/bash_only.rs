//! Finds bash syntax that `sh` interprets differently: `cmd &> f` puts the command in the background and empties `f`,
//! `if [[ … ]]` takes the wrong branch, `<( )` and `|&` are syntax errors that occur after earlier commands ran. Pure.

use super::scan::Scan;

/// A piece of syntax that `sh` does not support, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BashOnly {
    /// As written: `&>`.
    pub syntax: &'static str,
    /// From 1.
    pub line: usize,
}

/// The first piece of bash-only syntax in a script.
pub fn find_bash_only(script: &str) -> Option<BashOnly> {
    // Most commands contain none of these pairs.
    let pairs = [&b"&>"[..], b"|&", b"<(", b">(", b">&", b"<<<", b"[["];
    let bytes = script.as_bytes();
    let is_suspect = pairs.iter().any(|pair| bytes.windows(pair.len()).any(|window| window == *pair));
    // Lines that are continued within an operator are joined first, as the shell does.
    let is_joined = script.contains("\\\n");
    if !is_suspect && !is_joined {
        return None;
    }
    let at = Scan::new(script).run();
    at.map(|(at, syntax)| BashOnly { syntax, line: 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// Scripts with the same meaning in `sh` and bash: none is reported.
    const SAME: &[&str] = &[
        "echo 'a &> b'",
        "echo \"a &> b |& c <(d)\"",
        "echo a\\&\\>b",
        "echo 'it'\\''s &> b'",
        "echo x # a &> b |& c",
        "echo a#b; true # <(",
        "cat <<'EOF'\na &> b $(c &> d)\nEOF\necho z",
        "cat <<EOF\na &> b |& <(x)\nEOF",
        "cat <<-EOF\n\ta &> b\n\tEOF\necho z",
        "cat <<A; cat <<B\n&>\nA\n|&\nB\n",
        "echo a > f 2>&1; cat f",
        "echo a >&2",
        "exec 3>&1; echo a >&3; exec 3>&-",
        "fd=1; echo a >&$fd; echo b >& \"$fd\"",
        "echo $((1<(2))) $((3>(2))) $((1&2))",
        "x='&>'; echo \"$x\" \"${x:-a &> b}\" ${y:-'a &> b'}",
        "echo \"$(echo 'a &> b')\" `echo 'a |& b'`",
        "sh -c 'echo a &' ; wait",
        "true && echo a || echo b & wait",
        "case x in x) echo 'a &> b';; [[:alpha:]]*) echo c;; esac",
        "case '[' in\n[[]) echo a;;\nesac",
        "echo [[ a ]]",
        "grep -c '[[' <<X\n[[\nX",
        "(echo a; (echo b)) | cat",
        "f() { echo \"$1\"; }; f 'a<(b)'",
        "awk 'BEGIN { if (1<(2)) print \"a\" > \"f\" }'; cat f",
        "echo $( (echo a) | cat )",
        "echo \"'\" '&>' \"'\"",
        "echo a | cat && echo b|cat",
        "printf '%s\\n' a\\\n&& echo b",
    ];

    /// Scripts that `sh` reads in another way, with the syntax that is found.
    const DIFFERENT: &[(&str, &str)] = &[
        ("echo a &> f", "&>"),
        ("echo a &>f; cat f", "&>"),
        ("echo a &>> f", "&>"),
        ("false &> f || echo failed", "&>"),
        ("echo a &\\\n> f", "&>"),
        ("echo a |& cat", "|&"),
        ("cat <(echo a)", "<("),
        ("echo a > >(cat)", ">("),
        ("echo a >& f", ">&"),
        ("echo a2>&f", ">&"),
        ("cat <<< a", "<<<"),
        ("if [[ a == a ]]; then echo yes; else echo no; fi", "[["),
        ("[[ a < b ]] && echo a", "[["),
        ("echo b; ! [[ -d . ]] && echo c", "[["),
        ("echo \"$(false &> f && echo a)\"", "&>"),
        ("echo `false &> f && echo a`", "&>"),
        ("cat <<EOF\n$(false &> f && echo a)\nEOF", "&>"),
        ("echo ${x:-$(false &> f && echo a)}", "&>"),
        ("echo $((1 + $(echo 1 |& cat)))", "|&"),
        ("(false &> f) || echo b", "&>"),
        ("echo 'a' \"b\" # c\nfalse &> f || echo b", "&>"),
        ("cat <<'EOF'\nx\nEOF\nfalse &> f || echo b", "&>"),
        ("x=$([[ a == a ]] && echo y); echo $x", "[["),
        ("while [[ $n != 11 ]]; do n=1$n; done; echo $n", "[["),
    ];

    fn run(shell: &str, script: &str) -> Option<(String, String, Option<i32>)> {
        let folder = tempfile::tempdir().unwrap();
        if !Path::new("/bin").join(shell).exists() && !Path::new("/usr/bin").join(shell).exists() {
            return None;
        }
        let out = Command::new(shell).args(["-c", script]).current_dir(folder.path()).output().unwrap();
        let file = std::fs::read_to_string(folder.path().join("f")).unwrap_or_default();
        Some((String::from_utf8_lossy(&out.stdout).into_owned(), file, out.status.code()))
    }

    #[test]
    fn alarms_are_where_dash_and_bash_differ() {
        for script in SAME {
            assert_eq!(find_bash_only(script), None, "{script}");
            if let (Some(dash), Some(bash)) = (run("dash", script), run("bash", script)) {
                assert_eq!(dash, bash, "{script}");
            }
        }
        for (script, syntax) in DIFFERENT {
            assert_eq!(find_bash_only(script).map(|found| found.syntax), Some(*syntax), "{script}");
            if let (Some(dash), Some(bash)) = (run("dash", script), run("bash", script)) {
                assert_ne!(dash, bash, "{script}");
            }
        }
    }

    #[test]
    fn lines_are_counted_and_deep_nesting_ends() {
        assert_eq!(find_bash_only("a\nb 'c\nd'\ne &> f"), Some(BashOnly { syntax: "&>", line: 4 }));
        let many = 200_000;
        for piece in ["$(", "${", "$((", "`", "\"$(", "(", "<<A\n", "${x:-'", "&\\\n"] {
            let script = piece.repeat(many);
            find_bash_only(&format!("{script} &> f"));
        }
        for end in ["&", "|", ">", "<", "\\", "$", "'", "\"", "<<", "<<-", "&\\\n", ">&", "[[", "#"] {
            find_bash_only(&format!("echo &\\\n{end}"));
            find_bash_only(&format!("[[{end}"));
        }
    }
}
