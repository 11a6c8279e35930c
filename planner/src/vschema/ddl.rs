//! `ALTER VSCHEMA ...`: Vitess's statements that change a vschema at run time
//! (<https://vitess.io/docs/reference/features/vschema/#modifying-the-vschema>).
use super::{AutoIncrement, ColumnVindex, Keyspace, Table, Vindex};
use std::collections::BTreeMap;

mod words;

use words::Words;

/// A statement that cannot be read or applied. The wording of the latter is Vitess's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DdlError {
    /// The statement cannot be read.
    #[error("ALTER VSCHEMA: expected {expected} near '{near}'")]
    Syntax {
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        near: String,
    },
    /// The vschema at hand does not allow the change; why.
    #[error("{0}")]
    Refused(String),
}

/// A parsed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterVschema {
    /// As written before the name; without one the session's keyspace is meant.
    pub keyspace: Option<String>,
    /// What is to be done.
    pub change: Change,
}

/// What an ALTER VSCHEMA does; names are without quotes and keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `CREATE VINDEX name USING ...`
    CreateVindex { name: String, spec: Spec },
    /// `DROP VINDEX name`
    DropVindex { name: String },
    /// `ADD TABLE t`
    AddTable { table: String },
    /// `DROP TABLE t`
    DropTable { table: String },
    /// `ADD SEQUENCE t`
    AddSequence { table: String },
    /// `DROP SEQUENCE t`
    DropSequence { table: String },
    /// `ON t ADD VINDEX name (columns) [USING ...]`
    AddColumnVindex { table: String, name: String, columns: Vec<String>, spec: Option<Spec> },
    /// `ON t DROP VINDEX name`
    DropColumnVindex { table: String, name: String },
    /// `ON t ADD AUTO_INCREMENT column USING sequence`
    AddAutoIncrement { table: String, column: String, sequence: String },
    /// `ON t DROP AUTO_INCREMENT`
    DropAutoIncrement { table: String },
}

/// `USING type [WITH owner=t, a=b]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    pub(crate) kind: String,
    pub(crate) owner: String,
    pub(crate) params: BTreeMap<String, String>,
}

/// Parses a statement; keywords in any case, names in backticks or not, a `;` at the end or not.
pub fn parse_alter(sql: &str) -> Result<AlterVschema, DdlError> {
    let mut words = Words::new(sql)?;
    words.keyword("ALTER", "ALTER VSCHEMA")?;
    words.keyword("VSCHEMA", "ALTER VSCHEMA")?;
    let (keyspace, change) = if words.eat("CREATE") {
        words.keyword("VINDEX", "VINDEX")?;
        let (keyspace, name) = words.qualified("a vindex's name")?;
        // Without USING the vindex has its type's name.
        let spec =
            spec(&mut words)?.unwrap_or_else(|| Spec { kind: name.clone(), ..Spec::default() });
        (keyspace, Change::CreateVindex { name, spec })
    } else if words.eat("ADD") {
        let sequence = words.eat("SEQUENCE");
        if !sequence {
            words.keyword("TABLE", "TABLE or SEQUENCE")?;
        }
        let (keyspace, table) = words.qualified("a table's name")?;
        (
            keyspace,
            if sequence { Change::AddSequence { table } } else { Change::AddTable { table } },
        )
    } else if words.eat("DROP") {
        let (vindex, sequence) = (words.eat("VINDEX"), words.eat("SEQUENCE"));
        if !vindex && !sequence {
            words.keyword("TABLE", "TABLE, SEQUENCE or VINDEX")?;
        }
        let (keyspace, name) = words.qualified("a name")?;
        let change = match (vindex, sequence) {
            (true, _) => Change::DropVindex { name },
            (_, true) => Change::DropSequence { table: name },
            _ => Change::DropTable { table: name },
        };
        (keyspace, change)
    } else {
        words.keyword("ON", "CREATE VINDEX, ADD, DROP or ON")?;
        let (keyspace, table) = words.qualified("a table's name")?;
        (keyspace, on_table(&mut words, table)?)
    };
    words.end()?;
    Ok(AlterVschema { keyspace, change })
}

