//! Queries, and how an analysed statement becomes a destination.
use super::Planner;
use super::block::{Blocks, Position, Source};
use super::needs::{Broken, Needs};
use super::places::{Placed, Places};
use crate::error::PlanError;
use crate::fingerprint::LiteralKind;
use crate::plan::lookup::LookupTo;
use crate::plan::{
    Action, Combine, Destination, Effects, InRows, Operand, Piece, Plan, Route, StatementClass,
};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Body, Call, Expr, ExprKind, Query, Span};
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
            self.needs_one_server(&mut blocks);
        }
        let places = blocks
            .places()
            .locking(class == StatementClass::SelectLocking);
        let one_table = blocks.uses.len() == 1;
        let Blocks { broken, top, .. } = blocks;
        let route = |planner: &mut Self, to| {
            Ok(planner.placed(keyspace, Placed { to, one_table }, Combine::Concat, class))
        };
        let needed = !broken.needs.is_empty();
        let to = match places {
            Places::Any => return route(self, Destination::Any),
            Places::Pinned(id) => return route(self, Destination::KeyspaceId(id)),
            Places::PinnedAndOthers if broken.never.is_some() => {
                return Err(PlanError::Unsupported(broken.never.unwrap_or_default()));
            }
            Places::PinnedAndOthers => {
                self.splittable()?;
                let tree = self.finished(query, "a pinned table together with other tables")?;
                return Ok(self.tree(tree, class));
            }
            // One shard's answer is right whatever is needed; only where the values mean several it
            // counts.
            Places::One(to) if broken.never.is_some() => {
                return route(self, Destination::Equal { to, alone: broken.never });
            }
            Places::One(to) => Destination::Equal { to, alone: None },
            Places::Together(all) if broken.never.is_some() => {
                return route(self, Destination::Together(all));
            }
            Places::Together(all) => Destination::Together(all),
            Places::Many(Destination::Lookup(to)) if broken.never.is_some() => {
                return route(
                    self,
                    Destination::Lookup(Box::new(LookupTo { alone: broken.never, ..*to })),
                );
            }
            Places::Many(_) | Places::All if broken.never.is_some() => {
                return Err(PlanError::Unsupported(broken.never.unwrap_or_default()));
            }
            Places::Many(to) => to,
            Places::All => self.everywhere(keyspace),
        };
        let together = matches!(to, Destination::Together(_));
        if !needed && !together {
            return route(self, to);
        }
        if !self.input.split && !matches!(to, Destination::Scatter | Destination::Range(..)) {
            let mut plan = route(self, to)?;
            if let Action::Route(Route { alone, .. }) = &mut plan.action {
                *alone = true;
            }
            return Ok(plan);
        }
        self.split_query(query, &top, &broken, keyspace, Placed { to, one_table }, class)
    }

    /// A query whose rows several shards must put together.
    fn split_query(
        &mut self,
        query: &'a Query<'a>,
        top: &[Source<'a>],
        broken: &Broken,
        keyspace: KeyspaceIdx,
        placed: Placed,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        self.splittable()?;
        let together = matches!(placed.to, Destination::Together(_));
        let forced = super::directives::read(self.input.sql, self.tokens.directives).finish;
        let merged = if together || forced {
            None
        } else {
            self.merged(query, top, broken, keyspace, placed)
        };
        let tree = match merged {
            Some(tree) => tree,
            None if broken.needs.is_empty() => {
                self.finished(query, "tables restricted to values on different shards")?
            }
            None => self.finished(query, &broken.why)?,
        };
        Ok(self.tree(tree, class))
    }

    /// What the statement does to the session on its server, which several could not do.
    fn needs_one_server(&self, blocks: &mut Blocks<'_, '_, 'a>) {
        let mut alone = |why| blocks.broken.add(Needs::ALONE, why);
        if self.effects.contains(Effects::ASSIGNS_VARIABLES) {
            alone("assigning user variables over several shards");
        } else if self.effects.contains(Effects::PIN) {
            alone("functions that lock, over several shards");
        }
        if self.tokens.limited {
            alone("sql_select_limit in a hint, over several shards");
        }
    }

    /// A query that reads tables of several keyspaces.
    pub(super) fn across_keyspaces(
        &mut self,
        query: &'a Query<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let why = "tables of different keyspaces in one statement";
        let effects = Effects::ASSIGNS_VARIABLES | Effects::PIN;
        if self.effects.intersects(effects) || self.tokens.limited || self.tokens.ambiguous {
            return Err(PlanError::unsupported(why));
        }
        self.splittable()?;
        let tree = self.finished(query, why)?;
        Ok(self.tree(tree, class))
    }

    /// Parts of a text can be put together anew only where no comment that servers may run begins
    /// in one and ends in another.
    pub(super) fn splittable(&self) -> Result<(), PlanError> {
        if self.input.fingerprint.versioned {
            return Err(PlanError::unsupported(
                "versioned comments (/*!50000 ... */) in a statement that several shards must \
                    answer together",
            ));
        }
        Ok(())
    }

    /// A route, with the text of a list divided among the shards where that is safe.
    pub(super) fn placed(
        &mut self,
        keyspace: KeyspaceIdx,
        destination: Placed,
        combine: Combine,
        class: StatementClass,
    ) -> Plan {
        if let Some((span, pieces)) = self.divided(&destination) {
            self.edits.split(span, pieces);
        }
        self.route(keyspace, destination.to, combine, class)
    }

    /// A list of values that is divided among the shards: where it decides them and nothing else
    /// reads it.
    pub(super) fn divided(&self, destination: &Placed) -> Option<(Span, Vec<Piece>)> {
        let Destination::In { rows: InRows::List(n), .. } = &destination.to else { return None };
        let mut items = self.tokens.items.iter();
        let item = items.find(|i| i.tok == Tok::List && i.number == *n && destination.one_table)?;
        Some((item.span, vec![Piece::List { list: *n, split: true }]))
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
            ExprKind::Call(call) => self.given_insert_id(call),
            _ => None,
        }
    }

    /// `LAST_INSERT_ID()` is the session's. `LAST_INSERT_ID(5)` is 5; plans of such statements are
    /// not kept: of other literals it makes numbers.
    fn given_insert_id(&self, call: &Call<'_>) -> Option<Operand> {
        let plain = call.database.is_none() && !call.clauses && !call.distinct && !call.window;
        if plain && call.args.is_empty() && call.name.eq_ignore_ascii_case("last_insert_id") {
            return Some(Operand::InsertId);
        }
        let [Expr { kind: ExprKind::Literal(Some(n)), .. }] = call.args else { return None };
        let literal = self.input.fingerprint.literals.get(usize::from(*n))?;
        let is_integer = literal.kind == LiteralKind::Int;
        (plain && is_integer && call.name.eq_ignore_ascii_case("last_insert_id"))
            .then_some(Operand::Literal(*n))
    }

    /// A table of a sharded keyspace that statements can change.
    pub(super) fn sharded_table(
        &self,
        keyspace: KeyspaceIdx,
        name: &str,
        table: Option<&'a Arc<Table>>,
    ) -> Result<&'a Arc<Table>, PlanError> {
        let found = self.readable_table(keyspace, name, table)?;
        if found.view.is_some() {
            // Whatever vindexes it has: those of its table would not be kept.
            return Err(PlanError::unsupported(format!(
                "changing rows through the view '{name}', whose table lies on several shards; \
                    change the table itself"
            )));
        }
        if found.kind == TableKind::Normal
            && found.column_vindexes.is_empty()
            && found.pinned.is_none()
        {
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
