//! Variables as a server has them, and as literals that mean the same wherever they are repeated: a
//! user variable keeps its type, its bytes, its character set and its collation, and no SQL mode or
//! character set of a session changes what is read.
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::pool::Backend;
use coregate_planner::charset::Charset;
use coregate_planner::value::Value;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use coregate_protocol::frame;
use coregate_protocol::row::TextRow;
use coregate_protocol::walker::{PacketRole, ResponseKind, ResponseWalker};

/// A value that is read back must not be longer, in bytes: it would be sent again and again.
const VALUE_MAX: usize = 1 << 20;
/// Of an answer: a value comes as it is and twice as digits of two bytes each.
const ANSWER_MAX: usize = 5 * VALUE_MAX + (64 << 10);
/// Columns that tell one variable.
const COLUMNS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Int,
    UInt,
    Decimal,
    Double,
    Text,
}

/// A variable's value.
#[derive(Debug)]
pub(super) struct Variable {
    kind: Kind,
    /// Of a number its digits, of a text its bytes.
    bytes: Vec<u8>,
    /// The text in UTF-8; what is no text as it is.
    utf8: Vec<u8>,
    collation: String,
}

impl Variable {
    pub(super) fn is_ascii(&self) -> bool {
        self.utf8.is_ascii()
    }

    /// As the value of a user variable, which keeps its type.
    pub(super) fn typed(&self) -> Vec<u8> {
        let digits = || String::from_utf8_lossy(&self.bytes).into_owned();
        match self.kind {
            Kind::Null => b"NULL".to_vec(),
            Kind::Int if self.bytes == b"-9223372036854775808" => {
                format!("CAST({} AS SIGNED)", digits()).into_bytes()
            }
            Kind::Int => self.bytes.clone(),
            Kind::UInt => format!("CAST({} AS UNSIGNED)", digits()).into_bytes(),
            // Without a point it would be an integer, without an exponent exact.
            Kind::Decimal if !self.bytes.contains(&b'.') => [self.bytes.as_slice(), b"."].concat(),
            Kind::Decimal => self.bytes.clone(),
            Kind::Double if self.bytes.contains(&b'e') => self.bytes.clone(),
            Kind::Double => [self.bytes.as_slice(), b"e0"].concat(),
            Kind::Text => {
                let set = self.charset();
                let collate = if set == "binary" {
                    String::new()
                } else {
                    format!(" COLLATE {}", self.collation)
                };
                format!("_{set} x'{}'{collate}", hex(&self.bytes)).into_bytes()
            }
        }
    }

    /// As the value of a parameter, which is coercible: text in its character set, without a
    /// collation of its own.
    pub(super) fn literal(&self) -> Vec<u8> {
        match self.kind {
            Kind::Text => format!("_{} x'{}'", self.charset(), hex(&self.bytes)).into_bytes(),
            _ => self.typed(),
        }
    }

    /// As the value of a system variable.
    pub(super) fn plain(&self) -> Vec<u8> {
        let is_plain = |b: &u8| (0x20..0x7f).contains(b) && !matches!(b, b'\'' | b'\\');
        match self.kind {
            Kind::Null => b"NULL".to_vec(),
            Kind::Text if self.bytes.iter().all(is_plain) => {
                [b"'", self.bytes.as_slice(), b"'"].concat()
            }
            Kind::Text => format!("_{} x'{}'", self.charset(), hex(&self.bytes)).into_bytes(),
            _ => self.bytes.clone(),
        }
    }

    /// A collation's name begins with its character set's.
    pub(super) fn charset(&self) -> &str {
        self.collation.split('_').next().unwrap_or_default()
    }

    pub(super) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn utf8(&self) -> &[u8] {
        &self.utf8
    }

    /// By which a row is placed; text in UTF-8.
    pub(super) fn value(&self) -> Value<'_> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Int => text.parse().map_or(Value::Bytes(&self.bytes), Value::Int),
            Kind::UInt => text.parse().map_or(Value::Bytes(&self.bytes), Value::UInt),
            Kind::Decimal => Value::Decimal(&self.bytes),
            Kind::Double => text.parse().map_or(Value::Bytes(&self.bytes), Value::Float),
            Kind::Text if self.charset() == "binary" => Value::Binary(&self.bytes),
            Kind::Text => Value::Bytes(&self.utf8),
        }
    }

    /// The same in the character set in which it is; `None` where that is not `client`.
    pub(super) fn value_in(&self, client: Charset) -> Option<Value<'_>> {
        let foreign =
            self.kind == Kind::Text && self.charset() != "binary" && !self.utf8.is_ascii();
        match () {
            () if !foreign => Some(self.value()),
            () if Charset::of_collation(self.charset()) == client => {
                Some(Value::Bytes(&self.bytes))
            }
            () => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(digits: &[u8]) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    digits
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// How a statement names a user variable.
pub(super) fn user_variable(name: &str) -> String {
    format!("@`{}`", name.replace('`', "``"))
}

/// A name that is written and read alike in every character set and quoting.
pub(super) fn is_ordinary(name: &str) -> bool {
    name.bytes()
        .all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'`' | b'"' | b'\'' | b'\\'))
}

