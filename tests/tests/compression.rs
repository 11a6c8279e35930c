//! Compressed connections: what clients put into a send, and the answers, are compared with the
//! server's own.
#![allow(clippy::unwrap_used)]
use coregate_tests::wire::Login;
use coregate_tests::{Connection, Coregate, MariaDb, world};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const COMPRESS: u32 = 32;
const LOCAL_FILES: u32 = 128;

/// A connection whose packets are wrapped by hand.
struct Packed {
    stream: TcpStream,
    plain: Vec<u8>,
}

/// A packet inside.
fn framed(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    out.push(seq);
    out.extend_from_slice(payload);
    out
}

/// A compressed packet, deflated if it is long.
fn wrapped(seq: u8, plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut length = 0;
    if plain.len() >= 50 {
        let mut encoder = flate2::write::ZlibEncoder::new(&mut packed, flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap();
        length = plain.len();
    } else {
        packed = plain.to_vec();
    }
    let mut out = (packed.len() as u32).to_le_bytes()[..3].to_vec();
    out.push(seq);
    out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
    out.extend_from_slice(&packed);
    out
}

impl Packed {
    fn login(address: SocketAddr, database: &str) -> Self {
        let login = Login {
            user: world::USER,
            password: world::PASSWORD,
            database: Some(database),
            capabilities: COMPRESS | LOCAL_FILES,
        };
        let conn = Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap();
        Self { stream: conn.stream, plain: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet's payload.
    fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(head) = self.plain.first_chunk::<4>() {
                let len = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
                if self.plain.len() >= 4 + len {
                    let packet = self.plain[4..4 + len].to_vec();
                    self.plain.drain(..4 + len);
                    return packet;
                }
            }
            let mut header = [0; 7];
            self.stream
                .read_exact(&mut header)
                .expect("a compressed packet");
            let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let plain = u32::from_le_bytes([header[4], header[5], header[6], 0]) as usize;
            let mut packed = vec![0; len];
            self.stream.read_exact(&mut packed).unwrap();
            if plain == 0 {
                self.plain.extend_from_slice(&packed);
            } else {
                flate2::read::ZlibDecoder::new(&packed[..])
                    .read_to_end(&mut self.plain)
                    .unwrap();
            }
        }
    }

    /// The packets of an answer: OK, an error, a request for a file, or columns, rows and their
    /// ends.
    fn answer(&mut self) -> Vec<Vec<u8>> {
        let mut all = vec![self.packet()];
        if matches!(all[0][0], 0 | 0xFB | 0xFE | 0xFF) {
            return all;
        }
        let mut ends = 0;
        while ends < 2 {
            let packet = self.packet();
            ends += usize::from(packet[0] == 0xFE && packet.len() < 9);
            all.push(packet);
        }
        all
    }
}

fn query(sql: &str) -> Vec<u8> {
    framed(0, &[&[3], sql.as_bytes()].concat())
}

/// Everything in turn; the answers.
fn script(address: SocketAddr, database: &str) -> Vec<Vec<Vec<u8>>> {
    let mut conn = Packed::login(address, database);
    let mut seen = Vec::new();
    let long = format!("select length('{}')", "x".repeat(300_000));
    // Two commands in one send: each in a packet of its own, each counted from 0.
    let close = framed(0, &[0x19, 1, 0, 0, 0]);
    conn.send(&[wrapped(0, &close), wrapped(0, &query("select 1"))].concat());
    seen.push(conn.answer());
    conn.send(
        &[wrapped(0, &query("select 2")), wrapped(0, &query(&long)), wrapped(0, &framed(0, &[14]))]
            .concat(),
    );
    for _ in 0..3 {
        seen.push(conn.answer());
    }
    // Together in one packet.
    conn.send(&wrapped(0, &[close, query("select 3")].concat()));
    seen.push(conn.answer());
    // A command cut into many packets, each sent alone.
    for (n, part) in query(&long).chunks(9_000).enumerate() {
        conn.send(&wrapped(n as u8, part));
    }
    seen.push(conn.answer());
    // Packets whose own sequence ids are anything.
    conn.send(&wrapped(0, &framed(7, b"\x03select 'seven'")));
    seen.push(conn.answer());
    // A file: its packets in packets of their own, and all in one.
    for together in [false, true] {
        conn.send(&wrapped(0, &query("load data local infile 'x' into table loaded (v)")));
        seen.push(conn.answer());
        let rows: String = (0..2_000).map(|n| format!("row {n}\n")).collect();
        let parts = [framed(2, rows.as_bytes()), framed(3, b"last\n"), framed(4, b"")];
        if together {
            conn.send(&wrapped(2, &parts.concat()));
        } else {
            for (n, part) in parts.iter().enumerate() {
                conn.send(&wrapped(n as u8 + 2, part));
            }
        }
        seen.push(conn.answer());
        conn.send(&wrapped(0, &query("select count(*), min(v), max(v) from loaded")));
        seen.push(conn.answer());
    }
    seen
}

/// COM_CHANGE_USER with a method that the server asks to change.
fn change_user(address: SocketAddr, database: &str) -> u8 {
    let mut conn = Packed::login(address, database);
    let mut payload = vec![0x11];
    payload.extend_from_slice(world::USER.as_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(database.as_bytes());
    payload.extend_from_slice(&[0, 45, 0]);
    payload.extend_from_slice(b"mysql_clear_password\0");
    conn.send(&wrapped(0, &framed(0, &payload)));
    let switch = conn.packet();
    assert_eq!(switch[0], 0xFE, "a switch: {switch:?}");
    let rest = &switch[1..];
    let end = rest.iter().position(|b| *b == 0).unwrap();
    assert_eq!(&rest[..end], b"mysql_native_password");
    let scramble = rest[end + 1..]
        .strip_suffix(&[0])
        .unwrap_or_else(|| &rest[end + 1..]);
    let token = coregate_tests::wire::native_password(world::PASSWORD, scramble);
    conn.send(&wrapped(2, &framed(2, &token)));
    let verdict = conn.packet()[0];
    conn.send(&wrapped(0, &query("select 5")));
    assert_eq!(conn.answer().len(), 5, "a result after COM_CHANGE_USER");
    verdict
}

#[test]
fn compressed_commands_are_answered_as_by_the_server() {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    direct.run("create user app@'%' identified by 'app'");
    direct.run("grant all on *.* to app@'%'");
    direct.run("create table loaded (v varchar(20))");
    let users = world::users_file();
    let coregate = Coregate::drop_in("compression", &server, &["--users", users.to_str().unwrap()]);
    let there = SocketAddr::from(([127, 0, 0, 1], server.port));
    let wanted = script(there, "test");
    direct.run("truncate loaded");
    let got = script(coregate.mysql, "test");
    for (n, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        assert_eq!(wanted, got, "answer {n}");
    }
    assert_eq!(wanted.len(), got.len());
    assert_eq!(change_user(there, "test"), 0);
    assert_eq!(change_user(coregate.mysql, "test"), 0);
}
