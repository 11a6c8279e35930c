//! A primary that answers and ends no write: its replicas are connected, and their acknowledgements
//! do not arrive; or its disk stands still. Another takes its place.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const OPTIONS: &[&str] =
    &["--log-slave-updates=ON", "--gtid-strict-mode=ON", "--slave-net-timeout=60"];

/// A flag for each connection: nothing of what comes from the replica goes on.
type Swallowed = Arc<Mutex<Vec<Arc<AtomicBool>>>>;

/// The way from the replicas to a server: what they send on connections that are open can be
/// swallowed, and their acknowledgements with it.
fn one_way(server: u16, all: &Swallowed) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, all) = (listener.local_addr().unwrap().port(), Arc::clone(all));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let [swallows, never] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
            all.lock().unwrap().push(Arc::clone(&swallows));
            for (from, to, swallows) in [(client, server, swallows), (forth, back, never)] {
                std::thread::spawn(move || copy(from, to, &swallows));
            }
        }
    });
    port
}

fn copy(mut from: TcpStream, mut to: TcpStream, swallows: &AtomicBool) {
    let mut bytes = [0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if !swallows.load(Ordering::Relaxed) && to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

struct Shard {
    servers: Vec<MariaDb>,
    proxy: Coregate,
    name: String,
    config: String,
}

impl Shard {
    /// The first server is primary, and the others reach it at `source`. `options` are the first
    /// one's.
    fn start(name: &str, options: &[&str], source: impl FnOnce(u16) -> u16, config: &str) -> Self {
        let options = [OPTIONS, options].concat();
        let mut servers = vec![MariaDb::start(name, &options)];
        servers.extend((0..2).map(|_| MariaDb::start(name, OPTIONS)));
        servers[0]
            .connect()
            .run("create table t (id bigint primary key, v varchar(100))");
        let dir = guard::dir().join(format!("{name}-topology"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        let mut ports: Vec<u16> = servers.iter().map(|s| s.port).collect();
        ports[0] = source(ports[0]);
        let tablet = |n: usize| {
            let (kind, socket) = (if n == 0 { "primary" } else { "replica" }, servers[n].socket());
            format!(
                r#"{{"alias": "a-{n}", "type": "{kind}", "socket": {socket:?}, "port": {},
                    "user": "sb", "password": "sb"}}"#,
                ports[n]
            )
        };
        let tablets: Vec<String> = (0..3).map(tablet).collect();
        let text = format!(
            r#"{{"name": "ks", "database": "test", "shards": [{{"name": "0", "tablets": [{}]}}],
                "vschema": {{"tables": {{}}}}, "replication": {{"user": "sb",
                "password": "sb"}}}}"#,
            tablets.join(",")
        );
        std::fs::write(dir.join("topology/ks.json"), text).unwrap();
        let config = format!(
            "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = \
                1\n[failover]\nenabled = true\n{config}\n",
            dir.to_str().unwrap(),
            world::users_file().to_str().unwrap()
        );
        let shard = Self {
            servers,
            proxy: Coregate::configured(name, &config),
            name: name.to_owned(),
            config,
        };
        wait_until("two replicas acknowledge", || {
            let row = shard.servers[0]
                .connect()
                .run("show status like 'Rpl_semi_sync_master_clients'")
                .rows();
            row[0][1].as_deref() == Some("2")
        });
        shard
    }

    fn again(self) -> Self {
        let Self { servers, proxy, name, config } = self;
        drop(proxy);
        Self { servers, proxy: Coregate::configured(&name, &config), name, config }
    }

    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("ks"))
    }

    fn primary(&self) -> usize {
        let rows = self.connect().run("show vitess_tablets").rows();
        let primary = rows.iter().find(|row| row[3].as_deref() == Some("PRIMARY"));
        primary.unwrap()[5].as_ref().unwrap()["a-".len()..]
            .parse()
            .unwrap()
    }

    fn recoveries(&self) -> String {
        self.proxy.admin("/api/recoveries")
    }

    /// A write that does not end. Does it fail, in the end?
    fn stuck(&self) -> JoinHandle<bool> {
        let mysql = self.proxy.mysql;
        std::thread::spawn(move || {
            let mut conn = Connection::login(mysql, world::USER, world::PASSWORD, Some("ks"));
            let answer = conn.try_query("insert into t (id, v) values (2, 'unknown')");
            answer.is_err() || answer.unwrap()[0].is_error()
        })
    }

    fn is_replaced(&self, why: &str) {
        let stuck = self.stuck();
        wait_until("another is primary", || self.primary() != 0);
        assert!(stuck.join().unwrap(), "nobody has acknowledged it");
        self.connect().run("insert into t (id, v) values (3, 'c')");
        wait_until("it is told", || self.recoveries().contains(why));
        let mut new = self.servers[self.primary()].connect();
        let ids = new.value("select group_concat(id order by id) from t");
        assert!(["1,2,3", "1,3"].contains(&ids.as_deref().unwrap()), "{ids:?}");
    }

    fn one_writes(&self) {
        wait_until("one server takes writes", || {
            let read_only =
                |s: &MariaDb| s.connect().value("select @@read_only").as_deref() == Some("1");
            self.servers.iter().filter(|s| !read_only(s)).count() == 1
        });
    }
}

