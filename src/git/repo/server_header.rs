//! A header with a secret that Git sends to one server. It is given in Git's environment: other users of the machine
//! see the arguments of a process.

use std::fmt;
use std::process::Command;

use crate::git::repo::protected;

/// A header for all requests below an address.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerHeader {
    /// The address of the server: `https://host`.
    pub server: String,
    /// `Name: value`.
    pub header: String,
}

/// Without the secret.
impl fmt::Debug for ServerHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a header for {}", self.server)
    }
}

impl ServerHeader {
    /// Adds the header to a `git` command. Git would send it to the target of a redirect, too, so none is followed.
    pub(in crate::git) fn give_to(&self, command: &mut Command) {
        let server = &self.server;
        let settings = [
            (format!("http.{server}/.extraHeader"), self.header.as_str()),
            (format!("http.{server}/.followRedirects"), "false"),
        ];
        // The user's own settings in the environment are kept.
        let given = protected::settings_in_environment();
        let count = given.len() + settings.len();
        command.env("GIT_CONFIG_COUNT", count.to_string());
        for (n, (key, value)) in given.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        for (n, (key, value)) in settings.into_iter().enumerate() {
            let n = count - 2 + n;
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
    }
}
