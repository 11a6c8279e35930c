//! Queries, and how an analysed statement becomes a destination.
use super::Planner;
use super::block::{Blocks, Position};
use super::needs::Needs;
use super::places::{Placed, Places, pinned_and_others};
use crate::error::PlanError;
use crate::plan::{
    Action, Combine, Destination, Effects, InRows, Operand, Piece, Plan, Route, StatementClass,
};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Body, Expr, ExprKind, Query};
use crate::sql::lex::Tok;
use std::sync::Arc;

impl<'a> Planner<'_, 'a> {
    pub(super) fn query(
        &mut self,
        keyspace: KeyspaceIdx,
        query: &'a Query<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let query = bare(query);
        let mut blocks = Blocks::new(self, keyspace);
        let block = blocks.query(query, &Vec::new(), Position::Rows)?;
        if !block.instances.is_empty() {
            let effects = blocks.planner_effects();
            let mut alone = |why| blocks.broken.add(Needs::ALONE, why);
            if effects.contains(Effects::ASSIGNS_VARIABLES) {
                alone("assigning user variables over several shards");
            } else if effects.contains(Effects::PIN) {
                alone("functions that lock, over several shards");
            }
            if self.tokens.limited {
                alone("sql_select_limit in a hint, over several shards");
            }
        }
        let places = blocks.places();
        let one_table = blocks.uses.len() == 1;
        let Blocks { broken, top, .. } = blocks;
        let route = |planner: &mut Self, to| {
            Ok(planner.placed(keyspace, Placed { to, one_table }, Combine::Concat, class))
        };
        let needed = !broken.needs.is_empty();
        let to = match places {
            Places::Any => return route(self, Destination::Any),
            Places::Pinned(id) => return route(self, Destination::KeyspaceId(id)),
            Places::PinnedAndOthers => return Err(pinned_and_others()),
            // One shard's answer is right whatever is needed; only where the values mean several it counts.
            Places::One(to) if broken.never.is_some() => {
                return route(self, Destination::Equal { to, alone: broken.never });
            }
            Places::One(to) => Destination::Equal { to, alone: None },
            Places::Together(all) if broken.never.is_some() => {
                return route(self, Destination::Together(all));
            }
            Places::Together(all) => Destination::Together(all),
            Places::Many(_) | Places::All if broken.never.is_some() => {
                return Err(PlanError::Unsupported(broken.never.unwrap_or_default()));
            }
            Places::Many(to) => to,
            Places::All => Destination::Scatter,
        };
        let together = matches!(to, Destination::Together(_));
        if !needed && !together {
            return route(self, to);
        }
        if !self.input.split && !matches!(to, Destination::Scatter) {
            let mut plan = route(self, to)?;
            if let Action::Route(Route { alone, .. }) = &mut plan.action {
                *alone = true;
            }
            return Ok(plan);
        }
        if together {
            return Err(PlanError::unsupported(
                "tables restricted to values on different shards in one statement",
            ));
        }
        let leaf = Placed { to, one_table };
        match self.merged(query, &top, &broken, keyspace, leaf) {
            Some(tree) => Ok(self.tree(tree, class)),
            None => Err(PlanError::Unsupported(broken.why)),
        }
    }

    /// A route, with the text of a list divided among the shards where that is safe.
    pub(super) fn placed(
        &mut self,
        keyspace: KeyspaceIdx,
        destination: Placed,
        combine: Combine,
        class: StatementClass,
    ) -> Plan {
        self.divide(&destination);
        self.route(keyspace, destination.to, combine, class)
    }

    /// Divides a list of values among the shards, where it decides them and nothing else reads it.
    pub(super) fn divide(&mut self, destination: &Placed) {
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

/// The query inside of parentheses that hold nothing else.
fn bare<'a>(mut query: &'a Query<'a>) -> &'a Query<'a> {
    while let Body::Nested(inner) = query.first
        && query.ctes.is_empty()
        && query.rest.is_empty()
        && query.order.is_empty()
        && query.limit.is_none()
        && !query.locking
        && !query.into
    {
        query = inner;
    }
    query
}
