//! Routing rules: tables that are somewhere else than their name says, as
//! <https://vitess.io/docs/reference/features/schema-routing-rules/> has them.
use super::RoutingRules;
use crate::snapshot::{Keyspace, KeyspaceIdx, Routed};
use ahash::AHashMap;

/// Most rules of a cluster.
const RULES_MAX: usize = 100_000;

/// Compiles the rules. One that cannot be followed is an error for the statements that need it, as in Vitess; a keyspace may
/// be made after its rules.
///
/// # Errors
/// More rules than can be.
pub(super) fn compile(
    rules: &RoutingRules,
    keyspaces: &[Keyspace],
) -> Result<AHashMap<String, Routed>, String> {
    if rules.rules.len() > RULES_MAX {
        return Err(format!("{} routing rules; {RULES_MAX} is the most", rules.rules.len()));
    }
    let mut out = AHashMap::new();
    for rule in &rules.rules {
        let routed = match rule.to_tables.as_slice() {
            [] => Routed::Disabled,
            [only] => target(only, keyspaces),
            several => {
                Routed::Wrong(format!("table {} has more than one target: {several:?}", rule.from_table))
            }
        };
        let twice = || Routed::Wrong(format!("duplicate rule for entry {}", rule.from_table));
        out.entry(rule.from_table.clone())
            .and_modify(|r| *r = twice())
            .or_insert(routed);
    }
    Ok(out)
}

fn target(to: &str, keyspaces: &[Keyspace]) -> Routed {
    let Some((keyspace, table)) = to.split_once('.') else {
        return Routed::Wrong(format!("table {to} must be qualified: keyspace.table"));
    };
    match keyspaces.iter().position(|k| k.name == keyspace) {
        Some(index) => Routed::To { keyspace: index as KeyspaceIdx, table: table.to_owned() },
        None => Routed::Wrong(format!("VT05003: unknown database '{keyspace}' in vschema")),
    }
}
