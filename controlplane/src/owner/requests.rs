//! What cores and the admin API ask for.
use super::{Answer, Owner, done};
use crate::Error;
use crate::admin::Request;
use crate::plane::{Command, Reload};
use crate::world::{Change, Loaded, general};
use coregate_planner::control::ControlRequest;
use std::time::Duration;
use tokio::sync::oneshot;

/// Pauses before tables are read again that a change may still come to: a server can take long to
/// end a statement.
const READ_AGAIN: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(25),
    Duration::from_secs(120),
];

impl Owner {
    pub(super) fn control(&mut self, request: ControlRequest, answer: Answer) {
        match request {
            ControlRequest::AlterVschema { sql, keyspace } => {
                tracing::info!("{sql}");
                self.change(Change::Alter { sql, session: keyspace }, None, answer);
            }
            ControlRequest::CreateDatabase { name, sql } => self.create_database(name, sql, answer),
            ControlRequest::DropDatabase { name } => self.drop_database(name, answer),
            ControlRequest::SchemaChanged { keyspace } => self.tables_changed(&keyspace, answer),
            ControlRequest::SchemaBegins { keyspace, change } => {
                self.ddl_asks(keyspace, change, answer)
            }
            ControlRequest::SchemaEnds { keyspace, change } => {
                self.ddl_ends(&keyspace, change);
                self.turn_ends(&keyspace, change);
                self.pending.answer(answer, done());
            }
            ControlRequest::SchemaInDoubt { keyspace, later } => {
                self.tables_in_doubt(keyspace, later, answer)
            }
        }
    }

    /// A failed change of tables may have taken effect: they are read again now, and later where
    /// servers may still be at it.
    fn tables_in_doubt(&mut self, keyspace: String, later: bool, answer: Answer) {
        let (owner, name) = (self.sender.clone(), keyspace.clone());
        if later {
            tokio::spawn(async move {
                for pause in READ_AGAIN {
                    tokio::time::sleep(pause).await;
                    let request = ControlRequest::SchemaChanged { keyspace: name.clone() };
                    let _ = owner
                        .send(Command::Control(request, Box::new(|_| ())))
                        .await;
                }
            });
        }
        self.tables_changed(&keyspace, answer);
    }

    pub(super) fn admin(&mut self, request: Request, answer: Answer) {
        match request {
            Request::Reload => self.reload(vec![answer]),
            Request::ApplySchema { keyspace, sql } => self.apply_schema(keyspace, sql, answer),
            Request::Reparent { keyspace, shard, how } => {
                self.reparent(&keyspace, &shard, how, answer)
            }
            Request::ApplyVschema { keyspace, vschema } => {
                self.change(Change::Vschema { keyspace, vschema }, None, answer);
            }
            Request::DeleteKeyspace(keyspace) => {
                self.change(Change::Remove { keyspace }, None, answer)
            }
            Request::ApplyRules(rules) => self.change(Change::Rules(rules), None, answer),
            Request::SetKind { alias, kind } => {
                self.change(Change::Kind { alias, kind }, None, answer)
            }
            Request::Externalize { keyspace, vindex } => {
                self.change(Change::Externalize { keyspace, vindex }, None, answer);
            }
            Request::DisableRecoveries(disabled) => self.set_recoveries(disabled, answer),
        }
    }

    /// Reads the topology again, beside everything else.
    pub(super) fn reload(&mut self, answers: Vec<Answer>) {
        let Some((edits, reading)) = self.world.reload() else {
            return answers
                .into_iter()
                .for_each(|answer| self.pending.answer(answer, done()));
        };
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let loaded = reading.await;
            let why = Reload::Asked(answers);
            let _ = owner.send(Command::Loaded { edits, loaded, why }).await;
        });
    }

    pub(super) fn loaded(&mut self, edits: u64, loaded: Result<Loaded, Error>, why: Reload) {
        let told = loaded
            .as_ref()
            .ok()
            .map(|l| (l.revision, l.locks.clone(), l.recoveries_disabled));
        let taken = match loaded.and_then(|loaded| self.world.reloaded(edits, loaded)) {
            Ok(Some(taken)) => taken,
            // Something was changed through us meanwhile.
            Ok(None) => match why {
                Reload::Asked(answers) => return self.reload(answers),
                // What is known is newer.
                Reload::Told => {
                    self.changes.stale = false;
                    return self.next_change();
                }
            },
            Err(e) => {
                tracing::error!("nothing has changed: {e}");
                self.changes.stale = false;
                self.next_change();
                if let Reload::Asked(answers) = why {
                    for answer in answers {
                        self.pending.answer(answer, Err(general(e.to_string())));
                    }
                }
                return;
            }
        };
        let tables = match &why {
            Reload::Told => taken.tables,
            Reload::Asked(_) => {
                self.forget_readings();
                self.world.keyspaces.keys().cloned().collect()
            }
        };
        let asked = matches!(why, Reload::Asked(_));
        self.pending.catalog |= taken.catalog || asked;
        self.pending.serving = true;
        self.pending.shown = true;
        self.follow_tablets();
        let mut parts = Vec::new();
        for keyspace in tables {
            let (tell, told) = oneshot::channel();
            parts.push(told);
            self.read_columns(&keyspace, vec![Answer::Part(tell)]);
        }
        match (told, why) {
            (Some((revision, locks, disabled)), Reload::Told) => {
                self.take_locks(locks, disabled);
                self.say_used(revision, parts);
            }
            (_, Reload::Asked(answers)) => drop(tokio::spawn(async move {
                for part in parts {
                    let _ = part.await;
                }
                answers.into_iter().for_each(|answer| answer.give(done()));
            })),
            _ => {}
        }
        self.changes.stale = false;
        self.next_change();
    }
}
