//! Errors of remotes: maps the messages of about thirty services and of the operating system to lockstep's own.

use std::io;

use crate::error::{Error, Kind};
use crate::remote::settings::address::{Address, Scheme};
use crate::shell::word;
use crate::url::Url;

/// Why a remote did not do what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The object, its bucket or its folder does not exist.
    NotFound,
    /// Credentials are missing or wrong, or lack rights.
    Denied,
    /// No server answers.
    Unreachable,
    /// The server answered that it cannot serve the request at the moment, also after several attempts.
    Busy,
    Full,
    /// The user interrupted the command with this signal.
    Stopped(i32),
    /// The library rejects the settings.
    Settings,
    Other,
}

/// Why a stream did not arrive: its source failed, or the remote did.
pub enum StreamFault {
    Source(io::Error),
    Remote(Fault),
    /// Another attempt, with the source from its beginning, may succeed.
    Again(Fault),
}

/// A refusal, in the words of the service or the operating system.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    pub text: String,
}

impl Fault {
    pub fn new(kind: FaultKind, text: impl Into<String>) -> Fault {
        Fault { kind, text: text.into() }
    }
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Fault {
        let why = match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FaultKind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Full,
            _ => FaultKind::Other,
        };
        let text = e.to_string();
        Fault::new(why, text.split(" (os error").next().unwrap_or_default())
    }
}

impl From<opendal::Error> for Fault {
    fn from(e: opendal::Error) -> Fault {
        use opendal::ErrorKind::*;
        // The library shows the nearest cause only; ssh's own message is further down the chain.
        let all = causes(&e).fold(e.to_string(), |all, cause| format!("{all}: {cause}"));
        let says = |words: &[&str]| words.iter().any(|word| all.contains(word));
        let why = match e.kind() {
            _ if says(&["status: 507", "Insufficient Storage", "QuotaExceeded", "No space left"]) => FaultKind::Full,
            NotFound => FaultKind::NotFound,
            PermissionDenied => FaultKind::Denied,
            _ if says(&["status: 401", "status: 403", "Permission denied (publickey", "Host key verification"]) => {
                FaultKind::Denied
            }
            _ if says(&[
                "InvalidAccessKeyId",
                "SignatureDoesNotMatch",
                "AuthenticationFailed",
                "no valid credential",
            ]) =>
            {
                FaultKind::Denied
            }
            RateLimited => FaultKind::Busy,
            ConfigInvalid => FaultKind::Settings,
            _ if says(&["Connection refused", "dns error", "error trying to connect", "tcp connect", "timed out"]) => {
                FaultKind::Unreachable
            }
            _ if says(&["connect to host", "Could not resolve hostname", "Connection closed", "send http request"]) => {
                FaultKind::Unreachable
            }
            _ if e.is_temporary() || e.is_persistent() => FaultKind::Busy,
            _ => FaultKind::Other,
        };
        Fault::new(why, service_message(&e))
    }
}

/// The sentence in an answer, such as `NoSuchBucket: The specified bucket does not exist`.
fn service_message(e: &opendal::Error) -> String {
    let message = e.message();
    let field = |name: &str| {
        let rest = &message[message.find(&format!("{name}: \""))? + name.len() + 3..];
        rest.split('"').next().filter(|text| !text.is_empty())
    };
    if let Some(code) = field("code") {
        return field("message").map_or(code.to_string(), |text| format!("{code}: {}", first_line(text)));
    }
    if let Some(number) = number(message, "code: ") {
        return format!("the server answers {number}: {}", field("message").map_or("", first_line));
    }
    let cause = causes(e).last().map(ToString::to_string).filter(|cause| !message.contains(cause));
    let whole = e.to_string();
    let status = number(&whole, "status: ");
    if let Some(host) = host(&whole).filter(|_| status.is_none()) {
        return format!("{message} to {host}: {}", first_line(&cause.unwrap_or_default()));
    }
    let message = if message.trim_start().starts_with('<') { "" } else { first_line(message) };
    match (message, cause, status) {
        ("", _, Some(status)) => format!("the server answers {status}"),
        ("", cause, None) => cause.unwrap_or_else(|| e.kind().to_string()),
        (message, Some(cause), _) => format!("{message}: {}", first_line(&cause)),
        (message, None, _) => message.to_string(),
    }
}

