//! What is read of a row before and behind a change that lookup tables, or the row's own place,
//! depend on.
use super::set::{Assigned, Named};
use super::{Columns, Statement, Target, keys, quoted, refused, verbatim};
use crate::column::{Family, find};
use crate::error::PlanError;
use crate::lookup::Written;
use crate::plan::maintain::Owner;
use crate::plan::write::{ByVindex, Change, Image, ImageEntry, KeyPart, Moves, Read};
use crate::route::Planner;
use crate::route::build::{is_sure, transported};
use crate::route::lookups;
use crate::snapshot::{KeyspaceIdx, Table};
use crate::sql::ast::*;
use smallvec::SmallVec;

/// The columns of an image, as they are read behind a table's name and without it.
struct Reads<'t> {
    table: &'t Table,
    list: Vec<(String, Written)>,
    names: Vec<String>,
}

impl Reads<'_> {
    /// What tells a row's place.
    fn by_vindex(&mut self) -> Result<ByVindex, PlanError> {
        let table = self.table;
        let primary = table.column_vindexes.first();
        let Some((primary, vindex)) = primary.and_then(|p| Some((p, p.vindex.vindex.clone()?)))
        else {
            return refused(format!(
                "changing vindex columns of '{}', whose primary vindex is a lookup, too",
                table.name
            ));
        };
        let places = primary
            .columns
            .iter()
            .map(|c| self.add(c).map(|(at, _)| at));
        let places = places.collect::<Result<SmallVec<[u16; 1]>, _>>()?;
        let families = primary
            .columns
            .iter()
            .map(|c| Family::of_column(table, c))
            .collect();
        Ok(ByVindex { vindex, families, places })
    }

    fn add(&mut self, column: &str) -> Result<(u16, Written), PlanError> {
        let at = match self.names.iter().position(|n| n == column) {
            Some(at) => at,
            None => {
                let known = find(self.table, column).and_then(|c| lookups::read_as(c, ""));
                let Some(read) = known else {
                    return refused(format!(
                        "changing rows of '{}', whose vindex column '{column}' is of such a type",
                        self.table.name
                    ));
                };
                self.list.push(read);
                self.names.push(column.to_owned());
                self.names.len() - 1
            }
        };
        let written = self.list.get(at).map_or(Written::Bytes, |(_, w)| w.clone());
        Ok((u16::try_from(at).unwrap_or(u16::MAX), written))
    }
}

