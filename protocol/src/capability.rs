//! Capability and status flags.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html>,
//! <https://mariadb.com/kb/en/connection/#capabilities>

use bitflags::bitflags;

bitflags! {
    /// What a client and a server can do.
    ///
    /// The low 32 bits are MySQL's; the high 32 are MariaDB's extended ones. Those travel in the
    /// reserved bytes of the two handshake packets, and only between peers that both leave
    /// [`LONG_PASSWORD`](Self::LONG_PASSWORD) (which MariaDB calls `CLIENT_MYSQL`) unset: a MariaDB
    /// server that sees the bit ignores the extension.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Capabilities: u64 {
        /// Set by MySQL's peers always; unset by MariaDB's when the extended capabilities count.
        const LONG_PASSWORD = 1;
        /// Affected rows count those found, not those changed.
        const FOUND_ROWS = 1 << 1;
        /// Column flags of two bytes.
        const LONG_FLAG = 1 << 2;
        /// The handshake response names a database.
        const CONNECT_WITH_DB = 1 << 3;
        /// `database.table.column` is not allowed.
        const NO_SCHEMA = 1 << 4;
        /// Compressed protocol with zlib.
        const COMPRESS = 1 << 5;
        /// ODBC behaviour; no meaning since 3.22.
        const ODBC = 1 << 6;
        /// `LOAD DATA LOCAL` is allowed.
        const LOCAL_FILES = 1 << 7;
        /// Spaces before `(` are ignored.
        const IGNORE_SPACE = 1 << 8;
        /// The protocol since 4.1: the only one served here.
        const PROTOCOL_41 = 1 << 9;
        /// `interactive_timeout` counts instead of `wait_timeout`.
        const INTERACTIVE = 1 << 10;
        /// TLS can be (server) or will be (client) started.
        const SSL = 1 << 11;
        /// Client-side only.
        const IGNORE_SIGPIPE = 1 << 12;
        /// Status flags tell of transactions.
        const TRANSACTIONS = 1 << 13;
        /// Old name of PROTOCOL_41; unused.
        const RESERVED = 1 << 14;
        /// Authentication since 4.1.
        const SECURE_CONNECTION = 1 << 15;
        /// Several statements in one query.
        const MULTI_STATEMENTS = 1 << 16;
        /// Several result sets to one query.
        const MULTI_RESULTS = 1 << 17;
        /// Several result sets to one execution, and OUT parameters.
        const PS_MULTI_RESULTS = 1 << 18;
        /// Authentication methods have names.
        const PLUGIN_AUTH = 1 << 19;
        /// The handshake response carries attributes.
        const CONNECT_ATTRS = 1 << 20;
        /// The authentication response's length is a length-encoded integer.
        const PLUGIN_AUTH_LENENC_DATA = 1 << 21;
        /// The client can change an expired password.
        const CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        /// OK packets carry changes of the session's state.
        const SESSION_TRACK = 1 << 23;
        /// Rows end with an OK packet; columns end without any.
        const DEPRECATE_EOF = 1 << 24;
        /// Result sets may come without column definitions.
        const OPTIONAL_RESULTSET_METADATA = 1 << 25;
        /// Compressed protocol with zstd.
        const ZSTD_COMPRESSION = 1 << 26;
        /// Queries carry attributes.
        const QUERY_ATTRIBUTES = 1 << 27;
        /// More than one factor of authentication.
        const MULTI_FACTOR_AUTHENTICATION = 1 << 28;
        /// Reserved for further flags.
        const CAPABILITY_EXTENSION = 1 << 29;
        /// Client-side only: the server's certificate is verified.
        const SSL_VERIFY_SERVER_CERT = 1 << 30;
        /// Client-side only.
        const REMEMBER_OPTIONS = 1 << 31;

        /// MariaDB: progress reports instead of silence.
        const MARIADB_PROGRESS = 1 << 32;
        /// MariaDB: several commands in one packet (withdrawn).
        const MARIADB_COM_MULTI = 1 << 33;
        /// MariaDB: one execution with many rows of parameters.
        const MARIADB_STMT_BULK_OPERATIONS = 1 << 34;
        /// MariaDB: column definitions with extended types.
        const MARIADB_EXTENDED_METADATA = 1 << 35;
        /// MariaDB: column definitions of a prepared statement are not repeated.
        const MARIADB_CACHE_METADATA = 1 << 36;
        /// MariaDB: bulk executions answer per row.
        const MARIADB_BULK_UNIT_RESULTS = 1 << 37;
    }
}

