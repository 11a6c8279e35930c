//! The commands of the protocol.
use super::answer::{Answer, Done};
use super::run::Form;
use super::wire::Wire;
use super::{Failure, Interrupt, Outcome, Session};
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::Place;
use crate::ring::Buf;
use coregate_planner::control::SqlError;
use coregate_planner::plan::{Action, Effects, Plan, SessionAction, StatementClass};
use coregate_protocol::command::{Command, com, encode};
use coregate_protocol::frame;
use coregate_protocol::response::{EofPacket, OkPacket, encode_rows_end};
use coregate_protocol::walker::ResponseKind;
use std::rc::Rc;
use std::time::Duration;

impl Session {
    /// Runs one command; `false` ends the session.
    #[inline]
    pub(super) async fn command(&mut self, packet: Packet) -> bool {
        if !self.state.mode_known
            && let Err(failure) = Box::pin(self.must_know_mode(packet.payload())).await
        {
            return self.fail(&mut Answer::to(&packet), failure).is_ok();
        }
        self.running.request_bytes = packet.payload().len();
        let result = match packet.payload().first() {
            Some(&com::QUERY) => {
                self.client
                    .handle
                    .runs(packet.payload().get(1..).unwrap_or_default());
                self.query(packet).await
            }
            Some(&com::STMT_EXECUTE) => self.execute_command(packet).await,
            _ => Box::pin(self.rare_command(packet)).await,
        };
        let behind = self.look_behind().await;
        if self.consolidates() {
            self.note_write();
        }
        if self.transaction.pinned != self.client.handle.pinned.get() {
            self.client.handle.note_pinned(self.transaction.pinned);
        }
        result.is_ok() && behind.is_ok()
    }

    async fn rare_command(&mut self, packet: Packet) -> Outcome {
        let mut answer = Answer::to(&packet);
        let result = match Command::parse(packet.payload(), self.client.capabilities) {
            Ok(command) => self.dispatch(command, &packet, &mut answer).await,
            Err(e) => Err(e.into()),
        };
        self.finish(&mut answer, result)
    }

