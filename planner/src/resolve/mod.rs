//! Binds a plan to one statement: which shards, and with what text.
mod generate;
mod keys;
mod lookup;
mod maintain;
mod numbers;
mod rows;
mod rows_by_lookup;
mod text;
mod tree;
mod write;

use crate::charset::Charsets;
use crate::column::{Family, Sought, sought};
use crate::error::PlanError;
use crate::fingerprint::{Fingerprint, SqlMode, literal_value};
use crate::identity::ShardId;
use crate::literal::const_value;
use crate::plan::{Destination, EqualTo, InRows, Operand, Route, SessionValue, Target, Text};
use crate::snapshot::{KeyRange, Keyspace, ShardIdx, Snapshot};
use crate::value::Value;
use crate::vindex::{KeyspaceId, Mapping, Vindex};
pub use generate::Numbers;
pub use keys::{KeyValues, ask_by_keys, lookup_question};
pub use maintain::{Before, NewEntries, Step, change_statements, keyspace_id};
use smallvec::SmallVec;
pub use tree::{Parts, resolve_tree, text_to_prepare};
pub use write::{
    BoundByKey, BoundHow, BoundInsert, BoundRow, BoundSet, BoundValues, BoundWrite, resolve_write,
};

/// The statement at hand.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The client's text, of which the statement is the first one.
    pub sql: &'a [u8],
    /// Where its literals stand.
    pub fingerprint: &'a Fingerprint,
    /// Bound parameters of a prepared statement.
    pub params: &'a [Value<'a>],
    /// The session's, as far as literals are read by it.
    pub sql_mode: SqlMode,
    /// The session's: what the bytes of its strings mean.
    pub charsets: Charsets,
    /// What only the session knows.
    pub session: &'a dyn SessionValues,
    /// Runs as a prepared statement: `?` stays where it can.
    pub prepared: bool,
}

/// What only the session knows. Everything is written as a SQL literal.
pub trait SessionValues {
    /// The value of a rewritten call.
    fn write(&self, which: SessionValue, out: &mut Vec<u8>);
    /// The n-th bound parameter.
    fn write_param(&self, n: u16, out: &mut Vec<u8>);
    /// `LAST_INSERT_ID()`
    fn insert_id(&self) -> u64 {
        0
    }
    /// Is a value that does not fit its column an error?
    fn is_strict(&self) -> bool {
        false
    }
    /// Whose turn it is, of shards that may take rows as well as each other.
    fn turn(&self) -> u64 {
        0
    }
    /// How many statements a shard has to do at the moment, as far as it is known here. `None`: it
    /// does not matter, as a transaction stays where it began.
    fn load(&self, _shard: ShardId) -> Option<usize> {
        None
    }
    /// Do the servers read a number of rows out of whatever a parameter of LIMIT holds, as MariaDB
    /// does?
    fn counts_anything(&self) -> bool {
        false
    }
    /// NO_AUTO_VALUE_ON_ZERO
    fn zero_is_a_value(&self) -> bool {
        false
    }
    /// The keyspace ids that a lookup table has answered this query with; `None`: it was not asked.
    fn looked_up(&self, _query: &[u8]) -> Option<Vec<KeyspaceId>> {
        None
    }
}

/// Where a statement goes.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Never empty, in the order of shards, no shard twice.
    pub shards: SmallVec<[ShardText; 2]>,
    /// The texts have the values of parameters in them: they run as plain queries even if the
    /// statement was prepared.
    pub interpolated: bool,
    /// What runs first, in the same transaction.
    pub before: Option<Box<Before>>,
    /// The shard of each row, where the plan asks for it.
    pub places: Vec<ShardIdx>,
}

/// A shard, and what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardText {
    /// Its index in the snapshot that the statement was bound with.
    pub shard: ShardIdx,
    /// The same shard beyond this snapshot; nothing in the drop-in mode.
    pub id: ShardId,
    /// `None`: as the client wrote it, up to the fingerprint's `end`.
    pub text: Option<Vec<u8>>,
}

/// Buffers that live from statement to statement.
#[derive(Debug, Default)]
pub struct Scratch {
    values: [Buffers; COLUMNS_MAX],
    /// The shard of every row or list item; `NOWHERE` for values that no row can have.
    places: Vec<ShardIdx>,
    set: Vec<ShardIdx>,
    /// The keyspace ids of an INSERT's rows, where lookup tables need them.
    ids: Vec<KeyspaceId>,
}

