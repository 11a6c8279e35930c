use super::*;

const SIZES: Sizes = Sizes { rows: 1000, scale: 2 };

#[test]
fn tables_of_a_load_and_statements_that_are_repeated_together() {
    let text = "[[table]]\nname = \"t\"\ncreate = \"a INT, b INT\"\nrows = \"scale*2\"\nvalues = \
        \"(${part(2,scale)},${part(1,2)})\"\n\
        [[transaction]]\nstatements = \
        [{ times = 2, statements = [\"SELECT ${a=seq}\", \"SELECT ${a}\"] }]";
    let work = Work::parse("x", text, SIZES).unwrap();
    let table = &work.own[0];
    assert_eq!(table.rows, 4);
    let sql = table.insert(1..=4, &mut Random::new(1));
    assert_eq!(sql, "INSERT INTO t VALUES (1,1),(1,2),(2,1),(2,2)");
    assert_eq!(work.transactions[0].statements.len(), 4);
    for (table, part) in [
        ("name = \"a b\"\nrows = \"0\"", "letters, digits and _"),
        ("name = \"a\"\nrows = \"-1\"", "-1 rows"),
        ("name = \"a\"\nrows = \"1\"", "values are one row"),
    ] {
        let text = format!(
            "[[table]]\ncreate = \"a INT\"\n{table}\n[[transaction]]\nstatements = [\"SELECT 1\"]"
        );
        let error = Work::parse("x", &text, SIZES).unwrap_err();
        assert!(error.contains(part), "{table}: {error}");
    }
}

#[test]
fn ours_can_be_read() {
    for name in Work::names() {
        let work = Work::find(name, SIZES).unwrap();
        assert!(!work.title.is_empty() && !work.transactions.is_empty(), "{name}");
    }
}

#[test]
fn weights_and_rows_of_values() {
    let work = Work::parse(
        "x",
        "[[transaction]]\nweight = 3\nstatements = [\"SELECT 1\"]\n[[transaction]]\n\
         statements = [\"BEGIN\", \
         { sql = \"INSERT INTO t VALUES \", values = \"(${seq},${digits(2)})\", repeat = 3 }]",
        SIZES,
    )
    .unwrap();
    let mut random = Random::new(1);
    let seconds = (0..4_000).filter(|_| work.choose(&mut random) == 1).count();
    assert!((900..1_100).contains(&seconds), "{seconds}");
    let [begin, insert] = work.transactions[1].statements.as_slice() else { panic!() };
    assert!(!begin.preparable && insert.preparable);
    assert_eq!(insert.prepared_text(), "INSERT INTO t VALUES (?,?),(?,?),(?,?)");
    let (mut seq, mut values) = (1, Vec::new());
    insert.draw(
        &mut Draw { random: &mut random, named: &mut [], seq: &mut seq, step: 10, row: 1 },
        &mut values,
    );
    assert_eq!((values.len(), &values[4], seq), (6, &Value::Int(21), 31));
}

#[test]
fn mistakes_name_their_place() {
    for (text, part) in [
        ("", "missing field `transaction`"),
        ("x = 1", "unknown field `x`"),
        ("[[transaction]]\nstatements = []", "transaction 1: it has no statements"),
        (
            "[[transaction]]\nstatements = [\"SELECT ${x}\"]",
            "transaction 1: statement 1: ${x}: no value",
        ),
        ("[[transaction]]\nweight = 0\nstatements = [\"SELECT 1\"]", "all weights are 0"),
        (
            "tables = [\"t\"]\n[[transaction]]\nstatements = [\"SELECT 1\"]",
            "\"t\" is none of the harness's",
        ),
        ("[[transaction]]\nstatements = [{ sql = \"SELECT 1\", row = 1 }]", "unknown field `row`"),
        (
            "[[transaction]]\nstatements = \
                [{ sql = \"INSERT INTO t VALUES \", values = \"(${seq},${seq})\", repeat = 40000 }]",
            "80000 values, 65535 is the most",
        ),
    ] {
        let error = Work::parse("x", text, SIZES).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let missing = Work::find("no-such-load", SIZES).unwrap_err().to_string();
    assert!(missing.contains("ours are point, read_only"), "{missing}");
}
