//! Our client against our server, over every method and transport.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::cell::RefCell;
use std::collections::HashMap;

use coregate_protocol::auth::client::{
    ClientConfig, ClientHandshake, ClientStep, RsaEncrypt, ServerInfo, TlsPolicy,
};
use coregate_protocol::auth::server::{
    Accounts, Credential, Env, RsaKey, ServerConfig, ServerHandshake, ServerStep, make_scramble,
};
use coregate_protocol::auth::{plugin, sha2};
use coregate_protocol::frame::{Packet, split};
use coregate_protocol::handshake::{Attributes, Greeting, HandshakeResponse41};
use coregate_protocol::response::OwnedError;
use coregate_protocol::{Capabilities, ProtocolError, Status};

/// Password, native hash, sha2 hash.
type Account = (Option<&'static str>, Option<&'static str>, Option<Vec<u8>>);

#[derive(Default)]
struct Known {
    users: HashMap<Vec<u8>, Account>,
    remembered: RefCell<HashMap<Vec<u8>, [u8; 32]>>,
}

impl Accounts for Known {
    fn find<'a>(&'a self, user: &[u8]) -> smallvec::SmallVec<[Credential<'a>; 2]> {
        self.users
            .get(user)
            .map(|(password, native, sha2)| Credential {
                password: *password,
                native: *native,
                sha2_hash: sha2.as_deref(),
                ed25519: None,
            })
            .into_iter()
            .collect()
    }

    fn sha2_fast(&self, hash: &[u8]) -> Option<[u8; 32]> {
        self.remembered.borrow().get(hash).copied()
    }

    fn remember_sha2(&self, hash: &[u8], digest: [u8; 32]) {
        self.remembered.borrow_mut().insert(hash.to_vec(), digest);
    }
}

/// A key that hides nothing, but is one for both sides.
struct Reverse;

impl RsaKey for Reverse {
    fn public_pem(&self) -> &str {
        "a key"
    }

    fn decrypt_oaep_sha1(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        Some(sealed.iter().rev().map(|b| b ^ 0x55).collect())
    }
}

impl RsaEncrypt for Reverse {
    fn encrypt_oaep_sha1(&self, public_pem: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        (public_pem == b"a key").then(|| text.iter().rev().map(|b| b ^ 0x55).collect())
    }
}

fn accounts() -> Known {
    let salt = b"abcdefghijklmnopqrst";
    let mut stored = b"$A$005$".to_vec();
    stored.extend_from_slice(salt);
    stored.extend_from_slice(&sha2::crypt(b"secret", salt, 5000));
    let mut known = Known::default();
    known
        .users
        .insert(b"plain".to_vec(), (Some("secret"), None, None));
    known
        .users
        .insert(b"empty".to_vec(), (Some(""), None, None));
    // SHA1(SHA1('secret')).
    let native = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
    known
        .users
        .insert(b"native".to_vec(), (None, Some(native), None));
    known
        .users
        .insert(b"sha2".to_vec(), (None, None, Some(stored)));
    known
}

fn server_config(default: &'static [u8], tls: bool) -> ServerConfig {
    ServerConfig {
        thread_id: 77,
        scramble: make_scramble(std::array::from_fn(|i| (i * 13) as u8)),
        server_version: b"8.4.0-test".to_vec(),
        offered: Capabilities::from_bits_retain(0xFFFF_FFFF)
            - Capabilities::OPTIONAL_RESULTSET_METADATA,
        collation: 45,
        plugin: default,
        tls,
    }
}

fn client_config(user: &str, password: &str) -> ClientConfig {
    let mut attributes = Vec::new();
    Attributes::put(&mut attributes, b"program", b"test");
    ClientConfig {
        user: user.as_bytes().to_vec(),
        password: zeroize::Zeroizing::new(password.as_bytes().to_vec()),
        database: Some(b"db".to_vec()),
        wanted: Capabilities::DEPRECATE_EOF
            | Capabilities::CONNECT_ATTRS
            | Capabilities::ZSTD_COMPRESSION,
        required: Capabilities::PROTOCOL_41,
        collation: 45,
        attributes,
        tls: TlsPolicy::Preferred,
        max_packet: 1 << 24,
        zstd_level: 7,
        allow_public_key_retrieval: true,
    }
}

#[derive(Debug, PartialEq)]
enum End {
    In(ServerInfo),
    Refused(OwnedError),
    Client(ProtocolError),
}

