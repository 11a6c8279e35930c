//! `CREATE DATABASE` and `DROP DATABASE` of SQL clients, where this process has servers to make a
//! keyspace of.
use super::{Answer, Owner};
use crate::Error;
use crate::local::Refusal;
use crate::plane::Command;
use crate::store::{DatabaseRequest, Written};
use crate::topology::KeyspaceRecord;
use crate::world::{Change, general};
use coregate_planner::control::SqlError;
use std::sync::Arc;
use tokio::sync::oneshot;

fn unsupported(verb: &str, how: &str) -> SqlError {
    let message = format!("VT12001: unsupported: {verb} DATABASE: {how}");
    SqlError { code: 1235, sqlstate: *b"42000", message }
}

fn not_there(name: &str) -> SqlError {
    let message = format!("Can't drop database '{name}'; database doesn't exist");
    SqlError { code: 1008, sqlstate: *b"HY000", message }
}

impl Owner {
    pub(super) fn create_database(&mut self, name: String, sql: String, answer: Answer) {
        let (Some(maker), Some(store)) = (self.maker.clone(), self.world.store().map(Arc::clone))
        else {
            let request = DatabaseRequest { name, create: Some(sql) };
            let Some(answer) = self.ask_for_database(request, answer) else { return };
            let how = "the servers of this topology are not this process's to make; add a keyspace \
                to the topology (a file in \
                       its directory, or coregate topo import), and coregate ctl reload";
            return self.pending.answer(answer, Err(unsupported("CREATE", how)));
        };
        if self.world.keyspaces.contains_key(&name) {
            let message = format!("Can't create database '{name}'; database exists");
            let error = SqlError { code: 1007, sqlstate: *b"HY000", message };
            return self.pending.answer(answer, Err(error));
        }
        tracing::info!(keyspace = name, "CREATE DATABASE: servers are being started");
        let known: Vec<KeyspaceRecord> = self.records().cloned().collect();
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let made = maker.make(&store, &known, &name, &sql).await;
            let _ = owner
                .send(Command::DatabaseMade { name, made, answer })
                .await;
        });
    }

    /// A process that makes databases asks no other.
    fn ask_unless_own(&self, request: DatabaseRequest, answer: Answer) -> Option<Answer> {
        match &self.maker {
            Some(_) => Some(answer),
            None => self.ask_for_database(request, answer),
        }
    }

    fn records(&self) -> impl Iterator<Item = &KeyspaceRecord> {
        self.world.keyspaces.values().map(|known| &known.record)
    }

    /// The store has it: it is used when all cores do, and those of the other processes.
    pub(super) fn database_made(
        &mut self,
        name: &str,
        made: Result<Written, Refusal>,
        answer: Answer,
    ) {
        match made {
            Ok(written) => {
                tracing::info!(keyspace = name, "its servers are up");
                let answer = self.everywhere(written.revision, answer);
                self.reload(vec![answer]);
            }
            Err(Refusal::Sql(error)) => self.pending.answer(answer, Err(error)),
            Err(Refusal::Other(e)) => {
                tracing::error!(keyspace = name, "it cannot be made: {e}");
                self.pending.answer(answer, Err(general(e.to_string())));
            }
        }
    }

    pub(super) fn drop_database(&mut self, name: String, answer: Answer) {
        let Some(record) = self.records().find(|r| r.name == name).cloned() else {
            return self.pending.answer(answer, Err(not_there(&name)));
        };
        let Some(maker) = self.maker.clone().filter(|maker| maker.owns(&record)) else {
            let request = DatabaseRequest { name, create: None };
            let Some(answer) = self.ask_unless_own(request, answer) else { return };
            let how = "the keyspace's servers are not this process's; coregate ctl delete-keyspace \
                takes it out of the topology \
                       and leaves its databases where they are";
            return self.pending.answer(answer, Err(unsupported("DROP", how)));
        };
        if self.records().count() == 1 {
            let how = "it is the only keyspace; create another one first";
            return self.pending.answer(answer, Err(unsupported("DROP", how)));
        }
        tracing::info!(
            keyspace = name,
            "DROP DATABASE: the keyspace and its servers' data are removed"
        );
        let (tell, told) = oneshot::channel();
        self.change(Change::Remove { keyspace: name }, None, Answer::Admin(tell));
        tokio::spawn(async move {
            let removed = told.await.map_err(|_| general(Error::Gone.to_string()));
            match removed.and_then(|removed| removed.map_err(general)) {
                Ok(value) => {
                    maker.unmake(&record).await;
                    answer.give(Ok(value));
                }
                Err(error) => answer.give(Err(error)),
            }
        });
    }
}
