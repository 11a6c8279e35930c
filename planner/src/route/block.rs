//! What a query block and everything in it reads, and whether it can run on each shard alone.
//!
//! The argument for a scatter: every row that a block produces comes from rows of one shard. That
//! holds when the sharded tables of a FROM are joined on vindex columns, when subqueries are tied
//! to the row outside in the same way, and when nothing compares or counts rows of different
//! shards. What breaks it is kept as the first reason, and matters only if the statement turns out
//! not to be restricted to one shard.
use super::Planner;
use super::aggregates::{counts_rows, has_window};
use super::classes::{Classes, Instance, Node};
use super::needs::{Broken, Needs};
use super::subquery::has_subquery;
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::lookup::LookupTo;
use crate::snapshot::{ColumnVindex, KeyspaceIdx, Table};
use crate::sql::ast::*;
use std::sync::Arc;

/// How many tables one statement may read, copies through WITH included.
pub(super) const INSTANCES_MAX: usize = 200;

/// How deep views may stand on views.
pub(super) const VIEWS_MAX: usize = 16;

/// One use of a sharded table.
pub(super) struct Use {
    pub(super) instance: Instance,
    pub(super) table: Arc<Table>,
}

/// What a name in a FROM stands for.
#[derive(Clone)]
pub(super) struct Source<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) instance: Instance,
    pub(super) columns: Columns<'a>,
}

/// The columns of a source.
#[derive(Clone)]
pub(super) enum Columns<'a> {
    Table(&'a Arc<Table>),
    /// A derived table: its columns, and what they are where they are plain columns of the tables
    /// in it.
    Derived(Vec<(String, Option<Node>)>),
    /// Anything.
    Unknown,
}

/// The names that an expression can use: innermost first.
pub(super) type Scopes<'s, 'a> = Vec<&'s [Source<'a>]>;

#[derive(Clone, Copy)]
pub(super) struct CteRef<'a> {
    pub(super) cte: Cte<'a>,
    /// How many of the names before it it can see.
    pub(super) sees: usize,
    pub(super) recursive: bool,
}

/// Where a query stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Its rows are the answer, or a table in a FROM.
    Rows,
    /// In an expression, evaluated for each row outside.
    Value,
}

/// The state of one statement's analysis.
pub(super) struct Blocks<'b, 'p, 'a> {
    pub(super) planner: &'b Planner<'p, 'a>,
    pub(super) keyspace: KeyspaceIdx,
    pub(super) classes: Classes,
    pub(super) uses: Vec<Use>,
    pub(super) pinned: Vec<Vec<u8>>,
    /// Why it cannot run on several shards.
    pub(super) broken: Broken,
    /// How many queries deep: at 1, the statement's own.
    pub(super) level: usize,
    /// What the names in its own FROM stand for.
    pub(super) top: Vec<Source<'a>>,
    pub(super) ctes: Vec<CteRef<'a>>,
    /// How many views deep: what is written there is not the statement's text.
    pub(super) views: usize,
    /// A lookup by the statement's own WHERE: every row of its answer has a row that is found by
    /// it.
    pub(super) anchor: Option<LookupTo>,
    /// The statement's own FROM was outside of any query.
    pub(super) changing: bool,
    /// What an outer join gives rows of NULLs: those are on every shard.
    pub(super) padded: Vec<Instance>,
    /// Which vindexes may find the rows of a table.
    pub(super) hints: Vec<(Instance, VindexHint<'a>)>,
}

/// What the analysis of a query gives.
#[derive(Default)]
pub(super) struct Block {
    /// Its sharded tables.
    pub(super) instances: Vec<Instance>,
    pub(super) columns: Vec<(String, Option<Node>)>,
}

/// The vindexes that can place rows: functional and unique.
pub(super) fn usable(table: &Table) -> impl Iterator<Item = &ColumnVindex> {
    table
        .column_vindexes
        .iter()
        .filter(|c| c.vindex.vindex.as_ref().is_some_and(|v| v.is_unique()))
}