/// The causes of an error, the nearest first.
fn causes(e: &opendal::Error) -> impl Iterator<Item = &dyn std::error::Error> {
    std::iter::successors(std::error::Error::source(e), |e| e.source())
}

/// The number after a word.
fn number(text: &str, word: &str) -> Option<String> {
    let digits: String = text.split_once(word)?.1.chars().take_while(char::is_ascii_digit).collect();
    Some(digits).filter(|digits| !digits.is_empty())
}

/// The host that a request without an answer was sent to. The rest of its URL may contain a signature and is left out.
fn host(text: &str) -> Option<&str> {
    let url = text.split_once("url: ")?.1;
    let end = url.match_indices(['/', '?', ' ', ',']).map(|(at, _)| at).find(|at| *at > "https://".len());
    Some(&url[..end?])
}

fn first_line(text: &str) -> &str {
    let line = text.trim().lines().next().unwrap_or_default();
    line.char_indices().nth(300).map_or(line, |(at, _)| &line[..at])
}

/// The error that a command ends with: what, where, why, and what to type next.
pub fn error(fault: &Fault, name: &str, url: &Url, scheme: Scheme, doing: &str) -> Error {
    let remote = format!("the remote {name} ({url})");
    let message = match fault.kind {
        FaultKind::Stopped(_) => "interrupted".to_string(),
        FaultKind::NotFound if scheme == Scheme::Folder => format!("{remote} is not there: cannot {doing}"),
        FaultKind::NotFound => format!("{remote} does not have what was asked for: cannot {doing}"),
        FaultKind::Denied => format!("{remote} refuses us: cannot {doing}"),
        FaultKind::Unreachable => format!("{remote} cannot be reached: cannot {doing}"),
        FaultKind::Busy => format!("{remote} does not answer as it should, also after several tries: cannot {doing}"),
        FaultKind::Full => format!("{remote} is full: cannot {doing}"),
        FaultKind::Settings => format!("{remote} cannot be used as it is set up"),
        FaultKind::Other => format!("{remote} failed: cannot {doing}"),
    };
    if let FaultKind::Stopped(number) = fault.kind {
        return Error { kind: Kind::Signal(number), ..Error::usage(message) };
    }
    let error = Error::new(Kind::Remote, message).because(&fault.text);
    if fault.text.contains("Host key verification failed") {
        return error.hint(format!("if you trust it: ssh-keyscan -H {} >> ~/.ssh/known_hosts", keyscan(url))).hint(
            format!(
                "or trust the key that the host shows first: lockstep remote modify {name} known_hosts_strategy add"
            ),
        );
    }
    match fault.kind {
        FaultKind::NotFound if scheme == Scheme::Folder => error.hint("is the disk mounted? lockstep remote list"),
        FaultKind::NotFound => error.hint("does the bucket, container or folder exist? lockstep remote list"),
        FaultKind::Denied => error.hint(credentials(name, scheme)),
        FaultKind::Unreachable => error.hint(format!("lockstep remote check {name}")),
        FaultKind::Full => {
            error.hint("free some space there and run the same command again; what was transferred so far is kept")
        }
        FaultKind::Busy => error.hint("run the same command again later; what was transferred so far is kept"),
        FaultKind::Settings => error.hint(format!("lockstep remote modify {name} OPTION VALUE")),
        FaultKind::Other | FaultKind::Stopped(_) => error,
    }
}

/// The host of a URL as `ssh-keyscan` takes it.
fn keyscan(url: &Url) -> String {
    let Ok(address) = Address::parse(url) else { return "HOST".into() };
    let host = word(address.host.trim_matches(['[', ']'])).into_owned();
    address.port.map_or(host.clone(), |port| format!("-p {port} {host}"))
}

