//! MySQL error codes that a proxy raises or reacts to, and their SQLSTATEs.
//!
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $state:literal;)*) => {
        $($(#[$doc])* pub const $name: u16 = $code;)*

        /// The SQLSTATE of an error code; `HY000` (general error) for a code that is not listed
        /// here.
        pub const fn sqlstate(code: u16) -> [u8; 5] {
            match code {
                $($code => *$state,)*
                _ => *b"HY000",
            }
        }
    };
}

codes! {
    /// Too many connections.
    ER_CON_COUNT_ERROR = 1040, b"08004";
    /// Bad handshake.
    ER_HANDSHAKE_ERROR = 1043, b"08S01";
    /// Access denied for a user to a database.
    ER_DBACCESS_DENIED_ERROR = 1044, b"42000";
    /// Access denied for a user (using password: YES or NO).
    ER_ACCESS_DENIED_ERROR = 1045, b"28000";
    /// No database selected.
    ER_NO_DB_ERROR = 1046, b"3D000";
    /// Unknown command.
    ER_UNKNOWN_COM_ERROR = 1047, b"08S01";
    /// Column cannot be null.
    ER_BAD_NULL_ERROR = 1048, b"23000";
    /// Unknown database.
    ER_BAD_DB_ERROR = 1049, b"42000";
    /// Table already exists.
    ER_TABLE_EXISTS_ERROR = 1050, b"42S01";
    /// Unknown table.
    ER_BAD_TABLE_ERROR = 1051, b"42S02";
    /// Column is ambiguous.
    ER_NON_UNIQ_ERROR = 1052, b"23000";
    /// Server shutdown in progress.
    ER_SERVER_SHUTDOWN = 1053, b"08S01";
    /// Unknown column.
    ER_BAD_FIELD_ERROR = 1054, b"42S22";
    /// Duplicate entry for a key.
    ER_DUP_ENTRY = 1062, b"23000";
    /// Syntax error.
    ER_PARSE_ERROR = 1064, b"42000";
    /// Query was empty.
    ER_EMPTY_QUERY = 1065, b"42000";
    /// Unknown thread id.
    ER_NO_SUCH_THREAD = 1094, b"HY000";
    /// Not the owner of a thread.
    ER_KILL_DENIED_ERROR = 1095, b"HY000";
    /// Unknown error: the general code of a proxy.
    ER_UNKNOWN_ERROR = 1105, b"HY000";
    /// Unknown character set.
    ER_UNKNOWN_CHARACTER_SET = 1115, b"42000";
    /// Host is blocked because of many connection errors.
    ER_HOST_IS_BLOCKED = 1129, b"HY000";
    /// A command is denied to a user for a table.
    ER_TABLEACCESS_DENIED_ERROR = 1142, b"42000";
    /// Table does not exist.
    ER_NO_SUCH_TABLE = 1146, b"42S02";
    /// Got a packet bigger than max_allowed_packet.
    ER_NET_PACKET_TOO_LARGE = 1153, b"08S01";
    /// Packets out of order.
    ER_NET_PACKETS_OUT_OF_ORDER = 1156, b"08S01";
    /// Could not uncompress a communication packet.
    ER_NET_UNCOMPRESS_ERROR = 1157, b"08S01";
    /// Error reading communication packets.
    ER_NET_READ_ERROR = 1158, b"08S01";
    /// Timeout reading communication packets.
    ER_NET_READ_INTERRUPTED = 1159, b"08S01";
    /// Error writing communication packets.
    ER_NET_ERROR_ON_WRITE = 1160, b"08S01";
    /// Timeout writing communication packets.
    ER_NET_WRITE_INTERRUPTED = 1161, b"08S01";
    /// Unknown system variable.
    ER_UNKNOWN_SYSTEM_VARIABLE = 1193, b"HY000";
    /// The user has too many active connections.
    ER_TOO_MANY_USER_CONNECTIONS = 1203, b"42000";
    /// Lock wait timeout exceeded.
    ER_LOCK_WAIT_TIMEOUT = 1205, b"HY000";
    /// Deadlock found.
    ER_LOCK_DEADLOCK = 1213, b"40001";
    /// The user has exceeded a resource limit.
    ER_USER_LIMIT_REACHED = 1226, b"42000";
    /// A privilege is needed.
    ER_SPECIFIC_ACCESS_DENIED_ERROR = 1227, b"42000";
    /// A variable cannot be set to that value.
    ER_WRONG_VALUE_FOR_VAR = 1231, b"42000";
    /// This version does not support the feature yet.
    ER_NOT_SUPPORTED_YET = 1235, b"42000";
    /// Unknown prepared statement handler.
    ER_UNKNOWN_STMT_HANDLER = 1243, b"HY000";
    /// Client does not support the authentication protocol.
    ER_NOT_SUPPORTED_AUTH_MODE = 1251, b"08004";
    /// Unknown collation.
    ER_UNKNOWN_COLLATION = 1273, b"HY000";
    /// The server runs with --read-only.
    ER_OPTION_PREVENTS_STATEMENT = 1290, b"HY000";
    /// No such savepoint or routine.
    ER_SP_DOES_NOT_EXIST = 1305, b"42000";
    /// Query execution was interrupted.
    ER_QUERY_INTERRUPTED = 1317, b"70100";
    /// Prepared statement needs more parameters.
    ER_WRONG_ARGUMENTS = 1210, b"HY000";
    /// Unable to connect to a foreign data source.
    ER_CONNECT_TO_FOREIGN_DATA_SOURCE = 1429, b"HY000";
    /// Too many prepared statements.
    ER_MAX_PREPARED_STMT_COUNT_REACHED = 1461, b"42000";
    /// Not within a transaction.
    ER_CANT_CHANGE_TX_CHARACTERISTICS = 1568, b"25001";
    /// Cannot execute in a READ ONLY transaction.
    ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION = 1792, b"25006";
    /// Malformed communication packet.
    ER_MALFORMED_PACKET = 1835, b"HY000";
    /// The server is in offline mode.
    ER_SERVER_OFFLINE_MODE = 3032, b"HY000";
    /// Statement took longer than max_execution_time.
    ER_QUERY_TIMEOUT = 3024, b"HY000";
    /// Transport is insecure while require_secure_transport is on.
    ER_SECURE_TRANSPORT_REQUIRED = 3159, b"HY000";
    /// The account's plugin needs a secure connection.
    ER_SECURE_CONNECTION_REQUIRED = 3158, b"HY000";
    /// The client was disconnected because of inactivity.
    ER_CLIENT_INTERACTION_TIMEOUT = 4031, b"HY000";
}
