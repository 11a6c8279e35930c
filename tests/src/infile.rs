//! LOAD DATA LOCAL INFILE, with a file in memory.
use crate::wire::{Answer, Connection, Login};
use crate::world;
use std::net::{SocketAddr, TcpStream};

const LOCAL_FILES: u32 = 128;

/// A client that sends files where a statement asks for one.
pub fn connect(address: SocketAddr, database: &str) -> Connection {
    let login = Login {
        user: world::USER,
        password: world::PASSWORD,
        database: Some(database),
        capabilities: LOCAL_FILES,
    };
    Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap()
}

/// Runs a statement that asks for a file; it comes in these packets.
pub fn load(conn: &mut Connection, sql: &str, pieces: &[&[u8]]) -> Answer {
    conn.send_command(3, sql.as_bytes()).unwrap();
    let first = conn.packet().unwrap();
    match first.first() {
        Some(0xFB) => {}
        Some(0xFF) => return Answer::Error(conn.parse_error(&first)),
        other => panic!("{sql}: {other:?}"),
    }
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        conn.send_next(piece).unwrap();
    }
    conn.send_next(b"").unwrap();
    conn.answer(false).unwrap()
}
