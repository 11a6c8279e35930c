//! What a query block and everything in it reads, and whether it can run on each shard alone.
//!
//! The argument for a scatter: every row that a block produces comes from rows of one shard. That holds when the sharded
//! tables of a FROM are joined on vindex columns, when subqueries are tied to the row outside in the same way, and when
//! nothing compares or counts rows of different shards. What breaks it is kept as the first reason, and matters only if
//! the statement turns out not to be restricted to one shard.
use super::Planner;
use super::classes::{Classes, Const, Instance, Node};
use super::names::Place;
use crate::error::PlanError;
use crate::plan::{InRows, Operand};
use crate::snapshot::{ColumnVindex, KeyspaceIdx, Table, TableKind};
use crate::sql::ast::*;
use crate::sql::walk::{Visitor, Walk};
use smallvec::SmallVec;
use std::sync::Arc;

/// How many tables one statement may read, copies through WITH included.
const INSTANCES_MAX: usize = 200;

/// One use of a sharded table.
pub(super) struct Use {
    pub(super) instance: Instance,
    pub(super) table: Arc<Table>,
}

/// What a name in a FROM stands for.
#[derive(Clone)]
pub(super) struct Source<'a> {
    name: Option<&'a str>,
    instance: Instance,
    columns: Columns<'a>,
}

#[derive(Clone)]
enum Columns<'a> {
    Table(&'a Arc<Table>),
    /// A derived table: its columns, and what they are where they are plain columns of the tables in it.
    Derived(Vec<(String, Option<Node>)>),
    /// Anything.
    Unknown,
}

/// The names that an expression can use: innermost first.
pub(super) type Scopes<'s, 'a> = Vec<&'s [Source<'a>]>;

#[derive(Clone, Copy)]
struct CteRef<'a> {
    cte: Cte<'a>,
    /// How many of the names before it it can see.
    sees: usize,
    recursive: bool,
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
    planner: &'b Planner<'p, 'a>,
    keyspace: KeyspaceIdx,
    pub(super) classes: Classes,
    pub(super) uses: Vec<Use>,
    pub(super) pinned: Vec<Vec<u8>>,
    /// Why it cannot run on several shards.
    pub(super) broken: Option<String>,
    ctes: Vec<CteRef<'a>>,
}

/// What the analysis of a query gives.
#[derive(Default)]
pub(super) struct Block {
    /// Its sharded tables.
    pub(super) instances: Vec<Instance>,
    columns: Vec<(String, Option<Node>)>,
}

const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "group_concat",
    "bit_and",
    "bit_or",
    "bit_xor",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var_pop",
    "var_samp",
    "variance",
    "json_arrayagg",
    "json_objectagg",
    "any_value",
    "median",
    "percentile_cont",
    "percentile_disc",
    "st_collect",
];

/// Finds aggregates and windows in expressions, but not in subqueries.
fn counts_rows(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        ExprKind::Call(c) => {
            c.window
                || AGGREGATES.iter().any(|a| c.name.eq_ignore_ascii_case(a))
                || c.args.iter().any(counts_rows)
        }
        ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Row(l) | ExprKind::Other(l) => {
            l.iter().any(counts_rows)
        }
        ExprKind::Not(e) => counts_rows(e),
        ExprKind::Compare { sides, .. } => sides.iter().any(counts_rows),
        ExprKind::InList { left, list, .. } => counts_rows(left) || list.iter().any(counts_rows),
        ExprKind::InCollapsed { left, .. } | ExprKind::InQuery { left, .. } => counts_rows(left),
        _ => false,
    }
}

