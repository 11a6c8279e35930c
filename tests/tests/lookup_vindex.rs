//! `coregate ctl lookup-vindex`: a lookup vindex for a table that has rows, filled while they are
//! changed.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Connection;
use coregate_tests::{Coregate, guard};
use serde_json::Value;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

static COREGATE: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("lookup-vindex");
    std::fs::create_dir_all(&dir).unwrap();
    Coregate::local("lookup-vindex", &["--keyspace", "s:2", "--keyspace", "main", "--cores", "2"])
});

/// Tables are changed by one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(target: &str) -> Connection {
    COREGATE.connect_as("app", "app", Some(target))
}

/// What it printed, and whether it was content.
fn ctl(args: &[&str]) -> (Value, bool, String) {
    let admin = COREGATE.admin.to_string();
    let out = Command::new(coregate_tests::coregate::binary())
        .args(["ctl", "--admin", &admin, "--json", "lookup-vindex"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (value, out.status.success(), text(&out.stderr))
}

fn table(name: &str, rows: u64) {
    let mut conn = connect("s");
    conn.run(&format!(
        "CREATE TABLE {name} (id BIGINT PRIMARY KEY, email VARCHAR(40) COLLATE utf8mb4_general_ci \
            NOT NULL, n INT) COMMENT 'vindex=hash(id)'"
    ));
    let ids: Vec<u64> = (1..=rows).collect();
    for ids in ids.chunks(500) {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| format!("({id},'é{id}@x',{})", id % 3))
            .collect();
        conn.run(&format!("INSERT INTO {name} VALUES {}", rows.join(",")));
    }
}

fn ids(conn: &mut Connection, sql: &str) -> Vec<u64> {
    let number = |row: &Vec<Option<String>>| row[0].as_ref().unwrap().parse().unwrap();
    conn.run(sql).rows().iter().map(number).collect()
}

fn count(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

fn create(table: &str, name: &str, more: &[&str]) -> (Value, bool, String) {
    let args = ["create", "s", name, "--type", "consistent_lookup_unique", "--table-owner", table];
    ctl(&[&args[..], &["--table-owner-columns", "email"], more].concat())
}

/// Whatever changes the rows meanwhile: at the end, each has its entry, and no more are there.
#[test]
fn a_table_gets_a_lookup_vindex_while_it_is_written_to() {
    let _turn = alone();
    table("busy", 3_000);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..2u64 {
            let ended = &ended;
            scope.spawn(move || {
                let mut conn = connect("s");
                let mut n = 0u64;
                while !ended.load(Ordering::Relaxed) {
                    n += 1;
                    let (new, old) =
                        (10_000 + client * 100_000 + n, 1 + (n * 37 + client * 1_500) % 3_000);
                    let statements = [
                        format!("INSERT INTO busy VALUES ({new}, 'new{new}', 1)"),
                        format!("UPDATE busy SET email = 'moved{client}-{n}' WHERE id = {old}"),
                        format!("DELETE FROM busy WHERE id = {}", old + 1),
                    ];
                    for sql in statements {
                        // Two clients may stand in each other's way.
                        let answer = conn.query(&sql);
                        if answer.is_error() {
                            assert!(
                                matches!(answer.error().code, 1205 | 1213),
                                "{sql}: {answer:?}"
                            );
                        }
                    }
                }
            });
        }
        let (progress, good, told) = create("busy", "busy_email", &["--keyspace", "main"]);
        ended.store(true, Ordering::Relaxed);
        assert!(good, "{progress} {told}");
        assert!(count(&progress, "added") > 2_000, "{progress}");
        assert!(told.contains("rows, done"), "{told}");
    });
    // Begun again, it adds what a statement of before may have left out, and passes over the rest.
    let (again, good, told) = create("busy", "busy_email", &["--keyspace", "main"]);
    assert!(good && count(&again, "added") < 5, "{again} {told}");
    let (found, good, told) = ctl(&["verify", "s", "busy_email"]);
    assert!(good, "{found} {told}");
    assert_eq!((count(&found, "missing"), count(&found, "dangling")), (0, 0), "{found}");
    let mut conn = connect("s");
    let rows = conn.value("SELECT COUNT(*) FROM busy").unwrap();
    assert_eq!(conn.value("SELECT COUNT(*) FROM main.busy_email").unwrap(), rows);
}

