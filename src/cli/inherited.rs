//! Sockets that another process opened for this one: socket activation by systemd (`sd_listen_fds(3)`).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_type};

use crate::error::{Error, Result};

/// The first inherited file.
const FIRST: RawFd = 3;
/// More are a mistake.
const MOST: RawFd = 64;

static ARE_TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that `LISTEN_FDS` counts; none if the variables are for another process.
///
/// Errors: one of them is not a TCP socket that listens.
pub fn inherited_sockets(env: &BTreeMap<String, String>) -> Result<Vec<TcpListener>> {
    let number = |name: &str| env.get(name).and_then(|text| text.parse::<RawFd>().ok());
    let is_for_us = number("LISTEN_PID").is_some_and(|pid| pid == std::process::id().cast_signed());
    let count = number("LISTEN_FDS").filter(|count| is_for_us && (1..=MOST).contains(count)).unwrap_or(0);
    if count == 0 || ARE_TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    (FIRST..FIRST + count).map(|fd| listener(take(fd), fd)).collect()
}

#[allow(unsafe_code)]
fn take(fd: RawFd) -> OwnedFd {
    // SAFETY: the variables say that this process was given the file, and `ARE_TAKEN` that it is taken once. If they
    // lie, nothing of this process is behind the number: files that Rust opens are used by their own handles, and
    // `listener` refuses what is no socket before it is used.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn listener(socket: OwnedFd, fd: RawFd) -> Result<TcpListener> {
    let is_listening = socket_type(socket.as_fd()) == Ok(rustix::net::SocketType::STREAM)
        && socket_acceptconn(socket.as_fd()) == Ok(true);
    if !is_listening {
        // A file that is no socket may belong to something else: it is not closed.
        std::mem::forget(socket);
        return Err(Error::usage(format!("LISTEN_FDS: file {fd} is not a TCP socket that listens"))
            .hint("in the .socket unit: ListenStream=8080"));
    }
    let _ = fcntl_setfd(&socket, FdFlags::CLOEXEC);
    let listener = TcpListener::from(socket);
    match listener.local_addr() {
        Ok(_) => Ok(listener),
        Err(e) => Err(Error::usage(format!("LISTEN_FDS: file {fd} has no address of TCP")).because(e)),
    }
}
