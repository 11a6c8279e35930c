//! Which packet may come when.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>,
//! <https://mariadb.com/kb/en/result-set-packets/>

use super::{FeedState, HEAD_MAX, ResponseKind, Summary};
use crate::capability::{Capabilities, Status};
use crate::codec::{NULL_MARK, Reader};
use crate::error::ProtocolError;
use crate::frame::{HEADER_LEN, Header};
use crate::response::{EofPacket, ErrPacket, OkPacket, PrepareOk, Progress, SessionChanges};

/// Shortest OK packet under the first byte 0xFE; anything shorter is an EOF.
const OK_LEN_MIN: usize = 7;

/// What a chunk is within an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketRole {
    /// Number of columns of a result; the definitions follow if `definitions`.
    ColumnCount {
        /// Number of columns.
        columns: u16,
        /// Whether definitions follow.
        definitions: bool,
    },
    /// Definition of a column.
    ColumnDef,
    /// EOF after the columns.
    ColumnsEof,
    /// Goes on with the packet of the chunk before.
    Continuation,
    /// The answer ends with an error.
    Err,
    /// The server waits for a file.
    LocalInfile,
    /// A result without rows, or the answer to a simple command.
    Ok,
    /// Definition of a parameter.
    ParamDef,
    /// EOF after the parameters.
    ParamsEof,
    /// First packet of the answer to COM_STMT_PREPARE.
    PrepareOk,
    /// Progress report: belongs to nothing.
    Progress,
    /// A row.
    Row,
    /// EOF or OK after the rows.
    RowsEnd,
    /// Text of COM_STATISTICS.
    Text,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// First packet of a result.
    Start,
    Columns(u16),
    ColumnsEof,
    Rows,
    Params(u16),
    ParamsEof,
    PreparedColumns(u16),
    PreparedColumnsEof,
    Fields,
    Text,
    /// The file is to be sent; then an OK or an ERR comes.
    Infile,
    Done,
}

/// Walks over the answer to one command.
#[derive(Clone, Debug)]
pub struct ResponseWalker {
    kind: ResponseKind,
    phase: Phase,
    deprecate_eof: bool,
    optional_definitions: bool,
    checks_order: bool,
    caps: Capabilities,
    /// The last chunk was a full one: the next belongs to the same packet.
    continued: bool,
    /// Sequence id of the next chunk, once one has been seen.
    next_seq: Option<u8>,
    pub(super) summary: Summary,
    /// Bytes of the current chunk that `feed` has yet to hop over.
    pub(super) skip: usize,
    /// First bytes of a chunk that was cut within them.
    pub(super) held: [u8; HEADER_LEN + HEAD_MAX],
    pub(super) held_len: usize,
    pub(super) session: super::session::Collector,
}

impl ResponseWalker {
    /// Walks over the answer to a command of this kind, on a connection where both sides use these
    /// capabilities.
    pub fn new(kind: ResponseKind, caps: Capabilities) -> Self {
        let phase = match kind {
            ResponseKind::Fetch => Phase::Rows,
            ResponseKind::FieldList => Phase::Fields,
            ResponseKind::None => Phase::Done,
            ResponseKind::Statistics => Phase::Text,
            ResponseKind::Cursor
            | ResponseKind::Execute
            | ResponseKind::Prepare
            | ResponseKind::Query
            | ResponseKind::Simple => Phase::Start,
        };
        Self {
            kind,
            phase,
            deprecate_eof: caps.contains(Capabilities::DEPRECATE_EOF),
            optional_definitions: caps.intersects(
                Capabilities::OPTIONAL_RESULTSET_METADATA | Capabilities::MARIADB_CACHE_METADATA,
            ),
            // Under compression servers set the id to the compressed packet's at each flush, which
            // is no order.
            checks_order: !caps.intersects(Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION),
            caps,
            continued: false,
            next_seq: None,
            summary: Summary::default(),
            skip: 0,
            held: [0; HEADER_LEN + HEAD_MAX],
            held_len: 0,
            session: super::session::Collector::default(),
        }
    }

    /// What was learnt so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// How far the answer has come.
    #[inline]
    pub fn state(&self) -> FeedState {
        if self.skip > 0 || self.continued || self.held_len > 0 {
            return FeedState::More;
        }
        match self.phase {
            Phase::Done => FeedState::Done,
            Phase::Infile => FeedState::LocalInfile,
            _ => FeedState::More,
        }
    }

    /// Whether not one byte of the answer has come.
    pub fn is_untouched(&self) -> bool {
        self.next_seq.is_none() && self.held_len == 0
    }

    /// Whether the walker stands between two packets, where another packet may be put into the
    /// stream.
    pub fn at_packet_end(&self) -> bool {
        self.skip == 0 && !self.continued && self.held_len == 0
    }

    /// Sequence id of the next chunk; 1 if none has come.
    pub fn next_seq(&self) -> u8 {
        self.next_seq.unwrap_or(1)
    }

