//! The rows that a change has chosen: each once, with the shard that has it.
use crate::error::sql_error;
use crate::pool::Place;
use crate::session::{Failure, Outcome};
use ahash::AHashMap;
use coregate_planner::lookup::{Literal, Written};
use coregate_planner::plan::write::{ByVindex, Change, KeyPart, Lies};
use coregate_planner::resolve::keyspace_id;
use coregate_planner::snapshot::{Keyspace, Snapshot};
use coregate_planner::vindex::KeyspaceId;

/// A row as a server sent it.
pub(super) type Cells = Vec<Option<Vec<u8>>>;

/// A row that changes.
pub(super) struct Chosen<'r> {
    pub(super) cells: &'r Cells,
    /// `None`: any of the shards, or all.
    pub(super) place: Option<Place>,
    /// How often the query has it.
    pub(super) times: u64,
}

/// What tells a row from all others: its shard, and the values of its key.
type Identity<'r> = (Option<Place>, Vec<Option<&'r [u8]>>);

pub(super) fn cell(cells: &Cells, at: u16) -> Option<&[u8]> {
    cells.get(usize::from(at)).and_then(Option::as_deref)
}

pub(super) fn lost_keyspace() -> Failure {
    sql_error(1105, "the keyspace of a changed table is no longer there").into()
}

/// Where the rows of a table may lie.
pub(super) struct Shards<'s> {
    keyspace: &'s Keyspace,
    change: &'s Change,
}

impl<'s> Shards<'s> {
    pub(super) fn of(snapshot: &'s Snapshot, change: &'s Change) -> Outcome<Self> {
        let keyspace = snapshot.keyspaces.get(usize::from(change.keyspace));
        Ok(Self { keyspace: keyspace.ok_or_else(lost_keyspace)?, change })
    }

    fn place(&self, shard: usize) -> Outcome<Place> {
        let shard = self.keyspace.shards.get(shard).ok_or_else(lost_keyspace)?;
        Ok(Place::Shard { shard: shard.id, kind: self.change.tablet_kind.into() })
    }

    pub(super) fn all(&self) -> Outcome<Vec<Place>> {
        (0..self.keyspace.shards.len())
            .map(|shard| self.place(shard))
            .collect()
    }

    /// The shard of a keyspace id.
    pub(super) fn of_id(&self, id: &[u8]) -> Outcome<Place> {
        let shard = self.keyspace.shard_for(id).ok_or_else(|| {
            Failure::from(sql_error(1105, "no shard covers the keyspace id of a changed row"))
        })?;
        self.place(usize::from(shard))
    }

    /// The one shard that has a row; `None`: several may.
    fn of_row(&self, cells: &Cells) -> Outcome<Option<Place>> {
        Ok(match &self.change.lies {
            Lies::One => Some(self.place(0)?),
            Lies::Pinned(id) => Some(self.of_id(id)?),
            Lies::Vindex(by) => Some(self.of_id(&id_of(by, cells, 0)?)?),
            Lies::Copies | Lies::Anywhere => None,
        })
    }

    /// Each row of the table that is among those of the query, in their order.
    pub(super) fn chosen<'r>(&self, rows: &'r [Cells]) -> Outcome<Vec<Chosen<'r>>> {
        let mut out: Vec<Chosen<'r>> = Vec::with_capacity(rows.len());
        let mut known: AHashMap<Identity<'r>, usize> = AHashMap::new();
        for cells in rows {
            let key: Vec<_> = self
                .change
                .key
                .iter()
                .map(|p| cell(cells, p.place))
                .collect();
            // An outer join has no row of this table here.
            let none = if self.change.whole_row {
                self.change.joined && key.iter().all(Option::is_none)
            } else {
                key.iter().any(Option::is_none)
            };
            if none {
                continue;
            }
            let place = self.of_row(cells)?;
            match known.entry((place, key)) {
                std::collections::hash_map::Entry::Occupied(entry) => {
                    if let Some(row) = out.get_mut(*entry.get()) {
                        row.times += 1;
                    }
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(out.len());
                    out.push(Chosen { cells, place, times: 1 });
                }
            }
        }
        Ok(out)
    }
}

/// Where a row lies; `start`: where the places begin that the vindex's values are named by.
pub(super) fn id_of(by: &ByVindex, cells: &Cells, start: u16) -> Outcome<KeyspaceId> {
    let values = by.places.iter().map(|at| cell(cells, start + at));
    Ok(keyspace_id(by.vindex.as_ref(), &by.families, values)?)
}

/// A value that names a row, as a literal.
pub(super) fn literal(value: Option<&[u8]>, written: &Written) -> Outcome<Literal> {
    Literal::of(value, written).ok_or_else(|| {
        sql_error(
            1105,
            "a value that names a row cannot be written: a server sent it in an unexpected form",
        )
        .into()
    })
}

/// ` WHERE` the key is that of one of these rows. `places`: where each part's value is, if not
/// where the plan says.
pub(super) fn where_keys<'r>(
    key: &[KeyPart],
    whole_row: bool,
    places: Option<&[(u16, Written)]>,
    rows: impl Iterator<Item = &'r Cells>,
) -> Outcome<Vec<u8>> {
    Ok([b" WHERE ".to_vec(), keys(key, whole_row, places, rows)?].concat())
}

/// The condition itself.
pub(super) fn keys<'r>(
    key: &[KeyPart],
    whole_row: bool,
    places: Option<&[(u16, Written)]>,
    rows: impl Iterator<Item = &'r Cells>,
) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    let value = |n: usize, part: &KeyPart, cells: &Cells| match places.and_then(|p| p.get(n)) {
        Some((at, written)) => literal(cell(cells, *at), written),
        None => literal(cell(cells, part.place), &part.written),
    };
    if let ([part], false) = (key, whole_row) {
        out.extend_from_slice(part.test.as_bytes());
        out.extend_from_slice(b" IN (");
        for (n, cells) in rows.enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&value(0, part, cells)?.sql);
        }
        out.push(b')');
        return Ok(out);
    }
    let equals: &[u8] = if whole_row { b"<=>" } else { b"=" };
    for (n, cells) in rows.enumerate() {
        out.extend_from_slice(if n > 0 { b" OR (" } else { b"(" });
        for (n, part) in key.iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(b" AND ");
            }
            out.extend_from_slice(part.test.as_bytes());
            out.extend_from_slice(equals);
            out.extend_from_slice(&value(n, part, cells)?.sql);
        }
        out.push(b')');
    }
    Ok(out)
}
