//! A client of the MySQL protocol, as plain as can be and independent of the code under test: it
//! blocks, checks sequence ids strictly, and hands out what the server said byte for byte.
use sha1::{Digest, Sha1};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::fields::Fields;
pub use crate::parameters::Value;

pub mod caps {
    pub const LONG_PASSWORD: u32 = 1;
    pub const FOUND_ROWS: u32 = 1 << 1;
    pub const LONG_FLAG: u32 = 1 << 2;
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    pub const PROTOCOL_41: u32 = 1 << 9;
    pub const TRANSACTIONS: u32 = 1 << 13;
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    pub const MULTI_STATEMENTS: u32 = 1 << 16;
    pub const MULTI_RESULTS: u32 = 1 << 17;
    pub const PS_MULTI_RESULTS: u32 = 1 << 18;
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// Of MariaDB's own.
    pub const EXTENDED_METADATA: u32 = 1 << 3;
    pub const BULK: u32 = 1 << 2;
    pub const USUAL: u32 = LONG_PASSWORD
        | LONG_FLAG
        | PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH;
}

const MORE_RESULTS: u16 = 8;
/// A test hangs rather than fails without it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An error packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub code: u16,
    pub state: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub schema: String,
    pub table: String,
    pub org_table: String,
    pub name: String,
    pub org_name: String,
    pub charset: u16,
    pub length: u32,
    pub kind: u8,
    pub flags: u16,
    pub decimals: u8,
    /// MariaDB's extended type.
    pub extended: Vec<u8>,
}

/// Cells of a row; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Ok {
        affected: u64,
        insert_id: u64,
        status: u16,
        warnings: u16,
        info: String,
    },
    /// `raw` are the rows' packets: the only form of a binary result, whose `rows` are empty.
    Rows {
        columns: Vec<Column>,
        rows: Vec<Row>,
        raw: Vec<Vec<u8>>,
        status: u16,
        warnings: u16,
    },
    Error(SqlError),
}

impl Answer {
    /// Rows as text; panics if it is no result.
    pub fn rows(&self) -> Vec<Vec<Option<String>>> {
        let Self::Rows { rows, .. } = self else { panic!("rows were expected: {self:?}") };
        let text = |cell: &Option<Vec<u8>>| {
            cell.as_ref()
                .map(|c| String::from_utf8_lossy(c).into_owned())
        };
        rows.iter()
            .map(|row| row.iter().map(text).collect())
            .collect()
    }

    /// The one value of a result of one row and one column.
    pub fn value(&self) -> Option<String> {
        let rows = self.rows();
        let [row] = rows.as_slice() else { panic!("one row was expected: {rows:?}") };
        let [value] = row.as_slice() else { panic!("one column was expected: {row:?}") };
        value.clone()
    }

    pub fn error(&self) -> &SqlError {
        match self {
            Self::Error(error) => error,
            other => panic!("an error was expected: {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    pub fn ok(&self) -> &Self {
        assert!(!self.is_error(), "{self:?}");
        self
    }

    fn status(&self) -> u16 {
        match self {
            Self::Ok { status, .. } | Self::Rows { status, .. } => *status,
            Self::Error(_) => 0,
        }
    }
}

/// What a login sends, beyond the name.
#[derive(Debug, Clone, Default)]
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub database: Option<&'a str>,
    /// Besides [`caps::USUAL`].
    pub capabilities: u32,
}

#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    pub capabilities: u32,
    /// MariaDB's own.
    pub extended_capabilities: u32,
    pub server_version: String,
    /// The connection's id as the server counts.
    pub id: u32,
    seq: u8,
}

impl Connection {
    /// Logs in; panics if it fails.
    pub fn login(
        address: impl ToSocketAddrs,
        user: &str,
        password: &str,
        database: Option<&str>,
    ) -> Self {
        Self::try_login(address, user, password, database)
            .unwrap_or_else(|e| panic!("{user} cannot log in: {e:?}"))
    }

    /// # Errors
    /// The server's refusal, or code 0 and what went wrong with the connection.
    pub fn try_login(
        address: impl ToSocketAddrs,
        user: &str,
        password: &str,
        database: Option<&str>,
    ) -> Result<Self, SqlError> {
        let stream = TcpStream::connect(address).map_err(network)?;
        Self::over(stream, &Login { user, password, database, capabilities: 0 })
    }

