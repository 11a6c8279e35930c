//! Values in all their forms: what an unsharded keyspace finds, a sharded one finds too, because
//! rows are placed by what the column holds and not by how it was written.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, Coregate, guard, world};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const TABLES: &str = "
create table ints (id bigint not null primary key, v varchar(20)) character set utf8mb4;
create table texts (k varchar(50) collate utf8mb4_bin not null primary key, v int) character set \
utf8mb4;
create table old (k varchar(50) collate latin1_bin not null primary key, v int) character set \
latin1;
create table chars (k char(10) collate utf8mb4_bin not null primary key, v int) character set \
utf8mb4;
create table bytes (k varbinary(50) not null primary key, v int);
create table fixed (k binary(4) not null primary key, v int);
create table wide (k varchar(20) collate ucs2_bin not null primary key, v int) character set ucs2;
create table chinese (k varchar(20) collate gbk_bin not null primary key, v int) character set gbk;
create table loose (k varchar(20) collate utf8mb4_bin null, v int) character set utf8mb4;
create table latin (k varchar(20) collate latin1_bin not null, v int) character set latin1;
create table seen (k varchar(200) collate utf8mb4_bin not null primary key, v int) character set \
utf8mb4;
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
    "text": {"type": "xxhash"}}, "tables": {
    "ints": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "texts": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "old": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "chars": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "bytes": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "wide": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "chinese": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "loose": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "latin": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "seen": {"column_vindexes": [{"column": "k", "name": "text"}]},
    "fixed": {"column_vindexes": [{"column": "k", "name": "text"}]}}}"#;

static CLUSTER: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("placement");
    std::fs::create_dir_all(&dir).unwrap();
    for keyspace in ["plain", "ring"] {
        std::fs::write(dir.join(format!("{keyspace}.sql")), TABLES).unwrap();
    }
    std::fs::write(dir.join("ring.json"), VSCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    Coregate::local(
        "placement",
        &["--keyspace", "plain", "--keyspace", "ring:4", "--schema", dir, "--vschema", dir],
    )
});

/// One client of each keyspace, alone with the tables: each test begins by emptying its own.
struct Both {
    plain: Connection,
    ring: Connection,
    _alone: MutexGuard<'static, ()>,
}

static TABLES_IN_USE: Mutex<()> = Mutex::new(());

fn query(connection: &mut Connection, sql: &[u8]) -> Answer {
    connection.send_command(3, sql).unwrap();
    connection.answer(false).unwrap()
}

fn sorted(answer: &Answer) -> Vec<String> {
    let mut rows: Vec<_> = match answer {
        Answer::Rows { rows, raw, .. } if rows.is_empty() => {
            raw.iter().map(|r| format!("{r:?}")).collect()
        }
        Answer::Rows { rows, .. } => rows.iter().map(|r| format!("{r:?}")).collect(),
        Answer::Ok { affected, .. } => vec![format!("{affected} rows changed")],
        Answer::Error(e) => vec![format!("error {} {}", e.code, e.message)],
    };
    rows.sort();
    rows
}

impl Both {
    fn new(table: &str) -> Self {
        let open = |keyspace| CLUSTER.connect_as(world::USER, world::PASSWORD, Some(keyspace));
        let alone = TABLES_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut both = Self { plain: open("plain"), ring: open("ring"), _alone: alone };
        both.same(format!("delete from {table}").as_bytes());
        both
    }

    fn same(&mut self, sql: &[u8]) -> Answer {
        let (plain, ring) = (query(&mut self.plain, sql), query(&mut self.ring, sql));
        assert_eq!(sorted(&plain), sorted(&ring), "{}", String::from_utf8_lossy(sql));
        plain
    }

    fn names(&mut self, charset: &str) {
        self.same(format!("set names {charset}").as_bytes());
    }
}

