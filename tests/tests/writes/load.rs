//! LOAD DATA LOCAL INFILE into tables of four shards leaves what it leaves on one server.
use super::{Pair, alone, world::WORLD};
use coregate_tests::infile::{self, load};
use std::net::SocketAddr;

/// Both sides, with clients that send files.
fn pair() -> Pair {
    let mut pair = Pair::new();
    let there = SocketAddr::from(([127, 0, 0, 1], WORLD.server.port));
    pair.plain
        .run("create user if not exists app@'%' identified by 'app'");
    pair.plain.run("grant all on *.* to app@'%'");
    pair.plain = infile::connect(there, "test");
    pair.sharded = infile::connect(WORLD.local.mysql, "test");
    pair.both("set names utf8mb4");
    pair
}

fn compare(pair: &mut Pair, sql: &str, file: &[u8]) {
    for size in [1 << 20, 7] {
        let pieces: Vec<&[u8]> = file.chunks(size).collect();
        pair.both("begin");
        let answers = [load(&mut pair.plain, sql, &pieces), load(&mut pair.sharded, sql, &pieces)];
        let shapes = answers
            .each_ref()
            .map(|answer| super::outcome(answer, false));
        if shapes[0] != shapes[1] {
            pair.wrong
                .push(format!("{sql}\n    plain {:?}\n    ours  {:?}", answers[0], answers[1]));
        }
        pair.compare_tables(sql);
        pair.both("rollback");
        pair.compare_tables(&format!("rollback: {sql}"));
    }
}

#[test]
fn files_are_divided_among_the_shards() {
    let _turn = alone();
    let mut pair = pair();
    let many: Vec<u8> = (100..3000)
        .flat_map(|n| format!("{n}\t{}\tbody {n}\t{n}.5\t\\N\n", n % 50).into_bytes())
        .collect();
    let csv = "id,customer_id,body\r\n\"101\",1,\"a,\"\"b\"\"\"\r\n102,2,\"two\r\nlines\"\r\n103,3,\\N\r\n104,4,\"\"";
    for (sql, file) in [
        ("load data local infile 'x' into table notes", many.as_slice()),
        (
            "load data local infile 'x' into table notes (id, customer_id, @b) set body = \
                upper(@b), weight = 1",
            &many,
        ),
        (
            "load data local infile 'x' into table test.notes character set utf8mb4 fields \
                terminated by ',' optionally enclosed by '\"' \
             lines terminated by '\\r\\n' ignore 1 lines (id, customer_id, body)",
            csv.as_bytes(),
        ),
        // Rows that are there already are left out, or replaced.
        (
            "load data local infile 'x' into table notes (id, customer_id)",
            b"1\t99\n200\t5\n2\t98\n",
        ),
        (
            "load data local infile 'x' replace into table notes (id, customer_id)",
            b"1\t99\n200\t5\n2\t98\n",
        ),
        (
            "load data local infile 'x' ignore into table notes (id, customer_id)",
            b"200\t5\n200\t6\n",
        ),
        // Fields are missing, or too many.
        (
            "load data local infile 'x' into table notes (id, customer_id, body)",
            b"201\n202\t1\tb\tmore\t5\n203\t2\t\\N\n",
        ),
        (
            "load data local infile 'x' into table notes (customer_id, id)",
            b"7\t301\n8\t302\n9\t303\n",
        ),
        (
            "load data local infile 'x' into table pairs character set utf8mb4 (a, b, v)",
            b"1\tneu\t5\n2\tx y\t6\n",
        ),
        (
            "load data local infile 'x' into table pairs fields terminated by '||' escaped by '' \
                (a, b, v)",
            b"1||n\\||5\n2||m||6",
        ),
        ("load data local infile 'x' into table countries", "it\tItalia\nes\tEspaña\n".as_bytes()),
        (
            "load data local infile 'x' into table keyless (a, b, c)",
            b"1\ta\t1.5\n9\tz\t2\n9\tz\t2\n",
        ),
        ("load data local infile 'x' into table notes", b""),
        ("load data local infile 'x' into table notes (id, no_such)", b"1\n"),
    ] {
        if sql.contains("countries") {
            // Of a server's own character set.
            pair.both("set character_set_database = utf8mb4");
        }
        compare(&mut pair, sql, file);
    }
    // No backslash is anything but itself then.
    pair.both("set sql_mode = 'NO_BACKSLASH_ESCAPES'");
    let lines: String = (201..220).map(|n| format!("{n}\t1\tx\\\n")).collect();
    compare(
        &mut pair,
        "load data local infile 'x' into table notes (id, customer_id, body)",
        lines.as_bytes(),
    );
    pair.both("set sql_mode = default");
    // Outside of a transaction.
    let pieces: Vec<&[u8]> = many.chunks(100_000).collect();
    for conn in [&mut pair.plain, &mut pair.sharded] {
        let answer = load(conn, "load data local infile 'x' into table notes", &pieces);
        assert!(format!("{answer:?}").contains("affected: 2900"), "{answer:?}");
    }
    pair.compare_tables("load");
    pair.refill();
    pair.end();
}

#[test]
fn a_line_without_a_place_undoes_the_whole_file() {
    let _turn = alone();
    let mut pair = pair();
    let conn = &mut pair.sharded;
    let before = conn.query("select count(*) from notes").rows();
    let big: Vec<u8> = (1000..60_000)
        .flat_map(|n| format!("{n}\t1\n").into_bytes())
        .collect();
    for last in [&b"\\N\t1\n"[..], b"x1\t1\n", b"99999999999999999999\t1\n", b"\t1\n"] {
        for begin in ["commit", "begin"] {
            conn.run(begin);
            let mut pieces: Vec<&[u8]> = big.chunks(65_536).collect();
            pieces.push(last);
            pieces.push(b"70000\t1\n");
            let sql = "load data local infile 'x' into table notes (id, customer_id)";
            let error = load(conn, sql, &pieces).error().clone();
            assert!(error.message.contains("line 59001"), "{error:?}");
            assert_eq!(conn.query("select count(*) from notes").rows(), before, "{begin}");
            conn.run("commit");
            assert_eq!(conn.query("select count(*) from notes").rows(), before, "{begin}");
        }
    }
    for (sql, what) in [
        ("load data local infile 'x' into table people (id)", "lookup"),
        ("load data infile 'x' into table notes", "LOCAL"),
        ("load data local infile 'x' into table notes (customer_id)", "field for 'id'"),
        ("load data local infile 'x' into table notes (id, @x) set id = @x", "SET of 'id'"),
        ("load data local infile 'x' into table notes lines starting by 'x'", "STARTING"),
        (
            "load data local infile 'x' into table notes fields terminated by '\\n'",
            "begins with the other",
        ),
        (
            "load data local infile 'x' into table notes fields terminated by 'aab' lines \
                terminated by 'aa'",
            "begins with the other",
        ),
        (
            "load data local infile 'x' into table notes fields escaped by '\\n'",
            "ESCAPED BY in the end",
        ),
        (
            "load data local infile 'x' into table notes fields terminated by 'x,' enclosed by 'x'",
            "ENCLOSED BY or ESCAPED BY",
        ),
    ] {
        let error = conn.query(sql).error().clone();
        assert!(error.code == 1235 && error.message.contains(what), "{sql}: {error:?}");
    }
    pair.compare_tables("nothing");
    pair.end();
}
