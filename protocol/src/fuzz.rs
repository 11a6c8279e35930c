//! One entry point for each parser, taking any bytes: for fuzzers, and for `tests/fuzz.rs`. Nothing
//! here may panic, loop for ever, or hold more memory than a small multiple of its input (but for
//! [`decompressor`], which holds what a packet may decompress to).

use crate::auth::server::{Accounts, Credential, Env, ServerConfig, ServerHandshake};
use crate::auth::{plugin, sha2};
use crate::capability::Capabilities;
use crate::column::{ColumnDefinition, ColumnType};
use crate::command::Command;
use crate::command::execute::ExecuteBody;
use crate::compress::{Decompressor, Method};
use crate::frame::{Assembler, split};
use crate::handshake::{
    AuthMoreData, AuthSwitchRequest, Greeting, HandshakeResponse41, SslRequest,
};
use crate::response::{EofPacket, ErrPacket, OkPacket, PrepareOk, Progress};
use crate::row::{BinaryRow, TextRow};
use crate::value::ParamType;
use crate::walker::{FeedState, Resequencer, ResponseKind, ResponseWalker};

/// An entry point.
pub type Target = fn(&[u8]);

/// All entry points by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("assembler", assembler),
    ("client_handshake", client_handshake),
    ("command", command),
    ("decompressor", decompressor),
    ("handshake", handshake),
    ("response", response),
    ("resequencer", resequencer),
    ("row", row),
    ("server_handshake", server_handshake),
    ("sha2_stored", sha2_stored),
    ("walker", walker),
];

const LIMIT: usize = 1 << 20;

/// Takes the first eight bytes for capabilities.
fn caps(bytes: &[u8]) -> (Capabilities, &[u8]) {
    match bytes.split_first_chunk::<8>() {
        Some((caps, rest)) => (Capabilities::from_bits_retain(u64::from_le_bytes(*caps)), rest),
        None => (Capabilities::PROTOCOL_41, bytes),
    }
}

/// Takes one byte for a number.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (usize::from(*first), rest))
}

/// Whole packets out of slices.
pub fn assembler(bytes: &[u8]) {
    let (size, bytes) = number(bytes);
    let _ = split(bytes, LIMIT);
    let mut assembler = Assembler::new(LIMIT);
    for slice in bytes.chunks(size + 1) {
        let mut rest = slice;
        while !rest.is_empty() {
            let Ok(step) = assembler.feed(rest) else { return };
            rest = rest.get(step.consumed..).unwrap_or_default();
        }
    }
}

/// Packets of connecting.
pub fn handshake(bytes: &[u8]) {
    let _ = Greeting::parse(bytes);
    let _ = SslRequest::parse(bytes);
    let _ = AuthSwitchRequest::parse(bytes);
    let _ = AuthMoreData::parse(bytes);
    if let Ok(response) = HandshakeResponse41::parse(bytes) {
        let _ = response.attributes.iter().count();
    }
}

/// Commands, and what is inside of them.
pub fn command(bytes: &[u8]) {
    let (caps, bytes) = caps(bytes);
    let (params, bytes) = number(bytes);
    let mut out = Vec::new();
    match Command::parse(bytes, caps) {
        Ok(Command::Query { attributes, .. }) => {
            for (_, value) in attributes.iter() {
                value.write_literal(crate::Status::empty(), &mut out);
            }
        }
        Ok(Command::StmtExecute { flags, rest, .. }) => {
            let Ok(body) = ExecuteBody::parse(rest, params, flags, caps) else { return };
            let _ = body.bound_types().count();
            for (_, value) in body.values(&[], |i| i % 7 == 6).flatten() {
                value.write_literal(crate::Status::empty(), &mut out);
            }
        }
        Ok(Command::ChangeUser(fields)) => {
            let _ = fields.attributes.iter().count();
        }
        _ => {}
    }
}

/// Packets of answers.
pub fn response(bytes: &[u8]) {
    let (caps, bytes) = caps(bytes);
    let _ = EofPacket::parse(bytes);
    let _ = ErrPacket::parse(bytes);
    let _ = Progress::parse(bytes);
    let _ = PrepareOk::parse(bytes, caps);
    let _ = ColumnDefinition::parse(bytes, caps);
    if let Ok(ok) = OkPacket::parse(bytes, caps) {
        let _ = ok.session.iter().count();
    }
}

/// Rows of both forms.
pub fn row(bytes: &[u8]) {
    let _ = TextRow::new(bytes).count();
    let (columns, bytes) = number(bytes);
    let Some((types, payload)) = bytes.split_at_checked(columns) else { return };
    let types = types
        .iter()
        .map(|ty| ParamType { column_type: ColumnType(*ty), unsigned: ty & 1 == 1 });
    if let Ok(row) = BinaryRow::new(payload, types) {
        let mut out = Vec::new();
        row.flatten().for_each(|value| value.write_text(&mut out));
    }
}

