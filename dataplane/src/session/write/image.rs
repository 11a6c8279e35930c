//! What follows a change of rows that lookup tables, or the rows' own places, depend on: the rows
//! are read again, entries are put right, and rows that belong to other shards now are taken there.
use super::super::transaction::EntryChange;
use super::super::{Outcome, Session};
use super::Steps;
use super::by_key::Queues;
use super::rows::{Cells, Chosen, Shards, cell, id_of, literal, where_keys};
use crate::error::sql_error;
use crate::exec::write_literal;
use crate::pool::Place;
use ahash::AHashMap;
use coregate_planner::lookup::{Literal, Written, check, remove};
use coregate_planner::plan::Plan;
use coregate_planner::plan::write::{Change, Image, Moves};
use coregate_planner::resolve::NewEntries;
use coregate_planner::vindex::KeyspaceId;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Rows that one statement puts on another shard.
const MOVED_ROWS: usize = 100;

const OTHER_VALUES: &str = "VT12001: unsupported: an UPDATE that takes a row to another shard, \
    where the server would store other values than the row has: \
     0 in an AUTO_INCREMENT column, a date that sql_mode does not allow, uuid or inet under the \
     character set binary, or columns that a trigger \
     sets; set sql_mode to NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES and names to utf8mb4, or \
     DELETE and INSERT the row";

type Entry = (SmallVec<[Literal; 1]>, KeyspaceId);

/// The entries of rows in all lookup tables.
#[derive(Default)]
pub(super) struct Entries {
    /// In the order of the image's lookups.
    tables: Vec<Vec<Entry>>,
}

impl Entries {
    /// Those of one more row, whose image begins at `start`.
    pub(super) fn add(&mut self, image: &Image, cells: &Cells, start: u16) -> Outcome {
        let id = id_of(&image.by, cells, start)?;
        self.tables.resize_with(image.lookups.len(), Vec::new);
        for (lookup, table) in image.lookups.iter().zip(&mut self.tables) {
            let values = lookup
                .columns
                .iter()
                .map(|(at, written)| literal(cell(cells, start + at), written));
            table.push((values.collect::<Outcome<_>>()?, id.clone()));
        }
        Ok(())
    }

    /// What makes these entries of those.
    fn steps(self, before: Self, image: &Image) -> EntrySteps {
        let EntrySteps { mut removed, mut added, mut checks } = EntrySteps::default();
        let mut before = before.tables.into_iter();
        let mut after = self.tables.into_iter();
        for lookup in &image.lookups {
            let (old, new) = (before.next().unwrap_or_default(), after.next().unwrap_or_default());
            let (gone, come) = difference(old, new);
            if !lookup.is_owner {
                let queries = come
                    .iter()
                    .filter_map(|(values, id)| check(&lookup.def, (values.as_slice(), id)));
                let columns = lookup.owner.columns.join(", ").replace('`', "");
                checks.extend(queries.map(|query| (query, columns.clone())));
                continue;
            }
            let gone = gone.iter().map(|(values, id)| (values.as_slice(), id));
            remove(&lookup.def, gone, &mut removed);
            added.extend(NewEntries::parts(&lookup.def, &lookup.owner, come.into_iter()));
        }
        EntrySteps { removed, added, checks }
    }
}

/// Statements that take entries away, then those that come, and queries for those of other tables
/// that must be there.
#[derive(Default)]
struct EntrySteps {
    removed: Vec<Vec<u8>>,
    added: Vec<NewEntries>,
    checks: Vec<(Vec<u8>, String)>,
}

/// What is only in the first list, and what is only in the second.
fn difference(old: Vec<Entry>, new: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let name = |(values, id): &Entry| {
        let values: Vec<Vec<u8>> = values.iter().map(|v| v.sql.clone()).collect();
        (values, id.clone())
    };
    let mut left: AHashMap<_, usize> = AHashMap::new();
    for entry in &old {
        *left.entry(name(entry)).or_default() += 1;
    }
    let mut come = Vec::new();
    for entry in new {
        match left.get_mut(&name(&entry)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => come.push(entry),
        }
    }
    let mut gone = Vec::new();
    for entry in old {
        if let Some(count) = left.get_mut(&name(&entry))
            && *count > 0
        {
            *count -= 1;
            gone.push(entry);
        }
    }
    (gone, come)
}

