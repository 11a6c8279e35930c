//! Every packet there and back, and past another implementation (`mysql_common`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use coregate_protocol::auth::plugin;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use coregate_protocol::command::attributes::put_attributes;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody, STMT_ID_AT, put_body};
use coregate_protocol::command::{Command, com, encode};
use coregate_protocol::handshake::{
    Attributes, AuthMoreData, AuthSwitchRequest, HandshakeResponse41, HandshakeV10, SslRequest,
};
use coregate_protocol::response::{
    EofPacket, ErrPacket, OkPacket, PrepareOk, Progress, SessionChange, SessionChanges,
    put_session_change,
};
use coregate_protocol::row::{BinaryRow, TextRow, put_binary_row, put_text};
use coregate_protocol::value::{DateTime, ParamType, Time, Value};
use coregate_protocol::{Capabilities, Status};
use mysql_common::constants::{CapabilityFlags, ColumnFlags as TheirFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets as theirs;
use mysql_common::proto::{MyDeserialize, MySerialize};
use proptest::prelude::*;

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1u8..=255, 0..40)
}

fn caps() -> impl Strategy<Value = Capabilities> {
    any::<u64>().prop_map(|bits| {
        let caps = Capabilities::from_bits_truncate(bits) | Capabilities::PROTOCOL_41;
        if caps.contains(Capabilities::LONG_PASSWORD) {
            Capabilities::from_bits_truncate(u64::from(caps.low()))
        } else {
            caps
        }
    })
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

#[derive(Clone, Debug)]
enum Owned {
    Bytes(Vec<u8>),
    Plain(Value<'static>),
}

impl Owned {
    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Plain(value) => *value,
        }
    }
}

fn date_time() -> impl Strategy<Value = DateTime> {
    let micros = prop_oneof![Just(0), 1u32..1_000_000];
    (0u16..10_000, 0u8..13, 0u8..32, 0u8..24, 0u8..60, 0u8..60, micros).prop_map(
        |(year, month, day, hour, minute, second, micros)| DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        },
    )
}

fn value() -> impl Strategy<Value = Owned> {
    let time = (any::<bool>(), 0u32..35, 0u8..24, 0u8..60, 0u8..60, 0u32..1_000_000).prop_map(
        |(negative, days, hours, minutes, seconds, micros)| {
            let zero = (days, hours, minutes, seconds, micros) == (0, 0, 0, 0, 0);
            Time { negative: negative && !zero, days, hours, minutes, seconds, micros }
        },
    );
    prop_oneof![
        Just(Owned::Plain(Value::Null)),
        any::<i64>().prop_map(|v| Owned::Plain(Value::Int(v))),
        any::<u64>().prop_map(|v| Owned::Plain(Value::UInt(v))),
        proptest::num::f32::NORMAL.prop_map(|v| Owned::Plain(Value::Float(v))),
        proptest::num::f64::NORMAL.prop_map(|v| Owned::Plain(Value::Double(v))),
        bytes(300).prop_map(Owned::Bytes),
        date_time().prop_map(|v| Owned::Plain(Value::Date(DateTime {
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            ..v
        }))),
        date_time().prop_map(|v| Owned::Plain(Value::DateTime(v))),
        time.prop_map(|v| Owned::Plain(Value::Time(v))),
    ]
}

