//! What belongs to the statement that runs, and to no other.
use super::look_up::Looked;
use super::transaction::EntryChange;
use super::vexplain::Trace;
use crate::consolidator::Flight;
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Running {
    /// Of the command, in bytes.
    pub(super) request_bytes: usize,
    /// What the statement's directives ask for.
    pub(super) asked: Asked,
    /// What lookup tables have told, while the statement is planned.
    pub(super) looked: RefCell<Option<Box<Looked>>>,
    /// The statement that runs now changes entries of a lookup table.
    pub(super) entries: Option<EntryChange>,
    /// The first number that a sequence has given for the statement's rows.
    pub(super) numbers_from: Option<u64>,
    /// What `FOUND_ROWS()` is then, where more rows were found than sent.
    pub(super) found_rows: Option<u64>,
    /// What goes to servers, while the statement is run to be explained.
    pub(super) trace: Option<Box<Trace>>,
    /// Others may get the answer that is relayed.
    pub(super) flight: Option<Rc<Flight>>,
    /// The command has run statements, for the consolidator; and one that may have written.
    pub(super) ran: bool,
    pub(super) wrote: bool,
}

/// What directives ask for, of a statement over several shards.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// `SCATTER_ERRORS_AS_WARNINGS`: the rows of shards that answer, and warnings of others.
    pub(super) errors_as_warnings: bool,
    /// How many shards were left out.
    pub(super) left_out: u16,
    /// Those of them whose answer is read now, and has ended with an error.
    pub(super) failed: u16,
    /// `IGNORE_MAX_MEMORY_ROWS`
    pub(super) any_memory: bool,
}
