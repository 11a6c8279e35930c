//! Values of a table that is gathered, each once: what tables that come after it are asked for.
use ahash::AHashSet;

/// The most values that a table is asked for; where there are more, it is asked for all rows.
const KEYS_MAX: usize = 10_000;

/// The most bytes of them.
const KEY_BYTES_MAX: usize = 1 << 20;

/// What a value costs beside its bytes, about.
const OVERHEAD: usize = 32;

/// The values of some columns.
#[derive(Debug, Default)]
pub(crate) struct KeptValues {
    columns: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    column: u16,
    /// `None`: there are too many.
    values: Option<AHashSet<Box<[u8]>>>,
    bytes: usize,
}

impl KeptValues {
    pub(crate) fn of(columns: impl Iterator<Item = u16>) -> Self {
        let mut all: Vec<Kept> = Vec::new();
        for column in columns {
            if !all.iter().any(|kept| kept.column == column) {
                all.push(Kept { column, values: Some(AHashSet::new()), bytes: 0 });
            }
        }
        Self { columns: all }
    }

    /// Adds a row's values. Returns how many bytes more it holds.
    #[inline]
    pub(crate) fn add<'v>(&mut self, value: impl Fn(usize) -> Option<&'v [u8]>) -> usize {
        let mut more = 0;
        for kept in &mut self.columns {
            let Some(values) = &mut kept.values else { continue };
            let Some(value) = value(usize::from(kept.column)) else { continue };
            if values.contains(value) {
                continue;
            }
            kept.bytes += value.len();
            more += value.len() + OVERHEAD;
            if values.len() == KEYS_MAX || kept.bytes > KEY_BYTES_MAX {
                kept.values = None;
            } else {
                values.insert(value.into());
            }
        }
        more
    }

    /// The values of a column, in an order that is always the same. `None`: there are too many.
    pub(crate) fn of_column(&self, column: u16) -> Option<Vec<Vec<u8>>> {
        let kept = self.columns.iter().find(|kept| kept.column == column)?;
        let values = kept.values.as_ref()?.iter();
        let mut values: Vec<Vec<u8>> = values.map(|value| value.to_vec()).collect();
        values.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(values: impl Iterator<Item = Option<String>>) -> Option<Vec<Vec<u8>>> {
        let mut kept = KeptValues::of([1, 1].into_iter());
        for value in values {
            kept.add(|at| (at == 1).then_some(value.as_deref()?.as_bytes()));
        }
        kept.of_column(1)
    }

    #[test]
    fn values_are_kept_once_and_no_null() {
        let values = ["10", "9", "10"].map(|v| Some(v.to_owned()));
        let all = values.into_iter().chain([None]);
        assert_eq!(kept(all), Some(vec![b"9".to_vec(), b"10".to_vec()]));
        assert_eq!(kept(std::iter::empty()), Some(Vec::new()));
    }

    #[test]
    fn too_many_are_none() {
        let number = |n: usize| Some(n.to_string());
        assert_eq!(kept((0..KEYS_MAX).map(number)).map(|v| v.len()), Some(KEYS_MAX));
        assert_eq!(kept((0..=KEYS_MAX).map(number)), None);
        let large = |n: usize| Some(format!("{n}{}", "x".repeat(KEY_BYTES_MAX / 2)));
        assert_eq!(kept((0..1).map(large)).map(|v| v.len()), Some(1));
        assert_eq!(kept((0..2).map(large)), None);
    }
}
