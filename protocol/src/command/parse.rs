//! Commands off the wire.

use super::attributes::QueryAttributes;
use super::com;
use crate::capability::Capabilities;
use crate::codec::Reader;
use crate::error::ProtocolError;
use crate::handshake::Attributes;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command<'a> {
    /// Ask for a binary log from a position on; the fields are left as they are.
    BinlogDump(&'a [u8]),
    /// Ask for a binary log from a GTID set on; the fields are left as they are.
    BinlogDumpGtid(&'a [u8]),
    /// Log in anew on the same connection.
    ChangeUser(ChangeUser<'a>),
    /// Have the server write debug information to its log.
    Debug,
    /// Columns of a table.
    FieldList {
        /// Table.
        table: &'a [u8],
        /// Pattern of column names.
        wildcard: &'a [u8],
    },
    /// Change the default database.
    InitDb(&'a [u8]),
    /// Is the server there?
    Ping,
    /// As `SHOW PROCESSLIST`.
    ProcessInfo,
    /// As `KILL`.
    ProcessKill(u32),
    /// Run statements.
    Query {
        /// Attributes, if [`Capabilities::QUERY_ATTRIBUTES`].
        attributes: QueryAttributes<'a>,
        /// The statements.
        sql: &'a [u8],
    },
    /// Close the connection; no answer.
    Quit,
    /// As `FLUSH`; the byte says what.
    Refresh(u8),
    /// Register as a replica; the fields are left as they are.
    RegisterSlave(&'a [u8]),
    /// Reset the session's state.
    ResetConnection,
    /// Multi-statements on (0) or off (1).
    SetOption(u16),
    /// Shut the server down.
    Shutdown,
    /// A line of statistics.
    Statistics,
    /// MariaDB: run a prepared statement with many rows of parameters; the fields after the id are
    /// left as they are.
    StmtBulkExecute {
        /// Statement.
        stmt_id: u32,
        /// Flags and parameters.
        rest: &'a [u8],
    },
    /// Forget a prepared statement; no answer.
    StmtClose(u32),
    /// Run a prepared statement.
    StmtExecute {
        /// Statement.
        stmt_id: u32,
        /// Kind of cursor, and whether a number of parameters follows; see [`super::execute`].
        flags: u8,
        /// Always 1.
        iterations: u32,
        /// Parameters, to be read by [`super::execute::ExecuteBody::parse`].
        rest: &'a [u8],
    },
    /// Rows of a cursor.
    StmtFetch {
        /// Statement.
        stmt_id: u32,
        /// At most so many.
        rows: u32,
    },
    /// Prepare a statement.
    StmtPrepare(&'a [u8]),
    /// Forget the long data of a statement, and close its cursor.
    StmtReset(u32),
    /// A part of a parameter's value; no answer.
    StmtSendLongData {
        /// Statement.
        stmt_id: u32,
        /// Parameter, from 0.
        param: u16,
        /// The part.
        data: &'a [u8],
    },
    /// A command that is not known here.
    Unknown(u8),
}

impl<'a> Command<'a> {
    /// Reads a command of a client with these capabilities.
    ///
    /// # Errors
    /// `Truncated` or `Malformed`. An unknown command is no error, as the connection can go on
    /// after it.
    pub fn parse(payload: &'a [u8], caps: Capabilities) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        Ok(match r.u8("command")? {
            com::QUIT => Self::Quit,
            com::INIT_DB => Self::InitDb(r.rest()),
            com::QUERY => {
                let attributes = if caps.contains(Capabilities::QUERY_ATTRIBUTES) {
                    QueryAttributes::read(&mut r)?
                } else {
                    QueryAttributes::default()
                };
                Self::Query { attributes, sql: r.rest() }
            }
            com::FIELD_LIST => Self::FieldList { table: r.nul_bytes_or_rest(), wildcard: r.rest() },
            // Servers take an empty packet for 0.
            com::REFRESH => Self::Refresh(r.rest().first().copied().unwrap_or(0)),
            com::SHUTDOWN => Self::Shutdown,
            com::STATISTICS => Self::Statistics,
            com::PROCESS_INFO => Self::ProcessInfo,
            com::PROCESS_KILL => Self::ProcessKill(r.u32("connection id")?),
            com::DEBUG => Self::Debug,
            com::PING => Self::Ping,
            com::CHANGE_USER => Self::ChangeUser(ChangeUser::read(&mut r, caps)?),
            com::BINLOG_DUMP => Self::BinlogDump(r.rest()),
            com::REGISTER_SLAVE => Self::RegisterSlave(r.rest()),
            com::STMT_PREPARE => Self::StmtPrepare(r.rest()),
            com::STMT_EXECUTE => Self::StmtExecute {
                stmt_id: r.u32("statement id")?,
                flags: r.u8("flags")?,
                iterations: r.u32("iterations")?,
                rest: r.rest(),
            },
            com::STMT_SEND_LONG_DATA => Self::StmtSendLongData {
                stmt_id: r.u32("statement id")?,
                param: r.u16("parameter")?,
                data: r.rest(),
            },
            com::STMT_CLOSE => Self::StmtClose(r.u32("statement id")?),
            com::STMT_RESET => Self::StmtReset(r.u32("statement id")?),
            com::SET_OPTION => Self::SetOption(r.u16("option")?),
            com::STMT_FETCH => {
                Self::StmtFetch { stmt_id: r.u32("statement id")?, rows: r.u32("number of rows")? }
            }
            com::BINLOG_DUMP_GTID => Self::BinlogDumpGtid(r.rest()),
            com::RESET_CONNECTION => Self::ResetConnection,
            com::STMT_BULK_EXECUTE => {
                Self::StmtBulkExecute { stmt_id: r.u32("statement id")?, rest: r.rest() }
            }
            other => Self::Unknown(other),
        })
    }
}

/// The fields of COM_CHANGE_USER.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeUser<'a> {
    /// Who logs in.
    pub user: &'a [u8],
    /// Answer to the connection's challenge.
    pub auth: &'a [u8],
    /// Default database; `None` if empty.
    pub database: Option<&'a [u8]>,
    /// Collation id; `None` if the client left it out.
    pub collation: Option<u16>,
    /// Authentication method.
    pub plugin: &'a [u8],
    /// Connection attributes.
    pub attributes: Attributes<'a>,
}

impl<'a> ChangeUser<'a> {
    /// Reads the fields after the command byte.
    pub(crate) fn read(r: &mut Reader<'a>, caps: Capabilities) -> Result<Self, ProtocolError> {
        let user = r.nul_bytes("user")?;
        let auth = if caps.contains(Capabilities::SECURE_CONNECTION) {
            let len = usize::from(r.u8("authentication response")?);
            r.bytes(len, "authentication response")?
        } else {
            r.nul_bytes("authentication response")?
        };
        let database = Some(r.nul_bytes_or_rest()).filter(|name| !name.is_empty());
        let collation = if r.is_empty() { None } else { Some(r.u16("collation")?) };
        let has = |flag| caps.contains(flag);
        let plugin = if has(Capabilities::PLUGIN_AUTH) { r.nul_bytes_or_rest() } else { b"" };
        let mut attributes = Attributes::default();
        if has(Capabilities::CONNECT_ATTRS) && !r.is_empty() {
            attributes = Attributes::new(r.lenenc_bytes("connection attributes")?)?;
        }
        Ok(Self { user, auth, database, collation, plugin, attributes })
    }
}
