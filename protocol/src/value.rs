//! Values in the binary form of rows, parameters and query attributes.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>

use crate::codec::{self, Reader};
use crate::column::ColumnType;
use crate::error::ProtocolError;

mod literal;

pub use literal::write_string;

/// How a value is encoded: its type, and whether an integer is unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamType {
    /// Type.
    pub column_type: ColumnType,
    /// Whether an integer is unsigned.
    pub unsigned: bool,
}

impl ParamType {
    const UNSIGNED: u8 = 0x80;

    /// From the two bytes on the wire.
    pub fn from_bytes([column_type, flags]: [u8; 2]) -> Self {
        Self { column_type: ColumnType(column_type), unsigned: flags & Self::UNSIGNED != 0 }
    }

    /// The two bytes on the wire.
    pub fn to_bytes(self) -> [u8; 2] {
        [self.column_type.0, if self.unsigned { Self::UNSIGNED } else { 0 }]
    }
}

/// A date with a time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateTime {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Microseconds.
    pub micros: u32,
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Before zero.
    pub negative: bool,
    /// Whole days.
    pub days: u32,
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// Microseconds.
    pub micros: u32,
}

/// A value. Everything that is neither a number nor a time is bytes: text, decimals, JSON, BIT,
/// geometry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A signed integer of any width.
    Int(i64),
    /// An unsigned integer of any width.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Text or bytes.
    Bytes(&'a [u8]),
    /// DATE.
    Date(DateTime),
    /// DATETIME or TIMESTAMP.
    DateTime(DateTime),
    /// TIME.
    Time(Time),
    /// A parameter that came by COM_STMT_SEND_LONG_DATA, so that it is not in the packet.
    LongData,
}

/// A value among the parameters of a statement.
pub type ParamValue<'a> = Value<'a>;

impl<'a> Value<'a> {
    /// Reads a value that is not NULL.
    ///
    /// # Errors
    /// `Truncated`, or `Malformed` for a time of a length that does not exist.
    pub fn read(r: &mut Reader<'a>, ty: ParamType) -> Result<Self, ProtocolError> {
        const WHAT: &str = "value";
        let unsigned = ty.unsigned;
        let int =
            |signed: i64, plain: u64| if unsigned { Self::UInt(plain) } else { Self::Int(signed) };
        Ok(match ty.column_type {
            ColumnType::NULL => Self::Null,
            ColumnType::TINY => {
                let v = r.u8(WHAT)?;
                int(i64::from(v.cast_signed()), u64::from(v))
            }
            ColumnType::SHORT | ColumnType::YEAR => {
                let v = r.u16(WHAT)?;
                int(i64::from(v.cast_signed()), u64::from(v))
            }
            ColumnType::LONG | ColumnType::INT24 => {
                let v = r.u32(WHAT)?;
                int(i64::from(v.cast_signed()), u64::from(v))
            }
            ColumnType::LONGLONG => {
                let v = r.u64(WHAT)?;
                int(v.cast_signed(), v)
            }
            ColumnType::FLOAT => Self::Float(f32::from_le_bytes(r.array(WHAT)?)),
            ColumnType::DOUBLE => Self::Double(f64::from_le_bytes(r.array(WHAT)?)),
            ColumnType::DATE | ColumnType::NEWDATE => Self::Date(DateTime::read(r)?),
            ColumnType::DATETIME
            | ColumnType::TIMESTAMP
            | ColumnType::DATETIME2
            | ColumnType::TIMESTAMP2 => Self::DateTime(DateTime::read(r)?),
            ColumnType::TIME | ColumnType::TIME2 => Self::Time(Time::read(r)?),
            _ => Self::Bytes(r.lenenc_bytes(WHAT)?),
        })
    }

