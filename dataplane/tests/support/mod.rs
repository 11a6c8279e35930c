//! A database server of a few lines, and a client of a few more: enough to drive the data plane
//! without anything installed.
#![allow(dead_code)]
use coregate_dataplane::{Config, DataPlane, start};
use coregate_planner::control::{ControlPort, ControlRequest, Reply, UserEntry, Users};
use coregate_planner::serving::{Serving, ShardServing, TabletServing};
use coregate_planner::snapshot::{Address, BackendTls, Snapshot, Tablet, TabletKind};
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};
use coregate_protocol::auth::client::{ClientConfig, ClientHandshake, ClientStep, TlsPolicy};
use coregate_protocol::auth::plugin;
use coregate_protocol::auth::server::{
    Accounts, Credential, Env, ServerConfig, ServerHandshake, ServerStep,
};
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::command::Command;
use coregate_protocol::frame::{self, PacketWriter};
use coregate_protocol::response::{ErrPacket, OkPacket, PrepareOk, encode_rows_end};
use coregate_protocol::{Capabilities, Status, codec, row};
use smallvec::{SmallVec, smallvec};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const CAPABILITIES: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC_DATA)
    .union(Capabilities::CONNECT_WITH_DB)
    .union(Capabilities::LONG_PASSWORD)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS)
    .union(Capabilities::DEPRECATE_EOF);

/// Packets over a blocking socket.
pub struct Wire {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, buffer: Vec::new() }
    }

    pub fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((packet, consumed)) =
                frame::split(&self.buffer, usize::MAX).expect("a packet")
            {
                let whole = (packet.seq, packet.payload.to_vec());
                self.buffer.drain(..consumed);
                return Some(whole);
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    pub fn command(&mut self, payload: &[u8]) {
        let (mut out, mut seq) = (Vec::new(), 0);
        frame::write_packet(&mut out, &mut seq, payload);
        self.write(&out);
    }
}

struct Anyone;

impl Accounts for Anyone {
    fn find<'a>(&'a self, _: &[u8]) -> SmallVec<[Credential<'a>; 2]> {
        smallvec![Credential { password: Some("pw"), ..Credential::default() }]
    }
    fn sha2_fast(&self, _: &[u8]) -> Option<[u8; 32]> {
        None
    }
    fn remember_sha2(&self, _: &[u8], _: [u8; 32]) {}
}

/// What a server does with BEGIN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnBegin {
    Answer,
    /// Answers only when the next command is there too.
    Hold,
    Refuse,
    /// Answers it; COM_RESET_CONNECTION it answers only when the next command is there too.
    AnswerHoldReset,
}

/// The texts that a server was sent, with the number of the connection.
pub type Log = Arc<Mutex<Vec<(usize, String)>>>;

/// A server that answers every query with one row: the text of the query's end.
pub fn fake_server() -> SocketAddr {
    server(OnBegin::Answer).0
}

/// The same with transactions; a text with `fail` in it is answered with an error.
pub fn server(on_begin: OnBegin) -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Log::default();
    let told = Arc::clone(&log);
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let log = Arc::clone(&told);
            std::thread::spawn(move || serve(Wire::new(stream), on_begin, n, &log));
        }
    });
    (address, log)
}

fn put_error(out: &mut Vec<u8>, seq: &mut u8, capabilities: Capabilities, code: u16) {
    let error = ErrPacket { code, sqlstate: *b"HY000", message: b"as the test wants it" };
    PacketWriter::new(out, seq).packet(|w| error.encode(capabilities, w));
}

