//! Rows in their merged order, on their way to the client: grouped, sorted again, limited.
use super::aggregate::{Combiner, Total};
use super::gather::{Collected, Sink};
use super::held::Held;
use super::key::{Column, Keys, Value, Values, own_cells};
use super::{Cells, ExecError, Row, binary};
use coregate_planner::plan::tree::Merge;
use coregate_protocol::frame::write_packet;
use coregate_protocol::row::put_text;

/// Are more rows wanted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// Where the client's rows go: packets, of which the sender takes what has gathered.
pub(crate) struct Output {
    pub(crate) packets: Vec<u8>,
    pub(crate) seq: u8,
    pub(crate) rows: u64,
    /// The columns that the client gets.
    columns: Vec<Column>,
    binary: bool,
    /// Rows go here instead.
    pub(crate) collected: Option<Collected>,
}

impl Output {
    pub(crate) fn new(
        columns: &[Column],
        shown: usize,
        binary: bool,
        seq: u8,
    ) -> Result<Self, ExecError> {
        let columns = columns.get(..shown).unwrap_or(columns).to_vec();
        if binary {
            binary::check(&columns)?;
        }
        Ok(Self { packets: Vec::new(), seq, rows: 0, columns, binary, collected: None })
    }

    /// Keeps the rows: they are a step of a statement, and not its answer.
    pub(crate) fn collecting(collected: Collected) -> Self {
        let collected = Some(collected);
        Self { packets: Vec::new(), seq: 0, rows: 0, columns: Vec::new(), binary: false, collected }
    }

    /// A row, of which the client gets the first columns.
    #[inline]
    fn row(&mut self, row: Row<'_>) -> Result<(), ExecError> {
        self.rows += 1;
        if let Some(collected) = &mut self.collected {
            return collected.row(row);
        }
        if self.binary {
            let payload = binary::row(row, &self.columns)?;
            write_packet(&mut self.packets, &mut self.seq, &payload);
        } else {
            write_packet(&mut self.packets, &mut self.seq, row.first(self.columns.len()));
        }
        Ok(())
    }
}

/// The steps behind the merging.
pub(crate) struct Pipeline {
    group: Option<Group>,
    sort: Option<Sort>,
    skip: u64,
    take: u64,
    /// Bytes that may be held.
    memory_max: usize,
    held: Held,
}

struct Group {
    keys: usize,
    combiners: Vec<Combiner>,
    /// The group that rows are added to: its first row.
    payload: Vec<u8>,
    cells: Cells,
    values: Values,
    /// Once there is a second row.
    totals: Vec<Total>,
    is_open: bool,
    /// How many keys make a distinct value; 0: none are counted.
    distinct: usize,
    /// The row with the last distinct value, if that is not the group's first.
    last: Option<(Vec<u8>, Values)>,
    /// There is one group, even without rows, and none has come. The number of columns is that of
    /// the shards' rows.
    empty: Option<usize>,
}

struct Sort {
    keys: Keys,
    columns: usize,
    /// Rows one behind the other.
    arena: Vec<u8>,
    rows: Vec<Sorted>,
    /// No more than so many rows are wanted.
    top: u64,
}

struct Sorted {
    start: usize,
    end: usize,
    values: Values,
}

impl Pipeline {
    pub(crate) fn new(
        merge: &Merge,
        columns: &[Column],
        (skip, take): (u64, u64),
        memory_max: usize,
    ) -> Result<Self, ExecError> {
        let group = match &merge.group {
            None => None,
            Some(group) => {
                let combiners = group.aggregates.iter().map(|a| Combiner::new(a, columns));
                Some(Group {
                    keys: usize::from(group.keys),
                    combiners: combiners.collect::<Result<_, _>>()?,
                    payload: Vec::new(),
                    cells: Cells::default(),
                    values: Values::new(),
                    totals: Vec::new(),
                    is_open: false,
                    distinct: usize::from(group.distinct),
                    last: None,
                    // Without distinct values, every shard sends a row.
                    empty: (group.keys == 0 && group.distinct > 0).then_some(columns.len()),
                })
            }
        };
        let sort = if merge.sort.is_empty() {
            None
        } else {
            Some(Sort {
                keys: Keys::new(&merge.sort, columns)?,
                columns: columns.len(),
                arena: Vec::new(),
                rows: Vec::new(),
                top: skip.saturating_add(take),
            })
        };
        Ok(Self { group, sort, skip, take, memory_max, held: Held::default() })
    }