fn has_window(expr: &Expr<'_>) -> bool {
    struct Find(bool);
    impl<'a> Visitor<'a> for Find {
        fn table(&mut self, _: &'a TableName<'a>) {}
        fn call(&mut self, call: &'a Call<'a>) {
            self.0 |= call.window;
        }
    }
    let mut find = Find(false);
    Walk::new(&mut find).expr(expr);
    find.0
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
            broken: None,
            ctes: Vec::new(),
        }
    }

    pub(super) fn planner_effects(&self) -> crate::plan::Effects {
        self.planner.effects
    }

    pub(super) fn breaks(&mut self, why: &str) {
        self.broken.get_or_insert_with(|| why.to_owned());
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
        let mut all = self.body(&query.first, outer, position)?;
        let mut parts_with = usize::from(!all.instances.is_empty());
        for (op, body) in query.rest {
            let part = self.body(body, outer, position)?;
            parts_with += usize::from(!part.instances.is_empty());
            all.instances.extend(part.instances);
            if *op == SetOp::Compares && position == Position::Rows && parts_with > 0 {
                self.breaks("UNION, EXCEPT or INTERSECT that compares rows of several shards");
            }
        }
        if !query.rest.is_empty() {
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
            if query.limit {
                self.breaks("LIMIT over several shards");
            }
            if !query.order.is_empty() {
                self.breaks("ORDER BY over several shards");
            }
            if query.into {
                self.breaks("INTO over several shards");
            }
        }
        if query.limit {
            all.columns.iter_mut().for_each(|c| c.1 = None);
        }
        // ORDER BY sees the select list and the tables; its subqueries are evaluated for each row.
        if query.order.iter().any(has_subquery) && !all.instances.is_empty() {
            self.breaks("subqueries in ORDER BY over several shards");
        }
        for expr in query.order {
            self.subqueries(expr, outer, &all.instances.clone(), &mut all.instances)?;
        }
        self.ctes.truncate(before);
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
                .chain(select.group)
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
        let by_vindex =
            grouped && !select.rollup && self.holds_vindex(select.group.iter(), &scopes, &tables_of_from);
        if position == Position::Rows && !block.instances.is_empty() {
            if grouped && !by_vindex {
                self.breaks("GROUP BY over several shards");
            }
            if !grouped && (aggregates || select.having.is_some()) {
                self.breaks("aggregation over several shards");
            }
            if select.items.iter().any(|i| has_window(&i.expr)) || !select.windows.is_empty() {
                self.breaks("window functions over several shards");
            }
            let items = || select.items.iter().map(|i| &i.expr);
            if select.distinct && !self.holds_vindex(items(), &scopes, &tables_of_from) {
                self.breaks("SELECT DISTINCT over several shards");
            }
            if select.calc_found_rows {
                self.breaks("SQL_CALC_FOUND_ROWS over several shards");
            }
            if select.into {
                self.breaks("INTO over several shards");
            }
        }

        // A condition outside on a column of ours is one on the table's column, unless rows are counted in between.
        let transparent = !(aggregates && !grouped)
            && !select.items.iter().any(|i| has_window(&i.expr))
            && select.windows.is_empty()
            && !select.rollup;
        let own: Scopes<'_, 'a> = vec![&sources];
        let mut group = Vec::new();
        for expr in select.group {
            if let ExprKind::Column(c) = &expr.kind {
                group.extend(self.column(c, &own));
            }
        }
        for item in select.items {
            let node = match &item.expr.kind {
                ExprKind::Column(c) if c.name != "*" => self
                    .column(c, &own)
                    .filter(|node| transparent && (!grouped || group.contains(node))),
                ExprKind::Star | ExprKind::Column(_) => {
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
        Ok(block)
    }

    /// The columns of `*`: those that are known.
    fn stars(&mut self, sources: &[Source<'a>], transparent: bool, out: &mut Vec<(String, Option<Node>)>) {
        for source in sources {
            match &source.columns {
                Columns::Table(table) => {
                    let names: Vec<String> = usable(table)
                        .flat_map(|c| c.columns.iter().cloned())
                        .collect();
                    for name in names {
                        let node = self.classes.node(source.instance, &name);
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

    /// Do these plain columns include all columns of a vindex, for a table that places the block's rows?
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
                        self.classes
                            .class(u.instance, c)
                            .is_some_and(|class| held.contains(&class))
                    })
                })
            })
    }

    /// The tables of a FROM with their conditions: their names go to `sources`, the sharded ones to `instances`.
    pub(super) fn from(
        &mut self,
        from: &'a [TableExpr<'a>],
        filter: Option<&'a Expr<'a>>,
        outer: &Scopes<'_, 'a>,
        sources: &mut Vec<Source<'a>>,
        instances: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let mut trees = Vec::new();
        for table in from {
            trees.push(self.tree(table, outer, sources)?);
        }
        let mut scopes: Scopes<'_, 'a> = vec![sources.as_slice()];
        scopes.extend(outer.iter().copied());
        let mut filters: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        filter.into_iter().for_each(|f| conjuncts(f, &mut filters));
        for condition in &filters {
            self.condition(condition, &scopes);
        }
        for tree in &trees {
            self.inner_conditions(tree, &scopes);
        }
        for tree in &trees {
            let found = self.outer_joins(tree, &scopes, outer)?;
            instances.extend(found);
        }
        let units: Vec<Vec<Instance>> = trees
            .iter()
            .flat_map(|t| t.units())
            .filter(|u| !u.is_empty())
            .collect();
        self.connected(&units);
        Ok(())
    }

    /// Breaks unless the sharded tables in the units lie together.
    fn connected(&mut self, units: &[Vec<Instance>]) {
        if units.len() > 1 && !self.lie_together(&units.concat()) {
            self.breaks("a join of sharded tables that is not on their vindex columns");
        }
    }

    fn keys(&self, instance: Instance) -> Vec<(String, Vec<Node>)> {
        let Some(table) = self
            .uses
            .iter()
            .find(|u| u.instance == instance)
            .map(|u| &u.table)
        else {
            return Vec::new();
        };
        usable(table)
            .filter_map(|v| {
                let roots: Option<Vec<Node>> = v
                    .columns
                    .iter()
                    .map(|c| self.classes.class(instance, c))
                    .collect();
                roots.map(|r| (v.vindex.name.clone(), r))
            })
            .collect()
    }

    /// Are the rows that meet always on one shard?
    fn lie_together(&self, instances: &[Instance]) -> bool {
        let keys: Vec<_> = instances.iter().map(|&i| self.keys(i)).collect();
        let mut reached = vec![false; keys.len()];
        let mut todo = vec![0usize];
        while let Some(n) = todo.pop() {
            if let Some(flag) = reached.get_mut(n) {
                if *flag {
                    continue;
                }
                *flag = true;
            }
            let Some(mine) = keys.get(n) else { continue };
            let near = keys
                .iter()
                .enumerate()
                .filter(|(_, other)| other.iter().any(|k| mine.contains(k)));
            todo.extend(
                near.map(|(m, _)| m)
                    .filter(|&m| reached.get(m) == Some(&false)),
            );
        }
        reached.iter().all(|&r| r)
    }

    fn tree(
        &mut self,
        table: &'a TableExpr<'a>,
        outer: &Scopes<'_, 'a>,
        sources: &mut Vec<Source<'a>>,
    ) -> Result<Tree<'a>, PlanError> {
        let first = sources.len();
        Ok(match table {
            TableExpr::Table(name) => {
                let mut instances = Vec::new();
                let source = self.table(name, &mut instances)?;
                sources.push(source);
                Tree::Leaf { source: first, instances }
            }
            TableExpr::Derived(derived) => {
                // LATERAL sees its neighbours, but proves nothing about them: their names are not resolved.
                let scopes = if derived.lateral { Vec::new() } else { outer.clone() };
                let block = self.query(derived.query, &scopes, Position::Rows)?;
                if derived.lateral && !block.instances.is_empty() {
                    self.breaks("LATERAL over several shards");
                }
                sources.push(self.derived(derived.alias, derived.columns, block.columns));
                Tree::Leaf { source: first, instances: block.instances }
            }
            TableExpr::Function { args, alias } => {
                let mut instances = Vec::new();
                for arg in *args {
                    self.subqueries(arg, outer, &[], &mut instances)?;
                }
                let instance = self.classes.add_instance();
                sources.push(Source { name: *alias, instance, columns: Columns::Unknown });
                Tree::Leaf { source: first, instances }
            }
            TableExpr::List(list) => {
                let mut trees = Vec::new();
                for one in *list {
                    trees.push(self.tree(one, outer, sources)?);
                }
                Tree::List(trees)
            }
            TableExpr::Join(join) => {
                let left = self.tree(&join.left, outer, sources)?;
                let right = self.tree(&join.right, outer, sources)?;
                Tree::Join { join, left: Box::new(left), right: Box::new(right) }
            }
        })
    }

    fn derived(
        &mut self,
        name: Option<&'a str>,
        renamed: &[&str],
        columns: Vec<(String, Option<Node>)>,
    ) -> Source<'a> {
        let instance = self.classes.add_instance();
        let columns = if renamed.is_empty() {
            columns
        } else {
            // Which columns `*` stands for is not known exactly, so that renaming by position proves nothing.
            renamed
                .iter()
                .map(|r| (r.to_ascii_lowercase(), None))
                .collect()
        };
        Source { name, instance, columns: Columns::Derived(columns) }
    }

    fn table(
        &mut self,
        name: &'a TableName<'a>,
        instances: &mut Vec<Instance>,
    ) -> Result<Source<'a>, PlanError> {
        if self.uses.len() > INSTANCES_MAX {
            return Err(PlanError::TooLong(INSTANCES_MAX));
        }
        let cte = match name.database {
            None => self.ctes.iter().rposition(|c| c.cte.name == name.name),
            Some(_) => None,
        };
        if let Some((at, found)) = cte.and_then(|at| self.ctes.get(at).map(|c| (at, *c))) {
            return self.cte(at, found, name, instances);
        }
        let instance = self.classes.add_instance();
        let source = |columns| Source { name: Some(name.exposed()), instance, columns };
        let Place::Table { table, .. } = self.planner.locate(name)? else {
            return Ok(source(Columns::Unknown));
        };
        let table = self
            .planner
            .sharded_table(self.keyspace, name.name, table)?;
        if let Some(id) = &table.pinned {
            self.pinned.push(id.clone());
            instances.push(instance);
            self.uses.push(Use { instance, table: table.clone() });
        } else if table.kind != TableKind::Reference {
            instances.push(instance);
            self.uses.push(Use { instance, table: table.clone() });
        }
        Ok(source(Columns::Table(table)))
    }

    fn cte(
        &mut self,
        at: usize,
        found: CteRef<'a>,
        name: &'a TableName<'a>,
        instances: &mut Vec<Instance>,
    ) -> Result<Source<'a>, PlanError> {
        // Inside, only the names before it are visible; and itself, if recursive.
        let hidden = self.ctes.split_off(at);
        debug_assert!(found.sees <= self.ctes.len());
        let block = if found.recursive {
            self.breaks("recursive WITH over several shards");
            let nothing = Cte { name: found.cte.name, columns: &[], query: &EMPTY };
            self.ctes
                .push(CteRef { cte: nothing, sees: at, recursive: false });
            let block = self.query(found.cte.query, &Vec::new(), Position::Rows);
            self.ctes.truncate(at);
            block.map(|b| Block { columns: Vec::new(), ..b })
        } else {
            self.query(found.cte.query, &Vec::new(), Position::Rows)
        };
        self.ctes.extend(hidden);
        let block = block?;
        instances.extend(block.instances);
        Ok(self.derived(Some(name.exposed()), found.cte.columns, block.columns))
    }

    /// Equalities of inner joins hold for every row, as those of WHERE do.
    fn inner_conditions(&mut self, tree: &Tree<'a>, scopes: &Scopes<'_, 'a>) {
        match tree {
            Tree::Leaf { .. } => {}
            Tree::List(list) => list.iter().for_each(|t| self.inner_conditions(t, scopes)),
            Tree::Join { join, left, right } => match join.kind {
                JoinKind::Inner => {
                    self.join_conditions(join, left, right, scopes);
                    self.inner_conditions(left, scopes);
                    self.inner_conditions(right, scopes);
                }
                JoinKind::Left => self.inner_conditions(left, scopes),
                JoinKind::Right => self.inner_conditions(right, scopes),
            },
        }
    }

    /// Takes the outer joins, from the inside of their kept side outwards. Returns the sharded tables of the tree.
    fn outer_joins(
        &mut self,
        tree: &Tree<'a>,
        scopes: &Scopes<'_, 'a>,
        outer: &Scopes<'_, 'a>,
    ) -> Result<Vec<Instance>, PlanError> {
        match tree {
            Tree::Leaf { instances, .. } => Ok(instances.clone()),
            Tree::List(list) => {
                let mut all = Vec::new();
                for one in list {
                    all.extend(self.outer_joins(one, scopes, outer)?);
                }
                Ok(all)
            }
            Tree::Join { join, left, right } => {
                let (kept, other) = match join.kind {
                    JoinKind::Inner => {
                        let mut all = self.outer_joins(left, scopes, outer)?;
                        all.extend(self.outer_joins(right, scopes, outer)?);
                        self.on_subqueries(join, scopes, &all.clone(), &mut all)?;
                        return Ok(all);
                    }
                    JoinKind::Left => (left, right),
                    JoinKind::Right => (right, left),
                };
                let mut all = self.outer_joins(kept, scopes, outer)?;
                let units: Vec<_> = kept.units().into_iter().filter(|u| !u.is_empty()).collect();
                self.connected(&units);
                let mut frozen = Vec::new();
                kept.all_instances(scopes, &mut frozen);
                frozen.extend(&all);
                self.classes.freeze(&frozen);
                self.inner_conditions(other, scopes);
                self.join_conditions(join, left, right, scopes);
                let inner = self.outer_joins(other, scopes, outer)?;
                if all.is_empty() && !inner.is_empty() {
                    self.breaks("an outer join that keeps rows of a table which is not sharded");
                }
                all.extend(inner);
                self.on_subqueries(join, scopes, &all.clone(), &mut all)?;
                Ok(all)
            }
        }
    }

    fn on_subqueries(
        &mut self,
        join: &'a Join<'a>,
        scopes: &Scopes<'_, 'a>,
        outside: &[Instance],
        all: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let Some(on) = join.on.as_ref().filter(|on| has_subquery(on)) else { return Ok(()) };
        self.breaks("subqueries in ON over several shards");
        let sources = scopes.first().copied().unwrap_or_default();
        self.freeze(sources, outside);
        self.subqueries(on, scopes, outside, all)
    }

    fn join_conditions(
        &mut self,
        join: &'a Join<'a>,
        left: &Tree<'a>,
        right: &Tree<'a>,
        scopes: &Scopes<'_, 'a>,
    ) {
        let mut list: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        join.on
            .as_ref()
            .into_iter()
            .for_each(|on| conjuncts(on, &mut list));
        for condition in list {
            self.condition(condition, scopes);
        }
        for column in join.using {
            let column = column.to_ascii_lowercase();
            let (a, b) = (self.only(left, &column, scopes), self.only(right, &column, scopes));
            if let Some((a, b)) = a.zip(b) {
                self.classes.unite(a, b);
            }
        }
    }

    /// The column of a USING: only where one table of the side has it for sure, and it is a plain table.
    fn only(&mut self, tree: &Tree<'a>, column: &str, scopes: &Scopes<'_, 'a>) -> Option<Node> {
        let mut sources = Vec::new();
        tree.sources(&mut sources);
        let scope = *scopes.first()?;
        let mut found = None;
        for &n in &sources {
            let source = scope.get(n)?;
            match source.has(column) {
                Has::Yes if found.is_none() => found = Some(source.clone()),
                Has::No => {}
                Has::Maybe if sources.len() == 1 => {}
                _ => return None,
            }
        }
        self.node_in(&found?, column)
    }

    fn node_in(&mut self, source: &Source<'a>, column: &str) -> Option<Node> {
        match &source.columns {
            Columns::Table(_) => Some(self.classes.node(source.instance, column)),
            Columns::Derived(columns) => {
                let mut named = columns.iter().filter(|(n, _)| n == column);
                match (named.next(), named.next()) {
                    (Some((_, node)), None) => *node,
                    _ => None,
                }
            }
            Columns::Unknown => None,
        }
    }

    /// The column that a name means, if that is certain.
    fn column(&mut self, column: &ColumnName<'_>, scopes: &Scopes<'_, 'a>) -> Option<Node> {
        let name = column.name.to_ascii_lowercase();
        for scope in scopes {
            if let Some(table) = column.table {
                let mut named = scope.iter().filter(|s| s.name == Some(table));
                match (named.next(), named.next()) {
                    (Some(source), None) => {
                        let source = source.clone();
                        return self.node_in(&source, &name);
                    }
                    (None, _) => continue,
                    _ => return None,
                }
            }
            let mut sure = scope.iter().filter(|s| s.has(&name) == Has::Yes);
            let first = sure.next().cloned();
            match (first, sure.next()) {
                (Some(source), None) => return self.node_in(&source, &name),
                (Some(_), Some(_)) => return None,
                (None, _) => {}
            }
            let mut maybe = scope.iter().filter(|s| s.has(&name) == Has::Maybe);
            let first = maybe.next().cloned();
            match (first, maybe.next()) {
                (Some(source), None) => return self.node_in(&source, &name),
                (Some(_), Some(_)) => return None,
                (None, _) => {}
            }
        }
        None
    }

    /// What a condition that holds for every row says.
    fn condition(&mut self, condition: &'a Expr<'a>, scopes: &Scopes<'_, 'a>) {
        match &condition.kind {
            ExprKind::Compare { op: CompareOp::Other, .. } => {}
            ExprKind::Compare { op, sides } => {
                let [left, right] = sides;
                match (&left.kind, &right.kind) {
                    (ExprKind::Row(a), ExprKind::Row(b)) if a.len() == b.len() && *op == CompareOp::Eq => {
                        for (a, b) in a.iter().zip(*b) {
                            self.equal(a, b, CompareOp::Eq, scopes);
                        }
                    }
                    _ => self.equal(left, right, *op, scopes),
                }
            }
            ExprKind::InList { .. } | ExprKind::InCollapsed { .. } | ExprKind::Or(_) => {
                if let Some((node, rows)) = self.alternatives(condition, scopes) {
                    self.classes.restrict(node, Const::Many(rows));
                } else if let ExprKind::InList { left, not: false, list } = &condition.kind {
                    self.tuples(left, list, scopes);
                }
            }
            _ => {}
        }
    }

    /// `(a, b) IN ((1, 2), (3, 4))`: each column has a list of its own.
    fn tuples(&mut self, left: &'a Expr<'a>, list: &'a [Expr<'a>], scopes: &Scopes<'_, 'a>) {
        let ExprKind::Row(columns) = &left.kind else { return };
        for (n, column) in columns.iter().enumerate() {
            let ExprKind::Column(name) = &column.kind else { continue };
            let operands: Option<Vec<SmallVec<[Operand; 1]>>> = list
                .iter()
                .map(|row| match &row.kind {
                    ExprKind::Row(values) if values.len() == columns.len() => values
                        .get(n)
                        .and_then(|v| self.operand(v))
                        .map(|o| SmallVec::from_elem(o, 1)),
                    _ => None,
                })
                .collect();
            if let Some(operands) = operands
                && let Some(node) = self.column(name, scopes)
            {
                self.classes
                    .restrict(node, Const::Many(InRows::Operands(operands)));
            }
        }
    }

    fn equal(&mut self, left: &'a Expr<'a>, right: &'a Expr<'a>, op: CompareOp, scopes: &Scopes<'_, 'a>) {
        let (column, other) = match (&left.kind, &right.kind) {
            (ExprKind::Column(a), ExprKind::Column(b)) if op == CompareOp::Eq => {
                if let (Some(a), Some(b)) = (self.column(a, scopes), self.column(b, scopes)) {
                    self.classes.unite(a, b);
                }
                return;
            }
            (ExprKind::Column(c), _) => (c, right),
            (_, ExprKind::Column(c)) => (c, left),
            _ => return,
        };
        let Some(operand) = self.operand(other) else { return };
        // `a <=> NULL` matches rows that `a = NULL` does not, and a parameter may be NULL.
        if op == CompareOp::NullSafeEq && matches!(operand, Operand::Null | Operand::Param(_)) {
            return;
        }
        if let Some(node) = self.column(column, scopes) {
            self.classes.restrict(node, Const::One(operand));
        }
    }

    /// A value that is known when the statement runs.
    fn operand(&self, expr: &Expr<'_>) -> Option<Operand> {
        self.planner.operand(expr)
    }

    /// `a IN (...)`, `a = 1 OR a = 2`, `(a = 1 AND ...) OR a IN (...)`: the one column, and all its values.
    fn alternatives(&mut self, expr: &'a Expr<'a>, scopes: &Scopes<'_, 'a>) -> Option<(Node, InRows)> {
        match &expr.kind {
            ExprKind::InCollapsed { left, not: false, list } => {
                let ExprKind::Column(c) = &left.kind else { return None };
                if *list == u16::MAX {
                    return None;
                }
                Some((self.column(c, scopes)?, InRows::List(*list)))
            }
            ExprKind::InList { left, not: false, list } => {
                let ExprKind::Column(c) = &left.kind else { return None };
                let operands: Option<Vec<_>> = list
                    .iter()
                    .map(|e| self.operand(e).map(|o| SmallVec::from_elem(o, 1)))
                    .collect();
                Some((self.column(c, scopes)?, InRows::Operands(operands?)))
            }
            ExprKind::Compare { op: CompareOp::Eq, sides } => {
                let [left, right] = sides;
                let (column, other) = match (&left.kind, &right.kind) {
                    (ExprKind::Column(c), _) => (c, right),
                    (_, ExprKind::Column(c)) => (c, left),
                    _ => return None,
                };
                let operand = self.operand(other)?;
                Some((self.column(column, scopes)?, InRows::Operands(vec![SmallVec::from_elem(operand, 1)])))
            }
            ExprKind::And(list) => list.iter().find_map(|e| self.alternatives(e, scopes)),
            ExprKind::Or(list) => {
                let mut all: Option<(Node, Vec<SmallVec<[Operand; 1]>>)> = None;
                for one in *list {
                    let (node, InRows::Operands(rows)) = self.alternatives(one, scopes)? else { return None };
                    match &mut all {
                        None => all = Some((node, rows)),
                        Some((first, so_far)) if *first == node => so_far.extend(rows),
                        Some(_) => return None,
                    }
                }
                all.map(|(node, rows)| (node, InRows::Operands(rows)))
            }
            _ => None,
        }
    }

    /// The subqueries of an expression; `outside` are the sharded tables whose rows it is evaluated for.
    pub(super) fn subqueries(
        &mut self,
        expr: &'a Expr<'a>,
        scopes: &Scopes<'_, 'a>,
        outside: &[Instance],
        all: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let mut conditions: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        conjuncts(expr, &mut conditions);
        for condition in conditions {
            if let ExprKind::InQuery { left, not: false, query } = &condition.kind
                && let ExprKind::Column(column) = &left.kind
            {
                let block = self.query(query, scopes, Position::Value)?;
                self.tie(column, query, &block, scopes);
                self.evaluated(block, outside, all);
                continue;
            }
            let mut found = Vec::new();
            top_subqueries(condition, &mut found);
            for query in found {
                let block = self.query(query, scopes, Position::Value)?;
                self.evaluated(block, outside, all);
            }
        }
        Ok(())
    }

    fn evaluated(&mut self, block: Block, outside: &[Instance], all: &mut Vec<Instance>) {
        if block.instances.is_empty() {
            return;
        }
        let together = [outside, &block.instances].concat();
        if outside.is_empty() || !self.lie_together(&together) {
            self.breaks("a subquery whose rows may lie on other shards than the row outside");
        }
        all.extend(block.instances);
    }

    /// `a IN (SELECT b FROM ...)` as a condition: only rows with `b = a` matter, so that they lie with `a`.
    fn tie(
        &mut self,
        column: &'a ColumnName<'a>,
        query: &'a Query<'a>,
        block: &Block,
        scopes: &Scopes<'_, 'a>,
    ) {
        let Body::Select(select) = &query.first else { return };
        let plain = query.rest.is_empty()
            && !query.limit
            && select.group.is_empty()
            && select.having.is_none()
            && select.items.len() == 1;
        let [(_, Some(inner))] = block.columns.as_slice() else { return };
        if plain && let Some(outer) = self.column(column, scopes) {
            self.classes.unite(*inner, outer);
        }
    }

    pub(super) fn freeze(&mut self, sources: &[Source<'a>], instances: &[Instance]) {
        let mut all = instances.to_vec();
        all.extend(sources.iter().map(|s| s.instance));
        self.classes.freeze(&all);
    }
}

