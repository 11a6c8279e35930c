//! `apply-schema`, with what each shard has meanwhile.
use super::{Client, part, shards_of};
use crate::Failure;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is asked how far the shards are.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn apply(client: &Client<'_>, keyspace: &str, sql: &str) -> Result<Value, Failure> {
    let path = format!("keyspaces/{}/schema", part(keyspace));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = String::new();
            loop {
                std::thread::sleep(LOOK);
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(progress) = client.get(&format!("{path}/progress"), &[]) else { continue };
                let now = line(&progress);
                if !now.is_empty() && now != last {
                    eprintln!("{now}");
                    last = now;
                }
            }
        });
        let applied = client.send(|agent| agent.post(client.url(&path)), sql);
        ended.store(true, Ordering::Relaxed);
        applied
    })
}

/// `-80: 2 of 2  80-: 1 of 2`
fn line(progress: &Value) -> String {
    let of = |(name, shard): (&str, &Value)| {
        let number = |key: &str| shard.get(key).and_then(Value::as_u64).unwrap_or(0);
        format!("{name}: {} of {}", number("done"), number("statements"))
    };
    shards_of(progress).map(of).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_tells_how_far_each_shard_is() {
        let shard = |name: &str, done: u64| json!({"shard": name, "done": done, "statements": 2});
        assert_eq!(
            line(&json!({"shards": [shard("-80", 2), shard("80-", 1)]})),
            "-80: 2 of 2  80-: 1 of 2"
        );
        assert_eq!(line(&json!({})), "");
    }
}
