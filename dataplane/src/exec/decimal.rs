//! Exact sums and quotients of DECIMAL values: 65 digits, and what some hundred shards add to them,
//! in 256 bits.
use super::ExecError;
use super::key::not_a;
use std::cmp::Ordering;

/// A decimal number: `magnitude / 10^scale`, negative or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// The lowest 64 bits first.
    magnitude: [u64; 4],
    scale: u8,
}

/// Digits of a word in the servers' decimals.
const WORD: u8 = 9;

const OUT_OF_RANGE: ExecError = ExecError::OutOfRange("DECIMAL", "SUM or AVG over several shards");

impl Decimal {
    /// A number as it stands in a text row, with so many digits behind its point.
    pub(super) fn parse(text: &[u8], scale: u8) -> Result<Self, ExecError> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut found = Self { negative, magnitude: [0; 4], scale };
        let mut behind = None::<u8>;
        for digit in digits {
            match digit {
                b'.' if behind.is_none() => behind = Some(0),
                b'0'..=b'9' => {
                    if let Some(behind) = &mut behind {
                        *behind += 1;
                    }
                    found.times_plus(10, u64::from(digit - b'0'))?;
                }
                _ => return Err(not_a("number", text)),
            }
        }
        let behind = behind.unwrap_or(0);
        if behind > scale || digits.is_empty() {
            return Err(not_a("number of the announced scale", text));
        }
        for _ in behind..scale {
            found.times_plus(10, 0)?;
        }
        Ok(found)
    }

    /// `magnitude * by + plus`
    fn times_plus(&mut self, by: u64, plus: u64) -> Result<(), ExecError> {
        let mut carry = plus;
        for limb in &mut self.magnitude {
            let wide = u128::from(*limb) * u128::from(by) + u128::from(carry);
            *limb = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry == 0 { Ok(()) } else { Err(OUT_OF_RANGE) }
    }

    /// Divides the magnitude and returns the remainder.
    fn divide(&mut self, by: u64) -> u64 {
        let mut rest = 0u64;
        for limb in self.magnitude.iter_mut().rev() {
            let wide = (u128::from(rest) << 64) | u128::from(*limb);
            *limb = (wide / u128::from(by)) as u64;
            rest = (wide % u128::from(by)) as u64;
        }
        rest
    }

    fn compare_magnitudes(&self, other: &Self) -> Ordering {
        self.magnitude
            .iter()
            .rev()
            .cmp(other.magnitude.iter().rev())
    }

    /// Adds a number of the same scale.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), ExecError> {
        if self.negative == other.negative {
            let mut carry = false;
            for (a, b) in self.magnitude.iter_mut().zip(other.magnitude) {
                let (sum, over) = a.overflowing_add(b);
                let (sum, more) = sum.overflowing_add(u64::from(carry));
                *a = sum;
                carry = over || more;
            }
            return if carry { Err(OUT_OF_RANGE) } else { Ok(()) };
        }
        let (large, small, negative) = match self.compare_magnitudes(other) {
            Ordering::Less => (other.magnitude, self.magnitude, other.negative),
            _ => (self.magnitude, other.magnitude, self.negative),
        };
        let mut borrow = false;
        for ((out, a), b) in self.magnitude.iter_mut().zip(large).zip(small) {
            let (rest, under) = a.overflowing_sub(b);
            let (rest, more) = rest.overflowing_sub(u64::from(borrow));
            *out = rest;
            borrow = under || more;
        }
        self.negative = negative && self.magnitude != [0; 4];
        Ok(())
    }

    /// The quotient with so many digits behind its point. Servers divide in words of nine digits,
    /// and round what they have half away from zero: where the digits fill their words there is
    /// nothing to round, and the rest is cut off.
    pub(super) fn quotient(mut self, by: u64, scale: u8) -> Result<Self, ExecError> {
        for _ in self.scale..scale {
            self.times_plus(10, 0)?;
        }
        // A quotient with fewer digits than the sum has: the rest is divided away, too.
        let mut divisor = u128::from(by);
        for _ in scale..self.scale {
            divisor *= 10;
        }
        let Ok(divisor) = u64::try_from(divisor) else { return Err(OUT_OF_RANGE) };
        let rest = self.divide(divisor);
        if !scale.is_multiple_of(WORD) && u128::from(rest) * 2 >= u128::from(divisor) {
            let one = Self { negative: self.negative, magnitude: [1, 0, 0, 0], scale };
            self.add(&one)?;
        }
        self.scale = scale;
        self.negative &= self.magnitude != [0; 4];
        Ok(self)
    }

    /// Appends the number as a server writes it.
    pub(super) fn write(mut self, out: &mut Vec<u8>) {
        let mut digits = Vec::with_capacity(80);
        let scale = usize::from(self.scale);
        let negative = self.negative && self.magnitude != [0; 4];
        while self.magnitude != [0; 4] || digits.len() <= scale {
            digits.push(b'0' + self.divide(10) as u8);
            if digits.len() == scale {
                digits.push(b'.');
                if self.magnitude == [0; 4] {
                    digits.push(b'0');
                    break;
                }
            }
        }
        if negative {
            digits.push(b'-');
        }
        digits.reverse();
        out.extend_from_slice(&digits);
    }
}