fn on_table(words: &mut Words<'_>, table: String) -> Result<Change, DdlError> {
    if words.eat("ADD") {
        if words.eat("AUTO_INCREMENT") {
            let column = words.name("a column's name")?;
            words.keyword("USING", "USING")?;
            let sequence = match words.qualified("a sequence's name")? {
                (Some(keyspace), table) => format!("{keyspace}.{table}"),
                (None, table) => table,
            };
            return Ok(Change::AddAutoIncrement { table, column, sequence });
        }
        words.keyword("VINDEX", "VINDEX or AUTO_INCREMENT")?;
        let name = words.name("a vindex's name")?;
        words.symbol('(', "( and columns")?;
        let mut columns = vec![words.name("a column's name")?];
        while words.eat_symbol(',') {
            columns.push(words.name("a column's name")?);
        }
        words.symbol(')', ") after the columns")?;
        let spec = spec(words)?;
        return Ok(Change::AddColumnVindex { table, name, columns, spec });
    }
    words.keyword("DROP", "ADD or DROP")?;
    if words.eat("AUTO_INCREMENT") {
        return Ok(Change::DropAutoIncrement { table });
    }
    words.keyword("VINDEX", "VINDEX or AUTO_INCREMENT")?;
    Ok(Change::DropColumnVindex { table, name: words.name("a vindex's name")? })
}

fn spec(words: &mut Words<'_>) -> Result<Option<Spec>, DdlError> {
    let mut spec = Spec::default();
    if !words.eat("USING") {
        return Ok(None);
    }
    spec.kind = words.name("a vindex type")?;
    if words.eat("WITH") {
        loop {
            let key = words.name("a param's name")?;
            words.symbol('=', "= after the param's name")?;
            let value = words.value("a param's value")?;
            if key.eq_ignore_ascii_case("owner") {
                spec.owner = value;
            } else {
                spec.params.insert(key, value);
            }
            if !words.eat_symbol(',') {
                break;
            }
        }
    }
    Ok(Some(spec))
}

