//! Changes of tables that own lookup vindexes: what must be known to keep these right.
use super::Planner;
use super::dml::changed_tables;
use super::names::Place;
use super::text::Edits;
use crate::column::{Family, find};
use crate::error::PlanError;
use crate::lookup::{LookupDef, Written};
use crate::plan::maintain::{
    ChangeEntries, ChangedEntries, EntryValues, InsertEntries, Maintain, Owner,
};
use crate::plan::{Action, Operand, Piece, Plan};
use crate::snapshot::{Column, ColumnVindex, KeyspaceIdx, Table};
use crate::sql::ast::{
    Assign, Delete, Expr, ExprKind, Insert, InsertSource, Span, Statement, TableExpr, TableName,
    Update,
};
use crate::sql::keyword::Kw;
use smallvec::SmallVec;

/// The place of a value that the statement leaves out, which is NULL then.
const LEFT_OUT: u16 = u16::MAX;

/// The lookup vindexes that a table keeps right.
pub(super) fn owned(table: &Table) -> impl Iterator<Item = &ColumnVindex> {
    table.column_vindexes.iter().filter(|v| {
        v.vindex.vindex.is_none() && v.vindex.owner.as_deref() == Some(table.name.as_str())
    })
}

/// The lookup vindexes of other tables, whose entries for the values of new rows must be there.
fn checked<'t>(table: &'t Table, columns: &'t [String]) -> impl Iterator<Item = &'t ColumnVindex> {
    verified(table).filter(|v| v.columns.iter().all(|c| columns.contains(c)))
}

/// The same, whichever columns have values.
pub(super) fn verified(table: &Table) -> impl Iterator<Item = &ColumnVindex> {
    table.column_vindexes.iter().skip(1).filter(|v| {
        let known = v
            .vindex
            .lookup
            .as_ref()
            .filter(|def| def.from.len() == v.columns.len());
        known.is_some_and(|def| !def.no_verify && !def.write_only)
            && v.vindex.owner.as_deref() != Some(table.name.as_str())
    })
}

/// Refuses a statement that cannot keep a table's lookup vindexes right.
pub(super) fn refuse_owner(table: &Table, what: &str) -> Result<(), PlanError> {
    match owned(table).next() {
        None => Ok(()),
        Some(_) => Err(PlanError::unsupported(format!(
            "{what} into '{}', which owns a lookup vindex",
            table.name
        ))),
    }
}

/// Does the table keep this vindex right?
pub(super) fn is_kept(table: &Table, vindex: &ColumnVindex) -> bool {
    vindex.vindex.lookup.is_some() && vindex.vindex.owner.as_deref() == Some(table.name.as_str())
}

/// `DEFAULT` of a column whose default is NULL.
pub(super) fn null_by_default(value: &Expr<'_>, table: &Table, column: &str) -> Option<Operand> {
    let null = find(table, column).is_some_and(|c| c.null_default);
    (matches!(value.kind, ExprKind::Default) && null).then_some(Operand::Null)
}

/// Gives a plan for a change what it must do before.
pub(super) fn with(mut plan: Plan, maintain: Option<Maintain>) -> Plan {
    if let (Action::Route(route), Some(maintain)) = (&mut plan.action, maintain) {
        route.maintain = Some(Box::new(maintain));
    }
    plan
}

