//! The assignments of an UPDATE: whose columns they change, and which values the changing shard can
//! compute itself.
use super::{Columns, Statement, Target, quoted, refused, text_part, verbatim};
use crate::column::find;
use crate::error::PlanError;
use crate::plan::write::{Read, SetPart};
use crate::route::subquery::has_subquery;
use crate::route::{Planner, lookups};
use crate::sql::ast::*;
use crate::sql::walk::{Visitor, Walk};

/// Which vindexes' columns an UPDATE changes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Assigned {
    /// Of lookup vindexes that the table owns.
    pub(super) lookups: bool,
    /// Of the primary vindex: rows may move.
    pub(super) primary: bool,
    /// All entries of the rows change.
    pub(super) all: bool,
}

impl Assigned {
    pub(super) fn any(self) -> bool {
        self.lookups || self.primary
    }
}

/// The columns that an expression names.
#[derive(Default)]
pub(in crate::route) struct Named<'a> {
    pub(in crate::route) columns: Vec<&'a ColumnName<'a>>,
    pub(super) calls: Vec<&'a str>,
}

impl<'a> Visitor<'a> for Named<'a> {
    fn table(&mut self, _: &'a TableName<'a>) {}

    fn column(&mut self, column: &'a ColumnName<'a>) {
        self.columns.push(column);
    }

    fn call(&mut self, call: &'a Call<'a>) {
        self.calls.push(call.name);
    }
}

impl<'a> Named<'a> {
    pub(in crate::route) fn of(expr: &'a Expr<'a>) -> Self {
        let mut named = Self::default();
        Walk::new(&mut named).expr(expr);
        named
    }
}