#[test]
fn every_form_of_an_integer_finds_its_row() {
    let mut both = Both::new("ints");
    let rows: Vec<_> = (-8..=24).map(|n| format!("({n}, 'v{n}')")).collect();
    both.same(format!("insert into ints values {}", rows.join(", ")).as_bytes());
    let sql = "select id, v from ints where id = ?";
    let (plain, ring) = (both.plain.prepare(sql).unwrap(), both.ring.prepare(sql).unwrap());
    for n in -8..=24i64 {
        let text = n.to_string();
        let forms = [
            Value::Int(n),
            Value::Double(n as f64),
            Value::Double(n as f64 + 0.5),
            Value::Bytes(text.clone().into_bytes()),
            Value::Bytes(format!("{text}.0").into_bytes()),
            Value::Bytes(format!("{text}x").into_bytes()),
        ];
        for (nth, form) in forms.iter().enumerate() {
            let values = std::slice::from_ref(form);
            let (wanted, got) =
                (both.plain.execute(&plain, values), both.ring.execute(&ring, values));
            assert_eq!(sorted(&wanted), sorted(&got), "{form:?}");
            assert_eq!(sorted(&wanted).len(), usize::from(nth != 2), "{form:?}");
        }
        for form in [
            format!("{n}.0"),
            format!("{n}e0"),
            format!("{n}.5"),
            format!("'{n}'"),
            format!("'{n}.0'"),
            format!("' {n}'"),
            format!("'{n}abc'"),
            format!("_binary'{n}'"),
            format!("0x{:02x}", n.max(0)),
        ] {
            both.same(format!("select id, v from ints where id = {form}").as_bytes());
            both.same(format!("select id, v from ints where id in ({form}, 3, NULL)").as_bytes());
        }
        both.same(format!("update ints set v = 'new' where id = {n}.0").as_bytes());
    }
    both.same(b"select * from ints where id = x'35'");
    both.same(b"select * from ints where id = b'101'");
    both.same(b"select * from ints where id = true");
    both.same(b"insert into ints values ('0100', 'text'), (101.0, 'decimal'), (0x66, 'hex')");
    both.same(b"select * from ints where id in (100, 101, 102)");
}

#[test]
fn numbers_are_many_texts() {
    let mut both = Both::new("texts");
    both.same(
        b"insert into texts values ('5', 1), ('05', 2), ('5.0', 3), ('5abc', 4), ('6', 5), (7, 6), \
            (1.50, 7)",
    );
    for condition in [
        "k = 5",
        "k = 5.0",
        "k = 5e0",
        "k in (5, 7)",
        "k = '5'",
        "k in ('05', 6)",
        "k = '7'",
        "k = '1.50'",
    ] {
        both.same(format!("select * from texts where {condition}").as_bytes());
    }
    let sql = "select k, v from texts where k = ?";
    let (plain, ring) = (both.plain.prepare(sql).unwrap(), both.ring.prepare(sql).unwrap());
    for value in [Value::Int(5), Value::Double(5.0), Value::from("05")] {
        let values = std::slice::from_ref(&value);
        let (wanted, got) = (both.plain.execute(&plain, values), both.ring.execute(&ring, values));
        assert_eq!(sorted(&wanted), sorted(&got), "{value:?}");
    }
}

/// The text in the session's character set.
fn encoded(charset: &str, text: &str) -> Vec<u8> {
    let byte = |c: char| match (charset, c) {
        (_, '\0'..='\x7f') => c as u8,
        ("latin1", '€') => 0x80,
        ("latin1", _) => u8::try_from(u32::from(c)).unwrap(),
        ("cp1251", 'А'..='я') => (u32::from(c) - 0x410 + 0xC0) as u8,
        _ => panic!("{c} in {charset}"),
    };
    if charset.starts_with("utf8") { text.into() } else { text.chars().map(byte).collect() }
}

