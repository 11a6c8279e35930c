//! LOAD DATA LOCAL: the client's file goes to the backend packet by packet.
use super::{Failure, Outcome, Session};
use crate::link::UNSENT_MAX;
use crate::pool::Backend;
use crate::ring::Buf;
use coregate_protocol::frame;
use std::future::poll_fn;

impl Session {
    /// Relays a file; `seq` is the sequence id of its first packet. Returns that of the last, empty one.
    pub(super) async fn relay_file(&mut self, backend: &mut Backend, seq: u8) -> Outcome<u8> {
        let mut seq = seq;
        loop {
            let Ok(Some(packet)) = self.client.packet(seq).await else { return Err(Failure::Close) };
            let last = packet.payload().is_empty();
            let mut wire = Vec::with_capacity(packet.payload().len() + 4);
            let mut next = seq;
            frame::write_packet(&mut wire, &mut next, packet.payload());
            backend.stream.link.send(Buf::from(wire));
            if last {
                return Ok(seq);
            }
            seq = next;
            let socket = &backend.stream.link.socket;
            poll_fn(|cx| socket.poll_sendable(cx, UNSENT_MAX))
                .await
                .map_err(|e| Failure::from(backend.lost(&e.to_string())))?;
        }
    }
}
