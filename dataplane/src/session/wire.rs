//! A statement as it goes to one server.
use super::plan::RowsAt;
use crate::cache::CachedPlan;
use crate::link::Packet;
use crate::ring::Buf;
use coregate_protocol::command::com;
use coregate_protocol::command::encode as commands;
use coregate_protocol::frame;
use std::rc::Rc;

/// Bytes of COM_QUERY before the text. Clients are not offered query attributes, so there is
/// nothing else.
pub(super) const TEXT_AT: usize = 1;

/// What goes to one server.
pub(super) enum Wire {
    /// The client's own packet.
    Packet(Packet),
    /// The client's own packet, an INSERT of rows.
    Rows(Packet, RowsAt, Rc<CachedPlan>),
    Payload(Vec<u8>),
}

impl Wire {
    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Packet(packet) | Self::Rows(packet, ..) => packet.payload(),
            Self::Payload(payload) => payload,
        }
    }

    pub(super) fn into_buf(self) -> Buf {
        match self {
            Self::Packet(packet) | Self::Rows(packet, ..) => packet.into_wire(),
            Self::Payload(payload) => Buf::from(frame::into_packet(payload, 0)),
        }
    }
}

pub(super) fn query_payload(sql: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(sql.len() + 1);
    commands::query(&mut payload, coregate_protocol::Capabilities::empty(), sql);
    payload
}

/// As [`query_payload`], in the text's own memory.
pub(super) fn into_query(mut sql: Vec<u8>) -> Vec<u8> {
    sql.insert(0, com::QUERY);
    sql
}
