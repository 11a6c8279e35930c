//! `coregate explain`: the plan of a statement, offline.
use crate::Failure;
use crate::cli::ExplainArgs;
use crate::tables;
use bumpalo::Bump;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::keyrange::{partition, range_names};
use coregate_planner::render;
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::Snapshot;
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder, advice};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    crate::ctl::say(&format!("{:#}", explain(args)?))?;
    Ok(())
}

/// The plan as JSON, as `VEXPLAIN PLAN` shows it, and the text that is its key in the plan cache.
fn explain(args: &ExplainArgs) -> Result<serde_json::Value, Failure> {
    let snapshot = snapshot(args)?;
    let refused = |error: coregate_planner::PlanError| {
        let (code, sqlstate) = error.code();
        let sqlstate = String::from_utf8_lossy(sqlstate);
        Failure::Failed(format!("explain: ERROR {code} ({sqlstate}): {error}"))
    };
    let sql = args.sql.as_bytes();
    let mut fingerprint = Fingerprint::new();
    fingerprint.read(sql, SqlMode::default()).map_err(refused)?;
    let sql = sql.get(..fingerprint.end).unwrap_or(sql);
    let session = SessionContext { keyspace: Some(0), ..SessionContext::default() };
    let arena = Bump::new();
    // Statements with ? are those of drivers that prepare.
    let prepared = fingerprint.params > 0;
    let input = PlanInput {
        sql,
        fingerprint: &fingerprint,
        snapshot: &snapshot,
        serving: None,
        session: &session,
        arena: &arena,
        prepared,
        split: false,
    };
    let found = plan(&input).map_err(refused)?;
    let advice: Vec<String> = snapshot.keyspaces.iter().flat_map(advice).collect();
    Ok(serde_json::json!({
        "Advice": advice,
        "QueryType": format!("{:?}", found.class).to_uppercase(),
        "Original": args.sql,
        "Normalized": String::from_utf8_lossy(&fingerprint.norm),
        "Cacheable": found.cacheable,
        "Instructions": render::plan(&snapshot, &found),
    }))
}

fn snapshot(args: &ExplainArgs) -> Result<Snapshot, Failure> {
    let path = args.vschema.display();
    let bad = |message: String| Failure::Usage(format!("--vschema {path}: {message}"));
    let text = std::fs::read_to_string(&args.vschema).map_err(|e| bad(e.to_string()))?;
    let vschema = Keyspace::from_json(&text).map_err(|e| bad(e.to_string()))?;
    let name = args
        .vschema
        .file_stem()
        .map_or_else(|| "keyspace".into(), |stem| stem.to_string_lossy());
    let wrong =
        |e: coregate_planner::keyrange::KeyRangeError| Failure::Usage(format!("--shards: {e}"));
    let shards: Vec<String> = match args.shards.parse() {
        _ if !vschema.sharded => vec!["0".to_owned()],
        Ok(count) => range_names(count).map_err(wrong)?,
        Err(_) => {
            let names: Vec<&str> = args.shards.split(',').collect();
            partition(&names)
                .map_err(wrong)?
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        }
    };
    let files = |path: &str| std::fs::read_to_string(path).map_err(|e| e.to_string());
    let mut keyspace = KeyspaceSpec::new(&name, &shards, vschema);
    if let Some(path) = &args.schema {
        let bad =
            |message: String| Failure::Usage(format!("--schema {}: {message}", path.display()));
        let sql = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        keyspace.tables = tables::read(&sql).map_err(|e| bad(e.to_string()))?;
    }
    let builder = SnapshotBuilder::new(1).keyspace(keyspace, &files);
    Ok(builder.map_err(|e| bad(e.to_string()))?.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_explained_offline() {
        let dir = tempfile::tempdir().unwrap();
        let vschema = dir.path().join("customer.json");
        let table = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
        std::fs::write(&vschema, table).unwrap();
        let schema = dir.path().join("t.sql");
        std::fs::write(&schema, "CREATE TABLE t (id bigint, v int)").unwrap();
        let args = |sql: &str| ExplainArgs {
            vschema: vschema.clone(),
            schema: Some(schema.clone()),
            shards: "2".to_owned(),
            sql: sql.to_owned(),
        };
        let shown = explain(&args("select v from t where id = 5")).unwrap();
        assert_eq!(shown["Normalized"], "select v from t where id = ?");
        assert_eq!(shown["Instructions"]["Keyspace"], "customer");
        // Known from the schema only: which column of the row is the vindex's.
        assert!(explain(&args("insert into t values (1, 2)")).is_ok());
        let merged = explain(&args("select v from t order by v")).unwrap();
        assert_eq!(merged["Instructions"]["OperatorType"], "Merge");
        let refused = explain(&args("select v from t into outfile '/tmp/t'"))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("1235") && refused.contains("VT12001"), "{refused}");
    }
}
