//! One client's session: reads commands, finds plans, runs them, answers. One task per client,
//! which is small while it rests: what runs a command is lent by the core (`runner`).
mod accounts;
mod answer;
mod asked;
mod atomic;
mod auto_column;
mod buffering;
mod causal;
mod client;
mod clock;
mod command;
mod commit;
mod consolidate;
mod contention;
mod control;
mod database;
mod deciders;
mod ended;
mod handle;
mod infile;
mod info;
mod insert_id;
mod join;
mod keyed;
mod kill;
mod last;
mod local;
mod lock;
mod login;
mod look_up;
mod lookups;
mod lost;
mod mode;
mod moving;
mod named;
mod named_at;
mod near;
mod on_replica;
mod one_snapshot;
mod plan;
mod prepared;
mod privileges;
mod processlist;
mod query;
mod reads;
mod relay;
mod rights;
mod run;
mod runner;
mod running;
mod scatter;
mod sequence;
mod set;
mod snapshot_reads;
mod state;
mod status;
mod system;
mod tracking;
mod transaction;
mod tree;
mod values;
mod variables;
mod vexplain;
mod vitess;
mod warnings;
mod wire;
mod write;

pub use atomic::TransactionMode;
pub(crate) use auto_column::AutoColumn;
pub(crate) use handle::{Interrupt, SessionHandle};
pub(crate) use login::serve;
pub(crate) use mode::DefaultMode;
pub use moving::MovedSession;
pub(crate) use moving::{Arrivals, Departure};
pub(crate) use plan::{Scratch, destination_name};
pub(crate) use rights::Sessions as UserSessions;
pub(crate) use runner::Runners;

use crate::core::Core;
use crate::error::BackendError;
use crate::link::ReadError;
use answer::Answer;
use client::Client;
use coregate_planner::control::SqlError;
use coregate_planner::fingerprint::SqlMode;
use coregate_planner::snapshot::{KeyspaceIdx, ShardIdx, TabletKind};
use coregate_protocol::Status;
use last::Last;
use prepared::Statements;
use reads::Reads;
use running::{Asked, Running};
use state::State;
use std::rc::Rc;
use transaction::Transaction;

pub(crate) struct Session {
    core: Rc<Core>,
    client: Client,
    state: State,
    /// What `USE` has chosen.
    target: Target,
    transaction: Transaction,
    reads: Reads,
    last: Last,
    running: Running,
    /// Prepared statements, once there are any.
    statements: Option<Box<Statements>>,
    /// Counts the statements whose rows go to shards in turn.
    turn: std::cell::Cell<u64>,
}

/// What `USE` has chosen.
#[derive(Debug, Clone, Default)]
struct Target {
    /// As the client wrote it; what `DATABASE()` answers.
    database: Option<Rc<str>>,
    /// A keyspace of ours, by name and by its index in the snapshot of `version`.
    keyspace: Option<Rc<str>>,
    index: Option<KeyspaceIdx>,
    shard: Option<ShardIdx>,
    /// The first and the last one of several.
    shards: Option<(ShardIdx, ShardIdx)>,
    kind: TabletKind,
    version: u64,
}

/// How a statement ended that was not answered in full.
#[derive(Debug)]
enum Failure {
    /// Tell the client, and go on.
    Sql(SqlError),
    /// The client is gone, or must go.
    Close,
    /// Tell the client, then close: what it believes about its session is no longer true.
    Fatal(SqlError),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Sql(error.to_sql())
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<coregate_planner::PlanError> for Failure {
    fn from(error: coregate_planner::PlanError) -> Self {
        let (code, sqlstate) = error.code();
        Self::Sql(SqlError { code, sqlstate: *sqlstate, message: error.to_string() })
    }
}

impl From<coregate_protocol::ProtocolError> for Failure {
    fn from(error: coregate_protocol::ProtocolError) -> Self {
        Self::Sql(SqlError {
            code: error.code(),
            sqlstate: error.sqlstate(),
            message: error.to_string(),
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Self::Close
    }
}

type Outcome<T = ()> = Result<T, Failure>;

impl Session {
    /// The session's life after login.
    async fn run(mut self: Box<Self>) {
        let core = Rc::clone(&self.core);
        loop {
            let packet = match self.next_command().await {
                Ok(Some(packet)) => packet,
                Ok(None) if self.client.handle.is_asked_to_move() => {
                    match Box::pin(self.move_away()).await {
                        true => break,
                        false => continue,
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.say_goodbye(error);
                    break;
                }
            };
            let goes_on;
            (self, goes_on) = core.runners.run(self, packet).await;
            if !goes_on {
                break;
            }
            if self.client.handle.must_end(&core, self.in_transaction()) {
                if !self.client.handle.is_killed() {
                    self.send_error(&mut Answer::unasked(), &self.client.handle.farewell());
                }
                break;
            }
        }
        // What it holds is closed: the servers roll back and clean up.
    }

    /// Waits for a command; a resting session owns no buffer.
    async fn next_command(&mut self) -> Result<Option<crate::link::Packet>, ReadError> {
        self.client.handle.rests(&self.core);
        let (client, handle) = (&mut self.client.stream, &self.client.handle);
        let next = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(packet) = client.poll_packet(cx, 0) {
                // Whoever is asked to move, and has something to do, does it first.
                handle.forget_move();
                return std::task::Poll::Ready(Some(packet));
            }
            if handle.is_asked_to_move() {
                return std::task::Poll::Ready(None);
            }
            handle.poll_interrupt(cx).map(|_| None)
        })
        .await;
        match next {
            Some(packet) => {
                self.client.handle.works(&self.core);
                if let Ok(Some(packet)) = &packet {
                    self.client.stream.fit_buffers(packet);
                }
                packet
            }
            None if self.client.handle.is_asked_to_move() => Ok(None),
            None => {
                // A server closes a killed connection without a word: a packet that was not asked
                // for confuses drivers.
                if !self.client.handle.is_killed() {
                    self.send_error(&mut Answer::unasked(), &self.client.handle.farewell());
                }
                Ok(None)
            }
        }
    }

    /// Tells a client whose bytes made no sense why it is disconnected.
    fn say_goodbye(&mut self, error: ReadError) {
        match error {
            ReadError::Io(e) => {
                tracing::debug!(session = self.client.handle.id, "client connection: {e}")
            }
            ReadError::Protocol(e) => {
                let error =
                    SqlError { code: e.code(), sqlstate: e.sqlstate(), message: e.to_string() };
                let mut answer =
                    Answer { seq: self.client.stream.refusal_seq(), ..Answer::first() };
                self.send_error(&mut answer, &error);
            }
        }
    }

    fn status(&self) -> Status {
        let mut status = Status::empty();
        status.set(Status::AUTOCOMMIT, self.state.autocommit);
        let on_servers = || {
            self.transaction
                .held
                .iter()
                .any(|(_, backend)| backend.in_transaction)
        };
        let open = self.transaction.has_begun() || on_servers();
        status.set(Status::IN_TRANS, open && !self.transaction.reads_snapshot());
        status.set(Status::IN_TRANS_READONLY, self.transaction.is_read_only());
        status.set(
            Status::NO_BACKSLASH_ESCAPES,
            self.state.sql_mode.contains(SqlMode::NO_BACKSLASH_ESCAPES),
        );
        let quotes = self.state.sql_mode.contains(SqlMode::ANSI_QUOTES) && self.core.is_mariadb();
        status.set(Status::ANSI_QUOTES, quotes);
        status
    }
}
