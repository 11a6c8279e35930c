//! A client's connection over a blocking socket.
use crate::Error;
use crate::endpoint::{Address, Endpoint};
use coregate_dataplane::BackendKey;
use coregate_protocol::auth::client::{ClientConfig, ClientHandshake, ClientStep, TlsPolicy};
use coregate_protocol::command::encode;
use coregate_protocol::frame::{self, Assembler, PacketWriter};
use coregate_protocol::response::ErrPacket;
use coregate_protocol::walker::{FeedState, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, ProtocolError};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What common drivers ask for.
const CAPABILITIES: Capabilities = Capabilities::DRIVER.union(Capabilities::DEPRECATE_EOF);

/// A target that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes both ways, over TCP or a Unix-domain socket.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

pub(crate) struct Connection {
    socket: Box<dyn Stream>,
    capabilities: Capabilities,
    /// The answer that was read last.
    answer: Vec<u8>,
}

/// A command's packet, header included.
pub(crate) fn packet(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    PacketWriter::new(&mut out, &mut 0).packet(encode);
    out
}

fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Tcp(address) => {
            let socket = TcpStream::connect_timeout(address, PATIENCE)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Box::new(socket))
        }
        Address::Unix(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Box::new(socket))
        }
    }
}

/// A client's part of the login.
pub(crate) fn handshake(endpoint: &Endpoint, database: Option<&str>) -> ClientHandshake {
    ClientHandshake::new(ClientConfig {
        user: endpoint.user.clone().into_bytes(),
        password: endpoint.password.clone().into_bytes().into(),
        database: database.map(|name| name.as_bytes().to_vec()),
        wanted: CAPABILITIES,
        required: Capabilities::PROTOCOL_41,
        collation: 45,
        attributes: Vec::new(),
        tls: TlsPolicy::Disabled,
        max_packet: 1 << 24,
        zstd_level: 0,
        // Servers of MySQL want the password encrypted where there is no TLS.
        allow_public_key_retrieval: true,
    })
}

impl Connection {
    /// Logs in, and selects `database` if one is given.
    pub(crate) fn open(endpoint: &Endpoint, database: Option<&str>) -> Result<Self, Error> {
        Self::login(endpoint, database).map_err(|why| Error::failed(endpoint, why))
    }

    fn login(endpoint: &Endpoint, database: Option<&str>) -> Result<Self, String> {
        let mut socket = connect(&endpoint.address).map_err(|e| e.to_string())?;
        let mut handshake = handshake(endpoint, database);
        let local = matches!(endpoint.address, Address::Unix(_));
        let (mut assembler, mut buf) = (Assembler::new(1 << 20), [0; 4096]);
        loop {
            let n = read(socket.as_mut(), &mut buf).map_err(|e| e.to_string())?;
            let mut rest = buf.get(..n).unwrap_or_default();
            while !rest.is_empty() {
                let step = assembler.feed(rest).map_err(|e| e.to_string())?;
                rest = rest.get(step.consumed..).unwrap_or_default();
                let Some(packet) = step.packet else { continue };
                let (mut out, seq) = (Vec::new(), packet.seq);
                let next =
                    handshake.on_packet(packet.payload, seq, &mut out, local, Some(&BackendKey));
                match next.map_err(|e| e.to_string())? {
                    ClientStep::Continue => {
                        assembler.expect(seq.wrapping_add(if out.is_empty() { 1 } else { 2 }))
                    }
                    ClientStep::StartTls => return Err("it wants TLS".to_owned()),
                    ClientStep::Done(info) => {
                        return Ok(Self {
                            socket,
                            capabilities: info.capabilities,
                            answer: Vec::new(),
                        });
                    }
                    ClientStep::Failed(error) => return Err(error.message),
                }
                socket.write_all(&out).map_err(|e| e.to_string())?;
            }
        }
    }

    /// Runs a statement; a server's error is an error here.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Summary, Error> {
        let wire = packet(|w| encode::query(w, Capabilities::empty(), sql.as_bytes()));
        let summary = self.exchange(&wire, ResponseKind::Query)?;
        self.check(summary, sql)
    }

    fn check(&self, summary: Summary, sql: &str) -> Result<Summary, Error> {
        match summary.error {
            None => Ok(summary),
            Some((code, _)) => {
                let head: String = sql.chars().take(60).collect();
                Err(Error::Failed(format!("error {code}: {}, for: {head}", self.message())))
            }
        }
    }

    /// The text of the error in the last answer.
    pub(crate) fn message(&self) -> String {
        let payload = frame::split(&self.answer, usize::MAX)
            .ok()
            .flatten()
            .map(|(packet, _)| packet.payload);
        let error = payload.and_then(|payload| ErrPacket::parse(payload).ok());
        error.map_or_else(String::new, |e| String::from_utf8_lossy(e.message).into_owned())
    }

    /// Sends a command and reads its whole answer, which is then in [`Self::row`].
    #[inline]
    pub(crate) fn exchange(&mut self, wire: &[u8], kind: ResponseKind) -> Result<Summary, Error> {
        self.socket
            .write_all(wire)
            .map_err(|e| Error::failed("sending", e))?;
        let mut walker = ResponseWalker::new(kind, self.capabilities);
        self.answer.clear();
        let mut buf = [0u8; 16 << 10];
        loop {
            let n =
                read(self.socket.as_mut(), &mut buf).map_err(|e| Error::failed("receiving", e))?;
            let bytes = buf.get(..n).unwrap_or_default();
            self.answer.extend_from_slice(bytes);
            let wrong = |e: ProtocolError| Error::failed("its answer makes no sense", e);
            let feed = walker.feed(bytes).map_err(wrong)?;
            match feed.state {
                FeedState::More => {}
                FeedState::Done if feed.consumed == n => return Ok(*walker.summary()),
                FeedState::Done => {
                    return Err(Error::Failed("more bytes came than the answer".to_owned()));
                }
                FeedState::LocalInfile => {
                    return Err(Error::Failed("it asks for a file".to_owned()));
                }
            }
        }
    }

    /// The payload of the n-th packet of the last answer.
    #[inline]
    pub(crate) fn answer_packet(&self, n: usize) -> Option<&[u8]> {
        let mut rest = self.answer.as_slice();
        for _ in 0..n {
            let (_, consumed) = frame::split(rest, usize::MAX).ok()??;
            rest = rest.get(consumed..)?;
        }
        frame::split(rest, usize::MAX)
            .ok()?
            .map(|(packet, _)| packet.payload)
    }

    /// The payload of the first row of a result with so many columns.
    #[inline]
    pub(crate) fn row(&self, columns: usize) -> Option<&[u8]> {
        // The number of columns, the columns, and an EOF where it is not deprecated.
        let eof = usize::from(!self.capabilities.contains(Capabilities::DEPRECATE_EOF));
        self.answer_packet(1 + columns + eof)
    }
}

fn read(socket: &mut dyn Stream, buf: &mut [u8]) -> io::Result<usize> {
    match socket.read(buf) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", PATIENCE.as_secs()),
        )),
        other => other,
    }
}
