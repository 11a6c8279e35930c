//! A plain server, a drop-in before it, a keyspace on one server and one on two: scripts that all
//! of them answer alike.
use crate::wire::{Connection, Login};
use crate::{Answer, Coregate, MariaDb};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The table `kv` is in each of them.
pub const TABLE: &str = "kv (id bigint primary key, v varchar(100) character set utf8mb4)";

/// Status bits of an OK that are compared: IN_TRANS, AUTOCOMMIT, NO_BACKSLASH_ESCAPES, ANSI_QUOTES.
const STATUS: u16 = 0x8203;

pub struct World {
    pub server: MariaDb,
    pub drop_in: Coregate,
    pub cluster: Coregate,
    /// Scripts use the same table.
    turn: Mutex<()>,
}

/// Where a script runs.
pub struct Target {
    pub name: &'static str,
    pub address: SocketAddr,
    pub database: &'static str,
}

impl World {
    pub fn start(name: &str) -> Self {
        let server = MariaDb::start(name, &[]);
        let mut root = server.connect();
        root.run("create database one");
        root.run(&format!("create table one.{TABLE}"));
        let drop_in = Coregate::drop_in(&format!("{name}-proxy"), &server, &["--cores", "1"]);
        let keyspaces = ["--keyspace", "plain", "--keyspace", "ring:2", "--cores", "1"];
        let cluster = Coregate::local(&format!("{name}-cluster"), &keyspaces);
        for keyspace in ["plain", "ring"] {
            let mut conn = cluster.connect_as("app", "app", Some(keyspace));
            conn.run(&format!("create table {TABLE}"));
            if keyspace == "ring" {
                conn.run("ALTER VSCHEMA ON ring.kv ADD VINDEX hash(id) USING hash");
            }
        }
        Self { server, drop_in, cluster, turn: Mutex::default() }
    }

    pub fn targets(&self) -> [Target; 3] {
        let target = |name, address, database| Target { name, address, database };
        let (drop_in, cluster) = (self.drop_in.mysql, self.cluster.mysql);
        [
            target("drop-in", drop_in, "one"),
            target("unsharded", cluster, "plain"),
            target("sharded", cluster, "ring"),
        ]
    }

    pub fn plain(&self) -> Target {
        let address = ([127, 0, 0, 1], self.server.port).into();
        Target { name: "plain", address, database: "one" }
    }

    /// For a test that uses the table in a way of its own.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a script everywhere, each on a connection of its own; the plain server says what is
    /// right.
    pub fn alike(&self, script: &[&str]) {
        let _turn = self.turn();
        let wanted = play(&self.plain(), script);
        for target in self.targets() {
            let got = play(&target, script);
            for ((sql, wanted), got) in script.iter().zip(&wanted).zip(&got) {
                assert_eq!(got, wanted, "{}: {sql}", target.name);
            }
        }
    }
}

impl Target {
    pub fn connect(&self) -> Connection {
        self.connect_mariadb(0)
    }

    /// With capabilities of MariaDB's own.
    pub fn connect_mariadb(&self, extended: u32) -> Connection {
        let (user, password) = if self.database == "one" { ("sb", "sb") } else { ("app", "app") };
        let login = Login { user, password, database: Some(self.database), capabilities: 0 };
        let stream = TcpStream::connect(self.address).expect("a connection");
        Connection::over_mariadb(stream, &login, extended).expect("a login")
    }
}

fn play(target: &Target, script: &[&str]) -> Vec<String> {
    let mut conn = target.connect();
    let _ = conn.try_query("delete from kv");
    script
        .iter()
        .map(|sql| {
            conn.try_query(sql)
                .map_or_else(|e| e.to_string(), |answers| told(&answers))
        })
        .collect()
}

/// What must be alike: values, counts, codes, the state of the session.
pub fn told(answers: &[Answer]) -> String {
    let one = |answer: &Answer| match answer {
        Answer::Ok { affected, insert_id, status, .. } => {
            format!("OK {affected} {insert_id} {:#x}", status & STATUS)
        }
        Answer::Error(error) => format!("ERROR {} {}", error.code, error.state),
        Answer::Rows { columns, .. } => {
            let columns: Vec<_> = columns.iter().map(|c| (&c.name, c.kind)).collect();
            let mut rows = answer.rows();
            rows.sort();
            format!("{columns:?} {rows:?}")
        }
    };
    answers.iter().map(one).collect::<Vec<_>>().join(", ")
}
