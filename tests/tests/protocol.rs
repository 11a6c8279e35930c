//! The protocol's client against a real server, without the data plane around it: what a server is
//! asked by every capability that changes its answers, and by MariaDB's ed25519.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::TcpStream;

use coregate_protocol::auth::client::{
    ClientConfig, ClientHandshake, ClientStep, ServerInfo, TlsPolicy,
};
use coregate_protocol::command::encode;
use coregate_protocol::compress::{Compressor, Decompressor, Method};
use coregate_protocol::frame::{Assembler, PacketWriter};
use coregate_protocol::response::OwnedError;
use coregate_protocol::walker::{FeedState, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, ProtocolError};
use coregate_tests::{MariaDb, mariadb};

struct Connection {
    socket: TcpStream,
    info: ServerInfo,
}

/// Only shown, by `unwrap`.
#[allow(dead_code)]
#[derive(Debug)]
enum Refused {
    Server(OwnedError),
    Client(ProtocolError),
}

fn connect(
    address: &str,
    user: &str,
    password: &str,
    wanted: Capabilities,
) -> Result<Connection, Refused> {
    let mut socket = TcpStream::connect(address).unwrap();
    let mut handshake = ClientHandshake::new(ClientConfig {
        user: user.into(),
        password: password.as_bytes().to_vec().into(),
        database: Some(b"mysql".to_vec()),
        wanted,
        required: Capabilities::empty(),
        collation: 45,
        attributes: Vec::new(),
        tls: TlsPolicy::Disabled,
        max_packet: 1 << 24,
        zstd_level: 3,
        allow_public_key_retrieval: false,
    });
    let (mut assembler, mut buf) = (Assembler::new(1 << 20), [0; 4096]);
    loop {
        let n = socket.read(&mut buf).unwrap();
        assert!(n > 0, "closed");
        let mut rest = &buf[..n];
        while !rest.is_empty() {
            let step = assembler.feed(rest).map_err(Refused::Client)?;
            rest = &rest[step.consumed..];
            let Some(packet) = step.packet else { continue };
            let (mut out, seq) = (Vec::new(), packet.seq);
            match handshake
                .on_packet(packet.payload, seq, &mut out, false, None)
                .map_err(Refused::Client)?
            {
                ClientStep::Continue => {
                    assembler.expect(seq.wrapping_add(if out.is_empty() { 1 } else { 2 }))
                }
                ClientStep::StartTls => unreachable!(),
                ClientStep::Done(info) => return Ok(Connection { socket, info }),
                ClientStep::Failed(error) => return Err(Refused::Server(error)),
            }
            socket.write_all(&out).unwrap();
        }
    }
}

impl Connection {
    fn query(&mut self, sql: &str) -> Summary {
        let caps = self.info.capabilities;
        let mut command = Vec::new();
        PacketWriter::new(&mut command, &mut 0).packet(|w| encode::query(w, caps, sql.as_bytes()));
        let compressed = caps.contains(Capabilities::COMPRESS);
        let mut decompressor = Decompressor::new(Method::Zlib).unwrap();
        if compressed {
            let mut out = Vec::new();
            Compressor::new(Method::Zlib)
                .unwrap()
                .compress(&command, &mut 0, &mut out);
            decompressor.expect(Some(1));
            command = out;
        }
        self.socket.write_all(&command).unwrap();
        let mut walker = ResponseWalker::new(ResponseKind::Query, caps);
        let mut buf = [0; 8192];
        while walker.state() == FeedState::More {
            let n = self.socket.read(&mut buf).unwrap();
            assert!(n > 0, "closed");
            let mut plain = Vec::new();
            let mut rest = &buf[..n];
            while compressed && !rest.is_empty() {
                let consumed = decompressor.feed(rest, &mut plain).unwrap();
                rest = &rest[consumed..];
            }
            let bytes = if compressed { plain.as_slice() } else { rest };
            assert_eq!(walker.feed(bytes).unwrap().consumed, bytes.len());
        }
        *walker.summary()
    }
}

#[test]
fn logs_in_and_asks() {
    let server = MariaDb::start("server", &[]);
    let address = &format!("127.0.0.1:{}", server.port);
    let wanted =
        Capabilities::MULTI_STATEMENTS | Capabilities::MULTI_RESULTS | Capabilities::TRANSACTIONS;
    let mut admin = connect(address, mariadb::USER, mariadb::PASSWORD, wanted).unwrap();
    assert!(admin.info.thread_id > 0 && !admin.info.version.is_empty());
    admin.query("INSTALL SONAME 'auth_ed25519'");
    let setup =
        "CREATE OR REPLACE USER probe_ed IDENTIFIED VIA ed25519 USING PASSWORD('pass word');
                 CREATE OR REPLACE USER probe_empty IDENTIFIED BY '';
                 GRANT SELECT ON mysql.* TO probe_ed, probe_empty";
    let summary = admin.query(setup);
    assert_eq!(summary.error, None);

    for extra in [
        Capabilities::empty(),
        Capabilities::DEPRECATE_EOF,
        Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK,
        Capabilities::MARIADB_EXTENDED_METADATA | Capabilities::MARIADB_CACHE_METADATA,
        Capabilities::COMPRESS | Capabilities::DEPRECATE_EOF,
    ] {
        let mut probe = connect(address, "probe_ed", "pass word", wanted | extra).unwrap();
        assert!(probe.info.capabilities.contains(extra));
        let summary = probe.query("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_1000; SELECT 1");
        assert_eq!((summary.rows, summary.results, summary.error), (1001, 2, None), "{extra:?}");
        connect(address, "probe_empty", "", wanted | extra).unwrap();
    }
    for (user, password) in [("probe_ed", "wrong"), ("probe_empty", "x"), ("nobody_there", "x")] {
        let Err(Refused::Server(error)) = connect(address, user, password, wanted) else {
            panic!("{user}")
        };
        assert_eq!(error.code, 1045, "{user}");
    }
}
