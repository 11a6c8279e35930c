//! The walker on what a small server never sends: huge rows, rows that look like an end, floods of
//! errors.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use coregate_protocol::codec::{put_lenenc_bytes, put_lenenc_int};
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::frame::{MAX_CHUNK, PacketWriter, write_packet};
use coregate_protocol::response::{
    EofPacket, ErrPacket, OkPacket, PrepareOk, Progress, encode_rows_end,
};
use coregate_protocol::walker::{Feed, FeedState, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, ProtocolError, Status};
use proptest::prelude::*;

const OLD: Capabilities = Capabilities::PROTOCOL_41;
const NEW: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);

/// Writes answers as a server would.
struct Server {
    caps: Capabilities,
    out: Vec<u8>,
    seq: u8,
}

impl Server {
    fn new(caps: Capabilities) -> Self {
        Self { caps, out: Vec::new(), seq: 1 }
    }

    fn packet(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        PacketWriter::new(&mut self.out, &mut self.seq).packet(encode);
    }

    fn eof(&mut self, status: Status) {
        if !self.caps.contains(Capabilities::DEPRECATE_EOF) {
            self.packet(|w| EofPacket { warnings: 0, status }.encode(w));
        }
    }

    fn definitions(&mut self, n: usize) {
        let caps = self.caps;
        for _ in 0..n {
            self.packet(|w| {
                ColumnDefinition::expression(b"c", ColumnType::LONG_BLOB).encode(caps, w)
            });
        }
        self.eof(Status::empty());
    }

    fn columns(&mut self, n: usize) {
        self.packet(|w| put_lenenc_int(w, n as u64));
        self.definitions(n);
    }

    fn rows_end(&mut self, status: Status) {
        let caps = self.caps;
        let ok = OkPacket { status, warnings: 3, ..OkPacket::default() };
        self.packet(|w| encode_rows_end(&ok, caps, w));
    }

    fn ok(&mut self, affected_rows: u64, status: Status) {
        let caps = self.caps;
        let ok = OkPacket { affected_rows, status, info: b"some info", ..OkPacket::default() };
        self.packet(|w| ok.encode(caps, w));
    }

    fn err(&mut self) {
        let caps = self.caps;
        self.packet(|w| ErrPacket::new(1317, b"Query execution was interrupted").encode(caps, w));
    }

    fn walk(&self, kind: ResponseKind, slice: usize) -> Result<(Feed, Summary), ProtocolError> {
        let mut walker = ResponseWalker::new(kind, self.caps);
        let mut total = Feed { consumed: 0, state: FeedState::More };
        for bytes in self.out.chunks(slice) {
            let feed = walker.feed(bytes)?;
            total.consumed += feed.consumed;
            total.state = feed.state;
        }
        Ok((total, *walker.summary()))
    }
}

#[test]
fn rows_of_several_chunks_are_one_row() {
    for caps in [OLD, NEW] {
        for len in [MAX_CHUNK - 5, MAX_CHUNK - 4, MAX_CHUNK, 2 * MAX_CHUNK] {
            let mut server = Server::new(caps);
            server.columns(1);
            // What lies at the beginning of the second chunk must not be taken for the end or for
            // an error.
            for filler in [0xFE, 0xFF, 0x00] {
                let column = vec![filler; len];
                server.packet(|w| put_lenenc_bytes(w, &column));
            }
            server.packet(|w| put_lenenc_bytes(w, b"short"));
            server.rows_end(Status::AUTOCOMMIT);
            for slice in [MAX_CHUNK + 3, 1 << 16, (1 << 20) + 1] {
                let (feed, summary) = server.walk(ResponseKind::Query, slice).unwrap();
                assert_eq!(feed, Feed { consumed: server.out.len(), state: FeedState::Done });
                assert_eq!((summary.rows, summary.warnings), (4, 3), "{len}");
            }
        }
    }
}

#[test]
fn a_row_may_begin_as_an_end_does() {
    // A column of 16 MiB or more has a length of nine bytes, whose first is 0xFE; the packet is a
    // full chunk.
    for caps in [OLD, NEW] {
        let mut server = Server::new(caps);
        server.columns(1);
        let column = vec![b'x'; MAX_CHUNK + 1];
        server.packet(|w| put_lenenc_bytes(w, &column));
        assert!(server.out.contains(&0xFE));
        server.rows_end(Status::empty());
        let (feed, summary) = server.walk(ResponseKind::Query, 1 << 16).unwrap();
        assert_eq!((feed.state, summary.rows), (FeedState::Done, 1));
    }
    // Without DEPRECATE_EOF, nine bytes are enough to be a row.
    let mut server = Server::new(OLD);
    server.columns(1);
    server.packet(|w| w.extend_from_slice(&[0xFE; 9]));
    server.rows_end(Status::empty());
    let (feed, summary) = server.walk(ResponseKind::Query, 1).unwrap();
    assert_eq!((feed.state, summary.rows), (FeedState::Done, 1));
}

