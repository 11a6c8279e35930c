//! A session that rests goes to another process, with its connection and its state: hot restart.
//!
//! It goes if all that it is can be told: no transaction, nothing on a connection of its own, no
//! prepared statements, no encryption or compression. Its socket is held still before it is looked
//! at for the last time, so that no byte is read here that the other process must have.
use super::login::Guest;
use super::rights::Rights;
use super::state::State;
use super::{Session, SessionHandle};
use crate::core::Core;
use crate::executor;
use crate::link::{Link, PacketStream};
use crate::ring::Socket;
use crate::seat::Seat;
use crate::settings::Settings;
use ahash::AHashMap;
use coregate_planner::fingerprint::SqlMode;
use coregate_protocol::Capabilities;
use coregate_protocol::auth::server::Login;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, atomic::Ordering};

/// Bytes of settings that a session may take with it.
const SETTINGS_BYTES_MAX: usize = 64 << 10;

/// What a session is, for another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MovedSession {
    /// `CONNECTION_ID()`
    pub id: u32,
    host: String,
    user: Vec<u8>,
    capabilities: u64,
    multi_statements: bool,
    collation: u16,
    max_packet: u32,
    scramble: [u8; 20],
    rights: Rights,
    database: Option<String>,
    settings_collation: u16,
    settings_database: Option<String>,
    vars: Vec<(String, Vec<u8>)>,
    vitess: Vec<(String, String)>,
    cross_shard_snapshot: bool,
    sql_mode: u8,
    mode_known: bool,
    autocommit: bool,
    #[serde(default)]
    foreign_keys_off: bool,
    wait_timeout: Option<u64>,
    query_timeout: Option<u64>,
    transaction_timeout: Option<u64>,
    insert_id: u64,
    row_count: i64,
    found_rows: u64,
}

/// A session that would go. It stays, unless [`Departure::decide`] says that it is gone.
pub(crate) struct Departure {
    pub(crate) session: MovedSession,
    pub(crate) connection: OwnedFd,
    shared: Arc<crate::core::Shared>,
    core: u16,
    decided: bool,
}

impl Departure {
    pub(crate) fn decide(mut self, moved: bool) {
        self.tell(moved);
    }

    fn tell(&mut self, moved: bool) {
        self.decided = true;
        let id = self.session.id;
        self.shared.inbox(self.core).post(move |core| {
            let handle = core.sessions.borrow().get(&id).cloned();
            if let Some(handle) = handle {
                handle.tell_moved(core, moved);
            }
        });
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if !self.decided {
            self.tell(false);
        }
    }
}

/// Sessions of the process before that are announced, by their ids, and not let in yet.
#[derive(Default)]
pub(crate) struct Arrivals(RefCell<AHashMap<u32, Arrival>>);

struct Arrival {
    session: MovedSession,
    connection: OwnedFd,
    handle: Rc<SessionHandle>,
    guest: Guest,
}

impl Session {
    /// Goes to the process that takes over. `true`: it is there, and ends here without a word.
    pub(super) async fn move_away(&mut self) -> bool {
        let handle = Rc::clone(&self.client.handle);
        handle.forget_move();
        if handle.is_interrupted() || !self.can_move() {
            return false;
        }
        self.client.stream.link.socket.hold_still();
        poll_fn(|cx| self.client.stream.link.socket.poll_still(cx)).await;
        let departs = self.client.stream.link.socket.is_quiet() && self.depart();
        let moved = departs && poll_fn(|cx| handle.poll_moved(cx)).await;
        match moved {
            true => self.core.metrics().sessions_moved_out.add(1),
            false => self.client.stream.link.socket.let_go(),
        }
        moved
    }

    fn can_move(&self) -> bool {
        let (transaction, stream) = (&self.transaction, &self.client.stream);
        let settings = &self.state.settings;
        let bytes: usize = settings.vars.iter().map(|(n, v)| n.len() + v.len()).sum();
        transaction.held.is_empty()
            && !transaction.concerns_next()
            && !transaction.pinned
            && !transaction.locked
            && self.statements.as_ref().is_none_or(|s| s.is_empty())
            && self.reads.causal.is_none()
            && stream.link.is_plain()
            && !stream.has_rest()
            && !stream.is_cutting()
            && bytes <= SETTINGS_BYTES_MAX
    }

    /// Offers the session to the other process. `false`: there is none.
    fn depart(&self) -> bool {
        let Ok(connection) = self.client.stream.link.socket.copy_fd() else { return false };
        let shared = Arc::clone(&self.core.shared);
        let departures = shared
            .departures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(door) = departures.as_ref() else { return false };
        let departure = Departure {
            session: self.as_moved(),
            connection,
            shared: Arc::clone(&self.core.shared),
            core: self.core.id,
            decided: false,
        };
        // One that cannot be sent says itself that it stays.
        let _ = door.send(departure);
        true
    }

