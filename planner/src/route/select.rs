//! Queries, and how an analysed statement becomes a destination.
use super::Planner;
use super::block::{Blocks, Position, usable};
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::{Combine, Destination, Effects, EqualTo, InRows, Operand, Piece, Plan, StatementClass};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Expr, ExprKind, Query};
use crate::sql::lex::Tok;
use smallvec::SmallVec;
use std::sync::Arc;

impl<'a> Planner<'_, 'a> {
    pub(super) fn query(
        &mut self,
        keyspace: KeyspaceIdx,
        query: &'a Query<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let mut blocks = Blocks::new(self, keyspace);
        let block = blocks.query(query, &Vec::new(), Position::Rows)?;
        if !block.instances.is_empty() {
            let effects = blocks.planner_effects();
            if effects.contains(Effects::ASSIGNS_VARIABLES) {
                blocks.breaks("assigning user variables over several shards");
            } else if effects.contains(Effects::PIN) {
                blocks.breaks("functions that lock, over several shards");
            }
        }
        let limited = blocks.is_limited() && !block.instances.is_empty();
        if limited {
            blocks.breaks("sql_select_limit in a hint, over several shards");
        }
        let destination = blocks.destination()?;
        Ok(self.placed(keyspace, destination, Combine::Concat, class))
    }

    /// A route, with the text of a list divided among the shards where that is safe.
    pub(super) fn placed(
        &mut self,
        keyspace: KeyspaceIdx,
        destination: Placed,
        combine: Combine,
        class: StatementClass,
    ) -> Plan {
        if let (Destination::In { rows: InRows::List(n), .. }, true) =
            (&destination.to, destination.one_table)
        {
            let list = self
                .tokens
                .items
                .iter()
                .find(|i| i.tok == Tok::List && i.number == *n);
            if let Some(item) = list {
                self.edits
                    .split(item.span, vec![Piece::List { list: *n, split: true }]);
            }
        }
        self.route(keyspace, destination.to, combine, class)
    }

    /// A value that is known when the statement runs.
    pub(super) fn operand(&self, expr: &Expr<'_>) -> Option<Operand> {
        let text = || {
            let span = expr.span;
            self.input
                .sql
                .get(span.start as usize..span.end as usize)
                .unwrap_or_default()
                .to_vec()
        };
        match expr.kind {
            ExprKind::Literal(Some(n)) => Some(Operand::Literal(n)),
            ExprKind::Literal(None) | ExprKind::Bool => Some(Operand::Const(text())),
            ExprKind::Null => Some(Operand::Null),
            ExprKind::Param(n) => Some(Operand::Param(n)),
            _ => None,
        }
    }

    /// A table of a sharded keyspace that statements can change.
    pub(super) fn sharded_table(
        &self,
        keyspace: KeyspaceIdx,
        name: &str,
        table: Option<&'a Arc<Table>>,
    ) -> Result<&'a Arc<Table>, PlanError> {
        let found = self.readable_table(keyspace, name, table)?;
        if found.kind == TableKind::Normal && found.column_vindexes.is_empty() && found.pinned.is_none() {
            let owner = self.keyspace(keyspace).map_or("", |k| k.name.as_str());
            return Err(PlanError::NoVindex { keyspace: owner.to_owned(), table: name.to_owned() });
        }
        Ok(found)
    }

    /// A table of a sharded keyspace that can be read: without a vindex its rows are anywhere.
    pub(super) fn readable_table(
        &self,
        keyspace: KeyspaceIdx,
        name: &str,
        table: Option<&'a Arc<Table>>,
    ) -> Result<&'a Arc<Table>, PlanError> {
        let owner = self.keyspace(keyspace).map_or("", |k| k.name.as_str());
        let table = table.ok_or_else(|| PlanError::UnknownTable(format!("{owner}.{name}")))?;
        match table.kind {
            TableKind::Sequence => Err(PlanError::unsupported("sequences")),
            _ => Ok(table),
        }
    }
}

/// Where a statement goes.
pub(super) struct Placed {
    pub(super) to: Destination,
    /// Only one sharded table is read.
    pub(super) one_table: bool,
}

/// How the conditions of a statement restrict one use of a table.
enum Restriction {
    One(EqualTo),
    /// Cost and place.
    Many(Destination),
    None,
}

