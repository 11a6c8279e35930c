//! ORDER BY: what its items mean, as MySQL finds it.
use super::super::aggregates::{counts_rows, has_window};
use super::super::text::Edits;
use super::keys::Value;
use super::kind::Kind;
use super::shape::Shape;
use super::visible::{Found, find, is_nowhere};
use crate::plan::tree::Merge;
use crate::sql::ast::{ColumnName, Expr, ExprKind};

/// What an item of ORDER BY or GROUP BY stands for.
pub(super) enum Item<'a> {
    Visible(usize),
    /// A column of a table that is not selected.
    Column(Found<'a>),
    Expr(&'a Expr<'a>),
    Constant,
}

impl<'a> Shape<'_, '_, 'a> {
    /// ORDER BY and LIMIT over rows as they are.
    pub(super) fn ordered(mut self) -> Option<(Merge, Edits)> {
        for item in self.query.order {
            let value = match self.item(&item.expr)? {
                Item::Constant => continue,
                found => self.value(found)?,
            };
            // Aggregates of all rows; of groups on one shard they are columns like others.
            if self.select.group.is_empty() && counts_rows(&item.expr) || has_window(&item.expr) {
                return None;
            }
            let key = self.key(value, item.descending, false)?;
            self.merge.order.push(key);
        }
        self.push_limit();
        self.finish()
    }

    /// What an item of ORDER BY means: a position, a name of the select list, a column of FROM.
    pub(super) fn item(&self, expr: &'a Expr<'a>) -> Option<Item<'a>> {
        Some(match &expr.kind {
            ExprKind::Null => Item::Constant,
            ExprKind::Literal(None) => Item::Visible(self.position(expr)?),
            ExprKind::Column(name) if name.table.is_none() => match self.named(name)? {
                Some(at) => Item::Visible(at),
                None => self.of_from(find(name, self.sources)?),
            },
            ExprKind::Column(name) => self.of_from(find(name, self.sources)?),
            _ => match self.same_text(expr) {
                Some(at) => Item::Visible(at),
                None => Item::Expr(expr),
            },
        })
    }

    /// The visible column that a position means.
    pub(super) fn position(&self, expr: &Expr<'_>) -> Option<usize> {
        let text = std::str::from_utf8(self.source_text(expr.span)).ok()?;
        let at = text.parse::<usize>().ok()?.checked_sub(1)?;
        (at < self.visible.len()).then_some(at)
    }

    /// The visible column of this name: `Some(None)` if there is none, `None` if that is not
    /// certain.
    pub(super) fn named(&self, name: &ColumnName<'_>) -> Option<Option<usize>> {
        if !name.name.is_ascii() {
            return None;
        }
        let mut found: Option<usize> = None;
        for (at, visible) in self.visible.iter().enumerate() {
            if !visible
                .name
                .is_some_and(|n| n.eq_ignore_ascii_case(name.name))
            {
                continue;
            }
            match found.and_then(|f| self.visible.get(f)) {
                None => found = Some(at),
                Some(first) if first.column.is_some() && first.column == visible.column => {}
                Some(_) => return None,
            }
        }
        Some(found)
    }

    /// A table's column, where it may be selected as well.
    pub(super) fn of_from(&self, found: Found<'a>) -> Item<'a> {
        let selected = self.visible.iter().position(|v| v.column == Some(found));
        selected.map_or(Item::Column(found), Item::Visible)
    }

    /// An expression that is selected in the same words, and reads no names of the select list.
    /// Values are no words: in the statements that share the plan they are others.
    fn same_text(&self, expr: &Expr<'a>) -> Option<usize> {
        if self.planner.has_values(expr.span) {
            return None;
        }
        let text = self.source_text(expr.span);
        let same = |e: &&Expr<'a>| self.source_text(e.span) == text;
        let at = self
            .visible
            .iter()
            .position(|v| v.expr.as_ref().is_some_and(same))?;
        self.reads_tables_only(expr).then_some(at)
    }

    /// Do all names in an expression mean columns of FROM, and no names that the select list gives?
    pub(super) fn reads_tables_only(&self, expr: &Expr<'a>) -> bool {
        match &expr.kind {
            ExprKind::Column(name) => {
                let renamed = name.table.is_none()
                    && self.visible.iter().any(|v| {
                        v.named && v.name.is_none_or(|n| n.eq_ignore_ascii_case(name.name))
                    });
                name.name.is_ascii() && !renamed && find(name, self.sources).is_some()
            }
            ExprKind::Other(list) | ExprKind::And(list) | ExprKind::Or(list) => {
                list.iter().all(|e| self.reads_tables_only(e))
            }
            ExprKind::Not(e) => self.reads_tables_only(e),
            ExprKind::Compare { sides, .. } => sides.iter().all(|e| self.reads_tables_only(e)),
            ExprKind::InList { left, list, .. } => {
                self.reads_tables_only(left) && list.iter().all(|e| self.reads_tables_only(e))
            }
            ExprKind::Call(call) => call.args.iter().all(|e| self.reads_tables_only(e)),
            ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Null | ExprKind::Star(None) => {
                true
            }
            _ => false,
        }
    }

    /// The value of an item.
    pub(super) fn value(&self, item: Item<'a>) -> Option<Value> {
        Some(match item {
            Item::Visible(at) => {
                let kind = self.visible_kind(at)?;
                Value { text: self.visible_text(at)?, visible: Some(at), kind }
            }
            Item::Column(found) => Value {
                text: self.column_text(found),
                visible: None,
                kind: self.column_kind(found)?,
            },
            Item::Expr(expr) => {
                let kind = self.kind(expr)?;
                if !self.reads_tables_only(expr) {
                    return None;
                }
                Value { text: self.text(expr.span), visible: None, kind }
            }
            Item::Constant => return None,
        })
    }

    /// What an item of GROUP BY means: a position, a column of FROM, a name of the select list.
    pub(super) fn group_item(&self, expr: &'a Expr<'a>) -> Option<Item<'a>> {
        match &expr.kind {
            ExprKind::Column(name) if name.table.is_none() => {
                let named = self.named(name)?;
                if is_nowhere(name.name, self.sources) {
                    return named.map(Item::Visible);
                }
                let found = find(name, self.sources)?;
                // A name for both: servers warn, and take the column.
                match named.and_then(|at| self.visible.get(at)) {
                    Some(visible) if visible.column != Some(found) => None,
                    _ => Some(self.of_from(found)),
                }
            }
            ExprKind::Column(name) => Some(self.of_from(find(name, self.sources)?)),
            ExprKind::Literal(None) => self.position(expr).map(Item::Visible),
            _ if self.is_number(expr) && self.reads_tables_only(expr) => {
                Some(self.same_text(expr).map_or(Item::Expr(expr), Item::Visible))
            }
            _ => None,
        }
    }

    /// Can equal values of an item be told by what shards send next to each other?
    pub(super) fn can_group(&self, item: &Item<'a>) -> bool {
        let column = match item {
            Item::Visible(at) => self.visible.get(*at).and_then(|v| v.column),
            Item::Column(found) => Some(*found),
            _ => None,
        };
        let kind = match (column, item) {
            (Some(found), _) => self.column_kind(found),
            (None, Item::Visible(at)) => {
                let expr = self.visible.get(*at).and_then(|v| v.expr);
                expr.filter(|e| self.is_number(e)).map(|_| Kind::Number)
            }
            (None, Item::Expr(expr)) => self.is_number(expr).then_some(Kind::Number),
            _ => None,
        };
        kind.is_some_and(|kind| kind.groups(column.and_then(|c| c.column.length)))
    }
}
