//! Which shards hold what an analysed statement reads.
use super::block::{Blocks, usable};
use crate::column::{Family, find};
use crate::error::PlanError;
use crate::plan::{Destination, EqualTo, InRows, Operand};
use crate::snapshot::{ColumnVindex, Table};
use smallvec::SmallVec;
use std::sync::Arc;

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
        for cv in usable(table).filter(|cv| self.may_use(instance, &cv.vindex.name)) {
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
                    best = Some((
                        cost,
                        EqualTo { vindex: vindex.clone(), values: ones, families: families() },
                    ));
                }
                continue;
            }
            let place = match (classes.as_slice(), vindex.max_columns()) {
                // A list of the first column, as it was collapsed.
                ([Some(class), ..], _) if ones.is_empty() && self.is_list(*class) => {
                    let Some(rows) = self.classes.many(*class) else { continue };
                    Destination::In {
                        vindex: vindex.clone(),
                        families: families(),
                        rows: rows.clone(),
                    }
                }
                (_, 1) => match self.values_or_patterns(table, cv, &classes) {
                    Some(place) => place,
                    None => continue,
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
            (None, None) => match self.looked_up(table, instance) {
                Some(to) => Restriction::Many(Destination::Lookup(Box::new(to))),
                None => Restriction::None,
            },
        }
    }

    /// Where the rows lie whose column has one of several values, or is like a pattern.
    fn values_or_patterns(
        &self,
        table: &Table,
        cv: &ColumnVindex,
        classes: &[Option<usize>],
    ) -> Option<Destination> {
        let ([Some(class)], [column]) = (classes, cv.columns.as_slice()) else { return None };
        let Some(rows) = self.classes.many(*class) else {
            return self.patterns_of(table, cv, (*class, column));
        };
        let families = SmallVec::from_elem(Family::of_column(table, column), 1);
        let vindex = cv.vindex.vindex.clone()?;
        Some(Destination::In { vindex, families, rows: rows.clone() })
    }

    /// Where the rows lie whose column is like a pattern, if the vindex tells that and the column
    /// compares by its bytes.
    fn patterns_of(
        &self,
        table: &Table,
        cv: &ColumnVindex,
        (class, column): (usize, &str),
    ) -> Option<Destination> {
        let pattern = self.classes.like(class)?.clone();
        let vindex = cv.vindex.vindex.as_ref()?.of_patterns()?;
        let known = find(table, column)?;
        let family = Family::of(known);
        let exact = match family {
            Family::Binary(_) => true,
            Family::Text { .. } => known
                .collation
                .as_ref()
                .is_some_and(|c| c.ends_with("_bin")),
            _ => false,
        };
        let rows = InRows::Operands(vec![SmallVec::from_elem(pattern, 1)]);
        exact.then(|| Destination::In { vindex, families: SmallVec::from_elem(family, 1), rows })
    }

    /// What `USE VINDEX` and `IGNORE VINDEX` say.
    pub(super) fn may_use(&self, instance: usize, vindex: &str) -> bool {
        let hint = self.hints.iter().find(|(of, _)| *of == instance);
        hint.is_none_or(|(_, hint)| {
            let named = hint
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(vindex));
            named != hint.ignore
        })
    }

    fn is_list(&self, class: usize) -> bool {
        matches!(self.classes.many(class), Some(InRows::List(_)))
    }

    /// What the conditions say about where the statement's rows lie.
    pub(super) fn places(&self) -> Places {
        if self.uses.is_empty() {
            return Places::Any;
        }
        // The session names the shards: it gets what lies there, wherever rows with such values
        // belong.
        if self.planner.chosen(self.keyspace).is_some() {
            return Places::All;
        }
        if !self.pinned.is_empty() {
            return match self.pinned.as_slice() {
                [first, rest @ ..]
                    if self.pinned.len() == self.uses.len() && rest.iter().all(|p| p == first) =>
                {
                    Places::Pinned(first.clone())
                }
                _ => Places::PinnedAndOthers,
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
                Ok([to]) => Places::One(to),
                Err(several) => Places::Together(several),
            };
        }
        let mut many = restrictions.into_iter().map(|r| match r {
            Restriction::Many(place) => Some(place),
            Restriction::One(_) | Restriction::None => None,
        });
        match many.next().flatten() {
            // Of all tables the same, as rows that are joined have the same value.
            Some(place) if many.all(|other| other.is_some_and(|o| same_places(&o, &place))) => {
                Places::Many(place)
            }
            _ => match self.anchored() {
                Some(to) => Places::Many(Destination::Lookup(Box::new(to))),
                None => Places::All,
            },
        }
    }

    /// The shards that hold every row that a changing statement can touch.
    ///
    /// # Errors
    /// [`PlanError::Unsupported`] if they may be several and the statement cannot be answered by
    /// each of them alone.
    pub(super) fn destination(&self) -> Result<Placed, PlanError> {
        let one_table = self.uses.len() == 1;
        let broken = self.broken.why();
        let to = match self.places() {
            Places::Any => Destination::Any,
            Places::Pinned(id) => Destination::KeyspaceId(id),
            Places::PinnedAndOthers => {
                return Err(PlanError::unsupported("a pinned table together with other tables"));
            }
            Places::One(to) => Destination::Equal { to, alone: broken },
            Places::Together(all) => Destination::Together(all),
            Places::Many(Destination::Lookup(mut to)) => {
                (to.alone, to.locks) = (broken, true);
                Destination::Lookup(to)
            }
            Places::Many(_) | Places::All if broken.is_some() => {
                return Err(PlanError::Unsupported(broken.unwrap_or_default()));
            }
            Places::Many(to) => to,
            Places::All => self.planner.everywhere(self.keyspace),
        };
        Ok(Placed { to, one_table })
    }
}

/// Are these lists of the same values for the same vindex?
fn same_places(a: &Destination, b: &Destination) -> bool {
    let (
        Destination::In { vindex: v, families: f, rows: r },
        Destination::In { vindex: w, families: g, rows: s },
    ) = (a, b)
    else {
        return false;
    };
    let same_rows = match (r, s) {
        (InRows::List(a), InRows::List(b)) => a == b,
        (InRows::Operands(a), InRows::Operands(b)) => a == b,
        _ => false,
    };
    Arc::ptr_eq(v, w) && f == g && same_rows
}

/// Where the rows of a statement lie.
pub(super) enum Places {
    /// It reads no sharded table.
    Any,
    Pinned(Vec<u8>),
    PinnedAndOthers,
    One(EqualTo),
    /// Each table has a value of its own.
    Together(Vec<EqualTo>),
    /// Every table has one of several values.
    Many(Destination),
    All,
}

impl Places {
    /// For a statement that reads the newest rows and locks them.
    pub(super) fn locking(mut self, locks: bool) -> Self {
        if let Self::Many(Destination::Lookup(to)) = &mut self {
            to.locks = locks;
        }
        self
    }
}
