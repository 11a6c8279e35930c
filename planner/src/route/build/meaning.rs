//! What columns' names mean, through derived tables and in subqueries: which column of which
//! table, where that is certain.
use super::super::aggregates::{counts_rows, has_window};
use super::edges::At;
use super::refs::{Entry, References};
use crate::column::find;
use crate::sql::ast::*;

/// What a column's name means in a FROM.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// What stands in the FROM: a reference, or a derived table's number beyond [`DERIVED`].
    pub(super) entry: usize,
    /// Where the values come from.
    pub(super) at: At<'a>,
    /// Do rows that are left out there leave out just those with their values here?
    pub(super) reducible: bool,
    /// Right if this WITH is read once.
    pub(super) once: Option<Span>,
}

/// Numbers of derived tables begin here; those of references are smaller.
const DERIVED: usize = usize::MAX / 2;

pub(super) enum Meaning<'a> {
    Place(Place<'a>),
    /// Nothing here is called so.
    Elsewhere,
    Unsure,
}

/// What names in a subquery can mean outside of it.
pub(super) struct Scope<'a> {
    /// `None`: that is not certain.
    entries: Option<Vec<Entry<'a>>>,
    /// Of the select list: in some clauses they come before columns.
    aliases: Vec<&'a str>,
}

/// A query that is one SELECT.
pub(super) struct Block<'a> {
    pub(super) span: Span,
    /// The columns of its rows, by name; a name without a place is no plain column. `None`: they
    /// are not known.
    pub(super) outputs: Option<Vec<(Option<&'a str>, Option<Place<'a>>)>>,
    /// Every row of its tables stands for itself: no groups, no LIMIT.
    pub(super) plain: bool,
    grouped: Vec<At<'a>>,
    kept: Vec<usize>,
    /// Its WHERE says that the first one equals the second, which is outside.
    pub(super) correlated: Vec<(At<'a>, Place<'a>)>,
}

impl<'a> Block<'a> {
    /// Can rows be left out of its table by the values of this column?
    pub(super) fn reduces(&self, place: &Place<'a>) -> bool {
        place.reducible
            && self.kept.contains(&place.entry)
            && (self.plain || self.grouped.contains(&place.at))
    }
}

