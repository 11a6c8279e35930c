//! What a server says about a collation: enough to compare the text of several shards as the server
//! itself would.
use std::cmp::Ordering;

/// A collation of the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collation {
    /// Lower case.
    pub name: String,
    /// Compares bytes.
    pub binary: bool,
    /// The weight of a space, where strings are compared as if the shorter one were filled up with
    /// spaces; empty where they are not (NO PAD).
    pub space: Vec<u8>,
    /// The weights of the 128 ASCII characters, where the weight of every ASCII string is those of
    /// its characters one after another.
    pub ascii: Option<Box<AsciiWeights>>,
}

/// The weights of ASCII characters, each as long as it is: what a collation ignores has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsciiWeights {
    /// The weight of character `c` lies in `bytes` from `starts[c]` to `starts[c + 1]`.
    starts: [u16; 129],
    bytes: Vec<u8>,
}

impl AsciiWeights {
    /// From the weights of all 128 characters, in order; `None` of another number, or of weights
    /// that no collation has.
    pub fn new<'a>(weights: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut starts = [0; 129];
        let mut bytes = Vec::with_capacity(256);
        let mut count = 0;
        for weight in weights {
            bytes.extend_from_slice(weight);
            count += 1;
            *starts.get_mut(count)? = u16::try_from(bytes.len()).ok()?;
        }
        (count == 128).then_some(Self { starts, bytes })
    }

    /// The weight of an ASCII character; empty for other bytes.
    pub fn of(&self, byte: u8) -> &[u8] {
        let at = usize::from(byte);
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[usize::from(start)..usize::from(end)],
            _ => &[],
        }
    }
}

/// Text, in one of the two forms in which it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighed<'a> {
    /// Its weight, as the server's WEIGHT_STRING gives it; of a binary collation, the text.
    Bytes(&'a [u8]),
    /// ASCII text, which the collation's own table weighs. Without a table its bytes are the
    /// weight.
    Ascii(&'a [u8]),
}

impl<'a> Weighed<'a> {
    /// Byte by byte.
    fn weight(self, table: Option<&'a AsciiWeights>) -> impl Iterator<Item = u8> + 'a {
        let (ready, text, table) = match (self, table) {
            (Self::Ascii(text), Some(table)) => (&[][..], text, Some(table)),
            (Self::Ascii(bytes) | Self::Bytes(bytes), _) => (bytes, &[][..], None),
        };
        let weighed = text
            .iter()
            .flat_map(move |byte| table.map_or(&[][..], |table| table.of(*byte)));
        ready.iter().chain(weighed).copied()
    }
}

/// Compares two values of a column with this collation as its server does, where the longer one
/// goes on after the shorter one has ended, against spaces if the collation pads.
pub fn compare(a: Weighed<'_>, b: Weighed<'_>, collation: &Collation) -> Ordering {
    let table = collation.ascii.as_deref();
    let (a, b) = match (a, b, table) {
        (Weighed::Ascii(a), Weighed::Ascii(b), Some(table)) => match skip_equal(a, b, table) {
            Ok(at) => (Weighed::Ascii(&a[at..]), Weighed::Ascii(&b[at..])),
            Err(order) => return order,
        },
        pair => (pair.0, pair.1),
    };
    compare_weights(a.weight(table), b.weight(table), &collation.space)
}

/// How many characters are equal one by one; or the order, where the first others decide it.
fn skip_equal(a: &[u8], b: &[u8], table: &AsciiWeights) -> Result<usize, Ordering> {
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        if a == b {
            continue;
        }
        let (a, b) = (table.of(*a), table.of(*b));
        match a.cmp(b) {
            Ordering::Equal => {}
            order if a.len() == b.len() => return Err(order),
            // One is ignored, or goes on: the next characters decide.
            _ => return Ok(at),
        }
    }
    Ok(a.len().min(b.len()))
}

fn compare_weights(
    mut a: impl Iterator<Item = u8>,
    mut b: impl Iterator<Item = u8>,
    space: &[u8],
) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x == y => {}
            (Some(x), Some(y)) => return x.cmp(&y),
            (Some(x), None) => return compare_to_padding(x, a, space),
            (None, Some(y)) => return compare_to_padding(y, b, space).reverse(),
            (None, None) => return Ordering::Equal,
        }
    }
}

