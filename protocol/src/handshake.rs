//! The packets of connecting.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>

mod greeting;
mod response;
mod switch;

pub use greeting::{Greeting, HandshakeV10, SCRAMBLE_LEN};
pub use response::{Attributes, HandshakeResponse41, SslRequest};
pub use switch::{AUTH_MORE_DATA, AUTH_SWITCH, AuthMoreData, AuthSwitchRequest};
