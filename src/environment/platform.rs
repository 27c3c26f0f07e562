//! The platform that an environment is made for: the system, the machine and, if it is not glibc, the C library.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// As in the lock: `linux-x86_64`, `linux-x86_64-musl`, `darwin-arm64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux` or `darwin`.
    pub system: String,
    /// As `uname -m` prints it.
    pub machine: String,
    /// Wheels for glibc do not run on it.
    pub is_musl: bool,
}

impl Platform {
    /// The platform of this machine.
    pub fn current() -> &'static Platform {
        static CURRENT: OnceLock<Platform> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let uname = rustix::system::uname();
            let machine = uname.machine().to_string_lossy().into_owned();
            let system = uname.sysname().to_string_lossy().to_lowercase();
            let is_musl = system == "linux" && has_only_musl(&machine);
            Platform { system, machine, is_musl }
        })
    }

    /// Parses the form of the lock.
    pub fn parse(text: &str) -> Option<Platform> {
        let (system, rest) = text.split_once('-')?;
        let (machine, is_musl) = rest.strip_suffix("-musl").map_or((rest, false), |machine| (machine, true));
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (is_name(system) && is_name(machine)).then(|| Platform {
            system: system.into(),
            machine: machine.into(),
            is_musl,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.system, self.machine, if self.is_musl { "-musl" } else { "" })
    }
}

fn has_only_musl(machine: &str) -> bool {
    let multiarch = format!("/lib/{machine}-linux-gnu");
    let folders = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", &multiarch];
    let has_glibc = folders.iter().any(|folder| Path::new(folder).join("libc.so.6").exists());
    !has_glibc && Path::new(&format!("/lib/ld-musl-{machine}.so.1")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_lock_is_read_back() {
        for text in ["linux-x86_64", "linux-aarch64-musl", "darwin-arm64"] {
            assert_eq!(Platform::parse(text).map(|p| p.to_string()).as_deref(), Some(text));
        }
        for text in ["", "linux", "linux-", "-x", "a b-c", "linux-x/../y"] {
            assert_eq!(Platform::parse(text), None, "{text}");
        }
        assert_eq!(Platform::parse(&Platform::current().to_string()).as_ref(), Some(Platform::current()));
    }
}