struct Run {
    end: End,
    /// How many packets went each way, and the first byte of each of the server's after the
    /// greeting.
    shape: Vec<u8>,
    server: ServerHandshake,
}

fn take(buf: &mut Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some((Packet { seq, payload }, len)) = split(buf, 1 << 20).unwrap() {
        packets.push((seq, payload.to_vec()));
        buf.drain(..len);
    }
    assert!(buf.is_empty());
    packets
}

fn login(
    server: ServerConfig,
    client: ClientConfig,
    known: &Known,
    rsa: bool,
    socket: bool,
) -> Run {
    let mut server = ServerHandshake::new(server);
    let mut client = ClientHandshake::new(client);
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut shape, mut secure) = (Vec::new(), socket);
    server.greeting(&mut to_client);
    let rsa_encrypt: Option<&dyn RsaEncrypt> = if rsa { Some(&Reverse) } else { None };
    let rsa_key: Option<&dyn RsaKey> = if rsa { Some(&Reverse) } else { None };
    for _ in 0..20 {
        for (seq, payload) in take(&mut to_client) {
            shape.push(payload[0]);
            match client.on_packet(&payload, seq, &mut to_server, secure, rsa_encrypt) {
                Ok(ClientStep::Continue | ClientStep::StartTls) => {}
                Ok(ClientStep::Done(info)) => return Run { end: End::In(info), shape, server },
                Ok(ClientStep::Failed(error)) => {
                    return Run { end: End::Refused(error), shape, server };
                }
                Err(error) => return Run { end: End::Client(error), shape, server },
            }
        }
        for (seq, payload) in take(&mut to_server) {
            let env = Env {
                accounts: known,
                rsa: rsa_key,
                secure,
                require_secure: false,
                host: "10.0.0.1",
            };
            match server
                .on_packet(&payload, seq, &mut to_client, &env)
                .unwrap()
            {
                ServerStep::Accepted => server.accept(Status::AUTOCOMMIT, &mut to_client),
                ServerStep::StartTls => {
                    secure = true;
                    client.tls_started(&mut to_server).unwrap();
                }
                ServerStep::Continue | ServerStep::Rejected => {}
            }
        }
        if secure && !to_server.is_empty() {
            continue;
        }
    }
    panic!("no end of it: {shape:?}");
}

#[test]
fn right_passwords_get_in_by_every_way() {
    let known = accounts();
    for default in [plugin::NATIVE, plugin::CACHING_SHA2] {
        for (user, password) in [
            ("plain", "secret"),
            ("empty", ""),
            ("native", "secret"),
            ("sha2", "secret"),
            ("sha2", "secret"),
        ] {
            for (tls, rsa, socket) in [
                (true, false, false),
                (false, true, false),
                (false, false, true),
                (true, true, false),
            ] {
                let run = login(
                    server_config(default, tls),
                    client_config(user, password),
                    &known,
                    rsa,
                    socket,
                );
                let End::In(info) = run.end else {
                    panic!(
                        "{user} tls {tls} rsa {rsa} socket {socket}: {:?} {:?}",
                        run.end, run.shape
                    )
                };
                assert_eq!((info.thread_id, info.version.as_slice()), (77, &b"8.4.0-test"[..]));
                assert_eq!(info.capabilities.contains(Capabilities::SSL), tls);
                let login = run.server.login();
                assert_eq!(login.user, user.as_bytes());
                assert_eq!(login.database.as_deref(), Some(&b"db"[..]));
                assert_eq!(login.attributes, [(b"program".to_vec(), b"test".to_vec())]);
                assert_eq!(login.zstd_level, 7);
                assert!(login.capabilities.contains(Capabilities::DEPRECATE_EOF));
            }
        }
    }
    assert_eq!(
        known.remembered.borrow().len(),
        1,
        "the salted hash was checked once, then remembered"
    );
}

/// Of two entries of one user, only the one that may log in from where the client is counts,
/// however known the other's password is.
#[test]
fn a_remembered_password_is_its_own_entrys() {
    let mut known = accounts();
    let enter = |known: &Known| {
        let server = server_config(plugin::CACHING_SHA2, true);
        login(server, client_config("sha2", "secret"), known, false, false)
    };
    for _ in 0..2 {
        let run = enter(&known);
        assert!(matches!(run.end, End::In(_)));
        assert_eq!(run.server.credential(), Some(0));
    }
    let salt = b"ABCDEFGHIJKLMNOPQRST";
    let mut other = b"$A$005$".to_vec();
    other.extend_from_slice(salt);
    other.extend_from_slice(&sha2::crypt(b"other", salt, 5000));
    known
        .users
        .insert(b"sha2".to_vec(), (None, None, Some(other)));
    let run = enter(&known);
    assert!(matches!(run.end, End::Refused(_)), "{:?}", run.end);
    assert_eq!(run.server.credential(), None);
}

