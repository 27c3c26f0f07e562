//! `index/all`, the summary: the names of all segments, one per line, for readers that cannot list (plain HTTP).
//!
//! It is the one file of a remote that several pushes write, so it may be out of date: two pushes overlap, or one is
//! killed. Three rules keep it from hiding data:
//!
//! 1. A segment is announced before it is written. Readers skip a name without a file.
//! 2. Each writer lists `index/` after it wrote the summary, and writes it again until both agree. The last writer has
//!    therefore seen all segments that existed by then.
//! 3. Each push compares the two, also a push with nothing to send, and writes the summary if a name is missing in it.
//!
//! A reader adds the names in its cache: see [`crate::remote::catalog::read`].

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::remote::Remote;
use crate::remote::backend::Backend;
use crate::remote::backend::cap;
use crate::remote::catalog::segment::SegmentName;
use crate::remote::catalog::{self, Catalog};

const SUMMARY: &str = "index/all";
/// Each push that ends during an attempt costs one more attempt.
const MOST_ATTEMPTS: usize = 50;
/// Servers that cannot replace a file in one step refuse one of two writers, and have no file for a moment.
const MOST_FAILURES: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// The names in the summary; `None` if it does not exist.
pub fn read(backend: &Backend) -> Result<Option<BTreeSet<SegmentName>>> {
    let Some(bytes) = backend.get(SUMMARY, cap::NAMES)? else { return Ok(None) };
    let names: BTreeSet<SegmentName> = String::from_utf8_lossy(&bytes).lines().filter_map(SegmentName::parse).collect();
    Ok(Some(names).filter(|names| !names.is_empty()))
}

/// The same for remotes whose content is known from the summary alone.
///
/// Errors ([`Kind::Remote`]): the summary is missing, so the content is not known.
pub fn read_alone(backend: &Backend) -> Result<BTreeSet<SegmentName>> {
    for _ in 0..MOST_FAILURES {
        if let Some(names) = read(backend)? {
            return Ok(names);
        }
        std::thread::sleep(PAUSE);
    }
    let message = format!("the remote {} has no {SUMMARY}, which lists its content", backend.url());
    Err(Error::new(Kind::Remote, message)
        .hint("each push writes it: lockstep push to the storage that this web server serves, a remote of its own"))
}

fn encode(names: &BTreeSet<SegmentName>) -> Vec<u8> {
    names.iter().flat_map(|name| [name.as_str(), "\n"]).collect::<String>().into_bytes()
}

impl Remote {
    /// Writes the summary once. Failures are ignored here: [`Remote::publish`] reports them.
    pub(in crate::remote) fn announce(&self, names: &BTreeSet<SegmentName>) {
        let _ = self.backend.put(SUMMARY, encode(names), true);
    }

    /// Writes the summary until it has all listed segments.
    ///
    /// Errors: it cannot be written, so readers over HTTP may miss data.
    pub(in crate::remote) fn publish(&self) -> Result<()> {
        let mut names = catalog::list(&self.backend)?.segments;
        let mut failures = 0;
        for _ in 0..MOST_ATTEMPTS {
            let written = self.backend.put(SUMMARY, encode(&names), true);
            let listed = catalog::list(&self.backend)?.segments;
            match written {
                Ok(()) if listed == names => return Ok(()),
                Ok(()) => {}
                Err(error) if failures == MOST_FAILURES || matches!(error.kind, Kind::Signal(_)) => return Err(error),
                Err(_) => {
                    failures += 1;
                    std::thread::sleep(PAUSE);
                }
            }
            names = listed;
        }
        let message = format!("{SUMMARY} at the remote {} ({}) is never up to date", self.name, self.url());
        Err(Error::new(Kind::Remote, message)
            .because("other pushes kept changing the index meanwhile")
            .hint("run the command again in a moment"))
    }

    /// Writes the summary if a listed segment is missing in it.
    pub(in crate::remote) fn repair_summary(&self, catalog: &Catalog) -> Result<()> {
        let named = read(&self.backend)?.unwrap_or_default();
        if catalog.listed().all(|name| named.contains(name)) { Ok(()) } else { self.publish() }
    }

    /// Warns that readers over HTTP may not see the data. The push itself is complete.
    pub(in crate::remote) fn warn_of_summary(&self, published: Result<()>, sink: &dyn Sink) -> Result<()> {
        match published {
            Err(error) if !matches!(error.kind, Kind::Signal(_)) => {
                let why = error.causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
                let text =
                    format!("{}{why}; until a push can write it, readers over HTTP may miss something", error.message);
                sink.event(Event::Warning { text: &text });
                Ok(())
            }
            published => published,
        }
    }
}
