//! Tables of information_schema: every server has them for its own databases only, and a sharded
//! table is on several.
//!
//! A query that can only mean objects of one keyspace goes to one of its servers, as it is. Else
//! its rows are gathered: those of each keyspace from a server of it, and what every server has
//! (`mysql`, `performance_schema`) from one. Numbers of rows and sizes come from all shards, and
//! are added up. The list of connections is Coregate's own.
use super::super::Planner;
use super::super::names::is_system;
use super::super::places::Placed;
use super::super::text::{Edits, quoted};
use super::refs::{Reference, References};
use super::shape::ALL_ROWS;
use crate::literal::{Literal, literal_value};
use crate::plan::tree::{Counted, Finish, Gather, Leaf, SystemRows, SystemTable};
use crate::plan::{Combine, Destination, Piece, Plan, StatementClass, Text, verbatim};
use crate::snapshot::{Keyspace, KeyspaceIdx, Table};
use crate::sql::ast::*;
use crate::sql::lex::Tok;
use crate::value::Value;
use std::sync::{Arc, LazyLock};

pub(super) const SCHEMA: &str = "information_schema";

/// Nothing is known of their columns: these depend on the server.
pub(super) static TABLE: LazyLock<Arc<Table>> = LazyLock::new(Arc::default);

/// The column that says in which database an object is, by table.
#[rustfmt::skip]
const DIVIDED_BY: &[(&str, &str)] = &[
    ("check_constraints", "constraint_schema"), ("column_privileges", "table_schema"),
        ("column_statistics", "schema_name"),
    ("columns", "table_schema"), ("columns_extensions", "table_schema"), ("events", "event_schema"),
    ("key_column_usage", "table_schema"), ("parameters", "specific_schema"), ("partitions",
        "table_schema"),
    ("referential_constraints", "constraint_schema"), ("routines", "routine_schema"),
    ("schema_privileges", "table_schema"), ("schemata", "schema_name"), ("st_geometry_columns",
        "table_schema"),
    ("statistics", "table_schema"), ("table_constraints", "table_schema"),
    ("table_constraints_extensions", "constraint_schema"), ("table_privileges", "table_schema"),
        ("tables", "table_schema"),
    ("tables_extensions", "table_schema"), ("triggers", "trigger_schema"), ("view_routine_usage",
        "table_schema"),
    ("view_table_usage", "table_schema"), ("views", "table_schema"),
];

/// Columns that name the database of the row's own object, in whatever table they are.
#[rustfmt::skip]
const OWN: &[&str] = &[
    "table_schema", "constraint_schema", "schema_name", "event_schema", "specific_schema",
        "routine_schema", "trigger_schema",
    "index_schema", "event_object_schema",
];

/// Columns that are the same on every shard: conditions on others are for the sums.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "table_catalog", "table_schema", "table_name", "table_type", "engine", "index_name",
        "column_name", "partition_name", "index_schema",
    "non_unique", "seq_in_index",
];

/// Columns whose values are added up over shards, or follow from such.
#[rustfmt::skip]
const ADDED: &[&[u8]] = &[
    b"table_rows", b"avg_row_length", b"data_length", b"index_length", b"data_free",
        b"auto_increment", b"cardinality",
];

fn is_one_of(list: &[&str], name: &str) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn divided_by(table: &str) -> Option<&'static str> {
    DIVIDED_BY
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(table))
        .map(|(_, column)| *column)
}

fn counted(table: &str) -> Option<Counted> {
    Some(match table.to_ascii_lowercase().as_str() {
        "tables" => Counted::Tables,
        "partitions" => Counted::Partitions,
        "statistics" => Counted::Statistics,
        _ => return None,
    })
}

fn is_processlist(table: &str) -> bool {
    table.eq_ignore_ascii_case("processlist")
}

/// Do equal values of these columns mean one object?
pub(super) fn are_alike(a: &str, b: &str) -> bool {
    is_one_of(OWN, a) && is_one_of(OWN, b)
        || a.eq_ignore_ascii_case("table_name") && a.eq_ignore_ascii_case(b)
}

/// In which databases the rows of a table can be, as its conditions say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Databases(Vec<String>);

