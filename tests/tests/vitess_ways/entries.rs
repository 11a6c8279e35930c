//! Entries of lookup vindexes whose rows are gone, as a crash between two commits leaves them.
use super::{cluster, rows};
use coregate_tests::wire::Value;
use coregate_tests::{Connection, world};

const TABLES: &str = "
create table user (id bigint not null primary key, name varchar(20), a int);
create table name_vdx (name varchar(20) not null, id bigint not null,
    keyspace_id varbinary(20) not null, primary key (name, id));
create table music (user_id bigint, id bigint, genre varchar(20), primary key (user_id, id));
create table genre_vdx (genre varchar(20) not null, keyspace_id varbinary(20) not null,
    primary key (genre, keyspace_id));
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
    "by_name": {"type": "consistent_lookup", "owner": "user", "params": {"table": "name_vdx",
        "from": "name,id", "to": "keyspace_id", "ignore_nulls": "true"}},
    "by_genre": {"type": "consistent_lookup", "owner": "music", "params": {"table": "genre_vdx",
        "from": "genre", "to": "keyspace_id", "ignore_nulls": "true"}}},
 "tables": {
    "user": {"column_vindexes": [{"column": "id", "name": "hash"},
        {"columns": ["name", "id"], "name": "by_name"}]},
    "music": {"column_vindexes": [{"column": "user_id", "name": "hash"},
        {"column": "genre", "name": "by_genre"}]},
    "name_vdx": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "genre_vdx": {"pinned": "00"}}}"#;

/// Where the rows of the ids 1 to 8 lie.
const IDS: [&str; 8] = [
    "166b40b44aba4bd6",
    "06e7ea22ce92708f",
    "4eb190c9a2fa169c",
    "d2fd8867d50d2dfe",
    "70bb023c810ca87a",
    "f098480ac4c4be71",
    "fb8bfbbd9f2c8ad1",
    "c2f03a6b5d29e3a3",
];

#[test]
fn an_entry_without_its_row_is_taken_over_where_many_may_have_a_value() {
    let cluster = cluster("entries", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    client.run("insert into user(id, name) values (1, 'a'), (2, 'b')");
    // Left behind: of their own rows' places, and of another place.
    let left = [
        ("u1", 1, 0),
        ("u2", 2, 1),
        ("i3", 3, 2),
        ("i4", 4, 3),
        ("g5", 5, 4),
        ("r6", 6, 5),
        ("o7", 7, 6),
        ("p1", 1, 5),
    ];
    for (name, id, place) in left {
        let place = IDS[place];
        client.run(&format!("insert into name_vdx values ('{name}', {id}, x'{place}')"));
    }
    client.run("update user set name = 'u1' where id = 1");
    client.run("update user set name = 'u2', a = 1 where id = 2 limit 1");
    client.run("insert into user(id, name) values (3, 'i3')");
    let insert = client
        .prepare("insert into user(id, name) values (?, ?)")
        .unwrap();
    client
        .execute(&insert, &[Value::Int(4), Value::Bytes(b"i4".to_vec())])
        .ok();
    client.run("insert ignore into user(id, name) values (5, 'g5')");
    client.run("replace into user(id, name) values (6, 'r6')");
    client.run("insert into user(id, name) values (7, 'o7') on duplicate key update a = 2");
    let all = "select id, name from user order by id";
    let there = ["1|u1", "2|u2", "3|i3", "4|i4", "5|g5", "6|r6", "7|o7"];
    assert_eq!(rows(&client.query(all)), there);
    let found = "select id from user where name = ";
    for (id, name) in there.iter().map(|row| row.split_once('|').unwrap()) {
        assert_eq!(client.value(&format!("{found}'{name}'")).as_deref(), Some(id), "{name}");
    }
    wrong_places_are_put_right(&mut client);
    rows_that_are_there_keep_theirs(&mut client);
}

fn wrong_places_are_put_right(client: &mut Connection) {
    let found = "select id from user where name = ";
    client.run("update user set name = 'p1' where id = 1");
    assert_eq!(client.value(&format!("{found}'p1'")).as_deref(), Some("1"));
    let place = "select hex(keyspace_id) from name_vdx where name = 'p1' and id = 1";
    assert_eq!(client.value(place).unwrap().to_lowercase(), IDS[0]);
    // In a transaction, and undone with it.
    client.run(&format!("insert into name_vdx values ('x8', 8, x'{}')", IDS[7]));
    client.run("begin");
    client.run("insert into user(id, name) values (8, 'x8')");
    client.run("rollback");
    assert_eq!(
        client
            .value("select count(*) from user where id = 8")
            .as_deref(),
        Some("0")
    );
}

fn rows_that_are_there_keep_theirs(client: &mut Connection) {
    let found = "select id from user where name = ";
    assert_eq!(
        client
            .query("insert into user(id, name) values (3, 'i3')")
            .error()
            .code,
        1062
    );
    assert_eq!(client.value(&format!("{found}'i3'")).as_deref(), Some("3"));
    // Two rows of one place cannot share an entry; one that nobody has is free.
    client.run("insert into music values (1, 1, 'jazz')");
    let second = client.query("insert into music values (1, 2, 'jazz')");
    assert_eq!(second.error().code, 1062);
    client.run(&format!("insert into genre_vdx values ('rock', x'{}')", IDS[0]));
    client.run("insert into music values (1, 3, 'rock')");
    assert_eq!(
        client
            .value("select id from music where genre = 'rock'")
            .as_deref(),
        Some("3")
    );
}
