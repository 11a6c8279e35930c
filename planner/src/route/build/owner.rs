//! Conditions on one table alone, which its rows must meet wherever they are read.
use super::functions::is_sure;
use super::refs::{Entry, References};
use super::system;
use crate::sql::ast::*;

impl<'a> References<'_, '_, 'a> {
    /// The one table that a condition is about, where that is certain, and its value sure.
    pub(super) fn owner(&self, condition: &Expr<'a>, entries: &[Entry<'a>]) -> Option<usize> {
        let mut owner = None;
        self.owned(condition, entries, &mut owner)?;
        owner
    }

    fn owned(
        &self,
        expr: &Expr<'a>,
        entries: &[Entry<'a>],
        owner: &mut Option<usize>,
    ) -> Option<()> {
        let mut all =
            |list: &[Expr<'a>]| list.iter().try_for_each(|e| self.owned(e, entries, owner));
        match &expr.kind {
            ExprKind::Column(c) => {
                let at = self.table_of(c, entries)?;
                (*owner.get_or_insert(at) == at).then_some(())
            }
            ExprKind::Literal(_) | ExprKind::Null | ExprKind::Bool | ExprKind::Param(_) => Some(()),
            ExprKind::And(list)
            | ExprKind::Or(list)
            | ExprKind::Row(list)
            | ExprKind::Other(list) => all(list),
            ExprKind::Not(e) => self.owned(e, entries, owner),
            ExprKind::Compare { sides, .. } => all(sides.as_slice()),
            ExprKind::InList { left, list, .. } => {
                all(std::slice::from_ref(*left))?;
                all(list)
            }
            ExprKind::InCollapsed { left, .. } => self.owned(left, entries, owner),
            ExprKind::Call(call) => {
                // The selected database is put into the text.
                if system::is_database(call) {
                    return Some(());
                }
                let sure =
                    call.database.is_none() && !call.window && !call.distinct && is_sure(call.name);
                sure.then_some(())?;
                all(call.args)
            }
            ExprKind::Variable
            | ExprKind::Default
            | ExprKind::InQuery { .. }
            | ExprKind::Exists(_)
            | ExprKind::Subquery(_)
            | ExprKind::Star(_) => None,
        }
    }

    pub(super) fn table_of(&self, column: &ColumnName<'_>, entries: &[Entry<'a>]) -> Option<usize> {
        let exposed = |entry: &Entry<'a>| match entry {
            Entry::Reference(at) => self.list.get(*at).map(|r| r.name.exposed()),
            Entry::Derived { name, .. } | Entry::Other(name) => *name,
        };
        let has = |entry: &Entry<'a>| match entry {
            Entry::Reference(at) => self.list.get(*at).is_none_or(|r| {
                !r.table.columns_complete || crate::column::find(r.table, column.name).is_some()
            }),
            Entry::Derived { .. } | Entry::Other(_) => true,
        };
        let mut found = entries.iter().filter(|e| match column.table {
            Some(table) => exposed(e) == Some(table),
            None => has(e),
        });
        match (found.next(), found.next()) {
            (Some(entry @ Entry::Reference(at)), None) if has(entry) => Some(*at),
            _ => None,
        }
    }
}