impl<'a> Planner<'_, 'a> {
    /// Is it a table of information_schema?
    pub(in crate::route) fn is_information_schema(&self, name: &TableName<'_>) -> bool {
        let database = name.database.or(self.input.session.database);
        database.is_some_and(|d| d.eq_ignore_ascii_case(SCHEMA))
    }

    /// The keyspace whose server answers what every server knows.
    pub(super) fn home(&self) -> KeyspaceIdx {
        self.input.session.keyspace.unwrap_or(0)
    }

    /// A query that reads information_schema, and tables of the keyspace `beside` it. `None`: it is
    /// planned as any other, because every server of that keyspace knows what it asks.
    pub(in crate::route) fn system_query(
        &mut self,
        query: &'a Query<'a>,
        class: StatementClass,
        beside: Option<KeyspaceIdx>,
    ) -> Option<Plan> {
        let keyspaces = &self.input.snapshot.keyspaces;
        let all = References::of(self, query).ok()?;
        let system = || all.list.iter().filter(|r| r.system);
        if keyspaces.is_empty() || system().next().is_none() {
            return None;
        }
        let lists = system().any(|r| is_processlist(r.name.name));
        let mut wanted: Vec<KeyspaceIdx> = system().flat_map(|r| self.keyspaces_of(r)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let counts = self.reads_counts() && {
            let sharded = wanted.iter().any(|k| !self.is_whole(*k));
            sharded && system().any(|r| counted(r.name.name).is_some())
        };
        let restricted = system().any(|r| r.databases.is_some());
        if let Some(beside) = beside
            && !lists
            && !counts
            && wanted.iter().all(|k| *k == beside)
        {
            self.cacheable &= !restricted;
            return None;
        }
        if beside.is_none() && !lists && !counts && wanted.len() <= 1 {
            let keyspace = wanted.first().copied().unwrap_or_else(|| self.home());
            let to =
                if self.is_whole(keyspace) { Destination::Unsharded } else { Destination::Any };
            self.cacheable &= !restricted;
            return Some(self.route(keyspace, to, Combine::Concat, class));
        }
        self.splittable().ok()?;
        let why = "objects of several servers in information_schema";
        let tree = self.finished(query, why).ok()?;
        self.cacheable &= !restricted;
        self.several = true;
        Some(self.tree(tree, class))
    }

    /// Whose objects the rows of a table can be.
    fn keyspaces_of(&self, reference: &Reference<'a>) -> Vec<KeyspaceIdx> {
        let all = self.input.snapshot.keyspaces.iter().zip(0..);
        if divided_by(reference.name.name).is_none() {
            return Vec::new();
        }
        let named = |k: &Keyspace, databases: &Databases| {
            let is =
                |d: &String| d.eq_ignore_ascii_case(&k.name) || d.eq_ignore_ascii_case(&k.database);
            databases.0.iter().any(is)
        };
        all.filter(|(k, _)| {
            reference
                .databases
                .as_ref()
                .is_none_or(|databases| named(k, databases))
        })
        .map(|(_, at)| at)
        .collect()
    }

    /// Can its rows be of databases that are no keyspaces?
    fn reads_others(&self, reference: &Reference<'a>) -> bool {
        let is_keyspace = |d: &String| {
            let mut all = self.input.snapshot.keyspaces.iter();
            all.any(|k| d.eq_ignore_ascii_case(&k.name) || d.eq_ignore_ascii_case(&k.database))
        };
        reference
            .databases
            .as_ref()
            .is_none_or(|databases| !databases.0.iter().all(is_keyspace))
    }

    /// Does the statement show or use numbers that are added up over shards?
    fn reads_counts(&self) -> bool {
        let items = self.tokens.items;
        let text = |at: usize| {
            let span = items.get(at).map(|i| i.span).unwrap_or_default();
            self.input
                .sql
                .get(span.start as usize..span.end as usize)
                .unwrap_or_default()
        };
        (0..items.len()).any(|at| {
            let word = text(at);
            let word = word.strip_prefix(b"`").unwrap_or(word);
            let word = word.strip_suffix(b"`").unwrap_or(word);
            let counts_rows = || {
                at.checked_sub(2)
                    .is_some_and(|b| text(b).eq_ignore_ascii_case(b"count"))
            };
            word == b"*" && !counts_rows() || ADDED.iter().any(|a| word.eq_ignore_ascii_case(a))
        })
    }

    /// What is gathered for a table of information_schema: a leaf for each keyspace, and one for
    /// what no keyspace has.
    pub(super) fn gather_system(
        &self,
        at: usize,
        reference: &Reference<'a>,
        edits: &Edits,
        leaves: &mut Vec<Leaf>,
        finish: &mut Finish,
    ) {
        let name = reference.name;
        let rows = match counted(name.name) {
            _ if is_processlist(name.name) => SystemRows::Sessions,
            Some(counted) if self.reads_counts() => SystemRows::Counted(counted),
            _ => SystemRows::Plain,
        };
        let mut parts: Vec<(KeyspaceIdx, Option<&'a Keyspace>)> = Vec::new();
        if rows != SystemRows::Sessions {
            let keyspaces = self.keyspaces_of(reference);
            parts.extend(keyspaces.into_iter().map(|k| (k, self.keyspace(k))));
        }
        if parts.is_empty() || self.reads_others(reference) {
            parts.push((self.home(), None));
        }
        let last = parts.len() - 1;
        for (n, (keyspace, of)) in parts.into_iter().enumerate() {
            let whole = self.is_whole(keyspace);
            let to = match (of, &rows) {
                _ if whole => Destination::Unsharded,
                (Some(_), SystemRows::Counted(_)) => self.everywhere(keyspace),
                _ => Destination::Any,
            };
            let text = self.system_text(reference, of, &rows, edits);
            let placed = Placed { to, one_table: true };
            leaves.push(Leaf { route: self.leaf(keyspace, placed, Text::Pieces(text)) });
            finish.gathers.push(Gather {
                table: format!("_coregate_g{at}"),
                keyspace: SCHEMA.into(),
                org_table: name.name.to_ascii_uppercase(),
                system: Some(SystemTable {
                    name: name.name.to_owned(),
                    rows: rows.clone(),
                    renamed: of
                        .filter(|k| k.database != k.name)
                        .map(|k| (k.database.clone(), k.name.clone())),
                    begins: n == 0,
                    ends: n == last,
                }),
                ..Gather::default()
            });
        }
    }

    /// The query for the rows of one keyspace; without one, for those of no keyspace.
    fn system_text(
        &self,
        reference: &Reference<'a>,
        of: Option<&Keyspace>,
        rows: &SystemRows,
        edits: &Edits,
    ) -> Vec<Piece> {
        let (name, exposed) = (reference.name, quoted(reference.name.exposed()));
        let mut text =
            vec![verbatim(format!("SELECT * FROM {SCHEMA}.{} AS {exposed}", quoted(name.name)))];
        let mut word = " WHERE ";
        if let Some(column) = divided_by(name.name) {
            let string = |name: &str| format!("'{}'", name.replace('\'', "''"));
            let condition = match of {
                Some(keyspace) => format!("= {}", string(&keyspace.database)),
                None => {
                    let all = self.input.snapshot.keyspaces.iter();
                    let all: Vec<String> = all.map(|k| string(&k.database)).collect();
                    format!("NOT IN ({})", all.join(", "))
                }
            };
            text.push(verbatim(format!("{word}{exposed}.{column} {condition}")));
            word = " AND ";
        }
        let renamed = of.is_some_and(|k| k.database != k.name);
        for condition in &reference.conditions {
            if renamed || matches!(rows, SystemRows::Counted(_)) && !names_only(condition.expr) {
                continue;
            }
            text.push(verbatim(word));
            text.push(verbatim("("));
            let span = condition.expr.span;
            match condition.replacement() {
                None => text.extend(edits.pieces(self.input.sql, self.tokens, span)),
                Some((place, column)) => {
                    let mut edits = edits.clone();
                    edits.replace_all(place, vec![verbatim(&column)]);
                    text.extend(edits.pieces(self.input.sql, self.tokens, span));
                }
            }
            text.push(verbatim(")"));
            word = " AND ";
        }
        text.push(verbatim(ALL_ROWS));
        text
    }

    /// The text of a literal, or the selected database: what a column is compared with.
    fn database_of(&self, expr: &Expr<'a>) -> Option<String> {
        match &expr.kind {
            ExprKind::Literal(Some(n)) => {
                self.string_of(self.input.fingerprint.literals.get(usize::from(*n))?)
            }
            // Of a prepared statement it is another one with every execution.
            ExprKind::Call(call) if is_database(call) && !self.input.prepared => {
                let session = self.input.session;
                let keyspace = session.keyspace.and_then(|k| self.keyspace(k));
                let selected = keyspace.map(|k| k.name.as_str()).or(session.database);
                selected.map(str::to_owned)
            }
            _ => None,
        }
    }

    fn string_of(&self, literal: &Literal) -> Option<String> {
        let mut buffer = Vec::new();
        match literal_value(self.input.sql, literal, &mut buffer, self.input.session.sql_mode) {
            Value::Bytes(text) if text.is_ascii() => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        }
    }
}

/// `DATABASE()` or `SCHEMA()`
pub(super) fn is_database(call: &Call<'_>) -> bool {
    let is = |name| call.name.eq_ignore_ascii_case(name);
    call.database.is_none() && call.args.is_empty() && (is("database") || is("schema"))
}

/// Is a condition about what is the same on all shards?
fn names_only(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        ExprKind::Column(c) => is_one_of(NAMES, c.name),
        ExprKind::And(list) | ExprKind::Or(list) | ExprKind::Row(list) | ExprKind::Other(list) => {
            list.iter().all(names_only)
        }
        ExprKind::Not(e) => names_only(e),
        ExprKind::Compare { sides, .. } => sides.iter().all(names_only),
        ExprKind::InList { left, list, .. } => names_only(left) && list.iter().all(names_only),
        ExprKind::InCollapsed { left, .. } => names_only(left),
        ExprKind::Call(call) => call.args.iter().all(names_only),
        ExprKind::Literal(_) | ExprKind::Null | ExprKind::Bool | ExprKind::Param(_) => true,
        _ => false,
    }
}