#[test]
fn a_primary_whose_commits_nobody_acknowledges_is_replaced_and_it_is_written_down() {
    let swallowed = Swallowed::default();
    let config = "stall_ms = 1500\n[replicas]\nheartbeat_ms = 0";
    let shard = Shard::start("blocked", &[], |port| one_way(port, &swallowed), config);
    shard.connect().run("insert into t (id, v) values (1, 'a')");
    let open = std::mem::take(&mut *swallowed.lock().unwrap());
    open.iter()
        .for_each(|one| one.store(true, Ordering::Relaxed));
    shard.is_replaced("PrimarySemiSyncBlocked");
    shard.one_writes();
    // It stands in a file: the next process knows it, too.
    let shard = shard.again();
    assert!(shard.recoveries().contains("PrimarySemiSyncBlocked"), "{}", shard.recoveries());
}

/// A file system of its own, which can stand still.
struct Disk(PathBuf);

impl Disk {
    /// `None`: none can be made here, and it says so.
    fn make(name: &str) -> Option<Self> {
        let (image, at) =
            (guard::dir().join(format!("{name}.img")), guard::dir().join(format!("{name}-disk")));
        std::fs::create_dir_all(&at).unwrap();
        let run = |program: &str, args: &[&str]| {
            let done = Command::new(program).args(args).output();
            done.is_ok_and(|o| o.status.success())
        };
        let (image, path) = (image.to_str().unwrap(), at.to_str().unwrap());
        let made = run("truncate", &["-s", "64M", image])
            && run("mkfs.ext4", &["-q", "-F", image])
            && run("mount", &["-o", "loop", image, path]);
        if !made {
            eprintln!(
                "skipped: no file system can be mounted here (it takes root, loop devices, \
                    mkfs.ext4)"
            );
            return None;
        }
        assert!(run("chmod", &["0777", path]));
        Some(Self(at))
    }

    fn freeze(&self, on: bool) {
        let how = if on { "-f" } else { "-u" };
        let _ = Command::new("fsfreeze").arg(how).arg(&self.0).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.freeze(false);
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_primary_whose_disk_stands_still_is_replaced() {
    let Some(disk) = Disk::make("stalled") else { return };
    let log = format!("--log-bin={}/bin", disk.0.display());
    let shard = Shard::start("stalled", &[&log], |port| port, "stall_ms = 3000");
    shard.connect().run("insert into t (id, v) values (1, 'a')");
    wait_until("the heart beats", || {
        let mut replica = shard.servers[1].connect();
        let beats = replica.query("select count(*) from _coregate.heartbeat where keyspace = 'ks'");
        !beats.is_error() && beats.rows()[0][0].as_deref() == Some("1")
    });
    assert!(
        shard
            .proxy
            .admin("/api/tablets")
            .contains("heartbeat_lag_ms")
    );
    // Clients do not see the table.
    assert!(!format!("{:?}", shard.connect().run("show databases").rows()).contains("_coregate"));
    disk.freeze(true);
    shard.is_replaced("PrimaryDiskStalled");
    disk.freeze(false);
    shard.one_writes();
    drop(shard);
}

#[test]
fn a_lock_on_all_tables_is_no_disk_that_stands_still() {
    let shard = Shard::start("locked", &[], |port| port, "stall_ms = 1000");
    shard.connect().run("insert into t (id, v) values (1, 'a')");
    let mut backup = shard.servers[0].connect();
    backup.run("flush tables with read lock");
    // Longer than several of its checks; nothing may come of it.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(shard.primary(), 0);
    backup.run("unlock tables");
    shard.connect().run("insert into t (id, v) values (2, 'b')");
    assert!(!shard.recoveries().contains("PrimaryDiskStalled"), "{}", shard.recoveries());
}