fn credentials(name: &str, scheme: Scheme) -> String {
    match scheme {
        Scheme::Folder => "check the owner and the permissions of the folder".into(),
        Scheme::S3 => format!(
            "check the credentials: AWS_ACCESS_KEY_ID, AWS_PROFILE, `lockstep remote modify {name} profile NAME`, or \
             eval \"$(aws configure export-credentials --format env)\""
        ),
        Scheme::Gcs => format!(
            "check the credentials: GOOGLE_APPLICATION_CREDENTIALS, or lockstep remote modify --local {name} \
             credential_path FILE"
        ),
        Scheme::Azure => format!(
            "check the credentials: AZURE_STORAGE_CONNECTION_STRING, or lockstep remote modify --local {name} account_key"
        ),
        Scheme::Sftp => {
            format!("does `ssh` get in without a password? Else: lockstep remote modify {name} keyfile FILE")
        }
        Scheme::Webdav | Scheme::Http => {
            format!("check user and password: lockstep remote modify --local {name} password")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opendal::ErrorKind;

    #[test]
    fn answers_become_sentences() {
        let s3 = r#"S3Error { code: "NoSuchBucket", message: "The specified bucket does not exist", resource: "" }"#;
        let gcs = r#"GcsErrorResponse { error: GcsError { code: 404, message: "Not Found", errors: [] } }"#;
        for (kind, message, why, text) in [
            (ErrorKind::NotFound, s3, FaultKind::NotFound, "NoSuchBucket: The specified bucket does not exist"),
            (
                ErrorKind::Unexpected,
                r#"S3Error { code: "InvalidAccessKeyId", message: "" }"#,
                FaultKind::Denied,
                "InvalidAccessKeyId",
            ),
            (ErrorKind::PermissionDenied, "no", FaultKind::Denied, "no"),
            (ErrorKind::Unexpected, "Connection refused", FaultKind::Unreachable, "Connection refused"),
            (ErrorKind::ConfigInvalid, "region is missing", FaultKind::Settings, "region is missing"),
            (ErrorKind::RateLimited, "slow down\nplease", FaultKind::Busy, "slow down"),
            (ErrorKind::NotFound, gcs, FaultKind::NotFound, "the server answers 404: Not Found"),
        ] {
            let fault = Fault::from(opendal::Error::new(kind, message));
            assert_eq!((fault.kind, fault.text.as_str()), (why, text), "{message}");
        }
    }

    #[test]
    fn an_unknown_host_is_made_known() {
        let fault = Fault::new(FaultKind::Denied, "connect: Host key verification failed.");
        for (url, host) in [("ssh://me@lab.org:2222/srv/x", "-p 2222 lab.org"), ("sftp://lab/x", "lab")] {
            let error = error(&fault, "lab", &url.into(), Scheme::Sftp, "get x");
            assert_eq!(error.hints[0], format!("if you trust it: ssh-keyscan -H {host} >> ~/.ssh/known_hosts"));
            assert_eq!(error.hints.len(), 2);
        }
    }

    #[test]
    fn causes_are_told_and_where_a_request_went() {
        let unanswered = opendal::Error::new(ErrorKind::Unexpected, "send http request")
            .with_context("url", "http://127.0.0.1:8014/bucket/x?sig=secret")
            .set_source(io::Error::other("Connection refused"));
        let ssh = io::Error::other("me@host: Permission denied (publickey).");
        let refused =
            opendal::Error::new(ErrorKind::Unexpected, "connect").set_source(io::Error::other(OpaqueCause(ssh)));
        for (e, why, text) in [
            (unanswered, FaultKind::Unreachable, "send http request to http://127.0.0.1:8014: Connection refused"),
            (refused, FaultKind::Denied, "connect: me@host: Permission denied (publickey)."),
        ] {
            let fault = Fault::from(e);
            assert_eq!((fault.kind, fault.text.as_str()), (why, text));
        }
    }

    /// An error that does not repeat its cause in its own message.
    #[derive(Debug)]
    struct OpaqueCause(io::Error);

    impl std::fmt::Display for OpaqueCause {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the master process could not connect")
        }
    }

    impl std::error::Error for OpaqueCause {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
}