fn serve(mut wire: Wire, on_begin: OnBegin, n: usize, log: &Log) {
    let mut handshake = ServerHandshake::new(ServerConfig {
        thread_id: 7,
        scramble: [b'a'; 20],
        server_version: b"10.11.0-MariaDB".to_vec(),
        offered: Capabilities::all()
            - Capabilities::SSL
            - Capabilities::COMPRESS
            - Capabilities::ZSTD_COMPRESSION,
        collation: 45,
        plugin: plugin::NATIVE,
        tls: false,
    });
    let mut out = Vec::new();
    handshake.greeting(&mut out);
    loop {
        wire.write(&std::mem::take(&mut out));
        let Some((seq, payload)) = wire.read() else { return };
        let env =
            Env { accounts: &Anyone, rsa: None, secure: true, require_secure: false, host: "test" };
        match handshake.on_packet(&payload, seq, &mut out, &env) {
            Ok(ServerStep::Accepted) => break,
            Ok(ServerStep::Continue) => {}
            other => panic!("the proxy cannot log in: {other:?}"),
        }
    }
    handshake.accept(Status::AUTOCOMMIT, &mut out);
    wire.write(&out);
    let capabilities = handshake.login().capabilities;
    let mut status = Status::AUTOCOMMIT;
    let mut held = None;
    // A command that never comes must fail the test, not hang it.
    let patience = Some(std::time::Duration::from_secs(20));
    while let Some((_, payload)) = held.take().or_else(|| wire.read()) {
        let mut out = Vec::new();
        let mut seq = 1;
        let command = Command::parse(&payload, capabilities).expect("a command");
        if let Command::Query { sql, .. } = &command {
            let text = String::from_utf8_lossy(sql).into_owned();
            if text == "BEGIN" && on_begin == OnBegin::Hold {
                wire.stream.set_read_timeout(patience).expect("a timeout");
                let Some(next) = wire.read() else { return };
                wire.stream.set_read_timeout(None).expect("a timeout");
                held = Some(next);
            }
            log.lock().expect("the log").push((n, text));
        }
        if command == Command::ResetConnection && on_begin == OnBegin::AnswerHoldReset {
            wire.stream.set_read_timeout(patience).expect("a timeout");
            let Some(next) = wire.read() else { return };
            wire.stream.set_read_timeout(None).expect("a timeout");
            held = Some(next);
            log.lock().expect("the log").push((n, "reset".to_owned()));
        }
        match command {
            Command::Query { sql, .. } if sql == b"BEGIN" && on_begin == OnBegin::Refuse => {
                put_error(&mut out, &mut seq, capabilities, 1317);
            }
            Command::Query { sql, .. } if sql.ends_with(b"'fail'") => {
                put_error(&mut out, &mut seq, capabilities, 1146);
            }
            Command::Query { sql, .. }
                if sql.starts_with(b"SELECT") || sql.starts_with(b"select") =>
            {
                put_row(&mut out, &mut seq, capabilities, status, |w| {
                    row::put_text(w, Some(b"one"))
                });
            }
            Command::StmtPrepare(_) => {
                let ok = PrepareOk {
                    stmt_id: 9,
                    columns: 1,
                    params: 1,
                    warnings: 0,
                    metadata_follows: true,
                };
                let column = ColumnDefinition::expression(b"c", ColumnType::VAR_STRING);
                let mut writer = PacketWriter::new(&mut out, &mut seq);
                writer.packet(|w| ok.encode(capabilities, w));
                writer.packet(|w| column.encode(capabilities, w));
                writer.packet(|w| column.encode(capabilities, w));
            }
            Command::StmtExecute { .. } => {
                put_row(&mut out, &mut seq, capabilities, status, |w| {
                    w.extend_from_slice(&[0, 0]);
                    codec::put_lenenc_bytes(w, b"one");
                });
            }
            Command::Quit => return,
            other => {
                match other {
                    Command::Query { sql: b"BEGIN", .. } => status |= Status::IN_TRANS,
                    Command::Query { sql, .. }
                        if sql.starts_with(b"COMMIT") || sql.starts_with(b"ROLLBACK AND") =>
                    {
                        status -= Status::IN_TRANS;
                    }
                    _ => {}
                }
                let ok = OkPacket { status, ..OkPacket::default() };
                PacketWriter::new(&mut out, &mut seq).packet(|w| ok.encode(capabilities, w));
            }
        }
        wire.write(&out);
    }
}