impl<'a> References<'_, '_, 'a> {
    /// Notes in which databases the rows of tables of information_schema must be. `allowed`: the
    /// tables whose rows matter only where the condition holds.
    pub(super) fn note_databases(
        &mut self,
        condition: &Expr<'a>,
        allowed: &[usize],
        entries: &[super::refs::Entry<'a>],
    ) {
        let planner = self.planner;
        let items = |list: u16| {
            let found = planner.input.fingerprint.lists.get(usize::from(list))?;
            let items = planner
                .input
                .fingerprint
                .items
                .get(found.start as usize..found.end as usize)?;
            items.iter().map(|item| planner.string_of(item)).collect()
        };
        let column = |e: &Expr<'a>| match e.kind {
            ExprKind::Column(c) if is_one_of(OWN, c.name) => self.table_of(c, entries),
            _ => None,
        };
        let (at, names): (usize, Option<Vec<String>>) = match &condition.kind {
            ExprKind::Compare { op: CompareOp::Eq, sides: [left, right] } => {
                match (column(left), column(right)) {
                    (Some(at), None) => (at, planner.database_of(right).map(|d| vec![d])),
                    (None, Some(at)) => (at, planner.database_of(left).map(|d| vec![d])),
                    _ => return,
                }
            }
            ExprKind::InList { left, not: false, list } => match column(left) {
                Some(at) => (at, list.iter().map(|e| planner.database_of(e)).collect()),
                None => return,
            },
            ExprKind::InCollapsed { left, not: false, list } => match column(left) {
                Some(at) => (at, items(*list)),
                None => return,
            },
            _ => return,
        };
        if let Some(reference) = self.list.get_mut(at)
            && reference.system
            && reference.databases.is_none()
            && allowed.contains(&at)
        {
            reference.databases = names.map(Databases);
        }
    }

