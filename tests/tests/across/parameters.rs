//! Parameters of queries over shards keep their types and their coercibility.
use super::world::WORLD;
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
