//! Packets over a stream, and the login.
use super::{Error, Result};
use crate::tls::TlsClient;
use coregate_planner::snapshot::{Address, BackendTls, Tablet};
use coregate_protocol::auth::client::{
    ClientConfig, ClientHandshake, ClientStep, RsaEncrypt, TlsPolicy,
};
use coregate_protocol::frame::{HEADER_LEN, Header, MAX_CHUNK, write_packet};
use coregate_protocol::handshake::Attributes;
use coregate_protocol::{Capabilities, ProtocolError};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// The longest packet that is read, in bytes: a row.
pub(super) const PACKET_MAX: usize = 64 << 20;
/// utf8mb4_general_ci: servers of all versions have it.
const COLLATION: u8 = 45;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// Reaches a server.
pub(crate) async fn dial(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Unresolved { host, .. } => return Err(crate::backend::unresolved(host)),
    })
}

/// A stream that has logged in.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    seq: u8,
    pub(super) capabilities: Capabilities,
    pub(super) thread_id: u32,
}

impl Wire {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::new(stream),
            seq: 0,
            capabilities: Capabilities::empty(),
            thread_id: 0,
        }
    }

    /// One that has logged in, to a server that a test plays.
    #[cfg(test)]
    pub(super) fn played(stream: Box<dyn Stream>, capabilities: Capabilities) -> Self {
        Self { capabilities, ..Self::new(stream) }
    }

    /// Sends a command; its answer is read by [`packet`](Self::packet).
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.seq = 0;
        let mut out = Vec::with_capacity(payload.len() + HEADER_LEN);
        write_packet(&mut out, &mut self.seq, payload);
        self.send(&out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next packet of the answer, put together where it came in several.
    pub(super) async fn packet(&mut self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; HEADER_LEN];
            self.stream.read_exact(&mut head).await.map_err(closed)?;
            let Some(header) = Header::peek(&head) else {
                return Err(Error::Protocol("a packet without a header".to_owned()));
            };
            if header.seq != self.seq {
                return Err(Error::Protocol(format!(
                    "packet {} came where {} was due",
                    header.seq, self.seq
                )));
            }
            self.seq = self.seq.wrapping_add(1);
            let length = header.len as usize;
            if payload.len() + length > PACKET_MAX {
                return Err(Error::Protocol(format!("a packet of more than {PACKET_MAX} bytes")));
            }
            let at = payload.len();
            payload.resize(at + length, 0);
            let rest = payload.get_mut(at..).unwrap_or_default();
            self.stream.read_exact(rest).await.map_err(closed)?;
            if length < MAX_CHUNK {
                return Ok(payload);
            }
        }
    }

    pub(super) async fn shut_down(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// The rest of the stream is encrypted.
    async fn secured(self, tls: &Arc<dyn TlsClient>, tablet: &Tablet) -> Result<Self> {
        if !self.stream.buffer().is_empty() {
            return Err(Error::Protocol("the server speaks before TLS has begun".to_owned()));
        }
        let config = tls
            .config(tablet.tls)
            .map_err(|why| Error::Io(io::Error::other(why)))?;
        let name = tls.server_name(tablet)?;
        let encrypted = TlsConnector::from(config)
            .connect(name, self.stream.into_inner())
            .await;
        let encrypted = encrypted.map_err(|e| io::Error::other(tls.explain(tablet, &e)))?;
        Ok(Self { seq: self.seq, ..Self::new(Box::new(encrypted)) })
    }
}

fn closed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Error::Io(io::Error::new(error.kind(), "the server has closed the connection"))
        }
        _ => Error::Io(error),
    }
}

/// Who logs in, where, and how it is encrypted.
pub(crate) struct Login<'a> {
    pub(crate) tablet: &'a Tablet,
    /// `None`: never encrypted, and no password under a server's RSA key.
    pub(crate) tls: Option<&'a Arc<dyn TlsClient>>,
}

impl Login<'_> {
    pub(super) async fn run(self) -> Result<Wire> {
        let local = matches!(self.tablet.address, Address::Unix(_));
        let mut wire = Wire::new(dial(&self.tablet.address).await?);
        let mut handshake = ClientHandshake::new(self.config(local));
        let (mut out, mut secure) = (Vec::new(), local);
        loop {
            let (seq, packet) = (wire.seq, wire.packet().await?);
            let rsa = self.tls.map(|tls| tls.rsa() as &dyn RsaEncrypt);
            let step = handshake.on_packet(&packet, seq, &mut out, secure, rsa);
            let step = step.map_err(explained)?;
            wire.answer(&mut out).await?;
            match step {
                ClientStep::Continue => {}
                ClientStep::StartTls => {
                    let Some(tls) = self.tls else {
                        return Err(Error::Protocol("TLS was not asked for".to_owned()));
                    };
                    wire = wire.secured(tls, self.tablet).await?;
                    secure = true;
                    handshake.tls_started(&mut out)?;
                    wire.answer(&mut out).await?;
                }
                ClientStep::Done(info) => {
                    wire.capabilities = info.capabilities;
                    wire.thread_id = info.thread_id;
                    return Ok(wire);
                }
                ClientStep::Failed(error) => return Err(Error::Server(error)),
            }
        }
    }

    fn config(&self, local: bool) -> ClientConfig {
        let mut attributes = Vec::new();
        Attributes::put(&mut attributes, b"program_name", b"coregate-control");
        ClientConfig {
            user: self.tablet.user.clone().into_bytes(),
            password: self.tablet.password.clone().into_bytes().into(),
            database: None,
            wanted: Capabilities::DRIVER
                .union(Capabilities::CONNECT_ATTRS)
                .union(Capabilities::DEPRECATE_EOF),
            required: Capabilities::PROTOCOL_41,
            collation: COLLATION,
            attributes,
            tls: match (self.tls, self.tablet.tls) {
                (None, _) | (_, BackendTls::Disabled) => TlsPolicy::Disabled,
                (_, BackendTls::Preferred) if local => TlsPolicy::Disabled,
                (_, BackendTls::Preferred) => TlsPolicy::Preferred,
                _ => TlsPolicy::Required,
            },
            max_packet: u32::try_from(PACKET_MAX).unwrap_or(u32::MAX),
            zstd_level: 0,
            allow_public_key_retrieval: true,
        }
    }
}

fn explained(error: ProtocolError) -> Error {
    match error {
        ProtocolError::Unsupported("TLS") => Error::Io(io::Error::other(
            "the server offers no TLS: give it a certificate, or use another ssl-mode",
        )),
        other => other.into(),
    }
}

impl Wire {
    /// Sends what the login has written, if anything, and goes by its sequence ids.
    async fn answer(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        self.send(out).await?;
        out.clear();
        self.seq = self.seq.wrapping_add(1);
        Ok(())
    }
}
