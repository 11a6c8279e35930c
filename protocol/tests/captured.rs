//! The walker and the parsers on answers of a real server, cut in every way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Answer, answer, answers};
use coregate_protocol::column::ColumnDefinition;
use coregate_protocol::frame::{Assembler, split};
use coregate_protocol::response::{
    EofPacket, ErrPacket, OkPacket, PrepareOk, Progress, SessionChange,
};
use coregate_protocol::row::{BinaryRow, TextRow, put_binary_row, put_text};
use coregate_protocol::value::{ParamType, Value};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, Status};

/// Feeds slices and collects what came of them.
fn walk(answer: &Answer, slices: &[&[u8]]) -> (Summary, FeedState, usize, Vec<u8>) {
    let mut walker = ResponseWalker::new(answer.response_kind().unwrap(), answer.caps);
    let (mut consumed, mut state) = (0, FeedState::More);
    for slice in slices {
        let feed = walker
            .feed(slice)
            .unwrap_or_else(|e| panic!("{}: {e}", answer.title()));
        consumed += feed.consumed;
        state = feed.state;
        if feed.consumed < slice.len() {
            assert_ne!(state, FeedState::More);
            break;
        }
    }
    (*walker.summary(), state, consumed, walker.session_changes().raw().to_vec())
}

fn walkable() -> Vec<Answer> {
    answers()
        .into_iter()
        .filter(|a| a.response_kind().is_some() && a.name != "infile.after")
        .collect()
}

#[test]
fn every_cut_gives_the_same_result() {
    for answer in walkable() {
        let bytes = answer.bytes.as_slice();
        let whole = walk(&answer, &[bytes]);
        let end = if answer.name == "infile" { FeedState::LocalInfile } else { FeedState::Done };
        assert_eq!((whole.1, whole.2), (end, bytes.len()), "{}", answer.title());

        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(walk(&answer, &single), whole, "{} byte by byte", answer.title());
        for cut in 0..bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(walk(&answer, &[a, b]), whole, "{} cut at {cut}", answer.title());
            if !a.is_empty() {
                assert_eq!(
                    walk(&answer, &[a]).1,
                    FeedState::More,
                    "{} until {cut}",
                    answer.title()
                );
            }
        }
        // What follows belongs to the next answer.
        let mut more = bytes.to_vec();
        more.extend_from_slice(b"\x01\0\0\x01x");
        assert_eq!(walk(&answer, &[&more]), whole, "{} with more behind", answer.title());
    }
}

