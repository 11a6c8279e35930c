//! Values that only the session knows, as SQL, in the place of function calls.
use super::Session;
use super::variables::Variable;
use crate::pool::Place;
use coregate_planner::identity::ShardId;
use coregate_planner::mention;
use coregate_planner::plan::{Plan, SessionValue, StatementClass};
use coregate_planner::resolve::SessionValues;
use coregate_planner::snapshot::TabletKind;
use coregate_planner::vindex::KeyspaceId;
use coregate_planner::vitess_variables::VitessKind;
use coregate_protocol::Status;
use coregate_protocol::codec::put_lenenc_bytes;
use coregate_protocol::column::ColumnType;
use coregate_protocol::row::TextRow;
use coregate_protocol::value::Value as Bound;
use coregate_protocol::value::write_string;

pub(super) struct Values<'a> {
    /// The types of the parameters, as the client gave them.
    pub(super) kinds: &'a [ColumnType],
    pub(super) session: &'a Session,
    /// The values bound to a prepared statement.
    pub(super) params: &'a [Bound<'a>],
}

impl SessionValues for Values<'_> {
    fn write(&self, which: SessionValue, out: &mut Vec<u8>) {
        let session = self.session;
        let mut number = itoa_buffer();
        match which {
            // In forms that have the functions' own types: BIGINT UNSIGNED, BIGINT, BIGINT, a text
            // that can be NULL.
            SessionValue::LastInsertId => {
                out.push(b'(');
                out.extend_from_slice(number.format(session.last.insert_id).as_bytes());
                out.extend_from_slice(b"|0)");
            }
            SessionValue::Identity => {
                write_number(session.last.insert_id, out);
            }
            SessionValue::RowCount => {
                out.extend_from_slice(b"IFNULL(");
                out.extend_from_slice(number.format(session.last.row_count).as_bytes());
                out.extend_from_slice(b",ROW_COUNT())");
            }
            SessionValue::FoundRows => {
                out.extend_from_slice(b"IFNULL(");
                out.extend_from_slice(number.format(session.last.found_rows).as_bytes());
                out.extend_from_slice(b",FOUND_ROWS())");
            }
            SessionValue::ConnectionId => {
                out.extend_from_slice(number.format(session.client.handle.id).as_bytes())
            }
            SessionValue::Database => match &session.target.database {
                Some(name) => write_string(name.as_bytes(), session.status(), out),
                None => out.extend_from_slice(b"NULL"),
            },
            SessionValue::User => {
                let handle = &session.client.handle;
                let user = format!("{}@{}", handle.user.borrow(), handle.host);
                write_text(user.as_bytes(), session.status(), out);
            }
            SessionValue::WarningCount | SessionValue::ErrorCount => {
                let count = session.count_of_warnings(which == SessionValue::ErrorCount);
                write_number(count, out);
            }
            SessionValue::Clock => {
                session.write_clock(b"SET STATEMENT timestamp=", b" FOR ", true, out)
            }
            SessionValue::ClockHint => {
                session.write_clock(b" /*+ SET_VAR(timestamp=", b") */ ", false, out);
            }
            // Clients on the server's machine would go past us.
            SessionValue::Socket => out.extend_from_slice(b"NULLIF('','')"),
            SessionValue::Port => write_number(session.core.shared.port, out),
            SessionValue::Hostname => {
                write_text(session.core.shared.hostname.as_bytes(), session.status(), out);
            }
            SessionValue::Vitess(variable) => {
                let value = session.vitess_text(variable);
                match variable.kind {
                    VitessKind::Number | VitessKind::Switch => {
                        out.extend_from_slice(value.as_bytes());
                    }
                    _ => write_string(value.as_bytes(), session.status(), out),
                }
            }
            SessionValue::CurrentUser => {
                let user = format!("{}@%", session.client.handle.user.borrow());
                // As long as the servers' own.
                let characters = if session.core.is_mariadb() { 384 } else { 288 };
                out.extend_from_slice(b"CAST(");
                write_string(user.as_bytes(), session.status(), out);
                out.extend_from_slice(format!(" AS CHAR({characters}))").as_bytes());
            }
        }
    }

    fn looked_up(&self, query: &[u8]) -> Option<Vec<KeyspaceId>> {
        self.session.looked_up(query)
    }

    fn turn(&self) -> u64 {
        self.session.next_turn()
    }

    fn load(&self, shard: ShardId) -> Option<usize> {
        self.session.load_of(shard)
    }

    fn counts_anything(&self) -> bool {
        self.session.core.is_mariadb()
    }

    fn zero_is_a_value(&self) -> bool {
        self.session.has_mode(b"NO_AUTO_VALUE_ON_ZERO")
    }

    fn is_strict(&self) -> bool {
        self.session.has_mode(b"STRICT_TRANS_TABLES") || self.session.has_mode(b"STRICT_ALL_TABLES")
    }

    fn insert_id(&self) -> u64 {
        self.session.last.insert_id
    }

    fn write_param(&self, n: u16, out: &mut Vec<u8>) {
        let kind = self.kinds.get(usize::from(n));
        match self.params.get(usize::from(n)) {
            // In quotes it would be text, which is a DOUBLE where it is added to something.
            Some(Bound::Bytes(digits))
                if matches!(kind, Some(&(ColumnType::DECIMAL | ColumnType::NEWDECIMAL)))
                    && is_decimal(digits) =>
            {
                out.extend_from_slice(digits);
                if !digits.contains(&b'.') {
                    out.push(b'.');
                }
            }
            Some(Bound::Bytes(bytes))
                if !bytes.is_ascii() && !self.session.state.charsets.client.is_plain() =>
            {
                // A quote or a backslash could be half of a character.
                let set = self.session.state.settings.client_charset();
                out.extend_from_slice(format!("_{set} x'").as_bytes());
                for byte in *bytes {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
                out.push(b'\'');
            }
            Some(value) => value.write_literal(self.session.status(), out),
            None => out.extend_from_slice(b"NULL"),
        }
    }
}

