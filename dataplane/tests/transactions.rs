//! BEGIN travels with the statement that opens the transaction on a shard: no round trip of its
//! own.
mod support;

use coregate_dataplane::{Config, DataPlane};
use coregate_protocol::Capabilities;
use coregate_protocol::command::encode;
use support::{Log, OnBegin, Wire};

/// `hash(1)` lies on the first shard, `hash(4)` on the second.
/// As servers are told to end one, whatever their `completion_type`.
const COMMIT: &str = "COMMIT AND NO CHAIN NO RELEASE";
const ROLLBACK: &str = "ROLLBACK AND NO CHAIN NO RELEASE";
const FIRST: &str = "SELECT v FROM t WHERE id=1";
const SECOND: &str = "SELECT v FROM t WHERE id=4";

fn start(on_begin: OnBegin) -> (DataPlane, Wire, Log) {
    let (server, log) = support::server(on_begin);
    let plane = support::plane(support::sharded(server), Config::default());
    let client = support::log_in(plane.local_addr(), Some("ks"));
    (plane, client, log)
}

/// The answer's last packet.
fn run(client: &mut Wire, sql: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    encode::query(&mut payload, Capabilities::empty(), sql.as_bytes());
    client.command(&payload);
    support::answer(client).pop().expect("an answer")
}

fn is_error(packet: &[u8], code: u16) -> bool {
    packet.first() == Some(&0xFF) && packet.get(1..3) == Some(&code.to_le_bytes()[..])
}

/// What each connection was sent, apart from what sets it up.
fn by_connection(log: &Log) -> Vec<Vec<String>> {
    let mut connections: Vec<(usize, Vec<String>)> = Vec::new();
    let sets_up = |text: &str| text.contains("sql_mode") || text.contains("information_schema");
    let log = log.lock().expect("the log");
    for (n, text) in log.iter().filter(|(_, text)| !sets_up(text)) {
        match connections.iter_mut().find(|(known, _)| known == n) {
            Some((_, texts)) => texts.push(text.clone()),
            None => connections.push((*n, vec![text.clone()])),
        }
    }
    connections.into_iter().map(|(_, texts)| texts).collect()
}

/// The server answers BEGIN only when it has the statement: a proxy that waits in between would
/// wait for ever.
#[test]
fn begin_is_sent_together_with_the_first_statement_of_each_shard() {
    let (plane, mut client, log) = start(OnBegin::Hold);
    for _ in 0..3 {
        assert_eq!(run(&mut client, "BEGIN").first(), Some(&0));
        for sql in [FIRST, SECOND, FIRST] {
            assert_eq!(run(&mut client, sql).first(), Some(&0xFE), "{sql}");
        }
        assert_eq!(run(&mut client, "COMMIT").first(), Some(&0));
    }
    let sent = by_connection(&log);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[0][..4], ["BEGIN", FIRST, FIRST, COMMIT], "{sent:?}");
    assert_eq!(sent[1][..3], ["BEGIN", SECOND, COMMIT], "{sent:?}");
    plane.stop();
}

/// Two shards opened by one statement.
#[test]
fn a_scatter_opens_its_transaction_on_all_shards_at_once() {
    let (plane, mut client, log) = start(OnBegin::Hold);
    run(&mut client, "BEGIN");
    assert_eq!(run(&mut client, "SELECT v FROM t").first(), Some(&0xFE));
    run(&mut client, "ROLLBACK");
    for texts in by_connection(&log) {
        assert_eq!(texts, ["BEGIN", "SELECT v FROM t", ROLLBACK]);
    }
    plane.stop();
}

/// As in MySQL, an error of the first statement does not end the transaction.
#[test]
fn a_statement_that_fails_leaves_the_transaction_open() {
    let (plane, mut client, log) = start(OnBegin::Answer);
    run(&mut client, "BEGIN");
    assert!(is_error(&run(&mut client, "SELECT v FROM t WHERE id=1 AND v='fail'"), 1146));
    assert_eq!(run(&mut client, FIRST).first(), Some(&0xFE));
    run(&mut client, "COMMIT");
    let sent = by_connection(&log);
    // Behind an error that may have ended the transaction the server is asked for its status.
    let texts: Vec<&str> = sent[0]
        .iter()
        .map(String::as_str)
        .filter(|text| *text != "DO 0")
        .collect();
    assert_eq!(texts, ["BEGIN", "SELECT v FROM t WHERE id=1 AND v='fail'", FIRST, COMMIT]);
    plane.stop();
}

/// The statement behind a BEGIN that failed has run outside of it: the client is told, and its
/// connection is closed.
#[test]
fn a_begin_that_fails_is_not_passed_over() {
    let (plane, mut client, _) = start(OnBegin::Refuse);
    run(&mut client, "BEGIN");
    let answer = run(&mut client, FIRST);
    assert!(is_error(&answer, 1158), "{answer:?}");
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("could not be begun there (error 1317)"), "{text}");
    assert!(client.read().is_none(), "the connection is closed");
    plane.stop();
}

/// A connection with another session's settings gets its reset and its own in one round trip.
#[test]
fn settings_are_changed_in_one_round_trip() {
    let (server, log) = support::server(OnBegin::AnswerHoldReset);
    let config = Config { pool_size_per_core: 1, ..Config::default() };
    let plane = support::plane(support::sharded(server), config);
    let mut other = support::log_in(plane.local_addr(), Some("ks"));
    run(&mut other, "SET sort_buffer_size = 100000");
    assert_eq!(run(&mut other, FIRST).first(), Some(&0xFE));
    let mut client = support::log_in(plane.local_addr(), Some("ks"));
    assert_eq!(run(&mut client, FIRST).first(), Some(&0xFE));
    let sent = by_connection(&log);
    let last: Vec<&str> = sent
        .iter()
        .find(|texts| texts.contains(&"reset".to_owned()))
        .expect("a connection that was reset")
        .iter()
        .rev()
        .take(3)
        .map(String::as_str)
        .collect();
    assert!(last[0] == FIRST && last[1].starts_with("SET NAMES") && last[2] == "reset", "{sent:?}");
    plane.stop();
}