#[test]
fn a_wrong_password_looks_like_an_unknown_user() {
    let known = accounts();
    for (tls, rsa, socket) in
        [(true, false, false), (false, true, false), (false, false, true), (false, false, false)]
    {
        for (default, user) in [
            (plugin::NATIVE, "plain"),
            (plugin::CACHING_SHA2, "plain"),
            (plugin::NATIVE, "native"),
            (plugin::CACHING_SHA2, "sha2"),
        ] {
            let run = |user: &str| {
                login(
                    server_config(default, tls),
                    client_config(user, "wrong"),
                    &known,
                    rsa,
                    socket,
                )
            };
            let (wrong, unknown) = (run(user), run("nobody"));
            assert_eq!(wrong.shape, unknown.shape, "{user} tls {tls} rsa {rsa}");
            let End::Refused(error) = unknown.end else { panic!("{:?}", unknown.end) };
            assert_eq!((error.code, error.sqlstate), (1045, *b"28000"));
            assert_eq!(
                error.message,
                "Access denied for user 'nobody'@'10.0.0.1' (using password: YES)"
            );
            assert!(matches!(wrong.end, End::Refused(_)));
        }
    }
    let none = login(
        server_config(plugin::NATIVE, false),
        client_config("plain", ""),
        &known,
        false,
        false,
    );
    let End::Refused(error) = none.end else { panic!() };
    assert!(error.message.ends_with("(using password: NO)"));
    let some = login(
        server_config(plugin::NATIVE, false),
        client_config("empty", "x"),
        &known,
        false,
        false,
    );
    assert!(matches!(some.end, End::Refused(_)));
}

#[test]
fn the_salted_hash_needs_a_safe_way() {
    let known = accounts();
    let run = login(
        server_config(plugin::CACHING_SHA2, false),
        client_config("sha2", "secret"),
        &known,
        false,
        false,
    );
    assert!(matches!(run.end, End::Refused(_)), "no TLS, no key");
    let config =
        ClientConfig { allow_public_key_retrieval: false, ..client_config("sha2", "secret") };
    let run = login(server_config(plugin::CACHING_SHA2, false), config, &known, true, false);
    assert!(matches!(run.end, End::Client(ProtocolError::AuthPlugin(_))), "{:?}", run.end);
    let config = ClientConfig { tls: TlsPolicy::Required, ..client_config("sha2", "secret") };
    let run = login(server_config(plugin::CACHING_SHA2, false), config, &known, true, false);
    assert_eq!(run.end, End::Client(ProtocolError::Unsupported("TLS")));
}

#[test]
fn users_change_on_a_connection() {
    use coregate_protocol::auth::native;
    use coregate_protocol::command::com;

    let known = accounts();
    let config = server_config(plugin::NATIVE, false);
    let caps =
        Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
    let env = Env { accounts: &known, rsa: None, secure: false, require_secure: false, host: "h" };
    for (password, want) in [("secret", ServerStep::Accepted), ("wrong", ServerStep::Rejected)] {
        let mut packet = vec![com::CHANGE_USER];
        packet.extend_from_slice(b"native\0\x14");
        packet.extend_from_slice(&native::scramble(&config.scramble, password.as_bytes()));
        packet.extend_from_slice(b"other\0\x2d\0mysql_native_password\0");
        let mut server = ServerHandshake::change_user(config.clone(), caps, 1 << 20);
        let mut out = Vec::new();
        assert_eq!(server.on_packet(&packet, 0, &mut out, &env), Ok(want));
        assert_eq!(
            (server.login().user.as_slice(), server.login().collation),
            (&b"native"[..], 45)
        );
        assert_eq!(server.login().database.as_deref(), Some(&b"other"[..]));
        assert_eq!(server.login().capabilities, caps);
    }
}

