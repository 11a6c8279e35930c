//! Replicas are read only. Their servers do not keep to it: the account of a tablet may write where
//! `read_only` is set. So whatever a session runs there, it runs in READ ONLY transactions, also
//! where a primary answers in a replica's place.
use super::Session;
use crate::pool::{Kind, Place};
use crate::settings::{Settings, TRANSACTION};
use std::rc::Rc;

/// A session's settings, and what becomes of them on a replica.
pub(super) struct OnReplica {
    of: Rc<Settings>,
    settings: Rc<Settings>,
}

impl Place {
    #[inline]
    pub(super) fn is_replica(self) -> bool {
        matches!(self, Self::Shard { kind: Kind::Replica | Kind::Rdonly, .. })
    }
}

impl Session {
    /// What a connection to a place is to have.
    #[inline]
    pub(super) fn settings_at(&mut self, place: Place) -> Rc<Settings> {
        if !place.is_replica() {
            return Rc::clone(&self.state.settings);
        }
        self.settings_on_replica()
    }

    #[cold]
    fn settings_on_replica(&mut self) -> Rc<Settings> {
        match &self.reads.on_replica {
            Some(known) if Rc::ptr_eq(&known.of, &self.state.settings) => {
                Rc::clone(&known.settings)
            }
            _ => {
                let settings = self.core.settings.intern(read_only(&self.state.settings));
                let of = Rc::clone(&self.state.settings);
                self.reads.on_replica =
                    Some(Box::new(OnReplica { of, settings: Rc::clone(&settings) }));
                settings
            }
        }
    }
}

pub(super) fn read_only(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    for other in ["transaction_read_only", "tx_read_only"] {
        settings.unset(other);
    }
    settings.set(&format!("{TRANSACTION}access"), "SESSION TRANSACTION READ ONLY");
    settings
}

/// How a transaction begins there.
pub(super) fn begin_read_only(begin: &str) -> &'static str {
    if begin.contains("SNAPSHOT") {
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    } else {
        "START TRANSACTION READ ONLY"
    }
}

pub(super) const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";

/// Behind what SET TRANSACTION has said for the next one: its isolation level stays.
pub(super) const NEXT_READ_ONLY: &str = "SET TRANSACTION READ ONLY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_session_has_set_makes_it_writable() {
        let mut settings = Settings::default();
        settings.set("tx_read_only", "@@session.tx_read_only = 0");
        settings.set(&format!("{TRANSACTION}access"), "SESSION TRANSACTION READ WRITE");
        let made = read_only(&settings);
        assert_eq!(made.vars.len(), 1);
        assert_eq!(
            made.get(&format!("{TRANSACTION}access")),
            Some(b"SESSION TRANSACTION READ ONLY".as_slice())
        );
        assert_eq!(begin_read_only("START TRANSACTION READ WRITE"), "START TRANSACTION READ ONLY");
    }
}
