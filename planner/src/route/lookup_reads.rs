//! Rows that a lookup vindex finds, where no functional one does.
use super::Planner;
use super::block::{Blocks, Columns, Source};
use super::classes::Node;
use super::needs::Needs;
use crate::column::{Family, find};
use crate::lookup::{LookupDef, quoted};
use crate::plan::lookup::{Hashed, LookupTo};
use crate::plan::{InRows, Operand, Piece, SessionValue};
use crate::snapshot::{Column, KeyspaceIdx, Table};
use smallvec::smallvec;
use std::sync::Arc;

/// What the conditions say about a column.
enum Known<'k> {
    One(&'k Operand),
    Many(&'k InRows),
}

impl Blocks<'_, '_, '_> {
    /// Notes a lookup that finds the rows of one of these tables, where they are the statement's
    /// own and only its WHERE was looked at.
    pub(super) fn anchor_in(&mut self, sources: &[Source<'_>]) {
        self.changing |= self.level == 0;
        let own = self.level == usize::from(!self.changing);
        if !own || self.anchor.is_some() || self.views > 0 {
            return;
        }
        let mut found = sources.iter().filter_map(|source| match source.columns {
            Columns::Table(table) => self.looked_up(table, source.instance),
            _ => None,
        });
        let first = found.next();
        drop(found);
        self.anchor = first;
    }

    /// The shards of rows that lie together, where a lookup finds one of them.
    ///
    /// Only where each shard can find its rows alone.
    pub(super) fn anchored(&self) -> Option<LookupTo> {
        let meet = self.broken.needs.contains(Needs::MEET) || self.broken.never.is_some();
        self.anchor.clone().filter(|_| !meet)
    }

    /// The cheapest lookup vindex of a table that the conditions give values for. Its first column
    /// must have some; the others narrow its rows down.
    pub(super) fn looked_up(&self, table: &Table, instance: usize) -> Option<LookupTo> {
        let mut best: Option<(u8, bool, LookupTo)> = None;
        for cv in &table.column_vindexes {
            let Some(def) = cv.vindex.lookup.as_ref().filter(|def| !def.write_only) else {
                continue;
            };
            let may = self.may_use(instance, &cv.vindex.name);
            if !may || cv.vindex.vindex.is_some() || def.from.len() != cv.columns.len() {
                continue;
            }
            let known: Vec<Option<Known<'_>>> = cv
                .columns
                .iter()
                .map(|c| self.known(table, instance, c))
                .collect();
            let [Some(first), ..] = known.as_slice() else { continue };
            let many = matches!(first, Known::Many(_));
            let better = best
                .as_ref()
                .is_none_or(|(cost, listed, _)| (def.cost(), many) < (*cost, *listed));
            if better && self.compare_alike(table, &cv.columns, def) {
                let to = if def.loose {
                    hashed_question(def, table, &cv.columns, &known)
                } else {
                    question(def, &known)
                };
                best = Some((def.cost(), many, to));
            }
        }
        best.map(|(.., to)| to)
    }

    fn known(&self, table: &Table, instance: usize, column: &str) -> Option<Known<'_>> {
        let class: Node = self.classes.class(instance, column)?;
        // The value may have been another column's, which compares in its own way.
        let numbers = matches!(Family::of_column(table, column), Family::Integer { .. });
        if !numbers && !self.classes.is_single(class) {
            return None;
        }
        let one = self.classes.one(class).map(Known::One);
        one.or_else(|| self.classes.many(class).map(Known::Many))
    }

    /// Does the lookup table find every value that its table's columns hold, as far as both are
    /// known?
    fn compare_alike(&self, table: &Table, columns: &[String], def: &LookupDef) -> bool {
        if def.loose {
            return true;
        }
        let Some(lookup) = self.lookup_table(def) else { return true };
        columns.iter().zip(&def.from).all(|(own, there)| {
            match (find(table, own), find(lookup, there)) {
                (Some(own), Some(there)) => holds_the_same(own, there),
                _ => true,
            }
        })
    }

    fn lookup_table(&self, def: &LookupDef) -> Option<&Arc<Table>> {
        self.planner.lookup_table(self.keyspace, def)
    }
}

