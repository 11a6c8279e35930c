//! What the client has set: the settings that each connection is given before a statement of the
//! session, and what this side must know of them to read the statement.
use crate::settings::Settings;
use coregate_planner::charset::Charsets;
use coregate_planner::fingerprint::SqlMode;
use std::rc::Rc;

pub(super) struct State {
    pub(super) settings: Rc<Settings>,
    /// See [`crate::core::FLAVOURS`].
    pub(super) flavour: u64,
    pub(super) sql_mode: SqlMode,
    /// `sql_mode` is what the servers are told.
    pub(super) mode_known: bool,
    /// In which character sets the client writes.
    pub(super) charsets: Charsets,
    pub(super) autocommit: bool,
    /// The client has set `foreign_key_checks = 0`.
    pub(super) foreign_keys_off: bool,
    /// Variables of ours and Vitess's (`workload`, `transaction_mode`).
    pub(super) vitess: Vec<(String, String)>,
    /// SELECTs over several shards read one snapshot.
    pub(super) cross_shard_snapshot: bool,
}

impl State {
    pub(super) fn new(settings: Rc<Settings>) -> Self {
        Self {
            settings,
            flavour: 0,
            sql_mode: SqlMode::empty(),
            mode_known: false,
            charsets: Charsets::default(),
            autocommit: true,
            foreign_keys_off: false,
            vitess: Vec::new(),
            cross_shard_snapshot: false,
        }
    }
}
