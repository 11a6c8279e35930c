//! LOAD DATA LOCAL into a table of several shards: each line goes to the shard that its fields
//! tell.
use crate::column::Family;
use crate::plan::generate::Sequence;
use crate::vindex::Vindex;
use smallvec::SmallVec;
use std::sync::Arc;

/// How the lines of a file are divided among shards.
#[derive(Debug, Clone)]
pub struct Load {
    /// `None`: every shard gets all lines.
    pub by: Option<LoadBy>,
    /// How the client's file is read.
    pub format: LineFormat,
    /// Lines that are left out at first.
    pub skip: u64,
    /// The column whose numbers come from a sequence.
    pub numbered: Option<LoadNumbers>,
    /// Fields go into user variables.
    pub variables: bool,
}

/// A column whose numbers come from a sequence. Every line must have one: a shard would give its
/// own.
#[derive(Debug, Clone)]
pub struct LoadNumbers {
    /// The column's field of a line, from 0.
    pub field: u16,
    /// It goes on behind the largest number of the file. `None`: the vschema names one that there
    /// is not.
    pub sequence: Option<Sequence>,
}

/// What places a line.
#[derive(Debug, Clone)]
pub struct LoadBy {
    /// The table's primary vindex.
    pub vindex: Arc<dyn Vindex>,
    /// The vindex's columns, for messages.
    pub columns: SmallVec<[String; 1]>,
    /// The types of these columns, and where their values are among a line's fields.
    pub families: SmallVec<[Family; 1]>,
    /// For each of these columns, its field of a line, from 0.
    pub fields: SmallVec<[u16; 1]>,
    /// The file is in UTF-8. Otherwise keys must be ASCII.
    pub utf8: bool,
}

/// How lines and fields end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    /// Neither this nor `line_end` is empty.
    pub field_end: Vec<u8>,
    /// `ENCLOSED BY`
    pub enclosed: Option<u8>,
    /// `ESCAPED BY`
    pub escaped: Option<u8>,
    /// `LINES TERMINATED BY`
    pub line_end: Vec<u8>,
    /// As many fields are read of a line; what follows is no field.
    pub width: usize,
}
