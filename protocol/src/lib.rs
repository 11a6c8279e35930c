//! The MySQL wire protocol, sans-IO: bytes in, events out. No sockets, no runtime, no clock.
//!
//! Views borrow from the receive buffer, encoders append to a caller's `Vec<u8>`, and no input
//! makes anything here panic: every length is checked against the bytes that are really there, and
//! a peer that breaks the protocol becomes a [`ProtocolError`] that knows its MySQL error code.
//!
//! Where to look:
//!
//! * [`frame`]: packet headers, whole packets out of a byte stream, packets into one;
//! * [`codec`]: the integers and strings that all packets are made of;
//! * [`handshake`], [`auth`]: connecting, in both roles;
//! * [`command`]: what clients ask; [`response`], [`mod@column`], [`row`], [`value`]: what servers
//!   answer;
//! * [`walker`]: finds the end of an answer while its bytes are relayed untouched;
//! * [`compress`]: the compressed protocol; [`charset`]: collation ids;
//! * [`error`], [`codes`]: what goes wrong, and its number.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod auth;
pub mod capability;
pub mod charset;
pub mod codec;
pub mod codes;
pub mod column;
pub mod command;
pub mod compress;
pub mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod handshake;
pub mod response;
pub mod row;
pub mod value;
pub mod walker;

pub use capability::{Capabilities, Status};
pub use error::{Fault, ProtocolError};