    async fn dispatch(
        &mut self,
        command: Command<'_>,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome {
        match command {
            Command::Quit => Err(Failure::Close),
            Command::Ping => {
                self.send_ok(answer, Done::default());
                Ok(())
            }
            Command::Debug => {
                let end = OkPacket { status: self.status(), ..OkPacket::default() };
                let (capabilities, mut out) = (self.client.capabilities, Vec::new());
                frame::PacketWriter::new(&mut out, &mut answer.seq)
                    .packet(|w| encode_rows_end(&end, capabilities, w));
                self.client.stream.link.send(Buf::from(out));
                Ok(())
            }
            Command::InitDb(name) => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.use_database(&name).await?;
                let session = self.schema_report();
                self.send_ok(answer, Done { session: &session, ..Done::default() });
                Ok(())
            }
            Command::StmtPrepare(sql) => self.prepare(sql.to_vec(), answer).await,
            Command::StmtClose(id) => self.close_statement(id).await,
            Command::StmtReset(id) => self.reset_statement(id, answer).await,
            Command::StmtSendLongData { stmt_id, param, data } => {
                self.long_data(stmt_id, param, data)
            }
            Command::StmtFetch { stmt_id, .. } => {
                self.fetch(stmt_id, packet.payload().to_vec(), answer).await
            }
            Command::FieldList { table, .. } => self.field_list(table, packet, answer).await,
            Command::Statistics => {
                self.send_statistics(answer);
                Ok(())
            }
            Command::SetOption(option) => self.set_option(option, answer),
            Command::ResetConnection => {
                self.reset().await?;
                self.send_ok(answer, Done::default());
                Ok(())
            }
            Command::ChangeUser(_) => self.change_user(packet).await,
            Command::ProcessKill(id) => {
                self.kill(id, Interrupt::KillConnection).await?;
                self.send_ok(answer, Done::default());
                Ok(())
            }
            Command::ProcessInfo => self.run_text(b"SHOW PROCESSLIST", answer).await,
            Command::Query { .. } | Command::StmtExecute { .. } => Err(unknown()),
            Command::BinlogDump(_) | Command::BinlogDumpGtid(_) | Command::RegisterSlave(_) => {
                Err(sql_error(
                    1235,
                    "VT12001: unsupported: binary logs are read from the servers themselves",
                )
                .into())
            }
            Command::Refresh(_) if self.is_drop_in() => self.refresh(packet, answer).await,
            Command::Refresh(_) | Command::Shutdown => {
                Err(sql_error(1227, "Access denied; you need to do this on the servers themselves")
                    .into())
            }
            Command::StmtBulkExecute { stmt_id, .. } => {
                Box::pin(self.execute_bulk(stmt_id, packet, answer)).await
            }
            Command::Unknown(_) => Err(unknown()),
        }
    }

    fn is_drop_in(&self) -> bool {
        self.target.index.is_none() && self.core.snapshot.borrow().drop_in.is_some()
    }

    /// COM_REFRESH, the command of `FLUSH`: the server's own answer, for users that may administer
    /// it. All users share one account there, which has the right.
    async fn refresh(&mut self, packet: &Packet, answer: &mut Answer) -> Outcome {
        if !self.client.rights.admin {
            return Err(sql_error(
                1227,
                "Access denied; you need (at least one of) the RELOAD privilege(s) for this \
                    operation",
            )
            .into());
        }
        self.implicit_commit().await?;
        let plan = Plan {
            action: Action::Session(SessionAction::Nothing),
            class: StatementClass::Admin,
            effects: Effects::IMPLICIT_COMMIT,
            cacheable: false,
            tables: Vec::new(),
            names: Default::default(),
            directives: Default::default(),
        };
        let wire = Wire::Payload(packet.payload().to_vec());
        self.one(&plan, Place::DropIn, wire, ResponseKind::Simple, answer)
            .await
            .map(|_| ())
    }

    /// Runs a statement as if the client had sent it.
    pub(super) async fn run_text(&mut self, sql: &[u8], answer: &mut Answer) -> Outcome {
        let planned = self.planned(sql).await?;
        self.execute(planned, Form::Text(sql), answer).await
    }

    /// COM_FIELD_LIST: only old clients' completion uses it; one shard's answer stands for all.
    async fn field_list(&mut self, table: &[u8], packet: &Packet, answer: &mut Answer) -> Outcome {
        let sql = [
            b"SHOW COLUMNS FROM `",
            table
                .split(|b| *b == b'`')
                .collect::<Vec<_>>()
                .concat()
                .as_slice(),
            b"`",
        ]
        .concat();
        let mut planned = self.plan(&sql)?;
        let Action::Route(route) = &planned.entry.plan.action else {
            return Err(unknown());
        };
        let Some(shard) = planned.bound.shards_mut().first() else { return Err(unknown()) };
        let place = super::run::place_of(route, shard.id);
        let wire = Wire::Payload(packet.payload().to_vec());
        self.one(&planned.entry.plan, place, wire, ResponseKind::FieldList, answer)
            .await
            .map(|_| ())
    }

    fn send_statistics(&mut self, answer: &mut Answer) {
        let uptime = self.core.started.elapsed().as_secs().max(1);
        let sum = |pick: fn(&crate::metrics::CoreMetrics) -> u64| {
            self.core.shared.metrics.iter().map(pick).sum::<u64>()
        };
        let (queries, sessions) = (sum(|m| m.queries.get()), sum(|m| m.sessions.get()));
        let text = format!(
            "Uptime: {uptime}  Threads: {sessions}  Questions: {queries}  Slow queries: 0  Opens: \
                0  Open tables: 0  Queries per second avg: {:.3}",
            queries as f64 / uptime as f64
        );
        let mut out = Vec::new();
        frame::write_packet(&mut out, &mut answer.seq, text.as_bytes());
        self.client.stream.link.send(Buf::from(out));
    }

    fn set_option(&mut self, option: u16, answer: &mut Answer) -> Outcome {
        self.client.multi_statements = match option {
            0 => true,
            1 => false,
            _ => return Err(unknown()),
        };
        let mut out = Vec::new();
        let capabilities = self.client.capabilities;
        if capabilities.contains(coregate_protocol::Capabilities::DEPRECATE_EOF) {
            self.send_ok(answer, Done::default());
            return Ok(());
        }
        let eof = EofPacket { warnings: 0, status: self.status() };
        frame::PacketWriter::new(&mut out, &mut answer.seq).packet(|w| eof.encode(w));
        self.client.stream.link.send(Buf::from(out));
        Ok(())
    }

    /// Forgets everything that the session has set up, as after login.
    pub(super) async fn reset(&mut self) -> Outcome {
        // An XA transaction takes no ROLLBACK. It ends with its connection, or stays if it is
        // prepared, as on one server.
        let _ = self.rollback_held().await;
        self.release_what_is_pinned().await;
        self.transaction.clear();
        self.transaction.locked = false;
        self.client.handle.in_transaction.set(false);
        self.statements = None;
        self.last.warnings = None;
        self.state.vitess = Vec::new();
        self.state.cross_shard_snapshot = self.core.config().cross_shard_snapshot;
        self.reads.causal = self.fresh_causal();
        self.state.autocommit = true;
        self.state.foreign_keys_off = false;
        self.state.sql_mode = coregate_planner::fingerprint::SqlMode::empty();
        (self.last.insert_id, self.last.row_count, self.last.found_rows) = (0, 0, 0);
        let database = self.state.settings.database.clone();
        self.state.settings = self.fresh_settings(self.state.settings.collation, database);
        self.state.charsets = self.state.settings.charsets();
        self.transaction.state_at = None;
        self.client.handle.wait_timeout.set(None);
        self.client.handle.query_timeout.set(None);
        self.client.handle.transaction_timeout.set(None);
        self.begin_mode().await;
        Ok(())
    }
}

/// A server that is asked to forget a session's state must have answered after so long; else
/// closing must do.
const FORGET_MAX: Duration = Duration::from_millis(2_000);

impl Session {
    /// Closes the connections that the session holds. What it has locked there is free when the
    /// client has its answer.
    async fn release_what_is_pinned(&mut self) {
        let core = Rc::clone(&self.core);
        for (_, mut backend) in std::mem::take(&mut self.transaction.held) {
            let mut payload = Vec::new();
            encode::reset_connection(&mut payload);
            let reset = backend.run(&core, &payload, ResponseKind::Simple, |_| {});
            // In vain or not: only closing undoes everything.
            let _ = super::lost::within(&core, FORGET_MAX, reset).await;
        }
        self.transaction.pinned = false;
    }
}

pub(super) fn unknown() -> Failure {
    Failure::Sql(SqlError { code: 1047, sqlstate: *b"08S01", message: "Unknown command".into() })
}
