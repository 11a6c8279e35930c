//! A session's settings on a connection: only what differs is sent.
use super::own::refusal;
use super::{Backend, Exchange};
use crate::core::Core;
use crate::error::BackendError;
use crate::ring::Buf;
use crate::settings::{Difference, Settings};
use coregate_protocol::command::encode as commands;
use coregate_protocol::response::OkPacket;
use coregate_protocol::walker::ResponseKind;
use coregate_protocol::{Capabilities, codes, frame};
use std::rc::Rc;

impl Backend {
    /// Gives the connection a session's settings.
    pub(crate) async fn apply(
        &mut self,
        core: &Core,
        wanted: &Rc<Settings>,
    ) -> Result<(), BackendError> {
        if Rc::ptr_eq(&self.settings, wanted) {
            return Ok(());
        }
        let Difference { reset, set, database } = self.settings.difference(wanted);
        if reset && self.pool.cannot_reset.get() {
            return Err(BackendError::CannotReset);
        }
        let mut wire = Wire::default();
        if reset {
            self.pool.stats.resets.set(self.pool.stats.resets.get() + 1);
            wire.command(commands::reset_connection);
            self.statements = None;
            self.last_insert_id = Some(0);
            if wanted.get("names").is_none()
                && let Some(names) = crate::core::names_of(wanted.collation)
            {
                wire.query(format!("SET {names}").as_bytes());
            }
        }
        // A name is read in the character set that is set by then.
        let late = database.as_ref().filter(|name| !name.is_ascii());
        let early = database.as_ref().filter(|name| name.is_ascii());
        if let Some(database) = early {
            wire.command(|payload| commands::init_db(payload, database.as_bytes()));
        }
        for sql in &set {
            wire.query(sql);
        }
        if let Some(database) = late {
            wire.command(|payload| commands::init_db(payload, database.as_bytes()));
        }
        match self.run_all(core, wire).await {
            Err(BackendError::Refused { code: codes::ER_UNKNOWN_COM_ERROR, .. }) if reset => {
                self.pool.cannot_reset.set(true);
                return Err(BackendError::CannotReset);
            }
            other => other?,
        }
        self.has_settings(wanted);
        Ok(())
    }

    /// Runs statements that are answered with OK, in one round trip.
    pub(crate) async fn run_batch(
        &mut self,
        core: &Core,
        statements: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), BackendError> {
        let mut wire = Wire::default();
        for sql in statements {
            wire.query(&sql);
        }
        self.run_all(core, wire).await
    }

    /// Runs commands that are answered with OK, in one round trip. After an error the connection is
    /// not to be used.
    async fn run_all(&mut self, core: &Core, wire: Wire) -> Result<(), BackendError> {
        if wire.commands == 0 {
            return Ok(());
        }
        self.tainted = true; // until all of it is known to be applied
        self.send(Buf::from(wire.bytes));
        let mut refused = None;
        for _ in 0..wire.commands {
            let _awaited = Exchange::begin(core);
            self.stream.link.reset_compressed_sequence();
            let packet = match self.stream.packet(1).await {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(self.lost("the server closed the connection")),
                Err(e) => return Err(self.lost(&e.to_string())),
            };
            if packet.payload().first() != Some(&OkPacket::HEADER) && refused.is_none() {
                refused = Some(refusal(packet.payload())?);
            }
        }
        self.busy = false;
        match refused {
            Some(error) => Err(error),
            None => {
                self.tainted = false;
                self.in_transaction = false;
                (self.unsure, self.ended_by_error) = (false, false);
                Ok(())
            }
        }
    }

    /// The same for a connection that a session holds and whose state must stay.
    pub(crate) async fn apply_in_place(
        &mut self,
        core: &Core,
        wanted: &Rc<Settings>,
    ) -> Result<(), BackendError> {
        if Rc::ptr_eq(&self.settings, wanted) {
            return Ok(());
        }
        let names = crate::core::names_of(wanted.collation);
        let difference = self.settings.difference_in_place(wanted, names.as_deref());
        self.set_all(core, wanted, difference).await
    }

    async fn set_all(
        &mut self,
        core: &Core,
        wanted: &Rc<Settings>,
        difference: Difference,
    ) -> Result<(), BackendError> {
        let database = difference.database.as_deref();
        if let Some(database) = database.filter(|name| name.is_ascii()) {
            self.select(core, database).await?;
        }
        if !difference.set.is_empty() {
            // until all of it is known to be applied
            let tainted = std::mem::replace(&mut self.tainted, true);
            for sql in &difference.set {
                self.execute(core, sql).await?;
            }
            self.tainted = tainted;
        }
        if let Some(database) = database.filter(|name| !name.is_ascii()) {
            self.select(core, database).await?;
        }
        self.has_settings(wanted);
        Ok(())
    }

    async fn select(&mut self, core: &Core, database: &str) -> Result<(), BackendError> {
        let mut payload = Vec::new();
        commands::init_db(&mut payload, database.as_bytes());
        let mut answer = Vec::new();
        let summary = self
            .run(core, &payload, ResponseKind::Simple, |b| answer.extend_from_slice(b))
            .await?;
        match summary.error {
            Some((code, _)) => Err(self.refused(code, &answer)),
            None => Ok(()),
        }
    }

    fn has_settings(&mut self, wanted: &Rc<Settings>) {
        if wanted.database.is_some() {
            self.flavour |= super::super::HAS_DATABASE;
        }
        self.settings = Rc::clone(wanted);
    }
}

/// Commands that go out together.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    commands: usize,
}

impl Wire {
    fn command(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        encode(&mut payload);
        let mut seq = 0;
        frame::write_packet(&mut self.bytes, &mut seq, &payload);
        self.commands += 1;
    }

    fn query(&mut self, sql: &[u8]) {
        self.command(|payload| commands::query(payload, Capabilities::empty(), sql));
    }
}