impl Capabilities {
    /// What every driver of today asks for, whatever else it does.
    pub const DRIVER: Self = Self::PROTOCOL_41
        .union(Self::LONG_PASSWORD)
        .union(Self::LONG_FLAG)
        .union(Self::TRANSACTIONS)
        .union(Self::SECURE_CONNECTION)
        .union(Self::MULTI_RESULTS)
        .union(Self::PS_MULTI_RESULTS)
        .union(Self::PLUGIN_AUTH)
        .union(Self::PLUGIN_AUTH_LENENC_DATA);

    /// The flags that change the bytes of an answer to a command. Two sides whose values agree in
    /// these can have each other's answers relayed untouched.
    pub const SHAPES_ANSWERS: Self = Self::DEPRECATE_EOF
        .union(Self::SESSION_TRACK)
        .union(Self::OPTIONAL_RESULTSET_METADATA)
        .union(Self::PROTOCOL_41)
        .union(Self::TRANSACTIONS)
        .union(Self::MARIADB_PROGRESS)
        .union(Self::MARIADB_EXTENDED_METADATA)
        .union(Self::MARIADB_CACHE_METADATA)
        .union(Self::MARIADB_BULK_UNIT_RESULTS);

    /// MySQL's 32 bits.
    pub fn low(self) -> u32 {
        (self.bits() & 0xFFFF_FFFF) as u32
    }

    /// MariaDB's 32 bits.
    pub fn high(self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// Puts the two halves together. Unknown bits are kept: they are the peer's business.
    /// The high half is dropped when the low one says that it does not count.
    pub fn from_halves(low: u32, high: u32) -> Self {
        let low_only = Self::from_bits_retain(u64::from(low));
        if low_only.contains(Self::LONG_PASSWORD) {
            return low_only;
        }
        Self::from_bits_retain(u64::from(low) | u64::from(high) << 32)
    }
}

bitflags! {
    /// The server's status, as OK and EOF packets tell it.
    ///
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html> (`SERVER_STATUS_flags_enum`)
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u16 {
        /// A transaction is open.
        const IN_TRANS = 1;
        /// `autocommit` is on.
        const AUTOCOMMIT = 1 << 1;
        /// Another result follows this one.
        const MORE_RESULTS = 1 << 3;
        /// No good index was used.
        const NO_GOOD_INDEX_USED = 1 << 4;
        /// No index was used.
        const NO_INDEX_USED = 1 << 5;
        /// A cursor was opened: rows come by COM_STMT_FETCH.
        const CURSOR_EXISTS = 1 << 6;
        /// The cursor gave its last row.
        const LAST_ROW_SENT = 1 << 7;
        /// A database was dropped.
        const DB_DROPPED = 1 << 8;
        /// Backslashes do not escape in string literals.
        const NO_BACKSLASH_ESCAPES = 1 << 9;
        /// A prepared statement was prepared again, with other columns.
        const METADATA_CHANGED = 1 << 10;
        /// The query took longer than `long_query_time`.
        const QUERY_WAS_SLOW = 1 << 11;
        /// This result set holds OUT parameters.
        const PS_OUT_PARAMS = 1 << 12;
        /// The open transaction is read-only.
        const IN_TRANS_READONLY = 1 << 13;
        /// The OK packet carries changes of the session's state.
        const SESSION_STATE_CHANGED = 1 << 14;
        /// MariaDB: double quotes quote identifiers.
        const ANSI_QUOTES = 1 << 15;
    }
}
