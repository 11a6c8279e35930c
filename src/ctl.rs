//! `coregate ctl`: a client of the admin API.
mod lookups;
mod reparent;
mod schema;
mod servers;
mod table;

use crate::Failure;
use crate::cli::{Ctl, CtlArgs, Servers, Transactions};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// DDL on many shards may take its time.
const TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) fn run(args: &CtlArgs) -> Result<(), Failure> {
    let client = Client::new(args);
    let answer = match &args.command {
        Ctl::Ping => client.get("ping", &[])?,
        Ctl::GetKeyspaces => client.get("keyspaces", &[])?,
        Ctl::GetKeyspace { keyspace } => {
            client.get(&format!("keyspaces/{}", part(keyspace)), &[])?
        }
        Ctl::GetShards { keyspace } => {
            client.get(&format!("keyspaces/{}/shards", part(keyspace)), &[])?
        }
        Ctl::GetShard { shard } => {
            let Some((keyspace, shard)) = shard.split_once('/') else {
                return Err(Failure::Usage(format!(
                    "get-shard {shard}: write KEYSPACE/SHARD, e.g. customer/-80"
                )));
            };
            client.get(&format!("keyspaces/{}/shards/{}", part(keyspace), part(shard)), &[])?
        }
        Ctl::GetTablets { keyspace, shard, tablet_type } => client
            .get("tablets", &[("keyspace", keyspace), ("shard", shard), ("type", tablet_type)])?,
        Ctl::GetVschema { keyspace } => {
            client.get(&format!("keyspaces/{}/vschema", part(keyspace)), &[])?
        }
        Ctl::GetSchema { keyspace } => {
            client.get(&format!("keyspaces/{}/schema", part(keyspace)), &[])?
        }
        Ctl::ApplyVschema { keyspace, vschema, vschema_file } => {
            let body = text(vschema.as_deref(), vschema_file.as_deref())?;
            let path = format!("keyspaces/{}/vschema", part(keyspace));
            client.send(|agent| agent.put(client.url(&path)), &body)?;
            client.get(&path, &[])?
        }
        Ctl::GetRoutingRules => client.get("routing-rules", &[])?,
        Ctl::ApplyRoutingRules { rules, rules_file } => {
            let body = text(rules.as_deref(), rules_file.as_deref())?;
            client.send(|agent| agent.put(client.url("routing-rules")), &body)?;
            client.get("routing-rules", &[])?
        }
        Ctl::ApplySchema { keyspace, sql, sql_file } => {
            let joined = sql.join(";\n");
            let body = text((!sql.is_empty()).then_some(joined.as_str()), sql_file.as_deref())?;
            schema::apply(&client, keyspace, &body)?
        }
        Ctl::DeleteKeyspace { keyspace, recursive } => {
            let path = format!("keyspaces/{}?recursive={recursive}", part(keyspace));
            client.delete(&path)?
        }
        Ctl::GetProcesses => client.get("processes", &[])?,
        Ctl::Servers(command) => servers::run(&client, command)?,
        Ctl::LookupVindex(command) => lookups::run(&client, command)?,
        Ctl::DistributedTransaction(command) => transactions(&client, command)?,
        Ctl::Reload => client.send(|agent| agent.post(client.url("reload")), "")?,
        failover => reparent::run(&client, failover)?,
    };
    show(args, &answer)
}

/// Prints the answer; what `validate` has found is a failure, too.
fn show(args: &CtlArgs, answer: &Value) -> Result<(), Failure> {
    // A vschema is JSON either way.
    let is_json = matches!(
        args.command,
        Ctl::GetVschema { .. }
            | Ctl::ApplyVschema { .. }
            | Ctl::GetRoutingRules
            | Ctl::ApplyRoutingRules { .. }
            | Ctl::Servers(Servers::GetTopologyPath { .. } | Servers::GetFullStatus { .. })
    );
    let json = args.json || is_json;
    let printed = if json {
        serde_json::to_string_pretty(answer).unwrap_or_default()
    } else if let Some(columns) = columns(&args.command) {
        table::print(answer, columns)
    } else {
        let mut out = String::new();
        plain(answer, 0, &mut out);
        out.trim_end().to_owned()
    };
    say(&printed)?;
    match &args.command {
        Ctl::LookupVindex(_) if lookups::is_bad(answer) => Err(Failure::Failed(
            "ctl: not every row has its entry, or it could not be told".to_owned(),
        )),
        Ctl::Servers(command) if servers::is_bad(command, answer) => {
            Err(Failure::Failed("ctl: not all is as it should be".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whoever reads may have seen enough.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("what there is to say cannot be printed: {e}")))
        }
        _ => Ok(()),
    }
}

fn transactions(client: &Client<'_>, command: &Transactions) -> Result<Value, Failure> {
    match command {
        Transactions::UnresolvedList { keyspace } => {
            client.get("transactions", &[("keyspace", keyspace)])
        }
        Transactions::GetInfo { dtid } => client.get(&format!("transactions/{}", part(dtid)), &[]),
        Transactions::Conclude { dtid } => {
            let path = format!("transactions/{}/conclude", part(dtid));
            client.send(|agent| agent.post(client.url(&path)), "")
        }
    }
}

