//! Parameters of queries over shards keep their types and their coercibility.
use super::world::WORLD;
use coregate_tests::Answer;
use coregate_tests::wire::Value;

#[test]
fn decimals_stay_exact() {
    let (mut plain, mut sharded) = (WORLD.server.connect(), WORLD.sharded());
    for sql in [
        "select id, big + ? from things order by id limit 5",
        "select sum(big) + ? from things",
        "select id from things where d in (?, 7) order by id",
        "select id, d * ?, - ? from things order by d desc, id limit 3",
    ] {
        let answers = [&mut plain, &mut sharded].map(|conn| {
            let statement = conn.prepare(sql).unwrap();
            let values = vec![Value::Decimal("-90071992547409931.01"); sql.matches('?').count()];
            let answer = conn.execute(&statement, &values);
            conn.close_statement(&statement);
            answer
        });
        let rows = answers.map(|answer| super::outcome(answer, true));
        assert!(matches!(rows[0], super::Outcome::Rows { .. }), "{sql}: {rows:?}");
        assert_eq!(super::rows_of(&rows[0]), super::rows_of(&rows[1]), "{sql}");
    }
}

#[test]
fn texts_take_the_collation_of_what_they_are_compared_with() {
    let (mut plain, mut sharded) = (WORLD.server.connect(), WORLD.sharded());
    for conn in [&mut plain, &mut sharded] {
        conn.run("set @text = '\u{e4}', @other = 'b'");
    }
    for sql in [
        "select count(*) from things where la = ?",
        "select count(*) from things where c < ?",
        "select count(*), max(vc) from things where concat(vc, ?) <> ci",
        "select id from notes where body > ? order by id limit 3",
    ] {
        for using in ["@text", "@other"] {
            let rows = [&mut plain, &mut sharded].map(|conn| {
                conn.run(&format!("prepare s from '{sql}'"));
                conn.query(&format!("execute s using {using}")).rows()
            });
            assert_eq!(rows[0], rows[1], "{sql} using {using}");
        }
    }
}

/// The names of an answer's columns.
fn names(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Rows { columns, .. } => columns.iter().map(|c| c.name.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn expressions_are_called_by_their_text() {
    let (mut plain, mut sharded) = (WORLD.server.connect(), WORLD.sharded());
    for sql in [
        "select id+? from customers",
        "select id + ?, upper(?) from customers order by id",
        "select id, concat(name, ?) from customers order by name, id limit 3",
        "select distinct quantity + ? from orders",
        "select quantity + ?, count(*) * ? from orders group by quantity + ?",
        "select quantity, count(*), max(amount) + ? from orders group by quantity order by \
            max(amount) + ?",
        "select c.id+?, n.id from customers c join notes n on n.customer_id = c.id",
        "select x.n+? from (select quantity+? n from orders) x",
        "select id+? from customers union select id - ? from notes",
    ] {
        let params = sql.matches('?').count();
        let answers = [&mut plain, &mut sharded].map(|conn| {
            let statement = conn.prepare(sql).unwrap();
            let answer = conn.execute(&statement, &vec![Value::Int(1); params]);
            conn.close_statement(&statement);
            answer
        });
        assert_eq!(names(&answers[0]), names(&answers[1]), "{sql}");
        let using = vec!["@one"; params].join(", ");
        let answers = [&mut plain, &mut sharded].map(|conn| {
            conn.run("set @one = 1");
            conn.run(&format!("prepare s from '{sql}'"));
            conn.query(&format!("execute s using {using}"))
        });
        assert_eq!(names(&answers[0]), names(&answers[1]), "{sql} by name");
    }
}

/// What MariaDB reads out of a parameter that should be a number of rows.
#[test]
fn numbers_of_rows_are_read_as_a_server_reads_them() {
    let (mut plain, mut sharded) = (WORLD.server.connect(), WORLD.sharded());
    let values = || {
        [
            (Value::Null, "null"),
            (Value::from("2"), "'2'"),
            (Value::from("x"), "'x'"),
            (Value::Double(1.7), "1.7e0"),
            (Value::Decimal("2.4"), "2.4"),
        ]
    };
    for sql in [
        "select id from customers order by id limit ?",
        "select id from customers order by id limit 1, ?",
        "select id from customers order by id limit 2 offset ?",
        "select quantity, count(*) from orders group by quantity order by quantity limit ?",
        "select c.id from customers c join notes n on n.id = c.id order by c.id limit ?",
    ] {
        for (value, text) in values() {
            let rows = [&mut plain, &mut sharded].map(|conn| {
                let statement = conn.prepare(sql).unwrap();
                let answer = conn.execute(&statement, std::slice::from_ref(&value));
                conn.close_statement(&statement);
                super::rows_of(&super::outcome(answer, true)).to_vec()
            });
            assert_eq!(rows[0], rows[1], "{sql} with {text}");
            // A server cuts a variable's double, and rounds a parameter's.
            if !text.contains('e') {
                let rows = [&mut plain, &mut sharded].map(|conn| {
                    conn.run(&format!("prepare s from '{sql}'"));
                    conn.run(&format!("set @value = {text}"));
                    conn.query("execute s using @value").rows()
                });
                assert_eq!(rows[0], rows[1], "{sql} with {text} by name");
            }
            // As text only whole numbers are no errors.
            let errors = [&mut plain, &mut sharded].map(|conn| {
                let text = conn.query(&sql.replace('?', text));
                text.error().code
            });
            assert_eq!(errors, [1064, 1064], "{sql} with {text} as text");
        }
    }
    let deleted = sharded
        .prepare("delete from customers order by id limit ?")
        .unwrap();
    let answer = sharded.execute(&deleted, &[Value::Int(-1)]);
    assert!(answer.is_error(), "{answer:?}");
}
