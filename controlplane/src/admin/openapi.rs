//! `/api/openapi.json`: what `/api` has, in OpenAPI's form.
use axum::Json;
use serde_json::{Map, Value, json};

/// A call: method, path, what it does, and the type of its body, if it has one.
type Call = (&'static str, &'static str, &'static str, Option<&'static str>);

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain");

const CALLS: &[Call] = &[
    ("get", "/api/ping", "Is it there: version, process, addresses", None),
    ("get", "/api/cells", "The cells of all tablets (GetCellInfoNames)", None),
    ("get", "/api/keyspaces", "All keyspaces (GetKeyspaces)", None),
    ("get", "/api/keyspaces/{keyspace}", "One keyspace (GetKeyspace)", None),
    (
        "delete",
        "/api/keyspaces/{keyspace}",
        "Removes a keyspace from the topology, ?recursive=true (DeleteKeyspace)",
        None,
    ),
    ("get", "/api/keyspaces/{keyspace}/shards", "Its shards (FindAllShardsInKeyspace)", None),
    ("get", "/api/keyspaces/{keyspace}/shards/{shard}", "One shard (GetShard)", None),
    ("get", "/api/keyspaces/{keyspace}/schema", "Its tables (GetSchema)", None),
    (
        "post",
        "/api/keyspaces/{keyspace}/schema",
        "Runs SQL on the primaries of all shards (ApplySchema)",
        TEXT,
    ),
    (
        "get",
        "/api/keyspaces/{keyspace}/schema/progress",
        "How far the last ApplySchema is, for each shard",
        None,
    ),
    ("get", "/api/keyspaces/{keyspace}/vschema", "Its vschema (GetVSchema)", None),
    ("put", "/api/keyspaces/{keyspace}/vschema", "Replaces it (ApplyVSchema)", JSON),
    (
        "post",
        "/api/keyspaces/{keyspace}/lookup-vindexes/{name}",
        "Makes a lookup vindex and fills its table (LookupVindex create)",
        JSON,
    ),
    (
        "get",
        "/api/keyspaces/{keyspace}/lookup-vindexes/{name}",
        "How far that is (LookupVindex show)",
        None,
    ),
    (
        "post",
        "/api/keyspaces/{keyspace}/lookup-vindexes/{name}/verify",
        "Counts rows without entries and entries without rows",
        None,
    ),
    (
        "post",
        "/api/keyspaces/{keyspace}/lookup-vindexes/{name}/externalize",
        "Lets queries use it, if every row has its entry (LookupVindex externalize)",
        None,
    ),
    ("get", "/api/routing-rules", "The routing rules (GetRoutingRules)", None),
    ("put", "/api/routing-rules", "Replaces them (ApplyRoutingRules)", JSON),
    ("get", "/api/tablets", "All tablets, by ?keyspace=, ?shard= and ?type= (GetTablets)", None),
    ("get", "/api/tablets/{alias}", "One tablet (GetTablet)", None),
    ("post", "/api/tablets/{alias}/health-check", "Asks its server now (RunHealthCheck)", None),
    (
        "get",
        "/api/tablets/{alias}/full-status",
        "What its server says of itself (GetFullStatus)",
        None,
    ),
    ("put", "/api/tablets/{alias}/writable", "true or false (SetWritable)", TEXT),
    (
        "post",
        "/api/tablets/{alias}/start-replication",
        "A replica replicates again (StartReplication)",
        None,
    ),
    (
        "post",
        "/api/tablets/{alias}/stop-replication",
        "A replica stops replicating (StopReplication)",
        None,
    ),
    (
        "put",
        "/api/tablets/{alias}/type",
        "replica, rdonly, spare or drained (ChangeTabletType)",
        TEXT,
    ),
    (
        "post",
        "/api/keyspaces/{keyspace}/shards/{shard}/planned-reparent",
        "Moves a primary in order (PlannedReparentShard)",
        JSON,
    ),
    (
        "post",
        "/api/keyspaces/{keyspace}/shards/{shard}/emergency-reparent",
        "Replaces a primary that is gone (EmergencyReparentShard)",
        JSON,
    ),
    ("get", "/api/recoveries", "What was done about shards", None),
    ("put", "/api/recoveries", "enabled or disabled", TEXT),
    (
        "get",
        "/api/replication-analysis",
        "What is wrong with shards now, and what is done about it",
        None,
    ),
    ("get", "/api/sessions", "What clients' sessions do, and why they keep connections", None),
    ("get", "/api/statements", "The statements that took most time, with their plans", None),
    ("get", "/api/processes", "The processes on this topology", None),
    ("get", "/api/topology", "The topology's tree (GetTopologyPath)", None),
    ("get", "/api/topology/{path}", "What stands at a path of it", None),
    (
        "get",
        "/api/validate",
        "What is not as it should be, of one ?keyspace= or all (Validate)",
        None,
    ),
    (
        "get",
        "/api/transactions",
        "Transactions over several shards that are not finished, of one ?keyspace= or all \
            (DistributedTransaction unresolved-list)",
        None,
    ),
    ("get", "/api/transactions/{id}", "One of them (DistributedTransaction get-info)", None),
    (
        "post",
        "/api/transactions/{id}/conclude",
        "Finishes one now; one that is not decided is rolled back (DistributedTransaction \
            conclude)",
        None,
    ),
    ("post", "/api/reload", "Reads the topology again", None),
    ("get", "/api/openapi.json", "This document", None),
];

pub(super) async fn document() -> Json<Value> {
    Json(build())
}

fn build() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, summary, body) in CALLS {
        let names = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let of_path = |name: &str| {
            json!({"name": name, "in": "path", "required": true,
            "schema": {"type": "string"}})
        };
        let of_query = |part: &str| {
            let (name, _) = part.split_once('=')?;
            Some(json!({"name": name, "in": "query", "schema": {"type": "string"}}))
        };
        let queries = summary.split('?').skip(1).filter_map(of_query);
        let parameters: Vec<Value> = names.map(of_path).chain(queries).collect();
        let answer = |what: &str| {
            json!({"description": what,
            "content": {"application/json": {"schema": {}}}})
        };
        let mut call = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {"200": answer("Done"), "default": answer("{\"error\": \"why\"}")},
        });
        if let (Some(body), Value::Object(map)) = (body, &mut call) {
            let content = json!({"required": true, "content": {(*body): {"schema": {}}}});
            map.insert("requestBody".to_owned(), content);
        }
        let of_path = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        if let Value::Object(map) = of_path {
            map.insert((*method).to_owned(), call);
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Coregate", "version": env!("CARGO_PKG_VERSION")},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_router_is_described() {
        let router = include_str!("../admin.rs").split(".route(").skip(1);
        let mut routes: Vec<String> = router
            .filter_map(|rest| rest.trim_start().strip_prefix('"'))
            .filter_map(|rest| Some(rest.split_once('"')?.0.replace("{*path}", "{path}")))
            .filter(|path| path.starts_with("/api/"))
            .collect();
        let document = build();
        let mut described: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        routes.sort();
        described.sort();
        assert_eq!(routes, described);
        let tablets = &document["paths"]["/api/tablets"]["get"]["parameters"];
        assert_eq!(tablets.as_array().unwrap().len(), 3);
    }
}
