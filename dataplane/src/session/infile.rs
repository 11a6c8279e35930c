//! LOAD DATA LOCAL: the client's file goes to the backend packet by packet.
use super::{Failure, Outcome, Session};
use crate::link::UNSENT_MAX;
use crate::pool::Backend;
use crate::ring::Buf;
use coregate_protocol::frame;
use std::future::poll_fn;

impl Session {
    /// Relays a file; `from` and `to` are the sequence ids of its first packet, as the client
    /// counts and as the server does: they differ where the client's packet held other statements
    /// before. Returns those of the last packet, the empty one.
    pub(super) async fn relay_file(
        &mut self,
        backend: &mut Backend,
        from: u8,
        to: u8,
    ) -> Outcome<(u8, u8)> {
        let (mut from, mut to) = (from, to);
        loop {
            let Ok(Some(packet)) = self.client.stream.packet(from).await else {
                return Err(Failure::Close);
            };
            let last = packet.payload().is_empty();
            let mut wire = Vec::with_capacity(packet.payload().len() + 4);
            let mut next = to;
            frame::write_packet(&mut wire, &mut next, packet.payload());
            backend.stream.link.send(Buf::from(wire));
            if last {
                return Ok((from, to));
            }
            from = from.wrapping_add(next.wrapping_sub(to));
            to = next;
            let socket = &backend.stream.link.socket;
            poll_fn(|cx| socket.poll_sendable(cx, UNSENT_MAX))
                .await
                .map_err(|e| Failure::from(backend.lost(&e.to_string())))?;
        }
    }
}
