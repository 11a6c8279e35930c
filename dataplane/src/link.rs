//! A connection as sessions and backends use it: bytes in, bytes out, with TLS and compression in
//! between when they were agreed on, and packets cut out of the stream.
mod layers;
mod packets;
pub(crate) use packets::{Packet, PacketStream, ReadError, step};

use crate::ring::{Buf, Socket};
use crate::tls::{Tls, wire_buf};
use coregate_protocol::compress::{Compressor, Decompressor};
use layers::Layers;
use std::io;
use std::task::{Context, Poll, ready};

/// Bytes that may wait for a slow peer before whoever produces them is stopped.
/// So little that a stream of large buffers stays in a core's second-level cache.
pub(crate) const UNSENT_MAX: usize = 128 << 10;

/// A byte stream over a socket.
pub(crate) struct Link {
    pub(crate) socket: Socket,
    /// `None` in the ordinary case: bytes pass untouched.
    layers: Option<Box<Layers>>,
    /// Raw bytes that came behind the packet which asked for TLS.
    early: Option<Buf>,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, layers: None, early: None }
    }

    /// From here on everything is encrypted, also `early`: bytes that came right behind the packet
    /// that asked for it. (Taking those for plain text would let anyone on the way put commands in
    /// front of the client's.)
    pub(crate) fn start_tls(&mut self, mut tls: Tls, early: Option<Buf>) -> io::Result<()> {
        self.early = early;
        let mut wire = Vec::new();
        tls.flush(&mut wire)?;
        self.layers.get_or_insert_default().tls = Some(tls);
        if let Some(buf) = wire_buf(wire) {
            self.socket.send(buf);
        }
        Ok(())
    }

    /// From here on everything is compressed.
    pub(crate) fn start_compression(&mut self, compressor: Compressor, decompressor: Decompressor) {
        self.layers.get_or_insert_default().compression = Some((compressor, decompressor));
    }

    /// Bytes pass as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.layers.is_none() && self.early.is_none()
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.layers
            .as_ref()
            .is_some_and(|layers| layers.tls.is_some())
    }

    /// The next bytes, or `None` at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Buf>>> {
        loop {
            if let Some(layers) = &mut self.layers
                && let Some(plain) = layers.unpack()?
            {
                return Poll::Ready(Ok(Some(plain)));
            }
            let raw = match self.early.take() {
                Some(early) => early,
                None => match ready!(self.socket.poll_recv(cx))? {
                    Some(raw) => raw,
                    None => return Poll::Ready(Ok(None)),
                },
            };
            let Some(layers) = &mut self.layers else { return Poll::Ready(Ok(Some(raw))) };
            let mut wire = Vec::new();
            let plain = layers.decrypt(raw, &mut wire);
            if let Some(buf) = wire_buf(wire) {
                self.socket.send(buf);
            }
            let plain = plain?;
            if plain.is_empty() {
                continue;
            }
            if layers.compression.is_none() {
                return Poll::Ready(Ok(Some(plain)));
            }
            layers.packed = Some(plain);
        }
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.layers
            .as_ref()
            .is_some_and(|layers| layers.compression.is_some())
    }

    /// Bytes that came and were not read?
    fn has_packed(&self) -> bool {
        self.layers
            .as_ref()
            .is_some_and(|layers| layers.packed.is_some())
    }

    /// Queues bytes for the peer.
    pub(crate) fn send(&mut self, buf: Buf) {
        let Some(layers) = &mut self.layers else { return self.socket.send(buf) };
        match layers.wrap_bytes(&buf) {
            Ok(wire) => self.socket.send(Buf::from(wire)),
            Err(e) => {
                tracing::debug!("cannot encode for the peer: {e}");
                self.socket.shutdown();
            }
        }
    }

    /// The next compressed packet begins a command or an answer: its sequence id starts anew.
    pub(crate) fn reset_compressed_sequence(&mut self) {
        if let Some(layers) = &mut self.layers
            && let Some((_, decompressor)) = &mut layers.compression
        {
            decompressor.expect(None);
            layers.compressed_seq = 0;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(tls) = self.layers.as_mut().and_then(|layers| layers.tls.as_mut()) {
            let mut wire = Vec::new();
            tls.close(&mut wire);
            if let Some(buf) = wire_buf(wire) {
                self.socket.send(buf);
            }
        }
    }
}
