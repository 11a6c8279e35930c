//! Every step between BEGIN and the end of a transaction, on either side of it: the proxy is killed
//! there, or a server, or the connection is cut. What becomes of the transaction is known for each.
use super::{CLUSTER, LEGS, SHARDS, TURN};
use coregate_tests::tap::{Side, Taps};
use coregate_tests::{Answer, Connection, Coregate, wait_until, world};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

/// The statements that servers see, in their order.
const STEPS: [&str; 8] = [
    // Of the shard that decides.
    "BEGIN",
    "XA START",
    "insert into leg",
    "XA END",
    "XA PREPARE",
    "INSERT INTO `_coregate`",
    "COMMIT AND",
    "XA COMMIT",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Proxy,
    Server,
    Connection,
}

/// One transaction; `true`: its COMMIT was acknowledged.
fn transaction(proxy: SocketAddr, tag: u64) -> std::io::Result<bool> {
    let mut conn = Connection::try_login(proxy, world::USER, world::PASSWORD, Some("ks"))
        .map_err(|error| std::io::Error::other(error.message))?;
    conn.try_query("begin")?;
    for id in ids(tag) {
        let answers = conn.try_query(&format!("insert into leg (id, tag) values ({id}, {tag})"))?;
        if answers.iter().any(Answer::is_error) {
            conn.try_query("rollback")?;
            return Ok(false);
        }
    }
    Ok(!conn.try_query("commit")?.iter().any(Answer::is_error))
}

fn ids(tag: u64) -> impl Iterator<Item = u64> {
    (0..LEGS).map(move |leg| 1_000_000 + tag * LEGS + leg)
}

/// A tag whose rows lie on all shards.
fn next_tag(placed: &BTreeMap<u64, usize>, from: u64) -> u64 {
    (from..)
        .find(|tag| {
            let shards: std::collections::BTreeSet<usize> =
                ids(*tag).map(|id| placed[&id]).collect();
            shards.len() == SHARDS.len()
        })
        .unwrap()
}

/// Where ids lie, as the servers show.
fn placed(proxy: &Coregate) -> BTreeMap<u64, usize> {
    let mut conn = super::connect(proxy);
    let all: Vec<String> = (1..400)
        .flat_map(ids)
        .map(|id| format!("({id}, 0)"))
        .collect();
    conn.run(&format!("insert into leg (id, tag) values {}", all.join(",")));
    let mut placed = BTreeMap::new();
    for shard in 0..SHARDS.len() {
        for row in CLUSTER.direct(shard).query("select id from leg").rows() {
            placed.insert(row[0].clone().unwrap().parse().unwrap(), shard);
        }
    }
    CLUSTER.clear();
    placed
}

/// Is the transaction committed, when this was the last that happened of it?
fn is_committed(step: usize, side: Side) -> bool {
    let commit = STEPS.iter().position(|step| *step == "COMMIT AND").unwrap();
    step > commit || step == commit && side == Side::After
}

#[test]
fn nothing_tears_at_any_step() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let taps: Arc<Taps> = Arc::default();
    let placed = placed(&CLUSTER.proxy());
    CLUSTER.clear();
    let config = CLUSTER.elsewhere("tapped", |number, port| {
        taps.before(number, SocketAddr::from(([127, 0, 0, 1], port)))
    });
    let mut proxy = Coregate::configured("tapped", &config);
    let mut expected = BTreeMap::new();
    let mut tag = 0;
    for (step, text) in STEPS.iter().enumerate() {
        for side in [Side::Before, Side::After] {
            for fault in [Fault::Connection, Fault::Proxy, Fault::Server] {
                tag = next_tag(&placed, tag + 1);
                let what = format!("transaction {tag}: {fault:?} {side:?} {text}");
                taps.want(text, side);
                let address = proxy.mysql;
                let client = std::thread::spawn(move || transaction(address, tag));
                let shard = taps.wait_held();
                match fault {
                    Fault::Connection => taps.drop_held(),
                    Fault::Proxy => {
                        proxy.process.kill();
                        taps.drop_held();
                        proxy = Coregate::configured("tapped", &config);
                    }
                    Fault::Server => {
                        let mut server = CLUSTER.servers[shard].lock().unwrap();
                        server.kill();
                        taps.drop_held();
                        server.restart();
                    }
                }
                let acknowledged = client.join().unwrap().unwrap_or(false);
                assert!(!acknowledged || is_committed(step, side), "{what} was acknowledged");
                expected.insert(tag, (is_committed(step, side), what));
                wait_until("the proxy answers", || {
                    let conn = Connection::try_login(
                        proxy.mysql,
                        world::USER,
                        world::PASSWORD,
                        Some("ks"),
                    );
                    conn.is_ok_and(|mut conn| !conn.query("select * from leg limit 1").is_error())
                });
            }
        }
    }
    wait_until("the resolver has finished what was left", || CLUSTER.prepared() == 0);
    let legs = CLUSTER.legs();
    for (tag, (is_committed, what)) in expected {
        let wanted = if is_committed { LEGS } else { 0 };
        assert_eq!(legs.get(&tag).copied().unwrap_or_default(), wanted, "{what}");
    }
}

/// A server that answers nothing keeps no client for ever: what is decided is acknowledged, what is
/// not yet can be stopped.
#[test]
fn a_server_that_answers_nothing_keeps_nobody() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let taps: Arc<Taps> = Arc::default();
    let placed = placed(&CLUSTER.proxy());
    CLUSTER.clear();
    let config = CLUSTER.elsewhere("silent", |number, port| {
        taps.before(number, SocketAddr::from(([127, 0, 0, 1], port)))
    });
    let proxy = Coregate::configured("silent", &config);
    let decided = next_tag(&placed, 1);
    taps.want("XA COMMIT", Side::Before);
    let address = proxy.mysql;
    let client = std::thread::spawn(move || transaction(address, decided));
    taps.wait_held();
    assert!(client.join().unwrap().unwrap(), "it is decided");
    taps.drop_held();
    let stopped = next_tag(&placed, decided + 1);
    let rows: Vec<String> = ids(stopped)
        .map(|id| format!("({id}, {stopped})"))
        .collect();
    let sql = format!(
        "insert /*vt+ QUERY_TIMEOUT_MS=1000 */ into leg (id, tag) values {}",
        rows.join(", ")
    );
    taps.want("XA PREPARE", Side::Before);
    let mut conn = super::connect(&proxy);
    let client = std::thread::spawn(move || (conn.query(&sql), conn));
    taps.wait_held();
    let (answer, mut conn) = client.join().unwrap();
    let error = answer.error();
    assert!(
        error.code == 3024 && error.message.contains("rolled back on every shard"),
        "{error:?}"
    );
    taps.drop_held();
    // The session goes on.
    conn.run("select 1");
    wait_until("the resolver has finished what was left", || CLUSTER.prepared() == 0);
    let legs = CLUSTER.legs();
    assert_eq!(legs.get(&decided).copied().unwrap_or_default(), LEGS);
    assert_eq!(legs.get(&stopped), None);
}