    pub(super) fn are_system(&self, a: usize, b: usize) -> bool {
        let is = |at: usize| self.list.get(at).is_some_and(|r| r.system);
        is(a) && is(b)
    }

    /// The tables whose rows matter only where they are in the same database as another's: from
    /// which, to which.
    pub(super) fn same_databases(
        &self,
        condition: &Expr<'a>,
        allowed: &[usize],
        entries: &[super::refs::Entry<'a>],
        out: &mut Vec<(usize, usize)>,
    ) {
        let ExprKind::Compare { op: CompareOp::Eq, sides: [left, right] } = &condition.kind else {
            return;
        };
        let (ExprKind::Column(a), ExprKind::Column(b)) = (&left.kind, &right.kind) else { return };
        if !is_one_of(OWN, a.name) || !is_one_of(OWN, b.name) {
            return;
        }
        let (Some(at), Some(bt)) = (self.table_of(a, entries), self.table_of(b, entries)) else {
            return;
        };
        for (from, to) in [(at, bt), (bt, at)] {
            if from != to && self.are_system(from, to) && allowed.contains(&to) {
                out.push((from, to));
            }
        }
    }

    /// The same for tables whose rows matter only where they name the database that another's do.
    pub(super) fn carry_databases(&mut self, pairs: &[(usize, usize)]) {
        for _ in 0..pairs.len() {
            for &(from, to) in pairs {
                let known = self.list.get(from).and_then(|r| r.databases.clone());
                if let Some(reference) = self.list.get_mut(to)
                    && reference.system
                    && reference.databases.is_none()
                {
                    reference.databases = known;
                }
            }
        }
    }
}

/// Does a statement stand a chance to read information_schema?
pub(in crate::route) fn mentions(planner: &Planner<'_, '_>) -> bool {
    let selected = planner.input.session.database.is_some_and(is_system);
    let named = |item: &crate::sql::input::Item| {
        let text = planner
            .input
            .sql
            .get(item.span.start as usize..item.span.end as usize);
        matches!(item.tok, Tok::Word | Tok::Quoted)
            && text.is_some_and(|t| {
                let t = t.strip_prefix(b"`").unwrap_or(t);
                t.strip_suffix(b"`")
                    .unwrap_or(t)
                    .eq_ignore_ascii_case(SCHEMA.as_bytes())
            })
    };
    selected || planner.tokens.items.iter().any(named)
}
