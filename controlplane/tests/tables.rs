//! What a real server says of its tables is what plans are made with.
#![allow(clippy::unwrap_used)]
use coregate_controlplane::local::LocalConfig;
use coregate_controlplane::{Config, ControlPlane, Source, users};
use coregate_planner::snapshot::{Column, ColumnKey, Key, ReferentialAction, Snapshot, Table};
use mysql_async::prelude::Queryable;
use std::path::Path;

const SCHEMA: &str = "
create table parent (a int, b varchar(10) character set latin1, primary key (b, a), unique key \
pair (a, b));
create table T (
  id bigint unsigned not null auto_increment primary key,
  name varchar(20) collate utf8mb4_bin not null default 'x',
  mail varchar(64) character set latin1 unique,
  price decimal(10,2) unsigned,
  kind enum('a','B''c','(d)') not null,
  at datetime(3) not null default current_timestamp(3),
  day date,
  d double, f float(7,3), bits bit(5),
  total int generated always as (year(day)) stored,
  hidden int not null default 7 invisible,
  pa int, pb varchar(10) character set latin1,
  note text,
  unique key two (kind, name(5)),
  key backwards (day, name),
  fulltext key words (note),
  constraint fk foreign key (pb, pa) references parent (b, a) on update cascade on delete set null
);
create table t (only_one int not null);
create view v as select id, name from T;
";

fn start(dir: &Path) -> ControlPlane {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.join("ks.sql"), SCHEMA).unwrap();
    let local = LocalConfig {
        dir: dir.join("data"),
        keyspaces: vec!["ks".parse().unwrap()],
        schema: Some(dir.to_owned()),
        vschema: None,
        ..LocalConfig::default()
    };
    let config = Config::new(Source::Local(local), users::local(), "127.0.0.1:0".parse().unwrap());
    ControlPlane::start(config).unwrap()
}

#[test]
fn tables_are_known_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let plane = start(dir.path());
    let snapshot = plane.snapshot();
    columns_are_exact(&snapshot.keyspaces[0].tables["T"]);
    keys_are_exact(&snapshot);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .unwrap();
    drop(plane.join());
}

/// The same of MySQL, whose address is `COREGATE_TEST_MYSQL` (`127.0.0.1:13380`), with user and
/// password `sb`.
#[test]
#[ignore = "needs a MySQL server"]
fn tables_of_mysql_are_known_exactly() {
    let address: std::net::SocketAddr = std::env::var("COREGATE_TEST_MYSQL")
        .unwrap()
        .parse()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = mysql_async::Pool::new(format!("mysql://sb:sb@{address}").as_str());
        let mut conn = pool.get_conn().await.unwrap();
        let schema = format!("drop database if exists ks; create database ks; use ks; {SCHEMA}");
        conn.query_drop(schema).await.unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "ks", "shards": [{{"name": "0", "tablets": [{{"alias": "a-1",
            "type": "primary",
            "host": "{}", "port": {}, "user": "sb", "password": "sb"}}]}}]}}"#,
        address.ip(),
        address.port()
    );
    std::fs::write(dir.path().join("topology/ks.json"), keyspace).unwrap();
    let source = Source::Topology(dir.path().to_owned());
    let plane =
        ControlPlane::start(Config::new(source, users::local(), "127.0.0.1:0".parse().unwrap()));
    let snapshot = plane.unwrap().snapshot();
    columns_are_exact(&snapshot.keyspaces[0].tables["T"]);
    keys_are_exact(&snapshot);
}

fn columns_are_exact(table: &Table) {
    let column = |name: &str| table.columns.iter().find(|c| c.name == name).unwrap();
    let about = |name: &str| {
        let c = column(name);
        let numbers = (c.numeric_precision, c.numeric_scale, c.datetime_precision);
        // MySQL writes no width of integers.
        let column_type = c
            .column_type
            .clone()
            .unwrap_or_default()
            .replace("(20) ", " ")
            .replace("(11)", "");
        (column_type, c.nullable.unwrap(), c.has_default, numbers)
    };
    let integer = |digits| (Some(digits), Some(0), None);
    for (name, column_type, nullable, has_default, numbers) in [
        ("id", "bigint unsigned", false, false, integer(20)),
        ("name", "varchar(20)", false, true, (None, None, None)),
        ("price", "decimal(10,2) unsigned", true, true, (Some(10), Some(2), None)),
        ("kind", "enum('a','B''c','(d)')", false, false, (None, None, None)),
        ("at", "datetime(3)", false, true, (None, None, Some(3))),
        ("day", "date", true, true, (None, None, None)),
        ("d", "double", true, true, (Some(22), None, None)),
        ("f", "float(7,3)", true, true, (Some(7), Some(3), None)),
        ("bits", "bit(5)", true, true, (Some(5), None, None)),
        ("total", "int", true, false, integer(10)),
        ("hidden", "int", false, true, integer(10)),
    ] {
        assert_eq!(about(name), (column_type.to_owned(), nullable, has_default, numbers), "{name}");
    }
    let (total, hidden) = (column("total"), column("hidden"));
    assert!(column("id").auto_increment && total.generated && !total.invisible);
    assert!(hidden.invisible && !hidden.generated);
    let text = |c: &Column| {
        (c.charset.clone().unwrap_or_default(), c.collation.clone().unwrap_or_default())
    };
    assert_eq!(text(column("name")), ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned()));
    assert_eq!(text(column("mail")), ("latin1".to_owned(), "latin1_swedish_ci".to_owned()));
    assert!(column("price").collation.is_none());
    for (name, key) in [
        ("id", ColumnKey::Primary),
        ("mail", ColumnKey::Unique),
        ("kind", ColumnKey::Multiple),
        ("day", ColumnKey::Multiple),
        ("pb", ColumnKey::Multiple),
        ("pa", ColumnKey::None),
    ] {
        assert_eq!(column(name).key, key, "{name}");
    }
}

fn keys_are_exact(snapshot: &Snapshot) {
    let tables = &snapshot.keyspaces[0].tables;
    let key = |name: &str, columns: &[&str], whole| Key {
        name: name.to_owned(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        whole,
    };
    let (table, parent) = (&tables["T"], &tables["parent"]);
    assert_eq!(parent.primary_key, ["b", "a"]);
    assert_eq!(parent.unique_keys, [key("pair", &["a", "b"], true)]);
    assert_eq!(table.primary_key, ["id"]);
    assert_eq!(
        table.unique_keys,
        [key("mail", &["mail"], true), key("two", &["kind", "name"], false)]
    );
    assert_eq!(
        table.indexes,
        [key("backwards", &["day", "name"], true), key("fk", &["pb", "pa"], true)]
    );
    let [foreign] = &table.foreign_keys[..] else { panic!("{:?}", table.foreign_keys) };
    assert_eq!(
        (foreign.name.as_str(), &foreign.columns[..]),
        ("fk", &["pb".to_owned(), "pa".to_owned()][..])
    );
    assert_eq!(
        (foreign.referenced_schema.as_str(), foreign.referenced_table.as_str()),
        ("ks", "parent")
    );
    assert_eq!(foreign.referenced_columns, ["b", "a"]);
    assert_eq!(foreign.on_update, Some(ReferentialAction::Cascade));
    assert_eq!(foreign.on_delete, Some(ReferentialAction::SetNull));
    // Names that differ in case only are two tables.
    assert_eq!((table.columns.len(), tables["t"].columns.len()), (15, 1));
    let view = &tables["v"];
    assert!(view.view.is_some() && view.columns.len() == 2 && view.primary_key.is_empty());
}