impl Blocks<'_, '_, '_> {
    fn restriction(&self, table: &Table, instance: usize) -> Restriction {
        let mut best: Option<(u8, EqualTo)> = None;
        let mut many: Option<(u8, Destination)> = None;
        for cv in usable(table) {
            let Some(vindex) = &cv.vindex.vindex else { continue };
            let classes: Vec<_> = cv
                .columns
                .iter()
                .map(|c| self.classes.class(instance, c))
                .collect();
            let ones: SmallVec<[Operand; 1]> = classes
                .iter()
                .map_while(|c| self.classes.one((*c)?))
                .cloned()
                .collect();
            let cost = vindex.cost();
            let families = || {
                cv.columns
                    .iter()
                    .map(|c| Family::of_column(table, c))
                    .collect()
            };
            if ones.len() == cv.columns.len() {
                if best.as_ref().is_none_or(|(c, _)| cost < *c) {
                    best =
                        Some((cost, EqualTo { vindex: vindex.clone(), values: ones, families: families() }));
                }
                continue;
            }
            let place = match (classes.as_slice(), vindex.max_columns()) {
                // A list of the first column, as it was collapsed.
                ([Some(class), ..], _) if ones.is_empty() && self.is_list(*class) => {
                    let Some(rows) = self.classes.many(*class) else { continue };
                    Destination::In { vindex: vindex.clone(), families: families(), rows: rows.clone() }
                }
                (_, 1) => match classes.as_slice() {
                    [Some(class)] => match self.classes.many(*class) {
                        Some(rows) => Destination::In {
                            vindex: vindex.clone(),
                            families: families(),
                            rows: rows.clone(),
                        },
                        None => continue,
                    },
                    _ => continue,
                },
                _ => match self.classes.combinations(&classes) {
                    Some(rows) => {
                        let rows = InRows::Operands(rows);
                        Destination::In { vindex: vindex.clone(), families: families(), rows }
                    }
                    None => continue,
                },
            };
            if many.as_ref().is_none_or(|(c, _)| cost < *c) {
                many = Some((cost, place));
            }
        }
        match (best, many) {
            (Some((_, equal)), _) => Restriction::One(equal),
            (None, Some((_, place))) => Restriction::Many(place),
            (None, None) => Restriction::None,
        }
    }

    fn is_list(&self, class: usize) -> bool {
        matches!(self.classes.many(class), Some(InRows::List(_)))
    }

    /// The shards that hold every row the statement can touch.
    ///
    /// # Errors
    /// [`PlanError::Unsupported`] if they may be several and the statement cannot be answered by each of them alone.
    pub(super) fn destination(&mut self) -> Result<Placed, PlanError> {
        let one_table = self.uses.len() == 1;
        let placed = |to| Ok(Placed { to, one_table });
        if self.uses.is_empty() {
            return placed(Destination::Any);
        }
        if !self.pinned.is_empty() {
            return match self.pinned.as_slice() {
                [first, rest @ ..]
                    if self.pinned.len() == self.uses.len() && rest.iter().all(|p| p == first) =>
                {
                    placed(Destination::KeyspaceId(first.clone()))
                }
                _ => Err(PlanError::unsupported("a pinned table together with other tables")),
            };
        }
        let restrictions: Vec<Restriction> = self
            .uses
            .iter()
            .map(|u| self.restriction(&u.table, u.instance))
            .collect();
        let ones: Vec<&EqualTo> = restrictions
            .iter()
            .filter_map(|r| match r {
                Restriction::One(equal) => Some(equal),
                _ => None,
            })
            .collect();
        if ones.len() == restrictions.len() {
            let mut distinct: Vec<EqualTo> = Vec::new();
            for equal in ones {
                if !distinct.iter().any(|d| d.same(equal)) {
                    distinct.push(equal.clone());
                }
            }
            return match <[EqualTo; 1]>::try_from(distinct) {
                Ok([to]) => placed(Destination::Equal { to, alone: self.broken.take() }),
                Err(several) => placed(Destination::Together(several)),
            };
        }
        if let Some(why) = self.broken.take() {
            return Err(PlanError::Unsupported(why));
        }
        match restrictions.into_iter().next() {
            Some(Restriction::Many(place)) if one_table => placed(place),
            _ => placed(Destination::Scatter),
        }
    }
}