    /// Takes the next row in the merged order, with its keys.
    #[inline]
    pub(crate) fn push(
        &mut self,
        row: Row<'_>,
        values: &[Value],
        keys: &Keys,
        out: &mut Output,
    ) -> Result<Flow, ExecError> {
        let Some(group) = &mut self.group else { return self.sorted(row, out) };
        if group.is_open {
            let same =
                keys.compare(group.keys, (values, row.payload), (&group.values, &group.payload));
            if same.is_eq() {
                let again = group.is_distinct_again(row, values, keys);
                group.add(row, again)?;
                return Ok(Flow::More);
            }
        }
        let flow = self.end_group(out)?;
        if let Some(group) = &mut self.group {
            group.open(row, values);
            if group.payload.len() > self.memory_max {
                return Err(ExecError::Memory(self.memory_max));
            }
        }
        Ok(flow)
    }

    /// No more rows come.
    pub(crate) fn finish(&mut self, out: &mut Output) -> Result<(), ExecError> {
        self.end_group(out)?;
        if let Some(columns) = self.group.as_mut().and_then(|group| group.empty.take()) {
            let payload = self.group.as_ref().map(|group| group.nothing(columns));
            let payload = payload.unwrap_or_default();
            let cells = own_cells(&payload, columns)?;
            self.sorted(Row { payload: &payload, cells: &cells }, out)?;
        }
        let Some(mut sort) = self.sort.take() else { return Ok(()) };
        sort.order();
        let mut cells = Cells::default();
        for sorted in &sort.rows {
            let payload = sort.arena.get(sorted.start..sorted.end).unwrap_or_default();
            cells.find(payload, sort.columns)?;
            if self.limited(Row { payload, cells: &cells }, out)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    fn end_group(&mut self, out: &mut Output) -> Result<Flow, ExecError> {
        let Some(mut group) = self.group.take() else { return Ok(Flow::More) };
        let mut flow = Flow::More;
        group.last = None;
        if std::mem::take(&mut group.is_open) {
            let first = Row { payload: &group.payload, cells: &group.cells };
            if group.totals.is_empty() {
                flow = self.sorted(first, out)?;
            } else {
                let payload = group.combined(first)?;
                let cells = own_cells(&payload, first.cells.len())?;
                flow = self.sorted(Row { payload: &payload, cells: &cells }, out)?;
            }
            group.totals.clear();
        }
        self.group = Some(group);
        Ok(flow)
    }

    #[inline]
    fn sorted(&mut self, row: Row<'_>, out: &mut Output) -> Result<Flow, ExecError> {
        let Some(sort) = &mut self.sort else { return self.limited(row, out) };
        sort.add(row)?;
        if sort.held() > self.memory_max {
            return Err(ExecError::Memory(self.memory_max));
        }
        self.held.set(sort.held())?;
        Ok(Flow::More)
    }

    #[inline]
    fn limited(&mut self, row: Row<'_>, out: &mut Output) -> Result<Flow, ExecError> {
        if self.take == 0 {
            return Ok(Flow::Enough);
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(Flow::More);
        }
        if self.take != u64::MAX {
            self.take -= 1;
        }
        out.row(row)?;
        Ok(if self.take == 0 { Flow::Enough } else { Flow::More })
    }
}

impl Group {
    fn open(&mut self, row: Row<'_>, values: &[Value]) {
        self.payload.clear();
        self.payload.extend_from_slice(row.payload);
        self.cells.clone_from(row.cells);
        self.values.clear();
        self.values.extend_from_slice(values);
        self.is_open = true;
        self.empty = None;
    }

    /// Has a row the distinct value of the one before it? If not, it is the one that the next is
    /// compared with.
    fn is_distinct_again(&mut self, row: Row<'_>, values: &[Value], keys: &Keys) -> bool {
        if self.distinct == 0 {
            return false;
        }
        let before = match &self.last {
            Some((payload, values)) => (values.as_slice(), payload.as_slice()),
            None => (self.values.as_slice(), self.payload.as_slice()),
        };
        if keys
            .compare(self.distinct, (values, row.payload), before)
            .is_eq()
        {
            return true;
        }
        let (payload, held) = self.last.get_or_insert_with(Default::default);
        payload.clear();
        payload.extend_from_slice(row.payload);
        held.clear();
        held.extend_from_slice(values);
        false
    }

    /// The row of the only group, when it has none.
    fn nothing(&self, columns: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for column in 0..columns {
            match self.combiners.iter().find(|c| c.column() == column) {
                Some(combiner) => combiner.nothing(&mut out),
                None => put_text(&mut out, None),
            }
        }
        out
    }

    fn add(&mut self, row: Row<'_>, again: bool) -> Result<(), ExecError> {
        if self.totals.is_empty() && !self.combiners.is_empty() {
            let first = Row { payload: &self.payload, cells: &self.cells };
            let totals = self.combiners.iter().map(|combiner| combiner.part(first));
            self.totals = totals.collect::<Result<_, _>>()?;
        }
        for (combiner, total) in self.combiners.iter().zip(&mut self.totals) {
            combiner.combine(total, row, again)?;
        }
        Ok(())
    }

    /// The group's row: its first one with the results of the aggregates.
    fn combined(&self, first: Row<'_>) -> Result<Vec<u8>, ExecError> {
        let mut out = Vec::with_capacity(first.payload.len() + 16);
        for column in 0..first.cells.len() {
            let found = self
                .combiners
                .iter()
                .zip(&self.totals)
                .find(|(combiner, _)| combiner.column() == column);
            match found {
                Some((combiner, total)) => combiner.write(total, first, &mut out)?,
                None if first.cells.place(column).is_none() => put_text(&mut out, None),
                None => out.extend_from_slice(first.raw(column)),
            }
        }
        Ok(out)
    }
}

impl Sort {
    fn add(&mut self, row: Row<'_>) -> Result<(), ExecError> {
        let start = self.arena.len();
        self.arena.extend_from_slice(row.payload);
        let mut values = Values::new();
        self.keys.read(row, &mut values)?;
        self.rows
            .push(Sorted { start, end: self.arena.len(), values });
        // Twice as many as are wanted: the worse half goes.
        if self.rows.len() as u64 / 2 > self.top.max(512) {
            self.order();
            self.compact();
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.arena.len() + self.rows.len() * size_of::<Sorted>()
    }

    /// Sorts; rows that are equal stay in the order in which they came.
    fn order(&mut self) {
        let Self { keys, arena, rows, .. } = self;
        let payload = |row: &Sorted| arena.get(row.start..row.end).unwrap_or_default();
        rows.sort_by(|a, b| {
            keys.compare(usize::MAX, (&a.values, payload(a)), (&b.values, payload(b)))
        });
        rows.truncate(usize::try_from(self.top).unwrap_or(usize::MAX));
    }

    /// Gives back the memory of rows that were dropped.
    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() / 2);
        for row in &mut self.rows {
            let start = arena.len();
            arena.extend_from_slice(self.arena.get(row.start..row.end).unwrap_or_default());
            (row.start, row.end) = (start, arena.len());
        }
        self.arena = arena;
    }
}
