//! GROUP BY, and aggregates over all rows: every shard sends its groups in the order of their keys,
//! and equal ones become one.
use super::super::aggregates::has_window;
use super::super::text::Edits;
use super::aggregate::{is_constant, order_by};
use super::distinct::positions;
use super::distinct_values::further;
use super::order::Item;
use super::shape::{ALL_ROWS, Shape};
use crate::plan::tree::{Aggregate, Function, Group, Key, Merge};
use crate::plan::verbatim;
use crate::sql::ast::{Expr, ExprKind, Ordered};

/// A key of the groups.
struct GroupKey {
    /// The column of the answer that holds it.
    at: usize,
    descending: bool,
    key: Key,
}

/// What an item of ORDER BY means here.
enum Wanted {
    /// The n-th key of the groups.
    Key(usize),
    /// A column that is put together.
    Aggregate(u16),
}

impl<'a> Shape<'_, '_, 'a> {
    pub(super) fn grouped(mut self) -> Option<(Merge, Edits)> {
        let select = self.select;
        if select.having.is_some()
            || select.rollup
            || self.query.order.iter().any(|o| has_window(&o.expr))
        {
            return None;
        }
        let mut keys: Vec<GroupKey> = Vec::new();
        for item in select.group {
            self.group_key(item, &mut keys)?;
        }
        let mut aggregates = Vec::new();
        for at in 0..self.visible.len() {
            if keys.iter().any(|k| k.at == at) || self.is_key_again(at, &keys) {
                continue;
            }
            let expr = self.visible.get(at)?.expr?;
            if is_constant(expr) {
                continue;
            }
            let function = self.aggregate(expr, !keys.is_empty())?;
            let distinct = is_distinct(expr, &function);
            aggregates.push(Aggregate { column: u16::try_from(at).ok()?, function, distinct });
        }
        if keys.is_empty() {
            // One row, whatever its order.
            self.keep_limit();
            if self.distinct_over.is_some() {
                self.one_over_distinct()?;
            }
        } else {
            self.arrange(&keys, &mut aggregates)?;
        }
        // Of such groups, servers that sort them again print the values of a temporary table.
        if self.distinct_over.is_some() && self.filled && !self.merge.sort.is_empty() {
            return None;
        }
        let distinct = self.distinct_over.map_or(0, |_| self.merge.order.len());
        let (keys, distinct) = (u16::try_from(keys.len()).ok()?, u16::try_from(distinct).ok()?);
        self.merge.group = Some(Group { keys, aggregates, distinct });
        self.finish()
    }

    fn group_key(&mut self, item: &'a Ordered<'a>, keys: &mut Vec<GroupKey>) -> Option<()> {
        let found = self.group_item(&item.expr)?;
        if !self.can_group(&found) {
            return None;
        }
        let value = self.value(found)?;
        // The servers sort by the value itself.
        let at = match value.visible {
            Some(at) => at,
            None => usize::from(self.hide(value.text.clone())?),
        };
        if !keys.iter().any(|k| k.at == at) {
            let key = self.key(value, item.descending, true)?;
            keys.push(GroupKey { at, descending: item.descending, key });
        }
        Some(())
    }

    /// Is it a key that is selected once more?
    fn is_key_again(&self, at: usize, keys: &[GroupKey]) -> bool {
        let column = self.visible.get(at).and_then(|v| v.column);
        column.is_some()
            && keys
                .iter()
                .any(|k| self.visible.get(k.at).is_some_and(|v| v.column == column))
    }

