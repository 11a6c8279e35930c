//! One connection on the ring.
use crate::conn::{handshake, packet};
use crate::endpoint::{Address, Endpoint};
use coregate_dataplane::BackendKey;
use coregate_dataplane::ring::{Buf, Connect, Ring, Socket};
use coregate_protocol::Capabilities;
use coregate_protocol::auth::client::ClientStep;
use coregate_protocol::command::encode;
use coregate_protocol::frame::{self, Assembler};
use coregate_protocol::response::ErrPacket;
use coregate_protocol::walker::{FeedState, ResponseKind, ResponseWalker, Summary};
use socket2::{Domain, Protocol, SockAddr, Type};
use std::future::poll_fn;

/// So much of an answer is kept to be looked at.
const HEAD: usize = 16 << 10;

pub(super) struct Wire {
    socket: Socket,
    capabilities: Capabilities,
    /// The beginning of the last answer.
    head: Vec<u8>,
    /// Bytes of the last answer.
    pub(super) received: u64,
}

/// What came of a command.
pub(super) struct Answer {
    pub(super) summary: Summary,
    pub(super) bytes: u64,
}

impl Wire {
    /// Connects, logs in, and uses the endpoint's database if wanted.
    pub(super) async fn open(
        ring: &Ring,
        endpoint: &Endpoint,
        database: bool,
    ) -> Result<Self, String> {
        let failed = |why: String| format!("{endpoint}: {why}");
        Self::login(ring, endpoint, database).await.map_err(failed)
    }

    async fn login(ring: &Ring, endpoint: &Endpoint, database: bool) -> Result<Self, String> {
        let socket = dial(ring, &endpoint.address)
            .await
            .map_err(|e| e.to_string())?;
        let mut handshake = handshake(endpoint, database.then_some(endpoint.database.as_str()));
        let local = matches!(endpoint.address, Address::Unix(_));
        let mut assembler = Assembler::new(1 << 20);
        loop {
            let buf = receive(&socket).await?;
            let mut rest: &[u8] = &buf;
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
                        let capabilities = info.capabilities;
                        return Ok(Self { socket, capabilities, head: Vec::new(), received: 0 });
                    }
                    ClientStep::Failed(error) => return Err(error.message),
                }
                socket.send(Buf::from(out));
            }
        }
    }

    /// Runs a statement whose answer does not matter, unless it is an error.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Answer, String> {
        let wire = packet(|w| encode::query(w, Capabilities::empty(), sql.as_bytes()));
        let answer = self.exchange(wire, ResponseKind::Query).await?;
        self.check(answer, sql)
    }

    pub(super) async fn prepare(&mut self, sql: &str) -> Result<u32, String> {
        let wire = packet(|w| encode::stmt_prepare(w, sql.as_bytes()));
        let answer = self.exchange(wire, ResponseKind::Prepare).await?;
        let prepared = self.check(answer, sql)?.summary.prepare;
        prepared
            .map(|p| p.stmt_id)
            .ok_or_else(|| format!("{sql}: it was not prepared"))
    }

    fn check(&self, answer: Answer, sql: &str) -> Result<Answer, String> {
        match answer.summary.error {
            None => Ok(answer),
            Some((code, _)) => {
                let head: String = sql.chars().take(80).collect();
                Err(format!("error {code}: {}, for: {head}", self.message()))
            }
        }
    }

    /// The text of the error in the last answer.
    pub(super) fn message(&self) -> String {
        let payload = frame::split(&self.head, usize::MAX)
            .ok()
            .flatten()
            .map(|(packet, _)| packet.payload);
        let error = payload.and_then(|payload| ErrPacket::parse(payload).ok());
        error.map_or_else(String::new, |e| String::from_utf8_lossy(e.message).into_owned())
    }

    /// Sends a command and reads its whole answer.
    pub(super) async fn exchange(
        &mut self,
        command: Vec<u8>,
        kind: ResponseKind,
    ) -> Result<Answer, String> {
        self.socket.send(Buf::from(command));
        let mut walker = ResponseWalker::new(kind, self.capabilities);
        self.head.clear();
        self.received = 0;
        let answer = loop {
            let bytes = receive(&self.socket).await?;
            self.received += bytes.len() as u64;
            if self.head.len() < HEAD {
                self.head.extend_from_slice(&bytes);
            }
            let feed = walker
                .feed(&bytes)
                .map_err(|e| format!("its answer makes no sense: {e}"))?;
            match feed.state {
                FeedState::More => self.socket.expect_more(&bytes),
                FeedState::Done if feed.consumed == bytes.len() => {
                    break Answer { summary: *walker.summary(), bytes: self.received };
                }
                FeedState::Done => return Err("more bytes came than the answer".to_owned()),
                FeedState::LocalInfile => return Err("it asks for a file".to_owned()),
            }
        };
        self.socket.set_bulk(false);
        Ok(answer)
    }

    /// The payload of the first row of the last answer, which has one column.
    pub(super) fn row(&self) -> Option<&[u8]> {
        // The number of columns, the column, and an EOF where it is not deprecated.
        let eof = usize::from(!self.capabilities.contains(Capabilities::DEPRECATE_EOF));
        let mut rest = self.head.as_slice();
        for _ in 0..2 + eof {
            let (_, consumed) = frame::split(rest, usize::MAX).ok()??;
            rest = rest.get(consumed..)?;
        }
        frame::split(rest, usize::MAX)
            .ok()?
            .map(|(packet, _)| packet.payload)
    }

    /// Says goodbye.
    pub(super) fn quit(self) {
        self.socket.send(Buf::from(packet(encode::quit)));
    }
}

async fn receive(socket: &Socket) -> Result<Buf, String> {
    match poll_fn(|cx| socket.poll_recv(cx)).await {
        Ok(Some(buf)) => Ok(buf),
        Ok(None) => Err("the connection was closed".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

async fn dial(ring: &Ring, address: &Address) -> std::io::Result<Socket> {
    let (socket, address) = match address {
        Address::Tcp(address) => {
            let socket = socket2::Socket::new(
                Domain::for_address(*address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_tcp_nodelay(true)?;
            (socket, SockAddr::from(*address))
        }
        Address::Unix(path) => {
            (socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?)
        }
    };
    let mut connect = Connect::new(ring, socket, address);
    let fd = poll_fn(|cx| connect.poll(cx)).await?;
    Ok(Socket::new(ring, fd))
}
