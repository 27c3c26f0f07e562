//! Downloads one file of Git LFS to `SHA256.part`. What arrived is kept when it breaks off, and the next try continues
//! there. The file is complete when its size and SHA-256 are those of the pointer.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use sha2::{Digest, Sha256};

use super::server::{DownloadAction, LfsServer, is_temporary};
use crate::error::{Error, Kind, Result};
use crate::event::{Activity, Event, Sink};
use crate::lfs::Pointer;

/// How often a download is continued without a new byte.
const TRIES: u32 = 4;
const BUFFER: usize = 256 << 10;

/// One file on its way.
pub struct Download<'a> {
    pub server: &'a LfsServer,
    pub pointer: &'a Pointer,
    /// The file that is written.
    pub part: &'a Path,
    pub sink: &'a dyn Sink,
    /// How many bytes were reported as done. Bytes that are downloaded again are not reported again.
    pub reported: u64,
}

/// Why one try did not complete the file.
enum Break {
    /// Another try may continue.
    Again(Error),
    /// The user, the disk or the server ended it.
    Final(Error),
}

impl Download<'_> {
    /// Brings the file here, complete and verified.
    ///
    /// Errors: [`Kind::Remote`] if the server has other bytes, or refuses, or breaks off again and again.
    pub fn run(mut self, located: DownloadAction) -> Result<()> {
        let mut action = located;
        let mut tries = 0;
        loop {
            let before = self.length();
            match self.try_once(&action) {
                Ok(()) => return Ok(()),
                Err(Break::Final(error)) => return Err(error),
                Err(Break::Again(error)) => {
                    tries = if self.length() > before { 1 } else { tries + 1 };
                    if tries >= TRIES {
                        return Err(error.hint("run the same command again: what arrived is kept"));
                    }
                    self.server.pause(tries)?;
                    // The address may have expired.
                    action = self.server.locate(&[self.pointer])?.remove(&self.pointer.sha256).unwrap_or(action);
                }
            }
        }
    }

    fn length(&self) -> u64 {
        self.part.metadata().map_or(0, |meta| meta.len())
    }

    fn try_once(&mut self, action: &DownloadAction) -> Result<(), Break> {
        let size = self.pointer.size;
        let part = self.part;
        let failed = |e| Break::Final(Error::io("write", part, e));
        let open = File::options().read(true).write(true).create(true).truncate(false).open(part);
        let mut file = open.map_err(failed)?;
        let mut hash = Sha256::new();
        let mut done = std::io::copy(&mut file, &mut hash).map_err(failed)?;
        if done >= size {
            if done == size && self.is_right(hash) {
                self.report(size);
                return Ok(());
            }
            (hash, done) = (Sha256::new(), 0);
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        }
        let was_here = done;
        let answer = self.server.get(action, done).map_err(again)?;
        if done > 0 && !continues(&answer, done) {
            (hash, done) = (Sha256::new(), 0);
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        }
        let mut answer = self.accept(answer, was_here, size - done)?;
        file.seek(SeekFrom::Start(done)).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        while done < size {
            self.server.stop.check().map_err(Break::Final)?;
            let read =
                answer.read(&mut buffer).map_err(|e| Break::Again(self.server.error("it breaks off").because(e)))?;
            if read == 0 {
                return Err(Break::Again(self.server.error(&format!("it breaks off after {done} of {size} bytes"))));
            }
            // A server that sends more is caught by the hash.
            let read = read.min(usize::try_from(size - done).unwrap_or(read));
            file.write_all(&buffer[..read]).map_err(failed)?;
            hash.update(&buffer[..read]);
            done += read as u64;
            self.report(done);
        }
        if self.is_right(hash) {
            return Ok(());
        }
        fs::remove_file(part).map_err(failed)?;
        let error = self.server.error("the file that it sent is not the one of the pointer");
        let error = error.because(format!("SHA-256 is not {}", self.pointer.sha256));
        Err(if was_here > 0 { Break::Again(error) } else { Break::Final(error) })
    }

    /// An answer with the bytes that are missing.
    fn accept(&self, answer: Response, was_here: u64, left: u64) -> Result<Response, Break> {
        let status = answer.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE && was_here > 0 {
            return Err(Break::Again(self.server.refused(answer)));
        }
        // An expired address is refused in one of these ways.
        let is_expired = matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410);
        if is_temporary(status) || is_expired {
            return Err(Break::Again(self.server.refused(answer)));
        }
        if !status.is_success() {
            return Err(Break::Final(self.server.refused(answer)));
        }
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length.filter(|length| *length != left) {
            Some(length) => Err(Break::Final(self.server.error(&format!("it sends {length} bytes instead of {left}")))),
            None => Ok(answer),
        }
    }

    fn is_right(&self, hash: Sha256) -> bool {
        format!("{:x}", hash.finalize()) == self.pointer.sha256
    }

    fn report(&mut self, done: u64) {
        let bytes = done.saturating_sub(self.reported);
        self.reported = self.reported.max(done);
        self.sink.event(Event::WorkDone { doing: Activity::Fetching, bytes });
    }
}

fn again(error: Error) -> Break {
    match error.kind {
        Kind::Signal(_) => Break::Final(error),
        _ => Break::Again(error),
    }
}

/// Whether the answer begins at the byte that was asked for.
fn continues(answer: &Response, from: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    answer.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| {
            range.trim().strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{from}-")))
        })
}