    /// # Errors
    /// As [`Self::try_login`].
    pub fn over(stream: TcpStream, login: &Login) -> Result<Self, SqlError> {
        Self::over_mariadb(stream, login, 0)
    }

    /// With capabilities of MariaDB's own.
    ///
    /// # Errors
    /// As [`Self::try_login`].
    pub fn over_mariadb(stream: TcpStream, login: &Login, extended: u32) -> Result<Self, SqlError> {
        let mut conn = Self::greeted(stream)?;
        conn.extended_capabilities = extended;
        let greeting = conn.packet().map_err(network)?;
        if greeting.first() == Some(&0xFF) {
            return Err(conn.parse_error(&greeting));
        }
        let scramble = conn.read_greeting(&greeting);
        conn.answer_greeting(login, &scramble).map_err(network)?;
        loop {
            let packet = conn.packet().map_err(network)?;
            match packet.first() {
                Some(0) => return Ok(conn),
                Some(0xFF) => return Err(conn.parse_error(&packet)),
                Some(0xFE) => {
                    let mut f = Fields(&packet[1..]);
                    let plugin = f.until_nul();
                    assert_eq!(plugin, b"mysql_native_password", "an unexpected plugin");
                    let scramble = f.0.strip_suffix(&[0]).unwrap_or(f.0).to_vec();
                    conn.send_next(&native_password(login.password, &scramble))
                        .map_err(network)?;
                }
                other => panic!("an unexpected packet in the login: {other:?}"),
            }
        }
    }

    /// A connection on which nothing has been read yet.
    ///
    /// # Errors
    /// The socket's.
    pub fn greeted(stream: TcpStream) -> Result<Self, SqlError> {
        stream.set_nodelay(true).map_err(network)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(network)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(network)?;
        Ok(Self {
            stream,
            capabilities: 0,
            extended_capabilities: 0,
            server_version: String::new(),
            id: 0,
            seq: 0,
        })
    }

    /// Takes what matters from the greeting; the challenge.
    pub fn read_greeting(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut f = Fields(packet);
        assert_eq!(f.u8(), 10, "the protocol's version");
        self.server_version = String::from_utf8_lossy(f.until_nul()).into_owned();
        self.id = f.u32();
        let mut scramble = f.take(8).to_vec();
        f.take(1);
        let mariadb = u32::from(f.u16()) & caps::LONG_PASSWORD == 0;
        f.take(1 + 2 + 2 + 1 + 6);
        let extended = f.u32();
        self.extended_capabilities &= if mariadb { extended } else { 0 };
        scramble.extend_from_slice(f.take(12));
        scramble
    }

    fn answer_greeting(&mut self, login: &Login, scramble: &[u8]) -> io::Result<()> {
        let mut capabilities = caps::USUAL | login.capabilities;
        if login.database.is_some() {
            capabilities |= caps::CONNECT_WITH_DB;
        }
        if self.extended_capabilities != 0 {
            capabilities &= !caps::LONG_PASSWORD;
        }
        self.capabilities = capabilities;
        let mut out = capabilities.to_le_bytes().to_vec();
        out.extend_from_slice(&(64u32 << 20).to_le_bytes());
        out.push(45);
        out.extend_from_slice(&[0; 19]);
        out.extend_from_slice(&self.extended_capabilities.to_le_bytes());
        out.extend_from_slice(login.user.as_bytes());
        out.push(0);
        let token = native_password(login.password, scramble);
        out.push(token.len() as u8);
        out.extend_from_slice(&token);
        if let Some(database) = login.database {
            out.extend_from_slice(database.as_bytes());
            out.push(0);
        }
        out.extend_from_slice(b"mysql_native_password\0");
        self.send_next(&out)
    }