impl<'a> Planner<'_, 'a> {
    /// Does the statement change a table that owns lookup vindexes? Their entries are kept in a
    /// sharded keyspace of one shard too, where no read needs them: it may get more.
    pub(super) fn keeps_entries(&self, statement: &Statement<'a>) -> bool {
        changed_tables(statement)
            .into_iter()
            .any(|name| match self.locate(name) {
                Ok(Place::Table { keyspace, table: Some(table) }) => {
                    !self.is_served_whole(keyspace, table)
                }
                _ => false,
            })
    }

    /// Can one server make every change of the table, without more?
    pub(super) fn is_served_whole(&self, keyspace: KeyspaceIdx, table: &Table) -> bool {
        let keeps = owned(table).next().is_some() || verified(table).next().is_some();
        self.is_whole(keyspace) && !(keeps && self.keyspace(keyspace).is_some_and(|k| k.sharded))
    }

    /// The entries of new rows.
    pub(super) fn inserted_entries(
        &self,
        table: &Table,
        insert: &Insert<'a>,
        columns: &[String],
    ) -> Result<Option<Maintain>, PlanError> {
        let mut all = Vec::new();
        let keyspace = self.keyspace_name(insert.table)?;
        for vindex in owned(table).chain(checked(table, columns)) {
            let check = vindex.vindex.owner.as_deref() != Some(table.name.as_str());
            let refused = |what: &str| {
                PlanError::unsupported(format!(
                    "{what} into '{}', which owns a lookup vindex",
                    table.name
                ))
            };
            let def = vindex
                .vindex
                .lookup
                .clone()
                .ok_or_else(|| refused("INSERT"))?;
            // Entries of rows that are there already, and stay as they are, would be wrong: these
            // go row by row.
            let changes = insert.replace || insert.ignore || !insert.on_duplicate.is_empty();
            if changes && !check {
                return Err(refused("REPLACE, INSERT IGNORE or ON DUPLICATE KEY UPDATE"));
            }
            if def.from.len() != vindex.columns.len() {
                return Err(refused("INSERT of another number of columns than its params name"));
            }
            let mut positions = SmallVec::<[u16; 1]>::new();
            for column in &vindex.columns {
                let at = columns.iter().position(|c| c == column);
                let null = at.is_none() && find(table, column).is_some_and(|c| c.null_default);
                let at =
                    if null { Some(LEFT_OUT) } else { at.and_then(|at| u16::try_from(at).ok()) };
                let at = at.ok_or_else(|| {
                    PlanError::unsupported(format!(
                        "INSERT into '{}' without a value for '{column}', which a lookup vindex \
                            needs; give the value, NULL if it has none",
                        table.name
                    ))
                })?;
                positions.push(at);
            }
            let values = self.entry_values(table, insert, columns, positions)?;
            let owner = Owner::new(keyspace, &table.name, &vindex.columns);
            let not_null = super::insert::not_null(table, &vindex.columns);
            let columns = vindex.columns.join(", ");
            let lengths = vindex.columns.iter().zip(&def.from);
            let lengths = lengths
                .map(|(own, there)| self.kept_length(table, own, &def, there))
                .collect();
            let families = vindex.columns.iter();
            let families = families
                .map(|column| Family::of_column(table, column))
                .collect();
            let entries =
                InsertEntries { def, values, check, columns, not_null, lengths, families, owner };
            all.push(entries);
        }
        Ok((!all.is_empty()).then_some(Maintain::Insert(all)))
    }

    /// Where the rows of an INSERT have a lookup vindex's values.
    fn entry_values(
        &self,
        table: &Table,
        insert: &Insert<'a>,
        columns: &[String],
        positions: SmallVec<[u16; 1]>,
    ) -> Result<EntryValues, PlanError> {
        let rows = match insert.source {
            InsertSource::Collapsed(_) => return Ok(EntryValues::Collapsed(positions)),
            InsertSource::Rows(rows) => rows,
            InsertSource::Query(_) => {
                return Err(PlanError::unsupported(format!(
                    "INSERT ... SELECT into '{}', which owns a lookup vindex",
                    table.name
                )));
            }
        };
        let rows = rows.iter().map(|row| {
            let values = positions.iter().map(|at| {
                if *at == LEFT_OUT {
                    return Ok(Operand::Null);
                }
                let column = columns.get(usize::from(*at)).map_or("", String::as_str);
                let value = row.values.get(usize::from(*at));
                value
                    .and_then(|v| null_by_default(v, table, column).or_else(|| self.operand(v)))
                    .ok_or_else(|| PlanError::NotALiteral(column.to_owned()))
            });
            values.collect::<Result<SmallVec<[Operand; 1]>, _>>()
        });
        Ok(EntryValues::Operands(rows.collect::<Result<_, _>>()?))
    }

    /// The entries of rows that go.
    pub(super) fn deleted_entries(
        &self,
        table: &Table,
        name: &TableName<'a>,
        delete: &Delete<'a>,
    ) -> Result<Option<Maintain>, PlanError> {
        let vindexes: Vec<&ColumnVindex> = owned(table).collect();
        if vindexes.is_empty() {
            return Ok(None);
        }
        let one = matches!(delete.tables, [TableExpr::Table(_)]) && delete.targets.len() <= 1;
        if !one || delete.ignore || !delete.ctes.is_empty() {
            return Err(PlanError::unsupported(format!(
                "DELETE of several tables, or with IGNORE or WITH, from '{}', which owns a lookup \
                    vindex",
                table.name
            )));
        }
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        let end = self
            .returning(delete.returning)
            .map_or(end, |span| span.start);
        let tail = self.pieces(Span { start: name.full_span.start, end });
        self.change((name, table), &vindexes, tail, &|_| None)
    }

    /// The entries of rows whose lookup columns change.
    pub(super) fn updated_entries(
        &self,
        table: &Table,
        name: &TableName<'a>,
        update: &Update<'a>,
    ) -> Result<Option<Maintain>, PlanError> {
        let assigned = |column: &String| {
            update
                .set
                .iter()
                .rev()
                .find(|assign| assign.column.name.eq_ignore_ascii_case(column))
        };
        let vindexes: Vec<&ColumnVindex> = owned(table)
            .filter(|v| v.columns.iter().any(|column| assigned(column).is_some()))
            .collect();
        if vindexes.is_empty() {
            return Ok(None);
        }
        let refused = |what: &str| {
            PlanError::unsupported(format!(
                "UPDATE of a lookup vindex's column of '{}' {what}",
                table.name
            ))
        };
        let one = matches!(update.tables, [TableExpr::Table(_)]) && update.ctes.is_empty();
        if !one || update.ignore {
            return Err(refused("together with other tables, or with IGNORE"));
        }
        for vindex in &vindexes {
            let def = vindex.vindex.lookup.as_ref();
            if def.is_some_and(|def| def.loose) {
                return Err(refused("whose lookup table holds numbers"));
            }
            let columns = vindex
                .columns
                .iter()
                .zip(def.iter().flat_map(|def| &def.from));
            for (own, there) in columns {
                // Such a text is looked at again where it is stored.
                if let Some(def) = def
                    && self.kept_length(table, own, def, there) != u32::MAX
                {
                    return Err(refused("whose lookup table keeps texts of another length"));
                }
            }
        }
        for column in vindexes.iter().flat_map(|v| &v.columns) {
            if let Some(Assign { value, .. }) = assigned(column)
                && (self.operand(value).is_none() || matches!(value.kind, ExprKind::Default))
            {
                return Err(refused("to something else than a literal or a parameter"));
            }
        }
        let Some(last) = update.set.last() else { return Ok(None) };
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        let mut tail = self.pieces(name.full_span);
        tail.push(Piece::Verbatim(b" ".to_vec()));
        // Behind the value only parentheses can stand before the next clause.
        let clause = self.tokens.items.iter().find(|item| {
            item.span.start >= last.value.span.end
                && matches!(item.kw, Kw::Where | Kw::Order | Kw::Limit)
        });
        let start = clause.map_or(end, |item| item.span.start);
        tail.extend(self.pieces(Span { start, end }));
        self.change((name, table), &vindexes, tail, &|column| {
            assigned(column).map(|assign| self.pieces(assign.value.span))
        })
    }

    /// How many characters of a text its column keeps; `u32::MAX`: as many as the lookup table's
    /// column, or it is no text.
    fn kept_length(&self, table: &Table, own: &str, def: &LookupDef, there: &str) -> u32 {
        if def.loose {
            return u32::MAX;
        }
        let snapshot = self.input.snapshot;
        let name = def.table.trim_matches('`');
        let lookup = match name.split_once("`.`") {
            Some((keyspace, name)) => {
                let mut keyspaces = snapshot.keyspaces.iter();
                keyspaces
                    .find(|k| k.name == keyspace)
                    .and_then(|k| k.tables.get(name))
            }
            None => None,
        };
        let there = lookup.and_then(|t| find(t, there));
        match find(table, own) {
            Some(own) if matches!(own.data_type.as_str(), "char" | "varchar") => match there {
                Some(there) if there.data_type == own.data_type && there.length == own.length => {
                    u32::MAX
                }
                _ => own.length.unwrap_or(u32::MAX),
            },
            _ => u32::MAX,
        }
    }

    /// As the client wrote it: it is planned again.
    fn pieces(&self, span: Span) -> Vec<Piece> {
        Edits::default().pieces(self.input.sql, self.tokens, span)
    }

    pub(super) fn keyspace_name(&self, name: &TableName<'_>) -> Result<&'a str, PlanError> {
        Ok(match self.locate(name)? {
            Place::Table { keyspace, .. } => {
                self.keyspace(keyspace).map_or("", |k| k.name.as_str())
            }
            Place::System => "",
        })
    }

    /// `tail`: the table and everything that chooses its rows.
    fn change(
        &self,
        (name, table): (&TableName<'a>, &Table),
        vindexes: &[&ColumnVindex],
        tail: Vec<Piece>,
        new: &dyn Fn(&String) -> Option<Vec<Piece>>,
    ) -> Result<Option<Maintain>, PlanError> {
        let keyspace = self.keyspace_name(name)?;
        let refused = |what: &str| {
            PlanError::unsupported(format!(
                "changing rows of '{}', which owns a lookup vindex, {what}",
                table.name
            ))
        };
        let primary = table.column_vindexes.first();
        let (primary, vindex) = primary
            .and_then(|p| Some((p, p.vindex.vindex.clone()?)))
            .ok_or_else(|| refused("whose primary vindex is a lookup, too"))?;
        let mut selected: Vec<String> = Vec::new();
        let mut place = |column: &String| -> Result<(u16, Written), PlanError> {
            let known =
                find(table, column).ok_or_else(|| refused("whose columns are not known"))?;
            let (text, written) =
                read_as(known, "").ok_or_else(|| refused("by a column of such a type"))?;
            let at = selected.iter().position(|s| *s == text).unwrap_or_else(|| {
                selected.push(text);
                selected.len() - 1
            });
            Ok((u16::try_from(at).unwrap_or(u16::MAX), written))
        };
        for column in &primary.columns {
            place(column)?;
        }
        let mut lookups = Vec::new();
        for vindex in vindexes {
            let def = vindex
                .vindex
                .lookup
                .clone()
                .ok_or_else(|| refused("of a type that is not kept yet"))?;
            if def.from.len() != vindex.columns.len() {
                return Err(refused("whose params name another number of columns"));
            }
            lookups.push(ChangedEntries {
                def,
                owner: Owner::new(keyspace, &table.name, &vindex.columns),
                columns: vindex
                    .columns
                    .iter()
                    .map(&mut place)
                    .collect::<Result<_, _>>()?,
                new: vindex.columns.iter().map(new).collect(),
            });
        }
        let mut query =
            vec![Piece::Verbatim(format!("SELECT {} FROM ", selected.join(",")).into_bytes())];
        query.extend(tail);
        query.push(Piece::Verbatim(b" FOR UPDATE".to_vec()));
        let families = primary
            .columns
            .iter()
            .map(|c| Family::of_column(table, c))
            .collect();
        Ok(Some(Maintain::Change(Box::new(ChangeEntries { query, vindex, families, lookups }))))
    }
}

/// How a column is read so that its value can be written again. `table`: a name before it, in
/// quotes, or nothing.
pub(crate) fn read_as(column: &Column, table: &str) -> Option<(String, Written)> {
    let dot = if table.is_empty() { "" } else { "." };
    let name = format!("{table}{dot}`{}`", column.name.replace('`', "``"));
    let bytes = format!("CAST({name} AS BINARY)");
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" | "year" => (name, Written::Number),
        "date" | "datetime" | "timestamp" | "time" => (name, Written::Quoted),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            (bytes, Written::Bytes)
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            let charset = column.charset.clone().or_else(|| {
                let collation = column.collation.as_deref()?;
                collation.split('_').next().map(str::to_owned)
            })?;
            if charset.starts_with("utf8mb") {
                (bytes, Written::Text(charset))
            } else {
                // As vindexes map it.
                let text = format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)");
                (text, Written::Text("utf8mb4".into()))
            }
        }
        _ => return None,
    })
}
