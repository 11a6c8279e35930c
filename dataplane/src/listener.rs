//! Accepting clients: every core has a listener of its own on the same address, and the kernel
//! spreads connections over them.
use crate::core::Core;
use crate::error::StartError;
use crate::executor;
use crate::ring::{Accept, Socket};
use crate::seat::Seat;
use crate::session;
use socket2::{Domain, Protocol, SockRef, Type};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

/// After an error that concerns the machine (no descriptors left) accepting pauses.
const PAUSE: Duration = Duration::from_millis(50);
/// It is logged so often.
const TOLD: Duration = Duration::from_secs(1);

/// A process that has just ended may hold its address for some milliseconds: its rings are taken
/// down behind it. One that really listens does so for longer.
const LISTEN_PATIENCE: Duration = Duration::from_millis(1_000);
/// Time between two attempts.
const LISTEN_RETRY: Duration = Duration::from_millis(10);

/// Tries again while the address is in use, for a bounded time.
pub(crate) fn patiently<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + LISTEN_PATIENCE;
    loop {
        match open() {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(LISTEN_RETRY);
            }
            result => return result,
        }
    }
}

/// Opens a listening socket. All cores bind the same address.
pub(crate) fn bind(address: SocketAddr, backlog: u32) -> Result<socket2::Socket, StartError> {
    let open = || {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    };
    patiently(open).map_err(|error| StartError::Listen { address: address.to_string(), error })
}

/// Is the address free? With SO_REUSEPORT the kernel would let a second process share it without a
/// word.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub(crate) fn check_free(address: SocketAddr) -> Result<(), StartError> {
    let open = || {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    patiently(open).map_err(|error| StartError::Listen { address: address.to_string(), error })
}

/// The task that accepts on one listener until the process drains, or another has taken the
/// listener over.
pub(crate) async fn serve(core: Rc<Core>, listener: socket2::Socket) {
    accept_all(&core, listener).await;
    core.shared.listening.fetch_sub(1, Ordering::Release);
}

async fn accept_all(core: &Rc<Core>, listener: socket2::Socket) {
    let accept = Accept::new(&core.ring, listener);
    let mut told = None;
    loop {
        // Draining is noticed when the sweep wakes this task through its timer.
        let mut armed = crate::timer::Armed::default();
        let until = core.ring.now() + Duration::from_millis(250);
        let next = poll_fn(|cx| {
            if let Poll::Ready(next) = accept.poll_next(cx) {
                return Poll::Ready(Some(next));
            }
            core.timers
                .poll_until(cx, core.ring.now(), until, &mut armed)
                .map(|()| None)
        })
        .await;
        if core.shared.draining.load(Ordering::Relaxed) || accept.is_over() {
            return;
        }
        if core.shared.handed_over.load(Ordering::Relaxed) {
            accept.stop();
        }
        match next {
            Some(Ok(fd)) => {
                let peer = prepare(&fd);
                let seat = Seat::take(&core.shared, core.id);
                match seat.core {
                    own if own == core.id => admit(core, fd, peer, seat),
                    other => core
                        .shared
                        .inbox(other)
                        .post(move |core| admit(core, fd, peer, seat)),
                }
            }
            Some(Err(_)) if core.shared.handed_over.load(Ordering::Relaxed) => {}
            Some(Err(e)) => {
                let now = core.ring.now();
                if told.is_none_or(|at| now > at + TOLD) {
                    tracing::warn!("cannot accept a connection: {e}");
                    told = Some(now);
                }
                core.sleep(PAUSE).await;
            }
            None => {}
        }
    }
}

/// The client is this core's from now on.
fn admit(core: &Rc<Core>, fd: OwnedFd, peer: Option<Peer>, seat: Seat) {
    let socket = Socket::new(&core.ring, fd);
    executor::spawn(session::serve(Rc::clone(core), socket, peer, seat));
    core.ring.mark_runnable();
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ip(IpAddr),
    /// A process of this machine, through a Unix-domain socket.
    Unix,
}

/// As MySQL calls those that come through a Unix-domain socket.
const UNIX_HOST: &str = "localhost";

impl Peer {
    /// As it was written for a session.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        match host {
            UNIX_HOST => Some(Self::Unix),
            ip => ip.parse().ok().map(Self::Ip),
        }
    }

    /// On this very machine?
    pub(crate) fn is_local(self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Unix => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix => f.write_str(UNIX_HOST),
        }
    }
}

/// Socket options, and who it is. Failures show at the first use of the socket.
fn prepare(fd: &OwnedFd) -> Option<Peer> {
    let socket = SockRef::from(fd);
    let address = socket.peer_addr().ok()?;
    if address.is_unix() {
        return Some(Peer::Unix);
    }
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_keepalive(true);
    address
        .as_socket()
        .map(|address| Peer::Ip(address.ip().to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_given_up_is_taken_over() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("its address");
        let waiting = std::thread::spawn(move || check_free(address).map_err(|e| e.to_string()));
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
        assert_eq!(waiting.join().expect("no panic"), Ok(()));
    }

    #[test]
    fn an_address_that_is_in_use_is_refused() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let error = check_free(held.local_addr().expect("its address"));
        assert!(error.is_err_and(|e| e.to_string().contains("in use")));
    }
}
