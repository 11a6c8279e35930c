//! A statement in a transaction is cut off, in every way and everywhere: afterwards either all that
//! the client was told is there, or it was told that the transaction is gone. Never an acknowledged
//! COMMIT of a part.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::SqlError;
use coregate_tests::{Answer, Connection, Coregate, MariaDb, PATIENCE, guard, wait_until, world};
use std::io;
use std::time::{Duration, Instant};

/// One row on each of -40, 40-80 and 80-, by the hash vindex; two more a shard.
const ROWS: [i64; 3] = [1, 3, 4];
const ALL: &str = "(1),(2),(3),(4),(5),(6)";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// The statement's time limit passes.
    Timeout,
    /// KILL QUERY from another session.
    Kill,
    /// The time limit passes while the server is stopped.
    Frozen,
    /// kill -9 of the server.
    Crash,
    /// The server shuts down in good order.
    Shutdown,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Prepared,
    Cursor,
    Named,
}

struct Cluster {
    servers: Vec<MariaDb>,
    proxy: Coregate,
}

fn cluster(name: &str) -> Cluster {
    let servers: Vec<MariaDb> = ["a", "b", "c"]
        .map(|shard| {
            MariaDb::start(
                &format!("{name}-{shard}"),
                &["--innodb-flush-log-at-trx-commit=2", "--innodb-lock-wait-timeout=5"],
            )
        })
        .into();
    let shards = servers.iter().zip(["-40", "40-80", "80-"]);
    let shards: Vec<String> = shards
        .enumerate()
        .map(|(n, (server, name))| {
            server
                .connect()
                .run("create table t (id bigint primary key, v varchar(100))");
            format!(
                r#"{{"name": "{name}", "tablets": [{{"alias": "zone1-{n}", "type": "primary",
                    "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}"#,
                server.port
            )
        })
        .collect();
    let dir = guard::dir().join(name);
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"t": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}}}}}}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/test.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {dir:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n",
        world::users_file()
    );
    Cluster { proxy: Coregate::configured(name, &config), servers }
}