    /// Appends the value in the form that its own kind has; nothing for NULL and long data. The
    /// type to announce with it is [`natural_type`](Self::natural_type).
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::LongData => {}
            Self::Int(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::UInt(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::Float(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::Double(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::Bytes(v) => codec::put_lenenc_bytes(out, v),
            Self::Date(v) | Self::DateTime(v) => v.write(out),
            Self::Time(v) => v.write(out),
        }
    }

    /// Appends the value as a column of type `ty` holds it. Integers are cut to the type's width.
    ///
    /// # Errors
    /// [`ProtocolError::Misuse`] if the type cannot hold a value of this kind.
    pub fn write_as(&self, ty: ColumnType, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let integer = match *self {
            Self::Int(v) => Some(v.to_le_bytes()),
            Self::UInt(v) => Some(v.to_le_bytes()),
            _ => None,
        };
        let width = match ty {
            ColumnType::TINY => Some(1),
            ColumnType::SHORT | ColumnType::YEAR => Some(2),
            ColumnType::LONG | ColumnType::INT24 => Some(4),
            ColumnType::LONGLONG => Some(8),
            _ => None,
        };
        let fits = match (self, ty) {
            (Self::Null | Self::LongData, _) => true,
            (Self::Int(_) | Self::UInt(_), _) => width.is_some(),
            (Self::Float(_), _) => ty == ColumnType::FLOAT,
            (Self::Double(_), _) => ty == ColumnType::DOUBLE,
            (Self::Date(_), _) => matches!(ty, ColumnType::DATE | ColumnType::NEWDATE),
            (Self::DateTime(_), _) => matches!(ty, ColumnType::DATETIME | ColumnType::TIMESTAMP),
            (Self::Time(_), _) => ty == ColumnType::TIME,
            (Self::Bytes(_), _) => Self::is_bytes(ty),
        };
        if !fits {
            return Err(ProtocolError::Misuse("value does not fit the column's type"));
        }
        if let (Some(bytes), Some(width)) = (integer, width) {
            out.extend(bytes.iter().take(width));
        } else {
            self.write(out);
        }
        Ok(())
    }

    /// The type under which [`write`](Self::write) encodes the value.
    pub fn natural_type(&self) -> ParamType {
        let (column_type, unsigned) = match self {
            Self::Null => (ColumnType::NULL, false),
            Self::Int(_) => (ColumnType::LONGLONG, false),
            Self::UInt(_) => (ColumnType::LONGLONG, true),
            Self::Float(_) => (ColumnType::FLOAT, false),
            Self::Double(_) => (ColumnType::DOUBLE, false),
            Self::Bytes(_) => (ColumnType::VAR_STRING, false),
            Self::Date(_) => (ColumnType::DATE, false),
            Self::DateTime(_) => (ColumnType::DATETIME, false),
            Self::Time(_) => (ColumnType::TIME, false),
            Self::LongData => (ColumnType::LONG_BLOB, false),
        };
        ParamType { column_type, unsigned }
    }

    /// Whether values of this type are bytes with a length in front.
    pub fn is_bytes(ty: ColumnType) -> bool {
        !matches!(
            ty,
            ColumnType::NULL
                | ColumnType::TINY
                | ColumnType::SHORT
                | ColumnType::YEAR
                | ColumnType::LONG
                | ColumnType::INT24
                | ColumnType::LONGLONG
                | ColumnType::FLOAT
                | ColumnType::DOUBLE
                | ColumnType::DATE
                | ColumnType::NEWDATE
                | ColumnType::DATETIME
                | ColumnType::DATETIME2
                | ColumnType::TIMESTAMP
                | ColumnType::TIMESTAMP2
                | ColumnType::TIME
                | ColumnType::TIME2
        )
    }
}

impl DateTime {
    /// Whether the time of day is midnight.
    pub fn is_midnight(&self) -> bool {
        (self.hour, self.minute, self.second, self.micros) == (0, 0, 0, 0)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        const WHAT: &str = "date";
        let mut date = Self::default();
        let len = r.u8(WHAT)?;
        if !matches!(len, 0 | 4 | 7 | 11) {
            return Err(ProtocolError::Malformed("length of a date"));
        }
        if len >= 4 {
            date.year = r.u16(WHAT)?;
            [date.month, date.day] = r.array(WHAT)?;
        }
        if len >= 7 {
            [date.hour, date.minute, date.second] = r.array(WHAT)?;
        }
        if len == 11 {
            date.micros = r.u32(WHAT)?;
        }
        Ok(date)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let [y0, y1] = self.year.to_le_bytes();
        let date = [y0, y1, self.month, self.day];
        let len = match self {
            _ if self.micros != 0 => 11,
            _ if !self.is_midnight() => 7,
            _ if date != [0; 4] => 4,
            _ => 0,
        };
        out.push(len);
        if len >= 4 {
            out.extend_from_slice(&date);
        }
        if len >= 7 {
            out.extend_from_slice(&[self.hour, self.minute, self.second]);
        }
        if len == 11 {
            out.extend_from_slice(&self.micros.to_le_bytes());
        }
    }
}

impl Time {
    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        const WHAT: &str = "time";
        let mut time = Self::default();
        let len = r.u8(WHAT)?;
        if !matches!(len, 0 | 8 | 12) {
            return Err(ProtocolError::Malformed("length of a time"));
        }
        if len >= 8 {
            time.negative = r.u8(WHAT)? != 0;
            time.days = r.u32(WHAT)?;
            [time.hours, time.minutes, time.seconds] = r.array(WHAT)?;
        }
        if len == 12 {
            time.micros = r.u32(WHAT)?;
        }
        Ok(time)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let len = match self {
            _ if self.micros != 0 => 12,
            _ if (self.days, self.hours, self.minutes, self.seconds) != (0, 0, 0, 0) => 8,
            _ => 0,
        };
        out.push(len);
        if len >= 8 {
            out.push(u8::from(self.negative));
            out.extend_from_slice(&self.days.to_le_bytes());
            out.extend_from_slice(&[self.hours, self.minutes, self.seconds]);
        }
        if len == 12 {
            out.extend_from_slice(&self.micros.to_le_bytes());
        }
    }
}
