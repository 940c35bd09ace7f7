//! Ports that are free.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::bail;

/// How many ports behind the usual one are tried.
const TRIES: u16 = 100;
/// A local port that nobody listens on refuses at once.
const LOOK: Duration = Duration::from_millis(100);

/// Listens on `usual` of this machine or on the next port that is free; 0: on any.
pub fn listen(usual: u16) -> anyhow::Result<TcpListener> {
    for port in usual..=usual.saturating_add(TRIES) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Some systems let one listen on an address in front of somebody who listens on all of them.
        if port != 0 && TcpStream::connect_timeout(&address, LOOK).is_ok() {
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => bail!("cannot listen on {address}: {error}"),
        }
    }
    bail!("no free port from {usual} to {}", usual.saturating_add(TRIES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over() {
        let first = listen(0).unwrap();
        let taken = first.local_addr().unwrap().port();
        let next = listen(taken).unwrap().local_addr().unwrap().port();
        assert!(next > taken || taken == u16::MAX, "{taken} {next}");
    }
}
