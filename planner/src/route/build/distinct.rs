//! SELECT DISTINCT: groups of equal rows, without aggregates.
use super::super::aggregates::counts_rows;
use super::super::text::Edits;
use super::order::Item;
use super::shape::Shape;
use super::visible::Visible;
use crate::plan::tree::{Group, Merge};
use crate::plan::verbatim;

impl Shape<'_, '_, '_> {
    /// Every shard sends its distinct rows in the order of all columns, the wanted ones first.
    pub(super) fn distinct(mut self) -> Option<(Merge, Edits)> {
        let select = self.select;
        let plain = select.group.is_empty() && select.having.is_none() && !self.visible.is_empty();
        // What becomes of a BIT depends on how a server finds the distinct rows.
        let bits = |v: &Visible<'_>| v.column.is_some_and(|c| c.column.data_type == "bit");
        let counts = select.items.iter().any(|i| counts_rows(&i.expr));
        if !plain
            || counts
            || self.visible.iter().any(bits)
            || !(0..self.visible.len()).all(|at| self.can_group(&Item::Visible(at)))
        {
            return None;
        }
        let mut order: Vec<(usize, bool)> = Vec::new();
        for item in self.query.order {
            match self.item(&item.expr)? {
                Item::Visible(at) if order.iter().any(|(o, _)| *o == at) => {}
                Item::Visible(at) => order.push((at, item.descending)),
                Item::Constant => {}
                _ => return None,
            }
        }
        for at in 0..self.visible.len() {
            if !order.iter().any(|(o, _)| *o == at) {
                order.push((at, false));
            }
        }
        for &(at, descending) in &order {
            let value = self.value(Item::Visible(at))?;
            let key = self.key(value, descending, true)?;
            self.merge.order.push(key);
        }
        self.merge.group =
            Some(Group { keys: u16::try_from(order.len()).ok()?, ..Group::default() });
        let by = positions(&order);
        let all: Vec<String> = (1..=self.visible.len()).map(|n| n.to_string()).collect();
        let mut group = format!(" GROUP BY {}", all.join(","));
        match self.query.order_span {
            Some(span) => self
                .edits
                .replace(span, vec![verbatim(format!("ORDER BY {by}"))]),
            None => group.push_str(&format!(" ORDER BY {by}")),
        }
        let end = select.filter_span.or(select.from_span)?.end;
        self.edits.insert(end, vec![verbatim(&group)]);
        self.edits.replace(select.distinct_span?, Vec::new());
        self.push_limit();
        self.finish()
    }
}

/// `2 DESC,1`
pub(super) fn positions(order: &[(usize, bool)]) -> String {
    let items = order.iter().map(|(at, descending)| {
        let direction = if *descending { " DESC" } else { "" };
        format!("{}{direction}", at + 1)
    });
    items.collect::<Vec<_>>().join(",")
}
