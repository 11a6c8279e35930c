//! Hot restart: a new process takes over while clients work, and none of them sees an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

fn start(
    name: &str,
    server: &MariaDb,
    at: (SocketAddr, SocketAddr),
    more: &[&str],
) -> Result<Coregate, String> {
    let (url, listen, admin) = (server.url(), at.0.to_string(), at.1.to_string());
    let args =
        ["serve", "--upstream", &url, "--listen", &listen, "--admin", &admin, "--cores", "2"];
    Coregate::try_start(name, args.iter().chain(more))
}

fn anywhere() -> (SocketAddr, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    (any, any)
}

/// Clients that come and go, and some that stay; everything that goes wrong is kept.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..8).map(|n| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let login = Connection::try_login(address, "sb", "sb", None);
                    let mut conn = login.map_err(|e| format!("login: {e:?}"))?;
                    // Half of the clients come anew all the time, the others stay for a while.
                    let queries = if n % 2 == 0 { 3 } else { 200 };
                    for id in 0..queries {
                        let answers = conn
                            .try_query(&format!("SELECT {id}"))
                            .map_err(|e| format!("query {id}: {e}"))?;
                        let answer = answers
                            .first()
                            .filter(|a| !a.is_error())
                            .and_then(|a| a.value());
                        if answer != Some(id.to_string()) {
                            return Err(format!("query {id}: {answer:?}"));
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        if n % 2 == 1 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                    conn.quit();
                }
                Ok(())
            })
        });
        let threads = threads.collect();
        Self { stop, done, threads }
    }

    fn more(&self, what: &str) {
        let from = self.done.load(Ordering::Relaxed);
        wait_until(what, || {
            self.done.load(Ordering::Relaxed) > from + 500
                || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap().unwrap();
        }
    }
}

#[test]
fn clients_see_nothing_of_an_upgrade() {
    let server = MariaDb::start("handover", &["--max-connections=500"]);
    let door = guard::dir().join("handover.sock");
    let unix = guard::dir().join("handover-clients.sock");
    let more = ["--handover", door.to_str().unwrap(), "--socket", unix.to_str().unwrap()];
    let mut old = start("handover-1", &server, anywhere(), &more).unwrap();
    let at = (old.mysql, old.admin);
    // One that rests in a transaction, and one that rests.
    let mut inside = old.connect_as("sb", "sb", Some("test"));
    inside.run("CREATE TABLE test.handed (id INT PRIMARY KEY)");
    inside.run("BEGIN");
    inside.run("INSERT INTO test.handed VALUES (1)");
    let mut resting = old.connect_as("sb", "sb", None);
    resting.run("SET @kept = 7");
    let load = Load::start(at.0);
    load.more("the first process works");
    for round in 2..=4 {
        let new = start(&format!("handover-{round}"), &server, at, &more).unwrap();
        assert_eq!((new.mysql, new.admin), at);
        load.more("clients come to the new process");
        wait_until("new clients are the new process's", || {
            new.metric("coregate_connections_total") > 4.0
        });
        if round == 2 {
            // Those that stay are served by the process that they came to, the others by this one.
            assert_eq!(resting.value("SELECT @kept").as_deref(), Some("7"));
            assert!(old.process.ended().is_none(), "it left with clients in it");
            inside.run("INSERT INTO test.handed VALUES (2)");
            inside.run("COMMIT");
            inside.run("SELECT 1");
            drop((inside, resting));
            let mut fresh = new.connect_as("sb", "sb", Some("test"));
            assert_eq!(fresh.value("SELECT COUNT(*) FROM handed").as_deref(), Some("2"));
            (inside, resting) =
                (new.connect_as("sb", "sb", None), new.connect_as("sb", "sb", None));
        }
        load.more("all goes on");
        let last = std::mem::replace(&mut old, new);
        let mut last = last;
        if round > 2 {
            (inside, resting) =
                (old.connect_as("sb", "sb", None), old.connect_as("sb", "sb", None));
        }
        let status = last.process.wait(Duration::from_secs(60));
        assert!(status.is_some_and(|s| s.success()), "round {round}: {status:?}");
        assert!(unix.exists(), "the socket is the new process's");
    }
    load.end();
    drop((inside, resting));
    assert!(old.process.terminate().success());
    assert!(!unix.exists());
}

/// What a client would miss, were it gone.
fn state_of(conn: &mut Connection) -> Vec<Option<String>> {
    let sql = "select database(), @@sql_mode, @@character_set_client, @@time_zone, @kept, \
        current_user(), connection_id(), last_insert_id(), @@autocommit, @@query_timeout, \
        @@transaction_mode";
    conn.query(sql).rows().remove(0)
}