/// A BIGINT that can be NULL.
fn write_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(b"NULLIF(");
    out.extend_from_slice(itoa_buffer().format(number).as_bytes());
    out.extend_from_slice(b"|0,-1)");
}

/// A text that can be NULL.
fn write_text(text: &[u8], status: Status, out: &mut Vec<u8>) {
    out.extend_from_slice(b"NULLIF(");
    write_string(text, status, out);
    out.extend_from_slice(b",'')");
}

/// Digits with a sign and a point at most, few enough for a server to take them for exact.
fn is_decimal(text: &[u8]) -> bool {
    const DIGITS_MAX: usize = 65;
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|b| **b == b'.').count();
    let count = digits.len() - points.min(digits.len());
    let plain = digits.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    plain && points <= 1 && (1..=DIGITS_MAX).contains(&count)
}

impl Session {
    /// Does the statement list the server's variables?
    #[inline]
    pub(super) fn lists_variables(plan: &Plan) -> bool {
        plan.class == StatementClass::Show
            && plan
                .names
                .binary_search(&mention::hash(b"variables"))
                .is_ok()
    }

    /// The row of SHOW VARIABLES that stands for one of a server, where it tells where clients
    /// connect to: they would go past us.
    #[cold]
    pub(super) fn own_variable(&self, row: &[u8], binary: bool) -> Option<Vec<u8>> {
        /// A packet header, and one byte of NULL flags.
        const BINARY_HEAD: usize = 2;
        let head = if binary { BINARY_HEAD } else { 0 };
        let name = row.get(head..).map(TextRow::new)?.next()?.ok()??;
        let shared = &self.core.shared;
        let port;
        let value = match () {
            () if name.eq_ignore_ascii_case(b"socket") => "",
            () if name.eq_ignore_ascii_case(b"hostname") => shared.hostname.as_str(),
            () if name.eq_ignore_ascii_case(b"port") => {
                port = shared.port.to_string();
                &port
            }
            () => return None,
        };
        let mut own = row.get(..head)?.to_vec();
        put_lenenc_bytes(&mut own, name);
        put_lenenc_bytes(&mut own, value.as_bytes());
        Some(own)
    }
}

/// Parameters that stand for user variables: the text has their names.
pub(super) struct Named<'a> {
    pub(super) session: &'a Session,
    pub(super) variables: &'a [Variable],
}

impl SessionValues for Named<'_> {
    fn write(&self, which: SessionValue, out: &mut Vec<u8>) {
        Values { session: self.session, params: &[], kinds: &[] }.write(which, out);
    }

    fn write_param(&self, n: u16, out: &mut Vec<u8>) {
        // A parameter is a literal to a server. The variable itself would bring its collation
        // along.
        match self.variables.get(usize::from(n)) {
            Some(variable) => out.extend_from_slice(&variable.literal()),
            None => out.extend_from_slice(b"NULL"),
        }
    }

    fn looked_up(&self, query: &[u8]) -> Option<Vec<KeyspaceId>> {
        self.session.looked_up(query)
    }

    fn zero_is_a_value(&self) -> bool {
        self.session.has_mode(b"NO_AUTO_VALUE_ON_ZERO")
    }

    fn turn(&self) -> u64 {
        self.session.next_turn()
    }

    fn load(&self, shard: ShardId) -> Option<usize> {
        self.session.load_of(shard)
    }

    fn counts_anything(&self) -> bool {
        self.session.core.is_mariadb()
    }

    fn is_strict(&self) -> bool {
        self.session.has_mode(b"STRICT_TRANS_TABLES") || self.session.has_mode(b"STRICT_ALL_TABLES")
    }

    fn insert_id(&self) -> u64 {
        self.session.last.insert_id
    }
}

impl Session {
    /// Which shard takes rows that may lie anywhere: the next one with each statement, the same
    /// within a transaction.
    fn next_turn(&self) -> u64 {
        let turn = self.turn.get();
        if !self.in_transaction() {
            self.turn.set(turn.wrapping_add(1));
        }
        turn.wrapping_add(u64::from(self.client.handle.id))
    }

    /// How many statements of this core a shard's primary has, or will have.
    fn load_of(&self, shard: ShardId) -> Option<usize> {
        if self.in_transaction() {
            return None;
        }
        let pool = self
            .core
            .pools
            .get(Place::Shard { shard, kind: TabletKind::Primary.into() })?;
        Some(pool.open().saturating_sub(pool.resting()) + pool.waiting())
    }

    pub(super) fn has_mode(&self, mode: &[u8]) -> bool {
        let set = self.state.settings.get("sql_mode").unwrap_or_default();
        set.windows(mode.len())
            .any(|word| word.eq_ignore_ascii_case(mode))
    }
}

fn itoa_buffer() -> itoa::Buffer {
    itoa::Buffer::new()
}
