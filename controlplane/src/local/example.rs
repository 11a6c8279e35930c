//! The commerce example of the Vitess guides: an unsharded keyspace with products and sequences,
//! and one of two shards with customers and their orders.
use super::KeyspaceArg;

pub(super) fn keyspaces() -> Vec<KeyspaceArg> {
    ["commerce:1:1", "customer:2:1"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

pub(super) fn schema(keyspace: &str) -> Option<&'static str> {
    match keyspace {
        "commerce" => Some(include_str!("example/commerce.sql")),
        "customer" => Some(include_str!("example/customer.sql")),
        _ => None,
    }
}

pub(super) fn vschema(keyspace: &str) -> Option<&'static str> {
    match keyspace {
        "commerce" => Some(include_str!("example/commerce.json")),
        "customer" => Some(include_str!("example/customer.json")),
        _ => None,
    }
}
