//! Vindexes as tables: `SELECT id, keyspace_id, shard FROM hash WHERE id = 5` says where a value
//! lies. Answered from the snapshot.
//!
//! <https://vitess.io/docs/reference/features/vindexes/#query-vindex-functions>
use super::{Planner, session_plan};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::keyrange::to_hex;
use crate::literal::const_value;
use crate::plan::{Operand, Plan, SessionAction, StatementClass};
use crate::snapshot::Keyspace;
use crate::sql::ast::{Body, CompareOp, Expr, ExprKind, Query, Select, TableExpr, TableName};
use crate::value::Value;
use crate::vindex::{Mapping, Vindex};

const COLUMNS: [&str; 6] =
    ["id", "keyspace_id", "range_start", "range_end", "hex_keyspace_id", "shard"];

type Cells = Vec<Option<Vec<u8>>>;

fn unsupported(what: &str) -> PlanError {
    PlanError::unsupported(format!("{what} in a query of a vindex"))
}

impl<'a> Planner<'_, 'a> {
    /// `None`: the query reads no vindex.
    pub(super) fn vindex_rows(&mut self, query: &'a Query<'a>) -> Result<Option<Plan>, PlanError> {
        let Body::Select(select) = query.first else { return Ok(None) };
        let [TableExpr::Table(name)] = select.from else { return Ok(None) };
        let Some((keyspace, vindex)) = self.vindex_named(name) else { return Ok(None) };
        let Some(vindex) = vindex else {
            return Err(unsupported("a lookup vindex, or one of several columns,"));
        };
        let plain = query.rest.is_empty() && query.ctes.is_empty() && query.order.is_empty();
        let rest =
            select.distinct || !select.group.is_empty() || select.having.is_some() || select.into;
        if !plain || query.limit.is_some() || query.locking || rest {
            return Err(unsupported("anything but a list of columns and a WHERE"));
        }
        let columns = chosen(select)?;
        let values = self.sought_values(select)?;
        let mut rows = Vec::new();
        for value in values.iter().flatten() {
            if let Some(row) = row_of(keyspace, vindex, value) {
                rows.push(
                    columns
                        .iter()
                        .map(|(at, _)| row.get(*at).cloned().flatten())
                        .collect(),
                );
            }
        }
        let names = columns.into_iter().map(|(_, name)| name).collect();
        let action = SessionAction::VindexRows { columns: names, rows };
        Ok(Some(session_plan(action, StatementClass::Select)))
    }

    /// The vindex of a name that no table has. Inside `None`: one that no single value maps to an
    /// id.
    #[allow(clippy::type_complexity)]
    fn vindex_named(&self, name: &TableName<'_>) -> Option<(&'a Keyspace, Option<&'a dyn Vindex>)> {
        let all = &self.input.snapshot.keyspaces;
        let has = |keyspace: &Keyspace| {
            !keyspace.tables.contains_key(name.name) && keyspace.vindexes.contains_key(name.name)
        };
        let keyspace = match (name.database, self.input.session.keyspace) {
            (Some(database), _) => all.iter().find(|k| k.name == database)?,
            (None, Some(own)) if self.keyspace(own).is_some_and(has) => self.keyspace(own)?,
            (None, _) => {
                let table = all.iter().any(|k| k.tables.contains_key(name.name));
                let mut found = all.iter().filter(|k| has(k));
                found.next().filter(|_| !table && found.next().is_none())?
            }
        };
        if !has(keyspace) {
            return None;
        }
        let def = keyspace.vindexes.get(name.name)?;
        let vindex = def.vindex.as_deref();
        Some((keyspace, vindex.filter(|vindex| vindex.max_columns() == 1)))
    }

    /// Those of `id = value` and `id IN (...)`, as text with its meaning. `None` in it: NULL, or a
    /// parameter, whose value comes later.
    fn sought_values(&self, select: &Select<'a>) -> Result<Vec<Option<Sought>>, PlanError> {
        let wrong = || {
            PlanError::unsupported(
                "where clause for vindex function must be of the form id = <val> or id in (<val>, \
                    ...)",
            )
        };
        let filter = select.filter.as_ref().ok_or_else(wrong)?;
        let is_id = |expr: &Expr<'_>| {
            matches!(expr.kind,
            ExprKind::Column(c) if c.name.eq_ignore_ascii_case("id"))
        };
        let value = |expr: &Expr<'a>| {
            let operand = self.operand(expr).ok_or_else(wrong)?;
            Ok(self.known(&operand))
        };
        match &filter.kind {
            ExprKind::Compare { op: CompareOp::Eq, sides } => {
                let [left, right] = sides;
                match (is_id(left), is_id(right)) {
                    (true, false) => Ok(vec![value(right)?]),
                    (false, true) => Ok(vec![value(left)?]),
                    _ => Err(wrong()),
                }
            }
            ExprKind::InList { left, not: false, list } if is_id(left) => {
                list.iter().map(value).collect()
            }
            ExprKind::InCollapsed { left, not: false, list } if is_id(left) => {
                let fingerprint = self.input.fingerprint;
                let items = fingerprint.lists.get(usize::from(*list));
                let items =
                    items.and_then(|l| fingerprint.items.get(l.start as usize..l.end as usize));
                let mut buffer = Vec::new();
                let known = items.ok_or_else(wrong)?.iter().map(|item| {
                    let value = literal_value(
                        self.input.sql,
                        item,
                        &mut buffer,
                        self.input.session.sql_mode,
                    );
                    Sought::of(&value)
                });
                Ok(known.collect())
            }
            _ => Err(wrong()),
        }
    }

    fn known(&self, operand: &Operand) -> Option<Sought> {
        let (sql, mode) = (self.input.sql, self.input.session.sql_mode);
        let mut buffer = Vec::new();
        match operand {
            Operand::Literal(n) => {
                let literal = self.input.fingerprint.literals.get(usize::from(*n))?;
                Sought::of(&literal_value(sql, literal, &mut buffer, mode))
            }
            Operand::Const(text) => Sought::of(&const_value(text, &mut buffer, mode)?),
            Operand::Null | Operand::Param(_) | Operand::InsertId => None,
        }
    }
}

