//! Golden plans: each file of `plans/` holds statements and what becomes of them.
//!
//! A statement stands alone in its paragraph; what follows `=>` is written by the test when
//! `UPDATE_PLANS` is set in the environment, and compared with otherwise. `@ks:shard` before a
//! statement is its session's target, `@drop-in` a drop-in server.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::error::PlanError;
use coregate_planner::render;
use coregate_planner::route::SessionContext;
use coregate_planner::target::parse_target;
use coregate_planner::vschema::{KeyspaceSpec, SnapshotBuilder};
use std::fmt::Write;
use support::*;

fn run(sql: &str) -> String {
    let (target, sql) = match sql.strip_prefix('@') {
        Some(rest) if !rest.starts_with('@') => rest.split_once(' ').unwrap_or((rest, "")),
        _ => ("", sql),
    };
    let snapshot = if target == "drop-in" { drop_in() } else { snapshot() };
    let mut session = SessionContext::default();
    if !target.is_empty() && target != "drop-in" {
        let found = parse_target(target, &snapshot).unwrap();
        session.keyspace = found.keyspace;
        session.shard = found.shard;
        session.shards = found.range;
        session.tablet_kind = found.tablet_kind.unwrap_or_default();
    }
    let mut out = String::new();
    match plan_split(&snapshot, &session, sql) {
        Err(error) => {
            let (code, state) = error.code();
            write!(out, "{code} {} {error}", String::from_utf8_lossy(state)).unwrap();
        }
        Ok((plan, fingerprint)) => {
            let rendered = render::plan(&snapshot, &plan);
            let mut fields = Vec::new();
            for (key, value) in rendered.as_object().unwrap() {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                if key != "OperatorType" && key != "TablesUsed" {
                    fields.push(format!("{key}={value}"));
                }
            }
            out.push_str(&fields.join(" "));
            let params = values(&fingerprint);
            match texts(&snapshot, &plan, &fingerprint, sql, &params) {
                Err(error) => write!(out, "\n   resolve: {error}").unwrap(),
                Ok(places) => {
                    for (shard, text) in places {
                        let text = text.unwrap_or_else(|| "as is".into());
                        write!(out, "\n   {shard}: {text}").unwrap();
                    }
                }
            }
        }
    }
    out
}

#[test]
fn golden() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut wrong = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let before = std::fs::read_to_string(&path).unwrap();
        let mut after = String::new();
        for paragraph in before
            .split("\n\n")
            .map(str::trim)
            .filter(|p| !p.is_empty())
        {
            if paragraph.starts_with('#') {
                after.push_str(paragraph);
                after.push_str("\n\n");
                continue;
            }
            let sql = paragraph.split("\n=> ").next().unwrap();
            let now = format!("{sql}\n=> {}", run(sql)).trim_end().to_owned();
            if now != paragraph {
                wrong.push(format!("{}\nwas:\n{paragraph}\nis:\n{now}\n", path.display()));
            }
            after.push_str(&now);
            after.push_str("\n\n");
        }
        if std::env::var_os("UPDATE_PLANS").is_some() {
            std::fs::write(&path, after.trim_end().to_owned() + "\n").unwrap();
        }
    }
    if std::env::var_os("UPDATE_PLANS").is_none() {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Before any server has told the types of its columns, rows that lie by one of them have no place:
/// `'05'` may be 5.
#[test]
fn unknown_columns_place_nothing() {
    let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
        "t": {"column_vindexes": [{"column": "id", "name": "hash"}]},
        "typed": {"column_vindexes": [{"column": "id", "name": "hash"}],
        "columns": [{"name": "id", "type": "INT64"}]},
        "country": {"type": "reference"}, "pinned": {"pinned": "50"}}}"#;
    let vschema = coregate_planner::vschema::Keyspace::from_json(vschema).unwrap();
    let build = |tables_pending| {
        let spec = KeyspaceSpec {
            tables_pending,
            ..KeyspaceSpec::new("ks", &["-80", "80-"], vschema.clone())
        };
        let no_files = |_: &str| Err(String::new());
        SnapshotBuilder::new(1)
            .keyspace(spec, &no_files)
            .unwrap()
            .build()
    };
    let session = SessionContext { keyspace: Some(0), ..SessionContext::default() };
    let pending = build(true);
    for sql in [
        "select * from t where id = '05'",
        "select * from t",
        "insert into t (id) values ('05')",
        "update t set v = 1 where id = '05'",
        "delete from t where id = 5",
        "select * from typed join t using (id)",
        "select * from nosuch",
    ] {
        let error = plan_sql(&pending, &session, sql).unwrap_err();
        assert!(matches!(error, PlanError::ColumnsPending { .. }), "{sql}: {error}");
        let known = plan_sql(&build(false), &session, sql);
        assert!(sql.contains("nosuch") || known.is_ok(), "{sql}: {known:?}");
    }
    for sql in [
        "select * from typed where id = '05'",
        "select * from country",
        "select * from pinned",
        "create table t (id int primary key)",
    ] {
        plan_sql(&pending, &session, sql).unwrap();
    }
    let one = SessionContext { shard: Some(0), ..session };
    plan_sql(&pending, &one, "select * from t").unwrap();
}