    /// Tells that the file asked for has been sent, the last packet (the empty one) with sequence
    /// id `last_seq`.
    pub fn infile_sent(&mut self, last_seq: u8) {
        if self.phase == Phase::Infile {
            self.phase = Phase::Start;
            self.next_seq = Some(last_seq.wrapping_add(1));
        }
    }

    /// Changes of the session's state that all results together told, as far as
    /// [`feed`](Self::feed) saw them.
    pub fn session_changes(&self) -> SessionChanges<'_> {
        self.session.changes()
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.caps
    }

    /// Whether only rows, and what ends them, may come.
    #[inline]
    pub fn in_rows(&self) -> bool {
        self.phase == Phase::Rows && !self.continued
    }

    /// How many bytes of the chunk's payload [`step`](Self::step) wants to see, given the first if
    /// it is there.
    #[inline]
    pub fn head_needed(&self, header: Header, first: Option<u8>) -> usize {
        if self.continued {
            return 0;
        }
        let wanted = match (self.phase, first) {
            (_, Some(ErrPacket::HEADER)) => HEAD_MAX,
            (Phase::Rows | Phase::Fields, Some(EofPacket::HEADER)) => HEAD_MAX,
            (
                Phase::Rows
                | Phase::Fields
                | Phase::Columns(_)
                | Phase::Params(_)
                | Phase::PreparedColumns(_)
                | Phase::Text,
                _,
            ) => 1,
            _ => HEAD_MAX,
        };
        wanted.min(header.len as usize)
    }

    #[inline]
    pub(super) fn check_seq(&mut self, got: u8) -> Result<(), ProtocolError> {
        if let Some(expected) = self.next_seq
            && expected != got
            && self.checks_order
        {
            return Err(ProtocolError::OutOfOrder { expected, got });
        }
        self.next_seq = Some(got.wrapping_add(1));
        Ok(())
    }

    /// Takes the next chunk: its header, and at least [`head_needed`](Self::head_needed) bytes of
    /// its payload.
    ///
    /// # Errors
    /// `OutOfOrder`, `UnexpectedPacket`, `Truncated`, `Malformed`: the server does not speak the
    /// protocol, or the walker was told the wrong kind or capabilities. [`ProtocolError::Misuse`]
    /// if the answer is over.
    pub fn step(&mut self, header: Header, head: &[u8]) -> Result<PacketRole, ProtocolError> {
        self.check_seq(header.seq)?;
        let continuation = self.continued;
        self.continued = header.is_continued();
        if continuation {
            return Ok(PacketRole::Continuation);
        }
        if head.first() == Some(&ErrPacket::HEADER) {
            if Progress::is(head) {
                return Ok(PacketRole::Progress);
            }
            self.summary.end_by_error(&ErrPacket::parse(head)?);
            self.phase = Phase::Done;
            return Ok(PacketRole::Err);
        }
        let ends = head.first() == Some(&EofPacket::HEADER) && self.can_end(header);
        match self.phase {
            Phase::Rows if ends => {
                let status = self.end_of_result(header, head)?;
                self.next_result(status);
                Ok(PacketRole::RowsEnd)
            }
            Phase::Rows => {
                self.summary.rows += 1;
                Ok(PacketRole::Row)
            }
            Phase::Columns(left) => {
                self.phase = if left > 1 { Phase::Columns(left - 1) } else { self.after_columns() };
                Ok(PacketRole::ColumnDef)
            }
            Phase::ColumnsEof => {
                let eof = EofPacket::parse(head)?;
                self.summary.note_status(eof.status, eof.warnings);
                let cursor = opens_cursor(self.kind, eof.status);
                self.phase = if cursor { Phase::Done } else { Phase::Rows };
                Ok(PacketRole::ColumnsEof)
            }
            Phase::Start if self.kind == ResponseKind::Prepare => self.prepared(head),
            Phase::Start => self.start(header, head),
            Phase::Params(left) => {
                self.phase = if left > 1 { Phase::Params(left - 1) } else { self.after_params() };
                Ok(PacketRole::ParamDef)
            }
            Phase::ParamsEof => {
                EofPacket::parse(head)?;
                self.phase = self.prepared_columns();
                Ok(PacketRole::ParamsEof)
            }
            Phase::PreparedColumns(left) => {
                self.phase = match left {
                    2.. => Phase::PreparedColumns(left - 1),
                    _ if self.deprecate_eof => Phase::Done,
                    _ => Phase::PreparedColumnsEof,
                };
                Ok(PacketRole::ColumnDef)
            }
            Phase::PreparedColumnsEof => {
                EofPacket::parse(head)?;
                self.phase = Phase::Done;
                Ok(PacketRole::ColumnsEof)
            }
            Phase::Fields if ends => {
                self.end_of_result(header, head)?;
                self.phase = Phase::Done;
                Ok(PacketRole::ColumnsEof)
            }
            Phase::Fields => Ok(PacketRole::ColumnDef),
            Phase::Text => {
                self.phase = Phase::Done;
                Ok(PacketRole::Text)
            }
            Phase::Infile | Phase::Done => {
                Err(ProtocolError::Misuse("packet after the end of an answer"))
            }
        }
    }

    /// Whether a packet that begins with 0xFE ends rows. Otherwise it is a row whose first column
    /// is huge, which cannot be a short packet.
    fn can_end(&self, header: Header) -> bool {
        if self.deprecate_eof {
            !header.is_continued()
        } else {
            (header.len as usize) < EofPacket::LEN_LIMIT
        }
    }

    fn start(&mut self, header: Header, head: &[u8]) -> Result<PacketRole, ProtocolError> {
        let waiting_for = "answer";
        let first = *head.first().ok_or(ProtocolError::Truncated(waiting_for))?;
        let simple = self.kind == ResponseKind::Simple;
        match first {
            OkPacket::HEADER => {
                let status = self.end_of_result(header, head)?;
                self.next_result(status);
                Ok(PacketRole::Ok)
            }
            EofPacket::HEADER if simple => {
                self.end_of_result(header, head)?;
                self.phase = Phase::Done;
                Ok(PacketRole::Ok)
            }
            _ if simple => Err(ProtocolError::UnexpectedPacket { waiting_for, head: first }),
            NULL_MARK => {
                self.phase = Phase::Infile;
                Ok(PacketRole::LocalInfile)
            }
            _ => self.column_count(head),
        }
    }

    /// The flag that tells whether definitions follow comes after the number, or else a result
    /// without definitions would begin as an OK packet does.
    fn column_count(&mut self, head: &[u8]) -> Result<PacketRole, ProtocolError> {
        let mut r = Reader::new(head);
        let columns = r.lenenc_int("number of columns")?;
        let columns =
            u16::try_from(columns).map_err(|_| ProtocolError::Malformed("number of columns"))?;
        let definitions = !(self.optional_definitions && r.u8("definitions flag") == Ok(0));
        self.summary.columns = columns;
        self.phase =
            if definitions && columns > 0 { Phase::Columns(columns) } else { self.after_columns() };
        Ok(PacketRole::ColumnCount { columns, definitions })
    }

    fn prepared(&mut self, head: &[u8]) -> Result<PacketRole, ProtocolError> {
        let ok = PrepareOk::parse(head, self.caps)?;
        self.summary.prepare = Some(ok);
        self.summary.columns = ok.columns;
        self.summary.warnings = ok.warnings;
        self.phase = match ok.params {
            _ if !ok.metadata_follows => Phase::Done,
            0 => self.prepared_columns(),
            params => Phase::Params(params),
        };
        Ok(PacketRole::PrepareOk)
    }

    fn after_params(&self) -> Phase {
        if self.deprecate_eof { self.prepared_columns() } else { Phase::ParamsEof }
    }

    fn prepared_columns(&self) -> Phase {
        match self.summary.columns {
            0 => Phase::Done,
            columns => Phase::PreparedColumns(columns),
        }
    }

    fn after_columns(&self) -> Phase {
        if self.deprecate_eof { Phase::Rows } else { Phase::ColumnsEof }
    }

    /// Reads the numbers of an OK or an EOF.
    fn end_of_result(&mut self, header: Header, head: &[u8]) -> Result<Status, ProtocolError> {
        let short = (header.len as usize) < OK_LEN_MIN;
        let ok = if head.first() == Some(&EofPacket::HEADER) && (short || !self.deprecate_eof) {
            let EofPacket { warnings, status } = EofPacket::parse(head)?;
            OkPacket { warnings, status, ..OkPacket::default() }
        } else {
            OkPacket::read_head(&mut Reader::new(head))?
        };
        self.summary.end_of_result(&ok);
        let tracks = self.caps.contains(Capabilities::SESSION_TRACK);
        if tracks && ok.status.contains(Status::SESSION_STATE_CHANGED) && !short {
            self.session.begin();
        }
        Ok(ok.status)
    }

    fn next_result(&mut self, status: Status) {
        let has_more =
            matches!(self.kind, ResponseKind::Query | ResponseKind::Execute | ResponseKind::Cursor)
                && status.contains(Status::MORE_RESULTS);
        self.phase = if has_more { Phase::Start } else { Phase::Done };
    }
}

/// Is this the end of columns without rows, which are fetched later? The results of a CALL are no
/// cursors, though MariaDB leaves the flag of one that the routine itself has opened.
pub(crate) fn opens_cursor(kind: ResponseKind, status: Status) -> bool {
    kind == ResponseKind::Cursor
        && status.contains(Status::CURSOR_EXISTS)
        && !status.contains(Status::MORE_RESULTS)
}
