//! Where a lookup vindex's table is, and where its entries lie.
use crate::column::Family;
use crate::lookup::LookupDef;
use crate::snapshot::{Keyspace, KeyspaceIdx, Snapshot, Table};
use crate::vindex::Vindex;
use smallvec::SmallVec;
use std::sync::Arc;

/// Where the lookup table's own rows lie.
#[derive(Debug)]
pub(super) enum Placed {
    OneShard,
    /// By a vindex over some of its columns: places in `from`.
    By(Arc<dyn Vindex>, SmallVec<[Family; 1]>, Vec<usize>),
}

/// What tells an entry's shard, where the lookup table has several.
pub(super) fn placed(
    keyspace: &Keyspace,
    table: &Table,
    def: &LookupDef,
) -> Result<Placed, String> {
    if keyspace.shards.len() < 2 {
        return Ok(Placed::OneShard);
    }
    let refused = || {
        format!(
            "lookup table {} lies on several shards, and not by a functional vindex over its \
                columns {}",
            def.table,
            def.from.join(", ")
        )
    };
    let first = table.column_vindexes.first().ok_or_else(refused)?;
    let vindex = first.vindex.vindex.clone().ok_or_else(refused)?;
    let at = |column: &String| {
        def.from
            .iter()
            .position(|from| from.eq_ignore_ascii_case(column))
    };
    let columns: Option<Vec<usize>> = first.columns.iter().map(at).collect();
    let families = first.columns.iter().map(|c| Family::of_column(table, c));
    Ok(Placed::By(vindex, families.collect(), columns.ok_or_else(refused)?))
}

/// A keyspace by its name.
pub(super) fn keyspace_of<'s>(
    snapshot: &'s Snapshot,
    name: &str,
) -> Result<(KeyspaceIdx, &'s Keyspace), String> {
    let mut all = (0..).zip(&snapshot.keyspaces);
    all.find(|(_, k)| k.name == name)
        .ok_or_else(|| format!("there is no keyspace {name}"))
}

/// Where a lookup vindex's table is.
pub(super) fn table_of(
    snapshot: &Snapshot,
    owner: KeyspaceIdx,
    def: &LookupDef,
) -> Result<(KeyspaceIdx, String), String> {
    let name = def.table.trim_matches('`');
    if let Some((keyspace, name)) = name.split_once("`.`") {
        return Ok((keyspace_of(snapshot, keyspace)?.0, name.to_owned()));
    }
    let own = snapshot.keyspaces.get(usize::from(owner));
    let keyspace = match snapshot.global_tables.get(name).map(Vec::as_slice) {
        _ if own.is_some_and(|k| k.tables.contains_key(name)) => owner,
        Some([only]) => *only,
        _ => return Err(format!("lookup table {} is in no keyspace, or in several", def.table)),
    };
    Ok((keyspace, name.to_owned()))
}
