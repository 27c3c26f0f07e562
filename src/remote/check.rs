//! `remote check`: verifies that a remote can be read and written.

use crate::error::{Error, Kind, Result};
use crate::remote::backend::cap;
use crate::remote::{MARKER, Remote};
use crate::store::random_name;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// An object was put, read back and removed.
    pub writes: bool,
    /// The number of segments; `None` before the first push.
    pub segments: Option<usize>,
    /// The identity that is used, where it can be known.
    pub who: Option<String>,
    /// The number of requests that the check took.
    pub requests: u64,
}

/// Puts, gets and removes an object; on a read-only remote reads the marker.
pub fn check(remote: &Remote) -> Result<CheckResult> {
    let catalog = remote.catalog()?;
    let is_new = catalog.names.is_empty();
    let who = remote.identity();
    if !remote.read_only {
        remote.must_be_writable()?;
        remote.backend.make_folder(MARKER)?;
        let path = format!("tmp/check-{}", random_name());
        let probe = path.clone().into_bytes();
        remote.backend.put(&path, probe.clone(), true)?;
        let back = remote.backend.get(&path, cap::MARKER);
        let removed = remote.backend.remove(&path);
        let wrong =
            |what: &str| Error::new(Kind::Remote, format!("the remote {} ({}) {what}", remote.name, remote.url()));
        match back? {
            Some(back) if back == probe => {}
            Some(_) => return Err(wrong("returns other bytes than were put")),
            None => return Err(wrong("does not have an object that was just put")),
        }
        removed?;
    } else if is_new && !remote.backend.can_list() {
        let message = format!("nothing was ever pushed to {}", remote.url());
        return Err(Error::missing(message).hint("does the URL name the folder that holds `lockstep-remote`?"));
    }
    let segments = (!is_new).then_some(catalog.names.len());
    Ok(CheckResult { writes: !remote.read_only, segments, who, requests: remote.spent().requests })
}
