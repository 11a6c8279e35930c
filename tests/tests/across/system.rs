//! The list of connections that information_schema gives is Coregate's own.
use super::WORLD;
use super::faults::alone;
use coregate_tests::Connection;

fn id_of(conn: &mut Connection) -> String {
    conn.query("select connection_id()").rows()[0][0]
        .clone()
        .unwrap()
}

fn column(conn: &mut Connection, sql: &str) -> Vec<Option<String>> {
    conn.query(sql)
        .rows()
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

#[test]
fn processlist_has_the_sessions_by_their_own_ids() {
    let _turn = alone();
    let (mut one, mut other) = (WORLD.sharded(), WORLD.sharded());
    let (own, theirs) = (id_of(&mut one), id_of(&mut other));
    other.run("use lone");
    for sql in [
        "select id from information_schema.processlist",
        "select ID from INFORMATION_SCHEMA.PROCESSLIST order by time desc",
        "select p.id from information_schema.processlist p where p.command in ('Query', 'Sleep')",
    ] {
        let ids = column(&mut one, sql);
        assert!(
            ids.contains(&Some(own.clone())) && ids.contains(&Some(theirs.clone())),
            "{sql}: {ids:?}"
        );
        let shown = column(&mut one, "show processlist");
        assert_eq!(ids.len(), shown.len(), "{sql}");
    }
    let found = one
        .query(&format!(
            "select db, command, user from information_schema.processlist where id = {theirs}"
        ))
        .rows();
    assert_eq!(found, [[Some("lone".into()), Some("Sleep".into()), Some("app".into())]]);
    let running = column(
        &mut one,
        "select info from information_schema.processlist where command = 'Query' and info like \
            '%needle%'",
    );
    assert_eq!(running.len(), 1, "{running:?}");
    one.run(&format!("kill {theirs}"));
    let gone = column(
        &mut one,
        &format!("select count(*) from information_schema.processlist where id = {theirs}"),
    );
    assert_eq!(gone, [Some("0".into())]);
}

#[test]
fn prepared_and_joined_with_tables_of_shards() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    let own = id_of(&mut conn);
    conn.run(
        "prepare p from 'select p.id from information_schema.processlist p left join \
        customers c on c.id = p.id where p.id = ?'",
    );
    conn.run(&format!("set @id = {own}"));
    assert_eq!(column(&mut conn, "execute p using @id"), [Some(own)]);
    let statement = conn
        .prepare("select id, user from information_schema.processlist where id = connection_id()")
        .unwrap();
    let rows = conn.execute(&statement, &[]);
    assert!(format!("{rows:?}").contains("Rows"), "{rows:?}");
}
