//! Column definitions.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>,
//! <https://mariadb.com/kb/en/result-set-packets/#column-definition-packet>

use bitflags::bitflags;

use crate::capability::Capabilities;
use crate::codec::{self, Reader};
use crate::error::ProtocolError;

/// Type of a column or of a parameter. Unknown numbers are kept, as they are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType(pub u8);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ColumnType { $($(#[$doc])* pub const $name: Self = Self($code);)* }
    };
}

types! {
    /// DECIMAL of before 5.0.
    DECIMAL = 0;
    /// TINYINT: 1 byte.
    TINY = 1;
    /// SMALLINT: 2 bytes.
    SHORT = 2;
    /// INT: 4 bytes.
    LONG = 3;
    /// FLOAT.
    FLOAT = 4;
    /// DOUBLE.
    DOUBLE = 5;
    /// NULL.
    NULL = 6;
    /// TIMESTAMP.
    TIMESTAMP = 7;
    /// BIGINT: 8 bytes.
    LONGLONG = 8;
    /// MEDIUMINT: 4 bytes on the wire.
    INT24 = 9;
    /// DATE.
    DATE = 10;
    /// TIME.
    TIME = 11;
    /// DATETIME.
    DATETIME = 12;
    /// YEAR: 2 bytes.
    YEAR = 13;
    /// DATE in another form; not on the wire.
    NEWDATE = 14;
    /// VARCHAR; on the wire mostly [`VAR_STRING`](Self::VAR_STRING).
    VARCHAR = 15;
    /// BIT.
    BIT = 16;
    /// TIMESTAMP with fractions; not on the wire.
    TIMESTAMP2 = 17;
    /// DATETIME with fractions; not on the wire.
    DATETIME2 = 18;
    /// TIME with fractions; not on the wire.
    TIME2 = 19;
    /// Array of another type; not on the wire.
    TYPED_ARRAY = 20;
    /// VECTOR, since MySQL 9.0.
    VECTOR = 242;
    /// Not a type.
    INVALID = 243;
    /// BOOL; not used.
    BOOL = 244;
    /// JSON.
    JSON = 245;
    /// DECIMAL, as text.
    NEWDECIMAL = 246;
    /// ENUM; on the wire mostly [`STRING`](Self::STRING) with a flag.
    ENUM = 247;
    /// SET; on the wire mostly [`STRING`](Self::STRING) with a flag.
    SET = 248;
    /// TINYBLOB, TINYTEXT.
    TINY_BLOB = 249;
    /// MEDIUMBLOB, MEDIUMTEXT.
    MEDIUM_BLOB = 250;
    /// LONGBLOB, LONGTEXT.
    LONG_BLOB = 251;
    /// BLOB, TEXT.
    BLOB = 252;
    /// VARCHAR, VARBINARY.
    VAR_STRING = 253;
    /// CHAR, BINARY, ENUM, SET.
    STRING = 254;
    /// GEOMETRY and its kinds.
    GEOMETRY = 255;
}

bitflags! {
    /// What else is known of a column.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ColumnFlags: u16 {
        /// Not nullable.
        const NOT_NULL = 1;
        /// Part of the primary key.
        const PRI_KEY = 1 << 1;
        /// Part of a unique key.
        const UNIQUE_KEY = 1 << 2;
        /// Part of a key.
        const MULTIPLE_KEY = 1 << 3;
        /// BLOB or TEXT.
        const BLOB = 1 << 4;
        /// Unsigned.
        const UNSIGNED = 1 << 5;
        /// Filled with zeros.
        const ZEROFILL = 1 << 6;
        /// Binary collation.
        const BINARY = 1 << 7;
        /// ENUM.
        const ENUM = 1 << 8;
        /// AUTO_INCREMENT.
        const AUTO_INCREMENT = 1 << 9;
        /// TIMESTAMP.
        const TIMESTAMP = 1 << 10;
        /// SET.
        const SET = 1 << 11;
        /// Has no default value.
        const NO_DEFAULT_VALUE = 1 << 12;
        /// Set to NOW() on update.
        const ON_UPDATE_NOW = 1 << 13;
        /// Part of some key.
        const PART_KEY = 1 << 14;
        /// A number.
        const NUM = 1 << 15;
    }
}

