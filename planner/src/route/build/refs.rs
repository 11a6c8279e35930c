//! Every table that a statement reads, each time that it reads it, with the conditions that its
//! rows must meet whatever they are joined with.
use super::super::Planner;
use super::super::conditions::conjuncts;
use super::super::names::Place;
use super::carry::Condition;
use super::edges::Edge;
use super::functions::is_native;
use super::indexes;
use super::locks::Lock;
use super::meaning::{Block, Scope};
use super::system;
use crate::error::PlanError;
use crate::snapshot::{KeyspaceIdx, Table};
use crate::sql::ast::*;
use smallvec::SmallVec;
use std::sync::Arc;

/// One use of a table.
pub(super) struct Reference<'a> {
    pub(super) name: &'a TableName<'a>,
    pub(super) keyspace: KeyspaceIdx,
    pub(super) table: &'a Arc<Table>,
    /// What rows that matter fulfil.
    pub(super) conditions: Vec<Condition<'a>>,
    /// Does `*` stand for its columns?
    pub(super) all_columns: bool,
    pub(super) lock: Option<Lock>,
    /// `TABLE t`: no alias can follow.
    pub(super) bare: bool,
    /// Of information_schema.
    pub(super) system: bool,
    /// Of such: in which databases its rows can be. `None`: in any.
    pub(super) databases: Option<system::Databases>,
}

/// What a name in a FROM stands for.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    Reference(usize),
    /// A derived table, or a name that WITH defines: the query's span.
    Derived {
        number: usize,
        name: Option<&'a str>,
        query: Span,
        columns: &'a [&'a str],
        with: bool,
        lateral: bool,
    },
    Other(Option<&'a str>),
}

impl Entry<'_> {
    pub(super) fn number(&self) -> Option<usize> {
        match self {
            Self::Reference(at) => Some(*at),
            Self::Derived { number, .. } => Some(*number),
            Self::Other(_) => None,
        }
    }
}

/// ON conditions, and the tables that each may restrict.
type Conditions<'a> = Vec<(&'a Expr<'a>, Vec<usize>)>;

/// All that is asked of a statement's tree.
pub(super) struct References<'c, 'p, 'a> {
    pub(super) planner: &'c Planner<'p, 'a>,
    pub(super) list: Vec<Reference<'a>>,
    /// Databases' names before columns, with the dot.
    pub(super) qualifiers: Vec<Span>,
    /// Do parameters stand alone in ORDER BY or GROUP BY? As text they are positions, which to some
    /// servers they are not.
    pub(super) constants: bool,
    /// Columns that are compared by `=`, each with what it is compared with.
    pub(super) equal: Vec<indexes::Equal<'a>>,
    /// Items of select lists without aliases.
    pub(super) items: Vec<&'a SelectItem<'a>>,
    pub(super) groups: bool,
    /// Locking clauses.
    pub(super) locks: Vec<Span>,
    pub(super) edges: Vec<Edge<'a>>,
    /// The selects around what is being read, the innermost one last.
    pub(super) scopes: Vec<Scope<'a>>,
    pub(super) blocks: Vec<Block<'a>>,
    /// How many there were.
    pub(super) deriveds: usize,
    /// What of WITH was read, each time that it is.
    pub(super) withs: Vec<Span>,
    ctes: Vec<&'a Cte<'a>>,
}

impl<'c, 'p, 'a> References<'c, 'p, 'a> {
    pub(super) fn of(
        planner: &'c Planner<'p, 'a>,
        query: &'a Query<'a>,
    ) -> Result<Self, PlanError> {
        let mut found = Self {
            planner,
            list: Vec::new(),
            qualifiers: Vec::new(),
            constants: false,
            equal: Vec::new(),
            items: Vec::new(),
            groups: false,
            locks: Vec::new(),
            edges: Vec::new(),
            scopes: Vec::new(),
            blocks: Vec::new(),
            deriveds: 0,
            withs: Vec::new(),
            ctes: Vec::new(),
        };
        found.query(query, true)?;
        Ok(found)
    }

    /// The tables that its own FROM reads. `shown`: its columns matter.
    fn query(&mut self, query: &'a Query<'a>, shown: bool) -> Result<Vec<usize>, PlanError> {
        if query.into {
            return Err(PlanError::unsupported("INTO over several shards"));
        }
        let before = self.ctes.len();
        if query.recursive {
            self.ctes.extend(query.ctes);
        }
        for cte in query.ctes {
            self.inner(cte.query)?;
            self.ctes.push(cte);
        }
        let one = query.rest.is_empty().then_some(query);
        let mut own = self.body(&query.first, one, shown || !query.rest.is_empty())?;
        for (_, body) in query.rest {
            own.extend(self.body(body, None, true)?);
        }
        self.enter_unsure();
        self.ordered(query.order)?;
        self.leave();
        for &span in query.locks {
            self.locks.push(span);
            let lock = Lock::of(self.planner, span);
            for &at in &own {
                if let Some(reference) = self.list.get_mut(at)
                    && lock.is_on(reference.name.exposed())
                {
                    reference.lock = Some(lock.clone());
                }
            }
        }
        self.ctes.truncate(before);
        Ok(own)
    }