#[test]
fn text_lies_where_it_lies_in_any_character_set() {
    for table in ["texts", "old"] {
        let mut both = Both::new(table);
        let mut wanted = 0;
        for (charset, words) in [
            ("latin1", &["café", "Ünal", "ß", "10 €", "plain", "a\\'b é"][..]),
            ("utf8mb4", &["naïve", "Åse", "hôtel", "x"][..]),
            ("cp1251", &["Да", "нет", "cp"][..]),
        ] {
            if table == "old" && charset == "cp1251" {
                continue;
            }
            both.names(charset);
            for word in words {
                let sql = [
                    b"insert into ",
                    table.as_bytes(),
                    b" values ('",
                    &encoded(charset, word)[..],
                    b"', 1)",
                ];
                both.same(&sql.concat());
                wanted += 1;
            }
        }
        both.names("utf8mb4");
        let all = both.same(format!("select k from {table}").as_bytes());
        assert_eq!(sorted(&all).len(), wanted);
        for (charset, words) in [
            (
                "utf8mb4",
                &["café", "Ünal", "ß", "10 €", "naïve", "Åse", "hôtel", "Да", "нет", "plain"][..],
            ),
            ("latin1", &["café", "Ünal", "naïve", "Åse", "hôtel", "10 €", "x"][..]),
            ("cp1251", &["Да", "нет", "cp"][..]),
        ] {
            both.names(charset);
            for word in words {
                let quoted = [b"'", &encoded(charset, word)[..], b"'"].concat();
                let select = [b"select hex(k) from ", table.as_bytes(), b" where k = "].concat();
                let found = both.same(&[&select[..], &quoted[..]].concat());
                if !(table == "old" && matches!(*word, "Да" | "нет" | "cp")) {
                    assert_eq!(sorted(&found).len(), 1, "{charset} {word}");
                }
                both.same(&[&select[..], b"_", charset.as_bytes(), &quoted[..]].concat());
                both.same(&[&select[..], b"N", &quoted[..]].concat());
                both.same(
                    &[&select[..], &quoted[..], b" collate ", charset.as_bytes(), b"_bin"].concat(),
                );
                let hex: String = encoded(charset, word)
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                both.same(&[&select[..], b"x'", hex.as_bytes(), b"'"].concat());
                both.same(&[&select[..], b"_latin1 0x", hex.as_bytes()].concat());
                let sql = format!("select hex(k) from {table} where k = ?");
                let (plain, ring) =
                    (both.plain.prepare(&sql).unwrap(), both.ring.prepare(&sql).unwrap());
                let value = [Value::Bytes(encoded(charset, word))];
                let (wanted, got) =
                    (both.plain.execute(&plain, &value), both.ring.execute(&ring, &value));
                assert_eq!(sorted(&wanted), sorted(&got), "{charset} {word}");
            }
        }
    }
}

#[test]
fn text_that_cannot_be_converted_is_looked_for_everywhere_and_not_placed() {
    let mut both = Both::new("texts");
    both.same("insert into texts values ('中文', 1), ('日', 2)".as_bytes());
    for (charset, word) in
        [("gbk", &b"\xd6\xd0\xce\xc4"[..]), ("euckr", b"\xec\xee\xd9\xfe"), ("sjis", b"\x93\xfa")]
    {
        both.names(charset);
        both.same(&[b"select hex(k) from texts where k = '", word, b"'"].concat());
        let insert = [b"insert into texts values ('", word, b" new', 3)"].concat();
        let refused = query(&mut both.ring, &insert);
        assert!(refused.error().message.contains("SET NAMES utf8mb4"), "{refused:?}");
        // Half of a character that is a backslash.
        if charset != "euckr" {
            let refused = query(&mut both.ring, b"select k from texts where k = '\x81\\'");
            assert_eq!(refused.error().code, 1235, "{refused:?}");
        }
        both.same(b"select hex(k) from texts where k = 'ascii'");
    }
}

#[test]
fn settings_of_character_sets_replace_each_other() {
    let mut both = Both::new("texts");
    both.same(b"set character_set_client = latin1");
    both.names("utf8mb4");
    both.same("insert into texts values ('é', 1)".as_bytes());
    both.same(b"set character_set_client = latin1, character_set_connection = latin1");
    assert_eq!(sorted(&both.same(b"select v from texts where k = '\xe9'")).len(), 1);
    both.same(b"set collation_connection = utf8mb4_bin");
    assert_eq!(sorted(&both.same(b"select v from texts where k = '\xe9'")).len(), 1);
    both.same(b"set character set utf8mb4");
    assert_eq!(sorted(&both.same("select v from texts where k = 'é'".as_bytes())).len(), 1);
}

