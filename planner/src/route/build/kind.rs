//! How the values of an expression compare, where that is certain.
use crate::collation::Collation;
use crate::snapshot::{Column, Snapshot};
use std::sync::Arc;

/// How values of a type can be compared by what comes over the wire.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// As numbers, dates or times, which the wire's type tells apart.
    Number,
    /// Whose text has fewer digits than the value.
    Float,
    /// Whose text in the session's time zone may stand for two times.
    Timestamp,
    /// ENUM, SET and BIT: by their numbers.
    Index,
    Bytes,
    Text(Text),
}

#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) collation: Arc<Collation>,
    /// Text that has as many bytes as characters is ASCII.
    pub(super) utf8: bool,
    /// In characters.
    pub(super) length: Option<u32>,
}

/// Servers sort by so many bytes of a value, unless they are told otherwise (`max_sort_length`).
const SORTED_BYTES: u32 = 1024;

impl Kind {
    pub(super) fn of_column(snapshot: &Snapshot, column: &Column) -> Option<Self> {
        Some(match column.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
            | "numeric" | "double" | "real" | "date" | "time" | "datetime" | "year" => Self::Number,
            "float" => Self::Float,
            "timestamp" => Self::Timestamp,
            "enum" | "set" | "bit" => Self::Index,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                let collation = snapshot.collation(column.collation.as_deref()?)?.clone();
                let charset = collation.name.split('_').next().unwrap_or_default();
                let utf8 = matches!(charset, "utf8mb4" | "utf8mb3" | "utf8");
                let length = if column.data_type == "tinytext" { Some(255) } else { column.length };
                Self::Text(Text { collation, utf8, length })
            }
            _ => return None,
        })
    }

    pub(super) fn is_integer(column: &Column) -> bool {
        let integers = ["tinyint", "smallint", "mediumint", "int", "integer", "bigint"];
        integers.contains(&column.data_type.as_str())
    }

    /// Do servers sort equal values next to each other, whatever their length? `length` in bytes is
    /// of the column.
    pub(super) fn groups(&self, length: Option<u32>) -> bool {
        match self {
            Self::Number | Self::Timestamp | Self::Index => true,
            // Equal numbers may print alike and not be equal.
            Self::Float => false,
            Self::Bytes => length.is_some_and(|n| n <= SORTED_BYTES),
            // MariaDB sorts `a\0` and `a` as equal there, which are not: equal ones need not meet.
            Self::Text(text) if text.collation.name.contains("nopad") => false,
            Self::Text(text) => {
                // Collations with a table have one level of weights; others may have several.
                let width =
                    if text.collation.ascii.is_some() || text.collation.binary { 4 } else { 8 };
                text.length
                    .is_some_and(|n| n.saturating_mul(width) <= SORTED_BYTES)
            }
        }
    }
}