impl<'a> Planner<'_, 'a> {
    /// The tables that are changed, with their assignments.
    pub(super) fn assigned_targets(
        &self,
        statement: &Statement<'a>,
        set: &'a [Assign<'a>],
    ) -> Result<Vec<(Target<'a>, Vec<&'a Assign<'a>>)>, PlanError> {
        let mut targets: Vec<(Target<'a>, Vec<&'a Assign<'a>>)> = Vec::new();
        for assign in set {
            let name = self.assigned_name(statement, assign.column)?;
            match targets.iter_mut().find(|(t, _)| std::ptr::eq(t.name, name)) {
                Some((_, list)) => list.push(assign),
                None => targets.push((self.target(name)?, vec![assign])),
            }
        }
        Ok(targets)
    }

    fn assigned_name(
        &self,
        statement: &Statement<'a>,
        column: &ColumnName<'_>,
    ) -> Result<&'a TableName<'a>, PlanError> {
        let fits = |name: &&&'a TableName<'a>| match column.table {
            Some(table) => {
                name.exposed() == table
                    && column
                        .database
                        .is_none_or(|d| name.database.is_none_or(|own| own == d))
            }
            None => {
                statement.alone
                    || self.target(name).is_ok_and(|t| {
                        find(t.table, column.name).is_some() || !t.table.columns_complete
                    })
            }
        };
        let mut found = statement.names.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            (None, _) => Err(PlanError::UnknownColumn {
                column: column.name.to_owned(),
                place: "field list".into(),
            }),
            _ => refused(format!("an assignment to '{}' without its table's name", column.name)),
        }
    }

    /// Which vindexes an UPDATE of a table touches.
    pub(super) fn assigned_vindexes(
        &self,
        target: &Target<'a>,
        set: &[&'a Assign<'a>],
    ) -> Result<Assigned, PlanError> {
        let mut found = Assigned::default();
        for (n, vindex) in target.table.column_vindexes.iter().enumerate() {
            let assigned = |c: &String| set.iter().any(|a| a.column.name.eq_ignore_ascii_case(c));
            let Some(column) = vindex.columns.iter().find(|c| assigned(c)) else { continue };
            if n == 0 {
                found.primary = true;
                found.all = true;
            } else if lookups::is_kept(target.table, vindex)
                || lookups::verified(target.table).any(|v| std::ptr::eq(v, vindex))
            {
                found.lookups = true;
            } else if vindex.vindex.lookup.as_ref().is_some_and(|def| {
                def.from.len() == vindex.columns.len() && (def.no_verify || def.write_only)
            }) {
                // Another table's, whose entries are not asked for.
            } else if target
                .table
                .column_vindexes
                .first()
                .is_none_or(|p| p.columns != vindex.columns)
            {
                return refused(format!(
                    "UPDATE of vindex column '{column}' of '{}'",
                    target.table.name
                ));
            }
        }
        Ok(found)
    }

    /// The assignments' text. Values that need other tables are read with the rows: where, is told
    /// for each assignment.
    pub(super) fn set_parts(
        &self,
        statement: &Statement<'a>,
        target: &Target<'a>,
        set: &[&'a Assign<'a>],
        columns: &mut Columns,
    ) -> Result<(Vec<SetPart>, Vec<Option<Read>>), PlanError> {
        let (mut parts, mut reads) = (Vec::new(), Vec::new());
        let mut before: Vec<&str> = Vec::new();
        for (n, assign) in set.iter().enumerate() {
            if n > 0 {
                parts.push(text_part(vec![verbatim(", ")]));
            }
            if self.is_own(statement, target, &assign.value) {
                parts.push(text_part(self.edits.pieces(self.input.sql, self.tokens, assign.span)));
                reads.push(None);
            } else {
                self.unchanged_before(&assign.value, &before)?;
                let read = self.read_value(statement, target, assign, columns)?;
                parts.push(text_part(vec![verbatim(format!("{} = ", quoted(assign.column.name)))]));
                parts.push(SetPart::Value(read));
                reads.push(Some(read));
            }
            if statement.alone {
                before.push(assign.column.name);
            }
        }
        Ok((parts, reads))
    }

    /// A value that the query reads.
    fn read_value(
        &self,
        statement: &Statement<'a>,
        target: &Target<'a>,
        assign: &Assign<'a>,
        columns: &mut Columns,
    ) -> Result<Read, PlanError> {
        let value = &assign.value;
        let mut read = |tail: &str| {
            let mut pieces = vec![verbatim("(")];
            pieces.extend(self.raw(statement, value.span));
            pieces.push(verbatim(format!("){tail} AS `_coregate_v{}`", columns.list.len())));
            columns.add(pieces)
        };
        let is_column = matches!(value.kind, ExprKind::Column(_));
        if is_column && self.may_be_float(statement, value) {
            return Ok(Read { place: read("+0e0")?, double: None });
        }
        let place = read("")?;
        let to_double = find(target.table, assign.column.name)
            .is_some_and(|c| matches!(c.data_type.as_str(), "double" | "real" | "float"));
        let double = if to_double && !is_column { Some(read("+0e0")?) } else { None };
        Ok(Read { place, double })
    }

    /// Assignments are made from left to right: a value that is read with the row must not name a
    /// column that has another by then.
    pub(super) fn unchanged_before(
        &self,
        value: &'a Expr<'a>,
        before: &[&str],
    ) -> Result<(), PlanError> {
        let named = Named::of(value);
        let changed = named
            .columns
            .iter()
            .find(|c| before.iter().any(|b| b.eq_ignore_ascii_case(c.name)));
        match changed {
            None => Ok(()),
            Some(column) => refused(format!(
                "an assignment over several shards that reads '{}', which is assigned before it",
                column.name
            )),
        }
    }

    fn may_be_float(&self, statement: &Statement<'a>, value: &Expr<'a>) -> bool {
        let ExprKind::Column(column) = &value.kind else { return false };
        statement.names.iter().any(|name| {
            self.target(name)
                .is_ok_and(|t| find(t.table, column.name).is_some_and(|c| c.data_type == "float"))
        })
    }

    /// Does it read the changed row alone?
    fn is_own(&self, statement: &Statement<'a>, target: &Target<'a>, value: &'a Expr<'a>) -> bool {
        if has_subquery(value) {
            return false;
        }
        let exposed = target.name.exposed();
        Named::of(value)
            .columns
            .iter()
            .all(|column| match column.table {
                _ if statement.alone => true,
                Some(table) => table == exposed,
                None => {
                    // Only tables whose columns are all known can be told apart.
                    let known = statement.tables.iter().all(is_base) && statement.ctes.is_empty();
                    known
                        && target.table.columns_complete
                        && find(target.table, column.name).is_some()
                        && statement.names.iter().all(|name| {
                            std::ptr::eq(*name, target.name)
                                || self.target(name).is_ok_and(|t| {
                                    t.table.columns_complete && find(t.table, column.name).is_none()
                                })
                        })
                }
            })
    }
}

fn is_base(table: &TableExpr<'_>) -> bool {
    match table {
        TableExpr::Table(_) => true,
        TableExpr::Join(join) => is_base(&join.left) && is_base(&join.right),
        TableExpr::List(list) => list.iter().all(is_base),
        TableExpr::Derived(_) | TableExpr::Function { .. } => false,
    }
}
