//! TLS for the control plane's own connections. `mysql_async` brings TLS settings of its own, in which `verify_ca` does not work
//! with rustls 0.23; so it talks in clear to a socket inside this process, behind which the connection is encrypted exactly
//! as the data plane's are.
//!
//! Only the login is looked at: the client's answer to the greeting becomes SSLRequest, TLS, then the same answer, which moves
//! the sequence ids of the login by one (protocol documentation, "Connection Phase").
use coregate_planner::snapshot::{Address, BackendTls, Tablet};
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;

/// The longest packet of a login, in bytes.
const LOGIN_PACKET_MAX: usize = 64 << 10;
/// Header, capabilities, packet size, collation, 23 unused bytes: where an SSLRequest ends.
const SSL_REQUEST: usize = 36;
/// CLIENT_SSL, bit 11 of the capabilities: the second byte of the first field.
const SSL_BIT: (usize, u8) = (5, 0x08);

/// How servers' certificates are verified; the data plane has it, the program hands it over.
pub trait TlsClient: fmt::Debug + Send + Sync {
    /// # Errors
    /// The mode cannot be used as things are configured: one sentence.
    fn config(&self, mode: BackendTls) -> Result<Arc<rustls::ClientConfig>, String>;
    /// The name that the server's certificate must bear.
    ///
    /// # Errors
    /// No certificate can bear it.
    fn server_name(&self, tablet: &Tablet) -> io::Result<ServerName<'static>>;
    /// Why TLS failed and what to do.
    fn explain(&self, tablet: &Tablet, error: &io::Error) -> String;
}

/// A way into the tunnel.
pub(crate) struct Tunnel {
    /// For `mysql_async`: a name in the abstract namespace, NUL first.
    pub(crate) socket: String,
    failure: Arc<Mutex<Option<String>>>,
}

impl Tunnel {
    /// Why the connection behind it failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Reaches the server. `None`: it offers no TLS, and the mode does without.
    ///
    /// # Errors
    /// The server cannot be reached, or the mode cannot be satisfied: a sentence.
    pub(crate) async fn open(tls: &Arc<dyn TlsClient>, tablet: &Tablet) -> Result<Option<Self>, String> {
        let optional = tablet.tls == BackendTls::Preferred;
        let config = tls.config(tablet.tls)?;
        let name = tls.server_name(tablet).map_err(|e| e.to_string())?;
        let mut server = connect(&tablet.address).await.map_err(|e| e.to_string())?;
        let greeting = read_packet(&mut server).await.map_err(|e| e.to_string())?;
        if !offers_tls(&greeting) {
            // An error packet, e.g. "too many connections", is shown by the ordinary way.
            return match optional || greeting.get(4) == Some(&0xff) {
                true => Ok(None),
                false => {
                    Err("the server offers no TLS: give it a certificate, or use another ssl-mode".to_owned())
                }
            };
        }
        let (socket, listener) = listen().map_err(|e| e.to_string())?;
        let failure = Arc::new(Mutex::new(None));
        let (told, tls, tablet) = (Arc::clone(&failure), Arc::clone(tls), tablet.clone());
        tokio::spawn(async move {
            let relayed = async {
                let client = accept_own(&listener).await?;
                drop(listener);
                relay(client, server, greeting, TlsConnector::from(config), name).await
            };
            if let Err(e) = relayed.await {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls.explain(&tablet, &e));
            }
        });
        Ok(Some(Self { socket, failure }))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Unresolved { host, .. } => return Err(crate::backend::unresolved(host)),
    })
}

fn listen() -> io::Result<(String, UnixListener)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("coregate-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    Ok((format!("\0{name}"), UnixListener::from_std(listener)?))
}

/// Names in the abstract namespace are open to all: only this process may come in.
async fn accept_own(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (client, _) = listener.accept().await?;
        let own = i32::try_from(std::process::id()).ok();
        if client.peer_cred()?.pid() == own {
            return Ok(client);
        }
    }
}

/// Does the greeting's first half of the capabilities have CLIENT_SSL? (version 10, server version up to NUL, thread id, 8 bytes of
/// scramble, filler)
fn offers_tls(packet: &[u8]) -> bool {
    let Some((10, rest)) = packet.get(4..).and_then(<[u8]>::split_first) else { return false };
    let Some(end) = rest.iter().position(|b| *b == 0) else { return false };
    rest.get(end + 1 + 4 + 8 + 1 + 1)
        .is_some_and(|high| high & SSL_BIT.1 != 0)
}

/// A packet with its header.
async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    if length > LOGIN_PACKET_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "a packet of the login is too long"));
    }
    packet.resize(4 + length, 0);
    stream
        .read_exact(packet.get_mut(4..).unwrap_or_default())
        .await?;
    Ok(packet)
}

fn shift(packet: &mut [u8], by: u8) {
    if let Some(seq) = packet.get_mut(3) {
        *seq = seq.wrapping_add(by);
    }
}

async fn relay(
    mut client: UnixStream,
    mut server: Box<dyn Stream>,
    greeting: Vec<u8>,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<()> {
    client.write_all(&greeting).await?;
    let mut response = read_packet(&mut client).await?;
    let Some(request) = response.get_mut(..SSL_REQUEST) else {
        return Err(io::Error::new(ErrorKind::InvalidData, "the login is too short"));
    };
    request[SSL_BIT.0] |= SSL_BIT.1;
    let mut request = request.to_vec();
    request[..3].copy_from_slice(&[32, 0, 0]);
    server.write_all(&request).await?;
    let mut server = connector.connect(name, server).await?;
    log_in(&mut client, &mut server, response).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The rest of the login, up to the server's OK or error.
async fn log_in(
    client: &mut UnixStream,
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut packet: Vec<u8>,
) -> io::Result<()> {
    loop {
        shift(&mut packet, 1);
        server.write_all(&packet).await?;
        server.flush().await?;
        loop {
            let mut answer = read_packet(server).await?;
            shift(&mut answer, u8::MAX);
            client.write_all(&answer).await?;
            match answer.get(4..) {
                Some([0x00 | 0xff, ..]) => return Ok(()),
                // caching_sha2_password knows the password: OK follows by itself.
                Some([0x01, 0x03]) => {}
                _ => break,
            }
        }
        packet = read_packet(client).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_say_whether_there_is_tls() {
        let mut greeting = vec![0, 0, 0, 0, 10];
        greeting.extend_from_slice(b"10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0\xff\xf7rest");
        assert!(!offers_tls(&greeting));
        let at = greeting.len() - 5;
        greeting[at] = 0xff;
        assert!(offers_tls(&greeting));
        assert!(!offers_tls(b"\x10\0\0\0\xff\x10\x04Too many connections"));
        assert!(!offers_tls(&[]) && !offers_tls(&greeting[..20]));
    }
}