/// Compares two decimal numbers as they stand in text rows.
pub(super) fn compare_decimals(a: &[u8], b: &[u8]) -> Ordering {
    let (negative_a, whole_a, fraction_a) = parts(a);
    let (negative_b, whole_b, fraction_b) = parts(b);
    let magnitudes = || {
        let whole = whole_a
            .len()
            .cmp(&whole_b.len())
            .then_with(|| whole_a.cmp(whole_b));
        whole.then_with(|| fraction_a.cmp(fraction_b))
    };
    match (negative_a, negative_b) {
        (false, false) => magnitudes(),
        (true, true) => magnitudes().reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// Sign, digits before the point without leading zeros, digits behind it without trailing ones.
/// Zero has no sign.
fn parts(text: &[u8]) -> (bool, &[u8], &[u8]) {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let point = digits
        .iter()
        .position(|b| *b == b'.')
        .unwrap_or(digits.len());
    let whole = digits.get(..point).unwrap_or_default();
    let fraction = digits.get(point + 1..).unwrap_or_default();
    let zeros = whole.iter().take_while(|b| **b == b'0').count();
    let whole = whole.get(zeros..).unwrap_or_default();
    let zeros = fraction.iter().rev().take_while(|b| **b == b'0').count();
    let fraction = fraction.get(..fraction.len() - zeros).unwrap_or_default();
    (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[&str], scale: u8) -> String {
        let mut total = Decimal::parse(b"0", scale).unwrap();
        for value in values {
            total
                .add(&Decimal::parse(value.as_bytes(), scale).unwrap())
                .unwrap();
        }
        text(total)
    }

    fn text(value: Decimal) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sums_are_exact_to_the_last_of_65_digits() {
        let nines = "9".repeat(65);
        assert_eq!(sum(&[&nines, "1"], 0), format!("1{}", "0".repeat(65)));
        assert_eq!(sum(&["0.10", "0.20", "-0.30"], 2), "0.00");
        assert_eq!(sum(&["-0.05", "0.02"], 2), "-0.03");
        assert_eq!(sum(&["5", "-7"], 0), "-2");
        assert_eq!(sum(&["-7", "5"], 0), "-2");
        assert_eq!(sum(&[], 3), "0.000");
        assert_eq!(sum(&["12345678901234567890.5", "-0.5"], 1), "12345678901234567890.0");
    }

    #[test]
    fn quotients_round_half_away_from_zero() {
        let quotient = |value: &str, from: u8, by, to| {
            let value = Decimal::parse(value.as_bytes(), from).unwrap();
            text(value.quotient(by, to).unwrap())
        };
        assert_eq!(quotient("10", 0, 3, 4), "3.3333");
        assert_eq!(quotient("20", 0, 3, 4), "6.6667");
        assert_eq!(quotient("-20", 0, 3, 4), "-6.6667");
        assert_eq!(quotient("0.00", 2, 7, 6), "0.000000");
        // Under div_precision_increment = 0.
        assert_eq!(quotient("1", 0, 2, 0), "0");
        assert_eq!(quotient("-1", 0, 2, 0), "0");
        assert_eq!(quotient("0.45", 2, 1, 1), "0.5");
        // As MariaDB has them.
        assert_eq!(quotient("5.5", 4, 6, 8), "0.91666667");
        assert_eq!(quotient("5.5", 5, 6, 9), "0.916666666");
        assert_eq!(quotient("2", 5, 3, 9), "0.666666666");
        assert_eq!(quotient("-2", 6, 3, 10), "-0.6666666667");
        assert_eq!(quotient("2", 14, 3, 18), "0.666666666666666666");
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["", "-", "1.2.3", "a", "1e3", "1.234"] {
            assert!(Decimal::parse(text.as_bytes(), 2).is_err(), "{text}");
        }
        assert!(Decimal::parse("9".repeat(80).as_bytes(), 0).is_err());
    }

    #[test]
    fn decimals_compare_as_numbers() {
        let order =
            ["-100.5", "-20", "-3.25", "-0.1", "0", "0.09", "0.1", "3", "3.5", "20.0", "100"];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare_decimals(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare_decimals(b"-0.00", b"0"), Ordering::Equal);
        assert_eq!(compare_decimals(b"007.10", b"7.1"), Ordering::Equal);
    }
}
