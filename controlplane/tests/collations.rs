//! Text is compared by the servers' weights as the servers themselves compare it.
#![allow(clippy::unwrap_used)]
use coregate_controlplane::local::LocalConfig;
use coregate_controlplane::{Config, ControlPlane, Source, users};
use coregate_planner::collation::{Collation, Weighed, append_key, compare};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::{Address, Snapshot};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Rows a collation.
const ROWS: usize = 3000;

/// Those that both kinds of server have.
const COMMON: [&str; 9] = [
    "latin1_swedish_ci",
    "latin1_german2_ci",
    "latin1_bin",
    "ascii_general_ci",
    "utf8mb4_general_ci",
    "utf8mb4_bin",
    "utf8mb4_unicode_ci",
    "utf8mb4_unicode_520_ci",
    "utf16_general_ci",
];
const MARIADB: [&str; 7] = [
    "utf8mb4_nopad_bin",
    "utf8mb4_unicode_nopad_ci",
    "utf8mb4_uca1400_ai_ci",
    "utf8mb4_uca1400_nopad_ai_ci",
    "utf8mb4_uca1400_nopad_as_cs",
    "latin1_nopad_bin",
    "latin1_swedish_nopad_ci",
];
const MYSQL: [&str; 4] =
    ["utf8mb4_0900_ai_ci", "utf8mb4_0900_as_cs", "utf8mb4_0900_as_ci", "utf8mb4_0900_bin"];
/// They have weights, but these are not those of single characters.
const CONTRACTIONS: [&str; 2] = ["utf8mb4_czech_ci", "utf8mb4_spanish2_ci"];

fn schema(collations: &[&str]) -> String {
    let table = |name: &&str| {
        format!(
            "create table `{name}` (id int primary key, v varchar(40) collate {name} not null);"
        )
    };
    collations.iter().map(table).collect()
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of(&mut self, characters: &str) -> char {
        let count = characters.chars().count();
        characters.chars().nth(self.below(count)).unwrap()
    }

    /// Short, of few letters, so that many are nearly equal, with what collations treat in a way of
    /// their own.
    fn text(&mut self, more: &str) -> String {
        let mut text = String::new();
        for _ in 0..self.below(6) {
            match self.below(if more.is_empty() { 11 } else { 12 }) {
                0..=4 => text.push(self.of("aAbBzZ")),
                5 => text.push(self.of("09_-.'\"%~`^[]{}|\\@/")),
                6 => text.push(char::from(u8::try_from(self.below(128)).unwrap())),
                7 => text.push(self.of("\t\n\r\0\u{1}\u{1f}\u{7f}")),
                8 | 9 => text.push(' '),
                10 => text.push(self.of("chLlDdzsSnNyYijIJ")),
                _ => text.push(self.of(more)),
            }
        }
        for _ in 0..self.below(8).saturating_sub(5) {
            text.push(' ');
        }
        text
    }
}

async fn connect(serving: &Serving) -> Conn {
    let shard = serving.shards.values().next().unwrap();
    let tablet = shard.primary().unwrap();
    let opts = OptsBuilder::default()
        .user(Some(&tablet.user))
        .pass(Some(&tablet.password))
        .prefer_socket(false)
        .db_name(Some("ks"));
    let opts = match &tablet.address {
        Address::Unix(path) => opts.socket(Some(path.display().to_string())),
        Address::Tcp(address) => opts
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port()),
        Address::Unresolved { .. } => panic!("no name was given"),
    };
    Conn::new(opts).await.unwrap()
}

/// A row as a merge sees it.
struct Value {
    id: u32,
    text: String,
    weight: Vec<u8>,
}

impl Value {
    fn weighed(&self, collation: &Collation) -> Weighed<'_> {
        if collation.binary {
            Weighed::Bytes(self.text.as_bytes())
        } else if collation.ascii.is_some() && self.text.is_ascii() {
            Weighed::Ascii(self.text.as_bytes())
        } else {
            Weighed::Bytes(&self.weight)
        }
    }
}

