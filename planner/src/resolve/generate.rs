//! Which rows of an INSERT lack a number, and the text that waits for them.
use super::{Binding, text};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::plan::generate::{Generate, GenerateRows, GenerateValue, Sequence};
use crate::value::Value;

/// What an INSERT needs from a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// `Err`: the name of one that there is not; then the rows have their numbers.
    pub sequence: Result<Sequence, String>,
    /// The statement, with nothing where the numbers belong.
    pub(crate) text: Vec<u8>,
    /// These places, in order.
    pub places: Vec<usize>,
    /// The largest number that the statement gives by itself.
    pub given: Option<u64>,
}

impl std::fmt::Display for Numbers {
    /// With the places of the numbers as `:n`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut at = 0;
        for place in &self.places {
            let text = self.text.get(at..*place).unwrap_or_default();
            write!(f, "{}:n", String::from_utf8_lossy(text))?;
            at = *place;
        }
        let rest = self.text.get(at..).unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(rest))?;
        Ok(())
    }
}

impl Numbers {
    /// The statement with numbers from `first` on.
    pub fn text_with(&self, first: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.places.len() * 8);
        let mut at = 0;
        for (place, number) in self.places.iter().zip(first..) {
            out.extend_from_slice(self.text.get(at..*place).unwrap_or_default());
            out.extend_from_slice(number.to_string().as_bytes());
            at = *place;
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default());
        out
    }
}

struct Maker<'b> {
    binding: Binding<'b>,
    zero_counts: bool,
    out: Numbers,
}

/// # Errors
/// Parameters that are missing, a sequence that is not there.
pub(super) fn bind(generate: &Generate, binding: &Binding<'_>) -> Result<Numbers, PlanError> {
    let binding = Binding { prepared: false, ..*binding };
    let out = Numbers {
        sequence: generate.sequence.clone(),
        text: text::one(&generate.head, &binding),
        places: Vec::new(),
        given: None,
    };
    let mut maker = Maker { zero_counts: binding.session.zero_is_a_value(), binding, out };
    match &generate.rows {
        GenerateRows::Collapsed(position) => maker.collapsed(*position, &generate.column)?,
        GenerateRows::Rows(rows) => {
            for (n, row) in rows.iter().enumerate() {
                if n > 0 {
                    maker.out.text.push(b',');
                }
                maker.pieces(&row.before);
                match &row.value {
                    GenerateValue::Number => maker.number(),
                    GenerateValue::Operand(operand, pieces) => {
                        let mut buffer = Vec::new();
                        let value = binding.value(operand, &mut buffer)?;
                        if maker.takes_number(&value, &generate.column)? {
                            maker.number();
                        } else {
                            maker.pieces(pieces);
                        }
                    }
                }
                maker.pieces(&row.after);
            }
        }
    }
    maker.pieces(&generate.tail);
    match &generate.sequence {
        Err(name) if !maker.out.places.is_empty() => Err(PlanError::unsupported(format!(
            "numbers from '{name}', which the vschema does not have as a sequence"
        ))),
        _ => Ok(maker.out),
    }
}