/// A row that lies on another shard than it belongs to.
struct Moved {
    from: Place,
    to: Place,
    cells: Cells,
}

impl Session {
    /// Does what a change of rows makes necessary.
    pub(super) async fn follow(
        &mut self,
        plan: &Plan,
        shards: &Shards<'_>,
        (change, image): (&Change, &Image),
        (chosen, before): (&[Chosen<'_>], Entries),
        is_delete: bool,
    ) -> Outcome {
        let mut after = Entries::default();
        let mut moved = Vec::new();
        if !is_delete {
            for (place, rows) in by_place(chosen) {
                let again = self.read_again(plan, (change, image), place, &rows).await?;
                // The key's values come first, then the image.
                let start = u16::try_from(change.key.len()).unwrap_or(u16::MAX);
                for cells in again {
                    after.add(image, &cells, start)?;
                    if image.moves.is_some() {
                        let to = shards.of_id(&id_of(&image.by, &cells, start)?)?;
                        if to != place {
                            moved.push(Moved { from: place, to, cells });
                        }
                    }
                }
            }
        }
        if let Some(moves) = &image.moves {
            self.move_rows(plan, (change, image, moves), moved).await?;
        }
        // Last, when each row lies where its entry will say: whoever else has the value is found
        // beside it.
        self.put_right(after, before, image).await
    }

    /// Makes the entries that there must be of those that there are.
    pub(super) async fn put_right(
        &mut self,
        after: Entries,
        before: Entries,
        image: &Image,
    ) -> Outcome {
        let told = self.last.warnings.take();
        let result = self.replace_entries(after.steps(before, image)).await;
        self.last.warnings = told;
        result
    }

    async fn replace_entries(
        &mut self,
        EntrySteps { removed, added, checks }: EntrySteps,
    ) -> Outcome {
        for (query, columns) in checks {
            self.check_entry(&query, &columns).await?;
        }
        for sql in removed {
            self.change_entries(&sql, EntryChange::Removed).await?;
        }
        // An entry that was taken away may be another row's now.
        for entries in added {
            self.add_entries(&entries, true).await?;
        }
        Ok(())
    }

    /// The rows of one shard as they are now.
    async fn read_again(
        &mut self,
        plan: &Plan,
        (change, image): (&Change, &Image),
        place: Place,
        rows: &[&Cells],
    ) -> Outcome<Vec<Cells>> {
        let key: Vec<&str> = change.key.iter().map(|part| part.read.as_str()).collect();
        let mut head = format!("SELECT {},{}", key.join(","), image.list);
        if let Some(moves) = &image.moves {
            head.push(',');
            head.push_str(&moves.list);
        }
        head.push_str(&format!(" FROM {}", change.table));
        let mut found = Vec::new();
        for rows in rows.chunks(super::by_key::BATCH_ROWS) {
            let mut sql = head.clone().into_bytes();
            sql.extend(where_keys(&change.key, false, Some(&image.new_key), rows.iter().copied())?);
            sql.extend_from_slice(b" LIMIT 18446744073709551615 FOR UPDATE");
            found.append(&mut self.read_at(plan, place, &sql).await?.rows);
        }
        if found.len() != rows.len() {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: rows whose key changes to a value that is stored in another \
                    form, in an UPDATE of vindex columns; \
                 give the key as its column stores it",
            )
            .into());
        }
        Ok(found)
    }

