//! In which order tables are gathered, and which are asked for the values of those before them
//! only.
//!
//! The most restricted table comes first; then those that an equality connects with tables that are
//! restricted, by conditions or by others' values. What nothing restricts is asked for all its
//! rows.
use super::super::Planner;
use super::super::block::usable;
use super::super::lookup_reads::holds_the_same;
use super::edges::At;
use super::refs::{Reference, References};
use crate::charset::Holds;
use crate::column::{Family, find};
use crate::lookup::LookupDef;
use crate::plan::tree::{Finish, GatherKey, KeyForm, KeyPlace, Leaf};
use crate::plan::{Destination, Effects, Target};
use crate::snapshot::{Column, Table};
use crate::sql::ast::{CompareOp, ExprKind};
use std::ops::Range;

/// The most columns by which one table is asked.
const KEYS_MAX: usize = 4;

/// How few rows of a table its own conditions leave, by what they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Those of one value of a vindex or of a unique key.
    One,
    /// Of several values of a vindex.
    Few,
    /// Equal to values.
    Equal,
    Some,
    All,
}

/// One reference's leaves and gathers, which stand at these places.
pub(super) struct Step {
    pub(super) reference: usize,
    pub(super) at: Range<usize>,
}

/// The step `to` is asked for values of the step `from`.
struct Link<'a> {
    from: usize,
    to: usize,
    value: u16,
    columns: (At<'a>, At<'a>),
    form: KeyForm,
}

impl<'a> Planner<'_, 'a> {
    /// Puts the gathers in order, and says what restricts them.
    pub(super) fn key(
        &self,
        all: &References<'_, '_, 'a>,
        steps: &[Step],
        leaves: &mut Vec<Leaf>,
        finish: &mut Finish,
    ) {
        // Assignments count the rows that they see.
        if self.effects.contains(Effects::ASSIGNS_VARIABLES) {
            return;
        }
        let links = self.links(all, steps, finish);
        if links.is_empty() {
            return;
        }
        let ranks: Vec<Rank> = steps
            .iter()
            .map(|step| match (all.list.get(step.reference), leaves.get(step.at.start)) {
                (Some(reference), Some(leaf)) if !reference.system => rank(reference, leaf),
                _ => Rank::All,
            })
            .collect();
        let (order, chosen) = arranged(&ranks, &links);
        if chosen.iter().all(Vec::is_empty) {
            return;
        }
        let mut found: Vec<_> = std::mem::take(leaves).into_iter().map(Some).collect();
        let mut gathers: Vec<_> = std::mem::take(&mut finish.gathers)
            .into_iter()
            .map(Some)
            .collect();
        let mut places = vec![0; steps.len()];
        for &n in &order {
            let Some(step) = steps.get(n) else { continue };
            if let Some(place) = places.get_mut(n) {
                *place = leaves.len();
            }
            for at in step.at.clone() {
                leaves.extend(found.get_mut(at).and_then(Option::take));
                finish
                    .gathers
                    .extend(gathers.get_mut(at).and_then(Option::take));
            }
        }
        for (n, chosen) in chosen.iter().enumerate() {
            let place = |n: usize| places.get(n).copied().unwrap_or_default();
            for link in chosen.iter().filter_map(|at| links.get(*at)) {
                let to = place(n);
                let key = self.gather_key(all, link, place(link.from), leaves.get(to));
                if let (Some(key), Some(gather)) = (key, finish.gathers.get_mut(to)) {
                    gather.keys.push(key);
                }
            }
        }
    }

    /// The edges between steps whose values can be asked for.
    fn links(
        &self,
        all: &References<'_, '_, 'a>,
        steps: &[Step],
        finish: &Finish,
    ) -> Vec<Link<'a>> {
        let mut links: Vec<Link<'a>> = Vec::new();
        let step_of = |reference: usize| steps.iter().position(|s| s.reference == reference);
        for edge in all.edges() {
            let (Some(from), Some(to)) = (step_of(edge.from.0), step_of(edge.to.0)) else {
                continue;
            };
            let gather = |step: usize| steps.get(step).and_then(|s| finish.gathers.get(s.at.start));
            let (Some(values), Some(asked)) = (gather(from), gather(to)) else { continue };
            if values.system.is_some() || asked.system.is_some() || asked.planned {
                continue;
            }
            let column = |(at, name): At<'a>| all.list.get(at).and_then(|r| find(r.table, name));
            let (Some(one), Some(two)) = (column(edge.from), column(edge.to)) else { continue };
            let Some(form) = form(one, two) else { continue };
            let mut columns = values.columns.iter().zip(0u16..);
            let Some((_, value)) = columns.find(|(c, _)| c.name == one.name) else { continue };
            let same = |l: &Link<'a>| {
                (l.from, l.to, l.value) == (from, to, value)
                    && l.columns.1.1.eq_ignore_ascii_case(edge.to.1)
            };
            if !links.iter().any(same) {
                links.push(Link { from, to, value, columns: (edge.from, edge.to), form });
            }
        }
        links
    }

    fn gather_key(
        &self,
        all: &References<'_, '_, 'a>,
        link: &Link<'a>,
        from: usize,
        leaf: Option<&Leaf>,
    ) -> Option<GatherKey> {
        let (at, name) = link.columns.1;
        let reference = all.list.get(at)?;
        let column = find(reference.table, name)?;
        let quoted = super::super::text::quoted;
        Some(GatherKey {
            column: format!("{}.{}", quoted(reference.name.exposed()), quoted(&column.name)),
            from: u16::try_from(from).ok()?,
            value: link.value,
            form: link.form.clone(),
            place: leaf.and_then(|leaf| self.key_place(reference, column, leaf)),
        })
    }

    /// What tells the shards of a column's values, where rows may lie on any.
    fn key_place(
        &self,
        reference: &Reference<'a>,
        column: &Column,
        leaf: &Leaf,
    ) -> Option<KeyPlace> {
        let scatters =
            matches!(leaf.route.to, Target::Keyspace { shards: Destination::Scatter, .. });
        if !scatters || reference.name.vindexes.is_some() || reference.table.view.is_some() {
            return None;
        }
        let table = reference.table;
        let family = Family::of(column);
        let is_it = |name: &String| name.eq_ignore_ascii_case(&column.name);
        let is_of = |columns: &[String]| columns.len() == 1 && columns.iter().all(is_it);
        let mut functional = usable(table).filter(|cv| is_of(&cv.columns));
        if let Some(cv) = functional.next().filter(|_| equal_is_same(family, column)) {
            let vindex = cv.vindex.vindex.clone()?;
            return Some(KeyPlace::Vindex { vindex, family });
        }
        let mut lookups = table.column_vindexes.iter().filter(|cv| is_of(&cv.columns));
        let def = lookups.find_map(|cv| {
            let def = cv.vindex.lookup.as_ref()?;
            let may = !def.write_only && def.from.len() == 1 && cv.vindex.vindex.is_none();
            (may && self.finds_all(reference, column, def)).then(|| def.clone())
        })?;
        Some(KeyPlace::Lookup { vindex: def, locks: reference.lock.is_some() })
    }
}