static EMPTY: Query<'static> = Query {
    span: Span { start: 0, end: 0 },
    ctes: &[],
    recursive: false,
    first: Body::Values(&[]),
    rest: &[],
    order: &[],
    limit: false,
    locking: false,
    into: false,
};

pub(super) fn has_subquery(expr: &Expr<'_>) -> bool {
    let mut found = Vec::new();
    top_subqueries(expr, &mut found);
    !found.is_empty()
}

/// The outermost subqueries of an expression.
fn top_subqueries<'a>(expr: &Expr<'a>, out: &mut Vec<&'a Query<'a>>) {
    match &expr.kind {
        ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Row(l) | ExprKind::Other(l) => {
            l.iter().for_each(|e| top_subqueries(e, out));
        }
        ExprKind::Not(e) => top_subqueries(e, out),
        ExprKind::Compare { sides, .. } => sides.iter().for_each(|e| top_subqueries(e, out)),
        ExprKind::InList { left, list, .. } => {
            top_subqueries(left, out);
            list.iter().for_each(|e| top_subqueries(e, out));
        }
        ExprKind::InCollapsed { left, .. } => top_subqueries(left, out),
        ExprKind::InQuery { left, query, .. } => {
            top_subqueries(left, out);
            out.push(query);
        }
        ExprKind::Call(c) => c.args.iter().for_each(|e| top_subqueries(e, out)),
        ExprKind::Exists(q) | ExprKind::Subquery(q) => out.push(q),
        _ => {}
    }
}

