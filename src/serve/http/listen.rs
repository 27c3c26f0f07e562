//! The sockets that a server accepts connections on.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::error::{Error, Result};

/// Where connections come from.
pub struct Listeners {
    /// They do not block.
    pub sockets: Vec<TcpListener>,
    /// They belong to another process, too (socket activation): the next server goes on accepting.
    pub are_inherited: bool,
}

impl Listeners {
    /// Binds an address, `HOST:PORT`.
    ///
    /// Errors: it is no address, or it is in use.
    pub fn bind(address: &str) -> Result<Listeners> {
        let failed = |e| Error::io("listen on", address, e);
        let resolved = address.to_socket_addrs().map_err(|e| {
            Error::usage(format!("--listen {address} is no address"))
                .because(e)
                .hint("write HOST:PORT, as 127.0.0.1:8080")
        })?;
        // A name as `localhost` may be several addresses; the first that can be bound is used.
        let socket = TcpListener::bind(&resolved.collect::<Vec<_>>()[..]).map_err(failed)?;
        Listeners::of(vec![socket], false)
    }

    /// Sockets that the process inherited.
    pub fn inherited(sockets: Vec<TcpListener>) -> Result<Listeners> {
        Listeners::of(sockets, true)
    }

    fn of(sockets: Vec<TcpListener>, are_inherited: bool) -> Result<Listeners> {
        for socket in &sockets {
            socket.set_nonblocking(true).map_err(|e| Error::io("listen on", "a socket", e))?;
        }
        Ok(Listeners { sockets, are_inherited })
    }

    /// Their addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Can another machine connect? An address that is not known counts as one that can be reached.
    pub fn is_public(&self) -> bool {
        !self.sockets.iter().all(|socket| socket.local_addr().is_ok_and(|address| is_loopback(&address)))
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses() {
        for (address, want) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(is_loopback(&address.parse().unwrap()), want, "{address}");
        }
        assert!(!Listeners::bind("127.0.0.1:0").unwrap().is_public());
        assert!(Listeners::bind("nonsense").is_err());
    }
}