fn put_row(
    out: &mut Vec<u8>,
    seq: &mut u8,
    capabilities: Capabilities,
    status: Status,
    row: impl FnOnce(&mut Vec<u8>),
) {
    assert!(capabilities.contains(Capabilities::DEPRECATE_EOF), "these tests' clients all have it");
    let end = OkPacket { status, ..OkPacket::default() };
    let column = ColumnDefinition::expression(b"c", ColumnType::VAR_STRING);
    let mut writer = PacketWriter::new(out, seq);
    writer.packet(|w| codec::put_lenenc_int(w, 1));
    writer.packet(|w| column.encode(capabilities, w));
    writer.packet(row);
    writer.packet(|w| encode_rows_end(&end, capabilities, w));
}

struct NoControl;

impl ControlPort for NoControl {
    fn request(&self, _: ControlRequest, reply: Reply) {
        reply(Ok(None));
    }
}

/// A keyspace `ks` of two shards, both on `server`, with the table `t (id, v)` spread by
/// `hash(id)`.
pub fn sharded(server: SocketAddr) -> (Snapshot, Serving) {
    let vschema = Keyspace::from_json(
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )
    .expect("a vschema");
    let spec = KeyspaceSpec::new("ks", &["-80", "80-"], vschema);
    let no_files = |_: &str| Err("no files".to_owned());
    let snapshot = SnapshotBuilder::new(1)
        .keyspace(spec, &no_files)
        .expect("a keyspace")
        .build();
    let mut serving = Serving { version: 1, ..Serving::default() };
    for (n, shard) in snapshot.keyspaces[0].shards.iter().enumerate() {
        let tablet = Tablet {
            alias: format!("zone1-{n}00"),
            kind: TabletKind::Primary,
            address: Address::Tcp(server),
            server_name: server.ip().to_string(),
            user: "u".into(),
            password: "pw".into(),
            tls: BackendTls::Disabled,
        };
        let of_shard = ShardServing {
            keyspace: "ks".to_owned(),
            shard: shard.name.clone(),
            database: "ks".to_owned(),
            tablets: vec![TabletServing::new(Arc::new(tablet))],
            ..ShardServing::default()
        };
        serving.shards.insert(shard.id, of_shard);
    }
    (snapshot, serving)
}

pub fn plane(world: (Snapshot, Serving), config: Config) -> DataPlane {
    plane_with(world, config, Arc::new(NoControl))
}

pub fn plane_with(
    (snapshot, serving): (Snapshot, Serving),
    config: Config,
    control: Arc<dyn ControlPort>,
) -> DataPlane {
    let mut users = Users::default();
    let entry = UserEntry { password: Some("pw".into()), admin: true, ..UserEntry::default() };
    users.by_name.insert("u".into(), vec![entry]);
    let config = Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: None,
        cpus: Some(vec![]),
        ..config
    };
    start(config, (Arc::new(snapshot), Arc::new(serving)), Arc::new(users), control)
        .expect("a data plane")
}

pub fn log_in(address: SocketAddr, database: Option<&str>) -> Wire {
    let mut wire = Wire::new(TcpStream::connect(address).expect("connected"));
    let mut handshake = ClientHandshake::new(ClientConfig {
        user: b"u".to_vec(),
        password: b"pw".to_vec().into(),
        database: database.map(|d| d.as_bytes().to_vec()),
        wanted: CAPABILITIES,
        required: Capabilities::PROTOCOL_41,
        collation: 45,
        attributes: Vec::new(),
        tls: TlsPolicy::Disabled,
        max_packet: 1 << 24,
        zstd_level: 0,
        allow_public_key_retrieval: false,
    });
    loop {
        let (seq, payload) = wire.read().expect("an answer");
        let mut out = Vec::new();
        let step = handshake
            .on_packet(&payload, seq, &mut out, false, None)
            .expect("understood");
        wire.write(&out);
        match step {
            ClientStep::Continue => {}
            ClientStep::Done(_) => return wire,
            other => panic!("cannot log in: {other:?}"),
        }
    }
}

/// Reads an answer of one result: its packets.
pub fn answer(wire: &mut Wire) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    loop {
        let (_, payload) = wire.read().expect("an answer");
        let first = packets.is_empty();
        let head = payload.first().copied();
        packets.push(payload);
        let ends = matches!(head, Some(0xFE) | Some(0xFF)) || (first && head == Some(0));
        if ends {
            return packets;
        }
    }
}