fn conjuncts<'a>(expr: &'a Expr<'a>, out: &mut SmallVec<[&'a Expr<'a>; 8]>) {
    match &expr.kind {
        ExprKind::And(list) => list.iter().for_each(|e| conjuncts(e, out)),
        _ => out.push(expr),
    }
}

#[derive(PartialEq, Eq)]
enum Has {
    Yes,
    No,
    Maybe,
}

impl Source<'_> {
    fn has(&self, column: &str) -> Has {
        match &self.columns {
            Columns::Table(table) => {
                let known = table
                    .columns
                    .iter()
                    .any(|c| c.name.eq_ignore_ascii_case(column))
                    || table
                        .column_vindexes
                        .iter()
                        .any(|v| v.columns.iter().any(|c| c == column));
                match (known, table.columns_complete) {
                    (true, _) => Has::Yes,
                    (false, true) => Has::No,
                    (false, false) => Has::Maybe,
                }
            }
            Columns::Derived(columns) if columns.iter().any(|(n, _)| n == column) => Has::Yes,
            Columns::Derived(_) | Columns::Unknown => Has::Maybe,
        }
    }
}

/// A FROM's joins, with the sharded tables at the leaves.
enum Tree<'a> {
    Leaf { source: usize, instances: Vec<Instance> },
    List(Vec<Tree<'a>>),
    Join { join: &'a Join<'a>, left: Box<Tree<'a>>, right: Box<Tree<'a>> },
}

impl Tree<'_> {
    /// The sharded tables, leaf by leaf.
    fn units(&self) -> Vec<Vec<Instance>> {
        match self {
            Self::Leaf { instances, .. } => vec![instances.clone()],
            Self::List(list) => list.iter().flat_map(Self::units).collect(),
            Self::Join { left, right, .. } => [left.units(), right.units()].concat(),
        }
    }

    fn sources(&self, out: &mut Vec<usize>) {
        match self {
            Self::Leaf { source, .. } => out.push(*source),
            Self::List(list) => list.iter().for_each(|t| t.sources(out)),
            Self::Join { left, right, .. } => {
                left.sources(out);
                right.sources(out);
            }
        }
    }

    /// Every instance that a name of the tree stands for, sharded or not.
    fn all_instances(&self, scopes: &Scopes<'_, '_>, out: &mut Vec<Instance>) {
        let mut sources = Vec::new();
        self.sources(&mut sources);
        let scope = scopes.first().copied().unwrap_or_default();
        out.extend(
            sources
                .iter()
                .filter_map(|&n| scope.get(n))
                .map(|s| s.instance),
        );
    }
}
