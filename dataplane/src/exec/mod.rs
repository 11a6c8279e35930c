//! Rows of several shards made into one answer: merged, grouped, sorted, limited.
//!
//! Nothing in here knows sockets: a [`Feed`] is given bytes and cuts rows out of them, a [`Heap`]
//! says whose row comes next, a [`Pipeline`] takes the rows in that order and writes the client's
//! packets. The session drives them (`session/tree.rs`).
mod aggregate;
mod binary;
mod cells;
mod decimal;
mod double;
mod feed;
mod gather;
mod heap;
pub(crate) mod held;
mod kept;
mod key;
mod lines;
mod pipeline;

pub(crate) use binary::{check as binary_check, row as binary_row};
pub(crate) use cells::{Cells, Row};
pub(crate) use feed::{Feed, Next};
pub(crate) use gather::{
    Collected, GatherLimits, Gathered, Sink, create, hex, quoted, write_literal,
};
pub(crate) use heap::Heap;
pub(crate) use kept::KeptValues;
pub(crate) use key::{BINARY, Column, Keys};
pub(crate) use lines::Lines;
pub(crate) use pipeline::{Flow, Output, Pipeline};

/// Why an answer cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// A shard has sent what it must not.
    #[error("a shard's answer cannot be read: {0}")]
    Answer(String),
    /// More than the budget would have to be held.
    #[error(
        "Out of sort memory: the statement would have to hold more than query.memory_max ({0} \
            bytes) of rows of several shards; restrict it, add a LIMIT, or raise the limit"
    )]
    Memory(usize),
    #[error(
        "Out of sort memory: the statements of this core would have to hold more than \
            query.memory_per_core_max ({0} bytes) of rows of several shards; try again, restrict \
            the statement, or raise the limit"
    )]
    CoreMemory(usize),
    #[error(
        "Out of sort memory: the statement needs more rows of several shards on one server than \
            {0} ({1}) allows; restrict it, or raise the limit"
    )]
    Gathered(&'static str, u64),
    /// Understood, but not exact.
    #[error("VT12001: unsupported: {0}")]
    Unsupported(&'static str),
    #[error("{0} value is out of range in '{1}'")]
    OutOfRange(&'static str, &'static str),
}

impl ExecError {
    /// As the client is told.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Answer(_) => 1105,
            Self::Memory(_) | Self::CoreMemory(_) | Self::Gathered(..) => 1038,
            Self::Unsupported(_) => 1235,
            Self::OutOfRange(..) => 1690,
        }
    }

    pub(crate) fn answer(what: impl Into<String>) -> Self {
        Self::Answer(what.into())
    }
}

#[cfg(test)]
mod tests;
