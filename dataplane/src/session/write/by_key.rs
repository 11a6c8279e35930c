//! UPDATE and DELETE by key.
use super::super::scatter::{Rows, Work};
use super::super::wire::query_payload;
use super::super::{Failure, Outcome, Session};
use super::literal::{TextForm, value_literal};
use super::rows::{Cells, Chosen, Shards, where_keys};
use super::{Steps, image::Entries};
use crate::exec::{Collected, Column};
use crate::pool::Place;
use crate::session::answer::Answer;
use coregate_planner::plan::write::{ByKey, Change, How, Lies};
use coregate_planner::plan::{Combine, Effects, Plan, StatementClass};
use coregate_planner::resolve::{BoundByKey, BoundHow, BoundSet};
use coregate_planner::snapshot::Snapshot;
use coregate_protocol::codes;
use coregate_protocol::column::ColumnType;
use coregate_protocol::walker::ResponseKind;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Rows that one statement changes.
pub(super) const BATCH_ROWS: usize = 500;

/// All rows, whatever `sql_select_limit` says: it is about queries.
const ALL_ROWS: &[u8] = b" LIMIT 18446744073709551615";

/// Statements of each shard, in their order.
pub(super) type Queues = BTreeMap<Place, VecDeque<Vec<u8>>>;

impl Session {
    pub(super) async fn by_key(
        &mut self,
        plan: &Plan,
        by_key: &ByKey,
        bound: BoundByKey,
    ) -> Outcome<Steps> {
        // What the plan's indexes mean.
        let snapshot = self.core.snapshot.borrow().clone();
        let mut text = bound.query;
        if !by_key.limited && self.state.settings.get("sql_select_limit").is_some() {
            text.extend_from_slice(ALL_ROWS);
        }
        text.extend_from_slice(b" FOR UPDATE");
        let read = self.read_values(&text).await?;
        let mut steps = Steps::default();
        let update = plan.class == StatementClass::Update;
        let strict = !by_key.ignore && (update && by_key.joins || !self.core.is_mariadb());
        self.judge_warnings(plan, strict, &mut steps)?;
        for (change, how) in by_key.changes.iter().zip(&bound.changes) {
            if by_key.ignore && change.image.is_some() && update {
                let each = self.change_each(plan, &snapshot, (change, how), &read, &mut steps);
                Box::pin(each).await?;
                continue;
            }
            self.change(plan, &snapshot, (change, how), &read.columns, &read.rows, &mut steps)
                .await?;
        }
        Ok(steps)
    }

    /// What a query was warned of, that has read rows for a change: an error, where one server is
    /// as `strict` with it as with values that it stores.
    pub(super) fn judge_warnings(&self, plan: &Plan, strict: bool, steps: &mut Steps) -> Outcome {
        if self.warnings_are_empty() {
            return Ok(());
        }
        let mode = self.has_mode(b"STRICT_TRANS_TABLES") || self.has_mode(b"STRICT_ALL_TABLES");
        match self.strict_error() {
            Some(error) if strict && mode => Err(error.into()),
            _ => {
                steps.warned(plan.class, self.count_of_warnings(false));
                Ok(())
            }
        }
    }

    /// UPDATE IGNORE of columns that lookup vindexes have: a row whose new value is another one's
    /// stays as it is.
    async fn change_each(
        &mut self,
        plan: &Plan,
        snapshot: &Arc<Snapshot>,
        change: (&Change, &BoundHow),
        read: &Collected,
        steps: &mut Steps,
    ) -> Outcome {
        for row in &read.rows {
            self.undoable_row().await?;
            let mut one = Steps::default();
            let row = std::slice::from_ref(row);
            let changed = self.change(plan, snapshot, change, &read.columns, row, &mut one);
            match Box::pin(changed).await {
                Ok(()) => steps.join(one),
                Err(Failure::Sql(error)) if error.code == codes::ER_DUP_ENTRY => {
                    self.undo_row().await?;
                    steps.matched_only();
                }
                Err(failure) => return Err(failure),
            }
            self.row_is_done();
        }
        Ok(())
    }

