//! The topology's directory, read as a whole.
use super::Known;
use crate::Error;
use crate::backend::Connector;
use crate::store::Store;
use coregate_planner::vschema;
use std::collections::BTreeMap;

/// What the topology's directory says, before it is taken over.
pub(crate) struct Loaded {
    pub(super) keyspaces: BTreeMap<String, Known>,
    pub(super) rules: vschema::RoutingRules,
    pub(super) rules_text: Option<String>,
}

impl Loaded {
    pub(super) async fn read(store: &Store, connector: &Connector) -> Result<Self, Error> {
        let (rules, rules_text) = store.read_rules()?;
        let mut keyspaces = BTreeMap::new();
        for (record, text) in store.read()? {
            let name = record.name.clone();
            keyspaces.insert(name, Known::of(record, text, connector).await?);
        }
        Ok(Self { keyspaces, rules, rules_text })
    }
}
