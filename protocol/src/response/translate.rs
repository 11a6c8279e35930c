//! Answers of servers that cannot do what a client can: servers before MySQL 5.7 and MariaDB 10.2
//! end rows by EOF packets, and their OK packets tell no session state; those that are not MariaDB
//! 10.5 know no extended types of columns. Only those packets differ, so that rows pass as they
//! are.

use super::{EofPacket, OkPacket};
use crate::capability::Capabilities;
use crate::column::ColumnDefinition;
use crate::error::ProtocolError;
use crate::walker::{PacketRole, ResponseKind, opens_cursor};

/// How a packet of a server looks to a client that can do more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translated {
    /// As it came.
    Same,
    /// The client's form of an answer has no such packet.
    Left,
    /// What was appended.
    Rewritten,
}

/// Translates one packet of an answer from a server of the capabilities `from` for a client of the
/// capabilities `to`, which has all those of `from` that shape answers.
///
/// # Errors
/// The packet is not what its role says.
pub fn translate(
    kind: ResponseKind,
    role: PacketRole,
    payload: &[u8],
    from: Capabilities,
    to: Capabilities,
    out: &mut Vec<u8>,
) -> Result<Translated, ProtocolError> {
    let eof_goes =
        to.contains(Capabilities::DEPRECATE_EOF) && !from.contains(Capabilities::DEPRECATE_EOF);
    let extended = Capabilities::MARIADB_EXTENDED_METADATA;
    let types_come = to.contains(extended) && !from.contains(extended);
    match role {
        PacketRole::Ok if payload.first() == Some(&OkPacket::HEADER) => {
            OkPacket::parse(payload, from)?.encode(to, out);
            Ok(Translated::Rewritten)
        }
        PacketRole::ParamsEof if eof_goes => Ok(Translated::Left),
        PacketRole::ColumnsEof | PacketRole::RowsEnd if eof_goes => {
            let EofPacket { warnings, status } = EofPacket::parse(payload)?;
            // Behind columns it ends the answer where no rows follow.
            let ends = role == PacketRole::RowsEnd
                || kind == ResponseKind::FieldList
                || opens_cursor(kind, status);
            if !ends {
                return Ok(Translated::Left);
            }
            OkPacket { warnings, status, ..OkPacket::default() }.encode_rows_end(to, out);
            Ok(Translated::Rewritten)
        }
        PacketRole::ColumnDef | PacketRole::ParamDef if types_come => {
            ColumnDefinition::parse(payload, from)?.encode(to, out);
            Ok(Translated::Rewritten)
        }
        _ => Ok(Translated::Same),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{PacketWriter, split};
    use crate::walker::{FeedState, ResponseWalker};

    const OLD: Capabilities = Capabilities::PROTOCOL_41;
    const NEW: Capabilities = OLD
        .union(Capabilities::DEPRECATE_EOF)
        .union(Capabilities::SESSION_TRACK);

    /// Translates a whole answer, and checks that a walker of the client's kind finds its end
    /// exactly there.
    fn translated(kind: ResponseKind, packets: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut from = ResponseWalker::new(kind, OLD);
        let (mut wire, mut seq, mut all) = (Vec::new(), 1, Vec::new());
        for (n, packet) in packets.iter().enumerate() {
            let header = crate::frame::Header { len: packet.len() as u32, seq: n as u8 + 1 };
            let role = from.step(header, packet).unwrap();
            let mut out = Vec::new();
            let payload = match translate(kind, role, packet, OLD, NEW, &mut out).unwrap() {
                Translated::Same => packet.to_vec(),
                Translated::Left => continue,
                Translated::Rewritten => out,
            };
            PacketWriter::new(&mut wire, &mut seq).packet(|w| w.extend_from_slice(&payload));
            all.push(payload);
        }
        assert_eq!(from.state(), FeedState::Done);
        let mut to = ResponseWalker::new(kind, NEW);
        let feed = to.feed(&wire).unwrap();
        assert_eq!((feed.consumed, feed.state), (wire.len(), FeedState::Done));
        assert_eq!(to.summary().status, from.summary().status);
        assert_eq!(to.summary().warnings, from.summary().warnings);
        assert!(split(&wire, 1 << 20).unwrap().is_some());
        all
    }

    const EOF: &[u8] = b"\xFE\x01\0\x02\0";
    const OPENED: &[u8] = b"\xFE\x01\0\x42\0";
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0C\x21\0\x01\0\0\0\x08\0\0\0\0\0";
    const ROWS_END: &[u8] = b"\xFE\0\0\x02\0\x01\0";

    #[test]
    fn rows_end_by_ok_and_columns_by_nothing() {
        let row = b"\x011".as_slice();
        let all = translated(ResponseKind::Query, &[b"\x01", COLUMN, EOF, row, row, EOF]);
        assert_eq!(all, [b"\x01".as_slice(), COLUMN, row, row, ROWS_END]);
    }

    #[test]
    fn the_text_of_an_ok_gets_its_length() {
        let all = translated(ResponseKind::Query, &[b"\0\x01\x05\x02\0\0\0Rows matched: 1"]);
        assert_eq!(all, [b"\0\x01\x05\x02\0\0\0\x0FRows matched: 1".as_slice()]);
    }

    #[test]
    fn columns_get_extended_types() {
        let extended = NEW.union(Capabilities::MARIADB_EXTENDED_METADATA);
        let mut out = Vec::new();
        for role in [PacketRole::ColumnDef, PacketRole::ParamDef] {
            out.clear();
            let done = translate(ResponseKind::Query, role, COLUMN, NEW, extended, &mut out);
            assert_eq!(done.unwrap(), Translated::Rewritten);
            assert_eq!(out, b"\x03def\0\0\0\x01a\0\0\x0C\x21\0\x01\0\0\0\x08\0\0\0\0\0");
            let same =
                translate(ResponseKind::Query, role, &out.clone(), extended, extended, &mut out);
            assert_eq!(same.unwrap(), Translated::Same);
        }
    }

    #[test]
    fn preparations_cursors_and_fields() {
        let ok = b"\0\x07\0\0\0\x01\0\x01\0\0\0\0".as_slice();
        let all = translated(ResponseKind::Prepare, &[ok, COLUMN, EOF, COLUMN, EOF]);
        assert_eq!(all, [ok, COLUMN, COLUMN]);
        let opened = translated(ResponseKind::Cursor, &[b"\x01", COLUMN, OPENED]);
        assert_eq!(opened, [b"\x01".as_slice(), COLUMN, b"\xFE\0\0\x42\0\x01\0"]);
        assert_eq!(translated(ResponseKind::FieldList, &[COLUMN, EOF]), [COLUMN, ROWS_END]);
        assert_eq!(
            translated(ResponseKind::Fetch, &[b"\0\0\x01", EOF]),
            [b"\0\0\x01".as_slice(), ROWS_END]
        );
    }
}
