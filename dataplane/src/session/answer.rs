//! Answers that the session gives itself.
use super::Session;
use crate::link::Packet;
use crate::ring::Buf;
use coregate_planner::control::SqlError;
use coregate_planner::raw;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{ErrPacket, OkPacket, SessionChanges, encode_rows_end};
use coregate_protocol::{Capabilities, Status, codec, row};

/// Where an answer stands in the conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Sequence id of its next packet.
    pub(super) seq: u8,
    /// More results follow (the statement is not the last of its packet).
    pub(super) more: bool,
    /// Rows in the binary protocol.
    pub(super) binary: bool,
    /// The client has asked for a cursor.
    pub(super) cursor: bool,
    /// An empty one has been opened: its rows are still to be fetched.
    pub(super) empty_cursor: bool,
    /// Rows of SHOW VARIABLES: where clients connect to is told as of this side.
    pub(super) variables: bool,
}

impl Answer {
    /// The only answer to a command.
    pub(super) fn first() -> Self {
        Self {
            seq: 1,
            more: false,
            binary: false,
            cursor: false,
            empty_cursor: false,
            variables: false,
        }
    }

    /// The same, to a packet of the client's: behind its last chunk.
    #[inline]
    pub(super) fn to(packet: &Packet) -> Self {
        Self { seq: packet.seq.wrapping_add(1), ..Self::first() }
    }

    /// Said without being asked, before the connection is closed.
    pub(super) fn unasked() -> Self {
        Self { seq: 0, ..Self::first() }
    }

    /// May a backend's answer, whose packets count from `from`, go through byte for byte?
    #[inline]
    pub(super) fn is_plain(&self, from: u8) -> bool {
        self.seq == from && !self.more && !self.variables
    }

    /// Clients that ask for a cursor take the first packet behind the columns for the columns' end,
    /// not the rows', where both look alike (DEPRECATE_EOF): a result without rows must be a
    /// cursor, as it is from a server.
    pub(super) fn opens_empty_cursor(&mut self, capabilities: Capabilities) -> bool {
        self.empty_cursor = self.cursor && capabilities.contains(Capabilities::DEPRECATE_EOF);
        self.empty_cursor
    }

    pub(super) fn flags(&self) -> Status {
        if self.more { Status::MORE_RESULTS } else { Status::empty() }
    }
}

/// A statement without rows is done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done<'a> {
    pub(super) affected_rows: u64,
    pub(super) last_insert_id: u64,
    pub(super) warnings: u16,
    pub(super) info: &'a [u8],
    /// Changes of the session's state, for clients that track it.
    pub(super) session: &'a [u8],
}

impl Session {
    pub(super) fn send_ok(&mut self, answer: &mut Answer, done: Done<'_>) {
        let ok = OkPacket {
            affected_rows: done.affected_rows,
            last_insert_id: done.last_insert_id,
            status: self.status() | answer.flags(),
            warnings: done.warnings,
            info: done.info,
            session: SessionChanges::new(done.session),
        };
        let mut out = Vec::with_capacity(32);
        let capabilities = self.client.capabilities;
        PacketWriter::new(&mut out, &mut answer.seq).packet(|w| ok.encode(capabilities, w));
        self.client.stream.link.send(Buf::from(out));
    }

    pub(super) fn send_error(&mut self, answer: &mut Answer, error: &SqlError) {
        let mut out = Vec::with_capacity(error.message.len() + 16);
        let message = raw::to_bytes(&error.message);
        let packet = ErrPacket { code: error.code, sqlstate: error.sqlstate, message: &message };
        let capabilities = self.client.capabilities;
        PacketWriter::new(&mut out, &mut answer.seq).packet(|w| packet.encode(capabilities, w));
        self.client.stream.link.send(Buf::from(out));
    }

    /// A result of strings.
    pub(super) fn send_rows<S: AsRef<[u8]>>(
        &mut self,
        answer: &mut Answer,
        columns: &[&str],
        rows: &[Vec<Option<S>>],
    ) {
        let columns: Vec<_> = columns.iter().map(|name| text_column(name)).collect();
        self.send_result(answer, &columns, rows);
    }

    pub(super) fn send_result<S: AsRef<[u8]>>(
        &mut self,
        answer: &mut Answer,
        columns: &[ColumnDefinition<'_>],
        rows: &[Vec<Option<S>>],
    ) {
        let capabilities = self.client.capabilities;
        let mut end = OkPacket { status: self.status() | answer.flags(), ..OkPacket::default() };
        if rows.is_empty() && answer.opens_empty_cursor(capabilities) {
            end.status |= Status::CURSOR_EXISTS;
        }
        let mut out = Vec::new();
        let binary = answer.binary;
        let mut writer = PacketWriter::new(&mut out, &mut answer.seq);
        writer.packet(|w| codec::put_lenenc_int(w, columns.len() as u64));
        for column in columns {
            writer.packet(|w| column.encode(capabilities, w));
        }
        if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
            writer.packet(|w| encode_rows_end(&end, capabilities, w));
        }
        for cells in rows {
            writer.packet(|w| {
                if binary { put_binary(w, columns, cells) } else { put_strings(w, cells) }
            });
        }
        writer.packet(|w| encode_rows_end(&end, capabilities, w));
        self.client.stream.link.send(Buf::from(out));
    }
}

/// A column of text; were its collation the binary one, drivers would give bytes.
pub(super) fn text_column(name: &str) -> ColumnDefinition<'_> {
    const UTF8MB4_GENERAL_CI: u16 = 45;
    let column = ColumnDefinition::expression(name.as_bytes(), ColumnType::VAR_STRING);
    ColumnDefinition { collation: UTF8MB4_GENERAL_CI, length: 1024, ..column }
}

/// A column of bytes.
pub(super) fn binary_column(name: &str) -> ColumnDefinition<'_> {
    const BINARY: u16 = 63;
    let column = ColumnDefinition::expression(name.as_bytes(), ColumnType::VAR_STRING);
    ColumnDefinition { collation: BINARY, length: 1024, flags: ColumnFlags::BINARY, ..column }
}

fn put_strings<S: AsRef<[u8]>>(out: &mut Vec<u8>, cells: &[Option<S>]) {
    for cell in cells {
        row::put_text(out, cell.as_ref().map(AsRef::as_ref));
    }
}

/// A binary row: a zero, the NULL bitmap (shifted by two bits), the values. Numbers are given as
/// text.
fn put_binary<S: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    columns: &[ColumnDefinition<'_>],
    cells: &[Option<S>],
) {
    out.push(0);
    let bitmap_at = out.len();
    out.resize(bitmap_at + (cells.len() + 9) / 8, 0);
    for (i, (cell, column)) in cells.iter().zip(columns).enumerate() {
        let Some(bytes) = cell.as_ref().map(AsRef::as_ref) else {
            if let Some(byte) = out.get_mut(bitmap_at + (i + 2) / 8) {
                *byte |= 1 << ((i + 2) % 8);
            }
            continue;
        };
        let number = || {
            std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
        };
        match column.column_type {
            ColumnType::LONG => {
                out.extend_from_slice(&(number().unwrap_or(0) as i32).to_le_bytes())
            }
            ColumnType::LONGLONG => out.extend_from_slice(&number().unwrap_or(0).to_le_bytes()),
            _ => codec::put_lenenc_bytes(out, bytes),
        }
    }
}