impl<'a> Planner<'_, 'a> {
    /// Does the lookup table find every value that the column holds?
    fn finds_all(&self, reference: &Reference<'a>, column: &Column, def: &LookupDef) -> bool {
        let lookup = self.lookup_table(reference.keyspace, def);
        let there = lookup.and_then(|lookup| find(lookup, def.from.first()?));
        there.is_some_and(|there| {
            let known = Family::of(there) != Family::Unknown;
            known && Family::of(column) != Family::Unknown && holds_the_same(column, there)
        })
    }
}

/// Do equal values of a column have the same bytes, so that they lie on one shard?
fn equal_is_same(family: Family, column: &Column) -> bool {
    match family {
        Family::Integer { .. } | Family::Date | Family::Binary(_) | Family::Fixed(Some(_)) => true,
        Family::Text { holds, .. } => {
            let collation = column.collation.as_deref().unwrap_or_default();
            let bytes = collation.ends_with("_0900_bin") || collation.ends_with("_nopad_bin");
            bytes && matches!(holds, Holds::Unicode { .. })
        }
        _ => false,
    }
}

/// In which order the steps come, and by which links each is asked.
fn arranged(ranks: &[Rank], links: &[Link<'_>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut order: Vec<usize> = Vec::new();
    let mut chosen = vec![Vec::new(); ranks.len()];
    let mut restricted = vec![false; ranks.len()];
    while order.len() < ranks.len() {
        let asked_by = |n: usize, restricted: &[bool]| -> Vec<usize> {
            let of = links.iter().enumerate().filter(|(_, link)| {
                link.to == n && restricted.get(link.from).copied().unwrap_or_default()
            });
            of.map(|(at, _)| at).take(KEYS_MAX).collect()
        };
        let left = (0..ranks.len()).filter(|n| !order.contains(n));
        let next = left.min_by_key(|&n| {
            let rank = ranks.get(n).copied().unwrap_or(Rank::All);
            let turn = match rank {
                Rank::One => 0,
                _ if !asked_by(n, &restricted).is_empty() => 1,
                _ => 2,
            };
            (turn, rank, n)
        });
        let Some(next) = next else { break };
        let rank = ranks.get(next).copied().unwrap_or(Rank::All);
        let by = if rank == Rank::One { Vec::new() } else { asked_by(next, &restricted) };
        if let Some(restricted) = restricted.get_mut(next) {
            *restricted = rank != Rank::All || !by.is_empty();
        }
        if let Some(chosen) = chosen.get_mut(next) {
            *chosen = by;
        }
        order.push(next);
    }
    (order, chosen)
}

fn rank(reference: &Reference<'_>, leaf: &Leaf) -> Rank {
    let Target::Keyspace { shards, .. } = &leaf.route.to else { return Rank::All };
    let equal = equal_columns(reference);
    let is_equal = |name: &String| equal.iter().any(|e| e.eq_ignore_ascii_case(name));
    let table: &Table = reference.table;
    let keys = std::iter::once(&table.primary_key).chain(
        table
            .unique_keys
            .iter()
            .filter(|k| k.whole)
            .map(|k| &k.columns),
    );
    let unique = keys
        .into_iter()
        .any(|key| !key.is_empty() && key.iter().all(is_equal));
    match shards {
        Destination::Equal { .. } | Destination::Nowhere => Rank::One,
        Destination::Lookup(to) if !to.many => Rank::One,
        _ if unique => Rank::One,
        Destination::In { .. } | Destination::Lookup(_) => Rank::Few,
        _ if !equal.is_empty() => Rank::Equal,
        _ if !reference.conditions.is_empty() => Rank::Some,
        _ => Rank::All,
    }
}

/// The columns that equal a value.
fn equal_columns<'a>(reference: &Reference<'a>) -> Vec<&'a str> {
    let conditions = reference.conditions.iter();
    let columns = conditions.filter_map(|condition| match &condition.expr.kind {
        ExprKind::Compare { op: CompareOp::Eq, sides: [a, b] } => match (&a.kind, &b.kind) {
            (ExprKind::Column(c), other) | (other, ExprKind::Column(c))
                if matches!(other, ExprKind::Literal(_) | ExprKind::Param(_)) =>
            {
                Some(c.name)
            }
            _ => None,
        },
        _ => None,
    });
    columns.collect()
}

