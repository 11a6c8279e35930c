//! Columns that are other ones than Coregate believes: rows lie where their keys say all the same,
//! and it hears of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, wait_until, world};

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
 "moved": {"column_vindexes": [{"column": "id", "name": "hash"}]},
 "grown": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

/// Two shards on servers of their own.
struct Shards {
    servers: [MariaDb; 2],
    proxy: Coregate,
}

impl Shards {
    fn start(name: &str) -> Self {
        let servers = ["left", "right"].map(|side| MariaDb::start(&format!("{name}-{side}"), &[]));
        for server in &servers {
            let mut conn = server.connect();
            for table in ["moved", "grown"] {
                conn.run(&format!(
                    "create table test.{table} (id bigint not null primary key, a bigint)"
                ));
            }
        }
        let topology = guard::dir().join(format!("{name}-topology"));
        std::fs::create_dir_all(topology.join("topology")).unwrap();
        let shard = |range: &str, server: &MariaDb| {
            format!(
                r#"{{"name": "{range}", "tablets": [{{"alias": "t{0}", "type": "primary",
                    "host": "127.0.0.1", "port": {0},
                    "user": "sb", "password": "sb"}}]}}"#,
                server.port
            )
        };
        let keyspace = format!(
            r#"{{"name": "test", "database": "test", "shards": [{}, {}], "vschema": {VSCHEMA}}}"#,
            shard("-80", &servers[0]),
            shard("80-", &servers[1])
        );
        std::fs::write(topology.join("topology/test.json"), keyspace).unwrap();
        let text = format!(
            "[topology]\ndir = {topology:?}\n[users]\nfile = {:?}\n[server]\ncores = 2\n",
            world::users_file()
        );
        Self { servers, proxy: Coregate::configured(name, &text) }
    }

    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("test"))
    }
}

/// Every row that a SELECT of all shows is found by its key.
fn found_by_key(conn: &mut Connection, table: &str, wanted: usize) {
    let all = conn.query(&format!("select id from {table}")).rows();
    assert_eq!(all.len(), wanted);
    for row in all {
        let id = row[0].clone().unwrap();
        let found = conn
            .query(&format!("select id from {table} where id = {id}"))
            .rows();
        assert_eq!(found.len(), 1, "{table}: {id}");
    }
}

/// Another order of columns, which nobody has told us of.
#[test]
fn rows_without_a_column_list_lie_where_their_keys_say() {
    let shards = Shards::start("moved");
    let mut conn = shards.connect();
    let prepared = conn.prepare("insert into moved values (?, ?)").unwrap();
    let two = conn
        .prepare("insert into moved values (?, ?), (?, ?)")
        .unwrap();
    for server in &shards.servers {
        server
            .connect()
            .run("alter table test.moved modify a bigint first");
    }
    let mut wanted = 0;
    for n in 0..10 {
        conn.run(&format!("insert into moved values ({n}, {})", 1000 + n));
        conn.execute(&prepared, &[Value::Int(10 + n), Value::Int(1010 + n)])
            .ok();
        let four = [20 + 2 * n, 1020, 21 + 2 * n, 1021].map(Value::Int);
        conn.execute(&two, &four).ok();
        wanted += 4;
    }
    let many: Vec<String> = (100..200).map(|n| format!("({n}, {})", n + 1000)).collect();
    conn.run(&format!("insert into moved values {}", many.join(", ")));
    conn.run("replace into moved values (50, 1), (51, 2)");
    conn.run("insert ignore into moved values (60 + 1, 3), (62, 4)");
    conn.run("insert into moved select id + 500, a from moved where id < 10");
    found_by_key(&mut conn, "moved", wanted + 100 + 2 + 2 + 10);
}

/// A change of a table that is interrupted is done on one shard and not on the other.
#[test]
fn what_an_interrupted_change_has_left_is_heard_of() {
    let shards = Shards::start("grown");
    let mut conn = shards.connect();
    conn.run("insert into grown values (1, 1), (4, 4)");
    // Key 4 lies on the second shard, where the change waits for this.
    let mut holder = shards.servers[1].connect();
    holder.run("begin");
    holder.run("select * from test.grown");
    let mut changer = shards.connect();
    let id = changer.value("select connection_id()").unwrap();
    let changing = std::thread::spawn(move || changer.query("alter table grown add b bigint"));
    let mut left = shards.servers[0].connect();
    wait_until("the first shard has the column", || {
        !left
            .query("show columns from test.grown like 'b'")
            .rows()
            .is_empty()
    });
    conn.run(&format!("kill query {id}"));
    assert_eq!(changing.join().unwrap().error().code, 1317);
    holder.run("commit");
    // What one server has says what all have to get.
    wait_until("the column is known", || {
        matches!(
            conn.query("insert into grown values (1, 1, 1) on duplicate key update b = 1"),
            Answer::Ok { .. }
        )
    });
    conn.query("alter table grown add if not exists b bigint")
        .ok();
    conn.run("insert into grown values (2, 2, 2), (6, 6, 6)");
    found_by_key(&mut conn, "grown", 4);
}