/// Changes the vschema of keyspace `name`. On an error nothing has changed. The caller compiles the
/// result before using it.
pub fn apply(name: &str, ks: &mut Keyspace, change: &Change) -> Result<(), DdlError> {
    let refuse = |why: String| Err(DdlError::Refused(why));
    match change {
        Change::CreateVindex { name: vindex, spec } => {
            if ks.vindexes.contains_key(vindex) {
                return refuse(format!("vindex {vindex} already exists in keyspace {name}"));
            }
            create(ks, vindex, spec);
        }
        Change::DropVindex { name: vindex } => {
            if !ks.vindexes.contains_key(vindex) {
                return refuse(format!("vindex {vindex} does not exist in keyspace {name}"));
            }
            let uses = |t: &Table| t.column_vindexes.iter().any(|c| c.name == *vindex);
            if let Some((table, _)) = ks.tables.iter().find(|(_, t)| uses(t)) {
                return refuse(format!(
                    "vindex {vindex} is in use by table {name}.{table}: drop it there first"
                ));
            }
            ks.vindexes.remove(vindex);
        }
        Change::AddTable { table } | Change::AddSequence { table } => {
            let sequence = matches!(change, Change::AddSequence { .. });
            let what = if sequence { "sequence" } else { "table" };
            if ks.sharded {
                let add = if sequence { "add sequence table" } else { "add vschema table" };
                return refuse(format!("{add}: unsupported on sharded keyspace {name}"));
            }
            if ks.tables.contains_key(table) {
                return refuse(format!(
                    "vschema already contains {what} {table} in keyspace {name}"
                ));
            }
            let kind = if sequence { "sequence".to_owned() } else { String::new() };
            ks.tables
                .insert(table.clone(), Table { kind, ..Table::default() });
        }
        Change::DropTable { table } => {
            if ks.tables.remove(table).is_none() {
                return refuse(format!(
                    "vschema does not contain table {table} in keyspace {name}"
                ));
            }
        }
        Change::DropSequence { table } => {
            if ks.tables.get(table).is_none_or(|t| t.kind != "sequence") {
                return refuse(format!(
                    "vschema does not contain sequence {table} in keyspace {name}"
                ));
            }
            ks.tables.remove(table);
        }
        Change::AddColumnVindex { table, name: vindex, columns, spec } => {
            add_column_vindex(name, ks, table, vindex, columns, spec.as_ref())
                .map_err(DdlError::Refused)?;
        }
        Change::DropColumnVindex { table, name: vindex } => {
            let Some(def) = ks.tables.get_mut(table) else {
                return refuse(format!("table {name}.{table} not defined in vschema"));
            };
            let Some(at) = def.column_vindexes.iter().position(|c| c.name == *vindex) else {
                return refuse(format!("vindex {vindex} not defined in table {name}.{table}"));
            };
            def.column_vindexes.remove(at);
            if def.column_vindexes.is_empty() {
                ks.tables.remove(table);
            }
        }
        Change::AddAutoIncrement { table, column, sequence } => {
            let Some(def) = ks.tables.get_mut(table) else {
                return refuse(format!(
                    "vschema does not contain table {table} in keyspace {name}"
                ));
            };
            if let Some(auto) = &def.auto_increment {
                let (column, sequence) = (&auto.column, &auto.sequence);
                let has = format!("{column} using {sequence}");
                return refuse(format!(
                    "vschema already contains auto inc {has} on table {table} in keyspace {name}"
                ));
            }
            def.auto_increment = Some(AutoIncrement {
                column: column.clone(),
                sequence: sequence.clone(),
                ..AutoIncrement::default()
            });
        }
        Change::DropAutoIncrement { table } => {
            let Some(def) = ks.tables.get_mut(table) else {
                return refuse(format!(
                    "vschema does not contain table {table} in keyspace {name}"
                ));
            };
            if def.auto_increment.take().is_none() {
                return refuse(format!(
                    "vschema does not contain auto increment on table {table} in keyspace {name}"
                ));
            }
        }
    }
    Ok(())
}

fn create(ks: &mut Keyspace, name: &str, spec: &Spec) {
    // The first vindex makes a keyspace sharded, as in Vitess.
    ks.sharded |= ks.vindexes.is_empty();
    let Spec { kind, owner, params } = spec.clone();
    ks.vindexes
        .insert(name.to_owned(), Vindex { kind, owner, params, ..Vindex::default() });
}

