//! The servers that hold decisions on transactions over several shards, and prepared branches of
//! them: what they tell.
use super::answer::Answer;
use super::atomic::has_no_tables;
use super::buffering::Use;
use super::{Outcome, Session};
use crate::core::Core;
use crate::error::BackendError;
use crate::pool::{Backend, Kind, Place, TabletPool};
use coregate_planner::dtid::{self, Branch};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A connection to such a server.
pub(super) struct Decider {
    pub(super) pool: Rc<TabletPool>,
    pub(super) backend: Box<Backend>,
    /// The shards that it serves: as branches name them, and as `keyspace:shard`.
    shards: Vec<(u64, String)>,
}

impl Decider {
    pub(super) fn holds(&self, decider: u64) -> bool {
        self.shards.iter().any(|(key, _)| *key == decider)
    }

    fn name(&self) -> String {
        let names: Vec<&str> = self.shards.iter().map(|(_, name)| name.as_str()).collect();
        names.join("|")
    }
}

/// The same from wherever it is asked, and another for every server.
const IDENTITY: &str = "SELECT CONCAT_WS('|', @@hostname, @@port, @@datadir, @@server_id)";

/// What is known of a transaction.
#[derive(Debug, Default)]
struct Known {
    /// `commit` or `abort`, and when.
    decision: Option<(String, Option<String>)>,
    participants: Vec<String>,
    decider: u64,
}

impl Session {
    /// A connection of each server that holds decisions: of every shard, as transactions may span
    /// keyspaces. In the same order for all who ask.
    pub(super) async fn deciders(&mut self) -> Outcome<Vec<Decider>> {
        let shards: Vec<(Place, u64, String)> = {
            let snapshot = self.core.snapshot.borrow();
            let keyspaces = snapshot.keyspaces.iter();
            keyspaces
                .flat_map(|keyspace| keyspace.shards.iter().map(move |shard| (keyspace, shard)))
                .map(|(keyspace, shard)| {
                    let place = Place::Shard { shard: shard.id, kind: Kind::Primary };
                    let name = format!("{}:{}", keyspace.name, shard.name);
                    (place, dtid::decider_key(&keyspace.name, &shard.name), name)
                })
                .collect()
        };
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let mut servers: BTreeMap<String, (Place, Vec<(u64, String)>)> = BTreeMap::new();
        for (place, key, name) in shards {
            let Some(pool) = self.pool_of(place) else { return Err(place.missing().into()) };
            let address = pool.tablet.address.to_string();
            let server = servers
                .entry(address)
                .or_insert_with(|| (place, Vec::new()));
            server.1.push((key, name));
        }
        // One server may have several addresses: it tells who it is.
        let mut deciders: BTreeMap<String, Decider> = BTreeMap::new();
        for (place, mut shards) in servers.into_values() {
            let (pool, mut backend) = Box::pin(self.connection(place, Use::Finish)).await?;
            let asked = backend.value(&core, IDENTITY);
            let identity = Self::unless_interrupted(&handle, asked)
                .await??
                .unwrap_or_default();
            match deciders.get_mut(&identity) {
                Some(known) => {
                    known.shards.append(&mut shards);
                    pool.put(&core, backend);
                }
                None => {
                    deciders.insert(identity, Decider { pool, backend, shards });
                }
            }
        }
        Ok(deciders.into_values().collect())
    }

    /// `SHOW UNRESOLVED TRANSACTIONS`, `SHOW TRANSACTION STATUS FOR 'id'`, with Vitess's columns.
    pub(super) async fn show_transactions(
        &mut self,
        id: Option<&str>,
        keyspace: Option<&str>,
        answer: &mut Answer,
    ) -> Outcome {
        self.clear_warnings();
        let mut deciders = self.deciders().await?;
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let known = Self::unless_interrupted(&handle, look(&core, &mut deciders, id)).await??;
        for decider in deciders {
            decider.pool.put(&core, decider.backend);
        }
        let of_keyspace = |known: &Known| {
            let prefix = keyspace.map(|name| format!("{name}:"));
            prefix.is_none_or(|prefix| known.participants.iter().any(|p| p.starts_with(&prefix)))
        };
        let rows: Vec<_> = known
            .into_iter()
            .filter(|(_, known)| of_keyspace(known))
            .map(|(id, known)| {
                let (state, time) = match known.decision {
                    Some((decision, time)) if decision == "commit" => ("COMMIT", time),
                    Some((_, time)) => ("ROLLBACK", time),
                    None => ("PREPARE", None),
                };
                vec![Some(id), Some(state.to_owned()), time, Some(known.participants.join(","))]
            })
            .collect();
        (self.last.found_rows, self.last.row_count) = (rows.len() as u64, -1);
        self.send_rows(answer, &["id", "state", "record_time", "participants"], &rows);
        Ok(())
    }
}

/// Asks for prepared branches, and for what is decided on their transactions. `id`: one
/// transaction, also if it is over.
async fn look(
    core: &Rc<Core>,
    deciders: &mut [Decider],
    id: Option<&str>,
) -> Result<BTreeMap<String, Known>, BackendError> {
    let mut all: BTreeMap<String, Known> = BTreeMap::new();
    for decider in &mut *deciders {
        let rows = decider.backend.rows(core, "XA RECOVER").await?;
        for branch in rows.iter().filter_map(|row| branch(row)) {
            if id.is_none_or(|id| id == branch.id) {
                let known = all.entry(branch.id).or_default();
                known.participants.push(decider.name());
                known.decider = branch.decider;
            }
        }
    }
    for decider in &mut *deciders {
        let mut ids: Vec<String> = all
            .iter()
            .filter(|(_, known)| decider.holds(known.decider))
            .map(|(id, _)| id.clone())
            .collect();
        ids.extend(id.filter(|id| dtid::is_id(id)).map(str::to_owned));
        if ids.is_empty() {
            continue;
        }
        let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let query = format!(
            "SELECT id, decision, made_at FROM {} WHERE id IN ({})",
            dtid::TABLE,
            ids.join(",")
        );
        let rows = match decider.backend.rows(core, &query).await {
            Err(error) if has_no_tables(&error) => continue,
            rows => rows?,
        };
        for row in rows {
            let mut cells = row
                .into_iter()
                .map(|cell| cell.map(|c| String::from_utf8_lossy(&c).into_owned()));
            if let (Some(Some(id)), Some(Some(decision)), Some(time)) =
                (cells.next(), cells.next(), cells.next())
            {
                all.entry(id).or_default().decision = Some((decision, time));
            }
        }
    }
    Ok(all)
}

/// A row of XA RECOVER, if it is one of ours.
pub(super) fn branch(row: &[Option<Vec<u8>>]) -> Option<Branch> {
    let [Some(format), Some(gtrid_len), _, Some(data)] = row else { return None };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let len = usize::try_from(number(gtrid_len)?).ok()?;
    Branch::parse(number(format)?, len, data)
}