/// Of one value: its text without escapes, and that in UTF-8.
#[derive(Debug, Default)]
struct Buffers {
    text: Vec<u8>,
    utf8: Vec<u8>,
}

/// No shard.
const NOWHERE: ShardIdx = ShardIdx::MAX;

/// Every shard.
const EVERYWHERE: ShardIdx = ShardIdx::MAX - 1;

/// Most columns of a vindex.
const COLUMNS_MAX: usize = 8;

struct Binder<'b> {
    binding: &'b Binding<'b>,
    keyspace: &'b Keyspace,
}

/// Finds the shards that a route means for this statement, and the text for each of them.
///
/// # Errors
/// Values that cannot be mapped, ids that no shard covers, parameters that are missing.
pub fn resolve(
    route: &Route,
    snapshot: &Snapshot,
    binding: &Binding<'_>,
    scratch: &mut Scratch,
    out: &mut Resolved,
) -> Result<(), PlanError> {
    out.shards.clear();
    out.interpolated = false;
    out.before = None;
    out.places.clear();
    scratch.places.clear();
    scratch.set.clear();
    if let Some(generate) = &route.generate {
        return Err(PlanError::Generate(Box::new(generate::bind(generate, binding)?)));
    }
    match &route.to {
        Target::DropIn => scratch.set.push(0),
        Target::Keyspace { keyspace, shards } => {
            let keyspace = snapshot
                .keyspaces
                .get(usize::from(*keyspace))
                .ok_or_else(|| PlanError::UnknownDatabase(keyspace.to_string()))?;
            if keyspace.shards.is_empty() {
                return Err(PlanError::NoShard("any".into(), keyspace.name.clone()));
            }
            let placed = Binder { binding, keyspace }.place(shards, scratch);
            match placed {
                Err(PlanError::LookUp(question)) => return Err(lookup::of_route(question, route)),
                Err(PlanError::Unsupported(_)) if route.alone => return Err(PlanError::Several),
                placed => placed?,
            }
            if route.alone && scratch.set.len() > 1 {
                return Err(PlanError::Several);
            }
        }
    }
    if scratch.set.is_empty() {
        scratch.set.push(0);
    }
    write_texts(route, binding, scratch, out);
    if let Target::Keyspace { shards: Destination::Rows(rows), .. } = &route.to
        && rows.keeps_places
    {
        out.places.extend_from_slice(&scratch.places);
    }
    name_shards(route, snapshot, out);
    if let Some(maintain) = &route.maintain {
        out.before = Some(Box::new(maintain::bind(maintain, binding, &scratch.ids)?));
    }
    Ok(())
}

/// The text of each shard in the set.
fn write_texts(route: &Route, binding: &Binding<'_>, scratch: &Scratch, out: &mut Resolved) {
    match &route.text {
        Text::AsIs => {
            out.shards
                .extend(scratch.set.iter().map(|&shard| ShardText {
                    shard,
                    id: ShardId::default(),
                    text: None,
                }));
        }
        Text::Split(pieces) => {
            let splits_rows =
                matches!(route.to, Target::Keyspace { shards: Destination::Rows(_), .. });
            let whole = scratch.set.len() == 1 || (binding.prepared && !splits_rows);
            if whole {
                out.shards
                    .extend(scratch.set.iter().map(|&shard| ShardText {
                        shard,
                        id: ShardId::default(),
                        text: None,
                    }));
            } else {
                text::write(pieces, binding, scratch, true, out);
            }
        }
        Text::Pieces(pieces) => {
            let splits = scratch.set.len() > 1;
            text::write(pieces, binding, scratch, splits, out);
        }
    }
}

/// Indexes end with the snapshot; what executes the statement may wait for longer.
fn name_shards(route: &Route, snapshot: &Snapshot, out: &mut Resolved) {
    let Target::Keyspace { keyspace, .. } = &route.to else { return };
    let Some(keyspace) = snapshot.keyspaces.get(usize::from(*keyspace)) else { return };
    for shard in &mut out.shards {
        if let Some(known) = keyspace.shards.get(usize::from(shard.shard)) {
            shard.id = known.id;
        }
    }
}

/// Does the route's text hold values that only the session knows? Then it is another text with
/// every execution.
pub fn has_session_values(route: &Route) -> bool {
    match &route.text {
        Text::Pieces(pieces) => text::has_session(pieces),
        Text::AsIs | Text::Split(_) => false,
    }
}

