//! SHOW WARNINGS behind a pool: the next statement may run on another connection, so warnings are
//! fetched while the connection that has them is still at hand, and kept by the session until its
//! next statement.
use super::answer::{Answer, text_column};
use super::{Outcome, Session};
use crate::pool::Backend;
use coregate_planner::control::SqlError;
use coregate_planner::plan::{Effects, Plan, WarningsKind};
use coregate_planner::raw;
use coregate_protocol::Capabilities;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use coregate_protocol::frame;
use coregate_protocol::response::ErrPacket;
use coregate_protocol::row::TextRow;
use coregate_protocol::walker::{PacketRole, ResponseKind, ResponseWalker};
use std::borrow::Cow;

/// Warnings kept; MySQL's max_error_count is 64 by default.
const WARNINGS_MAX: usize = 64;
/// Bytes of a SHOW WARNINGS that are looked at.
const BYTES_MAX: usize = 256 << 10;

/// Warnings that are errors in MySQL's strict modes; in MariaDB's, all are.
const MYSQL_STRICT: [u16; 10] = [1260, 1264, 1265, 1292, 1365, 1366, 1406, 1411, 1441, 3020];

const DIVISION_BY_ZERO: u16 = 1365;

/// Decimals of a text's column, in MariaDB.
const NOT_FIXED: u8 = 39;
/// The same in MySQL.
const NOT_FIXED_MYSQL: u8 = 31;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Warnings {
    /// Level, code, message.
    rows: Vec<(String, u16, String)>,
    /// What the server counted.
    count: u64,
    errors: u64,
}

impl Warnings {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Is one of them about a row? Each row's may read the same. One about a value is about the
    /// statement where its text has the value.
    pub(super) fn are_of_rows(&self, statement: &[u8]) -> bool {
        let in_statement = |value: &str| {
            let value = value.as_bytes();
            !value.is_empty() && statement.windows(value.len()).any(|part| part == value)
        };
        let of_row = |(_, code, text): &(String, u16, String)| {
            let value = text
                .rsplit_once(": '")
                .and_then(|(_, value)| value.strip_suffix('\''));
            *code == DIVISION_BY_ZERO
                || text.contains(" at row ")
                || value.is_some_and(|value| !in_statement(&format!("'{value}'")))
        };
        self.rows.iter().any(of_row)
    }
}

impl Session {
    #[inline]
    pub(super) fn warnings_are_empty(&self) -> bool {
        self.last.warnings.is_none()
    }

    #[cold]
    pub(super) fn clear_warnings(&mut self) {
        self.last.warnings = None;
    }

    pub(super) fn count_of_warnings(&self, errors_only: bool) -> u64 {
        let warnings = self.last.warnings.as_deref();
        warnings.map_or(0, |w| if errors_only { w.errors } else { w.count })
    }

    pub(super) fn note(&mut self, code: u16, message: &str) {
        let rows = vec![("Note".into(), code, message.to_owned())];
        self.last.warnings = Some(Box::new(Warnings { rows, count: 1, errors: 0 }));
    }

    /// One more, of a statement that goes on.
    #[cold]
    pub(super) fn add_warning(&mut self, code: u16, message: &str) {
        let warnings = self.last.warnings.get_or_insert_default();
        if warnings.rows.len() < WARNINGS_MAX {
            warnings
                .rows
                .push(("Warning".into(), code, message.to_owned()));
        }
        warnings.count += 1;
    }

    pub(super) fn note_error(&mut self, error: &SqlError) {
        let warnings = self.last.warnings.get_or_insert_default();
        warnings.rows = vec![("Error".into(), error.code, error.message.clone())];
        warnings.count = 1;
        warnings.errors = 1;
    }

    /// An error that was relayed. Its packet ends these bytes, behind columns and rows at most;
    /// where they begin within a row, it is not found.
    #[cold]
    pub(super) fn note_error_packet(&mut self, wire: &[u8]) {
        let (mut rest, mut last) = (wire, None);
        while let Ok(Some((packet, consumed))) = frame::split(rest, usize::MAX) {
            last = Some(packet.payload);
            rest = rest.get(consumed..).unwrap_or_default();
        }
        if let Some(error) =
            last.filter(|p| rest.is_empty() && p.first() == Some(&ErrPacket::HEADER))
        {
            self.note_error(&super::scatter::error_of(error));
        }
    }

    /// Reads the warnings of the statement that has just been answered; the client waits for
    /// nothing.
    #[cold]
    pub(super) async fn fetch_warnings(&mut self, backend: &mut Backend) {
        let core = self.core.clone();
        let mut bytes = Vec::new();
        let payload = super::wire::query_payload(b"SHOW WARNINGS");
        let see = |part: &[u8]| {
            if bytes.len() < BYTES_MAX {
                bytes.extend_from_slice(part);
            }
        };
        // A connection that fails here is found out when it is given back.
        if backend
            .run(&core, &payload, ResponseKind::Query, see)
            .await
            .is_err()
        {
            return;
        }
        let rows: Vec<_> = rows_of(&bytes, backend.capabilities)
            .take(WARNINGS_MAX)
            .collect();
        let errors = rows.iter().filter(|(level, ..)| level == "Error").count() as u64;
        self.last.warnings = Some(Box::new(Warnings { count: rows.len() as u64, errors, rows }));
    }