    /// A query of which it is not certain which names it sees.
    fn inner(&mut self, query: &'a Query<'a>) -> Result<(), PlanError> {
        self.enter_unsure();
        self.query(query, true)?;
        self.leave();
        Ok(())
    }

    /// `of`: the query that has no other.
    fn body(
        &mut self,
        body: &'a Body<'a>,
        of: Option<&'a Query<'a>>,
        shown: bool,
    ) -> Result<Vec<usize>, PlanError> {
        match body {
            Body::Select(select) => self.select(select, of, shown),
            Body::Nested(query) => self.query(query, shown),
            Body::Values(rows) => {
                self.exprs(rows)?;
                Ok(Vec::new())
            }
            Body::Table(name) => {
                let Entry::Reference(at) = self.table(name)? else { return Ok(Vec::new()) };
                if let Some(reference) = self.list.get_mut(at) {
                    (reference.all_columns, reference.bare) = (true, true);
                }
                Ok(vec![at])
            }
        }
    }

    fn ordered(&mut self, items: &'a [Ordered<'a>]) -> Result<(), PlanError> {
        for item in items {
            if let ExprKind::Param(_) = item.expr.kind {
                self.constants = true;
            }
            self.expr(&item.expr)?;
        }
        Ok(())
    }

    fn select(
        &mut self,
        select: &'a Select<'a>,
        of: Option<&'a Query<'a>>,
        shown: bool,
    ) -> Result<Vec<usize>, PlanError> {
        if select.into {
            return Err(PlanError::unsupported("INTO over several shards"));
        }
        let (mut entries, mut conditions, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for table in select.from {
            kept.extend(self.from(table, &mut entries, &mut conditions)?);
        }
        self.enter(select, &entries);
        self.exprs_of(select)?;
        self.leave();
        let correlated = self.read_select(select, &conditions, (&entries, &kept));
        if let Some(query) = of {
            self.note_block(query, select, (&entries, kept.clone()), correlated);
        }
        let mut filters: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        select
            .filter
            .iter()
            .for_each(|f| conjuncts(f, &mut filters));
        conditions.extend(filters.into_iter().map(|f| (f, kept.clone())));
        let (mut equalities, mut databases) = (Vec::new(), Vec::new());
        for (condition, allowed) in conditions {
            self.note_databases(condition, &allowed, &entries);
            self.same_databases(condition, &allowed, &entries, &mut databases);
            self.equalities(condition, &allowed, &entries, &mut equalities);
            if let Some(at) = self.owner(condition, &entries)
                && allowed.contains(&at)
                && let Some(reference) = self.list.get_mut(at)
            {
                reference
                    .conditions
                    .push(Condition { expr: condition, instead: None });
            }
        }
        self.carry(&equalities);
        self.carry_databases(&databases);
        self.stars(select, shown, &entries);
        Ok(entries
            .iter()
            .filter_map(|e| match e {
                Entry::Reference(at) => Some(*at),
                Entry::Derived { .. } | Entry::Other(_) => None,
            })
            .collect())
    }

    fn exprs_of(&mut self, select: &'a Select<'a>) -> Result<(), PlanError> {
        for item in select.items {
            self.expr(&item.expr)?;
            if item.alias.is_none() {
                self.items.push(item);
            }
        }
        self.exprs(select.filter.as_slice())?;
        self.ordered(select.group)?;
        self.groups |= !select.group.is_empty();
        self.exprs(select.having.as_slice())?;
        self.exprs(select.windows)
    }

    /// The tables whose rows are all kept, up to conditions: those that no outer join fills with
    /// NULLs.
    fn from(
        &mut self,
        table: &'a TableExpr<'a>,
        entries: &mut Vec<Entry<'a>>,
        conditions: &mut Conditions<'a>,
    ) -> Result<Vec<usize>, PlanError> {
        Ok(match table {
            TableExpr::Table(name) => {
                let entry = self.table(name)?;
                entries.push(entry);
                entry.number().into_iter().collect()
            }
            TableExpr::Derived(derived) => {
                self.inner(derived.query)?;
                let entry = self.derived(derived);
                entries.push(entry);
                entry.number().into_iter().collect()
            }
            TableExpr::Function { args, alias } => {
                self.enter_unsure();
                self.exprs(args)?;
                self.leave();
                entries.push(Entry::Other(*alias));
                Vec::new()
            }
            TableExpr::List(list) => {
                let mut kept = Vec::new();
                for one in *list {
                    kept.extend(self.from(one, entries, conditions)?);
                }
                kept
            }
            TableExpr::Join(join) => {
                let start = entries.len();
                let left = self.from(&join.left, entries, conditions)?;
                let middle = entries.len();
                let right = self.from(&join.right, entries, conditions)?;
                self.enter_unsure();
                self.exprs(join.on.as_slice())?;
                self.leave();
                self.equal.extend(
                    join.using
                        .iter()
                        .map(|name| ((None, *name), Some((None, *name)))),
                );
                let (may, kept) = match join.kind {
                    JoinKind::Inner => {
                        let both = [left, right].concat();
                        (both.clone(), both)
                    }
                    JoinKind::Left => (right, left),
                    JoinKind::Right => (left, right),
                };
                let (ours, theirs) = entries.split_at(middle);
                self.read_using(join, (ours.get(start..).unwrap_or_default(), theirs), &may);
                let mut list: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
                join.on.iter().for_each(|on| conjuncts(on, &mut list));
                conditions.extend(list.into_iter().map(|c| (c, may.clone())));
                kept
            }
        })
    }

    fn table(&mut self, name: &'a TableName<'a>) -> Result<Entry<'a>, PlanError> {
        let mut defined = self.ctes.iter().rev().filter(|_| name.database.is_none());
        if let Some(cte) = defined.find(|cte| cte.name == name.name).copied() {
            return Ok(self.defined(name, cte));
        }
        if self.list.len() >= super::super::block::INSTANCES_MAX {
            return Err(PlanError::TooLong(super::super::block::INSTANCES_MAX));
        }
        let (keyspace, table) = match self.planner.locate(name)? {
            Place::System if name.name.eq_ignore_ascii_case("dual") => {
                return Ok(Entry::Other(None));
            }
            Place::System if self.planner.is_information_schema(name) => {
                return Ok(self.refer(name, self.planner.home(), &system::TABLE, true));
            }
            Place::System => {
                return Err(PlanError::unsupported(
                    "tables of a system schema other than information_schema together with tables \
                        of several shards",
                ));
            }
            Place::Table { keyspace, table } => (keyspace, table),
        };
        let table = self.planner.readable_table(keyspace, name.name, table)?;
        Ok(self.refer(name, keyspace, table, false))
    }

    fn refer(
        &mut self,
        name: &'a TableName<'a>,
        keyspace: KeyspaceIdx,
        table: &'a Arc<Table>,
        system: bool,
    ) -> Entry<'a> {
        self.list.push(Reference {
            name,
            keyspace,
            table,
            conditions: Vec::new(),
            all_columns: false,
            lock: None,
            bare: false,
            system,
            databases: None,
        });
        Entry::Reference(self.list.len() - 1)
    }

    /// Which tables' columns `*` and NATURAL JOIN stand for.
    fn stars(&mut self, select: &Select<'a>, shown: bool, entries: &[Entry<'a>]) {
        let natural = select.from.iter().any(is_natural);
        for entry in entries {
            let Entry::Reference(at) = entry else { continue };
            let Some(reference) = self.list.get_mut(*at) else { continue };
            let name = reference.name.exposed();
            let star = select.items.iter().any(|item| match &item.expr.kind {
                ExprKind::Star(table) => table.is_none_or(|t| t == name),
                ExprKind::Column(c) => c.name == "*" && c.table.is_none_or(|t| t == name),
                _ => false,
            });
            reference.all_columns |= natural || shown && star;
        }
    }

    fn exprs(&mut self, list: &'a [Expr<'a>]) -> Result<(), PlanError> {
        list.iter().try_for_each(|e| self.expr(e))
    }

    fn expr(&mut self, expr: &'a Expr<'a>) -> Result<(), PlanError> {
        match &expr.kind {
            ExprKind::Column(c) => self.qualifiers.extend(c.database_span),
            ExprKind::And(list)
            | ExprKind::Or(list)
            | ExprKind::Row(list)
            | ExprKind::Other(list) => {
                self.exprs(list)?;
            }
            ExprKind::Not(e) => self.expr(e)?,
            ExprKind::Compare { op, sides } => {
                let [left, right] = sides;
                if let (
                    ExprKind::Column(a),
                    ExprKind::Column(b),
                    CompareOp::Eq | CompareOp::NullSafeEq,
                ) = (&left.kind, &right.kind, op)
                {
                    let (a, b) = (indexes::name(a), indexes::name(b));
                    self.equal.extend([(a, Some(b)), (b, Some(a))]);
                }
                self.exprs(sides.as_slice())?;
            }
            ExprKind::InList { left, list, .. } => {
                self.expr(left)?;
                self.exprs(list)?;
            }
            ExprKind::InCollapsed { left, .. } => self.expr(left)?,
            ExprKind::InQuery { left, query, .. } => {
                if let ExprKind::Column(c) = &left.kind {
                    self.equal.push((indexes::name(c), indexes::given(query)));
                }
                self.expr(left)?;
                self.query(query, true)?;
            }
            ExprKind::Call(call) => {
                if call.database.is_some() || !is_native(call.name) {
                    return Err(PlanError::unsupported(format!(
                        "the function '{}', which may read tables, in a statement that several \
                            shards must answer together",
                        call.name
                    )));
                }
                self.exprs(call.args)?;
            }
            ExprKind::Exists(query) => drop(self.query(query, false)?),
            ExprKind::Subquery(query) => drop(self.query(query, true)?),
            _ => {}
        }
        Ok(())
    }
}

fn is_natural(table: &TableExpr<'_>) -> bool {
    match table {
        TableExpr::Join(j) => j.natural || is_natural(&j.left) || is_natural(&j.right),
        TableExpr::List(list) => list.iter().any(is_natural),
        _ => false,
    }
}
