//! Rows fed in pieces of every size, merged, and read back.
use super::{Column, Feed, Flow, Heap, Keys, Next, Output, Pipeline, Row};
use crate::ring::Buf;
use coregate_planner::collation::{AsciiWeights, Collation};
use coregate_planner::plan::tree::{Aggregate, Function, Group, Key, Merge, TextKey};
use coregate_protocol::Capabilities;
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::frame;
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::row::{TextRow, put_text};
use coregate_protocol::walker::{ResponseKind, ResponseWalker};
use std::sync::Arc;

type Cells<'a> = Vec<Option<&'a str>>;

const CAPS: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);

fn column(kind: ColumnType, decimals: u8) -> Column {
    Column::of(&ColumnDefinition { decimals, ..ColumnDefinition::expression(b"c", kind) })
}

fn key(column: u16, descending: bool) -> Key {
    Key { column, descending, text: None }
}

/// A shard's rows as they come, behind the definitions.
fn wire(rows: &[Cells<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seq = 3;
    for cells in rows {
        let mut payload = Vec::new();
        for cell in cells {
            put_text(&mut payload, cell.map(str::as_bytes));
        }
        frame::write_packet(&mut out, &mut seq, &payload);
    }
    frame::PacketWriter::new(&mut out, &mut seq)
        .packet(|w| encode_rows_end(&OkPacket::default(), CAPS, w));
    out
}

/// A walker that stands in front of the rows.
fn walker(columns: usize) -> ResponseWalker {
    let mut walker = ResponseWalker::new(ResponseKind::Query, CAPS);
    let mut head = Vec::new();
    let mut seq = 1;
    frame::write_packet(&mut head, &mut seq, &[columns as u8]);
    walker.feed(&head).unwrap();
    for _ in 0..columns {
        let mut definition = Vec::new();
        frame::PacketWriter::new(&mut definition, &mut seq)
            .packet(|w| ColumnDefinition::expression(b"c", ColumnType::LONG).encode(CAPS, w));
        walker.feed(&definition).unwrap();
    }
    walker
}

/// Shards whose bytes come in pieces.
struct Shards {
    feeds: Vec<(Feed, ResponseWalker, Vec<u8>)>,
    piece: usize,
}

impl Shards {
    fn new(shards: &[Vec<Cells<'_>>], columns: usize, piece: usize) -> Self {
        let feeds = shards.iter().map(|rows| {
            let mut walker = walker(columns);
            // The sequence ids go on behind the definitions.
            let mut bytes = wire(rows);
            let mut at = 0;
            let mut seq = walker.next_seq();
            while at < bytes.len() {
                let len = usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8;
                bytes[at + 3] = seq;
                seq = seq.wrapping_add(1);
                at += 4 + len;
            }
            assert!(walker.in_rows());
            let _ = &mut walker;
            (Feed::new(columns), walker, bytes)
        });
        Self { feeds: feeds.collect(), piece }
    }

    fn next(&mut self, shard: usize) -> bool {
        let piece = self.piece;
        let (feed, walker, bytes) = &mut self.feeds[shard];
        loop {
            match feed.next(walker).unwrap() {
                Next::Row => return true,
                Next::End => {
                    assert!(bytes.is_empty());
                    return false;
                }
                Next::Wait => {
                    let rest = bytes.split_off(piece.min(bytes.len()));
                    feed.give(Buf::from(std::mem::replace(bytes, rest)));
                }
                Next::Error(_) => panic!("an error"),
            }
        }
    }
}

fn merged(
    merge: &Merge,
    columns: &[Column],
    limit: (u64, u64),
    shards: &[Vec<Cells<'_>>],
) -> Vec<Vec<Option<String>>> {
    let all: Vec<_> = [1, 2, 3, 5, 7, 1000]
        .into_iter()
        .map(|piece| merged_in_pieces(merge, columns, limit, shards, piece))
        .collect();
    assert!(all.iter().all(|found| *found == all[0]));
    all[0].clone()
}

fn merged_in_pieces(
    merge: &Merge,
    columns: &[Column],
    limit: (u64, u64),
    shards: &[Vec<Cells<'_>>],
    piece: usize,
) -> Vec<Vec<Option<String>>> {
    let keys = Keys::new(&merge.order, columns).unwrap();
    let mut pipeline = Pipeline::new(merge, columns, limit, 1 << 20).unwrap();
    let mut out = Output::new(columns, usize::from(merge.shown), false, 0).unwrap();
    let mut heap = Heap::new(shards.len());
    let mut shards = Shards::new(shards, columns.len(), piece);
    for shard in 0..shards.feeds.len() {
        if shards.next(shard) {
            let feeds = &shards.feeds;
            keys.read(feeds[shard].0.row(), heap.values_mut(shard).unwrap())
                .unwrap();
            heap.add(shard, &keys, |n| feeds[n].0.row().payload);
        }
    }
    while let Some(shard) = heap.first() {
        let row: Row<'_> = shards.feeds[shard].0.row();
        if pipeline
            .push(row, heap.values(shard), &keys, &mut out)
            .unwrap()
            == Flow::Enough
        {
            return read(&out);
        }
        let more = shards.next(shard);
        let feeds = &shards.feeds;
        if more {
            keys.read(feeds[shard].0.row(), heap.values_mut(shard).unwrap())
                .unwrap();
            heap.replaced(&keys, |n| feeds[n].0.row().payload);
        } else {
            heap.ended(&keys, |n| feeds[n].0.row().payload);
        }
    }
    pipeline.finish(&mut out).unwrap();
    read(&out)
}

fn read(out: &Output) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut rest = out.packets.as_slice();
    while let Some((packet, consumed)) = frame::split(rest, usize::MAX).unwrap() {
        let cells = TextRow::new(packet.payload).map(|cell| {
            cell.unwrap()
                .map(|text| String::from_utf8(text.to_vec()).unwrap())
        });
        rows.push(cells.collect());
        rest = &rest[consumed..];
    }
    assert_eq!(rows.len() as u64, out.rows);
    rows
}

fn texts(rows: &[Vec<Option<String>>]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            row.iter()
                .map(|cell| cell.clone().unwrap_or_else(|| "NULL".into()))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn rows_come_in_the_order_of_their_keys() {
    let columns = [column(ColumnType::LONGLONG, 0), column(ColumnType::VAR_STRING, 0)];
    let shards = [
        vec![vec![None, Some("x")], vec![Some("-5"), Some("a")], vec![Some("9"), Some("b")]],
        vec![],
        vec![
            vec![Some("-6"), Some("c")],
            vec![Some("10"), Some("d")],
            vec![Some("18446744073709551615"), Some("e")],
        ],
    ];
    let merge = Merge { shown: 2, order: vec![key(0, false)], ..Merge::default() };
    let found = texts(&merged(&merge, &columns, (0, u64::MAX), &shards));
    assert_eq!(found, ["NULL x", "-6 c", "-5 a", "9 b", "10 d", "18446744073709551615 e"]);
    let found = texts(&merged(&merge, &columns, (1, 2), &shards));
    assert_eq!(found, ["-6 c", "-5 a"]);
    assert!(merged(&merge, &columns, (0, 0), &shards).is_empty());
}

#[test]
fn hidden_columns_are_cut_off_and_null_is_last_when_descending() {
    let columns = [column(ColumnType::VAR_STRING, 0), column(ColumnType::NEWDECIMAL, 2)];
    let shards = [
        vec![vec![Some("a"), Some("10.00")], vec![Some("b"), Some("-1.50")], vec![Some("n"), None]],
        vec![vec![Some("c"), Some("9.99")], vec![Some("d"), Some("-1.49")]],
    ];
    let merge = Merge { shown: 1, order: vec![key(1, true)], ..Merge::default() };
    assert_eq!(texts(&merged(&merge, &columns, (0, u64::MAX), &shards)), ["a", "c", "d", "b", "n"]);
}

fn general_ci() -> Arc<Collation> {
    let weights: Vec<[u8; 2]> = (0..128u8).map(|c| [0, c.to_ascii_uppercase()]).collect();
    let ascii = AsciiWeights::new(weights.iter().map(|weight| weight.as_slice())).unwrap();
    Arc::new(Collation {
        name: "ci".into(),
        binary: false,
        space: vec![0, 32],
        ascii: Some(Box::new(ascii)),
    })
}

#[test]
fn groups_of_equal_text_become_one_row_with_their_aggregates() {
    let columns = [
        column(ColumnType::VAR_STRING, 0),
        column(ColumnType::LONGLONG, 0),
        column(ColumnType::NEWDECIMAL, 4),
        column(ColumnType::VAR_STRING, 0),
        column(ColumnType::NEWDECIMAL, 0),
        column(ColumnType::LONGLONG, 0),
    ];
    let text = TextKey::Weight { column: 3, ascii: true, collation: general_ci() };
    let merge = Merge {
        shown: 3,
        order: vec![Key { column: 0, descending: false, text: Some(text) }],
        group: Some(Group {
            keys: 1,
            aggregates: vec![
                Aggregate { column: 1, function: Function::Count, distinct: false },
                Aggregate {
                    column: 2,
                    function: Function::Avg { sum: 4, count: 5 },
                    distinct: false,
                },
            ],
            distinct: 0,
        }),
        ..Merge::default()
    };
    let row = |name, count, average, sum, known| {
        vec![Some(name), Some(count), average, None, sum, Some(known)]
    };
    let shards = [
        vec![row("Ab", "2", Some("1.5000"), Some("3"), "2"), row("x", "1", None, None, "0")],
        vec![
            row("aB ", "1", Some("4.0000"), Some("4"), "1"),
            row("B", "7", Some("1.0000"), Some("7"), "7"),
        ],
        vec![row("X", "1", None, None, "0")],
    ];
    let found = texts(&merged(&merge, &columns, (0, u64::MAX), &shards));
    assert_eq!(found, ["Ab 3 2.3333", "B 7 1.0000", "x 2 NULL"]);
}

#[test]
fn without_keys_all_rows_are_one_group() {
    let columns = [
        column(ColumnType::LONGLONG, 0),
        column(ColumnType::NEWDECIMAL, 1),
        column(ColumnType::LONG, 0),
        column(ColumnType::LONG, 0),
        column(ColumnType::DOUBLE, 31),
    ];
    let aggregate = |column, function| Aggregate { column, function, distinct: false };
    let merge = Merge {
        shown: 5,
        group: Some(Group {
            keys: 0,
            aggregates: vec![
                aggregate(0, Function::Count),
                aggregate(1, Function::Sum),
                aggregate(2, Function::Least { text: None }),
                aggregate(3, Function::Greatest { text: None }),
                aggregate(4, Function::Sum),
            ],
            distinct: 0,
        }),
        ..Merge::default()
    };
    let shards = [
        vec![vec![Some("2"), Some("0.1"), Some("5"), Some("5"), Some("0.5")]],
        vec![vec![Some("0"), None, None, None, None]],
        vec![vec![Some("3"), Some("-10.3"), Some("-7"), Some("40"), Some("1e20")]],
    ];
    let found = texts(&merged(&merge, &columns, (0, u64::MAX), &shards));
    assert_eq!(found, ["5 -10.2 -7 40 1e20"]);
}

/// The shown columns: a key, COUNT(DISTINCT x), SUM(DISTINCT x), COUNT(*); behind them x.
fn distinct_values(keys: u16) -> Merge {
    let aggregate = |column, function, distinct| Aggregate { column, function, distinct };
    Merge {
        shown: 4,
        order: if keys == 0 { vec![key(4, false)] } else { vec![key(0, false), key(4, false)] },
        group: Some(Group {
            keys,
            aggregates: vec![
                aggregate(1, Function::Count, true),
                aggregate(2, Function::Sum, true),
                aggregate(3, Function::Count, false),
            ],
            distinct: keys + 1,
        }),
        ..Merge::default()
    }
}

#[test]
fn distinct_values_of_several_shards_count_once() {
    let columns = [
        column(ColumnType::LONG, 0),
        column(ColumnType::LONGLONG, 0),
        column(ColumnType::NEWDECIMAL, 0),
        column(ColumnType::LONGLONG, 0),
        column(ColumnType::LONG, 0),
    ];
    let row = |group, x: Option<&'static str>, count| {
        vec![Some(group), Some(if x.is_some() { "1" } else { "0" }), x, Some(count), x]
    };
    let shards = [
        vec![
            row("1", None, "2"),
            row("1", Some("5"), "1"),
            row("1", Some("7"), "4"),
            row("3", Some("5"), "1"),
        ],
        vec![
            row("1", Some("5"), "3"),
            row("1", Some("6"), "1"),
            row("1", Some("7"), "1"),
            row("2", None, "9"),
        ],
        vec![row("1", Some("7"), "1"), row("3", Some("5"), "1")],
    ];
    let found = texts(&merged(&distinct_values(1), &columns, (0, u64::MAX), &shards));
    assert_eq!(found, ["1 3 18 13", "2 0 NULL 9", "3 1 5 2"]);
    let found = texts(&merged(&distinct_values(1), &columns, (1, 1), &shards));
    assert_eq!(found, ["2 0 NULL 9"]);
    let sorted = |shard: &Vec<Cells<'static>>| {
        let mut rows = shard.clone();
        rows.sort_by_key(|row| row[4]);
        rows.dedup_by_key(|row| row[4]);
        rows
    };
    let shards: Vec<_> = shards.iter().map(sorted).collect();
    let found = texts(&merged(&distinct_values(0), &columns, (0, u64::MAX), &shards));
    assert_eq!(found, ["1 3 18 23"]);
}

#[test]
fn no_distinct_values_at_all_are_one_row() {
    let columns = [column(ColumnType::LONGLONG, 0); 5];
    let found = texts(&merged(&distinct_values(0), &columns, (0, u64::MAX), &[vec![], vec![]]));
    assert_eq!(found, ["NULL 0 NULL 0"]);
    assert!(merged(&distinct_values(0), &columns, (1, 5), &[vec![], vec![]]).is_empty());
    assert!(merged(&distinct_values(1), &columns, (0, u64::MAX), &[vec![], vec![]]).is_empty());
}

#[test]
fn groups_are_sorted_again_and_limited() {
    let columns = [column(ColumnType::LONG, 0), column(ColumnType::LONGLONG, 0)];
    let merge = Merge {
        shown: 2,
        order: vec![key(0, false)],
        group: Some(Group {
            keys: 1,
            aggregates: vec![Aggregate { column: 1, function: Function::Count, distinct: false }],
            distinct: 0,
        }),
        sort: vec![key(1, true)],
        ..Merge::default()
    };
    let shards = [
        vec![vec![Some("1"), Some("1")], vec![Some("2"), Some("5")], vec![Some("4"), Some("2")]],
        vec![vec![Some("1"), Some("8")], vec![Some("3"), Some("6")]],
    ];
    let found = texts(&merged(&merge, &columns, (1, 2), &shards));
    assert_eq!(found, ["3 6", "2 5"]);
}

#[test]
fn a_sort_that_holds_too_much_names_its_limit() {
    let columns = [column(ColumnType::LONG, 0)];
    let merge = Merge { shown: 1, sort: vec![key(0, false)], ..Merge::default() };
    let mut pipeline = Pipeline::new(&merge, &columns, (0, u64::MAX), 1000).unwrap();
    let mut out = Output::new(&columns, 1, false, 0).unwrap();
    let mut cells = super::Cells::default();
    cells.find(b"\x017", 1).unwrap();
    let row = Row { payload: b"\x017", cells: &cells };
    let keys = Keys::default();
    let error = (0..1000)
        .find_map(|_| pipeline.push(row, &[], &keys, &mut out).err())
        .unwrap();
    assert_eq!(error.code(), 1038);
    assert!(error.to_string().contains("query.memory_max (1000 bytes)"), "{error}");
}

#[test]
fn what_was_not_read_is_given_back() {
    let rows = [vec![vec![Some("1")], vec![Some("2")], vec![Some("3")]]];
    for piece in 1..40 {
        let mut shards = Shards::new(&rows, 1, piece);
        assert!(shards.next(0));
        let (feed, walker, left) = &mut shards.feeds[0];
        let mut rest = feed.rest().map_or_else(Vec::new, |buf| buf.to_vec());
        rest.append(left);
        let fed = walker.feed(&rest).unwrap();
        assert_eq!(fed.consumed, rest.len());
        assert_eq!(walker.summary().rows, 3);
    }
}
