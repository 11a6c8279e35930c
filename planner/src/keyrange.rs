//! Key ranges and shard names, as Vitess writes them
//! (<https://vitess.io/docs/concepts/shard/#shard-naming>).
//!
//! A keyspace id is a string of bytes, compared from the left; a shorter one counts as padded with
//! zeros on the right, so that `80` and `8000` are the same boundary.
use crate::snapshot::{KeyRange, Keyspace, ShardIdx};
use std::cmp::Ordering;
use std::fmt;

/// How many shards a keyspace can have: what fits [`ShardIdx`](crate::snapshot::ShardIdx).
pub(crate) const MAX_SHARDS: usize = 65_536;

/// A shard name or a set of shards that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRangeError {
    /// The name has no dash, or several.
    #[error(
        "shard name `{0}` is not a range: write START-END in hexadecimal, e.g. -80, 40-80, 80-"
    )]
    NotARange(String),
    /// The name, and the side of it that is at fault.
    #[error("shard name `{0}`: `{1}` is not an even number of hexadecimal digits")]
    NotHex(String, String),
    /// The range would be empty.
    #[error("shard name `{0}`: the start must be less than the end")]
    OutOfOrder(String),
    /// A name of an unsharded keyspace's shard.
    #[error(
        "shard name `{0}` is empty or holds a character other than letters, digits, `_`, `-` and \
            `.`"
    )]
    BadName(String),
    /// More shards than there can be, or none.
    #[error("a number of shards must be between 1 and {MAX_SHARDS}, not {0}")]
    BadCount(usize),
    /// An empty list of shards.
    #[error("no shards are given; an unsharded keyspace has one, named 0")]
    NoShards,
    /// The name, and how many shards there are.
    #[error(
        "shard `{0}` is not a key range, so it must be the only shard of its keyspace, which has \
            {1}"
    )]
    NotAlone(String, usize),
    /// The range that no shard covers.
    #[error("the shards must cover all keyspace ids: nothing covers {0}")]
    Gap(String),
    /// The names of two shards.
    #[error("shards `{0}` and `{1}` overlap")]
    Overlap(String, String),
}

/// Vitess's order of keyspace ids: as bytes, with trailing zeros of no account.
pub(crate) fn compare_ids(a: &[u8], b: &[u8]) -> Ordering {
    match (padded(a), padded(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => trim_zeros(a).cmp(trim_zeros(b)),
    }
}

/// An id of at most eight bytes as a number that compares as the id does.
#[inline]
pub(crate) fn padded(id: &[u8]) -> Option<u64> {
    if let Ok(whole) = id.try_into() {
        return Some(u64::from_be_bytes(whole));
    }
    let mut bytes = [0; 8];
    bytes.get_mut(..id.len())?.copy_from_slice(id);
    Some(u64::from_be_bytes(bytes))
}

fn trim_zeros(id: &[u8]) -> &[u8] {
    let len = id.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    &id[..len]
}

impl KeyRange {
    /// All keyspace ids.
    pub(crate) fn full() -> Self {
        Self::default()
    }

    /// Parses `-80`, `40-80`, `80-`, `-`: any even number of hexadecimal digits on each side, in
    /// either case.
    pub(crate) fn parse(name: &str) -> Result<Self, KeyRangeError> {
        let Some((start, end)) = name.split_once('-') else {
            return Err(KeyRangeError::NotARange(name.to_owned()));
        };
        if end.contains('-') {
            return Err(KeyRangeError::NotARange(name.to_owned()));
        }
        let bytes = |side: &str| {
            from_hex(side).ok_or_else(|| KeyRangeError::NotHex(name.to_owned(), side.to_owned()))
        };
        let range = Self { start: bytes(start)?, end: bytes(end)? };
        if !range.end.is_empty() && compare_ids(&range.start, &range.end) != Ordering::Less {
            return Err(KeyRangeError::OutOfOrder(name.to_owned()));
        }
        Ok(range)
    }

    /// Parses a shard's name: a range, or a name without a dash (`0`), which stands for all ids.
    pub fn of_shard(name: &str) -> Result<Self, KeyRangeError> {
        if name.contains('-') {
            return Self::parse(name);
        }
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(good) {
            return Err(KeyRangeError::BadName(name.to_owned()));
        }
        Ok(Self::full())
    }

    /// The range of all ids that begin with `prefix`.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        for i in (0..end.len()).rev() {
            end[i] = end[i].wrapping_add(1);
            if end[i] != 0 {
                return Self { start: prefix.to_vec(), end };
            }
        }
        Self { start: prefix.to_vec(), end: Vec::new() } // all 0xff: up to the end of the space
    }

    /// Does `id` lie in the range?
    pub fn contains(&self, id: &[u8]) -> bool {
        compare_ids(&self.start, id) != Ordering::Greater
            && (self.end.is_empty() || compare_ids(id, &self.end) == Ordering::Less)
    }

    /// Do the ranges have an id in common?
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        let before = |end: &[u8], start: &[u8]| {
            !end.is_empty() && compare_ids(end, start) != Ordering::Greater
        };
        !before(&self.end, &other.start) && !before(&other.end, &self.start)
    }
}