    /// Changes the chosen rows of one table.
    async fn change(
        &mut self,
        plan: &Plan,
        snapshot: &Arc<Snapshot>,
        (change, how): (&Change, &BoundHow),
        columns: &[Column],
        rows: &[Cells],
        steps: &mut Steps,
    ) -> Outcome {
        let shards = Shards::of(snapshot, change)?;
        let chosen = shards.chosen(rows)?;
        if chosen.is_empty() {
            if let BoundHow::Delete { returning, .. } = how
                && !returning.is_empty()
            {
                let place = shards.all()?.into_iter().next();
                self.returning_none(plan, place, (returning, &change.table), steps)
                    .await?;
            }
            return Ok(());
        }
        let mut before = Entries::default();
        if let Some(image) = &change.image {
            for row in &chosen {
                before.add(image, row.cells, image.start)?;
            }
        }
        let writing = (columns, self.text_form());
        let (queues, everywhere) = statements(change, how, &chosen, writing)?;
        self.run_queues(plan, queues, steps).await?;
        for sql in everywhere {
            let sql = if matches!(change.lies, Lies::Copies) { self.with_clock(&sql) } else { sql };
            let wires = shards.all()?.into_iter().map(|p| (p, query_payload(&sql)));
            let combine =
                if matches!(change.lies, Lies::Copies) { Combine::First } else { Combine::Sum };
            self.run_step(plan, wires.collect(), combine, steps).await?;
        }
        let order: Option<Vec<Place>> = chosen.iter().map(|row| row.place).collect();
        steps.returned.settle(&order.unwrap_or_default());
        match &change.image {
            Some(image) => {
                let is_delete = matches!(change.how, How::Delete { .. });
                self.follow(plan, &shards, (change, image), (&chosen, before), is_delete)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Runs statements of several shards, of each shard one after another.
    pub(super) async fn run_queues(
        &mut self,
        plan: &Plan,
        mut queues: Queues,
        steps: &mut Steps,
    ) -> Outcome {
        while !queues.is_empty() {
            let mut wires = Vec::with_capacity(queues.len());
            queues.retain(|place, queue| {
                if let Some(sql) = queue.pop_front() {
                    wires.push((*place, query_payload(&sql)));
                }
                !queue.is_empty()
            });
            if !wires.is_empty() {
                self.run_step(plan, wires, Combine::Sum, steps).await?;
            }
        }
        Ok(())
    }

    /// The columns of RETURNING where no row changes: those of a query of one shard that has no
    /// rows either.
    pub(super) async fn returning_none(
        &mut self,
        plan: &Plan,
        place: Option<Place>,
        (items, table): (&[u8], &str),
        steps: &mut Steps,
    ) -> Outcome {
        let Some(place) = place else { return Ok(()) };
        let sql = [b"SELECT", items, b" FROM ", table.as_bytes(), b" LIMIT 0"].concat();
        let mut none = Steps::default();
        self.run_step(plan, vec![(place, query_payload(&sql))], Combine::Sum, &mut none)
            .await?;
        steps.returned.join(none.returned);
        Ok(())
    }

    pub(super) async fn run_step(
        &mut self,
        plan: &Plan,
        mut wires: Vec<(Place, Vec<u8>)>,
        combine: Combine,
        steps: &mut Steps,
    ) -> Outcome {
        wires.sort_by_key(|(place, _)| *place);
        let kind = ResponseKind::Query;
        let returns = plan.effects.contains(Effects::RETURNS);
        let rows = match returns {
            true => Rows::Return(Box::new(RefCell::new(steps.returned.taken(self.query_memory())))),
            false => Rows::Pass,
        };
        let mut work = Work { plan, combine, kind, wires, keyspace: None, rows };
        match self
            .run_parts(&mut work, false, &mut Answer::first())
            .await?
        {
            (.., Some(error)) => Err(error.into()),
            (summary, info, None) => {
                steps.add(&summary, info);
                if let Rows::Return(returned) = work.rows {
                    steps.returned = returned.into_inner();
                }
                Ok(())
            }
        }
    }
}

/// The statements that change the rows: those for one shard each, and those for all shards.
fn statements(
    change: &Change,
    how: &BoundHow,
    chosen: &[Chosen<'_>],
    writing: (&[Column], TextForm),
) -> Outcome<(Queues, Vec<Vec<u8>>)> {
    let mut queues = Queues::new();
    let mut everywhere = Vec::new();
    for batch in batches(change, how, chosen, writing)? {
        let mut sql = match &change.how {
            How::Delete { head, .. } => head.clone().into_bytes(),
            How::Update { head, .. } => [head.as_bytes(), &batch.set].concat(),
        };
        let rows = batch.rows.iter().map(|row| row.cells);
        sql.extend(where_keys(&change.key, change.whole_row, None, rows)?);
        match how {
            BoundHow::Update { order, .. } | BoundHow::Delete { order, .. } => {
                sql.extend_from_slice(order)
            }
        }
        if let ([row], true, false) = (batch.rows.as_slice(), change.whole_row, change.joined) {
            sql.extend_from_slice(format!(" LIMIT {}", row.times).as_bytes());
        }
        if let BoundHow::Delete { returning, .. } = how
            && !returning.is_empty()
        {
            sql.extend_from_slice(b" RETURNING");
            sql.extend_from_slice(returning);
        }
        match batch.place {
            Some(place) => queues.entry(place).or_default().push_back(sql),
            None => everywhere.push(sql),
        }
    }
    Ok((queues, everywhere))
}

/// Rows of one place that get the same values.
struct Batch<'c, 'r> {
    place: Option<Place>,
    set: Vec<u8>,
    rows: Vec<&'c Chosen<'r>>,
}

fn batches<'c, 'r>(
    change: &Change,
    how: &BoundHow,
    chosen: &'c [Chosen<'r>],
    writing: (&[Column], TextForm),
) -> Outcome<Vec<Batch<'c, 'r>>> {
    let mut batches: Vec<Batch<'c, 'r>> = Vec::new();
    let mut open: ahash::AHashMap<(Option<Place>, Vec<u8>), usize> = ahash::AHashMap::new();
    let most = if change.whole_row { 1 } else { BATCH_ROWS };
    for row in chosen {
        let set = match how {
            BoundHow::Delete { .. } => Vec::new(),
            BoundHow::Update { set, .. } => assignments(set, row.cells, writing)?,
        };
        let key = (row.place, set);
        match open.get(&key).and_then(|at| batches.get_mut(*at)) {
            Some(batch) if batch.rows.len() < most => batch.rows.push(row),
            _ => {
                let (place, set) = key.clone();
                open.insert(key, batches.len());
                batches.push(Batch { place, set, rows: vec![row] });
            }
        }
    }
    Ok(batches)
}

fn assignments(
    set: &[BoundSet],
    cells: &Cells,
    (columns, form): (&[Column], TextForm),
) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    for part in set {
        match part {
            BoundSet::Text(text) => out.extend_from_slice(text),
            BoundSet::Value(read) => {
                let column = |at: u16| columns.get(usize::from(at));
                let is_decimal =
                    column(read.place).is_some_and(|c| c.kind == ColumnType::NEWDECIMAL);
                let at = read.double.filter(|_| is_decimal).unwrap_or(read.place);
                value_literal(super::rows::cell(cells, at), column(at), form.typed(), &mut out)?;
            }
        }
    }
    Ok(out)
}
