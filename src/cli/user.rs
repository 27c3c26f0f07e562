//! The name of the user, for run records; `cache.trust` matches on it.
//!
//! Containers, cron and services set neither `USER` nor `LOGNAME`. Then the name comes from /etc/passwd or from the
//! program `id`, which also knows users of a directory service. A user without a name is a number.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The name of the user of this process, looked up once.
pub fn name(env: &BTreeMap<String, String>) -> String {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| find_name(env)).clone()
}

fn find_name(env: &BTreeMap<String, String>) -> String {
    let of = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    of("USER").or_else(|| of("LOGNAME")).unwrap_or_else(|| {
        let id = rustix::process::geteuid().as_raw();
        let listed = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| listed(&users, id));
        listed.or_else(asked).unwrap_or_else(|| id.to_string())
    })
}

/// The first name with this number in the text of /etc/passwd.
fn listed(users: &str, id: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_string())
    })
}

fn asked() -> Option<String> {
    let output = Command::new("id").arg("-un").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_environment_or_the_list() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(find_name(&env(&[("USER", "ada"), ("LOGNAME", "bob")])), "ada");
        assert_eq!(find_name(&env(&[("USER", ""), ("LOGNAME", "bob")])), "bob");
        let users = "# local\nroot:x:0:0:root:/root:/bin/sh\n+::::::\nada:x:1000:1000::/home/ada:\n";
        assert_eq!([0, 1000, 7].map(|id| listed(users, id)), [Some("root".into()), Some("ada".into()), None]);
    }
}