fn add_column_vindex(
    keyspace: &str,
    ks: &mut Keyspace,
    table: &str,
    name: &str,
    columns: &[String],
    spec: Option<&Spec>,
) -> Result<(), String> {
    match (ks.vindexes.get(name), spec) {
        (None, None) => return Err(format!("vindex {name} does not exist in keyspace {keyspace}")),
        (Some(has), Some(spec)) => {
            if has.kind != spec.kind {
                return Err(format!(
                    "vindex {name} defined with type {} not {}",
                    has.kind, spec.kind
                ));
            }
            if has.owner != spec.owner {
                return Err(format!(
                    "vindex {name} defined with owner {} not {}",
                    has.owner, spec.owner
                ));
            }
            if has.params != spec.params {
                return Err(format!("vindex {name} defined with different parameters"));
            }
        }
        _ => {}
    }
    if ks
        .tables
        .get(table)
        .is_some_and(|t| t.column_vindexes.iter().any(|c| c.name == name))
    {
        return Err(format!("vindex {name} already defined on table {table}"));
    }
    if let (None, Some(spec)) = (ks.vindexes.get(name), spec) {
        create(ks, name, spec);
    }
    let columns = columns.to_vec();
    let def = ColumnVindex { name: name.to_owned(), columns, ..ColumnVindex::default() };
    ks.tables
        .entry(table.to_owned())
        .or_default()
        .column_vindexes
        .push(def);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ks: &mut Keyspace, sql: &str) -> Result<(), String> {
        let parsed = parse_alter(sql).map_err(|e| e.to_string())?;
        apply("ks", ks, &parsed.change).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_is_applied() {
        let mut ks = Keyspace::default();
        for sql in [
            "alter vschema add table ks.a",
            "ALTER VSCHEMA ADD SEQUENCE `seq`;",
            "alter vschema create vindex ks.h using hash",
            "alter vschema create vindex x using lookup with owner=t, `from`='a,b', \
                table=ks2.x_idx, to=\"keyspace_id\", n=1",
            "alter vschema on ks.t add vindex `h` (id)",
            "alter vschema on t add vindex u(name, Name2) using multicol with column_count=2 /* \
                two */ -- end",
            "alter vschema on t add auto_increment id using ks2.seq",
        ] {
            run(&mut ks, sql).unwrap();
        }
        assert!(ks.sharded && ks.tables["seq"].kind == "sequence");
        assert_eq!(ks.vindexes["x"].owner, "t");
        assert_eq!(ks.vindexes["x"].params["from"], "a,b");
        assert_eq!(ks.vindexes["x"].params["table"], "ks2.x_idx");
        assert_eq!(ks.tables["t"].column_vindexes[1].columns, ["name", "Name2"]);
        assert_eq!(ks.tables["t"].auto_increment.as_ref().unwrap().sequence, "ks2.seq");
        for sql in [
            "alter vschema on t drop auto_increment",
            "alter vschema on t drop vindex u",
            "alter vschema drop vindex u",
            "alter vschema on t drop vindex h",
            "alter vschema drop sequence seq",
            "alter vschema drop table ks.a",
        ] {
            run(&mut ks, sql).unwrap();
        }
        assert!(ks.tables.is_empty());
    }

    #[test]
    fn refusals_are_worded_as_in_vitess() {
        let mut ks = Keyspace::default();
        run(&mut ks, "alter vschema on t add vindex h(id) using hash").unwrap();
        let before = ks.clone();
        for (sql, words) in [
            ("alter vschema add table a", "add vschema table: unsupported on sharded keyspace ks"),
            ("alter vschema create vindex h using hash", "vindex h already exists in keyspace ks"),
            ("alter vschema on t add vindex h(id)", "vindex h already defined on table t"),
            (
                "alter vschema on t2 add vindex h(id) using xxhash",
                "vindex h defined with type hash not xxhash",
            ),
            (
                "alter vschema on t2 add vindex h(id) using hash with a=b",
                "vindex h defined with different parameters",
            ),
            ("alter vschema on t add vindex z(id)", "vindex z does not exist in keyspace ks"),
            ("alter vschema drop table z", "vschema does not contain table z in keyspace ks"),
            ("alter vschema on z drop vindex h", "table ks.z not defined in vschema"),
            ("alter vschema on t drop vindex z", "vindex z not defined in table ks.t"),
            ("alter vschema drop vindex h", "in use by table ks.t"),
            ("alter vschema on t drop auto_increment", "does not contain auto increment"),
            ("alter vschema on t", "expected ADD or DROP near ''"),
            ("alter vschema frob", "expected CREATE VINDEX, ADD, DROP or ON near 'frob'"),
            ("alter vschema add table a b", "expected the end of the statement near 'b'"),
            ("alter vschema add table `a", "closing quote"),
        ] {
            let error = run(&mut ks, sql).unwrap_err();
            assert!(error.contains(words), "{sql}: {error}");
            assert_eq!(ks, before);
        }
    }
}
