//! What an answer costs while it is relayed: the walker finds its end and touches headers only.
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::walker::{FeedState, ResponseKind, ResponseWalker};
use coregate_protocol::{Capabilities, codec, row};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const CAPABILITIES: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);
/// As much as one receive brings at most.
const CHUNK: usize = 64 << 10;

/// A text result of one column.
fn answer(rows: usize, cell: usize) -> Vec<u8> {
    let (mut out, mut seq) = (Vec::new(), 1);
    let mut writer = PacketWriter::new(&mut out, &mut seq);
    writer.packet(|w| codec::put_lenenc_int(w, 1));
    writer.packet(|w| {
        ColumnDefinition::expression(b"c", ColumnType::VAR_STRING).encode(CAPABILITIES, w)
    });
    for _ in 0..rows {
        writer.packet(|w| row::put_text(w, Some(&vec![b'x'; cell])));
    }
    writer.packet(|w| encode_rows_end(&OkPacket::default(), CAPABILITIES, w));
    out
}

fn walker(c: &mut Criterion) {
    let mut group = c.benchmark_group("walker");
    for (name, rows, cell) in [
        ("point_select", 1, 119),
        ("1MiB_rows_of_128B", 8 << 10, 124),
        ("1MiB_rows_of_16KiB", 64, 16 << 10),
    ] {
        let answer = answer(rows, cell);
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &answer, |b, answer| {
            b.iter(|| {
                let mut walker = ResponseWalker::new(ResponseKind::Query, CAPABILITIES);
                for chunk in answer.chunks(CHUNK) {
                    let _ = black_box(walker.feed(black_box(chunk)));
                }
                assert_eq!(walker.state(), FeedState::Done);
            });
        });
    }
}

criterion_group!(benches, walker);
criterion_main!(benches);