impl Keyspace {
    /// The shard that a keyspace id lies in; `None` if the shards do not cover it.
    pub fn shard_for(&self, id: &[u8]) -> Option<ShardIdx> {
        // Shards are sorted: it can only be the last one that begins at or before the id.
        let after = self
            .shards
            .partition_point(|s| compare_ids(&s.range.start, id) != Ordering::Greater);
        let index = after.checked_sub(1)?;
        let held = self.shards.get(index)?.range.contains(id);
        held.then(|| ShardIdx::try_from(index).ok())?
    }

    /// The shards that have ids in common with a range, in order.
    pub(crate) fn shards_in<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = ShardIdx> + 'a {
        let shards = self.shards.iter().enumerate();
        let hit = shards.filter(move |(_, shard)| shard.range.intersects(range));
        hit.filter_map(|(i, _)| ShardIdx::try_from(i).ok())
    }
}

/// The range's name: `-80`, `40-80`, `80-`, `-`.
impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", to_hex(&self.start), to_hex(&self.end))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n & 15)]);
    bytes
        .iter()
        .flat_map(|&b| [digit(b >> 4), digit(b)])
        .collect()
}

/// `None` unless it is an even number of hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |c: u8| char::from(c).to_digit(16);
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok())
        .collect()
}

/// Names of `count` shards of (almost) the same size, as Vitess's `GenerateShardRanges` gives them:
/// two digits up to 256 shards, four above; where the count does not divide the space, boundaries
/// are rounded down. One shard is `-`.
pub fn range_names(count: usize) -> Result<Vec<String>, KeyRangeError> {
    let (space, digits) = match count {
        1..=256 => (256u32, 2),
        257..=MAX_SHARDS => (65_536, 4),
        _ => return Err(KeyRangeError::BadCount(count)),
    };
    // Floating point as in Vitess: the rounding is part of the names. (For a few counts, 49 the
    // least, Vitess's own last shard ends short of the end by that rounding; ours is open.)
    let size = f64::from(space) / count as f64;
    let boundary = |i: usize| match (i as f64 * size) as u32 {
        end if end == 0 || i == count => String::new(),
        end => format!("{end:0digits$x}"),
    };
    Ok((0..count)
        .map(|i| format!("{}-{}", boundary(i), boundary(i + 1)))
        .collect())
}

/// Shard names for `--keyspace NAME:COUNT`: as [`range_names`], but a single shard is the unsharded
/// `0`.
pub fn shard_names(count: usize) -> Result<Vec<String>, KeyRangeError> {
    if count == 1 { Ok(vec!["0".to_owned()]) } else { range_names(count) }
}

