//! `index/all`, the summary: the names of all segments, one a line, for readers that cannot list (plain HTTP).
//!
//! It is the one file of a remote that several pushes write, so it may be behind: two pushes overlap, or one is killed.
//! Three rules keep it from hiding what is there:
//!
//! 1. A segment is announced before it is written. A name without a file hides nothing: readers pass over it.
//! 2. Each writer lists `index/` after it wrote the summary, and writes it again until both agree. The last one to write
//!    it has therefore seen all segments that were there by then.
//! 3. Each push compares the two, also a push with nothing to send, and writes the summary where it lacks a name.
//!
//! A reader adds the names that it remembers: see [`crate::remote::catalog::read`].

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::remote::Remote;
use crate::remote::backend::Place;
use crate::remote::backend::cap;
use crate::remote::catalog::segment::Name;
use crate::remote::catalog::{self, Catalog};

const SUMMARY: &str = "index/all";
/// Each push that ends meanwhile costs one attempt.
const MOST_ATTEMPTS: usize = 50;
/// Servers that cannot replace a file in one step refuse one of two writers, and have no file for a moment.
const MOST_FAILURES: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// The names that the summary has; `None` if there is none.
pub fn read(place: &Place) -> Result<Option<BTreeSet<Name>>> {
    let Some(bytes) = place.get(SUMMARY, cap::NAMES)? else { return Ok(None) };
    let names: BTreeSet<Name> = String::from_utf8_lossy(&bytes).lines().filter_map(Name::parse).collect();
    Ok(Some(names).filter(|names| !names.is_empty()))
}

/// The same where nothing else says what is there.
///
/// Errors ([`Kind::Remote`]): there is none, so what is there is not known.
pub fn read_alone(place: &Place) -> Result<BTreeSet<Name>> {
    for _ in 0..MOST_FAILURES {
        if let Some(names) = read(place)? {
            return Ok(names);
        }
        std::thread::sleep(PAUSE);
    }
    let message = format!("the remote {} has no {SUMMARY}, which says what is there", place.url());
    Err(Error::new(Kind::Remote, message).hint("a push to where its web server takes its files from writes it"))
}

fn encode(names: &BTreeSet<Name>) -> Vec<u8> {
    names.iter().flat_map(|name| [name.as_str(), "\n"]).collect::<String>().into_bytes()
}

impl Remote {
    /// Writes the summary once. What goes wrong here is seen by [`Remote::publish`].
    pub(in crate::remote) fn announce(&self, names: &BTreeSet<Name>) {
        let _ = self.place.put(SUMMARY, encode(names), true);
    }

    /// Writes the summary until it has all that is listed.
    ///
    /// Errors: it cannot be written, so readers over HTTP may miss something.
    pub(in crate::remote) fn publish(&self) -> Result<()> {
        let mut names = catalog::list(&self.place)?.segments;
        let mut failures = 0;
        for _ in 0..MOST_ATTEMPTS {
            let written = self.place.put(SUMMARY, encode(&names), true);
            let listed = catalog::list(&self.place)?.segments;
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
        Err(Error::new(Kind::Remote, message).because("other pushes end all the time"))
    }

    /// Writes the summary if it lacks something of what was listed.
    pub(in crate::remote) fn repair_summary(&self, catalog: &Catalog) -> Result<()> {
        let named = read(&self.place)?.unwrap_or_default();
        if catalog.listed().all(|name| named.contains(name)) { Ok(()) } else { self.publish() }
    }

    /// A push is done when the data is there; that readers over HTTP may not see it is a warning.
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