/// Of the lists that are shown as tables.
fn columns(command: &Ctl) -> Option<&'static [&'static str]> {
    match command {
        Ctl::GetProcesses => {
            Some(&["id", "version", "mysql", "admin", "cores", "leader", "revision", "started"])
        }
        Ctl::GetReplicationAnalysis => {
            Some(&["keyspace", "shard", "analysis", "recovery", "since"])
        }
        Ctl::Servers(Servers::GetCells) => Some(&["name", "tablets"]),
        _ => None,
    }
}

/// The text given, or the file's.
fn text(given: Option<&str>, file: Option<&Path>) -> Result<String, Failure> {
    match (given, file) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|e| Failure::Usage(format!("{}: {e}", path.display()))),
        (None, None) => Ok(String::new()),
    }
}

/// One part of a path, percent-encoded.
fn part(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

struct Client<'a> {
    args: &'a CtlArgs,
    agent: ureq::Agent,
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl<'a> Client<'a> {
    fn new(args: &'a CtlArgs) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build();
        Self { args, agent: config.into() }
    }

    fn url(&self, path: &str) -> String {
        format!(
            "http://{}/api/{path}",
            self.args
                .admin
                .trim_start_matches("http://")
                .trim_end_matches('/')
        )
    }

    fn token(&self) -> String {
        let given = self
            .args
            .token
            .clone()
            .or_else(|| std::env::var("COREGATE_ADMIN_TOKEN").ok());
        given.map_or_else(String::new, |token| format!("Bearer {token}"))
    }

    fn get(&self, path: &str, query: &[(&str, &Option<String>)]) -> Result<Value, Failure> {
        let mut request = self.agent.get(self.url(path));
        for (key, value) in query {
            if let Some(value) = value {
                request = request.query(*key, value);
            }
        }
        self.read(request.header("Authorization", self.token()).call())
    }

    fn delete(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.delete(self.url(path));
        self.read(request.header("Authorization", self.token()).call())
    }

    fn send(
        &self,
        request: impl FnOnce(&ureq::Agent) -> ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &str,
    ) -> Result<Value, Failure> {
        self.read(
            request(&self.agent)
                .header("Authorization", self.token())
                .send(body),
        )
    }

    fn post_json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = |agent: &ureq::Agent| {
            agent
                .post(self.url(path))
                .header("Content-Type", "application/json")
        };
        self.send(request, &body.to_string())
    }

    fn read(&self, answer: Answer) -> Result<Value, Failure> {
        let admin = &self.args.admin;
        let unreachable = |e: ureq::Error| {
            Failure::Failed(format!("ctl: {admin} cannot be reached: {e}; is --admin right?"))
        };
        let mut answer = answer.map_err(unreachable)?;
        let good = answer.status().is_success();
        let body = answer.body_mut().read_to_string().map_err(unreachable)?;
        let value: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        if good {
            return Ok(value);
        }
        let message = value
            .get("error")
            .and_then(Value::as_str)
            .map_or_else(|| value.to_string(), str::to_owned);
        Err(Failure::Failed(format!("ctl: {message}")))
    }
}

/// A list of things with names: a line each. Others: `key: value`.
fn plain(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Array(list) => list.iter().for_each(|item| plain(item, depth, out)),
        // One of a list of tablets; what a command has done to one is told in full.
        Value::Object(map)
            if depth == 0 && map.contains_key("alias") && map.contains_key("type") =>
        {
            let field = |key: &str| match map.get(key) {
                Some(Value::String(text)) => text.clone(),
                _ => "-".to_owned(),
            };
            let state = map
                .get("health")
                .and_then(|h| h.get("state"))
                .and_then(Value::as_str)
                .unwrap_or("-");
            let (alias, keyspace, shard) = (field("alias"), field("keyspace"), field("shard"));
            let _ = writeln!(
                out,
                "{alias} {keyspace} {shard} {} {} {state}",
                field("type"),
                field("address")
            );
        }
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Object(_) | Value::Array(_) => {
                        let _ = writeln!(out, "{indent}{key}:");
                        plain(value, depth + 1, out);
                    }
                    Value::String(text) => drop(writeln!(out, "{indent}{key}: {text}")),
                    other => drop(writeln!(out, "{indent}{key}: {other}")),
                }
            }
        }
        Value::String(text) => drop(writeln!(out, "{indent}{text}")),
        other => drop(writeln!(out, "{indent}{other}")),
    }
}
/// Of what work tells of its progress: each shard's name, and what it tells of it.
fn shards_of(progress: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let shards = progress.get("shards").and_then(Value::as_array);
    let named = |shard| Some((Value::get(shard, "shard")?.as_str()?, shard));
    shards.into_iter().flatten().filter_map(named)
}