#[test]
fn nothing_is_found_by_it_until_it_is_externalized() {
    let _turn = alone();
    table("slow", 800);
    let (_, good, told) = create("slow", "slow_email", &["--table", "slow_by_email"]);
    assert!(good, "{told}");
    let mut conn = connect("s");
    let plan = |conn: &mut Connection| {
        let rows = conn
            .run("VEXPLAIN QUERIES SELECT id FROM slow WHERE email = 'é7@x'")
            .rows();
        rows.iter()
            .filter(|row| {
                format!("{row:?}").contains("`slow`") || format!("{row:?}").contains("FROM slow")
            })
            .count()
    };
    assert_eq!(ids(&mut conn, "SELECT id FROM slow WHERE email = 'É7@X'"), [7]);
    assert_eq!(plan(&mut conn), 2, "on all shards");
    // One entry is lost behind its back: it is not taken into use.
    conn.run("DELETE FROM slow_by_email WHERE email = 'é9@x'");
    conn.run("INSERT INTO slow_by_email VALUES ('nobody', x'166b40b44aba4bd6')");
    let (found, good, _) = ctl(&["verify", "s", "slow_email"]);
    assert_eq!(
        (count(&found, "missing"), count(&found, "dangling"), good),
        (1, 1, false),
        "{found}"
    );
    let (found, good, _) = ctl(&["externalize", "s", "slow_email"]);
    assert!(
        !good
            && found["error"]
                .as_str()
                .unwrap()
                .contains("1 rows have no entry"),
        "{found}"
    );
    assert_eq!(ids(&mut conn, "SELECT id FROM slow WHERE email = 'é9@x'"), [9]);
    let (again, good, told) = create("slow", "slow_email", &["--table", "slow_by_email"]);
    assert!(good && count(&again, "added") == 1, "{again} {told}");
    let (found, good, told) = ctl(&["externalize", "s", "slow_email"]);
    assert!(good, "{found} {told}");
    let mut conn = connect("s");
    assert_eq!(plan(&mut conn), 1, "where the lookup table says");
    for id in [7, 9, 800] {
        assert_eq!(ids(&mut conn, &format!("SELECT id FROM slow WHERE email = 'É{id}@x'")), [id]);
    }
    assert_eq!(
        conn.query("INSERT INTO slow VALUES (5000, 'é7@X', 0)")
            .error()
            .code,
        1062
    );
    assert_eq!(count(&ctl(&["show", "s", "slow_email"]).0, "missing"), 0);
}

#[test]
fn rows_that_share_a_value_are_counted() {
    let _turn = alone();
    table("twice", 20);
    let mut conn = connect("s");
    conn.run("INSERT INTO twice VALUES (100, 'É7@x', 0)");
    let (found, good, _) = create("twice", "twice_email", &[]);
    assert!(!good && count(&found, "conflicts") == 1, "{found}");
    assert!(
        found["error"]
            .as_str()
            .unwrap()
            .contains("other rows have, too"),
        "{found}"
    );
    let (found, _, _) = ctl(&["verify", "s", "twice_email"]);
    assert_eq!(count(&found, "missing"), 1, "{found}");
    conn.run("DELETE FROM twice WHERE id = 100");
    let (found, good, told) = create("twice", "twice_email", &[]);
    assert!(good, "{found} {told}");
}

#[test]
fn words_that_fit_nothing_are_refused() {
    let _turn = alone();
    table("named", 1);
    for (args, why) in [
        (
            &[
                "create",
                "s",
                "x",
                "--type",
                "hash",
                "--table-owner",
                "named",
                "--table-owner-columns",
                "email",
            ][..],
            "not hash",
        ),
        (
            &[
                "create",
                "s",
                "x",
                "--type",
                "lookup",
                "--table-owner",
                "none",
                "--table-owner-columns",
                "email",
            ],
            "no table s.none",
        ),
        (
            &[
                "create",
                "s",
                "x",
                "--type",
                "lookup",
                "--table-owner",
                "named",
                "--table-owner-columns",
                "y",
            ],
            "no column y",
        ),
        (
            &[
                "create",
                "s",
                "hash",
                "--type",
                "lookup",
                "--table-owner",
                "named",
                "--table-owner-columns",
                "n",
            ],
            "another vindex",
        ),
        (&["verify", "s", "none"], "no vindex none"),
        (&["externalize", "nowhere", "x"], "no keyspace nowhere"),
    ] {
        let (_, good, told) = ctl(args);
        assert!(!good && told.contains(why), "{args:?}: {told}");
    }
}