/// The text of a write that all servers take for one of the same time.
pub fn every_copy(route: &Route) -> Option<&[crate::plan::Piece]> {
    match &route.text {
        Text::Pieces(pieces) => text::has_clock(pieces).then_some(pieces),
        Text::AsIs | Text::Split(_) => None,
    }
}

/// The text of a route that is not the client's own, and the same with every execution: names stand
/// for others there.
pub fn renamed(route: &Route) -> Option<&[crate::plan::Piece]> {
    match &route.text {
        Text::Pieces(pieces) => (!text::has_session(pieces)).then_some(pieces),
        Text::AsIs | Text::Split(_) => None,
    }
}

/// Where the rows lie that a comparison can find.
enum Found {
    Nothing,
    Id(KeyspaceId),
    Range(KeyRange),
    Anywhere,
}

impl Found {
    fn of(vindex: &dyn Vindex, values: &[Value<'_>], families: &[Family]) -> Self {
        match vindex.map(values) {
            Ok(Mapping::Id(id)) => Self::Id(id),
            Ok(Mapping::Range(range)) => Self::Range(range),
            // Not every vindex can tell something from its first columns alone.
            Ok(Mapping::None) if values.len() < families.len() => Self::Anywhere,
            // The server may read a number in what the vindex does not.
            Ok(Mapping::None) if families.contains(&Family::Unknown) => Self::Anywhere,
            Ok(Mapping::None) => Self::Nothing,
            Err(_) => Self::Anywhere,
        }
    }
}

impl Binding<'_> {
    /// What an operand stands for in this statement.
    fn value<'v>(
        &'v self,
        operand: &'v Operand,
        buffer: &'v mut Vec<u8>,
    ) -> Result<Value<'v>, PlanError> {
        let Binding { sql, fingerprint, params, sql_mode, .. } = *self;
        Ok(match operand {
            Operand::Null => Value::Null,
            Operand::InsertId => Value::UInt(self.session.insert_id()),
            Operand::Literal(n) => match fingerprint.literals.get(usize::from(*n)) {
                Some(literal) => literal_value(sql, literal, buffer, sql_mode),
                None => return Err(PlanError::MissingParameter),
            },
            Operand::Param(n) => *params
                .get(usize::from(*n))
                .ok_or(PlanError::MissingParameter)?,
            Operand::Const(text) => {
                const_value(text, buffer, sql_mode).ok_or(PlanError::MissingParameter)?
            }
        })
    }
}