    /// Takes rows away from where they were, then puts them where they belong.
    async fn move_rows(
        &mut self,
        plan: &Plan,
        (change, image, moves): (&Change, &Image, &Moves),
        moved: Vec<Moved>,
    ) -> Outcome {
        if moved.is_empty() {
            return Ok(());
        }
        // The key stands first in these rows.
        let places = (0..)
            .zip(&change.key)
            .map(|(at, part)| (at, part.written.clone()));
        let places: Vec<(u16, Written)> = places.collect();
        let mut from: BTreeMap<Place, Vec<&Cells>> = BTreeMap::new();
        let mut to: BTreeMap<Place, Vec<&Cells>> = BTreeMap::new();
        for row in &moved {
            from.entry(row.from).or_default().push(&row.cells);
            to.entry(row.to).or_default().push(&row.cells);
        }
        let mut deletes = Queues::new();
        for (place, rows) in from {
            for rows in rows.chunks(super::by_key::BATCH_ROWS) {
                let mut sql = format!("DELETE FROM {}", change.table).into_bytes();
                sql.extend(where_keys(&change.key, false, Some(&places), rows.iter().copied())?);
                deletes.entry(place).or_default().push_back(sql);
            }
        }
        let start = places.len() + usize::from(image.width);
        let mut inserts = Queues::new();
        for (place, rows) in to {
            for rows in rows.chunks(MOVED_ROWS) {
                let sql = insert(moves, start, rows)?;
                inserts.entry(place).or_default().push_back(sql);
            }
        }
        // For the client, these rows have changed, and not gone and come.
        let mut uncounted = Steps::default();
        self.run_queues(plan, deletes, &mut uncounted).await?;
        self.run_queues(plan, inserts, &mut uncounted).await?;
        self.moved_as_they_were(plan, (change, moves), (&places, start), &moved)
            .await
    }

    /// Has each row the values that it had? A server may store others: a new number for 0, a zero
    /// date, NULL, what a trigger sets.
    async fn moved_as_they_were(
        &mut self,
        plan: &Plan,
        (change, moves): (&Change, &Moves),
        (places, start): (&[(u16, Written)], usize),
        moved: &[Moved],
    ) -> Outcome {
        let mut to: BTreeMap<Place, Vec<&Cells>> = BTreeMap::new();
        for row in moved {
            to.entry(row.to).or_default().push(&row.cells);
        }
        for (place, rows) in to {
            for rows in rows.chunks(super::by_key::BATCH_ROWS) {
                let mut sql = format!("SELECT {} FROM {}", moves.list, change.table).into_bytes();
                sql.extend(where_keys(&change.key, false, Some(places), rows.iter().copied())?);
                sql.extend_from_slice(b" LIMIT 18446744073709551615 FOR UPDATE");
                let found = self.read_at(plan, place, &sql).await?.rows;
                let mut is: Vec<&[Option<Vec<u8>>]> = found.iter().map(Vec::as_slice).collect();
                let were = rows.iter().map(|row| row.get(start..).unwrap_or_default());
                let mut were: Vec<_> = were.collect();
                is.sort_unstable();
                were.sort_unstable();
                if is != were {
                    return Err(sql_error(1235, OTHER_VALUES).into());
                }
            }
        }
        Ok(())
    }
}

fn by_place<'r>(chosen: &[Chosen<'r>]) -> BTreeMap<Place, Vec<&'r Cells>> {
    let mut out: BTreeMap<Place, Vec<&'r Cells>> = BTreeMap::new();
    for row in chosen {
        if let Some(place) = row.place {
            out.entry(place).or_default().push(row.cells);
        }
    }
    out
}

/// Rows as they were, for another shard; `start`: where their columns begin.
fn insert(moves: &Moves, start: usize, rows: &[&Cells]) -> Outcome<Vec<u8>> {
    let mut out = moves.insert.clone().into_bytes();
    for (n, cells) in rows.iter().enumerate() {
        out.extend_from_slice(if n > 0 { b",(" } else { b"(" });
        for (column, load) in moves.loads.iter().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            match cells.get(start + column).and_then(Option::as_deref) {
                None => out.extend_from_slice(b"NULL"),
                Some(value) => write_literal(*load, value, &mut out)?,
            }
        }
        out.push(b')');
    }
    Ok(out)
}