/// The walker: cut or whole, it must say the same.
pub fn walker(bytes: &[u8]) {
    const KINDS: [ResponseKind; 9] = [
        ResponseKind::Cursor,
        ResponseKind::Execute,
        ResponseKind::Fetch,
        ResponseKind::FieldList,
        ResponseKind::None,
        ResponseKind::Prepare,
        ResponseKind::Query,
        ResponseKind::Simple,
        ResponseKind::Statistics,
    ];
    let (caps, bytes) = caps(bytes);
    let (kind, bytes) = number(bytes);
    let (size, bytes) = number(bytes);
    let Some(kind) = KINDS.get(kind % KINDS.len()) else { return };
    let mut whole = ResponseWalker::new(*kind, caps);
    let want = whole.feed(bytes);
    let mut parts = ResponseWalker::new(*kind, caps);
    let (mut consumed, mut error) = (0, None);
    for slice in bytes.chunks(size + 1) {
        match parts.feed(slice) {
            Ok(feed) => consumed += feed.consumed,
            Err(found) => error = Some(found),
        }
        if error.is_some() || parts.state() != FeedState::More {
            break;
        }
    }
    match want {
        Ok(feed) => {
            assert_eq!((feed.consumed, feed.state, None), (consumed, parts.state(), error));
            assert_eq!(whole.summary(), parts.summary());
            assert_eq!(whole.session_changes(), parts.session_changes());
        }
        Err(want) => assert_eq!(Some(want), error),
    }
}

/// Renumbering: never changes anything but the ids.
pub fn resequencer(bytes: &[u8]) {
    let (size, bytes) = number(bytes);
    let mut whole = bytes.to_vec();
    Resequencer::new(1).apply(&mut whole);
    let (mut parts, mut resequencer) = (bytes.to_vec(), Resequencer::new(1));
    for slice in parts.chunks_mut(size + 1) {
        resequencer.apply(slice);
    }
    assert_eq!(whole, parts);
}

/// The compressed protocol.
pub fn decompressor(bytes: &[u8]) {
    let (size, bytes) = number(bytes);
    for method in [Method::Zlib, Method::Zstd(1)] {
        let Ok(mut decompressor) = Decompressor::new(method) else { return };
        let mut out = Vec::new();
        'slices: for slice in bytes.chunks(size + 1) {
            let mut rest = slice;
            while !rest.is_empty() {
                let Ok(consumed) = decompressor.feed(rest, &mut out) else { break 'slices };
                out.clear();
                rest = rest.get(consumed..).unwrap_or_default();
            }
        }
    }
}

/// What an account stores.
pub fn sha2_stored(bytes: &[u8]) {
    let (few, bytes) = number(bytes);
    // Rounds are slow: the number is not for a fuzzer to choose.
    if few == 0 || bytes.get(3..6) == Some(b"001") {
        sha2::verify_stored(b"secret", bytes);
    }
}

struct Anyone;

impl Accounts for Anyone {
    fn find<'a>(&'a self, user: &[u8]) -> smallvec::SmallVec<[Credential<'a>; 2]> {
        let known = Credential { password: Some("secret"), ..Credential::default() };
        user.first().map(|_| known).into_iter().collect()
    }

    fn sha2_fast(&self, _user: &[u8]) -> Option<[u8; 32]> {
        None
    }

    fn remember_sha2(&self, _user: &[u8], _digest: [u8; 32]) {}
}

/// A login as a server: packets out of the bytes.
pub fn server_handshake(bytes: &[u8]) {
    let (flags, bytes) = number(bytes);
    let config = ServerConfig {
        thread_id: 1,
        scramble: [7; 20],
        server_version: b"8".to_vec(),
        offered: Capabilities::all(),
        collation: 45,
        plugin: if flags & 1 == 0 { plugin::NATIVE } else { plugin::CACHING_SHA2 },
        tls: flags & 2 != 0,
    };
    let mut server = if flags & 4 == 0 {
        ServerHandshake::new(config)
    } else {
        ServerHandshake::change_user(config, caps(bytes).0, 0)
    };
    let env = Env {
        accounts: &Anyone,
        rsa: None,
        secure: flags & 8 != 0,
        require_secure: false,
        host: "h",
    };
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Ok(Some((packet, len))) = split(rest, LIMIT) {
        if server
            .on_packet(packet.payload, packet.seq, &mut out, &env)
            .is_err()
        {
            return;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
}

/// A login as a client: packets out of the bytes.
pub fn client_handshake(bytes: &[u8]) {
    use crate::auth::client::{ClientConfig, ClientHandshake, TlsPolicy};

    let (flags, bytes) = number(bytes);
    let mut client = ClientHandshake::new(ClientConfig {
        user: b"user".to_vec(),
        password: zeroize::Zeroizing::new(b"secret".to_vec()),
        database: None,
        wanted: Capabilities::all(),
        required: Capabilities::empty(),
        collation: 45,
        attributes: Vec::new(),
        tls: if flags & 1 == 0 { TlsPolicy::Disabled } else { TlsPolicy::Preferred },
        max_packet: 1 << 24,
        zstd_level: 3,
        allow_public_key_retrieval: true,
    });
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Ok(Some((packet, len))) = split(rest, LIMIT) {
        if client
            .on_packet(packet.payload, packet.seq, &mut out, flags & 2 != 0, None)
            .is_err()
        {
            return;
        }
        let _ = client.tls_started(&mut out);
        rest = rest.get(len..).unwrap_or_default();
    }
}