#[test]
fn errors_end_an_answer_wherever_they_come() {
    let more = Status::MORE_RESULTS;
    for caps in [OLD, NEW] {
        for stage in 0..5 {
            let mut server = Server::new(caps);
            if stage > 0 {
                server.ok(2, more);
            }
            if stage > 1 {
                server.packet(|w| put_lenenc_int(w, 2));
            }
            if stage > 2 {
                server.definitions(2);
            }
            if stage > 3 {
                server.packet(|w| w.extend_from_slice(b"\x01a\x01b"));
            }
            server.err();
            for slice in [1, 5, 1000] {
                let (feed, summary) = server.walk(ResponseKind::Query, slice).unwrap();
                assert_eq!(
                    feed,
                    Feed { consumed: server.out.len(), state: FeedState::Done },
                    "{stage}"
                );
                assert_eq!(summary.error, Some((1317, *b"70100")));
                assert_eq!(summary.affected_rows, if stage > 0 { 2 } else { 0 });
            }
        }
    }
}

#[test]
fn progress_reports_belong_to_nothing() {
    let caps = NEW | Capabilities::MARIADB_PROGRESS;
    let mut server = Server::new(caps);
    let report = Progress { stage: 1, max_stage: 2, progress: 50_000, info: b"copying" };
    server.packet(|w| report.encode(w));
    server.columns(1);
    server.packet(|w| report.encode(w));
    server.packet(|w| put_lenenc_bytes(w, b"x"));
    server.packet(|w| report.encode(w));
    server.rows_end(Status::empty());
    for slice in [1, 1000] {
        let (feed, summary) = server.walk(ResponseKind::Query, slice).unwrap();
        assert_eq!((feed.state, summary.rows, summary.error), (FeedState::Done, 1, None));
    }
}

#[test]
fn prepared_statements_with_and_without_definitions() {
    for caps in [OLD, NEW, NEW | Capabilities::OPTIONAL_RESULTSET_METADATA] {
        for (params, columns, follows) in
            [(0, 0, true), (2, 0, true), (0, 3, true), (300, 2, true), (2, 2, false)]
        {
            if !follows && !caps.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
                continue;
            }
            let mut server = Server::new(caps);
            let ok =
                PrepareOk { stmt_id: 9, columns, params, warnings: 1, metadata_follows: follows };
            server.packet(|w| ok.encode(caps, w));
            for count in [params, columns] {
                if follows && count > 0 {
                    server.definitions(usize::from(count));
                }
            }
            for slice in [1, 7, 1 << 20] {
                let (feed, summary) = server.walk(ResponseKind::Prepare, slice).unwrap();
                assert_eq!(feed, Feed { consumed: server.out.len(), state: FeedState::Done });
                assert_eq!(summary.prepare, Some(ok));
            }
        }
    }
}

#[test]
fn results_without_definitions() {
    let caps = NEW | Capabilities::MARIADB_CACHE_METADATA;
    let mut server = Server::new(caps);
    server.packet(|w| w.extend_from_slice(&[2, 0]));
    server.packet(|w| w.extend_from_slice(&[0, 0, 1, 2]));
    server.rows_end(Status::empty());
    let (feed, summary) = server.walk(ResponseKind::Execute, 1).unwrap();
    assert_eq!((feed.state, summary.rows, summary.columns), (FeedState::Done, 1, 2));
}

#[test]
fn commands_without_an_answer_are_done_at_once() {
    let mut walker = ResponseWalker::new(ResponseKind::None, NEW);
    assert_eq!(walker.feed(b"\x07\0\0\x01"), Ok(Feed { consumed: 0, state: FeedState::Done }));
}

#[test]
fn a_lost_packet_is_noticed() {
    let mut server = Server::new(NEW);
    server.columns(1);
    server.seq = server.seq.wrapping_add(1);
    server.rows_end(Status::empty());
    for slice in [1, 1000] {
        assert_eq!(
            server.walk(ResponseKind::Query, slice),
            Err(ProtocolError::OutOfOrder { expected: 3, got: 4 })
        );
    }
    let mut walker = ResponseWalker::new(ResponseKind::Simple, NEW);
    let mut bytes = Vec::new();
    write_packet(&mut bytes, &mut 1, b"\x05unexpected");
    assert!(matches!(walker.feed(&bytes), Err(ProtocolError::UnexpectedPacket { head: 5, .. })));
}

#[derive(Clone, Debug)]
enum Part {
    Ok(u64),
    Rows(Vec<Vec<u8>>),
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let row = proptest::collection::vec(any::<u8>(), 0..300);
    let part = prop_oneof![
        any::<u32>().prop_map(|n| Part::Ok(n.into())),
        proptest::collection::vec(row, 0..20).prop_map(Part::Rows),
    ];
    proptest::collection::vec(part, 1..6)
}