    /// Sends a packet with the next sequence id.
    pub fn send_next(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut wire = Vec::with_capacity(payload.len() + 4);
        let mut chunks = payload.chunks(0xFF_FFFF).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            wire.extend_from_slice(&(chunk.len() as u32).to_le_bytes()[..3]);
            wire.push(self.seq);
            wire.extend_from_slice(chunk);
            self.seq = self.seq.wrapping_add(1);
            if chunk.len() < 0xFF_FFFF {
                break;
            }
        }
        self.stream.write_all(&wire)
    }

    /// The sequence id of the next packet, where the caller knows better: commands were sent ahead.
    pub fn expect_sequence(&mut self, seq: u8) {
        self.seq = seq;
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_command(&mut self, command: u8, rest: &[u8]) -> io::Result<()> {
        self.seq = 0;
        self.send_next(&[&[command], rest].concat())
    }

    /// Reads a packet (joined, if it is of several frames).
    ///
    /// # Errors
    /// The socket's; a wrong sequence id.
    pub fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header)?;
            let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            if header[3] != self.seq {
                let why = format!("sequence id {} instead of {}", header[3], self.seq);
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            self.seq = self.seq.wrapping_add(1);
            let at = payload.len();
            payload.resize(at + len, 0);
            self.stream.read_exact(&mut payload[at..])?;
            if len < 0xFF_FFFF {
                return Ok(payload);
            }
        }
    }

    pub fn parse_error(&self, packet: &[u8]) -> SqlError {
        let mut f = Fields(&packet[1..]);
        let code = f.u16();
        let state = if f.0.first() == Some(&b'#') {
            String::from_utf8_lossy(&f.take(6)[1..]).into_owned()
        } else {
            String::new()
        };
        SqlError { code, state, message: String::from_utf8_lossy(f.0).into_owned() }
    }

    fn parse_ok(packet: &[u8]) -> Answer {
        let mut f = Fields(&packet[1..]);
        let (affected, insert_id, status, warnings) = (f.lenenc(), f.lenenc(), f.u16(), f.u16());
        // With its length, whatever the manual says.
        let info = if f.0.is_empty() { String::new() } else { f.text() };
        Answer::Ok { affected, insert_id, status, warnings, info }
    }

    fn parse_column(packet: &[u8], extended: bool) -> Column {
        let mut f = Fields(packet);
        assert_eq!(f.text(), "def");
        let (schema, table, org_table, name, org_name) =
            (f.text(), f.text(), f.text(), f.text(), f.text());
        let extended = if extended { f.bytes().to_vec() } else { Vec::new() };
        assert_eq!(f.lenenc(), 12);
        let (charset, length, kind, flags, decimals) = (f.u16(), f.u32(), f.u8(), f.u16(), f.u8());
        Column {
            schema,
            table,
            org_table,
            name,
            org_name,
            charset,
            length,
            kind,
            flags,
            decimals,
            extended,
        }
    }

    fn columns(&mut self, count: u64) -> io::Result<Vec<Column>> {
        let extended = self.extended_capabilities & caps::EXTENDED_METADATA != 0;
        let columns: io::Result<Vec<_>> = (0..count)
            .map(|_| Ok(Self::parse_column(&self.packet()?, extended)))
            .collect();
        if count > 0 && self.capabilities & caps::DEPRECATE_EOF == 0 {
            let eof = self.packet()?;
            assert!(
                eof.first() == Some(&0xFE) && eof.len() == 5,
                "no EOF after the columns: {eof:?}"
            );
        }
        columns
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// The connection's.
    pub fn answer(&mut self, binary: bool) -> io::Result<Answer> {
        let head = self.packet()?;
        match head.first() {
            Some(0) => return Ok(Self::parse_ok(&head)),
            Some(0xFF) => return Ok(Answer::Error(self.parse_error(&head))),
            Some(0xFB) => panic!("the server asks for a file"),
            _ => {}
        }
        let count = Fields(&head).lenenc();
        let columns = self.columns(count)?;
        let (mut rows, mut raw) = (Vec::new(), Vec::new());
        loop {
            let packet = self.packet()?;
            match packet.first() {
                Some(0xFF) => return Ok(Answer::Error(self.parse_error(&packet))),
                Some(0xFE)
                    if packet.len() < 0xFF_FFFF && self.capabilities & caps::DEPRECATE_EOF != 0 =>
                {
                    let Answer::Ok { status, warnings, .. } = Self::parse_ok(&packet) else {
                        unreachable!()
                    };
                    return Ok(Answer::Rows { columns, rows, raw, status, warnings });
                }
                Some(0xFE) if packet.len() < 9 => {
                    let mut f = Fields(&packet[1..]);
                    let (warnings, status) = (f.u16(), f.u16());
                    return Ok(Answer::Rows { columns, rows, raw, status, warnings });
                }
                _ => {}
            }
            if !binary {
                let mut f = Fields(&packet);
                rows.push((0..count).map(|_| f.cell()).collect());
                assert!(f.0.is_empty(), "bytes after the last cell");
            }
            raw.push(packet);
        }
    }

    /// All answers to a command.
    ///
    /// # Errors
    /// The connection's.
    pub fn answers(&mut self, binary: bool) -> io::Result<Vec<Answer>> {
        let mut all = Vec::new();
        loop {
            let answer = self.answer(binary)?;
            let more = answer.status() & MORE_RESULTS != 0;
            all.push(answer);
            if !more {
                return Ok(all);
            }
        }
    }

    /// # Errors
    /// The connection's; the server's errors are answers.
    pub fn try_query(&mut self, sql: &str) -> io::Result<Vec<Answer>> {
        self.send_command(3, sql.as_bytes())?;
        self.answers(false)
    }

    /// The one answer; panics if the connection breaks.
    pub fn query(&mut self, sql: &str) -> Answer {
        let answers = self
            .try_query(sql)
            .unwrap_or_else(|e| panic!("{sql:.200}: {e}"));
        let [answer] = <[Answer; 1]>::try_from(answers)
            .unwrap_or_else(|all| panic!("{sql}: several answers: {all:?}"));
        answer
    }

    /// Must succeed.
    pub fn run(&mut self, sql: &str) -> Answer {
        let answer = self.query(sql);
        assert!(!answer.is_error(), "{sql:.300}: {answer:?}");
        answer
    }

    /// The one value of a query that must succeed.
    pub fn value(&mut self, sql: &str) -> Option<String> {
        self.run(sql).value()
    }

    pub fn prepare(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        self.send_command(0x16, sql.as_bytes()).expect("a command");
        let head = self
            .packet()
            .unwrap_or_else(|e| panic!("PREPARE {sql}: {e}"));
        if head.first() == Some(&0xFF) {
            return Err(self.parse_error(&head));
        }
        let mut f = Fields(&head[1..]);
        let (id, columns, params) = (f.u32(), f.u16(), f.u16());
        f.take(1);
        let warnings = f.u16();
        let parameters = self.columns(u64::from(params)).expect("parameters");
        let columns = self.columns(u64::from(columns)).expect("columns");
        Ok(Prepared { id, parameters, columns, warnings })
    }

    /// Runs a prepared statement with texts and integers.
    pub fn execute(&mut self, statement: &Prepared, values: &[Value]) -> Answer {
        let mut out = statement.id.to_le_bytes().to_vec();
        out.push(0);
        out.extend_from_slice(&1u32.to_le_bytes());
        Value::put_all(values, &mut out);
        self.send_command(0x17, &out).expect("a command");
        self.answer(true).unwrap_or_else(|e| panic!("EXECUTE: {e}"))
    }

    pub fn close_statement(&mut self, statement: &Prepared) {
        self.send_command(0x19, &statement.id.to_le_bytes())
            .expect("a command");
    }

    /// COM_PING; true if it is answered.
    pub fn ping(&mut self) -> bool {
        self.send_command(14, b"").is_ok() && self.packet().is_ok_and(|p| p.first() == Some(&0))
    }

    /// True when the other side has closed (what it says before that is skipped).
    pub fn is_closed(&mut self) -> bool {
        let mut buf = [0; 4096];
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    pub fn quit(mut self) {
        let _ = self.send_command(1, b"");
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub id: u32,
    pub parameters: Vec<Column>,
    pub columns: Vec<Column>,
    pub warnings: u16,
}

/// What can be bound.
fn network(error: io::Error) -> SqlError {
    SqlError { code: 0, state: String::new(), message: error.to_string() }
}

pub fn native_password(password: &str, scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password.as_bytes());
    let twice = Sha1::digest(once);
    let mask = Sha1::new()
        .chain_update(scramble)
        .chain_update(twice)
        .finalize();
    once.iter().zip(mask.iter()).map(|(a, b)| a ^ b).collect()
}
