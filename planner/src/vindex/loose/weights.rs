//! Sort keys: the longest listed sequences of code points, from left to right, each with its key.
use super::nfd::{self, Reader};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::sync::LazyLock;

static DATA: &[u8] = include_bytes!("weights.bin");
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::decode(DATA));

/// The longest listed sequence.
const LONGEST: usize = 3;

/// How many marks after a sequence are looked at: a bound on the work for a string of nothing but
/// marks.
const MOST_MARKS: usize = 256;

type Sequence = SmallVec<[u32; LONGEST]>;

/// Where a key lies in [`DATA`].
#[derive(Clone, Copy)]
struct Key {
    at: u32,
    length: u8,
}

impl Key {
    fn bytes(self) -> &'static [u8] {
        &DATA[self.at as usize..][..usize::from(self.length)]
    }
}

struct Table {
    singles: AHashMap<u32, Key>,
    sequences: AHashMap<Sequence, Key>,
    /// First code points of [`Self::sequences`].
    starts: ahash::AHashSet<u32>,
    /// Keys of ASCII characters: no sequence lies within ASCII, so that they stand for themselves
    /// there.
    ascii: [&'static [u8]; 128],
}

impl Table {
    fn decode(all: &'static [u8]) -> Self {
        let mut table = Self {
            singles: AHashMap::new(),
            sequences: AHashMap::new(),
            starts: ahash::AHashSet::new(),
            ascii: [&[]; 128],
        };
        let mut data = Reader(all);
        while !data.0.is_empty() {
            let count = data.int(1);
            let points: Sequence = (0..count).map(|_| data.int(3)).collect();
            let length = data.bytes(1)[0];
            let key = Key { at: (all.len() - data.0.len()) as u32, length };
            let bytes = data.bytes(usize::from(length));
            if let [point] = points[..] {
                if let Some(slot) = table.ascii.get_mut(point as usize) {
                    *slot = bytes;
                }
                table.singles.insert(point, key);
            } else {
                table.starts.insert(points[0]);
                table.sequences.insert(points, key);
            }
        }
        table
    }

    fn get(&self, points: &[u32]) -> Option<Key> {
        match points {
            [point] => self.singles.get(point).copied(),
            _ => self.sequences.get(points).copied(),
        }
    }
}

/// The sort key of a string.
pub(super) fn key(text: &str) -> Vec<u8> {
    let table = &*TABLE;
    let mut out = Vec::with_capacity(text.len() * 2);
    if text.is_ascii() {
        for byte in text.bytes() {
            out.extend_from_slice(table.ascii[usize::from(byte & 127)]);
        }
        return out;
    }
    let mut points = nfd::decompose(text);
    let mut at = 0;
    while at < points.len() {
        let first = points[at].0;
        if table.starts.contains(&first) {
            at += sequence(table, &mut points, at, &mut out);
            continue;
        }
        push(table.get(&[first]), first, &mut out);
        at += 1;
    }
    out
}

fn push(key: Option<Key>, point: u32, out: &mut Vec<u8>) {
    match key {
        Some(key) => out.extend_from_slice(key.bytes()),
        None => out.extend_from_slice(&implicit(point)),
    }
}

/// Takes the longest listed sequence at `at`, extended over following marks that nothing blocks,
/// and gives its length. Marks that the extension takes from further on are moved up to it.
fn sequence(table: &Table, points: &mut [(u32, u8)], at: usize, out: &mut Vec<u8>) -> usize {
    let longest = LONGEST.min(points.len() - at);
    let mut taken: Sequence = points[at..at + longest].iter().map(|p| p.0).collect();
    let mut key = table.get(&taken);
    while key.is_none() && taken.len() > 1 {
        taken.pop();
        key = table.get(&taken);
    }
    let mut length = taken.len();
    let mut blocked = 0;
    let first = at + length;
    for next in first..points.len().min(first + MOST_MARKS) {
        let (point, class) = points[next];
        if class == 0 {
            break;
        }
        if class <= blocked {
            continue;
        }
        taken.push(point);
        if let Some(longer) = table.get(&taken) {
            key = Some(longer);
            points[at + length..=next].rotate_right(1);
            length += 1;
        } else {
            taken.pop();
            blocked = class;
        }
    }
    push(key, points[at].0, out);
    length
}

/// The key of a code point that is not listed: the point itself, in one of three blocks of weights.
fn implicit(point: u32) -> [u8; 3] {
    let base = match point {
        0x4E00..=0x9FFF => 0x10000,
        0xFA0E
        | 0xFA0F
        | 0xFA11
        | 0xFA13
        | 0xFA14
        | 0xFA1F
        | 0xFA21
        | 0xFA23
        | 0xFA24
        | 0xFA27..=0xFA29 => 0x10000,
        0x3400..=0x4DBF
        | 0x16FE4
        | 0x17000..=0x187F7
        | 0x18800..=0x18CD5
        | 0x18D00..=0x18D08
        | 0x1B170..=0x1B2FB
        | 0x20000..=0x2A6DF
        | 0x2A700..=0x2B739
        | 0x2B740..=0x2B81D
        | 0x2B820..=0x2CEA1
        | 0x2CEB0..=0x2EBE0
        | 0x30000..=0x3134A
        | 0x31350..=0x323AF => 0x20000,
        _ => 0x50000,
    };
    let weight = base + point; // always more than 0x7FFF: three bytes, the top bit set
    let [_, high, middle, low] = weight.to_be_bytes();
    [high | 0x80, middle, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sequence_lies_within_ascii() {
        assert!(TABLE.sequences.keys().all(|s| s.iter().any(|&p| p >= 128)));
        assert!(TABLE.ascii.iter().all(|key| key.len() <= 2));
    }

    #[test]
    fn a_string_of_marks_takes_no_square_of_its_length() {
        let marks = "\u{f71}\u{f72}".repeat(100_000);
        assert!(!key(&marks).is_empty());
    }

    #[test]
    fn case_and_accents_make_no_difference() {
        for (a, b) in
            [("abc", "ABC"), ("é", "E"), ("cafe\u{301}", "café"), ("ｗｉｄｅ", "wide"), ("ς", "Σ")]
        {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("a"), key("b"));
    }
}
