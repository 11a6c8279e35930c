//! etcd's keys, values, transactions and leases, in types of our own. Numbers of 64 bits are
//! strings in its JSON, keys and values are base64.
use super::gateway::{Failure, Gateway};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a key holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: String,
    /// The revision at which the key came into being.
    pub(super) created: i64,
    /// The revision of its last change.
    pub(super) changed: i64,
}

pub(super) type Entries = BTreeMap<String, Entry>;

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum If {
    /// The key was changed last at this revision; 0: it is not there.
    Changed(String, i64),
    /// The key came into being at this revision; 0: it is not there.
    Created(String, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Put { key: String, value: String, lease: i64 },
    Delete(String),
    Get(String),
}

pub(super) fn put(key: String, value: String) -> Op {
    Op::Put { key, value, lease: 0 }
}

/// What came of a transaction: did the conditions hold, at which revision, and the entry that it
/// got.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) held: bool,
    pub(super) revision: i64,
    pub(super) got: Option<Entry>,
}

/// What a watch tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Put(String, Entry),
    Delete(String, i64),
}

fn coded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decoded(value: Option<&Value>) -> String {
    let bytes = value
        .and_then(Value::as_str)
        .and_then(|text| BASE64_STANDARD.decode(text).ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(Value::Number(n)) => n.as_i64().unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn revision(answer: &Value) -> i64 {
    number(answer.get("header").and_then(|h| h.get("revision")))
}

/// The first key behind all that begin with this.
pub(super) fn end_of(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    while let Some(last) = bytes.pop() {
        if last < 0x7f {
            bytes.push(last + 1);
            break;
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn entry(kv: &Value) -> (String, Entry) {
    let entry = Entry {
        value: decoded(kv.get("value")),
        created: number(kv.get("create_revision")),
        changed: number(kv.get("mod_revision")),
    };
    (decoded(kv.get("key")), entry)
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn condition(of: &If) -> Value {
    match of {
        If::Changed(key, revision) => {
            json!({"key": coded(key), "target": "MOD", "result": "EQUAL",
                "mod_revision": revision.to_string()})
        }
        If::Created(key, revision) => {
            json!({"key": coded(key), "target": "CREATE", "result": "EQUAL",
                "create_revision": revision.to_string()})
        }
    }
}

fn operation(op: &Op) -> Value {
    match op {
        Op::Put { key, value, lease } => {
            json!({"request_put": {"key": coded(key), "value": coded(value),
                "lease": lease.to_string()}})
        }
        Op::Delete(key) => json!({"request_delete_range": {"key": coded(key)}}),
        Op::Get(key) => json!({"request_range": {"key": coded(key)}}),
    }
}

impl Gateway {
    /// All that begins with this, as of one revision.
    pub(super) async fn range(&self, prefix: &str) -> Result<(Entries, i64), Failure> {
        let body = json!({"key": coded(prefix), "range_end": coded(&end_of(prefix))});
        let answer = self.call("/v3/kv/range", &body).await?;
        Ok((list(&answer, "kvs").map(entry).collect(), revision(&answer)))
    }

    /// How many keys there are, and whether any was changed after this revision.
    pub(super) async fn newer(&self, prefix: &str, after: i64) -> Result<(i64, bool), Failure> {
        let body = json!({"key": coded(prefix), "range_end": coded(&end_of(prefix)),
            "keys_only": true,
            "min_mod_revision": (after + 1).to_string()});
        let answer = self.call("/v3/kv/range", &body).await?;
        let changed = list(&answer, "kvs").any(|kv| number(kv.get("mod_revision")) > after);
        Ok((number(answer.get("count")), changed))
    }

    pub(super) async fn transact(
        &self,
        conditions: &[If],
        then: &[Op],
        or_else: &[Op],
    ) -> Result<Outcome, Failure> {
        let body = json!({
            "compare": conditions.iter().map(condition).collect::<Vec<_>>(),
            "success": then.iter().map(operation).collect::<Vec<_>>(),
            "failure": or_else.iter().map(operation).collect::<Vec<_>>(),
        });
        let answer = self.call("/v3/kv/txn", &body).await?;
        let ranges = list(&answer, "responses").filter_map(|r| r.get("response_range"));
        let got = ranges
            .flat_map(|r| list(r, "kvs"))
            .next()
            .map(|kv| entry(kv).1);
        let held = answer
            .get("succeeded")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        Ok(Outcome { held, revision: revision(&answer), got })
    }

    /// A lease for so many seconds.
    pub(super) async fn grant(&self, seconds: i64) -> Result<i64, Failure> {
        let answer = self
            .call("/v3/lease/grant", &json!({"TTL": seconds.to_string()}))
            .await?;
        match number(answer.get("ID")) {
            0 => Err(Failure::Lost("etcd gives no lease".to_owned())),
            id => Ok(id),
        }
    }

    /// Seconds that a lease has from now on; 0: it has ended.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<i64, Failure> {
        let answer = self
            .call("/v3/lease/keepalive", &json!({"ID": lease.to_string()}))
            .await?;
        Ok(number(answer.get("result").and_then(|r| r.get("TTL"))))
    }

    pub(super) async fn revoke(&self, lease: i64) -> Result<(), Failure> {
        self.call("/v3/lease/revoke", &json!({"ID": lease.to_string()}))
            .await
            .map(drop)
    }

    pub(super) fn watch_body(prefix: &str, from: i64) -> Value {
        json!({"create_request": {"key": coded(prefix), "range_end": coded(&end_of(prefix)),
            "start_revision": from.to_string()}})
    }
}

/// The events of a line of a watch, and up to which revision they tell.
///
/// # Errors
/// The watch has ended: what it began with is no longer there.
pub(super) fn events(line: &Value) -> Result<(Vec<Event>, i64), Failure> {
    let Some(result) = line.get("result") else {
        return Err(Failure::Lost(line.get("error").unwrap_or(line).to_string()));
    };
    if result
        .get("canceled")
        .and_then(Value::as_bool)
        .unwrap_or(false)
    {
        return Err(Failure::Lost("the watch was ended by etcd".to_owned()));
    }
    let event = |event: &Value| {
        let (key, entry) = entry(event.get("kv").unwrap_or(&Value::Null));
        match event.get("type").and_then(Value::as_str) {
            Some("DELETE") => Event::Delete(key, entry.changed),
            _ => Event::Put(key, entry),
        }
    };
    Ok((list(result, "events").map(event).collect(), revision(result)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!((end_of("/a/"), end_of("/a")), ("/a0".to_owned(), "/b".to_owned()));
    }

    #[test]
    fn events_are_read_as_etcd_writes_them() {
        let line = r#"{"result":{"header":{"revision":"4"},"events":[{"kv":{"key":"L2EveA==","create_revision":"2",
            "mod_revision":"4","version":"1","value":"aGk="}},{"type":"DELETE","kv":{"key":"L2EveQ==","mod_revision":"4"}}]}}"#;
        let (events, revision) = events(&serde_json::from_str(line).unwrap()).unwrap();
        let entry = Entry { value: "hi".to_owned(), created: 2, changed: 4 };
        assert_eq!(revision, 4);
        assert_eq!(
            events,
            [Event::Put("/a/x".to_owned(), entry), Event::Delete("/a/y".to_owned(), 4)]
        );
        let compacted =
            r#"{"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"7"}}"#;
        assert!(super::events(&serde_json::from_str(compacted).unwrap()).is_err());
        assert!(super::events(&json!({"error": {"message": "x"}})).is_err());
    }
}