/// Which entries the change may touch.
fn entries(
    keyspace: &str,
    table: &Table,
    set: &[&Assign<'_>],
    assigned: Assigned,
    reads: &mut Reads<'_>,
) -> Result<Vec<ImageEntry>, PlanError> {
    let touched = |columns: &[String]| {
        columns
            .iter()
            .any(|c| set.iter().any(|a| a.column.name.eq_ignore_ascii_case(c)))
    };
    let mut entries = Vec::new();
    let own = lookups::owned(table).filter(|v| assigned.all || touched(&v.columns));
    let others = lookups::verified(table).filter(|v| assigned.primary || touched(&v.columns));
    let all = own.map(|v| (v, true)).chain(others.map(|v| (v, false)));
    for (owned, is_owner) in all {
        let Some(def) = owned
            .vindex
            .lookup
            .clone()
            .filter(|d| d.from.len() == owned.columns.len())
        else {
            return refused(format!(
                "changing '{}', whose lookup vindex '{}' is not kept yet",
                table.name, owned.vindex.name
            ));
        };
        let places = owned.columns.iter().map(|c| reads.add(c));
        let owner_of = Owner::new(keyspace, &table.name, &owned.columns);
        entries.push(ImageEntry {
            def,
            owner: owner_of,
            columns: places.collect::<Result<_, _>>()?,
            is_owner,
        });
    }
    Ok(entries)
}

/// The primary key, and what lookup vindexes depend on, of rows that an INSERT may add or change:
/// both in a query of their own.
pub(in crate::route) fn insert_image(
    planner: &Planner<'_, '_>,
    table: &Table,
    name: &TableName<'_>,
) -> Result<(Vec<KeyPart>, Image), PlanError> {
    let (parts, whole_row) = keys::key_of(table, name)?;
    if whole_row {
        return refused(format!(
            "such a statement into '{}', which has no primary key; add one",
            table.name
        ));
    }
    let keyspace = planner.keyspace_name(name)?;
    let key = parts.into_iter().zip(0..).map(|(part, place)| KeyPart {
        place,
        read: part.plain_read,
        test: part.test,
        written: part.written,
    });
    let key: Vec<KeyPart> = key.collect();
    let mut reads = Reads { table, list: Vec::new(), names: Vec::new() };
    let by = reads.by_vindex()?;
    let all = Assigned { lookups: true, primary: false, all: true };
    let lookups = entries(keyspace, table, &[], all, &mut reads)?;
    let list: Vec<&str> = reads.list.iter().map(|(text, _)| text.as_str()).collect();
    let image = Image {
        start: u16::try_from(key.len()).unwrap_or(u16::MAX),
        list: list.join(","),
        width: u16::try_from(list.len()).unwrap_or(u16::MAX),
        by,
        lookups,
        new_key: key
            .iter()
            .map(|part| (part.place, part.written.clone()))
            .collect(),
        moves: None,
    };
    Ok((key, image))
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn image(
        &self,
        statement: &Statement<'a>,
        target: &Target<'a>,
        (set, read): (&[&'a Assign<'a>], &[Option<Read>]),
        assigned: Assigned,
        change: &Change,
        columns: &mut Columns,
    ) -> Result<Image, PlanError> {
        let table = target.table;
        let exposed = quoted(target.name.exposed());
        if change.whole_row {
            return refused(format!(
                "changing vindex columns of '{}', which has no primary key; add one",
                table.name
            ));
        }
        let mut reads = Reads { table, list: Vec::new(), names: Vec::new() };
        let by = reads.by_vindex()?;
        let keyspace = self
            .keyspace(target.keyspace)
            .map_or("", |k| k.name.as_str());
        let entries = entries(keyspace, table, set, assigned, &mut reads)?;
        let start = columns.list.len();
        for name in &reads.names {
            let (text, _) = keys::vindex_value(table, name, &exposed)?;
            columns.add_anew(vec![verbatim(text)]);
        }
        let list: Vec<&str> = reads.list.iter().map(|(text, _)| text.as_str()).collect();
        Ok(Image {
            start: u16::try_from(start).unwrap_or(u16::MAX),
            list: list.join(","),
            width: u16::try_from(list.len()).unwrap_or(u16::MAX),
            by,
            lookups: entries,
            new_key: self.new_key(statement, (set, read), change, columns)?,
            moves: if assigned.primary { Some(self.moves(target)?) } else { None },
        })
    }

    /// Where the key's values behind the change are.
    fn new_key(
        &self,
        statement: &Statement<'a>,
        (set, read): (&[&'a Assign<'a>], &[Option<Read>]),
        change: &Change,
        columns: &mut Columns,
    ) -> Result<Vec<(u16, Written)>, PlanError> {
        let mut out = Vec::new();
        for part in &change.key {
            let test = part.test.to_lowercase();
            let assigned = set
                .iter()
                .rposition(|a| test.contains(&quoted(a.column.name).to_lowercase()));
            let Some((at, assign)) = assigned.and_then(|at| Some((at, *set.get(at)?))) else {
                out.push((part.place, part.written.clone()));
                continue;
            };
            if let Some(read) = read.get(at).copied().flatten()
                && part.test.eq_ignore_ascii_case(&quoted(assign.column.name))
            {
                // As it comes with the rows: text in utf8mb4.
                let written = match &part.written {
                    Written::Text(_) => Written::Text("utf8mb4".into()),
                    written => written.clone(),
                };
                out.push((read.place, written));
                continue;
            }
            let value = &assign.value;
            let named = Named::of(value);
            let sure = named.calls.iter().all(|name| is_sure(name))
                && !matches!(value.kind, ExprKind::Default | ExprKind::Variable)
                && part.test.eq_ignore_ascii_case(&quoted(assign.column.name));
            if !sure {
                return refused(format!(
                    "an assignment to '{}', by which the row is found, of such a value",
                    assign.column.name
                ));
            }
            let before: Vec<&str> = set.iter().take(at).map(|a| a.column.name).collect();
            self.unchanged_before(value, &before)?;
            let (head, tail) = match &part.written {
                Written::Number | Written::Quoted => ("(".to_owned(), ")".to_owned()),
                Written::Bytes => ("CAST((".to_owned(), ") AS BINARY)".to_owned()),
                Written::Text(set) => {
                    ("CAST(CONVERT((".to_owned(), format!(") USING {set}) AS BINARY)"))
                }
            };
            let mut pieces = vec![verbatim(head)];
            pieces.extend(self.raw(statement, value.span));
            pieces.push(verbatim(format!("{tail} AS `_coregate_v{}`", columns.list.len())));
            out.push((columns.add(pieces)?, part.written.clone()));
        }
        Ok(out)
    }

    /// Do foreign keys of other tables, or its own, refer to it?
    pub(super) fn is_referenced(&self, keyspace: KeyspaceIdx, table: &Table) -> bool {
        self.keyspace(keyspace).is_some_and(|k| {
            k.tables
                .values()
                .flat_map(|t| &t.foreign_keys)
                .any(|f| f.referenced_table == table.name && f.referenced_schema == k.database)
        })
    }

    /// All that a row is, to make it again on another shard.
    fn moves(&self, target: &Target<'a>) -> Result<Moves, PlanError> {
        let table = target.table;
        if self.is_referenced(target.keyspace, table) {
            return Err(PlanError::unsupported(format!(
                "UPDATE of the primary vindex's columns of '{}', to which foreign keys refer: its \
                    rows would leave theirs",
                table.name
            )));
        }
        if !table.columns_complete || table.columns.is_empty() {
            return refused(format!(
                "moving rows of '{}', whose columns are not all known",
                table.name
            ));
        }
        let (mut names, mut list, mut loads) = (Vec::new(), Vec::new(), Vec::new());
        for column in table.columns.iter().filter(|c| !c.generated) {
            let name = quoted(&column.name);
            let Some((read, load)) = transported(column, &name) else {
                return refused(format!(
                    "moving rows of '{}', whose column '{}' is of a type that is not known exactly",
                    table.name, column.name
                ));
            };
            let read = if column.data_type == "timestamp" {
                // In the hour that comes twice a year, only one of two instants can be written
                // again.
                format!(
                    "IF(UNIX_TIMESTAMP(FROM_UNIXTIME({read}))<=>{read} OR \
                        {read}=0,{read},'ambiguous')"
                )
            } else {
                read
            };
            names.push(name);
            list.push(read);
            loads.push(load);
        }
        let insert = format!("INSERT INTO {} ({}) VALUES ", quoted(&table.name), names.join(","));
        Ok(Moves { list: list.join(","), loads, insert })
    }
}