    /// The same for one of several servers: those of the others stay.
    #[cold]
    pub(super) async fn fetch_more_warnings(&mut self, backend: &mut Backend) {
        let before = self.last.warnings.take();
        self.fetch_warnings(backend).await;
        let more = self.last.warnings.take();
        self.last.warnings = before;
        self.join_warnings(more);
    }

    /// Adds those of one server.
    pub(super) fn join_warnings(&mut self, more: Option<Box<Warnings>>) {
        let Some(more) = more else { return };
        let Some(all) = &mut self.last.warnings else {
            self.last.warnings = Some(more);
            return;
        };
        all.count += more.count;
        all.errors += more.errors;
        all.rows.extend(more.rows);
        all.rows.truncate(WARNINGS_MAX);
    }

    /// The first warning of what a step has read, as the error that one server makes of it where
    /// values are written in a strict mode.
    #[cold]
    pub(super) fn strict_error(&self) -> Option<SqlError> {
        let mysql = !self.core.is_mariadb();
        let rows = &self.last.warnings.as_ref()?.rows;
        let found = rows
            .iter()
            .find(|(level, code, _)| level == "Warning" && (!mysql || MYSQL_STRICT.contains(code)));
        let (_, code, message) = found?;
        let sqlstate = match code {
            1264 => b"22003",
            1265 => b"01000",
            1292 | 1366 => b"22007",
            1365 => b"22012",
            _ => b"HY000",
        };
        Some(SqlError { code: *code, sqlstate: *sqlstate, message: message.clone() })
    }

    /// Before a statement: MariaDB leaves the last one's warnings where they are if it has no
    /// tables.
    #[inline]
    pub(super) fn begin_warnings(&mut self, plan: &Plan) {
        if !self.warnings_are_empty()
            && (!plan.effects.contains(Effects::NO_TABLES) || !self.core.is_mariadb())
        {
            self.clear_warnings();
        }
    }

    pub(super) fn show_warnings(
        &mut self,
        kind: WarningsKind,
        count_only: bool,
        offset: u64,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Outcome {
        let errors_only = kind == WarningsKind::Errors;
        let warnings = self.last.warnings.take();
        let known = warnings.as_deref();
        if count_only {
            let name =
                if errors_only { "@@session.error_count" } else { "@@session.warning_count" };
            let count = known.map_or(0, |w| if errors_only { w.errors } else { w.count });
            let flags = ColumnFlags::UNSIGNED | ColumnFlags::BINARY;
            let number = ColumnDefinition::expression(name.as_bytes(), ColumnType::LONGLONG);
            let column = ColumnDefinition { length: 21, flags, ..number };
            self.send_result(answer, &[column], &[vec![Some(count.to_string())]]);
        } else {
            let rows = known.map_or(&[][..], |w| w.rows.as_slice());
            let picked = rows
                .iter()
                .filter(|(level, ..)| !errors_only || level == "Error");
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let take = limit
                .and_then(|l| usize::try_from(l).ok())
                .unwrap_or(usize::MAX);
            let cells: Vec<Vec<Option<Cow<'_, [u8]>>>> = picked
                .skip(skip)
                .take(take)
                .map(|(level, code, message)| {
                    let code = Cow::Owned(code.to_string().into_bytes());
                    vec![Some(level.as_bytes().into()), Some(code), Some(raw::to_bytes(message))]
                })
                .collect();
            // MySQL names the client's own collation, and has a digit more.
            let (collation, decimals, digits) = match self.core.is_mariadb() {
                true => (None, NOT_FIXED, 4),
                false => (Some(self.state.settings.collation), NOT_FIXED_MYSQL, 5),
            };
            let text = |name, length| {
                let plain = text_column(name);
                let (collation, flags) =
                    (collation.unwrap_or(plain.collation), ColumnFlags::NOT_NULL);
                ColumnDefinition { length, flags, decimals, collation, ..plain }
            };
            let code = ColumnDefinition {
                length: digits,
                flags: ColumnFlags::NOT_NULL | ColumnFlags::UNSIGNED | ColumnFlags::BINARY,
                ..ColumnDefinition::expression(b"Code", ColumnType::LONG)
            };
            self.send_result(
                answer,
                &[text("Level", 7 * 4), code, text("Message", 512 * 4)],
                &cells,
            );
        }
        self.last.warnings = warnings;
        Ok(())
    }
}

/// The rows of a SHOW WARNINGS.
fn rows_of(
    bytes: &[u8],
    capabilities: Capabilities,
) -> impl Iterator<Item = (String, u16, String)> + '_ {
    let mut walker = ResponseWalker::new(ResponseKind::Query, capabilities);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let (packet, consumed) = frame::split(rest, usize::MAX).ok().flatten()?;
            rest = rest.get(consumed..).unwrap_or_default();
            if super::relay::step(&mut walker, packet.payload, packet.seq).ok()? != PacketRole::Row
            {
                continue;
            }
            let mut cells =
                TextRow::new(packet.payload).map(|cell| cell.ok().flatten().unwrap_or_default());
            let mut text = || raw::to_text(cells.next().unwrap_or_default());
            let (level, code, message) = (text(), text(), text());
            return Some((level, code.parse().unwrap_or(0), message));
        }
    })
}