impl Planner<'_, '_> {
    /// The table of a lookup vindex of this keyspace, where it is known.
    pub(super) fn lookup_table(
        &self,
        keyspace: KeyspaceIdx,
        def: &LookupDef,
    ) -> Option<&Arc<Table>> {
        let snapshot = self.input.snapshot;
        let name = def.table.trim_matches('`');
        let (keyspace, name) = match name.split_once("`.`") {
            Some((keyspace, name)) => {
                (snapshot.keyspaces.iter().find(|k| k.name == keyspace), name)
            }
            None => (self.keyspace(keyspace), name),
        };
        keyspace?.tables.get(name)
    }
}

/// Equal values of one column are equal in the other.
pub(super) fn holds_the_same(own: &Column, there: &Column) -> bool {
    let fits = |own: Option<u32>, there: Option<u32>| match (own, there) {
        (Some(own), Some(there)) => there >= own,
        _ => true,
    };
    match (Family::of(own), Family::of(there)) {
        (Family::Unknown, _) | (_, Family::Unknown) => true,
        (Family::Integer { .. }, Family::Integer { .. }) | (Family::Date, Family::Date) => true,
        (Family::Text { fixed: a, .. }, Family::Text { fixed: b, .. }) => {
            a == b && own.collation == there.collation && fits(own.length, there.length)
        }
        (Family::Binary(a), Family::Binary(b)) => b >= a,
        (Family::Fixed(a), Family::Fixed(b)) => a == b,
        (Family::Other, Family::Other) => own.column_type == there.column_type,
        _ => false,
    }
}

fn question(def: &Arc<LookupDef>, known: &[Option<Known<'_>>]) -> LookupTo {
    let text = |text: String| Piece::Verbatim(text.into_bytes());
    let mut query = vec![text(def.select_head())];
    let mut many = false;
    for (n, (column, known)) in def.from.iter().zip(known).enumerate() {
        let Some(known) = known else { continue };
        let and = if n == 0 { "" } else { " AND " };
        match known {
            Known::One(operand) => {
                query.push(text(format!("{and}{} = ", quoted(column))));
                query.push(value(operand));
            }
            Known::Many(InRows::List(list)) => {
                many |= n == 0;
                query.push(text(format!("{and}{} IN ", quoted(column))));
                query.push(Piece::List { list: *list, split: false });
            }
            Known::Many(InRows::Operands(rows)) => {
                many |= n == 0;
                query.push(text(format!("{and}{} IN (", quoted(column))));
                for (n, operand) in rows.iter().flatten().enumerate() {
                    if n > 0 {
                        query.push(text(",".into()));
                    }
                    query.push(value(operand));
                }
                query.push(text(")".into()));
            }
        }
    }
    let hashed = Vec::new();
    LookupTo { vindex: def.clone(), query, hashed, many, alone: None, locks: false }
}

/// The same for a table that holds numbers in the values' places: only the values themselves tell
/// them.
fn hashed_question(
    def: &Arc<LookupDef>,
    table: &Table,
    columns: &[String],
    known: &[Option<Known<'_>>],
) -> LookupTo {
    let query = vec![Piece::Verbatim(def.select_head().into_bytes())];
    let own = columns.iter().map(|own| Family::of_column(table, own));
    let asked = def.from.iter().zip(own).zip(known);
    let hashed = asked.filter_map(|((column, family), known)| {
        let values = match known.as_ref()? {
            Known::One(operand) => InRows::Operands(vec![smallvec![(*operand).clone()]]),
            Known::Many(rows) => (*rows).clone(),
        };
        Some(Hashed { column: quoted(column), family, values })
    });
    let many = matches!(known.first(), Some(Some(Known::Many(_))));
    let hashed = hashed.collect();
    LookupTo { vindex: def.clone(), query, hashed, many, alone: None, locks: false }
}

fn value(operand: &Operand) -> Piece {
    match operand {
        Operand::Null => Piece::Verbatim(b"NULL".to_vec()),
        Operand::Literal(n) => Piece::Literal(*n),
        Operand::Param(n) => Piece::Param(*n),
        Operand::InsertId => Piece::Session(SessionValue::LastInsertId),
        Operand::Const(text) => Piece::Verbatim(text.clone()),
    }
}