impl Binder<'_> {
    fn place(&self, destination: &Destination, scratch: &mut Scratch) -> Result<(), PlanError> {
        match destination {
            Destination::Unsharded | Destination::Any | Destination::Nowhere => scratch.set.push(0),
            Destination::Shard(n) => scratch.set.push(*n),
            Destination::Turn => {
                scratch.set.push(self.next_in_turn());
            }
            Destination::Scatter => self.everywhere(&mut scratch.set),
            Destination::Range(first, last) => scratch.set.extend(*first..=*last),
            Destination::KeyspaceId(id) => scratch.set.push(self.shard(id)?),
            Destination::Equal { to: EqualTo { vindex, values, families }, alone } => {
                let Scratch { values: buffers, set, .. } = scratch;
                let mapping = self.map(vindex.as_ref(), values, families, buffers)?;
                self.place_mapping(mapping, set)?;
                if let Some(why) = alone
                    && set.len() > 1
                {
                    return Err(PlanError::Unsupported(why.clone()));
                }
            }
            Destination::Together(all) => self.place_together(all, scratch)?,
            Destination::In { vindex, families, rows } => {
                self.place_in(vindex.as_ref(), families, rows, scratch)?;
            }
            Destination::Rows(rows) => self.place_rows(rows, scratch)?,
            Destination::Lookup(to) => self.place_looked_up(to, &mut scratch.set)?,
        }
        Ok(())
    }

    /// The shard with the least to do; of several, the one whose turn it is.
    fn next_in_turn(&self) -> ShardIdx {
        let session = self.binding.session;
        let shards = &self.keyspace.shards;
        let count = shards.len().max(1);
        let turn = usize::try_from(session.turn() % count as u64).unwrap_or(0);
        let in_order = (turn..count).chain(0..turn);
        let load = |at: usize| shards.get(at).and_then(|shard| session.load(shard.id));
        // The first of equal ones.
        let least = in_order.min_by_key(|at| load(*at).unwrap_or(0));
        ShardIdx::try_from(least.unwrap_or(0)).unwrap_or(0)
    }

    fn everywhere(&self, set: &mut Vec<ShardIdx>) {
        set.extend((0u16..).take(self.keyspace.shards.len()));
    }

    fn shard(&self, id: &[u8]) -> Result<ShardIdx, PlanError> {
        let none = || PlanError::NoShard(crate::keyrange::to_hex(id), self.keyspace.name.clone());
        self.keyspace.shard_for(id).ok_or_else(none)
    }

    /// What a comparison with these values can match.
    fn map(
        &self,
        vindex: &dyn Vindex,
        operands: &[Operand],
        families: &[Family],
        buffers: &mut [Buffers; COLUMNS_MAX],
    ) -> Result<Found, PlanError> {
        let mut values: SmallVec<[Value<'_>; COLUMNS_MAX]> = SmallVec::new();
        if operands.len() > buffers.len() {
            return Err(PlanError::unsupported("vindexes of more than eight columns"));
        }
        for (operand, buffer) in operands.iter().zip(buffers.iter_mut()) {
            let family = families.get(values.len()).copied().unwrap_or_default();
            let value = self.binding.value(operand, &mut buffer.text)?;
            match sought(family, value, self.binding.charsets, &mut buffer.utf8) {
                Sought::Value(value) => values.push(value),
                Sought::Nothing => return Ok(Found::Nothing),
                Sought::Anywhere => return Ok(Found::Anywhere),
            }
        }
        Ok(Found::of(vindex, &values, families))
    }

    /// Every part must lie on one shard; a part that can match nothing may be anywhere.
    fn place_together(&self, all: &[EqualTo], scratch: &mut Scratch) -> Result<(), PlanError> {
        for EqualTo { vindex, values, families } in all {
            let Scratch { values: buffers, set, .. } = &mut *scratch;
            let found = self.map(vindex.as_ref(), values, families, buffers)?;
            self.place_mapping(found, set)?;
        }
        scratch.set.sort_unstable();
        scratch.set.dedup();
        if scratch.set.len() > 1 {
            return Err(PlanError::unsupported(
                "tables restricted to values on different shards in one statement",
            ));
        }
        Ok(())
    }

    fn place_in(
        &self,
        vindex: &dyn Vindex,
        families: &[Family],
        rows: &InRows,
        scratch: &mut Scratch,
    ) -> Result<(), PlanError> {
        let Scratch { values: buffers, places, set, .. } = scratch;
        match rows {
            InRows::List(n) => {
                let Binding { sql, fingerprint, sql_mode, charsets, .. } = *self.binding;
                let items = fingerprint
                    .lists
                    .get(usize::from(*n))
                    .and_then(|l| fingerprint.items.get(l.start as usize..l.end as usize))
                    .ok_or(PlanError::MissingParameter)?;
                let [buffer, ..] = buffers;
                for item in items {
                    let value = literal_value(sql, item, &mut buffer.text, sql_mode);
                    let family = families.first().copied().unwrap_or_default();
                    let found = match sought(family, value, charsets, &mut buffer.utf8) {
                        Sought::Value(value) => Found::of(vindex, &[value], families),
                        Sought::Nothing => Found::Nothing,
                        Sought::Anywhere => Found::Anywhere,
                    };
                    places.push(self.place_mapping(found, set)?);
                }
            }
            InRows::Operands(rows) => {
                for row in rows {
                    let found = self.map(vindex, row, families, buffers)?;
                    places.push(self.place_mapping(found, set)?);
                }
            }
        }
        set.sort_unstable();
        set.dedup();
        Ok(())
    }

    fn place_mapping(&self, found: Found, set: &mut Vec<ShardIdx>) -> Result<ShardIdx, PlanError> {
        Ok(match found {
            Found::Nothing => NOWHERE,
            Found::Anywhere => {
                self.everywhere(set);
                EVERYWHERE
            }
            Found::Id(id) => {
                let shard = self.shard(&id)?;
                set.push(shard);
                shard
            }
            Found::Range(range) => {
                set.extend(self.keyspace.shards_in(&range));
                EVERYWHERE
            }
        })
    }
}
