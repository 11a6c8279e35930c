//! Tells the service manager that we serve (systemd's `Type=notify`): a datagram to the socket that
//! the environment names.
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket: a path, or `@` and a name in the abstract namespace.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Does nothing where nobody wants to know.
pub(crate) fn ready() {
    let Ok(socket) = std::env::var(VARIABLE) else { return };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = address.and_then(|address| {
        let message = format!("READY=1\nMAINPID={}\n", std::process::id());
        UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(e) = sent {
        tracing::warn!("{VARIABLE} = {socket}: {e}");
    }
}
