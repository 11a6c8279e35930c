//! INSERT and REPLACE whose rows must be read or computed first. They are inserted by statements
//! that are planned as a client's.
use super::super::plan::{BoundPlan, Planned};
use super::super::run::place_of;
use super::super::wire::query_payload;
use super::super::{Outcome, Session};
use super::Steps;
use super::literal::{check_placing, value_literal};
use super::rows::lost_keyspace;
use crate::error::sql_error;
use crate::pool::Place;
use coregate_planner::plan::write::{InsertSelect, ReturningNone, Write};
use coregate_planner::plan::{Action, Combine, Plan};
use coregate_planner::resolve::{BoundInsert, BoundValues};
use std::pin::Pin;

/// Rows that one statement inserts.
const INSERTED_ROWS: usize = 500;

/// A statement with so many bytes gets no more rows.
const INSERT_BYTES: usize = 1 << 20;

/// Expressions that one query computes.
const EXPRESSIONS: usize = 500;

impl Session {
    pub(super) async fn insert_select(
        &mut self,
        plan: &Plan,
        insert: &InsertSelect,
        bound: BoundInsert,
    ) -> Outcome<Steps> {
        let BoundInsert { mut query, head, tail, returning } = bound;
        if self.state.settings.get("sql_select_limit").is_some() {
            // The limit is about what a client gets.
            query = [
                b"SELECT * FROM (",
                query.as_slice(),
                b") _coregate_rows LIMIT 18446744073709551615",
            ]
            .concat();
        }
        // To its end, as the rows may go into the same table.
        let read = self.read_values(&query).await?;
        let form = self.text_form();
        let mut steps = Steps::default();
        self.judge_warnings(plan, !insert.ignore, &mut steps)?;
        let mut rows = read.rows.iter().peekable();
        while rows.peek().is_some() {
            let mut text = [head.as_slice(), b" VALUES "].concat();
            let mut count = 0;
            while count < INSERTED_ROWS
                && text.len() < INSERT_BYTES
                && let Some(cells) = rows.next()
            {
                text.extend_from_slice(if count > 0 { b",(" } else { b"(" });
                for (at, value) in cells.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    let column = read.columns.get(at);
                    let form =
                        form.for_column(column, insert.types.get(at).map_or("", String::as_str));
                    value_literal(value.as_deref(), column, form, &mut text)?;
                }
                text.push(b')');
                count += 1;
            }
            if !tail.is_empty() {
                text.push(b' ');
                text.extend_from_slice(&tail);
            }
            let inserted = self.insert_by(&text).await?;
            steps.join(inserted);
        }
        if let (Some(none), Some(items), true) =
            (&insert.returning, returning, read.rows.is_empty())
        {
            let place = self.first_shard(none)?;
            self.returning_none(plan, Some(place), (&items, &none.table), &mut steps)
                .await?;
        }
        steps.info.counts_rows();
        Ok(steps)
    }

    fn first_shard(&self, none: &ReturningNone) -> Outcome<Place> {
        let snapshot = self.core.snapshot.borrow();
        let keyspace = snapshot.keyspaces.get(usize::from(none.keyspace));
        let shard = keyspace
            .and_then(|k| k.shards.first())
            .ok_or_else(lost_keyspace)?;
        Ok(Place::Shard { shard: shard.id, kind: none.tablet_kind.into() })
    }

    /// The statement with the values of its expressions.
    pub(super) async fn evaluated(
        &mut self,
        types: &[(String, bool)],
        bound: BoundValues,
    ) -> Outcome<Vec<u8>> {
        let mut types = types.iter();
        let form = self.text_form();
        let mut texts = bound.texts.iter();
        let mut out = texts.next().cloned().unwrap_or_default();
        for expressions in bound.expressions.chunks(EXPRESSIONS) {
            let mut query = b"SELECT ".to_vec();
            for (n, expression) in expressions.iter().enumerate() {
                query.extend_from_slice(if n > 0 { b",(" } else { b"(" });
                query.extend_from_slice(expression);
                query.extend_from_slice(format!(") AS _coregate_v{n}").as_bytes());
            }
            let read = self.read_values(&query).await?;
            let [cells] = read.rows.as_slice() else {
                return Err(
                    sql_error(1105, "expressions of an INSERT have not one value each").into()
                );
            };
            for (at, value) in cells.iter().enumerate() {
                let column = read.columns.get(at);
                let (kind, placing) = types.next().map_or(("", false), |t| (t.0.as_str(), t.1));
                let mut form = form.for_column(column, kind);
                if placing {
                    check_placing(value.as_deref(), column, form)?;
                    form = self.text_form();
                }
                value_literal(value.as_deref(), column, form, &mut out)?;
                out.extend_from_slice(texts.next().map_or(&[][..], Vec::as_slice));
            }
        }
        Ok(out)
    }

    /// Plans and runs a statement that inserts rows, or changes some, as a step.
    pub(in crate::session) fn insert_by<'s>(
        &'s mut self,
        sql: &'s [u8],
    ) -> Pin<Box<dyn Future<Output = Outcome<Steps>> + 's>> {
        Box::pin(async move {
            let planned = self.planned(sql).await?;
            self.insert_planned(planned, sql).await
        })
    }

    /// The same of a text whose expressions have their values now.
    pub(super) async fn insert_evaluated(&mut self, sql: &[u8]) -> Outcome<Steps> {
        let planned = self.planned(sql).await?;
        if matches!(planned.entry.plan.action, Action::Write(Write::Evaluated(_))) {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: an INSERT with an expression whose value cannot be written \
                    as a literal; give the value",
            )
            .into());
        }
        self.insert_planned(planned, sql).await
    }

    fn insert_planned<'s>(
        &'s mut self,
        Planned { entry, bound, .. }: Planned,
        sql: &'s [u8],
    ) -> Pin<Box<dyn Future<Output = Outcome<Steps>> + 's>> {
        Box::pin(async move {
            let plan = &entry.plan;
            match (&plan.action, bound) {
                (Action::Route(route), BoundPlan::Route(mut resolved)) => {
                    let order = self.order_of(route, &resolved);
                    if let Some(before) = resolved.before.take() {
                        self.change_lookups(route, &before).await?;
                    }
                    let wires = resolved.shards.into_iter().map(|shard| {
                        let text = shard.text.unwrap_or_else(|| sql.to_vec());
                        (place_of(route, shard.id), query_payload(&text))
                    });
                    let combine = match route.combine {
                        Combine::First => Combine::First,
                        Combine::Sum | Combine::Concat | Combine::Status | Combine::Keys => {
                            Combine::Sum
                        }
                    };
                    let mut steps = Steps::default();
                    self.run_step(plan, wires.collect(), combine, &mut steps)
                        .await?;
                    steps.returned.settle(&order);
                    Ok(steps)
                }
                (Action::Write(write), BoundPlan::Write(bound)) => {
                    self.steps(plan, write, *bound).await
                }
                _ => Err(sql_error(1105, "a step of a statement is no INSERT").into()),
            }
        })
    }
}