#[test]
fn an_old_client_is_told_so() {
    let known = accounts();
    let env = Env { accounts: &known, rsa: None, secure: false, require_secure: false, host: "h" };
    for packet in [&b"\x05\0\0\0\x01user\0"[..], b"", b"\0\x02"] {
        let mut server = ServerHandshake::new(server_config(plugin::NATIVE, false));
        let mut out = Vec::new();
        assert_eq!(server.on_packet(packet, 1, &mut out, &env), Ok(ServerStep::Rejected));
        let (error, _) = split(&out, 1000).unwrap().unwrap();
        assert_eq!(error.seq, 2);
        assert_eq!(error.payload.get(1..9), Some(&b"\x13\x04#08S01"[..]));
    }
    let env = Env { require_secure: true, ..env };
    let mut server = ServerHandshake::new(server_config(plugin::NATIVE, false));
    let mut out = Vec::new();
    let mut packet = Vec::new();
    HandshakeResponse41 {
        capabilities: Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION,
        max_packet: 0,
        collation: 0,
        user: b"plain",
        auth: b"",
        database: None,
        plugin: b"",
        attributes: Attributes::default(),
        zstd_level: 0,
    }
    .encode(&mut packet);
    assert_eq!(server.on_packet(&packet, 1, &mut out, &env), Ok(ServerStep::Rejected));
    assert_eq!(out.get(5..7), Some(&3159u16.to_le_bytes()[..]));
}

/// MySQL's own clients since 9.0 have no `mysql_native_password`: to a greeting that names it they
/// answer nothing, under the name of the method that they would like.
#[test]
fn a_client_without_the_greetings_method_is_asked_by_its_own() {
    let known = accounts();
    let env = Env { accounts: &known, rsa: None, secure: true, require_secure: false, host: "h" };
    for (user, method) in [(&b"plain"[..], plugin::CACHING_SHA2), (b"native", plugin::NATIVE)] {
        let mut server = ServerHandshake::new(server_config(plugin::NATIVE, false));
        let (mut out, mut packet) = (Vec::new(), Vec::new());
        server.greeting(&mut out);
        out.clear();
        HandshakeResponse41 {
            capabilities: Capabilities::PROTOCOL_41
                | Capabilities::SECURE_CONNECTION
                | Capabilities::PLUGIN_AUTH
                | Capabilities::PLUGIN_AUTH_LENENC_DATA,
            max_packet: 0,
            collation: 0,
            user,
            auth: b"",
            database: None,
            plugin: plugin::CACHING_SHA2,
            attributes: Attributes::default(),
            zstd_level: 0,
        }
        .encode(&mut packet);
        assert_eq!(server.on_packet(&packet, 1, &mut out, &env), Ok(ServerStep::Continue));
        let (switch, _) = split(&out, 1000).unwrap().unwrap();
        assert_eq!(switch.payload.first(), Some(&0xFE));
        assert!(switch.payload.get(1..).unwrap().starts_with(method), "{user:?}");
        // Nothing again: that is an empty password.
        out.clear();
        assert_eq!(server.on_packet(b"\0", 3, &mut out, &env), Ok(ServerStep::Rejected));
        let (error, _) = split(&out, 1000).unwrap().unwrap();
        assert_eq!(error.payload.get(1..3), Some(&1045u16.to_le_bytes()[..]));
    }
}

#[test]
fn a_real_greeting_and_a_real_response_are_read() {
    for answer in common::answers().into_iter().filter(|a| a.name == "hello") {
        let (packet, len) = split(&answer.bytes, 1000).unwrap().unwrap();
        assert_eq!(len, answer.bytes.len());
        let mut again = Vec::new();
        if answer.kind == "greeting" {
            let Greeting::Hello(hello) = Greeting::parse(packet.payload).unwrap() else { panic!() };
            assert!(hello.server_version.starts_with(b"5.5.5-10.11."));
            assert_eq!(hello.plugin, plugin::NATIVE);
            assert!(
                hello
                    .capabilities
                    .contains(Capabilities::MARIADB_CACHE_METADATA)
            );
            hello.encode(&mut again);
        } else {
            let response = HandshakeResponse41::parse(packet.payload).unwrap();
            assert_eq!((response.user, response.plugin), (&b"sb"[..], plugin::NATIVE));
            response.encode(&mut again);
        }
        assert_eq!(again, packet.payload);
    }
    let refused = b"\xff\x10\x04Too many connections";
    let Greeting::Refused(error) = Greeting::parse(refused).unwrap() else { panic!() };
    assert_eq!((error.code, error.message), (1040, &b"Too many connections"[..]));
}
