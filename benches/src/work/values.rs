//! Values of statements, and the random numbers that they are drawn from: quick, and the same in
//! every run.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    /// Digits, letters and dashes only: nothing that a literal must escape.
    Text(Vec<u8>),
}

impl Value {
    pub(crate) fn put_literal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Self::Text(text) => {
                out.push(b'\'');
                out.extend_from_slice(text);
                out.push(b'\'');
            }
        }
    }

    pub(crate) fn as_param(&self) -> coregate_protocol::value::Value<'_> {
        match self {
            Self::Int(n) => coregate_protocol::value::Value::Int(*n),
            Self::Text(text) => coregate_protocol::value::Value::Bytes(text),
        }
    }
}

/// xorshift64*.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Seeds that are neighbours begin alike.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 up to, not including, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.wrapping_sub(low) as u64 + 1;
        low.wrapping_add((self.next() % span.max(1)) as i64)
    }

    /// As sysbench's `c`: groups of eleven digits with dashes between them.
    pub(crate) fn digits(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .map(|at| if at % 12 == 11 { b'-' } else { b'0' + (self.next() >> 33) as u8 % 10 })
            .collect()
    }

    pub(crate) fn letters(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .map(|_| b'a' + (self.next() >> 33) as u8 % 26)
            .collect()
    }
}
