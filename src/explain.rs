//! `coregate explain`: the plan of a statement, offline.
use crate::Failure;
use crate::cli::ExplainArgs;
use coregate_planner::keyrange::{partition, range_names};
use coregate_planner::snapshot::Snapshot;
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let snapshot = snapshot(args)?;
    // HOOK: plan `args.sql` with `snapshot`, and print the plan, when the planner is there.
    let tables: usize = snapshot.keyspaces.iter().map(|k| k.tables.len()).sum();
    Err(Failure::Failed(format!(
        "explain: the vschema is good ({tables} tables), but plans are not built in yet"
    )))
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
    let wrong = |e: coregate_planner::keyrange::KeyRangeError| Failure::Usage(format!("--shards: {e}"));
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
    let builder = SnapshotBuilder::new(1).keyspace(KeyspaceSpec::new(&name, &shards, vschema), &files);
    Ok(builder.map_err(|e| bad(e.to_string()))?.build())
}