/// A value of its own.
enum Sought {
    Int(i64),
    UInt(u64),
    Bytes(Vec<u8>),
}

impl Sought {
    fn of(value: &Value<'_>) -> Option<Self> {
        Some(match *value {
            Value::Int(n) => Self::Int(n),
            Value::UInt(n) => Self::UInt(n),
            Value::Null | Value::Float(_) => return None,
            Value::Bytes(b)
            | Value::Decimal(b)
            | Value::Binary(b)
            | Value::Hex(b)
            | Value::Bits(b) => Self::Bytes(b.to_vec()),
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(n) => Value::Int(*n),
            Self::UInt(n) => Value::UInt(*n),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }

    fn text(&self) -> Vec<u8> {
        match self {
            Self::Int(n) => n.to_string().into_bytes(),
            Self::UInt(n) => n.to_string().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// The columns that are selected, by their place, with the names that the client sees.
fn chosen(select: &Select<'_>) -> Result<Vec<(usize, String)>, PlanError> {
    let mut out = Vec::new();
    for item in select.items {
        match &item.expr.kind {
            ExprKind::Star(_) => out.extend(
                COLUMNS
                    .iter()
                    .enumerate()
                    .map(|(at, name)| (at, (*name).to_owned())),
            ),
            ExprKind::Column(c) if c.name == "*" => {
                out.extend(
                    COLUMNS
                        .iter()
                        .enumerate()
                        .map(|(at, name)| (at, (*name).to_owned())),
                );
            }
            ExprKind::Column(c) => {
                let at = COLUMNS
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(c.name));
                let unknown = || PlanError::UnknownColumn {
                    column: c.name.to_owned(),
                    place: "field list".into(),
                };
                out.push((at.ok_or_else(unknown)?, item.alias.unwrap_or(c.name).to_owned()));
            }
            _ => return Err(unsupported("an expression")),
        }
    }
    Ok(out)
}

/// Where a value lies; `None`: nowhere.
fn row_of(keyspace: &Keyspace, vindex: &dyn Vindex, sought: &Sought) -> Option<Cells> {
    let id = Some(sought.text());
    let cells = |id: Option<Vec<u8>>, keyspace_id: &[u8]| {
        let shard = keyspace.shard_for(keyspace_id)?;
        let shard = keyspace.shards.get(usize::from(shard))?;
        Some(vec![
            id,
            Some(keyspace_id.to_vec()),
            Some(shard.range.start.clone()),
            Some(shard.range.end.clone()),
            Some(to_hex(keyspace_id).into_bytes()),
            Some(shard.name.clone().into_bytes()),
        ])
    };
    match vindex.map(&[sought.value()]).ok()? {
        Mapping::Id(found) => cells(id, &found),
        Mapping::Range(range) => {
            Some(vec![id, None, Some(range.start), Some(range.end), None, None])
        }
        Mapping::None => None,
    }
}
