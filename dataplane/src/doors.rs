//! The listening sockets of a process: bound by itself, or taken over from the process before it.
use crate::config::Config;
use crate::error::StartError;
use crate::listener;
use socket2::Socket;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// The first address, and each core's listeners.
pub(crate) fn open(
    config: &Config,
    cores: usize,
) -> Result<(SocketAddr, Vec<Vec<Socket>>), StartError> {
    let mut inherited = config
        .inherited
        .iter()
        .map(|fd| fd.try_clone().map(Socket::from))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| StartError::Core(format!("no descriptor for a listening socket: {e}")))?;
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<Socket>> = (0..cores).map(|_| Vec::new()).collect();
    for wanted in &config.listen {
        let taken = take(&mut inherited, |socket| is_at(socket, *wanted));
        let sockets = if taken.is_empty() { bind(*wanted, cores, config.backlog)? } else { taken };
        let first = sockets.first().and_then(|s| s.local_addr().ok());
        addresses.push(first.and_then(|a| a.as_socket()).unwrap_or(*wanted));
        // Of another number of cores, some have two, or none: whoever accepts gives clients to all.
        for (n, socket) in sockets.into_iter().enumerate() {
            if let Some(own) = listeners.get_mut(n % cores.max(1)) {
                own.push(socket);
            }
        }
    }
    // The kernel spreads connections to a Unix-domain socket over nothing: one core accepts them
    // and gives them to all.
    if let (Some(address), Some(first)) = (&config.socket, listeners.first_mut()) {
        let mut taken = take(&mut inherited, |socket| address.is_of(socket));
        match taken.pop() {
            Some(socket) => first.push(socket),
            None => first.push(address.listen(config.backlog)?),
        }
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok((addresses.first().copied().unwrap_or(any), listeners))
}

fn take(from: &mut Vec<Socket>, wanted: impl Fn(&Socket) -> bool) -> Vec<Socket> {
    let (taken, rest) = std::mem::take(from)
        .into_iter()
        .partition(|socket| wanted(socket));
    *from = rest;
    taken
}

/// Port 0 is any.
fn is_at(socket: &Socket, wanted: SocketAddr) -> bool {
    let address = socket.local_addr().ok().and_then(|a| a.as_socket());
    address.is_some_and(|own| {
        own.ip() == wanted.ip() && (own.port() == wanted.port() || wanted.port() == 0)
    })
}

/// The first listener decides the port when 0 was asked for; the others follow it.
fn bind(wanted: SocketAddr, cores: usize, backlog: u32) -> Result<Vec<Socket>, StartError> {
    listener::check_free(wanted)?;
    let (mut bound, mut sockets) = (wanted, Vec::new());
    for _ in 0..cores {
        let socket = listener::bind(bound, backlog)?;
        if let Some(real) = socket.local_addr().ok().and_then(|a| a.as_socket()) {
            bound = real;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

pub(crate) fn copies(listeners: &[Vec<Socket>]) -> Result<Vec<OwnedFd>, StartError> {
    let copy = |socket: &Socket| socket.try_clone().map(OwnedFd::from);
    listeners
        .iter()
        .flatten()
        .map(copy)
        .collect::<Result<_, _>>()
        .map_err(|e| StartError::Core(format!("no descriptor for a listening socket: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn sockets_of_the_same_address_are_taken_over_and_spread_over_the_cores() {
        let mut config =
            Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() };
        let (address, first) = open(&config, 2).expect("two sockets");
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        config.inherited = copies(&first)
            .expect("copies")
            .into_iter()
            .map(Arc::new)
            .collect();
        config.listen = vec![address];
        for (cores, each) in [(1, vec![2]), (2, vec![1, 1]), (3, vec![1, 1, 0])] {
            let (same, sockets) = open(&config, cores).expect("sockets");
            assert_eq!((same, sockets.iter().map(Vec::len).collect::<Vec<_>>()), (address, each));
        }
        // Another address is bound anew.
        config.listen = vec![SocketAddr::from(([127, 0, 0, 2], 0))];
        let (other, _) = open(&config, 1).expect("a socket");
        assert_ne!(other, address);
    }
}