impl Maker<'_> {
    fn pieces(&mut self, pieces: &[crate::plan::Piece]) {
        self.out.text.extend(text::one(pieces, &self.binding));
    }

    fn number(&mut self) {
        self.out.places.push(self.out.text.len());
    }

    /// Is a number generated in the place of this value? Otherwise it is noted, if it is one.
    fn takes_number(&mut self, value: &Value<'_>, column: &str) -> Result<bool, PlanError> {
        let number = match whole_number(value) {
            Whole::Null => return Ok(true),
            Whole::Negative => return Ok(false),
            Whole::Number(number) => number,
            Whole::Unknown => {
                return Err(PlanError::unsupported(format!(
                    "a value for '{column}', whose numbers come from a sequence, that is no plain \
                        number"
                )));
            }
        };
        if number == 0 && !self.zero_counts {
            return Ok(true);
        }
        self.out.given = self.out.given.max(Some(number));
        Ok(false)
    }

    fn collapsed(&mut self, position: Option<u16>, column: &str) -> Result<(), PlanError> {
        let Binding { sql, fingerprint, sql_mode, .. } = self.binding;
        let mut buffer = Vec::new();
        for (n, span) in fingerprint.rows.spans.iter().enumerate() {
            if n > 0 {
                self.out.text.push(b',');
            }
            let (start, end) = (span.start as usize, span.end as usize);
            let copy = |out: &mut Numbers, from: usize, to: usize| {
                out.text
                    .extend_from_slice(sql.get(from..to).unwrap_or_default());
            };
            let literal = position.and_then(|at| {
                fingerprint
                    .rows
                    .literals(sql, sql_mode, n)
                    .nth(usize::from(at))
            });
            let Some(literal) = literal else {
                copy(&mut self.out, start, end.saturating_sub(1));
                if position.is_none() {
                    self.out.text.push(b',');
                    self.number();
                }
                copy(&mut self.out, end.saturating_sub(1), end);
                continue;
            };
            let value = literal_value(sql, &literal, &mut buffer, sql_mode);
            if self.takes_number(&value, column)? {
                copy(&mut self.out, start, literal.span.start as usize);
                self.number();
                copy(&mut self.out, literal.span.end as usize, end);
            } else {
                copy(&mut self.out, start, end);
            }
        }
        Ok(())
    }
}

/// What a column of integers makes of a value.
enum Whole {
    Null,
    Negative,
    /// Rounded; up, where that may go either way.
    Number(u64),
    /// It depends on the server, or on the SQL mode.
    Unknown,
}

fn whole_number(value: &Value<'_>) -> Whole {
    let integer = |n: i64| u64::try_from(n).map_or(Whole::Negative, Whole::Number);
    let rounded = |n: f64, to_zero: bool| match n {
        n if !n.is_finite() || n.abs() >= u64::MAX as f64 => Whole::Unknown,
        n if n.abs() < 0.5 || to_zero && n.abs() <= 0.5 => Whole::Number(0),
        n if n < 0.0 => Whole::Negative,
        n => Whole::Number(n.ceil() as u64),
    };
    match value {
        Value::Null => Whole::Null,
        Value::UInt(n) => Whole::Number(*n),
        Value::Int(n) => integer(*n),
        // Half of a DOUBLE goes to the even number, half of anything else up.
        Value::Float(n) => rounded(*n, true),
        Value::Bytes(text) | Value::Decimal(text) => {
            let text = std::str::from_utf8(text).map(str::trim_ascii);
            let Ok(text) = text else { return Whole::Unknown };
            let letters = |b: u8| b.is_ascii_alphabetic() && !b.eq_ignore_ascii_case(&b'e');
            match (text.parse(), text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(n), ..) => Whole::Number(n),
                (_, Ok(n), _) => integer(n),
                // Rust reads "inf" and "nan", too.
                (.., Ok(n)) if !text.bytes().any(letters) => rounded(n, false),
                _ => Whole::Unknown,
            }
        }
        _ => Whole::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_column_of_integers_rounds_to_zero() {
        let zero = |value| matches!(whole_number(&value), Whole::Number(0));
        for value in ["0", " 0 ", "0.0", "0e0", "-0.0", "0.4", "-0.49", "+0"] {
            assert!(zero(Value::Bytes(value.as_bytes())), "{value}");
        }
        assert!(zero(Value::Float(0.5)) && zero(Value::Float(-0.0)) && zero(Value::Int(0)));
        assert!(!zero(Value::Decimal(b"0.5")) && !zero(Value::Float(0.6)));
        for value in ["", "abc", "1x", "inf", "nan", "0x00", "1e400"] {
            assert!(
                matches!(whole_number(&Value::Bytes(value.as_bytes())), Whole::Unknown),
                "{value}"
            );
        }
        assert!(matches!(whole_number(&Value::Hex(b"\0")), Whole::Unknown));
        assert!(matches!(whole_number(&Value::Bytes(b"7.2")), Whole::Number(8)));
        assert!(matches!(whole_number(&Value::Int(-3)), Whole::Negative));
    }
}
