//! Clients that do not behave. After each, another client's connection still works, and nothing is
//! left behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::caps;
use coregate_tests::{Connection, Coregate, MariaDb, wait_until, world};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

struct World {
    server: MariaDb,
    proxy: Coregate,
}

/// Two cores, so that what one of them does cannot hide on the other.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (server, proxy) = world::drop_in(&["--cores", "2"]);
    World { server, proxy }
});

fn client() -> Connection {
    WORLD
        .proxy
        .connect_as(world::USER, world::PASSWORD, Some("test"))
}

fn socket() -> TcpStream {
    let socket = TcpStream::connect(WORLD.proxy.mysql).expect("a connection");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

/// New clients are served, on both cores, and one that was there before, too.
struct Bystander(Connection);

impl Bystander {
    fn new() -> Self {
        Self(client())
    }

    fn is_served(&mut self) {
        assert_eq!(self.0.value("select 42"), Some("42".into()));
        for _ in 0..8 {
            assert_eq!(client().value("select 43"), Some("43".into()));
        }
    }
}

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Reads what the proxy says, up to its closing of the connection; panics if it does not close.
fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(e) => panic!("the proxy neither answers nor closes: {e}"),
    }
    said
}

/// A handshake response with room for mischief.
fn login_packet(user: &str, token: &[u8]) -> Vec<u8> {
    let mut out = caps::USUAL.to_le_bytes().to_vec();
    out.extend_from_slice(&[0, 0, 0, 4, 45]);
    out.extend_from_slice(&[0; 23]);
    out.extend_from_slice(user.as_bytes());
    out.push(0);
    out.push(token.len() as u8);
    out.extend_from_slice(token);
    out.extend_from_slice(b"mysql_native_password\0");
    out
}