#[test]
fn bytes_and_fixed_lengths() {
    let mut both = Both::new("bytes");
    both.names("latin1");
    both.same(b"insert into bytes values ('\xe9', 1), (x'c3a9', 2), (0x4142, 3), (_binary'z', 4)");
    for value in
        [&b"'\xe9'"[..], b"x'e9'", b"x'c3a9'", b"_binary'\xc3\xa9'", b"'AB'", b"'z'", b"0x7a"]
    {
        assert_eq!(
            sorted(&both.same(&[b"select v from bytes where k = ", value].concat())).len(),
            1
        );
    }
    both.same(b"delete from chars");
    both.same(b"insert into chars values ('a', 1), ('b   ', 2), (' c', 3)");
    for value in ["'a'", "'a  '", "'b'", "'b '", "' c'", "'c'"] {
        both.same(format!("select v from chars where k = {value}").as_bytes());
    }
    both.same(b"delete from fixed");
    both.same(b"insert into fixed values ('abcd', 1), (x'61620000', 2)");
    for value in ["'abcd'", "'ab'", "x'61620000'", "x'6162'"] {
        both.same(format!("select v from fixed where k = {value}").as_bytes());
    }
    let refused = query(&mut both.ring, b"insert into fixed values ('ab', 3)");
    assert!(refused.error().message.contains("another form"), "{refused:?}");
}

/// sql_mode that is computed decides how strings are read, as one that is written out.
#[test]
fn a_computed_sql_mode_is_known() {
    let mut both = Both::new("texts");
    both.same(br"insert into texts values ('a\\b', 1), ('a\\\\b', 2)");
    both.same(b"set sql_mode = concat(@@sql_mode, ',NO_BACKSLASH_ESCAPES')");
    assert_eq!(sorted(&both.same(br"select v from texts where k = 'a\b'")).len(), 1);
    assert_eq!(sorted(&both.same(br"select v from texts where k = 'a\\b'")).len(), 1);
}

/// A row whose key the server would change lies where nobody looks for it.
#[test]
fn keys_that_the_server_would_change_are_refused() {
    let mut ring = CLUSTER.connect_as(world::USER, world::PASSWORD, Some("ring"));
    ring.run("insert into loose values ('日本', 1), ('a', 2)");
    ring.run("insert into chinese values ('日本', 1)");
    for mode in ["STRICT_TRANS_TABLES", ""] {
        ring.run(&format!("set sql_mode = '{mode}'"));
        for (sql, code) in [
            ("insert into latin values ('b', 1), (null, 1)", 1048),
            ("insert ignore into latin values ('日本', 1)", 1235),
            ("insert into latin values ('b', 1), ('日本', 1)", 1235),
            ("insert ignore into latin select k, v from loose", 1235),
            ("insert ignore into wide values (x'6100', 1)", 1105),
            ("insert ignore into wide values ('😀', 1)", 1235),
            ("insert ignore into chinese values ('ü日', 1)", 1235),
        ] {
            let answer = ring.query(sql);
            assert_eq!(answer.error().code, code, "{mode} {sql}: {answer:?}");
        }
    }
    assert_eq!(
        ring.query("insert into chinese values ('本', 1)")
            .error()
            .code,
        1235
    );
    ring.run("insert into wide values ('日本', 1)");
    assert_eq!(
        ring.query("select v from wide where k = '日本'")
            .rows()
            .len(),
        1
    );
    assert_eq!(ring.query("select * from latin").rows().len(), 0);
    // What the server stores in the place of NULL is known.
    ring.run("insert ignore into latin values (null, 1)");
    assert_eq!(ring.value("select v from latin where k = ''").unwrap(), "1");
    ring.run("delete from latin");
}

/// One server knows its own databases only.
#[test]
fn writes_do_not_ask_one_server_for_all_of_information_schema() {
    let mut plain = CLUSTER.connect_as(world::USER, world::PASSWORD, Some("plain"));
    let all = "from information_schema.tables where table_schema in ('plain', 'ring')";
    plain.run(&format!("insert into seen select concat(table_schema, '.', table_name), 1 {all}"));
    let wanted = plain.query(&format!("select count(*) {all}")).rows();
    assert_eq!(plain.query("select count(*) from seen").rows(), wanted);
    for sql in [
        "delete from seen where k in (select table_name from information_schema.tables)",
        "update seen set v = (select count(*) from information_schema.tables)",
        "insert into seen values ('x', (select count(*) from information_schema.tables))",
        "create table made as select table_name from information_schema.tables",
    ] {
        assert_eq!(plain.query(sql).error().code, 1235, "{sql}");
    }
}
