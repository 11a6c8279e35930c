//! Visits every table and column of a statement, with the names that WITH defines out of the way.
use super::ast::*;

/// What a visitor wants to see.
pub trait Visitor<'a> {
    /// A table of a schema; never a name that WITH defined.
    fn table(&mut self, table: &'a TableName<'a>);
    /// A column, wherever it stands.
    fn column(&mut self, _: &'a ColumnName<'a>) {}
    /// A call, before its arguments.
    fn call(&mut self, _: &'a Call<'a>) {}
    /// A query, before what is in it.
    fn query(&mut self, _: &'a Query<'a>) {}
}

/// Walks a statement. Depth is bounded by the parser.
pub struct Walk<'v, 'a> {
    /// Who is shown what there is.
    pub visitor: &'v mut dyn Visitor<'a>,
    ctes: Vec<&'a str>,
}

impl<'v, 'a> Walk<'v, 'a> {
    /// A walk that knows of no WITH yet.
    pub fn new(visitor: &'v mut dyn Visitor<'a>) -> Self {
        Self { visitor, ctes: Vec::new() }
    }

    /// All of a statement.
    pub fn statement(&mut self, statement: &Statement<'a>) {
        match statement {
            Statement::Query(q) => self.query(q),
            Statement::Insert(s) => {
                self.visitor.table(s.table);
                match &s.source {
                    InsertSource::Collapsed(_) => {}
                    InsertSource::Rows(rows) => rows.iter().for_each(|r| self.exprs(r.values)),
                    InsertSource::Query(q) => self.query(q),
                }
                self.assigns(s.on_duplicate);
                s.returning.iter().for_each(|i| self.expr(&i.expr));
            }
            Statement::Update(s) => self.with(s.ctes, false, |w| {
                w.tables(s.tables);
                w.assigns(s.set);
                w.exprs(s.filter.as_slice());
                w.ordered(s.order);
            }),
            Statement::Delete(s) => self.with(s.ctes, false, |w| {
                w.tables(s.tables);
                w.exprs(s.filter.as_slice());
                w.ordered(s.order);
                s.returning.iter().for_each(|i| w.expr(&i.expr));
            }),
            Statement::Explain(s) => {
                if let Some(inner) = s.inner {
                    self.statement(inner);
                }
                s.table.into_iter().for_each(|t| self.visitor.table(t));
            }
            Statement::Do(list) => self.exprs(list),
            Statement::LockTables(names) | Statement::Admin(names) | Statement::Flush(names) => {
                names.iter().for_each(|t| self.visitor.table(t));
            }
            Statement::Ddl(s) => s.tables.iter().for_each(|t| self.visitor.table(t)),
            Statement::LoadData(table) => table.iter().for_each(|t| self.visitor.table(t)),
            _ => {}
        }
    }

    fn with(&mut self, ctes: &'a [Cte<'a>], recursive: bool, inside: impl FnOnce(&mut Self)) {
        let before = self.ctes.len();
        if recursive {
            self.ctes.extend(ctes.iter().map(|c| c.name));
        }
        for cte in ctes {
            self.query(cte.query);
            self.ctes.push(cte.name);
        }
        inside(self);
        self.ctes.truncate(before);
    }

    /// A query and what is in it.
    pub fn query(&mut self, query: &'a Query<'a>) {
        self.visitor.query(query);
        self.with(query.ctes, query.recursive, |w| {
            w.body(&query.first);
            query.rest.iter().for_each(|(_, b)| w.body(b));
            w.ordered(query.order);
        });
    }

    fn body(&mut self, body: &'a Body<'a>) {
        match body {
            Body::Select(s) => {
                s.items.iter().for_each(|i| self.expr(&i.expr));
                self.tables(s.from);
                self.exprs(s.filter.as_slice());
                self.ordered(s.group);
                self.exprs(s.having.as_slice());
                self.exprs(s.windows);
            }
            Body::Values(rows) => self.exprs(rows),
            Body::Table(t) => self.table(t),
            Body::Nested(q) => self.query(q),
        }
    }

    fn table(&mut self, table: &'a TableName<'a>) {
        if table.database.is_some() || !self.ctes.contains(&table.name) {
            self.visitor.table(table);
        }
    }

    /// The items of a FROM.
    pub fn tables(&mut self, tables: &'a [TableExpr<'a>]) {
        for table in tables {
            match table {
                TableExpr::Table(t) => self.table(t),
                TableExpr::Derived(d) => self.query(d.query),
                TableExpr::Join(j) => {
                    self.tables(std::slice::from_ref(&j.left));
                    self.tables(std::slice::from_ref(&j.right));
                    self.exprs(j.on.as_slice());
                }
                TableExpr::List(list) => self.tables(list),
                TableExpr::Function { args, .. } => self.exprs(args),
            }
        }
    }

    fn assigns(&mut self, list: &'a [Assign<'a>]) {
        for assign in list {
            self.visitor.column(assign.column);
            self.expr(&assign.value);
        }
    }

    fn ordered(&mut self, list: &'a [Ordered<'a>]) {
        list.iter().for_each(|o| self.expr(&o.expr));
    }

    /// Each of these expressions.
    pub fn exprs(&mut self, list: &'a [Expr<'a>]) {
        list.iter().for_each(|e| self.expr(e));
    }

    /// An expression and what is in it.
    pub fn expr(&mut self, expr: &'a Expr<'a>) {
        match &expr.kind {
            ExprKind::Column(c) => self.visitor.column(c),
            ExprKind::And(list)
            | ExprKind::Or(list)
            | ExprKind::Row(list)
            | ExprKind::Other(list) => self.exprs(list),
            ExprKind::Not(e) => self.expr(e),
            ExprKind::Compare { sides, .. } => self.exprs(sides.as_slice()),
            ExprKind::InList { left, list, .. } => {
                self.expr(left);
                self.exprs(list);
            }
            ExprKind::InCollapsed { left, .. } => self.expr(left),
            ExprKind::InQuery { left, query, .. } => {
                self.expr(left);
                self.query(query);
            }
            ExprKind::Call(call) => {
                self.visitor.call(call);
                self.exprs(call.args);
            }
            ExprKind::Exists(q) | ExprKind::Subquery(q) => self.query(q),
            ExprKind::Literal(_)
            | ExprKind::Null
            | ExprKind::Bool
            | ExprKind::Param(_)
            | ExprKind::Variable
            | ExprKind::Default
            | ExprKind::Star(_) => {}
        }
    }
}
