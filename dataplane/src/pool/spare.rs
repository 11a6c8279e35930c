//! When a server has no more connections or prepared statements to give: whatever rests of ours
//! there, on any core, is given up.
use super::{Backend, TabletPool};
use crate::core::Core;
use coregate_planner::snapshot::{Address, Tablet};
use coregate_protocol::command::encode as commands;
use std::rc::Rc;

/// What is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    /// One resting connection of each core.
    Connection,
    /// The statements that are prepared on resting connections.
    Statements,
}

/// Asks all cores.
#[cold]
pub(crate) fn give_up(core: &Core, server: &Tablet, what: Spare) {
    give_up_here(core, &server.address, what);
    for other in (0..core.shared.inboxes.len()).filter_map(|id| u16::try_from(id).ok()) {
        if other != core.id {
            let address = server.address.clone();
            core.shared
                .inbox(other)
                .post(move |theirs: &Rc<Core>| give_up_here(theirs, &address, what));
        }
    }
}

fn give_up_here(core: &Core, server: &Address, what: Spare) {
    let mut pools: Vec<Rc<TabletPool>> = Vec::new();
    core.pools.for_each(|pool| {
        if pool.tablet.address == *server {
            pools.push(Rc::clone(pool));
        }
    });
    match what {
        Spare::Connection => {
            pools.iter().any(|pool| pool.close_resting());
        }
        Spare::Statements => pools
            .iter()
            .for_each(|pool| pool.each_resting(Backend::forget_statements)),
    }
}

impl Backend {
    /// Closes all that is prepared here.
    pub(crate) fn forget_statements(&mut self) {
        for id in self.take_statements() {
            let mut payload = Vec::new();
            commands::stmt_close(&mut payload, id);
            self.send_unanswered(&payload);
        }
    }
}