impl Session {
    /// Reads variables from a connection that has them.
    pub(super) async fn read_variables(
        &mut self,
        backend: &mut Backend,
        names: &[String],
    ) -> Outcome<Vec<Variable>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let core = self.core.clone();
        let columns: Vec<String> = names
            .iter()
            .map(|v| format!("{v}, COLLATION({v}), HEX({v}), HEX(CONVERT({v} USING utf8mb4))"))
            .collect();
        let payload =
            super::wire::query_payload(format!("SELECT {}", columns.join(", ")).as_bytes());
        let mut bytes = Vec::new();
        let see = |part: &[u8]| {
            if bytes.len() <= ANSWER_MAX {
                bytes.extend_from_slice(part);
            }
        };
        let summary = backend
            .run(&core, &payload, ResponseKind::Query, see)
            .await?;
        let unreadable =
            || sql_error(1231, "the value cannot be kept by the session: it cannot be read back");
        if summary.error.is_some() || bytes.len() > ANSWER_MAX {
            return Err(unreadable().into());
        }
        let variables = parse(&bytes, backend)?;
        let fits = |v: &Variable| v.bytes.len() <= VALUE_MAX;
        if variables.len() != names.len() || !variables.iter().all(fits) {
            return Err(unreadable().into());
        }
        Ok(variables)
    }
}

fn parse(bytes: &[u8], backend: &Backend) -> Outcome<Vec<Variable>> {
    let mut walker = ResponseWalker::new(ResponseKind::Query, backend.capabilities);
    let mut rest = bytes;
    let mut kinds = Vec::new();
    while let Ok(Some((packet, consumed))) = frame::split(rest, usize::MAX) {
        match super::relay::step(&mut walker, packet.payload, packet.seq)? {
            PacketRole::ColumnDef => {
                let column = ColumnDefinition::parse(packet.payload, backend.capabilities)?;
                kinds.push(kind_of(
                    column.column_type,
                    column.flags.contains(ColumnFlags::UNSIGNED),
                ));
            }
            PacketRole::Row => {
                let mut cells = Vec::new();
                for cell in TextRow::new(packet.payload) {
                    // All that is looked at is ASCII; in UTF-16 and UTF-32 it has zeros besides.
                    let ascii = |bytes: &[u8]| {
                        bytes
                            .iter()
                            .copied()
                            .filter(|b| *b != 0)
                            .collect::<Vec<u8>>()
                    };
                    cells.push(cell?.map(ascii));
                }
                let each = cells.chunks_exact(COLUMNS).zip(kinds.chunks_exact(COLUMNS));
                return Ok(each
                    .map(|(cells, kinds)| variable_of(cells, kinds[0]))
                    .collect());
            }
            _ => {}
        }
        rest = rest.get(consumed..).unwrap_or_default();
    }
    Err(Failure::Sql(sql_error(1105, "a variable's value cannot be read back")))
}

fn variable_of(cells: &[Option<Vec<u8>>], kind: Kind) -> Variable {
    let cell = |n: usize| cells.get(n).and_then(Option::as_deref).unwrap_or_default();
    let collation = String::from_utf8_lossy(cell(1)).into_owned();
    let is_null = cells.first().is_none_or(Option::is_none);
    match kind {
        _ if is_null => {
            Variable { kind: Kind::Null, bytes: Vec::new(), utf8: Vec::new(), collation }
        }
        Kind::Text => Variable { kind, bytes: unhex(cell(2)), utf8: unhex(cell(3)), collation },
        _ => Variable { kind, bytes: cell(0).to_vec(), utf8: cell(0).to_vec(), collation },
    }
}

fn kind_of(column: ColumnType, unsigned: bool) -> Kind {
    match column {
        ColumnType::TINY
        | ColumnType::SHORT
        | ColumnType::INT24
        | ColumnType::LONG
        | ColumnType::LONGLONG
        | ColumnType::YEAR => {
            if unsigned {
                Kind::UInt
            } else {
                Kind::Int
            }
        }
        ColumnType::FLOAT | ColumnType::DOUBLE => Kind::Double,
        ColumnType::NEWDECIMAL | ColumnType::DECIMAL => Kind::Decimal,
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(kind: Kind, bytes: &[u8], collation: &str) -> Variable {
        Variable { kind, bytes: bytes.to_vec(), utf8: Vec::new(), collation: collation.into() }
    }

    #[test]
    fn literals_keep_the_type() {
        for (kind, bytes, wanted) in [
            (Kind::Null, "", "NULL"),
            (Kind::Int, "-5", "-5"),
            (Kind::Int, "-9223372036854775808", "CAST(-9223372036854775808 AS SIGNED)"),
            (Kind::UInt, "7", "CAST(7 AS UNSIGNED)"),
            (Kind::Decimal, "9999999999999999999999999999", "9999999999999999999999999999."),
            (Kind::Decimal, "-1.50", "-1.50"),
            (Kind::Double, "0.1", "0.1e0"),
            (Kind::Double, "1e28", "1e28"),
        ] {
            assert_eq!(variable(kind, bytes.as_bytes(), "binary").typed(), wanted.as_bytes());
        }
    }

    #[test]
    fn literals_keep_the_bytes() {
        let text = |bytes: &[u8], collation: &str| {
            String::from_utf8(variable(Kind::Text, bytes, collation).typed()).unwrap_or_default()
        };
        assert_eq!(text(&[0xff, 0, 0xc3], "binary"), "_binary x'ff00c3'");
        assert_eq!(text(&[0xe9], "latin1_bin"), "_latin1 x'e9' COLLATE latin1_bin");
        assert_eq!(
            text(b"x' or 1=1 -- ", "utf8mb4_bin"),
            "_utf8mb4 x'7827206f7220313d31202d2d20' COLLATE utf8mb4_bin"
        );
        assert_eq!(variable(Kind::Text, b"+01:00", "utf8mb3_general_ci").plain(), b"'+01:00'");
        assert_eq!(
            variable(Kind::Text, b"a'b\\", "utf8mb3_general_ci").plain(),
            b"_utf8mb3 x'6127625c'"
        );
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(unhex(b"FF00c3"), [0xff, 0, 0xc3]);
    }
}
