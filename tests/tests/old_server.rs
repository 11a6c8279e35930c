//! Servers before MySQL 5.7 and MariaDB 10.2: they end columns and rows by EOF packets, track no
//! session state, and cannot reset a connection. Clients that can do more than that work with them
//! all the same, and see what they would see anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, Value, caps};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, mariadb};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread;

const COM_RESET_CONNECTION: u8 = 0x1F;
/// CLIENT_SESSION_TRACK and CLIENT_DEPRECATE_EOF.
const NEWER: u32 = 1 << 23 | 1 << 24;

struct World {
    server: MariaDb,
    drop_in: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("old", &[]);
    let old = as_an_old_server(([127, 0, 0, 1], server.port).into());
    let url = format!("mysql://{}:{}@{old}", mariadb::USER, mariadb::PASSWORD);
    let args = [
        "serve",
        "--upstream",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--cores",
        "1",
    ];
    let drop_in = Coregate::start("old-proxy", args);
    World { server, drop_in }
});

/// A port behind which the server is an old one.
fn as_an_old_server(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            thread::spawn(move || {
                // Either side may go at any time: the thread ends with it.
                let _ = converse(client, server);
            });
        }
    });
    address
}

fn packet(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes)?;
    let len = usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16;
    bytes.resize(4 + len, 0);
    from.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

fn converse(mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
    let mut greeting = packet(&mut server)?;
    // Version, thread, half of the challenge, a zero; the capabilities are in two halves.
    let low = 5 + greeting[5..].iter().position(|b| *b == 0).unwrap() + 1 + 4 + 8 + 1;
    for (at, shift) in [(low, 0), (low + 1, 8), (low + 5, 16), (low + 6, 24)] {
        greeting[at] &= !((NEWER >> shift) as u8);
    }
    client.write_all(&greeting)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    loop {
        let asked = packet(&mut client)?;
        if asked.len() == 5 && asked[3] == 0 && asked[4] == COM_RESET_CONNECTION {
            let error = b"\x15\0\0\x01\xFF\x17\x04#08S01Unknown command";
            let mut error = error.to_vec();
            error[0] = (error.len() - 4) as u8;
            client.write_all(&error)?;
        } else {
            server.write_all(&asked)?;
        }
    }
}

fn through(capabilities: u32) -> Connection {
    let login = Login {
        user: mariadb::USER,
        password: mariadb::PASSWORD,
        database: Some(mariadb::DATABASE),
        capabilities,
    };
    Connection::over(TcpStream::connect(WORLD.drop_in.mysql).unwrap(), &login).unwrap()
}

fn direct(capabilities: u32) -> Connection {
    let login = Login {
        user: mariadb::USER,
        password: mariadb::PASSWORD,
        database: Some(mariadb::DATABASE),
        capabilities,
    };
    Connection::over(TcpStream::connect(("127.0.0.1", WORLD.server.port)).unwrap(), &login).unwrap()
}

/// Session tracking needs a server that tracks.
fn comparable(mut answer: Answer) -> Answer {
    const SESSION_STATE_CHANGED: u16 = 0x4000;
    if let Answer::Ok { status, .. } | Answer::Rows { status, .. } = &mut answer {
        *status &= !(SESSION_STATE_CHANGED | 0x30);
    }
    answer
}

#[test]
fn answers_have_the_clients_form() {
    for capabilities in [0, caps::DEPRECATE_EOF] {
        let run = |mut conn: Connection, name: &str| {
            let mut said: Vec<Answer> = Vec::new();
            for sql in [
                format!("create or replace table {name} (id int primary key, v varchar(50))"),
                format!("insert into {name} values (1, 'a'), (2, null), (3, 'c')"),
                format!("update {name} set v = 'x' where id < 3"),
                "select 1 from dual where 1 = 0".into(),
                "selekt".into(),
                "select seq, repeat('x', 3000) from seq_1_to_3000".into(),
                "begin; select 1; select 2, 'two'; rollback".into(),
                "set @a = 1".into(),
                "select @a".into(),
            ] {
                said.extend(conn.try_query(&sql).unwrap());
            }
            let statement = conn
                .prepare(&format!("select id, v from {name} where id > ?"))
                .unwrap();
            for id in [0, 2, 9] {
                said.push(conn.execute(&statement, &[Value::Int(id)]));
            }
            let described = format!("{:?} {:?}", statement.parameters, statement.columns);
            conn.close_statement(&statement);
            conn.run(&format!("drop table {name}"));
            assert!(conn.ping());
            (said.into_iter().map(comparable).collect::<Vec<_>>(), described)
        };
        let (wanted, got) =
            (run(direct(capabilities), "forms"), run(through(capabilities), "forms"));
        assert_eq!(wanted, got, "capabilities {capabilities:x}");
    }
}

/// What one session has set must not be seen by the next on the same connection: without a reset,
/// that is a new connection.
#[test]
fn settings_do_not_leak() {
    for _ in 0..3 {
        let mut one = through(caps::DEPRECATE_EOF);
        one.run("set time_zone = '+05:00', @secret = 42");
        assert_eq!(one.value("select @@time_zone").as_deref(), Some("+05:00"));
        one.quit();
        let mut other = through(caps::DEPRECATE_EOF);
        assert_eq!(other.value("select @@time_zone").as_deref(), Some("SYSTEM"));
        assert_eq!(other.value("select @secret"), None);
    }
}