/// Compares what the longer one has left, which begins with `first`.
fn compare_to_padding(first: u8, rest: impl Iterator<Item = u8>, space: &[u8]) -> Ordering {
    if space.is_empty() {
        return Ordering::Greater;
    }
    std::iter::once(first)
        .chain(rest)
        .zip(space.iter().cycle())
        .map(|(byte, pad)| byte.cmp(pad))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Appends what two values have in common if and only if they are equal: a key for hashing.
pub fn append_key(value: Weighed<'_>, collation: &Collation, key: &mut Vec<u8>) {
    let start = key.len();
    key.extend(value.weight(collation.ascii.as_deref()));
    let space = &collation.space[..];
    while !space.is_empty() && key[start..].ends_with(space) {
        key.truncate(key.len() - space.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters without case; control characters but tab are ignored, as in UCA's collations.
    fn unicode(space: bool) -> Collation {
        let weights: Vec<Vec<u8>> = (0..128u8)
            .map(|c| match c {
                b'\t' => vec![2, 1],
                b' ' => vec![2, 9],
                0..32 | 127 => Vec::new(),
                _ => vec![14, c.to_ascii_lowercase()],
            })
            .collect();
        let ascii = AsciiWeights::new(weights.iter().map(Vec::as_slice)).unwrap();
        Collation {
            name: "test_ci".into(),
            binary: false,
            space: if space { ascii.of(b' ').to_vec() } else { Vec::new() },
            ascii: Some(Box::new(ascii)),
        }
    }

    fn ascii(a: &str, b: &str, collation: &Collation) -> Ordering {
        let order = compare(Weighed::Ascii(a.as_bytes()), Weighed::Ascii(b.as_bytes()), collation);
        let weight = |s: &str| -> Vec<u8> {
            Weighed::Ascii(s.as_bytes())
                .weight(collation.ascii.as_deref())
                .collect()
        };
        // The same whichever of the two forms each one has.
        let (weight_a, weight_b) = (weight(a), weight(b));
        let (a, b) = (Weighed::Ascii(a.as_bytes()), Weighed::Ascii(b.as_bytes()));
        assert_eq!(order, compare(a, Weighed::Bytes(&weight_b), collation));
        assert_eq!(order, compare(Weighed::Bytes(&weight_a), b, collation));
        assert_eq!(order, compare(Weighed::Bytes(&weight_a), Weighed::Bytes(&weight_b), collation));
        assert_eq!(order.reverse(), compare(b, a, collation));
        let (mut key_a, mut key_b) = (b"x".to_vec(), b"x".to_vec());
        append_key(a, collation, &mut key_a);
        append_key(b, collation, &mut key_b);
        assert_eq!(order.is_eq(), key_a == key_b);
        order
    }

    #[test]
    fn the_shorter_one_is_filled_up_with_spaces() {
        let collation = unicode(true);
        assert_eq!(ascii("a", "A", &collation), Ordering::Equal);
        assert_eq!(ascii("a", "a   ", &collation), Ordering::Equal);
        assert_eq!(ascii("a", "a\t", &collation), Ordering::Greater);
        assert_eq!(ascii("a ", "a\t", &collation), Ordering::Greater);
        assert_eq!(ascii("a", "a b", &collation), Ordering::Less);
        assert_eq!(ascii("", "  ", &collation), Ordering::Equal);
        assert_eq!(ascii("a  \t", "a ", &collation), Ordering::Less);
    }

    #[test]
    fn nothing_is_filled_up_without_padding() {
        let collation = unicode(false);
        assert_eq!(ascii("a", "A", &collation), Ordering::Equal);
        assert_eq!(ascii("a", "a ", &collation), Ordering::Less);
        assert_eq!(ascii("a", "a\t", &collation), Ordering::Less);
        assert_eq!(ascii("", "", &collation), Ordering::Equal);
        assert_eq!(ascii("", "\t", &collation), Ordering::Less);
    }

    #[test]
    fn ignored_characters_weigh_nothing() {
        for collation in [unicode(true), unicode(false)] {
            assert_eq!(ascii("a\x01b", "AB", &collation), Ordering::Equal);
            assert_eq!(ascii("\x01", "", &collation), Ordering::Equal);
            assert_eq!(ascii("a\x01c", "ab", &collation), Ordering::Greater);
            assert_eq!(ascii("a\x01", "a\x02\x03", &collation), Ordering::Equal);
            assert_eq!(ascii("a\x01b", "ac", &collation), Ordering::Less);
        }
    }

    #[test]
    fn bytes_are_compared_where_there_is_no_table() {
        let collation = Collation { name: "binary".into(), binary: true, ..Default::default() };
        assert_eq!(ascii("a", "B", &collation), Ordering::Greater);
        assert_eq!(ascii("a", "a ", &collation), Ordering::Less);
        let padded = Collation { space: vec![b' '], ..Default::default() };
        assert_eq!(ascii("a", "a  ", &padded), Ordering::Equal);
        assert_eq!(ascii("a", "a\t", &padded), Ordering::Greater);
        assert_eq!(
            compare(Weighed::Bytes("é".as_bytes()), Weighed::Ascii(b"z"), &collation),
            Ordering::Greater
        );
    }

    #[test]
    fn a_table_has_all_characters() {
        let one: [u8; 1] = [7];
        assert!(AsciiWeights::new(std::iter::repeat_n(&one[..], 127)).is_none());
        assert!(AsciiWeights::new(std::iter::repeat_n(&one[..], 129)).is_none());
        let table = AsciiWeights::new(std::iter::repeat_n(&one[..], 128)).unwrap();
        assert_eq!((table.of(0), table.of(127)), (&one[..], &one[..]));
        assert!(table.of(128).is_empty() && table.of(255).is_empty());
        let long = [0; 1000];
        assert!(AsciiWeights::new(std::iter::repeat_n(&long[..], 128)).is_none());
    }
}