impl<'b, 'p, 'a> Blocks<'b, 'p, 'a> {
    pub(super) fn new(planner: &'b Planner<'p, 'a>, keyspace: KeyspaceIdx) -> Self {
        Self {
            planner,
            keyspace,
            classes: Classes::default(),
            uses: Vec::new(),
            pinned: Vec::new(),
            broken: Broken::default(),
            level: 0,
            top: Vec::new(),
            ctes: Vec::new(),
            views: 0,
            anchor: None,
            changing: false,
            padded: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Rows of several shards would have to meet.
    pub(super) fn breaks(&mut self, why: &str) {
        self.broken.add(Needs::MEET, why);
    }

    /// The statement's own query needs this of its rows.
    fn needs(&mut self, need: Needs, why: &str) {
        let need = if self.level == 1 { need } else { Needs::MEET };
        self.broken.add(need, why);
    }

    pub(super) fn with_ctes(&mut self, ctes: &'a [Cte<'a>], recursive: bool) {
        for cte in ctes {
            let sees = self.ctes.len();
            self.ctes.push(CteRef { cte: *cte, sees, recursive });
        }
    }

    /// A whole query.
    pub(super) fn query(
        &mut self,
        query: &'a Query<'a>,
        outer: &Scopes<'_, 'a>,
        position: Position,
    ) -> Result<Block, PlanError> {
        let before = self.ctes.len();
        self.with_ctes(query.ctes, query.recursive);
        self.level += 1;
        let mut all = self.body(&query.first, outer, position)?;
        let mut parts_with = usize::from(!all.instances.is_empty());
        for (op, body) in query.rest {
            let part = self.body(body, outer, position)?;
            parts_with += usize::from(!part.instances.is_empty());
            all.instances.extend(part.instances);
            if op.compares() && position == Position::Rows && parts_with > 0 {
                self.breaks("UNION, EXCEPT or INTERSECT that compares rows of several shards");
            }
        }
        if !query.rest.is_empty() {
            self.anchor = None;
            all.columns = all
                .columns
                .into_iter()
                .map(|(name, _)| (name, None))
                .collect();
            if parts_with > 0 && parts_with <= query.rest.len() && position == Position::Rows {
                self.breaks("UNION of sharded and other tables over several shards");
            }
        }
        if !all.instances.is_empty() && position == Position::Rows {
            if query.limit.is_some() {
                self.needs(Needs::LIMIT, "LIMIT over several shards");
            }
            if !query.order.is_empty() {
                self.needs(Needs::ORDER, "ORDER BY over several shards");
            }
            if query.into {
                self.broken.add(Needs::ALONE, "INTO over several shards");
            }
        }
        if query.limit.is_some() {
            all.columns.iter_mut().for_each(|c| c.1 = None);
        }
        // ORDER BY sees the select list and the tables; its subqueries are evaluated for each row.
        if query.order.iter().any(|o| has_subquery(&o.expr)) && !all.instances.is_empty() {
            self.breaks("subqueries in ORDER BY over several shards");
        }
        for item in query.order {
            self.subqueries(&item.expr, outer, &all.instances.clone(), &mut all.instances)?;
        }
        self.ctes.truncate(before);
        self.level -= 1;
        Ok(all)
    }

    fn body(
        &mut self,
        body: &'a Body<'a>,
        outer: &Scopes<'_, 'a>,
        position: Position,
    ) -> Result<Block, PlanError> {
        match body {
            Body::Select(select) => self.select(select, outer, position),
            Body::Nested(query) => self.query(query, outer, position),
            Body::Values(rows) => {
                let mut block = Block::default();
                for row in *rows {
                    self.subqueries(row, outer, &[], &mut block.instances)?;
                }
                Ok(block)
            }
            Body::Table(name) => {
                let mut instances = Vec::new();
                let source = self.table(name, &mut instances)?;
                let columns = match source.columns {
                    Columns::Derived(columns) => columns,
                    _ => Vec::new(),
                };
                Ok(Block { instances, columns })
            }
        }
    }

    fn select(
        &mut self,
        select: &'a Select<'a>,
        outer: &Scopes<'_, 'a>,
        position: Position,
    ) -> Result<Block, PlanError> {
        let mut sources = Vec::new();
        let mut block = Block::default();
        self.from(select.from, select.filter.as_ref(), outer, &mut sources, &mut block.instances)?;
        let mut scopes: Scopes<'_, 'a> = vec![&sources];
        scopes.extend(outer.iter().copied());

        let exprs = || {
            let items = select.items.iter().map(|i| &i.expr);
            items
                .chain(&select.filter)
                .chain(select.group.iter().map(|g| &g.expr))
                .chain(&select.having)
                .chain(select.windows)
        };
        let tables_of_from = block.instances.clone();
        if exprs().any(has_subquery) {
            self.freeze(&sources, &tables_of_from);
            for expr in exprs() {
                self.subqueries(expr, &scopes, &tables_of_from, &mut block.instances)?;
            }
        }

        let aggregates = select.items.iter().any(|i| counts_rows(&i.expr))
            || select.having.as_ref().is_some_and(counts_rows);
        let grouped = !select.group.is_empty();
        let keys = select.group.iter().map(|g| &g.expr);
        let by_vindex =
            grouped && !select.rollup && self.holds_vindex(keys, &scopes, &tables_of_from);
        if position == Position::Rows && !block.instances.is_empty() {
            self.rows_need(select, grouped && !by_vindex, !grouped && aggregates);
            let mut items = select.items.iter().map(|i| &i.expr);
            if select.distinct && !self.holds_vindex(&mut items, &scopes, &tables_of_from) {
                self.needs(Needs::DISTINCT, "SELECT DISTINCT over several shards");
            }
        }

        // A condition outside on a column of ours is one on the table's column, unless rows are
        // counted in between.
        let transparent = (!aggregates || grouped)
            && !select.items.iter().any(|i| has_window(&i.expr))
            && select.windows.is_empty()
            && !select.rollup;
        let own: Scopes<'_, 'a> = vec![&sources];
        let mut group = Vec::new();
        for item in select.group {
            if let ExprKind::Column(c) = &item.expr.kind {
                group.extend(self.column(c, &own));
            }
        }
        for item in select.items {
            let node = match &item.expr.kind {
                ExprKind::Column(c) if c.name != "*" => self
                    .column(c, &own)
                    .filter(|node| transparent && (!grouped || group.contains(node))),
                ExprKind::Star(_) | ExprKind::Column(_) => {
                    self.stars(&sources, transparent && !grouped, &mut block.columns);
                    continue;
                }
                _ => None,
            };
            let name = match (item.alias, &item.expr.kind) {
                (Some(alias), _) => alias.to_ascii_lowercase(),
                (None, ExprKind::Column(c)) => c.name.to_ascii_lowercase(),
                _ => String::new(),
            };
            block.columns.push((name, node));
        }
        if self.level == 1 {
            self.top = sources;
        }
        Ok(block)
    }

    /// What a SELECT over sharded tables needs of its rows.
    fn rows_need(&mut self, select: &Select<'a>, groups: bool, aggregates: bool) {
        if groups {
            self.needs(Needs::GROUP, "GROUP BY over several shards");
        }
        if aggregates || select.group.is_empty() && select.having.is_some() {
            self.needs(Needs::AGGREGATE, "aggregation over several shards");
        }
        if select.items.iter().any(|i| has_window(&i.expr)) || !select.windows.is_empty() {
            self.breaks("window functions over several shards");
        }
        if select.calc_found_rows {
            // The server that runs the statement over all rows counts them.
            self.breaks("SQL_CALC_FOUND_ROWS over several shards");
        }
        if select.into {
            self.broken.add(Needs::ALONE, "INTO over several shards");
        }
    }

    /// The columns of `*`: those that are known.
    fn stars(
        &mut self,
        sources: &[Source<'a>],
        transparent: bool,
        out: &mut Vec<(String, Option<Node>)>,
    ) {
        for source in sources {
            match &source.columns {
                Columns::Table(table) => {
                    let names: Vec<String> = usable(table)
                        .flat_map(|c| c.columns.iter().cloned())
                        .collect();
                    for name in names {
                        let family = Family::of_column(table, &name);
                        let node = self.classes.node(source.instance, &name, family);
                        // The same name twice is ambiguous.
                        let twice = out.iter().any(|(n, _)| *n == name);
                        out.push((name, (transparent && !twice).then_some(node)));
                    }
                }
                Columns::Derived(columns) => out.extend(
                    columns
                        .iter()
                        .map(|(n, node)| (n.clone(), node.filter(|_| transparent))),
                ),
                Columns::Unknown => {}
            }
        }
    }

    fn is_padded(&self, node: Node) -> bool {
        let instance = self.classes.column_of(node).map(|(instance, _)| instance);
        instance.is_none_or(|instance| self.padded.contains(&instance))
    }

    /// Do these plain columns include all columns of a vindex, for a table that places the block's
    /// rows?
    fn holds_vindex<'e>(
        &mut self,
        exprs: impl Iterator<Item = &'e Expr<'a>>,
        scopes: &Scopes<'_, 'a>,
        instances: &[Instance],
    ) -> bool
    where
        'a: 'e,
    {
        let mut held: Vec<Node> = Vec::new();
        for expr in exprs {
            if let ExprKind::Column(c) = &expr.kind
                && let Some(node) = self.column(c, &scopes.iter().take(1).copied().collect())
                && !self.is_padded(node)
            {
                held.push(self.classes.class_of(node));
            }
        }
        self.uses
            .iter()
            .filter(|u| instances.contains(&u.instance))
            .any(|u| {
                usable(&u.table).any(|v| {
                    v.columns.iter().all(|c| {
                        Family::of_column(&u.table, c).has_one_form()
                            && self
                                .classes
                                .class(u.instance, c)
                                .is_some_and(|class| held.contains(&class))
                    })
                })
            })
    }
}