/// How values of one column are written to be compared with another. `None`: they compare in
/// another way than as their columns do, or that is not known.
pub(super) fn form(from: &Column, to: &Column) -> Option<KeyForm> {
    let text = ["char", "varchar", "tinytext", "text", "mediumtext", "longtext"];
    let bytes = ["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"];
    if let (Family::Integer { .. }, Family::Integer { min, max }) =
        (Family::of(from), Family::of(to))
    {
        return Some(KeyForm::Integer { min, max });
    }
    let (a, b) = (from.data_type.as_str(), to.data_type.as_str());
    if text.contains(&a) && text.contains(&b) {
        let collation = to.collation.clone()?;
        let of_collation = collation.split('_').next().unwrap_or_default();
        let charset = |column: &Column| {
            column
                .charset
                .clone()
                .unwrap_or_else(|| of_collation.to_owned())
        };
        let (one, two) = (charset(from), charset(to));
        let same = from.collation == to.collation && one == two;
        return same.then_some(KeyForm::Text { charset: two, collation });
    }
    if bytes.contains(&a) && bytes.contains(&b) {
        return Some(KeyForm::Bytes);
    }
    let same = a == b && from.column_type.is_some() && from.column_type == to.column_type;
    match a {
        "decimal" | "numeric" if same => Some(KeyForm::Decimal),
        "date" if same => Some(KeyForm::Date),
        "datetime" if same => Some(KeyForm::Moment),
        _ => None,
    }
}