    /// In which order the shards send their groups; whether they are sorted again.
    fn arrange(&mut self, keys: &[GroupKey], aggregates: &mut Vec<Aggregate>) -> Option<()> {
        let mut wanted = Vec::new();
        for item in self.query.order {
            if let Some(found) = self.wanted(item, keys, aggregates)? {
                wanted.push((found, item.descending));
            }
        }
        let by_keys = wanted.iter().all(|(w, _)| matches!(w, Wanted::Key(_)));
        let mut order: Vec<(usize, bool)> = Vec::new();
        if by_keys {
            for (found, descending) in &wanted {
                if let Wanted::Key(n) = found
                    && !order.iter().any(|(o, _)| o == n)
                {
                    order.push((*n, *descending));
                }
            }
        } else {
            for (found, descending) in wanted {
                let key = match found {
                    Wanted::Key(n) => Key { descending, ..keys.get(n)?.key.clone() },
                    Wanted::Aggregate(column) => Key { column, descending, text: None },
                };
                self.merge.sort.push(key);
            }
        }
        for (n, key) in keys.iter().enumerate() {
            if !order.iter().any(|(o, _)| *o == n) {
                order.push((n, key.descending));
            }
        }
        let mut places = Vec::new();
        for &(n, descending) in &order {
            let key = keys.get(n)?;
            places.push((key.at, descending));
            self.merge.order.push(Key { descending, ..key.key.clone() });
        }
        let groups: Vec<usize> = keys.iter().map(|k| k.at).collect();
        let distinct = self.distinct_keys(&groups)?;
        let mut group = further(&distinct);
        for (at, key) in distinct {
            places.push((at, false));
            self.merge.order.push(key);
        }
        // Without the distinct values, a shard's row is a group.
        let by_keys = by_keys && self.distinct_over.is_none();
        let mut by = order_by(&positions(&places));
        if !by_keys {
            // The limit counts sorted groups: every shard sends all of its, whatever
            // sql_select_limit says.
            by.push(verbatim(ALL_ROWS));
        }
        let end = self.select.group_span?.end;
        match self.query.order_span {
            Some(span) => self.edits.replace(span, by),
            None => group.extend([vec![verbatim(" ")], by].concat()),
        }
        if !group.is_empty() {
            self.edits.insert(end, group);
        }
        if by_keys {
            self.push_limit();
        } else {
            self.keep_limit();
        }
        Some(())
    }

    /// `Some(None)` for what orders nothing.
    fn wanted(
        &mut self,
        item: &'a Ordered<'a>,
        keys: &[GroupKey],
        aggregates: &mut Vec<Aggregate>,
    ) -> Option<Option<Wanted>> {
        let found = self.item(&item.expr)?;
        let key_of = |shape: &Self, at: usize| {
            let column = shape.visible.get(at).and_then(|v| v.column);
            keys.iter().position(|k| {
                k.at == at
                    || column.is_some()
                        && shape.visible.get(k.at).is_some_and(|v| v.column == column)
            })
        };
        let sortable = |function: &Function| match function {
            Function::Least { text } | Function::Greatest { text } => text.is_none(),
            Function::First => false,
            _ => true,
        };
        match found {
            Item::Constant => Some(None),
            Item::Visible(at) => match key_of(self, at) {
                Some(n) => Some(Some(Wanted::Key(n))),
                None => {
                    let column = u16::try_from(at).ok()?;
                    match aggregates.iter().find(|a| a.column == column) {
                        Some(a) => sortable(&a.function).then_some(Some(Wanted::Aggregate(column))),
                        // A constant.
                        None => Some(None),
                    }
                }
            },
            Item::Column(column) => {
                let text = self.column_text(column);
                let at = usize::from(self.hide(text)?);
                keys.iter()
                    .position(|k| k.at == at)
                    .map(|n| Some(Wanted::Key(n)))
            }
            Item::Expr(expr) => {
                if !self.reads_tables_only(expr) {
                    return None;
                }
                let function = self.aggregate(expr, true).filter(sortable)?;
                let column = self.hide(self.text(expr.span))?;
                if !aggregates.iter().any(|a| a.column == column) {
                    let distinct = is_distinct(expr, &function);
                    aggregates.push(Aggregate { column, function, distinct });
                }
                Some(Some(Wanted::Aggregate(column)))
            }
        }
    }
}

/// Does each value count once? Of the least and the greatest one it does not matter.
fn is_distinct(expr: &Expr<'_>, function: &Function) -> bool {
    let adds = matches!(function, Function::Count | Function::Sum | Function::Avg { .. });
    adds && matches!(&expr.kind, ExprKind::Call(call) if call.distinct)
}