/// Parses the names of a keyspace's shards, sorts them by range, and makes sure that each keyspace
/// id lies in exactly one.
pub fn partition<S: AsRef<str>>(names: &[S]) -> Result<Vec<(String, KeyRange)>, KeyRangeError> {
    let mut shards = Vec::with_capacity(names.len());
    for name in names {
        let name = name.as_ref();
        let range = KeyRange::of_shard(name)?;
        if !name.contains('-') && names.len() > 1 {
            return Err(KeyRangeError::NotAlone(name.to_owned(), names.len()));
        }
        shards.push((name.to_owned(), range));
    }
    if shards.len() > MAX_SHARDS {
        return Err(KeyRangeError::BadCount(shards.len()));
    }
    shards.sort_by(|a, b| compare_ids(&a.1.start, &b.1.start));
    let (Some(first), Some(last)) = (shards.first(), shards.last()) else {
        return Err(KeyRangeError::NoShards);
    };
    if !trim_zeros(&first.1.start).is_empty() {
        return Err(KeyRangeError::Gap(format!("-{}", to_hex(&first.1.start))));
    }
    for pair in shards.windows(2) {
        let (end, start) = (&pair[0].1.end, &pair[1].1.start);
        match if end.is_empty() { Ordering::Greater } else { compare_ids(end, start) } {
            Ordering::Equal => {}
            Ordering::Less => {
                return Err(KeyRangeError::Gap(format!("{}-{}", to_hex(end), to_hex(start))));
            }
            Ordering::Greater => {
                return Err(KeyRangeError::Overlap(pair[0].0.clone(), pair[1].0.clone()));
            }
        }
    }
    if !last.1.end.is_empty() {
        return Err(KeyRangeError::Gap(format!("{}-", to_hex(&last.1.end))));
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str) -> KeyRange {
        KeyRange::parse(name).unwrap()
    }

    #[test]
    fn names_round_trip_and_bad_ones_are_refused() {
        for name in ["-", "-80", "80-", "40-80", "a0c0-b1", "-19a0"] {
            assert_eq!(range(name).to_string(), name);
        }
        assert_eq!(range("-AB").to_string(), "-ab");
        for name in ["", "80", "8-", "-8", "80-40", "80-80", "80-8000", "x-", "-10-20"] {
            assert!(KeyRange::parse(name).is_err(), "{name}");
        }
        assert_eq!(KeyRange::of_shard("0").unwrap(), KeyRange::full());
        assert!(KeyRange::of_shard("a b").is_err());
    }

    #[test]
    fn ids_are_padded_with_zeros() {
        let low = range("-80");
        assert!(low.contains(&[]) && low.contains(&[0x7f, 0xff]) && low.contains(&[0x7f; 20]));
        assert!(!low.contains(&[0x80]) && !low.contains(&[0x80, 0]) && !low.contains(&[0xff]));
        let high = range("8000-");
        assert!(
            high.contains(&[0x80])
                && high.contains(&[0xff; 9])
                && !high.contains(&[0x7f, 0xff, 0xff])
        );
        assert!(range("-").contains(&[]) && range("-").contains(&[0xff; 8]));
    }

    #[test]
    fn even_splits_have_the_names_of_vitess() {
        let names = |n| range_names(n).unwrap().join(" ");
        assert_eq!(names(1), "-");
        assert_eq!(names(2), "-80 80-");
        assert_eq!(names(3), "-55 55-aa aa-");
        assert_eq!(names(4), "-40 40-80 80-c0 c0-");
        assert_eq!(names(5), "-33 33-66 66-99 99-cc cc-");
        assert_eq!(names(10), "-19 19-33 33-4c 4c-66 66-80 80-99 99-b3 b3-cc cc-e6 e6-");
        assert!(names(256).starts_with("-01 01-02") && names(256).ends_with("ff-"));
        assert!(names(512).starts_with("-0080 0080-0100"));
        assert_eq!(shard_names(1).unwrap(), ["0"]);
        assert!(range_names(0).is_err() && range_names(65_537).is_err());
        for n in [1, 2, 3, 7, 10, 49, 100, 255, 256, 257, 1000] {
            assert_eq!(partition(&range_names(n).unwrap()).unwrap().len(), n);
        }
    }

    #[test]
    fn shards_must_cover_everything_once() {
        assert_eq!(partition(&["80-", "-40", "40-80"]).unwrap()[1].0, "40-80");
        assert!(
            partition(&["-8000", "80-"]).is_ok()
                && partition(&["0"]).is_ok()
                && partition(&["-"]).is_ok()
        );
        let fails = |names: &[&str]| partition(names).unwrap_err();
        assert!(matches!(fails(&[]), KeyRangeError::NoShards));
        assert!(matches!(fails(&["-40", "80-"]), KeyRangeError::Gap(_)));
        assert!(matches!(fails(&["-80"]), KeyRangeError::Gap(_)));
        assert!(matches!(fails(&["-80", "40-"]), KeyRangeError::Overlap(..)));
        assert!(matches!(fails(&["-", "80-"]), KeyRangeError::Overlap(..)));
        assert!(matches!(fails(&["-80", "80-", "80-"]), KeyRangeError::Overlap(..)));
        assert!(matches!(fails(&["0", "80-"]), KeyRangeError::NotAlone(..)));
    }

    fn keyspace(names: &[String]) -> Keyspace {
        let spec =
            crate::vschema::KeyspaceSpec::new("ks", names, crate::vschema::Keyspace::default());
        let builder =
            crate::vschema::SnapshotBuilder::new(1).keyspace(spec, &|_| Err(String::new()));
        builder.unwrap().build().keyspaces.remove(0)
    }

    #[test]
    fn ranges_find_their_shards() {
        let keyspace = keyspace(&range_names(4).unwrap());
        let of = |name: &str| keyspace.shards_in(&range(name)).collect::<Vec<_>>();
        assert_eq!(
            (of("-"), of("3f-40"), of("3f-4001"), of("c0-")),
            (vec![0, 1, 2, 3], vec![0], vec![0, 1], vec![3])
        );
        assert_eq!(keyspace.shard_for(&[]), Some(0));
    }

    proptest::proptest! {
        #[test]
        fn every_id_lies_in_exactly_one_shard(count in 1usize..600, id: Vec<u8>) {
            let keyspace = keyspace(&range_names(count).unwrap());
            let hits: Vec<usize> =
                (0..count).filter(|&i| keyspace.shards[i].range.contains(&id)).collect();
            proptest::prop_assert_eq!(&hits[..],
                &[usize::from(keyspace.shard_for(&id).unwrap())][..]);
        }
    }

    #[test]
    fn prefixes_make_ranges() {
        assert_eq!(KeyRange::of_prefix(&[0x4e]).to_string(), "4e-4f");
        assert_eq!(KeyRange::of_prefix(&[0x4e, 0xff]).to_string(), "4eff-4f00");
        assert_eq!(KeyRange::of_prefix(&[0xff, 0xff]).to_string(), "ffff-");
        assert_eq!(KeyRange::of_prefix(&[]), KeyRange::full());
        assert!(
            range("-80").intersects(&range("7f-81")) && !range("-80").intersects(&range("80-"))
        );
    }
}
