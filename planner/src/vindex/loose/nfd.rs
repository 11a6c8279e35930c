//! Canonical decomposition (NFD) of Unicode 15, from a table made by `generate.py`.
use ahash::AHashMap;
use std::sync::LazyLock;

static DATA: &[u8] = include_bytes!("nfd.bin");
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::decode(DATA));

#[derive(Default)]
struct Table {
    decompositions: AHashMap<u32, Box<[u32]>>,
    /// First code point, number, combining class; sorted.
    classes: Vec<(u32, u32, u8)>,
}

/// Reads little-endian integers off a table that was built into the program.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }
    pub(super) fn int(&mut self, bytes: usize) -> u32 {
        self.bytes(bytes)
            .iter()
            .rev()
            .fold(0, |n, &b| n << 8 | u32::from(b))
    }
}

impl Table {
    fn decode(data: &[u8]) -> Self {
        let mut data = Reader(data);
        let mut table = Self::default();
        for _ in 0..data.int(2) {
            let point = data.int(3);
            let length = data.int(1);
            table
                .decompositions
                .insert(point, (0..length).map(|_| data.int(3)).collect());
        }
        for _ in 0..data.int(2) {
            table
                .classes
                .push((data.int(3), data.int(2), data.bytes(1)[0]));
        }
        table
    }

    fn class(&self, point: u32) -> u8 {
        if point < 0x300 {
            return 0;
        }
        let after = self.classes.partition_point(|run| run.0 <= point);
        match after.checked_sub(1).and_then(|i| self.classes.get(i)) {
            Some(&(first, count, class)) if point - first < count => class,
            _ => 0,
        }
    }
}

/// Decomposes a string: code points with their combining classes, in canonical order.
pub(crate) fn decompose(text: &str) -> Vec<(u32, u8)> {
    let table = &*TABLE;
    let mut out = Vec::with_capacity(text.len());
    let mut push = |point| out.push((point, table.class(point)));
    for point in text.chars().map(u32::from) {
        match point {
            0xAC00..0xD7A4 => {
                let syllable = point - 0xAC00;
                push(0x1100 + syllable / 588);
                push(0x1161 + syllable % 588 / 28);
                if syllable % 28 != 0 {
                    push(0x11A7 + syllable % 28);
                }
            }
            0..0xC0 => push(point),
            _ => match table.decompositions.get(&point) {
                Some(parts) => parts.iter().for_each(|&part| push(part)),
                None => push(point),
            },
        }
    }
    // Marks after a starter are sorted by class; those of the same class keep their order.
    for marks in out.chunk_by_mut(|a, b| (a.1 == 0) == (b.1 == 0)) {
        if marks.len() > 1 && marks[0].1 != 0 {
            marks.sort_by_key(|mark| mark.1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nfd(text: &str) -> String {
        decompose(text)
            .into_iter()
            .filter_map(|(point, _)| char::from_u32(point))
            .collect()
    }

    #[test]
    fn decomposes_and_orders() {
        assert_eq!(nfd("é"), "e\u{301}");
        assert_eq!(nfd("ǘ"), "u\u{308}\u{301}");
        assert_eq!(nfd("한각"), "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1161}\u{11a8}");
        assert_eq!(nfd("가"), "\u{1100}\u{1161}");
        assert_eq!(nfd("a\u{301}\u{323}b\u{301}"), "a\u{323}\u{301}b\u{301}");
        assert_eq!(nfd("\u{212b}"), "A\u{30a}");
        assert_eq!(nfd("ﬁ"), "ﬁ"); // compatibility only
    }
}