impl Cluster {
    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("test"))
    }

    /// The rows as the servers have them.
    fn rows(&self) -> Vec<(i64, String)> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        for server in &self.servers {
            for row in server.connect().query("select id, v from t").rows() {
                rows.push((row[0].clone().unwrap().parse().unwrap(), row[1].clone().unwrap()));
            }
        }
        rows.sort();
        rows
    }

    /// Waits until no server has a transaction left of what was cut off.
    fn settle(&self, case: &str) {
        for server in &self.servers {
            let mut conn = server.connect();
            let open = "select trx_mysql_thread_id, trx_state, trx_query from \
                information_schema.innodb_trx
                where trx_mysql_thread_id <> connection_id()";
            let start = Instant::now();
            loop {
                let left = conn.run(open).rows();
                if left.is_empty() {
                    break;
                }
                let threads = conn.run("show full processlist").rows();
                assert!(
                    start.elapsed() < PATIENCE,
                    "{case}: transactions are left: {left:?}, {threads:?}"
                );
                // InnoDB reads the table anew only when nobody has looked for 100 ms.
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }
}

/// Sends the statement; the answer is read later.
fn send(conn: &mut Connection, form: Form, sql: &str) {
    match form {
        Form::Text => conn.send_command(3, sql.as_bytes()).unwrap(),
        Form::Named => {
            // What is in a string keeps its comment.
            conn.run(&format!("prepare p from '{}'", sql.replace('\'', "''")));
            conn.send_command(3, b"execute p").unwrap();
        }
        Form::Prepared | Form::Cursor => {
            let statement = conn.prepare(sql).unwrap();
            let mut out = statement.id.to_le_bytes().to_vec();
            out.push(u8::from(matches!(form, Form::Cursor)));
            out.extend_from_slice(&1u32.to_le_bytes());
            conn.send_command(0x17, &out).unwrap();
        }
    }
}

/// Runs one case; the server of `at` is up again afterwards.
fn cut_off(cluster: &mut Cluster, way: Way, write: bool, form: Form, at: usize, begin: &str) {
    let case = format!("{way:?} write={write} {form:?} at={at} {begin}");
    let mut setup = cluster.connect();
    setup.run("delete from t");
    setup.run(&format!("insert into t (id, v) values {}", ALL.replace(')', ", 'old')")));
    let mut conn = cluster.connect();
    let id = conn.value("select connection_id()").unwrap();
    conn.run(begin);
    for row in ROWS {
        conn.run(&format!("update t set v = 'told' where id = {row}"));
    }
    let limit = match way {
        Way::Timeout | Way::Frozen => "/*vt+ QUERY_TIMEOUT_MS=300 */ ",
        _ => "",
    };
    let waits = format!("if(id = {}, sleep(20), 0)", ROWS[at]);
    let sql = if write {
        format!("update {limit}t set v = concat('half', {waits})")
    } else {
        format!("select {limit}id, {waits} from t")
    };
    send(&mut conn, form, &sql);
    let runs = "select count(*) from information_schema.processlist where info like '%sleep(20)%' \
        and state = 'User sleep'";
    let mut direct = cluster.servers[at].connect();
    if way != Way::Timeout {
        wait_until("it runs", || direct.value(runs).as_deref() == Some("1"));
    }
    match way {
        Way::Timeout => {}
        Way::Kill => {
            cluster.connect().run(&format!("kill query {id}"));
        }
        Way::Frozen => cluster.servers[at].pause(),
        Way::Crash => cluster.servers[at].kill(),
        Way::Shutdown => {
            cluster.servers[at].process.terminate();
        }
    }
    let binary = matches!(form, Form::Prepared | Form::Cursor);
    let answer = conn.answer(binary);
    let told = commit(&mut conn, &answer);
    match way {
        Way::Frozen => cluster.servers[at].resume(),
        Way::Crash | Way::Shutdown => cluster.servers[at].restart(),
        _ => {}
    }
    drop(conn);
    cluster.settle(&case);
    let rows = cluster.rows();
    let values: Vec<&str> = ROWS
        .iter()
        .map(|id| {
            rows.iter()
                .find(|(row, _)| row == id)
                .map_or("none", |(_, v)| v.as_str())
        })
        .collect();
    let statement_done = matches!(&answer, Ok(answer) if !answer.is_error()) && write;
    match told {
        Ok(()) if statement_done => {
            assert!(rows.iter().all(|(_, v)| v.starts_with("half")), "{case}: {rows:?}")
        }
        Ok(()) => assert_eq!(values, ["told"; 3], "{case}: COMMIT was acknowledged; {answer:?}"),
        Err(_) => assert_eq!(
            values, ["old"; 3],
            "{case}: the transaction was said to be lost; {answer:?}"
        ),
    }
    if way == Way::Timeout || way == Way::Kill {
        assert_eq!(told, Ok(()), "{case}: a stopped statement ends no transaction; {answer:?}");
    }
    // Nobody is left with a lock, and the rows can be written again.
    wait_until("the shard is used again", || {
        !cluster.connect().query("update t set v = 'new'").is_error()
    });
}

/// COMMIT, as a client that does not look at the statement's error.
fn commit(conn: &mut Connection, answer: &io::Result<Answer>) -> Result<(), String> {
    if let Ok(Answer::Error(SqlError { message, .. })) = answer
        && message.contains("rolled back")
    {
        // It was told in words, and the session must have ended.
        assert!(conn.is_closed(), "{message}");
        return Err(message.clone());
    }
    match conn.try_query("commit") {
        Ok(answers) => match &answers[0] {
            Answer::Error(e) => Err(e.message.clone()),
            _ => Ok(()),
        },
        Err(e) => Err(e.to_string()),
    }
}

fn all(name: &str, ways: &[Way], forms: &[Form]) {
    let mut cluster = cluster(name);
    for &way in ways {
        for begin in ["begin", "set autocommit = 0"] {
            for write in [false, true] {
                for &form in forms {
                    for at in 0..ROWS.len() {
                        cut_off(&mut cluster, way, write, form, at, begin);
                    }
                }
            }
        }
    }
}

#[test]
fn stopped_statements_end_no_transaction() {
    all(
        "stopped",
        &[Way::Timeout, Way::Kill],
        &[Form::Text, Form::Prepared, Form::Cursor, Form::Named],
    );
}

#[test]
fn frozen_servers_end_the_transaction_in_words() {
    all("frozen", &[Way::Frozen], &[Form::Text, Form::Prepared]);
}

#[test]
fn crashed_servers_end_the_transaction_in_words() {
    all("crashed", &[Way::Crash, Way::Shutdown], &[Form::Text, Form::Cursor]);
}