#[test]
fn sessions_that_rest_go_to_the_new_process() {
    let server = MariaDb::start("handover-idle", &["--max-connections=500"]);
    let door = guard::dir().join("handover-idle.sock");
    let more = ["--handover", door.to_str().unwrap()];
    let mut old = start("handover-idle-1", &server, anywhere(), &more).unwrap();
    let at = (old.mysql, old.admin);
    let mut first = old.connect_as("sb", "sb", Some("test"));
    first.run("create table test.made (id int auto_increment primary key)");
    let mut resting: Vec<Connection> = (0..100)
        .map(|n| {
            let mut conn = old.connect_as("sb", "sb", Some("test"));
            conn.run("set names latin1");
            conn.run("set sql_mode = 'ansi_quotes'");
            conn.run("set time_zone = '+03:00'");
            conn.run("set query_timeout = 50000");
            conn.run("set transaction_mode = 'twopc'");
            conn.run(&format!("set @kept = 'n\u{e4}m{n}', autocommit = {}", n % 2));
            conn.run("insert into made values ()");
            conn.run("commit");
            conn
        })
        .collect();
    let before: Vec<_> = resting.iter_mut().map(state_of).collect();
    resting.iter_mut().for_each(|conn| drop(conn.run("commit")));
    // These stay: a transaction, a prepared statement, a temporary table.
    let mut stay: Vec<Connection> = (0..3)
        .map(|_| old.connect_as("sb", "sb", Some("test")))
        .collect();
    stay[0].run("begin");
    stay[0].run("insert into made values ()");
    let prepared = stay[1].prepare("select count(*) from made").unwrap();
    stay[2].run("create temporary table t (id int)");
    let load = Load::start(at.0);
    load.more("the first process works");
    let new = start("handover-idle-2", &server, at, &more).unwrap();
    wait_until("all that rest are there", || {
        new.metric("coregate_sessions_moved_in_total") >= 101.0
    });
    for (conn, before) in resting.iter_mut().zip(&before) {
        assert_eq!(&state_of(conn), before);
        conn.run("select \"id\" from made limit 1");
        conn.run("commit");
    }
    let id = before[7][6].as_ref().unwrap();
    first.run(&format!("kill {id}"));
    wait_until("a session is killed by the id that it had", || resting[7].is_closed());
    stay[0].run("commit");
    assert!(!stay[1].execute(&prepared, &[]).is_error());
    stay[2].run("select * from t");
    // Who does nothing more that must stay goes, too.
    stay[1].close_statement(&prepared);
    let quit = stay.remove(2);
    quit.quit();
    load.more("all goes on");
    let status = old.process.wait(Duration::from_secs(60));
    assert!(status.is_some_and(|s| s.success()), "{status:?}");
    stay.iter_mut().for_each(|conn| drop(conn.run("select 1")));
    first.run("select 1");
    load.end();
    // And once more, from a process whose sessions have come from another.
    let third = start("handover-idle-3", &server, at, &more).unwrap();
    wait_until("they have moved again", || {
        third.metric("coregate_sessions_moved_in_total") >= 102.0
    });
    assert_eq!(state_of(&mut resting[3]), before[3]);
}

#[test]
fn a_new_process_that_cannot_start_changes_nothing() {
    let server = MariaDb::start("handover-fails", &[]);
    let door = guard::dir().join("handover-fails.sock");
    let more = ["--handover", door.to_str().unwrap()];
    let old = start("handover-stays", &server, anywhere(), &more).unwrap();
    let at = (old.mysql, old.admin);
    let broken = guard::dir().join("handover-broken.json");
    std::fs::write(&broken, "{").unwrap();
    let users = ["--users", broken.to_str().unwrap()];
    let error = start("handover-broken", &server, at, &[&more[..], &users].concat()).map(drop);
    assert!(error.is_err());
    for _ in 0..20 {
        let mut conn = old.connect_as("sb", "sb", None);
        assert_eq!(conn.value("SELECT 1").as_deref(), Some("1"));
        assert!(old.admin("/healthz").contains("ok") || !old.admin("/healthz").is_empty());
    }
    // And the next one that can takes over.
    let new = start("handover-follows", &server, at, &more).unwrap();
    let mut conn = new.connect_as("sb", "sb", None);
    assert_eq!(conn.value("SELECT 1").as_deref(), Some("1"));
    // Two processes must not write to one topology.
    let dir = guard::dir().join("handover-topology");
    std::fs::create_dir_all(&dir).unwrap();
    let config = guard::dir().join("handover.toml");
    let users = coregate_tests::world::users_file();
    std::fs::write(&config, format!("[topology]\ndir = {dir:?}\n[users]\nfile = {users:?}\n"))
        .unwrap();
    let args =
        ["serve", "--config", config.to_str().unwrap(), "--handover", door.to_str().unwrap()];
    let error = Coregate::try_start("handover-files", args)
        .map(drop)
        .unwrap_err();
    assert!(error.contains("exit status: 2") && error.contains("topology.store"), "{error}");
    // Without the door, the address is taken.
    let error = start("handover-none", &server, at, &[])
        .map(drop)
        .unwrap_err();
    assert!(error.contains("in use"), "{error}");
}

/// As long as the old process keeps a descriptor of a socket, nobody else can listen there.
#[test]
fn another_can_start_when_the_new_process_dies() {
    let server = MariaDb::start("handover-dies", &[]);
    let door = guard::dir().join("handover-dies.sock");
    let more = ["--handover", door.to_str().unwrap()];
    let old = start("handover-left", &server, anywhere(), &more).unwrap();
    let at = (old.mysql, old.admin);
    let mut resting = old.connect_as("sb", "sb", None);
    // It stays with the process that has its transaction.
    resting.run("BEGIN");
    let mut new = start("handover-killed", &server, at, &more).unwrap();
    assert_eq!(
        new.connect_as("sb", "sb", None)
            .value("SELECT 1")
            .as_deref(),
        Some("1")
    );
    new.process.kill();
    assert_eq!(resting.value("SELECT 2").as_deref(), Some("2"));
    let again = start("handover-again", &server, at, &more).unwrap();
    assert_eq!(
        again
            .connect_as("sb", "sb", None)
            .value("SELECT 3")
            .as_deref(),
        Some("3")
    );
}
