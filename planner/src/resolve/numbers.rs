//! Rows of an INSERT that one whole number each places, as most tables' rows are: the same as for
//! any row, many at a time.
use super::Binder;
use crate::column::Family;
use crate::keyrange::padded;
use crate::plan::InsertRows;
use crate::snapshot::{Keyspace, ShardIdx};
use smallvec::SmallVec;

/// Rows that are placed together.
const TOGETHER: usize = 64;

/// Where the shards begin and end, as numbers that compare as the ids of eight bytes do.
struct Bounds(SmallVec<[(u64, Option<u64>); 16]>);

impl Bounds {
    fn of(keyspace: &Keyspace) -> Option<Self> {
        let bounds = keyspace.shards.iter().map(|shard| {
            let end =
                if shard.range.end.is_empty() { None } else { Some(padded(&shard.range.end)?) };
            Some((padded(&shard.range.start)?, end))
        });
        bounds.collect::<Option<_>>().map(Self)
    }

    fn shard_for(&self, id: u64) -> Option<ShardIdx> {
        let after = self.0.partition_point(|(start, _)| *start <= id);
        let index = after.checked_sub(1)?;
        let (_, end) = self.0.get(index)?;
        end.is_none_or(|end| id < end)
            .then(|| ShardIdx::try_from(index).ok())?
    }
}

impl Binder<'_> {
    /// Places all rows by the number at `position` in each. `false`, with nothing placed, if they
    /// must be looked at one by one.
    pub(super) fn place_numbers(
        &self,
        rows: &InsertRows,
        position: u16,
        places: &mut Vec<ShardIdx>,
    ) -> bool {
        let placed = self.try_numbers(rows, position, places).is_some();
        if !placed {
            places.clear();
        }
        placed
    }

    fn try_numbers(
        &self,
        rows: &InsertRows,
        position: u16,
        places: &mut Vec<ShardIdx>,
    ) -> Option<()> {
        let (sql, found) = (self.binding.sql, &self.binding.fingerprint.rows);
        let most = match rows.families.first()? {
            Family::Integer { max, .. } => *max,
            Family::Unknown => u64::MAX,
            _ => return None,
        };
        if found.numbered.checked_shr(position.into())? & 1 == 0
            || !rows.vindex.ids_of_numbers(&mut [])
        {
            return None;
        }
        let bounds = Bounds::of(self.keyspace)?;
        let mut ids = [0; TOGETHER];
        for spans in found.spans.chunks(TOGETHER) {
            let ids = ids.get_mut(..spans.len())?;
            for (id, span) in ids.iter_mut().zip(spans) {
                let row = sql.get(span.start as usize..span.end as usize)?;
                *id = number(self.nth(row, position)?).filter(|n| *n <= most)?;
            }
            rows.vindex.ids_of_numbers(ids);
            for id in ids.iter() {
                places.push(bounds.shard_for(*id)?);
            }
        }
        Some(())
    }

    /// What begins with the row's n-th literal.
    #[inline]
    fn nth<'r>(&self, row: &'r [u8], position: u16) -> Option<&'r [u8]> {
        if position == 0 {
            return row.get(1..);
        }
        let literal = crate::rows::literals(row, self.binding.sql_mode).nth(position.into())?;
        row.get(literal.span.start as usize..)
    }
}

/// The digits at the beginning of a text, which something else ends.
#[inline]
fn number(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            // Blanks in front are rare.
            return byte_ends(*byte).then_some(number);
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    None
}

fn byte_ends(byte: u8) -> bool {
    matches!(byte, b',' | b')')
}
