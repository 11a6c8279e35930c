//! Random statements on one server, and on a keyspace of two shards: the same rows, counts and
//! errors, or a refusal. A wrong row is the worst that a proxy can do.
//!
//! `make test` repeats one run, `make test-all` adds one of a new seed. `RANDOM_SEED` repeats that,
//! `RANDOM_STATEMENTS` makes it longer (a number for each table).
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use statements::{Random, Statements};
use std::fmt::Write;
use std::sync::LazyLock;
use values::{KINDS, Kind};

mod statements;
mod values;

struct World {
    server: MariaDb,
    local: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = guard::dir().join("random");
    std::fs::create_dir_all(&dir).unwrap();
    let mut tables = Vec::new();
    let mut vindexes = Vec::new();
    for Kind { table, vindex, .. } in KINDS {
        tables.push(format!(
            r#""{table}": {{"column_vindexes": [{{"column": "k", "name": "{vindex}"}}]}}"#
        ));
        vindexes.push(format!(r#""{vindex}": {{"type": "{vindex}"}}"#));
    }
    vindexes.sort();
    vindexes.dedup();
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{{}}}, "tables": {{{}}}}}"#,
        vindexes.join(", "),
        tables.join(", ")
    );
    std::fs::write(dir.join("test.json"), vschema).unwrap();
    std::fs::write(dir.join("test.sql"), schema()).unwrap();
    let dir = dir.to_str().unwrap();
    let local =
        Coregate::local("cluster", &["--keyspace", "test:2", "--schema", dir, "--vschema", dir]);
    let server = MariaDb::start("plain", &[]);
    let mut plain = server.connect();
    for statement in schema().lines() {
        plain.run(statement);
    }
    World { server, local }
});

fn schema() -> String {
    KINDS
        .iter()
        .fold(String::new(), |mut sql, Kind { table, column, .. }| {
            let columns = format!(
                "id bigint not null, k {column}, v int default 1, w varchar(20), key (k), key (id)"
            );
            let _ = writeln!(
                sql,
                "create table {table} ({columns}) character set utf8mb4 collate utf8mb4_general_ci;"
            );
            sql
        })
}

/// What must be the same. Rows may come in any order: nothing that is accepted on several shards
/// has one.
#[derive(Debug, PartialEq)]
enum Outcome {
    Rows(Vec<Vec<Option<Vec<u8>>>>, Vec<Vec<u8>>),
    Done(u64),
    Failed(u16),
    Refused,
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        // Unsupported; not a literal; a value that the server would store in another form.
        Answer::Error(e)
            if [
                "VT12001",
                "INSERT into a sharded table needs a literal",
                "cannot map the value",
            ]
            .iter()
            .any(|code| e.message.starts_with(code)) =>
        {
            Outcome::Refused
        }
        Answer::Error(e) => Outcome::Failed(e.code),
        Answer::Ok { affected, .. } => Outcome::Done(affected),
        Answer::Rows { mut rows, mut raw, .. } => {
            rows.sort();
            raw.sort();
            Outcome::Rows(rows, raw)
        }
    }
}

/// Values that a server looks at only where a row is: one with rows warns or fails, one without
/// does neither. The statement has changed nothing then, on either side, which the next look at the
/// tables shows.
fn depends_on_rows(plain: &Outcome, sharded: &Outcome) -> bool {
    const TRUNCATED: [u16; 3] = [1292, 1366, 1411];
    match (plain, sharded) {
        (Outcome::Failed(code), Outcome::Done(0)) | (Outcome::Done(0), Outcome::Failed(code)) => {
            TRUNCATED.contains(code)
        }
        (Outcome::Failed(a), Outcome::Failed(b)) => a == b,
        _ => false,
    }
}

/// Rows that only one has, or all that was said.
fn differences(plain: &Outcome, sharded: &Outcome) -> String {
    let (Outcome::Rows(texts, binaries), Outcome::Rows(others, other_binaries)) = (plain, sharded)
    else {
        return format!("    plain:   {plain:?}\n    sharded: {sharded:?}\n");
    };
    let show = |row: &[Option<Vec<u8>>]| {
        let cells = row
            .iter()
            .map(|c| c.as_ref().map(|c| String::from_utf8_lossy(c).into_owned()));
        format!("{:?}", cells.collect::<Vec<_>>())
    };
    let all = |rows: &[Vec<Option<Vec<u8>>>], raw: &[Vec<u8>]| -> Vec<String> {
        let raw = raw.iter().map(|row| format!("{row:?}"));
        if rows.is_empty() { raw.collect() } else { rows.iter().map(|row| show(row)).collect() }
    };
    let (ours, theirs) = (all(texts, binaries), all(others, other_binaries));
    let count = |rows: &[String], row: &String| rows.iter().filter(|r| *r == row).count();
    let mut each: Vec<&String> = ours.iter().chain(&theirs).collect();
    each.sort();
    each.dedup();
    each.into_iter()
        .filter(|row| count(&ours, row) != count(&theirs, row))
        .fold(String::new(), |mut text, row| {
            let _ = writeln!(
                text,
                "    {} times, on shards {} times: {row}",
                count(&ours, row),
                count(&theirs, row)
            );
            text
        })
}

