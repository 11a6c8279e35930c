//! SHOW PROCESSLIST and KILL: the ids are this side's, and nobody else is hit.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, wait_until, world};
use std::sync::LazyLock;

struct World {
    server: MariaDb,
    proxy: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("server", &[]);
    let users = world::users_file();
    let proxy =
        Coregate::drop_in("proxy", &server, &["--cores", "2", "--users", users.to_str().unwrap()]);
    World { server, proxy }
});

fn connect() -> Connection {
    WORLD
        .proxy
        .connect_as(world::USER, world::PASSWORD, Some("test"))
}

fn id_of(conn: &mut Connection) -> String {
    conn.value("select connection_id()").unwrap()
}

fn listed(conn: &mut Connection) -> Vec<Vec<Option<String>>> {
    conn.query("show processlist").rows()
}

#[test]
fn the_list_shows_sessions_of_all_cores_by_the_ids_that_kill_takes() {
    let mut sessions: Vec<Connection> = (0..8).map(|_| connect()).collect();
    let mut busy = connect();
    let id = id_of(&mut busy);
    busy.send_command(3, b"select sleep(30) /* listed */")
        .unwrap();
    let mut asks = connect();
    let row = |rows: &[Vec<Option<String>>], id: &str| {
        rows.iter().find(|r| r[0].as_deref() == Some(id)).cloned()
    };
    wait_until("it is listed as running", || {
        row(&listed(&mut asks), &id).is_some_and(|r| r[4].as_deref() == Some("Query"))
    });
    let rows = listed(&mut asks);
    let found = row(&rows, &id).unwrap();
    assert_eq!(found[1].as_deref(), Some(world::USER));
    assert_eq!(found[3].as_deref(), Some("test"));
    assert_eq!(found[7].as_deref(), Some("select sleep(30) /* listed */"));
    for session in &mut sessions {
        let id = id_of(session);
        let found = row(&rows, &id).unwrap_or_else(|| panic!("{id} in {rows:?}"));
        assert_eq!(found[4].as_deref(), Some("Sleep"));
    }
    asks.run(&format!("kill query {id}"));
    busy.answer(false).unwrap();
    assert_eq!(id_of(&mut busy), id, "the session goes on");
    asks.run(&format!("kill {id}"));
    wait_until("it is gone from the list", || row(&listed(&mut asks), &id).is_none());
    // A server closes a killed connection without a word.
    assert!(
        busy.packet()
            .is_err_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn ids_of_a_server_name_no_session() {
    let mut sessions: Vec<Connection> = (0..6).map(|_| connect()).collect();
    for session in &mut sessions {
        session.run("select 1");
    }
    let mut killer = connect();
    let theirs = WORLD
        .server
        .connect()
        .query("select id from information_schema.processlist")
        .rows();
    for row in theirs {
        let answer = killer.query(&format!("kill {}", row[0].as_deref().unwrap()));
        assert_eq!(answer.error().code, 1094, "{answer:?}");
    }
    for session in &mut sessions {
        assert_eq!(session.value("select 1"), Some("1".into()));
    }
    // The server's account, under which the pooled connections run, is nobody's here.
    assert!(matches!(killer.query("kill user sb"), Answer::Ok { affected: 0, .. }));
    for (sql, code) in [("kill query id 3", 1957), ("kill 1 + 1", 1094)] {
        assert_eq!(killer.query(sql).error().code, code, "{sql}");
    }
    assert!(sessions.iter_mut().all(Connection::ping));
}

#[test]
fn a_session_can_kill_itself() {
    for sql in ["kill connection_id()", "kill connection connection_id()"] {
        let mut conn = connect();
        assert_eq!(conn.query(sql).error().code, 1927, "as MariaDB says it");
        assert!(conn.is_closed());
    }
    let mut conn = connect();
    assert_eq!(conn.query("kill query connection_id()").error().code, 1317);
    assert_eq!(conn.value("select 1"), Some("1".into()));
}

#[test]
fn others_sessions_are_the_administrators() {
    let mut native =
        WORLD
            .proxy
            .connect_as(world::NATIVE_USER, world::NATIVE_PASSWORD, Some("test"));
    let mut admin = connect();
    let id = id_of(&mut admin);
    let rows = listed(&mut native);
    assert!(
        rows.iter()
            .all(|r| r[1].as_deref() == Some(world::NATIVE_USER)),
        "{rows:?}"
    );
    assert_eq!(native.query(&format!("kill {id}")).error().code, 1095);
    assert_eq!(admin.value("select 1"), Some("1".into()));
}

/// COM_RESET_CONNECTION: what the session has locked is free when it is answered.
#[test]
fn a_reset_session_holds_no_lock() {
    for _ in 0..20 {
        let (mut one, mut two) = (connect(), connect());
        assert_eq!(one.value("select get_lock('reset', 0)"), Some("1".into()));
        one.send_command(0x1F, b"").unwrap();
        one.answer(false).unwrap().ok();
        assert_eq!(two.value("select get_lock('reset', 0)"), Some("1".into()));
        two.run("do release_all_locks()");
    }
}

#[test]
fn a_users_sessions_are_killed_and_an_id_may_be_worked_out() {
    let mut asks = connect();
    let mut victim = connect();
    let id = id_of(&mut victim);
    asks.run(&format!("set @id = {id}"));
    asks.run("kill @id + 0");
    assert!(victim.is_closed());
    let other = || {
        WORLD
            .proxy
            .connect_as(world::NATIVE_USER, world::NATIVE_PASSWORD, Some("test"))
    };
    let mut theirs = [other(), other(), other()];
    assert!(theirs.iter_mut().all(Connection::ping));
    let answer = asks.query(&format!("kill user {}", world::NATIVE_USER));
    assert!(matches!(answer, Answer::Ok { affected: 3, .. }), "{answer:?}");
    assert!(theirs.iter_mut().all(Connection::is_closed));
    assert!(asks.ping(), "its own session goes on");
}