impl<'a> References<'_, '_, 'a> {
    /// Subqueries of this select see these tables.
    pub(super) fn enter(&mut self, select: &Select<'a>, entries: &[Entry<'a>]) {
        let aliases = select.items.iter().filter_map(|item| item.alias).collect();
        self.scopes
            .push(Scope { entries: Some(entries.to_vec()), aliases });
    }

    /// What follows sees tables that are not known here.
    pub(super) fn enter_unsure(&mut self) {
        self.scopes
            .push(Scope { entries: None, aliases: Vec::new() });
    }

    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }

    /// A derived table's entry.
    pub(super) fn derived(&mut self, derived: &Derived<'a>) -> Entry<'a> {
        self.deriveds += 1;
        Entry::Derived {
            number: DERIVED + self.deriveds,
            name: derived.alias,
            query: derived.query.span,
            columns: derived.columns,
            with: false,
            lateral: derived.lateral,
        }
    }

    /// A name that WITH has defined.
    pub(super) fn defined(&mut self, name: &TableName<'a>, cte: &Cte<'a>) -> Entry<'a> {
        self.deriveds += 1;
        self.withs.push(cte.query.span);
        Entry::Derived {
            number: DERIVED + self.deriveds,
            name: Some(name.exposed()),
            query: cte.query.span,
            columns: cte.columns,
            with: true,
            lateral: false,
        }
    }

    /// A select has been read.
    pub(super) fn note_block(
        &mut self,
        query: &Query<'a>,
        select: &'a Select<'a>,
        (entries, kept): (&[Entry<'a>], Vec<usize>),
        reading: Vec<(At<'a>, Place<'a>)>,
    ) {
        let all = || select.items.iter().map(|item| &item.expr);
        let ordered = || query.order.iter().map(|item| &item.expr);
        let windows = !select.windows.is_empty() || all().chain(ordered()).any(has_window);
        // A query inside may hold an aggregate over rows of this one.
        let counts = all()
            .chain(ordered())
            .any(|e| counts_rows(e) || has_query(e));
        let whole = query.limit.is_none() && !select.rollup && !windows;
        let plain = whole && !counts && select.group.is_empty() && select.having.is_none();
        let grouped = if whole { self.grouped(select, entries) } else { Vec::new() };
        let outputs = self.outputs(select, entries);
        self.blocks.push(Block {
            span: query.span,
            outputs,
            plain,
            grouped,
            kept,
            correlated: reading,
        });
    }

    /// The columns that rows of one group have in common.
    fn grouped(&self, select: &Select<'a>, entries: &[Entry<'a>]) -> Vec<At<'a>> {
        let aliased = |name: &str| {
            let aliases = select.items.iter().filter_map(|item| item.alias);
            aliases.into_iter().any(|a| a.eq_ignore_ascii_case(name))
        };
        let columns = select.group.iter().filter_map(|item| match item.expr.kind {
            ExprKind::Column(c) if c.table.is_some() || !aliased(c.name) => Some(c),
            _ => None,
        });
        let places = columns.filter_map(|c| match self.meaning(c, entries) {
            Meaning::Place(place) => Some(place.at),
            _ => None,
        });
        places.collect()
    }

    fn outputs(
        &self,
        select: &Select<'a>,
        entries: &[Entry<'a>],
    ) -> Option<Vec<(Option<&'a str>, Option<Place<'a>>)>> {
        let mut out = Vec::new();
        for item in select.items {
            match item.expr.kind {
                ExprKind::Column(c) if c.name != "*" => {
                    let place = match self.meaning(c, entries) {
                        Meaning::Place(place) => Some(place),
                        _ => None,
                    };
                    out.push((Some(item.alias.unwrap_or(c.name)), place));
                }
                ExprKind::Column(_) => return None,
                ExprKind::Star(_) => {
                    let [Entry::Reference(at)] = entries else { return None };
                    let table = self.list.get(*at)?.table;
                    if !table.columns_complete {
                        return None;
                    }
                    let visible = table.columns.iter().filter(|c| !c.invisible);
                    out.extend(visible.map(|c| {
                        let name: &'a str = c.name.as_str();
                        let place =
                            Place { entry: *at, at: (*at, name), reducible: true, once: None };
                        (Some(name), Some(place))
                    }));
                }
                _ => out.push((item.alias, None)),
            }
        }
        Some(out)
    }

    /// What a name means among these.
    pub(super) fn meaning(&self, column: &ColumnName<'a>, entries: &[Entry<'a>]) -> Meaning<'a> {
        let Some(table) = column.table else { return self.named(column.name, entries) };
        let mut named = entries.iter().filter(|e| {
            let name = self.name_of(e);
            name.is_some_and(|name| name.eq_ignore_ascii_case(table))
        });
        match (named.next(), named.next()) {
            (None, _) => Meaning::Elsewhere,
            (Some(entry), None) if self.name_of(entry) == Some(table) => {
                match self.column_of(entry, column.name) {
                    Ok(Some(place)) => Meaning::Place(place),
                    _ => Meaning::Unsure,
                }
            }
            _ => Meaning::Unsure,
        }
    }

    pub(super) fn named(&self, name: &'a str, entries: &[Entry<'a>]) -> Meaning<'a> {
        let mut found = None;
        for entry in entries {
            match (self.column_of(entry, name), found) {
                (Ok(None), _) => {}
                (Ok(Some(place)), None) => found = Some(place),
                _ => return Meaning::Unsure,
            }
        }
        found.map_or(Meaning::Elsewhere, Meaning::Place)
    }

    fn name_of(&self, entry: &Entry<'a>) -> Option<&'a str> {
        match entry {
            Entry::Reference(at) => self.list.get(*at).map(|r| r.name.exposed()),
            Entry::Derived { name, .. } | Entry::Other(name) => *name,
        }
    }

    /// `Ok(None)`: it has no such column. `Err`: that is not certain, or it is no plain one.
    fn column_of(&self, entry: &Entry<'a>, name: &'a str) -> Result<Option<Place<'a>>, ()> {
        match entry {
            Entry::Reference(at) => {
                let reference = self.list.get(*at).ok_or(())?;
                if !reference.table.columns_complete {
                    return Err(());
                }
                let column = find(reference.table, name);
                Ok(column.map(|_| Place {
                    entry: *at,
                    at: (*at, name),
                    reducible: true,
                    once: None,
                }))
            }
            Entry::Derived { number, query, columns, with, lateral, .. } => {
                let block = self.blocks.iter().find(|b| b.span == *query).ok_or(())?;
                let outputs = block.outputs.as_ref().ok_or(())?;
                let mut found = None;
                for (n, (own, place)) in outputs.iter().enumerate() {
                    let called = columns.get(n).copied().or(*own).ok_or(())?;
                    if called.eq_ignore_ascii_case(name) {
                        let place = place.ok_or(())?;
                        let reducible = !lateral && block.reduces(&place);
                        let once = if *with { Some(*query) } else { place.once };
                        // Two conditions are more than one can keep.
                        let reducible = reducible && (!with || place.once.is_none());
                        found = Some(Place { entry: *number, at: place.at, reducible, once });
                    }
                }
                Ok(found)
            }
            Entry::Other(_) => Err(()),
        }
    }

    /// What a name that nothing of its own select has means.
    pub(super) fn outside(&self, column: &ColumnName<'a>) -> Option<Place<'a>> {
        for scope in self.scopes.iter().rev() {
            let aliased = column.table.is_none()
                && scope
                    .aliases
                    .iter()
                    .any(|a| a.eq_ignore_ascii_case(column.name));
            if aliased {
                return None;
            }
            match self.meaning(column, scope.entries.as_deref()?) {
                Meaning::Place(place) => return Some(place),
                Meaning::Elsewhere => {}
                Meaning::Unsure => return None,
            }
        }
        None
    }
}

/// Is there a query in an expression?
fn has_query(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        ExprKind::InQuery { .. } | ExprKind::Exists(_) | ExprKind::Subquery(_) => true,
        ExprKind::Call(c) => c.args.iter().any(has_query),
        ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Row(l) | ExprKind::Other(l) => {
            l.iter().any(has_query)
        }
        ExprKind::Not(e) => has_query(e),
        ExprKind::Compare { sides, .. } => sides.iter().any(has_query),
        ExprKind::InList { left, list, .. } => has_query(left) || list.iter().any(has_query),
        ExprKind::InCollapsed { left, .. } => has_query(left),
        _ => false,
    }
}