struct Pair {
    plain: Connection,
    sharded: Connection,
    refused: usize,
    compared: usize,
}

impl Pair {
    fn new() -> Self {
        let plain = WORLD.server.connect();
        let sharded = WORLD
            .local
            .connect_as(world::USER, world::PASSWORD, Some("test"));
        Self { plain, sharded, refused: 0, compared: 0 }
    }

    /// The sharded keyspace is asked first: what it refuses is done nowhere.
    fn compare(
        &mut self,
        sql: &str,
        run: impl Fn(&mut Connection) -> Answer,
    ) -> Result<(), String> {
        let answer = run(&mut self.sharded);
        let why = format!("{answer:.300?}");
        let sharded = outcome(answer);
        if sharded == Outcome::Refused {
            self.refused += 1;
            return Ok(());
        }
        self.compared += 1;
        let plain = outcome(run(&mut self.plain));
        if plain == sharded || depends_on_rows(&plain, &sharded) {
            return Ok(());
        }
        Err(format!("{sql}\n{}    {why}", differences(&plain, &sharded)))
    }

    fn text(&mut self, sql: &str) -> Result<(), String> {
        self.compare(sql, |conn| conn.query(sql))
    }

    /// With its plain literals as parameters.
    fn prepared(&mut self, sql: &str) -> Result<(), String> {
        let (text, values) = parameters(sql);
        self.compare(&format!("{text} with {values:?}"), |conn| match conn.prepare(&text) {
            Ok(statement) => {
                let answer = conn.execute(&statement, &values);
                conn.close_statement(&statement);
                answer
            }
            Err(error) => Answer::Error(error),
        })
    }
}

/// Takes numbers and simple strings out of a statement.
fn parameters(sql: &str) -> (String, Vec<Value>) {
    let (mut text, mut values) = (String::new(), Vec::new());
    let mut words = sql.split_inclusive(' ').peekable();
    let mut before = "";
    while let Some(word) = words.next() {
        let core = word.trim_end_matches([' ', ',', ')']);
        let body = core.trim_start_matches('(');
        let place = matches!(before.trim(), "=" | "<=>" | "in" | "values" | "between" | "and")
            || before.ends_with(", ");
        let value = match body.strip_prefix('\'').and_then(|b| b.strip_suffix('\'')) {
            Some(inner)
                if inner
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') =>
            {
                Some(Value::from(inner))
            }
            Some(_) => None,
            None if body == "null" => Some(Value::Null),
            None if body.contains(['.', 'e']) => body
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite())
                .map(Value::Double),
            None => body.parse().ok().map(Value::Int),
        };
        // A value that goes on behind the space is an expression.
        let alone = core.len() < word.trim_end().len()
            || words
                .peek()
                .is_none_or(|w| w.starts_with(char::is_alphabetic));
        match value.filter(|_| place && alone && !body.is_empty()) {
            Some(value) => {
                text.push_str(&core[..core.len() - body.len()]);
                text.push('?');
                text.push_str(&word[core.len()..]);
                values.push(value);
            }
            None => text.push_str(word),
        }
        before = word;
    }
    (text, values)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

#[test]
fn shards_answer_as_one_server() {
    answers_are_the_same(1, 250);
}

#[test]
#[ignore = "a minute"]
fn shards_answer_as_one_server_to_new_statements() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    answers_are_the_same(number("RANDOM_SEED", now.as_secs()), number("RANDOM_STATEMENTS", 1000));
}

fn answers_are_the_same(seed: u64, each: u64) {
    let mut pair = Pair::new();
    let mut wrong = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let mut random = Random(seed ^ (at as u64) << 40);
        let mut statements = Statements { random: &mut random, kind, next_id: 0 };
        let all = format!("select * from {}", kind.table);
        let (refused, compared) = (pair.refused, pair.compared);
        for n in 0..each {
            let writes = n % 3 == 0;
            let sql = if writes { statements.write() } else { statements.select() };
            let said = if n % 2 == 0 { pair.text(&sql) } else { pair.prepared(&sql) };
            let after = if writes { pair.text(&all) } else { Ok(()) };
            if let Err(text) = said.and_then(|()| after.map_err(|e| format!("after {sql}: {e}"))) {
                wrong.push(format!("{}, {}: {text}", kind.column, kind.vindex));
                // From here on the tables may differ.
                if writes {
                    break;
                }
            }
        }
        eprintln!(
            "{}: {} compared, {} refused",
            kind.table,
            pair.compared - compared,
            pair.refused - refused
        );
    }
    assert!(
        pair.compared > pair.refused,
        "{} of {} were refused",
        pair.refused,
        pair.refused + pair.compared
    );
    assert!(wrong.is_empty(), "seed {seed}: {} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn parameters_are_taken_out() {
    let (text, values) =
        parameters("select * from t where k in (5, 'x', '5 ', 1 + 2) and v = 3 or k = null");
    assert_eq!(text, "select * from t where k in (?, ?, '5 ', 1 + 2) and v = ? or k = ?");
    assert_eq!(
        format!("{values:?}"),
        format!("{:?}", [Value::Int(5), Value::from("x"), Value::Int(3), Value::Null])
    );
}