#[test]
fn assembler_agrees_with_split() {
    for answer in walkable() {
        let (mut rest, mut want) = (answer.bytes.as_slice(), Vec::new());
        while let Some((packet, len)) = split(rest, 1 << 20).unwrap() {
            want.push((packet.seq, packet.payload.to_vec()));
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
        for size in [1, 2, 3, 5, 7, 64, 100_000] {
            let mut assembler = Assembler::new(1 << 20);
            assembler.expect(want.first().map_or(1, |first| first.0));
            let mut got = Vec::new();
            for slice in answer.bytes.chunks(size) {
                let mut rest = slice;
                while !rest.is_empty() {
                    let step = assembler.feed(rest).unwrap();
                    got.extend(step.packet.map(|p| (p.seq, p.payload.to_vec())));
                    rest = &rest[step.consumed..];
                }
            }
            assert_eq!(got, want, "{} by {size}", answer.title());
        }
    }
}

/// Parses each packet by the role that the walker gives it, and encodes it again.
#[test]
fn packets_round_trip_by_role() {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for answer in walkable() {
        let caps = answer.caps;
        let binary = matches!(answer.kind.as_str(), "execute" | "fetch");
        let mut walker = ResponseWalker::new(answer.response_kind().unwrap(), caps);
        let mut rest = answer.bytes.as_slice();
        let mut types: Vec<ParamType> = Vec::new();
        while let Some((packet, len)) = split(rest, 1 << 20).unwrap() {
            let header = coregate_protocol::frame::Header::peek(rest).unwrap();
            rest = &rest[len..];
            let payload = packet.payload;
            let head = &payload[..walker.head_needed(header, payload.first().copied())];
            let role = walker.step(header, head).unwrap();
            *seen
                .entry(format!("{role:?}").split(' ').next().unwrap().to_owned())
                .or_default() += 1;
            let mut again = Vec::new();
            match role {
                PacketRole::Ok
                | PacketRole::RowsEnd
                | PacketRole::ColumnsEof
                | PacketRole::ParamsEof => {
                    if payload[0] == EofPacket::HEADER && payload.len() == 5 {
                        EofPacket::parse(payload).unwrap().encode(&mut again);
                    } else {
                        let ok = OkPacket::parse(payload, caps).unwrap();
                        for change in ok.session {
                            change.unwrap();
                        }
                        if payload[0] == OkPacket::HEADER {
                            ok.encode(caps, &mut again);
                        } else {
                            ok.encode_rows_end(caps, &mut again);
                        }
                        // A real server sends the flag to clients that do not track, too.
                        if !caps.contains(Capabilities::SESSION_TRACK) || ok.session.is_empty() {
                            let plain = OkPacket {
                                status: ok.status - Status::SESSION_STATE_CHANGED,
                                ..ok
                            };
                            assert_eq!(OkPacket::parse(&again, caps), Ok(plain));
                            continue;
                        }
                    }
                }
                PacketRole::Err => ErrPacket::parse(payload).unwrap().encode(caps, &mut again),
                PacketRole::Progress => Progress::parse(payload).unwrap().encode(&mut again),
                PacketRole::PrepareOk => PrepareOk::parse(payload, caps)
                    .unwrap()
                    .encode(caps, &mut again),
                PacketRole::ColumnDef | PacketRole::ParamDef => {
                    let definition = ColumnDefinition::parse(payload, caps).unwrap();
                    let unsigned = definition
                        .flags
                        .contains(coregate_protocol::column::ColumnFlags::UNSIGNED);
                    types.push(ParamType { column_type: definition.column_type, unsigned });
                    definition.encode(caps, &mut again);
                }
                PacketRole::ColumnCount { columns, definitions } => {
                    if definitions {
                        types.clear();
                    }
                    assert_eq!(payload[0], columns as u8);
                    again.extend_from_slice(payload);
                }
                PacketRole::Row if !binary => {
                    for column in TextRow::new(payload) {
                        put_text(&mut again, column.unwrap());
                    }
                }
                // Without definitions the caller must remember them from the statement's
                // preparation.
                PacketRole::Row if types.is_empty() => continue,
                PacketRole::Row => {
                    let values = BinaryRow::new(payload, types.iter().copied()).unwrap();
                    let values: Vec<Value> = values.map(Result::unwrap).collect();
                    let columns: Vec<_> = types.iter().map(|t| t.column_type).zip(values).collect();
                    put_binary_row(&mut again, columns).unwrap();
                }
                PacketRole::Text | PacketRole::LocalInfile | PacketRole::Continuation => continue,
            }
            assert_eq!(again, payload, "{} {role:?}", answer.title());
        }
    }
    for role in [
        "ColumnCount",
        "ColumnDef",
        "ColumnsEof",
        "Err",
        "LocalInfile",
        "Ok",
        "ParamDef",
        "ParamsEof",
    ] {
        assert!(seen.contains_key(role), "no {role} among {seen:?}");
    }
    for role in ["PrepareOk", "Progress", "Row", "RowsEnd", "Text"] {
        assert!(seen.contains_key(role), "no {role} among {seen:?}");
    }
}

#[test]
fn summaries_tell_what_happened() {
    for caps in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        let summary = |kind: &str, name: &str| {
            let answer = answer(caps, kind, name);
            walk(&answer, &[&answer.bytes]).0
        };
        let insert = summary("query", "insert");
        assert_eq!((insert.affected_rows, insert.last_insert_id, insert.results), (2, 4, 1));
        let rows = summary("query", "rows");
        assert_eq!((rows.rows, rows.columns, rows.results), (60, 2, 1));
        let multi = summary("query", "multi");
        assert_eq!((multi.rows, multi.results, multi.affected_rows), (3, 4, 5));
        assert!(multi.status_seen.contains(Status::MORE_RESULTS) && multi.error.is_none());
        let multi = summary("query", "multi_error");
        assert_eq!((multi.results, multi.error), (1, Some((1146, *b"42S02"))));
        let middle = summary("query", "error_in_rows");
        assert_eq!(middle.error.map(|e| e.0), Some(1242));
        assert!(summary("query", "begin").status.contains(Status::IN_TRANS));
        assert!(!summary("query", "commit").status.contains(Status::IN_TRANS));
        let prepare = summary("prepare", "params").prepare.unwrap();
        assert_eq!((prepare.params, prepare.columns), (3, 3));
        assert!(
            summary("execute", "cursor")
                .status
                .contains(Status::CURSOR_EXISTS)
        );
        assert!(
            summary("fetch", "rest")
                .status
                .contains(Status::LAST_ROW_SENT)
        );
        let out = summary("execute", "out");
        assert_eq!((out.rows, out.results), (1, 2));
        assert!(out.status_seen.contains(Status::PS_OUT_PARAMS));
    }
}

#[test]
fn a_file_is_asked_for_and_thanked_for() {
    for before in answers().into_iter().filter(|a| a.name == "infile") {
        let after = answers()
            .into_iter()
            .find(|a| a.caps == before.caps && a.name == "infile.after");
        let after = after.unwrap();
        let mut walker = ResponseWalker::new(ResponseKind::Query, before.caps);
        assert_eq!(walker.feed(&before.bytes).unwrap().state, FeedState::LocalInfile);
        walker.infile_sent(3);
        let feed = walker.feed(&after.bytes).unwrap();
        assert_eq!((feed.consumed, feed.state), (after.bytes.len(), FeedState::Done));
        assert_eq!(walker.summary().affected_rows, 2);
    }
}

#[test]
fn session_changes_are_collected() {
    let caps = Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let set = answer(caps, "query", "set");
    let mut walker = ResponseWalker::new(ResponseKind::Query, set.caps);
    for byte in set.bytes.chunks(1) {
        walker.feed(byte).unwrap();
    }
    let changes: Vec<_> = walker
        .session_changes()
        .iter()
        .map(Result::unwrap)
        .collect();
    let value = |wanted: &[u8]| {
        changes.iter().find_map(|change| match change {
            SessionChange::SystemVariable { name, value } if *name == wanted => Some(*value),
            _ => None,
        })
    };
    assert_eq!(value(b"autocommit"), Some(&b"ON"[..]));
    assert_eq!(value(b"character_set_client"), Some(&b"utf8mb4"[..]));
    let used = answer(caps, "query", "use");
    let mut walker = ResponseWalker::new(ResponseKind::Query, used.caps);
    walker.feed(&used.bytes).unwrap();
    let changes: Vec<_> = walker
        .session_changes()
        .iter()
        .map(Result::unwrap)
        .collect();
    assert!(changes.contains(&SessionChange::Schema(b"capture")), "{changes:?}");
}
