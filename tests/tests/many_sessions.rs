//! Very many sessions that do anything, and end anyhow: nothing of them is left, here or on the
//! servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: [&str; 2] = ["-80", "80-"];
const CLIENTS: u64 = 24;
/// Rows: so many that sessions seldom wait for each other's.
const IDS: u64 = 50_000;
/// Memory that may be more after the last session than after the first tenth.
const GROWTH_KIB_MAX: u64 = 24 << 10;

fn sessions() -> u64 {
    let wanted = std::env::var("SESSIONS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn world() -> (Vec<MariaDb>, Coregate) {
    // Who locks tables on one server waits for one who waits on the other: no server sees that.
    let options =
        ["--innodb-lock-wait-timeout=1", "--lock-wait-timeout=1", "--max-connections=400"];
    let servers: Vec<MariaDb> = SHARDS
        .iter()
        .map(|_| MariaDb::start("shard", &options))
        .collect();
    for server in &servers {
        server
            .connect()
            .run("create table t (id bigint primary key, n int, s varchar(100))");
    }
    let dir = guard::dir().join("many-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let shards: Vec<String> = SHARDS
        .iter()
        .zip(&servers)
        .map(|(name, server)| {
            format!(
                r#"{{"name": "{name}", "tablets": [{{"alias": "t{name}", "type": "primary",
                    "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}"#,
                server.port
            )
        })
        .collect();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}}, "tables": {{"t": {{"column_vindexes":
            [{{"column": "id", "name": "hash"}}]}}}}}}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 2\n[pool]\n\
            size_per_core = 40\nidle_s = 2\nwait_timeout_ms = 5000\n",
        dir.to_str().unwrap(),
        world::users_file().to_str().unwrap()
    );
    let proxy = Coregate::configured("many", &config);
    (servers, proxy)
}

/// One statement, whatever comes of it.
fn act(conn: &mut Connection, random: &mut Random) -> std::io::Result<()> {
    let id = random.below(IDS);
    let sql = match random.below(24) {
        0 => "begin".into(),
        1 => "commit".into(),
        2 => "rollback".into(),
        3 => format!("insert ignore into t values ({id}, 1, 'x')"),
        4 => format!("update t set n = n + 1 where id = {id}"),
        5 => format!("delete from t where id = {id}"),
        6 => format!("select * from t where id = {id}"),
        7 => "select count(*), max(s) from t".into(),
        8 => format!("select * from t where id = {id} for update"),
        9 => format!("set @a{} = {id}", id % 7),
        10 => format!("set sql_mode = '{}'", ["", "ansi", "traditional"][(id % 3) as usize]),
        11 => format!("set names {}", ["latin1", "utf8mb4", "binary"][(id % 3) as usize]),
        12 => format!("set autocommit = {}", id % 2),
        13 => "use `ks:-80`".into(),
        14 => "use ks".into(),
        15 => format!("create temporary table if not exists tt{} (id int)", id % 3),
        16 => format!("select get_lock('l{}', 0)", id % 5),
        // Most others wait for it.
        17 if id.is_multiple_of(64) => "lock tables t write".into(),
        18 => "unlock tables".into(),
        19 => "this is no sql".into(),
        20 => "select nothing from nowhere".into(),
        21 => format!("prepare p{} from 'select * from t where id = ?'", id % 3),
        22 => "savepoint s".into(),
        _ => "select id from t order by n, id limit 5; select 1".into(),
    };
    conn.try_query(&sql).map(drop)
}

/// One session: some statements, prepared ones among them, and its end, in order or not.
fn live(proxy: &Coregate, random: &mut Random) {
    let login = Connection::try_login(proxy.mysql, world::USER, world::PASSWORD, Some("ks"));
    let Ok(mut conn) = login else { return };
    for _ in 0..random.below(8) {
        if act(&mut conn, random).is_err() {
            return;
        }
        if random.below(6) == 0
            && let Ok(statement) = conn.prepare("select s from t where id = ? or n = ?")
            && random.below(2) == 0
        {
            let id = i64::try_from(random.below(IDS)).unwrap();
            let answer = conn.execute(&statement, &[Value::Int(id), Value::Int(1)]);
            if !answer.is_error() && random.below(2) == 0 {
                conn.close_statement(&statement);
            }
        }
    }
    match random.below(3) {
        0 => conn.quit(),
        // In the middle of a statement, or of its packet.
        1 => drop(conn.send_command(3, b"select sleep(0.001), count(*) from t")),
        _ => drop(conn),
    }
}

fn sum(servers: &[MariaDb], sql: &str) -> u64 {
    let one = |server: &MariaDb| server.connect().value(sql).unwrap().parse::<u64>().unwrap();
    servers.iter().map(one).sum()
}

#[test]
#[ignore = "takes minutes; `make test-all` runs it"]
fn nothing_is_left_of_very_many_sessions() {
    let (servers, proxy) = world();
    let (all, done) = (sessions(), AtomicU64::new(0));
    let run = |until: u64| {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (proxy, done) = (&proxy, &done);
                scope.spawn(move || {
                    while done.fetch_add(1, Ordering::Relaxed) < until {
                        let turn = done.load(Ordering::Relaxed);
                        let mut random = Random(turn.wrapping_mul(0x9E37_79B9) + client + 1);
                        live(proxy, &mut random);
                    }
                });
            }
        });
        done.store(until, Ordering::Relaxed);
        wait_until("all sessions are gone", || proxy.metric("coregate_sessions") == 0.0);
    };
    run(all / 10);
    let early = proxy.process.rss_kib();
    run(all);
    let late = proxy.process.rss_kib();
    eprintln!("{all} sessions: {early} KiB, then {late} KiB");
    assert!(late < early + GROWTH_KIB_MAX, "{early} KiB, then {late} KiB");
    wait_until("no transaction is open", || {
        let sql = "select count(*) from information_schema.innodb_trx where \
            trx_rows_locked + trx_rows_modified > 0 or trx_mysql_thread_id <> 0";
        sum(&servers, sql) == 0
    });
    for n in 0..5 {
        let free = format!("select is_free_lock('l{n}')");
        wait_until("no lock is held", || sum(&servers, &free) == SHARDS.len() as u64);
    }
    for server in &servers {
        let mut conn = server.connect();
        conn.run("set lock_wait_timeout = 5");
        conn.run("lock tables t write");
    }
    // What rests in pools is closed after two seconds, with the statements that it knows.
    wait_until("no statement is prepared", || {
        let sql = "select variable_value from information_schema.global_status where \
            variable_name = 'PREPARED_STMT_COUNT'";
        sum(&servers, sql) <= 32
    });
    wait_until("no connection is left over", || {
        proxy.metric("coregate_backend_connections") <= 2.0 * SHARDS.len() as f64
    });
    assert!(proxy.admin("/api/sessions").contains("[]"), "{}", proxy.admin("/api/sessions"));
    let mut conn = proxy.connect_as(world::USER, world::PASSWORD, Some("ks"));
    conn.run("insert into t values (60000, 1, 'last')");
}