proptest! {
    #[test]
    fn any_answer_in_any_cuts(
        parts in parts(),
        deprecate in any::<bool>(),
        cuts in proptest::collection::vec(1usize..200, 0..60),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut server = Server::new(if deprecate { NEW } else { OLD });
        let last = parts.len() - 1;
        let (mut rows, mut affected) = (0, 0);
        for (i, part) in parts.iter().enumerate() {
            let status = if i < last { Status::MORE_RESULTS } else { Status::AUTOCOMMIT };
            match part {
                Part::Ok(n) => {
                    affected += n;
                    server.ok(*n, status);
                }
                Part::Rows(list) => {
                    server.columns(1);
                    for row in list {
                        rows += 1;
                        server.packet(|w| put_lenenc_bytes(w, row));
                    }
                    server.rows_end(status);
                }
            }
        }
        let end = server.out.len();
        server.out.extend_from_slice(&behind);
        let mut walker = ResponseWalker::new(ResponseKind::Query, server.caps);
        let (mut rest, mut consumed) = (server.out.as_slice(), 0);
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (slice, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            let feed = walker.feed(slice).unwrap();
            consumed += feed.consumed;
            if feed.state == FeedState::Done {
                break;
            }
            prop_assert_eq!(feed.consumed, slice.len());
        }
        prop_assert_eq!((consumed, walker.state()), (end, FeedState::Done));
        let summary = walker.summary();
        prop_assert_eq!((summary.rows, summary.affected_rows), (rows, affected));
        prop_assert_eq!(summary.results as usize, parts.len());
        prop_assert_eq!(summary.status, Status::AUTOCOMMIT);
    }
}

/// Relays as a scatter does: plain rows in place, everything else packet by packet.
fn renumber(walker: &mut ResponseWalker, pieces: &[&[u8]], seq: &mut u8) -> (Vec<u8>, Vec<u8>) {
    let (mut relayed, mut rest) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut bytes = std::mem::take(&mut rest);
        bytes.extend_from_slice(piece);
        let passed = walker.renumber_rows(&mut bytes, seq).unwrap();
        rest = bytes.split_off(passed);
        relayed.extend_from_slice(&bytes);
    }
    (relayed, rest)
}

proptest! {
    #[test]
    fn rows_are_renumbered_whatever_the_cuts(
        lengths in proptest::collection::vec(1usize..40, 0..12),
        cuts in proptest::collection::vec(1usize..50, 0..20),
        start in any::<u8>(),
    ) {
        let mut server = Server::new(NEW);
        server.columns(1);
        let rows_at = server.out.len();
        for len in &lengths {
            let row = vec![b'r'; *len];
            server.packet(|w| w.extend_from_slice(&row));
        }
        let end_at = server.out.len();
        server.rows_end(Status::AUTOCOMMIT);
        let mut walker = ResponseWalker::new(ResponseKind::Query, NEW);
        walker.feed(&server.out[..rows_at]).unwrap();
        let mut pieces = Vec::new();
        let mut left = &server.out[rows_at..];
        for cut in cuts {
            let (piece, after) = left.split_at(cut.min(left.len()));
            pieces.push(piece);
            left = after;
        }
        pieces.push(left);
        let mut seq = start;
        let (relayed, rest) = renumber(&mut walker, &pieces, &mut seq);
        let (mut want, mut want_seq) = (Vec::new(), start);
        for len in &lengths {
            write_packet(&mut want, &mut want_seq, &vec![b'r'; *len]);
        }
        prop_assert_eq!(relayed, want);
        prop_assert_eq!(seq, want_seq);
        prop_assert_eq!(&rest, &server.out[end_at..]);
        prop_assert_eq!(walker.feed(&rest).unwrap().state, FeedState::Done);
        prop_assert_eq!(walker.summary().rows, lengths.len() as u64);
    }
}

/// What only looks like a row, or is more than one chunk, is left to `step`.
#[test]
fn what_may_be_no_row_is_not_renumbered() {
    for head in [vec![0xFE, 1, 2, 3], vec![0xFF, 1, 2, b'#', b'4', b'2', b'0', b'0', b'0', b'x']] {
        let mut server = Server::new(NEW);
        server.columns(1);
        let rows_at = server.out.len();
        server.packet(|w| w.extend_from_slice(b"row"));
        let end_at = server.out.len();
        server.packet(|w| w.extend_from_slice(&head));
        let mut walker = ResponseWalker::new(ResponseKind::Query, NEW);
        walker.feed(&server.out[..rows_at]).unwrap();
        let mut seq = 9;
        let (relayed, rest) = renumber(&mut walker, &[&server.out[rows_at..]], &mut seq);
        assert_eq!((relayed.as_slice(), seq), (&b"\x03\0\0\x09row"[..], 10));
        assert_eq!(rest, server.out[end_at..]);
    }
    let mut huge = vec![0xFF, 0xFF, 0xFF, 3];
    huge.resize(100, b'x');
    let mut server = Server::new(NEW);
    server.columns(1);
    let mut walker = ResponseWalker::new(ResponseKind::Query, NEW);
    walker.feed(&server.out).unwrap();
    assert_eq!(walker.renumber_rows(&mut huge, &mut 0).unwrap(), 0);
}
