//! Doubles as MySQL writes them.

/// Beyond so many digits before the point, or so many zeros behind it, a number gets an exponent.
const FIXED_MAX: i32 = 15;

/// The column's decimals say: as many as the value needs.
const NOT_FIXED: u8 = 31;

/// Appends a double as a server's text result has it: the shortest digits that give the value
/// again, or so many decimals.
pub(super) fn write(value: f64, decimals: u8, out: &mut Vec<u8>) {
    if decimals < NOT_FIXED {
        out.extend_from_slice(format!("{value:.0$}", usize::from(decimals)).as_bytes());
        return;
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
        return;
    }
    // "d.ddde-7": the digits, and where the point is.
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let point = exponent + 1;
    if !(1 - FIXED_MAX..=FIXED_MAX).contains(&point) {
        out.extend_from_slice(mantissa.as_bytes());
        out.push(b'e');
        out.extend_from_slice(exponent.to_string().as_bytes());
        return;
    }
    out.extend_from_slice(format!("{value}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64, decimals: u8) -> String {
        let mut out = Vec::new();
        write(value, decimals, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// As MariaDB 10.11 answers `SELECT <value>e0`.
    #[test]
    fn doubles_are_written_as_the_server_writes_them() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1_234_567_890_123_456.0, "1.234567890123456e15"),
            (1e-14, "0.00000000000001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-1.5e300, "-1.5e300"),
            (0.0, "0"),
        ] {
            assert_eq!(text(value, NOT_FIXED), expected);
        }
        assert_eq!(text(1.005, 2), "1.00");
        assert_eq!(text(2.5, 3), "2.500");
    }
}
