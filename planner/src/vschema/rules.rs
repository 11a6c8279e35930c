//! Routing rules: tables that are somewhere else than their name says, as
//! <https://vitess.io/docs/reference/features/schema-routing-rules/> has them.
use super::RoutingRules;
use crate::snapshot::{Keyspace, KeyspaceIdx, Routed};
use ahash::AHashMap;

/// Most rules of a cluster.
const RULES_MAX: usize = 100_000;

/// Compiles the rules. One that cannot be followed is an error for the statements that need it, as
/// in Vitess; a keyspace may be made after its rules.
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
            several => Routed::Wrong(format!(
                "table {} has more than one target: {several:?}",
                rule.from_table
            )),
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

/// The first rule whose target is in no keyspace, in a sentence.
pub fn unknown_targets<'k>(
    rules: &RoutingRules,
    keyspaces: impl Iterator<Item = &'k str> + Clone,
) -> Option<String> {
    rules.rules.iter().find_map(|rule| {
        let known = |to: &&String| {
            to.split_once('.')
                .is_some_and(|(name, _)| keyspaces.clone().any(|k| k == name))
        };
        let to = rule.to_tables.iter().find(|to| !known(to))?;
        Some(format!(
            "routing rule for {}: there is no keyspace of the target {to}; name one as \
                keyspace.table",
            rule.from_table
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_must_be_in_keyspaces() {
        let of = |to: &str| {
            let text = format!(r#"{{"rules": [{{"from_table": "t", "to_tables": [{to}]}}]}}"#);
            unknown_targets(&RoutingRules::from_json(&text).unwrap(), ["shop"].into_iter())
        };
        assert_eq!((of(r#""shop.t""#), of("")), (None, None));
        assert!(of(r#""shpo.t""#).is_some_and(|why| why.contains("target shpo.t")));
        assert!(of(r#""t""#).is_some());
    }
}