    fn as_moved(&self) -> MovedSession {
        let (login, scramble) = &*self.client.login;
        let settings = &self.state.settings;
        MovedSession {
            id: self.client.handle.id,
            host: self.client.handle.host.clone(),
            user: login.user.clone(),
            capabilities: self.client.capabilities.bits(),
            multi_statements: self.client.multi_statements,
            collation: login.collation,
            max_packet: login.max_packet,
            scramble: *scramble,
            rights: (*self.client.rights).clone(),
            database: self.target.database.as_deref().map(str::to_owned),
            settings_collation: settings.collation,
            settings_database: settings.database.clone(),
            vars: settings.vars.clone(),
            vitess: self.state.vitess.clone(),
            cross_shard_snapshot: self.state.cross_shard_snapshot,
            sql_mode: self.state.sql_mode.bits(),
            mode_known: self.state.mode_known,
            autocommit: self.state.autocommit,
            foreign_keys_off: self.state.foreign_keys_off,
            wait_timeout: self.client.handle.wait_timeout.get(),
            query_timeout: self.client.handle.query_timeout.get(),
            transaction_timeout: self.client.handle.transaction_timeout.get(),
            insert_id: self.last.insert_id,
            row_count: self.last.row_count,
            found_rows: self.last.found_rows,
        }
    }

    /// The session that another process has told of.
    fn arrived(core: &Rc<Core>, arrival: Arrival) -> (Box<Self>, Guest) {
        let Arrival { session: from, connection, handle, guest } = arrival;
        let mut stream = PacketStream::new(
            Link::new(Socket::new(&core.ring, connection)),
            core.config().max_allowed_packet,
        );
        stream.set_limit(core.config().max_allowed_packet);
        let login = Login {
            user: from.user,
            capabilities: Capabilities::from_bits_retain(from.capabilities),
            collation: from.collation,
            max_packet: from.max_packet,
            ..Login::default()
        };
        let login = (login, from.scramble);
        let mut session = Box::new(Self::new(Rc::clone(core), stream, handle, login, from.rights));
        session.client.multi_statements = from.multi_statements;
        let settings = Settings {
            collation: from.settings_collation,
            database: from.settings_database,
            // Its servers' connections are of this process, and have the defaults of now.
            globals: core.shared.globals.load(Ordering::Relaxed),
            vars: from.vars,
        };
        let settings = core.settings.intern(settings);
        session.state = State {
            charsets: settings.charsets(),
            sql_mode: SqlMode::from_bits_truncate(from.sql_mode),
            mode_known: from.mode_known,
            autocommit: from.autocommit,
            foreign_keys_off: from.foreign_keys_off,
            vitess: from.vitess,
            cross_shard_snapshot: from.cross_shard_snapshot,
            ..State::new(settings)
        };
        if let Some(database) = from.database {
            session.select_again(&database);
        }
        session.set_flavour();
        let handle = &session.client.handle;
        handle.wait_timeout.set(from.wait_timeout);
        handle.query_timeout.set(from.query_timeout);
        handle.transaction_timeout.set(from.transaction_timeout);
        session.last.insert_id = from.insert_id;
        session.last.row_count = from.row_count;
        session.last.found_rows = from.found_rows;
        (session, guest)
    }

    /// What `USE` had chosen. A keyspace that this process does not know is one to come.
    fn select_again(&mut self, database: &str) {
        let snapshot = self.core.snapshot.borrow().clone();
        let target = Self::find_target(&snapshot, database).unwrap_or_else(|_| super::Target {
            database: Some(Rc::from(database)),
            ..super::Target::default()
        });
        self.target = super::Target { version: snapshot.version, ..target };
        *self.client.handle.database.borrow_mut() = self.target.database.clone();
    }
}

impl Arrivals {
    /// Announces a session. `false`: it must stay where it is, as its id is taken here, or there
    /// are too many clients.
    pub(crate) fn announce(
        &self,
        core: &Rc<Core>,
        session: MovedSession,
        connection: OwnedFd,
    ) -> bool {
        let id = session.id;
        if core.sessions.borrow().contains_key(&id) {
            return false;
        }
        let (guest, clients) = Guest::new(core, id, Seat::at(&core.shared, core.id));
        let handle = SessionHandle::new(core, id, session.host.clone());
        if clients >= core.config().max_connections {
            return false;
        }
        handle.rests(core);
        self.0
            .borrow_mut()
            .insert(id, Arrival { session, connection, handle, guest });
        true
    }

    /// Lets an announced session in, or, unless it `comes`, forgets it.
    pub(crate) fn decide(&self, core: &Rc<Core>, id: u32, comes: bool) {
        let Some(arrival) = self.0.borrow_mut().remove(&id) else { return };
        if !comes {
            return;
        }
        let (mut session, guest) = Session::arrived(core, arrival);
        if let Err(error) = session.admit_user() {
            session.send_error(&mut super::Answer::unasked(), &error);
            return;
        }
        core.metrics().sessions_moved_in.add(1);
        core.metrics()
            .sessions
            .set(core.sessions.borrow().len() as u64);
        executor::spawn(async move {
            session.run().await;
            drop(guest);
        });
        core.ring.mark_runnable();
    }
}