#[test]
fn port_scans() {
    let mut bystander = Bystander::new();
    for i in 0..500 {
        let socket = socket();
        if i % 3 == 0 {
            // RST instead of FIN.
            let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        if i % 3 == 1 {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }
    bystander.is_served();
}

#[test]
fn half_handshakes() {
    let mut bystander = Bystander::new();
    let login = login_packet("app", &[1; 20]);
    let mut packet = (login.len() as u32).to_le_bytes().to_vec();
    packet[3] = 1;
    packet.extend_from_slice(&login);
    let mut open = Vec::new();
    for cut in 0..packet.len() {
        let mut socket = socket();
        let mut greeting = [0; 5];
        socket.read_exact(&mut greeting).unwrap();
        socket.write_all(&packet[..cut]).unwrap();
        match cut % 3 {
            0 => drop(socket),
            1 => {
                socket.shutdown(Shutdown::Write).unwrap();
                until_closed(&mut socket);
            }
            _ => open.push(socket),
        }
    }
    bystander.is_served();
    // Whole, it is refused with the right error: the cut ones were not understood as something
    // else.
    let mut socket = socket();
    let mut conn = Connection::greeted(socket.try_clone().unwrap()).unwrap();
    conn.packet().unwrap();
    socket.write_all(&packet).unwrap();
    conn.expect_sequence(2);
    let refused = conn.packet().unwrap();
    assert_eq!(
        (refused[0], u16::from_le_bytes([refused[1], refused[2]])),
        (0xFF, 1045),
        "{refused:?}"
    );
    bystander.is_served();
}

#[test]
fn wrong_sequence_ids() {
    let mut bystander = Bystander::new();
    for seq in [0u8, 2, 3, 255] {
        let mut socket = socket();
        let login = login_packet("app", &[]);
        let mut packet = (login.len() as u32).to_le_bytes().to_vec();
        packet[3] = seq;
        packet.extend_from_slice(&login);
        socket.write_all(&packet).unwrap();
        let said = String::from_utf8_lossy(&until_closed(&mut socket)).into_owned();
        assert!(said.contains("08S01"), "in the login, {seq}: {said:?}");
    }
    for seq in [1u8, 2, 255] {
        let conn = client();
        let mut socket = conn.stream;
        socket.write_all(&[9, 0, 0, seq, 3]).unwrap();
        socket.write_all(b"select 1").unwrap();
        let said = String::from_utf8_lossy(&until_closed(&mut socket)).into_owned();
        assert!(said.contains("08S01"), "after the login, {seq}: {said:?}");
    }
    bystander.is_served();
}

#[test]
fn oversized_lengths() {
    let mut bystander = Bystander::new();
    // 16 MiB are announced before the login.
    let mut socket = socket();
    socket.write_all(&[0xFF, 0xFF, 0xFF, 1]).unwrap();
    let said = until_closed(&mut socket);
    assert!(String::from_utf8_lossy(&said).contains("08S01"), "{said:?}");
    // After it: frame upon frame, more than max_allowed_packet; memory is bounded by that, not by
    // what the client sends.
    let before = WORLD.proxy.process.rss_kib();
    let conn = client();
    let mut socket = conn.stream;
    let frame = [&[0xFF, 0xFF, 0xFF, 0][..], &vec![b'x'; 0xFF_FFFF]].concat();
    for seq in 0..40u8 {
        let mut frame = frame.clone();
        frame[3] = seq;
        if socket.write_all(&frame).is_err() {
            break;
        }
    }
    let grown = WORLD.proxy.process.rss_kib().saturating_sub(before);
    assert!(grown < 400 << 10, "640 MiB in one packet took {grown} KiB");
    drop(socket);
    bystander.is_served();
}

#[test]
fn a_packet_longer_than_allowed_is_refused_as_by_a_server() {
    let mut conn = client();
    let sql = format!("select length('{}')", "x".repeat(65 << 20));
    // The connection may break while it is still being sent.
    let code = match conn.try_query(&sql) {
        Ok(answers) => answers[0].error().code,
        Err(e) => panic!("no error packet: {e}"),
    };
    assert_eq!(code, 1153);
}

#[test]
fn random_bytes_in_every_state() {
    let mut bystander = Bystander::new();
    let mut random = Random(0x5EED_0001);
    for i in 0..300u32 {
        let len = (random.next() % 400) as usize + 1;
        let bytes = random.bytes(len);
        match i % 4 {
            // Instead of a login.
            0 => {
                let _ = socket().write_all(&bytes);
            }
            // As the login packet's content.
            1 => {
                let mut socket = socket();
                let mut packet = (bytes.len() as u32).to_le_bytes().to_vec();
                packet[3] = 1;
                packet.extend_from_slice(&bytes);
                let _ = socket.write_all(&packet);
                socket.shutdown(Shutdown::Write).unwrap();
                until_closed(&mut socket);
            }
            // As a command: any byte first, then anything. COM_SHUTDOWN and the like must not pass.
            2 => {
                let mut conn = client();
                if conn.send_command(bytes[0], &bytes[1..]).is_ok() {
                    conn.stream.shutdown(Shutdown::Write).unwrap();
                    until_closed(&mut conn.stream);
                }
            }
            // Behind a whole command, without a header.
            _ => {
                let mut conn = client();
                conn.send_command(3, b"select 1").unwrap();
                let _ = conn.stream.write_all(&bytes);
                let _ = conn.stream.shutdown(Shutdown::Write);
                until_closed(&mut conn.stream);
            }
        }
        if i % 50 == 49 {
            bystander.is_served();
        }
    }
    // The server behind is as it was.
    assert_eq!(WORLD.server.connect().value("select 1"), Some("1".into()));
}

#[test]
fn every_command_byte() {
    let mut bystander = Bystander::new();
    for command in 0..=255u8 {
        if command == 1 {
            continue; // COM_QUIT
        }
        for rest in [&b""[..], b"\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let mut conn = client();
            conn.send_command(command, rest).unwrap();
            conn.stream.shutdown(Shutdown::Write).unwrap();
            until_closed(&mut conn.stream);
        }
    }
    bystander.is_served();
    assert_eq!(WORLD.server.connect().value("select 1"), Some("1".into()));
}

#[test]
fn broken_executions() {
    let mut bystander = Bystander::new();
    let mut random = Random(0x5EED_0002);
    let mut conn = client();
    let statement = conn.prepare("select ?, ?, ?").unwrap();
    for _ in 0..400 {
        let len = (random.next() % 60) as usize;
        let mut body = statement.id.to_le_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&1u32.to_le_bytes());
        body.extend_from_slice(&random.bytes(len));
        conn.send_command(0x17, &body).unwrap();
        // Rows or an error, but an answer, and one that is in order.
        conn.answer(true).expect("an answer");
        assert!(conn.ping(), "the session goes on");
    }
    bystander.is_served();
}

#[test]
fn clients_that_read_nothing() {
    let mut bystander = Bystander::new();
    // What the process needs anyway is there by now.
    let _ = client().query("select repeat('x', 1000000)");
    let before = WORLD.proxy.process.rss_kib();
    let sql = "select repeat('x', 1048576) from big a, big b limit 512";
    let mut slow: Vec<Connection> = (0..8).map(|_| client()).collect();
    for conn in &mut slow {
        conn.send_command(3, sql.as_bytes()).unwrap();
    }
    // The answers have begun to come; nobody takes them.
    for conn in &slow {
        let mut first = [0; 1];
        assert_eq!(conn.stream.peek(&mut first).unwrap(), 1);
    }
    for _ in 0..20 {
        bystander.is_served();
        let grown = WORLD.proxy.process.rss_kib().saturating_sub(before);
        assert!(grown < 100 << 10, "4 GiB that nobody reads took {grown} KiB");
    }
    // One of them reads now: all of it is there.
    let mut reader = slow.pop().unwrap();
    let answer = reader.answer(false).expect("the whole result");
    assert_eq!(answer.rows().len(), 512);
    drop(slow);
    bystander.is_served();
    wait_until("the backends of those who left are free", || running("limit 512") == 0);
}

/// Statements with this text that the server is running, seen past the proxy.
fn running(text: &str) -> usize {
    let sql = format!(
        "select count(*) from information_schema.processlist where info like '%{text}%' and info \
            not like '%processlist%'"
    );
    WORLD.server.connect().value(&sql).unwrap().parse().unwrap()
}

#[test]
fn clients_that_vanish_mid_query() {
    let mut bystander = Bystander::new();
    for reset in [false, true] {
        let mut conn = client();
        conn.send_command(3, b"select sleep(1000), 'vanished'")
            .unwrap();
        wait_until("the statement runs", || running("vanished") == 1);
        if reset {
            rustix::net::sockopt::set_socket_linger(&conn.stream, Some(Duration::ZERO)).unwrap();
        }
        drop(conn);
        wait_until("the statement is killed", || running("vanished") == 0);
        bystander.is_served();
    }
}

#[test]
fn a_client_that_vanishes_rolls_back() {
    let mut bystander = Bystander::new();
    let mut direct = WORLD.server.connect();
    direct.run("create table vanish (id int primary key)");
    let mut conn = client();
    conn.run("begin");
    conn.run("insert into vanish values (1)");
    drop(conn);
    // The row and its lock are given up: else this is error 1062, or 1205 after a while.
    assert_eq!(direct.value("select count(*) from vanish"), Some("0".into()));
    direct.run("insert into vanish values (1)");
    bystander.is_served();
}

#[test]
fn many_connections_leave_nothing() {
    let mut bystander = Bystander::new();
    let round = |n: usize| {
        for chunk in 0..n / 100 {
            // All at once, not one after the other.
            #[allow(clippy::needless_collect)]
            // All open at once, before the first is used.
            #[allow(clippy::needless_collect)]
            let all: Vec<Connection> = (0..100).map(|_| client()).collect();
            for (i, mut conn) in all.into_iter().enumerate() {
                if i % 2 == 0 {
                    assert_eq!(conn.value("select 1"), Some("1".into()), "{chunk}");
                }
                if i % 3 == 0 {
                    conn.quit();
                }
            }
        }
    };
    round(200);
    let sessions = || WORLD.proxy.metric("coregate_sessions");
    wait_until("the first clients are gone", || sessions() <= 40.0);
    let (descriptors, memory) = (WORLD.proxy.process.descriptors(), WORLD.proxy.process.rss_kib());
    round(2000);
    // Others' tests run beside this one.
    wait_until("all descriptors are closed", || {
        WORLD.proxy.process.descriptors() <= descriptors + 60
    });
    let grown = WORLD.proxy.process.rss_kib().saturating_sub(memory);
    assert!(grown < 60 << 10, "2,000 connections left {grown} KiB");
    bystander.is_served();
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut conn = client();
    for i in 0..50 {
        conn.send_command(3, format!("select {i}, repeat('p', {})", i * 300).as_bytes())
            .unwrap();
    }
    for i in 0..50 {
        // Each command begins with sequence id 0, its answer with 1.
        let mut header = [0; 5];
        conn.stream.peek(&mut header).unwrap();
        assert_eq!(header[3], 1, "the sequence id of answer {i}");
        let rows = read_answer(&mut conn);
        assert_eq!(rows[0][0], Some(i.to_string()));
        assert_eq!(rows[0][1].as_ref().unwrap().len(), i * 300);
    }
}

/// An answer to a command that was sent earlier.
fn read_answer(conn: &mut Connection) -> Vec<Vec<Option<String>>> {
    conn.expect_sequence(1);
    conn.answer(false).expect("an answer").rows()
}
