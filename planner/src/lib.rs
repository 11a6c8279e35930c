//! SQL text and a schema in, a plan out. Pure: the same input gives the same plan; no sockets, no
//! runtime, no clock.
//!
//! The way of a statement: [`fingerprint`] lifts its literals out in one pass; the normalised text
//! is the key of the plan cache; a miss goes through [`sql`] (tokens, syntax tree) and [`route`]
//! (the plan); [`resolve`] binds the literals of the statement at hand to a plan and names the
//! shards that it goes to.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod backfill;
pub mod charset;
pub mod collation;
pub mod column;
mod column_type;
pub mod control;
pub mod dtid;
pub mod error;
pub mod fingerprint;
pub mod fold;
#[doc(hidden)]
pub mod fuzz;
pub mod hot_row;
pub mod identity;
pub mod keyrange;
mod literal;
pub mod lookup;
pub mod mention;
pub mod plan;
pub mod raw;
pub mod render;
pub mod resolve;
pub mod route;
pub mod rows;
pub mod same_answer;
pub mod serving;
pub mod snapshot;
pub mod sql;
pub mod target;
pub mod value;
pub mod vindex;
pub mod vitess_variables;
pub mod vschema;

pub use error::PlanError;
