//! The steps of a statement's way whose instructions are counted.
use bumpalo::Bump;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::plan::{Action, Route, SessionValue};
use coregate_planner::resolve::{Binding, Resolved, Scratch, SessionValues, resolve};
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::Snapshot;
use coregate_planner::value::Value;
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::walker::{ResponseKind, ResponseWalker};
use coregate_protocol::{Capabilities, codec, row};
use std::fmt::Write;
use std::hint::black_box;

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "sbtest1": {"column_vindexes": [{"column": "id", "name": "hash"}],
        "columns": [{"name": "id"}, {"name": "k"}, {"name": "c"}, {"name": "pad"}],
        "column_list_authoritative": true}}}"#;

const POINT: &str = "SELECT c FROM sbtest1 WHERE id=12345";
const PREPARED: &str = "SELECT c FROM sbtest1 WHERE id=?";

const CAPABILITIES: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);

struct NoValues;

impl SessionValues for NoValues {
    fn write(&self, _: SessionValue, _: &mut Vec<u8>) {}
    fn write_param(&self, _: u16, _: &mut Vec<u8>) {}
}

struct Work {
    snapshot: Snapshot,
    fingerprint: Fingerprint,
    scratch: Scratch,
    resolved: Resolved,
    arena: Bump,
}

impl Work {
    fn new() -> Self {
        let vschema = Keyspace::from_json(VSCHEMA).expect("the vschema above is right");
        let shards = ["-40", "40-80", "80-c0", "c0-"];
        let builder = SnapshotBuilder::new(1)
            .keyspace(KeyspaceSpec::new("sbt", &shards, vschema), &|_| Err(String::new()));
        Self {
            snapshot: builder.expect("the keyspace above is right").build(),
            fingerprint: Fingerprint::new(),
            scratch: Scratch::default(),
            resolved: Resolved::default(),
            arena: Bump::new(),
        }
    }

    fn read(&mut self, sql: &str) {
        let read = self
            .fingerprint
            .read(black_box(sql.as_bytes()), SqlMode::default());
        read.expect("the statements above can be read");
    }

    fn plan(&mut self, sql: &str) -> Route {
        self.arena.reset();
        let session = SessionContext { keyspace: Some(0), ..SessionContext::default() };
        let input = PlanInput {
            sql: sql.as_bytes(),
            fingerprint: &self.fingerprint,
            snapshot: &self.snapshot,
            serving: None,
            session: &session,
            arena: &self.arena,
            prepared: self.fingerprint.params > 0,
            split: false,
        };
        match plan(&input).map(|plan| plan.action) {
            Ok(Action::Route(route)) => route,
            other => panic!("{sql} is not routed: {other:?}"),
        }
    }

    fn resolve(&mut self, sql: &str, route: &Route, params: &[Value<'_>]) {
        let binding = Binding {
            sql: sql.as_bytes(),
            fingerprint: &self.fingerprint,
            params,
            sql_mode: SqlMode::default(),
            charsets: Default::default(),
            session: &NoValues,
            prepared: !params.is_empty(),
        };
        let (scratch, resolved) = (&mut self.scratch, &mut self.resolved);
        resolve(black_box(route), &self.snapshot, &binding, scratch, resolved)
            .expect("the values above can be placed");
    }

    /// Reads and binds a statement whose plan is known.
    fn hit(&mut self, sql: &str, times: u64) {
        self.read(sql);
        let route = self.plan(sql);
        for _ in 0..times {
            self.read(sql);
            self.resolve(sql, &route, &[]);
        }
    }
}

/// A text result of one column.
fn answer(rows: usize) -> Vec<u8> {
    let (mut out, mut seq) = (Vec::new(), 1);
    let mut writer = PacketWriter::new(&mut out, &mut seq);
    writer.packet(|w| codec::put_lenenc_int(w, 1));
    writer.packet(|w| {
        ColumnDefinition::expression(b"c", ColumnType::VAR_STRING).encode(CAPABILITIES, w)
    });
    for _ in 0..rows {
        writer.packet(|w| row::put_text(w, Some(&[b'x'; 119])));
    }
    writer.packet(|w| encode_rows_end(&OkPacket::default(), CAPABILITIES, w));
    out
}

fn relayed(rows: usize, times: u64) {
    let answer = answer(rows);
    for _ in 0..times {
        let mut walker = ResponseWalker::new(ResponseKind::Query, CAPABILITIES);
        walker
            .feed(black_box(&answer))
            .expect("the answer above is right");
    }
}

fn bulk() -> String {
    let mut sql = String::from("INSERT INTO sbtest1 (id, k, c, pad) VALUES ");
    for id in 0..1000 {
        let comma = if id == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}({id}, 4993, '83868641912-28773972837', '67847967377')");
    }
    sql
}

pub(crate) type Case = (&'static str, fn(u64));

pub(crate) const CASES: &[Case] = &[
    ("point_select_hit", |times| Work::new().hit(POINT, times)),
    ("point_select_miss", |times| {
        let mut work = Work::new();
        work.read(POINT);
        for _ in 0..times {
            black_box(work.plan(POINT));
        }
    }),
    ("prepared_execution", |times| {
        let mut work = Work::new();
        work.read(PREPARED);
        let route = work.plan(PREPARED);
        for n in 0..times {
            work.resolve(PREPARED, &route, &[Value::Int(n as i64)]);
        }
    }),
    ("insert_1000_rows", |times| Work::new().hit(&bulk(), times)),
    ("relay_point_answer", |times| relayed(1, times)),
    ("relay_1000_rows", |times| relayed(1000, times)),
];