/// A column of a result, or a parameter of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDefinition<'a> {
    /// Always `def`.
    pub catalog: &'a [u8],
    /// Database.
    pub schema: &'a [u8],
    /// Table or its alias.
    pub table: &'a [u8],
    /// Table.
    pub org_table: &'a [u8],
    /// Column or its alias.
    pub name: &'a [u8],
    /// Column.
    pub org_name: &'a [u8],
    /// MariaDB's extended type: pairs of a kind (0: type, 1: format) and a length-encoded text.
    /// Empty unless [`Capabilities::MARIADB_EXTENDED_METADATA`].
    pub extended: &'a [u8],
    /// Collation id; 63 is binary.
    pub collation: u16,
    /// Largest length of a value in bytes.
    pub length: u32,
    /// Type.
    pub column_type: ColumnType,
    /// Flags.
    pub flags: ColumnFlags,
    /// Digits after the point; 31 if it floats.
    pub decimals: u8,
    /// Default value, in the answer to COM_FIELD_LIST only: the outer `None` says that the packet
    /// had no such field.
    pub default: Option<Option<&'a [u8]>>,
}

/// Bytes of the part with fixed fields, which has its length in front.
const FIXED_LEN: u64 = 12;

impl<'a> ColumnDefinition<'a> {
    /// A column of an expression: no database, no table, binary collation, no flags.
    pub fn expression(name: &'a [u8], column_type: ColumnType) -> Self {
        Self {
            catalog: b"def",
            schema: b"",
            table: b"",
            org_table: b"",
            name,
            org_name: b"",
            extended: b"",
            collation: 63,
            length: 0,
            column_type,
            flags: ColumnFlags::empty(),
            decimals: 0,
            default: None,
        }
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// `Truncated` or `Malformed`.
    pub fn parse(payload: &'a [u8], caps: Capabilities) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let catalog = r.lenenc_bytes("catalog")?;
        let schema = r.lenenc_bytes("schema")?;
        let table = r.lenenc_bytes("table")?;
        let org_table = r.lenenc_bytes("original table")?;
        let name = r.lenenc_bytes("column name")?;
        let org_name = r.lenenc_bytes("original column name")?;
        let extended = if caps.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            r.lenenc_bytes("extended type")?
        } else {
            b""
        };
        let mut fixed = Reader::new(r.lenenc_bytes("fixed fields of a column")?);
        let collation = fixed.u16("collation")?;
        let length = fixed.u32("column length")?;
        let column_type = ColumnType(fixed.u8("column type")?);
        let flags = ColumnFlags::from_bits_retain(fixed.u16("column flags")?);
        let decimals = fixed.u8("decimals")?;
        let default =
            if r.is_empty() { None } else { Some(r.lenenc_bytes_or_null("default value")?) };
        Ok(Self {
            catalog,
            schema,
            table,
            org_table,
            name,
            org_name,
            extended,
            collation,
            length,
            column_type,
            flags,
            decimals,
            default,
        })
    }

    /// Appends the payload.
    pub fn encode(&self, caps: Capabilities, out: &mut Vec<u8>) {
        for text in
            [self.catalog, self.schema, self.table, self.org_table, self.name, self.org_name]
        {
            codec::put_lenenc_bytes(out, text);
        }
        if caps.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            codec::put_lenenc_bytes(out, self.extended);
        }
        codec::put_lenenc_int(out, FIXED_LEN);
        out.extend_from_slice(&self.collation.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.push(self.column_type.0);
        out.extend_from_slice(&self.flags.bits().to_le_bytes());
        out.extend_from_slice(&[self.decimals, 0, 0]);
        match self.default {
            None => {}
            Some(None) => out.push(codec::NULL_MARK),
            Some(Some(text)) => codec::put_lenenc_bytes(out, text),
        }
    }
}
