//! `remote check`: does a remote do what will be asked of it?

use crate::error::{Error, Kind, Result};
use crate::remote::backend::cap;
use crate::remote::{MARKER, Remote};
use crate::store::random_name;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// An object was put, read back and removed.
    pub writes: bool,
    /// Segments that are there; `None` if nobody pushed yet.
    pub segments: Option<usize>,
    /// As whom, where that can be known.
    pub who: Option<String>,
    pub requests: u64,
}

/// Puts, gets and removes an object; of a remote that may only be read the marker is read.
pub fn check(remote: &Remote) -> Result<Checked> {
    let catalog = remote.known()?;
    let is_new = catalog.names.is_empty();
    let who = remote.who();
    if !remote.read_only {
        remote.must_be_writable()?;
        remote.place.make_folder(MARKER)?;
        let path = format!("tmp/check-{}", random_name());
        let probe = path.clone().into_bytes();
        remote.place.put(&path, probe.clone(), true)?;
        let back = remote.place.get(&path, cap::MARKER);
        let removed = remote.place.remove(&path);
        let wrong =
            |what: &str| Error::new(Kind::Remote, format!("the remote {} ({}) {what}", remote.name, remote.url()));
        match back? {
            Some(back) if back == probe => {}
            Some(_) => return Err(wrong("gives other bytes back than were put")),
            None => return Err(wrong("does not have an object that was just put")),
        }
        removed?;
    } else if is_new && !remote.place.lists() {
        let message = format!("nothing was ever pushed to {}", remote.url());
        return Err(Error::missing(message).hint("does the URL name the folder that holds `lockstep-remote`?"));
    }
    let segments = (!is_new).then_some(catalog.names.len());
    Ok(Checked { writes: !remote.read_only, segments, who, requests: remote.spent().requests })
}
