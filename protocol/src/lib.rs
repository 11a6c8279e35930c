//! The MySQL wire protocol, sans-IO: bytes in, events out. No sockets, no runtime, no clock.
#![forbid(unsafe_code)]