/// Compares the server's order and groups with ours.
async fn same_as_server(conn: &mut Conn, collation: &Collation) {
    let name = &collation.name;
    let more = match name.split_once('_').unwrap().0 {
        "ascii" => "",
        "latin1" => "äÄöéÉßÿ€Ð",
        _ => "äÄéÉßÿŁłǅ€中文\u{1F600}\u{301}\u{200d}",
    };
    let mut random = Random(7);
    let mut texts: Vec<String> = (0..ROWS).map(|_| random.text(more)).collect();
    if name.contains("_nopad_") {
        // MariaDB's sort takes 'a\0' and 'a' for equal there, its comparison does not: the order is
        // any.
        for text in &mut texts {
            text.truncate(text.trim_end_matches('\0').len());
        }
    }
    let rows = texts
        .iter()
        .enumerate()
        .map(|(id, text)| (id, text.as_str()));
    conn.exec_batch(format!("insert into `{name}` values (?, ?)"), rows)
        .await
        .unwrap();
    let sorted = format!("select id, v, weight_string(v) from `{name}` order by v");
    let sorted: Vec<Value> = conn
        .query_map(sorted, |(id, text, weight)| Value { id, text, weight })
        .await
        .unwrap();
    assert_eq!(sorted.len(), ROWS);
    let mut wrong = Vec::new();
    for pair in sorted.windows(2) {
        let (a, b) = (pair[0].weighed(collation), pair[1].weighed(collation));
        let order = compare(a, b, collation);
        if order == Ordering::Greater {
            wrong.push((&pair[0].text, &pair[1].text));
        }
    }
    assert!(wrong.is_empty(), "{name}: the server has {wrong:?} in this order");
    conn.query_drop("set group_concat_max_len = 1000000")
        .await
        .unwrap();
    let groups: Vec<String> = conn
        .query(format!("select group_concat(id order by id) from `{name}` group by v"))
        .await
        .unwrap();
    let groups: BTreeSet<String> = groups.into_iter().collect();
    let mut ours: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for value in &sorted {
        let mut key = Vec::new();
        append_key(value.weighed(collation), collation, &mut key);
        ours.entry(key).or_default().push(value.id);
    }
    let ours = ours.into_values().map(|mut ids| {
        ids.sort_unstable();
        ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    });
    let ours: BTreeSet<String> = ours.collect();
    let differ: Vec<Vec<&String>> = ours
        .symmetric_difference(&groups)
        .take(6)
        .map(|ids| {
            ids.split(',')
                .take(5)
                .map(|id| &texts[id.parse::<usize>().unwrap()])
                .collect()
        })
        .collect();
    assert!(differ.is_empty(), "{name}: not the same groups: {differ:?}");
}

fn check(plane: &ControlPlane, collations: &[&str]) -> Arc<Snapshot> {
    let snapshot = plane.snapshot();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut conn = connect(&plane.serving()).await;
        for name in collations {
            let collation = snapshot
                .collation(name)
                .unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(*name, collation.name);
            same_as_server(&mut conn, collation).await;
        }
    });
    snapshot
}

fn start(source: Source) -> ControlPlane {
    ControlPlane::start(Config::new(source, users::local(), "127.0.0.1:0".parse().unwrap()))
        .unwrap()
}

fn stop(plane: ControlPlane) {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .unwrap();
    drop(plane.join());
}

#[test]
fn text_compares_as_on_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let collations = [&COMMON[..], &MARIADB, &CONTRACTIONS].concat();
    let tables = schema(&collations) + &schema(&["utf8mb4_uca1400_as_cs", "binary"]);
    std::fs::write(
        dir.path().join("ks.sql"),
        tables.replace("varchar(40) collate binary", "varbinary(40)"),
    )
    .unwrap();
    let local = LocalConfig {
        dir: dir.path().join("data"),
        keyspaces: vec!["ks".parse().unwrap()],
        schema: Some(dir.path().to_owned()),
        vschema: None,
        ..LocalConfig::default()
    };
    let plane = start(Source::Local(local));
    let snapshot = check(&plane, &collations);
    // Padding would have to go between its levels.
    assert_eq!(snapshot.collation("utf8mb4_uca1400_as_cs"), None);
    tables_are_where_they_should_be(&snapshot);
    stop(plane);
}

fn tables_are_where_they_should_be(snapshot: &Snapshot) {
    let table = |name: &str| snapshot.collation(name).unwrap().ascii.is_some();
    for name in ["latin1_swedish_ci", "utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin"] {
        assert!(table(name), "{name}");
    }
    for name in CONTRACTIONS.iter().chain(&["utf16_general_ci"]) {
        assert!(!table(name), "{name}");
    }
    assert_eq!(snapshot.collation("UTF8MB4_General_ci").unwrap().name, "utf8mb4_general_ci");
}

/// The same of MySQL, whose address is `COREGATE_TEST_MYSQL` (`127.0.0.1:13380`), with user and
/// password `sb`.
#[test]
#[ignore = "needs a MySQL server"]
fn text_compares_as_on_mysql() {
    let address: std::net::SocketAddr = std::env::var("COREGATE_TEST_MYSQL")
        .unwrap()
        .parse()
        .unwrap();
    let collations = [&COMMON[..], &MYSQL, &CONTRACTIONS].concat();
    let dir = tempfile::tempdir().unwrap();
    fill_mysql(address, &collations);
    topology(dir.path(), address);
    let plane = start(Source::Topology(dir.path().to_owned()));
    let snapshot = check(&plane, &collations);
    tables_are_where_they_should_be(&snapshot);
    assert!(
        snapshot
            .collation("utf8mb4_0900_ai_ci")
            .unwrap()
            .ascii
            .is_some()
    );
    assert!(
        snapshot
            .collation("utf8mb4_0900_as_cs")
            .unwrap()
            .ascii
            .is_none()
    );
    stop(plane);
}

fn fill_mysql(address: std::net::SocketAddr, collations: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = mysql_async::Pool::new(format!("mysql://sb:sb@{address}").as_str());
        let mut conn = pool.get_conn().await.unwrap();
        let tables = schema(collations);
        conn.query_drop(format!(
            "drop database if exists ks; create database ks; use ks; {tables}"
        ))
        .await
        .unwrap();
    });
}

fn topology(dir: &Path, address: std::net::SocketAddr) {
    std::fs::create_dir(dir.join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "ks", "shards": [{{"name": "0", "tablets": [{{"alias": "a-1",
            "type": "primary",
            "host": "{}", "port": {}, "user": "sb", "password": "sb"}}]}}]}}"#,
        address.ip(),
        address.port()
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
}