proptest! {
    #[test]
    fn greeting(version in text(), thread_id: u32, scramble: [u8; 20], caps in caps(),
        collation: u8, status: u16) {
        let caps = caps | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let ours = HandshakeV10 {
            server_version: &version,
            thread_id,
            scramble,
            capabilities: caps,
            collation,
            status: Status::from_bits_truncate(status) - Status::ANSI_QUOTES,
            plugin: plugin::NATIVE,
        };
        let payload = encoded(|w| ours.encode(w));
        let parsed = HandshakeV10::parse(&payload);
        prop_assert_eq!(parsed, Ok(ours.clone()));
        let other = theirs::HandshakePacket::deserialize((), &mut ParseBuf(&payload)).unwrap();
        prop_assert_eq!(other.connection_id(), thread_id);
        prop_assert_eq!(other.server_version_ref(), version.as_slice());
        prop_assert_eq!(other.capabilities(), CapabilityFlags::from_bits_truncate(caps.low()));
        prop_assert_eq!(other.default_collation(), collation);
        let nonce = other.nonce();
        prop_assert_eq!(&nonce[..20], &scramble[..]);
    }

    #[test]
    fn handshake_response(
        user in text(),
        auth in text(),
        database in proptest::option::of(text()),
        names in proptest::collection::vec((text(), bytes(300)), 0..4),
        caps in caps(),
        zstd: u8,
    ) {
        let mut raw = Vec::new();
        for (name, value) in &names {
            Attributes::put(&mut raw, name, value);
        }
        let has = |flag| caps.contains(flag);
        let ours = HandshakeResponse41 {
            capabilities: caps,
            max_packet: 1 << 24,
            collation: 45,
            user: &user,
            auth: &auth,
            database: database.as_deref().filter(|d| has(Capabilities::CONNECT_WITH_DB) && !d.is_empty()),
            plugin: if has(Capabilities::PLUGIN_AUTH) { plugin::CACHING_SHA2 } else { b"" },
            attributes: if has(Capabilities::CONNECT_ATTRS) {
                Attributes::new(&raw).unwrap()
            } else {
                Attributes::default()
            },
            zstd_level: if has(Capabilities::ZSTD_COMPRESSION) { zstd } else { 0 },
        };
        let payload = encoded(|w| ours.encode(w));
        prop_assert_eq!(HandshakeResponse41::parse(&payload), Ok(ours));
        if has(Capabilities::CONNECT_ATTRS) {
            let got: Vec<_> = ours.attributes.iter().map(|(n, v)| (n.to_vec(),
                v.to_vec())).collect();
            prop_assert_eq!(got, names);
        }
        let request = SslRequest { capabilities: caps | Capabilities::SSL, max_packet: 7,
            collation: 8 };
        let payload = encoded(|w| request.encode(w));
        prop_assert!(SslRequest::is(&payload));
        prop_assert_eq!(SslRequest::parse(&payload), Ok(request));
    }

    #[test]
    fn handshake_response_of_the_oracle(user in "[a-z]{0,20}", db in "[a-z]{1,20}",
        auth in bytes(32), lenenc: bool) {
        let mut flags = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
        flags.set(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA, lenenc);
        let attributes = [("program".to_owned(), "x".to_owned())].into_iter().collect();
        let other = theirs::HandshakeResponse::new(
            Some(auth.as_slice()),
            (8, 4, 0),
            Some(user.as_bytes()),
            Some(db.as_bytes()),
            Some(theirs::AuthPlugin::CachingSha2Password),
            flags,
            Some(attributes),
            1 << 20,
        );
        let payload = encoded(|w| other.serialize(w));
        let ours = HandshakeResponse41::parse(&payload).unwrap();
        prop_assert_eq!((ours.user, ours.auth), (user.as_bytes(), auth.as_slice()));
        prop_assert_eq!((ours.database, ours.plugin), (Some(db.as_bytes()), plugin::CACHING_SHA2));
        prop_assert_eq!((ours.max_packet, ours.collation), (1 << 20, 45));
        prop_assert_eq!(ours.attributes.iter().collect::<Vec<_>>(), [(&b"program"[..], &b"x"[..])]);
        prop_assert_eq!(encoded(|w| ours.encode(w)), payload);
    }

    #[test]
    fn switch_and_more_data(name in text(), data in bytes(60)) {
        let switch = AuthSwitchRequest { plugin: &name, data: &data };
        let payload = encoded(|w| switch.encode(w));
        prop_assert_eq!(AuthSwitchRequest::parse(&payload), Ok(switch));
        let more = AuthMoreData { data: &data };
        let payload = encoded(|w| more.encode(w));
        prop_assert_eq!(AuthMoreData::parse(&payload), Ok(more));
    }

    #[test]
    fn ok_and_eof(
        affected_rows: u64,
        last_insert_id: u64,
        status: u16,
        warnings: u16,
        info in text(),
        changes in proptest::collection::vec((0usize..7, text(), text()), 0..4),
        caps in caps(),
    ) {
        let mut block = Vec::new();
        let changes: Vec<SessionChange> = changes
            .iter()
            .map(|(kind, a, b)| match kind {
                0 => SessionChange::SystemVariable { name: a, value: b },
                1 => SessionChange::Schema(a),
                2 => SessionChange::State(b"1"),
                3 => SessionChange::Gtids(a),
                4 => SessionChange::TransactionCharacteristics(a),
                5 => SessionChange::TransactionState(a),
                _ => SessionChange::Other { kind: 200, data: a },
            })
            .collect();
        changes.iter().for_each(|change| put_session_change(&mut block, change));
        let track = caps.contains(Capabilities::SESSION_TRACK);
        let session = SessionChanges::new(if track { &block } else { b"" });
        // The oracle refuses flags that it does not know.
        let mut status = Status::from_bits_truncate(status) - Status::ANSI_QUOTES;
        status.set(Status::SESSION_STATE_CHANGED, !session.is_empty());
        let ours = OkPacket { affected_rows, last_insert_id, status, warnings, info: &info,
            session };
        for head in [0x00, 0xFE] {
            let payload = encoded(|w| if head == 0 { ours.encode(caps,
                w) } else { ours.encode_rows_end(caps, w) });
            prop_assert_eq!(payload[0], head);
            prop_assert_eq!(OkPacket::parse(&payload, caps), Ok(ours));
        }
        if track {
            let got: Vec<_> = session.iter().map(Result::unwrap).collect();
            prop_assert_eq!(got, changes);
        }
        let payload = encoded(|w| ours.encode(caps, w));
        let their_caps = CapabilityFlags::from_bits_truncate(caps.low()) - CapabilityFlags::CLIENT_DEPRECATE_EOF;
        type Theirs<'a> = theirs::OkPacketDeserializer<'a, theirs::CommonOkPacket>;
        let other = Theirs::deserialize(their_caps, &mut ParseBuf(&payload)).unwrap().into_inner();
        prop_assert_eq!((other.affected_rows(), other.warnings()), (affected_rows, warnings));
        prop_assert_eq!(other.status_flags().bits(), status.bits());
        let eof = EofPacket { warnings, status };
        prop_assert_eq!(EofPacket::parse(&encoded(|w| eof.encode(w))), Ok(eof));
    }

    #[test]
    fn errors_and_progress(code in 1u16..0xFFFF, sqlstate in "[0-9A-Z]{5}", message in "[ \
        -~]{0,300}", progress in 0u32..100_000) {
        let sqlstate: [u8; 5] = sqlstate.as_bytes().try_into().unwrap();
        let ours = ErrPacket { code, sqlstate, message: message.as_bytes() };
        let payload = encoded(|w| ours.encode(Capabilities::PROTOCOL_41, w));
        prop_assert_eq!(ErrPacket::parse(&payload), Ok(ours));
        let flags = CapabilityFlags::CLIENT_PROTOCOL_41;
        let other = theirs::ErrPacket::deserialize(flags, &mut ParseBuf(&payload)).unwrap();
        prop_assert_eq!(other.server_error().error_code(), code);
        prop_assert_eq!(other.server_error().message_ref(), message.as_bytes());
        prop_assert_eq!(encoded(|w| other.serialize(w)), payload);
        let ours = Progress { stage: 1, max_stage: 3, progress, info: message.as_bytes() };
        let payload = encoded(|w| ours.encode(w));
        prop_assert!(Progress::is(&payload));
        prop_assert_eq!(Progress::parse(&payload), Ok(ours));
    }

    #[test]
    fn prepared(stmt_id: u32, columns: u16, params: u16, warnings: u16, follows: bool,
        caps in caps()) {
        let metadata_follows = follows || !caps.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let ours = PrepareOk { stmt_id, columns, params, warnings, metadata_follows };
        prop_assert_eq!(PrepareOk::parse(&encoded(|w| ours.encode(caps, w)), caps), Ok(ours));
    }

    #[test]
    fn column_definition(
        names in proptest::collection::vec(bytes(300), 6),
        collation: u16,
        length: u32,
        kind in prop_oneof![0u8..17, 245u8..=255],
        flags: u16,
        decimals: u8,
        default in proptest::option::of(proptest::option::of(bytes(20))),
        caps in caps(),
    ) {
        let extended = caps.contains(Capabilities::MARIADB_EXTENDED_METADATA);
        let ours = ColumnDefinition {
            catalog: b"def",
            schema: &names[0],
            table: &names[1],
            org_table: &names[2],
            name: &names[3],
            org_name: &names[4],
            extended: if extended { &names[5] } else { b"" },
            collation,
            length,
            column_type: ColumnType(kind),
            flags: ColumnFlags::from_bits_retain(flags),
            decimals,
            default: default.as_ref().map(Option::as_deref),
        };
        let payload = encoded(|w| ours.encode(caps, w));
        prop_assert_eq!(ColumnDefinition::parse(&payload, caps), Ok(ours));
        if !extended && default.is_none() {
            let other = theirs::Column::deserialize((), &mut ParseBuf(&payload)).unwrap();
            prop_assert_eq!((other.name_ref(), other.schema_ref()), (ours.name, ours.schema));
            prop_assert_eq!((other.org_table_ref(), other.table_ref()), (ours.org_table,
                ours.table));
            prop_assert_eq!((other.column_length(), other.character_set()), (length, collation));
            prop_assert_eq!((other.column_type() as u8, other.decimals()), (kind, decimals));
            prop_assert_eq!(other.flags(), TheirFlags::from_bits_truncate(flags));
        }
    }

    #[test]
    fn text_rows(columns in proptest::collection::vec(proptest::option::of(bytes(400)), 0..20)) {
        let payload = encoded(|w| columns.iter().for_each(|column| put_text(w, column.as_deref())));
        let got: Vec<_> = TextRow::new(&payload).map(|c| c.unwrap().map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(got, columns);
    }

    #[test]
    fn binary_rows(values in proptest::collection::vec(value(), 0..20)) {
        let values: Vec<_> = values.iter().map(Owned::as_value).collect();
        let types: Vec<ParamType> = values.iter().map(Value::natural_type).collect();
        let columns: Vec<_> = types.iter().map(|t| t.column_type).zip(values.iter().copied()).collect();
        let mut payload = Vec::new();
        put_binary_row(&mut payload, columns).unwrap();
        let got: Vec<_> = BinaryRow::new(&payload, types).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(got, values);
    }

    #[test]
    fn execute(values in proptest::collection::vec(value(), 0..20), attributes: bool,
        stmt_id: u32) {
        let mut caps = Capabilities::PROTOCOL_41;
        caps.set(Capabilities::QUERY_ATTRIBUTES, attributes);
        let values: Vec<_> = values.iter().map(Owned::as_value).collect();
        let body = encoded(|w| put_body(w, caps, &values));
        let payload = encoded(|w| encode::stmt_execute(w, stmt_id, 0, &body));
        prop_assert_eq!(&payload[STMT_ID_AT], &stmt_id.to_le_bytes()[..]);
        prop_assert_eq!(&payload[BODY_AT..], body.as_slice());
        let Ok(Command::StmtExecute { stmt_id: got, flags: 0, iterations: 1,
            rest }) = Command::parse(&payload, caps)
        else {
            panic!("not an execution");
        };
        prop_assert_eq!(got, stmt_id);
        let parsed = ExecuteBody::parse(rest, values.len(), 0, caps).unwrap();
        let got: Vec<_> = parsed.values(&[], |_| false).map(Result::unwrap).collect();
        let want: Vec<_> = values.iter().map(|v| (v.natural_type(), *v)).collect();
        prop_assert_eq!(&got, &want);
        if values.is_empty() || attributes {
            return Ok(());
        }
        // Without its types, the body is read by those that are remembered.
        let types: Vec<ParamType> = want.iter().map(|(ty, _)| *ty).collect();
        let mut short = rest[..parsed.flag_at].to_vec();
        short.push(0);
        short.extend_from_slice(parsed.values);
        let again = ExecuteBody::parse(&short, values.len(), 0, caps).unwrap();
        prop_assert!(!again.new_params_bound);
        let got: Vec<_> = again.values(&types, |_| false).map(Result::unwrap).collect();
        prop_assert_eq!(&got, &want);
        // NULL needs no type; anything else does.
        let first = again.values(&[], |_| false).next().unwrap();
        prop_assert_eq!(first.is_ok(), want[0].1 == Value::Null);
    }

    #[test]
    fn execute_of_the_oracle(numbers in proptest::collection::vec(any::<i64>(), 1..10),
        text in bytes(100)) {
        use mysql_common::Value as Theirs;
        let mut params: Vec<Theirs> = numbers.iter().map(|n| Theirs::Int(*n)).collect();
        params.push(Theirs::NULL);
        params.push(Theirs::Bytes(text.clone()));
        let (request, _) = theirs::ComStmtExecuteRequestBuilder::new(7).build(&params);
        let payload = encoded(|w| request.serialize(w));
        let caps = Capabilities::PROTOCOL_41;
        let Ok(Command::StmtExecute { flags, rest, .. }) = Command::parse(&payload,
            caps) else { panic!() };
        let body = ExecuteBody::parse(rest, params.len(), flags, caps).unwrap();
        let mut got: Vec<_> = body.values(&[], |_| false).map(|v| v.unwrap().1).collect();
        prop_assert_eq!(got.pop(), Some(Value::Bytes(&text)));
        prop_assert_eq!(got.pop(), Some(Value::Null));
        prop_assert_eq!(got, numbers.iter().map(|n| Value::Int(*n)).collect::<Vec<_>>());
    }

    #[test]
    fn query_attributes(list in proptest::collection::vec((text(), value()), 0..10),
        sql in bytes(100)) {
        let caps = Capabilities::PROTOCOL_41 | Capabilities::QUERY_ATTRIBUTES;
        let list: Vec<_> = list.iter().map(|(name, value)| (name.as_slice(),
            value.as_value())).collect();
        let mut payload = vec![com::QUERY];
        put_attributes(&mut payload, &list);
        payload.extend_from_slice(&sql);
        let Ok(Command::Query { attributes, sql: got }) = Command::parse(&payload,
            caps) else { panic!() };
        prop_assert_eq!(got, sql.as_slice());
        prop_assert_eq!(attributes.iter().collect::<Vec<_>>(), list);
        let plain = encoded(|w| encode::query(w, caps, &sql));
        let Ok(Command::Query { attributes, sql: got }) = Command::parse(&plain,
            caps) else { panic!() };
        prop_assert!(attributes.is_empty());
        prop_assert_eq!(got, sql.as_slice());
    }

    #[test]
    fn literals_as_the_oracle_writes_them(value in value(), no_backslash: bool) {
        use mysql_common::Value as Theirs;
        let ours = value.as_value();
        let other = match ours {
            Value::Int(v) => Theirs::Int(v),
            Value::UInt(v) => Theirs::UInt(v),
            Value::Null => Theirs::NULL,
            // Bytes that are printable: the oracle writes others as hexadecimal.
            Value::Bytes(v) if v.iter().all(|b| (b' '..=b'~').contains(b)) => Theirs::Bytes(v.to_vec()),
            _ => return Ok(()),
        };
        let status = if no_backslash { Status::NO_BACKSLASH_ESCAPES } else { Status::empty() };
        let literal = String::from_utf8(encoded(|w| ours.write_literal(status, w))).unwrap();
        // It writes a quote as \' where backslashes escape.
        let normal = |text: String| if no_backslash { text } else { text.replace("\\'",
            "''").replace("\\\"", "\"") };
        prop_assert_eq!(normal(literal), normal(other.as_sql(no_backslash)));
    }
}

#[test]
fn commands() {
    let caps = Capabilities::PROTOCOL_41;
    let parse = |encode: &dyn Fn(&mut Vec<u8>)| {
        let payload = encoded(encode);
        format!("{:?}", Command::parse(&payload, caps).unwrap())
    };
    type Encode<'a> = &'a dyn Fn(&mut Vec<u8>);
    let table: [(Encode<'_>, Command<'_>); 14] = [
        (&encode::quit, Command::Quit),
        (&encode::ping, Command::Ping),
        (&encode::statistics, Command::Statistics),
        (&encode::reset_connection, Command::ResetConnection),
        (&|w| encode::init_db(w, b"db"), Command::InitDb(b"db")),
        (&|w| encode::process_kill(w, 7), Command::ProcessKill(7)),
        (&|w| encode::set_multi_statements(w, true), Command::SetOption(0)),
        (
            &|w| encode::field_list(w, b"t", b"%"),
            Command::FieldList { table: b"t", wildcard: b"%" },
        ),
        (&|w| encode::stmt_prepare(w, b"do ?"), Command::StmtPrepare(b"do ?")),
        (
            &|w| encode::stmt_send_long_data(w, 1, 2, b"x"),
            Command::StmtSendLongData { stmt_id: 1, param: 2, data: b"x" },
        ),
        (&|w| encode::stmt_close(w, 3), Command::StmtClose(3)),
        (&|w| encode::stmt_reset(w, 4), Command::StmtReset(4)),
        (&|w| encode::stmt_fetch(w, 5, 6), Command::StmtFetch { stmt_id: 5, rows: 6 }),
        (&|w| w.push(0x7F), Command::Unknown(0x7F)),
    ];
    for (encode, want) in table {
        assert_eq!(parse(encode), format!("{want:?}"));
    }
    assert!(Command::parse(b"", caps).is_err());
}

#[test]
fn long_data_is_not_in_the_packet() {
    let caps = Capabilities::PROTOCOL_41;
    let body = encoded(|w| put_body(w, caps, &[Value::Int(1), Value::LongData, Value::Int(3)]));
    let parsed = ExecuteBody::parse(&body, 3, 0, caps).unwrap();
    let got: Vec<_> = parsed
        .values(&[], |i| i == 1)
        .map(|v| v.unwrap().1)
        .collect();
    assert_eq!(got, [Value::Int(1), Value::LongData, Value::Int(3)]);
}
